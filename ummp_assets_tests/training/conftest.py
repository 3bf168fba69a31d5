"""Topics of its own for each test, and batches planned as the sensor plans them."""

import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from kafka import TopicPartition

from ummp_assets.messages.clients import make_consumer
from ummp_assets.messages.offset_log import OffsetLog
from ummp_assets.messages.ranges import plan_batches
from ummp_assets.messages.reading import read_watermarks
from ummp_assets.messages.topics import ensure_topics
from ummp_assets.settings import Settings, load_settings
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.training import logs

PlanBatch = Callable[[str], str]


def read_topic(settings: Settings, topic: str) -> list[Any]:
    """Return every committed record of a topic, in order of partition and offset."""
    found: list[Any] = []
    with make_consumer(settings) as consumer:
        for partition, marks in sorted(read_watermarks(settings, topic)[topic].items()):
            place = TopicPartition(topic, partition)
            consumer.assign([place])
            consumer.seek(place, marks.low)
            while consumer.position(place) < marks.high:
                found += consumer.poll(timeout_ms=1_000).get(place, [])
    return found


@pytest.fixture(autouse=True)
def _end_shared_senders() -> Iterator[None]:
    yield
    for sender in logs._shared.values():
        sender.close()
    logs._shared.clear()


@pytest.fixture
def settings(tmp_path: Path, bootstrap_servers: str) -> Settings:
    settings = load_settings(
        home=tmp_path / "home",
        kafka_bootstrap_servers=bootstrap_servers,
        kafka_timeout_seconds=5.0,
        topic_prefix=f"t{uuid.uuid4().hex[:8]}",
        topic_partitions=2,
    )
    ensure_topics(settings)
    return settings


@pytest.fixture
def plan_batch(settings: Settings, store: ObjectStore) -> PlanBatch:
    """A function that puts everything that waits in a topic into one batch and returns its key."""

    def plan(topic: str) -> str:
        log = OffsetLog(store)
        plan = plan_batches(
            topic,
            log.last(topic),
            read_watermarks(settings, topic)[topic],
            waited_seconds=86_400,
            room=1,
            intake=settings.intake,
        )
        (batch,) = plan.batches
        return log.put(batch, datetime.now(UTC)).key

    return plan
