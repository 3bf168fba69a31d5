"""What is kept about one sample: message, fetch, rules, features, labels, takedowns, shards and versions."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ummp_assets.datasets.history import catch_up
from ummp_assets.datasets.shards import STAGE as SHARDS
from ummp_assets.datasets.withdrawals import is_withdrawn
from ummp_assets.messages.offset_log import OffsetLog
from ummp_assets.messages.replays import BatchFinder
from ummp_assets.records import Coordinates
from ummp_assets.storage.accounting import CLEAN_STAGES, FEATURE_STAGES
from ummp_assets.storage.dataset_index import DatasetIndex, IndexedShard
from ummp_assets.storage.index import Index, SampleEntry
from ummp_assets.storage.label_index import LabelEntry, LabelIndex
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.row_lookup import find_row, holds_sample
from ummp_assets.storage.stages import MEASUREMENTS, Manifest, find_manifest, read_table
from ummp_assets.storage.takedown_index import taken_down

__all__ = ["UNDER_WAY", "message_lineage", "sample_lineage", "shard_range"]

UNDER_WAY = "under way"
"""Outcome that lineage shows for a message whose batch has not reached a dataset."""

_REQUESTS = ("requests", "downloads", *CLEAN_STAGES.values(), *FEATURE_STAGES.values(), SHARDS)
_STAGES_BY_MODALITY = {modality.value: (stage, FEATURE_STAGES[modality]) for modality, stage in CLEAN_STAGES.items()}
# Stages that read other topics, with the table that holds their messages.
_OTHERS = {"labels": "labels", "takedowns": "takedowns", "training_logs": "logs"}

# Columns that hold contents: lineage names their hashes instead.
_CONTENTS = frozenset({"content", "text", "image", "normalised", "waveform", "log_mel", "token_ids", "value"})
_JSON_COLUMNS = ("attempts", "evidence", "attributes", "label")


def sample_lineage(store: ObjectStore, index: Index, sample: SampleEntry) -> dict[str, Any]:
    """Return everything that is kept about one sample, from its message to the versions that hold it.

    Raises
    ------
    ManifestCorrupt
        A file that holds part of it is damaged; the message names it.
    """
    coordinates = Coordinates.parse(sample.sample_id)
    manifests = _manifests(store, sample.batch)
    clean, features = _STAGES_BY_MODALITY.get(sample.modality, ("", ""))
    passed = [name for name in manifests if name in ("requests", "downloads", clean, features, SHARDS)]
    downloads = manifests.get("downloads")
    orders = taken_down(
        index,
        uris=[sample.uri],
        sample_ids=[sample.sample_id],
        sha256s=[sample.sha256] if sample.sha256 else [],
    )
    return {
        "sample_id": sample.sample_id,
        "dataset": sample.dataset,
        "modality": sample.modality,
        "outcome": sample.outcome,
        "reason": sample.reason,
        "message": {
            **_coordinates(coordinates),
            "batch": sample.batch,
            **(_row(store, manifests.get("requests"), "samples", coordinates.sample_id) or {}),
        },
        "fetch": _row(store, downloads, "samples", sample.sample_id)
        or _row(store, downloads, "failures", sample.sample_id),
        "rejection": _rejection(store, manifests, sample.sample_id),
        "clean": _row(store, manifests.get(clean), "samples", sample.sample_id),
        "measurements": _row(store, manifests.get(clean), MEASUREMENTS, sample.sample_id),
        "features": _row(store, manifests.get(features), "samples", sample.sample_id),
        "rules": {name: dict(manifests[name].rules) for name in passed if manifests[name].rules},
        "code_versions": {name: manifests[name].code_version for name in passed},
        "labels": [_label(label) for label in _labels(index, sample)],
        "takedowns": [asdict(item) for item in dict.fromkeys(orders.values())],
        "shards": _shards(store, index, sample) if sample.dataset else [],
    }


def message_lineage(store: ObjectStore, index: Index, coordinates: Coordinates) -> dict[str, Any] | None:
    """Return what is kept about a message that the index does not know, or None where no batch holds it.

    Its batch may be under way or have failed, or its topic is none of requests.
    """
    batch = OffsetLog(store).find(coordinates.topic, coordinates.partition, coordinates.offset)
    if batch is None:
        return None
    for stage, table in _OTHERS.items():
        manifest = find_manifest(store, stage, batch.key)
        if manifest is not None:
            row = _other_row(store, manifest, table, coordinates)
            return {"message": {**_coordinates(coordinates), "batch": batch.key, "stage": stage, **row}}
    manifests = _manifests(store, batch.key)
    row = _row(store, manifests.get("requests"), "samples", coordinates.sample_id) or {}
    rejection = _rejection(store, manifests, coordinates.sample_id) or {}
    entry = SampleEntry(
        sample_id=coordinates.sample_id,
        dataset=row.get("dataset", ""),
        modality=rejection.get("modality", row.get("modality", "")),
        batch=batch.key,
        uri=row.get("uri", ""),
        sha256=None,
        outcome=rejection.get("outcome", UNDER_WAY),
        reason=rejection.get("reason"),
    )
    return sample_lineage(store, index, entry)


def shard_range(store: ObjectStore, shard: IndexedShard) -> dict[str, Any]:
    """Return a shard with the versions that hold it, and whether takedowns withdrew them."""
    last = None if shard.removed is None else shard.removed - 1
    return {
        "path": shard.path,
        "dataset": shard.dataset,
        "first_version": shard.added,
        "last_version": last,
        "withdrawn": is_withdrawn(store, shard.dataset, shard.added) is not None,
    }


def _manifests(store: ObjectStore, batch: str) -> dict[str, Manifest]:
    found = ((stage, find_manifest(store, stage, batch)) for stage in _REQUESTS)
    return {stage: manifest for stage, manifest in found if manifest is not None}


def _row(store: ObjectStore, manifest: Manifest | None, table: str, sample_id: str) -> dict[str, Any] | None:
    row = find_row(store, manifest, table, sample_id, leave_out=_CONTENTS) if manifest else None
    return None if row is None else {name: _readable(name, value) for name, value in row.items()}


def _readable(name: str, value: Any) -> Any:
    if name in _JSON_COLUMNS and isinstance(value, str):
        return json.loads(value)
    if name == "headers":
        return {item["name"]: _readable("", item["value"]) for item in value or ()}
    if isinstance(value, float) and math.isnan(value):
        # A rule that does not apply measured nothing; JSON has no word for NaN.
        return None
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _rejection(store: ObjectStore, manifests: Mapping[str, Manifest], sample_id: str) -> dict[str, Any] | None:
    for stage, manifest in manifests.items():
        row = _row(store, manifest, "outcomes", sample_id)
        if row is not None:
            return {"stage": stage, **row}
    return None


def _other_row(store: ObjectStore, manifest: Manifest, table: str, coordinates: Coordinates) -> dict[str, Any]:
    """Return the row of a message without a sample id: those tables are small and rarely asked for."""
    wanted = _coordinates(coordinates)
    for rows in read_table(store, manifest, table):
        for row in rows.to_pylist():
            if all(row.get(name) == value for name, value in wanted.items()):
                return {name: _readable(name, value) for name, value in row.items()}
    return _rejection(store, {manifest.stage: manifest}, coordinates.sample_id) or {}


def _coordinates(coordinates: Coordinates) -> dict[str, Any]:
    return {"topic": coordinates.topic, "partition": coordinates.partition, "offset": coordinates.offset}


def _labels(index: Index, sample: SampleEntry) -> list[LabelEntry]:
    targets = {
        "sample_id": [sample.sample_id],
        "uri": [sample.uri],
        "sha256": [sample.sha256] if sample.sha256 else [],
    }
    histories = LabelIndex(index).find(sample.dataset, targets)
    return sorted((label for history in histories.values() for label in history), key=lambda label: label.order)


def _label(label: LabelEntry) -> dict[str, Any]:
    return {
        "label": json.loads(label.label),
        "annotator": label.annotator,
        "confidence": label.confidence,
        "timestamp_ms": label.timestamp_ms,
        "message": f"{label.topic}~{label.partition}~{label.offset}",
    }


def _shards(store: ObjectStore, index: Index, sample: SampleEntry) -> list[dict[str, Any]]:
    known = DatasetIndex(index)
    catch_up(store, known, sample.dataset)
    batches = BatchFinder(store).of(sample.sample_id, sample.batch)
    candidates = known.shards_of(sample.dataset, batches, newest_only=False)
    found = [shard for shard in candidates if _holds(store, shard, sample)]
    return [shard_range(store, shard) for shard in sorted(found, key=lambda shard: (shard.added, shard.path))]


def _holds(store: ObjectStore, shard: IndexedShard, sample: SampleEntry) -> bool:
    # A shard's name begins with its dataset and modality: most candidates are ruled out without reading.
    is_possible = f"~{sample.modality}~" in shard.path and store.exists(shard.path)
    return is_possible and holds_sample(store, shard.path, sample.sample_id)
