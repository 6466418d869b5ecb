"""Where this machine can be reached: the addresses of its network interfaces, as they are now.

They come and go (a cable, a lease, a VPN), and no portable system tells when; so they are listed again now and then.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ..runtime.addresses import is_dual, is_loopback

LOOPBACK: Final = "127.0.0.1"
MAX_ANNOUNCED: Final = 8
"""Addresses that one node announces at most: they must fit one datagram, and the others try each of them."""


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface, by its addresses, which are without a scope."""

    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a node is reached, and where it can tell others on its network."""

    addresses: tuple[str, ...]
    """IP addresses that others may send to."""
    speaks_on: tuple[str, ...]
    """Where to multicast from: every IPv4 address, and one IPv6 address of each interface. Empty if there is no network
    just now."""

    @property
    def stays_here(self) -> bool:
        """True if nothing that is sent on the interface leaves this machine."""
        return self.speaks_on == (LOOPBACK,)


def list_interfaces() -> list[Interface]:
    """The interfaces of this machine now. Takes a millisecond or so."""
    import ifaddr  # comes with zeroconf, and costs memory as that does

    return [
        Interface(tuple(str(ip.ip if ip.is_IPv4 else ip.ip[0]).partition("%")[0] for ip in adapter.ips))
        for adapter in ifaddr.get_adapters()
    ]


def place_of(bound: str, interfaces: Iterable[Interface]) -> Place:
    """Where a node is reached that listens on the IP address ``bound``.

    A node on loopback speaks on loopback alone; so does one that listens on all addresses of a machine without a
    network, for others on that machine.
    """
    bare = bound.partition("%")[0]
    if is_loopback(bare):
        return Place((bare,), (LOOPBACK,))
    everywhere = ipaddress.ip_address(bare).is_unspecified
    addresses: list[str] = []
    speaks_on: list[str] = []
    for interface in interfaces:
        found = [
            address
            for address in interface.addresses
            if not is_loopback(address) and (_is_within(address, bound) if everywhere else address == bare)
        ]
        addresses += found
        speaks_on += [address for address in found if ":" not in address]
        # What comes from a link-local address tells which interface it came in by, and so where ours belong.
        speaks_on += sorted((address for address in found if ":" in address), key=_is_link_local)[-1:]
    if everywhere and not addresses:
        return Place((LOOPBACK,), (LOOPBACK,))
    return Place(tuple(addresses[:MAX_ANNOUNCED]), tuple(speaks_on))


def _is_link_local(address: str) -> bool:
    return ipaddress.ip_address(address).is_link_local


def _is_within(address: str, everywhere: str) -> bool:
    return ":" not in address or is_dual(everywhere)
