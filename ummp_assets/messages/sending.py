"""A few messages out, each acknowledged: takedowns and redriven dead letters."""

from collections.abc import Callable, Iterable
from typing import Any

from kafka.errors import KafkaError

from ummp_assets.errors import BrokerUnavailable, InvalidInput
from ummp_assets.messages.clients import broker_errors, close_producer, make_producer
from ummp_assets.messages.outbox import Record
from ummp_assets.messages.schemas import TakedownMessage
from ummp_assets.messages.topics import ensure_topics, topic_names
from ummp_assets.records import Coordinates
from ummp_assets.settings import Settings

__all__ = ["send_records", "send_takedown"]

_DELIVERY_SECONDS = 30.0
_REQUEST_SECONDS = 10.0
_CLOSE_SECONDS = 5.0
_WINDOW = 200


def send_takedown(settings: Settings, order: TakedownMessage) -> Coordinates:
    """Send an order to take something down, and return the coordinates of its message.

    Raises
    ------
    BrokerUnavailable
        No broker answered; nothing was ordered.
    """
    ensure_topics(settings)
    value = order.model_dump_json(by_alias=True, exclude_none=True).encode()
    sent: list[Coordinates] = []
    send_records(
        settings, [(topic_names(settings).takedowns, Record(None, value))], lambda _, place: sent.append(place)
    )
    return sent[0]


def send_records(
    settings: Settings,
    records: Iterable[tuple[str, Record]],
    on_acknowledged: Callable[[int, Coordinates], None],
) -> None:
    """Send records, each to its topic, and wait until the broker has acknowledged all.

    Parameters
    ----------
    on_acknowledged:
        Called for each record, in their order, with its position, counted from 0, and its new coordinates.

    Raises
    ------
    BrokerUnavailable
        No broker answered, or it was lost: those that were acknowledged are sent, of the others nothing is known.
    InvalidInput
        The broker rejected a record.
    """
    producer = make_producer(
        settings,
        delivery_timeout_ms=int(_DELIVERY_SECONDS * 1000),
        request_timeout_ms=int(_REQUEST_SECONDS * 1000),
        max_block_ms=int(settings.kafka_timeout_seconds * 1000),
    )
    under_way: list[tuple[int, Any]] = []

    def settle() -> None:
        errors: list[KafkaError] = []
        for position, future in under_way:
            try:
                place = future.get(timeout=_DELIVERY_SECONDS)
            except KafkaError as error:
                # Those behind it may have been acknowledged: unreported they would be sent twice.
                errors.append(error)
                continue
            on_acknowledged(position, Coordinates(place.topic, place.partition, place.offset))
        under_way.clear()
        if errors:
            raise errors[0]

    try:
        with broker_errors(settings):
            for position, (topic, record) in enumerate(records):
                headers = list(record.headers)
                try:
                    future = producer.send(topic, key=record.key, value=record.value, headers=headers)
                except KafkaError:
                    # It is too large, or its topic is unknown: those before it are on their way all the same.
                    settle()
                    raise
                under_way.append((position, future))
                if len(under_way) >= _WINDOW:
                    settle()
            settle()
    except KafkaError as error:
        if error.retriable:
            raise BrokerUnavailable(settings.bootstrap_servers, error) from error
        raise InvalidInput(f"the broker rejected a record: {error}") from error
    finally:
        close_producer(producer, _CLOSE_SECONDS)
