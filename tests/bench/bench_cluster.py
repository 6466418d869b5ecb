"""A cluster of real processes on this machine, and serf agents in the same run where serf is installed.

Both run in a network namespace of their own where that is permitted, one after the other, part by part. What is
written is as small, what is sent is encrypted, on both sides; times are of one clock, `time.monotonic`.
"""

import argparse
import math
import random
import statistics
import sys
from dataclasses import dataclass, field
from typing import Final

from rich.table import Table

from . import cluster_parts, cluster_serf, namespace
from .cluster_base import Cluster
from .cluster_gossip import GossipCluster
from .cluster_parts import PARTS, Disturbance, Plan
from .cluster_serf import SerfCluster
from .measure import Figure, Row, progress

NAMES: Final = ("join", *PARTS)
SYSTEMS: Final[dict[str, type[Cluster]]] = {"gossip": GossipCluster, "serf": SerfCluster}
OURS: Final = {"gossip": "ours"}
"""The name a system has in a row, if not its own."""
TARGETS: Final = {
    "join until all list all, slowest": 0.6,
    "spread, p99": 0.045,
    "kill -9 until the last knows, slowest": 5.0,
    "25% loss: members falsely failed anywhere": 0,
    "25% loss: (write, node) pairs missed": 0,
    "25% loss: spread, p99": 0.6,
    "idle: sent by a node, UDP payload": 360,
    "idle: CPU of a node a minute": 0.14,
    "idle: resident memory of a node (RSS)": 35,
}
"""What is asked for with 30 nodes; at most so much of each."""
ORDER: Final = {"join": 0, "join,": 0, "disturbance:": 2}
"""Rows that come first and last, by their first word."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("cluster")
    usual = Plan()
    group.add_argument("--nodes", type=int, default=usual.nodes, help="processes of each system")
    group.add_argument("--only", help=f"parts, with commas between: {','.join(NAMES)}")
    group.add_argument("--system", choices=tuple(SYSTEMS), help="only this one")
    group.add_argument("--starts", type=int, default=usual.starts, help="starts whose joining is timed")
    group.add_argument("--writes", type=int, default=usual.writes, help="writes whose spread is timed")
    group.add_argument("--kills", type=int, default=usual.kills, help="nodes killed, one after the other")
    group.add_argument("--loss-seconds", type=float, default=usual.loss_seconds, help="how long packets are lost")
    group.add_argument("--idle-seconds", type=float, default=usual.idle_seconds, help="how long nothing happens")
    group.add_argument("--seed", type=int, default=0, help="decides who writes and who is killed")


@dataclass(slots=True)
class Results:
    """What was measured, by system."""

    rows: dict[tuple[str, str], dict[str, float]] = field(default_factory=dict)
    joins: dict[str, list[float]] = field(default_factory=dict)

    def add(self, system: str, figures: list[Figure]) -> None:
        """Keep figures, and show them already, as the whole takes long and may be interrupted."""
        for figure in figures:
            print(f"{system}: {figure.name}: {_number(figure.value)} {figure.unit}", file=sys.stderr)
            self.rows.setdefault((figure.name, figure.unit), {})[OURS.get(system, system)] = figure.value

    def finish(self) -> list[Row]:
        for system, seconds in self.joins.items():
            figures = [
                Figure("join until all list all, median", statistics.median(seconds), "s"),
                Figure("join until all list all, slowest", max(seconds), "s"),
                Figure("join, clusters started", len(seconds), ""),
            ]
            self.add(system, figures)
        ordered = sorted(self.rows.items(), key=lambda row: ORDER.get(row[0][0].split()[0], 1))
        return [Row(name, unit, values) for (name, unit), values in ordered]


def rows(arguments: argparse.Namespace) -> list[Row]:
    """Everything asked for. In a namespace this program starts again before it measures anything."""
    inside = namespace.enter("tests.bench")
    if not inside:
        print("not in a network namespace, which takes root, ip and iptables: fewer figures", file=sys.stderr)
    plan = Plan(
        nodes=arguments.nodes,
        starts=arguments.starts,
        writes=arguments.writes,
        kills=arguments.kills,
        loss_seconds=arguments.loss_seconds,
        idle_seconds=arguments.idle_seconds,
        in_namespace=inside,
    )
    return measure(plan, _parts(arguments.only), _systems(arguments.system), arguments.seed)


def measure(plan: Plan, parts: list[str], systems: list[type[Cluster]], seed: int = 0) -> list[Row]:
    """Each part with every system in turn, so that a slow moment of the machine hits them all."""
    results = Results()
    for part in parts:
        for system in systems:
            progress(f"{system.system}: {part}")
            with Disturbance() as others:
                _measure(results, part, system, plan, random.Random(seed))
            results.add(system.system, [Figure(f"disturbance: other programs during {part}", others.cores, "cores")])
    return results.finish()


def _measure(results: Results, part: str, system: type[Cluster], plan: Plan, rng: random.Random) -> None:
    joins = results.joins.setdefault(system.system, [])
    if part == "join":
        joins += cluster_parts.join(lambda: system(plan.nodes), plan)
        return
    with system(plan.nodes) as cluster:
        joins.append(cluster.start())
        results.add(system.system, PARTS[part](cluster, plan, rng))


def table(rows: list[Row]) -> Table:
    title = "a cluster of real processes; less is better"
    found = Table("figure", "unit", box=None, pad_edge=False, title=title, title_justify="left")
    for heading in ("target", "gossip", "serf", "serf/gossip"):
        found.add_column(heading, justify="right")
    for row in rows:
        target = TARGETS.get(row.name)
        values = [row.values.get(OURS.get(name, name)) for name in SYSTEMS]
        limit = "" if target is None else f"{target:g}"
        found.add_row(row.name, row.unit, limit, *map(_number, values), _number(row.ratio("serf")))
    return found


def versions() -> dict[str, str]:
    return {name: system.version for name, system in SYSTEMS.items()}


def _parts(only: str | None) -> list[str]:
    chosen = only.split(",") if only else list(NAMES)
    if strange := [name for name in chosen if name not in NAMES]:
        raise SystemExit(f"no such part: {', '.join(strange)}; there are {', '.join(NAMES)}")
    return chosen


def _systems(only: str | None) -> list[type[Cluster]]:
    chosen = [only] if only else list(SYSTEMS)
    if "serf" in chosen and cluster_serf.installed() is None:
        print("serf is not installed and is left out", file=sys.stderr)
        chosen.remove("serf")
    return [SYSTEMS[name] for name in chosen]


def _number(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "-"
    if math.isinf(value):
        return "never"
    return f"{value:,.0f}" if value == round(value) else f"{value:,.3g}"
