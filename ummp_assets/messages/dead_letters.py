"""Dead letters: the original message of every sample that could not be used, back on Kafka with its reason.

Key, value and headers are those that were sent; further headers name coordinates, sample, reason and error. A batch's
letters go out in transactions of bounded size, each once; a batch that is materialized again sends only what is new.
"""

from collections.abc import Collection, Iterator, Sequence

import pyarrow as pa

from ummp_assets.messages.outbox import Record, send_once
from ummp_assets.messages.topics import topic_names
from ummp_assets.reasons import Outcome
from ummp_assets.records import Coordinates
from ummp_assets.settings import Settings
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import Manifest, StageWriter, find_manifest, read_manifest, read_table

__all__ = ["CODE_VERSION", "SENT_SCHEMA", "STAGE", "send_dead_letters"]

STAGE = "dead_letters"
CODE_VERSION = "1"

SENT_SCHEMA = pa.schema([("sample_id", pa.string()), ("reason", pa.string()), ("detail", pa.string())])
"""Table `samples` of the stage: what was sent, and why."""

_TRANSACTION_BYTES = 16 * 2**20
_Row = dict[str, str]
_Key = tuple[str, str]


def send_dead_letters(store: ObjectStore, settings: Settings, batch: str, stages: Sequence[str]) -> Manifest:
    """Send the dead letters of a batch and commit stage `dead_letters`, table `samples`.

    Parameters
    ----------
    stages:
        The stages whose `outcomes` are looked through; the first is the one that read the messages.

    Raises
    ------
    ManifestMissing
        One of the stages has not committed the batch.
    BrokerUnavailable
        No broker answered; the next call goes on.
    """
    manifests = [read_manifest(store, stage, batch) for stage in stages]
    sent, transactions = _sent_before(store, batch)
    dead = {(row["sample_id"], row["reason"]): row for manifest in manifests for row in _dead(store, manifest)}
    new = {key: row for key, row in dead.items() if key not in sent}
    for lot in _letters(store, manifests[0], new):
        transactions += 1
        letters = [_letter(row, original) for row, original in lot]
        send_once(settings, f"dead.{batch}", topic_names(settings).dead, letters, number=transactions)
        sent.update(((row["sample_id"], row["reason"]), row) for row, _ in lot)
    with StageWriter(store, STAGE, batch, {"samples": SENT_SCHEMA}) as writer:
        rows = list(sent.values())
        writer.write("samples", pa.RecordBatch.from_pylist(rows, schema=SENT_SCHEMA))
        numbers = {"dead_letters": len(rows), "transactions": transactions}
        return writer.commit(code_version=CODE_VERSION, inputs=manifests, numbers=numbers)


def _sent_before(store: ObjectStore, batch: str) -> tuple[dict[_Key, _Row], int]:
    """Return what an earlier run has sent. Brokers forget the outbox's marker after days; the manifest does not."""
    manifest = find_manifest(store, STAGE, batch)
    if manifest is None:
        return {}, 0
    rows = [row for part in read_table(store, manifest, "samples") for row in part.to_pylist()]
    return {(row["sample_id"], row["reason"]): row for row in rows}, int(manifest.numbers["transactions"])


def _dead(store: ObjectStore, manifest: Manifest) -> Iterator[dict[str, str]]:
    for rows in read_table(store, manifest, "outcomes", columns=["sample_id", "outcome", "reason", "detail"]):
        for row in rows.to_pylist():
            if row.pop("outcome") == Outcome.DEAD:
                yield row


def _letters(store: ObjectStore, intake: Manifest, dead: dict[_Key, _Row]) -> Iterator[list[tuple[_Row, Record]]]:
    """Yield what is dead with its original, in the order of the messages, in lots of some 16 MB or one larger letter.

    A rejection whose message was read and is not kept whole, such as parameters that came too late, is no letter.
    """
    by_message: dict[str, list[_Row]] = {}
    for row in dead.values():
        by_message.setdefault(_message_id(row["sample_id"]), []).append(row)
    lot: list[tuple[_Row, Record]] = []
    size = 0
    for message_id, original in _originals(store, intake, by_message.keys()):
        for row in by_message[message_id]:
            length = len(original.value or b"")
            if lot and size + length > _TRANSACTION_BYTES:
                yield lot
                lot, size = [], 0
            lot.append((row, original))
            size += length
    if lot:
        yield lot


def _originals(store: ObjectStore, intake: Manifest, wanted: Collection[str]) -> Iterator[tuple[str, Record]]:
    tables = ["dead_letters"]
    if intake.stage == "requests":
        tables.append("samples")
    for table in tables:
        for rows in read_table(store, intake, table, columns=["sample_id", "key", "value", "headers"], batch_rows=64):
            for row in rows.to_pylist():
                if row["sample_id"] in wanted:
                    headers = tuple((item["name"], item["value"]) for item in row["headers"] or ())
                    yield row["sample_id"], Record(row["key"], row["value"], headers)


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
