"""Stage `takedown_receipts`: what a takedown names leaves storage and every dataset, and a receipt says so."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pyarrow as pa

from ummp_assets.datasets.removal import Removal, remove_samples
from ummp_assets.datasets.standing_orders import forbid_contents, record_takedowns, samples_named_by
from ummp_assets.settings import Settings
from ummp_assets.storage.index import Index, SampleEntry
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import Manifest, StageWriter, read_manifest, read_table
from ummp_assets.storage.takedown_index import TakedownEntry

__all__ = ["CODE_VERSION", "RECEIPT_SCHEMA", "STAGE", "apply_takedowns"]

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
    receipt = remove_samples(store, index, settings, Removal(batch, orders, samples, moment, is_takedown=True))
    versions = receipt.versions
    rows = [
        {**{name: getattr(item, name) for name in RECEIPT_SCHEMA.names[:-1]}, "version": versions.get(item.dataset)}
        for item in samples
    ]
    with StageWriter(store, STAGE, batch, {"samples": RECEIPT_SCHEMA}) as writer:
        writer.write("samples", pa.RecordBatch.from_pylist(rows, schema=RECEIPT_SCHEMA))
        numbers = {"takedowns": len(orders), "samples": len(samples), "versions": len(versions)}
        return writer.commit(code_version=CODE_VERSION, inputs=[stage], numbers=numbers)


def _forbid(index: Index, orders: Sequence[TakedownEntry]) -> list[SampleEntry]:
    """Return every sample that falls under the orders, and refuse those contents from now on."""
    found: dict[str, SampleEntry] = {}
    for order in orders:
        entries = samples_named_by(index, order)
        forbid_contents(index, order, entries)
        found |= {entry.sample_id: entry for entry in entries}
    return [found[sample_id] for sample_id in sorted(found)]
