"""Whose turn it is among the hosts of a batch."""

from dataclasses import dataclass

from ummp_assets.fetch.host_rules import HostRules
from ummp_assets.fetch.hosts import Host, HostQueues

_RULES = HostRules(8, None, True, True, True, ())


@dataclass(frozen=True)
class _Request:
    host: Host["_Request"]
    position: int


_Queues = HostQueues[_Request]


def _add(queues: _Queues, name: str, *positions: int, answered: bool = True) -> Host[_Request]:
    host = queues.hosts.setdefault(name, Host(name, _RULES, _RULES.max_connections))
    host.answered = answered
    for position in positions:
        queues.add(host, _Request(host, position))
    return host


def _take_all(queues: _Queues, now: float = 0.0) -> list[int]:
    """Take what comes when each request ends, its connection kept, before the next one is taken."""
    positions = []
    while (request := queues.take(now)) is not None:
        positions.append(request.position)
        queues.release(request.host, connected=True)
    return positions


def test_the_oldest_request_goes_first_whatever_its_host() -> None:
    queues = _Queues()
    _add(queues, "a", 0, 3, 4)
    _add(queues, "b", 1, 2, 5)
    taken = [request.position for _ in range(6) if (request := queues.take(0.0)) is not None]
    # Two connections are what a host has until it has answered.
    assert taken == [0, 1, 2, 3]


def test_a_connection_that_is_free_takes_its_hosts_next_request() -> None:
    queues = _Queues()
    _add(queues, "a", 0, 10, 20)
    _add(queues, "b", 1, 11, 21)
    assert _take_all(queues) == [0, 10, 20, 1, 11, 21]


def test_a_host_that_has_not_answered_yet_is_asked_before_younger_requests_of_others() -> None:
    queues = _Queues()
    _add(queues, "a", 0, 10, 20)
    _add(queues, "b", 1, 11, answered=False)
    assert _take_all(queues)[:2] == [0, 1]


def test_a_host_gives_way_after_so_many_requests_in_a_row() -> None:
    queues = _Queues()
    _add(queues, "a", *range(0, 4_000, 100))
    _add(queues, "b", 1, 2)
    assert _take_all(queues)[15:18] == [1_500, 1, 2]


def test_a_retry_goes_before_what_is_younger() -> None:
    queues = _Queues()
    a = _add(queues, "a", 0, 2)
    _add(queues, "b", 1, 3)
    retried = queues.take(0.0)
    assert retried is not None
    queues.release(a)
    queues.add_later(a, retried, at=5.0)
    assert queues.next_time() == 5.0
    first = queues.take(1.0)
    assert first is not None
    assert first.position == 1
    queues.release(first.host)
    assert _take_all(queues, now=5.0) == [0, 2, 3]


def test_a_host_known_to_be_slow_is_asked_before_the_others() -> None:
    queues = _Queues()
    _add(queues, "a", 0, 1)
    slow = _add(queues, "b", 2, 3)
    slow.succeeded(seconds=5.0)
    queues.line_up(slow)
    assert _take_all(queues) == [2, 3, 0, 1]


def test_a_resting_host_is_asked_after_its_rest_and_gives_up_its_requests_at_once_when_closed() -> None:
    queues = _Queues()
    host = _add(queues, "a", 0, 1, 2)
    host.not_before = 10.0
    assert queues.take(0.0) is None
    assert queues.next_time() == 10.0
    request = queues.take(10.0)
    assert request is not None
    host.not_before = 300.0
    assert queues.take(11.0) is None
    host.closed = "it fails"
    queues.line_up(host)
    assert _take_all(queues, now=12.0) == [1, 2]
