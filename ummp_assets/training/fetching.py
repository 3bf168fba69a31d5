"""Model parameters into a training process.

average = fetch_parameters("translator", round=3, timeout_seconds=600)
model.load(average.arrays)
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.partitioner.default import murmur2

from ummp_assets.errors import WaitTimeout
from ummp_assets.messages.clients import broker_errors, make_consumer
from ummp_assets.messages.codec import Undecodable
from ummp_assets.messages.schemas import ParametersHeader
from ummp_assets.messages.topics import ensure_topics, topic_names
from ummp_assets.settings import Settings, load_settings
from ummp_assets.training.packing import Arrays, split_message, unpack
from ummp_assets.training.publishing import ParametersRole

__all__ = ["Parameters", "fetch_parameters"]

# Messages looked through at first, backwards from the end; doubled until the parameters are found.
_FIRST_LOOK_MESSAGES = 64
_POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Parameters:
    """A model's parameters after a round; `samples` is how many they were trained on, `arrays` are read-only."""

    model: str
    round: int
    worker: str
    role: str
    samples: int
    arrays: Arrays


def fetch_parameters(
    model: str,
    round: int | None = None,  # noqa: A002 - as above
    role: ParametersRole = "global",
    *,
    timeout_seconds: float = 60.0,
    settings: Settings | None = None,
) -> Parameters:
    """Return a model's newest parameters, waiting for them where they have not come.

    Parameters
    ----------
    round:
        The round that is wanted; None for the highest that the topic holds.
    timeout_seconds:
        Limit for the whole call.

    Raises
    ------
    WaitTimeout
        They did not come in time.
    BrokerUnavailable
        No broker answered.
    """
    settings = settings or load_settings()
    deadline = time.monotonic() + timeout_seconds
    ensure_topics(settings)
    with make_consumer(settings) as consumer, broker_errors(settings):
        partition = _partition(consumer, topic_names(settings).parameters, model)
        consumer.assign([partition])
        search = _Search(model, round, role, settings.training.max_parameters_bytes)
        low = consumer.beginning_offsets([partition])[partition]
        end = consumer.end_offsets([partition])[partition]
        for start, stop in _looks_back(low, end):
            search.add(_read(consumer, partition, start, stop, deadline))
            if found := search.found():
                return found
        consumer.seek(partition, end)
        while time.monotonic() < deadline:
            search.add(_poll(consumer, partition, deadline))
            if found := search.found():
                return found
    wanted = "any round" if round is None else f"round {round}"
    raise WaitTimeout(f"no {role} parameters of model {model}, {wanted}, came within {timeout_seconds:g} s")


class _Search:
    """Messages put together until they hold the parameters that are wanted."""

    def __init__(self, model: str, wanted_round: int | None, role: str, max_bytes: int) -> None:
        self._model, self._round, self._role, self._max_bytes = model, wanted_round, role, max_bytes
        self._pieces: dict[tuple[Any, ...], dict[int, bytes]] = {}
        self._headers: dict[tuple[Any, ...], ParametersHeader] = {}
        self._newest: dict[tuple[Any, ...], int] = {}

    def add(self, records: Iterable[Any]) -> None:
        for record in records:
            try:
                header, piece = split_message(record.value)
            except Undecodable:
                continue
            if header.model != self._model or header.role != self._role or self._round not in (None, header.round):
                continue
            key = (header.round, header.worker, header.checksum, header.codec, header.chunks)
            self._headers[key] = header
            self._pieces.setdefault(key, {})[header.chunk] = piece
            self._newest[key] = max(self._newest.get(key, -1), record.offset)

    def found(self) -> Parameters | None:
        """Return the newest complete parameters of the highest round, passing over damaged ones."""
        complete = [key for key, pieces in self._pieces.items() if len(pieces) == self._headers[key].chunks]
        for key in sorted(complete, key=lambda key: (self._headers[key].round, self._newest[key]), reverse=True):
            header, pieces = self._headers[key], self._pieces[key]
            packed = b"".join(pieces[chunk] for chunk in range(header.chunks))
            try:
                arrays = unpack(packed, header.codec, header.checksum, self._max_bytes)
            except Undecodable:
                del self._pieces[key]
                continue
            return Parameters(header.model, header.round, header.worker, header.role, header.samples, arrays)
        return None


def _partition(consumer: KafkaConsumer, topic: str, model: str) -> TopicPartition:
    # As every Kafka client places a key, so that one partition is read instead of all.
    partitions = sorted(consumer.partitions_for_topic(topic))
    return TopicPartition(topic, partitions[(murmur2(model.encode()) & 0x7FFFFFFF) % len(partitions)])


def _looks_back(low: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield adjoining ranges from the end to the beginning, each twice as long as the one before.

    >>> list(_looks_back(0, 200))
    [(136, 200), (8, 136), (0, 8)]
    """
    length = _FIRST_LOOK_MESSAGES
    while end > low:
        start = max(low, end - length)
        yield start, end
        end, length = start, 2 * length


def _read(consumer: KafkaConsumer, partition: TopicPartition, start: int, stop: int, deadline: float) -> Iterator[Any]:
    consumer.seek(partition, start)
    while consumer.position(partition) < stop and time.monotonic() < deadline:
        for record in _poll(consumer, partition, deadline):
            if record.offset < stop:
                yield record


def _poll(consumer: KafkaConsumer, partition: TopicPartition, deadline: float) -> list[Any]:
    seconds = max(0.0, min(_POLL_SECONDS, deadline - time.monotonic()))
    records: list[Any] = consumer.poll(timeout_ms=round(seconds * 1000)).get(partition, [])
    return records
