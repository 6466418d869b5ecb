"""What a person sees. Plain text where there is no terminal."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from .cluster import Worker
from .figures import ReplayFigures
from .history import Step
from .partition import CutFigures, HealFigures, sides


class Screen:
    """Tells on a console what happens."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def started(self, workers: Sequence[Worker], seconds: float) -> None:
        self._say(f"[bold]{len(workers)} nodes[/], one process each, started and found each other in {seconds:.1f} s")
        table = Table.grid(padding=(0, 3))
        table.add_row("  name", *[Text(worker.name, "cyan") for worker in workers])
        table.add_row("  process", *[str(worker.process.pid) for worker in workers])
        table.add_row("  port", *[worker.address.rpartition(":")[2] for worker in workers])
        self._console.print(table)

    @contextmanager
    def replaying(self, steps: Sequence[Step]) -> Iterator[Callable[[int], None]]:
        """A progress bar on a terminal; what it yields wants to be told of the changes made."""
        self._say()
        self._say(
            f"[bold]Replay[/] of {len(steps):,} commits of python-trio/trio: every author writes on one node,\n"
            "and each commit waits only for the one before it"
        )
        columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        console = self._console
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
            task = progress.add_task("changes", total=sum(len(step.edits) for step in steps))
            yield lambda changes: progress.advance(task, changes)

    def replayed(self, figures: ReplayFigures, nodes: int) -> None:
        table = Table.grid(padding=(0, 3))
        for name, value, remark in _rows(figures, nodes):
            table.add_row(f"  {name}", Text(value, "bold"), Text(remark, "dim"))
        self._console.print(table)
        self._right(f"all {nodes} nodes hold exactly the {figures.files} files that this history ends with")

    def cutting(self, workers: Sequence[Worker]) -> None:
        left, right = (" ".join(worker.name for worker in side) for side in sides(workers))
        self._say()
        self._say(f"[bold]Cut[/] at the transport: [cyan]{left}[/] | [cyan]{right}[/]; both sides go on writing")

    def healed(self, cut: CutFigures, heal: HealFigures) -> None:
        views = (cut.left, cut.right, heal.everywhere)
        table = Table(box=None, padding=(0, 3, 0, 0), pad_edge=False, header_style="bold")
        table.add_column("")
        table.add_column(f"seen by {' '.join(cut.left.members)}")
        table.add_column(f"seen by {' '.join(cut.right.members)}")
        table.add_column("by all, once healed")
        table.add_row("  members alive", *[" ".join(view.members) for view in views])
        table.add_row("  tasks (set)", *["\n".join(view.tasks) for view in views])
        table.add_row("  hours (counter)", *[str(view.hours) for view in views])
        table.add_row("  note (last wins)", *[view.note for view in views])
        self._console.print(table)
        self._say(f"  each side saw the other fail after {cut.noticed_seconds:.1f} s")
        self._right(
            f"{heal.converged_seconds:.2f} s after healing, both sides' writes were on all "
            f"{len(heal.everywhere.members)} nodes"
        )

    def ended(self, seconds: float) -> None:
        self._say()
        self._say(f"[dim]{seconds:.1f} s in all[/]")

    def _right(self, text: str) -> None:
        self._say(f"  [green]ok[/] {text}")

    def _say(self, text: str = "") -> None:
        self._console.print(_styled(text), highlight=False)


def _styled(text: str) -> Text:
    """``text`` with its markup, also on a console that takes brackets as they are."""
    return Text.from_markup(text)


def _rows(figures: ReplayFigures, nodes: int) -> list[tuple[str, str, str]]:
    others = nodes - 1
    return [
        ("changes", f"{figures.changes:,}", f"{figures.deletes:,} of them deletes, by {figures.authors} authors"),
        ("seconds", f"{figures.seconds:.1f}", f"{figures.changes / figures.seconds:,.0f} changes a second"),
        ("messages", f"{figures.datagrams:,}", "datagrams sent by all nodes together"),
        ("bytes per change", f"{figures.bytes_per_change:,.0f}", f"to reach {others} nodes, digests included"),
        (
            "write to visible, p50",
            f"{figures.visible_p50_ms:.1f} ms",
            f"until all {others} others can read it",
        ),
        ("write to visible, p99", f"{figures.visible_p99_ms:.1f} ms", ""),
    ]
