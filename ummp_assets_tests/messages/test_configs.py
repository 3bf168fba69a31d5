"""Settings of topics and what they do, on the embedded broker and on Apache Kafka."""

import time
from typing import Any

import pytest
from kafka import TopicPartition
from kafka.admin import ConfigResource
from kafka.errors import InvalidRecordError, InvalidTimestampError, MessageSizeTooLargeError

from ummp_assets_tests.messages.clients import Clients, eventually


def _configs(clients: Clients, topic: str) -> dict[str, Any]:
    described = clients.admin.describe_configs([ConfigResource("TOPIC", topic)], config_filter="all")
    return {name: setting["value"] for name, setting in described["topic"][topic].items()}


def _start(clients: Clients, topic: str) -> int:
    partition = TopicPartition(topic, 0)
    offset: int = clients.consumer().beginning_offsets([partition])[partition]
    return offset


def test_settings_are_read_back_with_defaults_beside(clients: Clients) -> None:
    configs = _configs(clients, clients.topic(retention_ms="12345"))
    assert configs["retention.ms"] == "12345"
    assert configs["cleanup.policy"] == "delete"
    assert configs["segment.bytes"] == "1073741824"
    assert configs["max.message.bytes"] == "1048588"


def test_altering_settings_replaces_and_removes_single_ones(clients: Clients) -> None:
    topic = clients.topic(retention_ms="1000", segment_ms="2000")
    altered = {"retention.ms": ("SET", "3000"), "segment.ms": ("DELETE", None), "cleanup.policy": ("APPEND", "compact")}
    clients.admin.alter_configs([ConfigResource("TOPIC", topic, altered)])
    assert eventually(lambda: _configs(clients, topic)["retention.ms"] == "3000")
    configs = _configs(clients, topic)
    assert configs["segment.ms"] == "604800000"
    assert set(configs["cleanup.policy"].split(",")) == {"delete", "compact"}


def test_altering_to_a_wrong_value_changes_nothing(clients: Clients) -> None:
    topic = clients.topic(retention_ms="1000")
    answer = clients.admin.alter_configs([ConfigResource("TOPIC", topic, {"retention.ms": ("SET", "soon")})])
    assert "InvalidConfigurationError" in answer["topic"][topic]
    assert _configs(clients, topic)["retention.ms"] == "1000"


def test_larger_records_than_the_topic_allows_are_refused(clients: Clients) -> None:
    small, large = clients.topic(), clients.topic(max_message_bytes="6000000")
    value = b"z" * 5_000_000
    with pytest.raises(MessageSizeTooLargeError):
        clients.send(small, value, max_request_size=12_000_000)
    clients.send(large, value, max_request_size=12_000_000)
    assert [record.value for record in clients.read_all(large, 1)] == [value]


def test_append_time_replaces_the_producers_timestamp(clients: Clients) -> None:
    topic = clients.topic(message_timestamp_type="LogAppendTime")
    before = int(time.time() * 1000)
    told = clients.producer().send(topic, b"late", timestamp_ms=1_000).get(10)
    record = clients.read_all(topic, 1)[0]
    assert record.timestamp_type == 1
    assert before <= record.timestamp <= int(time.time() * 1000)
    assert told.timestamp == record.timestamp


def test_old_segments_are_deleted_once_they_are_over_age(clients: Clients) -> None:
    topic = clients.topic(retention_ms="3000", segment_ms="1000")
    now = int(time.time() * 1000)
    producer = clients.producer()
    for age_ms in (60_000, 50_000, 0):
        producer.send(topic, b"%d" % age_ms, timestamp_ms=now - age_ms).get(10)
    assert eventually(lambda: _start(clients, topic) == 2)


def test_old_segments_are_deleted_once_there_are_too_many_bytes(clients: Clients) -> None:
    topic = clients.topic(retention_bytes="1500000", segment_bytes="1048576")
    clients.send(topic, *[b"x" * 400_000 for _ in range(9)])
    assert eventually(lambda: _start(clients, topic) > 0)
    start = _start(clients, topic)
    records = clients.read_all(topic, 9 - start)
    assert [record.offset for record in records] == list(range(start, 9))
    assert sum(len(record.value) for record in records) >= 1_500_000


def test_compaction_keeps_the_latest_record_of_each_key(clients: Clients) -> None:
    topic = clients.topic(cleanup_policy="compact", segment_ms="100", min_cleanable_dirty_ratio="0.01")
    producer = clients.producer()
    for number in range(30):
        producer.send(topic, b"%d" % number, key=b"key-%d" % (number % 3)).get(10)
    time.sleep(0.3)
    producer.send(topic, b"last", key=b"another").get(10)  # closes the segment before it

    def left() -> list[tuple[int, bytes]]:
        consumer = clients.consumer()
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        records: list[tuple[int, bytes]] = []
        deadline = time.monotonic() + 10
        while consumer.position(partition) < 31 and time.monotonic() < deadline:
            records += [(record.offset, record.value) for batch in consumer.poll(200).values() for record in batch]
        consumer.close()
        return records

    assert eventually(lambda: len(left()) <= 4)
    assert left() == [(27, b"27"), (28, b"28"), (29, b"29"), (30, b"last")]


def test_compacted_topics_refuse_records_without_a_key(clients: Clients) -> None:
    topic = clients.topic(cleanup_policy="compact")
    with pytest.raises(InvalidRecordError):
        clients.send(topic, b"no key", enable_idempotence=False)


def test_timestamps_in_the_far_future_are_refused(clients: Clients) -> None:
    topic = clients.topic()
    two_hours_ahead = int(time.time() * 1000) + 7_200_000
    with pytest.raises(InvalidTimestampError):
        clients.producer(enable_idempotence=False).send(topic, b"x", timestamp_ms=two_hours_ahead).get(10)
