"""One table as Parquet files and row groups of bounded size, so that no reader ever holds more than one row group."""

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from ummp_assets.errors import InvalidInput, StoreUnavailable
from ummp_assets.parallel.background import Background
from ummp_assets.storage.tensors import binary_from_tensors

__all__ = ["TableFile", "TableLimits", "TableWriter", "hash_footer"]

_TAIL_BYTES = 8
_HASH_BLOCK_BYTES = 2**20
_WRITTEN_BACK_BYTES = 4 * 2**20
# Arrow looks at a page's size only after so many values: 1,024 contents of 40 kB would make pages of 40 MB.
_LARGE_VALUE_BYTES, _LARGE_VALUES_AT_ONCE = 16_384, 16
# Record batches of this size are written as they are, smaller ones are joined first: the boundaries of chunks become
# boundaries of pages.
_WHOLE_CHUNK_BYTES = 2**20
# What a column must shrink to if compressing it is to pay, tried on pieces from all over its first row group.
_WORTHWHILE_RATIO, _TRIAL_PIECES, _TRIAL_PIECE_BYTES = 0.9, 8, 32_768


@dataclass(frozen=True, slots=True)
class TableLimits:
    """When a row group and when a file is full; both are cut after the write that reaches a limit."""

    row_group_rows: int = 8_192
    row_group_bytes: int = 32 * 2**20
    file_bytes: int = 256 * 2**20


@dataclass(frozen=True, slots=True)
class TableFile:
    """A complete file with its rows, its size, and the sha256 of it and of its footer in hex."""

    path: Path
    rows: int
    byte_count: int
    sha256: str
    footer_sha256: str


class TableWriter:
    """Writes rows to local files `<name>-<n>.parquet` in a folder.

    Rows are gathered into row groups: written one by one, 10,000 short rows would otherwise make 10,000 row groups.
    A group is written and hashed in threads of their own, while the next one is gathered: of 196 kB, the pixels of an
    image, 0.14 ms and 0.18 ms. The same calls give byte-identical files.
    """

    def __init__(self, folder: Path, name: str, schema: pa.Schema, limits: TableLimits) -> None:
        self._folder, self._name, self._schema, self._limits = folder, name, schema, limits
        self._files: list[TableFile] = []
        self._open: _OpenFile | None = None
        self._pending: list[pa.RecordBatch] = []
        self._pending_rows = self._pending_bytes = 0
        self._writing = Background(f"write_{name}")

    def write(self, rows: pa.RecordBatch) -> None:
        """Append rows; raises `InvalidInput` for another schema and `StoreUnavailable` when the disk does not take
        them, or did not take earlier ones."""
        if not rows.schema.equals(self._schema):
            raise InvalidInput(f"rows of table {self._name} have schema\n{rows.schema}\ninstead of\n{self._schema}")
        if rows.num_rows == 0:
            return
        self._pending.append(binary_from_tensors(rows))
        self._pending_rows += rows.num_rows
        self._pending_bytes += rows.nbytes
        if self._pending_rows >= self._limits.row_group_rows or self._pending_bytes >= self._limits.row_group_bytes:
            self._writing.start(self._write_group, *self._take_pending())

    def finish(self) -> list[TableFile]:
        """Complete the last file and return all of them, in order; none when there were no rows."""
        self._writing.wait()
        if self._pending:
            self._write_group(*self._take_pending())
        self._close()
        self._writing.end()
        return self._files

    def abandon(self) -> None:
        """Let go of the files, which nobody will read."""
        self._writing.end()
        self._pending.clear()
        if self._open is not None:
            self._open.abandon()
            self._open = None

    def _take_pending(self) -> tuple[list[pa.RecordBatch], int]:
        taken = self._pending, self._pending_bytes
        self._pending = []
        self._pending_rows = self._pending_bytes = 0
        return taken

    def _write_group(self, batches: list[pa.RecordBatch], byte_count: int) -> None:
        rows = pa.Table.from_batches(batches)
        if byte_count < _WHOLE_CHUNK_BYTES * len(batches):
            rows = rows.combine_chunks()
        packed = _packed_columns(rows)
        if self._open is not None and packed - self._open.packed:
            # JPEG files first and web pages after them: the file so far would not compress the pages.
            self._close()
        try:
            if self._open is None:
                self._open = _OpenFile(self._folder / f"{self._name}-{len(self._files):04d}.parquet", rows, packed)
            self._open.write(rows)
        except OSError as error:
            raise StoreUnavailable(str(self._folder), error) from error
        if self._open.byte_count >= self._limits.file_bytes:
            self._close()

    def _close(self) -> None:
        if self._open is None:
            return
        opened, self._open = self._open, None
        try:
            self._files.append(opened.finish())
        except OSError as error:
            raise StoreUnavailable(str(self._folder), error) from error


class _OpenFile:
    """A file on its way: hashed row group by row group, while its bytes are still in the page cache and the next ones
    are written, instead of once more as a whole at the end."""

    def __init__(self, path: Path, first_rows: pa.Table, packed: frozenset[str]) -> None:
        self._path = path
        self.packed = packed
        self._writer = _open_parquet(path, first_rows, packed)
        self._reader = path.open("rb", buffering=0)
        self._digest = hashlib.sha256()
        self._block = bytearray(_HASH_BLOCK_BYTES)
        self._rows = self._hashed_bytes = 0
        self._hashing = Background(f"hash_{path.stem}")

    @property
    def byte_count(self) -> int:
        """Bytes that were written, hashed or not."""
        return os.fstat(self._reader.fileno()).st_size

    def write(self, rows: pa.Table) -> None:
        self._writer.write_table(rows)
        self._rows += rows.num_rows
        self._hashing.start(self._hash_what_is_new)

    def finish(self) -> TableFile:
        try:
            self._writer.close()
            self._hashing.wait()
            self._hash_what_is_new()
            footer = hash_footer(self._reader)
        finally:
            self._hashing.end()
            self._reader.close()
        return TableFile(self._path, self._rows, self._hashed_bytes, self._digest.hexdigest(), footer)

    def abandon(self) -> None:
        self._hashing.end()
        # A full disk fails once more here, where nothing depends on it.
        with suppress(OSError):
            self._writer.close()
        self._reader.close()

    def _hash_what_is_new(self) -> None:
        start = self._hashed_bytes
        while count := self._reader.readinto(self._block):
            self._digest.update(memoryview(self._block)[:count])
            self._hashed_bytes += count
        self._begin_to_write_back(start)

    def _begin_to_write_back(self, start: int) -> None:
        """Let the disk work beside the next row groups: the flush at the commit then takes 0 instead of 0.2 s for
        256 MB."""
        count = self._hashed_bytes - start
        if count >= _WRITTEN_BACK_BYTES and hasattr(os, "posix_fadvise"):
            # Linux drops clean pages only, and begins to clean the others, which is what is wanted here.
            os.posix_fadvise(self._reader.fileno(), start, count, os.POSIX_FADV_DONTNEED)


def _open_parquet(file: Path, first_rows: pa.Table, packed: frozenset[str]) -> pq.ParquetWriter:
    schema = first_rows.schema
    codecs = {
        path: "zstd" if field.name in packed else "none"
        for field in schema
        for path in _leaf_paths(field.name, field.type)
    }
    widest = max((column.nbytes for column in first_rows.columns), default=0)
    has_large_values = widest >= _LARGE_VALUE_BYTES * first_rows.num_rows
    return pq.ParquetWriter(
        file,
        schema,
        compression=codecs,
        compression_level={path: 1 for path, codec in codecs.items() if codec == "zstd"},
        # Only strings repeat: a dictionary of images or waveforms is built and thrown away again.
        use_dictionary=[field.name for field in schema if pa.types.is_string(field.type)],
        # Nobody looks for an image between two others.
        write_statistics=[field.name for field in schema if not _is_binary(field.type)],
        # Of 1,500 files with one flipped bit, Arrow read 1,280 as other values without it.
        write_page_checksum=True,
        write_batch_size=_LARGE_VALUES_AT_ONCE if has_large_values else None,
    )


def _packed_columns(rows: pa.Table) -> frozenset[str]:
    return frozenset(field.name for field in rows.schema if _is_compressible(field, rows.column(field.name)))


def _is_compressible(field: pa.Field, values: pa.ChunkedArray) -> bool:
    """Return whether a column is compressed: all but pixels, and contents that do not get smaller.

    Pixels shrink by a quarter for four times the time: 0.6 ms to write 256 x 256 x 3 instead of 0.14, and 0.22 to read
    instead of 0.07, where decoding the JPEG takes 0.5. JPEG files do not shrink at all, for twice the time: 0.12 ms to
    write one of 42 kB instead of 0.06.
    """
    if pa.types.is_fixed_size_binary(field.type):
        return False
    if not pa.types.is_large_binary(field.type):
        return True
    pieces = [
        contents[start : start + _TRIAL_PIECE_BYTES]
        for contents in (chunk.buffers()[2] for chunk in values.chunks)
        if contents is not None
        for start in range(0, contents.size, max(_TRIAL_PIECE_BYTES, contents.size // _TRIAL_PIECES))
    ]
    # Arrow's codec makes its tables anew for each piece, which takes longer than compressing it.
    compress = zstandard.ZstdCompressor(level=1).compress
    packed_bytes = sum(len(compress(piece)) for piece in pieces)
    return packed_bytes <= _WORTHWHILE_RATIO * sum(map(len, pieces))


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_fixed_size_binary(kind) or pa.types.is_large_binary(kind))


def _leaf_paths(name: str, kind: pa.DataType) -> list[str]:
    """Return the columns of values that Parquet makes of a column, by the names that it gives them."""
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        return _leaf_paths(f"{name}.list.element", kind.value_type)
    if pa.types.is_struct(kind):
        return [path for child in kind.fields for path in _leaf_paths(f"{name}.{child.name}", child.type)]
    return [name]


def hash_footer(file: BinaryIO) -> str:
    """Return the sha256 of a Parquet file's footer, in hex.

    The file ends with the metadata, its length in 4 bytes and 4 bytes of magic (Apache Parquet format, "File format").
    Raises `ValueError` or `OSError` when the length is impossible.
    """
    end = file.seek(0, os.SEEK_END)
    file.seek(end - _TAIL_BYTES)
    length = int.from_bytes(file.read(_TAIL_BYTES)[:4], "little")
    file.seek(end - _TAIL_BYTES - length)
    return hashlib.sha256(file.read()).hexdigest()
