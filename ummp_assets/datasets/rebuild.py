"""Rebuilding a version from the stored messages and raw bytes, and comparing it with what was committed.

Every step of the version's line is repeated, in its order, in a scratch store that hides all that was derived: the
clean stages, features, shards and versions run anew over the stored `requests` and `downloads`.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa

from ummp_assets.datasets.commit import commit_batch
from ummp_assets.datasets.compaction import compact_dataset
from ummp_assets.datasets.labels import apply_labels
from ummp_assets.datasets.packing import is_packed
from ummp_assets.datasets.promote import RunStages
from ummp_assets.datasets.replication import copy_object, hash_object
from ummp_assets.datasets.shard_files import read_shard
from ummp_assets.datasets.shards import write_shards
from ummp_assets.datasets.standing_labels import StandingLabels
from ummp_assets.datasets.versions import (
    DatasetVersion,
    Shard,
    ShardList,
    latest_version,
    read_shard_list,
    read_shards,
    read_version,
)
from ummp_assets.datasets.withdrawals import is_withdrawn, read_withdrawals
from ummp_assets.errors import InvalidInput, ObjectNotFound
from ummp_assets.settings import Settings
from ummp_assets.storage.accounting import CLEAN_STAGES, FEATURE_STAGES
from ummp_assets.storage.index import Index, open_index
from ummp_assets.storage.local_store import LocalStore
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.overlay_store import OverlayStore
from ummp_assets.storage.owners import copy_owners

__all__ = ["Rebuilt", "content_digests", "rebuild_version"]

_DERIVED = (*CLEAN_STAGES.values(), *FEATURE_STAGES.values(), "training_shards", "dataset_commits", "label_updates")
_HIDDEN = ("datasets/", "dataset-names/", *(f"stages/{stage}/" for stage in _DERIVED))


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What came out of a rebuild.

    Parameters
    ----------
    committed_sha256, rebuilt_sha256:
        Of the two manifests, each shard's sha256 included: equal where the same Arrow wrote the same files; None where
        no row came out.
    added, removed, changed:
        Sample ids that only the rebuilt version has, that only the committed one has, and whose values differ. Rows of
        a damaged shard that came out otherwise count as added.
    other_rules:
        Rules and code of stages that had other versions then, by name: those of then, and those of now.
    damaged, repaired:
        Paths of the version's shards that are missing or damaged, with `repair` also of those that only earlier
        versions have, and of those that were put in place again.
    """

    dataset: str
    version: int
    committed_sha256: str
    rebuilt_sha256: str | None
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    other_rules: Mapping[str, tuple[Sequence[str], Sequence[str]]] = field(default_factory=dict)
    damaged: tuple[str, ...] = ()
    repaired: tuple[str, ...] = ()

    @property
    def is_identical(self) -> bool:
        """Whether manifests and files are the same to the byte."""
        return self.committed_sha256 == self.rebuilt_sha256

    @property
    def has_same_rows(self) -> bool:
        """Whether every sample has the same values, however the rows are spread over files."""
        return not (self.added or self.removed or self.changed)


def rebuild_version(
    store: ObjectStore,
    settings: Settings,
    dataset: str,
    number: int,
    run_stages: RunStages,
    *,
    repair: bool = False,
    on_step: Callable[[int], None] | None = None,
) -> Rebuilt:
    """Rebuild a version beside the store, which stays as it is, and compare the two.

    Of samples with the same or nearly the same content, the owner is the one that the index names: which one came first
    cannot be told from the raw bytes. After a takedown earlier steps lack what is gone, so that later versions can have
    the same rows, not the same files.

    Parameters
    ----------
    repair:
        Put rebuilt shards into the store where its own are missing or damaged and the rebuilt ones have their hashes:
        those of the version and of all before it, which are made on the way.
    on_step:
        Called after each version on the way, with its number.

    Raises
    ------
    DatasetNotFound
        There is no such version.
    InvalidInput
        The version was withdrawn: what it was built from was taken down.
    """
    committed = read_version(store, dataset, number)
    if is_withdrawn(store, dataset, number):
        raise InvalidInput(f"version {number} of {dataset} was withdrawn: its raw bytes were taken down")
    with TemporaryDirectory() as folder:
        scratch = OverlayStore(store, LocalStore(Path(folder) / "store"), _HIDDEN)
        index = open_index(settings.model_copy(update={"index": f"sqlite:///{folder}/index.db"}))
        try:
            with closing(open_index(settings)) as source:
                copy_owners(source, index, dataset)
                labels = StandingLabels(store, source, settings, dataset)
            for step in range(1, number + 1):
                labels.record_before(step, index)
                _repeat(scratch, index, settings, read_version(store, dataset, step), run_stages)
                if on_step is not None:
                    on_step(step)
        finally:
            index.close()
        newest = latest_version(scratch, dataset)
        rebuilt = read_version(scratch, dataset, newest) if newest else None
        compared = _compare(store, committed, scratch, rebuilt)
        if not repair:
            return compared
        damaged = [shard for shard in _shards_until(store, committed) if not _is_whole(store, shard)]
        return replace(
            compared,
            damaged=tuple(shard.path for shard in damaged),
            repaired=tuple(shard.path for shard in damaged if _is_copied(scratch, store, shard)),
        )


def content_digests(store: ObjectStore, shards: Iterable[Shard]) -> dict[str, str]:
    """Return by sample id a sha256 over all values of its row; raises `ManifestCorrupt` for a damaged shard."""
    digests = {}
    for shard in shards:
        for rows in read_shard(store, shard.path, shard.footer_sha256, batch_rows=64):
            names = sorted(rows.schema.names)
            columns = [_as_bytes(rows.column(name), rows.schema.field(name)) for name in names]
            for sample_id, values in zip(rows.column("sample_id").to_pylist(), zip(*columns, strict=True), strict=True):
                whole = b"".join(len(value).to_bytes(8, "big") + value for value in values)
                digests[sample_id] = hashlib.sha256(repr(names).encode() + whole).hexdigest()
    return digests


def _repeat(store: ObjectStore, index: Index, settings: Settings, step: DatasetVersion, run_stages: RunStages) -> None:
    if step.cause == "compaction":
        compact_dataset(store, index, settings, step.dataset)
    for batch in step.added_batches:
        if step.cause in ("batch", "promotion"):
            run_stages(store, index, batch)
            write_shards(store, settings, batch)
            commit_batch(store, index, settings, batch)
        elif step.cause == "labels":
            apply_labels(store, index, settings, batch)


def _compare(
    store: ObjectStore, committed: DatasetVersion, scratch: ObjectStore, rebuilt: DatasetVersion | None
) -> Rebuilt:
    shards = list(read_shards(store, committed))
    fresh = {shard.path: shard for shard in (read_shards(scratch, rebuilt) if rebuilt else ())}
    damaged = [shard for shard in shards if not _is_whole(store, shard)]
    # Of the same hash, the rebuilt file is what the damaged one was.
    found_again = [shard for shard in damaged if shard.path in fresh and fresh[shard.path].sha256 == shard.sha256]
    before = content_digests(store, [shard for shard in shards if shard not in damaged])
    before |= content_digests(scratch, found_again)
    after = content_digests(scratch, fresh.values())
    shared = before.keys() & after.keys()
    return Rebuilt(
        dataset=committed.dataset,
        version=committed.version,
        committed_sha256=committed.sha256,
        rebuilt_sha256=rebuilt.sha256 if rebuilt else None,
        added=tuple(sorted(after.keys() - before.keys())),
        removed=tuple(sorted(before.keys() - after.keys())),
        changed=tuple(sorted(sample_id for sample_id in shared if before[sample_id] != after[sample_id])),
        other_rules=_other_rules(committed, rebuilt) if rebuilt else {},
        damaged=tuple(shard.path for shard in damaged),
    )


def _other_rules(committed: DatasetVersion, rebuilt: DatasetVersion) -> dict[str, tuple[Sequence[str], Sequence[str]]]:
    before, now = ({**version.code_versions, **version.rules} for version in (committed, rebuilt))
    names = sorted(before.keys() | now.keys())
    return {name: (before.get(name, ()), now.get(name, ())) for name in names if before.get(name) != now.get(name)}


def _shards_until(store: ObjectStore, version: DatasetVersion) -> list[Shard]:
    """Return the shards of a version and of all before it, but for those that a takedown withdrew."""
    withdrawn = {path for item in read_withdrawals(store, version.dataset) for path in item.shards}
    found: dict[str, Shard] = {}
    lists: dict[str, ShardList] = {}
    for number in range(1, version.version + 1):
        step = read_version(store, version.dataset, number)
        lists |= {item.path: item for item in step.shard_lists}
        found |= {shard.path: shard for shard in step.shards}
    for item in lists.values():
        found |= {shard.path: shard for shard in read_shard_list(store, item)}
    return [found[path] for path in sorted(found.keys() - withdrawn)]


def _is_copied(source: ObjectStore, target: ObjectStore, shard: Shard) -> bool:
    try:
        return copy_object(source, target, shard.path, shard.sha256)
    except ObjectNotFound:
        return False


def _is_whole(store: ObjectStore, shard: Shard) -> bool:
    try:
        return hash_object(store, shard.path) == shard.sha256
    except ObjectNotFound:
        return False


def _as_bytes(column: pa.Array, field: pa.Field) -> list[bytes]:
    if is_packed(field):
        return [b"" if value is None else value for value in column.to_pylist()]
    return [repr(value).encode() for value in column.to_pylist()]
