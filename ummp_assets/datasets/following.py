"""Reading on as versions come: each new sample once, for training that does not end with an epoch."""

import time
from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa

from ummp_assets.datasets.packing import unpack
from ummp_assets.datasets.schemas import conform
from ummp_assets.datasets.shard_files import read_shard
from ummp_assets.datasets.versions import DatasetVersion, Shard, latest_version, read_version
from ummp_assets.messages.offset_log import OffsetLog
from ummp_assets.records import Coordinates
from ummp_assets.storage.objects import ObjectStore

__all__ = ["View", "added_rows", "later_versions"]

_POLL_SECONDS = 0.5

View = tuple[Sequence[Shard], Callable[[str], pa.Schema]]
"""The shards of a version that a reader wants, and the packed schema of its columns by modality."""


def later_versions(store: ObjectStore, version: DatasetVersion, idle_seconds: float | None) -> Iterator[DatasetVersion]:
    """Yield the versions after this one as they come, until none has come for `idle_seconds` (None: for ever).

    Asks the store for one object twice a second, so that no broker has to be reachable.
    """
    seen = version.version
    quiet_since = time.monotonic()
    while idle_seconds is None or time.monotonic() - quiet_since < idle_seconds:
        newest = latest_version(store, version.dataset, seen)
        for number in range(seen + 1, newest + 1):
            yield read_version(store, version.dataset, number)
            quiet_since = time.monotonic()
        if newest == seen:
            time.sleep(_POLL_SECONDS)
        seen = newest


def added_rows(store: ObjectStore, version: DatasetVersion, view: View, batch_rows: int) -> Iterator[pa.RecordBatch]:
    """Yield the rows of the batches that a version added, also where compaction put them beside older rows."""
    if version.cause != "batch":
        return
    shards, schema_of = view
    is_added = _membership(store, version.added_batches)
    for shard in shards:
        sources = set(version.added_shards.get(shard.path, ()))
        if sources.isdisjoint(version.added_batches):
            continue
        schema = schema_of(shard.modality)
        columns = [*schema.names, "sample_id"]
        for rows in read_shard(store, shard.path, shard.footer_sha256, columns=columns, batch_rows=batch_rows):
            chosen = [position for position, name in enumerate(rows.column("sample_id").to_pylist()) if is_added(name)]
            if chosen:
                yield unpack(conform(_pick(rows, chosen), schema))


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
