"""The same facts through librdkafka (confluent-kafka) and aiokafka, on the embedded broker and on Apache Kafka."""

import asyncio
import time
from contextlib import closing
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from ummp_assets_tests.messages.clients import Clients, unique


def _config(clients: Clients, **options: Any) -> dict[str, Any]:
    return {"bootstrap.servers": clients.bootstrap_servers} | {
        name.replace("_", "."): value for name, value in options.items()
    }


def _consumer(clients: Clients, **options: Any) -> Consumer:
    defaults = {"auto_offset_reset": "earliest", "enable_auto_commit": False, "group_id": unique("group")}
    return Consumer(_config(clients, **defaults | options))


def _read(consumer: Consumer, count: int, seconds: float = 15.0) -> list[Message]:
    messages: list[Message] = []
    deadline = time.monotonic() + seconds
    while len(messages) < count and time.monotonic() < deadline:
        messages += [message for message in consumer.consume(count - len(messages), 0.2) if not message.error()]
    return messages


def _send(clients: Clients, topic: str, *values: bytes, **options: Any) -> None:
    producer = Producer(_config(clients, **options))
    for value in values:
        producer.produce(topic, value)
    assert producer.flush(10) == 0


def test_librdkafka_group_resumes_where_it_committed(clients: Clients) -> None:
    topic, group = clients.topic(partitions=3), unique("group")
    _send(clients, topic, *[b"%d" % number for number in range(300)])
    with closing(_consumer(clients, group_id=group)) as consumer:
        consumer.subscribe([topic])
        assert {message.value() for message in _read(consumer, 300)} == {b"%d" % number for number in range(300)}
        consumer.commit(asynchronous=False)
    _send(clients, topic, b"300")
    with closing(_consumer(clients, group_id=group)) as consumer:
        consumer.subscribe([topic])
        assert [message.value() for message in _read(consumer, 1)] == [b"300"]


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_librdkafka_compression_comes_back_unchanged(clients: Clients, codec: str) -> None:
    topic = clients.topic()
    values = [b"%d " % number * 50 for number in range(500)]
    _send(clients, topic, *values, compression_type=codec, linger_ms=50)
    with closing(_consumer(clients)) as consumer:
        consumer.assign([TopicPartition(topic, 0, 0)])
        assert [message.value() for message in _read(consumer, 500)] == values


def test_librdkafka_watermarks_and_offsets_for_times_are_exact(clients: Clients) -> None:
    topic = clients.topic()
    base = int(time.time() * 1000) - 3_600_000
    producer = Producer(_config(clients, linger_ms=100))
    for number in range(42):
        producer.produce(topic, b"x", timestamp=base + number * 1_000)
    producer.flush(10)
    with closing(_consumer(clients)) as consumer:
        assert consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=5) == (0, 42)
        found = consumer.offsets_for_times([TopicPartition(topic, 0, base + 10_000)], timeout=5)
        assert found[0].offset == 10


def test_librdkafka_transactions_commit_records_and_offsets_together(clients: Clients) -> None:
    source, target = clients.topic(), clients.topic()
    _send(clients, source, *[b"x"] * 10)
    consumer = _consumer(clients)
    consumer.subscribe([source])
    assert len(_read(consumer, 10)) == 10
    producer = Producer(_config(clients, transactional_id=unique("transactional")))
    producer.init_transactions(10)
    for value, offset, commit in ((b"bad", 4, False), (b"good", 10, True)):
        producer.begin_transaction()
        producer.produce(target, value)
        offsets = [TopicPartition(source, 0, offset)]
        producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata(), 10)
        if commit:
            producer.commit_transaction(10)
        else:
            producer.abort_transaction(10)
    assert consumer.committed([TopicPartition(source, 0)], 10)[0].offset == 10
    consumer.close()
    with closing(_consumer(clients, isolation_level="read_committed")) as reader:
        reader.assign([TopicPartition(target, 0, 0)])
        assert [message.value() for message in _read(reader, 2, seconds=1.5)] == [b"good"]


def test_librdkafka_fences_the_older_of_two_producers(clients: Clients) -> None:
    topic, name = clients.topic(), unique("transactional")
    zombie, heir = (Producer(_config(clients, transactional_id=name)) for _ in range(2))
    zombie.init_transactions(10)
    zombie.begin_transaction()
    zombie.produce(topic, b"zombie")
    zombie.flush(5)
    heir.init_transactions(10)
    with pytest.raises(KafkaException) as refusal:
        zombie.commit_transaction(10)
    assert refusal.value.args[0].fatal()


def test_librdkafka_cooperative_members_share_without_stopping(clients: Clients) -> None:
    topic, group = clients.topic(partitions=4), unique("group")
    timing = {"session_timeout_ms": 6_000, "heartbeat_interval_ms": 300}
    consumers = [
        _consumer(clients, group_id=group, partition_assignment_strategy="cooperative-sticky", **timing)
        for _ in range(2)
    ]
    for consumer in consumers:
        consumer.subscribe([topic])
    deadline = time.monotonic() + 20
    shares = [0, 0]
    while shares != [2, 2] and time.monotonic() < deadline:
        for consumer in consumers:
            consumer.poll(0.1)
        shares = [len(consumer.assignment()) for consumer in consumers]
    for consumer in consumers:
        consumer.close()
    assert shares == [2, 2]


def test_librdkafka_administration_sees_topics_and_groups(clients: Clients) -> None:
    topic, group = clients.topic(partitions=2), unique("group")
    with closing(_consumer(clients, group_id=group)) as consumer:
        consumer.commit(offsets=[TopicPartition(topic, 1, 5)], asynchronous=False)
    admin = AdminClient(_config(clients))
    assert len(admin.list_topics(timeout=5).topics[topic].partitions) == 2
    assert group in [listed.group_id for listed in admin.list_consumer_groups().result(5).valid]


async def _aiokafka_round_trip(bootstrap_servers: str, topic: str) -> list[bytes]:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap_servers, transactional_id=unique("transactional"))
    await producer.start()
    try:
        async with producer.transaction():
            await producer.send_and_wait(topic, b"good", partition=0)
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"bad", partition=1)
        await producer.abort_transaction()
        async with producer.transaction():
            await producer.send_and_wait(topic, b"last", partition=1)
    finally:
        await producer.stop()
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=bootstrap_servers,
        group_id=unique("group"),
        isolation_level="read_committed",
        auto_offset_reset="earliest",
    )
    await consumer.start()
    try:
        return [(await asyncio.wait_for(consumer.getone(), 15)).value for _ in range(2)]
    finally:
        await consumer.stop()


def test_aiokafka_group_reads_committed_transactions_only(clients: Clients) -> None:
    values = asyncio.run(_aiokafka_round_trip(clients.bootstrap_servers, clients.topic(partitions=2)))
    assert sorted(values) == [b"good", b"last"]
