"""Streams on the virtual network: in order and without loss, until they break."""

from dataclasses import dataclass, field

from gossip.protocol import Address

from .network import Host, Network


@dataclass(slots=True, eq=False)
class _Pipe:
    """One end of a stream: what arrives at it keeps its order."""

    host: Host
    conn: int
    free_at: float = 0.0
    open: bool = True
    twin: "_Pipe | None" = field(default=None, repr=False)


class Streams:
    """Connects hosts by streams. A cut in either direction breaks them: an acknowledgement has to come back."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._queue = network.queue
        self._pipes: dict[tuple[Address, int], _Pipe] = {}
        network.on_cut.append(self._break_cut)
        self.written = 0
        """Bytes."""
        self.broken = 0
        """Streams that a link broke by itself."""

    @property
    def open_ends(self) -> int:
        """Ends of streams that are open or being opened."""
        return len(self._pipes)

    def open_at(self, address: Address) -> list[int]:
        """The streams that are open, or being opened, at a host."""
        return [conn for host, conn in self._pipes if host == address]

    def _passes(self, one: Address, other: Address) -> bool:
        return self._network.passes(one, other) and self._network.passes(other, one)

    def _break_cut(self) -> None:
        for pipe in list(self._pipes.values()):
            twin = pipe.twin
            if twin is not None and not self._passes(pipe.host.address, twin.host.address):
                self._break(pipe)

    def detach(self, host: Host) -> None:
        """The host is gone: its streams break."""
        for key, pipe in list(self._pipes.items()):
            if pipe.host is host:
                self._break(pipe)
                self._pipes.pop(key, None)

    def open(self, host: Host, conn: int, target: Address) -> None:
        near = self._pipes[host.address, conn] = _Pipe(host, conn)
        self._queue.at(self._queue.now + self._delay(host.address, target), self._connect, near, target)

    def _delay(self, source: Address, target: Address) -> float:
        return self._network.link(source, target).delay.sample(self._network.rng)

    def _connect(self, near: _Pipe, target: Address) -> None:
        if not near.open:
            return  # given up in the meantime
        other = self._network.hosts.get(target)
        if other is None or not self._passes(near.host.address, target):
            self._end(near)
            return
        far = _Pipe(other, other.accept())
        near.twin, far.twin = far, near
        self._pipes[target, far.conn] = far
        other.on_stream_open(far.conn, near.host.address)
        near.host.on_stream_open(near.conn, target)

    def write(self, address: Address, conn: int, data: bytes) -> None:
        """Carry bytes to the other end; a loss is resent by TCP, and not modelled."""
        pipe = self._pipes.get((address, conn))
        if pipe is None or pipe.twin is None or not pipe.open:
            return
        network, far = self._network, pipe.twin
        self.written += len(data)
        network.record(address, conn, data)
        link = network.link(address, far.host.address)
        if link.stream_breaks and network.rng.random() < link.stream_breaks:
            self._queue.at(self._queue.now, self._break_by_itself, pipe)
            return
        delay = link.delay.sample(network.rng)
        if link.bandwidth:
            channel = network.channel(address, far.host.address)
            start = max(channel.free_at, self._queue.now)
            channel.free_at = start + len(data) / link.bandwidth
            delay += channel.free_at - self._queue.now
        far.free_at = max(far.free_at, self._queue.now + delay)
        self._queue.at(far.free_at, self._arrive, pipe, far, data)

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
        self._queue.at(far.free_at, self._end, far)

    def _break_by_itself(self, pipe: _Pipe) -> None:
        self.broken += pipe.open
        self._break(pipe)

    def _break(self, pipe: _Pipe) -> None:
        for end in (pipe, pipe.twin):
            if end is not None:
                self._end(end)

    def _end(self, pipe: _Pipe) -> None:
        if pipe.open:
            pipe.open = False
            self._pipes.pop((pipe.host.address, pipe.conn), None)
            pipe.host.on_stream_closed(pipe.conn)
