"""Topics and their administration, on the embedded broker and on Apache Kafka."""

import time

import pytest
from kafka import TopicPartition
from kafka.errors import (
    InvalidConfigurationError,
    InvalidPartitionsError,
    InvalidReplicationFactorError,
    InvalidTopicError,
    KafkaError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
)

from ummp_assets_tests.messages.clients import Clients, unique


def _partition_count(clients: Clients, topic: str) -> int:
    return len(clients.admin.describe_topics([topic])[0]["partitions"])


def _create(
    clients: Clients, name: str, partitions: int = 1, replicas: int = 1, configs: dict[str, str] | None = None
) -> None:
    wanted = {"num_partitions": partitions, "replication_factor": replicas, "configs": configs or {}}
    clients.admin.create_topics({name: wanted})


def test_create_gives_the_partitions_asked_for(clients: Clients) -> None:
    topic = clients.topic(partitions=7)
    assert topic in clients.admin.list_topics()
    assert _partition_count(clients, topic) == 7


def test_create_is_refused_for_a_topic_that_exists(clients: Clients) -> None:
    topic = clients.topic()
    with pytest.raises(TopicAlreadyExistsError):
        _create(clients, topic)


@pytest.mark.parametrize("name", ["", ".", "..", "with space", "ü", "x" * 250])
def test_create_is_refused_for_an_illegal_name(clients: Clients, name: str) -> None:
    with pytest.raises(InvalidTopicError):
        _create(clients, name)


def test_create_is_refused_where_only_dot_and_underscore_differ(clients: Clients) -> None:
    name = unique("with.dot")
    _create(clients, name)
    with pytest.raises(InvalidTopicError):
        _create(clients, name.replace(".", "_"))


def test_create_is_refused_without_partitions(clients: Clients) -> None:
    with pytest.raises(InvalidPartitionsError):
        _create(clients, unique("none"), partitions=0)


def test_create_is_refused_with_more_replicas_than_brokers(clients: Clients) -> None:
    with pytest.raises(InvalidReplicationFactorError):
        _create(clients, unique("replicas"), replicas=3)


@pytest.mark.parametrize(
    "configs",
    [
        {"no.such.setting": "1"},
        {"retention.ms": "soon"},
        {"retention.ms": "-2"},
        {"cleanup.policy": "shred"},
        {"segment.bytes": "1000"},
        {"message.timestamp.type": "Never"},
    ],
)
def test_create_is_refused_with_a_wrong_setting(clients: Clients, configs: dict[str, str]) -> None:
    name = unique("wrong")
    with pytest.raises(InvalidConfigurationError):
        _create(clients, name, configs=configs)
    assert name not in clients.admin.list_topics()


def test_validation_only_creates_nothing(clients: Clients) -> None:
    name = unique("validated")
    clients.admin.create_topics({name: {"num_partitions": 1, "replication_factor": 1}}, validate_only=True)
    assert name not in clients.admin.list_topics()


def test_partitions_can_be_added_but_not_taken_away(clients: Clients) -> None:
    topic = clients.topic(partitions=2)
    clients.send(topic, b"kept", partition=1)
    clients.admin.create_partitions({topic: 5})
    assert _partition_count(clients, topic) == 5
    for count in (5, 3):
        with pytest.raises(InvalidPartitionsError):
            clients.admin.create_partitions({topic: count})
    assert [record.value for record in clients.read_all(topic, 1, partition=1)] == [b"kept"]


def test_delete_removes_records_for_good(clients: Clients) -> None:
    topic = clients.topic(partitions=2)
    clients.send(topic, b"gone", partition=0)
    clients.admin.delete_topics([topic])
    deadline = time.monotonic() + 5
    while topic in clients.admin.list_topics() and time.monotonic() < deadline:
        time.sleep(0.05)
    _create(clients, topic, partitions=1)
    partition = TopicPartition(topic, 0)
    assert clients.consumer().end_offsets([partition]) == {partition: 0}


def test_delete_is_refused_for_an_unknown_topic(clients: Clients) -> None:
    with pytest.raises(UnknownTopicOrPartitionError):
        clients.admin.delete_topics([unique("unknown")])


def test_producing_creates_a_missing_topic(clients: Clients) -> None:
    assert clients.send(unique("missing"), b"first") == [0]


def test_deleted_records_are_before_the_beginning(clients: Clients) -> None:
    topic = clients.topic()
    clients.send(topic, *[b"%d" % number for number in range(10)])
    partition = TopicPartition(topic, 0)
    clients.admin.delete_records({partition: 5})
    assert clients.consumer().beginning_offsets([partition]) == {partition: 5}
    assert [record.offset for record in clients.read_all(topic, 5)] == [5, 6, 7, 8, 9]


def test_deleting_records_behind_the_end_is_refused(clients: Clients) -> None:
    topic = clients.topic()
    clients.send(topic, b"only")
    with pytest.raises(KafkaError, match="OffsetOutOfRange"):
        clients.admin.delete_records({TopicPartition(topic, 0): 2})


def test_cluster_has_one_broker_at_the_address_that_was_asked(clients: Clients) -> None:
    cluster = clients.admin.describe_cluster()
    addresses = [f"{broker['host']}:{broker['port']}" for broker in cluster["brokers"]]
    assert addresses == [clients.bootstrap_servers]
    assert cluster["controller_id"] == cluster["brokers"][0]["broker_id"]
    assert len(cluster["cluster_id"]) == 22
