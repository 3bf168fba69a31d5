"""Reading on as versions come: each new sample once, for training that does not end with an epoch."""

import time
import zlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ummp_assets.datasets.packing import unpack
from ummp_assets.datasets.reading_order import Part
from ummp_assets.datasets.stream import BatchStream
from ummp_assets.datasets.versions import DatasetVersion, latest_version, read_version
from ummp_assets.datasets.withdrawals import is_withdrawn
from ummp_assets.errors import InvalidInput
from ummp_assets.settings import Settings
from ummp_assets.storage.objects import ObjectStore

if TYPE_CHECKING:
    from ummp_assets.datasets.additions import View

__all__ = ["FollowStream"]


class FollowStream:
    """Batches of a version, then those of the rows that each later version adds, as the versions come.

    Every sample comes once: what compaction, labels, takedowns and replays do to rows that were given is not repeated,
    and a version that a takedown withdrew is read as the first later one that was not. Only where the shards of a
    withdrawn version were purged before they were read may a row that a replay replaced come again. It can be resumed
    with `state_dict` and `load_state_dict`.

    Parameters
    ----------
    batches:
        The rows of the first version.
    view_of:
        Returns what the reader wants of a version.
    identity:
        What is read of the dataset, whatever its version.
    part:
        The share of this process: of the rows that later versions add, those whose ids' hashes say so.
    settings:
        Where ready events come from. Without them, or when no broker answers, the store is asked twice a second.
    idle_seconds:
        End when no version has come for this long; None: never.
    """

    def __init__(
        self,
        store: ObjectStore,
        first: DatasetVersion,
        batches: BatchStream,
        view_of: Callable[[DatasetVersion], "View"],
        *,
        identity: str,
        batch_rows: int,
        part: Part,
        settings: Settings | None,
        idle_seconds: float | None,
    ) -> None:
        self._store, self._first, self._batches, self._view_of = store, first, batches, view_of
        self._identity = identity
        self._batch_rows, self._part, self._idle_seconds = batch_rows, part, idle_seconds
        self._settings = settings
        self._is_in_first = True
        self._version = first.version + 1
        self._given: list[str] = []

    def state_dict(self) -> dict[str, Any]:
        """Return where the stream stands: plain values, to be kept in a checkpoint."""
        is_in_first = self._is_in_first and not self._batches.is_at_end
        return {
            "of": self._fingerprint,
            "first": self._batches.state_dict() if is_in_first else None,
            "version": self._version,
            # Not how many: a takedown may withdraw the version before the stream goes on.
            "given": list(self._given),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on after the last batch that was given before `state_dict` was called.

        A state beyond the version that its stream began with, which may be withdrawn by now, suits a stream that began
        with any other.

        Raises `InvalidInput` when the state is of another dataset or part, or in the middle of another first version.
        """
        if not {"of", "first", "version", "given"} <= state.keys():
            raise InvalidInput("this state is of a stream that does not follow")
        if state["of"] != self._fingerprint:
            raise InvalidInput(f"this state is of {state['of']}, the stream of {self._fingerprint}")
        if state["first"] is not None:
            self._batches.load_state_dict(state["first"])
        self._is_in_first = state["first"] is not None
        self._version, self._given = int(state["version"]), list(state["given"])

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Yield what is left of the version, then what comes.

        Raises `ManifestCorrupt` when a shard is missing or damaged.
        """
        if self._is_in_first:
            yield from self._batches
            self._is_in_first = False
        # Not above, nor below: whoever reads one version only shall load neither this nor the Kafka client.
        from ummp_assets.datasets.additions import read_additions

        for versions in self._later_versions():
            given = frozenset(self._given)
            additions = read_additions(
                self._store,
                versions,
                self._view_of,
                self._batch_rows,
                lambda name, given=given: self._is_mine(name) and name not in given,  # type: ignore[misc]
            )
            for ids, rows in additions:
                self._given += ids
                yield unpack(rows)
            self._version, self._given = versions[-1].version + 1, []

    @property
    def _fingerprint(self) -> str:
        part = self._part
        return f"{self._identity} rank {part.rank}/{part.world_size} worker {part.worker}/{part.workers}"

    def _later_versions(self) -> Iterator[list[DatasetVersion]]:
        """Yield the versions from the one that is due on, as they come: each alone, or behind those before it that a
        takedown withdrew."""
        from ummp_assets.datasets.arrivals import watch_arrivals

        seen = self._version - 1
        due: list[DatasetVersion] = []
        # Before the store is asked for the first time, so that no event is missed in between.
        with watch_arrivals(self._settings, self._first.dataset) as arrivals:
            quiet_since = time.monotonic()
            while (left := self._idle_left(quiet_since)) > 0:
                newest = latest_version(self._store, self._first.dataset, seen)
                for number in range(seen + 1, newest + 1):
                    due.append(read_version(self._store, self._first.dataset, number))
                    if not is_withdrawn(self._store, self._first.dataset, number):
                        yield due
                        due = []
                    quiet_since = time.monotonic()
                if newest == seen:
                    arrivals.wait(left)
                seen = newest

    def _idle_left(self, quiet_since: float) -> float:
        return float("inf") if self._idle_seconds is None else self._idle_seconds + quiet_since - time.monotonic()

    def _is_mine(self, sample_id: str) -> bool:
        # By the id: a takedown moves the rows behind what it takes away.
        return zlib.crc32(sample_id.encode()) % self._part.count == self._part.index
