"""Large values straight from a shard's pages: mapped, verified, and copied once, into the batch that they go into.

Arrow decodes values of a `binary` column into an array that grows as it fills, checks their page with a plain CRC32 and
takes a shuffled batch out of it value by value: 2,700 images of 256 x 256 a second. A page that is neither compressed
nor encoded holds each value behind its length, so that reading the page is all the decoding there is.

Format: Apache Parquet, `parquet.thrift` (`PageHeader`) and "Plain encoding", https://github.com/apache/parquet-format.
"""

import mmap
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from isal import isal_zlib

__all__ = ["LARGE_BYTES", "ValueChunk", "Values", "find_chunks", "read_values", "values_of"]

LARGE_BYTES = 4_096
"""Values of at least this size on average are large: copying one by one costs less than the copying itself."""

_LENGTH = struct.Struct("<I")
# Four 32-bit numbers, the last of them the checksum, and what `data_page_header` holds without statistics.
_MAX_HEADER_BYTES = 64
_I32_FIELD = 0x15
_DATA_PAGE = 0


@dataclass(frozen=True, slots=True)
class Values:
    """Large values of one column: their bytes, and where the value of each row begins and ends in them."""

    data: npt.NDArray[np.uint8]
    begin: npt.NDArray[np.int64]
    end: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ValueChunk:
    """Where one row group of a column stands in its file."""

    offset: int
    byte_count: int
    rows: int


def find_chunks(metadata: pq.FileMetaData, group: int, names: Sequence[str]) -> dict[str, ValueChunk]:
    """Return those of the columns whose values in a row group are large and stand as they are: plain, uncompressed,
    none missing."""
    row_group = metadata.row_group(group)
    found = {}
    for position in range(row_group.num_columns):
        column = row_group.column(position)
        if (
            column.path_in_schema in names
            and column.total_compressed_size >= LARGE_BYTES * row_group.num_rows > 0
            and column.physical_type == "BYTE_ARRAY"
            and column.compression == "UNCOMPRESSED"
            and set(column.encodings) <= {"PLAIN", "RLE"}
            and metadata.schema.column(position).max_definition_level == 0
        ):
            chunk = ValueChunk(column.data_page_offset, column.total_compressed_size, row_group.num_rows)
            found[column.path_in_schema] = chunk
    return found


def read_values(file: BinaryIO, chunk: ValueChunk) -> Values | None:
    """Read a chunk and return its values, or None when it has several pages or no checksum, which is left to Arrow.

    Raises
    ------
    ValueError
        The bytes are not those that the page's checksum was made of.
    """
    data = _bytes_of(file, chunk)
    page = _only_page(data)
    if page is None:
        return None
    start, checksum = page
    if isal_zlib.crc32(data[start:]) != checksum:
        raise ValueError(f"the page at byte {chunk.offset:,} has another checksum than was written")
    begin, end = _places(data, start, chunk.rows)
    return Values(data, begin, end)


def values_of(column: pa.Array) -> Values | None:
    """Return the values of a binary column that are in memory, or None where they are small or one is missing."""
    if column.null_count or column.nbytes < LARGE_BYTES * max(1, len(column)):
        return None
    offsets = np.frombuffer(column.buffers()[1], np.int32, len(column) + 1, column.offset * 4).astype(np.int64)
    return Values(np.frombuffer(column.buffers()[2], np.uint8), offsets[:-1], offsets[1:])


def _bytes_of(file: BinaryIO, chunk: ValueChunk) -> npt.NDArray[np.uint8]:
    try:
        descriptor = file.fileno()
    except OSError:
        file.seek(chunk.offset)
        data = np.frombuffer(file.read(chunk.byte_count), np.uint8)
        if len(data) != chunk.byte_count:
            raise ValueError(f"it ends before byte {chunk.offset + chunk.byte_count:,}") from None
        return data
    # Mapped, 22,000 images of 256 x 256 a second and core are verified and copied into batches; read into memory
    # first, 14,000, and 3,500 until that memory has been given out once.
    start = chunk.offset // mmap.ALLOCATIONGRANULARITY * mmap.ALLOCATIONGRANULARITY
    skip = chunk.offset - start
    mapped = mmap.mmap(descriptor, skip + chunk.byte_count, access=mmap.ACCESS_READ, offset=start)
    return np.frombuffer(mapped, np.uint8)[skip:]


def _only_page(chunk: npt.NDArray[np.uint8]) -> tuple[int, int] | None:
    """Return where the values of a chunk of one page begin, and the page's CRC32."""
    numbers: list[int] = []
    position = 0
    # The zeros end every number, also where the bytes are damaged.
    head = chunk[:_MAX_HEADER_BYTES].tobytes() + bytes(2)
    # Compact Thrift: a byte that says "the next field, a 32-bit number", then the number.
    while len(numbers) < 4 and head[position] == _I32_FIELD:
        number, position = _read_number(head, position + 1)
        numbers.append(number)
    if len(numbers) < 4:
        return None
    kind, unpacked_bytes, stored_bytes, checksum = numbers
    start = len(chunk) - stored_bytes
    if kind != _DATA_PAGE or unpacked_bytes != stored_bytes or not position < start <= _MAX_HEADER_BYTES:
        return None
    return start, checksum & 0xFFFFFFFF


def _read_number(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1), position


def _places(data: npt.NDArray[np.uint8], start: int, rows: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return where values begin and end that stand behind their lengths; raises `ValueError` when they do not fit."""
    begin, end = [], []
    position = start
    for _ in range(rows):
        if position + _LENGTH.size > len(data):
            raise ValueError("a page holds fewer values than its row group has rows")
        begin.append(position + _LENGTH.size)
        position = begin[-1] + _LENGTH.unpack_from(data.data, position)[0]
        end.append(position)
    if position != len(data):
        raise ValueError("the values of a page do not fill it")
    return np.array(begin, np.int64), np.array(end, np.int64)
