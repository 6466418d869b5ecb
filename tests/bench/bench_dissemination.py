"""Ways to send news compared: what they cost and how fast they are, in the simulator and between real processes."""

import random
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any, Final
from unittest.mock import patch

from rich.box import MARKDOWN
from rich.table import Table

from crdts import Delta, Event
from gossip.protocol import Config, Engine
from gossip.protocol.dissemination.flood import Flood
from gossip.protocol.dissemination.split_tree import SplitTree
from gossip.protocol.dissemination.strategy import MakeDissemination
from simulations import Cluster, Link
from simulations.world import node as node_module
from simulations.world.observer import Observer

from . import plumtree
from .measure import progress
from .plumtree import Plumtree


@dataclass(frozen=True)
class Way:
    """One way to send news."""

    name: str
    make: MakeDissemination
    fanout: int


FLOODS: Final = tuple(Way(f"flood, fanout {fanout}", Flood, fanout) for fanout in (3, 4, 5))
PLUMTREE: Final = Way("Plumtree", Plumtree, 4)
TREE: Final = Way("split tree", SplitTree, Config().fanout)
WAYS: Final = {way.name: way for way in (*FLOODS, PLUMTREE, TREE)}
TREES: Final = {f"split tree, fanout {k}": Way(f"split tree, fanout {k}", SplitTree, k) for k in (3, 4, 6, 8, 12)}
DELAY: Final = 0.01
"""Seconds one way, always the same."""
WRITES: Final = 50
PAUSE: Final = 0.1
"""Seconds between two writes, each by a member drawn at random."""
WARM_UP: Final = 30
"""Writes before anything is counted: Plumtree has its tree by then, and links know how long a receipt takes."""
BURST: Final = 20_000
"""Small writes in one second, by one node of thirty."""


@dataclass(frozen=True)
class Case:
    """What is measured."""

    way: str
    nodes: int
    loss: float = 0.0
    dead: int = 0
    """Members that have just died, which nobody has noticed."""
    burst: bool = False


@dataclass(frozen=True)
class Outcome:
    """Of one case; delays in one-way delays."""

    case: Case
    redundancy: float
    """Events received again for each that was new."""
    datagrams: float
    """Sent beyond those of a quiet cluster, for each event that was new somewhere; in a burst, for each write."""
    bytes: float
    p50: float
    p99: float
    most: float
    by_push: float
    """The share of deliveries that no digest had to make good."""


class _Spread(Observer):
    """How long each write takes to each node."""

    def __init__(self) -> None:
        self.written: dict[tuple[str, int], float] = {}
        self.delays: list[float] = []

    def wrote(self, node: Any, events: tuple[Event, ...]) -> None:
        for event in events:
            self.written[event.dot] = node.now

    def merged(self, node: Any, delta: Delta, new: list[Event]) -> None:
        for event in new:
            if event.dot in self.written:
                self.delays.append(node.now - self.written[event.dot])


@contextmanager
def sending(make: MakeDissemination) -> Iterator[None]:
    """Simulated nodes send news that way."""
    plumtree.install()
    with patch.object(node_module, "Engine", partial(Engine, dissemination=make)):
        yield


def measure(case: Case, way: Way | None = None) -> Outcome:
    """Run one case."""
    way = way or WAYS[case.way]
    spread = _Spread()
    with sending(way.make):
        config = Config(fanout=way.fanout, hops=12)
        cluster = Cluster(case.nodes, seed=7, warm=True, link=Link(latency=DELAY), config=config, observers=[spread])
        cluster.network.tracing = False
        rng = random.Random(7)
        cluster.run(1.0)
        _write(cluster, rng, WARM_UP)
        cluster.set_link(loss=case.loss)
        quiet = _traffic(cluster, 2.0)
        for node in rng.sample(cluster.nodes, case.dead):
            node.stop()
        spread.written.clear()
        spread.delays.clear()
        before, start = _totals(cluster), cluster.queue.now
        writes = _burst(cluster) if case.burst else _write(cluster, rng, WRITES)
        cluster.run_until_converged(timeout=120.0)
        cluster.run(0.5)
        seconds = cluster.queue.now - start
        counted = {name: value - before[name] for name, value in _totals(cluster).items()}
    new = counted["events_new"]
    useful = writes if case.burst else new
    delays = sorted(spread.delays)
    # A burst that is too much for pushes may come as a state, which does not name its events.
    assert case.burst or len(delays) == writes * (len(cluster.running()) - 1)
    return Outcome(
        case,
        counted["events_known"] / new,
        (counted["datagrams"] - quiet["datagrams"] / 2.0 * seconds) / useful,
        (counted["bytes"] - quiet["bytes"] / 2.0 * seconds) / useful,
        delays[len(delays) // 2] / DELAY,
        delays[len(delays) * 99 // 100] / DELAY,
        delays[-1] / DELAY,
        1 - counted["events_repaired"] / new,
    )


def _write(cluster: Cluster, rng: random.Random, count: int) -> int:
    for i in range(count):
        rng.choice(cluster.running()).replica.lwwmap("m").set(f"key-{i % 20}", i)
        cluster.run(PAUSE)
    return count


def _burst(cluster: Cluster) -> int:
    tasks = cluster.running()[0].replica.lwwmap("m")
    for i in range(BURST):
        tasks.set(f"key-{i % 1000}", i)
        if i % 20 == 19:
            cluster.run(0.001)
    return BURST


def _traffic(cluster: Cluster, seconds: float) -> dict[str, int]:
    before = _totals(cluster)
    cluster.run(seconds)
    return {name: value - before[name] for name, value in _totals(cluster).items()}


def _totals(cluster: Cluster) -> dict[str, int]:
    found = {"datagrams": cluster.network.datagrams, "bytes": cluster.network.datagram_bytes}
    for name in ("events_new", "events_known", "events_repaired"):
        found[name] = sum(getattr(node.engine.statistics(), name) for node in cluster.running())
    return found


def cases(large: bool) -> list[Case]:
    sizes = (30, 100, 300, 1000) if large else (30, 100)
    steady = [Case(way, n, loss) for n, loss, way in product(sizes, (0.0, 0.1, 0.3), WAYS)]
    return [*steady, *(Case(way, 30, dead=1) for way in WAYS), *(Case(way, 30, burst=True) for way in WAYS)]


def outcomes(large: bool, jobs: int = 2) -> Iterator[Outcome]:
    """Each case in a process of its own."""
    with ProcessPoolExecutor(jobs, max_tasks_per_child=1) as pool:
        for outcome in pool.map(measure, cases(large)):
            progress(str(outcome.case))
            yield outcome


def row(outcome: Outcome) -> list[str]:
    """As cells of a table."""
    case = outcome.case
    what = "20,000 writes/s" if case.burst else "1 just dead" if case.dead else f"{case.loss:.0%} loss"
    figures = (outcome.redundancy, outcome.datagrams, outcome.bytes, outcome.p50, outcome.p99, outcome.most)
    places = (2, 2, 0, 1, 1, 1)
    cells = [f"{value:,.{digits}f}" for value, digits in zip(figures, places, strict=True)]
    return [f"{case.nodes:,}", what, case.way, *cells, f"{100 * (1 - outcome.by_push):.1f}%"]


HEADINGS: Final = (
    "nodes",
    "",
    "way",
    "received again per new",
    "datagrams per new",
    "bytes per new",
    "p50",
    "p99",
    "max",
    "left to digests",
)


def table(large: bool) -> Table:
    """All of it, in Markdown that can be copied into a README."""
    made = Table(*HEADINGS, box=MARKDOWN, title="news to all, in one-way delays of 10 ms", title_justify="left")
    for outcome in outcomes(large):
        made.add_row(*row(outcome))
    return made
