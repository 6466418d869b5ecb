"""Shuffles: the exchange of parts of two members' views."""

from typing import Final

from ..identity import NOBODY, Address, NodeId
from ..output import Output
from ..wire.messages import Message, Shuffle
from .estimate import SizeEstimate
from .peers import ALIVE, KNOWN, SUSPECT, Peer
from .roster import Roster
from .updates import Hearsay

UNPROVEN_ROUNDS: Final = 3
"""Shuffles after which an entry of the view is dropped if nobody has answered at its address."""


class Shuffles:
    """Begins them and answers them; who is unknown must prove its address before anything else is sent to it."""

    def __init__(self, output: Output, roster: Roster, hearsay: Hearsay) -> None:
        self._out = output
        self._roster = roster
        self._hearsay = hearsay
        self._estimate = SizeEstimate(output.config.full_membership_max, output.config.shuffle_length)
        self._asked = NOBODY

    def begin(self, now: float) -> tuple[Peer, list[Message]] | None:
        """A partner and what to say to it; None while everybody is in the view, or nobody."""
        roster, view = self._roster, self._roster.view
        if not roster.is_partial and len(roster.alive()) <= self._out.config.view_size:
            return None
        view.discard_where(lambda node_id, age: age > UNPROVEN_ROUNDS and not self._is_known(node_id))
        self._list_all_again(now)
        roster.refill(now)
        partner = roster.peers.find(view.begin() or NOBODY)
        if partner is None:
            return None
        self._asked = partner.node_id
        mine = (self._out.identity.node_id, self._hearsay.profile.advertise, 0)
        offered = self._entries(self._out.config.shuffle_length - 1)
        roster.keep_to_view(now)
        return partner, [Shuffle((mine, *offered), answer=True)]

    def _list_all_again(self, now: float) -> None:
        """Once the cluster has shrunk; whoever is not listed has to prove its address first, as it may be gone."""
        if self._roster.is_partial and self._estimate.is_small(self._roster.view.ids):
            self._estimate.clear()
            for peer in self._roster.list_all_again():
                self._hearsay.look_at(now, peer.node_id, peer.address, peer.address)

    def _is_known(self, node_id: NodeId) -> bool:
        return self._roster.peers.find(node_id) is not None

    def _entries(self, length: int) -> list[tuple[NodeId, Address | None, int]]:
        offered = self._roster.view.offer(length, self._is_known)
        found = [(self._roster.peers.find(node_id), age) for node_id, age in offered]
        return [(peer.node_id, peer.advertised or peer.address, age) for peer, age in found if peer is not None]

    def take(self, now: float, peer: Peer, source: Address, shuffle: Shuffle) -> None:
        """A member's entries, to be answered with some of ours or in answer to them."""
        length = self._out.config.shuffle_length
        if shuffle.answer:
            self._out.send(peer.address, [Shuffle(tuple(self._entries(length)), answer=False)])
        elif peer.node_id == self._asked and self._roster.is_partial:
            self._asked = NOBODY
            self._estimate.note([node_id for node_id, _, _ in shuffle.entries[:length]])
        taken = []
        for node_id, address, age in shuffle.entries[:length]:
            member = self._roster.peers.find(node_id)
            if member is None and address is not None and node_id != self._out.identity.node_id:
                if self._hearsay.look_at(now, node_id, address, source) and self._roster.is_partial:
                    taken.append((node_id, age))
            elif member is not None and member.state in (ALIVE, SUSPECT, KNOWN):
                taken.append((node_id, age))
        self._roster.view.take(taken)
        self._roster.keep_to_view(now)
