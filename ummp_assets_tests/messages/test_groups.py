"""Consumer groups and their offsets, on the embedded broker and on Apache Kafka."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

from kafka import KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka.errors import GroupSubscribedToTopicError, UnknownMemberIdError
from kafka.protocol.consumer import (
    HeartbeatRequest,
    HeartbeatResponse,
    JoinGroupRequest,
    JoinGroupResponse,
    SyncGroupRequest,
    SyncGroupResponse,
)

from ummp_assets_tests.messages.clients import Clients, eventually, read, unique
from ummp_assets_tests.messages.raw_connection import RawConnection

_QUICK = {"session_timeout_ms": 6_000, "heartbeat_interval_ms": 300}


@contextmanager
def _polling(*consumers: KafkaConsumer) -> Iterator[None]:
    """Let each consumer poll in a thread of its own meanwhile, as members of a group must."""
    stop = threading.Event()

    def poll(consumer: KafkaConsumer) -> None:
        while not stop.is_set():
            consumer.poll(timeout_ms=500)

    threads = [threading.Thread(target=poll, args=[consumer]) for consumer in consumers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _shares(*consumers: KafkaConsumer) -> list[list[int]]:
    return [sorted(partition.partition for partition in consumer.assignment()) for consumer in consumers]


def _wait_for_split(consumers: list[KafkaConsumer], partitions: int, seconds: float = 20.0) -> list[list[int]]:
    """Wait until the consumers share the partitions, each with one at least."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        shares = _shares(*consumers)
        if all(shares) and sorted(chain.from_iterable(shares)) == list(range(partitions)):
            return shares
        time.sleep(0.05)
    raise AssertionError(f"not shared: {_shares(*consumers)}")


def test_a_group_goes_on_where_it_committed(clients: Clients) -> None:
    topic, group = clients.topic(partitions=3), unique("group")
    for partition in range(3):
        clients.send(topic, *[b"%d" % number for number in range(10)], partition=partition)
    consumer = clients.consumer(topic, group_id=group, max_poll_records=7)
    first = read(consumer, 14)
    consumer.commit()
    consumer.close(autocommit=False)
    second = read(clients.consumer(topic, group_id=group), 30 - len(first))
    seen = [(record.partition, record.offset) for record in first + second]
    assert sorted(seen) == [(partition, offset) for partition in range(3) for offset in range(10)]


def test_two_members_share_the_partitions_and_the_second_inherits(clients: Clients) -> None:
    topic, group = clients.topic(partitions=4), unique("group")
    one, two = (clients.consumer(topic, group_id=group, **_QUICK) for _ in range(2))
    with _polling(two):
        with _polling(one):
            assert [len(share) for share in _wait_for_split([one, two], 4)] == [2, 2]
            described = clients.admin.describe_groups([group])[group]
            assert described["group_state"] == "Stable"
            assert len(described["members"]) == 2
        one.close()
        _wait_for_split([two], 4)


def test_a_member_that_falls_silent_is_dropped_after_its_session(clients: Clients) -> None:
    group = unique("group")
    with RawConnection(clients.bootstrap_servers) as connection:
        joined = connection.ask(
            JoinGroupRequest(
                group_id=group,
                session_timeout_ms=6_000,
                rebalance_timeout_ms=6_000,
                member_id="",
                protocol_type="consumer",
                protocols=[("range", b"")],
            ),
            JoinGroupResponse,
            version=3,
        )
        assert joined.error_code == 0
        request = SyncGroupRequest(
            group_id=group, generation_id=joined.generation_id, member_id=joined.member_id, assignments=[]
        )
        assert connection.ask(request, SyncGroupResponse, version=2).error_code == 0
        began = time.monotonic()
        assert eventually(lambda: _state(clients, group) == "Empty")
        assert 5.5 < time.monotonic() - began < 8
        beat = HeartbeatRequest(group_id=group, generation_id=joined.generation_id, member_id=joined.member_id)
        assert connection.ask(beat, HeartbeatResponse, version=2).error_code == UnknownMemberIdError.errno


def _state(clients: Clients, group: str) -> str:
    state: str = clients.admin.describe_groups([group])[group]["group_state"]
    return state


def test_a_static_member_keeps_its_partitions_over_a_restart(clients: Clients) -> None:
    topic, group = clients.topic(partitions=4), unique("group")
    other = clients.consumer(topic, group_id=group, group_instance_id="other", **_QUICK)
    first = clients.consumer(topic, group_id=group, group_instance_id="one", **_QUICK)
    with _polling(other):
        with _polling(first):
            shares = _wait_for_split([first, other], 4)
        generation = other.group_metadata().generation_id
        first.close(autocommit=False)  # a static member does not leave the group
        again = clients.consumer(topic, group_id=group, group_instance_id="one", **_QUICK)
        with _polling(again):
            assert _wait_for_split([again, other], 4) == shares
            time.sleep(0.7)
            assert _shares(again, other) == shares
        assert other.group_metadata().generation_id == generation


def test_committed_offsets_are_listed_with_their_metadata(clients: Clients) -> None:
    topic, group = clients.topic(partitions=2), unique("group")
    partition = TopicPartition(topic, 1)
    consumer = clients.consumer(group_id=group)
    consumer.assign([partition])
    consumer.commit({partition: OffsetAndMetadata(7, "note", -1)})
    consumer.close(autocommit=False)
    offsets = clients.admin.list_group_offsets(group)[group]
    assert {where: (offset.offset, offset.metadata) for where, offset in offsets.items()} == {partition: (7, "note")}
    assert group in str(clients.admin.list_groups())


def test_offsets_can_be_altered_and_deleted_while_nobody_reads(clients: Clients) -> None:
    topic, group = clients.topic(partitions=2), unique("group")
    partitions = [TopicPartition(topic, number) for number in range(2)]
    wanted = {partition: OffsetAndMetadata(3, "", -1) for partition in partitions}
    clients.admin.alter_group_offsets(group, wanted)
    clients.admin.delete_group_offsets(group, partitions[:1])
    offsets = clients.admin.list_group_offsets(group)[group]
    assert {where.partition: offset.offset for where, offset in offsets.items()} == {1: 3}


def test_a_group_can_be_deleted_only_when_nobody_reads(clients: Clients) -> None:
    topic, group = clients.topic(), unique("group")
    clients.send(topic, b"x")
    consumer = clients.consumer(topic, group_id=group, **_QUICK)
    read(consumer, 1)
    consumer.commit()
    assert clients.admin.delete_groups([group]) == {group: "NonEmptyGroupError"}
    consumer.close(autocommit=False)
    assert clients.admin.delete_groups([group]) == {group: "OK"}
    assert group not in str(clients.admin.list_groups())
    assert clients.admin.delete_groups([group]) == {group: "GroupIdNotFoundError"}


def test_offsets_of_a_group_that_is_read_are_protected(clients: Clients) -> None:
    topic, group = clients.topic(), unique("group")
    partition = TopicPartition(topic, 0)
    clients.send(topic, b"x")
    member = clients.consumer(topic, group_id=group, **_QUICK)
    read(member, 1)
    member.commit()
    altered = clients.admin.alter_group_offsets(group, {partition: OffsetAndMetadata(0, "", -1)})
    assert altered == {partition: UnknownMemberIdError}
    assert clients.admin.delete_group_offsets(group, [partition]) == {partition: GroupSubscribedToTopicError}
    assert member.committed(partition) == 1


def test_an_unknown_group_is_described_as_dead(clients: Clients) -> None:
    group = unique("unknown")
    described = clients.admin.describe_groups([group])[group]
    assert described["group_state"] == "Dead"
    assert "GroupIdNotFoundError" in described["error"]
