"""Stage `training_logs`: the log messages of a batch as metrics, events and one summary per run."""

from collections.abc import Iterator, Sequence
from datetime import UTC
from typing import Any

import pyarrow as pa

from ummp_assets.messages.reading import Message
from ummp_assets.messages.schemas import LogMessage
from ummp_assets.settings import Settings
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import Manifest, StageWriter
from ummp_assets.training.batch_messages import DEAD_LETTERS, BatchMessages
from ummp_assets.training.run_summary import SUMMARY_SCHEMA, RunSummaries

__all__ = ["CODE_VERSION", "METRIC_SCHEMA", "STAGE", "training_logs"]

STAGE = "training_logs"
CODE_VERSION = "1"

_MESSAGE = [
    pa.field("run", pa.string(), nullable=False),
    pa.field("step", pa.int64(), nullable=False),
    pa.field("rank", pa.int64(), nullable=False),
    pa.field("time_ms", pa.int64(), nullable=False),
]

METRIC_SCHEMA = pa.schema(
    [
        *_MESSAGE,
        pa.field("kind", pa.string(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("value", pa.float64(), nullable=False),
    ]
)
"""Table `samples`: one row a number; `kind` is metric or resource, `time_ms` Unix milliseconds."""

_EVENT_SCHEMA = pa.schema(
    [
        *_MESSAGE,
        pa.field("level", pa.string()),
        pa.field("message", pa.string(), nullable=False),
    ]
)


def training_logs(store: ObjectStore, settings: Settings, batch: str) -> Manifest:
    """Store the training logs of a batch.

    Writes the tables `samples` (`METRIC_SCHEMA`), `events` (messages for people), `summaries` (`SUMMARY_SCHEMA`, one
    row a run, over this batch) and `dead_letters`.

    Parameters
    ----------
    batch:
        Key of a batch of the topic of training logs in the offset log.

    Raises
    ------
    BrokerUnavailable, StoreUnavailable
        Worth another try.
    InvalidInput
        The batch was never planned.
    """
    schemas = {"samples": METRIC_SCHEMA, "events": _EVENT_SCHEMA, "summaries": SUMMARY_SCHEMA, **DEAD_LETTERS}
    summaries = RunSummaries()
    metrics = 0
    with StageWriter(store, STAGE, batch, schemas) as writer:
        messages = BatchMessages(store, settings, batch, writer)
        for chunk in messages.decoded(LogMessage):
            rows = [row for message, log in chunk for row in _metric_rows(message, log)]
            metrics += len(rows)
            writer.write("samples", pa.RecordBatch.from_pylist(rows, schema=METRIC_SCHEMA))
            writer.write("events", pa.RecordBatch.from_pylist(_event_rows(chunk), schema=_EVENT_SCHEMA))
            for message, log in chunk:
                summaries.add(log, _time_ms(message, log))
        found = summaries.rows()
        writer.write("summaries", pa.RecordBatch.from_pylist(found, schema=SUMMARY_SCHEMA))
        return writer.commit(
            code_version=CODE_VERSION, numbers={**messages.numbers(), "runs": len(found), "metrics": metrics}
        )


def _metric_rows(message: Message, log: LogMessage) -> Iterator[dict[str, Any]]:
    for kind, values in (("metric", log.metrics), ("resource", log.resources)):
        for name, value in sorted(values.items()):
            yield {**_identity(message, log), "kind": kind, "name": name, "value": value}


def _event_rows(chunk: Sequence[tuple[Message, LogMessage]]) -> list[dict[str, Any]]:
    return [
        {**_identity(message, log), "level": log.level, "message": log.message}
        for message, log in chunk
        if log.message is not None
    ]


def _identity(message: Message, log: LogMessage) -> dict[str, Any]:
    return {"run": log.run, "step": log.step, "rank": log.rank, "time_ms": _time_ms(message, log)}


def _time_ms(message: Message, log: LogMessage) -> int:
    if log.time is None:
        return message.timestamp_ms
    time = log.time if log.time.tzinfo else log.time.replace(tzinfo=UTC)
    return round(time.timestamp() * 1000)
