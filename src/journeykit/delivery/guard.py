"""
Keeps requests to addresses that others have named inside the public internet.

A name is no address: it is resolved here, each address that it leads to is judged, and the
connection goes to the address that was judged and to no other.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Final

import attrs

from journeykit.model.journey import to_tuple

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: What is not a place of the public internet, or leads back into a private one.
_SPECIAL: Final = {
    ipaddress.ip_network(network): what
    for network, what in {
        "0.0.0.0/8": "this host",
        "10.0.0.0/8": "private",
        "100.64.0.0/10": "shared by a provider's customers",
        "127.0.0.0/8": "this host",
        "169.254.0.0/16": "link-local, where clouds keep their metadata",
        "172.16.0.0/12": "private",
        "192.0.0.0/24": "reserved",
        "192.0.2.0/24": "for documentation",
        "192.88.99.0/24": "a relay into IPv6",
        "192.168.0.0/16": "private",
        "198.18.0.0/15": "for benchmarks",
        "198.51.100.0/24": "for documentation",
        "203.0.113.0/24": "for documentation",
        "224.0.0.0/4": "multicast",
        "233.252.0.0/24": "for documentation",
        "240.0.0.0/4": "reserved",
        "::/96": "this host",
        "::ffff:0:0:0/96": "translated to IPv4",
        "64:ff9b::/96": "translated to IPv4",
        "64:ff9b:1::/48": "translated to IPv4",
        "100::/64": "discarded",
        "2001::/23": "reserved",
        "2001:db8::/32": "for documentation",
        "2002::/16": "a tunnel to IPv4",
        "3fff::/20": "for documentation",
        "5f00::/16": "for segment routing",
        "fc00::/7": "private",
        "fe80::/10": "link-local",
        "fec0::/10": "private",
        "ff00::/8": "multicast",
    }.items()
}

#: An IPv4 address in the dress of IPv6, as translators at the edge of a network make it.
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


class Refused(OSError):
    """An address may not be connected to; the message says which and why."""


def _to_networks(values: object) -> tuple[Network, ...]:
    # `strict=False`: "10.1.2.3/8" means what everybody thinks that it means.
    return tuple(ipaddress.ip_network(value, strict=False) for value in to_tuple(values))  # type: ignore[arg-type]


@attrs.frozen
class Guard:
    """
    Which addresses may be connected to.

    Args:
        allow: Networks that are not public, and may be connected to all the same: `"10.1.0.0/16"`,
            or one address.

        ports: The only ports; None for all.
    """

    allow: tuple[Network, ...] = attrs.field(default=(), converter=_to_networks)
    ports: frozenset[int] | None = attrs.field(
        default=None, converter=attrs.converters.optional(frozenset)
    )

    def objection(self, address: str | Address) -> str | None:
        """Return what is to be said against *address*, or None."""
        if isinstance(address, str):
            address = ipaddress.ip_address(address.partition("%")[0])
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if any(address in network for network in self.allow if network.version == address.version):
            # Who allows the translator has not allowed what lies behind it.
            inner = _translated(address)
            return self.objection(inner) if inner is not None else None
        for network, what in _SPECIAL.items():
            if network.version == address.version and address in network:
                return what
        return None

    def addresses(self, host: str, port: int) -> list[str]:
        """
        Return the addresses that *host* leads to and that may be connected to.

        Raises:
            Refused: There are none such.

            OSError: The name leads nowhere.
        """
        if self.ports is not None and port not in self.ports:
            allowed = ", ".join(map(str, sorted(self.ports)))
            raise Refused(f"port {port} is not allowed; allowed are {allowed}")
        objections = []
        found = []
        for _, _, _, _, where in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            address = str(where[0])
            objection = self.objection(address)
            if objection is None:
                found.append(address)
            else:
                objections.append(f"{address} ({objection})")
        if not found:
            raise Refused(
                f"it leads to {', '.join(dict.fromkeys(objections))}; allow it to go there"
            )
        return list(dict.fromkeys(found))

    def connect(self, host: str, port: int, timeout: float) -> socket.socket:
        """
        Return a connection to *host*, at an address that may be connected to.

        Raises:
            Refused: There is no such address.

            OSError: None of them could be connected to.
        """
        failure: OSError | None = None
        for address in self.addresses(host, port):
            try:
                connection = socket.create_connection((address, port), timeout)
            except OSError as error:
                failure = error
                continue
            try:
                self.check(connection.getpeername()[0])
            except OSError:
                connection.close()
                raise
            return connection
        raise failure or OSError(f"{host} leads nowhere")

    def check(self, address: str) -> None:
        """Raise `Refused` if *address*, to which a connection stands, may not be connected to."""
        objection = self.objection(address)
        if objection is not None:
            raise Refused(f"it leads to {address} ({objection}); allow it to go there")


def _translated(address: Address) -> ipaddress.IPv4Address | None:
    if isinstance(address, ipaddress.IPv6Address) and address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return None
