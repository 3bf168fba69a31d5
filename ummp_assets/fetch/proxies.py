"""The proxies that the usual environment variables name; libcurl reads them by itself, all but `HTTP_PROXY`."""

import contextlib
import ipaddress
import os
import socket
import urllib.request
from urllib.parse import urlsplit

__all__ = ["bypasses_proxy", "literal_address", "proxy_endpoints", "upper_case_proxy"]

_DEFAULT_PORTS = {"https": 443}
_DEFAULT_PORT = 1_080  # libcurl's, for other proxies without a port


def proxy_endpoints() -> set[tuple[str, int]]:
    """Return address and port of each proxy in `http_proxy`, `https_proxy` and `all_proxy`; those whose names cannot
    be resolved are left out."""
    endpoints: set[tuple[str, int]] = set()
    for scheme, url in urllib.request.getproxies_environment().items():
        if scheme not in ("http", "https", "all"):
            continue
        parts = urlsplit(url if "://" in url else f"http://{url}")
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme, _DEFAULT_PORT)
        try:
            found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
        except OSError:
            continue
        endpoints.update((str(entry[4][0]), port) for entry in found)
    return endpoints


def upper_case_proxy() -> str | None:
    """Return the proxy for http that only `HTTP_PROXY` names: other programs heed it, libcurl does not because in a CGI
    script a request's header `Proxy` becomes that variable."""
    if "REQUEST_METHOD" in os.environ or any(os.environ.get(name) for name in ("http_proxy", "all_proxy", "ALL_PROXY")):
        return None
    return os.environ.get("HTTP_PROXY") or None


def bypasses_proxy(hostname: str) -> bool:
    """Return whether `no_proxy` sends requests for a host straight to it."""
    return bool(urllib.request.proxy_bypass(hostname))


def literal_address(hostname: str) -> str | None:
    """Return the address that a host name is already, or that `localhost` stands for; None for other names."""
    if hostname == "localhost" or hostname.endswith(".localhost"):
        return "127.0.0.1"
    with contextlib.suppress(ValueError):
        return str(ipaddress.ip_address(hostname))
    # The old forms, such as 127.1 and 0x7f000001, are addresses too.
    with contextlib.suppress(OSError):
        return socket.inet_ntoa(socket.inet_aton(hostname))
    return None
