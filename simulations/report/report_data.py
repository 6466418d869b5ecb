"""What the charts of a report show, as the JSON that its page reads. Times are in seconds unless something says not."""

import random
from collections.abc import Sequence
from typing import Any, Final

from .. import graph
from .curves import delivered_curve, spread_curve
from .recording import Interval, Recording, WriteTrace

SHOWN_WRITES: Final = 300
"""Writes that the play-back offers at most."""
SHOWN_ARRIVALS: Final = 200_000
"""Their arrivals at most: some ten bytes each in the file."""
UNIT: Final = 1e-5
"""Seconds that arrivals are rounded to."""
NAMED: Final = 4
"""Nodes, or rows of them, that a label names at most."""


def report_data(recording: Recording, ours: graph.Figures, random_one: graph.Figures) -> dict[str, Any]:
    """Everything that the page's scripts read; the graphs are those of `figures`."""
    totals = recording.totals
    delivery = recording.summary.delivery
    return {
        "seconds": recording.summary.seconds,
        "duration": recording.duration,
        "unit": UNIT,
        "names": names(recording),
        "up": [each.up for each in totals],
        "lives": [[_rounded(life) for life in each.lives] for each in totals],
        "datagrams": [each.datagrams_sent for each in totals],
        "bytes": [each.bytes_sent for each in totals],
        "redundancy": _rounded([(each.events_new + each.events_known) / max(1, each.events_new) for each in totals]),
        "delivery": {"p50": delivery.p50, "p99": delivery.p99},
        "curve": _curve(recording),
        "delivered": _rounded(delivered_curve(recording)),
        "samples": _samples(recording),
        "intervals": [_interval(recording, each) for each in recording.intervals],
        "writes": _writes(recording),
        "graph": _degrees(ours, random_one),
    }


def names(recording: Recording) -> list[str]:
    """Of each node, by index."""
    return [each.name for each in recording.totals]


def figures(recording: Recording) -> tuple[graph.Figures, graph.Figures]:
    """The graph of the nodes that run in the end, and a random one of the same out-degrees."""
    kept = [index for index, each in enumerate(recording.totals) if each.up and index < len(recording.views)]
    views = graph.among(recording.views, kept)
    rng = random.Random(f"{recording.seed} report")
    ours = graph.measure(views, rng)
    # Only one graph has every edge there may be.
    return ours, ours if ours.complete else graph.measure(graph.random_views(views, rng), rng)


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(each, 5) for each in values]


def _curve(recording: Recording) -> dict[str, Any] | None:
    curve = spread_curve(recording)
    if curve is None:
        return None
    shares = {"mean": curve.mean, "median": curve.median, "slowest": curve.slowest}
    return {"seconds": [float(f"{each:.4g}") for each in curve.seconds]} | {
        name: _rounded(values) for name, values in shares.items()
    }


def _samples(recording: Recording) -> dict[str, list[float]]:
    """Columns; the traffic is a second and running node."""
    samples = recording.samples
    before = [0.0, *(each.at for each in samples)]
    scales = [
        1 / (max(each.running, 1) * max(each.at - start, 1e-9)) for each, start in zip(samples, before, strict=False)
    ]
    return {
        "at": _rounded([each.at for each in samples]),
        "running": [each.running for each in samples],
        "states": [each.states for each in samples],
        "datagrams": _rounded([each.datagrams * scale for each, scale in zip(samples, scales, strict=True)]),
        "bytes": _rounded([each.bytes * scale for each, scale in zip(samples, scales, strict=True)]),
    }


def _degrees(ours: graph.Figures, random_one: graph.Figures) -> dict[str, Any] | None:
    """In-degrees of both graphs; None where they say nothing: everybody lists everybody, or nobody anybody."""
    if ours.complete or not ours.edges:
        return None
    return {"degrees": ours.degrees.counts, "random": random_one.degrees.counts}


# ---- writes


def shown_writes(recording: Recording) -> list[int]:
    """Which writes the play-back offers: all, or as many as the file has room for, evenly from first to last."""
    writes = recording.writes
    count = min(len(writes), SHOWN_WRITES)
    while count > 1:
        chosen = [number * len(writes) // count for number in range(count)]
        arrivals = sum(len(writes[number].arrivals) for number in chosen)
        if arrivals <= SHOWN_ARRIVALS:
            return chosen
        count = min(count - 1, count * SHOWN_ARRIVALS // arrivals)
    return list(range(min(count, 1)))


def _writes(recording: Recording) -> dict[str, Any]:
    shown = shown_writes(recording)
    traces = [recording.writes[number] for number in shown]
    return {
        "number": [number + 1 for number in shown],
        "at": [round(each.at, 6) for each in traces],
        "node": [each.node for each in traces],
        "arrivals": [_flat(each) for each in traces],
        "losses": [[(round(when, 5), node) for when, node in each.losses] for each in traces],
    }


def _flat(trace: WriteTrace) -> list[int]:
    """(units of time since the one before, node, from whom), one after the other."""
    flat: list[int] = []
    before = 0
    for when, node, source in trace.arrivals:
        units = round((when - trace.at) / UNIT)
        flat += (units - before, node, source)
        before = units
    return flat


# ---- faults


def _interval(recording: Recording, interval: Interval) -> dict[str, Any]:
    return {
        "kind": interval.kind,
        "start": round(interval.start, 5),
        "end": round(interval.end, 5),
        "nodes": interval.nodes,
        "sides": interval.sides,
        "label": label(interval, names(recording)),
        "detail": interval.detail,
    }


def label(interval: Interval, known: Sequence[str]) -> str:
    """What was done to whom, in a few words: ``partition n0-n4 | n5-n9``."""
    if not interval.sides:
        return f"{interval.kind} {_span(interval.nodes, known)}".strip()
    parts = [
        [index for index, each in enumerate(interval.sides) if each == side] for side in sorted(set(interval.sides))
    ]
    return f"{interval.kind} {' | '.join(_span(part, known) for part in parts)}"


def _span(indexes: Sequence[int], known: Sequence[str]) -> str:
    """The nodes by name, rows of neighbours as one."""
    rows: list[list[int]] = []
    for index in sorted(set(indexes)):
        if rows and rows[-1][-1] == index - 1:
            rows[-1].append(index)
        else:
            rows.append([index])
    if len(rows) > NAMED:
        shown = sum(map(len, rows[: NAMED - 1]))
        return f"{_span(sorted(set(indexes))[:shown], known)} and {len(set(indexes)) - shown} more"
    return ", ".join(_row(row, known) for row in rows)


def _row(row: Sequence[int], known: Sequence[str]) -> str:
    first, last = (known[index] if index < len(known) else f"n{index}" for index in (row[0], row[-1]))
    return first if len(row) == 1 else f"{first}, {last}" if len(row) == 2 else f"{first}–{last}"  # noqa: RUF001
