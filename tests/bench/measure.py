"""How things are measured: CPU time, the median of several runs, and ratios to a yardstick of the same run.

Machines are noisy and differ; a ratio to a fixed piece of plain Python travels better than seconds.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

RUNS = 5


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured quantity."""

    name: str
    value: float
    unit: str
    ratio: float | None = None
    """Of the yardstick's time, where the figure is a time per operation."""


def cpu_per_operation(run: Callable[[], int], runs: int = RUNS) -> float:
    """Median CPU seconds for one operation of ``run``, which does as many as it returns."""
    samples = []
    for _ in range(runs):
        start = time.process_time()
        count = run()
        samples.append((time.process_time() - start) / count)
    return statistics.median(samples)


def yardstick() -> float:
    """CPU seconds for one turn of a plain loop that fills a dict with tuples: what Python costs on this machine now."""

    def fill() -> int:
        filled: dict[str, tuple[str, int]] = {}
        for i in range(100_000):
            filled[f"key-{i}"] = ("writer", i)
        return len(filled)

    return cpu_per_operation(fill)
