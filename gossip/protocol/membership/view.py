"""A partial view: a few members at a time, mixed with others' views by age-based shuffles.

Who is in a node's view is a nearly uniform sample of the cluster that keeps changing, at a cost that does not depend
on its size, and the dead drop out, as the oldest entry is tried first (Voulgaris, Gavidia, van Steen: CYCLON, JNSM
13(2), 2005).
"""

import random
from collections.abc import Callable, Iterable, Sequence

from ..identity import NodeId


class View:
    """Node ids and their ages in rounds, ``size`` of them at most."""

    def __init__(self, size: int, rng: random.Random) -> None:
        self._size = size
        self._rng = rng
        self._ages: dict[NodeId, int] = {}
        self._given: list[NodeId] = []

    def __contains__(self, node_id: NodeId) -> bool:
        return node_id in self._ages

    def __len__(self) -> int:
        return len(self._ages)

    @property
    def ids(self) -> Sequence[NodeId]:
        """Whom the view holds, in no particular order."""
        return tuple(self._ages)

    def is_full(self) -> bool:
        return len(self._ages) >= self._size

    # ---- members come and go

    def admit(self, node_id: NodeId, of: int) -> None:
        """One of ``of`` members that are listed has come: let it in if there is room, or by its share of chance.

        So a view is a uniform sample from the start, and not of those who came first.
        """
        if node_id in self._ages:
            return
        if self.is_full():
            if self._rng.random() * of >= self._size:
                return
            del self._ages[self._rng.choice(list(self._ages))]
        self._ages[node_id] = 0

    def discard(self, node_id: NodeId) -> None:
        """A member is gone."""
        self._ages.pop(node_id, None)

    def discard_where(self, is_dead: Callable[[NodeId, int], bool]) -> None:
        """Drop the entries, given with their ages, of which that is true."""
        for node_id in [node_id for node_id, age in self._ages.items() if is_dead(node_id, age)]:
            del self._ages[node_id]

    # ---- shuffles

    def begin(self) -> NodeId | None:
        """Start a round: whom to shuffle with, the oldest. None if there is nobody.

        The partner leaves the view: it will have our entry instead, and comes back by others if it is alive.
        """
        for node_id in self._ages:
            self._ages[node_id] += 1
        partner = max(self._ages, key=lambda node_id: self._ages[node_id], default=None)
        if partner is not None:
            del self._ages[partner]
        return partner

    def offer(self, length: int, is_known: Callable[[NodeId], bool]) -> list[tuple[NodeId, int]]:
        """Some entries at random to give away, with their ages: only of members that are known."""
        known = [node_id for node_id in self._ages if is_known(node_id)]
        self._given = self._rng.sample(known, min(length, len(known)))
        return [(node_id, self._ages[node_id]) for node_id in self._given]

    def take(self, received: Iterable[tuple[NodeId, int]]) -> None:
        """Entries of the partner: into free places, and then in place of those offered to it."""
        for node_id, age in received:
            if node_id in self._ages:
                continue
            while self.is_full() and self._given:
                self._ages.pop(self._given.pop(), None)
            if not self.is_full():
                self._ages[node_id] = age
