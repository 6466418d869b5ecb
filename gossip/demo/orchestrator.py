"""Runs the demo from end to end."""

import json
import signal
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from typing import Any, Final

import click
import trio
from rich.console import Console

from .cluster import DemoError, open_cluster
from .history import Step, load_final_tree, load_history, tree_after
from .partition import cut_and_write, heal
from .replay import replay
from .screen import Screen

NAMES: Final = ("a", "b", "c", "d", "e")


async def run(console: Console, *, as_json: bool, steps: Sequence[Step] | None) -> int:
    """The exit code: 0 if every result is right, 1 if not, 128 + n if signal n ended it."""
    screen = Screen(Console(quiet=True) if as_json else console)
    received: list[int] = []
    failure: Exception | None = None
    figures: dict[str, Any] | None = None
    # Signals are caught before there is a process to leave behind.
    with trio.open_signal_receiver(*_stop_signals()) as signals:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_cancel_on_signal, signals, received, nursery.cancel_scope)
                figures = await _run(screen, steps)
                nursery.cancel_scope.cancel()
        except* (DemoError, OSError) as group:
            failure = _first(group)
        except* SystemExit:
            pass  # from rich: the reader of our output has gone, and there is nobody to tell
    if received:
        click.echo("gossip: the demo was interrupted", err=True)
        return 128 + received[0]
    if failure is not None:
        click.echo(f"gossip: the demo failed: {failure}", err=True)
        return 1
    if figures is None:
        return 1
    if as_json:
        click.echo(json.dumps(figures))
    return 0


def _stop_signals() -> list[signal.Signals]:
    """The signals that end the demo. SIGHUP is left out if it is ignored, as under nohup."""
    hang_up = [] if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else [signal.SIGHUP]
    return [signal.SIGINT, signal.SIGTERM, *hang_up]


async def _run(screen: Screen, steps: Sequence[Step] | None) -> dict[str, Any]:
    """Both acts; returns every figure."""
    start = trio.current_time()
    if steps is None:
        steps, tree = load_history(), load_final_tree()
    else:
        tree = tree_after(steps)
    async with open_cluster(NAMES) as workers:
        screen.started(workers, trio.current_time() - start)
        with screen.replaying(steps) as advance:
            replayed = await replay(workers, steps, tree, advance)
        screen.replayed(replayed, len(workers))
        screen.cutting(workers)
        cut, versions = await cut_and_write(workers)
        healed = await heal(workers, versions)
        screen.healed(cut, healed)
    seconds = trio.current_time() - start
    screen.ended(seconds)
    return {
        "replay": {**asdict(replayed), "bytes_per_change": replayed.bytes_per_change},
        "cut": asdict(cut),
        "heal": asdict(healed),
        "seconds": seconds,
    }


async def _cancel_on_signal(signals: AsyncIterator[int], received: list[int], scope: trio.CancelScope) -> None:
    async for number in signals:
        received.append(number)
        scope.cancel()


def _first(group: ExceptionGroup[DemoError | OSError]) -> Exception:
    """One error of a group, which nurseries make of every error they let through."""
    error: Exception = group
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error
