"""Twins that enter their dataset because their owner was taken down, or its batch was given up.

A duplicate was left out since its owner stood for it. Once that is gone the twin is cleaned from its stored raw
bytes, and a version adds it. What the index says decides: of several twins the first becomes the owner.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa

from ummp_assets.datasets.batch_content import batch_manifests, batch_watermark, change_without_rows, columns_of
from ummp_assets.datasets.changes import Change, make_version
from ummp_assets.datasets.commit import STAGE as COMMITS
from ummp_assets.datasets.commit import revise_change
from ummp_assets.datasets.history import put_next_version
from ummp_assets.datasets.replacing import Without
from ummp_assets.datasets.rewriting import revise_shards, shard_from
from ummp_assets.datasets.shard_files import ShardWriter, read_sample_ids, read_shard
from ummp_assets.datasets.shards import STAGE as SHARDS
from ummp_assets.datasets.shards import shard_key, write_shards
from ummp_assets.datasets.versions import DatasetVersion, Shard, dataset_path, read_shards, read_version
from ummp_assets.reasons import Outcome, Reason
from ummp_assets.records import RAW_SCHEMA
from ummp_assets.settings import Settings
from ummp_assets.storage.abandoned import is_abandoned
from ummp_assets.storage.accounting import CLEAN_STAGES, FEATURE_STAGES
from ummp_assets.storage.dataset_index import DatasetIndex
from ummp_assets.storage.index import Index
from ummp_assets.storage.local_store import LocalStore
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.overlay_store import OverlayStore
from ummp_assets.storage.promotions import Promotion, PromotionIndex
from ummp_assets.storage.stages import OutcomeCount, StageWriter, read_manifest, read_table, stage_path

__all__ = ["RunStages", "promote_twins"]

RunStages = Callable[[ObjectStore, Index, str], None]
"""Runs the clean and feature stages of a batch in a store that holds its `requests` and `downloads`."""

_RAW = "downloads"
_DUPLICATES = (Reason.EXACT_DUPLICATE, Reason.NEAR_DUPLICATE)
_HIDDEN = tuple(f"stages/{stage}/" for stage in (*CLEAN_STAGES.values(), *FEATURE_STAGES.values(), SHARDS))


def promote_twins(store: ObjectStore, index: Index, settings: Settings, run_stages: RunStages) -> list[DatasetVersion]:
    """Carry out the promotions that wait, and return the version of each dataset and batch that adds some.

    A twin whose batch is on its way waits until that is committed. One that the rules refuse by now, whose raw bytes
    are gone or whose batch was given up stays out.

    Raises
    ------
    CommitConflict
        Other committers of a dataset were always first.
    StoreUnavailable, IndexUnavailable
        The next call goes on.
    """
    waiting = PromotionIndex(index).waiting()
    if not waiting:
        return []
    entries = {entry.sample_id: entry for entry in index.find_samples(sample_ids=[item.sample_id for item in waiting])}
    due: dict[tuple[str, str], list[Promotion]] = defaultdict(list)
    for item in waiting:
        entry = entries.get(item.sample_id)
        if entry is not None and store.exists(stage_path(COMMITS, entry.batch)):
            due[item.dataset, entry.batch].append(item)
        elif entry is not None and is_abandoned(store, entry.batch):
            PromotionIndex(index).strike_out([item])
    versions = []
    for (dataset, batch), items in sorted(due.items()):
        reasons = {item.sample_id: entries[item.sample_id].reason or "" for item in items}
        twins = {sample_id: reason for sample_id, reason in reasons.items() if reason in _DUPLICATES}
        version = _promote(store, index, settings, dataset, batch, twins, run_stages) if twins else None
        PromotionIndex(index).strike_out(items)
        versions += [version] if version else []
    return versions


def _promote(
    store: ObjectStore,
    index: Index,
    settings: Settings,
    dataset: str,
    batch: str,
    twins: Mapping[str, str],
    run_stages: RunStages,
) -> DatasetVersion | None:
    """Let samples in; `twins` names the reason for which each was left out."""
    with TemporaryDirectory(dir=store.scratch_directory(), ignore_cleanup_errors=True) as folder:
        scratch = OverlayStore(store, LocalStore(Path(folder) / "store"), _HIDDEN)
        _put_downloads(scratch, batch, twins.keys())
        run_stages(scratch, index, batch)
        write_shards(scratch, settings, batch)
        shards = _move(scratch, store, settings, Path(folder), dataset, batch)
    if not shards:
        return None
    version = _commit(store, index, settings, dataset, batch, shards, twins)
    # A takedown may have come in between, and an earlier call may have stored some: the newest version says.
    newest = read_version(store, dataset)
    stored = _held(store, DatasetIndex(index), newest, batch) & set(_ids(store, shards))
    entries = index.find_samples(sample_ids=sorted(stored))
    index.record_samples(replace(entry, outcome=Outcome.STORED.value, reason=None) for entry in entries)
    return version


def _put_downloads(scratch: ObjectStore, batch: str, sample_ids: Collection[str]) -> None:
    """Commit, in the scratch store, the raw bytes of these samples as if the batch had no others."""
    manifest = read_manifest(scratch, _RAW, batch)
    with StageWriter(scratch, _RAW, batch, {"samples": RAW_SCHEMA}) as writer:
        for rows in read_table(scratch, manifest, "samples", batch_rows=64):
            chosen = [sample_id in sample_ids for sample_id in rows.column("sample_id").to_pylist()]
            writer.write("samples", rows.filter(pa.array(chosen, pa.bool_())))
        writer.commit(code_version=manifest.code_version, rules=manifest.rules)


def _move(
    scratch: ObjectStore, store: ObjectStore, settings: Settings, folder: Path, dataset: str, batch: str
) -> list[Shard]:
    """Write the dataset's shards of the scratch store into the store."""
    writer = ShardWriter(store, folder, dataset_path(dataset, "shards"), settings.datasets.target_shard_bytes)
    for table, entries in read_manifest(scratch, SHARDS, batch).tables.items():
        for entry in entries:
            key = shard_key(table, entry)
            if key.dataset == dataset:
                for rows in read_shard(scratch, entry.path, entry.footer_sha256):
                    writer.write_packed(key, rows)
    return [shard_from(key.modality, key.split, entry) for key, entries in writer.finish().items() for entry in entries]


def _change(store: ObjectStore, dataset: str, batch: str, shards: Sequence[Shard], twins: Mapping[str, str]) -> Change:
    outcomes = []
    for shard in shards:
        outcomes.append(OutcomeCount(dataset, shard.modality, Outcome.STORED.value, "", shard.rows))
        for reason, rows in Counter(twins[sample_id] for sample_id in _ids(store, [shard])).items():
            outcomes.append(OutcomeCount(dataset, shard.modality, Outcome.DUPLICATE.value, reason, -rows))
    return Change(
        cause="promotion",
        added=[(shard, (batch,)) for shard in shards],
        columns={shard.modality: columns_of(store, shard.path) for shard in shards},
        outcomes=outcomes,
        watermark=batch_watermark(store, batch),
    )


def _commit(
    store: ObjectStore,
    index: Index,
    settings: Settings,
    dataset: str,
    batch: str,
    shards: Sequence[Shard],
    twins: Mapping[str, str],
) -> DatasetVersion | None:
    known = DatasetIndex(index)
    promoted = set(_ids(store, shards))

    def propose(parent: DatasetVersion | None) -> DatasetVersion | None:
        held = set() if parent is None else _held(store, known, parent, batch) & promoted
        if held == promoted:
            return None
        # An earlier call was killed after its version stood; since then another twin of the batch has become due.
        fresh = _without(store, settings, dataset, shards, held)
        change = _change(store, dataset, batch, fresh, twins)
        # A dataset that had no row of the batch learns of it now.
        is_new = known.version_of(dataset, batch) is None
        complete = _with_batch(store, dataset, batch, change) if is_new else change
        revised = revise_change(store, index, settings, dataset, complete)
        return make_version(store, dataset, parent, revised, settings.datasets.full_shard_bytes)

    return put_next_version(store, known, dataset, propose)


def _with_batch(store: ObjectStore, dataset: str, batch: str, change: Change) -> Change:
    """Return the change with the batch and what its commit left out, since no row was stored."""
    rejected = change_without_rows(dataset, batch, batch_manifests(store, batch))
    return replace(
        change,
        batches=rejected.batches,
        outcomes=[*change.outcomes, *rejected.outcomes],
        rules=rejected.rules,
        code_versions=rejected.code_versions,
    )


def _held(store: ObjectStore, known: DatasetIndex, version: DatasetVersion, batch: str) -> set[str]:
    """Return the ids of all rows that a version has in shards with rows of the batch."""
    paths = {shard.path for shard in known.shards_of(version.dataset, [batch])}
    return set(_ids(store, [shard for shard in read_shards(store, version) if shard.path in paths]))


def _without(
    store: ObjectStore, settings: Settings, dataset: str, shards: Sequence[Shard], held: Set[str]
) -> list[Shard]:
    """Return the shards, written anew where they have rows that the dataset holds."""
    rewritten = revise_shards(store, settings, dataset, shards, Without(held)) if held else []
    replaced = {item.old.path: item.new for item in rewritten}
    return [new for shard in shards for new in replaced.get(shard.path, [shard])]


def _ids(store: ObjectStore, shards: Sequence[Shard]) -> Iterator[str]:
    for shard in shards:
        yield from read_sample_ids(store, shard.path, shard.footer_sha256)
