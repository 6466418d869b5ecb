"""Where others reach a node, if that is not where it listens: looked up once, at its start."""

from typing import Any

from ..log import LOOPBACK_ADVERTISED
from ..protocol import Address
from ..protocol.errors import ConfigError
from ..runtime.addresses import is_ip, is_loopback, reachable, resolve, split_address


async def resolve_advertised(advertise: str | Address, *, sealed: bool) -> Address:
    """The IP address and port that others are to be told, IPv4 if it is a name that has both.

    Raises `ConfigError` for what nobody could reach; without a key (``sealed``) that is all but loopback.
    """
    address = advertise if isinstance(advertise, Address) else Address(*split_address(advertise))
    if not address.port:
        raise ConfigError(f"cannot advertise {address}: port 0 is nobody's; name the port that others reach")
    found = await resolve(*address)
    if not found:
        why = "no such address" if is_ip(address.host) else "this machine cannot resolve the name"
        raise ConfigError(f"cannot advertise {address}: {why}; check its spelling, or name an IP address")
    if reachable(found[0].host) != found[0].host:
        raise ConfigError(f"cannot advertise {address}: others find nobody there; name the address that they reach")
    outside = min(found, key=lambda address: ":" in address.host)
    if not sealed and not is_loopback(outside.host):
        raise ConfigError(f"without a cluster key nobody reaches a node at {outside}; make a key with `gossip keygen`")
    return outside


def warn_of_loopback(log: Any, advertised: Address | None, bound: Address) -> None:
    """Tell a person if a node that listens to other machines tells them an address of their own."""
    if advertised is not None and is_loopback(advertised.host) and not is_loopback(bound.host):
        log.warning(
            LOOPBACK_ADVERTISED,
            advertised=str(advertised),
            bound_to=str(bound),
            check="only this machine reaches it there; advertise the address that other machines reach, or none",
        )
