"""Whose turn it is: requests wait per host, hosts take turns, and a slow host holds up nobody else."""

import heapq
from collections import deque
from dataclasses import dataclass, field
from itertools import count
from typing import Generic, TypeVar

__all__ = ["Host", "HostQueues"]

_Item = TypeVar("_Item")


@dataclass(slots=True, eq=False)
class Host(Generic[_Item]):
    """One origin (`scheme://host[:port]`) and what waits for it; times are those of the caller's clock, in seconds."""

    origin: str
    max_active: int
    active: int = 0
    not_before: float = 0.0
    waiting: deque[_Item] = field(default_factory=deque)
    in_line: bool = False


class HostQueues(Generic[_Item]):
    """Queues per host under budgets.

    Parameters
    ----------
    max_connections_per_host:
        Items of one host that may be active at once.
    """

    def __init__(self, max_connections_per_host: int) -> None:
        self._max_active = max_connections_per_host
        self._hosts: dict[str, Host[_Item]] = {}
        self._line: deque[Host[_Item]] = deque()
        self._resting: list[tuple[float, int, Host[_Item]]] = []
        self._delayed: list[tuple[float, int, Host[_Item], _Item]] = []
        self._sequence = count()

    def host(self, origin: str) -> Host[_Item]:
        """Return the host of an origin."""
        host = self._hosts.get(origin)
        if host is None:
            host = self._hosts[origin] = Host(origin, self._max_active)
        return host

    def add(self, host: Host[_Item], item: _Item) -> None:
        """Let an item wait for its turn, behind those that wait already."""
        host.waiting.append(item)
        self._line_up(host)

    def add_later(self, host: Host[_Item], item: _Item, at: float) -> None:
        """Let an item wait until a time, then stand before all others of its host."""
        heapq.heappush(self._delayed, (at, next(self._sequence), host, item))

    def take(self, now: float) -> _Item | None:
        """Return the next item whose host may be asked now, counted as active until `release`."""
        while self._delayed and self._delayed[0][0] <= now:
            _, _, host, item = heapq.heappop(self._delayed)
            host.waiting.appendleft(item)
            self._line_up(host)
        while self._resting and self._resting[0][0] <= now:
            host = heapq.heappop(self._resting)[2]
            self._line.append(host)
        while self._line:
            host = self._line.popleft()
            if host.not_before > now:
                heapq.heappush(self._resting, (host.not_before, next(self._sequence), host))
                continue
            host.in_line = False
            if not host.waiting or host.active >= host.max_active:
                continue
            item = host.waiting.popleft()
            host.active += 1
            self._line_up(host)
            return item
        return None

    def release(self, host: Host[_Item]) -> None:
        """Count one item of the host as no longer active."""
        host.active -= 1
        self._line_up(host)

    def next_time(self) -> float | None:
        """Return when `take` may have an item that it has not now, None when only `add` or `release` can bring one."""
        times = [heap[0][0] for heap in (self._resting, self._delayed) if heap]
        return min(times, default=None)

    def _line_up(self, host: Host[_Item]) -> None:
        if not host.in_line and host.waiting and host.active < host.max_active:
            host.in_line = True
            self._line.append(host)
