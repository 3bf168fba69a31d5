"""Stages `requests`, `labels` and `takedowns`: the messages of a batch, parsed and stored, so that Kafka's retention no
longer matters.

Every offset of the range ends in exactly one place: a row of the stage's table, a dead letter, a gap or the count of
expired offsets.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pydantic import BaseModel

from ummp_assets.errors import AccountingMismatch
from ummp_assets.messages.codec import Undecodable, decode
from ummp_assets.messages.offset_log import OffsetLog
from ummp_assets.messages.reading import Message, RangeReader
from ummp_assets.messages.replays import ReplayReader, is_replay
from ummp_assets.messages.schemas import LabelMessage, RequestMessage, TakedownMessage
from ummp_assets.parallel.rare_collections import rare_collections
from ummp_assets.records import HEADERS, LABEL_SCHEMA, REQUEST_SCHEMA, TAKEDOWN_SCHEMA, Rejection
from ummp_assets.settings import Settings
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import Manifest, StageWriter

__all__ = ["CODE_VERSION", "DEAD_LETTER_SCHEMA", "UNREADABLE", "bury", "read_labels", "read_requests", "read_takedowns"]

CODE_VERSION = "1"

UNREADABLE = "unreadable"
"""Modality under which messages are counted that could not be read as a request."""

DEAD_LETTER_SCHEMA = pa.schema(
    [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("key", pa.binary()),
        pa.field("value", pa.binary()),
        pa.field("headers", HEADERS, nullable=False),
    ]
)
"""Table `dead_letters` of an intake stage: unreadable messages, whole; their reasons stand in the table `outcomes`."""


@dataclass(frozen=True, slots=True)
class _Intake:
    stage: str
    table: str
    schema: pa.Schema
    model: type[BaseModel]
    row: Callable[[Message, Any], dict[str, Any]]


def read_requests(store: ObjectStore, settings: Settings, batch: str) -> Manifest:
    """Store the requests of a batch: stage `requests`, table `samples` of `REQUEST_SCHEMA`.

    Parameters
    ----------
    batch:
        Key of a batch in the offset log.

    Raises
    ------
    BrokerUnavailable, StoreUnavailable
        Worth another try.
    InvalidInput
        The batch was never planned.
    """
    return _read(_REQUESTS, store, settings, batch)


def read_labels(store: ObjectStore, settings: Settings, batch: str) -> Manifest:
    """Store the labels of a batch: stage `labels`, table `labels` of `LABEL_SCHEMA`; raises as `read_requests`."""
    return _read(_LABELS, store, settings, batch)


def read_takedowns(store: ObjectStore, settings: Settings, batch: str) -> Manifest:
    """Store the takedowns of a batch: stage `takedowns`, table `takedowns`; raises as `read_requests`."""
    return _read(_TAKEDOWNS, store, settings, batch)


def _read(intake: _Intake, store: ObjectStore, settings: Settings, key: str) -> Manifest:
    batch = OffsetLog(store).get(key)
    reader: RangeReader | ReplayReader = RangeReader(settings, batch)
    if is_replay(batch.topic):
        reader = ReplayReader(store, settings, batch)
    schemas = {intake.table: intake.schema, "dead_letters": DEAD_LETTER_SCHEMA}
    rows = dead = byte_count = 0
    with rare_collections(), StageWriter(store, intake.stage, key, schemas) as writer:
        for chunk in reader:
            readable, unreadable = _decode(intake, chunk, settings.intake.max_message_bytes)
            writer.write(intake.table, pa.RecordBatch.from_pylist(readable, schema=intake.schema))
            bury(writer, unreadable)
            rows, dead = rows + len(readable), dead + len(unreadable)
            byte_count += sum(len(message.value or b"") for message in chunk)
        expired = sum(len(item) for item in reader.expired)
        if rows + dead + reader.gaps + expired != batch.messages:
            raise AccountingMismatch(
                f"batch {key} spans {batch.messages} offsets, but {rows} were readable, {dead} dead, "
                f"{reader.gaps} gaps and {expired} expired"
            )
        return writer.commit(
            code_version=CODE_VERSION,
            numbers={
                "messages": batch.messages,
                "readable": rows,
                "unreadable": dead,
                "gaps": reader.gaps,
                "expired": expired,
                "message_bytes": byte_count,
            },
        )


def _decode(
    intake: _Intake, chunk: list[Message], max_message_bytes: int
) -> tuple[list[dict[str, Any]], list[tuple[Message, Undecodable]]]:
    readable, unreadable = [], []
    for message in chunk:
        try:
            readable.append(intake.row(message, decode(intake.model, message.value, max_message_bytes)))
        except Undecodable as error:
            unreadable.append((message, error))
    return readable, unreadable


def bury(writer: StageWriter, unreadable: list[tuple[Message, Undecodable]]) -> None:
    """Put unreadable messages into the tables `dead_letters` (whole) and `outcomes` (why)."""
    letters = [
        {
            "sample_id": message.sample_id,
            "key": message.key,
            "value": message.value,
            "headers": _headers(message),
        }
        for message, _ in unreadable
    ]
    writer.write("dead_letters", pa.RecordBatch.from_pylist(letters, schema=DEAD_LETTER_SCHEMA))
    writer.reject(
        Rejection(message.sample_id, "", UNREADABLE, "", error.reason, error.detail) for message, error in unreadable
    )


def _headers(message: Message) -> list[dict[str, Any]]:
    return [{"name": name, "value": value} for name, value in message.headers]


def _json(value: object) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False, sort_keys=True)


def _coordinates(message: Message) -> dict[str, Any]:
    return {
        "topic": message.topic,
        "partition": message.partition,
        "offset": message.offset,
        "timestamp_ms": message.timestamp_ms,
    }


def _request_row(message: Message, request: RequestMessage) -> dict[str, Any]:
    return {
        **_coordinates(message),
        "sample_id": message.sample_id,
        "dataset": request.dataset,
        "uri": request.uri,
        "modality": request.modality.value,
        "request_id": request.id,
        "sha256": request.sha256,
        "label": _json(request.label),
        "attributes": _json(request.attributes),
        "deadline": request.deadline.isoformat() if request.deadline else None,
        "traceparent": message.header("traceparent"),
        "key": message.key,
        "value": message.value,
        "headers": _headers(message),
    }


def _label_row(message: Message, label: LabelMessage) -> dict[str, Any]:
    kind, target = _target({"sample_id": label.sample_id, "sha256": label.sha256, "uri": label.uri})
    return {
        **_coordinates(message),
        "dataset": label.dataset,
        "target_kind": kind,
        "target": target,
        "label": json.dumps(label.label, ensure_ascii=False, sort_keys=True),
        "annotator": label.annotator,
        "confidence": label.confidence,
    }


def _takedown_row(message: Message, takedown: TakedownMessage) -> dict[str, Any]:
    kind, target = _target(
        {
            "uri": takedown.uri,
            "sha256": takedown.sha256,
            "domain": takedown.domain,
            "sample_id": takedown.sample_id,
        }
    )
    return {
        **_coordinates(message),
        "kind": kind,
        "target": target,
        "reason": takedown.reason,
        "requested_by": takedown.requested_by,
    }


def _target(candidates: Mapping[str, str | None]) -> tuple[str, str]:
    return next((kind, target) for kind, target in candidates.items() if target is not None)


_REQUESTS = _Intake("requests", "samples", REQUEST_SCHEMA, RequestMessage, _request_row)
_LABELS = _Intake("labels", "labels", LABEL_SCHEMA, LabelMessage, _label_row)
_TAKEDOWNS = _Intake("takedowns", "takedowns", TAKEDOWN_SCHEMA, TakedownMessage, _takedown_row)
