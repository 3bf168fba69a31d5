"""Offset ranges and batches, and the rule that cuts them. Pure: no broker, no clock.

A batch is a half-open offset range for each topic-partition of one topic. The rule sees watermarks only, so a tick
costs O(topic-partitions) whatever waits in them.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ummp_assets.errors import InvalidInput, OffsetsWentBack, TopicReplaced
from ummp_assets.settings import IntakeSettings

__all__ = ["Batch", "OffsetRange", "Plan", "Watermarks", "batch_key", "next_offsets", "parse_key", "plan_batches"]

_KEY = re.compile(r"(?P<topic>[A-Za-z0-9._-]+)~(?P<number>\d{8})")


@dataclass(frozen=True, slots=True, order=True)
class OffsetRange:
    """Offsets `start` <= offset < `end` of one partition."""

    partition: int
    start: int
    end: int

    def __len__(self) -> int:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Batch:
    """A planned piece of one topic; numbers start at 1.

    `ranges` holds every partition that the topic had, empty ranges included: the next batch starts where this one ends.
    `topic_id` tells this topic from a later one of the same name; None where the broker is too old to give it.
    """

    topic: str
    number: int
    ranges: tuple[OffsetRange, ...]
    topic_id: str | None = None

    @property
    def key(self) -> str:
        """The Dagster partition key."""
        return batch_key(self.topic, self.number)

    @property
    def messages(self) -> int:
        """Offsets in all ranges; gaps of compaction and transaction markers count."""
        return sum(len(item) for item in self.ranges)

    @property
    def ends(self) -> dict[int, int]:
        """Next offset of each partition."""
        return {item.partition: item.end for item in self.ranges}

    def require_same_topic(self, topic_id: str | None) -> None:
        """Raise `TopicReplaced` when the topic has another id now."""
        if self.topic_id and topic_id and self.topic_id != topic_id:
            raise TopicReplaced(self.topic, self.topic_id, topic_id)


@dataclass(frozen=True, slots=True)
class Watermarks:
    """First offset that the broker still has, and next offset to be written, of one partition."""

    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What a tick decided for one topic.

    Parameters
    ----------
    batches:
        Batches to cut, in order.
    waiting:
        Messages left for a later tick.
    """

    batches: tuple[Batch, ...]
    waiting: int


def batch_key(topic: str, number: int) -> str:
    """Return the key of a batch, which is its Dagster partition.

    >>> batch_key("ummp.labels", 3)
    'ummp.labels~00000003'
    """
    return f"{topic}~{number:08d}"


def parse_key(key: str) -> tuple[str, int]:
    """Return topic and number of a batch key; raises `InvalidInput`."""
    match = _KEY.fullmatch(key)
    if not match:
        raise InvalidInput(f"{key!r} is no batch key: expected <topic>~<number of 8 digits>")
    return match["topic"], int(match["number"])


def plan_batches(
    topic: str,
    last: Batch | None,
    watermarks: Mapping[int, Watermarks],
    *,
    waited_seconds: float,
    room: int,
    intake: IntakeSettings,
    topic_id: str | None = None,
) -> Plan:
    """Cut the batches that are due.

    Full batches are cut while there is room; what is left over becomes a smaller batch once it has waited long enough.

    Parameters
    ----------
    last:
        The newest batch in the offset log; partitions that it does not hold start at their low watermark.
    waited_seconds:
        Time since an earlier tick first saw the oldest message that no batch holds, 0 if none has.
    room:
        Batches that may be cut before `max_queued_batches` is reached.
    topic_id:
        Id of the topic whose watermarks these are.

    Raises
    ------
    TopicReplaced
        The last batch was planned from a topic of another id.
    OffsetsWentBack
        A partition ends before the last batch does: messages were lost, or the topic was made anew on a broker without
        topic ids.
    """
    cut: list[Batch] = []
    starts = next_offsets(topic, last, watermarks, topic_id)
    number = last.number if last else 0
    waiting = sum(mark.high - starts[partition] for partition, mark in watermarks.items())
    while len(cut) < room and waiting:
        full = waiting >= intake.max_batch_messages
        if not full and waited_seconds < intake.max_batch_wait_seconds:
            break
        number += 1
        available = {partition: mark.high - starts[partition] for partition, mark in watermarks.items()}
        shares = _share(available, intake.max_batch_messages, number)
        ranges = tuple(
            OffsetRange(partition, starts[partition], starts[partition] + shares[partition])
            for partition in sorted(watermarks)
        )
        cut.append(Batch(topic, number, ranges, topic_id))
        starts = {item.partition: item.end for item in ranges}
        waiting -= sum(shares.values())
    return Plan(tuple(cut), waiting)


def next_offsets(
    topic: str, last: Batch | None, watermarks: Mapping[int, Watermarks], topic_id: str | None = None
) -> dict[int, int]:
    """Return where the batch after the last one starts in each partition; raises as `plan_batches` does."""
    if last:
        last.require_same_topic(topic_id)
    ends = last.ends if last else {}
    gone_back = {partition: mark.high for partition, mark in watermarks.items() if mark.high < ends.get(partition, 0)}
    if gone_back or ends.keys() - watermarks.keys():
        raise OffsetsWentBack(
            f"topic {topic} ends before its last batch does (batch {ends}, broker {gone_back}): the broker lost "
            "messages, or the topic was deleted and made anew. Use another UMMP_TOPIC_PREFIX, whose topics begin anew."
        )
    return {partition: ends.get(partition, mark.low) for partition, mark in watermarks.items()}


def _share(available: Mapping[int, int], limit: int, number: int) -> dict[int, int]:
    """Divide a limit over partitions so that none starves: the shortest are emptied, the rest get equal parts.

    A limit below the number of partitions goes round among them from batch to batch.
    """
    shares = dict.fromkeys(available, 0)
    filled = [partition for partition in _turn(sorted(available), limit * number) if available[partition]][:limit]
    left = min(limit, sum(available[partition] for partition in filled))
    by_length = sorted(filled, key=lambda partition: (available[partition], partition))
    for position, partition in enumerate(by_length):
        shares[partition] = min(available[partition], -(-left // (len(by_length) - position)))
        left -= shares[partition]
    return shares


def _turn(partitions: list[int], steps: int) -> list[int]:
    first = steps % len(partitions)
    return partitions[first:] + partitions[:first]
