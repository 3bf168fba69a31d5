"""A resumable stream of batches: row groups in an epoch's order, rows shuffled in a buffer, read ahead in a thread."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa

from ummp_assets.datasets.gathering import Piece, Window, join_pieces, window_of
from ummp_assets.datasets.packing import unpack
from ummp_assets.datasets.reading_order import Part, RowGroup, deal, order_groups
from ummp_assets.datasets.row_groups import RowGroupReader
from ummp_assets.datasets.versions import Shard
from ummp_assets.errors import InvalidInput
from ummp_assets.parallel.ordered_map import map_in_order
from ummp_assets.storage.objects import ObjectStore

__all__ = ["BatchStream"]

_BUFFER_GROUPS = 8
_BUFFERS_AHEAD = 1
_GROUPS_AHEAD = 3


class BatchStream:
    """Batches of one part of one epoch of a dataset; iterating again goes on with the next epoch.

    The order depends on the version, the seed, the epoch and the part, never on timing. Memory is bounded by 3 buffers
    of 8 row groups (each about 64 MiB): one that is given out, one that is read ahead, and what is left of an earlier;
    measured, 250 to 350 MiB for whatever size of dataset.
    """

    def __init__(
        self,
        store: ObjectStore,
        shards: Sequence[Shard],
        schemas: dict[str, pa.Schema],
        *,
        identity: str,
        batch_rows: int = 1_024,
        shuffle_seed: int | None = None,
        part: Part | None = None,
        drop_last: bool = False,
    ) -> None:
        if batch_rows < 1:
            raise InvalidInput(f"batch_rows is {batch_rows}: at least 1")
        self._store, self._shards, self._schemas = store, shards, schemas
        self._batch_rows, self._seed, self._drop_last = batch_rows, shuffle_seed, drop_last
        self._part = part or Part()
        self._identity = identity
        self._epoch = 0
        self._rows = 0

    def state_dict(self) -> dict[str, Any]:
        """Return where the stream stands: plain values, to be kept in a checkpoint."""
        return {"of": self._fingerprint, "epoch": self._epoch, "rows": self._rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on after the last batch that was given before `state_dict` was called.

        Raises `InvalidInput` when the state is of another version, seed or part: its position means nothing here.
        """
        if state["of"] != self._fingerprint:
            raise InvalidInput(f"this state is of {state['of']}, the stream of {self._fingerprint}")
        self._epoch, self._rows = int(state["epoch"]), int(state["rows"])

    def set_epoch(self, epoch: int) -> None:
        """Start an epoch from its beginning."""
        self._epoch, self._rows = epoch, 0

    @property
    def is_at_end(self) -> bool:
        """Whether all rows of the epoch were given; the epoch ends when the stream is asked for more."""
        begin, end = self._part.share_of(sum(shard.rows for shard in self._shards))
        return self._rows == end - begin

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Yield what is left of the epoch, then let the next one begin.

        Raises `ManifestCorrupt` when a shard is missing or damaged.
        """
        for rows in self._rebatch(self._windows()):
            self._rows += rows.num_rows
            yield unpack(rows)
        self.set_epoch(self._epoch + 1)

    @property
    def _fingerprint(self) -> str:
        part = self._part
        return (
            f"{self._identity} seed {self._seed} rank {part.rank}/{part.world_size} worker {part.worker}/{part.workers}"
        )

    def _rebatch(self, windows: Iterator[Window]) -> Iterator[pa.RecordBatch]:
        """Yield batches of exactly `batch_rows`, but for the last one of a modality's run."""
        left: list[Piece] = []
        missing = self._batch_rows
        for window in windows:
            if left and left[0].window.schema != window.schema:
                yield from [] if self._drop_last else [join_pieces(left)]
                left, missing = [], self._batch_rows
            start = 0
            while window.num_rows - start >= missing:
                yield join_pieces([*left, Piece(window, start, missing)])
                start += missing
                left, missing = [], self._batch_rows
            if start < window.num_rows:
                left.append(Piece(window, start, window.num_rows - start))
                missing -= left[-1].rows
        if left and not self._drop_last:
            yield join_pieces(left)

    def _windows(self) -> Iterator[Window]:
        """Yield the rows of one buffer after another, from the position on, read ahead in a thread."""
        reader = RowGroupReader(self._store, self._shards, self._schemas)
        ahead = _GROUPS_AHEAD if self._seed is None else _BUFFERS_AHEAD
        with ThreadPoolExecutor(1, thread_name_prefix="ummp-read") as pool:
            try:
                plan = list(self._plan(reader))
                yield from map_in_order(lambda buffer: self._read(reader, *buffer), plan, pool, ahead + 1)
            finally:
                pool.shutdown()
                reader.close()

    def _plan(self, reader: RowGroupReader) -> Iterator[tuple[int, list[RowGroup], int]]:
        """Yield number and row groups of each buffer that is not done, and how many of its rows are."""
        groups = deal(order_groups(reader.groups(), self._seed, self._epoch), self._part)
        done = self._rows
        for number, window in enumerate(_windows_of(groups, reader, 1 if self._seed is None else _BUFFER_GROUPS)):
            rows = sum(group.rows for group in window)
            if rows > done:
                yield number, window, done
            done = max(0, done - rows)

    def _read(self, reader: RowGroupReader, number: int, groups: Sequence[RowGroup], skip: int) -> Window:
        rows = [reader.read(group) for group in groups]
        if self._seed is None:
            return window_of(rows, None, skip)
        seed = [self._seed, self._epoch, self._part.index, number]
        order = np.random.default_rng(seed).permutation(sum(group.rows for group in groups))
        return window_of(rows, order, skip)


def _windows_of(groups: Sequence[RowGroup], reader: RowGroupReader, size: int) -> Iterator[list[RowGroup]]:
    """Yield runs of at most `size` row groups of one modality."""
    window: list[RowGroup] = []
    for group in groups:
        if window and (len(window) == size or reader.modality(group) != reader.modality(window[0])):
            yield window
            window = []
        window.append(group)
    if window:
        yield window
