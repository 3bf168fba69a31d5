"""Who owns which content, copied from one index to another: the facts of who came first, which nothing else tells.

Batches run at the same time, so that the order in which they were cleaned is not that of their commits.
"""

from collections.abc import Iterable

import numpy as np
import sqlalchemy as sa

from ummp_assets.storage.dataset_index import insert_missing
from ummp_assets.storage.index import Index
from ummp_assets.storage.near_duplicates import SignatureIndex
from ummp_assets.storage.perceptual_index import PerceptualIndex
from ummp_assets.storage.text_blocks import BLOCK_TEXTS

__all__ = ["copy_owners"]

_TABLES = ("contents", "text_runs", "image_verdicts", "image_substrings")
_ROWS_AT_ONCE = 1_000
_BLOCKS_AT_ONCE = 200


def copy_owners(source: Index, target: Index, dataset: str) -> None:
    """Copy what a dataset's samples own, by exact and by near content, into an index that knows nothing of it yet."""
    for index in (source, target):
        SignatureIndex(index)
        PerceptualIndex(index)
    for name in _TABLES:
        with source.transaction(reading=True) as reading:
            table = sa.Table(name, sa.MetaData(), autoload_with=reading)
            chosen = sa.select(table).where(table.c.dataset == dataset)
            rows = reading.execution_options(yield_per=_ROWS_AT_ONCE).execute(chosen)
            for part in rows.partitions(_ROWS_AT_ONCE):
                _insert(target, table, part)
    _copy_blocks(source, target, dataset)


def _copy_blocks(source: Index, target: Index, dataset: str) -> None:
    """Copy the blocks of texts that the dataset's runs lead to; of other datasets no text is copied."""
    with source.transaction(reading=True) as reading:
        runs = sa.Table("text_runs", sa.MetaData(), autoload_with=reading)
        blocks = sa.Table("text_blocks", sa.MetaData(), autoload_with=reading)
        numbers = reading.execute(sa.select(runs.c.numbers).where(runs.c.dataset == dataset)).scalars()
        wanted = sorted(
            {int(block) for blob in numbers for block in np.unique(np.frombuffer(blob, np.uint32) // BLOCK_TEXTS)}
        )
        for start in range(0, len(wanted), _BLOCKS_AT_ONCE):
            chosen = blocks.c.block.in_(wanted[start : start + _BLOCKS_AT_ONCE])
            _insert(target, blocks, reading.execute(sa.select(blocks).where(chosen)).all())
        versions = sa.Table("text_signatures", sa.MetaData(), autoload_with=reading)
        _insert(target, versions, reading.execute(sa.select(versions)).all())


def _insert(target: Index, table: sa.Table, rows: Iterable[sa.Row[tuple[object, ...]]]) -> None:
    with target.transaction() as writing:
        insert_missing(writing, table, [dict(row._mapping) for row in rows])
