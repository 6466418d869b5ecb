"""How writes spread, as curves: over the time since each was written, and over the time of the whole run."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Final

from .recording import Recording, WriteTrace, quantile

POINTS: Final = 300
"""Places at which a curve over the time since the write is taken."""
BINS: Final = 400
"""Equal parts of a run for which the share delivered is told."""
EARLIEST: Final = 1e-5
"""Seconds; no curve begins before that."""


@dataclass(frozen=True, slots=True)
class SpreadCurve:
    """Which share of the nodes holds a write, as it gets older. All lists are equally long."""

    seconds: list[float]
    """Since the write, each a constant factor later than the one before."""
    mean: list[float]
    median: list[float]
    """The share that half of the writes have reached."""
    slowest: list[float]
    """The share that all but the slowest hundredth of the writes have reached."""
    writes: int
    """Writes it is made of."""


def spread_curve(recording: Recording) -> SpreadCurve | None:
    """The curve of all writes that were followed and did not vanish with their only disk; None if there are none.

    A write counts the nodes that run in the end, and those that left and had received the write before.
    """
    delays = [_delays(recording, trace) for trace in recording.writes if not vanished(trace)]
    if not delays:
        return None
    seconds = _grid(sorted(delay for each, _ in delays for delay in each))
    mean, median, slowest = [], [], []
    for at in seconds:
        shares = sorted((1 + bisect_right(each, at)) / nodes for each, nodes in delays)
        mean.append(sum(shares) / len(shares))
        median.append(quantile(shares, 0.5))
        slowest.append(quantile(shares, 0.01))
    return SpreadCurve(seconds, mean, median, slowest, len(delays))


def vanished(trace: WriteTrace) -> bool:
    """True if the writer lost the write before another node had it."""
    return not trace.arrivals and any(node == trace.node for _, node in trace.losses)


def audience(recording: Recording, trace: WriteTrace) -> set[int]:
    """The nodes that count for a write: those that run in the end, its writer, and who else got it."""
    return {trace.node, *_up(recording), *(node for _, node, _ in trace.arrivals)}


def _up(recording: Recording) -> list[int]:
    return [index for index, each in enumerate(recording.totals) if each.up]


def _delays(recording: Recording, trace: WriteTrace) -> tuple[list[float], int]:
    """Seconds until each node but the writer had it first, ascending, and the number of nodes that count."""
    first: dict[int, float] = {}
    for when, node, _ in trace.arrivals:
        if node != trace.node:
            first.setdefault(node, when - trace.at)
    return sorted(first.values()), len(audience(recording, trace))


def _grid(delays: Sequence[float]) -> list[float]:
    """From a power of ten before nearly everything, at most a millisecond, to one behind the last delay."""
    early = quantile(list(delays), 0.01) if delays else 1e-3
    first = floor(log10(min(max(early, EARLIEST), 1e-3)))
    last = max(ceil(log10(max(delays[-1], EARLIEST))) if delays else 0, first + 1)
    return [10 ** (first + (last - first) * step / (POINTS - 1)) for step in range(POINTS)]


# ---- over the whole run


def delivered_curve(recording: Recording) -> list[float]:
    """For each of `BINS` parts of the run: the share of all pairs of a write so far and a running node where it is.

    Averaged over the time within the part; 1 as long as there is nothing to deliver.
    """
    width = recording.summary.seconds / BINS
    if width <= 0:
        return []
    curve, filled, before, share = [0.0] * BINS, 0.0, 0, 1.0
    for at, after in _shares(recording):
        bin_ = min(int(at / width), BINS - 1)
        while before < bin_:  # the rest of each part that has ended
            curve[before] += share * ((before + 1) * width - filled)
            before, filled = before + 1, (before + 1) * width
        curve[bin_] += share * (at - filled)
        filled, share = at, after
    for bin_ in range(before, BINS):
        curve[bin_] += share * ((bin_ + 1) * width - filled)
        filled = (bin_ + 1) * width
    return [min(1.0, each / width) for each in curve]


def _shares(recording: Recording) -> Iterator[tuple[float, float]]:
    """(when, the share delivered from then on), at each change."""
    holders: Counter[int] = Counter()
    """Of each write, by its place in the recording."""
    held: Counter[int] = Counter()
    """By each node."""
    running: set[int] = set()
    delivered = alive = 0
    for at, kind, node, write in sorted(_changes(recording)):
        if kind in (_UP, _DOWN):
            running ^= {node}
            delivered += held[node] if kind == _UP else -held[node]
        else:
            step = 1 if kind == _GOT else -1
            before = holders[write]
            holders[write] += step
            held[node] += step
            delivered += step * (node in running)
            alive += bool(holders[write]) - bool(before)
        yield at, delivered / (alive * len(running)) if alive and running else 1.0


_LOST, _DOWN, _UP, _GOT = range(4)
"""What may change, in the order in which it does if it does at once: a node finds its loss as it comes back."""


def _changes(recording: Recording) -> Iterator[tuple[float, int, int, int]]:
    """(when, what, node, write or -1), in no order."""
    end = recording.summary.seconds
    for node, totals in enumerate(recording.totals):
        for start, stop in totals.lives:
            if start == stop:
                continue
            yield start, _UP, node, -1
            if stop < end or not totals.up:
                yield stop, _DOWN, node, -1
    for number, trace in enumerate(recording.writes):
        yield trace.at, _GOT, trace.node, number
        yield from ((when, _GOT, node, number) for when, node, _ in trace.arrivals)
        yield from ((when, _LOST, node, number) for when, node in trace.losses)
