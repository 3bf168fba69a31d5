"""The two brokers that the contract suite runs on: the embedded one and Apache Kafka, which is right."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ummp_assets_tests.messages.clients import Clients

_KAFKA_IS_REQUIRED = os.environ.get("CI") == "true" or os.environ.get("UMMP_TEST_REQUIRE_KAFKA") == "1"


@pytest.fixture(scope="session")
def apache_kafka(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of one Apache Kafka that all processes of this test run share.

    Where it cannot be had, the tests are skipped; where CI=true or UMMP_TEST_REQUIRE_KAFKA=1, they fail.
    """
    address = os.environ.get("UMMP_TEST_KAFKA_BOOTSTRAP_SERVERS") or _shared_kafka(tmp_path_factory)
    if address.startswith("missing:"):
        if _KAFKA_IS_REQUIRED:
            pytest.fail(f"Apache Kafka is required here but {address}", pytrace=False)
        pytest.skip(f"NOT COMPARED WITH APACHE KAFKA, {address}")
    return address


def _shared_kafka(tmp_path_factory: pytest.TempPathFactory) -> str:
    is_worker = "PYTEST_XDIST_WORKER" in os.environ
    folder = tmp_path_factory.getbasetemp()
    note = (folder.parent if is_worker else folder) / "apache-kafka"
    with Path(f"{note}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not note.exists():
            note.write_text(_start_kafka(watched_pid=os.getppid() if is_worker else os.getpid()))
        return note.read_text()


def _start_kafka(watched_pid: int) -> str:
    """Start a process that runs Kafka for as long as the test run lives; the address, or `missing: why`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "ummp_assets_tests.messages.apache_kafka", str(watched_pid)],
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    process.stdout.close()
    process.returncode = 0  # it outlives this function on purpose
    return address or "missing: the process that runs it ended at once"


@pytest.fixture(params=["embedded", "apache"])
def clients(request: pytest.FixtureRequest) -> Iterator[Clients]:
    """Clients of each broker in turn; closed after the test."""
    address = request.getfixturevalue("bootstrap_servers" if request.param == "embedded" else "apache_kafka")
    with Clients(address) as clients:
        yield clients
