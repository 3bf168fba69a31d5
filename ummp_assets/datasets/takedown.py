"""Stage `takedown_receipts`: what a takedown names leaves storage and every dataset, and a receipt says so."""

import hashlib
import json
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
from ummp_assets.datasets.shard_files import read_shard
from ummp_assets.datasets.shards import STAGE as SHARDS
from ummp_assets.datasets.versions import read_shards, read_version
from ummp_assets.datasets.withdrawals import Withdrawal, purge_withdrawn, put_withdrawal
from ummp_assets.errors import ManifestMissing, ObjectNotFound
from ummp_assets.messages.outbox import Record, send_once
from ummp_assets.messages.topics import topic_names
from ummp_assets.settings import Settings
from ummp_assets.storage.dataset_index import DatasetIndex
from ummp_assets.storage.index import Index, SampleEntry
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import Manifest, StageWriter, read_manifest, read_table
from ummp_assets.storage.takedown_index import TakedownEntry, TakedownIndex
from ummp_assets.storage.twin_index import TwinIndex

__all__ = ["CODE_VERSION", "RECEIPT_SCHEMA", "STAGE", "apply_takedowns", "publish_receipt", "record_takedowns"]

STAGE = "takedown_receipts"
CODE_VERSION = "1"
SCHEMA = "ummp.takedown-receipt/1"

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
    `purge_delay_hours`; the same contents are refused from now on. The receipt stands at `takedowns/<batch>.json`.

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
    samples = _samples_of(index, orders)
    versions = _take_out_of_datasets(store, index, settings, batch, samples)
    erased = _erase(store, index, settings, samples)
    withdrawn = _withdraw(store, index, settings, batch, samples, moment)
    _write_receipt(store, batch, _receipt(batch, orders, samples, versions, erased, withdrawn, moment))
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


def publish_receipt(settings: Settings, store: ObjectStore, batch: str) -> bool:
    """Send the receipt of a batch of takedowns to the topic of ready events, once; return whether this call sent it.

    Raises
    ------
    ObjectNotFound
        The takedowns were not carried out yet.
    BrokerUnavailable
        No broker answered; the next call makes good what is missing.
    """
    record = Record(batch.encode(), store.read(_path(batch)))
    return send_once(settings, f"takedown.{batch}", topic_names(settings).datasets, [record])


def _samples_of(index: Index, orders: Sequence[TakedownEntry]) -> list[SampleEntry]:
    """Return every sample that the orders name or that has the same content, and refuse those contents from now on."""
    twins = TwinIndex(index)
    found: dict[str, SampleEntry] = {}
    for order in orders:
        ids = twins.with_same_content(twins.named_by(order))
        entries = index.find_samples(sample_ids=sorted(ids))
        digests = {entry.sha256 for entry in entries if entry.sha256} | twins.contents_of(ids)
        contents = [{**asdict(order), "kind": "sha256", "target": digest} for digest in sorted(digests)]
        record_takedowns(index, contents)
        found |= {entry.sample_id: entry for entry in entries}
    return [found[sample_id] for sample_id in sorted(found)]


def _take_out_of_datasets(
    store: ObjectStore, index: Index, settings: Settings, batch: str, samples: Sequence[SampleEntry]
) -> dict[str, int]:
    """Return by dataset the version without the samples, where one was needed."""
    known = DatasetIndex(index)
    touched: dict[str, set[str]] = defaultdict(set)
    for sample in samples:
        touched[sample.dataset].add(sample.batch)
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
    for sample in samples:
        by_batch[sample.batch, sample.dataset].add(sample.sample_id)
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
    purge_after = moment + timedelta(hours=settings.datasets.purge_delay_hours)
    withdrawals = []
    for dataset in sorted({sample.dataset for sample in samples}):
        mine = [sample for sample in samples if sample.dataset == dataset]
        ids = {sample.sample_id for sample in mine}
        shards = {
            shard.path: (shard.added, shard.removed)
            for shard in known.shards_of(dataset, (sample.batch for sample in mine), newest_only=False)
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


def _receipt(
    batch: str,
    orders: Sequence[TakedownEntry],
    samples: Sequence[SampleEntry],
    versions: Mapping[str, int],
    erased: Sequence[ErasedStage],
    withdrawn: Sequence[Withdrawal],
    moment: datetime,
) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "batch": batch,
        "completed_at": moment.isoformat(),
        "orders": [asdict(order) for order in orders],
        "samples": [{name: getattr(sample, name) for name in RECEIPT_SCHEMA.names[:-1]} for sample in samples],
        "versions_without": dict(versions),
        "erased": [asdict(item) for item in erased],
        "withdrawn": [asdict(item) for item in withdrawn],
    }


def _write_receipt(store: ObjectStore, batch: str, receipt: dict[str, Any]) -> None:
    """Write the receipt with the sha256 over it; a second run after a crash adds what it erased to the first one's."""
    try:
        first = json.loads(store.read(_path(batch)))
    except ObjectNotFound:
        first = receipt
    erased = [*first["erased"], *(item for item in receipt["erased"] if item not in first["erased"])]
    kept = {name: first[name] or receipt[name] for name in ("completed_at", "withdrawn", "versions_without")}
    merged = {**receipt, **kept, "erased": erased}
    body = json.dumps(merged, sort_keys=True).encode()
    signed = {**merged, "sha256": hashlib.sha256(body).hexdigest()}
    store.write(_path(batch), json.dumps(signed, sort_keys=True, indent=1, ensure_ascii=False).encode() + b"\n")


def _path(batch: str) -> str:
    return f"takedowns/{batch}.json"
