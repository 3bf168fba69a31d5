"""`requests` under the address policy: names are resolved here and only allowed addresses are connected to."""

import contextlib
import socket
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from ummp_assets.fetch.addresses import AddressPolicy
from ummp_assets.fetch.proxies import literal_address

__all__ = ["AddressRefused", "ApiSession"]


class AddressRefused(Exception):
    """None of the host's addresses may be talked to."""


class ApiSession(requests.Session):
    """A session that connects to allowed addresses only, and through the proxies of the environment to no literal
    address that is not; credentials come from the settings alone, and where `needs_tls` is set are sent over https
    only."""

    needs_tls = False
    was_broken_off = False

    def __init__(self, addresses: AddressPolicy, user_agent: str) -> None:
        super().__init__()
        self.headers["User-Agent"] = user_agent
        # Otherwise what a .netrc says of the host takes the place of the header that the settings name.
        self.auth = _as_it_is
        self._opened: list[socket.socket] = []
        adapter = _Adapter(addresses, self._opened)
        self.mount("http://", adapter)
        self.mount("https://", adapter)

    @contextlib.contextmanager
    def broken_off_after(self, seconds: float) -> Iterator[None]:
        """Break off the connections of the session after so many seconds: `requests` limits each read alone, and a
        server may send one byte at a time."""
        self.was_broken_off = False
        timer = threading.Timer(seconds, self._break_off)
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def close(self) -> None:
        """Close all connections."""
        super().close()
        for opened in self._opened:
            opened.close()

    def _break_off(self) -> None:
        self.was_broken_off = True
        for opened in self._opened:
            with contextlib.suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


class _Adapter(HTTPAdapter):
    """Transport that checks addresses, and keeps a duplicate of each socket in `opened`."""

    def __init__(self, addresses: AddressPolicy, opened: list[socket.socket]) -> None:
        self._addresses, self._opened = addresses, opened
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = _pools(self._addresses, self._opened)

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:  # type: ignore[override]
        """Send a request; raises `AddressRefused`."""
        url = request.url or ""
        if requests.utils.select_proxy(url, options.get("proxies")):
            # The proxy connects in our place, so that the check at connect time sees only the proxy.
            address = literal_address(requests.compat.urlparse(url).hostname or "")
            if address is not None and not self._addresses.is_allowed(address):
                raise AddressRefused(f"The address {address} is not public")
        return super().send(request, **options)


def _pools(addresses: AddressPolicy, opened: list[socket.socket]) -> Mapping[str, type[HTTPConnectionPool]]:
    class Connection(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            self._dns_host = _allowed_address(self.host, self.port, addresses)
            return _noted(super()._new_conn(), opened)

    class SecureConnection(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            self._dns_host = _allowed_address(self.host, self.port, addresses)
            return _noted(super()._new_conn(), opened)

    class Pool(HTTPConnectionPool):
        ConnectionCls = Connection

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = SecureConnection

    return {"http": Pool, "https": SecurePool}


def _noted(connection: socket.socket, opened: list[socket.socket]) -> socket.socket:
    """Return the socket; the one that is in use at a time is the last of `opened`."""
    while opened:
        opened.pop().close()
    opened.append(connection.dup())
    return connection


def _allowed_address(host: str, port: int, addresses: AddressPolicy) -> str:
    """Return the first address of a host that may be talked to; an address, so that it is not resolved again."""
    found = [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    allowed = next((address for address in found if addresses.is_allowed(address)), None)
    if allowed is None:
        raise AddressRefused(f"The addresses of {host} ({', '.join(sorted(set(found)))}) are not public")
    return allowed
