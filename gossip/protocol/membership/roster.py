"""The list of members and the view of it, and what follows when a member's state changes."""

from collections import Counter
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import Final

from .. import notices
from ..errors import CrowdedHost
from ..identity import Address
from ..output import Output
from .peers import ALIVE, FAILED, KNOWN, LEFT, SUSPECT, Peer, Peers
from .sampling import sample_targets
from .view import View

COMPARED: Final = 4
"""Of those who are met, how many are compared with at once; the others' turn comes with probes."""
OLD_CONTACTS: Final = 32
"""Members that failed or left which a node with a partial view keeps at most, to try them again."""
ENDED_KEPT: Final = 32
"""Members that left, and keep nothing, which are listed at most: a cluster may have a short-lived one each minute."""
HOST_IDS: Final = 256
"""Members that count at one host at most, unless it is loopback: many more than anybody runs on one machine. So one
machine with the key cannot invent so many that no node lists everybody any more."""
KNOWN_VIEWS: Final = 8
"""How many times the size of the view a node with a partial one remembers of those who were in it."""


class Roster:
    """Members are listed once they have proven their address, and then for good."""

    def __init__(self, output: Output) -> None:
        self._out = output
        self.peers = Peers()
        self.view = View(output.config.view_size, output.rng)
        self.is_partial = False
        """True if the cluster is too large to list: then only the members in the view are listed."""
        self.to_compare: list[Peer] = []
        """Members met, met again or back since this was last emptied: their data may differ from ours."""
        self.met: list[Peer] = []
        """Members that nothing can have been pushed to before: met, or started again, since this was last emptied."""

    def alive(self) -> Sequence[Peer]:
        """Members that count, as they are alive or only suspect. To be read at once: it is no copy."""
        return self.peers.present()

    def targets(self) -> Sequence[Peer]:
        """Members of the view that count: those whom gossip is drawn from."""
        found = [self.peers.find(node_id) for node_id in self.view.ids]
        return [peer for peer in found if peer is not None and peer.is_present]

    @property
    def known(self) -> int:
        """How many members are known, for others to see whether to name more; enough, if the cluster is too large."""
        return self._out.config.full_membership_max if self.is_partial else len(self.peers.present())

    def is_full(self) -> bool:
        return len(self.peers.present()) >= self._out.config.full_membership_max

    # ---- members come and go

    def list(self, now: float, peer: Peer) -> bool:
        """Somebody new; False if there is no room for it."""
        if not self._make_room(now, peer):
            return False
        if self.is_full() and not self.is_partial:
            self.is_partial = True
            self._out.notify(notices.MEMBERS_PARTIAL, limit=self._out.config.full_membership_max)
        self.peers.add(peer)
        if self.is_partial and peer.node_id not in self.view and self.view.is_full():
            self.peers.turn(peer, KNOWN, now)
            self._forget_known()
        else:
            self.let_in(peer)
            self._out.notify(notices.MEMBER_JOINED, **fields(peer))
            self.met.append(peer)
            if len(self.alive()) <= COMPARED or self._out.rng.random() < COMPARED / len(self.alive()):
                self.to_compare.append(peer)
        return True

    def _make_room(self, now: float, peer: Peer) -> bool:
        """Somebody shall count from now on: who was at its address is there no more. False if its host is crowded."""
        self._displace_all_but(now, peer)
        if self.is_crowded(peer.address.host):
            self._out.reject(now, CrowdedHost(f"more than {HOST_IDS} members at one host"), peer.address)
            return False
        return True

    def move(self, now: float, peer: Peer, address: Address, others: tuple[Address, ...]) -> None:
        """A member is to be reached at another address that it has proven, and speaks from ``others`` too."""
        self.peers.move(peer, address, others)
        if peer.is_present:
            self._displace_all_but(now, peer)

    def _displace_all_but(self, now: float, peer: Peer) -> None:
        """At one address is one member: the one that has proven it last."""
        for other in tuple(self.peers.present_at(peer.address)):
            if other is not peer:
                self._displace(now, other, peer.address)

    def _displace(self, now: float, peer: Peer, address: Address) -> None:
        """Somebody else has proven to be at an address of this member."""
        others = tuple(each for each in peer.others if each != address)
        if peer.address != address:
            self.peers.move(peer, peer.address, others)
        elif others:
            self.peers.move(peer, others[0], others[1:])
        else:
            self.turn(now, peer, FAILED)

    def has_place_for(self, peer: Peer) -> bool:
        """True if a member that is gone could return to its address: no other member is there, and there is room."""
        return not self.peers.is_present_at(peer.address) and not self.is_crowded(peer.address.host)

    def is_crowded(self, host: str) -> bool:
        """True if as many members are present at a host as may be."""
        return self.peers.present_on(host) >= HOST_IDS and not ip_address(host).is_loopback

    def let_in(self, peer: Peer) -> None:
        """A member that counts may come into the view."""
        self.view.admit(peer.node_id, len(self.peers.present()))

    def begin_life(self, now: float, peer: Peer, epoch: int) -> None:
        """A member has been started again: what its former life had acknowledged may be lost."""
        self.peers.advance(peer, epoch, 0)
        self._out.notify(notices.MEMBER_RESTARTED, **fields(peer))
        self.met.append(peer)
        self.to_compare.append(peer)
        if peer.state != KNOWN:
            self.turn(now, peer, ALIVE)

    def turn(self, now: float, peer: Peer, state: str) -> None:
        """A member is in that state from now on. One that has been forgotten meanwhile is none any more."""
        before = peer.state
        if before == state or not self.peers.lists(peer):
            return
        if before in (FAILED, LEFT) and state in (ALIVE, SUSPECT) and not self._make_room(now, peer):
            return
        self.peers.turn(peer, state, now)
        peer.has_obituary = peer.has_obituary and state == SUSPECT
        peer.has_said_goodbye = peer.has_said_goodbye and state == LEFT
        if state in (FAILED, LEFT):
            self._on_gone(peer, state)
        elif before in (FAILED, LEFT):
            self._out.notify(notices.MEMBER_RETURNED, **fields(peer))
            self.let_in(peer)
            self.to_compare.append(peer)
        elif state == SUSPECT:
            self._out.notify(notices.MEMBER_SUSPECTED, **fields(peer))

    def _on_gone(self, peer: Peer, state: str) -> None:
        self._out.notify(notices.MEMBER_FAILED if state == FAILED else notices.MEMBER_LEFT, **fields(peer))
        self.view.discard(peer.node_id)
        self._fill_view()
        self._make_way()

    def list_missing(self, peer: Peer) -> None:
        """List a member of a former life that was looked for in vain."""
        self.peers.add(peer)
        self._make_way()

    def _make_way(self) -> None:
        """Forget a member that is gone if there are more of them than are listed, or of those that keep nothing."""
        left, failed = self.peers.in_state(LEFT), self.peers.in_state(FAILED)
        ended = [each for each in left if each.keeps_nothing]
        if len(ended) > ENDED_KEPT:
            self._forget_gone(min(ended, key=lambda each: each.since))
        elif len(left) + len(failed) > (OLD_CONTACTS if self.is_partial else self._out.config.max_gone):
            self._forget_gone(least_missed(left, failed))

    def _forget_gone(self, peer: Peer) -> None:
        self._out.notify(notices.MEMBER_FORGOTTEN, state=peer.state, **fields(peer))
        self.forget(peer)

    def _fill_view(self) -> None:
        """Members that are listed take the places that are free."""
        if not self.view.is_full() and len(self.view) < len(self.alive()):
            for peer in sample_targets(self.alive(), self._out.config.view_size, self._out.rng):
                if self.view.is_full():
                    break
                self.let_in(peer)

    def refill(self, now: float) -> None:
        """Those who were in a partial view come back where heavy loss has emptied it: else nobody would ever."""
        if self.is_partial and len(self.view) < self._out.config.view_size / 2:
            known = self.peers.in_state(KNOWN)
            for peer in self._out.rng.sample(known, min(len(known), self._out.config.view_size // 2)):
                self.let_in(peer)
            self.keep_to_view(now)

    def list_all_again(self) -> Sequence[Peer]:
        """The cluster is small again: return those who were known and not listed, who are met anew if they are there.

        Those of whom only the view knew are dropped from it; they come back by those who list them.
        """
        self.is_partial = False
        self._out.notify(notices.MEMBERS_COMPLETE, limit=self._out.config.full_membership_max)
        self.view.discard_where(lambda node_id, _: self.peers.find(node_id) is None)
        known = list(self.peers.in_state(KNOWN))
        for peer in known:
            self.forget(peer)
        return known

    def forget(self, peer: Peer) -> None:
        self.peers.remove(peer)
        self.view.discard(peer.node_id)

    def keep_to_view(self, now: float) -> None:
        """With a partial view, only who is in it is listed. Whoever was is known for a while: it may have us in its."""
        if not self.is_partial:
            return
        for peer in [each for each in self.peers.all() if each.is_present != (each.node_id in self.view)]:
            if peer.is_present:
                self.peers.turn(peer, KNOWN, now)
            elif peer.state == KNOWN:
                self.peers.turn(peer, ALIVE, now)
        self._forget_known()

    def _forget_known(self) -> None:
        """Those who have been out of the view for longest."""
        known = self.peers.in_state(KNOWN)
        for peer in known[: max(0, len(known) - KNOWN_VIEWS * self._out.config.view_size)]:
            self.forget(peer)


def least_missed(left: Sequence[Peer], failed: Sequence[Peer]) -> Peer:
    """The member that makes way for another where too many are gone.

    Members that left make way first: those that said goodbye themselves before those that left according to others,
    then those that keep nothing, then those that left earliest. A member that failed may have writes that no other node
    has, and may be the only way to the other side of a partition. So of the failed members as many different hosts are
    kept as there is room for, and of one host the members that had been there for longest, not the many that came and
    died.
    """
    if left:
        return min(left, key=lambda each: (not each.has_said_goodbye, not each.keeps_nothing, each.since))
    crowd = Counter(each.address.host for each in failed)
    return min(failed, key=lambda each: (-crowd[each.address.host], each.since - each.met))


def fields(peer: Peer) -> Mapping[str, object]:
    """What a notice says of a member."""
    return {
        "member": peer.name,
        "member_id": peer.node_id.hex(),
        "address": str(peer.address),
        "epoch": peer.epoch,
    }
