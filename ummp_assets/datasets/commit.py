"""Stage `dataset_commits`: a batch's shards become the next version of each dataset in it."""

from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa

from ummp_assets.datasets.abandonment import note_copies_of_abandoned
from ummp_assets.datasets.adjust import adjust_dataset, takedown_outcomes
from ummp_assets.datasets.batch_content import batch_changes, read_despite_erasure
from ummp_assets.datasets.changes import Change, make_version
from ummp_assets.datasets.compaction import Compactor
from ummp_assets.datasets.history import put_next_version
from ummp_assets.datasets.removal import remove_forbidden
from ummp_assets.datasets.replacing import replace_replayed
from ummp_assets.datasets.revisions import Reviser
from ummp_assets.datasets.rewriting import RewrittenShard, forbidden_samples, revise_shards
from ummp_assets.datasets.sample_records import record_batch_samples
from ummp_assets.datasets.shards import STAGE as SHARDS
from ummp_assets.datasets.shards import shard_key
from ummp_assets.datasets.standing_orders import forbid_downloads
from ummp_assets.datasets.versions import DatasetVersion, read_version
from ummp_assets.reasons import Outcome
from ummp_assets.settings import Settings
from ummp_assets.storage.abandoned import require_not_abandoned
from ummp_assets.storage.dataset_index import DatasetIndex
from ummp_assets.storage.index import Index
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import OutcomeCount, StageWriter, read_manifest

__all__ = ["CODE_VERSION", "COMMIT_SCHEMA", "STAGE", "commit_batch", "revise_change"]

STAGE = "dataset_commits"
CODE_VERSION = "1"

COMMIT_SCHEMA = pa.schema(
    [
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("version", pa.int32(), nullable=False),
        pa.field("manifest", pa.string(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),
        pa.field("rows", pa.int64(), nullable=False),
    ]
)
"""Table `samples` of the stage `dataset_commits`: one row a dataset of the batch with the version that added it."""


def commit_batch(store: ObjectStore, index: Index, settings: Settings, batch: str) -> list[DatasetVersion]:
    """Add a batch to each dataset of which it stored a row.

    A dataset that already holds the batch gives the version that added it, so that a repeated call changes nothing.

    Returns
    -------
    The version of each dataset that added the batch, in order of the names, followed by the next one where labels or
    takedowns that came in between changed its rows.

    Raises
    ------
    ManifestMissing
        The stage `training_shards` has not committed the batch.
    SchemaConflict
        A column changed its type since an earlier batch of the dataset.
    CommitConflict
        Other committers were always first.
    BatchAbandoned
        The batch was given up.
    """
    require_not_abandoned(store, batch)
    changes = read_despite_erasure(lambda: batch_changes(store, batch))
    # Before the versions: whoever labels or takes down a sample finds its batch, and through it its shard.
    read_despite_erasure(lambda: record_batch_samples(store, index, batch))
    note_copies_of_abandoned(store, index, batch)
    # Before the versions, too: none shall hold a twin of what was taken down.
    read_despite_erasure(lambda: forbid_downloads(store, index, batch))
    versions = [
        version for dataset, change in changes.items() for version in _commit(store, index, settings, dataset, change)
    ]
    # After them: what was taken down while the batch was on its way, stored or not.
    rows = read_despite_erasure(lambda: _forbidden_rows(store, index, settings, batch))
    versions += remove_forbidden(store, index, settings, batch, rows)
    _write_stage(store, batch, versions)
    return versions


def _commit(store: ObjectStore, index: Index, settings: Settings, dataset: str, change: Change) -> list[DatasetVersion]:
    known = DatasetIndex(index)
    compactor = Compactor(store, settings, dataset)
    (batch,) = change.batches

    def propose(parent: DatasetVersion | None) -> DatasetVersion | None:
        # Again, since a person may have given the batch up meanwhile: its messages are dead letters then.
        require_not_abandoned(store, batch)
        # Asked for each parent anew: another process may have committed the same batch meanwhile.
        if parent is not None and known.version_of(dataset, batch) is not None:
            return None
        revised = revise_change(store, index, settings, dataset, change)
        replaced = replace_replayed(store, settings, parent, revised, known)
        merged = compactor.merge_due(parent, _with_replaced(dataset, revised, replaced))
        return make_version(store, dataset, parent, merged, settings.datasets.full_shard_bytes)

    version = put_next_version(store, known, dataset, propose)
    added = version or read_version(store, dataset, known.version_of(dataset, batch))
    # Orders that came after `propose` looked, but were carried out before the version stood, saw no row of it.
    adjusted = adjust_dataset(store, index, settings, dataset, touched=change.batches)
    return [added] if adjusted is None else [added, adjusted]


def revise_change(store: ObjectStore, index: Index, settings: Settings, dataset: str, change: Change) -> Change:
    """Return the change with early labels applied and without what was taken down."""
    reviser = Reviser(index, dataset, settings.datasets)
    rewritten = revise_shards(store, settings, dataset, [shard for shard, _ in change.added], reviser)
    replaced = {item.old.path: item.new for item in rewritten}
    return replace(
        change,
        added=[(new, sources) for shard, sources in change.added for new in replaced.get(shard.path, [shard])],
        outcomes=[*change.outcomes, *takedown_outcomes(dataset, rewritten)],
    )


def _with_replaced(dataset: str, change: Change, replaced: Sequence[RewrittenShard]) -> Change:
    return replace(
        change,
        added=[*change.added, *((new, (item.old.path,)) for item in replaced for new in item.new)],
        removed=change.removed | {item.old.path for item in replaced},
        outcomes=[
            *change.outcomes,
            *(OutcomeCount(dataset, item.old.modality, Outcome.STORED.value, "", -item.dropped) for item in replaced),
        ],
    )


def _forbidden_rows(store: ObjectStore, index: Index, settings: Settings, batch: str) -> set[str]:
    """Return the ids of rows that a takedown names by their content alone, which the downloads do not tell."""
    # Not of the shards that were added: a takedown may have put others in their place once the versions stood.
    rows: set[str] = set()
    for table, entries in read_manifest(store, SHARDS, batch).tables.items():
        reviser = Reviser(index, shard_key(table, entries[0]).dataset, settings.datasets)
        rows |= forbidden_samples(store, entries, reviser)
    return rows


def _write_stage(store: ObjectStore, batch: str, versions: list[DatasetVersion]) -> None:
    rows = [
        {
            "dataset": version.dataset,
            "version": version.version,
            "manifest": version.path,
            "sha256": version.sha256,
            "rows": version.rows,
        }
        for version in versions
    ]
    with StageWriter(store, STAGE, batch, {"samples": COMMIT_SCHEMA}) as writer:
        writer.write("samples", pa.RecordBatch.from_pylist(rows, schema=COMMIT_SCHEMA))
        writer.commit(code_version=CODE_VERSION, numbers={"datasets": len(versions)})
