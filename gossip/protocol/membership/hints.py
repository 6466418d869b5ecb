"""Hints are the members of former lives: a node looks for them at its start, besides its seeds.

The disk keeps a bounded number of hints, of as many hosts as possible; they are written rarely. A hint is never
trusted: its address is greeted like a seed's, and is sent nothing else before it has proven itself. A former member
that answers is admitted like any other. A former member that does not is listed as failed, and greeted now and then.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from .. import notices
from ..fence import is_fenced
from ..identity import Address, Hint, NodeId
from ..output import Output
from .handshake import Greeter
from .peers import FAILED, LEFT, Peer
from .roster import Roster, fields

HINTS: Final = 64
"""Members that are kept for the next start, at most."""
HINT_LIVES: Final = 16
"""A member is kept no more after so many lives of this node in a row in which it was looked for in vain."""
FIRST_PAUSE: Final = 1.0
"""Seconds before the hints are written for the first time. The pause before the next writing doubles each time."""
LONGEST_PAUSE: Final = 64.0
"""Seconds of the longest pause between two writings."""


class Hints:
    """Looks for the members of former lives, and chooses the hints for the next start."""

    def __init__(self, output: Output, roster: Roster, greeter: Greeter, former: Iterable[Hint], now: float) -> None:
        self._out = output
        self._roster = roster
        self._greeter = greeter
        self._former: dict[NodeId, Hint] = {}
        self._kept: tuple[Hint, ...] = ()
        self._seen = roster.peers.changes
        self._next = now + FIRST_PAUSE
        self._pause = FIRST_PAUSE
        for hint in list(former)[:HINTS]:
            if hint.node_id != output.identity.node_id and not is_fenced(output.kernel, hint.node_id):
                self._former[hint.node_id] = hint
                self._greeter.add_hint(now, hint.address)

    def deadline(self) -> float:
        return self._next if self._roster.peers.changes != self._seen else float("inf")

    def tick(self, now: float) -> None:
        """List members that were looked for in vain; have the hints saved if they have changed."""
        if self._greeter.unanswered:
            self._list_missing(now)
        if now < self.deadline():
            return
        self._seen, self._next = self._roster.peers.changes, now + FIRST_PAUSE
        kept = self.current()
        if [_place(hint) for hint in kept] != [_place(hint) for hint in self._kept]:
            self._kept, self._next = kept, now + self._pause
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
            self._out.remember(kept)

    def _list_missing(self, now: float) -> None:
        silent = dict.fromkeys(self._greeter.unanswered)
        self._greeter.unanswered.clear()
        for hint in [hint for hint in self._former.values() if hint.address in silent]:
            if self._roster.peers.find(hint.node_id) is None:
                self._former[hint.node_id] = replace(hint, missed=hint.missed + 1)
                peer = Peer(hint.node_id, hint.name, hint.epoch, hint.address, now, FAILED, is_proven=False)
                peer.met = float("-inf")  # before all members of this life
                self._roster.list_missing(peer)
                self._out.notify(notices.MEMBER_FAILED, **fields(peer))

    def forget(self, node_id: NodeId) -> None:
        """Drop the hint of a node that was retired."""
        hint = self._former.pop(node_id, None)
        if hint is not None:
            self._greeter.drop(hint.address)

    def current(self) -> tuple[Hint, ...]:
        """The hints for the next start: members that are present come first, then those that are missing."""
        peers = self._roster.peers
        known = [peer for peer in peers.all() if peer.is_proven and peer.state != LEFT]
        known.sort(key=lambda each: (not each.is_present, each.met, each.node_id))
        found = [Hint(peer.node_id, peer.name, peer.epoch, peer.address) for peer in known]
        sought = [hint for hint in self._former.values() if hint.missed < HINT_LIVES and self._is_sought(hint)]
        return _spread([*found, *sought])

    def _is_sought(self, hint: Hint) -> bool:
        peer = self._roster.peers.find(hint.node_id)
        return peer is None or not peer.is_proven


def _place(hint: Hint) -> tuple[NodeId, Address, int]:
    """The parts of a hint whose change makes it worth writing."""
    return hint.node_id, hint.address, hint.missed


def _spread(hints: Sequence[Hint]) -> tuple[Hint, ...]:
    """The hints that are kept: the first of each host, then the second of each, and so on; sorted by node id."""
    by_host: dict[str, int] = {}
    ranked = []
    for hint in hints:
        rank = by_host[hint.address.host] = by_host.get(hint.address.host, 0) + 1
        ranked.append((rank, hint))
    ranked.sort(key=lambda each: each[0])
    return tuple(sorted((hint for _, hint in ranked[:HINTS]), key=lambda each: each.node_id))
