"""What is measured of a cluster, of any system, each part on a cluster of its own."""

import math
import random
import resource
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeAlias

from . import namespace
from .cluster_base import Cluster
from .cluster_journal import wait_until
from .measure import Figure

SPACING: Final = 0.05
"""Seconds between two writes whose way is timed."""
KILL_PATIENCE: Final = 60.0
"""Seconds that a dead node may stay unnoticed; one that does is reported as never noticed."""
DRAIN: Final = 10.0
"""Seconds within which every node must have all writes once the last was made, or nothing is lost any more."""
LOOKS: Final = 0.05
RARE_LOOKS: Final = 5.0
"""Seconds between two looks at the list of members, where quick ones would be counted as the node's own work."""
TICKS: Final = 100
"""Parts of a second in which the kernel counts CPU time for others to read, on every Linux in use."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of everything."""

    nodes: int = 30
    starts: int = 3
    """Clusters started to measure joining alone; all others that are started count too."""
    writes: int = 100
    kills: int = 5
    loss: float = 0.25
    loss_seconds: float = 120.0
    idle_seconds: float = 60.0
    settle: float = 5.0
    """Seconds of nothing after a start, until what it set off is over."""
    in_namespace: bool = False


Make: TypeAlias = Callable[[], Cluster]
Part: TypeAlias = Callable[[Cluster, Plan, random.Random], list[Figure]]


def join(make: Make, plan: Plan) -> list[float]:
    """Seconds until all list all, from when the last one listens, of several starts of everything at once."""
    seconds = []
    for _ in range(plan.starts):
        with make() as cluster:
            seconds.append(cluster.start())
    return seconds


def spread(cluster: Cluster, plan: Plan, rng: random.Random) -> list[Figure]:
    """From the beginning of a write until it is visible at each other node."""
    time.sleep(plan.settle)
    cluster.look_every(RARE_LOOKS)
    ways, missed = _write(cluster, rng, plan.writes, SPACING)
    return [
        Figure("spread, p50", _quantile(ways, 0.5), "s"),
        Figure("spread, p99", _quantile(ways, 0.99), "s"),
        Figure("spread, slowest", max(ways), "s"),
        Figure("spread, (write, node) pairs never seen", missed, ""),
    ]


def kill(cluster: Cluster, plan: Plan, rng: random.Random) -> list[Figure]:
    """From SIGKILL of a node until the last of the others lists it as failed; a new one then takes its place."""
    latest = []
    for trial in range(plan.kills):
        time.sleep(plan.settle)
        cluster.look_every(LOOKS)
        victim = rng.choice(list(cluster.processes)[1:])  # the seed stays, for those that come
        start = cluster.kill(victim)
        knowing = cluster.journal.first["failed", victim]
        wait_until(lambda knowing=knowing: cluster.processes.keys() <= knowing.keys(), KILL_PATIENCE)  # type: ignore[misc]
        latest.append(max(knowing.get(node, math.inf) for node in cluster.processes) - start)
        if trial + 1 < plan.kills:
            cluster.add(1)
    trials = [Figure(f"kill -9 until the last knows, trial {n}", time, "s") for n, time in enumerate(latest, 1)]
    return [
        *trials,
        Figure("kill -9 until the last knows, median", statistics.median(latest), "s"),
        Figure("kill -9 until the last knows, slowest", max(latest), "s"),
    ]


def loss(cluster: Cluster, plan: Plan, rng: random.Random) -> list[Figure]:
    """Many packets lost for a while, and a write a second; then a moment without loss, in which all must arrive.

    Empty where neither the kernel nor the system itself can be told to lose any.
    """
    time.sleep(plan.settle)
    if plan.in_namespace:
        namespace.lose(plan.loss)
    elif not cluster.lose(plan.loss):
        return []
    start = time.monotonic()
    logged = cluster.journal.counts["logged", "member.failed"]
    try:
        ways, missed = _write(cluster, rng, max(1, round(plan.loss_seconds)), 1.0, healed=lambda: _heal(cluster, plan))
    finally:
        _heal(cluster, plan)
    found = [
        (subject, node)
        for (kind, subject), times in list(cluster.journal.first.items())
        for node, at in times.items()
        if kind == "failed" and at >= start
    ]
    verdicts = max(len(found), cluster.journal.counts["logged", "member.failed"] - logged)
    where = f"{plan.loss:.0%} loss"
    return [
        Figure(f"{where}: members falsely failed anywhere", len({subject for subject, _ in found}), ""),
        Figure(f"{where}: false verdicts, over all nodes", verdicts, ""),
        Figure(f"{where}: (write, node) pairs missed", missed, ""),
        Figure(f"{where}: spread, p50", _quantile(ways, 0.5), "s"),
        Figure(f"{where}: spread, p99", _quantile(ways, 0.99), "s"),
        Figure(f"{where}: spread, slowest", max(ways), "s"),
    ]


def idle(cluster: Cluster, plan: Plan, rng: random.Random) -> list[Figure]:
    """What each node costs when nothing happens."""
    del rng  # nothing is drawn
    cluster.look_every(RARE_LOOKS)
    time.sleep(2 * plan.settle)
    own, wire, cpu, start = cluster.payload_bytes_sent(), _sent(plan), _cpu(cluster.pids()), time.monotonic()
    time.sleep(plan.idle_seconds)
    seconds = time.monotonic() - start
    cpu = _cpu(cluster.pids()) - cpu
    wire, later = _sent(plan).since(wire), cluster.payload_bytes_sent()
    each = plan.nodes * seconds
    figures = []
    if plan.in_namespace:
        figures = [
            Figure("idle: sent by a node, UDP payload", wire.udp_payload / each, "B/s"),
            Figure(
                "idle: sent by a node, UDP and TCP with IP headers", (wire.udp_bytes + wire.tcp_bytes) / each, "B/s"
            ),
            Figure("idle: datagrams sent by a node", wire.udp_packets / each, "1/s"),
        ]
    if own is not None and later is not None:
        figures.append(Figure("idle: sent by a node, UDP payload by its own count", (later - own) / each, "B/s"))
    return [
        *figures,
        Figure("idle: CPU of a node a minute", cpu / each * 60, "s"),
        Figure("idle: resident memory of a node (RSS)", _memory(cluster.pids(), "status", "VmRSS:"), "MiB"),
        Figure("idle: resident memory of the largest (RSS)", _memory(cluster.pids(), "status", "VmRSS:", max), "MiB"),
        Figure("idle: its share of shared memory (PSS)", _memory(cluster.pids(), "smaps_rollup", "Pss:"), "MiB"),
    ]


PARTS: Final[dict[str, Part]] = {"spread": spread, "kill": kill, "loss": loss, "idle": idle}
"""Besides `join`, which every start of a cluster takes part in."""


# ---- writes


def _write(
    cluster: Cluster, rng: random.Random, count: int, spacing: float, healed: Callable[[], None] = lambda: None
) -> tuple[list[float], int]:
    """The way of each write to each other node, in seconds, endless for what never came; and how many those are."""
    writers: dict[str, str] = {}
    due = time.monotonic()
    for number in range(count):
        write = f"w{number}"
        writers[write] = rng.choice(list(cluster.processes))
        cluster.write(writers[write], write)
        due += spacing
        time.sleep(max(0.0, due - time.monotonic()))
    healed()
    seen = [cluster.journal.first["seen", write] for write in writers]
    wait_until(lambda: all(cluster.processes.keys() <= times.keys() for times in seen), DRAIN)
    ways = []
    for write, writer in writers.items():
        start = cluster.journal.first["wrote", write][writer]
        times = cluster.journal.first["seen", write]
        ways += [times.get(node, math.inf) - start for node in cluster.processes if node != writer]
    return ways, sum(map(math.isinf, ways))


def _heal(cluster: Cluster, plan: Plan) -> None:
    if plan.in_namespace:
        namespace.lose(0.0)
    else:
        cluster.lose(0.0)


def _quantile(values: list[float], share: float) -> float:
    """The least of the values that at least that share of them do not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


# ---- what the kernel counts


def _sent(plan: Plan) -> namespace.Sent:
    return namespace.sent() if plan.in_namespace else namespace.Sent()


def _cpu(pids: Iterable[int]) -> float:
    """CPU seconds, of user and system, that processes have taken so far."""
    ticks = 0
    for pid in pids:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(after_name[11]) + int(after_name[12])
    return ticks / TICKS


class Disturbance:
    """How busy the machine is, during a ``with`` block, with what is neither this program nor started by it.

    What it started must have ended before the block does, as the CPU time of processes is known then.
    """

    cores = 0.0

    def __enter__(self) -> Self:
        self._start, self._others = time.monotonic(), self._seconds()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.cores = max(0.0, (self._seconds() - self._others) / (time.monotonic() - self._start))

    @staticmethod
    def _seconds() -> float:
        user, nice, system, _, _, interrupts, soft = map(int, Path("/proc/stat").read_text().split()[1:8])
        ours = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        own = sum(usage.ru_utime + usage.ru_stime for usage in ours)
        return (user + nice + system + interrupts + soft) / TICKS - own


def _memory(
    pids: list[int], file: str, field: str, of_all: Callable[[list[float]], float] = statistics.median
) -> float:
    """MiB that the median process, or another, has under this name."""
    sizes: list[float] = []
    for pid in pids:
        lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
        sizes += [int(line.split()[1]) / 1024 for line in lines if line.startswith(field)]
    return of_all(sizes)
