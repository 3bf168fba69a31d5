"""Shards: Parquet files of about a target size, each holding one split of one modality of one dataset.

Rows are gathered into row groups of a few megabytes, the unit that readers read and shuffle. Images and waveforms stand
uncompressed: images of 256 x 256 come back at 57,000 rows a second, against 27,000 with lz4 and 11,000 with zstd.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from ummp_assets.datasets.packing import is_packed, pack, packed_shape
from ummp_assets.datasets.withdrawals import read_withdrawals
from ummp_assets.errors import ManifestCorrupt, ObjectNotFound, StoreUnavailable, UmmpError
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import FileEntry, explain_failure, hash_file
from ummp_assets.storage.tables import hash_footer

__all__ = [
    "ShardKey",
    "ShardWriter",
    "check_footer",
    "read_sample_ids",
    "read_shard",
    "reading_shard",
    "scan_batch_rows",
]

_ROW_GROUP_BYTES = 8 * 2**20
_MAX_PAGE_BYTES = 2**30
_MAX_PENDING_BYTES = 256 * 2**20
_SCAN_BYTES = 16 * 2**20
_MAX_SCAN_ROWS = 1_024


@dataclass(frozen=True, slots=True, order=True)
class ShardKey:
    """What all rows of a shard have in common."""

    dataset: str
    modality: str
    split: str


class _OpenShard:
    """Row groups on their way into one file after another."""

    def __init__(self, folder: Path, prefix: str, schema: pa.Schema, target_bytes: int) -> None:
        self._folder, self._prefix, self._schema, self._target = folder, prefix, schema, target_bytes
        self._rows: list[pa.RecordBatch] = []
        self._writer: pq.ParquetWriter | None = None
        self.files: list[Path] = []
        self.pending_bytes = 0

    def write(self, rows: pa.RecordBatch) -> None:
        limit = min(_ROW_GROUP_BYTES, self._target)
        step = max(1, limit * rows.num_rows // max(1, rows.nbytes))
        for start in range(0, rows.num_rows, step):
            piece = rows.slice(start, step)
            self._rows.append(piece)
            self.pending_bytes += piece.nbytes
            if self.pending_bytes >= limit:
                self.flush()

    def flush(self) -> None:
        if not self._rows:
            return
        if self._writer is None:
            self.files.append(self._folder / f"{self._prefix}-{len(self.files):04d}.parquet")
            self._writer = pq.ParquetWriter(
                self.files[-1],
                self._schema,
                compression={field.name: _compression(field) for field in self._schema},
                use_dictionary=[field.name for field in self._schema if pa.types.is_string(field.type)],
                # Least and greatest picture are of no use to anybody, and would stand in the way of `large_values`.
                write_statistics=[field.name for field in self._schema if not is_packed(field)],
                # One page a column of a row group, so that `large_values` reads its values in one piece.
                data_page_size=_MAX_PAGE_BYTES,
                write_page_checksum=True,
            )
        self._writer.write_table(pa.Table.from_batches(self._rows, self._schema).combine_chunks())
        self._rows, self.pending_bytes = [], 0
        if self.files[-1].stat().st_size >= self._target:
            self.close()

    def close(self) -> None:
        self.flush()
        if self._writer is not None:
            writer, self._writer = self._writer, None
            writer.close()


def _compression(field: pa.Field) -> str:
    return "none" if is_packed(field) and not packed_shape(field)[0].startswith("int") else "lz4"


class ShardWriter:
    """Writes rows to shards; `finish` moves them into the store under names that derive from their content.

    Parameters
    ----------
    folder:
        Local scratch folder.
    prefix:
        Store path below which the shards go.
    target_bytes:
        A file is complete once it has this size, so that it exceeds it by one row group at most.
    """

    def __init__(self, store: ObjectStore, folder: Path, prefix: str, target_bytes: int) -> None:
        self._store, self._folder, self._prefix, self._target = store, folder, prefix, target_bytes
        self._shards: dict[ShardKey, _OpenShard] = {}

    def write(self, key: ShardKey, rows: pa.RecordBatch) -> None:
        """Append unpacked rows; raises `StoreUnavailable` when the scratch folder cannot be written."""
        self.write_packed(key, pack(rows))

    def write_packed(self, key: ShardKey, rows: pa.RecordBatch) -> None:
        """Append rows as they stand in another shard."""
        if rows.num_rows == 0:
            return
        if key not in self._shards:
            name = f"{key.dataset}~{key.modality}~{key.split}"
            self._shards[key] = _OpenShard(self._folder, name, rows.schema, self._target)
        try:
            self._shards[key].write(rows)
            # Many datasets in one batch share this much memory.
            while sum(shard.pending_bytes for shard in self._shards.values()) > _MAX_PENDING_BYTES:
                max(self._shards.values(), key=lambda shard: shard.pending_bytes).flush()
        except OSError as error:
            raise StoreUnavailable(str(self._folder), error) from error

    def finish(self) -> dict[ShardKey, list[FileEntry]]:
        """Move all files into the store and return them by key, in order; raises `StoreUnavailable`."""
        finished = {}
        for key in sorted(self._shards):
            shard = self._shards[key]
            try:
                shard.close()
            except OSError as error:
                raise StoreUnavailable(str(self._folder), error) from error
            finished[key] = [self._move(file) for file in shard.files]
        return finished

    def _move(self, file: Path) -> FileEntry:
        digest = hash_file(file)
        with file.open("rb") as opened:
            footer_digest = hash_footer(opened)
        path = f"{self._prefix}/{file.stem}-{digest[:16]}.parquet"
        entry = FileEntry(path, pq.read_metadata(file).num_rows, file.stat().st_size, digest, footer_digest)
        self._store.upload(file, path)
        return entry


def read_shard(
    store: ObjectStore, path: str, footer_sha256: str, *, columns: Sequence[str] | None = None, batch_rows: int = 1_024
) -> Iterator[pa.RecordBatch]:
    """Yield a shard's packed rows in order, one row group or `batch_rows` at once.

    Raises `ManifestCorrupt`, which names the shard and the command that repairs it, when it is missing or damaged, and
    `StoreUnavailable` when the store failed while it was read.
    """
    with reading_shard(store, path), store.open(path) as file:
        check_footer(file, footer_sha256)
        with pq.ParquetFile(file, page_checksum_verification=True) as parquet:
            known = set(parquet.schema_arrow.names)
            wanted = None if columns is None else [name for name in columns if name in known]
            for group in range(parquet.num_row_groups):
                yield from parquet.iter_batches(batch_size=batch_rows, row_groups=[group], columns=wanted)


@contextmanager
def reading_shard(store: ObjectStore, path: str) -> Iterator[None]:
    """Turn whatever goes wrong while a shard is read into an error that says what it means; see `read_shard`."""
    try:
        yield
    except ObjectNotFound as error:
        raise ManifestCorrupt(_advice(store, path, error)) from error
    except UmmpError:
        raise
    except Exception as error:
        # Object stores' clients have errors of their own here, beside Arrow's. The name ends in digits of the sha256.
        explained = explain_failure(store, path, PurePosixPath(path).stem.rpartition("-")[2], error)
        if isinstance(explained, ManifestCorrupt):
            explained = ManifestCorrupt(_advice(store, path, error))
        raise explained from error


def read_sample_ids(store: ObjectStore, path: str, footer_sha256: str) -> Iterator[str]:
    """Yield the sample id of each row of a shard, in order; raises as `read_shard` does."""
    for rows in read_shard(store, path, footer_sha256, columns=["sample_id"], batch_rows=65_536):
        yield from rows.column("sample_id").to_pylist()


def scan_batch_rows(entries: Iterable[FileEntry]) -> int:
    """Return how many rows of these files make about 16 MiB, so that a scan's memory is bounded."""
    rows = byte_count = 0
    for entry in entries:
        rows, byte_count = rows + entry.rows, byte_count + entry.byte_count
    return max(1, min(_MAX_SCAN_ROWS, _SCAN_BYTES * rows // max(1, byte_count)))


def _advice(store: ObjectStore, path: str, cause: object) -> str:
    # A shard's name begins with its dataset.
    dataset = PurePosixPath(path).name.split("~")[0]
    withdrawn = next((item for item in read_withdrawals(store, dataset) if path in item.shards), None)
    if withdrawn is not None:
        return (
            f"shard {store.uri(path)} cannot be read: the takedown {withdrawn.takedown} withdrew the versions of "
            f"{dataset} that hold it, and it is deleted at {withdrawn.purge_after}. Open the newest version."
        )
    return (
        f"shard {store.uri(path)} is missing or damaged: {cause}. `ummp datasets scrub --repair` restores it from a "
        f"replica, `ummp datasets rebuild {dataset} --repair` from the stored raw bytes."
    )


def check_footer(file: BinaryIO, sha256: str) -> None:
    """Raise `ValueError` unless the Parquet file's footer is the one that was written."""
    if hash_footer(file) != sha256:
        raise ValueError("its footer is not the one that was written")
