"""Batches from shuffled row groups with one copy of the large values.

Arrow's `take` gives 1,900 images of 256 x 256 a second; copying each value once into the batch's own buffer gives
70,000. So columns of large values stay in their row groups until a batch is made, and only the others are taken.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ummp_assets.datasets.packing import is_packed
from ummp_assets.errors import InvalidInput

__all__ = ["Piece", "Window", "join_pieces", "shuffled_window", "whole_window"]

_LARGE_BYTES = 4_096
_MAX_BATCH_BYTES = 2**31 - 1


@dataclass(frozen=True, slots=True)
class _Values:
    """One column of large values: the bytes of each row group, and where each row of the window begins and ends."""

    blocks: Sequence[npt.NDArray[np.uint8]]
    block: npt.NDArray[np.int64]
    begin: npt.NDArray[np.int64]
    end: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Window:
    """Rows in the order in which they are given: `rows` holds the small columns, `large` the others."""

    rows: pa.RecordBatch
    large: dict[str, _Values]
    schema: pa.Schema

    @property
    def num_rows(self) -> int:
        return int(self.rows.num_rows)


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive rows of a window."""

    window: Window
    start: int
    rows: int


def whole_window(rows: pa.RecordBatch) -> Window:
    """Return rows that are given as they stand."""
    return Window(rows, {}, rows.schema)


def shuffled_window(groups: Sequence[pa.RecordBatch], order: npt.NDArray[np.int64]) -> Window:
    """Return packed rows of one schema in another order: row i of the window is row `order[i]` of all groups."""
    schema = groups[0].schema
    large = [field.name for field in schema if is_packed(field) and _is_large(groups, field.name)]
    small = [name for name in schema.names if name not in large]
    # A batch without columns forgets how many rows it has.
    plain = pa.Table.from_batches([group.select(small) for group in groups]).combine_chunks() if small else None
    rows = plain.to_batches()[0].take(_indices(order)) if plain is not None else _only_rows(len(order))
    starts = np.cumsum([0, *(group.num_rows for group in groups)])
    block = np.searchsorted(starts, order, side="right") - 1
    local = order - starts[block]
    return Window(rows, {name: _values(groups, name, block, local) for name in large}, schema)


def join_pieces(pieces: Sequence[Piece]) -> pa.RecordBatch:
    """Return the rows of the pieces, of one schema, as one batch; raises `InvalidInput` when it exceeds 2 GiB."""
    first = pieces[0].window
    if any(piece.window.large.keys() != first.large.keys() for piece in pieces):
        return pa.concat_batches([join_pieces([piece]) for piece in pieces])
    parts = [piece.window.rows.slice(piece.start, piece.rows) for piece in pieces]
    rows = parts[0] if len(parts) == 1 else pa.concat_batches(parts)
    if not first.large:
        return rows
    columns = [_gather(pieces, name) if name in first.large else rows.column(name) for name in first.schema.names]
    return pa.RecordBatch.from_arrays(columns, schema=first.schema)


def _is_large(groups: Sequence[pa.RecordBatch], name: str) -> bool:
    columns = [group.column(name) for group in groups]
    if any(column.null_count for column in columns):
        return False
    byte_count: int = sum(column.nbytes for column in columns)
    return byte_count >= _LARGE_BYTES * sum(len(column) for column in columns)


def _values(
    groups: Sequence[pa.RecordBatch], name: str, block: npt.NDArray[np.int64], local: npt.NDArray[np.int64]
) -> _Values:
    blocks, begin, end = [], np.empty(len(block), np.int64), np.empty(len(block), np.int64)
    for number, group in enumerate(groups):
        column = group.column(name)
        offsets = np.frombuffer(column.buffers()[1], np.int32, len(column) + 1, column.offset * 4)
        blocks.append(np.frombuffer(column.buffers()[2], np.uint8))
        mine = block == number
        begin[mine], end[mine] = offsets[local[mine]], offsets[local[mine] + 1]
    return _Values(blocks, block, begin, end)


def _gather(pieces: Sequence[Piece], name: str) -> pa.Array:
    spans = [span for piece in pieces for span in _spans(piece, name)]
    offsets = np.cumsum([0, *(end - begin for _, begin, end in spans)])
    if offsets[-1] > _MAX_BATCH_BYTES:
        raise InvalidInput(f"a batch of {len(spans)} rows has {offsets[-1]:,} bytes of {name}: lower batch_rows")
    # Arrow's allocator gives memory of earlier batches again; NumPy's asks the kernel for fresh pages each time.
    buffer = pa.allocate_buffer(int(offsets[-1]))
    data = np.frombuffer(buffer, np.uint8)
    position = 0
    for block, begin, end in spans:
        data[position : position + end - begin] = block[begin:end]
        position += end - begin
    return pa.Array.from_buffers(pa.binary(), len(spans), [None, pa.py_buffer(offsets.astype(np.int32)), buffer])


def _spans(piece: Piece, name: str) -> Iterator[tuple[npt.NDArray[np.uint8], int, int]]:
    values = piece.window.large[name]
    mine = slice(piece.start, piece.start + piece.rows)
    places = (part[mine].tolist() for part in (values.block, values.begin, values.end))
    return ((values.blocks[block], begin, end) for block, begin, end in zip(*places, strict=True))


def _only_rows(count: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.nulls(count)], ["_"])


def _indices(order: npt.NDArray[np.int64]) -> pa.Array:
    # `pa.array` would import pandas.
    return pa.Array.from_buffers(pa.int64(), len(order), [None, pa.py_buffer(order.astype(np.int64))])
