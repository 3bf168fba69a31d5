"""Dead letters: the original message of every sample that could not be used, back on Kafka with its reason.

The value and key are the bytes that were sent; headers name coordinates, sample, reason and error. They are sent in one
transaction a batch, once.
"""

from collections.abc import Iterator, Sequence

import pyarrow as pa

from ummp_assets.errors import ManifestMissing
from ummp_assets.messages.outbox import Record, send_once
from ummp_assets.messages.topics import topic_names
from ummp_assets.reasons import Outcome
from ummp_assets.records import Coordinates
from ummp_assets.settings import Settings
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import Manifest, StageWriter, read_manifest, read_table

__all__ = ["CODE_VERSION", "SENT_SCHEMA", "STAGE", "send_dead_letters"]

STAGE = "dead_letters"
CODE_VERSION = "1"

SENT_SCHEMA = pa.schema([("sample_id", pa.string()), ("reason", pa.string()), ("detail", pa.string())])
"""Table `samples` of the stage: what was sent, and why."""


def send_dead_letters(store: ObjectStore, settings: Settings, batch: str, stages: Sequence[str]) -> Manifest:
    """Send the dead letters of a batch and commit stage `dead_letters`, table `samples`.

    Parameters
    ----------
    stages:
        The stages whose `outcomes` are looked through; `requests`, which holds the original bytes, must be among them.

    Raises
    ------
    ManifestMissing
        One of the stages has not committed the batch.
    BrokerUnavailable
        No broker answered; the next call goes on.
    """
    manifests = [read_manifest(store, stage, batch) for stage in stages]
    dead = [row for manifest in manifests for row in _dead(store, manifest)]
    if dead and not _already_sent(store, batch, manifests):
        originals = dict(_originals(store, batch, {_message_id(row["sample_id"]) for row in dead}))
        records = [_letter(row, originals[_message_id(row["sample_id"])]) for row in dead]
        send_once(settings, f"dead.{batch}", topic_names(settings).dead, records)
    with StageWriter(store, STAGE, batch, {"samples": SENT_SCHEMA}) as writer:
        writer.write("samples", pa.RecordBatch.from_pylist(dead, schema=SENT_SCHEMA))
        return writer.commit(code_version=CODE_VERSION, inputs=manifests, numbers={"dead_letters": len(dead)})


def _already_sent(store: ObjectStore, batch: str, manifests: Sequence[Manifest]) -> bool:
    """Brokers forget the marker of an idle group after days; the manifest does not."""
    try:
        sent = read_manifest(store, STAGE, batch)
    except ManifestMissing:
        return False
    return sent.inputs == {manifest.stage: manifest.sha256 for manifest in manifests}


def _dead(store: ObjectStore, manifest: Manifest) -> Iterator[dict[str, str]]:
    for rows in read_table(store, manifest, "outcomes", columns=["sample_id", "outcome", "reason", "detail"]):
        for row in rows.to_pylist():
            if row.pop("outcome") == Outcome.DEAD:
                yield row


def _originals(store: ObjectStore, batch: str, wanted: set[str]) -> Iterator[tuple[str, Record]]:
    manifest = read_manifest(store, "requests", batch)
    for rows in read_table(store, manifest, "dead_letters"):
        for row in rows.to_pylist():
            headers = tuple((item["name"], item["value"]) for item in row["headers"])
            yield row["sample_id"], Record(row["key"], row["value"], headers)
    for rows in read_table(store, manifest, "samples", columns=["sample_id", "dataset", "traceparent", "value"]):
        for row in rows.to_pylist():
            if row["sample_id"] in wanted:
                trace = (("traceparent", row["traceparent"].encode()),) if row["traceparent"] else ()
                yield row["sample_id"], Record(row["dataset"].encode(), row["value"], trace)


def _message_id(sample_id: str) -> str:
    return Coordinates.parse(sample_id).sample_id


def _letter(row: dict[str, str], original: Record) -> Record:
    coordinates = Coordinates.parse(row["sample_id"])
    added = {
        "ummp-topic": coordinates.topic,
        "ummp-partition": str(coordinates.partition),
        "ummp-offset": str(coordinates.offset),
        "ummp-sample-id": row["sample_id"],
        "ummp-reason": row["reason"],
        "ummp-error": row["detail"],
    }
    # kafka-python refuses a record that has neither key nor value, which other clients may send.
    key = b"" if original.key is None and original.value is None else original.key
    return Record(
        key,
        original.value,
        (*original.headers, *((name, value.encode("utf-8", "replace")) for name, value in added.items())),
    )
