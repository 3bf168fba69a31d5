"""Dead letters read back from their topic, and sent again.

A letter is a message's original key, value and headers, and behind those the six headers that say what was wrong. What
was sent again is marked in the store, and the new message by the header `ummp-redriven`, so that it is known on both
sides.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from ummp_assets.errors import InvalidInput
from ummp_assets.messages.outbox import Record
from ummp_assets.messages.ranges import Batch, OffsetRange
from ummp_assets.messages.reading import Message, RangeReader, read_watermarks
from ummp_assets.messages.sending import send_records
from ummp_assets.messages.topics import Role, topic_names
from ummp_assets.records import Coordinates
from ummp_assets.settings import Settings
from ummp_assets.storage.objects import ObjectStore

__all__ = ["REDRIVEN_HEADER", "DeadLetter", "read_dead_letters", "redrive"]

REDRIVEN_HEADER = "ummp-redriven"
"""Header of a message that was sent again; its value names the letter: `<topic>~<partition>~<offset>`."""

_ADDED = ("ummp-topic", "ummp-partition", "ummp-offset", "ummp-sample-id", "ummp-reason", "ummp-error")
_MARKS = "redriven"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A letter, and what was wrong with it.

    Parameters
    ----------
    letter:
        Its coordinates in the topic of dead letters, `<topic>~<partition>~<offset>`.
    topic, sample_id, reason, error:
        Where the message came from, the sample that could not be used, and why.
    original:
        Key, value and headers of the message, as they were sent.
    redriven:
        Whether it was sent again.
    """

    letter: str
    timestamp_ms: int
    topic: str
    sample_id: str
    reason: str
    error: str
    original: Record
    redriven: bool

    @property
    def message_id(self) -> str:
        """Coordinates of the message; several samples of one archive share it."""
        return Coordinates.parse(self.sample_id).sample_id


def read_dead_letters(store: ObjectStore, settings: Settings, *, newest: int | None = None) -> Iterator[DeadLetter]:
    """Yield the dead letters that Kafka still has, in order of partition and offset.

    Parameters
    ----------
    newest:
        Only so many of the newest of each partition; not given, all.

    Raises
    ------
    BrokerUnavailable
        No broker answered.
    """
    topic = topic_names(settings).dead
    marks = {info.path.rsplit("/", 1)[1] for info in store.list(f"{_MARKS}/{topic}")}
    watermarks = read_watermarks(settings, topic).get(topic, {})
    ranges = tuple(
        OffsetRange(partition, mark.low if newest is None else max(mark.low, mark.high - newest), mark.high)
        for partition, mark in sorted(watermarks.items())
    )
    for chunk in RangeReader(settings, Batch(topic, 1, ranges)):
        for message in chunk:
            letter = _parse(message, f"{message.partition}~{message.offset}" in marks)
            if letter is not None:
                yield letter


def redrive(
    store: ObjectStore,
    settings: Settings,
    letters: Iterable[DeadLetter],
    on_sent: Callable[[DeadLetter, str], None] | None = None,
) -> int:
    """Send the original messages of letters to their topics again, each message once, and mark the letters.

    Killed between the two, it leaves a message that was sent and is not marked: sent again, it is a duplicate of
    itself, as the pipeline finds out.

    Parameters
    ----------
    on_sent:
        Called with each letter and the coordinates of its new message.

    Returns
    -------
    The number of messages sent.

    Raises
    ------
    BrokerUnavailable
        No broker answered, or it was lost: what it had acknowledged is sent and marked.
    InvalidInput
        A letter names a topic that is none of this deployment's.
    """
    by_message: dict[str, list[DeadLetter]] = {}
    readable = {topic for role in Role for topic in topic_names(settings).of_role(role)}
    for letter in letters:
        if letter.topic not in readable:
            raise InvalidInput(f"dead letter {letter.letter} came from {letter.topic}, which UMMP does not read here")
        by_message.setdefault(letter.message_id, []).append(letter)
    groups = list(by_message.values())

    def acknowledge(position: int, place: Coordinates) -> None:
        for letter in groups[position]:
            _mark(store, letter, place.sample_id)
            if on_sent is not None:
                on_sent(letter, place.sample_id)

    send_records(settings, [(group[0].topic, _again(group[0])) for group in groups], acknowledge)
    return len(groups)


def _parse(message: Message, redriven: bool) -> DeadLetter | None:
    added, before = message.headers[-len(_ADDED) :], message.headers[: -len(_ADDED)]
    if tuple(name for name, _ in added) != _ADDED:
        # Another producer's.
        return None
    topic, _, _, sample_id, reason, error = (value.decode("utf-8", "replace") for _, value in added)
    original = Record(message.key, message.value, before)
    return DeadLetter(message.sample_id, message.timestamp_ms, topic, sample_id, reason, error, original, redriven)


def _again(letter: DeadLetter) -> Record:
    headers = (*letter.original.headers, (REDRIVEN_HEADER, letter.letter.encode()))
    return Record(letter.original.key, letter.original.value, headers)


def _mark(store: ObjectStore, letter: DeadLetter, message: str) -> None:
    topic, partition, offset = letter.letter.split("~")
    document = {"message": message, "time": datetime.now(UTC).isoformat(timespec="seconds")}
    store.write(f"{_MARKS}/{topic}/{partition}~{offset}", json.dumps(document).encode())
