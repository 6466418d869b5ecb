"""What carries a node's bytes: what the driver needs of it, and the real one, which is a UDP and a TCP socket.

Datagrams are waited for once and then taken and sent without awaiting: awaiting each costs several times as much.
"""

import socket
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeAlias

import trio
from trio.abc import HalfCloseableStream
from trio.lowlevel import enable_ki_protection

from ..protocol import Address
from .addresses import address_of, family_of, is_dual, sockaddr_of

BUFFER_BYTES: Final = 4 << 20
"""Socket buffers asked for; the system may give less."""
PORT_TRIES: Final = 32

StreamHandler: TypeAlias = Callable[[HalfCloseableStream, Address], Awaitable[None]]
"""Serves one accepted stream, which came from that address, and closes it."""


class Transport(Protocol):
    """Datagrams and streams from and to one address. The driver's tests have one in memory."""

    @property
    def address(self) -> Address:
        """Where others reach it."""

    async def receivable(self) -> None:
        """Wait until a datagram has arrived."""

    def receive(self) -> tuple[bytes, Address]:
        """A datagram that has arrived, and where from. Raises BlockingIOError if there is none, or another OSError for
        an error of an earlier one, which stops nothing.
        """

    def send(self, data: bytes, address: Address) -> None:
        """Send a datagram now. Raises BlockingIOError if there is no room for it yet, or another OSError if it is
        refused; where none is raised it may be lost all the same.
        """

    async def sendable(self) -> None:
        """Wait until there is room for a datagram."""

    async def serve_streams(self, handler: StreamHandler) -> None:
        """Accept streams until cancelled, and run ``handler`` for each in a task of its own."""

    async def connect(self, address: Address) -> HalfCloseableStream:
        """Open a stream; raises OSError. May take for ever."""


class Sockets:
    """A bound UDP socket and TCP listener on one port."""

    def __init__(self, udp: socket.socket, listener: trio.SocketListener) -> None:
        self.udp = udp
        self.listener = listener
        self.address = address_of(udp.getsockname())
        self._plain = udp.family == socket.AF_INET

    @classmethod
    def bind(cls, host: str, port: int) -> "Sockets":
        """Bind to an IP address; port 0 takes any that is free for both. Raises OSError.

        ``::`` takes IPv4 as well.
        """
        family = family_of(host)
        for tries in range(PORT_TRIES):
            udp = socket.socket(family, socket.SOCK_DGRAM)
            tcp = socket.socket(family, socket.SOCK_STREAM)
            try:
                for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                    udp.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)
                if is_dual(host):
                    for either in (udp, tcp):
                        either.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
                udp.setblocking(False)
                udp.bind(sockaddr_of(Address(host, port), family))
                tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                tcp.bind(sockaddr_of(Address(host, udp.getsockname()[1]), family))
                tcp.listen(64)
                return cls(udp, trio.SocketListener(trio.socket.from_stdlib_socket(tcp)))
            except OSError:
                udp.close()
                tcp.close()
                if port or tries == PORT_TRIES - 1:
                    raise
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Free the port."""
        self.udp.close()
        self.listener.socket.close()

    async def receivable(self) -> None:
        await trio.lowlevel.wait_readable(self.udp)

    def receive(self) -> tuple[bytes, Address]:
        data, source = self.udp.recvfrom(65_535)
        return data, Address(*source) if self._plain else address_of(source)

    def send(self, data: bytes, address: Address) -> None:
        self.udp.sendto(data, address if self._plain else sockaddr_of(address, socket.AF_INET6))

    async def sendable(self) -> None:
        await trio.lowlevel.wait_writable(self.udp)

    async def serve_streams(self, handler: StreamHandler) -> None:
        @enable_ki_protection
        async def accepted(stream: trio.SocketStream) -> None:
            try:
                address = address_of(stream.socket.getpeername())
            except OSError:  # it hung up already
                return
            await handler(stream, address)

        await trio.serve_listeners(accepted, [self.listener])

    async def connect(self, address: Address) -> HalfCloseableStream:
        return await trio.open_tcp_stream(address.host, address.port)
