"""`requests` under the address policy: names are resolved here and only allowed addresses are connected to."""

import socket
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from ummp_assets.fetch.addresses import AddressPolicy

__all__ = ["AddressRefused", "make_session"]


class AddressRefused(Exception):
    """None of the host's addresses may be talked to."""


def make_session(addresses: AddressPolicy, user_agent: str) -> requests.Session:
    """Return a session that connects to allowed addresses only; proxies of the environment are used as they are."""
    session = requests.Session()
    session.headers["User-Agent"] = user_agent
    adapter = _Adapter(addresses)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


class _Adapter(HTTPAdapter):
    def __init__(self, addresses: AddressPolicy) -> None:
        self._addresses = addresses
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = _pools(self._addresses)


def _pools(addresses: AddressPolicy) -> dict[str, type[HTTPConnectionPool]]:
    class Connection(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            self._dns_host = _allowed_address(self.host, self.port, addresses)
            return super()._new_conn()

    class SecureConnection(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            self._dns_host = _allowed_address(self.host, self.port, addresses)
            return super()._new_conn()

    class Pool(HTTPConnectionPool):
        ConnectionCls = Connection

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = SecureConnection

    return {"http": Pool, "https": SecurePool}


def _allowed_address(host: str, port: int, addresses: AddressPolicy) -> str:
    """Return the first address of a host that may be talked to; an address, so that it is not resolved again."""
    found = [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    allowed = next((address for address in found if addresses.is_allowed(address)), None)
    if allowed is None:
        raise AddressRefused(f"The addresses of {host} ({', '.join(sorted(set(found)))}) are not public")
    return allowed
