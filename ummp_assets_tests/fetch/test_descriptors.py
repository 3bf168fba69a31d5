"""Many slow hosts at once under a small limit of open files."""

import resource
import socket
import time
from collections.abc import Iterator

import pytest

from ummp_assets_tests.fetch.conftest import Fetch
from ummp_assets_tests.fetch.servers import Received, answer, serving

_LIMIT = 420


@pytest.fixture
def few_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (_LIMIT, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("few_descriptors")
def test_slow_hosts_wait_for_their_turn_when_descriptors_are_few(fetch: Fetch) -> None:
    """The server runs in this process as well: each connection takes a descriptor here and one there."""

    def slow(request: Received, connection: socket.socket) -> None:
        time.sleep(0.2)
        answer(connection, b"text")

    with serving(slow) as server:
        samples, outcomes = fetch(*(f"http://h{n}.localhost:{server.port}/x" for n in range(200)), max_connections=200)
    assert outcomes == []
    assert len(samples) == 200
