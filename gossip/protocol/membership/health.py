"""Local health: how far a node trusts its own judgement of others.

Lifeguard (Dadgar, Phillips, Currey, 2018): a node that misses answers, or has to contradict its own obituary, may be
the slow one itself. It then waits longer before it accuses anybody.
"""

from typing import Final

MAX_SCORE: Final = 8
"""Timeouts grow to this many times their length, and one more, at most."""


class Health:
    """0 is healthy; each point adds the whole of every timeout once more."""

    __slots__ = ("_score",)

    def __init__(self) -> None:
        self._score = 0

    @property
    def factor(self) -> int:
        """What to multiply timeouts by."""
        return 1 + self._score

    def worsen(self, by: int = 1) -> None:
        """An answer is missing that should have come, we were accused, or we could not run in time."""
        self._score = min(MAX_SCORE, self._score + by)

    def improve(self) -> None:
        """An answer has come in time."""
        self._score = max(0, self._score - 1)
