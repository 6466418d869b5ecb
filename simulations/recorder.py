"""Watches a cluster and keeps what a report needs: how writes spread, the traffic, who would send to whom."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from crdts import Delta, Dot, Event

from .cluster import Cluster
from .node import Node
from .observer import Observer
from .recording import NodeTotals, Sample, Spread, Summary, WriteTrace

MAX_TRACES: Final = 10_000
"""Writes whose spread is followed at most; later ones are counted only."""
SAMPLE_EACH: Final = 1.0
"""Virtual seconds between two samples."""


@dataclass(slots=True)
class _Trace:
    at: float
    node: int
    had: set[int]
    arrivals: list[tuple[float, int, int]] = field(default_factory=list)


class Recorder(Observer):
    """Follows one cluster from its first moment."""

    def __init__(self) -> None:
        self._traces: dict[Dot, _Trace] = {}
        self._before: dict[int, Counter[str]] = {}
        self._samples: list[Sample] = []
        self._seen = 0, 0
        self.written = 0
        self.refused = 0

    # ---- what happens

    def wrote(self, node: Node, events: tuple[Event, ...]) -> None:
        self.written += bool(events)
        if events and len(self._traces) < MAX_TRACES:
            self._traces[events[-1].dot] = _Trace(node.now, node.index, {node.index})

    def merged(self, node: Node, delta: Delta, new: list[Event]) -> None:
        traces = self._traces
        if delta.is_state:
            context = node.replica.store.kernel.context
            for dot, trace in traces.items():
                if node.index not in trace.had and dot in context:
                    self._arrived(trace, node)
        for event in new:
            found = traces.get((event.replica, event.seq))
            if found is not None and node.index not in found.had:
                self._arrived(found, node)

    @staticmethod
    def _arrived(trace: _Trace, node: Node) -> None:
        trace.had.add(node.index)
        trace.arrivals.append((node.now, node.index, node.index_heard()))

    def stopped(self, node: Node) -> None:
        totals = self._before.setdefault(node.index, Counter())
        totals.update(_counts(node))

    # ---- looking

    def sample(self, cluster: Cluster) -> None:
        """Look at the cluster now."""
        network = cluster.network
        sent = network.datagrams, network.datagram_bytes + cluster.streams.written
        running = cluster.running()
        states = len({node.replica.fingerprint for node in running})
        since = sent[0] - self._seen[0], sent[1] - self._seen[1]
        self._seen = sent
        self._samples.append(Sample(cluster.queue.now, len(running), states, *since))

    def samples(self) -> tuple[Sample, ...]:
        return tuple(self._samples)

    def traces(self) -> tuple[WriteTrace, ...]:
        """The writes followed, in order."""
        return tuple(WriteTrace(each.at, each.node, tuple(each.arrivals)) for each in self._traces.values())

    def totals(self, cluster: Cluster) -> tuple[NodeTotals, ...]:
        """What each node did."""
        found = []
        for node in cluster.nodes:
            sums = self._sums(node)
            bytes_sent = sums["datagram_bytes_sent"] + sums["stream_bytes_sent"]
            row = sums["datagrams_sent"], bytes_sent, sums["events_new"], sums["events_known"]
            found.append(NodeTotals(node.name, node.up, *row))
        return tuple(found)

    def _sums(self, node: Node) -> Counter[str]:
        before = self._before.get(node.index, Counter())
        return before + _counts(node) if node.up else before

    def views(self, cluster: Cluster) -> tuple[tuple[int, ...], ...]:
        """Whom each node would send to, by index."""
        place = {node.address: node.index for node in cluster.nodes}
        now = cluster.queue.now
        return tuple(
            tuple(place[m.address] for m in node.engine.members(now) if m.state == "alive") if node.up else ()
            for node in cluster.nodes
        )

    def summary(self, cluster: Cluster, ended: float, converged: float) -> Summary:
        """The run in numbers; ``ended`` is when the faults were over."""
        sums: Counter[str] = Counter()
        for node in cluster.nodes:
            sums.update(self._sums(node))
        seconds = cluster.queue.now
        node_seconds = len(cluster.nodes) * seconds
        received = sums["events_new"] + sums["events_known"]
        new = sums["events_new"]
        return Summary(
            nodes=len(cluster.nodes),
            running=len(cluster.running()),
            seconds=seconds,
            writes=self.written,
            refused=self.refused,
            delivery=Spread.of([when - each.at for each in self._traces.values() for when, _, _ in each.arrivals]),
            catch_up=Spread.of(self._catch_up(cluster, ended)),
            converged=converged,
            datagrams=cluster.network.datagrams,
            datagrams_a_node_second=sums["datagrams_sent"] / node_seconds,
            bytes_a_node_second=(sums["datagram_bytes_sent"] + sums["stream_bytes_sent"]) / node_seconds,
            redundancy=received / new if new else 1.0,
            missed_by_push=sums["events_repaired"] / new if new else 0.0,
            states_joined=sums["states_joined"],
            streams=sums["streams_opened"],
            events=cluster.queue.ran,
        )

    def _catch_up(self, cluster: Cluster, ended: float) -> list[float]:
        """For each running node, how long after the end of the faults it got the last write."""
        last = {node.index: 0.0 for node in cluster.running()}
        for trace in self._traces.values():
            for when, index, _ in trace.arrivals:
                if index in last:
                    last[index] = max(last[index], when - ended)
        return list(last.values())


_COUNTED: Final = (
    *("datagrams_sent", "datagram_bytes_sent", "stream_bytes_sent", "events_new", "events_known"),
    *("events_repaired", "states_joined", "streams_opened"),
)


def _counts(node: Node) -> Counter[str]:
    statistics = node.engine.statistics()
    return Counter({name: getattr(statistics, name) for name in _COUNTED})
