"""Reading exactly a batch's range, whatever holes it has, and asking for watermarks without reading anything."""

import itertools
import threading
import time
from collections.abc import Iterable
from pathlib import Path

import pytest
from kafka import TopicPartition
from kafka.structs import OffsetAndMetadata

from ummp_assets.errors import BrokerUnavailable, OffsetsWentBack
from ummp_assets.messages.clients import make_admin, make_consumer, make_producer
from ummp_assets.messages.embedded import start_broker
from ummp_assets.messages.ranges import Batch, OffsetRange, Watermarks
from ummp_assets.messages.reading import Message, RangeReader, read_watermarks
from ummp_assets.settings import Settings
from ummp_assets_tests.messages.deployments import create_topic, make_settings, send
from ummp_assets_tests.messages.relay import FETCH, Relay


@pytest.fixture
def settings(tmp_path: Path, bootstrap_servers: str) -> Settings:
    return make_settings(tmp_path, bootstrap_servers)


def _numbers(count: int, start: int = 0) -> list[bytes | None]:
    return [b"%d" % number for number in range(start, start + count)]


def _batch(topic: str, *ranges: tuple[int, int, int]) -> Batch:
    return Batch(topic, 1, tuple(itertools.starmap(OffsetRange, ranges)))


def _read(settings: Settings, batch: Batch) -> tuple[RangeReader, list[Message]]:
    reader = RangeReader(settings, batch, stalled_seconds=5)
    return reader, list(itertools.chain.from_iterable(reader))


def _offsets(messages: Iterable[Message]) -> list[tuple[int, int]]:
    return [(message.partition, message.offset) for message in messages]


def _expire(settings: Settings, topic: str, before: int, partition: int = 0) -> None:
    """Delete what stands before an offset, as retention does."""
    with make_admin(settings) as admin:
        admin.delete_records({TopicPartition(topic, partition): before})


def _transact(settings: Settings, topic: str, count: int, *, commit: bool) -> None:
    producer = make_producer(settings, transactional_id=f"{topic}.writer")
    try:
        producer.init_transactions()
        producer.begin_transaction()
        for number in range(count):
            producer.send(topic, value=b"transaction %d" % number, partition=0)
        producer.flush()
        producer.commit_transaction() if commit else producer.abort_transaction()
    finally:
        producer.close()


def test_reads_exactly_the_range_in_order_of_partition_and_offset(settings: Settings) -> None:
    topic = create_topic(settings, "ranges", partitions=3)
    for partition in range(3):
        send(settings, topic, _numbers(20), partition)

    reader, messages = _read(settings, _batch(topic, (0, 5, 9), (1, 3, 3), (2, 0, 20)))

    assert _offsets(messages) == [(0, offset) for offset in range(5, 9)] + [(2, offset) for offset in range(20)]
    assert [message.value for message in messages] == _numbers(4, start=5) + _numbers(20)
    assert (reader.messages, reader.gaps, reader.expired) == (24, 0, [])


def test_message_keeps_key_time_and_headers(settings: Settings) -> None:
    topic = create_topic(settings, "whole")
    headers = [("traceparent", b"00-first"), ("empty", b""), ("traceparent", b"00-\xff"), ("名", b"1")]
    sent_ms = int(time.time() * 1000) - 60_000
    send(settings, topic, [None], key=b"k", timestamp_ms=sent_ms, headers=headers)

    _, [message] = _read(settings, _batch(topic, (0, 0, 1)))

    assert message == Message(topic, 0, 0, sent_ms, b"k", None, tuple(headers))
    assert message.sample_id == f"{topic}~0~0"
    assert message.header("traceparent") == "00-\N{REPLACEMENT CHARACTER}", "the last one, readable whatever it holds"
    assert message.header("absent") is None


def test_chunks_bound_what_is_held_at_once(settings: Settings) -> None:
    topic = create_topic(settings, "chunks")
    send(settings, topic, _numbers(5_000))

    sizes = [len(chunk) for chunk in RangeReader(settings, _batch(topic, (0, 100, 4_900)))]

    assert sum(sizes) == 4_800
    assert max(sizes) <= 2_000


def test_message_larger_than_a_fetch_is_read(settings: Settings) -> None:
    topic = create_topic(settings, "large", max_message_bytes=str(16 * 2**20))
    # Not compressible, so that it travels at its full size.
    large = b"".join(number.to_bytes(8) for number in range(2**64 - 700_000, 2**64))
    send(settings, topic, [b"before", large, b"after"])

    _, messages = _read(settings, _batch(topic, (0, 0, 3)))

    assert [message.value for message in messages] == [b"before", large, b"after"]


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        pytest.param(0, 12, [0, 1, 2, 3, 4, 10, 11], id="a hole inside"),
        pytest.param(0, 7, [0, 1, 2, 3, 4], id="ends inside the hole"),
        pytest.param(6, 12, [10, 11], id="begins inside the hole"),
        pytest.param(5, 10, [], id="nothing but the hole"),
        pytest.param(9, 10, [], id="nothing but the marker"),
    ],
)
def test_aborted_transactions_are_gaps(settings: Settings, start: int, end: int, expected: list[int]) -> None:
    topic = create_topic(settings, "aborted")
    send(settings, topic, _numbers(5))
    _transact(settings, topic, 4, commit=False)  # offsets 5 to 8, and 9 for the marker
    send(settings, topic, _numbers(2))

    reader, messages = _read(settings, _batch(topic, (0, start, end)))

    assert [message.offset for message in messages] == expected
    assert (reader.messages, reader.gaps, reader.expired) == (len(expected), end - start - len(expected), [])


def test_marker_at_the_end_of_the_topic_is_a_gap(settings: Settings) -> None:
    topic = create_topic(settings, "committed")
    _transact(settings, topic, 3, commit=True)
    assert read_watermarks(settings, topic) == {topic: {0: Watermarks(0, 4)}}

    reader, messages = _read(settings, _batch(topic, (0, 0, 4)))

    assert [message.value for message in messages] == [b"transaction 0", b"transaction 1", b"transaction 2"]
    assert (reader.messages, reader.gaps) == (3, 1)


def test_open_transaction_is_left_for_a_later_batch(settings: Settings) -> None:
    topic = create_topic(settings, "open")
    send(settings, topic, _numbers(2))
    producer = make_producer(settings, transactional_id=f"{topic}.writer")
    try:
        producer.init_transactions()
        producer.begin_transaction()
        producer.send(topic, value=b"not yet", partition=0).get(timeout=10)

        assert read_watermarks(settings, topic) == {topic: {0: Watermarks(0, 2)}}

        producer.commit_transaction()
        assert read_watermarks(settings, topic) == {topic: {0: Watermarks(0, 4)}}
    finally:
        producer.close()


def test_compacted_offsets_are_gaps(settings: Settings) -> None:
    topic = create_topic(
        settings, "compacted", cleanup_policy="compact", segment_ms="100", min_cleanable_dirty_ratio="0.01"
    )
    send(settings, topic, _numbers(30), key=b"same")
    time.sleep(0.3)
    send(settings, topic, [b"last"], key=b"another")  # closes the segment before it
    end = read_watermarks(settings, topic)[topic][0].high

    deadline = time.monotonic() + 10
    while True:
        reader, messages = _read(settings, _batch(topic, (0, 0, end)))
        assert reader.messages + reader.gaps == end
        if len(messages) <= 5 or time.monotonic() > deadline:
            break
        time.sleep(0.1)

    assert messages[-2:] == [
        Message(topic, 0, end - 2, messages[-2].timestamp_ms, b"same", b"29", ()),
        Message(topic, 0, end - 1, messages[-1].timestamp_ms, b"another", b"last", ()),
    ]
    assert reader.expired == []


@pytest.mark.parametrize(
    ("before", "start", "expired", "expected"),
    [
        pytest.param(4, 0, [OffsetRange(0, 0, 4)], [4, 5, 6, 7], id="some of the range"),
        pytest.param(9, 2, [OffsetRange(0, 2, 8)], [], id="all of the range"),
        pytest.param(4, 4, [], [4, 5, 6, 7], id="only what stands before the range"),
    ],
)
def test_expired_messages_are_counted(
    settings: Settings, before: int, start: int, expired: list[OffsetRange], expected: list[int]
) -> None:
    topic = create_topic(settings, "expired")
    send(settings, topic, _numbers(10))
    _expire(settings, topic, before)

    reader, messages = _read(settings, _batch(topic, (0, start, 8)))

    assert [message.offset for message in messages] == expected
    assert (reader.messages, reader.gaps, reader.expired) == (len(expected), 0, expired)


def test_retention_that_races_with_the_reader_is_counted_as_expired(settings: Settings) -> None:
    topic = create_topic(settings, "racing")
    send(settings, topic, _numbers(10))
    with Relay(settings.bootstrap_servers) as relay:
        slow = settings.model_copy(update={"kafka_bootstrap_servers": relay.address})
        reader = RangeReader(slow, _batch(topic, (0, 1, 9)), stalled_seconds=5)
        messages: list[Message] = []
        thread = threading.Thread(target=lambda: messages.extend(itertools.chain.from_iterable(reader)))
        relay.hold(FETCH)
        thread.start()
        relay.wait_until_held()
        _expire(settings, topic, 6)
        relay.release()
        thread.join(20)

    assert [message.offset for message in messages] == [6, 7, 8]
    assert (reader.messages, reader.gaps, reader.expired) == (3, 0, [OffsetRange(0, 1, 6)])


@pytest.mark.parametrize(
    "start", [pytest.param(0, id="from its first offset on"), pytest.param(3, id="from beyond its end on")]
)
def test_topic_that_ends_before_the_range_is_a_permanent_error(settings: Settings, start: int) -> None:
    topic = create_topic(settings, "anew")
    reader = RangeReader(settings, _batch(topic, (0, start, 5)), stalled_seconds=0.5)

    with pytest.raises(OffsetsWentBack, match=rf"batch {topic}~00000001 goes on beyond offset {start} of partition 0"):
        list(reader)


def test_a_broker_that_has_nothing_is_not_asked_every_other_millisecond(settings: Settings) -> None:
    topic = create_topic(settings, "leaderless")
    with make_consumer(settings, retry_backoff_ms=2) as consumer:
        reader = RangeReader(settings, _batch(topic, (0, 0, 5)), stalled_seconds=0.5)
        with pytest.raises(OffsetsWentBack):
            list(reader._read_partition(consumer, OffsetRange(0, 0, 5)))
        assert consumer.config["retry_backoff_ms"] == 100


def test_broker_that_says_nothing_is_unavailable(settings: Settings) -> None:
    topic = create_topic(settings, "silent")
    send(settings, topic, _numbers(3))
    with Relay(settings.bootstrap_servers) as relay:
        slow = settings.model_copy(update={"kafka_bootstrap_servers": relay.address, "kafka_timeout_seconds": 1.0})
        relay.hold(FETCH, answer=True)
        reader = RangeReader(slow, _batch(topic, (0, 0, 3)), stalled_seconds=0.5)

        with pytest.raises(BrokerUnavailable, match=rf"{relay.address} \({topic} 0 gave nothing beyond offset 0"):
            list(reader)


def test_broken_connections_lose_and_double_nothing(settings: Settings) -> None:
    topic = create_topic(settings, "broken", partitions=2)
    for partition in range(2):
        send(settings, topic, _numbers(4_500), partition)
    with Relay(settings.bootstrap_servers) as relay:
        unsteady = settings.model_copy(update={"kafka_bootstrap_servers": relay.address})
        reader = RangeReader(unsteady, _batch(topic, (0, 0, 4_500), (1, 0, 4_500)))
        messages: list[Message] = []
        for chunk in reader:
            messages += chunk
            relay.cut()

    assert _offsets(messages) == [(partition, offset) for partition in range(2) for offset in range(4_500)]
    assert (reader.messages, reader.gaps, reader.expired) == (9_000, 0, [])


def test_broker_killed_and_restarted_in_mid_read_loses_and_doubles_nothing(tmp_path: Path) -> None:
    with start_broker(tmp_path / "data") as broker:
        settings = make_settings(tmp_path, broker.bootstrap_servers)
        topic = create_topic(settings, "killed")
        send(settings, topic, _numbers(4_500))
        reader = RangeReader(settings, _batch(topic, (0, 0, 4_500)))
        chunks = iter(reader)
        messages = next(chunks)
        broker.kill()
        port = int(broker.bootstrap_servers.rpartition(":")[2])
        with start_broker(tmp_path / "data", port=port):
            messages += itertools.chain.from_iterable(chunks)

    assert [message.value for message in messages] == _numbers(4_500)
    assert (reader.messages, reader.gaps, reader.expired) == (4_500, 0, [])


def test_watermarks_are_by_topic_and_partition(settings: Settings) -> None:
    first, second = create_topic(settings, "first", partitions=2), create_topic(settings, "second")
    send(settings, first, _numbers(7), partition=1)
    send(settings, second, _numbers(3))
    _expire(settings, second, 2)

    assert read_watermarks(settings, first, second) == {
        first: {0: Watermarks(0, 0), 1: Watermarks(0, 7)},
        second: {0: Watermarks(2, 3)},
    }


def test_watermarks_leave_out_a_missing_topic_and_do_not_create_it(settings: Settings) -> None:
    present = create_topic(settings, "present")

    assert read_watermarks(settings, present, f"{present}.missing") == {present: {0: Watermarks(0, 0)}}
    assert read_watermarks(settings, f"{present}.missing") == {}

    with make_admin(settings) as admin:
        assert f"{present}.missing" not in admin.list_topics()


def test_watermarks_are_not_the_offsets_of_any_group(settings: Settings) -> None:
    topic = create_topic(settings, "groups")
    send(settings, topic, _numbers(5))
    with make_admin(settings) as admin:
        admin.alter_group_offsets(f"{topic}.group", {TopicPartition(topic, 0): OffsetAndMetadata(5, "", -1)})

    assert read_watermarks(settings, topic) == {topic: {0: Watermarks(0, 5)}}
