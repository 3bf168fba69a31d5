"""Budgets of hosts for the sources whose threads block: the same shares, rates and rests as those of bulk transfers."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Never

from ummp_assets.fetch.clock import utc_now
from ummp_assets.fetch.host_rules import rules_for
from ummp_assets.fetch.hosts import Host
from ummp_assets.fetch.source_errors import SourceError
from ummp_assets.fetch.urls import HttpUrl
from ummp_assets.reasons import Reason
from ummp_assets.settings import FetchSettings
from ummp_assets.storage.fetch_state import LEASE_SECONDS, RENEW_SECONDS, STARVED_SECONDS, FetchState, RestingHost

__all__ = ["ApiBudgets"]

_HOLDER = "api"
# How long a thread sleeps while others have all connections to its host.
_POLL_SECONDS = 0.05
# Between two pages the share of their host is kept.
_IDLE_SECONDS = 1.0


class ApiBudgets:
    """Lets threads ask hosts in turn; all methods may be called from any thread.

    Parameters
    ----------
    monotonic:
        The clock for waiting, in seconds.
    """

    def __init__(
        self, settings: FetchSettings, state: FetchState, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings, self._state, self._monotonic = settings, state, monotonic
        self._hosts: dict[str, Host[Never]] = {}
        self._renew_at: dict[str, float] = {}
        self._idle_since: dict[str, float] = {}
        self._lock = threading.Lock()

    @contextmanager
    def turn(self, url: HttpUrl) -> Iterator[None]:
        """Wait until the host may be asked, and count the request as long as the context lasts.

        Raises
        ------
        SourceError
            The host rests after failures.
        """
        while (wait_seconds := self._begin(url)) > 0:
            time.sleep(wait_seconds)
        try:
            yield
        finally:
            with self._lock:
                host = self._hosts[url.origin]
                host.active -= 1
                if not host.active:
                    self._idle_since[url.origin] = self._monotonic()

    def renew(self) -> None:
        """Keep the shares of hosts that are being asked, and give back the others, if it is time to."""
        with self._lock:
            now = self._monotonic()
            due = [host for host in self._hosts.values() if host.active and now >= self._renew_at[host.origin]]
            if due:
                self._lease(due)
            idle = [origin for origin, since in self._idle_since.items() if now - since >= _IDLE_SECONDS]
            if idle:
                self._state.release_connections(_HOLDER, idle)
            for origin in idle:
                del self._idle_since[origin], self._renew_at[origin]

    def answered(self, url: HttpUrl, *, failure: str | None, rest_seconds: float | None = None) -> None:
        """Take note of what came of a request: `failure` when the host is in trouble; it rests after too many in a row,
        and for as long as it asks."""
        with self._lock:
            host = self._hosts[url.origin]
            if rest_seconds is not None:
                host.slow_down(self._monotonic() + rest_seconds)
            elif failure is None:
                host.succeeded()
            else:
                host.failures += 1
                if host.failures >= self._settings.max_host_failures and host.closed is None:
                    host.closed = failure
                    until = utc_now().timestamp() + self._settings.host_rest_seconds
                    self._state.record_resting({host.origin: RestingHost(until, True, failure)})

    def close(self) -> None:
        """Give all shares back."""
        if self._hosts:
            self._state.release_connections(_HOLDER)

    def _begin(self, url: HttpUrl) -> float:
        """Count a request as begun and return 0, or return how long to wait before trying again, in seconds."""
        with self._lock:
            host = self._hosts.get(url.origin)
            now = self._monotonic()
            if host is None:
                host = self._hosts[url.origin] = Host(url.origin, rules_for(self._settings, url), 0)
            if now >= self._renew_at.get(url.origin, 0.0):
                self._lease([host])
            if host.closed is not None:
                raise SourceError(Reason.HOST_UNAVAILABLE, f"The host rests: {host.closed}")
            if host.not_before - now > self._settings.max_retry_seconds:
                raise SourceError(Reason.HOST_UNAVAILABLE, f"The host rests for {host.not_before - now:.0f} s")
            if not host.has_room:
                return _POLL_SECONDS
            if host.not_before > now:
                return host.not_before - now
            host.count_start(now)
            self._idle_since.pop(url.origin, None)
            return 0.0

    def _lease(self, hosts: list[Host[Never]]) -> None:
        now = utc_now().timestamp()
        budgets = {host.origin: (host.rules.max_connections, host.active) for host in hosts}
        # A listing asks for one page after another; what many listings need grows connection by connection.
        shares = self._state.lease_connections(
            _HOLDER, budgets, now=now, expires_at=now + LEASE_SECONDS, only_one_more=True
        )
        resting = self._state.find_resting(budgets, now=now)
        for host in hosts:
            host.grant(shares[host.origin])
            again = RENEW_SECONDS if shares[host.origin] == host.rules.max_connections else STARVED_SECONDS
            self._renew_at[host.origin] = self._monotonic() + again
            rest = resting.get(host.origin)
            if rest is not None and rest.failing:
                host.closed = rest.cause
            elif rest is not None:
                host.not_before = max(host.not_before, self._monotonic() + rest.until - now)
