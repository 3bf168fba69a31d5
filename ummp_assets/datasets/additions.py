"""The rows that versions added to their dataset, found by where their shards come from.

A version's manifest says of each new shard which shards and batches its rows were made of. Rows of older shards are
old; a row of a batch is new unless the batch is a replay, which gives samples again that the dataset may hold, or was
in the dataset before, as with a promotion, whose rows compaction may have put beside older ones of that batch.
"""

from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet

import pyarrow as pa

from ummp_assets.datasets.schemas import conform
from ummp_assets.datasets.shard_files import read_sample_ids, read_shard
from ummp_assets.datasets.versions import DatasetVersion, Shard, read_version
from ummp_assets.messages.offset_log import OffsetLog
from ummp_assets.messages.ranges import parse_key
from ummp_assets.messages.replays import is_replay, source_topic
from ummp_assets.records import Coordinates
from ummp_assets.storage.objects import ObjectStore

__all__ = ["View", "membership", "read_additions"]

View = tuple[Sequence[Shard], Callable[[str], pa.Schema]]
"""The shards of a version that a reader wants, and the packed schema of its columns by modality."""

_ID = "sample_id"


def read_additions(
    store: ObjectStore,
    versions: Sequence[DatasetVersion],
    view_of: Callable[[DatasetVersion], View],
    batch_rows: int,
    is_wanted: Callable[[str], bool],
) -> Iterator[tuple[list[str], pa.RecordBatch]]:
    """Yield the rows of the last of some versions that the one before the first does not have, packed, in order, and
    their sample ids.

    Parameters
    ----------
    versions:
        Versions that follow one another; shards of the last one only are read for their rows.
    view_of:
        Returns what the reader wants of a version.
    is_wanted:
        Tells by its id whether a sample is.

    Raises
    ------
    ManifestCorrupt
        A shard is missing or damaged.
    """
    origins = _origins(versions)
    shards, schema_of = view_of(versions[-1])
    fresh = [shard for shard in shards if any(map(_is_batch, origins.get(shard.path, ())))]
    batches = {source for shard in fresh for source in origins[shard.path] if _is_batch(source)}
    is_of_batches = membership(store, batches)
    held = _held(store, versions, view_of) if _may_be_held(versions, batches) else frozenset()
    for shard in fresh:
        schema = schema_of(shard.modality)
        columns = [*schema.names, _ID]
        for rows in read_shard(store, shard.path, shard.footer_sha256, columns=columns, batch_rows=batch_rows):
            ids = rows.column(_ID).to_pylist()
            chosen = [
                number
                for number, name in enumerate(ids)
                if name not in held and is_of_batches(name) and is_wanted(name)
            ]
            if chosen:
                yield [ids[number] for number in chosen], conform(_pick(rows, chosen), schema)


def _origins(versions: Sequence[DatasetVersion]) -> dict[str, frozenset[str]]:
    """Return by path which batches, and which shards of older versions, the rows of each new shard come from."""
    origins: dict[str, frozenset[str]] = {}
    for version in versions:
        made = {
            path: frozenset(item for source in sources for item in origins.get(source, (source,)))
            for path, sources in version.added_shards.items()
        }
        origins |= made
    return origins


def _is_batch(source: str) -> bool:
    # A store path has a slash, a batch key has none.
    return "/" not in source


def _may_be_held(versions: Sequence[DatasetVersion], batches: AbstractSet[str]) -> bool:
    """Return whether the dataset may have held rows of these batches before."""
    first_time = {batch for version in versions if version.cause == "batch" for batch in version.added_batches}
    return any(batch not in first_time or is_replay(parse_key(batch)[0]) for batch in batches)


def _held(
    store: ObjectStore, versions: Sequence[DatasetVersion], view_of: Callable[[DatasetVersion], View]
) -> frozenset[str]:
    """Return the ids of all rows in shards that the versions removed from the one before them.

    What stands in shards that they left alone is in no new shard. A shard that was purged since is left out.
    """
    removed = {path for version in versions for path in version.removed_shards}
    shards, _ = view_of(read_version(store, versions[0].dataset, versions[0].version - 1))
    return frozenset(
        name
        for shard in shards
        if shard.path in removed and store.exists(shard.path)
        for name in read_sample_ids(store, shard.path, shard.footer_sha256)
    )


def membership(store: ObjectStore, batches: AbstractSet[str]) -> Callable[[str], bool]:
    """Return a test whether a sample's message is in one of the batches."""
    log = OffsetLog(store)
    ranges: dict[tuple[str, int], list[range]] = {}
    for batch in map(log.get, sorted(batches)):
        for item in batch.ranges:
            ranges.setdefault((source_topic(batch.topic), item.partition), []).append(range(item.start, item.end))

    def is_member(sample_id: str) -> bool:
        message = Coordinates.parse(sample_id)
        return any(message.offset in offsets for offsets in ranges.get((message.topic, message.partition), ()))

    return is_member


def _pick(rows: pa.RecordBatch, chosen: list[int]) -> pa.RecordBatch:
    first, last = chosen[0], chosen[-1]
    if last - first + 1 == len(chosen):
        return rows.slice(first, len(chosen))
    return pa.concat_batches([rows.slice(position, 1) for position in chosen])
