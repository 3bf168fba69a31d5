"""What is known of the hosts and shared between the runs of a deployment: robots.txt, rests, shares of the budgets."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Generic, TypeVar

from ummp_assets.fetch.hosts import Host, HostQueues, Positioned
from ummp_assets.fetch.robots import product_token, read_robots
from ummp_assets.settings import FetchSettings
from ummp_assets.storage.fetch_state import (
    LEASE_SECONDS,
    RENEW_SECONDS,
    STARVED_SECONDS,
    FetchState,
    RestingHost,
    StoredRobots,
)

__all__ = ["HostPolicy"]

_Item = TypeVar("_Item", bound=Positioned)

_HOLDER = "bulk"
# One transaction for each answer took two thirds of the time of a batch with thousands of hosts.
_ROBOTS_AT_ONCE = 500


class HostPolicy(Generic[_Item]):
    """Keeps the hosts of one running fetch in step with the shared state.

    Parameters
    ----------
    monotonic, now:
        The clocks: seconds for waiting, and the date for what is shared.
    """

    def __init__(
        self,
        settings: FetchSettings,
        state: FetchState,
        queues: HostQueues[_Item],
        monotonic: Callable[[], float],
        now: Callable[[], datetime],
    ) -> None:
        self._settings, self._state, self._queues = settings, state, queues
        self._monotonic, self._now = monotonic, now
        self._agent = product_token(settings.user_agent)
        self._leased: set[str] = set()
        self._unrecorded: dict[str, StoredRobots] = {}
        self.next_renewal = monotonic() + RENEW_SECONDS

    def introduce(self, hosts: Iterable[Host[_Item]]) -> None:
        """Learn what is known of hosts that are met for the first time."""
        by_origin = {host.origin: host for host in hosts}
        now = self._now().timestamp()
        fresh = self._state.find_robots(by_origin, fetched_after=now - self._settings.robots_cache_seconds)
        for origin, stored in fresh.items():
            by_origin[origin].robots = read_robots(stored, self._agent)
        self._heed_rests(by_origin)

    def take_shares(self, hosts: Iterable[Host[_Item]]) -> None:
        """Take a share of the budget of each host that this fetch has none of, for the first time or again."""
        missing = [host for host in hosts if host.origin not in self._leased and host.closed is None]
        if missing:
            self._lease(missing)

    def renew(self) -> None:
        """Renew the shares of the hosts still wanted, give back the others, and heed what other runs have learned."""
        self._record_robots()
        wanted = [host for host in self._queues.hosts.values() if host.is_wanted and host.closed is None]
        done = self._leased - {host.origin for host in wanted}
        if done:
            self._state.release_connections(_HOLDER, done)
            self._leased -= done
        self._heed_rests({host.origin: host for host in wanted})
        self._lease(wanted)

    def take_robots(self, host: Host[_Item], status: int, body: str) -> None:
        """Take a host's answer to /robots.txt, and keep it for other batches if it is a usable one."""
        stored = StoredRobots(status, body.replace("\0", ""), self._now().timestamp())
        host.robots = read_robots(stored, self._agent)
        if host.robots.reachable:
            self._unrecorded[host.origin] = stored
            if len(self._unrecorded) >= _ROBOTS_AT_ONCE:
                self._record_robots()
        host.grant(host.granted)

    def failed(self, host: Host[_Item], cause: str) -> None:
        """Count a failed attempt; after too many in a row the host is closed, here and for other runs."""
        host.failures += 1
        if host.failures >= self._settings.max_host_failures and host.closed is None:
            self.close_host(host, self._settings.host_rest_seconds, cause, failing=True)

    def slow_down(self, host: Host[_Item], seconds: float, cause: str) -> None:
        """The host asks for a rest that is waited for."""
        host.slow_down(self._monotonic() + seconds)
        if seconds >= 1.0:
            until = self._now().timestamp() + seconds
            self._state.record_resting({host.origin: RestingHost(until, False, cause.replace("\0", ""))})

    def close_host(self, host: Host[_Item], seconds: float, cause: str, *, failing: bool) -> None:
        """Ask nothing more of the host in this fetch, nor in others for so long."""
        until = self._now().timestamp() + seconds
        host.closed = cause
        self._queues.line_up(host)
        self._state.record_resting({host.origin: RestingHost(until, failing, cause.replace("\0", ""))})

    def close(self) -> None:
        """Give all shares back, and leave what was learned."""
        self._record_robots()
        if self._leased:
            self._state.release_connections(_HOLDER)

    def _record_robots(self) -> None:
        answers, self._unrecorded = self._unrecorded, {}
        if answers:
            self._state.record_robots(answers)

    def _heed_rests(self, hosts: dict[str, Host[_Item]]) -> None:
        now = self._now().timestamp()
        for origin, rest in self._state.find_resting(hosts, now=now).items():
            host, seconds = hosts[origin], rest.until - now
            if rest.failing or seconds > self._settings.max_retry_seconds:
                host.closed = rest.cause
                self._queues.line_up(host)
            else:
                host.not_before = max(host.not_before, self._monotonic() + seconds)

    def _lease(self, hosts: list[Host[_Item]]) -> None:
        now = self._now().timestamp()
        budgets = {host.origin: (host.rules.max_connections, host.active) for host in hosts}
        shares = self._state.lease_connections(_HOLDER, budgets, now=now, expires_at=now + LEASE_SECONDS)
        self._leased |= shares.keys()
        for host in hosts:
            host.grant(shares[host.origin])
            self._queues.line_up(host)
        starved = any(share == 0 for share in shares.values())
        self.next_renewal = self._monotonic() + (STARVED_SECONDS if starved else RENEW_SECONDS)
