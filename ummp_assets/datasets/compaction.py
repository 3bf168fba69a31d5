"""Merging small shards, so that a dataset of many small batches is read as fast as one of few large ones.

As in a log-structured merge tree: 16 shards of a level become one of the next level, until a shard is full. A row is
rewritten once a level (at most log16 of the number of batches that fill a shard), and a dataset has fewer than 16
small shards of each modality, split and level, whatever the number of its batches.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from ummp_assets.datasets.changes import Change, make_version, merge_columns
from ummp_assets.datasets.history import put_next_version
from ummp_assets.datasets.rewriting import shard_from
from ummp_assets.datasets.schemas import conform, find_schema
from ummp_assets.datasets.shard_files import ShardKey, ShardWriter, read_shard
from ummp_assets.datasets.versions import Column, DatasetVersion, Shard, dataset_path, read_shards
from ummp_assets.settings import Settings
from ummp_assets.storage.dataset_index import DatasetIndex
from ummp_assets.storage.index import Index
from ummp_assets.storage.objects import ObjectStore

__all__ = ["FAN_IN", "Compactor", "compact_dataset"]

FAN_IN = 16


class Compactor:
    """Merges shards of one dataset; what it merged once it gives again, for a commit that must try again."""

    def __init__(self, store: ObjectStore, settings: Settings, dataset: str) -> None:
        self._store, self._settings, self._dataset = store, settings, dataset
        self._merged: dict[tuple[str, ...], list[Shard]] = {}

    def merge_due(self, parent: DatasetVersion | None, change: Change) -> Change:
        """Return the change with every 16 small shards of a level, old and new, merged into one of the next level."""
        shards = [shard for shard in (parent.shards if parent else ()) if shard.path not in change.removed]
        while due := self._due([*shards, *(shard for shard, _ in change.added)]):
            columns = merge_columns(self._dataset, parent.columns if parent else {}, change.columns)
            change = self.merge(change, due, columns[due[0].modality])
            shards = [shard for shard in shards if shard.path not in change.removed]
        return change

    def merge(self, change: Change, shards: Sequence[Shard], columns: Sequence[Column]) -> Change:
        """Return the change with these shards, of one modality and split, in as few files as their size allows."""
        paths = tuple(shard.path for shard in shards)
        if paths not in self._merged:
            self._merged[paths] = self._write(shards, columns)
        fresh = {shard.path: sources for shard, sources in change.added}
        sources = [source for path in paths for source in fresh.get(path, (path,))]
        return replace(
            change,
            added=[
                *((shard, origin) for shard, origin in change.added if shard.path not in paths),
                *((shard, tuple(dict.fromkeys(sources))) for shard in self._merged[paths]),
            ],
            removed=change.removed | (set(paths) - fresh.keys()),
        )

    def _due(self, shards: Iterable[Shard]) -> list[Shard]:
        groups: dict[tuple[str, str, int], list[Shard]] = defaultdict(list)
        for shard in shards:
            if shard.byte_count < self._settings.datasets.full_shard_bytes:
                group = groups[shard.modality, shard.split, shard.level]
                group.append(shard)
                if len(group) == FAN_IN:
                    return group
        return []

    def _write(self, shards: Sequence[Shard], columns: Sequence[Column]) -> list[Shard]:
        modality, split = shards[0].modality, shards[0].split
        key = ShardKey(self._dataset, modality, split)
        prefix = dataset_path(self._dataset, "shards")
        # Columns are searched from the newest shard on: it is the one that has the added ones.
        schema = find_schema(self._store, reversed(shards), columns)
        with TemporaryDirectory(dir=self._store.scratch_directory(), ignore_cleanup_errors=True) as folder:
            writer = ShardWriter(self._store, Path(folder), prefix, self._settings.datasets.target_shard_bytes)
            for shard in shards:
                for rows in read_shard(self._store, shard.path, shard.footer_sha256):
                    writer.write_packed(key, conform(rows, schema))
            entries = writer.finish().get(key, [])
        level = 1 + max(shard.level for shard in shards)
        return [shard_from(modality, split, entry, level) for entry in entries]


def compact_dataset(store: ObjectStore, index: Index, settings: Settings, dataset: str) -> DatasetVersion | None:
    """Merge all small shards of a dataset now, and return the version in which they are; None where nothing is small.

    Raises
    ------
    CommitConflict
        Other committers of the dataset were always first.
    ManifestCorrupt
        A shard is missing or damaged.
    """
    compactor = Compactor(store, settings, dataset)

    def propose(parent: DatasetVersion | None) -> DatasetVersion | None:
        if parent is None:
            return None
        groups: dict[tuple[str, str], list[Shard]] = defaultdict(list)
        for shard in read_shards(store, parent):
            if shard.byte_count < settings.datasets.full_shard_bytes:
                groups[shard.modality, shard.split].append(shard)
        change = Change(cause="compaction")
        for (modality, _), shards in sorted(groups.items()):
            if len(shards) > 1:
                change = compactor.merge(change, shards, parent.columns[modality])
        if not change.added:
            return None
        return make_version(store, dataset, parent, change, settings.datasets.full_shard_bytes)

    return put_next_version(store, DatasetIndex(index), dataset, propose)
