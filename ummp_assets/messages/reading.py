"""Reading Kafka: watermarks for sensors, and exactly the messages of a batch's range for assets."""

import contextlib
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kafka import IsolationLevel, KafkaAdminClient, KafkaConsumer, OffsetSpec, TopicPartition
from kafka.errors import KafkaTimeoutError, OffsetOutOfRangeError, UnknownTopicOrPartitionError

from ummp_assets.errors import BrokerUnavailable, OffsetsWentBack, UmmpError
from ummp_assets.messages.clients import broker_errors, make_admin, make_consumer, set_retry_backoff
from ummp_assets.messages.ranges import Batch, OffsetRange, Watermarks
from ummp_assets.settings import Settings

__all__ = ["Message", "RangeReader", "TopicEnds", "read_topic_ends", "read_watermarks"]

_POLL_MS = 1_000
_CHUNK_MESSAGES = 2_000
# A new consumer sleeps for so long, twice, before it asks anything: a fifth of the time that 4,000 messages took at 10.
_RETRY_BACKOFF_MS, _IDLE_RETRY_BACKOFF_MS = 2, 100
_NO_ID = uuid.UUID(int=0)


@dataclass(frozen=True, slots=True)
class Message:
    """One Kafka record with its coordinates."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]

    @property
    def sample_id(self) -> str:
        return f"{self.topic}~{self.partition}~{self.offset}"

    def header(self, name: str) -> str | None:
        """Return the last header of that name as text, or None."""
        return next((value.decode("utf-8", "replace") for key, value in reversed(self.headers) if key == name), None)


@dataclass(frozen=True, slots=True)
class TopicEnds:
    """What a broker says of a topic.

    Parameters
    ----------
    topic_id:
        What tells it from an earlier or later topic of the same name (KIP-516), None from brokers before 2.8.
    watermarks:
        By partition.
    """

    topic_id: str | None
    watermarks: Mapping[int, Watermarks]


def read_topic_ends(settings: Settings, *topics: str) -> dict[str, TopicEnds]:
    """Ask the broker for the id and the ends of each topic, never for a payload.

    The high watermark is the last stable offset: messages of an open transaction are left for a later batch.

    Returns
    -------
    By topic; one that does not exist is left out, as asking for its offsets would make it.

    Raises
    ------
    BrokerUnavailable
        No broker answered.
    """
    with make_admin(settings) as admin, broker_errors(settings):
        present = [topic for topic in admin.describe_topics(list(topics)) if not topic["error_code"]]
        partitions = [
            TopicPartition(topic["name"], item["partition_index"]) for topic in present for item in topic["partitions"]
        ]
        lows = admin.list_partition_offsets(dict.fromkeys(partitions, OffsetSpec.EARLIEST))
        highs = admin.list_partition_offsets(
            dict.fromkeys(partitions, OffsetSpec.LATEST), isolation_level=IsolationLevel.READ_COMMITTED
        )
    found: dict[str, dict[int, Watermarks]] = {topic["name"]: {} for topic in present}
    for partition in partitions:
        low = lows[partition].offset
        found[partition.topic][partition.partition] = Watermarks(low, max(low, highs[partition].offset))
    return {topic["name"]: TopicEnds(_id_of(topic), found[topic["name"]]) for topic in present}


def read_watermarks(settings: Settings, *topics: str) -> dict[str, Mapping[int, Watermarks]]:
    """Return the ends of each topic by partition; see `read_topic_ends`."""
    return {topic: ends.watermarks for topic, ends in read_topic_ends(settings, *topics).items()}


def _id_of(topic: dict[str, Any]) -> str | None:
    found = uuid.UUID(str(topic.get("topic_id") or _NO_ID))
    return None if found == _NO_ID else str(found)


class RangeReader:
    """Reads exactly the messages of a batch, in order of partition and offset.

    Offsets that hold no message (compacted away, aborted, transaction markers) are counted in `gaps`; those that
    Kafka's retention deleted before they were read in `expired`. After a whole iteration
    `messages + gaps + expired == batch.messages`.

    Parameters
    ----------
    stalled_seconds:
        A broker that gives nothing for so long, though the range goes on, is unavailable.
    """

    def __init__(self, settings: Settings, batch: Batch, *, stalled_seconds: float = 30.0) -> None:
        self._settings, self._batch, self._stalled_seconds = settings, batch, stalled_seconds
        self._timeout_ms = int(settings.kafka_timeout_seconds * 1000)
        self.messages = 0
        self.gaps = 0
        self.expired: list[OffsetRange] = []

    def __iter__(self) -> Iterator[list[Message]]:
        """Yield the messages in chunks of at most 2,000.

        Raises
        ------
        BrokerUnavailable
            No broker answered.
        OffsetsWentBack
            The topic ends before the range does.
        TopicReplaced
            The topic is another one than the batch was planned from. This may come after the last chunk: only a whole
            iteration says that all messages are the batch's.
        """
        with make_admin(self._settings) as admin:
            self._require_same_topic(admin)
            with make_consumer(
                self._settings, max_poll_records=_CHUNK_MESSAGES, retry_backoff_ms=_RETRY_BACKOFF_MS
            ) as consumer:
                for wanted in self._batch.ranges:
                    if len(wanted):
                        with broker_errors(self._settings):
                            yield from self._read_partition(consumer, wanted)
            # An id never comes back: what it has now, the topic had all the while.
            self._require_same_topic(admin)

    def _require_same_topic(self, admin: KafkaAdminClient) -> None:
        if not self._batch.topic_id:
            return
        with broker_errors(self._settings):
            [topic] = admin.describe_topics([self._batch.topic])
        if topic["error_code"] == UnknownTopicOrPartitionError.errno:
            # Seen here, since a consumer's first question would make the topic anew.
            raise OffsetsWentBack(
                f"topic {self._batch.topic} no longer exists, but batch {self._batch.key} was planned from it. Use "
                "another UMMP_TOPIC_PREFIX, whose topics begin anew."
            )
        self._batch.require_same_topic(_id_of(topic))

    def _read_partition(self, consumer: KafkaConsumer, wanted: OffsetRange) -> Iterator[list[Message]]:
        partition = TopicPartition(self._batch.topic, wanted.partition)
        consumer.assign([partition])
        # Where the topic begins is asked only if the range should begin before it.
        start = wanted.start
        consumer.seek(partition, start)
        seen = 0
        progress = time.monotonic()
        position = start
        while position < wanted.end:
            try:
                records = consumer.poll(timeout_ms=_POLL_MS).get(partition, [])
            except OffsetOutOfRangeError:
                # Retention has deleted messages, or the topic is another one now.
                left = self._skip_expired(consumer, partition, wanted, position)
                if left == position:
                    raise self._went_back(partition, position) from None
                start, position = start + left - position, left
                consumer.seek(partition, position)
                continue
            chunk = [_message(record) for record in records if record.offset < wanted.end]
            seen += len(chunk)
            if chunk:
                yield chunk
            reached = consumer.position(partition)
            if reached > position:
                position, progress = reached, time.monotonic()
                continue
            # Perhaps the partition has no leader for a while.
            set_retry_backoff(consumer, _IDLE_RETRY_BACKOFF_MS)
            if time.monotonic() - progress > self._stalled_seconds:
                raise self._stalled(consumer, partition, position, wanted)
        self.messages += seen
        self.gaps += wanted.end - start - seen

    def _stalled(
        self, consumer: KafkaConsumer, partition: TopicPartition, position: int, wanted: OffsetRange
    ) -> UmmpError:
        with contextlib.suppress(KafkaTimeoutError):
            if consumer.end_offsets([partition], self._timeout_ms)[partition] < wanted.end:
                return self._went_back(partition, position)
        return BrokerUnavailable(
            self._settings.bootstrap_servers,
            f"{partition.topic} {partition.partition} gave nothing beyond offset {position} for "
            f"{self._stalled_seconds:.0f} s",
        )

    def _went_back(self, partition: TopicPartition, position: int) -> OffsetsWentBack:
        return OffsetsWentBack(
            f"batch {self._batch.key} goes on beyond offset {position} of partition {partition.partition}, but the "
            "topic does not: the broker lost messages, or the topic was deleted and made anew. Use another "
            "UMMP_TOPIC_PREFIX, whose topics begin anew."
        )

    def _skip_expired(
        self, consumer: KafkaConsumer, partition: TopicPartition, wanted: OffsetRange, position: int
    ) -> int:
        low: int = min(consumer.beginning_offsets([partition], self._timeout_ms)[partition], wanted.end)
        if low > position:
            self.expired.append(OffsetRange(wanted.partition, position, low))
        return max(position, low)


def _message(record: Any) -> Message:
    return Message(
        record.topic,
        record.partition,
        record.offset,
        record.timestamp,
        record.key,
        record.value,
        tuple((name, value or b"") for name, value in record.headers),
    )
