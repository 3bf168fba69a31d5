"""Batches from shuffled row groups with one copy of the large values.

Arrow's `take` gives 1,900 images of 256 x 256 a second; copying each value once into the batch's own buffer gives
70,000. So columns of large values stay in their row groups until a batch is made, and only the others are taken.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ummp_assets.datasets.large_values import Values
from ummp_assets.datasets.row_groups import GroupRows
from ummp_assets.errors import InvalidInput

__all__ = ["Piece", "Window", "join_pieces", "window_of"]

_MAX_BATCH_BYTES = 2**31 - 1


@dataclass(frozen=True, slots=True)
class _Places:
    """One column of large values: the bytes of each row group, and where each row of the window begins and ends."""

    blocks: Sequence[npt.NDArray[np.uint8]]
    block: npt.NDArray[np.int64]
    begin: npt.NDArray[np.int64]
    end: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Window:
    """Rows in the order in which they are given."""

    num_rows: int
    small: dict[str, pa.Array]
    large: dict[str, _Places]
    schema: pa.Schema


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive rows of a window."""

    window: Window
    start: int
    rows: int


def window_of(groups: Sequence[GroupRows], order: npt.NDArray[np.int64] | None, skip: int = 0) -> Window:
    """Return rows of one schema in another order, without the first `skip` of them.

    Parameters
    ----------
    order:
        Row i of all is row `order[i]` of the groups; None: they come as they stand.
    """
    schema = groups[0].schema
    starts = np.cumsum([0, *(group.num_rows for group in groups)])
    chosen = (np.arange(starts[-1]) if order is None else order)[skip:]
    block = np.searchsorted(starts, chosen, side="right") - 1
    local = chosen - starts[block]
    small, large = {}, {}
    for name in schema.names:
        # An older shard may lack a column that is large in the others.
        if all(name in group.large for group in groups):
            large[name] = _places([group.large[name] for group in groups], block, local)
        else:
            column = _concat([_column(group, name) for group in groups])
            small[name] = column.slice(skip) if order is None else column.take(_indices(chosen))
    return Window(len(chosen), small, large, schema)


def join_pieces(pieces: Sequence[Piece]) -> pa.RecordBatch:
    """Return the rows of the pieces, of one schema, as one batch; raises `InvalidInput` when it exceeds 2 GiB."""
    schema = pieces[0].window.schema
    return pa.RecordBatch.from_arrays([_join(pieces, name) for name in schema.names], schema=schema)


def _join(pieces: Sequence[Piece], name: str) -> pa.Array:
    if all(name in piece.window.large for piece in pieces):
        return _gather(name, [span for piece in pieces for span in _spans(piece, name)])
    parts = [
        piece.window.small[name].slice(piece.start, piece.rows)
        if name in piece.window.small
        else _gather(name, list(_spans(piece, name)))
        for piece in pieces
    ]
    return _concat(parts)


def _concat(columns: Sequence[pa.Array]) -> pa.Array:
    return columns[0] if len(columns) == 1 else pa.concat_arrays(columns)


def _column(group: GroupRows, name: str) -> pa.Array:
    if name in group.small:
        return group.small[name]
    values = group.large[name]
    places = zip(values.begin.tolist(), values.end.tolist(), strict=True)
    return _gather(name, [(values.data, begin, end) for begin, end in places])


def _places(values: Sequence[Values], block: npt.NDArray[np.int64], local: npt.NDArray[np.int64]) -> _Places:
    begin, end = np.empty(len(block), np.int64), np.empty(len(block), np.int64)
    for number, item in enumerate(values):
        mine = block == number
        begin[mine], end[mine] = item.begin[local[mine]], item.end[local[mine]]
    return _Places([item.data for item in values], block, begin, end)


_Span = tuple[npt.NDArray[np.uint8], int, int]


def _spans(piece: Piece, name: str) -> Iterator[_Span]:
    places = piece.window.large[name]
    mine = slice(piece.start, piece.start + piece.rows)
    parts = (part[mine].tolist() for part in (places.block, places.begin, places.end))
    return ((places.blocks[block], begin, end) for block, begin, end in zip(*parts, strict=True))


def _gather(name: str, spans: Sequence[_Span]) -> pa.Array:
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


def _indices(order: npt.NDArray[np.int64]) -> pa.Array:
    # `pa.array` would import pandas.
    return pa.Array.from_buffers(pa.int64(), len(order), [None, pa.py_buffer(order.astype(np.int64))])
