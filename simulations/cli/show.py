"""How verdicts look: for people, or as JSON."""

import resource
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from rich.text import Text

from gossip.cli.show import console, count, print_json, print_line, print_table

from ..campaign.outcome import Outcome, Tally
from ..judging.oracles import Failure
from ..report.recording import Recording, Spread, Summary
from ..report.report_data import figures
from ..scenario.file import Replay
from ..scenario.scenario import Scenario
from .options import Choice

MAX_LINES: Final = 10
"""Failing seeds that are named one by one."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run took of the machine."""

    cpu_seconds: float
    peak_memory_bytes: int
    """Of the whole process."""

    @classmethod
    def since(cls, started: float) -> "Cost":
        """Since ``time.process_time()`` was ``started``."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return cls(time.process_time() - started, peak if sys.platform == "darwin" else peak * 1024)


@dataclass(frozen=True, slots=True)
class Kept:
    """A failure made small, in a file."""

    seed: int
    oracle: str
    file: str
    command: str
    """Replays it."""
    size: str
    """How small it is."""


def print_verdict(passed: bool, rest: str, *, stopped: bool = False) -> None:
    """PASSED, FAILED, or STOPPED if nobody can say yet; and what."""
    word, colour = ("STOPPED", "bold yellow") if stopped else ("PASSED", "bold green")
    if not passed:
        word, colour = "FAILED", "bold red"
    console().print(Text.assemble((word, colour), f" {rest}"), soft_wrap=True)


def print_run(recording: Recording, cost: Cost, *, as_json: bool) -> None:
    """The verdict on one run."""
    if as_json:
        print_json(_run_json(recording, cost))
        return
    print_verdict(recording.passed, f"{recording.scenario}, seed {recording.seed}: {recording.title}".rstrip(": "))
    if recording.failures:
        print_failures(recording.failures)
    print_table(("", ""), [*_figures(recording.summary, cost), *_views(recording)])
    print_line(f"Again: {recording.command}")


def print_failures(failures: Iterable[Failure]) -> None:
    """What is wrong, where and when."""
    rows = [(each.oracle, f"{each.at:.2f} s", each.node or "all", each.what) for each in failures]
    print_table(("BROKEN RULE", "AT", "NODE", "WHAT"), rows)


def print_failure_kept(recording: Recording, kept: Replay) -> None:
    """How a replay compares with what the file was kept for."""
    if not kept.oracle:
        return
    same = any(each.oracle == kept.oracle for each in recording.failures)
    if same:
        print_line(f"It still fails as it did: {kept.oracle}.")
    elif recording.failures:
        print_line(f"It fails in another way than it did; it was: {kept.oracle}.")
    else:
        print_line(f"It does not fail any more; it was: {kept.oracle}.")


def print_sweep(
    scenario: Scenario,
    asked: Choice,
    outcomes: Sequence[Outcome],
    tally: Tally,
    seeds: int,
    kept: Kept | None,
    *,
    as_json: bool,
) -> None:
    """The verdict on many runs."""
    failed = [outcome for outcome in outcomes if not outcome.passed]
    if as_json:
        print_json(
            {
                "scenario": scenario.name,
                "asked": seeds,
                "done": tally.seeds,
                "interrupted": tally.seeds < seeds,
                **asdict(tally),
                "failures": [{"command": asked.command(each.seed), **each.to_json()} for each in failed],
                "kept": asdict(kept) if kept else None,
            }
        )
        return
    left = f", {count(seeds - tally.seeds, 'seed')} not run" if tally.seeds < seeds else ""
    print_verdict(
        not failed, f"{scenario.name}: {tally.passed} of {count(tally.seeds, 'seed')} passed{left}", stopped=bool(left)
    )
    if any(outcome.summary for outcome in outcomes):
        print_table(("", ""), _tally(tally))
    for outcome in failed[:MAX_LINES]:
        print_line(f"seed {outcome.seed}: {outcome.why}: {asked.command(outcome.seed)}")
    if len(failed) > MAX_LINES:
        print_line(f"and {len(failed) - MAX_LINES} more")
    if kept:
        print_line(f"seed {kept.seed} made small, {kept.size}: {kept.command}")


def _tally(tally: Tally) -> list[tuple[str, str]]:
    converged, traffic = tally.converged, tally.bytes_a_node_second
    missed, redundancy = tally.missed_by_push, tally.redundancy
    return [
        ("all equal", f"{_seconds(converged, 'runs')}, after faults and writes ended"),
        ("traffic", f"{traffic.p50:,.0f} bytes a node and second, {traffic.most:,.0f} at most"),
        ("redundancy", f"{redundancy.p50:.2f} events received for each that was new, {redundancy.most:.2f} at most"),
        ("missed by push", f"{missed.p50:.2%} of deliveries, {missed.most:.2%} at most"),
    ]


def _run_json(recording: Recording, cost: Cost) -> dict[str, Any]:
    return {
        "scenario": recording.scenario,
        "title": recording.title,
        "seed": recording.seed,
        "passed": recording.passed,
        "failures": [asdict(failure) for failure in recording.failures],
        "summary": asdict(recording.summary),
        "trace": recording.trace,
        "command": recording.command,
        **asdict(cost),
        "events_a_cpu_second": recording.summary.events / max(cost.cpu_seconds, 1e-9),
    }


def _figures(summary: Summary, cost: Cost) -> list[tuple[str, str]]:
    return [
        ("nodes", f"{summary.nodes}, {summary.running} of them running in the end"),
        ("virtual time", f"{summary.seconds:.1f} s"),
        ("writes", f"{summary.writes:,}, and {summary.refused:,} refused"),
        ("delivery", _seconds(summary.delivery, "deliveries")),
        ("all equal", _equal(summary.converged)),
        ("each node equal", _seconds(summary.catch_up, "nodes")),
        ("datagrams", f"{summary.datagrams:,}; {summary.datagrams_a_node_second:.1f} a node and second"),
        ("traffic", f"{summary.bytes_a_node_second:,.0f} bytes a node and second{_at_rest(summary)}"),
        ("redundancy", f"{summary.redundancy:.2f} events received for each that was new"),
        ("missed by push", f"{summary.missed_by_push:.2%} of deliveries, made good by digests and streams"),
        ("streams", f"{count(summary.streams, 'stream')} opened, {count(summary.states_joined, 'state')} joined"),
        ("simulator", f"{summary.events:,} events, {summary.events / max(cost.cpu_seconds, 1e-9):,.0f} a CPU second"),
        ("memory", f"{cost.peak_memory_bytes / 2**20:,.0f} MiB at most"),
    ]


def _at_rest(summary: Summary) -> str:
    return f"; {summary.bytes_at_rest:,.0f} at rest" if summary.bytes_at_rest is not None else ""


def _views(recording: Recording) -> list[tuple[str, str]]:
    """Whom nodes send to, if not to everybody, beside a random graph of the same out-degrees."""
    ours, other = figures(recording)
    if ours.complete or not ours.edges:
        return []
    degrees, random = ours.degrees, other.degrees
    return [
        (
            "in-degrees",
            f"{degrees.deviation:.2f} standard deviation around {degrees.mean:.1f}; random {random.deviation:.2f}",
        ),
        ("clustering", f"{ours.clustering:.3f}; random {other.clustering:.3f}"),
        ("path length", f"{ours.path_length:.2f} hops; random {other.path_length:.2f}"),
        ("dead links", f"{recording.summary.dead_links:.2%} of the entries of all views"),
        ("largest piece", f"{ours.largest:,} of {ours.nodes:,} nodes"),
    ]


def _equal(converged: float | None) -> str:
    return "never" if converged is None else f"{converged:.2f} s after faults and writes ended"


def _seconds(spread: Spread, of: str) -> str:
    if not spread.count:
        return "-"
    return f"{_three(spread)}, of {spread.count:,} {of}"


def _three(spread: Spread) -> str:
    return f"{spread.p50:.3f} s p50, {spread.p99:.3f} s p99, {spread.most:.3f} s at most"
