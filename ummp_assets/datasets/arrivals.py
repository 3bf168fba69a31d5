"""Waiting for the next version of a dataset: for its ready event where there is a broker, else by asking the store."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from kafka import TopicPartition
from kafka.errors import KafkaError

from ummp_assets.errors import BrokerRefused, BrokerUnavailable, InvalidSettings
from ummp_assets.messages.clients import make_consumer
from ummp_assets.messages.reading import read_watermarks
from ummp_assets.messages.topics import topic_names
from ummp_assets.settings import Settings

__all__ = ["Arrivals", "ReadyEvents", "StorePoll", "watch_arrivals"]

_LOG = logging.getLogger(__name__)

_POLL_SECONDS = 0.5
# An event is sent after its version stands, and later still when its sender died: the store is asked all the same.
_EVENT_SECONDS = 10.0


class Arrivals(Protocol):
    """Says when it is worth looking for a version."""

    def wait(self, limit_seconds: float) -> bool:
        """Wait until a version came, or may have come; return whether one is known to have."""


class StorePoll:
    """Knows nothing: twice a second it is worth looking."""

    def wait(self, limit_seconds: float) -> bool:
        time.sleep(min(_POLL_SECONDS, limit_seconds))
        return False


class ReadyEvents:
    """Reads the ready events of one dataset that come after this object is made.

    Raises
    ------
    BrokerUnavailable, BrokerRefused
        No broker answered, or it refused.
    InvalidSettings
        No broker is known, or it has no topic of ready events.
    """

    def __init__(self, settings: Settings, dataset: str) -> None:
        self._key = dataset.encode()
        topic = topic_names(settings).datasets
        found = read_watermarks(settings, topic)
        if topic not in found:
            # Asking for its messages would make it.
            raise InvalidSettings(f"{settings.bootstrap_servers} has no topic {topic}")
        self._consumer = make_consumer(settings)
        ends = {TopicPartition(topic, number): marks.high for number, marks in found[topic].items()}
        self._consumer.assign(list(ends))
        for partition, offset in ends.items():
            self._consumer.seek(partition, offset)

    def wait(self, limit_seconds: float) -> bool:
        """Wait for an event; return whether one came within the limit, or within 10 seconds."""
        deadline = time.monotonic() + min(limit_seconds, _EVENT_SECONDS)
        while (left := deadline - time.monotonic()) > 0:
            try:
                polled = self._consumer.poll(timeout_ms=int(left * 1000) + 1)
            except KafkaError as error:
                _LOG.warning("ready events cannot be read (%s): the store is asked instead", error)
                return StorePoll().wait(left)
            if any(record.key == self._key for records in polled.values() for record in records):
                return True
        return False

    def close(self) -> None:
        self._consumer.close()


@contextmanager
def watch_arrivals(settings: Settings | None, dataset: str) -> Iterator[Arrivals]:
    """Give the ready events of a dataset, or its store where no broker is known or none answers."""
    try:
        events = ReadyEvents(settings, dataset) if settings is not None else None
    except (BrokerUnavailable, BrokerRefused, InvalidSettings) as error:
        _LOG.info("no ready events (%s): the store is asked twice a second", error)
        events = None
    if events is None:
        yield StorePoll()
        return
    try:
        yield events
    finally:
        events.close()
