"""Results to rows: contents into Parquet or `blobs/`, failures into outcomes, in order, in a thread of their own.

Encoding and compressing Parquet releases the GIL, so that it goes on while the next objects arrive.
"""

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

import pyarrow as pa

from ummp_assets.fetch.body import Body
from ummp_assets.fetch.fetched import Failure, Fetched, FetchRequest, Result, attempts_json, evidence_json
from ummp_assets.fetch.modality import HEAD_BYTES, declared_or_guessed, resolve_modality
from ummp_assets.reasons import Reason
from ummp_assets.records import RAW_SCHEMA, Modality, Rejection
from ummp_assets.storage.fetch_state import FetchState, StoredFetch
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import StageWriter

__all__ = ["FAILURES", "FAILURE_SCHEMA", "SAMPLES", "RowWriter", "blob_path"]

SAMPLES, FAILURES = "samples", "failures"

FAILURE_SCHEMA = pa.schema(
    [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("attempts", pa.string(), nullable=False),
        pa.field("evidence", pa.string()),
    ]
)
"""Table `failures` of the stage `downloads`: attempts and evidence (JSON) of each sample that was rejected there."""

# A row group ends at the first of these; small enough to be read whole by the stages that follow.
_GROUP_ROWS = 1_024
_GROUP_BYTES = 16 * 2**20
_MAX_WAITING_GROUPS = 3

Entry = tuple[FetchRequest, Result]


def blob_path(sha256: str) -> str:
    """Return where the store keeps a large object."""
    return f"blobs/{sha256}"


class RowWriter:
    """Writes results in the order given; use as a context manager.

    Parameters
    ----------
    state:
        Takes note of where the bytes stand, for `batch`.
    inline_bytes:
        Larger contents go to the store as blobs.
    """

    def __init__(
        self, store: ObjectStore, writer: StageWriter, state: FetchState, batch: str, inline_bytes: int
    ) -> None:
        self._store, self._writer, self._inline_bytes = store, writer, inline_bytes
        self._state, self._batch = state, batch
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="downloads-writer")
        self._waiting: deque[Future[None]] = deque()
        self._group: list[Entry] = []
        self._group_bytes = 0
        self.numbers: Counter[str] = Counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._thread.shutdown(cancel_futures=True)

    def write(self, entries: Iterable[Entry]) -> None:
        """Append results; raises what the writing of earlier ones raised, `StoreUnavailable` above all."""
        for request, result in entries:
            self._group.append((request, result))
            if isinstance(result, Fetched) and result.body.byte_count <= self._inline_bytes:
                self._group_bytes += result.body.byte_count
            if len(self._group) >= _GROUP_ROWS or self._group_bytes >= _GROUP_BYTES:
                self._send_group()

    def finish(self) -> None:
        """Wait until everything is written; raises as `write` does."""
        self._send_group()
        while self._waiting:
            self._waiting.popleft().result()

    def _send_group(self) -> None:
        while len(self._waiting) >= _MAX_WAITING_GROUPS:
            self._waiting.popleft().result()
        if self._group:
            self._waiting.append(self._thread.submit(self._write_group, self._group))
        self._group, self._group_bytes = [], 0

    def _write_group(self, entries: Sequence[Entry]) -> None:
        stored: list[tuple[FetchRequest, Fetched, str]] = []
        failed: list[tuple[FetchRequest, Failure]] = []
        for request, result in entries:
            self.numbers["attempts"] += len(result.attempts)
            if isinstance(result, Failure):
                failed.append((request, result))
                continue
            body = result.body
            modality = resolve_modality(request.modality, body.head(HEAD_BYTES), result.media_type, result.final_uri)
            if modality in set(Modality):
                stored.append((request, result, modality))
                self.numbers["bytes"] += body.byte_count
            else:
                body.discard()
                failed.append((request, _of_unknown_modality(result)))
        self.numbers["rejected"] += len(failed)
        self._write_samples(stored)
        self._write_failures(failed)

    def _write_samples(self, rows: Sequence[tuple[FetchRequest, Fetched, str]]) -> None:
        inline, blobs = zip(*(self._place(result.body) for _, result, _ in rows), strict=True) if rows else ((), ())
        columns = {
            "sample_id": [request.sample_id for request, _, _ in rows],
            "dataset": [request.dataset for request, _, _ in rows],
            "uri": [request.uri for request, _, _ in rows],
            "modality": [modality for _, _, modality in rows],
            "media_type": [result.media_type for _, result, _ in rows],
            "sha256": [result.body.sha256 for _, result, _ in rows],
            "byte_count": [result.body.byte_count for _, result, _ in rows],
            "content": inline,
            "blob": blobs,
            "label": [request.label for request, _, _ in rows],
            "attributes": [request.attributes for request, _, _ in rows],
            "fetched_at": [result.fetched_at for _, result, _ in rows],
            "final_uri": [result.final_uri for _, result, _ in rows],
            "etag": [result.etag for _, result, _ in rows],
            "last_modified": [result.last_modified for _, result, _ in rows],
            "attempts": [attempts_json(result.attempts) for _, result, _ in rows],
            "evidence": [evidence_json(result.evidence) for _, result, _ in rows],
        }
        arrays = [pa.array(columns[field.name], field.type) for field in RAW_SCHEMA]
        self._writer.write(SAMPLES, pa.RecordBatch.from_arrays(arrays, schema=RAW_SCHEMA))
        self._remember(rows, blobs)
        self.numbers["samples"] += len(rows)

    def _remember(self, rows: Sequence[tuple[FetchRequest, Fetched, str]], blobs: Sequence[str | None]) -> None:
        """Note where the bytes stand that a server can be asked about again.

        Before the manifest is put: whoever looks in a batch that was never committed fetches anew.
        """
        first = self.numbers["samples"]
        self._state.record_fetches(
            (
                request.uri,
                StoredFetch(
                    etag=result.etag,
                    last_modified=result.last_modified,
                    media_type=result.media_type,
                    final_uri=result.final_uri,
                    sha256=result.body.sha256,
                    byte_count=result.body.byte_count,
                    batch=self._batch,
                    row=first + number,
                    blob=blobs[number],
                ),
            )
            for number, (request, result, _) in enumerate(rows)
            if result.etag or result.last_modified
        )

    def _place(self, body: Body) -> tuple[bytes | None, str | None]:
        """Return the content that stands in the row, or the path of the blob that holds it."""
        if body.byte_count <= self._inline_bytes:
            content = body.read()
            body.discard()
            return content, None
        path = body.blob or blob_path(body.sha256)
        if body.file is not None and not self._store.exists(path):
            self._store.upload(body.file, path)
        body.discard()
        return None, path

    def _write_failures(self, rows: Sequence[tuple[FetchRequest, Failure]]) -> None:
        self._writer.reject(
            Rejection(
                request.sample_id,
                request.dataset,
                declared_or_guessed(request.modality, request.uri),
                request.uri,
                failure.reason,
                failure.detail,
            )
            for request, failure in rows
        )
        columns = [
            pa.array([request.sample_id for request, _ in rows], pa.string()),
            pa.array([attempts_json(failure.attempts) for _, failure in rows], pa.string()),
            pa.array([evidence_json(failure.evidence) for _, failure in rows], pa.string()),
        ]
        self._writer.write(FAILURES, pa.RecordBatch.from_arrays(columns, schema=FAILURE_SCHEMA))


def _of_unknown_modality(result: Fetched) -> Failure:
    detail = f"The bytes begin with {result.body.head(8)!r} and are declared as {result.media_type or 'nothing'}."
    return Failure(Reason.UNKNOWN_MODALITY, detail, result.attempts, result.evidence)
