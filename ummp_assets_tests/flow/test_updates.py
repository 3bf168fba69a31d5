"""Labels, takedowns, training logs and parameters go the way of requests: sensor, batch, assets, answer."""

import json
from typing import Any

import dagster as dg
import numpy as np

import ummp_assets
from ummp_assets.datasets.versions import read_version
from ummp_assets.messages.topics import topic_names
from ummp_assets_tests.flow.batches import read_topic, rows, run_batch, send, tick
from ummp_assets_tests.flow.conftest import Collected, Place


def _run_planned(instance: dg.DagsterInstance, role: str) -> str:
    # Without a cursor a tick asks for every batch in the log again; Dagster drops the runs that it knows.
    [*_, asked] = tick(instance, f"{role}_sensor").run_requests or []
    key = str(asked.partition_key)
    assert run_batch(instance, key, job=f"{role}_job").success
    return key


def _stored(place: Place, dataset: str) -> dict[str, dict[str, Any]]:
    tables = [
        ummp_assets.open_dataset(dataset, split=split, columns=["sample_id", "uri", "label"], settings=place.settings)
        for split in ("train", "validation", "test")
    ]
    return {row["uri"]: row for table in tables for row in table.to_arrow().to_pylist()}


def test_label_message_makes_a_version_in_which_the_sample_has_the_label(collected: Collected) -> None:
    place, instance, names = collected.place, collected.instance, topic_names(collected.place.settings)
    [uri, *_] = sorted(_stored(place, "photographs"))
    label = {"schema": "ummp.label/1", "dataset": "photographs", "uri": uri, "label": {"animal": "none"}}
    send(place.settings, names.labels, label)

    _run_planned(instance, "labels")

    assert read_version(place.store, "photographs").version == 2
    assert json.loads(_stored(place, "photographs")[uri]["label"]) == {"animal": "none"}
    events = [json.loads(record.value) for record in read_topic(place.settings, names.datasets)]
    assert [event["version"] for event in events if event["dataset"] == "photographs"] == [1, 2]


def test_takedown_message_takes_the_sample_out_and_refuses_it_from_then_on(collected: Collected) -> None:
    place, instance, names = collected.place, collected.instance, topic_names(collected.place.settings)
    before = _stored(place, "sounds")
    [uri, *_] = sorted(before)
    send(place.settings, names.takedowns, {"schema": "ummp.takedown/1", "uri": uri, "reason": "asked by its author"})

    key = _run_planned(instance, "takedowns")

    assert sorted(_stored(place, "sounds")) == sorted(set(before) - {uri})
    receipts = rows(place.store, "takedown_receipts", key, ["sample_id", "uri", "version"])
    assert {"sample_id": before[uri]["sample_id"], "uri": uri, "version": 2} in receipts
    request = {"schema": "ummp.request/1", "dataset": "sounds", "uri": uri}
    send(place.settings, names.requests_normal, request)
    again = _run_planned(instance, "requests")
    outcomes = [
        row["reason"]
        for stage in ("downloads", "clean_audio")
        for row in rows(place.store, stage, again, ["reason"], table="outcomes")
    ]
    assert outcomes == ["takedown"]


def test_training_logs_and_parameters_become_summaries_and_averages(place: Place, instance: dg.DagsterInstance) -> None:
    tick(instance, "training_logs_sensor")
    with ummp_assets.TrainingLogger("run-1", settings=place.settings) as logger:
        for step in range(3):
            logger.log(step, {"loss": 2.0 - step, "accuracy": step / 2})
    for worker, samples, value in (("a", 1, 0.0), ("b", 3, 4.0)):
        arrays = {"weight": np.full(2, value, dtype=np.float32)}
        ummp_assets.publish_parameters(
            "model", 1, arrays, worker=worker, samples=samples, workers=2, settings=place.settings
        )

    logs = _run_planned(instance, "training_logs")
    _run_planned(instance, "parameters")

    assert rows(place.store, "training_logs", logs, ["run", "last_step", "loss", "accuracy"], table="summaries") == [
        {"run": "run-1", "last_step": 2, "loss": 0.0, "accuracy": 1.0}
    ]
    average = ummp_assets.fetch_parameters("model", 1, timeout_seconds=10, settings=place.settings)
    np.testing.assert_array_equal(average.arrays["weight"], [3.0, 3.0])
