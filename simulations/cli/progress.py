"""Progress on a terminal's standard error; nothing anywhere else."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ..scenario.scenario import Scenario


def _progress(*columns: TextColumn | MofNCompleteColumn) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        *columns,
        TimeRemainingColumn(),
        TextColumn("left"),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )


@contextmanager
def virtual_time(scenario: Scenario) -> Iterator[Callable[[float], None]]:
    """A bar over the virtual seconds of one run; yields what is to be called with the time."""
    with _progress(TextColumn("{task.completed:.0f} of {task.total:.0f} virtual seconds")) as progress:
        bar = progress.add_task(escape(scenario.name), total=scenario.duration)

        def on_second(now: float) -> None:
            if now <= scenario.duration:
                progress.update(bar, completed=now)
            else:
                total = scenario.duration + scenario.settle
                progress.update(
                    bar, completed=now, total=total, description=escape(f"{scenario.name}: coming together")
                )

        yield on_second


@contextmanager
def seeds_done(name: str, total: int) -> Iterator[Callable[[int, int, str], None]]:
    """A bar over the seeds of a sweep; yields what is to be called with those done, those failed, and a remark."""
    with _progress(MofNCompleteColumn(), TextColumn("seeds, [red]{task.fields[failed]} failed")) as progress:
        bar = progress.add_task(escape(name), total=total, failed=0)

        def on_seed(done: int, failed: int, remark: str) -> None:
            description = f"{name}: {remark}" if remark else name
            progress.update(bar, completed=done, failed=failed, description=escape(description))

        yield on_seed


@contextmanager
def shrinking() -> Iterator[Callable[[str], None]]:
    """A line about what goes on; yields what is to be called with news."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    with Console(stderr=True).status("shrinking") as status:
        yield lambda news: status.update(escape(f"shrinking: {news}"))
