"""Sending to Kafka from a thread, so that a training step never waits for a broker."""

import atexit
import logging
import os
import threading
from collections import deque
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError, KafkaTimeoutError

from ummp_assets.errors import BrokerUnavailable, InvalidSettings
from ummp_assets.messages.clients import make_producer
from ummp_assets.messages.topics import ensure_topics
from ummp_assets.settings import Settings

__all__ = ["BackgroundSender"]

_LOG = logging.getLogger(__name__)
_RETRY_SECONDS = 1.0
# A broker may be away for long while a training runs on; the queue, not the time, bounds what is kept.
_PRODUCER_OPTIONS = {"delivery_timeout_ms": 3_600_000, "max_block_ms": 1_000, "linger_ms": 50}


class BackgroundSender:
    """Sends to one topic through an idempotent producer in a thread of its own.

    What is sent under one key stays in order. At the process's normal end everything is flushed, within
    `training.flush_seconds`. A child made by fork gets a thread of its own at its first `send`.

    Attributes
    ----------
    acknowledged:
        Messages that the broker has stored.
    dropped:
        Messages that found the queue full.
    """

    acknowledged: int
    dropped: int
    _closing: bool
    _thread: threading.Thread

    def __init__(self, settings: Settings, topic: str) -> None:
        self._servers = settings.bootstrap_servers
        self._settings, self._topic = settings, topic
        self._start()

    def send(self, key: bytes, value: bytes) -> bool:
        """Queue a message and return at once; False when the queue is full and the message is dropped."""
        if self._owner != os.getpid():
            self._start()
        with self._changed:
            if self._unfinished >= self._settings.training.max_queued_logs or self._closing:
                self.dropped += 1
                if self.dropped == 1:
                    _LOG.warning("log messages are dropped: %s wait for %s", self._unfinished, self._servers)
                return False
            self._waiting.append((key, value))
            self._unfinished += 1
            self._changed.notify_all()
            return True

    def flush(self, timeout_seconds: float) -> bool:
        """Wait until the broker has answered for every message; return whether it did in time."""
        with self._changed:
            return self._changed.wait_for(lambda: self._unfinished == 0, timeout_seconds)

    def close(self) -> None:
        """Flush within `training.flush_seconds`, then let go of the broker; what is left is lost, and logged."""
        if self._owner != os.getpid() or self._closing:
            return
        self.flush(self._settings.training.flush_seconds)
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(timeout=2 * _RETRY_SECONDS)
        atexit.unregister(self.close)
        if self._unfinished:
            _LOG.error("%s log messages were not taken by the broker at %s", self._unfinished, self._servers)

    def _start(self) -> None:
        self._owner = os.getpid()
        self._changed = threading.Condition()
        self._waiting: deque[tuple[bytes, bytes]] = deque()
        self._unfinished = 0
        self._closing = False
        self.acknowledged = 0
        self.dropped = 0
        self._thread = threading.Thread(target=self._run, name="ummp-sender", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def _run(self) -> None:
        try:
            producer = self._connect()
        except InvalidSettings:
            _LOG.exception("log messages cannot be sent")
            return
        if producer is None:
            return
        try:
            while (message := self._next()) is not None:
                self._hand_over(producer, *message)
        finally:
            producer.close(timeout=0)

    def _connect(self) -> KafkaProducer | None:
        while True:
            try:
                ensure_topics(self._settings)
                producer = make_producer(self._settings, **_PRODUCER_OPTIONS)
            except BrokerUnavailable as error:
                _LOG.warning("%s", error)
                if self._pause():
                    return None
            else:
                # Handlers run last in, first out: the producer's own, registered just now, would close it before ours
                # has flushed. Measured: 1,800-2,600 of 9,000 messages arrived.
                atexit.unregister(self.close)
                atexit.register(self.close)
                return producer

    def _next(self) -> tuple[bytes, bytes] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing)
            return None if self._closing else self._waiting.popleft()

    def _hand_over(self, producer: KafkaProducer, key: bytes, value: bytes) -> None:
        while True:
            try:
                future = producer.send(self._topic, key=key, value=value)
            except KafkaTimeoutError:
                if self._pause():
                    return
            except KafkaError as error:
                self._fail(error)
                return
            else:
                future.add_callback(self._acknowledge)
                future.add_errback(self._fail)
                return

    def _pause(self) -> bool:
        """Wait before another try; return whether the sender was closed meanwhile."""
        with self._changed:
            return self._changed.wait_for(lambda: self._closing, _RETRY_SECONDS)

    def _acknowledge(self, _metadata: Any) -> None:
        with self._changed:
            self.acknowledged += 1
            self._unfinished -= 1
            self._changed.notify_all()

    def _fail(self, error: Exception) -> None:
        with self._changed:
            if self._closing:
                return
            self._unfinished -= 1
            self._changed.notify_all()
        _LOG.error("the broker at %s refused a log message: %s", self._servers, error)
