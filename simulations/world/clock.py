"""The wall clock of one simulated node: ahead or behind, too fast or too slow, and set anew now and then."""

from typing import Final

from .queue import EventQueue

EPOCH: Final = 1_700_000_000.0
"""What a right clock shows when virtual time begins, in seconds since 1970."""


class SkewedClock:
    """Seconds since 1970 as one node believes them. Only stamps read it: waiting goes by the virtual clock itself."""

    def __init__(self, queue: EventQueue, *, offset: float = 0.0, drift: float = 0.0) -> None:
        """``offset`` in seconds; ``drift`` in seconds gained a second."""
        self._queue = queue
        self._offset = offset
        self._drift = drift

    def __call__(self) -> float:
        return EPOCH + self._queue.now * (1.0 + self._drift) + self._offset

    def jump(self, seconds: float) -> None:
        """Set it forward, or back if negative."""
        self._offset += seconds
