"""The table of the README: how a cluster comes together after a partition, by its size and by what the network loses.

Each cell is two kinds of runs from a warm start, with one write a second of elements that are only ever added: one
with a cut between the halves that is healed after `CUT` seconds, which tells of convergence, and a quiet one of the
same length, which tells what it costs and what push alone would miss.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Final

from ..faults.registry import Partition
from ..report.recording import Spread
from ..scenario.scenario import Scenario
from ..scenario.workload import Workload
from ..world.topology import LAN
from .runner import Run

SIZES: Final = (10, 30, 100, 300, 1000)
LOSSES: Final = (0.0, 0.1, 0.3, 0.5)
CUT: Final = 60.0
"""Virtual seconds between the cut and the heal."""
BEFORE: Final = 5.0
"""Virtual seconds before the cut."""
SETTLE: Final = 300.0
"""Virtual seconds that a cluster has to come together."""
RUNS: Final = 300
"""Nodes simulated in all for one cell at least, in as many runs as it takes, up to `MAX_RUNS`."""
MAX_RUNS: Final = 20
BEGIN: Final = "<!-- table: gossip sim table --into simulations/README.md -->"
END: Final = "<!-- end of table -->"
HEADER: Final = (
    "| nodes | loss | healed: p50 | p99 | max | bytes a node and second | at rest | redundancy | missed by push |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


@dataclass(frozen=True, slots=True)
class Cell:
    """What is measured together."""

    nodes: int
    loss: float
    seeds: int


@dataclass(frozen=True, slots=True)
class Row:
    """A cell in numbers."""

    cell: Cell
    catch_up: Spread
    """Over the nodes of all runs: seconds from the heal until a node had every write."""
    bytes_a_node_second: float
    bytes_at_rest: float
    redundancy: float
    missed_by_push: float
    failed: tuple[str, ...] = ()
    """What was broken, if anything was."""


def cells(sizes: Sequence[int] = SIZES, losses: Sequence[float] = LOSSES) -> list[Cell]:
    """All that the table tells of, the slowest last."""
    return [Cell(nodes, loss, min(MAX_RUNS, -(-RUNS // nodes))) for nodes in sizes for loss in losses]


def measure(cell: Cell) -> Row:
    """Run one cell."""
    quiet = Scenario(
        name="quiet",
        nodes=cell.nodes,
        duration=BEFORE + CUT,
        settle=SETTLE,
        start="warm",
        membership=False,
        topology=LAN.with_links(loss=cell.loss),
        workload=(Workload(kind="log", rate=1.0),),
    )
    cut = replace(quiet, name="cut", faults=(Partition(at=BEFORE, seconds=CUT, groups="halves"),))
    late: list[float] = []
    failed: list[str] = []
    cost: list[tuple[float, float, float, float]] = []
    for seed in range(cell.seeds):
        run = Run(cut, seed)
        failed += [failure.oracle for failure in run.finish().failures]
        late += run.recorder.catch_up(run.cluster, cut.duration)
        calm = Run(quiet, seed).finish()
        failed += [failure.oracle for failure in calm.failures]
        summary = calm.summary
        rest = summary.bytes_at_rest or 0.0
        cost.append((summary.bytes_a_node_second, rest, summary.redundancy, summary.missed_by_push))
    size, rest, redundancy, missed = (fmean(column) for column in zip(*cost, strict=True))
    return Row(cell, Spread.of(late), size, rest, redundancy, missed, tuple(dict.fromkeys(failed)))


def as_markdown(rows: Iterable[Row]) -> str:
    """The table."""
    return "\n".join([HEADER, *map(_line, rows)]) + "\n"


def _line(row: Row) -> str:
    seconds = " | ".join(f"{value:.2f} s" for value in (row.catch_up.p50, row.catch_up.p99, row.catch_up.most))
    cost = (
        f"{row.bytes_a_node_second:,.0f} | {row.bytes_at_rest:,.0f} | {row.redundancy:.2f} | {row.missed_by_push:.1%}"
    )
    verdict = f" **{', '.join(row.failed)}**" if row.failed else ""
    return f"| {row.cell.nodes:,} | {row.cell.loss:.0%} | {seconds} | {cost}{verdict} |"


def put_into(text: str, table: str) -> str:
    """``text`` with the table between its two marks; raises ValueError if they are not there."""
    if BEGIN not in text or END not in text:
        raise ValueError(f"it has no lines {BEGIN} and {END}")
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{table}\n{END}{rest.partition(END)[2]}"
