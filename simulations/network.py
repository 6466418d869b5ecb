"""A virtual network: datagrams that are delayed, lost, doubled, reordered or cut off; streams that break at a cut."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Protocol

from gossip.protocol import Address

from .queue import EventQueue


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """How the network treats what is sent; the same for every pair of nodes."""

    latency: tuple[float, float] = (0.0002, 0.0010)
    """One-way delay in seconds, uniform between the two: unequal delays reorder."""
    loss: float = 0.0
    """Share of datagrams lost."""
    duplication: float = 0.0
    """Share of datagrams delivered twice."""

    def __post_init__(self) -> None:
        if not 0 <= self.latency[0] <= self.latency[1]:
            raise ValueError(f"latency is (least, most) in seconds, not {self.latency}")
        for name in ("loss", "duplication"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share from 0 to 1, not {getattr(self, name)}")


class Host(Protocol):
    """What the network delivers to."""

    address: Address

    def on_datagram(self, source: Address, data: bytes) -> None: ...

    def on_stream_open(self, conn: int, source: Address) -> None: ...

    def on_stream_data(self, conn: int, data: bytes) -> None: ...

    def on_stream_writable(self, conn: int) -> None: ...

    def on_stream_closed(self, conn: int) -> None: ...

    def accept(self) -> int: ...


@dataclass(slots=True)
class _Pipe:
    """One direction of a stream: what arrives keeps its order."""

    host: Host
    conn: int
    free_at: float = 0.0
    open: bool = True
    twin: "_Pipe | None" = field(default=None, repr=False)


class Network:
    """Carries bytes between hosts in virtual time."""

    def __init__(self, queue: EventQueue, rng: random.Random, link: Link) -> None:
        self._queue = queue
        self._rng = rng
        self.link = link
        self._hosts: dict[Address, Host] = {}
        self._side: dict[Address, int] = {}
        self._pipes: dict[tuple[Address, int], _Pipe] = {}
        self._trace = blake2b(digest_size=16)
        self.taps: list[Callable[[Address, Address, bytes], None]] = []
        """Called with source, target and content of every datagram when it is sent, lost or not."""
        self.datagrams = 0
        self.largest_datagram = 0

    def trace(self) -> str:
        """A hash of everything that was sent so far, and when: equal for equal runs."""
        return self._trace.hexdigest()

    def _record(self, source: Address, target: object, data: bytes) -> None:
        self._trace.update(b"%b %d " % (f"{self._queue.now!r} {source} {target}".encode(), len(data)))
        self._trace.update(data)

    def attach(self, host: Host) -> None:
        self._hosts[host.address] = host

    def detach(self, host: Host) -> None:
        """The host is gone: what is under way to it is lost, its streams break."""
        self._hosts.pop(host.address, None)
        for (address, conn), pipe in list(self._pipes.items()):
            if address == host.address:
                self._break(pipe)
                self._pipes.pop((address, conn), None)

    def cut(self, *groups: list[Address]) -> None:
        """Let nothing pass between addresses of different groups; who is in no group stays with the first."""
        self._side = {address: i for i, group in enumerate(groups) for address in group}
        for pipe in list(self._pipes.values()):
            twin = pipe.twin
            if twin is not None and not self._joined(pipe.host.address, twin.host.address):
                self._break(pipe)

    def heal(self) -> None:
        self._side = {}

    def _joined(self, a: Address, b: Address) -> bool:
        return self._side.get(a, 0) == self._side.get(b, 0)

    def send(self, source: Address, target: Address, data: bytes) -> None:
        self._record(source, target, data)
        for tap in self.taps:
            tap(source, target, data)
        self.datagrams += 1
        self.largest_datagram = max(self.largest_datagram, len(data))
        for _ in range(2 if self._rng.random() < self.link.duplication else 1):
            if self._rng.random() >= self.link.loss:
                self._later(lambda: self._deliver(source, target, data))

    def _later(self, call: Callable[[], None]) -> None:
        self._queue.at(self._queue.now + self._rng.uniform(*self.link.latency), call)

    def _deliver(self, source: Address, target: Address, data: bytes) -> None:
        host = self._hosts.get(target)
        if host is not None and self._joined(source, target):
            host.on_datagram(source, data)

    # ---- streams

    def open_stream(self, host: Host, conn: int, target: Address) -> None:
        near = self._pipes[host.address, conn] = _Pipe(host, conn)
        self._later(lambda: self._connect(near, target))

    def _connect(self, near: _Pipe, target: Address) -> None:
        if not near.open:
            return  # given up in the meantime
        other = self._hosts.get(target)
        if other is None or not self._joined(near.host.address, target):
            self._end(near)
            return
        far = _Pipe(other, other.accept())
        near.twin, far.twin = far, near
        self._pipes[target, far.conn] = far
        other.on_stream_open(far.conn, near.host.address)
        near.host.on_stream_open(near.conn, target)

    def write(self, address: Address, conn: int, data: bytes) -> None:
        pipe = self._pipes.get((address, conn))
        if pipe is None or pipe.twin is None or not pipe.open:
            return
        self._record(address, conn, data)
        far = pipe.twin
        far.free_at = max(far.free_at, self._queue.now + self._rng.uniform(*self.link.latency))
        self._queue.at(far.free_at, lambda: self._arrive(pipe, far, data))

    def _arrive(self, near: _Pipe, far: _Pipe, data: bytes) -> None:
        if far.open:
            far.host.on_stream_data(far.conn, data)
        if near.open:
            near.host.on_stream_writable(near.conn)

    def close(self, address: Address, conn: int) -> None:
        """Close one end; the other hears of it after what was written before."""
        pipe = self._pipes.pop((address, conn), None)
        if pipe is None:
            return
        pipe.open = False
        far = pipe.twin
        if far is None:
            return
        far.free_at = max(far.free_at, self._queue.now)
        self._queue.at(far.free_at, lambda: self._end(far))

    def _break(self, pipe: _Pipe) -> None:
        for end in (pipe, pipe.twin):
            if end is not None:
                self._end(end)

    def _end(self, pipe: _Pipe) -> None:
        if pipe.open:
            pipe.open = False
            self._pipes.pop((pipe.host.address, pipe.conn), None)
            pipe.host.on_stream_closed(pipe.conn)
