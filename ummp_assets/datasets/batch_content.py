"""What a batch brings to each dataset: its shards, columns, outcomes, versions of code and rules, and watermark."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

import pyarrow.parquet as pq

from ummp_assets.datasets.changes import Change
from ummp_assets.datasets.packing import type_name
from ummp_assets.datasets.shards import STAGE, shard_key
from ummp_assets.datasets.versions import Column, Shard
from ummp_assets.errors import ManifestCorrupt, ObjectNotFound
from ummp_assets.messages.offset_log import OffsetLog
from ummp_assets.messages.replays import is_replay
from ummp_assets.reasons import Outcome
from ummp_assets.storage.accounting import CLEAN_STAGES, FEATURE_STAGES
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import FileEntry, Manifest, OutcomeCount, find_manifest, read_manifest

__all__ = [
    "batch_changes",
    "batch_manifests",
    "batch_watermark",
    "change_without_rows",
    "columns_of",
    "committed_manifests",
    "read_despite_erasure",
]

_T = TypeVar("_T")

_MAX_ATTEMPTS = 5
_STAGES = ("requests", "downloads", *CLEAN_STAGES.values(), *FEATURE_STAGES.values(), STAGE)


def batch_changes(store: ObjectStore, batch: str) -> dict[str, Change]:
    """Return by dataset what a batch adds; datasets of which it stored no row are left out.

    Raises
    ------
    ManifestMissing
        The stage `training_shards` has not committed the batch.
    """
    manifests = batch_manifests(store, batch)
    stage = manifests[-1]
    shards: dict[str, list[Shard]] = defaultdict(list)
    columns: dict[str, dict[str, Sequence[Column]]] = defaultdict(dict)
    for table, entries in sorted(stage.tables.items()):
        for entry in entries:
            key = shard_key(table, entry)
            shards[key.dataset].append(_shard(key.modality, key.split, entry))
            columns[key.dataset].setdefault(key.modality, columns_of(store, entry.path))
    watermark = batch_watermark(store, batch)
    changes = {}
    for dataset in sorted(shards):
        rejected = change_without_rows(dataset, batch, manifests)
        changes[dataset] = replace(
            rejected,
            added=tuple((shard, (batch,)) for shard in shards[dataset]),
            columns=columns[dataset],
            outcomes=tuple(sorted([*rejected.outcomes, *_stored(dataset, shards[dataset])])),
            watermark=watermark,
        )
    return changes


def change_without_rows(dataset: str, batch: str, manifests: Sequence[Manifest]) -> Change:
    """Return what a batch brings to a dataset beside rows: its rejections, and its versions of rules and code."""
    return Change(
        cause="batch",
        batches=(batch,),
        outcomes=[item for manifest in manifests for item in manifest.outcomes if item.dataset == dataset],
        rules={f"{item.stage}.{name}": version for item in manifests for name, version in item.rules.items()},
        code_versions={item.stage: item.code_version for item in manifests},
    )


def batch_manifests(store: ObjectStore, batch: str) -> list[Manifest]:
    """Return the manifests of all stages that a batch went through, in order, `training_shards` last.

    Raises
    ------
    ManifestMissing
        The stage `training_shards` has not committed the batch.
    """
    return [*committed_manifests(store, batch, _STAGES[:-1]), read_manifest(store, STAGE, batch)]


def committed_manifests(store: ObjectStore, batch: str, stages: Sequence[str] = _STAGES) -> list[Manifest]:
    """Return the manifests that the stages of a batch have committed so far, in order."""
    found = (find_manifest(store, stage, batch) for stage in stages)
    return [manifest for manifest in found if manifest is not None]


def batch_watermark(store: ObjectStore, batch: str) -> dict[str, dict[str, int]]:
    """Return the next offset by topic and partition after a batch; raises `InvalidInput` when it was never planned."""
    planned = OffsetLog(store).get(batch)
    if is_replay(planned.topic):
        # Its messages were planned before: they move no watermark.
        return {}
    return {planned.topic: {str(partition): end for partition, end in sorted(planned.ends.items())}}


def read_despite_erasure(read: Callable[[], _T]) -> _T:
    """Return what a function reads of a batch's stages; it is called again when it missed a file.

    A takedown erases from a batch as soon as a dataset holds it: it writes a stage's manifest anew and deletes what the
    old one named, which a commit that is not through may be about to read.
    """
    for _ in range(_MAX_ATTEMPTS - 1):
        with suppress(ManifestCorrupt, ObjectNotFound):
            return read()
    return read()


def columns_of(store: ObjectStore, path: str) -> tuple[Column, ...]:
    """Return the columns of a shard."""
    with store.open(path) as file, pq.ParquetFile(file) as parquet:
        return tuple(Column(field.name, type_name(field), field.nullable) for field in parquet.schema_arrow)


def _shard(modality: str, split: str, entry: FileEntry) -> Shard:
    return Shard(entry.path, modality, split, entry.rows, entry.byte_count, entry.sha256, entry.footer_sha256)


def _stored(dataset: str, shards: Sequence[Shard]) -> list[OutcomeCount]:
    rows: Counter[str] = Counter()
    for shard in shards:
        rows[shard.modality] += shard.rows
    return [OutcomeCount(dataset, modality, Outcome.STORED.value, "", count) for modality, count in rows.items()]
