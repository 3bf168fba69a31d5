"""Requests out: what `ummp submit` and `ummp_assets.submit` do.

An idempotent producer sends without waiting for each answer; what is reported is only what the broker acknowledged.
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from kafka import KafkaProducer
from kafka.errors import MessageSizeTooLargeError, RetriableError
from pydantic import ValidationError

from ummp_assets.errors import BrokerRefused, BrokerUnavailable, InvalidInput
from ummp_assets.messages.clients import broker_errors, close_producer, make_producer
from ummp_assets.messages.schemas import RequestMessage
from ummp_assets.messages.topics import PRIORITIES, ensure_topics, topic_names
from ummp_assets.settings import Settings, load_settings

__all__ = ["OffsetSpan", "Priority", "Refusal", "Submission", "submit"]

Priority = Literal["high", "normal", "low"]

# Requests on their way at once: bounds the memory, and is far more than a round trip's worth.
_WINDOW = 20_000
_REQUEST_SECONDS = 10.0
_CLOSE_SECONDS = 5.0
_MAX_REFUSALS = 100
_REPORT_EVERY = 100


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that was not sent or not accepted; `position` counts from 1 in the order given."""

    position: int
    uri: str | None
    cause: str


@dataclass(slots=True)
class OffsetSpan:
    """First and last acknowledged offset of one partition; other producers' messages may lie between them."""

    first: int
    last: int


@dataclass(frozen=True)
class Submission:
    """What became of the requests.

    Parameters
    ----------
    acknowledged:
        Requests that the broker has stored.
    refused:
        Requests that are no valid message or that the broker rejected.
    refusals:
        The first hundred of them.
    offsets:
        By partition of the topic.
    """

    topic: str
    acknowledged: int
    refused: int
    refusals: tuple[Refusal, ...]
    offsets: Mapping[int, OffsetSpan]


def submit(
    requests: Iterable[str | Mapping[str, Any]],
    *,
    dataset: str | None = None,
    priority: Priority = "normal",
    defaults: Mapping[str, Any] | None = None,
    settings: Settings | None = None,
    on_acknowledged: Callable[[int], None] | None = None,
    delivery_seconds: float = 30.0,
) -> Submission:
    """Send requests to be collected, and wait until the broker has acknowledged each.

    Parameters
    ----------
    requests:
        URIs, or mappings with the fields of `ummp.request/1`: uri, and if need be dataset, modality, id, sha256, label,
        attributes, deadline.
    dataset:
        For requests that name none.
    defaults:
        Other fields for requests that do not have them.
    on_acknowledged:
        Called now and then, from another thread, with the number acknowledged so far; a last time at the end, however
        it ends.
    delivery_seconds:
        How long a request may be on its way, retries included, before the broker counts as lost.

    Raises
    ------
    BrokerUnavailable
        No broker answered, or it was lost; the message says how many requests it had acknowledged by then.
    InvalidInput
        The priority is unknown, or what yields the requests raised it.

    Example
    -------
    >>> submit(["https://example.org/a.jpg"], dataset="photographs")  # doctest: +SKIP
    Submission(topic='ummp.requests.normal', acknowledged=1, refused=0, ...)
    """
    if priority not in PRIORITIES:
        raise InvalidInput(f"priority {priority!r} is none of {', '.join(PRIORITIES)}")
    settings = settings or load_settings()
    ensure_topics(settings)
    topic = getattr(topic_names(settings), f"requests_{priority}")
    fields = {"dataset": dataset, **(defaults or {})}
    ledger = _Ledger(on_acknowledged)
    producer = make_producer(
        settings,
        linger_ms=20,
        delivery_timeout_ms=int(delivery_seconds * 1000),
        request_timeout_ms=int(min(_REQUEST_SECONDS, delivery_seconds / 2) * 1000),
        max_block_ms=int(settings.kafka_timeout_seconds * 1000),
    )
    failure: BrokerUnavailable | BrokerRefused | InvalidInput | None = None
    try:
        with broker_errors(settings):
            _send_all(producer, topic, requests, fields, ledger)
            ledger.wait(at_most=0)
    except (BrokerUnavailable, BrokerRefused, InvalidInput) as error:
        failure = error
    finally:
        ledger.settle(delivery_seconds if isinstance(failure, InvalidInput) else _CLOSE_SECONDS)
        close_producer(producer, _CLOSE_SECONDS)
        if on_acknowledged:
            on_acknowledged(ledger.acknowledged)
    # Now that nothing is on its way any more, the number is exact.
    if ledger.lost:
        raise BrokerUnavailable(settings.bootstrap_servers, ledger.describe(ledger.lost)) from failure
    if isinstance(failure, InvalidInput):
        raise InvalidInput(ledger.describe(failure)) from failure
    if failure is not None:
        said = ledger.describe(failure.__cause__ or failure)
        raise type(failure)(settings.bootstrap_servers, said) from failure
    return ledger.submission(topic)


def _send_all(
    producer: KafkaProducer,
    topic: str,
    requests: Iterable[str | Mapping[str, Any]],
    fields: Mapping[str, Any],
    ledger: "_Ledger",
) -> None:
    for position, request in enumerate(requests, 1):
        given = {"uri": request} if isinstance(request, str) else request
        try:
            message = RequestMessage.model_validate({**_present(fields), **_present(given)})
        except ValidationError as error:
            ledger.refuse(Refusal(position, str(given.get("uri") or "") or None, _explain(error)))
            continue
        ledger.wait(at_most=_WINDOW)
        if ledger.lost:
            return
        value = message.model_dump_json(by_alias=True, exclude_none=True).encode()
        try:
            future = producer.send(topic, value=value, key=message.dataset.encode())
        except MessageSizeTooLargeError as error:
            ledger.refuse(Refusal(position, message.uri, str(error)))
            continue
        ledger.sent += 1
        future.add_callback(ledger.acknowledge)
        future.add_errback(ledger.fail, position, message.uri)


def _present(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _explain(error: ValidationError) -> str:
    problems = error.errors(include_url=False, include_context=False)
    return "; ".join(f"{'.'.join(map(str, item['loc'])) or 'request'}: {item['msg']}" for item in problems)


class _Ledger:
    """What the broker said, counted in the producer's thread."""

    def __init__(self, on_acknowledged: Callable[[int], None] | None) -> None:
        self.sent = 0
        self.acknowledged = 0
        self.refused = 0
        self.refusals: list[Refusal] = []
        self.offsets: dict[int, OffsetSpan] = {}
        self.lost: Exception | None = None
        self._on_acknowledged = on_acknowledged
        self._failed = 0
        self._at_most = 0
        self._settled = threading.Condition()

    def wait(self, at_most: int) -> None:
        """Wait until no more than so many requests are on their way, or the broker is lost.

        The producer answers for each within its delivery time-out.
        """
        with self._settled:
            self._at_most = at_most
            self._settled.wait_for(lambda: self.lost or self._on_their_way <= at_most)

    def settle(self, timeout_seconds: float) -> None:
        """Wait until no request is on its way, even if the broker is lost, or the time is over."""
        with self._settled:
            self._at_most = 0
            self._settled.wait_for(lambda: not self._on_their_way, timeout_seconds)

    @property
    def _on_their_way(self) -> int:
        return self.sent - self.acknowledged - self._failed

    def acknowledge(self, record: Any) -> None:
        with self._settled:
            self.acknowledged += 1
            # Waking the waiting thread at each answer makes 10,000 requests take 2.0 s instead of 0.5 s.
            if self._on_their_way <= self._at_most:
                self._settled.notify()
        span = self.offsets.setdefault(record.partition, OffsetSpan(record.offset, record.offset))
        span.first, span.last = min(span.first, record.offset), max(span.last, record.offset)
        if self._on_acknowledged and self.acknowledged % _REPORT_EVERY == 0:
            self._on_acknowledged(self.acknowledged)

    def fail(self, position: int, uri: str, error: Exception) -> None:
        with self._settled:
            self._failed += 1
            if isinstance(error, RetriableError):
                # The producer has tried for the whole delivery time-out: there is no broker to go on with.
                self.lost = error
            else:
                self.refuse(Refusal(position, uri, f"the broker rejected it: {error}"))
            self._settled.notify()

    def refuse(self, refusal: Refusal) -> None:
        self.refused += 1
        if len(self.refusals) < _MAX_REFUSALS:
            self.refusals.append(refusal)

    def describe(self, cause: BaseException) -> str:
        return f"{cause}; {self.acknowledged:,} requests were acknowledged before"

    def submission(self, topic: str) -> Submission:
        refusals = tuple(sorted(self.refusals, key=lambda refusal: refusal.position))
        return Submission(topic, self.acknowledged, self.refused, refusals, dict(sorted(self.offsets.items())))
