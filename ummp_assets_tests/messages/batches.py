"""Record batches as a producer sends them, and how to read them back where they lie."""

import time
from collections.abc import Iterator
from typing import Any

from kafka.record.memory_records import MemoryRecords, MemoryRecordsBuilder

from ummp_assets.messages.embedded.partition_log import PartitionLog
from ummp_assets.messages.embedded.record_batch import validate_produced_batch

__all__ = ["append", "build_batch", "build_keyed_batch", "iterate_batches", "offsets_of"]


def build_batch(
    *values: bytes | None, timestamp_ms: int | None = None, magic: int = 2, codec: int = 0, **producer: Any
) -> bytes:
    """One batch of records without keys; `producer` may give producer_id, producer_epoch, base_sequence."""
    return build_keyed_batch(
        *((None, value) for value in values), timestamp_ms=timestamp_ms, magic=magic, codec=codec, **producer
    )


def build_keyed_batch(
    *records: tuple[bytes | None, bytes | None],
    timestamp_ms: int | None = None,
    magic: int = 2,
    codec: int = 0,
    **producer: Any,
) -> bytes:
    """One batch of records with keys."""
    builder = MemoryRecordsBuilder(magic=magic, compression_type=codec, batch_size=10_000_000, **producer)
    for key, value in records:
        builder.append(int(time.time() * 1000) if timestamp_ms is None else timestamp_ms, key, value)
    builder.close()
    return bytes(builder.buffer())


def append(log: PartitionLog, batch: bytes) -> int:
    """Append a batch as a Produce request would; its offset."""
    view = memoryview(batch)
    return log.append(view, validate_produced_batch(view, log.config.max_message_bytes)).base_offset


def iterate_batches(content: bytes) -> Iterator[Any]:
    """The whole batches in what a fetch gave."""
    return iter(MemoryRecords(content))


def offsets_of(log: PartitionLog, start: int, *, committed: bool = False) -> list[int]:
    """Offsets of all records that reading the log from `start` on gives, in pieces of about 1 kB."""
    offsets: list[int] = []
    while content := log.read(start, 1_000, committed=committed, whole_batch=True):
        for batch in iterate_batches(content):
            offsets += [record.offset for record in batch if record.offset >= start]
            start_of_next = batch.base_offset + batch.last_offset_delta + 1
        start = start_of_next
    return offsets
