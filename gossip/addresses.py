"""Addresses as people write them."""

import ipaddress
import socket

import trio

from .protocol import Address
from .protocol.errors import ConfigError


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
        raise ConfigError(f"{text!r} is not an address; write HOST:PORT, or [IPV6]:PORT")
    return host, int(port)


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65_535


def is_ip(host: str) -> bool:
    """Whether ``host`` is an IP address and not a name."""
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether ``host``, an IP address, never leaves this machine."""
    return ipaddress.ip_address(host.partition("%")[0]).is_loopback


def family_of(host: str) -> socket.AddressFamily:
    """The family of ``host``, an IP address."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _flags(family: socket.AddressFamily) -> int:
    """An IPv6 socket reaches IPv4 addresses in their mapped form."""
    return getattr(socket, "AI_V4MAPPED", 0) if family == socket.AF_INET6 else 0


def reachable(host: str) -> str:
    """``host``, or loopback in place of "all addresses", which is where to listen and not where to go."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104


async def resolve(host: str, port: int, family: socket.AddressFamily = socket.AddressFamily.AF_UNSPEC) -> list[Address]:
    """Every address of ``host`` in that family, or in any; empty if the name does not resolve now."""
    try:
        found = await trio.socket.getaddrinfo(host, port, family=family, type=socket.SOCK_DGRAM, flags=_flags(family))
    except (OSError, UnicodeError):  # UnicodeError: text that cannot be a host's name
        return []
    return list(dict.fromkeys(Address(str(entry[4][0]), int(entry[4][1])) for entry in found))
