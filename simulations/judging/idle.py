"""What nodes do when there is nothing to do: they look after each other for a bounded price, and nothing goes on."""

from typing import Final

from ..world.cluster import Cluster

ROUND_BYTES: Final = 400
"""Bytes that a node may send in each interval of probes, all of its answers included."""
ROUGH_FACTOR: Final = 3
"""How many times of that it may send where links lose datagrams, and members are suspect now and then."""
SHUFFLE_BYTES: Final = 10_000
"""Bytes that it may send in each interval of shuffles, if it does not list all others, greetings included."""


class Rest:
    """Measures it once."""

    def __init__(self) -> None:
        self._before = 0, 0.0
        self.bytes_a_node_second: float | None = None

    @staticmethod
    def restless(cluster: Cluster) -> str:
        """What still goes on, for people; empty if nothing does. In partial views newcomers are always greeted."""
        if cluster.streams.open_ends:
            return f"{cluster.streams.open_ends} ends of streams are open"
        for node in cluster.running():
            waiting = node.engine.statistics().candidates
            if waiting and not node.engine.is_partial:
                return f"{node.name} greets {waiting} addresses"
        return ""

    def begin(self, cluster: Cluster) -> None:
        self._before = _sent(cluster), cluster.queue.now

    def end(self, cluster: Cluster) -> None:
        sent, since = self._before
        seconds = cluster.queue.now - since
        self.bytes_a_node_second = (_sent(cluster) - sent) / seconds / max(1, len(cluster.running()))

    def dear(self, cluster: Cluster) -> str:
        """By how much it is too much, for people; empty if it is not."""
        config = cluster.config
        limit = ROUND_BYTES / config.probe_interval * (ROUGH_FACTOR if cluster.network.topology.is_rough else 1)
        if any(node.engine.is_partial for node in cluster.running()):
            limit += SHUFFLE_BYTES / config.shuffle_interval
        found = self.bytes_a_node_second or 0.0
        return f"{found:,.0f} bytes a node and second, {limit:,.0f} allowed" if found > limit else ""


def _sent(cluster: Cluster) -> int:
    return cluster.network.datagram_bytes + cluster.streams.written
