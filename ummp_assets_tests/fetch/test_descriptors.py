"""Many slow hosts at once: how many of their connections are open, under a small limit of open files above all."""

import resource
import socket
import time
from collections.abc import Iterator

import pytest

from ummp_assets.fetch.open_transfers import max_open_transfers
from ummp_assets_tests.fetch.conftest import Fetch
from ummp_assets_tests.fetch.servers import Received, answer, serving


@pytest.fixture
def few_descriptors(request: pytest.FixtureRequest) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (request.param, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("few_descriptors", [420], indirect=True)
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


@pytest.mark.parametrize("few_descriptors", [256], indirect=True)
@pytest.mark.usefixtures("few_descriptors")
def test_transfers_run_side_by_side_where_a_shell_allows_the_fewest_open_files(fetch: Fetch) -> None:
    def slow(request: Received, connection: socket.socket) -> None:
        time.sleep(0.2)
        answer(connection, b"text")

    with serving(slow) as server:
        samples, _ = fetch(*(f"http://h{n}.localhost:{server.port}/x" for n in range(10)), max_connections=10)
    assert len(samples) == 10
    assert server.most_at_once == 10


def test_a_small_limit_of_connections_bounds_those_that_wait_as_well() -> None:
    assert [max_open_transfers(connections, None) for connections in (1, 4, 32, 64)] == [9, 36, 288, 576]


def test_descriptors_are_left_to_the_rest_of_the_process() -> None:
    assert [max_open_transfers(64, descriptors) for descriptors in (2, 256, 1_024, 20_000)] == [1, 64, 384, 576]
