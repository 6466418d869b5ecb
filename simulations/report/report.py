"""A report of one run: one HTML file that needs neither a network nor anything beside it.

Everything that a scenario says is text here, never markup: it is escaped on the page and in the JSON, and a policy on
the page keeps a browser from running any script but ours and from loading anything at all.
"""

import json
from base64 import b64encode
from collections.abc import Iterable
from hashlib import sha256
from html import escape
from importlib.resources import files
from os import PathLike
from pathlib import Path
from string import Template
from typing import Final

from ..graph import Figures
from .curves import vanished
from .recording import Recording
from .report_data import figures, report_data, shown_writes
from .units import size, span

SCRIPTS: Final = ("charts.js", "playback.js")


def write_report(recording: Recording, path: str | PathLike[str]) -> None:
    """Write the report of a run to a file; raises OSError."""
    Path(path).write_text(report_html(recording), encoding="utf-8")


def report_html(recording: Recording) -> str:
    """The report of a run."""
    scripts = [_part(name) for name in SCRIPTS]
    ours, random_one = figures(recording)
    summary = recording.summary
    return Template(_part("report.html")).substitute(
        title=escape(recording.title or recording.scenario),
        scenario=escape(recording.scenario),
        verdict="PASSED" if recording.passed else "FAILED",
        verdict_class="passed" if recording.passed else "failed",
        seed=recording.seed,
        nodes=f"{summary.nodes:,}",
        seconds=span(summary.seconds),
        about="".join(f'<p class="about">{escape(each)}</p>' for each in recording.about.split("\n\n") if each.strip()),
        command=_command(recording.command),
        failures=_failures(recording),
        figures=_key_figures(recording),
        convergence=_convergence(recording),
        playback=_playback(recording),
        traffic=_traffic(recording),
        redundancy=_redundancy(recording),
        trace=escape(recording.trace),
        css=_part("report.css"),
        data=_json(recording, ours, random_one),
        scripts="\n".join(f"<script>{script}</script>" for script in scripts),
        hashes=" ".join(f"'sha256-{_hash(script)}'" for script in scripts),
        graph=_graph_text(ours),
        graph_table=_graph_table(ours, random_one, summary.dead_links),
    )


def _part(name: str) -> str:
    return files("simulations").joinpath("web", name).read_text(encoding="utf-8")


def _hash(script: str) -> str:
    return b64encode(sha256(script.encode()).digest()).decode()


def _json(recording: Recording, ours: Figures, random_one: Figures) -> str:
    """The data as it may stand within a script element: nothing in it ends that, or opens a comment."""
    text = json.dumps(report_data(recording, ours, random_one), separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")


# ---- parts of the page


def _command(command: str) -> str:
    if not command:
        return ""
    code = f'<code id="command" tabindex="0">{escape(command)}</code>'
    return f'<p class="command">{code}<button type="button" id="copy">Copy</button></p>'


def _table(head: Iterable[str], rows: Iterable[Iterable[str]], numbers: frozenset[int]) -> str:
    """A table of text; ``numbers`` are the columns aligned to the right."""

    def row(cells: Iterable[str], tag: str) -> str:
        looks = ((f'{tag} class="number"' if column in numbers else tag, cell) for column, cell in enumerate(cells))
        return f"<tr>{''.join(f'<{look}>{escape(cell)}</{tag}>' for look, cell in looks)}</tr>"

    body = "".join(row(each, "td") for each in rows)
    return f'<div class="scroll"><table><thead>{row(head, "th")}</thead><tbody>{body}</tbody></table></div>'


def _failures(recording: Recording) -> str:
    if recording.passed:
        return ""
    rows = [(f"{each.at:.3f} s", each.oracle, each.node or "all", each.what) for each in recording.failures]
    table = _table(("at", "broken rule", "node", "what was found"), rows, frozenset({0}))
    return (
        '<section class="failures" aria-labelledby="h-failures"><h2 id="h-failures">What is wrong</h2>'
        f'<p class="note">{len(rows)} findings, in the order in which they came up; the first matters most.</p>'
        f"{table}</section>"
    )


def _key_figures(recording: Recording) -> str:
    summary = recording.summary
    delivery, catch_up = summary.delivery, summary.catch_up
    equal = "never" if summary.converged is None else span(summary.converged)
    refused = f"; {summary.refused:,} more were refused" if summary.refused else ""
    rows = [
        ("Writes", f"{summary.writes:,}", f"made by the nodes of this run{refused}"),
        ("Delivery, p50", span(delivery.p50), f"from a write to a node that got it, {delivery.count:,} deliveries"),
        ("Delivery, p99", span(delivery.p99), f"whatever lay in between; the last took {span(delivery.most)}"),
        ("Equal after", equal, "from the end of faults and writes until all nodes were equal and had saved all"),
        ("Caught up, p99", span(catch_up.p99), "from the end of all faults until a node had every write"),
        ("Datagrams", f"{summary.datagrams_a_node_second:.3g} /s", "sent by each node a second, on average"),
        ("Bytes", f"{size(summary.bytes_a_node_second)}/s", "sent by each node a second, without UDP headers"),
        ("Redundancy", f"{summary.redundancy:.2f}", "events received for each that was new; 1 is the least possible"),
        (
            "Missed by push",
            f"{100 * summary.missed_by_push:.1f} %",
            "of deliveries that a digest or a stream had to make good",
        ),
        ("At rest", _at_rest(summary.bytes_at_rest), "sent by each node at the end, with nothing left to tell"),
        (
            "False failures",
            f"{summary.false_failures:,}",
            "times that a running node was counted as failed, cut off or not",
        ),
        ("Running", f"{summary.running:,} of {summary.nodes:,}", "nodes in the end, of all that there ever were"),
        ("Streams", f"{summary.streams:,}", f"opened; {summary.states_joined:,} whole states were joined"),
        ("Events", f"{summary.events:,}", "that the simulator carried out"),
    ]
    return "".join(
        f'<div><dt>{name}</dt><dd><div class="value">{value}</div><div class="why">{why}</div></dd></div>'
        for name, value, why in rows
    )


def _at_rest(rate: float | None) -> str:
    return f"{size(rate)}/s" if rate is not None else "–"  # noqa: RUF001


def _convergence(recording: Recording) -> str:
    lost = sum(map(vanished, recording.writes))
    followed = len(recording.writes)
    if followed == lost:
        return "Nothing was written that outlived its writer, so there is nothing to show."
    nodes = "The nodes are those that run in the end, and whoever else got it."
    parts = [f"The share of the nodes that hold a write, by the time since it was written. {nodes}"]
    if followed < recording.summary.writes:
        parts.append(f"The first {followed:,} of {recording.summary.writes:,} writes were followed.")
    if late := _latecomers(recording):
        parts.append(f"{late:,} came later than the first write, and are slow to have what was written before.")
    if lost:
        parts.append(f"{lost:,} writes vanished with the only node that had them, and are left out.")
    return " ".join(parts)


def _latecomers(recording: Recording) -> int:
    first = min(trace.at for trace in recording.writes)
    return sum(bool(each.lives) and each.lives[0][0] > first for each in recording.totals)


def _playback(recording: Recording) -> str:
    shown, followed = len(shown_writes(recording)), len(recording.writes)
    sample = f" Here are {shown:,} of {followed:,} writes, evenly from first to last." if shown < followed else ""
    return (
        "How news spreads over the nodes: that of one write, in slow motion, or all of them over the whole run. While "
        f"the network is in parts, so are the nodes here.{sample}"
    )


def _traffic(recording: Recording) -> str:
    sent = sum(each.bytes_sent for each in recording.totals)
    return (
        f"{recording.summary.datagrams:,} datagrams and {size(sent)} in all. Nodes do the same work in a gossip "
        "protocol, so the differences should be small; who joined late or was down has sent less."
    )


def _redundancy(recording: Recording) -> str:
    summary = recording.summary
    return (
        f"Each node received {summary.redundancy:.2f} events for each that was new to it. What it had already is the "
        "price of reaching everybody although datagrams are lost. Digests and streams had to make good "
        f"{100 * summary.missed_by_push:.1f} % of the deliveries, which no push had brought."
    )


# ---- the graph


def _graph_text(ours: Figures) -> str:
    if not ours.edges:
        return "In the end nobody knew anybody to send to."
    parts = []
    if ours.complete:
        parts.append(
            f"Full membership: each of the {ours.nodes:,} running nodes lists all others and draws its targets from "
            "them uniformly at random, so every in-degree is the same, clustering and path length are 1, and there is "
            "no distribution to show."
        )
    else:
        parts.append(
            "Whom each running node would send to, in the end. In-degrees close to those of a random graph spread the "
            "load evenly; clustering above its means that more of the pushes meet nodes which have the news already, "
            "and a longer path that it needs more hops."
        )
    if ours.largest < ours.nodes:
        parts.append(f"Not connected: {ours.nodes - ours.largest:,} nodes are outside of the largest part.")
    return " ".join(parts)


def _graph_table(ours: Figures, other: Figures, dead_links: float) -> str:
    if not ours.edges:
        return ""
    rows = [
        ("in-degree, mean", *(f"{each.degrees.mean:.1f}" for each in (ours, other))),
        ("in-degree, standard deviation", *(f"{each.degrees.deviation:.2f}" for each in (ours, other))),
        ("in-degree, least to most", *(f"{each.degrees.least}–{each.degrees.most}" for each in (ours, other))),  # noqa: RUF001
        ("clustering coefficient", *(f"{each.clustering:.3f}" for each in (ours, other))),
        ("path length in hops", *(f"{each.path_length:.2f}" for each in (ours, other))),
        ("entries that name a dead node", f"{100 * dead_links:.1f} %", "–"),  # noqa: RUF001
        ("nodes in the largest part", *(f"{each.largest:,} of {each.nodes:,}" for each in (ours, other))),
    ]
    return _table(("", "this run", "random graph of the same out-degrees"), rows, frozenset({1, 2}))
