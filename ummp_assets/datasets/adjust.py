"""Bringing a dataset up to the labels and takedowns that were read: a new version that rewrites only the shards that
they touch."""

from collections.abc import Iterable, Mapping, Sequence

from ummp_assets.datasets.changes import Change, make_version
from ummp_assets.datasets.history import put_next_version
from ummp_assets.datasets.revisions import Reviser
from ummp_assets.datasets.rewriting import RewrittenShard, revise_shards
from ummp_assets.datasets.versions import DatasetVersion, read_shards
from ummp_assets.reasons import Outcome, Reason
from ummp_assets.settings import Settings
from ummp_assets.storage.dataset_index import DatasetIndex
from ummp_assets.storage.index import Index
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import OutcomeCount

__all__ = ["adjust_dataset", "takedown_outcomes"]


def adjust_dataset(
    store: ObjectStore,
    index: Index,
    settings: Settings,
    dataset: str,
    *,
    touched: Iterable[str],
    batches: Sequence[str] = (),
    watermark: Mapping[str, Mapping[str, int]] | None = None,
) -> DatasetVersion | None:
    """Make the version in which the labels and takedowns that were read hold for the rows of some batches.

    Parameters
    ----------
    touched:
        Keys of the request batches whose rows may change.
    batches, watermark:
        The batch of labels or takedowns that the version takes in, and its next offsets.

    Returns
    -------
    The version, or None where no row changes.
    """
    known = DatasetIndex(index)
    touched = sorted(set(touched))

    def propose(parent: DatasetVersion | None) -> DatasetVersion | None:
        if parent is None:
            return None
        paths = {shard.path for shard in known.shards_of(dataset, touched)}
        shards = [shard for shard in read_shards(store, parent) if shard.path in paths]
        rewritten = revise_shards(store, settings, dataset, shards, Reviser(index, dataset, settings.datasets))
        if not rewritten:
            return None
        change = Change(
            cause="takedown" if any(item.dropped for item in rewritten) else "labels",
            batches=batches,
            added=[(new, (item.old.path,)) for item in rewritten for new in item.new],
            removed=frozenset(item.old.path for item in rewritten),
            outcomes=takedown_outcomes(dataset, rewritten),
            watermark=watermark or {},
        )
        return make_version(store, dataset, parent, change, settings.datasets.full_shard_bytes)

    return put_next_version(store, known, dataset, propose)


def takedown_outcomes(dataset: str, rewritten: Sequence[RewrittenShard]) -> list[OutcomeCount]:
    """Return how the outcome totals change: rows that were stored are filtered now."""
    counts = []
    for item in rewritten:
        modality = item.old.modality
        counts.append(OutcomeCount(dataset, modality, Outcome.STORED.value, "", -item.dropped))
        counts.append(OutcomeCount(dataset, modality, Outcome.FILTERED.value, Reason.TAKEDOWN.value, item.dropped))
    return counts
