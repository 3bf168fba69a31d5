"""From a topic to the stages `requests`, `labels` and `takedowns`: every offset ends in exactly one place."""

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import confluent_kafka
import pytest
from kafka import TopicPartition

from ummp_assets.errors import InvalidInput
from ummp_assets.messages.clients import make_admin, make_producer
from ummp_assets.messages.intake import UNREADABLE, read_labels, read_requests, read_takedowns
from ummp_assets.messages.topics import ensure_topics, topic_names
from ummp_assets.settings import Settings
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import Manifest, OutcomeCount, read_manifest, read_table
from ummp_assets_tests.messages.deployments import create_topic, make_settings, plan_everything, request, send


@pytest.fixture
def settings(tmp_path: Path, bootstrap_servers: str) -> Settings:
    return make_settings(tmp_path, bootstrap_servers)


def _rows(store: ObjectStore, manifest: Manifest, table: str) -> list[dict[str, Any]]:
    return [row for rows in read_table(store, manifest, table) for row in rows.to_pylist()]


def test_requests_sent_with_confluent_kafka_are_stored_like_any_other(settings: Settings, store: ObjectStore) -> None:
    ensure_topics(settings)
    topic = topic_names(settings).requests_normal
    fields = {"id": "order-17", "sha256": "AB" * 32, "label": {"b": 1, "a": "ä"}, "attributes": {"page": 2}, "extra": 5}
    value = request(1, modality="image", deadline="2030-01-01T00:00:00Z", **fields)
    headers: list[tuple[str, str | bytes | None]] = [("traceparent", b"00-abc"), ("empty", None)]
    delivered: list[Any] = []
    sent_ms = int(time.time() * 1000)
    producer = confluent_kafka.Producer(
        {
            "bootstrap.servers": settings.bootstrap_servers,
            "enable.idempotence": True,
            "compression.type": "lz4",
            "log_level": 0,
        }
    )
    for key, content in ((b"pages", value), (None, request(2)), (b"", b"no json")):
        producer.produce(
            topic,
            content,
            key,
            partition=1,
            headers=headers,
            timestamp=sent_ms,
            on_delivery=lambda error, message: delivered.append((error, message.offset())),
        )
    assert producer.flush(10) == 0
    assert delivered == [(None, 0), (None, 1), (None, 2)]

    manifest = read_requests(store, settings, plan_everything(store, settings, topic).key)

    first, second = _rows(store, manifest, "samples")
    assert first == {
        "sample_id": f"{topic}~1~0",
        "dataset": "pages",
        "topic": topic,
        "partition": 1,
        "offset": 0,
        "timestamp_ms": sent_ms,
        "uri": "http://example.org/1",
        "modality": "image",
        "request_id": "order-17",
        "sha256": "ab" * 32,
        "label": '{"a": "ä", "b": 1}',
        "attributes": '{"page": 2}',
        "deadline": "2030-01-01T00:00:00+00:00",
        "traceparent": "00-abc",
        "key": b"pages",
        "value": value,
        "headers": [{"name": "traceparent", "value": b"00-abc"}, {"name": "empty", "value": b""}],
    }
    assert json.loads(first["value"])["extra"] == 5, "unknown fields are kept"
    assert (second["uri"], second["modality"], second["label"]) == ("http://example.org/2", "auto", None)
    [letter] = _rows(store, manifest, "dead_letters")
    assert letter == {
        "sample_id": f"{topic}~1~2",
        "key": b"",
        "value": b"no json",
        "headers": [{"name": "traceparent", "value": b"00-abc"}, {"name": "empty", "value": b""}],
    }


UNUSABLE: dict[str, tuple[bytes | None, str]] = {
    "null_value": (None, "tombstone"),
    "not_json": (b"{", "EOF while parsing"),
    "unknown_schema": (request(schema="ummp.request/9"), "'ummp.request/9'"),
    "invalid_dataset": (request(dataset="Not A Name"), "dataset: "),
    "missing_uri": (request(uri=""), "uri: "),
    "invalid_field": (request(sha256="short"), "sha256: "),
    "message_too_large": (request(note="x" * 10_000_000), "intake.max_message_bytes"),
}


def test_bad_messages_are_dead_letters_and_the_rest_is_unharmed(settings: Settings, store: ObjectStore) -> None:
    ensure_topics(settings)
    topic = topic_names(settings).requests_high
    values: list[bytes | None] = [request(0)]
    for number, (value, _) in enumerate(UNUSABLE.values(), 1):
        values += [value, request(number)]
    send(settings, topic, values, key=b"pages")

    manifest = read_requests(store, settings, plan_everything(store, settings, topic).key)

    assert [row["uri"] for row in _rows(store, manifest, "samples")] == [
        f"http://example.org/{number}" for number in range(8)
    ]
    letters = {row["sample_id"]: row["value"] for row in _rows(store, manifest, "dead_letters")}
    outcomes = _rows(store, manifest, "outcomes")
    assert [row["reason"] for row in outcomes] == list(UNUSABLE)
    for position, (row, (value, says)) in enumerate(zip(outcomes, UNUSABLE.values(), strict=True)):
        assert row["sample_id"] == f"{topic}~0~{2 * position + 1}"
        assert (row["outcome"], row["modality"], row["dataset"]) == ("dead", UNREADABLE, "")
        assert says in row["detail"]
        assert letters[row["sample_id"]] == value
    assert manifest.outcomes == tuple(OutcomeCount("", UNREADABLE, "dead", reason, 1) for reason in sorted(UNUSABLE))
    assert manifest.numbers == {
        "messages": 15,
        "readable": 8,
        "unreadable": 7,
        "gaps": 0,
        "expired": 0,
        "message_bytes": sum(len(value or b"") for value in values),
    }


def test_every_offset_of_a_range_full_of_holes_is_accounted_for(settings: Settings, store: ObjectStore) -> None:
    topic = create_topic(settings, "holes", partitions=2)
    send(settings, topic, [request(number) for number in range(10)], partition=0)
    producer = make_producer(settings, transactional_id=f"{topic}.writer")
    producer.init_transactions()
    producer.begin_transaction()
    producer.send(topic, value=request(99), partition=1)
    producer.flush()
    producer.abort_transaction()
    producer.close()
    send(settings, topic, [request(10), b"no json"], partition=1)
    with make_admin(settings) as admin:
        admin.delete_records({TopicPartition(topic, 0): 4})
    batch = plan_everything(store, settings, topic)

    manifest = read_requests(store, settings, batch.key)

    assert batch.messages == 14
    assert {name: value for name, value in manifest.numbers.items() if name != "message_bytes"} == {
        "messages": 14,
        "readable": 7,
        "unreadable": 1,
        "gaps": 2,
        "expired": 4,
    }
    assert [row["uri"] for row in _rows(store, manifest, "samples")] == [
        f"http://example.org/{number}" for number in (4, 5, 6, 7, 8, 9, 10)
    ]


def test_second_run_gives_the_same_manifest_and_files(settings: Settings, store: ObjectStore) -> None:
    topic = create_topic(settings, "twice", partitions=2)
    for partition in range(2):
        send(settings, topic, [*(request(number) for number in range(50)), b"no json"], partition=partition)
    key = plan_everything(store, settings, topic).key

    first = read_requests(store, settings, key)
    before = {item.path: hashlib.sha256(store.read(item.path)).hexdigest() for item in store.list("stages")}
    second = read_requests(store, settings, key)

    assert second == first == read_manifest(store, "requests", key)
    assert {item.path: hashlib.sha256(store.read(item.path)).hexdigest() for item in store.list("stages")} == before


def test_batch_that_was_never_planned_is_refused(settings: Settings, store: ObjectStore) -> None:
    with pytest.raises(InvalidInput, match="was never planned"):
        read_requests(store, settings, "ummp.requests.normal~00000001")
    assert list(store.list("stages")) == []


def test_labels_are_stored_by_value(settings: Settings, store: ObjectStore) -> None:
    ensure_topics(settings)
    topic = topic_names(settings).labels
    label = {"schema": "ummp.label/1", "dataset": "pages"}
    send(
        settings,
        topic,
        [
            json.dumps({**label, "sample_id": "t~0~1", "label": {"b": 2, "a": 1}, "annotator": "eva"}).encode(),
            json.dumps({**label, "sha256": "CD" * 32, "label": "cat", "confidence": 0.25}).encode(),
            json.dumps({**label, "uri": "http://x/", "label": None}).encode(),
            json.dumps({**label, "label": "of nothing"}).encode(),
        ],
    )

    manifest = read_labels(store, settings, plan_everything(store, settings, topic).key)

    rows = _rows(store, manifest, "labels")
    assert [(row["target_kind"], row["target"], row["label"]) for row in rows] == [
        ("sample_id", "t~0~1", '{"a": 1, "b": 2}'),
        ("sha256", "cd" * 32, '"cat"'),
        ("uri", "http://x/", "null"),
    ]
    assert [(row["dataset"], row["annotator"], row["confidence"], row["offset"]) for row in rows] == [
        ("pages", "eva", None, 0),
        ("pages", None, 0.25, 1),
        ("pages", None, None, 2),
    ]
    assert [entry.reason for entry in manifest.outcomes] == ["invalid_field"]


def test_takedowns_are_stored_by_value(settings: Settings, store: ObjectStore) -> None:
    ensure_topics(settings)
    topic = topic_names(settings).takedowns
    takedown = {"schema": "ummp.takedown/1", "reason": "the author asked"}
    send(
        settings,
        topic,
        [
            json.dumps({**takedown, "domain": "Example.ORG", "requested_by": "eva"}).encode(),
            json.dumps({**takedown, "sample_id": "t~0~1~page/2"}).encode(),
        ],
    )

    manifest = read_takedowns(store, settings, plan_everything(store, settings, topic).key)

    assert [
        (row["kind"], row["target"], row["reason"], row["requested_by"]) for row in _rows(store, manifest, "takedowns")
    ] == [
        ("domain", "example.org", "the author asked", "eva"),
        ("sample_id", "t~0~1~page/2", "the author asked", None),
    ]
