"""`gossip sim run` and `gossip sim replay`: one run of one scenario, and its verdict."""

import importlib
import importlib.util
import os
import shlex
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click

from ..campaign.runner import run_scenario
from ..report.recording import Recording
from ..scenario.file import Replay, scenario_names
from ..scenario.scenario import Scenario
from .interrupt import INTERRUPTED
from .options import Choice, NoVerdict, choice, load, takes_scenario
from .progress import virtual_time
from .show import Cost, print_failure_kept, print_run

FILE: Final = click.Path(path_type=Path, dir_okay=False)


def takes_outputs(command: Any) -> Any:
    """--json, --report and --png."""
    for option in (
        click.option("--png", type=FILE, metavar="FILE.png", help="Draw how the run went."),
        click.option("--report", type=FILE, metavar="FILE.html", help="Write a page about the run."),
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
    ):
        command = option(command)
    return command


@click.command()
@takes_scenario
@click.option("--seed", type=int, default=0, show_default=True, help="Decides everything that is left to chance.")
@takes_outputs
@click.pass_context
def run(ctx: click.Context, /, seed: int, as_json: bool, report: Path | None, png: Path | None, **chosen: Any) -> None:
    """Run SCENARIO once, and tell what came of it.

    It runs as fast as the machine can, and ends with a verdict: whether all nodes were equal in time, nothing was
    lost, nothing came back, and everybody knew who was there.
    """
    asked = choice(**chosen)
    recording = _run(asked.load(), seed, asked.command(seed), as_json, report, png)
    ctx.exit(0 if recording.passed else 1)


@click.command()
@click.argument("file")
@takes_outputs
@click.pass_context
def replay(ctx: click.Context, /, file: str, as_json: bool, report: Path | None, png: Path | None) -> None:
    """Run the failure that a sweep kept in FILE.

    The exit code is 0 if it passes now, and 1 if it still fails.
    """
    if not Path(file).is_file() and file not in scenario_names():
        raise NoVerdict(
            f"there is no file {file} to replay; name the file in which `gossip sim sweep` kept a failure, "
            "or use `gossip sim run` for a scenario"
        )
    found = load(file)
    if found.replay is None:
        seedless = Choice(file).command(0)
        raise NoVerdict(f"{file} has no table [replay] with a seed; to run it with one, use `{seedless}`")
    command = shlex.join(["gossip", "sim", "replay", file])
    recording = _run(found.scenario, found.replay.seed, command, as_json, report, png, found.replay)
    ctx.exit(0 if recording.passed else 1)


def _run(
    scenario: Scenario,
    seed: int,
    command: str,
    as_json: bool,
    report: Path | None,
    png: Path | None,
    kept: Replay | None = None,
) -> Recording:
    writers = [(_writer("report", "write_report"), report), (_writer("plot", "write_png"), png)]
    for _, path in writers:
        if path is not None and not os.access(path.absolute().parent, os.W_OK | os.X_OK):
            raise NoVerdict(f"cannot write {path}: there is no such folder, or it is not yours")
    ready = [(load_writer(), path) for load_writer, path in writers if path is not None]
    started = time.process_time()
    reached = 0.0

    def on_time(now: float) -> None:
        nonlocal reached
        reached = now
        on_second(now)

    try:
        with virtual_time(scenario) as on_second:
            recording = run_scenario(scenario, seed, on_second=on_time)
    except KeyboardInterrupt:
        click.echo(f"stopped at {reached:.0f} of {scenario.duration:.0f} virtual seconds", err=True)
        raise click.exceptions.Exit(INTERRUPTED) from None
    recording = replace(recording, command=command)
    cost = Cost.since(started)
    for write, path in ready:
        write(recording, path)
    print_run(recording, cost, as_json=as_json)
    if kept is not None and not as_json:
        print_failure_kept(recording, kept)
    return recording


def _writer(module: str, function: str) -> Any:
    """Imports what writes a kind of file when it is asked for, and says in one line if it is not installed."""

    def load_writer() -> Any:
        try:
            if module == "plot":
                importlib.import_module("matplotlib")
            return getattr(importlib.import_module(f"simulations.report.{module}"), function)
        except ModuleNotFoundError as error:
            if module == "plot" and not str(error.name).startswith("simulations"):
                raise NoVerdict("--png needs matplotlib: pip install 'gossip-crdts[plot]'") from None
            raise NoVerdict(f"simulations.{module} is not part of this installation") from None

    return load_writer
