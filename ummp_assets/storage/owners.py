"""Who owns which content, copied from one index to another: the facts of who came first, which nothing else tells.

Batches run at the same time, so that the order in which they were cleaned is not that of their commits.
"""

import sqlalchemy as sa

from ummp_assets.storage.index import Index
from ummp_assets.storage.near_duplicates import SignatureIndex
from ummp_assets.storage.perceptual_index import PerceptualIndex

__all__ = ["copy_owners"]

_TABLES = ("contents", "text_verdicts", "text_band_runs", "image_verdicts", "image_substrings")
_ROWS_AT_ONCE = 1_000


def copy_owners(source: Index, target: Index, dataset: str) -> None:
    """Copy what a dataset's samples own, by exact and by near content, into an index that knows nothing of it yet."""
    for index in (source, target):
        SignatureIndex(index)
        PerceptualIndex(index)
    for name in _TABLES:
        with source.transaction(reading=True) as reading:
            table = sa.Table(name, sa.MetaData(), autoload_with=reading)
            rows = reading.execution_options(yield_per=_ROWS_AT_ONCE).execute(
                sa.select(table).where(table.c.dataset == dataset)
            )
            for part in rows.partitions(_ROWS_AT_ONCE):
                with target.transaction() as writing:
                    writing.execute(sa.insert(table), [dict(row._mapping) for row in part])
