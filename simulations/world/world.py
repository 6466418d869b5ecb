"""What the nodes of a simulated cluster share: virtual time, the network, ids, and chance.

A node knows its world, and neither the cluster nor the observers.
"""

import random
from collections.abc import Sequence
from typing import Any, Final

from gossip.protocol import Address, Config, seal_for
from gossip.protocol.identity import NODE_ID_BYTES, NodeId

from .network import Network
from .queue import EventQueue
from .streams import Streams
from .topology import Topology

PORT: Final = 4747


def address_of(index: int) -> Address:
    """Where the node of that index lives: 10.0.0.1, 10.0.0.2, ..."""
    block, place = divmod(index, 250)
    return Address(f"10.{block // 250}.{block % 250}.{place + 1}", PORT)


class World:
    """The surroundings of all nodes of one cluster. Everything in it follows from the seed."""

    def __init__(
        self,
        seed: int,
        topology: Topology,
        config: Config,
        key: bytes | None,
        *,
        log_limit: int,
        observers: Sequence[Any] = (),
    ) -> None:
        """``log_limit`` is that of each replica, in kills; ``key`` is the cluster's, and None for no encryption."""
        self.seed = seed
        self.config = config
        self.seal = seal_for(key)
        self.log_limit = log_limit
        self.observers = list(observers)
        """Told of what happens to the nodes. Each is an `Observer`; that class knows nodes, so this module cannot."""
        self.rng = random.Random(f"{seed} faults")
        self.nonces = random.Random(f"{seed} nonces")
        """Of all lives of all nodes."""
        self.queue = EventQueue()
        self.network = Network(self.queue, random.Random(f"{seed} network"), topology)
        self.streams = Streams(self.network)
        self.addresses: list[Address] = []
        """By the index of the node."""
        self._node_ids: list[NodeId] = []
        self._renamed: list[NodeId] = []

    def add_address(self) -> int:
        """Make the address of one more node; return the index of that node."""
        index = len(self.addresses)
        self.addresses.append(address_of(index))
        return index

    def node_id(self, who: int) -> NodeId:
        """The id of the node of that index; below 0, of one that goes on as a new node."""
        if who < 0:
            return self._renamed[-1 - who]
        while len(self._node_ids) <= who:
            rng = random.Random(f"{self.seed} node {len(self._node_ids)}")
            self._node_ids.append(NodeId(rng.randbytes(NODE_ID_BYTES)))
        return self._node_ids[who]

    def rename(self, node_id: NodeId) -> int:
        """Note the new id of a node that goes on as a new one; returns the number for it, below 0: see `node_id`."""
        self._renamed.append(node_id)
        return -len(self._renamed)

    def tell(self, what: str, *args: Any) -> None:
        """Call the method ``what`` of each observer. The first argument is the node that it is about."""
        for observer in self.observers:
            getattr(observer, what)(*args)
