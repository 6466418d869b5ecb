"""Since when two nodes have been able to hear each other as well as nodes can.

What a node believes of another may be wrong for a while after a cut, a pause or a restart, and at any time on links
that lose datagrams. It must be right where nothing of the kind has happened for long enough.
"""

from .cluster import Cluster
from .node import Node
from .observer import Observer


class Calm(Observer):
    """Remembers what has disturbed the nodes of a cluster."""

    def __init__(self) -> None:
        self._undisturbed: dict[int, float] = {}
        self._cluster: Cluster | None = None

    @property
    def cluster(self) -> Cluster:
        assert self._cluster is not None
        return self._cluster

    def watch(self, cluster: Cluster) -> None:
        """Of this cluster; it must have been made with this among its observers."""
        self._cluster = cluster

    def started(self, node: Node) -> None:
        self._undisturbed[node.index] = node.now

    def paused(self, node: Node) -> None:
        self._undisturbed[node.index] = float("inf")

    def resumed(self, node: Node) -> None:
        self._undisturbed[node.index] = node.now

    def stopped(self, node: Node) -> None:
        self._undisturbed[node.index] = float("inf")

    def smooth_since(self) -> float:
        """Since when no link loses anything, and whoever is heard hears as well; infinity if that is not so.

        Under a one-way cut a node that nobody hears is rightly said to be gone by those whom it hears.
        """
        network = self.cluster.network
        return float("inf") if network.topology.is_rough else max(self.cluster.rough_until, network.even_since())

    def together_since(self, one: Node, other: Node) -> float:
        """Since when both run, and no cut is between them, whatever links lose; infinity if that is not so."""
        nodes = max(self._undisturbed[one.index], self._undisturbed[other.index])
        return max(nodes, self.cluster.network.joined_since(one.address, other.address))
