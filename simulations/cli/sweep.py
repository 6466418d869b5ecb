"""`gossip sim sweep`: many seeds, a tally, and the first failure made small and kept in a file."""

import json
import os
import re
import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

import click

from ..campaign.outcome import Outcome, Tally
from ..campaign.pools import DaskPool, LocalPool, Pool, PoolError
from ..campaign.runner import run_scenario
from ..campaign.shrink import shrink
from ..campaign.sweep import Sweep
from ..scenario.file import Replay, dump_scenario
from ..scenario.scenario import Scenario
from .interrupt import INTERRUPTED, Interrupt
from .options import NoVerdict, choice, takes_scenario
from .progress import seeds_done, shrinking
from .show import Kept, print_sweep

MAX_NAME: Final = 80
"""Characters of a scenario's name that go into the name of a file."""
_UNFIT: Final = re.compile(r"[^\w.-]", re.ASCII)
"""What does not go into the name of a file."""


@dataclass(frozen=True, slots=True)
class Shrinking:
    """What to do with the first failure."""

    folder: Path
    seconds: float
    """For how long to make it smaller; 0 to leave it alone."""


@dataclass(slots=True)
class Lines:
    """Outcomes on their way to a file. One that cannot be written to any more does not end the sweep."""

    file: IO[str] | None
    name: str
    troubles: list[str] = field(default_factory=list)
    """What could not be written, and why."""

    def write(self, outcome: Outcome) -> None:
        if self.file is None or self.troubles:
            return
        try:
            self.file.write(json.dumps(outcome.to_json()) + "\n")
            self.file.flush()
        except OSError as error:
            self.troubles.append(f"cannot write {self.name}: {error.strerror or error}")


@click.command()
@takes_scenario
@click.option("--seeds", type=click.IntRange(min=1), default=100, show_default=True, help="How many seeds.")
@click.option("--first", type=int, default=0, show_default=True, help="The first of them; the others follow.")
@click.option("--jobs", type=click.IntRange(min=1), help="Processes at once.  [default: one for each CPU]")
@click.option("--dask", metavar="ADDRESS", help="Run on the Dask cluster with that scheduler instead.")
@click.option(
    "--out", type=click.Path(allow_dash=True), metavar="FILE.jsonl", help="Write each seed's outcome, as it comes."
)
@click.option(
    "--failures",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    metavar="DIR",
    help="Where to keep the first failure, made small.  [default: here]",
)
@click.option("--shrink-seconds", type=click.FloatRange(min=0), default=60.0, show_default=True, help="For how long.")
@click.option("--no-shrink", is_flag=True, help="Keep no failure.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def sweep(
    ctx: click.Context,
    /,
    seeds: int,
    first: int,
    jobs: int | None,
    dask: str | None,
    out: str | None,
    failures: Path,
    shrink_seconds: float,
    no_shrink: bool,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Run SCENARIO with many seeds, and tally.

    Ctrl-C stops handing out seeds; those under way are waited for, unless it is pressed again, and what is done is
    told. The first failure is made as small as it gets and kept in a file for `replay`.
    """
    asked = choice(**chosen)
    scenario = asked.load()
    outcomes: list[Outcome] = []
    lines = Lines(_opened(out), out or "")
    with Interrupt() as interrupt:
        with _pool(jobs, dask) as pool:
            _run(Sweep(scenario, range(first, first + seeds), pool, time.monotonic), interrupt, seeds, lines, outcomes)
        outcomes.sort(key=lambda outcome: outcome.seed)
        kept = None
        if not no_shrink and not interrupt.asked:
            try:
                kept = _keep_first(scenario, outcomes, Shrinking(failures, shrink_seconds), interrupt)
            except OSError as error:
                lines.troubles.append(f"cannot keep the failure in {failures}: {error.strerror or error}")
    tally = Tally.of(outcomes)
    print_sweep(scenario, asked, outcomes, tally, seeds, kept, as_json=as_json)
    for trouble in lines.troubles:
        click.echo(f"gossip: {trouble}", err=True)
    if tally.failed:
        ctx.exit(1)
    if lines.troubles:
        ctx.exit(NoVerdict.exit_code)
    ctx.exit(0 if len(outcomes) == seeds else INTERRUPTED)


# ---- running


def _opened(out: str | None) -> IO[str] | None:
    """The file for the outcomes, before there are any; raises `NoVerdict`."""
    if out is None:
        return None
    try:
        return click.open_file(out, "w")
    except OSError as error:
        raise NoVerdict(f"cannot write {out}: {error.strerror or error}") from None


@contextmanager
def _pool(jobs: int | None, dask: str | None) -> Iterator[Pool]:
    if jobs is not None and dask is not None:
        raise click.UsageError("--jobs is for processes of this machine; a Dask cluster has as many as it has")
    try:
        pool: Pool = DaskPool(dask) if dask is not None else LocalPool(jobs or os.cpu_count() or 1)
    except PoolError as error:
        raise NoVerdict(str(error)) from None
    at_once = True
    try:
        yield pool
        at_once = False
    except KeyboardInterrupt:
        pass  # what is done is told nevertheless
    finally:
        pool.close(at_once=at_once)


def _run(sweeping: Sweep, interrupt: Interrupt, total: int, lines: Lines, outcomes: list[Outcome]) -> None:
    """Collect outcomes until all are there, or somebody stops it."""
    failed = 0
    with seeds_done(sweeping.name, total) as on_seed:

        def stopping() -> bool:
            on_seed(len(outcomes), failed, "finishing what has begun; Ctrl-C again to leave" if interrupt.asked else "")
            return interrupt.asked

        for outcome in sweeping.outcomes(stopping):
            outcomes.append(outcome)
            failed += not outcome.passed
            lines.write(outcome)


# ---- the first failure


def _keep_first(scenario: Scenario, outcomes: Sequence[Outcome], how: Shrinking, interrupt: Interrupt) -> Kept | None:
    """Shrink the first failure that has an oracle to go by, and write it to a file."""
    first = next((outcome for outcome in outcomes if outcome.failures), None)
    if first is None:
        return None
    oracle = first.failures[0].oracle
    smallest = [scenario.concrete(first.seed)]
    end = time.monotonic() + how.seconds

    def still_fails(candidate: Scenario) -> bool:
        return any(failure.oracle == oracle for failure in run_scenario(candidate, first.seed).failures)

    with shrinking() as tell:

        def on_smaller(candidate: Scenario, tried: int) -> None:
            smallest[0] = candidate
            tell(f"{_size(candidate)} after {tried} runs")

        def budget() -> bool:
            return time.monotonic() < end and not interrupt.asked

        with suppress(KeyboardInterrupt):  # the smallest so far will do
            shrink(scenario, first.seed, still_fails, budget, on_smaller)
    if interrupt.asked:
        click.echo("gossip: shrinking was broken off; the failure is kept as small as it was by then", err=True)
    return _write(smallest[0], Replay(first.seed, oracle), how.folder)


def _write(scenario: Scenario, replay: Replay, folder: Path) -> Kept:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"failure-{_UNFIT.sub('-', scenario.name)[:MAX_NAME]}-{replay.seed}.toml"
    path.write_text(dump_scenario(scenario, replay))
    command = shlex.join(["gossip", "sim", "replay", str(path)])
    return Kept(replay.seed, replay.oracle, str(path), command, _size(scenario))


def _size(scenario: Scenario) -> str:
    return f"{scenario.nodes} nodes, {len(scenario.faults)} faults, {len(scenario.writes)} writes"
