"""A virtual network: datagrams that are delayed, lost, doubled, reordered, spoiled, queued or cut off."""

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, Protocol

from gossip.protocol import Address

from .link import Link
from .queue import EventQueue
from .topology import Topology

HEADER_BYTES: Final = 28
"""What IPv4 and UDP add to a datagram."""
PAST_CUTS: Final = 4096
"""Lifted cuts that are remembered at most."""


class Host(Protocol):
    """What the network delivers to."""

    address: Address
    index: int
    """Its place in the topology."""

    def on_datagram(self, source: Address, data: bytes) -> None: ...

    def on_stream_open(self, conn: int, source: Address) -> None: ...

    def on_stream_data(self, conn: int, data: bytes) -> None: ...

    def on_stream_writable(self, conn: int) -> None: ...

    def on_stream_closed(self, conn: int) -> None: ...

    def accept(self) -> int: ...


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """Nothing passes between addresses of different groups.

    Who is in none is with the first; if it is ``one_way``, with the second, and so is not muted with the first.
    """

    side: dict[Address, int]
    one_way: bool = False
    """Only what goes from a group to a later one is held."""

    def blocks(self, source: Address, target: Address) -> bool:
        one, other = self.side_of(source), self.side_of(target)
        return one < other if self.one_way else one != other

    def side_of(self, address: Address) -> int:
        return self.side.get(address, int(self.one_way))

    def is_lesser(self, address: Address) -> bool:
        """True if no more than half of the addresses in the cut are on the side of that address."""
        sides = list(self.side.values())
        return 2 * sides.count(self.side_of(address)) <= len(sides)


@dataclass(slots=True)
class _Channel:
    """What one direction between two nodes remembers, if its link has a memory."""

    in_burst: bool = False
    state_until: float = 0.0
    free_at: float = 0.0
    """When the bandwidth has done with all that was accepted so far."""


class Network:
    """Carries datagrams between hosts in virtual time, and tells what it did."""

    def __init__(self, queue: EventQueue, rng: random.Random, topology: Topology) -> None:
        self.queue = queue
        self.rng = rng
        self.topology = topology
        self.hosts: dict[Address, Host] = {}
        self._index: dict[Address, int] = {}
        self._cuts: list[tuple[Cut, float]] = []
        self._past_cuts: deque[tuple[Cut, float]] = deque(maxlen=PAST_CUTS)
        self._channels: dict[tuple[Address, Address], _Channel] = {}
        self._trace = blake2b(digest_size=16)
        self.on_cut: list[Callable[[], None]] = []
        """Called when less passes than before."""
        self.taps: list[Callable[[Address, Address, bytes], None]] = []
        """Called with source, target and content of every datagram when it is sent, lost or not."""
        self.on_stranger: list[Callable[[Address, Address, bytes], None]] = []
        """Called in the same way when a datagram is delivered whose source is no host, or not any more."""
        self.tracing = True
        """True if `trace` covers what is sent from now on."""
        self.datagrams = 0
        self.datagram_bytes = 0
        self.largest_datagram = 0

    def trace(self) -> str:
        """A hash of everything that was sent so far, and when: equal for equal runs."""
        return self._trace.hexdigest()

    def record(self, source: Address, target: object, data: bytes) -> None:
        """Let the trace cover this."""
        if self.tracing:
            self._trace.update(f"{self.queue.now!r} {source} {target} {len(data)} ".encode())
            self._trace.update(data)

    def attach(self, host: Host) -> None:
        self.hosts[host.address] = host
        self._index[host.address] = host.index

    def detach(self, host: Host) -> None:
        """The host is gone: what is under way to it is lost."""
        if self.hosts.get(host.address) is host:
            del self.hosts[host.address]

    # ---- cuts

    def add_cut(self, cut: Cut) -> Callable[[], None]:
        """Hold what the cut blocks, besides other cuts; returns a function that lifts it."""
        under_way = cut, self.queue.now
        self._cuts.append(under_way)
        for told in self.on_cut:
            told()

        def lift() -> None:
            if under_way in self._cuts:
                self._cuts.remove(under_way)
                self._past_cuts.append((cut, self.queue.now))

        return lift

    def heal(self) -> None:
        """Lift all cuts."""
        self._past_cuts += [(cut, self.queue.now) for cut, _ in self._cuts]
        self._cuts.clear()

    def place_beside(self, address: Address, other: Address) -> None:
        """Put a new address on the same side of every cut as ``other``."""
        for cut, _ in self._cuts:
            cut.side[address] = cut.side_of(other)

    def joined_since(self, one: Address, other: Address) -> float:
        """Since when nothing is held that goes from one to the other or back: 0 for always, infinity if it is."""
        if not (self.passes(one, other) and self.passes(other, one)):
            return float("inf")
        lifted = [when for cut, when in self._past_cuts if cut.blocks(one, other) or cut.blocks(other, one)]
        return max(lifted, default=0.0)

    def passes(self, source: Address, target: Address) -> bool:
        """True if no cut holds what goes from one to the other."""
        return not self._cuts or not any(cut.blocks(source, target) for cut, _ in self._cuts)

    def even_since(self, address: Address) -> float:
        """Since when a node hears most of the others if they hear it, and is heard if it hears, as far as cuts go:
        infinity while it does not.
        """
        if any(cut.one_way and cut.is_lesser(address) for cut, _ in self._cuts):
            return float("inf")
        lifted = [when for cut, when in self._past_cuts if cut.one_way and cut.is_lesser(address)]
        return max(lifted, default=0.0)

    @property
    def last_lifted(self) -> float:
        """When a cut was last lifted."""
        return self._past_cuts[-1][1] if self._past_cuts else 0.0

    def held_for(self, source: Address, target: Address) -> float:
        """For how many seconds a cut has held what goes from one to the other; 0 if none does."""
        return max((self.queue.now - start for cut, start in self._cuts if cut.blocks(source, target)), default=0.0)

    # ---- datagrams

    def link(self, source: Address, target: Address) -> Link:
        """The link between two addresses; strangers are where node 0 is."""
        index = self._index
        return self.topology.link(index.get(source, 0), index.get(target, 0))

    def send(self, source: Address, target: Address, data: bytes) -> None:
        """Carry a datagram as well as the link does; ``source`` is what it says on it, and may be forged."""
        size = len(data)
        if self.tracing:
            self.record(source, target, data)
        for tap in self.taps:
            tap(source, target, data)
        self.datagrams += 1
        self.datagram_bytes += size
        self.largest_datagram = max(self.largest_datagram, size)
        link, rng = self.link(source, target), self.rng
        wait = 0.0
        if link.bandwidth or link.burst_every:
            channel = self._channels.setdefault((source, target), _Channel())
            if self._in_burst(link, channel) and rng.random() < link.burst_loss:
                return
            wait = self.wait_for_bandwidth(link, channel, size + HEADER_BYTES)
            if wait < 0:
                return
        if link.mtu and size + HEADER_BYTES > link.mtu:
            return
        self._carry(link, source, target, data, wait)
        if link.duplication and rng.random() < link.duplication:
            self._carry(link, source, target, data, wait)
        if link.echoes and rng.random() < link.echoes:
            self._carry(link, source, target, data, wait + rng.uniform(0.0, link.echo_delay))

    def _carry(self, link: Link, source: Address, target: Address, data: bytes, wait: float) -> None:
        rng = self.rng
        if link.loss and rng.random() < link.loss:
            return
        if link.corruption and rng.random() < link.corruption:
            data = _spoiled(data, rng)
        if link.reordering and rng.random() < link.reordering:
            wait += rng.uniform(0.0, link.reorder_delay)
        self.queue.at(self.queue.now + wait + link.delay.sample(rng), self._deliver, source, target, data)

    def _deliver(self, source: Address, target: Address, data: bytes) -> None:
        host = self.hosts.get(target)
        if host is not None and self.passes(source, target):
            if source not in self.hosts:
                for told in self.on_stranger:
                    told(source, target, data)
            host.on_datagram(source, data)

    def _in_burst(self, link: Link, channel: _Channel) -> bool:
        if not (link.burst_every and link.burst_length):
            return False
        now = self.queue.now
        while channel.state_until <= now:
            channel.in_burst = not channel.in_burst and channel.state_until > 0
            mean = link.burst_length if channel.in_burst else link.burst_every
            channel.state_until = max(channel.state_until, now - 10 * mean) + self.rng.expovariate(1 / mean)
        return channel.in_burst

    def wait_for_bandwidth(self, link: Link, channel: _Channel, size: int) -> float:
        """Seconds until the bandwidth has taken so many bytes; negative if they do not fit the queue."""
        if not link.bandwidth:
            return 0.0
        now = self.queue.now
        waiting = max(0.0, channel.free_at - now)
        if waiting * link.bandwidth + size > link.queue_bytes:
            return -1.0
        channel.free_at = now + waiting + size / link.bandwidth
        return channel.free_at - now

    def channel(self, source: Address, target: Address) -> _Channel:
        """What that direction remembers."""
        return self._channels.setdefault((source, target), _Channel())


def _spoiled(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
