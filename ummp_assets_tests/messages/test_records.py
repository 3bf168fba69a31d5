"""Producing and fetching, on the embedded broker and on Apache Kafka."""

import time

import pytest
from kafka import TopicPartition
from kafka.errors import OffsetOutOfRangeError

from ummp_assets_tests.messages.clients import Clients, read


def test_records_of_all_partitions_come_back_gapless_and_in_order(clients: Clients) -> None:
    topic = clients.topic(partitions=4)
    producer = clients.producer(linger_ms=5, batch_size=65536)
    for number in range(8_000):
        producer.send(topic, b"%d" % number, partition=number % 4)
    producer.flush(30)
    for partition in range(4):
        records = clients.read_all(topic, 2_000, partition)
        assert [record.offset for record in records] == list(range(2_000))
        assert [record.value for record in records] == [b"%d" % number for number in range(partition, 8_000, 4)]


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_compressed_records_come_back_unchanged(clients: Clients, codec: str) -> None:
    topic = clients.topic()
    values = [(f"message {number} " * 40).encode() for number in range(1_000)]
    producer = clients.producer(compression_type=codec, linger_ms=20, batch_size=200_000)
    for value in values:
        producer.send(topic, value)
    producer.flush(30)
    assert [record.value for record in clients.read_all(topic, 1_000)] == values


def test_key_headers_timestamp_and_missing_value_come_back(clients: Clients) -> None:
    topic = clients.topic()
    headers = [("a", b"1"), ("b", b""), ("a", b"2")]
    timestamp = int(time.time() * 1000) - 123_456
    clients.producer().send(topic, None, key=b"k\0", headers=headers, timestamp_ms=timestamp).get(10)
    record = clients.read_all(topic, 1)[0]
    assert (record.key, record.value, record.timestamp) == (b"k\0", None, timestamp)
    assert [tuple(header) for header in record.headers] == headers
    assert record.timestamp_type == 0


@pytest.mark.parametrize("acks", [0, 1, "all"])
def test_offsets_count_up_whatever_acknowledgement_is_asked_for(clients: Clients, acks: int | str) -> None:
    topic = clients.topic()
    producer = clients.producer(acks=acks, enable_idempotence=False)
    for number in range(20):
        sent = producer.send(topic, b"%d" % number).get(10)
        assert acks == 0 or sent.offset == number
    assert [record.value for record in clients.read_all(topic, 20)] == [b"%d" % number for number in range(20)]


def test_a_range_can_be_read_exactly(clients: Clients) -> None:
    topic = clients.topic()
    producer = clients.producer(linger_ms=10)
    for number in range(10_000):
        producer.send(topic, b"%d" % number)
    producer.flush(30)
    partition = TopicPartition(topic, 0)
    consumer = clients.consumer()
    consumer.assign([partition])
    consumer.seek(partition, 3_333)
    records = read(consumer, 4_444)
    assert [record.offset for record in records[:4_444]] == list(range(3_333, 7_777))
    assert records[0].value == b"3333"


@pytest.mark.parametrize("offset", [11, 999])
def test_reading_behind_the_end_is_out_of_range(clients: Clients, offset: int) -> None:
    topic = clients.topic()
    clients.send(topic, *[b"x"] * 10)
    partition = TopicPartition(topic, 0)
    consumer = clients.consumer(auto_offset_reset="none")
    consumer.assign([partition])
    consumer.seek(partition, offset)
    with pytest.raises(OffsetOutOfRangeError):
        read(consumer, 1)


def test_beginning_and_end_offsets_count_records(clients: Clients) -> None:
    topic = clients.topic(partitions=3)
    clients.send(topic, *[b"x"] * 12, partition=1)
    empty, full, empty_too = partitions = [TopicPartition(topic, number) for number in range(3)]
    consumer = clients.consumer()
    assert consumer.end_offsets(partitions) == {empty: 0, full: 12, empty_too: 0}
    assert consumer.beginning_offsets(partitions) == {empty: 0, full: 0, empty_too: 0}


def test_offsets_for_times_are_exact_inside_batches(clients: Clients) -> None:
    topic = clients.topic()
    base = int(time.time() * 1000) - 3_600_000
    producer = clients.producer(linger_ms=100)
    for number in range(100):
        producer.send(topic, b"x", timestamp_ms=base + number * 1_000)
        if number % 10 == 9:
            producer.flush()
    partition = TopicPartition(topic, 0)
    consumer = clients.consumer()
    wanted = {-5_000: 0, 0: 0, 500: 1, 50_000: 50, 50_500: 51, 99_000: 99, 200_000: None}
    found = {ms: consumer.offsets_for_times({partition: base + ms})[partition] for ms in wanted}
    assert {ms: where and where.offset for ms, where in found.items()} == wanted
    assert found[500].timestamp == base + 1_000


def test_a_fetch_is_bounded_but_never_empty_while_there_are_records(clients: Clients) -> None:
    topic = clients.topic()
    clients.send(topic, *[b"%d" % number + b"x" * 10_000 for number in range(20)])
    partition = TopicPartition(topic, 0)
    consumer = clients.consumer(max_partition_fetch_bytes=25_000, max_poll_records=1_000)
    consumer.assign([partition])
    first = read(consumer, 1)
    assert 1 <= len(first) <= 2
    tiny = clients.consumer(max_partition_fetch_bytes=10, max_poll_records=1_000)
    tiny.assign([partition])
    assert [record.offset for record in read(tiny, 3)] == [0, 1, 2]


def test_a_waiting_fetch_returns_as_soon_as_a_record_comes(clients: Clients) -> None:
    topic = clients.topic()
    consumer = clients.consumer(fetch_max_wait_ms=5_000)
    consumer.assign([TopicPartition(topic, 0)])
    consumer.poll(timeout_ms=300)
    producer = clients.producer(linger_ms=0)
    delays = []
    for _ in range(5):
        producer.send(topic, b"%f" % time.perf_counter())
        delays.append(time.perf_counter() - float(read(consumer, 1)[0].value))
    assert sorted(delays)[2] < 0.2
