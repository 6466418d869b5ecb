"""Addresses as people write them, and as sockets want them.

Everywhere else an IPv4 address is written as such, whatever socket it came through, and a link-local IPv6 address
carries the interface it belongs to, as in ``fe80::1%eth0``: without it nobody could send anything there.
"""

import errno
import ipaddress
import socket
from contextlib import suppress
from typing import Any, Final, TypeAlias

import trio

from ..protocol import Address
from ..protocol.errors import ConfigError

MAPPED: Final = "::ffff:"
"""How an IPv4 address begins on an IPv6 socket."""

MAX_PORT: Final = 65_535

SocketAddress: TypeAlias = tuple[str, int] | tuple[str, int, int, int]


def split_address(text: str) -> tuple[str, int]:
    """Host and port of ``HOST:PORT`` or ``[IPV6]:PORT``; raises `ConfigError`. The host may be a name."""
    if not isinstance(text, str):
        raise ConfigError(f"an address is text such as '127.0.0.1:4747', not {type(text).__name__}")
    host, _, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        host = ""  # a bare IPv6 address: nobody can tell where its port begins
    if not host or not host.isprintable() or not _is_port(port):
        range_ = f", with a port of {MAX_PORT} at most" if _is_number(port) and not _is_port(port) else ""
        raise ConfigError(f"{text!r} is not an address; write HOST:PORT, or [IPV6]:PORT{range_}")
    return host, int(port)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _is_port(text: str) -> bool:
    return _is_number(text) and len(text) <= 5 and int(text) <= MAX_PORT


def is_ip(host: str) -> bool:
    """True if ``host`` is an IP address and not a name."""
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """True if ``host``, an IP address, never leaves this machine."""
    return ipaddress.ip_address(host.partition("%")[0]).is_loopback


def family_of(host: str) -> socket.AddressFamily:
    """The family of ``host``, an IP address."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def families_from(host: str) -> socket.AddressFamily:
    """The family of addresses that a socket bound to ``host`` can reach; unspecified for both."""
    return socket.AddressFamily.AF_UNSPEC if is_dual(host) else family_of(host)


def can_reach(bound: str, host: str) -> bool:
    """True if a socket bound to ``bound`` can send to ``host``, both IP addresses: loopback reaches loopback only."""
    return families_from(bound) in (family_of(host), socket.AF_UNSPEC) and is_loopback(host) >= is_loopback(bound)


def is_dual(host: str) -> bool:
    """True if a socket bound to ``host`` takes both IPv4 and IPv6."""
    return host == "::"


def reachable(host: str) -> str:
    """``host``, or loopback in place of "all addresses", which is where to listen and not where to go."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104


async def resolve(host: str, port: int, family: socket.AddressFamily = socket.AddressFamily.AF_UNSPEC) -> list[Address]:
    """Every address of ``host`` in that family, or in any; empty if the name does not resolve now."""
    try:
        found = await trio.socket.getaddrinfo(host, port, family=family, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):  # UnicodeError: text that cannot be a host's name
        return []
    return list(dict.fromkeys(address_of(entry[4]) for entry in found))


def address_of(sockaddr: Any) -> Address:
    """What the system calls a socket address; of an IPv6 socket or of another."""
    host, port, *rest = sockaddr
    if host.startswith(MAPPED) and "." in host:
        return Address(host.removeprefix(MAPPED), port)
    if rest and rest[1]:
        host = f"{host.partition('%')[0]}%{_interface_name(rest[1])}"
    return Address(host, port)


def sockaddr_of(address: Address, family: socket.AddressFamily) -> SocketAddress:
    """``address`` as a socket of that family wants it. Raises OSError if it cannot reach it."""
    host, port = address
    if family != socket.AF_INET6:
        if ":" in host:
            raise OSError(errno.EAFNOSUPPORT, "an IPv4 socket reaches no IPv6 address")
        return host, port
    if ":" not in host:
        return MAPPED + host, port
    bare, _, interface = host.partition("%")
    if not interface:
        return host, port
    return bare, port, 0, int(interface) if interface.isdecimal() else socket.if_nametoindex(interface)


def _interface_name(index: int) -> str:
    with suppress(OSError):  # it has just gone
        return socket.if_indextoname(index)
    return str(index)
