"""The whole way of a batch: messages in, dataset versions and ready events out, every outcome by value."""

import json
from collections import Counter

import dagster as dg
from kafka import TopicPartition

from ummp_assets.datasets.reader import open_dataset
from ummp_assets.messages.clients import make_admin
from ummp_assets.messages.progress import group_name
from ummp_assets.messages.topics import topic_names
from ummp_assets_tests.flow.batches import read_topic, rejections, run_batch, tick
from ummp_assets_tests.flow.conftest import Collected, Place


def test_messages_become_versions_and_events_when_the_sensor_has_planned_them(collected: Collected) -> None:
    place, key = collected.place, collected.key
    [asked] = collected.planned.run_requests or []
    assert (asked.run_key, asked.partition_key) == (key, key)
    assert not tick(collected.instance, cursor=collected.planned.cursor).run_requests
    assert collected.result.success

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
    assert sum(sizes.values()) + 11 == collected.sent

    topic = topic_names(place.settings).datasets
    events = {
        event["dataset"]: event for event in (json.loads(record.value) for record in read_topic(place.settings, topic))
    }
    assert {name: (event["version"], event["rows"]) for name, event in events.items()} == {
        name: (1, size) for name, size in sizes.items()
    }
    assert sum(sum(ends.values()) for ends in events["sounds"]["watermark"].values()) == collected.sent


def test_dead_letters_hold_the_original_bytes_and_coordinates(collected: Collected) -> None:
    place, names = collected.place, topic_names(collected.place.settings)
    letters = read_topic(place.settings, names.dead)
    assert run_batch(collected.instance, collected.key).success, "a second run of the same batch"
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


def test_accounting_check_and_materializations_stand_in_dagster_after_a_run(collected: Collected) -> None:
    [check] = collected.result.get_asset_check_evaluations()
    assert check.passed
    numbers = {name: value.value for name, value in check.metadata.items()}
    assert numbers == {
        "batch": collected.key,
        "messages": collected.sent,
        "samples": collected.sent - 6,
        "stored": 11,
        "duplicate": 3,
        "filtered": 0,
        "dead": 8,
    }
    commits = collected.instance.fetch_materializations(dg.AssetKey("training_datasets"), limit=10).records
    found = [(record.partition_key, record.asset_materialization) for record in commits]
    assert {dataset: event.metadata["version"].value for dataset, event in found if event} == {
        "documents": 1,
        "photographs": 1,
        "sounds": 1,
    }
    assert set(collected.instance.get_dynamic_partitions("datasets")) == {"documents", "photographs", "sounds"}


def test_consumer_lag_is_zero_after_the_batch_is_committed(collected: Collected) -> None:
    place = collected.place
    topic = topic_names(place.settings).requests_normal
    with make_admin(place.settings) as admin:
        offsets = admin.list_group_offsets(group_name(place.settings))[group_name(place.settings)]
    published = {partition: item.offset for partition, item in offsets.items()}
    assert sum(published.values()) == collected.sent
    assert set(published) == {TopicPartition(topic, number) for number in range(place.settings.topic_partitions)}


def _size(place: Place, dataset: str) -> int:
    return sum(
        len(open_dataset(dataset, split=split, settings=place.settings)) for split in ("train", "validation", "test")
    )
