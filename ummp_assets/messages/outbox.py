"""Sending records exactly once, whatever crashes, with nothing but Kafka's transactions.

The records and an offset of a marker group are written in one transaction: the marker stands if and only if the
records are visible. A second try first fences the earlier one (`init_transactions` with the same transactional id
ends whatever it left open) and then finds the marker.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kafka import KafkaProducer, TopicPartition
from kafka.errors import KafkaTimeoutError
from kafka.structs import OffsetAndMetadata

from ummp_assets.messages.clients import broker_errors, close_producer, make_consumer, make_producer
from ummp_assets.settings import Settings

__all__ = ["Record", "send_once"]

_CLOSE_SECONDS = 5.0
# kafka-python's sender pauses so long between the steps of each transaction: with its 100 ms one took 0.44 s, now 0.14.
_RETRY_BACKOFF_MS = 10


@dataclass(frozen=True, slots=True)
class Record:
    """A record to be sent."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


def send_once(
    settings: Settings,
    name: str,
    topic: str,
    records: Sequence[Record],
    *,
    number: int = 1,
    limit_seconds: float = 30.0,
) -> bool:
    """Send records in one transaction unless this number was sent before under the name; return whether they were sent.

    Parameters
    ----------
    name:
        What is sent, e.g. `ready.<dataset>`; part of the transactional id and of the marker group.
    number:
        Grows with each sending under one name, from 1; a number at or below the last one sent is not sent again.
    limit_seconds:
        Limit for the transaction.

    Raises
    ------
    BrokerUnavailable
        No broker answered; whether the records were sent is decided by the next call.
    """
    marker = f"{settings.topic_prefix}.outbox.{name}"
    producer = make_producer(settings, transactional_id=marker, retry_backoff_ms=_RETRY_BACKOFF_MS)
    try:
        with broker_errors(settings):
            producer.init_transactions()
            if _last_sent(settings, marker, topic) >= number:
                return False
            _within_limit(lambda: _send(producer, marker, topic, records, number, limit_seconds), limit_seconds)
            return True
    finally:
        close_producer(producer, min(limit_seconds, _CLOSE_SECONDS))


def _within_limit(transaction: Callable[[], None], limit_seconds: float) -> None:
    """Run a transaction; raise `KafkaTimeoutError` when it does not end.

    kafka-python 3.0 waits without a limit for the answers to send_offsets, abort and commit: a broker that is lost in
    mid-transaction would hold its caller for ever. Whether such a transaction was committed is found out by the next
    call, whose `init_transactions` ends it one way or the other.
    """
    failures: list[BaseException] = []

    def run() -> None:
        try:
            transaction()
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread below
            failures.append(error)

    thread = threading.Thread(target=run, name="ummp-outbox", daemon=True)
    thread.start()
    thread.join(limit_seconds)
    if failures:
        raise failures[0]
    if thread.is_alive():
        raise KafkaTimeoutError(f"the transaction did not end within {limit_seconds:g} s")


def _last_sent(settings: Settings, marker: str, topic: str) -> int:
    with make_consumer(settings, group_id=marker) as consumer:
        return consumer.committed(TopicPartition(topic, 0)) or 0


def _send(
    producer: KafkaProducer, marker: str, topic: str, records: Sequence[Record], number: int, limit_seconds: float
) -> None:
    producer.begin_transaction()
    try:
        sent = [
            producer.send(topic, key=record.key, value=record.value, headers=list(record.headers)) for record in records
        ]
        producer.flush(timeout=limit_seconds)
        for future in sent:
            future.get(timeout=limit_seconds)
        producer.send_offsets_to_transaction({TopicPartition(topic, 0): OffsetAndMetadata(number, "", -1)}, marker)
    except BaseException:
        producer.abort_transaction()
        raise
    producer.commit_transaction()
