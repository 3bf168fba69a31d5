"""Stage `model_parameters`: workers' parameters in, the federated average of each round out, on the same topic.

A round that is still open at the end of a batch is carried over in the table `pending`. So the batches of the topic
are worked in order: each one reads what the one before it left.
"""

import time
from collections.abc import Iterator
from itertools import chain

import pyarrow as pa

from ummp_assets.errors import ManifestMissing, WaitTimeout
from ummp_assets.messages.outbox import Record, send_once
from ummp_assets.messages.ranges import parse_key
from ummp_assets.messages.schemas import ParametersHeader
from ummp_assets.messages.topics import topic_names
from ummp_assets.reasons import Reason
from ummp_assets.records import Rejection
from ummp_assets.settings import Settings
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import Manifest, StageWriter, find_manifest, read_manifest, read_table
from ummp_assets.training.batch_messages import DEAD_LETTERS, BatchMessages
from ummp_assets.training.packing import pack, split, split_message
from ummp_assets.training.rounds import ClosedRound, close_rounds, reject_parameters
from ummp_assets.training.update_spool import PENDING_SCHEMA, Piece, UpdateSpool

__all__ = ["AVERAGE_SCHEMA", "CODE_VERSION", "STAGE", "average_parameters"]

STAGE = "model_parameters"
CODE_VERSION = "1"
RULES = {"average": "fedavg-1"}

SERVER = "ummp"
"""Name of the worker in the messages that hold an average."""

AVERAGE_SCHEMA = pa.schema(
    [
        pa.field("model", pa.string(), nullable=False),
        pa.field("round", pa.int64(), nullable=False),
        pa.field("workers", pa.list_(pa.string()), nullable=False),
        pa.field("samples", pa.int64(), nullable=False),
        pa.field("codec", pa.string(), nullable=False),
        pa.field("checksum", pa.string(), nullable=False),
        pa.field("parameters", pa.large_binary(), nullable=False),
    ]
)
"""Table `samples`: one row a round that was averaged; `parameters` are safetensors, compressed by `codec`."""

_CLOSED_SCHEMA = pa.schema(
    [pa.field("model", pa.string(), nullable=False), pa.field("round", pa.int64(), nullable=False)]
)
"""Table `closed`: the highest closed round of each model that was ever seen."""

_SCHEMAS = {"samples": AVERAGE_SCHEMA, "pending": PENDING_SCHEMA, "closed": _CLOSED_SCHEMA, **DEAD_LETTERS}


def average_parameters(store: ObjectStore, settings: Settings, batch: str) -> Manifest:
    """Average the rounds that a batch completes, and publish the averages once.

    Writes the tables `samples` (`AVERAGE_SCHEMA`), `pending`, `closed` and `dead_letters`.

    Parameters
    ----------
    batch:
        Key of a batch of the topic of parameters in the offset log.

    Raises
    ------
    WaitTimeout
        The batch before it is not committed yet.
    BrokerUnavailable, StoreUnavailable
        Worth another try.
    InvalidInput
        The batch was never planned.
    """
    before = _predecessor(store, batch, settings.training.predecessor_wait_seconds)
    with StageWriter(store, STAGE, batch, _SCHEMAS) as writer:
        run = _Run(store, settings, batch, writer, before)
        averages = run.average()
        if averages and not _is_committed(store, batch):
            records = [record for average in averages for record in _records(settings, average)]
            send_once(settings, f"parameters.{batch}", topic_names(settings).parameters, records)
        return writer.commit(
            code_version=CODE_VERSION, rules=RULES, inputs=[before] if before else [], numbers=run.numbers(averages)
        )


class _Run:
    """One pass over a batch."""

    def __init__(
        self, store: ObjectStore, settings: Settings, batch: str, writer: StageWriter, before: Manifest | None
    ) -> None:
        self._store, self._settings, self._writer, self._before = store, settings, writer, before
        self._messages = BatchMessages(store, settings, batch, writer)
        folder = writer.scratch / "updates"
        folder.mkdir()
        self._spool = UpdateSpool(folder)
        self._closed: dict[str, int] = {}
        self._newest_ms = 0
        self._late: set[tuple[str, int, str]] = set()
        self._own = 0

    def average(self) -> list[pa.RecordBatch]:
        """Return the averages, one row each, after everything was written."""
        self._read_before()
        for chunk in self._messages.parsed(lambda message: split_message(message.value)):
            pieces = (Piece(it.sample_id, it.timestamp_ms, header, data) for it, (header, data) in chunk)
            self._writer.reject(chain.from_iterable(map(self._take, pieces)))
        averages = [self._write(closed) for closed in self._close() if closed.arrays is not None]
        self._write_open()
        return averages

    def numbers(self, averages: list[pa.RecordBatch]) -> dict[str, int | float]:
        pending = list(self._spool)
        return {
            **self._messages.numbers(),
            "averages": len(averages),
            "averaged_workers": sum(len(row["workers"]) for rows in averages for row in rows.to_pylist()),
            "open_rounds": len(self._spool.rounds()),
            "pending_updates": len(pending),
            "own_messages": self._own,
        }

    def _read_before(self) -> None:
        if self._before is None:
            return
        for rows in read_table(self._store, self._before, "closed"):
            self._closed.update({row["model"]: row["round"] for row in rows.to_pylist()})
        for rows in read_table(self._store, self._before, "pending", batch_rows=1):
            for row in rows.to_pylist():
                header = ParametersHeader.model_validate_json(row["header"])
                self._spool.add(Piece(row["sample_id"], row["timestamp_ms"], header, row["piece"]))

    def _take(self, piece: Piece) -> Iterator[Rejection]:
        """Put a message into the spool, or yield why its update ends here, once an update."""
        header = piece.header
        self._newest_ms = max(self._newest_ms, piece.timestamp_ms)
        if header.role == "global":
            self._own += 1
        elif header.samples == 0:
            yield from self._end(piece, Reason.NO_SAMPLES, "samples is 0")
        elif header.round <= self._closed.get(header.model, -1):
            detail = f"round {self._closed[header.model]} was closed before"
            yield from self._end(piece, Reason.LATE_PARAMETERS, detail)
        else:
            self._spool.add(piece)

    def _end(self, piece: Piece, reason: Reason, detail: str) -> Iterator[Rejection]:
        header = piece.header
        update = (header.model, header.round, header.worker)
        if update not in self._late:
            self._late.add(update)
            yield reject_parameters(header, piece.sample_id, reason, detail)

    def _close(self) -> Iterator[ClosedRound]:
        rejections: list[Rejection] = []
        training = self._settings.training
        for closed in close_rounds(
            self._spool,
            self._newest_ms,
            timeout_seconds=training.round_timeout_seconds,
            max_bytes=training.max_parameters_bytes,
            rejections=rejections,
        ):
            self._closed[closed.model] = closed.round
            yield closed
        self._writer.reject(rejections)

    def _write(self, closed: ClosedRound) -> pa.RecordBatch:
        codec = self._settings.training.parameter_codec
        packed, checksum = pack(closed.arrays or {}, codec)
        row = {
            "model": closed.model,
            "round": closed.round,
            "workers": closed.workers,
            "samples": closed.samples,
            "codec": codec,
            "checksum": checksum,
            "parameters": packed,
        }
        rows = pa.RecordBatch.from_pylist([row], schema=AVERAGE_SCHEMA)
        self._writer.write("samples", rows)
        return rows

    def _write_open(self) -> None:
        for update in self._spool:
            for piece in update.pieces():
                row = {
                    "sample_id": piece.sample_id,
                    "timestamp_ms": piece.timestamp_ms,
                    "header": piece.header.model_dump_json(by_alias=True, exclude_none=True),
                    "piece": piece.data,
                }
                self._writer.write("pending", pa.RecordBatch.from_pylist([row], schema=PENDING_SCHEMA))
        rows = [{"model": model, "round": self._closed[model]} for model in sorted(self._closed)]
        self._writer.write("closed", pa.RecordBatch.from_pylist(rows, schema=_CLOSED_SCHEMA))


def _predecessor(store: ObjectStore, batch: str, wait_seconds: float) -> Manifest | None:
    topic, number = parse_key(batch)
    if number == 1:
        return None
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            return read_manifest(store, STAGE, f"{topic}~{number - 1:08d}")
        except ManifestMissing as error:
            if time.monotonic() > deadline:
                raise WaitTimeout(f"batch {batch} goes on where the one before it ends, but {error}") from None
        time.sleep(0.5)


def _is_committed(store: ObjectStore, batch: str) -> bool:
    """Brokers forget the marker of an idle group after days; the manifest does not."""
    return find_manifest(store, STAGE, batch) is not None


def _records(settings: Settings, average: pa.RecordBatch) -> Iterator[Record]:
    (row,) = average.to_pylist()
    header = {
        "model": row["model"],
        "round": row["round"],
        "worker": SERVER,
        "role": "global",
        "samples": row["samples"],
        "codec": row["codec"],
        "checksum": row["checksum"],
        "workers": len(row["workers"]),
    }
    for value in split(row["parameters"], header, settings.training.chunk_bytes):
        yield Record(row["model"].encode(), value)
