"""Reading single row groups of shards, with open files kept for the next one."""

from collections import OrderedDict
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from ummp_assets.datasets.large_values import Values, find_chunks, read_values, values_of
from ummp_assets.datasets.packing import is_packed
from ummp_assets.datasets.reading_order import RowGroup
from ummp_assets.datasets.shard_files import check_footer, reading_shard
from ummp_assets.datasets.versions import Shard
from ummp_assets.storage.objects import ObjectStore

__all__ = ["GroupRows", "RowGroupReader"]

_OPEN_FILES = 64
# Each holds several megabytes that it read ahead.
_OPEN_REMOTE_FILES = 8


@dataclass(frozen=True, slots=True)
class GroupRows:
    """Packed rows of a row group, column by column, those of large values apart from the others."""

    num_rows: int
    small: dict[str, pa.Array]
    large: dict[str, Values]
    schema: pa.Schema


@dataclass(frozen=True, slots=True)
class _OpenShard:
    file: BinaryIO
    parquet: pq.ParquetFile
    is_local: bool

    def close(self) -> None:
        self.parquet.close(force=True)
        self.file.close()


class RowGroupReader:
    """Reads row groups of some shards, as packed rows of one schema for each modality; not thread-safe.

    Whatever is read is verified each time: a shard's footer when it is opened, a page by its checksum.
    """

    def __init__(self, store: ObjectStore, shards: Sequence[Shard], schemas: dict[str, pa.Schema]) -> None:
        self._store, self._shards, self._schemas = store, shards, schemas
        self._open: OrderedDict[int, _OpenShard] = OrderedDict()

    def groups(self) -> list[RowGroup]:
        """Return all row groups in order; opens every shard once.

        Raises `ManifestCorrupt`, which names the shard and the command that repairs it, and `StoreUnavailable`.
        """
        found = []
        for position in range(len(self._shards)):
            metadata = self._opened(position).parquet.metadata
            found += [
                RowGroup(position, group, 0, metadata.row_group(group).num_rows)
                for group in range(metadata.num_row_groups)
            ]
        return found

    def read(self, group: RowGroup) -> GroupRows:
        """Return the rows of a row group; raises as `groups` does."""
        schema = self._schemas[self._shards[group.shard].modality]
        opened = self._opened(group.shard)
        with reading_shard(self._store, self._shards[group.shard].path):
            large = _read_large(opened, group, schema)
            small = _read_small(opened.parquet, group, [field for field in schema if field.name not in large])
        for field in schema:
            if field.name in small and is_packed(field) and (values := values_of(small[field.name])) is not None:
                large[field.name] = values
                del small[field.name]
        return GroupRows(group.rows, small, large, schema)

    def modality(self, group: RowGroup) -> str:
        return self._shards[group.shard].modality

    def close(self) -> None:
        for opened in self._open.values():
            opened.close()
        self._open.clear()

    def _opened(self, position: int) -> _OpenShard:
        if position not in self._open:
            self._open[position] = self._open_shard(position)
            if len(self._open) > (_OPEN_FILES if self._open[position].is_local else _OPEN_REMOTE_FILES):
                self._open.popitem(last=False)[1].close()
        self._open.move_to_end(position)
        return self._open[position]

    def _open_shard(self, position: int) -> _OpenShard:
        shard = self._shards[position]
        address = self._store.uri(shard.path)
        with reading_shard(self._store, shard.path), ExitStack() as stack:
            file = stack.enter_context(self._store.open(shard.path))
            check_footer(file, shard.footer_sha256)
            # Arrow reads a local file without Python's lock, so that rows are decoded while the consumer works.
            is_local = Path(address).is_file()
            parquet = pq.ParquetFile(address if is_local else file, page_checksum_verification=True)
            opened = _OpenShard(file, parquet, is_local)
            stack.pop_all()
            return opened


def _read_large(opened: _OpenShard, group: RowGroup, schema: pa.Schema) -> dict[str, Values]:
    packed = [field.name for field in schema if is_packed(field)]
    mine = slice(group.start, group.end)
    large = {}
    for name, chunk in find_chunks(opened.parquet.metadata, group.group, packed).items():
        values = read_values(opened.file, chunk)
        if values is not None:
            large[name] = Values(values.data, values.begin[mine], values.end[mine])
    return large


def _read_small(parquet: pq.ParquetFile, group: RowGroup, fields: Sequence[pa.Field]) -> dict[str, pa.Array]:
    present = [field.name for field in fields if field.name in parquet.schema_arrow.names]
    table = parquet.read_row_group(group.group, columns=present, use_threads=False) if present else None
    columns = {}
    for field in fields:
        if table is not None and field.name in present:
            columns[field.name] = _whole(table.column(field.name)).slice(group.start, group.rows)
        else:
            columns[field.name] = pa.nulls(group.rows, field.type)
    return columns


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
