"""What the clean stages share: read one modality of `downloads`, clean it in chunks, drop duplicates, write, account.

Memory is bounded by the chunk: rows are gathered until they hold `max_chunk_bytes` of raw bytes, and at most a few
chunks are under way. Chunks may be cleaned in parallel; duplicates are dropped and rows written in reading order, so
that the output never depends on timing. The index is asked about several chunks at once: most of what an
answer costs is the same for 40 images as for 200.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ummp_assets.clean.duplicates import drop_duplicates
from ummp_assets.clean.measurements import add_reasons, measurement_schema
from ummp_assets.clean.takedowns import ForbiddenRows, drop_taken_down
from ummp_assets.errors import AccountingMismatch
from ummp_assets.parallel.ordered_map import map_in_order
from ummp_assets.parallel.rare_collections import rare_collections
from ummp_assets.records import Modality, Rejection
from ummp_assets.storage.abandoned import require_not_abandoned
from ummp_assets.storage.index import Index
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import MEASUREMENTS, Manifest, StageWriter, read_manifest, read_table
from ummp_assets.storage.tables import TableLimits

__all__ = ["CleanStage", "CleanedChunk", "DropRows", "run_clean_stage"]

_ROWS_PER_READ = 32
_WORTH_HOLDING = 0.5
_GROUP_ROWS, _GROUP_BYTES = 256, 24 * 2**20
# What cleaning looks at, of `RAW_SCHEMA`.
_READ_COLUMNS = (
    "sample_id",
    "dataset",
    "uri",
    "modality",
    "media_type",
    "sha256",
    "byte_count",
    "content",
    "blob",
    "label",
    "attributes",
)
# What the steps against takedowns and duplicates look at, beside the columns that are not written.
_NAMING_COLUMNS = ("sample_id", "dataset", "uri", "sha256", "content_sha256")
_POSITION = "position"


@dataclass(frozen=True, slots=True)
class CleanedChunk:
    """What became of a chunk of raw rows.

    Parameters
    ----------
    rows:
        Clean rows in the order of the raw ones, with the columns of the stage's schema; more columns may serve the
        stage's own steps against duplicates and are not written.
    rejections:
        One for each raw row that is not in `rows`.
    measured:
        One row for each raw row, see `measured_rows`.
    numbers:
        Counts that are summed over the chunks into the manifest's `numbers`.
    """

    rows: pa.RecordBatch
    rejections: list[Rejection]
    measured: pa.RecordBatch
    numbers: Mapping[str, int] = field(default_factory=dict)


DropRows = Callable[[pa.RecordBatch], tuple[pa.RecordBatch, list[Rejection]]]
"""A step that splits clean rows into rows that are kept, in their order, and rejections."""


@dataclass(frozen=True, slots=True)
class CleanStage:
    """The names and versions that a clean stage commits under.

    Parameters
    ----------
    schema:
        Schema of the table `samples` that is written.
    measurements:
        Names of what the rules measure, in the order of their columns.
    rules:
        Version of each rule by name, for the manifest.
    max_chunk_rows, max_chunk_bytes:
        A chunk is cleaned once it has this many rows or raw bytes; one larger row is a chunk of its own.
    chunks_ahead:
        How many wait, cleaned or not, beside one for each worker.
    limits:
        Of the row groups and files that are written.
    """

    name: str
    modality: Modality
    schema: pa.Schema
    measurements: Sequence[str]
    code_version: str
    rules: Mapping[str, str]
    max_chunk_rows: int = 1_024
    max_chunk_bytes: int = 32 * 2**20
    chunks_ahead: int = 2
    limits: TableLimits = field(default_factory=TableLimits)


def run_clean_stage(
    store: ObjectStore,
    index: Index,
    batch: str,
    stage: CleanStage,
    clean: Callable[[pa.RecordBatch], CleanedChunk],
    *,
    executor: Executor | None = None,
    workers: int = 1,
    near_duplicates: DropRows | None = None,
) -> Manifest:
    """Run a clean stage over one batch and commit it.

    Parameters
    ----------
    clean:
        Turns a chunk of rows of `RAW_SCHEMA` into clean rows and rejections; must not raise for a bad sample. With a
        process pool it must be picklable.
    executor, workers:
        Where chunks are cleaned, and how many it cleans at once; without one, in the calling thread.
    near_duplicates:
        A step that runs after exact duplicates were dropped, in the calling thread and in reading order.

    Raises
    ------
    ManifestMissing
        The stage `downloads` has not committed the batch.
    AccountingMismatch
        Rows in are not rows out plus rejections.
    BatchAbandoned
        The batch was given up.
    """
    require_not_abandoned(store, batch)
    downloads = read_manifest(store, "downloads", batch)
    numbers: Counter[str] = Counter({"samples_in": 0, "samples_out": 0, "bytes_in": 0})
    rejected = 0
    tables = {"samples": stage.schema, MEASUREMENTS: measurement_schema(stage.measurements)}
    # Before their bytes are read: a blob that this batch shares with one that was taken down may be gone.
    forbidden = ForbiddenRows(index, stage.modality.value, stage.measurements)
    with rare_collections(), StageWriter(store, stage.name, batch, tables, stage.limits) as writer:
        chunks = forbidden.drop(_counted(_chunks(store, downloads, stage), numbers))
        for group in _grouped(map_in_order(clean, chunks, executor, workers + stage.chunks_ahead)):
            kept, rejections = _drop(group, index, stage, near_duplicates)
            for rows in kept:
                writer.write("samples", rows)
                numbers["samples_out"] += rows.num_rows
            writer.reject(rejections)
            measured = pa.concat_batches([cleaned.measured for cleaned in group])
            writer.write(MEASUREMENTS, add_reasons(measured, rejections))
            for cleaned in group:
                numbers.update(cleaned.numbers)
            rejected += len(rejections)
        writer.reject(forbidden.rejections)
        for measured in forbidden.measured:
            writer.write(MEASUREMENTS, add_reasons(measured, forbidden.rejections))
        rejected += len(forbidden.rejections)
        if numbers["samples_in"] != numbers["samples_out"] + rejected:
            raise AccountingMismatch(
                f"{stage.name} {batch}: {numbers['samples_in']} samples in, but {numbers['samples_out']} out and "
                f"{rejected} rejected"
            )
        return writer.commit(
            code_version=stage.code_version,
            rules=stage.rules,
            inputs=[downloads],
            numbers=dict(sorted(numbers.items())),
        )


def _grouped(chunks: Iterable[CleanedChunk]) -> Iterator[list[CleanedChunk]]:
    group: list[CleanedChunk] = []
    rows = byte_count = 0
    for chunk in chunks:
        group.append(chunk)
        rows += chunk.rows.num_rows
        byte_count += chunk.rows.nbytes
        if rows >= _GROUP_ROWS or byte_count >= _GROUP_BYTES:
            yield group
            group, rows, byte_count = [], 0, 0
    if group:
        yield group


def _drop(
    group: Sequence[CleanedChunk], index: Index, stage: CleanStage, near_duplicates: DropRows | None
) -> tuple[list[pa.RecordBatch], list[Rejection]]:
    """Split chunks into the rows that are written and rejections, those that the chunks came with included."""
    rejections = [rejection for chunk in group for rejection in chunk.rejections]
    naming = [name for name in group[0].rows.schema.names if name in _NAMING_COLUMNS or name not in stage.schema.names]
    rows = pa.concat_batches([chunk.rows.select(naming) for chunk in group])
    rows = rows.append_column(_POSITION, pa.array(np.arange(rows.num_rows)))
    rows, forbidden = drop_taken_down(rows, index, stage.modality.value)
    rows, twins = drop_duplicates(rows, index, stage.modality.value)
    rejections += [*forbidden, *twins]
    if near_duplicates is not None:
        rows, twins = near_duplicates(rows)
        rejections += twins
    return list(_slices(group, rows.column(_POSITION).to_numpy(), stage.schema.names)), rejections


def _slices(
    group: Sequence[CleanedChunk], positions: npt.NDArray[np.int64], names: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """Yield the rows at these positions, counted over all chunks, without copying what may be megabytes of pixels."""
    start = 0
    for chunk in group:
        end = start + chunk.rows.num_rows
        own = positions[(positions >= start) & (positions < end)] - start
        rows = chunk.rows.select(names)
        if len(own) < _WORTH_HOLDING * rows.num_rows:
            # A slice would hold the whole chunk in memory until its row group is full.
            yield rows.take(pa.array(own))
        else:
            yield from (rows.slice(first, count) for first, count in _runs(own))
        start = end


def _runs(positions: npt.NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Yield ascending positions as runs: the first of each, and how many follow one another."""
    for run in np.split(positions, np.flatnonzero(np.diff(positions) != 1) + 1):
        if len(run):
            yield int(run[0]), len(run)


def _counted(chunks: Iterable[pa.RecordBatch], numbers: Counter[str]) -> Iterator[pa.RecordBatch]:
    for chunk in chunks:
        numbers["samples_in"] += chunk.num_rows
        numbers["bytes_in"] += pc.sum(chunk.column("byte_count")).as_py()
        yield chunk


def _chunks(store: ObjectStore, downloads: Manifest, stage: CleanStage) -> Iterator[pa.RecordBatch]:
    """Yield the rows of the stage's modality in order, gathered to chunks; never an empty one."""
    gathered: list[pa.RecordBatch] = []
    rows = byte_count = 0
    for run in _runs_of_modality(
        read_table(store, downloads, "samples", columns=_READ_COLUMNS, batch_rows=_ROWS_PER_READ), stage.modality
    ):
        start = 0
        for position, size in enumerate(run.column("byte_count").to_pylist()):
            if rows and (rows >= stage.max_chunk_rows or byte_count + size > stage.max_chunk_bytes):
                yield pa.concat_batches([*gathered, run.slice(start, position - start)])
                gathered, rows, byte_count, start = [], 0, 0, position
            rows += 1
            byte_count += size
        gathered.append(run.slice(start))
    if gathered:
        yield pa.concat_batches(gathered)


def _runs_of_modality(reads: Iterable[pa.RecordBatch], modality: Modality) -> Iterator[pa.RecordBatch]:
    """Yield the rows of one modality as slices; contents are not copied before they are gathered."""
    for read in reads:
        chosen = pc.indices_nonzero(pc.equal(read.column("modality"), modality.value))
        for first, count in _runs(chosen.to_numpy().astype(np.int64)):
            yield read.slice(first, count)
