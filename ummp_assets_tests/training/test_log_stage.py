"""Stage `training_logs`: metrics, events and summaries by value."""

import json
import math

import pytest
from kafka import KafkaProducer

from ummp_assets.errors import InvalidInput
from ummp_assets.messages.clients import make_producer
from ummp_assets.messages.topics import topic_names
from ummp_assets.settings import Settings
from ummp_assets.storage.local_store import LocalStore
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import Manifest, read_manifest, read_table
from ummp_assets.training.log_stage import METRIC_SCHEMA, training_logs
from ummp_assets.training.logs import TrainingLogger
from ummp_assets_tests.training.conftest import PlanBatch


def _rows(store: ObjectStore, manifest: Manifest, table: str) -> list[dict[str, object]]:
    return [row for rows in read_table(store, manifest, table) for row in rows.to_pylist()]


def _log_two_runs(settings: Settings) -> None:
    with TrainingLogger("run-b", rank=0, dataset="news", version=3, settings=settings) as logger:
        for step in range(1, 11):
            logger.log(step, {"loss": 10 / step, "accuracy": step / 10}, resources={"gpu_bytes": 1e9 + step % 5})
        logger.log(10, level="info", message="done")
    with TrainingLogger("run-b", rank=1, dataset="news", version=3, settings=settings) as logger:
        logger.log(10, {"loss": 3.0})
    with TrainingLogger("run-a", settings=settings) as logger:
        logger.log(5, {"loss": math.nan})


def test_logs_become_metrics_events_and_summaries(
    settings: Settings, store: ObjectStore, plan_batch: PlanBatch
) -> None:
    _log_two_runs(settings)
    batch = plan_batch(topic_names(settings).training_logs)

    manifest = training_logs(store, settings, batch)

    assert read_manifest(store, "training_logs", batch) == manifest
    numbers = {
        name: manifest.numbers[name] for name in ("messages", "readable", "unreadable", "gaps", "runs", "metrics")
    }
    assert numbers == {"messages": 13, "readable": 13, "unreadable": 0, "gaps": 0, "runs": 2, "metrics": 32}
    metrics = _rows(store, manifest, "samples")
    assert len(metrics) == 32
    first = next(row for row in metrics if row["run"] == "run-b" and row["name"] == "loss")
    assert {**first, "time_ms": 0} == {
        "run": "run-b", "step": 1, "rank": 0, "time_ms": 0, "kind": "metric", "name": "loss", "value": 10.0,
    }  # fmt: skip
    assert sum(row["kind"] == "resource" for row in metrics) == 10
    (event,) = _rows(store, manifest, "events")
    assert (event["run"], event["step"], event["level"], event["message"]) == ("run-b", 10, "info", "done")


def test_summary_has_the_last_values_over_the_ranks(
    settings: Settings, store: ObjectStore, plan_batch: PlanBatch
) -> None:
    _log_two_runs(settings)
    manifest = training_logs(store, settings, plan_batch(topic_names(settings).training_logs))

    first, second = _rows(store, manifest, "summaries")

    assert first["run"] == "run-a"
    assert isinstance(first["loss"], float)
    assert math.isnan(first["loss"])
    assert first["accuracy"] is None
    assert {name: second[name] for name in ("run", "messages", "ranks", "first_step", "last_step")} == {
        "run": "run-b", "messages": 12, "ranks": 2, "first_step": 1, "last_step": 10,
    }  # fmt: skip
    # Rank 0 had 1.0 and rank 1 had 3.0 at step 10; only rank 0 measured the accuracy.
    assert second["loss"] == 2.0
    assert second["accuracy"] == 1.0
    assert second["metrics"] == [("accuracy", 1.0), ("loss", 2.0)]
    assert second["resources"] == [("gpu_bytes", 1e9 + 4)]
    assert (second["dataset"], second["version"]) == ("news", 3)
    assert isinstance(second["first_time_ms"], int)
    assert isinstance(second["last_time_ms"], int)
    assert 1.7e12 < second["first_time_ms"] <= second["last_time_ms"] < 4e12


def _send(settings: Settings, *values: bytes | None) -> None:
    producer: KafkaProducer = make_producer(settings)
    for value in values:
        producer.send(topic_names(settings).training_logs, value=value, key=b"run")
    producer.flush()
    producer.close()


def test_unreadable_messages_are_dead_letters_and_the_rest_is_unharmed(
    settings: Settings, store: ObjectStore, plan_batch: PlanBatch
) -> None:
    good = {"schema": "ummp.log/1.2", "run": "run", "step": 1, "metrics": {"loss": 0.5}, "new": True}
    bad = [
        None,
        b"no json",
        b'{"schema": "other/1"}',
        json.dumps({**good, "step": 2**70}).encode(),
        json.dumps({**good, "metrics": {"loss": "high"}}).encode(),
        b"x" * 2_000_000,
    ]
    _send(settings, *bad, json.dumps(good).encode())

    manifest = training_logs(store, settings, plan_batch(topic_names(settings).training_logs))

    assert (manifest.numbers["readable"], manifest.numbers["unreadable"]) == (1, 6)
    assert [row["value"] for row in _rows(store, manifest, "samples")] == [0.5]
    outcomes = _rows(store, manifest, "outcomes")
    assert [row["reason"] for row in outcomes] == [
        "null_value", "not_json", "unknown_schema", "invalid_field", "invalid_field", "message_too_large",
    ]  # fmt: skip
    letters = _rows(store, manifest, "dead_letters")
    assert [row["value"] for row in letters] == bad
    assert [row["sample_id"] for row in letters] == [row["sample_id"] for row in outcomes]


def test_message_without_a_time_has_the_brokers_and_naive_times_are_utc(
    settings: Settings, store: ObjectStore, plan_batch: PlanBatch
) -> None:
    log = {"schema": "ummp.log/1", "run": "run", "step": 1, "metrics": {"loss": 0.5}}
    _send(settings, json.dumps(log).encode(), json.dumps({**log, "time": "2026-01-01T00:00:00"}).encode())

    manifest = training_logs(store, settings, plan_batch(topic_names(settings).training_logs))

    times = [row["time_ms"] for row in _rows(store, manifest, "samples")]
    assert times[1] == 1_767_225_600_000
    assert isinstance(times[0], int)
    assert times[0] > times[1]


def test_same_batch_twice_gives_the_same_bytes(settings: Settings, store: ObjectStore, plan_batch: PlanBatch) -> None:
    _log_two_runs(settings)
    batch = plan_batch(topic_names(settings).training_logs)
    other = LocalStore(settings.home_path / "other")
    (entry,) = store.list("batches")
    other.write(entry.path, store.read(entry.path))

    assert training_logs(store, settings, batch).to_json() == training_logs(other, settings, batch).to_json()
    assert training_logs(store, settings, batch).to_json() == training_logs(other, settings, batch).to_json()
    assert {found.path: store.read(found.path) for found in store.list("stages")} == {
        found.path: other.read(found.path) for found in other.list("stages")
    }


def test_batch_that_was_never_planned_is_refused(settings: Settings, store: ObjectStore) -> None:
    with pytest.raises(InvalidInput, match="was never planned"):
        training_logs(store, settings, f"{topic_names(settings).training_logs}~00000001")


def test_metric_table_keeps_its_columns() -> None:
    assert METRIC_SCHEMA.names == ["run", "step", "rank", "time_ms", "kind", "name", "value"]
