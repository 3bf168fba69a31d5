"""What differs between two versions of a dataset, sample by sample, and why."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ummp_assets.datasets.receipts import read_receipt, stored_before
from ummp_assets.datasets.shard_files import read_shard
from ummp_assets.datasets.versions import DatasetVersion, read_shards, read_version
from ummp_assets.datasets.withdrawals import read_withdrawals
from ummp_assets.errors import InvalidInput
from ummp_assets.storage.objects import ObjectStore

__all__ = ["Difference", "VersionDiff", "diff_versions"]


@dataclass(frozen=True, slots=True, order=True)
class Difference:
    """A sample that was added, removed or relabelled, and why: cause and batches of the version that did it, and of a
    takedown the reasons that its orders gave."""

    sample_id: str
    kind: str
    version: int
    cause: str
    batches: tuple[str, ...]
    before: str | None = None
    after: str | None = None
    reason: str | None = None


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

    Only shards that a step added or removed are read, of them two columns. What a takedown took away is known from its
    receipt once the shards are purged.

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
    before, _ = read_version(store, dataset, old), read_version(store, dataset, new)
    found: dict[str, Difference] = {}
    for number in range(old + 1, new + 1):
        after = read_version(store, dataset, number)
        for item in _step(store, before, after):
            _merge(found, item)
        before = after
    return VersionDiff(dataset, old, new, tuple(found[sample_id] for sample_id in sorted(found)))


def _step(store: ObjectStore, before: DatasetVersion, after: DatasetVersion) -> Iterator[Difference]:
    if after.cause == "compaction":
        return
    come = _labels(store, after, set(after.added_shards))
    gone = _removed(store, before, after, come)
    batches = tuple(after.added_batches)
    reason = _reason(store, after)
    for sample_id in sorted(gone.keys() | come.keys()):
        old, new = gone.get(sample_id), come.get(sample_id)
        if sample_id not in gone:
            yield Difference(sample_id, "added", after.version, after.cause, batches, None, new)
        elif sample_id not in come:
            yield Difference(sample_id, "removed", after.version, after.cause, batches, old, None, reason)
        elif old != new:
            yield Difference(sample_id, "relabelled", after.version, after.cause, batches, old, new)


def _removed(
    store: ObjectStore, before: DatasetVersion, after: DatasetVersion, come: Mapping[str, str | None]
) -> dict[str, str | None]:
    """Return the rows of the shards that a step removed, by sample id, with their labels."""
    paths = set(after.removed_shards)
    if after.cause == "takedown" and not all(store.exists(path) for path in paths):
        # Purged: all rows but those that were taken down stand in the new shards, with their labels.
        taken = (stored_before(store, batch, after.dataset) for batch in _receipted(store, after))
        return {**come, **dict.fromkeys(set().union(*taken))}
    return _labels(store, before, paths)


def _receipted(store: ObjectStore, version: DatasetVersion) -> list[str]:
    """Return the batches whose receipts say what a version took away: its own, or those that withdrew its shards, where
    the commit of a batch of requests came upon an order."""
    gone = set(version.removed_shards)
    withdrawals = () if version.added_batches else read_withdrawals(store, version.dataset)
    return [*version.added_batches, *sorted({item.batch for item in withdrawals if gone & item.shards.keys()})]


def _reason(store: ObjectStore, version: DatasetVersion) -> str | None:
    if version.cause != "takedown":
        return None
    receipts = (read_receipt(store, batch) for batch in _receipted(store, version))
    reasons = {order["reason"] for receipt in receipts if receipt for order in receipt["orders"]}
    return "; ".join(sorted(reasons)) or None


def _labels(store: ObjectStore, version: DatasetVersion, paths: set[str]) -> dict[str, str | None]:
    labels: dict[str, str | None] = {}
    for shard in read_shards(store, version):
        if shard.path in paths:
            for rows in read_shard(store, shard.path, shard.footer_sha256, columns=["sample_id", "label"]):
                ids, values = (rows.column(name).to_pylist() for name in ("sample_id", "label"))
                labels.update(zip(ids, values, strict=True))
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
            item.sample_id, kind, item.version, item.cause, item.batches, earlier.before, item.after, item.reason
        )
