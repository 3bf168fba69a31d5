"""What differs between two versions of a dataset, sample by sample, and why."""

from collections.abc import Iterator
from dataclasses import dataclass

from ummp_assets.datasets.shard_files import read_shard
from ummp_assets.datasets.versions import DatasetVersion, read_shards, read_version
from ummp_assets.errors import InvalidInput
from ummp_assets.storage.objects import ObjectStore

__all__ = ["Difference", "VersionDiff", "diff_versions"]


@dataclass(frozen=True, slots=True, order=True)
class Difference:
    """A sample that was added, removed or relabelled, and the cause and batches of the version that did it."""

    sample_id: str
    kind: str
    version: int
    cause: str
    batches: tuple[str, ...]
    before: str | None = None
    after: str | None = None


@dataclass(frozen=True, slots=True)
class VersionDiff:
    """All differences from one version to a later one, by sample id."""

    dataset: str
    old: int
    new: int
    differences: tuple[Difference, ...]

    def count(self, kind: str) -> int:
        return sum(item.kind == kind for item in self.differences)


def diff_versions(store: ObjectStore, dataset: str, old: int, new: int) -> VersionDiff:
    """Compare two versions of a dataset by the steps between them.

    Only shards that a step added or removed are read, of them two columns: a step that compacts costs more, as it
    moves every row of its shards.

    Raises
    ------
    DatasetNotFound
        There is no such version.
    ManifestCorrupt
        A shard between them was purged or is damaged.
    InvalidInput
        `new` is not later than `old`.
    """
    if new <= old:
        raise InvalidInput(f"version {new} is not later than version {old}: name the older one first")
    before = read_version(store, dataset, old)
    found: dict[str, Difference] = {}
    for number in range(old + 1, new + 1):
        after = read_version(store, dataset, number)
        for item in _step(store, before, after):
            _merge(found, item)
        before = after
    return VersionDiff(dataset, old, new, tuple(found[sample_id] for sample_id in sorted(found)))


def _step(store: ObjectStore, before: DatasetVersion, after: DatasetVersion) -> Iterator[Difference]:
    gone = _labels(store, before, set(after.removed_shards))
    come = _labels(store, after, set(after.added_shards))
    batches = tuple(after.added_batches)
    for sample_id in sorted(gone.keys() | come.keys()):
        old, new = gone.get(sample_id), come.get(sample_id)
        if sample_id not in gone:
            yield Difference(sample_id, "added", after.version, after.cause, batches, None, new)
        elif sample_id not in come:
            yield Difference(sample_id, "removed", after.version, after.cause, batches, old, None)
        elif old != new:
            yield Difference(sample_id, "relabelled", after.version, after.cause, batches, old, new)


def _labels(store: ObjectStore, version: DatasetVersion, paths: set[str]) -> dict[str, str | None]:
    labels: dict[str, str | None] = {}
    for shard in read_shards(store, version):
        if shard.path in paths:
            for rows in read_shard(store, shard.path, shard.footer_sha256, columns=["sample_id", "label"]):
                labels.update(zip(*(column.to_pylist() for column in rows.columns), strict=True))
    return labels


def _merge(found: dict[str, Difference], item: Difference) -> None:
    """Keep one difference a sample: what holds from the first version to the last."""
    earlier = found.pop(item.sample_id, None)
    if earlier is None:
        found[item.sample_id] = item
    elif earlier.kind == "added" and item.kind == "removed":
        return
    elif earlier.kind == "added":
        found[item.sample_id] = Difference(
            item.sample_id, "added", earlier.version, earlier.cause, earlier.batches, None, item.after
        )
    elif earlier.before != item.after or item.kind == "removed":
        kind = "removed" if item.kind == "removed" else "relabelled"
        found[item.sample_id] = Difference(
            item.sample_id, kind, item.version, item.cause, item.batches, earlier.before, item.after
        )
