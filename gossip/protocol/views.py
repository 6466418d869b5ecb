"""A partial view: a few members at a time, mixed with others' views by age-based shuffles.

Who is in a node's view is a nearly uniform sample of the cluster that keeps changing, at a cost that does not depend
on its size, and the dead drop out, as the oldest entry is tried first (Voulgaris, Gavidia, van Steen: CYCLON, JNSM
13(2), 2005).
"""

import random
from collections.abc import Iterable, Sequence
from typing import Final

MAX_WANTED: Final = 64
"""Entries at most that wait until the member has proven its address."""


class View:
    """Node ids and their ages in rounds, ``size`` of them at most."""

    def __init__(self, size: int, rng: random.Random) -> None:
        self._size = size
        self._rng = rng
        self._ages: dict[bytes, int] = {}
        self._wanted: dict[bytes, int] = {}
        self._given: list[bytes] = []

    def __contains__(self, node_id: bytes) -> bool:
        return node_id in self._ages

    def __len__(self) -> int:
        return len(self._ages)

    @property
    def ids(self) -> Sequence[bytes]:
        """Whom the view holds, in no particular order."""
        return tuple(self._ages)

    @property
    def is_full(self) -> bool:
        return len(self._ages) >= self._size

    # ---- members come and go

    def admit(self, node_id: bytes) -> None:
        """A member has proven its address: it comes in if there is room, or if a shuffle has brought its entry."""
        age = self._wanted.pop(node_id, None)
        if node_id in self._ages or (self.is_full and age is None):
            return
        if self.is_full:
            del self._ages[self._oldest()]
        self._ages[node_id] = age or 0

    def discard(self, node_id: bytes) -> None:
        """A member is gone."""
        self._ages.pop(node_id, None)

    # ---- shuffles

    def begin(self, length: int) -> tuple[bytes, list[tuple[bytes, int]]] | None:
        """Start a round: whom to shuffle with, the oldest, and what to offer besides ourselves. None if it is empty.

        The partner leaves the view: it will have our entry instead, and comes back by others if it is alive.
        """
        if not self._ages:
            return None
        for node_id in self._ages:
            self._ages[node_id] += 1
        partner = self._oldest()
        del self._ages[partner]
        offered = self.sample(length - 1)
        self._given = [node_id for node_id, _ in offered]
        return partner, offered

    def sample(self, length: int) -> list[tuple[bytes, int]]:
        """Some entries at random, with their ages."""
        chosen = self._rng.sample(list(self._ages), min(length, len(self._ages)))
        return [(node_id, self._ages[node_id]) for node_id in chosen]

    def _oldest(self) -> bytes:
        return max(self._ages, key=lambda node_id: self._ages[node_id])

    def take(self, received: Iterable[tuple[bytes, int]], given: Iterable[bytes] | None = None) -> None:
        """Entries of members that are known: into free places, or in place of what was ``given`` away for them.

        By default that is what `begin` offered.
        """
        places = list(self._given if given is None else given)
        for node_id, age in received:
            if node_id in self._ages:
                continue
            while self.is_full and places:
                self._ages.pop(places.pop(), None)
            if not self.is_full:
                self._ages[node_id] = age
        self._given = []

    def want(self, node_id: bytes, age: int) -> None:
        """An entry of a member that is not known: let it in when it has proven its address."""
        self._wanted[node_id] = age
        if len(self._wanted) > MAX_WANTED:
            del self._wanted[next(iter(self._wanted))]
