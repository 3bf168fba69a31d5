"""Reading on as versions come: each new sample once, for training that does not end with an epoch."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from ummp_assets.datasets.packing import unpack
from ummp_assets.datasets.reading_order import Part
from ummp_assets.datasets.schemas import conform
from ummp_assets.datasets.shard_files import read_shard
from ummp_assets.datasets.stream import BatchStream
from ummp_assets.datasets.versions import DatasetVersion, Shard, latest_version, read_version
from ummp_assets.datasets.withdrawals import is_withdrawn
from ummp_assets.errors import InvalidInput
from ummp_assets.messages.offset_log import OffsetLog
from ummp_assets.records import Coordinates
from ummp_assets.storage.objects import ObjectStore

__all__ = ["FollowStream", "View"]

_POLL_SECONDS = 0.5

View = tuple[Sequence[Shard], Callable[[str], pa.Schema]]
"""The shards of a version that a reader wants, and the packed schema of its columns by modality."""


class FollowStream:
    """Batches of a version, then those of the rows that each later version adds, as the versions come.

    Every sample comes once: what compaction, labels and takedowns do to rows that were given is not repeated. It can be
    resumed with `state_dict` and `load_state_dict`.

    Parameters
    ----------
    batches:
        The rows of the first version.
    view_of:
        Returns what the reader wants of a version.
    part:
        The share of this process: of the rows that a version adds, every `part.count`th.
    idle_seconds:
        End when no version has come for this long; None: never.
    """

    def __init__(
        self,
        store: ObjectStore,
        first: DatasetVersion,
        batches: BatchStream,
        view_of: Callable[[DatasetVersion], View],
        *,
        batch_rows: int,
        part: Part,
        idle_seconds: float | None,
    ) -> None:
        self._store, self._first, self._batches, self._view_of = store, first, batches, view_of
        self._batch_rows, self._part, self._idle_seconds = batch_rows, part, idle_seconds
        self._version, self._rows = first.version, 0

    def state_dict(self) -> dict[str, Any]:
        """Return where the stream stands: plain values, to be kept in a checkpoint."""
        return {"first": self._batches.state_dict(), "version": self._version, "rows": self._rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on after the last batch that was given before `state_dict` was called.

        Raises `InvalidInput` when the state is of a stream that began with another version, or of another part.
        """
        if not {"first", "version", "rows"} <= state.keys():
            raise InvalidInput("this state is of a stream that does not follow")
        self._batches.load_state_dict(state["first"])
        self._version, self._rows = int(state["version"]), int(state["rows"])

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Yield what is left of the version, then what comes.

        Raises `ManifestCorrupt` when a shard is missing or damaged.
        """
        if self._version == self._first.version:
            yield from self._batches
            self._version += 1
        for version in self._later_versions():
            done = self._rows
            for rows in self._added_rows(version):
                if rows.num_rows > done:
                    self._rows += rows.num_rows - done
                    yield unpack(rows.slice(done))
                done = max(0, done - rows.num_rows)
            self._version, self._rows = version.version + 1, 0

    def _later_versions(self) -> Iterator[DatasetVersion]:
        """Yield the versions from the one that is due on, as they come.

        Asks the store for one object twice a second, so that no broker has to be reachable.
        """
        seen = self._version - 1
        quiet_since = time.monotonic()
        while self._idle_seconds is None or time.monotonic() - quiet_since < self._idle_seconds:
            newest = latest_version(self._store, self._first.dataset, seen)
            for number in range(seen + 1, newest + 1):
                yield read_version(self._store, self._first.dataset, number)
                quiet_since = time.monotonic()
            if newest == seen:
                time.sleep(_POLL_SECONDS)
            seen = newest

    def _added_rows(self, version: DatasetVersion) -> Iterator[pa.RecordBatch]:
        """Yield this part's rows of the batches that a version added, packed, also where compaction put them beside
        older rows."""
        if version.cause != "batch":
            return
        source, holds_added = version, _shard_test(version)
        if is_withdrawn(self._store, version.dataset, version.version):
            # What a takedown left of the batches stands anywhere in the newest version.
            source, holds_added = read_version(self._store, version.dataset), lambda _: True
        shards, schema_of = self._view_of(source)
        is_added = _membership(self._store, version.added_batches)
        count = 0
        for shard in filter(holds_added, shards):
            schema = schema_of(shard.modality)
            columns = [*schema.names, "sample_id"]
            for rows in read_shard(
                self._store, shard.path, shard.footer_sha256, columns=columns, batch_rows=self._batch_rows
            ):
                ids = rows.column("sample_id").to_pylist()
                chosen = [position for position, sample_id in enumerate(ids) if is_added(sample_id)]
                mine = chosen[(self._part.index - count) % self._part.count :: self._part.count]
                count += len(chosen)
                if mine:
                    yield conform(_pick(rows, mine), schema)


def _shard_test(version: DatasetVersion) -> Callable[[Shard], bool]:
    """Return a test whether a shard holds rows of the batches that its version added."""
    added = set(version.added_batches)
    return lambda shard: not added.isdisjoint(version.added_shards.get(shard.path, ()))


def _pick(rows: pa.RecordBatch, chosen: list[int]) -> pa.RecordBatch:
    first, last = chosen[0], chosen[-1]
    if last - first + 1 == len(chosen):
        return rows.slice(first, len(chosen))
    return pa.concat_batches([rows.slice(position, 1) for position in chosen])


def _membership(store: ObjectStore, batches: Sequence[str]) -> Callable[[str], bool]:
    """Return a test whether a sample's message is in one of the batches."""
    log = OffsetLog(store)
    ranges = {(batch.topic, item.partition): item for batch in map(log.get, batches) for item in batch.ranges}

    def is_member(sample_id: str) -> bool:
        message = Coordinates.parse(sample_id)
        found = ranges.get((message.topic, message.partition))
        return found is not None and found.start <= message.offset < found.end

    return is_member
