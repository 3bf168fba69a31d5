"""A deployment for one test: settings with topics of its own on a broker that several tests share."""

import gc
import json
import uuid
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kafka import TopicPartition

from ummp_assets.messages.clients import make_admin, make_consumer, make_producer
from ummp_assets.messages.offset_log import OffsetLog
from ummp_assets.messages.ranges import Batch, OffsetRange
from ummp_assets.messages.reading import read_watermarks
from ummp_assets.settings import Settings, load_settings
from ummp_assets.storage.objects import ObjectStore

__all__ = [
    "NOW",
    "create_topic",
    "make_settings",
    "nobody_listens",
    "plan_everything",
    "read_committed",
    "request",
    "send",
]

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def make_settings(folder: Path, bootstrap_servers: str, **overrides: Any) -> Settings:
    """Return settings with a topic prefix that no other test has, two partitions a topic and no wait for batches."""
    defaults: dict[str, Any] = {
        "home": folder / "home",
        "kafka_bootstrap_servers": bootstrap_servers,
        "kafka_timeout_seconds": 5.0,
        "topic_prefix": f"t{uuid.uuid4().hex[:10]}",
        "topic_partitions": 2,
        "intake": {"max_batch_wait_seconds": 0},
    }
    return load_settings(**{**defaults, **overrides})


@contextmanager
def nobody_listens() -> Iterator[str]:
    """Give an address that refuses connections.

    When kafka-python cannot connect, it leaves its sockets to the garbage collector: they are collected at the end of
    the block, so the errors must not live longer than that.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        # A port that only root may open.
        yield "127.0.0.1:1"
        gc.collect()


def create_topic(settings: Settings, name: str, partitions: int = 1, **configs: str) -> str:
    """Create a topic below the deployment's prefix; configs with underscores for dots."""
    topic = f"{settings.topic_prefix}.{name}"
    options = {"num_partitions": partitions, "configs": {key.replace("_", "."): configs[key] for key in configs}}
    with make_admin(settings) as admin:
        admin.create_topics({topic: options}, wait_for_metadata=True)
    return topic


def request(number: int = 0, **fields: Any) -> bytes:
    """Return the value of a request message."""
    document = {"schema": "ummp.request/1", "dataset": "pages", "uri": f"http://example.org/{number}", **fields}
    return json.dumps(document).encode()


def send(settings: Settings, topic: str, values: Iterable[bytes | None], partition: int = 0, **options: Any) -> None:
    """Send values to one partition and wait until the broker has them all."""
    producer = make_producer(settings)
    try:
        sent = [producer.send(topic, value=value, partition=partition, **options) for value in values]
        producer.flush()
        for future in sent:
            future.get(timeout=10)
    finally:
        producer.close()


def plan_everything(store: ObjectStore, settings: Settings, topic: str, *, start: int = 0, number: int = 1) -> Batch:
    """Put a batch into the offset log that reaches from `start` to the end of each partition."""
    marks = read_watermarks(settings, topic)[topic]
    ranges = tuple(OffsetRange(partition, start, mark.high) for partition, mark in sorted(marks.items()))
    return OffsetLog(store).put(Batch(topic, number, ranges), NOW)


def read_committed(settings: Settings, topic: str) -> list[Any]:
    """Return all committed records of a topic, by partition and offset."""
    marks = read_watermarks(settings, topic).get(topic, {})
    records: list[Any] = []
    with make_consumer(settings, auto_offset_reset="earliest") as consumer:
        ends = {TopicPartition(topic, partition): mark.high for partition, mark in sorted(marks.items())}
        consumer.assign(list(ends))
        consumer.seek_to_beginning()
        while any(consumer.position(partition) < end for partition, end in ends.items()):
            for found in consumer.poll(timeout_ms=200).values():
                records.extend(found)
    return sorted(records, key=lambda record: (record.partition, record.offset))
