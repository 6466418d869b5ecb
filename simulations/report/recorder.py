"""Watches a cluster and keeps what a report needs: how writes spread, the traffic, who would send to whom."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from crdts import Delta, Dot, Event
from crdts.embedding import RETIRED

from ..judging.census import Census
from ..judging.idle import Rest
from ..world.cluster import Cluster
from ..world.node import Node
from ..world.observer import Observer
from .recording import NodeTotals, Sample, Spread, Summary, WriteTrace

MAX_TRACES: Final = 10_000
"""Writes whose spread is followed at most; later ones are counted only."""
SAMPLE_EACH: Final = 1.0
"""Virtual seconds between two samples."""


@dataclass(slots=True)
class _Trace:
    at: float
    node: int
    has: set[int]
    arrivals: list[tuple[float, int, int]] = field(default_factory=list)
    losses: list[tuple[float, int]] = field(default_factory=list)

    def delays(self) -> Iterator[float]:
        """Seconds from the write to each node that got it, once a node."""
        got = set()
        for when, index, _ in self.arrivals:
            if not self.losses or index not in got:
                got.add(index)
                yield when - self.at


class Recorder(Observer):
    """Follows one cluster from its first moment."""

    def __init__(self) -> None:
        self._traces: dict[Dot, _Trace] = {}
        self._followed: dict[str, list[int]] = {}
        """For each writer, the seqs of those traces, ascending."""
        self._lives: dict[int, list[tuple[float, float]]] = {}
        self._before: dict[int, Counter[str]] = {}
        self._samples: list[Sample] = []
        self._seen = 0, 0
        self.written = 0
        self.refused = 0

    # ---- what happens

    def started(self, node: Node) -> None:
        lives = self._lives.setdefault(node.index, [])
        if lives:  # what it has is what its disk kept
            context = node.replica.store.kernel.context
            for dot, trace in self._traces.items():
                if node.index in trace.has and dot not in context:
                    trace.has.discard(node.index)
                    trace.losses.append((node.now, node.index))
        lives.append((node.now, float("inf")))

    def stopped(self, node: Node) -> None:
        totals = self._before.setdefault(node.index, Counter())
        totals.update(_counts(node))
        lives = self._lives[node.index]
        lives[-1] = lives[-1][0], node.now

    def wrote(self, node: Node, events: tuple[Event, ...]) -> None:
        if all(event.obj == RETIRED for event in events):
            return  # what nodes write by themselves
        self.written += 1
        dot = events[-1].dot if events else None
        if dot is not None and len(self._traces) < MAX_TRACES and dot not in self._traces:
            self._traces[dot] = _Trace(node.now, node.index, {node.index})
            self._followed.setdefault(dot[0], []).append(dot[1])

    def merged(self, node: Node, delta: Delta, new: list[Event]) -> None:
        traces = self._traces
        for event in new:
            found = traces.get((event.replica, event.seq))
            if found is not None and node.index not in found.has:
                self._arrived(found, node)
        if delta.runs or delta.is_state:  # what they tell of is never an event that was new
            context = node.replica.store.kernel.context
            for dot in self._told_of(delta):
                if node.index not in traces[dot].has and dot in context:
                    self._arrived(traces[dot], node)

    def _told_of(self, delta: Delta) -> Iterator[Dot]:
        """The writes we follow that a delta may bring without their events."""
        if delta.is_state:
            yield from self._traces
        for writer, start, stop in delta.runs:
            seqs = self._followed.get(writer, [])
            for seq in seqs[bisect_left(seqs, start) : bisect_left(seqs, stop)]:
                yield writer, seq

    @staticmethod
    def _arrived(trace: _Trace, node: Node) -> None:
        trace.has.add(node.index)
        trace.arrivals.append((node.now, node.index, node.index_heard()))

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
        return tuple(
            WriteTrace(each.at, each.node, tuple(each.arrivals), tuple(each.losses)) for each in self._traces.values()
        )

    def totals(self, cluster: Cluster) -> tuple[NodeTotals, ...]:
        """What each node did."""
        found = []
        for node in cluster.nodes:
            sums = self._sums(node)
            bytes_sent = sums["datagram_bytes_sent"] + sums["stream_bytes_sent"]
            row = sums["datagrams_sent"], bytes_sent, sums["events_new"], sums["events_known"]
            found.append(NodeTotals(node.name, node.up, *row, self._lives_of(node)))
        return tuple(found)

    def _lives_of(self, node: Node) -> tuple[tuple[float, float], ...]:
        return tuple((start, min(end, node.now)) for start, end in self._lives[node.index])

    def _sums(self, node: Node) -> Counter[str]:
        before = self._before.get(node.index, Counter())
        return before + _counts(node) if node.up else before

    def views(self, cluster: Cluster) -> tuple[tuple[int, ...], ...]:
        """Whom each node sends to, by index."""
        place = {node.engine.identity.node_id: node.index for node in cluster.nodes}
        return tuple(
            tuple(place[node_id] for node_id in node.engine.view() if node_id in place) if node.up else ()
            for node in cluster.nodes
        )

    def summary(self, cluster: Cluster, ended: float, converged: float | None, census: Census, rest: Rest) -> Summary:
        """The run in numbers; ``ended`` is when the faults were over."""
        sums: Counter[str] = Counter()
        for node in cluster.nodes:
            sums.update(self._sums(node))
        seconds = cluster.queue.now
        node_seconds = len(cluster.nodes) * seconds or 1.0  # a run may fail at its first instant
        received = sums["events_new"] + sums["events_known"]
        new = sums["events_new"]
        return Summary(
            nodes=len(cluster.nodes),
            running=len(cluster.running()),
            seconds=seconds,
            writes=self.written,
            refused=self.refused,
            delivery=Spread.of([delay for each in self._traces.values() for delay in each.delays()]),
            catch_up=Spread.of(self.catch_up(cluster, ended)),
            converged=converged,
            datagrams=cluster.network.datagrams,
            datagrams_a_node_second=sums["datagrams_sent"] / node_seconds,
            bytes_a_node_second=(sums["datagram_bytes_sent"] + sums["stream_bytes_sent"]) / node_seconds,
            redundancy=received / new if new else 1.0,
            missed_by_push=sums["events_repaired"] / new if new else 0.0,
            states_joined=sums["states_joined"],
            differences_joined=sums["differences_joined"],
            streams=sums["streams_opened"],
            false_failures=census.false_failures.total(),
            dead_links=census.dead_links(),
            bytes_at_rest=rest.bytes_a_node_second,
            events=cluster.queue.ran,
        )

    def catch_up(self, cluster: Cluster, ended: float) -> list[float]:
        """For each running node that has every write which any has, how long after the end of the faults it had."""
        last = {node.index: 0.0 for node in cluster.running()}
        for trace in self._traces.values():
            lacking = last.keys() - trace.has
            if len(lacking) < len(last):
                last = {index: seconds for index, seconds in last.items() if index not in lacking}
            for when, index, _ in trace.arrivals:
                if index in last:
                    last[index] = max(last[index], when - ended)
        return list(last.values())


_COUNTED: Final = (
    *("datagrams_sent", "datagram_bytes_sent", "stream_bytes_sent", "events_new", "events_known"),
    *("events_repaired", "states_joined", "differences_joined", "streams_opened"),
)


def _counts(node: Node) -> Counter[str]:
    statistics = node.engine.statistics()
    return Counter({name: getattr(statistics, name) for name in _COUNTED})
