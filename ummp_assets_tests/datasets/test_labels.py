"""Labels hold whether they come before or after their sample, and a late one rewrites only the shards it touches."""

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

from ummp_assets.datasets.labels import apply_labels
from ummp_assets.datasets.reader import open_dataset
from ummp_assets.datasets.revisions import effective_label
from ummp_assets.datasets.versions import read_version
from ummp_assets.messages.offset_log import OffsetLog
from ummp_assets.messages.ranges import Batch, OffsetRange
from ummp_assets.records import LABEL_SCHEMA
from ummp_assets.settings import DatasetSettings, Settings
from ummp_assets.storage.index import Index
from ummp_assets.storage.label_index import LabelEntry
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import Manifest, StageWriter
from ummp_assets_tests.datasets.batches import TOPIC, Sample, digest, texts
from ummp_assets_tests.datasets.conftest import Committer

LABELS = "ummp.labels"


def put_labels(store: ObjectStore, number: int, labels: list[dict[str, Any]], start: int = 0) -> str:
    """Commit the stage `labels` with these messages; return the batch's key."""
    batch = Batch(LABELS, number, (OffsetRange(0, start, start + len(labels)),))
    OffsetLog(store).put(batch, datetime(2026, 1, 1, tzinfo=UTC))
    rows = [
        {"topic": LABELS, "partition": 0, "offset": start + offset, "timestamp_ms": start + offset, **label}
        for offset, label in enumerate(labels)
    ]
    with StageWriter(store, "labels", batch.key, {"labels": LABEL_SCHEMA}) as writer:
        writer.write("labels", pa.RecordBatch.from_pylist(rows, schema=LABEL_SCHEMA))
        writer.commit(code_version="1")
    return batch.key


def label(dataset: str, kind: str, target: str, value: str, annotator: str | None = None) -> dict[str, Any]:
    return {"dataset": dataset, "target_kind": kind, "target": target, "label": value, "annotator": annotator}


def labels_of(settings: Settings, dataset: str, version: int | None = None) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for split in ("train", "validation", "test"):
        for rows in open_dataset(dataset, version, split, settings=settings).iter_batches():
            found |= dict(zip(rows.column("sample_id").to_pylist(), rows.column("label").to_pylist(), strict=True))
    return found


def test_a_late_label_makes_a_version_that_rewrites_only_its_shard(
    store: ObjectStore, index: Index, settings: Settings, commit_samples: Committer
) -> None:
    commit_samples(texts("birds", 30))
    before = commit_samples(texts("birds", 30, 30))
    target = f"{TOPIC}~0~35"
    manifest = apply_labels(
        store, index, settings, put_labels(store, 1, [label("birds", "sample_id", target, '"owl"')])
    )
    after = read_version(store, "birds")
    assert (after.version, after.cause, after.added_batches) == (3, "labels", (f"{LABELS}~00000001",))
    assert len(after.removed_shards) == len(after.added_shards) == 1
    assert after.rows == before.rows
    assert after.watermark[LABELS] == {"0": 1}
    assert {name: value for name, value in labels_of(settings, "birds").items() if value} == {target: '"owl"'}
    assert not any(labels_of(settings, "birds", 2).values())
    assert manifest.numbers == {"labels": 1, "matched": 1, "versions": 1}


@pytest.mark.parametrize("kind", ["sample_id", "sha256", "uri"])
def test_a_label_that_came_before_its_sample_holds_when_it_comes(
    kind: str, store: ObjectStore, index: Index, settings: Settings, commit_samples: Committer
) -> None:
    targets = {"sample_id": f"{TOPIC}~0~0", "sha256": digest("raw late"), "uri": "http://birds.example/late"}
    manifest = apply_labels(store, index, settings, put_labels(store, 1, [label("birds", kind, targets[kind], "7")]))
    assert manifest.numbers == {"labels": 1, "matched": 0, "versions": 0}
    version = commit_samples([Sample("birds", "text", "late", uri=targets["uri"]), *texts("birds", 3)])
    assert version.version == 1
    assert {name: value for name, value in labels_of(settings, "birds").items() if value} == {f"{TOPIC}~0~0": "7"}


def test_a_label_of_another_dataset_changes_nothing(
    store: ObjectStore, index: Index, settings: Settings, commit_samples: Committer
) -> None:
    commit_samples(texts("birds", 3))
    apply_labels(store, index, settings, put_labels(store, 1, [label("seas", "sample_id", f"{TOPIC}~0~1", "1")]))
    assert read_version(store, "birds").version == 1


def test_a_batch_of_labels_applied_twice_changes_nothing_more(
    store: ObjectStore, index: Index, settings: Settings, commit_samples: Committer
) -> None:
    commit_samples(texts("birds", 3))
    batch = put_labels(store, 1, [label("birds", "sample_id", f"{TOPIC}~0~1", "1")])
    manifests: list[Manifest] = [apply_labels(store, index, settings, batch) for _ in range(2)]
    assert manifests[0].to_json() == manifests[1].to_json()
    assert read_version(store, "birds").version == 2


def test_the_order_of_arrival_makes_no_difference(
    store: ObjectStore, index: Index, settings: Settings, commit_samples: Committer
) -> None:
    commit_samples(texts("birds", 3))
    newer = put_labels(store, 2, [label("birds", "sample_id", f"{TOPIC}~0~1", '"new"')], start=5)
    older = put_labels(store, 1, [label("birds", "sample_id", f"{TOPIC}~0~1", '"old"')])
    apply_labels(store, index, settings, newer)
    apply_labels(store, index, settings, older)
    assert labels_of(settings, "birds")[f"{TOPIC}~0~1"] == '"new"'


HISTORIES = [
    ("latest", [("ann", "1"), ("bob", "2")], "2"),
    ("latest", [("ann", "1"), ("ann", "null")], None),
    ("majority", [("ann", "1"), ("bob", "1"), ("cy", "2")], "1"),
    ("majority", [("ann", "1"), ("bob", "2")], "2"),
    ("majority", [("ann", "1"), ("bob", "1"), ("ann", "2"), ("cy", "2")], "2"),
    # Of a tie, what was given last and still holds: not what cy gave before.
    ("majority", [("ann", "1"), ("bob", "1"), ("dot", "2"), ("eve", "2"), ("cy", "1"), ("cy", "3")], "2"),
    ("majority", [("ann", "1"), ("bob", "2"), ("bob", "null")], "1"),
    ("majority", [("ann", "1"), ("ann", "null"), ("bob", "null")], None),
]


@pytest.mark.parametrize(("policy", "given", "expected"), HISTORIES)
def test_effective_label_follows_the_policy(policy: str, given: list[tuple[str, str]], expected: str | None) -> None:
    history = [
        LabelEntry(LABELS, 0, offset, offset, "birds", "uri", "u", value, annotator)
        for offset, (annotator, value) in enumerate(given)
    ]
    assert effective_label(list(reversed(history)), policy) == expected


def test_the_default_policy_is_latest() -> None:
    assert DatasetSettings().label_policy == "latest"
