"""A stage's output for one batch: Parquet files under content-derived names, and the manifest that makes them exist.

Layout: `stages/<stage>/<batch>/<table>-<n>-<sha256 prefix>.parquet` and `manifest.json`, put last. A name derived
from the content is as fresh as a random one for other content, and makes a second run over the same bytes give the
same manifest. Readers trust manifests only, so whatever a killed run left behind is invisible.
"""

import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, BinaryIO, Self

import pyarrow as pa
import pyarrow.parquet as pq

from ummp_assets.errors import (
    ManifestCorrupt,
    ManifestMissing,
    ObjectNotFound,
    StoreUnavailable,
    UmmpError,
)
from ummp_assets.records import OUTCOME_SCHEMA, Rejection
from ummp_assets.storage.manifest import FileEntry, Manifest, OutcomeCount
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.tables import TableLimits, TableWriter, hash_footer
from ummp_assets.storage.tensors import tensors_from_binary

__all__ = [
    "MEASUREMENTS",
    "OUTCOMES",
    "FileEntry",
    "Manifest",
    "OutcomeCount",
    "StageWriter",
    "explain_failure",
    "find_manifest",
    "hash_file",
    "read_manifest",
    "read_table",
    "stage_path",
]

OUTCOMES = "outcomes"
"""Table of every stage: samples that ended in it."""
MEASUREMENTS = "measurements"
"""Table of the clean stages: what the rules measured of every sample that they saw, stored or not."""
DEFAULT_LIMITS = TableLimits()

_READ_BYTES = 2**20


def stage_path(stage: str, batch: str, name: str = "manifest.json") -> str:
    """Return the store path of a stage's file for one batch."""
    return f"stages/{stage}/{batch}/{name}"


def read_manifest(store: ObjectStore, stage: str, batch: str) -> Manifest:
    """Return what a stage committed for a batch; raises `ManifestMissing` when it never did."""
    manifest = find_manifest(store, stage, batch)
    if manifest is None:
        address = store.uri(stage_path(stage, batch))
        raise ManifestMissing(f"stage {stage} has not committed batch {batch} ({address}): materialize it first")
    return manifest


def find_manifest(store: ObjectStore, stage: str, batch: str) -> Manifest | None:
    """Return what a stage committed for a batch, or None when it never did."""
    path = stage_path(stage, batch)
    try:
        return Manifest.from_json(store.read(path), store.uri(path))
    except ObjectNotFound:
        return None


def read_table(
    store: ObjectStore, manifest: Manifest, table: str, *, columns: Sequence[str] | None = None, batch_rows: int = 1_024
) -> Iterator[pa.RecordBatch]:
    """Yield a table's rows in order, never more than `batch_rows` or than one row group at once.

    Raises `ManifestCorrupt` when a file that the manifest names is missing or not what was written, and
    `StoreUnavailable` when the store failed while it was read.
    """
    for entry in manifest.tables.get(table, ()):
        try:
            with store.open(entry.path) as file:
                yield from _read_file(file, entry, columns, batch_rows)
        except ObjectNotFound as error:
            raise ManifestCorrupt(f"{error}, which the manifest of {manifest.stage} {manifest.batch} names") from error
        except UmmpError:
            raise
        except Exception as error:
            # Object stores' clients have errors of their own here, beside Arrow's.
            raise explain_failure(store, entry.path, entry.sha256, error) from error


def _read_file(
    file: BinaryIO, entry: FileEntry, columns: Sequence[str] | None, batch_rows: int
) -> Iterator[pa.RecordBatch]:
    if hash_footer(file) != entry.footer_sha256:
        raise ValueError("its footer is another one")
    missing_rows = entry.rows
    with pq.ParquetFile(file, page_checksum_verification=True, **_reading_options(file)) as parquet:
        for group in range(parquet.num_row_groups):
            for rows in parquet.iter_batches(batch_size=batch_rows, row_groups=[group], columns=columns):
                missing_rows -= rows.num_rows
                yield tensors_from_binary(rows)
    if missing_rows:
        raise ValueError(f"{missing_rows} rows are missing")


def _reading_options(file: BinaryIO) -> dict[str, Any]:
    """Have local files read piece by piece: a row group's columns at once are memory of some 40 MB that is new each
    time, and images of 196 kB take 0.23 instead of 0.11 ms. Requests to other stores cost more than that."""
    is_local = isinstance(file, io.BufferedReader)
    return {"pre_buffer": False, "buffer_size": _READ_BYTES} if is_local else {}


class StageWriter:
    """Writes a stage's tables as streams and commits them with one manifest.

    Rows go to local scratch files; `commit` moves them into the store and puts the manifest last.
    Leaving the `with` block without `commit` leaves nothing in the store.

    >>> with StageWriter(store, "clean_text", batch, {"samples": TEXT_SCHEMA}) as writer:  # doctest: +SKIP
    ...     writer.write("samples", record_batch)
    ...     writer.reject([rejection])
    ...     manifest = writer.commit(code_version="1")
    """

    def __init__(
        self,
        store: ObjectStore,
        stage: str,
        batch: str,
        schemas: Mapping[str, pa.Schema],
        limits: TableLimits = DEFAULT_LIMITS,
    ) -> None:
        self._store, self._stage, self._batch = store, stage, batch
        self._schemas = {**schemas, OUTCOMES: OUTCOME_SCHEMA}
        self._limits = limits
        self._counts: Counter[tuple[str, str, str, str]] = Counter()
        self._cleanup = ExitStack()

    def __enter__(self) -> Self:
        scratch = TemporaryDirectory(dir=self._store.scratch_directory(), ignore_cleanup_errors=True)
        self._folder = Path(self._cleanup.enter_context(scratch))
        self._tables = {
            name: TableWriter(self._folder, name, schema, self._limits) for name, schema in self._schemas.items()
        }
        # Before the folder goes, and each whatever becomes of the others.
        for table in self._tables.values():
            self._cleanup.callback(table.abandon)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._cleanup.close()

    @property
    def scratch(self) -> Path:
        """A local folder that lives as long as the writer, for files on their way into the store."""
        return self._folder

    def write(self, table: str, rows: pa.RecordBatch) -> None:
        """Append rows to a table; raises `InvalidInput` when they have another schema, `StoreUnavailable` when the
        disk does not take them."""
        self._tables[table].write(rows)

    def reject(self, rejections: Iterable[Rejection]) -> None:
        """Record samples that end here, in the table `outcomes` and in the counts."""
        rows: list[dict[str, str | float | None]] = []
        for item in rejections:
            self._counts[item.dataset, item.modality, item.outcome.value, item.reason.value] += 1
            rows.append(
                {
                    "sample_id": item.sample_id,
                    "dataset": item.dataset,
                    "modality": item.modality,
                    "uri": item.uri,
                    "outcome": item.outcome.value,
                    "reason": item.reason.value,
                    "detail": item.detail,
                    "measured": item.measured,
                    "twin": item.twin,
                }
            )
        self.write(OUTCOMES, pa.RecordBatch.from_pylist(rows, schema=OUTCOME_SCHEMA))

    def commit(
        self,
        *,
        code_version: str,
        rules: Mapping[str, str] | None = None,
        inputs: Iterable[Manifest] | Mapping[str, str] = (),
        numbers: Mapping[str, int | float] | None = None,
    ) -> Manifest:
        """Move the files into the store, put the manifest and return it; raises `StoreUnavailable`.

        `inputs` are the manifests that the stage read, or their sha256 by stage.
        """
        digests = inputs if isinstance(inputs, Mapping) else {item.stage: item.sha256 for item in inputs}
        manifest = Manifest(
            stage=self._stage,
            batch=self._batch,
            code_version=code_version,
            rules=dict(rules or {}),
            inputs=dict(digests),
            tables={name: entries for name, table in self._tables.items() if (entries := self._move(name, table))},
            outcomes=tuple(sorted(OutcomeCount(*key, count) for key, count in self._counts.items())),
            numbers=dict(numbers or {}),
        )
        self._store.write(stage_path(self._stage, self._batch), manifest.to_json())
        return manifest

    def _move(self, name: str, table: TableWriter) -> tuple[FileEntry, ...]:
        entries = []
        for number, file in enumerate(table.finish()):
            path = stage_path(self._stage, self._batch, f"{name}-{number:04d}-{file.sha256[:16]}.parquet")
            self._store.upload(file.path, path)
            entries.append(FileEntry(path, file.rows, file.byte_count, file.sha256, file.footer_sha256))
        return tuple(entries)


def hash_file(file: Path) -> str:
    """Return the sha256 of a local file, in hex."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def explain_failure(store: ObjectStore, path: str, sha256: str, error: Exception) -> UmmpError:
    """Return what the failure to read an object means: `ManifestCorrupt` when it is gone or its content is another one,
    else `StoreUnavailable`.

    Arrow gives OSError for damaged pages as for a failing disk: the sha256, or its first digits, tells them apart.
    """
    with suppress(Exception):
        try:
            if not _hash_object(store, path).startswith(sha256):
                address = store.uri(path)
                return ManifestCorrupt(f"{address} is not the file that was committed, its sha256 differs: {error}")
        except ObjectNotFound as missing:
            return ManifestCorrupt(str(missing))
    return StoreUnavailable(store.uri(path), error)


def _hash_object(store: ObjectStore, path: str) -> str:
    digest = hashlib.sha256()
    with store.open(path) as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()
