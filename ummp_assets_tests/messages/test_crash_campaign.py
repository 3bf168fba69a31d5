"""SIGKILL at random instants under load: nothing acknowledged is lost, nothing is doubled, offsets have no gaps.

Six kills by default; `UMMP_TEST_KILLS=100` runs the campaign in full, in about three minutes.
"""

import asyncio
import os
import random
import threading
import time
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka import TopicPartition as AIOTopicPartition
from aiokafka.errors import KafkaError
from confluent_kafka import Consumer, Message, Producer, TopicPartition
from confluent_kafka import KafkaError as DeliveryError
from kafka.protocol.consumer import FetchRequest, FetchResponse

from ummp_assets.messages.embedded import start_broker
from ummp_assets_tests.messages.batches import iterate_batches
from ummp_assets_tests.messages.clients import Clients
from ummp_assets_tests.messages.raw_connection import RawConnection

# aiokafka leaves the sockets of broken connections to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
_KILLS = int(os.environ.get("UMMP_TEST_KILLS", "6"))
_PARTITIONS = 2
_RECORDS_IN_TRANSACTION = 5
_PATIENCE_SECONDS = 5
_GROUP = "progress"


class _IdempotentLoad(threading.Thread):
    """Sends numbered records until stopped, and notes which were acknowledged."""

    def __init__(self, config: dict[str, object], topic: str) -> None:
        super().__init__()
        self._producer = Producer(config | {"enable.idempotence": True, "linger.ms": 2})
        self.topic = topic
        self.stopping = threading.Event()
        self.acknowledged: set[bytes] = set()
        self.failures: list[DeliveryError] = []

    def run(self) -> None:
        number = 0
        while not self.stopping.is_set():
            value = b"%d" % number
            self._producer.produce(self.topic, value, partition=number % _PARTITIONS, on_delivery=self._note)
            number += 1
            self._producer.poll(0)
            time.sleep(0.0005)
        self._producer.flush(60)

    def _note(self, error: DeliveryError | None, message: Message) -> None:
        if error is not None:
            self.failures.append(error)
        else:
            self.acknowledged.add(message.value() or b"")


class _TransactionalLoad(threading.Thread):
    """Runs numbered transactions until stopped: records in all partitions, an offset of a group; every third aborts.

    With aiokafka, whose calls can be given up: when a broker is killed, kafka-python 3.0.12 drops a transactional
    request that it cannot connect for and waits for it without end, and librdkafka 2.16.1 was seen to do the like.
    """

    def __init__(self, address: str, topic: str, source: str) -> None:
        super().__init__()
        self._address = address
        self.topic, self.source = topic, source
        self.stopping = threading.Event()
        self.committed: list[int] = []
        self.aborted: list[int] = []
        self.unknown: list[int] = []

    def run(self) -> None:
        asyncio.run(self._run())

    async def _run(self) -> None:
        number = 0
        while not self.stopping.is_set():
            producer = AIOKafkaProducer(
                bootstrap_servers=self._address, transactional_id="campaign", retry_backoff_ms=20
            )
            try:
                await asyncio.wait_for(producer.start(), _PATIENCE_SECONDS)
                while not self.stopping.is_set():
                    self.unknown.append(number)
                    await asyncio.wait_for(self._transact(producer, number), _PATIENCE_SECONDS)
                    self.unknown.remove(number)
                    number += 1
            except (KafkaError, TimeoutError):
                number += 1  # this one's fate is unknown; a new producer of the same name goes on
            finally:
                with suppress(KafkaError, TimeoutError):
                    await asyncio.wait_for(producer.stop(), 1)

    async def _transact(self, producer: AIOKafkaProducer, number: int) -> None:
        await producer.begin_transaction()
        for partition in range(_PARTITIONS):
            for record in range(_RECORDS_IN_TRANSACTION):
                await producer.send(self.topic, b"%d/%d" % (number, record), partition=partition)
        await producer.send_offsets_to_transaction({AIOTopicPartition(self.source, 0): number + 1}, _GROUP)
        if number % 3 == 2:
            await producer.abort_transaction()
            self.aborted.append(number)
        else:
            await producer.commit_transaction()
            self.committed.append(number)


def _kill_under_load(data: Path, kills: int) -> tuple[_IdempotentLoad, _TransactionalLoad]:
    """Kill and restart the broker under load; the loads, which have ended by themselves."""
    broker = start_broker(data)
    address = broker.bootstrap_servers
    with Clients(address) as clients:
        topics = clients.topic(_PARTITIONS), clients.topic(_PARTITIONS), clients.topic()
    hasty = {"reconnect.backoff.ms": 10, "reconnect.backoff.max.ms": 100, "retry.backoff.ms": 20}
    config: dict[str, object] = {"bootstrap.servers": address, "log_level": 0, **hasty}
    loads = _IdempotentLoad(config, topics[0]), _TransactionalLoad(address, *topics[1:])
    for load in loads:
        load.start()
    try:
        for _ in range(kills):
            time.sleep(random.uniform(0.1, 1.5))
            broker.kill()
            broker = start_broker(data, port=int(address.split(":")[1]))
        time.sleep(0.5)
    finally:
        for load in loads:
            load.stopping.set()
        for load in loads:
            load.join()
        broker.kill()
    return loads


def _assert_no_gaps(address: str, topic: str, partition: int) -> None:
    """Every batch, control batches included, begins where the one before it ended."""
    expected = 0
    with RawConnection(address) as connection:
        while True:
            topics = [(topic, [(partition, -1, expected, -1, 1_000_000)])]
            request = FetchRequest(max_wait_ms=0, min_bytes=0, max_bytes=1_000_000, topics=topics)
            answer = connection.ask(request, FetchResponse, version=11).responses[0].partitions[0]
            assert answer.records, f"nothing to read at {expected} of {answer.high_watermark}"
            for batch in iterate_batches(answer.records):
                assert batch.validate_crc()
                assert batch.base_offset == expected
                assert batch.records_count == batch.last_offset_delta + 1
                expected = batch.next_offset
            if expected == answer.high_watermark:
                return


def _committed_values(address: str, topic: str, partition: int) -> list[bytes]:
    """Everything that a reader of committed records finds in a topic-partition."""
    config = {"bootstrap.servers": address, "group.id": "reader", "isolation.level": "read_committed"}
    values: list[bytes] = []
    with closing(Consumer(config | {"enable.partition.eof": True})) as reader:
        reader.assign([TopicPartition(topic, partition, 0)])
        while True:
            message = reader.poll(10)
            assert message is not None, f"{topic}-{partition} stopped after {len(values)} records"
            error = message.error()
            if error is not None:
                assert error.code() == DeliveryError._PARTITION_EOF, error
                return values
            values.append(message.value() or b"")


def _assert_idempotent_records(address: str, load: _IdempotentLoad) -> None:
    values = [value for partition in range(_PARTITIONS) for value in _committed_values(address, load.topic, partition)]
    assert load.failures == []
    assert len(load.acknowledged) > 100
    assert [value for value, times in Counter(values).items() if times > 1] == [], "doubled"
    assert load.acknowledged - set(values) == set(), "lost"
    for partition in range(_PARTITIONS):
        numbers = [int(value) for value in _committed_values(address, load.topic, partition)]
        assert numbers == sorted(numbers)


def _assert_transactional_records(address: str, load: _TransactionalLoad) -> None:
    expected = set(load.committed)
    whole = [b"%d" % record for record in range(_RECORDS_IN_TRANSACTION)]
    seen = []
    for partition in range(_PARTITIONS):
        records: dict[int, list[bytes]] = {}
        for value in _committed_values(address, load.topic, partition):
            number, record = value.split(b"/")
            records.setdefault(int(number), []).append(record)
        assert all(found == whole for found in records.values()), "a transaction is there once and whole"
        assert expected <= set(records) <= expected | set(load.unknown)
        seen.append(set(records))
    assert seen[0] == seen[1], "a transaction is in all partitions or in none"
    assert len(load.committed) > _KILLS // 2
    assert load.aborted
    with closing(Consumer({"bootstrap.servers": address, "group.id": _GROUP})) as consumer:
        offset = consumer.committed([TopicPartition(load.source, 0)], 10)[0].offset
    assert offset == max(seen[0]) + 1, "the offset was committed with the last transaction"


def test_sigkill_at_random_instants_loses_and_doubles_nothing(tmp_path: Path) -> None:
    idempotent, transactional = _kill_under_load(tmp_path / "data", _KILLS)
    with start_broker(tmp_path / "data") as broker:
        for topic in (idempotent.topic, transactional.topic):
            for partition in range(_PARTITIONS):
                _assert_no_gaps(broker.bootstrap_servers, topic, partition)
        _assert_idempotent_records(broker.bootstrap_servers, idempotent)
        _assert_transactional_records(broker.bootstrap_servers, transactional)
