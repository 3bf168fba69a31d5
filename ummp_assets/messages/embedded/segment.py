"""One file of a topic-partition's log: consecutive record batches, and a sparse index by offset and time beside it."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from ummp_assets.messages.embedded.record_batch import (
    HEADER_BYTES,
    BatchHeader,
    read_header,
    verify_checksum,
)
from ummp_assets.messages.embedded.sorted_rows import Row, SortedRows

__all__ = ["Segment"]

# One index row for about this many bytes of log. A look-up reads the headers between two rows: at 16 KiB and batches of
# 100 bytes that is 160 headers, while the index stays 0.15 % of the log.
_INDEX_INTERVAL_BYTES = 16 * 1024
_READ_AHEAD_BYTES = 64 * 1024


class Segment:
    """Record batches from `base_offset` on, in `<base_offset>.log` and `<base_offset>.index`.

    An index row (offset, position, highest timestamp before it) says where a batch starts; the row that ends a closed
    segment gives its next offset and size, so that opening it reads nothing else.

    Attributes
    ----------
    base_offset, next_offset:
        The half-open range of offsets that the segment covers; compaction leaves gaps inside.
    size:
        Bytes of whole batches in the file.
    max_timestamp:
        Highest record timestamp, milliseconds since 1970; -1 where there is no record.
    """

    def __init__(self, folder: Path, base_offset: int) -> None:
        self.base_offset = self.next_offset = base_offset
        self.path = folder / f"{base_offset:020d}.log"
        self.size = 0
        self.max_timestamp = -1
        self._index = SortedRows(self.path.with_suffix(".index"), columns=3)
        self._indexed_position = 0
        self._descriptor: int | None = None

    @property
    def first_timestamp(self) -> int:
        """Timestamp of the first batch, milliseconds since 1970; the segment must not be empty."""
        return read_header(self.read(0, HEADER_BYTES)).max_timestamp

    @property
    def file_bytes(self) -> int:
        """Bytes in the file, a torn tail included."""
        return self.path.stat().st_size

    def create(self, *, durable: bool) -> None:
        """Make the empty file, whose name keeps the offset even if nothing is ever appended."""
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        if durable:
            folder = os.open(self.path.parent, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)

    def append(self, header: BatchHeader, *pieces: bytes | bytearray | memoryview) -> None:
        """Write one batch whose header, already stamped with its offset, is `header`.

        Raises
        ------
        OSError
            The disk is full or broken; what was written of the batch is cut off again.
        """
        descriptor = self._open()
        written = os.pwritev(descriptor, pieces, self.size)
        if written != header.size:
            os.ftruncate(descriptor, self.size)
            raise OSError(f"only {written} of {header.size} bytes could be written to {self.path}")
        self._note(header)

    def _note(self, header: BatchHeader) -> None:
        if self.size - self._indexed_position >= _INDEX_INTERVAL_BYTES:
            self._index.append(header.base_offset, self.size, self.max_timestamp)
            self._indexed_position = self.size
        self.size += header.size
        self.next_offset = header.last_offset + 1
        self.max_timestamp = max(self.max_timestamp, header.max_timestamp)

    def finish(self) -> None:
        """End the segment with the index row that spares the next start reading it."""
        self._index.append(self.next_offset, self.size, self.max_timestamp)
        self.close()

    def restore_finished(self) -> bool:
        """Take the segment's state from its last index row; False where that row was never written."""
        if not self._index.count:
            return False
        next_offset, size, max_timestamp = self._index.get(self._index.count - 1)
        if size != self.file_bytes:
            return False
        self.next_offset, self.size, self.max_timestamp = next_offset, size, max_timestamp
        self._indexed_position = size
        return True

    def restore_to(self, size: int, next_offset: int, max_timestamp: int) -> None:
        """Take the state that a checkpoint recorded; `recover` then reads what was written after it."""
        self.size, self.next_offset, self.max_timestamp = size, next_offset, max_timestamp
        self._indexed_position = size

    def recover(self, on_batch: Callable[[BatchHeader, bytes], object]) -> bool:
        """Read the batches behind `size`, adopt the sound ones and cut the file where the first torn one starts.

        Returns whether there was nothing to cut.
        """
        file_size = self.file_bytes
        if 0 < self.size == file_size:
            return True
        self._index.truncate(self._index.count_where(lambda row: row[1] < self.size))
        descriptor = self._open()
        while file_size - self.size >= HEADER_BYTES:
            header = read_header(os.pread(descriptor, HEADER_BYTES, self.size))
            fits = HEADER_BYTES < header.size <= file_size - self.size and header.base_offset >= self.next_offset
            batch = os.pread(descriptor, header.size, self.size) if fits else b""
            if not fits or not verify_checksum(batch, header):
                break
            self._note(header)
            on_batch(header, batch)
        os.ftruncate(descriptor, self.size)
        return self.size == file_size

    def position_of(self, offset: int) -> int:
        """Where the first batch starts that ends at or behind `offset`; `size` where there is none."""
        start = self._index_floor(lambda row: row[0] <= offset)
        for position, header in self.headers(start):
            if header.last_offset >= offset:
                return position
        return self.size

    def position_of_time(self, timestamp_ms: int) -> int:
        """Where the first batch starts that holds a record of `timestamp_ms` or later; `size` where there is none."""
        start = self._index_floor(lambda row: row[2] < timestamp_ms)
        for position, header in self.headers(start):
            if header.max_timestamp >= timestamp_ms:
                return position
        return self.size

    def _index_floor(self, condition: Callable[[Row], bool]) -> int:
        rows_before = self._index.count_where(condition)
        return self._index.get(rows_before - 1)[1] if rows_before else 0

    def headers(self, position: int) -> Iterator[tuple[int, BatchHeader]]:
        """The batch headers from `position` on, each with its position."""
        chunk, chunk_start = b"", position
        while position < self.size:
            if position + HEADER_BYTES > chunk_start + len(chunk):
                chunk, chunk_start = self.read(position, _READ_AHEAD_BYTES), position
            header = read_header(chunk, position - chunk_start)
            yield position, header
            position += header.size

    def read(self, position: int, max_bytes: int) -> bytes:
        """The bytes from `position` on, never beyond the last whole batch of the segment."""
        return os.pread(self._open(), min(max_bytes, self.size - position), position)

    def flush(self) -> None:
        """Force the batches to the disk itself, so that they survive a loss of power."""
        os.fsync(self._open())

    def close(self) -> None:
        """Give the file descriptors back; the next use opens the files again."""
        self._index.close()
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def move_to(self, folder: Path) -> None:
        """Move the files, which must be closed, into `folder`, over those of the segment of the same name."""
        self.path = self.path.replace(folder / self.path.name)
        self._index = self._index.moved_to(folder)

    def delete(self) -> None:
        self.close()
        self._index.delete()
        self.path.unlink(missing_ok=True)

    def _open(self) -> int:
        if self._descriptor is None:
            self._descriptor = os.open(self.path, os.O_RDWR)
        return self._descriptor
