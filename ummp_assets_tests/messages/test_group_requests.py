"""What members of a group are answered, request by request, on the embedded broker and on Apache Kafka."""

from collections.abc import Iterator
from typing import Any

import pytest
from kafka.protocol.consumer import (
    HeartbeatRequest,
    HeartbeatResponse,
    JoinGroupRequest,
    JoinGroupResponse,
    LeaveGroupRequest,
    LeaveGroupResponse,
    OffsetCommitRequest,
    OffsetCommitResponse,
    SyncGroupRequest,
    SyncGroupResponse,
)

from ummp_assets_tests.messages.clients import Clients, eventually, unique
from ummp_assets_tests.messages.raw_connection import RawConnection

_ILLEGAL_GENERATION, _INCONSISTENT_PROTOCOL, _UNKNOWN_MEMBER, _REBALANCE = 22, 23, 25, 27
_MEMBER_ID_REQUIRED, _FENCED_INSTANCE = 79, 82


class _Member:
    """A member that does only what it is told."""

    def __init__(self, connection: RawConnection, group: str, instance_id: str | None = None) -> None:
        self._connection = connection
        self._group = group
        self._instance_id = instance_id
        self.id = ""
        self.generation = -1

    def join(self, protocol: str = "range", protocol_type: str = "test") -> Any:
        joined = self._connection.ask(
            JoinGroupRequest(
                group_id=self._group,
                session_timeout_ms=10_000,
                rebalance_timeout_ms=10_000,
                member_id=self.id,
                group_instance_id=self._instance_id,
                protocol_type=protocol_type,
                protocols=[(protocol, b"metadata")],
            ),
            JoinGroupResponse,
            version=5,
        )
        if joined.error_code in (0, _MEMBER_ID_REQUIRED):
            self.id, self.generation = joined.member_id, joined.generation_id
        return joined

    def sync(self, **assignments: bytes) -> Any:
        request = SyncGroupRequest(
            group_id=self._group,
            generation_id=self.generation,
            member_id=self.id,
            group_instance_id=self._instance_id,
            assignments=list(assignments.items()),
        )
        return self._connection.ask(request, SyncGroupResponse, version=3)

    def heartbeat(self, generation: int | None = None) -> int:
        request = HeartbeatRequest(
            group_id=self._group,
            generation_id=self.generation if generation is None else generation,
            member_id=self.id,
            group_instance_id=self._instance_id,
        )
        error_code: int = self._connection.ask(request, HeartbeatResponse, version=3).error_code
        return error_code

    def commit(self, topic: str, generation: int) -> int:
        request = OffsetCommitRequest(
            group_id=self._group,
            generation_id_or_member_epoch=generation,
            member_id=self.id,
            group_instance_id=self._instance_id,
            topics=[(topic, [(0, 1, -1, "")])],
        )
        answer = self._connection.ask(request, OffsetCommitResponse, version=7)
        error_code: int = answer.topics[0].partitions[0].error_code
        return error_code

    def leave(self) -> int:
        request = LeaveGroupRequest(group_id=self._group, members=[(self.id, self._instance_id)])
        answer = self._connection.ask(request, LeaveGroupResponse, version=3)
        error_code: int = answer.error_code or answer.members[0].error_code
        return error_code


@pytest.fixture
def connection(clients: Clients) -> Iterator[RawConnection]:
    with RawConnection(clients.bootstrap_servers) as connection:
        yield connection


def _settled(member: _Member) -> _Member:
    """The only member of its group, in a stable generation."""
    if member.join().error_code == _MEMBER_ID_REQUIRED:
        assert member.join().error_code == 0
    assert member.sync(**{member.id: b"everything"}).assignment == b"everything"
    return member


def test_a_new_member_must_come_back_with_the_id_it_is_given(connection: RawConnection) -> None:
    member = _Member(connection, unique("group"))
    assert member.join().error_code == _MEMBER_ID_REQUIRED
    joined = member.join()
    assert (joined.error_code, joined.generation_id, joined.protocol_name) == (0, 1, "range")
    assert joined.leader == joined.member_id == member.id
    assert [(listed.member_id, listed.metadata) for listed in joined.members] == [(member.id, b"metadata")]
    assert member.sync(**{member.id: b"mine"}).assignment == b"mine"
    assert member.heartbeat() == 0


def test_requests_of_another_generation_or_a_stranger_are_refused(clients: Clients, connection: RawConnection) -> None:
    group, topic = unique("group"), clients.topic()
    member = _settled(_Member(connection, group))
    assert member.heartbeat(generation=member.generation + 1) == _ILLEGAL_GENERATION
    assert member.commit(topic, member.generation - 1) == _ILLEGAL_GENERATION
    assert member.commit(topic, member.generation) == 0
    stranger = _Member(connection, group)
    stranger.id = "nobody"
    assert stranger.heartbeat(generation=member.generation) == _UNKNOWN_MEMBER
    assert stranger.commit(topic, member.generation) == _UNKNOWN_MEMBER
    assert stranger.join().error_code == _UNKNOWN_MEMBER
    assert stranger.leave() == _UNKNOWN_MEMBER


def test_members_must_share_a_protocol(connection: RawConnection) -> None:
    group = unique("group")
    _settled(_Member(connection, group))
    other = _Member(connection, group)
    assert other.join(protocol="sticky").error_code == _INCONSISTENT_PROTOCOL
    assert other.join(protocol_type="connect").error_code == _INCONSISTENT_PROTOCOL


def test_a_leader_that_joins_again_starts_a_generation(connection: RawConnection) -> None:
    member = _settled(_Member(connection, unique("group")))
    before = member.generation
    assert member.join().generation_id == before + 1
    assert member.heartbeat(generation=before) == _ILLEGAL_GENERATION


def test_a_second_static_member_of_the_same_name_takes_the_place_of_the_first(connection: RawConnection) -> None:
    group = unique("group")
    old = _settled(_Member(connection, group, instance_id="one"))
    new = _Member(connection, group, instance_id="one")
    joined = new.join()
    assert (joined.error_code, joined.generation_id) == (0, old.generation)
    assert new.id != old.id
    assert new.sync().assignment == b"everything"
    assert old.heartbeat() == _FENCED_INSTANCE
    assert old.join().error_code == _FENCED_INSTANCE
    assert new.heartbeat() == 0


def test_a_group_left_by_its_last_member_counts_its_generations_on(connection: RawConnection) -> None:
    group = unique("group")
    member = _settled(_Member(connection, group))
    assert member.leave() == 0
    assert member.heartbeat() == _UNKNOWN_MEMBER
    assert _settled(_Member(connection, group)).generation > member.generation


def test_a_rebalance_is_told_by_heartbeat_and_refuses_the_old_assignment(clients: Clients) -> None:
    group = unique("group")
    with RawConnection(clients.bootstrap_servers) as first, RawConnection(clients.bootstrap_servers) as second:
        member = _settled(_Member(first, group))
        newcomer = _Member(second, group)
        assert newcomer.join().error_code == _MEMBER_ID_REQUIRED
        assert member.heartbeat() == 0
        request = JoinGroupRequest(
            group_id=group,
            session_timeout_ms=10_000,
            rebalance_timeout_ms=10_000,
            member_id=newcomer.id,
            protocol_type="test",
            protocols=[("range", b"metadata")],
        )
        request.API_VERSION = 5
        request.with_header(correlation_id=9, client_id="test")
        second.send(request.encode(header=True, framed=True))
        assert eventually(lambda: member.heartbeat() == _REBALANCE)
        assert member.sync(**{member.id: b"old"}).error_code == _REBALANCE
        joined = member.join()
        assert len(joined.members) == 2
        answer = JoinGroupResponse.decode(second.receive() or b"", version=5, header=True)
        assert (answer.generation_id, answer.leader, answer.members) == (joined.generation_id, member.id, [])
        newcomer.generation = answer.generation_id
        assert member.sync(**{member.id: b"half", newcomer.id: b"other half"}).assignment == b"half"
        assert newcomer.sync().assignment == b"other half"
