"""One suspicion: when it becomes a verdict.

It starts with much patience, which shrinks with every independent confirmation, so that a member is failed fast if
many miss it and slowly if only we do (Lifeguard: Dadgar, Phillips, Currey, 2018, section IV-B).
"""

from math import log, log10
from typing import Final

from ..config import Config
from ..identity import NodeId

PATIENCE: Final = 3.0
"""How many times the shortest timeout the longest is."""


class Suspicion:
    """Of one member."""

    __slots__ = ("_confirmed_by", "_least", "_needed", "_start", "next_ping", "ours")

    def __init__(self, now: float, config: Config, members: int, *, ours: bool) -> None:
        """``members`` are those present; ``ours``: by our own evidence."""
        self._start = now
        self._least = config.suspicion * max(1.0, log10(members + 1))
        self._needed = max(1, min(config.indirect_probes, members - 2))
        self._confirmed_by: dict[NodeId, None] = {}
        self.ours = ours
        self.next_ping = now

    def confirm(self, by: NodeId) -> None:
        """Another member misses it too."""
        if len(self._confirmed_by) < self._needed:
            self._confirmed_by[by] = None

    def postpone(self, seconds: float) -> None:
        """We could not listen for so long."""
        self._start += seconds

    @property
    def due(self) -> float:
        """When patience ends."""
        most = self._least * PATIENCE
        share = log(len(self._confirmed_by) + 1) / log(self._needed + 1)
        return self._start + max(self._least, most - (most - self._least) * share)
