"""Kafka clients with settings that suit tests, closed when the test ends."""

import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord

__all__ = ["Clients", "eventually", "read", "unique"]


def unique(prefix: str) -> str:
    """A name that no other test uses."""
    return f"{prefix}-{uuid.uuid4().hex[:10]}"


def eventually(condition: Callable[[], bool], seconds: float = 12.0) -> bool:
    """Whether `condition` comes true in time: Kafka does some things after it has answered."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


class Clients:
    """Makes kafka-python clients of one broker, and topics."""

    def __init__(self, bootstrap_servers: str) -> None:
        self.bootstrap_servers = bootstrap_servers
        self._open = ExitStack()
        self._admin: KafkaAdminClient | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    @property
    def admin(self) -> KafkaAdminClient:
        if self._admin is None:
            self._admin = KafkaAdminClient(bootstrap_servers=self.bootstrap_servers, bootstrap_timeout_ms=10_000)
            self._open.callback(self._admin.close)
        return self._admin

    def topic(self, partitions: int = 1, **configs: str) -> str:
        """A new topic, known to the whole cluster; settings with underscores for dots."""
        name = unique("topic")
        settings = {key.replace("_", "."): value for key, value in configs.items()}
        self.admin.create_topics({name: {"num_partitions": partitions, "replication_factor": 1, "configs": settings}})
        self.admin.wait_for_topics([name])
        return name

    def producer(self, **options: Any) -> KafkaProducer:
        options = {"bootstrap_timeout_ms": 10_000, **options}
        producer = KafkaProducer(bootstrap_servers=self.bootstrap_servers, **options)
        self._open.callback(producer.close, timeout=1)
        return producer

    def consumer(self, *topics: str, **options: Any) -> KafkaConsumer:
        options = {"bootstrap_timeout_ms": 10_000, "auto_offset_reset": "earliest", **options}
        options.setdefault("enable_auto_commit", False)
        options.setdefault("fetch_max_wait_ms", 100)
        consumer = KafkaConsumer(*topics, bootstrap_servers=self.bootstrap_servers, **options)
        self._open.callback(consumer.close, autocommit=False)
        return consumer

    def send(self, topic: str, *values: bytes | None, partition: int = 0, **options: Any) -> list[int]:
        """Produce values one batch each; their offsets."""
        producer = self.producer(**options)
        sent = [producer.send(topic, value, partition=partition).get(10).offset for value in values]
        producer.close()
        return sent

    def read_all(self, topic: str, count: int, partition: int = 0, **options: Any) -> list[ConsumerRecord]:
        """`count` records of a topic-partition from its start, or fewer after ten seconds."""
        consumer = self.consumer(**options)
        consumer.assign([TopicPartition(topic, partition)])
        return read(consumer, count)


def read(consumer: KafkaConsumer, count: int, seconds: float = 10.0) -> list[ConsumerRecord]:
    """The next `count` records, or fewer if they do not come within `seconds`."""
    records: list[ConsumerRecord] = []
    deadline = time.monotonic() + seconds
    while len(records) < count and (remaining := deadline - time.monotonic()) > 0:
        for batch in consumer.poll(timeout_ms=min(remaining, 1.0) * 1000).values():
            records += batch
    return records
