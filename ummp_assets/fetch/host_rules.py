"""What holds at one host: the general rules of the settings, overridden by what they say about that host."""

import base64
import ipaddress
from dataclasses import dataclass

from ummp_assets.errors import InvalidSettings
from ummp_assets.fetch.urls import HttpUrl
from ummp_assets.settings import FetchSettings, HostSettings

__all__ = ["HostRules", "rules_for"]

_NOTHING = HostSettings()


@dataclass(frozen=True, slots=True)
class HostRules:
    """Budgets, opt-outs that are kept, and request headers (credentials among them: never log or store them)."""

    max_connections: int
    requests_per_second: float | None
    respect_robots: bool
    respect_noai: bool
    respect_tdm_reservation: bool
    headers: tuple[str, ...]

    def __repr__(self) -> str:
        return f"HostRules(max_connections={self.max_connections}, requests_per_second={self.requests_per_second})"


def rules_for(settings: FetchSettings, url: HttpUrl) -> HostRules:
    """Return the rules for a URL's host; an entry for `host:port` wins over one for `host`.

    Raises `InvalidSettings` for request headers that cannot be sent.
    """
    authority = url.origin.partition("://")[2]
    own = settings.hosts.get(authority) or settings.hosts.get(url.hostname) or _NOTHING
    rate = own.requests_per_second
    if rate is None and not _is_this_machine(url.hostname):
        rate = settings.requests_per_second_per_host
    return HostRules(
        max_connections=own.max_connections or settings.max_connections_per_host,
        requests_per_second=rate,
        respect_robots=_first(own.respect_robots, settings.respect_robots),
        respect_noai=_first(own.respect_noai, settings.respect_noai),
        respect_tdm_reservation=_first(own.respect_tdm_reservation, settings.respect_tdm_reservation),
        headers=_headers(own),
    )


def _first(own: bool | None, general: bool) -> bool:
    return general if own is None else own


def _headers(own: HostSettings) -> tuple[str, ...]:
    lines = [f"{name}: {value.get_secret_value()}" for name, value in own.headers.items()]
    if not all(line.isascii() for line in lines):
        raise InvalidSettings("UMMP_FETCH__HOSTS: a header holds characters that are not ASCII")
    if own.username is not None:
        password = own.password.get_secret_value() if own.password else ""
        token = base64.b64encode(f"{own.username}:{password}".encode()).decode()
        lines.append(f"Authorization: Basic {token}")
    return tuple(lines)


def _is_this_machine(hostname: str) -> bool:
    if hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(hostname).is_loopback
    except ValueError:
        return False
