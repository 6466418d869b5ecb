"""Tells by what shuffles bring that a cluster which was too large to list is clearly small again.

The entries of an answer are nearly a random sample of the cluster. Of a cluster as large as the limit, twice as many
draws as that find six members of seven; so if they find less than half as many, it has shrunk. Between the two is room
enough that nobody goes to and fro.
"""

from collections import deque
from collections.abc import Collection, Sequence
from math import ceil
from typing import Final

from ..identity import NodeId

SAMPLES: Final = 2
"""Entries looked at, for each member that a list may hold."""
ROUNDS: Final = 10
"""Shuffles looked at, at least."""
SMALL: Final = 0.5
"""Of the members that a list may hold: no more are in a small cluster."""


class SizeEstimate:
    """The ids that the latest answers to shuffles have brought: some kilobytes for every hundred members of the limit.

    Only answers of partners whom we have chosen count, so that nobody can make a cluster look small by saying the same
    again and again.
    """

    def __init__(self, limit: int, length: int) -> None:
        """``limit`` members may be listed; an answer has ``length`` entries at most."""
        self._most = int(limit * SMALL)
        self._answers: deque[Sequence[NodeId]] = deque(maxlen=max(ROUNDS, ceil(SAMPLES * limit / length)))

    def note(self, ids: Sequence[NodeId]) -> None:
        """A partner has answered with these entries."""
        self._answers.append(ids)

    def is_small(self, view: Collection[NodeId]) -> bool:
        """True if the members heard of and those in the view are so few that all can be listed."""
        if len(self._answers) < (self._answers.maxlen or 0) or len(view) > self._most:
            return False
        return len({*view, *(node_id for answer in self._answers for node_id in answer)}) <= self._most

    def clear(self) -> None:
        """Start anew."""
        self._answers.clear()
