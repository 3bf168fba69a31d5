"""Idempotence and transactions, on the embedded broker and on Apache Kafka."""

import time

import pytest
from kafka import KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.errors import KafkaError, ProducerFencedError

from ummp_assets_tests.messages.clients import Clients, eventually, read, unique


def _transactional(clients: Clients, name: str | None = None, **options: object) -> KafkaProducer:
    producer = clients.producer(transactional_id=name or unique("transactional"), linger_ms=0, **options)
    producer.init_transactions()
    return producer


def _committed_values(clients: Clients, topic: str, seconds: float = 0.7) -> list[bytes]:
    """What a reader of committed records sees now."""
    consumer = clients.consumer(isolation_level="read_committed")
    consumer.assign([TopicPartition(topic, 0)])
    values = [record.value for record in read(consumer, 1_000, seconds)]
    consumer.close(autocommit=False)
    return values


def _stable_end(clients: Clients, topic: str) -> int:
    partition = TopicPartition(topic, 0)
    offset: int = clients.consumer(isolation_level="read_committed").end_offsets([partition])[partition]
    return offset


def test_idempotent_producers_number_their_records(clients: Clients) -> None:
    topic = clients.topic()
    assert clients.send(topic, *[b"x"] * 20, enable_idempotence=True) == list(range(20))


def test_records_of_an_open_transaction_are_hidden_until_it_commits(clients: Clients) -> None:
    topic = clients.topic()
    producer = _transactional(clients)
    producer.begin_transaction()
    for number in range(3):
        producer.send(topic, b"%d" % number)
    producer.flush()
    assert _committed_values(clients, topic) == []
    assert _stable_end(clients, topic) == 0
    assert len(clients.read_all(topic, 3)) == 3
    producer.commit_transaction()
    assert _committed_values(clients, topic) == [b"0", b"1", b"2"]
    assert _stable_end(clients, topic) == 4


def test_aborted_records_are_never_read(clients: Clients) -> None:
    topic = clients.topic()
    producer = _transactional(clients)
    for value, is_kept in ((b"bad", False), (b"good", True), (b"bad", False), (b"good", True)):
        producer.begin_transaction()
        for _ in range(3):
            producer.send(topic, value)
        producer.flush()
        if is_kept:
            producer.commit_transaction()
        else:
            producer.abort_transaction()
    assert _committed_values(clients, topic) == [b"good"] * 6
    assert [record.value for record in clients.read_all(topic, 12)] == ([b"bad"] * 3 + [b"good"] * 3) * 2


def test_markers_take_an_offset_in_every_partition_of_the_transaction(clients: Clients) -> None:
    topic = clients.topic(partitions=3)
    producer = _transactional(clients)
    producer.begin_transaction()
    producer.send(topic, b"x", partition=0)
    producer.send(topic, b"x", partition=2)
    producer.commit_transaction()
    written, unused, written_too = partitions = [TopicPartition(topic, number) for number in range(3)]
    assert clients.consumer().end_offsets(partitions) == {written: 2, unused: 0, written_too: 2}


def test_offsets_count_only_when_their_transaction_commits(clients: Clients) -> None:
    source, target, group = clients.topic(), clients.topic(), unique("group")
    clients.send(source, *[b"x"] * 10)
    partition = TopicPartition(source, 0)
    consumer = clients.consumer(source, group_id=group)
    assert len(read(consumer, 10)) == 10
    producer = _transactional(clients)
    for offset, is_kept in ((5, False), (10, True)):
        producer.begin_transaction()
        producer.send(target, b"y")
        producer.send_offsets_to_transaction({partition: OffsetAndMetadata(offset, "", -1)}, consumer.group_metadata())
        if is_kept:
            producer.commit_transaction()
        else:
            producer.abort_transaction()
        expected = offset if is_kept else None
        assert eventually(lambda: consumer.committed(partition) == expected)  # noqa: B023 - called at once


def test_a_second_producer_of_the_same_name_fences_the_first(clients: Clients) -> None:
    topic, name = clients.topic(), unique("transactional")
    zombie = _transactional(clients, name)
    zombie.begin_transaction()
    zombie.send(topic, b"zombie")
    zombie.flush()
    heir = _transactional(clients, name)
    with pytest.raises(ProducerFencedError):
        zombie.commit_transaction()
    heir.begin_transaction()
    heir.send(topic, b"heir")
    heir.commit_transaction()
    assert _committed_values(clients, topic) == [b"heir"]


def test_an_overdue_transaction_is_aborted_and_its_producer_fenced(clients: Clients) -> None:
    topic = clients.topic()
    slow = _transactional(clients, transaction_timeout_ms=1_000)
    slow.begin_transaction()
    slow.send(topic, b"slow")
    slow.flush()
    deadline = time.monotonic() + 10
    while _stable_end(clients, topic) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert _committed_values(clients, topic) == []
    with pytest.raises(KafkaError):
        slow.commit_transaction()


def test_a_transaction_timeout_above_the_brokers_bound_is_refused(clients: Clients) -> None:
    producer = clients.producer(transactional_id=unique("transactional"), transaction_timeout_ms=3_600_000)
    with pytest.raises(KafkaError, match="InvalidTransactionTimeout"):
        producer.init_transactions()


def test_transactions_over_several_partitions_are_all_or_nothing(clients: Clients) -> None:
    topics = [clients.topic(), clients.topic()]
    producer = _transactional(clients)
    for number in range(6):
        producer.begin_transaction()
        for topic in topics:
            producer.send(topic, b"%d" % number)
        if number % 2:
            producer.commit_transaction()
        else:
            producer.abort_transaction()
    for topic in topics:
        assert _committed_values(clients, topic) == [b"1", b"3", b"5"]
