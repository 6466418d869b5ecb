"""Virtual time: a seeded world is one queue of callbacks, run in order of their instant."""

import heapq
from collections.abc import Callable
from typing import Any


class EventQueue:
    """Runs callbacks at virtual instants, in seconds; ties in the order they were scheduled."""

    def __init__(self) -> None:
        self.now = 0.0
        self.ran = 0
        """Callbacks run so far."""
        self._heap: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self._count = 0

    def at(self, when: float, call: Callable[..., object], *args: Any) -> None:
        """Run ``call`` with ``args`` at ``when``, or now if that has passed."""
        self._count += 1
        heapq.heappush(self._heap, (when if when > self.now else self.now, self._count, call, args))

    def run_until(self, end: float) -> None:
        """Run everything up to ``end``, and let it be ``end``."""
        heap, pop = self._heap, heapq.heappop
        while heap and heap[0][0] <= end:
            self.now, _, call, args = pop(heap)
            self.ran += 1
            call(*args)
        self.now = max(self.now, end)
