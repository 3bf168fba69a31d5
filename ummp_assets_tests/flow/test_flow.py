"""The whole way of a batch: messages in, dataset versions and ready events out, every outcome by value."""

import json
from collections import Counter

import dagster as dg
from kafka import TopicPartition

from ummp_assets.cli.demo.server import SampleServer
from ummp_assets.datasets.reader import open_dataset
from ummp_assets.messages.clients import make_admin
from ummp_assets.messages.progress import group_name
from ummp_assets.messages.topics import topic_names
from ummp_assets_tests.flow.batches import read_topic, rejections, run_batch, send_everything, tick
from ummp_assets_tests.flow.conftest import Place


def test_messages_become_versions_and_events_when_the_sensor_has_planned_them(
    place: Place, instance: dg.DagsterInstance, site: SampleServer
) -> None:
    sent = send_everything(place.settings, site)
    names = topic_names(place.settings)

    planned = tick(instance)
    [asked] = planned.run_requests or []
    key = f"{names.requests_normal}~00000001"
    assert (asked.run_key, asked.partition_key) == (key, key)
    assert not tick(instance, cursor=planned.cursor).run_requests
    assert run_batch(instance, key).success

    assert rejections(place.store, key) == Counter(
        {
            ("unreadable", "null_value"): 1,
            ("unreadable", "not_json"): 1,
            ("unreadable", "unknown_schema"): 1,
            ("unreadable", "invalid_dataset"): 1,
            ("unreadable", "missing_uri"): 1,
            ("unreadable", "message_too_large"): 1,
            ("image", "http_client_error"): 1,
            ("image", "corrupt_image"): 1,
            ("text", "exact_duplicate"): 1,
            ("image", "exact_duplicate"): 1,
            ("audio", "exact_duplicate"): 1,
        }
    )
    sizes = {name: _size(place, name) for name in ("documents", "photographs", "sounds")}
    assert sizes == {"documents": 4, "photographs": 4, "sounds": 3}
    assert sum(sizes.values()) + 11 == sent

    events = {
        event["dataset"]: event
        for event in (json.loads(record.value) for record in read_topic(place.settings, names.datasets))
    }
    assert {name: (event["version"], event["rows"]) for name, event in events.items()} == {
        name: (1, size) for name, size in sizes.items()
    }
    assert sum(sum(ends.values()) for ends in events["sounds"]["watermark"].values()) == sent


def test_dead_letters_hold_the_original_bytes_and_coordinates(
    place: Place, instance: dg.DagsterInstance, site: SampleServer
) -> None:
    send_everything(place.settings, site)
    names = topic_names(place.settings)
    key = f"{names.requests_normal}~00000001"
    tick(instance)
    assert run_batch(instance, key).success

    letters = read_topic(place.settings, names.dead)
    assert run_batch(instance, key).success, "a second run of the same batch"
    assert len(read_topic(place.settings, names.dead)) == len(letters) == 8

    requests = {
        (record.partition, record.offset): record for record in read_topic(place.settings, names.requests_normal)
    }
    for letter in letters:
        headers = {name: value.decode() for name, value in letter.headers}
        original = requests[int(headers["ummp-partition"]), int(headers["ummp-offset"])]
        assert (letter.value, headers["ummp-topic"]) == (original.value, names.requests_normal)
        assert headers["ummp-error"]
    assert Counter(dict(letter.headers)["ummp-reason"].decode() for letter in letters)["corrupt_image"] == 1


def test_accounting_check_and_materializations_stand_in_dagster_after_a_run(
    place: Place, instance: dg.DagsterInstance, site: SampleServer
) -> None:
    sent = send_everything(place.settings, site)
    key = f"{topic_names(place.settings).requests_normal}~00000001"
    tick(instance)
    result = run_batch(instance, key)

    [check] = result.get_asset_check_evaluations()
    assert check.passed
    numbers = {name: value.value for name, value in check.metadata.items()}
    assert numbers == {
        "batch": key,
        "messages": sent,
        "samples": sent - 6,
        "stored": 11,
        "duplicate": 3,
        "filtered": 0,
        "dead": 8,
    }
    commits = instance.fetch_materializations(dg.AssetKey("training_datasets"), limit=10).records
    found = [(record.partition_key, record.asset_materialization) for record in commits]
    assert {dataset: event.metadata["version"].value for dataset, event in found if event} == {
        "documents": 1,
        "photographs": 1,
        "sounds": 1,
    }
    assert set(instance.get_dynamic_partitions("datasets")) == {"documents", "photographs", "sounds"}


def test_consumer_lag_is_zero_after_the_batch_is_committed(
    place: Place, instance: dg.DagsterInstance, site: SampleServer
) -> None:
    sent = send_everything(place.settings, site)
    topic = topic_names(place.settings).requests_normal
    tick(instance)
    assert run_batch(instance, f"{topic}~00000001").success

    with make_admin(place.settings) as admin:
        offsets = admin.list_group_offsets(group_name(place.settings))[group_name(place.settings)]
    published = {partition: item.offset for partition, item in offsets.items()}
    assert sum(published.values()) == sent
    assert set(published) == {TopicPartition(topic, number) for number in range(place.settings.topic_partitions)}


def _size(place: Place, dataset: str) -> int:
    return sum(
        len(open_dataset(dataset, split=split, settings=place.settings)) for split in ("train", "validation", "test")
    )
