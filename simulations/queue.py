"""Virtual time: a seeded world is one queue of callbacks, run in order of their instant."""

import heapq
from collections.abc import Callable


class EventQueue:
    """Runs callbacks at virtual instants, in seconds; ties in the order they were scheduled."""

    def __init__(self) -> None:
        self.now = 0.0
        self.ran = 0
        """Callbacks run so far."""
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def at(self, when: float, call: Callable[[], None]) -> None:
        """Run ``call`` at ``when``, or now if that has passed."""
        self._count += 1
        heapq.heappush(self._heap, (max(when, self.now), self._count, call))

    def run_until(self, end: float) -> None:
        """Run everything up to ``end``, and let it be ``end``."""
        while self._heap and self._heap[0][0] <= end:
            self.now, _, call = heapq.heappop(self._heap)
            self.ran += 1
            call()
        self.now = max(self.now, end)
