"""Memory of the embedded broker beside a log that is larger than it.

150 MB by default; `UMMP_TEST_LOG_BYTES=1000000000` is the figure that the project promises.
"""

import os
import random
from pathlib import Path

import psutil
from kafka.protocol.consumer import FetchRequest, FetchResponse
from kafka.protocol.producer import ProduceRequest, ProduceResponse

from ummp_assets.messages.embedded import start_broker
from ummp_assets_tests.messages.batches import build_batch, iterate_batches
from ummp_assets_tests.messages.clients import Clients
from ummp_assets_tests.messages.raw_connection import RawConnection

_LOG_BYTES = int(os.environ.get("UMMP_TEST_LOG_BYTES", "150000000"))
_MAX_RESIDENT_BYTES = 100_000_000
_PARTITIONS = 4


def _resident_bytes(pid: int) -> int:
    size: int = psutil.Process(pid).memory_info().rss
    return size


def _fill(address: str, topic: str) -> int:
    """Produce batches of 900 records of 1 kB until the log is large enough; how many batches."""
    batch = build_batch(*[random.randbytes(1_000) for _ in range(900)])
    count = _LOG_BYTES // len(batch)
    with RawConnection(address) as connection:
        for number in range(count):
            data = [(topic, [(number % _PARTITIONS, batch)])]
            request = ProduceRequest(transactional_id=None, acks=-1, timeout_ms=1_000, topic_data=data)
            answer = connection.ask(request, ProduceResponse, version=8).responses[0].partition_responses[0]
            assert answer.error_code == 0
    return count


def _read(address: str, topic: str) -> int:
    """Fetch all partitions to their ends, as much at a time as a client may ask for; how many batches."""
    offsets = [0] * _PARTITIONS
    batches = 0
    with RawConnection(address) as connection:
        while True:
            wanted = [(number, -1, offset, -1, 50_000_000) for number, offset in enumerate(offsets)]
            request = FetchRequest(max_wait_ms=0, min_bytes=0, max_bytes=50_000_000, topics=[(topic, wanted)])
            response = connection.ask(request, FetchResponse, version=11).responses[0]
            whole = [
                (part.partition_index, batch) for part in response.partitions for batch in iterate_batches(part.records)
            ]
            if not whole:
                return batches
            for partition, batch in whole:
                offsets[partition] = batch.next_offset
            batches += len(whole)


def test_resident_memory_stays_bounded_whatever_is_stored(tmp_path: Path) -> None:
    broker = start_broker(tmp_path / "data")
    with Clients(broker.bootstrap_servers) as clients:
        topic = clients.topic(_PARTITIONS)
    count = _fill(broker.bootstrap_servers, topic)
    assert _resident_bytes(broker.pid) < _MAX_RESIDENT_BYTES
    broker.kill()
    with start_broker(tmp_path / "data") as broker:
        assert _resident_bytes(broker.pid) < _MAX_RESIDENT_BYTES
        assert _read(broker.bootstrap_servers, topic) == count
        assert _resident_bytes(broker.pid) < _MAX_RESIDENT_BYTES
