"""Taking samples out of what the stages stored for their batches: raw bytes, blobs, clean rows, features and shards.

A sample that was downloaded ends in the outcomes of `downloads` afterwards, with the reason `takedown`, and leaves no
trace in later stages: the accounting still adds up.
"""

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ummp_assets.datasets.batch_content import committed_manifests
from ummp_assets.datasets.history import catch_up
from ummp_assets.datasets.shard_files import ShardWriter, read_sample_ids, read_shard
from ummp_assets.datasets.shards import STAGE, shard_key
from ummp_assets.datasets.stage_contents import ID_COLUMNS, content_tables, ids_by_row, stored_sample_ids
from ummp_assets.errors import ObjectNotFound
from ummp_assets.reasons import Reason
from ummp_assets.records import Rejection
from ummp_assets.settings import Settings
from ummp_assets.storage.abandoned import STAGE as ABANDONMENT
from ummp_assets.storage.dataset_index import DatasetIndex
from ummp_assets.storage.index import Index
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import (
    FileEntry,
    Manifest,
    StageWriter,
    find_manifest,
    read_table,
    stage_path,
)
from ummp_assets.storage.takedown_index import message_ids_of

__all__ = ["ErasedStage", "erase_samples"]

_RAW = "downloads"
_REQUESTS = "requests"
_REASONS = {reason.value: reason for reason in Reason}
_OUTCOME_COLUMNS = ["sample_id", "dataset", "modality", "uri"]


@dataclass(frozen=True, slots=True)
class ErasedStage:
    """What left a stage's files: rows of samples, and blobs by path."""

    stage: str
    batch: str
    rows: int
    blobs: Sequence[str] = ()


def erase_samples(
    store: ObjectStore, index: Index, settings: Settings, batch: str, sample_ids: AbstractSet[str]
) -> list[ErasedStage]:
    """Write each stage that a batch went through anew without these samples, and delete the files that held them.

    The requests stay: they hold no content, and say what was asked for. Shards that a version holds stay until the
    version is purged. A packed sequence goes whole when it holds a piece of one. What the stage `abandonment` states of
    a message stays, too: it is a dead letter.

    Raises
    ------
    StoreUnavailable
        The store failed half-way; the next call goes on.
    ManifestCorrupt
        A file that a manifest names is missing or damaged.
    """
    # A second process would put manifests that it made before this one put its own.
    with index.exclusive(f"erase {batch}"):
        return _erase_once(store, index, settings, batch, sample_ids)


def _erase_once(
    store: ObjectStore, index: Index, settings: Settings, batch: str, sample_ids: AbstractSet[str]
) -> list[ErasedStage]:
    known = DatasetIndex(index)
    erased: list[ErasedStage] = []
    renewed: dict[str, str] = {}
    dead = _dead_messages(store, batch)
    for manifest in committed_manifests(store, batch):
        if manifest.stage == _REQUESTS:
            continue
        renamed = replace(manifest, inputs={**manifest.inputs, **_known_inputs(manifest, renewed)})
        if manifest.stage == STAGE:
            for dataset in sorted({name.split("~")[0] for name in manifest.tables}):
                # A version that the index has not seen may hold what would be deleted below.
                catch_up(store, known, dataset)
            rows, current = _erase_shards(store, settings, renamed, sample_ids)
            blobs: list[str] = []
        else:
            rows, blobs, current = _erase_rows(store, renamed, sample_ids, dead)
        if current != manifest:
            renewed[manifest.stage] = current.sha256
            if current == renamed:
                # Nothing but the manifest that it was made from is another one.
                store.write(stage_path(manifest.stage, batch), current.to_json())
            erased.append(ErasedStage(manifest.stage, batch, rows, tuple(blobs)))
        _delete_left(store, known, manifest, current, sample_ids)
    return [item for item in erased if item.rows]


def _known_inputs(manifest: Manifest, renewed: dict[str, str]) -> dict[str, str]:
    return {stage: digest for stage, digest in renewed.items() if stage in manifest.inputs}


def _dead_messages(store: ObjectStore, batch: str) -> set[str]:
    """Return the ids of the messages that have their outcome since the batch was given up."""
    given_up = find_manifest(store, ABANDONMENT, batch)
    parts = read_table(store, given_up, "outcomes", columns=["sample_id"]) if given_up else ()
    return {name for rows in parts for name in rows.column("sample_id").to_pylist()}


def _erase_rows(
    store: ObjectStore, manifest: Manifest, sample_ids: AbstractSet[str], dead: AbstractSet[str]
) -> tuple[int, list[str], Manifest]:
    gone = 0
    blobs: list[str] = []
    rejections = [item for item in _rejections(store, manifest) if _stays(manifest, item, sample_ids)]
    if len(rejections) == manifest.rejected and sample_ids.isdisjoint(stored_sample_ids(store, manifest)):
        return 0, [], manifest
    schemas = {name: _schema(store, manifest, name) for name in manifest.tables if name != "outcomes"}
    with StageWriter(store, manifest.stage, manifest.batch, schemas) as writer:
        for name in schemas:
            for rows in read_table(store, manifest, name, batch_rows=64):
                keep, drop = _divide(rows, sample_ids) if name in content_tables(manifest) else (rows, rows.slice(0, 0))
                writer.write(name, keep)
                gone += drop.num_rows if name == "samples" else 0
                if manifest.stage == _RAW and drop.num_rows:
                    rejections += _taken_down(drop, dead)
                    blobs += [path for path in drop.column("blob").to_pylist() if path]
        writer.reject(rejections)
        # Before the manifest: once it stands, a call after a crash no longer learns which blobs there were.
        for path in blobs:
            store.delete(path)
        written = writer.commit(
            code_version=manifest.code_version,
            rules=manifest.rules,
            inputs=manifest.inputs,
            numbers=_with_taken_down(manifest, gone),
        )
    return gone, blobs, written


def _erase_shards(
    store: ObjectStore,
    settings: Settings,
    manifest: Manifest,
    sample_ids: AbstractSet[str],
) -> tuple[int, Manifest]:
    gone = 0
    tables: dict[str, list[FileEntry]] = {}
    for table, entries in manifest.tables.items():
        for entry in entries:
            held = _count_held(store, entry, sample_ids)
            gone += held
            new = _without(store, settings, manifest, table, entry, sample_ids) if held else [entry]
            tables.setdefault(table, []).extend(new)
    if not gone:
        return 0, manifest
    left = {name: tuple(items) for name, items in tables.items() if items}
    current = replace(manifest, tables=left, numbers=_with_taken_down(manifest, gone))
    store.write(stage_path(STAGE, manifest.batch), current.to_json())
    return gone, current


def _with_taken_down(manifest: Manifest, gone: int) -> dict[str, int | float]:
    return {**manifest.numbers, "taken_down": manifest.numbers.get("taken_down", 0) + gone}


def _without(
    store: ObjectStore,
    settings: Settings,
    manifest: Manifest,
    table: str,
    entry: FileEntry,
    sample_ids: AbstractSet[str],
) -> list[FileEntry]:
    key = shard_key(table, entry)
    prefix = stage_path(STAGE, manifest.batch, "")[:-1]
    with TemporaryDirectory(dir=store.scratch_directory(), ignore_cleanup_errors=True) as folder:
        writer = ShardWriter(store, Path(folder), prefix, settings.datasets.target_shard_bytes)
        for rows in read_shard(store, entry.path, entry.footer_sha256):
            writer.write_packed(key, _divide(rows, sample_ids)[0])
        return writer.finish().get(key, [])


def _delete_left(
    store: ObjectStore, known: DatasetIndex, old: Manifest, new: Manifest, sample_ids: AbstractSet[str]
) -> None:
    """Delete the files that the new manifest names no more, and what killed attempts left that holds a sample."""
    replaced, kept = _paths(old), _paths(new)
    for info in store.list(stage_path(new.stage, new.batch, "")[:-1]):
        is_left = info.path.endswith(".parquet") and info.path not in kept
        holds = is_left and (info.path in replaced or _file_holds(store, info.path, sample_ids))
        if holds and not known.find_shards(info.path):
            store.delete(info.path)


def _paths(manifest: Manifest) -> set[str]:
    return {entry.path for entries in manifest.tables.values() for entry in entries}


def _file_holds(store: ObjectStore, path: str, sample_ids: AbstractSet[str]) -> bool:
    with (
        # Without ids, or no table at all: the collection of garbage takes it in time.
        suppress(ObjectNotFound, pa.ArrowException, OSError, KeyError),
        store.open(path) as file,
        pq.ParquetFile(file) as parquet,
    ):
        parts = parquet.iter_batches(columns=ID_COLUMNS)
        return any(not sample_ids.isdisjoint(ids) for rows in parts for ids in ids_by_row(rows))
    return False


def _divide(rows: pa.RecordBatch, sample_ids: AbstractSet[str]) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    gone = pa.array([not sample_ids.isdisjoint(ids) for ids in ids_by_row(rows)], pa.bool_())
    return rows.filter(pc.invert(gone)), rows.filter(gone)


def _count_held(store: ObjectStore, entry: FileEntry, sample_ids: AbstractSet[str]) -> int:
    return sum(sample_id in sample_ids for sample_id in read_sample_ids(store, entry.path, entry.footer_sha256))


def _stays(manifest: Manifest, item: Rejection, sample_ids: AbstractSet[str]) -> bool:
    # What never was downloaded keeps its reason; what was rejected later now ends in `downloads`.
    return manifest.stage == _RAW or item.sample_id not in sample_ids


def _rejections(store: ObjectStore, manifest: Manifest) -> Iterator[Rejection]:
    for rows in read_table(store, manifest, "outcomes"):
        for row in rows.to_pylist():
            row["reason"] = _REASONS[row["reason"]]
            del row["outcome"]
            yield Rejection(**row)


def _taken_down(rows: pa.RecordBatch, dead: AbstractSet[str]) -> Iterator[Rejection]:
    for row in rows.select(_OUTCOME_COLUMNS).to_pylist():
        if dead.isdisjoint(message_ids_of(row["sample_id"])):
            yield Rejection(**row, reason=Reason.TAKEDOWN, detail=Reason.TAKEDOWN.meaning)


def _schema(store: ObjectStore, manifest: Manifest, table: str) -> pa.Schema:
    return next(read_table(store, manifest, table, batch_rows=1)).schema
