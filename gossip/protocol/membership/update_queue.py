"""Membership updates on their way: each is told a few times, least told first, on whatever is sent anyway.

So an update reaches everybody in a number of rounds that grows with the logarithm of the cluster, and then costs
nothing more (Das, Gupta, Motivala: SWIM, DSN 2002, section 4.1).
"""

from math import ceil, log2
from typing import Final

from ..identity import NodeId
from ..wire.messages import Update, Updates

TELLINGS: Final = 3
"""Times an update is told by each member for every doubling of the cluster."""
MAX_UPDATES: Final = 4096
"""Updates on their way at most; the ones told most often make way."""
ROWS: Final = 24
"""Updates in one message at most."""
ROW_BYTES: Final = 55
"""Upper bound of one update, its version and tags apart."""


def update_bytes(update: Update) -> int:
    """Upper bound of what an update takes in a message."""
    return ROW_BYTES + len(update.version) + sum(4 + len(k.encode()) + len(v.encode()) for k, v in update.tags)


def fit(rows: list[Update], max_bytes: int) -> list[Update]:
    """As many of the first rows as one message may hold."""
    taken = []
    for row in rows[:ROWS]:
        max_bytes -= update_bytes(row)
        if max_bytes < 0:
            break
        taken.append(row)
    return taken


class UpdateQueue:
    """The updates that are still to be told, one for each member."""

    def __init__(self) -> None:
        self._left: dict[NodeId, tuple[Update, int]] = {}

    def __len__(self) -> int:
        return len(self._left)

    def put(self, update: Update, members: int) -> None:
        """Tell this to the ``members`` there are, in place of what was told of the same one."""
        self._left.pop(update.node_id, None)
        self._left[update.node_id] = update, TELLINGS * max(1, ceil(log2(members + 1)))
        if len(self._left) > MAX_UPDATES:
            del self._left[min(self._left, key=lambda node_id: self._left[node_id][1])]

    def drop(self, node_id: NodeId) -> None:
        self._left.pop(node_id, None)

    def take(self, max_bytes: int) -> list[Updates]:
        """What to tell now in one message of that many bytes, if anything."""
        if not self._left:
            return []
        ranked = sorted(self._left.values(), key=lambda each: -each[1]) if len(self._left) > 1 else self._left.values()
        rows = fit([update for update, _ in ranked], max_bytes)
        for row in rows:
            left = self._left[row.node_id][1] - 1
            if left:
                self._left[row.node_id] = row, left
            else:
                del self._left[row.node_id]
        return [Updates(tuple(rows))] if rows else []
