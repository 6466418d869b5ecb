"""Goodbyes that others tell us of: only the member's own word, or its silence, is evidence enough.

When others say that a member left, this node pings the member at once, and twice more. If the member does not answer,
it counts as left, within a second on a usual network. If it answers, it is told what others say, and can contradict. A
node that has left and still runs answers a ping by its goodbye.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ..identity import NodeId
from .membership import Members
from .peers import LEFT, Peer

MAX_FAREWELLS: Final = 256
"""Members that are asked at the same time, at most."""


@dataclass(slots=True)
class _Farewell:
    target: Peer
    epoch: int
    counter: int
    """With the epoch, the incarnation that left according to others."""
    next_ping: float
    due: float


class Farewells:
    """Asks the members that left according to others."""

    def __init__(
        self, members: Members, ping: Callable[[float, Peer], None], wait_for: Callable[[Peer], float]
    ) -> None:
        """``wait_for`` tells after how many seconds a member's answer is late."""
        self._members = members
        self._ping = ping
        self._wait_for = wait_for
        self._asked: dict[NodeId, _Farewell] = {}

    def __len__(self) -> int:
        return len(self._asked)

    def deadline(self) -> float:
        return min((min(each.next_ping, each.due) for each in self._asked.values()), default=float("inf"))

    def begin(self, now: float) -> None:
        """Ask the members that others told of since the last call."""
        for peer, counter in self._members.farewells:
            if peer.node_id not in self._asked and len(self._asked) < MAX_FAREWELLS:
                wait = self._wait_for(peer)
                self._asked[peer.node_id] = _Farewell(peer, peer.epoch, counter, now + wait, now + 3 * wait)
                self._ping(now, peer)
        self._members.farewells.clear()

    def tick(self, now: float) -> None:
        """Ask again; members that did not answer in time count as left."""
        for node_id, farewell in list(self._asked.items()):
            peer = farewell.target
            is_over = peer.state == LEFT or (peer.epoch, peer.counter) > (farewell.epoch, farewell.counter)
            if is_over or self._members.find(node_id) is not peer:
                del self._asked[node_id]
            elif now >= farewell.due:
                del self._asked[node_id]
                self._members.believe_farewell(now, peer, farewell.counter)
            elif now >= farewell.next_ping:
                farewell.next_ping = now + self._wait_for(peer)
                self._ping(now, peer)

    def answered(self, now: float, peer: Peer) -> None:
        """Note that a member has answered."""
        if self._asked.pop(peer.node_id, None) is not None:
            self._members.deny_farewell(now, peer)
