"""Bounds the log lines that others can cause: strangers and peers can repeat most events as often as they like."""

from dataclasses import dataclass
from typing import Final

PERIOD: Final = 60.0
"""Seconds in which lines of one kind are counted."""
KINDS_KEPT: Final = 256
"""Kinds of lines that are counted at a time. Beyond it, the kind that was written longest ago is forgotten."""


@dataclass(slots=True)
class _Count:
    since: float
    written: int = 0
    swallowed: int = 0


class LineLimiter:
    """Lets a number of lines of each kind pass in a minute, and counts the others."""

    def __init__(self) -> None:
        self._counts: dict[str, _Count] = {}

    def admit(self, now: float, kind: str, most: int) -> int | None:
        """None if ``most`` lines of this kind were written in the last minute: then this line is swallowed too.

        Otherwise the line may be written; returns how many were swallowed since the last one that was.
        """
        count = self._counts.get(kind) or _Count(now)
        if now - count.since >= PERIOD:
            count.since, count.written = now, 0
        if count.written >= most:
            count.swallowed += 1
            return None
        swallowed, count.swallowed = count.swallowed, 0
        count.written += 1
        self._counts.pop(kind, None)
        self._counts[kind] = count
        if len(self._counts) > KINDS_KEPT:
            del self._counts[next(iter(self._counts))]
        return swallowed
