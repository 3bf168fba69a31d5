"""Stage `takedown_receipts`: what a takedown names leaves storage and every dataset, and a receipt says so."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from ummp_assets.datasets.adjust import adjust_dataset
from ummp_assets.datasets.batch_content import batch_watermark
from ummp_assets.datasets.erase import ErasedStage, erase_samples
from ummp_assets.datasets.history import catch_up
from ummp_assets.datasets.receipts import Receipt, write_receipt
from ummp_assets.datasets.sample_records import record_taken_down
from ummp_assets.datasets.shard_files import read_shard
from ummp_assets.datasets.shards import STAGE as SHARDS
from ummp_assets.datasets.versions import read_shards, read_version
from ummp_assets.datasets.withdrawals import Withdrawal, purge_withdrawn, put_withdrawal
from ummp_assets.errors import ManifestMissing
from ummp_assets.messages.replays import BatchFinder
from ummp_assets.settings import Settings
from ummp_assets.storage.dataset_index import DatasetIndex
from ummp_assets.storage.index import Index, SampleEntry
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.promotions import release_owners
from ummp_assets.storage.stages import Manifest, StageWriter, read_manifest, read_table
from ummp_assets.storage.takedown_index import TakedownEntry, TakedownIndex
from ummp_assets.storage.twin_index import TwinIndex

__all__ = ["CODE_VERSION", "RECEIPT_SCHEMA", "STAGE", "apply_takedowns", "record_takedowns", "samples_named_by"]

STAGE = "takedown_receipts"
CODE_VERSION = "1"

RECEIPT_SCHEMA = pa.schema(
    [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("batch", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("sha256", pa.string()),
        pa.field("version", pa.int32()),
    ]
)
"""Table `samples` of the stage `takedown_receipts`: what was taken down, and the version that no longer holds it."""


def apply_takedowns(
    store: ObjectStore, index: Index, settings: Settings, batch: str, *, now: datetime | None = None
) -> Manifest:
    """Carry out the takedowns of a batch.

    Rows and blobs leave the stages; each dataset that held one gets a version without them, in which only the shards
    that held one are rewritten; versions that hold one are withdrawn, and their shards purged after
    `purge_delay_hours`; the same contents are refused from now on; near duplicates of what falls are released, so that
    `promote_twins` lets them in. The receipt stands at `takedowns/<batch>.json`.

    Parameters
    ----------
    batch:
        Key of a batch whose stage `takedowns` is committed.
    now:
        The time that the receipt states; not given, the clock's.

    Raises
    ------
    ManifestMissing
        The stage `takedowns` has not committed the batch.
    CommitConflict
        Other committers of a dataset were always first.
    """
    moment = now or datetime.now(UTC)
    stage = read_manifest(store, "takedowns", batch)
    asked = [row for part in read_table(store, stage, "takedowns") for row in part.to_pylist()]
    orders = record_takedowns(index, asked)
    samples = _forbid(index, orders)
    versions = _take_out_of_datasets(store, index, settings, batch, samples)
    _release(index, settings, samples)
    erased = _erase(store, index, settings, samples)
    record_taken_down(index, samples)
    withdrawn = _withdraw(store, index, settings, batch, samples, moment)
    write_receipt(store, Receipt(batch, orders, samples, versions, erased, withdrawn, moment))
    rows = [
        {**{name: getattr(item, name) for name in RECEIPT_SCHEMA.names[:-1]}, "version": versions.get(item.dataset)}
        for item in samples
    ]
    with StageWriter(store, STAGE, batch, {"samples": RECEIPT_SCHEMA}) as writer:
        writer.write("samples", pa.RecordBatch.from_pylist(rows, schema=RECEIPT_SCHEMA))
        numbers = {"takedowns": len(orders), "samples": len(samples), "versions": len(versions)}
        return writer.commit(code_version=CODE_VERSION, inputs=[stage], numbers=numbers)


def record_takedowns(index: Index, rows: Iterable[Mapping[str, Any]]) -> list[TakedownEntry]:
    """Keep orders, so that what they name is refused from now on, and return them.

    Parameters
    ----------
    rows:
        Rows of `TAKEDOWN_SCHEMA`.
    """
    orders = [TakedownEntry(**row) for row in rows]
    TakedownIndex(index).record(orders)
    return orders


def samples_named_by(index: Index, order: TakedownEntry) -> list[SampleEntry]:
    """Return every sample that an order names or that has the same content, in order of their ids."""
    twins = TwinIndex(index)
    return index.find_samples(sample_ids=sorted(twins.with_same_content(twins.named_by(order))))


def _forbid(index: Index, orders: Sequence[TakedownEntry]) -> list[SampleEntry]:
    """Return every sample that falls under the orders, and refuse those contents from now on."""
    twins = TwinIndex(index)
    found: dict[str, SampleEntry] = {}
    for order in orders:
        entries = samples_named_by(index, order)
        owned = twins.contents_of(entry.sample_id for entry in entries)
        digests = {entry.sha256 for entry in entries if entry.sha256} | owned
        contents = [{**asdict(order), "kind": "sha256", "target": digest} for digest in sorted(digests)]
        record_takedowns(index, contents)
        found |= {entry.sample_id: entry for entry in entries}
    return [found[sample_id] for sample_id in sorted(found)]


def _release(index: Index, settings: Settings, samples: Sequence[SampleEntry]) -> None:
    """Forget what the samples own, so that `promote_twins` can let their near duplicates in."""
    by_dataset: dict[str, list[str]] = defaultdict(list)
    for sample in samples:
        by_dataset[sample.dataset].append(sample.sample_id)
    for dataset, ids in sorted(by_dataset.items()):
        release_owners(index, settings.clean, dataset, ids)


def _take_out_of_datasets(
    store: ObjectStore, index: Index, settings: Settings, batch: str, samples: Sequence[SampleEntry]
) -> dict[str, int]:
    """Return by dataset the version without the samples, where one was needed."""
    known = DatasetIndex(index)
    touched: dict[str, set[str]] = defaultdict(set)
    finder = BatchFinder(store)
    for sample in samples:
        touched[sample.dataset].update(finder.of(sample.sample_id, sample.batch))
    versions = {}
    for dataset in sorted(touched):
        made = known.version_of(dataset, batch)
        if made is None:
            version = adjust_dataset(
                store,
                index,
                settings,
                dataset,
                touched=touched[dataset],
                batches=(batch,),
                watermark=batch_watermark(store, batch),
            )
            made = version.version if version else None
        if made is not None:
            versions[dataset] = made
    return versions


def _erase(store: ObjectStore, index: Index, settings: Settings, samples: Sequence[SampleEntry]) -> list[ErasedStage]:
    """Take the samples out of the stages of every batch that is in its dataset.

    A batch on its way is left alone, since its commit may be reading what would be deleted: `commit_batch` looks for
    orders once its version stands, and erases then.
    """
    known = DatasetIndex(index)
    by_batch: dict[tuple[str, str], set[str]] = defaultdict(set)
    finder = BatchFinder(store)
    for sample in samples:
        for batch in finder.of(sample.sample_id, sample.batch):
            by_batch[batch, sample.dataset].add(sample.sample_id)
    erased = []
    for (batch, dataset), ids in sorted(by_batch.items()):
        catch_up(store, known, dataset)
        if known.version_of(dataset, batch) is not None or _stored_nothing(store, dataset, batch):
            erased += erase_samples(store, known, settings, batch, ids)
    return erased


def _stored_nothing(store: ObjectStore, dataset: str, batch: str) -> bool:
    """Return whether a batch that went through all stages has no row for a dataset, so that no version will hold it."""
    try:
        return not any(name.startswith(f"{dataset}~") for name in read_manifest(store, SHARDS, batch).tables)
    except ManifestMissing:
        return False


def _withdraw(
    store: ObjectStore,
    index: Index,
    settings: Settings,
    batch: str,
    samples: Sequence[SampleEntry],
    moment: datetime,
) -> list[Withdrawal]:
    """Mark the versions of which a shard holds one of the samples, and purge those whose delay is over."""
    known = DatasetIndex(index)
    finder = BatchFinder(store)
    purge_after = moment + timedelta(hours=settings.datasets.purge_delay_hours)
    withdrawals = []
    for dataset in sorted({sample.dataset for sample in samples}):
        mine = [sample for sample in samples if sample.dataset == dataset]
        ids = {sample.sample_id for sample in mine}
        batches = {key for sample in mine for key in finder.of(sample.sample_id, sample.batch)}
        shards = {
            shard.path: (shard.added, shard.removed)
            for shard in known.shards_of(dataset, batches, newest_only=False)
            if shard.removed is not None and _holds(store, dataset, shard.path, shard.added, ids)
        }
        if shards:
            withdrawals.append(Withdrawal(dataset, batch, shards, purge_after.isoformat()))
            put_withdrawal(store, withdrawals[-1])
    purge_withdrawn(store, moment)
    return withdrawals


def _holds(store: ObjectStore, dataset: str, path: str, version: int, ids: set[str]) -> bool:
    if not store.exists(path):
        return False
    shard = next(item for item in read_shards(store, read_version(store, dataset, version)) if item.path == path)
    return any(
        not ids.isdisjoint(rows.column("sample_id").to_pylist())
        for rows in read_shard(store, path, shard.footer_sha256, columns=["sample_id"])
    )
