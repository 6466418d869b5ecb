"""Since when two nodes have been able to hear each other as well as nodes can.

What a node believes of another may be wrong for a while after a cut, a pause or a restart, and at any time on links
that lose datagrams. It must be right where nothing of the kind has happened for long enough.
"""

from ..world.cluster import Cluster
from ..world.node import Node
from ..world.observer import Observer


class Calm(Observer):
    """Remembers what has disturbed the nodes of a cluster."""

    def __init__(self) -> None:
        self._undisturbed: dict[int, float] = {}
        self._stopped: dict[int, float] = {}
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
        if not node.holds_off:
            self._undisturbed[node.index] = node.now

    def held_off(self, node: Node) -> None:
        self._undisturbed[node.index] = float("inf")

    def took_in(self, node: Node) -> None:
        if not node.paused:
            self._undisturbed[node.index] = node.now

    def stopped(self, node: Node) -> None:
        self._undisturbed[node.index] = float("inf")
        self._stopped[node.index] = node.now

    def smooth_since(self) -> float:
        """Since when no link loses anything; infinity if one does."""
        return float("inf") if self.cluster.network.topology.is_rough else self.cluster.rough_until

    def even_since(self, one: Node, other: Node) -> float:
        """Since when neither is one of a few that others do not hear, or that do not hear them; infinity if one is.

        Whom most do not hear is rightly said to be gone, and may hear that said of another such one.
        """
        network = self.cluster.network
        return max(network.even_since(one.address), network.even_since(other.address))

    def news_since(self) -> float:
        """Since when nobody has been started, has gone on, or was let through by a cut, who may bring old news."""
        went_on = [since for since in self._undisturbed.values() if since < float("inf")]
        return max(self.cluster.network.last_lifted, *went_on, 0.0)

    def deaf_for(self, node: Node) -> float:
        """For how many seconds nothing that others send has reached a node, because of cuts."""
        others = [other for other in self.cluster.nodes if other.address != node.address]
        return min((self.cluster.network.held_for(other.address, node.address) for other in others), default=0.0)

    def undisturbed_since(self, node: Node) -> float:
        """The time since which a node has run and taken in what others send; infinity if it does not now."""
        return self._undisturbed[node.index]

    def down_for(self, node: Node) -> float:
        """How many seconds a node has been down; 0 if it runs."""
        return 0.0 if node.up else self.cluster.queue.now - self._stopped.get(node.index, self.cluster.queue.now)

    def together_since(self, one: Node, other: Node) -> float:
        """Since when both run, and no cut is between them, whatever links lose; infinity if that is not so."""
        nodes = max(self._undisturbed[one.index], self._undisturbed[other.index])
        return max(nodes, self.cluster.network.joined_since(one.address, other.address))
