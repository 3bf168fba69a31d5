"""What one topic-partition knows of the producers that write to it: sequence numbers, epochs and open transactions.

Rules as in Kafka's ProducerStateManager and ProducerAppendInfo (KIP-98, KIP-360): a batch is appended when it follows
the producer's last one, answered without being appended when it is one of the producer's last five, and refused
otherwise.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ummp_assets.messages.embedded.error_codes import ErrorCode, RequestError
from ummp_assets.messages.embedded.record_batch import BatchHeader, now_ms

__all__ = ["EndedTransaction", "ProducerStates"]

_REMEMBERED_BATCHES = 5  # a producer may have five requests in flight
_MAX_SEQUENCE = 2**31 - 1


class _AppendedBatch(NamedTuple):
    first_sequence: int
    last_sequence: int
    base_offset: int


@dataclass
class _Producer:
    epoch: int
    last_used_ms: int
    batches: deque[_AppendedBatch] = field(default_factory=lambda: deque(maxlen=_REMEMBERED_BATCHES))
    transaction_start: int | None = None


class EndedTransaction(NamedTuple):
    """A transaction that a control marker ended: its producer, first offset and the marker's offset."""

    producer_id: int
    first_offset: int
    marker_offset: int


class ProducerStates:
    """The producers of one topic-partition by producer id."""

    def __init__(self) -> None:
        self._producers: dict[int, _Producer] = {}
        self._open: dict[int, int] = {}  # producer id -> first offset of its open transaction

    def offset_of_duplicate(self, header: BatchHeader) -> int | None:
        """Where the batch stands already, if it is a retry of one of the producer's last five.

        Raises
        ------
        RequestError
            INVALID_PRODUCER_EPOCH for a fenced producer, OUT_OF_ORDER_SEQUENCE_NUMBER for a gap.
        """
        producer = self._producers.get(header.producer_id)
        if producer is None:
            return None
        if header.producer_epoch == producer.epoch:
            for batch in producer.batches:
                if (batch.first_sequence, batch.last_sequence) == (header.base_sequence, header.last_sequence):
                    return batch.base_offset
        self._check_order(producer, header)
        return None

    @staticmethod
    def _check_order(producer: _Producer, header: BatchHeader) -> None:
        if header.producer_epoch < producer.epoch:
            raise RequestError(
                ErrorCode.INVALID_PRODUCER_EPOCH,
                f"producer {header.producer_id} has epoch {producer.epoch}, the batch has {header.producer_epoch}",
            )
        is_same_epoch = header.producer_epoch == producer.epoch
        if is_same_epoch and not producer.batches:
            return  # only a marker is known of this epoch
        expected = (producer.batches[-1].last_sequence + 1) & _MAX_SEQUENCE if is_same_epoch else 0
        if header.base_sequence != expected:
            raise RequestError(
                ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
                f"producer {header.producer_id} should go on with sequence number {expected}, not with "
                f"{header.base_sequence}",
            )

    def note_batch(self, header: BatchHeader) -> None:
        """Remember an appended batch of a producer that has an id."""
        producer = self._at_epoch(header)
        last_sequence = header.last_sequence
        producer.batches.append(_AppendedBatch(header.base_sequence, last_sequence, header.base_offset))
        if header.is_transactional and producer.transaction_start is None:
            producer.transaction_start = self._open[header.producer_id] = header.base_offset

    def note_marker(self, header: BatchHeader) -> EndedTransaction | None:
        """Remember an appended control marker; the transaction that it ended, if one was open."""
        producer = self._at_epoch(header)
        producer.transaction_start = None
        first_offset = self._open.pop(header.producer_id, None)
        if first_offset is None:
            return None
        return EndedTransaction(header.producer_id, first_offset, header.base_offset)

    def _at_epoch(self, header: BatchHeader) -> _Producer:
        producer = self._producers.get(header.producer_id)
        if producer is None or producer.epoch != header.producer_epoch:
            start = producer.transaction_start if producer else None
            producer = _Producer(header.producer_epoch, now_ms(), transaction_start=start)
            self._producers[header.producer_id] = producer
        producer.last_used_ms = now_ms()
        return producer

    def has_open_transaction(self, producer_id: int) -> bool:
        return producer_id in self._open

    @property
    def first_unstable_offset(self) -> int | None:
        """First offset of the oldest open transaction; readers of committed records stop before it."""
        return min(self._open.values(), default=None)

    def forget_idle_since(self, timestamp_ms: int) -> None:
        """Forget producers without an open transaction that wrote nothing after `timestamp_ms`."""
        idle = [
            producer_id
            for producer_id, producer in self._producers.items()
            if producer.last_used_ms < timestamp_ms and producer.transaction_start is None
        ]
        for producer_id in idle:
            del self._producers[producer_id]

    def to_json(self) -> list[Any]:
        """What a checkpoint keeps: one list per producer."""
        return [
            [producer_id, producer.epoch, producer.last_used_ms, producer.transaction_start, list(producer.batches)]
            for producer_id, producer in self._producers.items()
        ]

    @classmethod
    def from_json(cls, rows: list[Any]) -> "ProducerStates":
        states = cls()
        for producer_id, epoch, last_used_ms, transaction_start, batches in rows:
            producer = _Producer(epoch, last_used_ms, transaction_start=transaction_start)
            producer.batches.extend(_AppendedBatch(*batch) for batch in batches)
            states._producers[producer_id] = producer
            if transaction_start is not None:
                states._open[producer_id] = transaction_start
        return states
