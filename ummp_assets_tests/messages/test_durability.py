"""What the embedded broker keeps over a stop and over SIGKILL."""

import resource
import shutil
import sqlite3
import subprocess
from pathlib import Path

import pytest
from kafka import OffsetAndMetadata, TopicPartition
from kafka.errors import KafkaError
from kafka.protocol.producer import InitProducerIdRequest, InitProducerIdResponse

from ummp_assets.messages.embedded import BrokerProcess, start_broker
from ummp_assets_tests.messages.clients import Clients, read, unique
from ummp_assets_tests.messages.raw_connection import RawConnection

# kafka-python leaves the sockets of refused connections to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def _values(clients: Clients, topic: str, count: int) -> list[bytes]:
    return [record.value for record in clients.read_all(topic, count, isolation_level="read_committed")]


def _restarted(broker: BrokerProcess, data: Path) -> BrokerProcess:
    """The broker, killed and started again at the same address."""
    broker.kill()
    return start_broker(data, port=int(broker.bootstrap_servers.split(":")[1]))


def test_topics_settings_records_and_offsets_survive_stop_and_kill(tmp_path: Path) -> None:
    topic, group = unique("topic"), unique("group")
    partition = TopicPartition(topic, 0)
    for end in (BrokerProcess.stop, BrokerProcess.kill, BrokerProcess.kill):
        broker = start_broker(tmp_path / "data")
        with Clients(broker.bootstrap_servers) as clients:
            if topic not in clients.admin.list_topics():
                configs = {"retention.ms": "123456789"}
                clients.admin.create_topics({topic: {"num_partitions": 3, "replication_factor": 1, "configs": configs}})
                clients.send(topic, b"a", b"b", b"c")
                clients.admin.delete_records({partition: 1})
                clients.admin.alter_group_offsets(group, {partition: OffsetAndMetadata(2, "note", -1)})
            assert len(clients.admin.describe_topics([topic])[0]["partitions"]) == 3
            assert _values(clients, topic, 2) == [b"b", b"c"]
            committed = clients.admin.list_group_offsets(group)[group][partition]
            assert (committed.offset, committed.metadata) == (2, "note")
            assert clients.consumer().beginning_offsets([partition]) == {partition: 1}
        end(broker)


def test_deleted_topics_stay_deleted_over_a_kill(tmp_path: Path) -> None:
    broker = start_broker(tmp_path / "data")
    with Clients(broker.bootstrap_servers) as clients:
        topic = clients.topic()
        clients.send(topic, b"x")
        clients.admin.delete_topics([topic])
        assert list((tmp_path / "data" / "topics").iterdir()) == []
    with _restarted(broker, tmp_path / "data") as broker, Clients(broker.bootstrap_servers) as clients:
        assert clients.admin.list_topics() == []
    assert list((tmp_path / "data" / "topics").iterdir()) == []


def test_an_open_transaction_can_be_committed_after_a_kill(tmp_path: Path) -> None:
    broker = start_broker(tmp_path / "data")
    with Clients(broker.bootstrap_servers) as clients:
        source, target, group = clients.topic(), clients.topic(), unique("group")
        clients.send(source, b"x")
        consumer = clients.consumer(source, group_id=group)
        assert len(read(consumer, 1)) == 1
        producer = clients.producer(transactional_id=unique("transactional"), retry_backoff_ms=50)
        producer.init_transactions()
        producer.begin_transaction()
        producer.send(target, b"before")
        producer.flush()
        partition = TopicPartition(source, 0)
        producer.send_offsets_to_transaction({partition: OffsetAndMetadata(1, "", -1)}, consumer.group_metadata())
        restarted = _restarted(broker, tmp_path / "data")
        with restarted, Clients(restarted.bootstrap_servers) as later:
            assert later.admin.list_group_offsets(group).get(group, {}) == {}
            producer.send(target, b"after")
            producer.commit_transaction()
            assert _values(later, target, 2) == [b"before", b"after"]
            assert later.admin.list_group_offsets(group)[group][partition].offset == 1
            consumer.close(autocommit=False)
            producer.close()


def test_a_commit_that_was_decided_is_finished_by_the_next_start(tmp_path: Path) -> None:
    broker = start_broker(tmp_path / "data")
    with Clients(broker.bootstrap_servers) as clients:
        topic = clients.topic(partitions=2)
        producer = clients.producer(transactional_id="decided")
        producer.init_transactions()
        producer.begin_transaction()
        for partition in range(2):
            producer.send(topic, b"x", partition=partition)
        producer.flush()
        broker.kill()
    with sqlite3.connect(tmp_path / "data" / "broker.sqlite") as database:
        database.execute("UPDATE transactions SET state = 'PrepareCommit' WHERE transactional_id = 'decided'")
    database.close()
    with start_broker(tmp_path / "data") as broker, Clients(broker.bootstrap_servers) as clients:
        for partition in range(2):
            records = clients.read_all(topic, 1, partition, isolation_level="read_committed")
            assert [record.value for record in records] == [b"x"]


def test_producer_ids_are_never_given_twice(tmp_path: Path) -> None:
    seen = set()
    for _ in range(3):
        broker = start_broker(tmp_path / "data")
        with RawConnection(broker.bootstrap_servers) as connection:
            for _ in range(5):
                request = InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=1_000)
                seen.add(connection.ask(request, InitProducerIdResponse, version=1).producer_id)
        broker.kill()
    assert len(seen) == 15


def test_acknowledged_records_are_kept_with_fsync(tmp_path: Path) -> None:
    broker = start_broker(tmp_path / "data", fsync=True)
    with Clients(broker.bootstrap_servers) as clients:
        topic = clients.topic()
        clients.send(topic, b"a", b"b")
    broker.kill()
    with start_broker(tmp_path / "data", fsync=True) as broker, Clients(broker.bootstrap_servers) as clients:
        assert _values(clients, topic, 2) == [b"a", b"b"]


def test_a_full_disk_refuses_records_and_harms_none(tmp_path: Path) -> None:
    with start_broker(tmp_path / "data") as broker, Clients(broker.bootstrap_servers) as clients:
        topic = clients.topic()
        assert clients.send(topic, b"x" * 500_000) == [0]
        unlimited = resource.RLIM_INFINITY
        resource.prlimit(broker.pid, resource.RLIMIT_FSIZE, (700_000, unlimited))  # as if the disk ended there
        with pytest.raises(KafkaError):
            clients.send(topic, b"y" * 500_000, retries=0, enable_idempotence=False)
        assert len(clients.read_all(topic, 1)) == 1
        resource.prlimit(broker.pid, resource.RLIMIT_FSIZE, (unlimited, unlimited))
        assert clients.send(topic, b"z" * 500_000) == [1]
    with start_broker(tmp_path / "data") as broker, Clients(broker.bootstrap_servers) as clients:
        assert [value[:1] for value in _values(clients, topic, 2)] == [b"x", b"z"]


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace to see system calls")
@pytest.mark.parametrize("fsync", [True, False])
def test_records_are_on_the_disk_before_they_are_acknowledged_with_fsync_only(tmp_path: Path, fsync: bool) -> None:
    calls = tmp_path / "calls"
    with start_broker(tmp_path / "data", fsync=fsync) as broker, Clients(broker.bootstrap_servers) as clients:
        topic = clients.topic()
        producer = clients.producer()
        producer.send(topic, b"first").get(10)
        with subprocess.Popen(
            [
                "strace",
                "-f",
                "-y",
                "-e",
                "trace=pwritev,pwritev2,fsync,sendto",
                "-o",
                str(calls),
                "-p",
                str(broker.pid),
            ],
            stderr=subprocess.PIPE,
            text=True,
        ) as tracer:
            assert tracer.stderr is not None
            if "attached" not in tracer.stderr.readline():
                pytest.skip("strace is not allowed to look at other processes here")
            producer.send(topic, b"second").get(10)
            tracer.terminate()
    seen = [call for line in calls.read_text().splitlines() for call in ("pwritev", "fsync", "sendto") if call in line]
    order = seen[seen.index("pwritev") :]
    assert order[:3] == ["pwritev", "fsync", "sendto"] if fsync else order[:2] == ["pwritev", "sendto"]
