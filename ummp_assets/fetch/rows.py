"""Results to rows: contents into Parquet or `blobs/`, failures into outcomes, in order.

Rows of what is at hand are made in the thread that looks after the transfers, all others in a thread of their own: an
archive may take seconds to take apart, and a blob a minute on its way to a remote store. The stage's writer encodes and
hashes row groups in threads of its own meanwhile.
"""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self, TypeVar

import pyarrow as pa

from ummp_assets.fetch.body import Body
from ummp_assets.fetch.content_column import content_column
from ummp_assets.fetch.fetched import Fetched, FetchRequest, Result, attempts_json, evidence_json
from ummp_assets.fetch.samples import RejectedSample, Sample, is_container, modality_of, samples_of
from ummp_assets.parallel.background import Background
from ummp_assets.records import RAW_SCHEMA
from ummp_assets.settings import FetchSettings
from ummp_assets.storage.fetch_state import FetchState, StoredFetch
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import StageWriter

__all__ = [
    "FAILURES",
    "FAILURE_SCHEMA",
    "LOT_BYTES",
    "LOT_ROWS",
    "ROW_GROUP_BYTES",
    "SAMPLES",
    "RowWriter",
    "blob_path",
]

SAMPLES, FAILURES = "samples", "failures"

FAILURE_SCHEMA = pa.schema(
    [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("attempts", pa.string(), nullable=False),
        pa.field("evidence", pa.string()),
    ]
)
"""Table `failures` of the stage `downloads`: attempts and evidence (JSON) of each sample that was rejected there."""

# Results are handed to the thread in lots of about so many.
LOT_ROWS = 512
LOT_BYTES = 2 * 2**20
# Rows are handed to the stage's writer by the row group: written at once, their buffer is there for the next ones.
# Memory that is touched for the first time cost more, at 2 microseconds a page, than copying what it holds.
_ROW_GROUP_ROWS = 2_048
ROW_GROUP_BYTES = 8 * 2**20
_MAX_WAITING_LOTS = 8
# A transaction of the index costs a millisecond, whatever it holds.
_FETCHES_AT_ONCE = 1_000

_Value = TypeVar("_Value")
_Text = TypeVar("_Text")

Entry = tuple[FetchRequest, Result]


def blob_path(sha256: str) -> str:
    """Return where the store keeps a large object."""
    return f"blobs/{sha256}"


class RowWriter:
    """Writes results in the order given; use as a context manager.

    After `finish`, `numbers` counts requests by what became of them: `archives` were taken apart into `unpacked` items,
    so that `samples` + `rejected` == requests - `archives` + `unpacked`.

    Parameters
    ----------
    state:
        Takes note of where the bytes stand, for `batch`.
    """

    def __init__(
        self, store: ObjectStore, writer: StageWriter, state: FetchState, batch: str, settings: FetchSettings
    ) -> None:
        self._store, self._writer, self._settings = store, writer, settings
        self._state, self._batch = state, batch
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="downloads-rows")
        self._waiting: deque[Future[None]] = deque()
        self._recording = Background("downloads-index")
        self._lot: list[Entry] = []
        self._lot_bytes = 0
        self._samples: list[Sample] = []
        self._blobs: list[str | None] = []
        self._samples_bytes = 0
        self._rejected: list[RejectedSample] = []
        self._fetches: list[tuple[str, StoredFetch]] = []
        self.numbers: Counter[str] = Counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._thread.shutdown(cancel_futures=True)
        self._recording.end()

    @property
    def has_room(self) -> bool:
        """Whether `write` would not have to wait. Transfers time out while nobody looks after them, and a large blob
        may take a minute on its way to a remote store. Raises as `write` does."""
        while self._waiting and self._waiting[0].done():
            self._waiting.popleft().result()
        return len(self._waiting) < _MAX_WAITING_LOTS

    def write(self, entries: Sequence[Entry]) -> None:
        """Append results; raises what the writing of earlier ones raised, `StoreUnavailable` above all."""
        self._lot += entries
        self._lot_bytes += sum(result.body.held_bytes for _, result in entries if isinstance(result, Fetched))
        if len(self._lot) >= LOT_ROWS or self._lot_bytes >= LOT_BYTES:
            self._send_lot()

    def finish(self) -> None:
        """Wait until everything is written; raises as `write` does."""
        self._send_lot()
        self._waiting.append(self._thread.submit(self._flush))
        while self._waiting:
            self._waiting.popleft().result()
        self._record_fetches()
        self._recording.wait()

    def _send_lot(self) -> None:
        lot, self._lot, self._lot_bytes = self._lot, [], 0
        if self.has_room and not self._waiting and all(map(self._is_at_hand, lot)):
            # Two threads that hash small contents and make rows hand the interpreter's lock to one another all the
            # time: 4,000 files took 1.0 instead of 0.9 s of processor time with all rows in the other one.
            self._write_lot(lot)
            return
        while len(self._waiting) >= _MAX_WAITING_LOTS:
            self._waiting.popleft().result()
        self._waiting.append(self._thread.submit(self._write_lot, lot))

    def _is_at_hand(self, entry: Entry) -> bool:
        """Return whether an entry makes one row at most, without a file that is read or uploaded."""
        request, result = entry
        if not isinstance(result, Fetched):
            return True
        body = result.body
        return body.pieces is not None and self._is_inline(body) and not is_container(modality_of(request, result))

    # From here on everything runs in one thread at a time, in the order of the lots.

    def _write_lot(self, entries: Sequence[Entry]) -> None:
        for request, result in entries:
            self.numbers["attempts"] += len(result.attempts)
            modality = modality_of(request, result) if isinstance(result, Fetched) else None
            contained = is_container(modality)
            self.numbers["archives"] += contained
            for item in samples_of(request, result, modality, self._writer.scratch, self._settings):
                self.numbers["unpacked"] += contained
                self._take(item)

    def _take(self, item: Sample | RejectedSample) -> None:
        if isinstance(item, RejectedSample):
            self._rejected.append(item)
        else:
            self._samples.append(item)
            self._blobs.append(self._place(item.body))
            # Also what has waited in a scratch file stands in the row.
            self._samples_bytes += item.body.byte_count if self._blobs[-1] is None else 0
        if len(self._samples) + len(self._rejected) >= _ROW_GROUP_ROWS or self._samples_bytes >= ROW_GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        samples, blobs = self._samples, self._blobs
        self._samples, self._blobs, self._samples_bytes = [], [], 0
        rejected, self._rejected = self._rejected, []
        if samples:
            self._write_samples(samples, blobs)
        if rejected:
            self._write_rejected(rejected)

    def _write_samples(self, rows: Sequence[Sample], blobs: Sequence[str | None]) -> None:
        contents = content_column([row.body if blob is None else None for row, blob in zip(rows, blobs, strict=True)])
        for row in rows:
            row.body.discard()
        encode_evidence = _once_each(evidence_json)
        columns: dict[str, Any] = {
            "sample_id": [row.sample_id for row in rows],
            "dataset": [row.request.dataset for row in rows],
            "uri": [row.uri for row in rows],
            "modality": [row.modality for row in rows],
            "media_type": [row.media_type for row in rows],
            "sha256": [row.body.sha256 for row in rows],
            "byte_count": [row.body.byte_count for row in rows],
            "content": contents,
            "blob": blobs,
            "label": [row.label for row in rows],
            "attributes": [row.attributes for row in rows],
            "fetched_at": [row.result.fetched_at for row in rows],
            "final_uri": [row.result.final_uri for row in rows],
            "etag": [row.result.etag for row in rows],
            "last_modified": [row.result.last_modified for row in rows],
            "attempts": [attempts_json(row.result.attempts) for row in rows],
            "evidence": [encode_evidence(row.result.evidence) for row in rows],
        }
        arrays = [
            column if isinstance(column := columns[field.name], pa.Array) else pa.array(column, field.type)
            for field in RAW_SCHEMA
        ]
        self._writer.write(SAMPLES, pa.RecordBatch.from_arrays(arrays, schema=RAW_SCHEMA))
        self._remember(rows, blobs)
        self.numbers["samples"] += len(rows)
        self.numbers["bytes"] += sum(row.body.byte_count for row in rows)

    def _remember(self, rows: Sequence[Sample], blobs: Sequence[str | None]) -> None:
        """Note where the bytes stand that a server can be asked about again.

        Before the manifest is put: whoever looks in a batch that was never committed fetches anew. Members of archives
        are left out: the archive's own bytes are not kept.
        """
        first = self.numbers["samples"]
        self._fetches += [
            (
                row.request.uri,
                StoredFetch(
                    etag=row.result.etag,
                    last_modified=row.result.last_modified,
                    media_type=row.media_type,
                    final_uri=row.result.final_uri,
                    sha256=row.body.sha256,
                    byte_count=row.body.byte_count,
                    batch=self._batch,
                    row=first + number,
                    blob=blobs[number],
                ),
            )
            for number, row in enumerate(rows)
            if (row.result.etag or row.result.last_modified) and row.sample_id == row.request.sample_id
        ]
        if len(self._fetches) >= _FETCHES_AT_ONCE:
            self._record_fetches()

    def _record_fetches(self) -> None:
        fetches, self._fetches = self._fetches, []
        if fetches:
            self._recording.start(self._state.record_fetches, fetches)

    def _is_inline(self, body: Body) -> bool:
        return body.byte_count <= self._settings.inline_bytes

    def _place(self, body: Body) -> str | None:
        """Return the path of the blob that holds the content, None when it stands in the row."""
        if self._is_inline(body):
            return None
        if body.blob is not None:
            return body.blob
        path = blob_path(body.sha256)
        # It is still in memory when it came from an earlier batch, whose limit for contents in rows was higher.
        if not self._store.exists(path) and (file := body.spill(self._writer.scratch).file) is not None:
            self._store.upload(file, path)
        return path

    def _write_rejected(self, rows: Sequence[RejectedSample]) -> None:
        self._writer.reject(row.rejection for row in rows)
        columns = [
            pa.array([row.rejection.sample_id for row in rows], pa.string()),
            pa.array([row.attempts for row in rows], pa.string()),
            pa.array([row.evidence for row in rows], pa.string()),
        ]
        self._writer.write(FAILURES, pa.RecordBatch.from_arrays(columns, schema=FAILURE_SCHEMA))
        self.numbers["rejected"] += len(rows)


def _once_each(encode: Callable[[_Value], _Text]) -> Callable[[_Value], _Text]:
    """Return `encode` that remembers objects by identity: what policy decided is one object for all of a host."""
    known: dict[int, _Text] = {}

    def encoded(value: _Value) -> _Text:
        text = known.get(id(value))
        return known.setdefault(id(value), encode(value)) if text is None else text

    return encoded
