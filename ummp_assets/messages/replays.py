"""Replays: batches over messages that were planned before, under keys of their own.

A run key is remembered for ever, and the batches of a topic follow one another without a gap; so a replay stands in an
offset log of its own, `batches/<topic>.replay/<number>.json`. Its messages keep their coordinates, and with them their
samples their ids: what comes out of it takes the place of what the same samples gave before.
"""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from ummp_assets.errors import InvalidInput
from ummp_assets.messages.offset_log import OffsetLog
from ummp_assets.messages.ranges import Batch, OffsetRange, batch_key
from ummp_assets.messages.reading import Message, RangeReader
from ummp_assets.messages.topics import REPLAY_SUFFIX, Role, topic_names
from ummp_assets.records import Coordinates
from ummp_assets.settings import Settings
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import Manifest, find_manifest, read_table

__all__ = ["BatchFinder", "ReplayReader", "is_replay", "plan_replay", "replay_topic", "source_topic"]

_STAGE = "requests"
_TABLES = ("samples", "dead_letters")
_ROWS_AT_ONCE = 64
_CHUNK_MESSAGES, _CHUNK_BYTES = 2_000, 8 * 2**20


def replay_topic(topic: str) -> str:
    """Return the name under which the replays of a topic stand in the offset log."""
    return topic + REPLAY_SUFFIX


def source_topic(topic: str) -> str:
    """Return the topic that a batch's messages come from."""
    return topic.removesuffix(REPLAY_SUFFIX)


def is_replay(topic: str) -> bool:
    """Return whether a batch's topic is the name of replays."""
    return topic.endswith(REPLAY_SUFFIX)


def plan_replay(
    store: ObjectStore, settings: Settings, topic: str, ranges: Iterable[OffsetRange], now: datetime
) -> list[Batch]:
    """Put the next replays of a topic into the offset log, each of at most `max_batch_messages`; the sensor starts
    their runs.

    Raises
    ------
    InvalidInput
        The topic is none of requests, or a range is empty, begins before what was planned or goes beyond it.
    """
    known = topic_names(settings).of_role(Role.REQUESTS)
    if topic not in known:
        raise InvalidInput(f"{topic} cannot be replayed: choose one of {', '.join(known)}")
    log = OffsetLog(store)
    newest = log.last(topic)
    wanted = tuple(sorted(ranges))
    for item in wanted:
        end = newest.ends.get(item.partition, 0) if newest else 0
        if not 0 <= item.start < item.end <= end:
            raise InvalidInput(
                f"offsets {item.start} to {item.end - 1} of partition {item.partition} cannot be replayed: batches of "
                f"{topic} hold its offsets up to {end - 1}" + ("" if end else ", that is none")
            )
        # Batches follow one another without a gap: where the first offset is planned, all to the end are.
        if log.find(topic, item.partition, item.start) is None:
            raise InvalidInput(
                f"offset {item.start} of partition {item.partition} cannot be replayed: the batches of {topic} begin "
                "behind it"
            )
    last = log.last(replay_topic(topic))
    number = last.number if last else 0
    planned = []
    for cut in _cut(wanted, settings.intake.max_batch_messages):
        number += 1
        while (put := log.put(Batch(replay_topic(topic), number, cut), now)).ranges != cut:
            # Another command was first.
            number += 1
        planned.append(put)
    return planned


def _cut(ranges: Iterable[OffsetRange], limit: int) -> Iterator[tuple[OffsetRange, ...]]:
    """Yield the ranges in order, in groups of at most so many messages; all groups but the last are full."""
    group: list[OffsetRange] = []
    room = limit
    for item in ranges:
        start = item.start
        while start < item.end:
            group.append(OffsetRange(item.partition, start, min(item.end, start + room)))
            room -= len(group[-1])
            start = group[-1].end
            if not room:
                yield tuple(group)
                group, room = [], limit
    if group:
        yield tuple(group)


class ReplayReader:
    """Reads the messages of a replay: those that the stage `requests` stored, and from Kafka those that it did not.

    Like `RangeReader`, it counts gaps and expired offsets; what a stored batch did not hold is a gap.
    """

    def __init__(self, store: ObjectStore, settings: Settings, batch: Batch) -> None:
        self._store, self._settings, self._batch = store, settings, batch
        self._topic = source_topic(batch.topic)
        self.gaps = 0
        self.expired: list[OffsetRange] = []

    def __iter__(self) -> Iterator[list[Message]]:
        """Yield the messages in chunks, batch by batch as they were first planned, in order of partition and offset;
        raises as `RangeReader` does."""
        parts: dict[Batch, list[OffsetRange]] = {}
        for wanted in self._batch.ranges:
            for batch, part in self._parts(wanted):
                parts.setdefault(batch, []).append(part)
        for batch in sorted(parts, key=lambda batch: batch.number):
            manifest = find_manifest(self._store, _STAGE, batch.key)
            if manifest is None:
                yield from self._from_kafka(batch.topic_id, parts[batch])
            else:
                yield from self._stored(manifest, parts[batch])

    def _parts(self, wanted: OffsetRange) -> Iterator[tuple[Batch, OffsetRange]]:
        """Yield the batches that first held a range, each with its part of it."""
        log = OffsetLog(self._store)
        position = wanted.start
        while position < wanted.end:
            batch = log.find(self._topic, wanted.partition, position)
            if batch is None:
                raise InvalidInput(f"no batch of {self._topic} holds offset {position} of partition {wanted.partition}")
            end = min(batch.ends[wanted.partition], wanted.end)
            yield batch, OffsetRange(wanted.partition, position, end)
            position = end

    def _from_kafka(self, topic_id: str | None, parts: Sequence[OffsetRange]) -> Iterator[list[Message]]:
        reader = RangeReader(self._settings, Batch(self._topic, self._batch.number, tuple(parts), topic_id))
        yield from reader
        self.gaps += reader.gaps
        self.expired += reader.expired

    def _stored(self, manifest: Manifest, parts: Sequence[OffsetRange]) -> Iterator[list[Message]]:
        """Yield those messages of a batch that are in the parts, in chunks that bound the memory."""
        # Each table has its rows in order.
        tables = (self._rows(manifest, table, parts) for table in _TABLES)
        found = byte_count = 0
        chunk: list[Message] = []
        for message in heapq.merge(*tables, key=lambda message: (message.partition, message.offset)):
            chunk.append(message)
            byte_count += len(message.value or b"")
            if len(chunk) == _CHUNK_MESSAGES or byte_count >= _CHUNK_BYTES:
                yield chunk
                found += len(chunk)
                chunk, byte_count = [], 0
        yield chunk
        self.gaps += sum(map(len, parts)) - found - len(chunk)

    def _rows(self, manifest: Manifest, table: str, parts: Sequence[OffsetRange]) -> Iterator[Message]:
        wanted: dict[int, list[range]] = {}
        for part in parts:
            wanted.setdefault(part.partition, []).append(range(part.start, part.end))
        for rows in read_table(self._store, manifest, table, batch_rows=_ROWS_AT_ONCE):
            for row in rows.to_pylist():
                place = Coordinates.parse(row["sample_id"])
                if any(place.offset in offsets for offsets in wanted.get(place.partition, ())):
                    yield _message(place, row)


class BatchFinder:
    """Which batches went over a sample: the one that first held its message, and its replays."""

    def __init__(self, store: ObjectStore) -> None:
        self._log = OffsetLog(store)
        self._replays: dict[str, list[Batch]] = {}

    def of(self, sample_id: str, known: str) -> list[str]:
        """Return their keys.

        Parameters
        ----------
        known:
            The batch that the index names, which is the newest of them.
        """
        place = Coordinates.parse(sample_id)
        if not self._replays_of(place.topic):
            return [known]
        first = self._log.find(place.topic, place.partition, place.offset)
        again = [
            batch.key
            for batch in self._replays_of(place.topic)
            if any(item.partition == place.partition and item.start <= place.offset < item.end for item in batch.ranges)
        ]
        return sorted({known, *([first.key] if first else []), *again})

    def _replays_of(self, topic: str) -> list[Batch]:
        if topic not in self._replays:
            name = replay_topic(topic)
            last = self._log.last(name)
            numbers = range(1, last.number + 1) if last else ()
            self._replays[topic] = [self._log.get(batch_key(name, number)) for number in numbers]
        return self._replays[topic]


def _message(place: Coordinates, row: dict[str, Any]) -> Message:
    headers = tuple((item["name"], item["value"]) for item in row["headers"] or ())
    return Message(
        place.topic,
        place.partition,
        place.offset,
        # Unreadable messages are stored without their time.
        row.get("timestamp_ms") or 0,
        row["key"],
        row["value"],
        headers,
    )
