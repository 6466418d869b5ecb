"""A network in memory for whole nodes: latency, loss, cuts and broken streams on demand, on whatever clock Trio has.

It has no tasks of its own: what is under way waits at its receiver until its time has come.
"""

import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from heapq import heappop, heappush
from typing import Final

import trio
from trio.abc import HalfCloseableStream

from gossip import Address
from gossip.runtime.transport import StreamHandler

QUEUED_DATAGRAMS: Final = 2_000
"""Datagrams that wait for one receiver at most; more are lost, as in a socket's buffer."""
QUEUED_CONNECTIONS: Final = 64
QUEUED_PIECES: Final = 4
PIECE_BYTES: Final = 16 * 1024
"""A stream takes so many pieces of so many bytes before its writer has to wait for its reader."""


class MemoryNetwork:
    """Hosts 127.0.0.1, 127.0.0.2, ... that can reach each other as far as the attributes and cuts allow."""

    def __init__(self, *, latency: float = 0.001, jitter: float = 0.0, loss: float = 0.0, seed: int = 0) -> None:
        self.latency = latency
        self.jitter = jitter
        """Seconds more that a datagram may take; those that take longer are overtaken."""
        self.loss = loss
        self.breaking = 0.0
        """The share of pieces sent at which a stream breaks instead."""
        self.stalled = False
        """Whether streams, and only they, neither open nor carry anything; until `heal`."""
        self.on_sent: Callable[[Address, bytes], object] = lambda source, data: None
        """Called with every datagram and every piece of a stream that a host sends, whether or not it arrives."""
        self.streams_opened = 0
        self.streams_broken = 0
        self.rng = random.Random(seed)
        self.hosts: dict[Address, MemoryTransport] = {}
        self._cut: set[tuple[Address, Address]] = set()
        self._healed = trio.Event()

    def host(self) -> "MemoryTransport":
        """One more host."""
        address = Address(f"127.0.0.{len(self.hosts) + 1}", 4747)
        self.hosts[address] = transport = MemoryTransport(self, address)
        return transport

    def cut(self, sources: Iterable[Address], targets: Iterable[Address]) -> None:
        """Let nothing pass from any of ``sources`` to any of ``targets``; the other way is another cut."""
        targets = list(targets)
        self._cut.update((source, target) for source in sources for target in targets)

    def part(self, some: Iterable[Address], others: Iterable[Address]) -> None:
        """Cut both ways."""
        some, others = list(some), list(others)
        self.cut(some, others)
        self.cut(others, some)

    def heal(self) -> None:
        self.stalled = False
        self._cut.clear()
        self._healed.set()
        self._healed = trio.Event()

    def separates(self, source: Address, target: Address) -> bool:
        return (source, target) in self._cut

    async def passage(self, source: Address, target: Address) -> None:
        """Take the time that a piece of a stream takes; as TCP does, it tries for as long as there is a cut."""
        await trio.sleep(self.latency)
        while self.stalled or self.separates(source, target):
            await self._healed.wait()


class MemoryTransport:
    """One host's end of a network: a `gossip.runtime.transport.Transport`."""

    def __init__(self, network: MemoryNetwork, address: Address) -> None:
        self.network = network
        self.address = address
        self._inbox: list[tuple[float, int, bytes, Address]] = []
        self._sent = 0
        self._arrival = trio.Event()
        self._refusing = False
        self._taking = trio.Event()
        self._calls, self._accepting = trio.open_memory_channel[tuple["MemoryStream", Address]](QUEUED_CONNECTIONS)
        self._serving = False

    # ---- datagrams

    async def receivable(self) -> None:
        await trio.lowlevel.checkpoint()
        while not self._has_arrived():
            with trio.move_on_at(self._inbox[0][0] if self._inbox else float("inf")):
                await self._arrival.wait()

    def _has_arrived(self) -> bool:
        return bool(self._inbox) and self._inbox[0][0] <= trio.current_time()

    def receive(self) -> tuple[bytes, Address]:
        if not self._has_arrived():
            raise BlockingIOError
        _, _, data, source = heappop(self._inbox)
        return data, source

    def send(self, data: bytes, address: Address) -> None:
        if self._refusing:
            raise BlockingIOError
        network = self.network
        network.on_sent(self.address, data)
        target = network.hosts.get(address)
        if target is None:
            raise OSError(f"no route to {address}")
        if not network.separates(self.address, address) and network.rng.random() >= network.loss:
            self._sent += 1
            due = trio.current_time() + network.latency + network.jitter * network.rng.random()
            target.deliver(due, self._sent, data, self.address)

    def deliver(self, due: float, number: int, data: bytes, source: Address) -> None:
        if len(self._inbox) < QUEUED_DATAGRAMS:
            heappush(self._inbox, (due, number, data, source))
            self._arrival.set()
            self._arrival = trio.Event()

    async def sendable(self) -> None:
        await trio.lowlevel.checkpoint()
        while self._refusing:
            await self._taking.wait()

    def refuse(self, refusing: bool) -> None:
        """Have no room for datagrams, or have it again."""
        self._refusing = refusing
        self._taking.set()
        self._taking = trio.Event()

    # ---- streams

    async def serve_streams(self, handler: StreamHandler) -> None:
        self._serving = True
        try:
            async with trio.open_nursery() as nursery:
                async for stream, address in self._accepting:
                    nursery.start_soon(handler, stream, address)
        finally:
            self._serving = False
            self._hang_up_on_those_who_wait()

    def _hang_up_on_those_who_wait(self) -> None:
        with suppress(trio.WouldBlock):
            while True:
                self._accepting.receive_nowait()[0].hang_up()

    async def connect(self, address: Address) -> HalfCloseableStream:
        network = self.network
        await network.passage(self.address, address)
        await network.passage(address, self.address)
        target = network.hosts.get(address)
        if target is None or not target._serving:
            raise ConnectionRefusedError
        there, here = trio.open_memory_channel[bytes](QUEUED_PIECES), trio.open_memory_channel[bytes](QUEUED_PIECES)
        ours = MemoryStream(network, self.address, address, there[0], here[1])
        theirs = MemoryStream(network, address, self.address, here[0], there[1])
        ours.other, theirs.other = theirs, ours
        network.streams_opened += 1
        await target._calls.send((theirs, self.address))
        return ours


class MemoryStream(HalfCloseableStream):
    """One end of a stream that holds little, and breaks at random if its network says so."""

    other: "MemoryStream"

    def __init__(
        self,
        network: MemoryNetwork,
        source: Address,
        target: Address,
        out: trio.MemorySendChannel[bytes],
        into: trio.MemoryReceiveChannel[bytes],
    ) -> None:
        self._network = network
        self._way = source, target
        self._out = out
        self._into = into
        self._left = b""
        self._broken = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        data = bytes(data)
        for start in range(0, len(data), PIECE_BYTES):
            await self._network.passage(*self._way)
            if self._network.rng.random() < self._network.breaking:
                self._break()
            piece = data[start : start + PIECE_BYTES]
            self._network.on_sent(self._way[0], piece)
            with self._translated():
                await self._out.send(piece)

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def send_eof(self) -> None:
        await self._network.passage(*self._way)
        self._out.close()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if not self._left:
            with self._translated():
                try:
                    self._left = await self._into.receive()
                except trio.EndOfChannel:
                    if self._broken:
                        raise trio.BrokenResourceError from None
                    return b""
        data, self._left = self._left[:max_bytes], self._left[max_bytes:] if max_bytes else b""
        return data

    async def aclose(self) -> None:
        self.hang_up()
        await trio.lowlevel.checkpoint()

    def hang_up(self) -> None:
        self._out.close()
        self._into.close()

    def _break(self) -> None:
        self._network.streams_broken += 1
        for end in (self, self.other):
            end._broken = True
            end.hang_up()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """What is closed because the stream broke is broken, and not closed by its user."""
        try:
            yield
        except trio.ClosedResourceError:
            if self._broken:
                raise trio.BrokenResourceError from None
            raise
