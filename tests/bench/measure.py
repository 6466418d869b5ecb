"""How things are measured: CPU time of one process, the median of several runs, ratios within the same run.

Machines are noisy and differ; a ratio to what another library took a moment ago travels better than seconds.
"""

import gc
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any, Self

from .contestants import Contestant


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured quantity."""

    name: str
    value: float
    unit: str


@dataclass(frozen=True, slots=True)
class Row:
    """One quantity of every contestant, by the contestant's name."""

    name: str
    unit: str
    values: dict[str, float]

    def ratio(self, other: str) -> float | None:
        """How many times as much as ours ``other`` takes; None where either was not measured or is nothing."""
        mine, theirs = self.values.get("ours"), self.values.get(other)
        return theirs / mine if mine and theirs is not None else None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"ratios": {name: self.ratio(name) for name in self.values if name != "ours"}}


class Stopwatch:
    """Adds up the CPU time spent in its ``with`` blocks. Garbage of what came before is collected first, untimed."""

    def __init__(self) -> None:
        self.seconds = 0.0
        gc.collect()

    def __enter__(self) -> Self:
        self._start = time.process_time()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.seconds += time.process_time() - self._start

    def micros(self, operations: int) -> float:
        """CPU microseconds for each of so many operations."""
        return self.seconds / operations * 1e6


@dataclass(frozen=True, slots=True)
class Case:
    """Something that every contestant does, from fresh objects each time it is called."""

    run: Callable[[type[Contestant]], list[Figure]]
    samples: int = 5


def compare(cases: Iterable[Case], contestants: list[type[Contestant]]) -> list[Row]:
    """The medians of each case, with the contestants taking turns so that a slow moment hits them all."""
    rows = []
    for case in cases:
        samples: dict[tuple[str, str], dict[str, list[float]]] = {}
        for _ in range(case.samples):
            for contestant in contestants:
                for figure in case.run(contestant):
                    of_all = samples.setdefault((figure.name, figure.unit), {})
                    of_all.setdefault(contestant.name, []).append(figure.value)
        for (name, unit), of_all in samples.items():
            rows.append(Row(name, unit, {who: statistics.median(values) for who, values in of_all.items()}))
            progress(name)
    return rows


def progress(done: str) -> None:
    """Say on a terminal, where the results do not go, that this has been measured."""
    if sys.stderr.isatty():
        print(f"\r\033[K{done}", end="", file=sys.stderr, flush=True)


def yardstick() -> float:
    """CPU seconds for one turn of a plain loop that fills a dict with tuples: what Python costs on this machine now."""
    samples = []
    for _ in range(5):
        filled: dict[str, tuple[str, int]] = {}
        with Stopwatch() as watch:
            for i in range(100_000):
                filled[f"key-{i}"] = ("writer", i)
        samples.append(watch.seconds / len(filled))
    return statistics.median(samples)
