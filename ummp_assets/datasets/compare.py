"""What differs between two versions of a dataset, sample by sample, and why."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ummp_assets.datasets.additions import membership
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
    receipt once the shards are purged; a version that they were added by is compared together with those behind it.

    Raises
    ------
    DatasetNotFound
        There is no such version.
    ManifestCorrupt
        A shard is missing or damaged, or `new` was withdrawn and its shards are purged.
    InvalidInput
        `new` is not later than `old`.
    """
    if new <= old:
        raise InvalidInput(f"version {new} is not later than version {old}: name the older one first")
    before, _ = read_version(store, dataset, old), read_version(store, dataset, new)
    found: dict[str, Difference] = {}
    for steps in _readable_steps(store, dataset, range(old + 1, new + 1)):
        for item in _differences(store, before, steps):
            _merge(found, item)
        before = steps[-1]
    return VersionDiff(dataset, old, new, tuple(found[sample_id] for sample_id in sorted(found)))


def _readable_steps(store: ObjectStore, dataset: str, numbers: Iterable[int]) -> Iterator[list[DatasetVersion]]:
    """Yield each version alone or, once its shards are purged, with those up to the takedown that withdrew it:
    what those shards had added is in the shards that replaced them."""
    steps: list[DatasetVersion] = []
    for number in numbers:
        steps.append(read_version(store, dataset, number))
        if all(store.exists(path) for path in _changed_shards(steps)[0]):
            yield steps
            steps = []
    if steps:
        yield steps


def _changed_shards(steps: Sequence[DatasetVersion]) -> tuple[set[str], set[str]]:
    """Return the shards that the last of the steps has and the version before the first has not, and the other way."""
    added = {path for step in steps for path in step.added_shards}
    removed = {path for step in steps for path in step.removed_shards}
    return added - removed, removed - added


def _differences(store: ObjectStore, before: DatasetVersion, steps: Sequence[DatasetVersion]) -> Iterator[Difference]:
    if all(step.cause == "compaction" for step in steps):
        return
    added, removed = _changed_shards(steps)
    come = _labels(store, steps[-1], added)
    gone = _removed(store, before, steps, removed, come)
    adding_step = _adding_step(store, steps)
    for sample_id in sorted(gone.keys() | come.keys()):
        old, new = gone.get(sample_id), come.get(sample_id)
        if sample_id not in gone:
            step = adding_step(sample_id)
            yield Difference(sample_id, "added", step.version, step.cause, tuple(step.added_batches), None, new)
        elif sample_id not in come:
            step = _first(steps, "takedown")
            batches, reason = tuple(step.added_batches), _reason(store, step)
            yield Difference(sample_id, "removed", step.version, step.cause, batches, old, None, reason)
        elif old != new:
            step = _first(steps, "labels")
            yield Difference(sample_id, "relabelled", step.version, step.cause, tuple(step.added_batches), old, new)


def _adding_step(store: ObjectStore, steps: Sequence[DatasetVersion]) -> Callable[[str], DatasetVersion]:
    """Return what tells which of some steps added a sample."""
    if len(steps) == 1:
        return lambda _: steps[0]
    batches = [(step, membership(store, set(step.added_batches))) for step in steps if step.cause == "batch"]
    other = _first(steps, "promotion")
    return lambda sample_id: next((step for step, holds in batches if holds(sample_id)), other)


def _first(steps: Sequence[DatasetVersion], cause: str) -> DatasetVersion:
    return next((step for step in steps if step.cause == cause), steps[-1])


def _removed(
    store: ObjectStore,
    before: DatasetVersion,
    steps: Sequence[DatasetVersion],
    paths: set[str],
    come: Mapping[str, str | None],
) -> dict[str, str | None]:
    """Return the rows of the shards that some steps removed, by sample id, with their labels."""
    takedowns = [step for step in steps if step.cause == "takedown"]
    if not takedowns or all(store.exists(path) for path in paths):
        return _labels(store, before, paths)
    # Purged: all rows but those that were taken down stand in the new shards, with their labels.
    is_new = membership(store, {batch for step in steps if step.cause == "batch" for batch in step.added_batches})
    receipts = {batch for step in takedowns for batch in _receipted(store, step)}
    taken = (stored_before(store, batch, before.dataset) for batch in receipts)
    gone = {**come, **dict.fromkeys(set().union(*taken))}
    return {sample_id: label for sample_id, label in gone.items() if not is_new(sample_id)}


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
