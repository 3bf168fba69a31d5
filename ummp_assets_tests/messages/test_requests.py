"""Requests that no client library would send, on the embedded broker and on Apache Kafka."""

import struct
import time
from typing import Any

import pytest
from kafka.protocol.admin import DescribeGroupsRequest, DescribeGroupsResponse
from kafka.protocol.consumer import FetchRequest, FetchResponse, JoinGroupRequest, JoinGroupResponse
from kafka.protocol.metadata import ApiVersionsRequest, ApiVersionsResponse, MetadataRequest, MetadataResponse
from kafka.protocol.producer import (
    InitProducerIdRequest,
    InitProducerIdResponse,
    ProduceRequest,
    ProduceResponse,
)

from ummp_assets_tests.messages.batches import build_batch
from ummp_assets_tests.messages.clients import Clients, unique
from ummp_assets_tests.messages.raw_connection import RawConnection, frame

_API_VERSIONS, _PRODUCE, _METADATA, _FETCH = 18, 0, 3, 1
_EMPTY_TOPICS = struct.pack(">i", 2**31 - 1) + struct.pack(">hci", 1, b"x", 0) * 1_000_000


@pytest.mark.parametrize(
    "request_bytes",
    [
        pytest.param(frame(999, 0), id="unknown api"),
        pytest.param(frame(_PRODUCE, 99), id="newer version"),
        pytest.param(frame(_PRODUCE, 2), id="older version"),
        pytest.param(frame(_FETCH, 3), id="removed version"),
        pytest.param(frame(_METADATA, 1, b"\0\0\0\5"), id="body cut short"),
        pytest.param(frame(_API_VERSIONS, 3, b"\xff" * 10, flexible=True), id="endless number"),
        pytest.param(frame(_METADATA, 12, b"\xff" * 250_000, flexible=True), id="endless number in 250 kB"),
        pytest.param(frame(_PRODUCE, 7, b"\xff\xff\0\1\0\0\0\1" + _EMPTY_TOPICS), id="millions of empty topics"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", id="another protocol"),
        pytest.param(struct.pack(">i", -5), id="negative length"),
        pytest.param(struct.pack(">i", 0), id="no length"),
        pytest.param(struct.pack(">i", 2**31 - 1) + b"x" * 100, id="giant length"),
        pytest.param(struct.pack(">i", 200_000_000) + b"x" * 100, id="length above the bound"),
    ],
)
def test_bytes_that_are_no_request_close_that_connection_only(clients: Clients, request_bytes: bytes) -> None:
    with RawConnection(clients.bootstrap_servers) as bystander, RawConnection(clients.bootstrap_servers) as hostile:
        began = time.monotonic()
        hostile.send(request_bytes)
        assert hostile.receive() is None
        assert time.monotonic() - began < 2
        assert bystander.ask(MetadataRequest(topics=[]), MetadataResponse, version=1).brokers


def test_half_a_request_keeps_nobody_waiting(clients: Clients) -> None:
    whole = frame(_METADATA, 1, b"\0\0\0\0")
    with RawConnection(clients.bootstrap_servers) as slow, RawConnection(clients.bootstrap_servers) as bystander:
        slow.send(whole[:-3])
        assert bystander.ask(MetadataRequest(topics=[]), MetadataResponse, version=1).brokers
        slow.send(whole[-3:])
        assert slow.receive() is not None


def test_a_request_cut_off_by_the_client_is_forgotten(clients: Clients) -> None:
    with RawConnection(clients.bootstrap_servers) as hostile:
        hostile.send(struct.pack(">i", 50_000_000) + struct.pack(">hh", _PRODUCE, 7) + b"x" * 100_000)
    with RawConnection(clients.bootstrap_servers) as bystander:
        assert bystander.ask(MetadataRequest(topics=[]), MetadataResponse, version=1).brokers


def test_too_new_api_versions_are_answered_in_version_0(clients: Clients) -> None:
    with RawConnection(clients.bootstrap_servers) as connection:
        connection.send(frame(_API_VERSIONS, 99, b"\2a\0021\0", flexible=True))
        content = connection.receive()
        assert content is not None
        correlation_id, error_code, count, api_key, low, high = struct.unpack(">ihihhh", content)
        assert (correlation_id, error_code, count) == (7, 35, 1)
        assert (api_key, low, high) == (_API_VERSIONS, 0, 4)
        assert connection.ask(MetadataRequest(topics=[]), MetadataResponse, version=1).brokers


@pytest.mark.parametrize(("name", "error_code"), [(b"client", 0), (b"", 42), (b"-client", 42), (b"cli ent", 42)])
def test_client_software_names_are_checked(clients: Clients, name: bytes, error_code: int) -> None:
    body = bytes([len(name) + 1]) + name + b"\0041.0\0"
    with RawConnection(clients.bootstrap_servers) as connection:
        connection.send(frame(_API_VERSIONS, 3, body, flexible=True))
        assert struct.unpack_from(">ih", connection.receive() or b"") == (7, error_code)


def test_every_advertised_version_is_understood(clients: Clients) -> None:
    with RawConnection(clients.bootstrap_servers) as connection:
        versions = connection.ask(ApiVersionsRequest(), ApiVersionsResponse, version=0).api_keys
        highest = {api.api_key: api.max_version for api in versions}
        for version in range(highest[_METADATA] + 1):
            answer = connection.ask(MetadataRequest(topics=None), MetadataResponse, version=version)
            assert answer.brokers[0].port == int(clients.bootstrap_servers.split(":")[1])


def test_requests_of_one_connection_are_answered_in_order(clients: Clients) -> None:
    with RawConnection(clients.bootstrap_servers) as connection:
        connection.send(b"".join(frame(_METADATA, 1, b"\0\0\0\0", correlation_id=number) for number in range(50)))
        answers = [connection.receive() for _ in range(50)]
        assert [struct.unpack_from(">i", answer or b"")[0] for answer in answers] == list(range(50))


def _produce(clients: Clients, topic: str, records: bytes, partition: int = 0, acks: int = 1) -> Any:
    data = [(topic, [(partition, records)])]
    request = ProduceRequest(transactional_id=None, acks=acks, timeout_ms=1_000, topic_data=data)
    with RawConnection(clients.bootstrap_servers) as connection:
        return connection.ask(request, ProduceResponse, version=8).responses[0].partition_responses[0]


def _corrupt(batch: bytes) -> bytes:
    return batch[:-1] + bytes([batch[-1] ^ 1])


@pytest.mark.parametrize(
    ("records", "error_code"),
    [
        pytest.param(_corrupt(build_batch(b"x")), 2, id="wrong checksum"),
        pytest.param(build_batch(b"x")[:-3], 87, id="cut short"),
        pytest.param(build_batch(b"x") + build_batch(b"y"), 87, id="two batches"),
        pytest.param(b"", 87, id="no batch"),
        pytest.param(build_batch(b"x", magic=1), 87, id="old format"),
    ],
)
def test_unsound_batches_are_refused(clients: Clients, records: bytes, error_code: int) -> None:
    topic = clients.topic()
    assert _produce(clients, topic, records).error_code == error_code
    assert _produce(clients, topic, build_batch(b"sound")).base_offset == 0


def test_producing_to_a_missing_partition_or_with_odd_acks_is_refused(clients: Clients) -> None:
    topic = clients.topic()
    assert _produce(clients, topic, build_batch(b"x"), partition=7).error_code == 3
    assert _produce(clients, topic, build_batch(b"x"), acks=2).error_code == 21


def test_an_unacknowledged_producer_learns_of_a_refusal_by_losing_its_connection(clients: Clients) -> None:
    topic = clients.topic()
    with RawConnection(clients.bootstrap_servers) as connection:
        for partition in (0, 7):
            data = [(topic, [(partition, build_batch(b"x"))])]
            request = ProduceRequest(transactional_id=None, acks=0, timeout_ms=1_000, topic_data=data)
            request.API_VERSION = 8
            request.with_header(correlation_id=1, client_id="test")
            connection.send(request.encode(header=True, framed=True))
        assert connection.receive() is None
    assert len(clients.read_all(topic, 1)) == 1


def _identity(clients: Clients) -> int:
    with RawConnection(clients.bootstrap_servers) as connection:
        request = InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=1_000)
        producer_id: int = connection.ask(request, InitProducerIdResponse, version=1).producer_id
        return producer_id


def test_retries_are_recognised_and_gaps_refused_by_sequence_number(clients: Clients) -> None:
    topic, producer_id = clients.topic(), _identity(clients)

    def send(sequence: int, *values: bytes, epoch: int = 0) -> tuple[int, int]:
        batch = build_batch(*values, producer_id=producer_id, producer_epoch=epoch, base_sequence=sequence)
        answer = _produce(clients, topic, batch, acks=-1)
        return answer.error_code, answer.base_offset

    assert send(0, b"a", b"b") == (0, 0)
    assert send(2, b"c") == (0, 2)
    assert send(0, b"a", b"b") == (0, 0), "a retry is told where its batch stands"
    assert send(5, b"gap") == (45, -1)
    for number in range(3, 9):
        assert send(number, b"next") == (0, number)
    assert send(0, b"a", b"b")[0] == 45, "only the last five batches are remembered"
    assert send(3, b"wrong", epoch=1) == (45, -1), "a new epoch begins with 0"
    assert send(0, b"new", epoch=1) == (0, 9)
    assert send(9, b"zombie", epoch=0)[0] == 47
    assert [record.value for record in clients.read_all(topic, 10)] == [b"a", b"b", b"c"] + [b"next"] * 6 + [b"new"]


def test_a_fetch_below_min_bytes_is_answered_after_its_wait(clients: Clients) -> None:
    topic = clients.topic()
    clients.send(topic, b"x")
    request = FetchRequest(
        max_wait_ms=400, min_bytes=10_000, max_bytes=100_000, topics=[(topic, [(0, -1, 0, -1, 100_000)])]
    )
    with RawConnection(clients.bootstrap_servers) as connection:
        began = time.monotonic()
        partition = connection.ask(request, FetchResponse, version=11).responses[0].partitions[0]
    assert 0.35 < time.monotonic() - began < 2
    assert (partition.error_code, partition.high_watermark) == (0, 1)
    assert partition.records


def test_a_group_without_a_name_or_with_a_hasty_session_is_refused(clients: Clients) -> None:
    def join(group: str, session_ms: int) -> int:
        request = JoinGroupRequest(
            group_id=group,
            session_timeout_ms=session_ms,
            rebalance_timeout_ms=1_000,
            member_id="",
            protocol_type="consumer",
            protocols=[("range", b"")],
        )
        with RawConnection(clients.bootstrap_servers) as connection:
            error_code: int = connection.ask(request, JoinGroupResponse, version=3).error_code
            return error_code

    assert join("", 10_000) == 24
    assert join(unique("group"), 1_000) == 26


def test_an_unknown_group_is_described_in_every_version(clients: Clients) -> None:
    group = unique("group")
    with RawConnection(clients.bootstrap_servers) as connection:
        for version in range(7):
            request = DescribeGroupsRequest(groups=[group])
            described = connection.ask(request, DescribeGroupsResponse, version=version).groups[0]
            assert (described.group_state, described.error_code) == ("Dead", 69 if version >= 6 else 0)
