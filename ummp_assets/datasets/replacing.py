"""Rows that a replay replaces: the same samples, as an earlier batch left them."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

import pyarrow as pa

from ummp_assets.datasets.changes import Change
from ummp_assets.datasets.revisions import Revision
from ummp_assets.datasets.rewriting import RewrittenShard, revise_shards
from ummp_assets.datasets.shard_files import read_sample_ids
from ummp_assets.datasets.versions import DatasetVersion, Shard, read_shards
from ummp_assets.messages.ranges import parse_key
from ummp_assets.messages.replays import BatchFinder, is_replay
from ummp_assets.settings import Settings
from ummp_assets.storage.dataset_index import DatasetIndex
from ummp_assets.storage.objects import ObjectStore

__all__ = ["Without", "replace_replayed"]


class Without:
    """Takes the rows of some samples out, as `Reviser` does for labels and takedowns."""

    has_orders = True

    def __init__(self, sample_ids: AbstractSet[str]) -> None:
        self._gone = sample_ids

    def revise(self, rows: pa.RecordBatch) -> Revision:
        keep = [sample_id not in self._gone for sample_id in rows.column("sample_id").to_pylist()]
        return Revision(keep, rows.column("label").to_pylist(), 0)


def replace_replayed(
    store: ObjectStore, settings: Settings, parent: DatasetVersion | None, change: Change, known: DatasetIndex
) -> list[RewrittenShard]:
    """Write the parent's shards anew that hold a sample which a replayed batch adds again; other batches replace none.

    A sample that a replay could not store, because its source is gone, say, keeps the row that it had.
    """
    replays = [batch for batch in change.batches if is_replay(parse_key(batch)[0])]
    if parent is None or not replays:
        return []
    added = (shard for shard, _ in change.added)
    ids = {name for shard in added for name in read_sample_ids(store, shard.path, shard.footer_sha256)}
    finder = BatchFinder(store)
    batches = {batch for sample_id in ids for batch in finder.of(sample_id, replays[0])}
    paths = {shard.path for shard in known.shards_of(parent.dataset, batches)}
    shards: Sequence[Shard] = [shard for shard in read_shards(store, parent) if shard.path in paths]
    return revise_shards(store, settings, parent.dataset, shards, Without(ids))
