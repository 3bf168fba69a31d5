"""Taking samples out of everything that holds them: datasets, the files of stages, and what the index says of them.

What a takedown does when it is read, and a commit or a batch that is given up when it finds an order that came while
the batch was on its way.
"""

from collections import defaultdict
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from ummp_assets.datasets.adjust import adjust_dataset
from ummp_assets.datasets.batch_content import batch_watermark, read_despite_erasure
from ummp_assets.datasets.erase import ErasedStage, erase_samples
from ummp_assets.datasets.history import catch_up
from ummp_assets.datasets.receipts import Receipt, unfinished_samples, write_receipt
from ummp_assets.datasets.sample_records import record_taken_down
from ummp_assets.datasets.shard_files import read_sample_ids
from ummp_assets.datasets.shards import STAGE as SHARDS
from ummp_assets.datasets.standing_orders import forbid_downloads, orders_naming
from ummp_assets.datasets.versions import DatasetVersion, read_shards, read_version
from ummp_assets.datasets.withdrawals import Withdrawal, purge_withdrawn, put_withdrawal
from ummp_assets.errors import ManifestCorrupt
from ummp_assets.messages.replays import BatchFinder
from ummp_assets.settings import Settings
from ummp_assets.storage.abandoned import is_abandoned
from ummp_assets.storage.dataset_index import DatasetIndex
from ummp_assets.storage.index import Index, SampleEntry
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.promotions import release_owners
from ummp_assets.storage.stages import find_manifest
from ummp_assets.storage.takedown_index import TakedownEntry

__all__ = ["Removal", "is_at_its_end", "remove_forbidden", "remove_samples"]


@dataclass(frozen=True, slots=True)
class Removal:
    """What is to go, and on whose account.

    Parameters
    ----------
    batch:
        The batch of takedowns, or the batch of requests that came upon the orders; receipt and withdrawals have its
        key.
    orders:
        What the receipt names as the cause; they stand in the index.
    samples:
        What is to go from everywhere.
    moment:
        The time that the receipt states.
    own:
        What is to go from the batch of requests, as it holds it.
    is_takedown:
        Whether the batch is one of takedowns, which the new versions take in.
    """

    batch: str
    orders: Sequence[TakedownEntry]
    samples: Sequence[SampleEntry]
    moment: datetime
    own: Sequence[SampleEntry] = ()
    is_takedown: bool = False


def remove_samples(store: ObjectStore, index: Index, settings: Settings, removal: Removal) -> Receipt:
    """Take samples out of datasets and stages, withdraw the versions that held them, and store the receipt.

    A repeated call after a crash goes on: what a batch of requests holds itself, by which it finds all else, goes last.

    Raises
    ------
    CommitConflict
        Other committers of a dataset were always first.
    StoreUnavailable, IndexUnavailable
        The next call goes on.
    """
    samples, known = removal.samples, DatasetIndex(index)
    versions = _take_out_of_datasets(store, index, settings, removal)
    _release(index, settings, samples)
    withdrawn = _withdraw(store, settings, known, removal)
    named = {item.sample_id: item for item in (*removal.own, *samples)}
    listed = [named[sample_id] for sample_id in sorted(named)]
    receipt = Receipt(removal.batch, removal.orders, listed, versions, (), withdrawn, None)
    write_receipt(store, settings, receipt)
    erased = _erase(store, index, settings, removal)
    record_taken_down(index, samples)
    if not removal.is_takedown:
        own = {item.sample_id for item in removal.own} | unfinished_samples(store, removal.batch)
        erased += erase_samples(store, index, settings, removal.batch, own)
    purge_withdrawn(store, removal.moment)
    receipt = replace(receipt, erased=erased, completed_at=removal.moment)
    write_receipt(store, settings, receipt)
    return receipt


def remove_forbidden(
    store: ObjectStore, index: Index, settings: Settings, batch: str, rows: AbstractSet[str] = frozenset()
) -> list[DatasetVersion]:
    """Remove what orders name of a batch of requests whose way has ended, and whatever has the same content.

    Parameters
    ----------
    rows:
        Ids of samples of the batch that an order names by what its downloads do not tell.

    Returns
    -------
    The versions that are without it, where one was needed; raises as `remove_samples` does.
    """
    named = read_despite_erasure(lambda: forbid_downloads(store, index, batch, rows))
    if not named.own and not unfinished_samples(store, batch):
        return []
    orders = orders_naming(index, [*named.own, *named.samples])
    receipt = remove_samples(
        store, index, settings, Removal(batch, orders, named.samples, datetime.now(UTC), named.own)
    )
    return [read_version(store, dataset, version) for dataset, version in sorted(receipt.versions.items())]


def _take_out_of_datasets(store: ObjectStore, index: Index, settings: Settings, removal: Removal) -> dict[str, int]:
    """Return by dataset the version without the samples, where one was needed."""
    known, batch = DatasetIndex(index), removal.batch
    versions = {}
    for dataset, touched in sorted(_batches_by_dataset(store, removal.samples).items()):
        made = known.version_of(dataset, batch) if removal.is_takedown else None
        if made is None:
            version = adjust_dataset(
                store,
                index,
                settings,
                dataset,
                touched=touched,
                batches=(batch,) if removal.is_takedown else (),
                watermark=batch_watermark(store, batch) if removal.is_takedown else None,
            )
            made = version.version if version else None
        if made is not None:
            versions[dataset] = made
    return versions


def _batches_by_dataset(store: ObjectStore, samples: Sequence[SampleEntry]) -> dict[str, set[str]]:
    finder = BatchFinder(store)
    touched: dict[str, set[str]] = defaultdict(set)
    for sample in samples:
        touched[sample.dataset].update(finder.of(sample.sample_id, sample.batch))
    return touched


def _release(index: Index, settings: Settings, samples: Sequence[SampleEntry]) -> None:
    """Forget what the samples own, so that `promote_twins` can let their near duplicates in."""
    by_dataset: dict[str, list[str]] = defaultdict(list)
    for sample in samples:
        by_dataset[sample.dataset].append(sample.sample_id)
    for dataset, ids in sorted(by_dataset.items()):
        release_owners(index, settings.clean, dataset, ids)


def _withdraw(store: ObjectStore, settings: Settings, known: DatasetIndex, removal: Removal) -> list[Withdrawal]:
    """Mark the versions of which a shard holds one of the samples."""
    purge_after = removal.moment + timedelta(hours=settings.datasets.purge_delay_hours)
    withdrawals = []
    for dataset, batches in sorted(_batches_by_dataset(store, removal.samples).items()):
        ids = {sample.sample_id for sample in removal.samples if sample.dataset == dataset}
        shards = {
            shard.path: (shard.added, shard.removed)
            for shard in known.shards_of(dataset, batches, newest_only=False)
            if shard.removed is not None and _holds(store, dataset, shard.path, shard.added, ids)
        }
        if shards:
            item = Withdrawal(dataset, removal.batch, shards, purge_after.isoformat())
            withdrawals.append(put_withdrawal(store, item))
    return withdrawals


def _holds(store: ObjectStore, dataset: str, path: str, version: int, ids: set[str]) -> bool:
    shard = next(item for item in read_shards(store, read_version(store, dataset, version)) if item.path == path)
    try:
        return not ids.isdisjoint(read_sample_ids(store, path, shard.footer_sha256))
    except ManifestCorrupt:
        # Purged before, or right now by another takedown.
        if store.exists(path):
            raise
        return False


def _erase(store: ObjectStore, index: Index, settings: Settings, removal: Removal) -> list[ErasedStage]:
    """Take the samples out of the stages of every batch that is in its dataset or was given up.

    A batch on its way is left alone, since its commit may be reading what would be deleted: `commit_batch` looks for
    orders once its version stands, `abandon_batch` once the batch is given up, and they erase then.
    """
    known = DatasetIndex(index)
    by_batch: dict[tuple[str, str], set[str]] = defaultdict(set)
    finder = BatchFinder(store)
    for sample in removal.samples:
        for batch in finder.of(sample.sample_id, sample.batch):
            if batch != removal.batch:
                by_batch[batch, sample.dataset].add(sample.sample_id)
    erased = []
    for (batch, dataset), ids in sorted(by_batch.items()):
        if is_at_its_end(store, known, dataset, batch):
            erased += erase_samples(store, index, settings, batch, ids)
    return erased


def is_at_its_end(store: ObjectStore, known: DatasetIndex, dataset: str, batch: str) -> bool:
    """Return whether a batch is in a dataset or never will be: given up, or through all stages without a row for it."""
    catch_up(store, known, dataset)
    if known.version_of(dataset, batch) is not None or is_abandoned(store, batch):
        return True
    shards = find_manifest(store, SHARDS, batch)
    return shards is not None and not any(name.startswith(f"{dataset}~") for name in shards.tables)
