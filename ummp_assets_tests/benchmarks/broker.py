"""The embedded broker beside Apache Kafka on the same machine, both used through kafka-python.

The work: produce messages of 500 bytes to four partitions with acks=all, read them back, and, apart from that, start
the broker until it answers a request. Ratios: messages a second of the embedded broker over Kafka's; Kafka's start time
over the embedded broker's.
"""

import random
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import psutil
from kafka import TopicPartition
from kafka.protocol.metadata import MetadataRequest, MetadataResponse

from ummp_assets.messages.embedded import start_broker
from ummp_assets_tests.benchmarks.harness import Report, main, notice, ratio, take_turns
from ummp_assets_tests.messages.apache_kafka import ApacheKafka, KafkaMissing
from ummp_assets_tests.messages.clients import Clients
from ummp_assets_tests.messages.raw_connection import RawConnection

_VALUE_BYTES = 500
_PARTITIONS = 4
_POLL_RECORDS = 5_000
_MEGABYTE = 1_000_000


class _Contender:
    """One running broker and the topic of the present round."""

    def __init__(self, address: str, pid: int, messages: int) -> None:
        self.address = address
        self._process = psutil.Process(pid)
        self._messages = messages
        self._topic = ""

    def produce(self) -> float:
        """Messages a second into a new topic."""
        value = random.randbytes(_VALUE_BYTES)
        with Clients(self.address) as clients:
            self._topic = clients.topic(_PARTITIONS)
            producer = clients.producer(acks="all", linger_ms=5, batch_size=65_536)
            began = time.perf_counter()
            for number in range(self._messages):
                producer.send(self._topic, value, partition=number % _PARTITIONS)
            producer.flush()
            return self._messages / (time.perf_counter() - began)

    def consume(self) -> float:
        """Messages a second out of the topic that `produce` filled."""
        with Clients(self.address) as clients:
            consumer = clients.consumer()
            consumer.assign([TopicPartition(self._topic, number) for number in range(_PARTITIONS)])
            began = time.perf_counter()
            count = 0
            while count < self._messages:
                polled = consumer.poll(timeout_ms=1_000, max_records=_POLL_RECORDS)
                count += sum(len(records) for records in polled.values())
            return count / (time.perf_counter() - began)

    @property
    def resident_megabytes(self) -> float:
        return self._process.memory_info().rss / _MEGABYTE


def _answers(address: str) -> None:
    with RawConnection(address) as connection:
        request = MetadataRequest(topics=[])
        while not connection.ask(request, MetadataResponse, version=1).brokers:
            time.sleep(0.01)


def _start_embedded() -> float:
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        with start_broker(Path(folder)) as broker:
            _answers(broker.bootstrap_servers)
            return time.perf_counter() - began


def _start_kafka() -> float:
    """Seconds without the preparation of its data folder."""
    kafka = ApacheKafka()
    began = time.perf_counter()
    _answers(kafka.bootstrap_servers)
    seconds = kafka.start_seconds + time.perf_counter() - began
    kafka.stop()
    return seconds


def measure(quick: bool) -> Report:
    """Measure both brokers in turn; without Kafka there is nothing to compare and the report is empty."""
    messages, rounds = (20_000, 3) if quick else (100_000, 5)
    with ExitStack() as running:
        try:
            kafka = ApacheKafka()
        except KafkaMissing as cause:
            notice(f"left out: {cause}")
            return Report()
        running.callback(kafka.stop)
        folder = running.enter_context(tempfile.TemporaryDirectory())
        broker = running.enter_context(start_broker(Path(folder)))
        embedded_side = _Contender(broker.bootstrap_servers, broker.pid, messages)
        kafka_side = _Contender(kafka.bootstrap_servers, kafka.pid, messages)
        figures = take_turns(
            {
                "embedded produce": embedded_side.produce,
                "kafka produce": kafka_side.produce,
                "embedded consume": embedded_side.consume,
                "kafka consume": kafka_side.consume,
            },
            rounds,
        )
        memory = {"embedded": embedded_side.resident_megabytes, "kafka": kafka_side.resident_megabytes}
    starts = take_turns({"embedded": _start_embedded, "kafka": _start_kafka}, rounds)
    rows = [{"figure": f"{name}, messages/s", "rounds": values} for name, values in figures.items()]
    rows += [{"figure": f"{name} start, s", "rounds": values} for name, values in starts.items()]
    rows += [{"figure": f"{name} resident memory, MB", "rounds": [value]} for name, value in memory.items()]
    ratios = {
        "produce_vs_kafka": ratio(figures["embedded produce"], figures["kafka produce"]),
        "consume_vs_kafka": ratio(figures["embedded consume"], figures["kafka consume"]),
        "start_vs_kafka": ratio(starts["kafka"], starts["embedded"]),
    }
    return Report(ratios, rows)


if __name__ == "__main__":
    main(__name__, measure, __doc__)
