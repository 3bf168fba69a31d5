"""Rewriting shards whose rows labels or takedowns change, and only those."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from ummp_assets.datasets.revisions import IDENTITY_COLUMNS, Reviser, RowReviser
from ummp_assets.datasets.shard_files import ShardKey, ShardWriter, read_shard
from ummp_assets.datasets.versions import Shard, dataset_path
from ummp_assets.settings import Settings
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import FileEntry

__all__ = ["RewrittenShard", "forbidden_samples", "revise_shards", "shard_from"]


@dataclass(frozen=True, slots=True)
class RewrittenShard:
    """A shard and what takes its place: several shards where it was too large, none where no row is left."""

    old: Shard
    new: Sequence[Shard]
    dropped: int
    relabelled: int


def revise_shards(
    store: ObjectStore, settings: Settings, dataset: str, shards: Sequence[Shard], reviser: RowReviser
) -> list[RewrittenShard]:
    """Write the shards anew that have a row which the reviser changes; the others are left out.

    The identity of the rows is read first, so that a shard without such a row costs four short columns.

    Raises
    ------
    ManifestCorrupt
        A shard is missing or damaged.
    """
    if not reviser.has_orders:
        return []
    changed = [shard for shard in shards if _changes(store, shard, reviser)]
    return [_rewrite(store, settings, dataset, shard, reviser) for shard in changed]


def forbidden_samples(store: ObjectStore, files: Sequence[FileEntry], reviser: Reviser) -> set[str]:
    """Return the ids of rows in these shards that a takedown names."""
    if not reviser.has_takedowns:
        return set()
    found: set[str] = set()
    for file in files:
        for rows in read_shard(store, file.path, file.footer_sha256, columns=IDENTITY_COLUMNS):
            kept = reviser.revise(rows).keep
            ids = rows.column("sample_id").to_pylist()
            found.update(sample_id for sample_id, stays in zip(ids, kept, strict=True) if not stays)
    return found


def shard_from(modality: str, split: str, entry: FileEntry, level: int = 0) -> Shard:
    """Return a written file as a version's shard."""
    return Shard(entry.path, modality, split, entry.rows, entry.byte_count, entry.sha256, entry.footer_sha256, level)


def _changes(store: ObjectStore, shard: Shard, reviser: RowReviser) -> bool:
    identities = read_shard(store, shard.path, shard.footer_sha256, columns=IDENTITY_COLUMNS)
    return any(not reviser.revise(rows).changes_nothing for rows in identities)


def _rewrite(store: ObjectStore, settings: Settings, dataset: str, shard: Shard, reviser: RowReviser) -> RewrittenShard:
    key = ShardKey(dataset, shard.modality, shard.split)
    dropped = relabelled = 0
    with TemporaryDirectory(dir=store.scratch_directory(), ignore_cleanup_errors=True) as folder:
        writer = ShardWriter(store, Path(folder), dataset_path(dataset, "shards"), settings.datasets.target_shard_bytes)
        for rows in read_shard(store, shard.path, shard.footer_sha256):
            revision = reviser.revise(rows.select(IDENTITY_COLUMNS))
            dropped, relabelled = dropped + revision.dropped, relabelled + revision.relabelled
            writer.write_packed(key, revision.apply(rows))
        entries = writer.finish().get(key, [])
    new = [shard_from(shard.modality, shard.split, entry, shard.level) for entry in entries]
    return RewrittenShard(shard, new, dropped, relabelled)
