"""Whose turn it is: requests wait per host, the oldest whose host may be asked goes first, and a slow host holds up
nobody else."""

import heapq
from collections import deque
from dataclasses import dataclass, field
from itertools import count
from typing import Generic, Protocol, TypeVar

from ummp_assets.fetch.host_rules import HostRules
from ummp_assets.fetch.robots import RobotsRules

__all__ = ["Host", "HostQueues", "Positioned"]


class Positioned(Protocol):
    """What has a place in a batch."""

    @property
    def position(self) -> int:
        """Place in the batch."""


_Item = TypeVar("_Item", bound=Positioned)

# A host that has not answered yet gets so many connections; each success adds one, up to its budget. Thousands of dead
# hosts then hold few connections.
_FIRST_CONNECTIONS = 2
# Requests that a host's rate lets pass at once after a pause, in seconds' worth: what one turn of the loop may take.
_BURST_SECONDS = 0.1
# So many requests use a connection one after the other before the host stands behind the others again.
_MAX_IN_A_ROW = 16
# A host whose transfers take so long has its requests asked before the others: the batch ends with the last of them.
_SLOW_SECONDS = 1.0
_HEAD_START = 100_000


@dataclass(slots=True, eq=False)
class Host(Generic[_Item]):
    """One origin (`scheme://host[:port]`), its budgets and what waits for it; times are those of the caller's clock.

    Parameters
    ----------
    granted:
        Connections that this fetch may have there: its share of the budget.
    window:
        Connections that the host has earned so far.
    interval_seconds:
        Pause between the beginnings of two requests.
    closed:
        Why nothing more is asked of the host, None while it is open.
    held:
        What waits until the host's robots.txt is known.
    answered:
        Whether it has answered anything yet.
    slow:
        Whether one of its answers took longer than `_SLOW_SECONDS`.
    in_line_at:
        The place at which the host stands in the line, None when it does not.
    resting:
        Whether it will stand there again at a time that is known.
    in_a_row:
        Requests that its connections have taken since it last stood in the line.
    """

    origin: str
    rules: HostRules
    granted: int
    window: int = _FIRST_CONNECTIONS
    interval_seconds: float = 0.0
    active: int = 0
    failures: int = 0
    not_before: float = 0.0
    closed: str | None = None
    robots: RobotsRules | None = None
    asking_robots: bool = False
    held: list[_Item] = field(default_factory=list)
    waiting: deque[_Item] = field(default_factory=deque)
    delayed: int = 0
    answered: bool = False
    slow: bool = False
    in_line_at: int | None = None
    resting: bool = False
    in_a_row: int = 0

    @property
    def has_room(self) -> bool:
        return self.active < min(self.window, self.granted) or self.closed is not None

    @property
    def is_wanted(self) -> bool:
        """Whether anything runs or waits there."""
        return bool(self.active or self.waiting or self.delayed or self.held)

    @property
    def place(self) -> int:
        """Where its next request stands in the line."""
        return self.waiting[0].position - (_HEAD_START if self.slow else 0)

    def succeeded(self, seconds: float = 0.0) -> None:
        """The host has answered, in so many seconds: it may have one more connection."""
        self.failures = 0
        self.answered = True
        self.slow = self.slow or seconds > _SLOW_SECONDS
        if self.window < self.rules.max_connections:
            self.window += 1

    def slow_down(self, until: float) -> None:
        """The host has asked for a rest: leave it alone until then, and come back with half the connections."""
        self.not_before = max(self.not_before, until)
        self.window = max(1, self.window // 2)

    def grant(self, connections: int) -> None:
        """Take a share of the host's budgets: of its connections, and in the same proportion of its rate."""
        self.granted = connections
        rate = self.rules.requests_per_second
        share = connections / self.rules.max_connections
        self.interval_seconds = 1.0 / (rate * share) if rate and share else 0.0
        if self.robots is not None and self.robots.crawl_delay_seconds:
            self.granted = min(connections, 1)
            self.interval_seconds = max(self.interval_seconds, self.robots.crawl_delay_seconds)

    def take_excess(self, max_wait_seconds: float) -> list[_Item]:
        """Take back what would wait longer than so long at the host's pace, the last first."""
        if not self.interval_seconds:
            return []
        most = max(1, int(max_wait_seconds / self.interval_seconds))
        return [self.waiting.pop() for _ in range(len(self.waiting) - most)]

    def count_start(self, now: float) -> None:
        """A request begins: the next one may follow after the interval."""
        self.active += 1
        if self.interval_seconds:
            burst = min(_BURST_SECONDS, 10 * self.interval_seconds)
            if self.robots is not None and self.robots.crawl_delay_seconds:
                burst = 0.0
            self.not_before = max(self.not_before, now - burst) + self.interval_seconds


class HostQueues(Generic[_Item]):
    """The hosts and what waits for each of them.

    The order of the batch is kept as far as the hosts allow: rows leave in that order, and what has to wait for an
    older one takes memory. A connection that has just become free takes its host's next request at once, though:
    opening another one for each of 50,000 files on 10,000 hosts took 7 % longer, without TLS. A host that has not
    answered yet goes first even then, because a dead one is waited for the longest.
    """

    def __init__(self) -> None:
        self.hosts: dict[str, Host[_Item]] = {}
        self._connected: deque[Host[_Item]] = deque()
        self._line: list[tuple[int, int, Host[_Item]]] = []
        self._resting: list[tuple[float, int, Host[_Item]]] = []
        self._delayed: list[tuple[float, int, Host[_Item], _Item]] = []
        self._sequence = count()

    def add(self, host: Host[_Item], item: _Item) -> None:
        """Let an item wait for its turn, behind those of its host that wait already."""
        host.waiting.append(item)
        self.line_up(host)

    def add_later(self, host: Host[_Item], item: _Item, at: float) -> None:
        """Let an item wait until a time, then stand before all others of its host."""
        host.delayed += 1
        heapq.heappush(self._delayed, (at, next(self._sequence), host, item))

    def take(self, now: float) -> _Item | None:
        """Return the next item whose host may be asked now, counted as active until `release`."""
        self._end_pauses(now)
        while self._connected:
            host = self._connected.popleft()
            if host.not_before <= now and host.has_room and self._may_go_on(host):
                return self._begin(host, host.in_a_row + 1, now)
            self.line_up(host)
        while self._line:
            place, _, host = heapq.heappop(self._line)
            if place != host.in_line_at:
                continue
            host.in_line_at = None
            if host.not_before > now and host.closed is None:
                host.resting = True
                heapq.heappush(self._resting, (host.not_before, next(self._sequence), host))
            elif host.waiting and host.has_room:
                return self._begin(host, 1, now)
        return None

    def release(self, host: Host[_Item], *, connected: bool = False) -> None:
        """Count one item of the host as no longer active; `connected` if its connection may take the next one."""
        host.active -= 1
        if connected and host.waiting and host.in_a_row < _MAX_IN_A_ROW:
            self._connected.append(host)
        else:
            self.line_up(host)

    def next_time(self) -> float | None:
        """Return when `take` may have an item that it has not now, None when only `add` or `release` can bring one."""
        times = [heap[0][0] for heap in (self._resting, self._delayed) if heap]
        return min(times, default=None)

    def line_up(self, host: Host[_Item]) -> None:
        """Give the host a place in the line if it has work and room; needed after its budget has grown."""
        if not host.waiting or not host.has_room or (host.resting and host.closed is None):
            return
        place = host.place
        if host.in_line_at is None or place < host.in_line_at:
            # An entry further behind, if there is one, no longer counts.
            host.in_line_at = place
            heapq.heappush(self._line, (place, next(self._sequence), host))

    def _end_pauses(self, now: float) -> None:
        while self._delayed and self._delayed[0][0] <= now:
            _, _, host, item = heapq.heappop(self._delayed)
            host.delayed -= 1
            host.waiting.appendleft(item)
            self.line_up(host)
        while self._resting and self._resting[0][0] <= now:
            host = heapq.heappop(self._resting)[2]
            host.resting = False
            self.line_up(host)

    def _may_go_on(self, host: Host[_Item]) -> bool:
        """Whether a host's next request may overtake the first one in the line."""
        if not host.waiting:
            return False
        while self._line and self._line[0][0] != self._line[0][2].in_line_at:
            heapq.heappop(self._line)
        return not self._line or self._line[0][2].answered or host.place < self._line[0][0]

    def _begin(self, host: Host[_Item], in_a_row: int, now: float) -> _Item:
        host.in_a_row = in_a_row
        item = host.waiting.popleft()
        host.count_start(now)
        self.line_up(host)
        return item
