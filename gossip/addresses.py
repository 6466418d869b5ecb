"""Addresses as people write them."""

import ipaddress
import socket

import trio

from .protocol import Address
from .protocol.errors import ConfigError


def split_address(text: str, *, default_port: int | None = None) -> tuple[str, int]:
    """Host and port of ``HOST:PORT`` or ``[IPV6]:PORT``; raises `ConfigError`. The host may be a name."""
    host, colon, port = text.rpartition(":")
    if not colon or (":" in host and not host.startswith("[")) or text.endswith("]"):
        host, port = text, "" if default_port is None else str(default_port)
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise ConfigError(f"{text!r} is no address; write HOST:PORT, or [IPV6]:PORT")
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Whether ``host`` is a loopback address or the name of one."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def resolve(host: str, port: int, family: socket.AddressFamily) -> list[Address]:
    """Every address of ``host`` in that family; empty if the name does not resolve now."""
    try:
        found = await trio.socket.getaddrinfo(host, port, family=family, type=socket.SOCK_DGRAM)
    except OSError:
        return []
    return list(dict.fromkeys(Address(str(entry[4][0]), int(entry[4][1])) for entry in found))
