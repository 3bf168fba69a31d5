"""The proxies that the usual environment variables name; libcurl reads the same ones by itself."""

import contextlib
import ipaddress
import socket
import urllib.request
from urllib.parse import urlsplit

__all__ = ["bypasses_proxy", "literal_address", "proxy_endpoints"]

_DEFAULT_PORT = 1_080  # libcurl's, for proxies without a port


def proxy_endpoints() -> set[tuple[str, int]]:
    """Return address and port of each proxy in `http_proxy`, `https_proxy` and `all_proxy`; those whose names cannot
    be resolved are left out."""
    endpoints: set[tuple[str, int]] = set()
    for scheme, url in urllib.request.getproxies_environment().items():
        if scheme not in ("http", "https", "all"):
            continue
        parts = urlsplit(url if "://" in url else f"http://{url}")
        port = parts.port or _DEFAULT_PORT
        try:
            found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
        except OSError:
            continue
        endpoints.update((str(entry[4][0]), port) for entry in found)
    return endpoints


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
