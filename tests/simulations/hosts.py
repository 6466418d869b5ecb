"""Hosts on a virtual network that only write down what reaches them."""

import random
from dataclasses import dataclass, field

from gossip.protocol import Address
from simulations import EventQueue, Link, Network, Topology
from simulations.world.streams import Streams
from simulations.world.topology import NEAR


class Sink:
    """A host that writes down what it gets, from whom, and when."""

    def __init__(self, network: Network, host: str, index: int) -> None:
        self.address = Address(host, 1)
        self.index = index
        self.network = network
        self.got: list[object] = []
        self.heard: list[tuple[float, Address, bytes]] = []
        """Datagrams only."""
        self.times: list[float] = []
        """Of everything in `got`."""
        network.attach(self)

    def _note(self, what: object) -> None:
        self.got.append(what)
        self.times.append(self.network.queue.now)

    def on_datagram(self, source: Address, data: bytes) -> None:
        self.heard.append((self.network.queue.now, source, data))
        self._note(data)

    def accept(self) -> int:
        return 1

    def on_stream_open(self, conn: int, source: Address) -> None:
        self._note(("open", conn))

    def on_stream_data(self, conn: int, data: bytes) -> None:
        self._note(data)

    def on_stream_writable(self, conn: int) -> None:
        self._note(("writable", conn))

    def on_stream_closed(self, conn: int) -> None:
        self._note(("closed", conn))


@dataclass
class World:
    """A network of a few sinks."""

    hosts: int = 2
    link: Link = NEAR
    topology: Topology | None = None
    seed: int = 1
    queue: EventQueue = field(default_factory=EventQueue)

    def __post_init__(self) -> None:
        topology = self.topology or Topology(near=self.link)
        self.network = Network(self.queue, random.Random(self.seed), topology)
        self.streams = Streams(self.network)
        self.sinks = [Sink(self.network, f"10.0.0.{index + 1}", index) for index in range(self.hosts)]

    def send(self, source: int, target: int, data: bytes) -> None:
        self.network.send(self.sinks[source].address, self.sinks[target].address, data)

    def send_many(self, count: int, *, every: float = 0.0, size: int = 4) -> None:
        """From the first to the second, each with its number, ``every`` so many seconds."""
        for number in range(count):
            data = number.to_bytes(4, "big").ljust(size, b".")
            self.queue.at(self.queue.now + number * every, self.send, 0, 1, data)
        self.queue.run_until(self.queue.now + count * every + 100.0)

    def numbers(self) -> list[int]:
        """Those of the datagrams that have reached the second."""
        return [int.from_bytes(data[:4], "big") for _, _, data in self.sinks[1].heard]
