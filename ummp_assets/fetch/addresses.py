"""Which addresses may be talked to.

The check stands at connect time, on the address that the socket really goes to: after DNS, on each redirect and for
each new connection, so that a name that resolves to a private address, or does so the second time (DNS rebinding),
does not pass. Public means global unicast by the IANA special-purpose registries, a little more strictly than
`ipaddress` knows them; that leaves out private, loopback, link-local (with the metadata services at 169.254.169.254),
multicast and reserved ones.
"""

import ipaddress
from collections.abc import Iterable

from ummp_assets.errors import InvalidSettings

__all__ = ["AddressPolicy"]

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
# All that is assigned so far; what lies outside are mapped, translated, compatible and site-local forms.
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
_NEVER_PUBLIC = tuple(
    map(
        ipaddress.ip_network,
        (
            "168.63.129.16/32",  # Azure's WireServer, which hands out a machine's secrets
            "192.0.0.0/24",  # IETF protocol assignments, Oracle Cloud's metadata among them; partly global in Python
            "192.88.99.0/24",  # 6to4 relays, deprecated
            "3fff::/20",  # documentation, unknown to Python before 3.12.4
        ),
    )
)


class AddressPolicy:
    """Allows public addresses and the networks that a site names.

    Parameters
    ----------
    allowed:
        Networks in CIDR form; raises `InvalidSettings` when one is none.
    proxies:
        Address and port of the proxies that the environment names: they are trusted, wherever they stand.
    """

    def __init__(self, allowed: Iterable[str], proxies: Iterable[tuple[str, int]] = ()) -> None:
        self._proxies = frozenset(proxies)
        try:
            self._allowed = tuple(ipaddress.ip_network(network) for network in allowed)
        except ValueError as error:
            raise InvalidSettings(f"UMMP_FETCH__ALLOWED_ADDRESSES: {error}") from error
        self._known: dict[str, bool] = {}

    def allows(self, address: str, port: int) -> bool:
        """Return whether a literal IP address may be talked to; False for anything that is none."""
        return (address, port) in self._proxies or self.is_allowed(address)

    def is_allowed(self, address: str) -> bool:
        """Return the same, whatever the port."""
        known = self._known.get(address)
        if known is None:
            known = self._known[address] = self._decide(address)
        return known

    def _decide(self, text: str) -> bool:
        try:
            address = _unwrap(ipaddress.ip_address(text.partition("%")[0]))
        except ValueError:
            return False
        if any(address in network for network in self._allowed):
            return True
        if any(address in network for network in _NEVER_PUBLIC):
            return False
        if isinstance(address, ipaddress.IPv6Address) and address not in _GLOBAL_UNICAST:
            return False
        return address.is_global and not address.is_multicast


def _unwrap(address: _Address) -> _Address:
    """Return the IPv4 address that an IPv6 one stands for (mapped, 6to4, NAT64), else the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address
