"""Bugs of membership that others have made, or we, planted into the protocol: the simulator must find each of them.

Each spoils one rule while its context is open. Most need trouble of a certain kind: that of a scenario.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import replace
from functools import partial
from typing import Any, Final
from unittest.mock import patch
from weakref import WeakKeyDictionary

from gossip.protocol import Address, Engine
from gossip.protocol.effects import Effect
from gossip.protocol.errors import RemoteError
from gossip.protocol.membership.handshake import Greeter
from gossip.protocol.membership.membership import Members
from gossip.protocol.membership.peers import FAILED, Peer
from gossip.protocol.membership.pings import Pings
from gossip.protocol.membership.roster import Roster
from gossip.protocol.membership.updates import Hearsay
from gossip.protocol.membership.view import View
from gossip.protocol.succession.borrowing import Borrowing
from gossip.protocol.succession.lending import Lending
from gossip.protocol.wire.codec import decode_datagram, encode_datagram
from gossip.protocol.wire.messages import Lend, Update, Updates

from .planted import Plant, replaced


def stale_incarnation_accepted() -> AbstractContextManager[Any]:
    """Word of a member's earlier life counts like word of the present one."""

    def make(receive: Any) -> Any:
        def receives(self: Engine, now: float, source: Address, datagram: bytes) -> list[Effect]:
            with suppress(RemoteError):
                sender, epoch, messages = decode_datagram(self._out.seal.open(datagram))
                peer = self._members.proven(sender, source)
                if peer is not None and epoch < peer.epoch:
                    fresh = [_refreshed(each, peer) if isinstance(each, Updates) else each for each in messages]
                    datagram = self._out.seal.seal(encode_datagram(sender, peer.epoch, fresh), self._out.rng)
            effects: list[Effect] = receive(self, now, source, datagram)
            return effects

        return receives

    return replaced(Engine, "receive", make)


def _refreshed(updates: Updates, peer: Peer) -> Updates:
    """What it says of itself, as if its present life said so."""
    refresh = partial(replace, epoch=peer.epoch, nonce=peer.nonce)
    return Updates(tuple(refresh(row) if row.node_id == peer.node_id else row for row in updates.rows))


def epoch_ignored_in_hearsay() -> AbstractContextManager[Any]:
    """What is said of a member's earlier life is believed of the present one."""

    def make(weigh: Any) -> Any:
        def weighs(self: Hearsay, now: float, teller: Peer, source: Address, row: Update) -> None:
            peer = self._roster.peers.find(row.node_id)
            if peer is not None and row.epoch < peer.epoch:
                row = replace(row, epoch=peer.epoch)
            weigh(self, now, teller, source, row)

        return weighs

    return replaced(Hearsay, "_on_word_of_another", make)


def forgetting_dead_members() -> AbstractContextManager[Any]:
    """A member that has failed is forgotten (memberlist #222: after 30 s, and no partition heals)."""

    def make(on_gone: Any) -> Any:
        def forgets(self: Roster, peer: Peer, state: str) -> None:
            on_gone(self, peer, state)
            if state == FAILED and self.peers.find(peer.node_id) is peer:
                self.forget(peer)

        return forgets

    return replaced(Roster, "_on_gone", make)


def the_first_that_went_forgotten_first() -> AbstractContextManager[Any]:
    """Where too many are gone, the one that went first is forgotten, whether it failed or said goodbye."""

    def first(left: Sequence[Peer], failed: Sequence[Peer]) -> Peer:
        return min([*left, *failed], key=lambda each: each.since)

    return patch("gossip.protocol.membership.roster.least_missed", first)


def failed_members_never_asked_again() -> AbstractContextManager[Any]:
    """Nobody looks whether a failed member is back."""

    return patch.object(Members, "missing", lambda _: [])


def any_word_revives() -> AbstractContextManager[Any]:
    """A failed member that is heard is alive, although it may hear nobody."""

    def make(heard: Any) -> Any:
        def hears(self: Members, now: float, peer: Peer, epoch: int) -> None:
            heard(self, now, peer, epoch)
            self.confirm(now, peer)

        return hears

    return replaced(Members, "heard", make)


def greeting_revives() -> AbstractContextManager[Any]:
    """So is one that greets, as who hears nobody does."""

    def make(admit: Any) -> Any:
        return lambda self, now, proven: admit(self, now, replace(proven, has_answered=True))

    return replaced(Members, "_admit", make)


def no_refutation() -> AbstractContextManager[Any]:
    """Who is said to be gone does not contradict."""
    return patch.object(Hearsay, "_on_word_of_us", lambda *_: None)


def counter_never_bumped() -> AbstractContextManager[Any]:
    """It contradicts in the very incarnation that is said to be gone."""

    def make(on_word: Any) -> Any:
        def contradicts(self: Hearsay, now: float, teller: Peer, source: Address, row: Update) -> None:
            on_word(self, now, teller, source, row)
            self._counter = 0

        return contradicts

    return replaced(Hearsay, "_on_word_of_us", make)


def obituaries_believed_at_once() -> AbstractContextManager[Any]:
    """Whoever is said to have failed has, and need not have been suspect before."""
    return patch.object(Hearsay, "_has_been_suspect", lambda *_: True)


def greeting_for_every_stranger() -> AbstractContextManager[Any]:
    """An unproven address is greeted, which takes more bytes than it may have sent."""
    return patch.object(Greeter, "challenge", Greeter.greet)


def candidates_never_given_up() -> AbstractContextManager[Any]:
    """Who was only heard of and never answers is greeted for ever."""
    return patch("gossip.protocol.membership.handshake.CANDIDATE_TRIES", 10**9)


def news_told_for_ever() -> AbstractContextManager[Any]:
    """An update is told on and on."""
    return patch("gossip.protocol.membership.update_queue.TELLINGS", 10**9)


def dead_links_kept() -> AbstractContextManager[Any]:
    """Who is gone stays in the views, and is handed on by shuffles."""
    stack = ExitStack()
    stack.enter_context(patch.object(View, "discard", lambda *_: None))
    stack.enter_context(patch.object(View, "discard_where", lambda *_: None))
    return stack


def partner_kept_in_the_view() -> AbstractContextManager[Any]:
    """A shuffle begins with anybody but the oldest, who stays in the view: the dead are found by chance."""

    def begin(self: View) -> bytes | None:
        return min(self._ages, key=lambda node_id: self._ages[node_id], default=None)

    return patch.object(View, "begin", begin)


def entries_copied_by_shuffles() -> AbstractContextManager[Any]:
    """What was given away is kept, and what comes drives out whatever is there: views grow alike."""

    def make(take: Any) -> Any:
        def takes(self: View, received: Any) -> None:
            self._given = list(self._ages)[::-1]
            take(self, received)

        return takes

    return replaced(View, "take", make)


def youngest_given_away() -> AbstractContextManager[Any]:
    """A shuffle hands on the youngest entries, and not some at random: news of a few is copied over and over."""

    def offer(self: View, length: int, is_known: Any) -> list[tuple[bytes, int]]:
        known = sorted(filter(is_known, self._ages), key=lambda node_id: self._ages[node_id])
        self._given = known[:length]
        return [(node_id, self._ages[node_id]) for node_id in self._given]

    return patch.object(View, "offer", offer)


def pings_numbered_from_one() -> AbstractContextManager[Any]:
    """Each life of a node numbers its pings 1, 2, 3, ..., so that answers to a former life fit the present one."""
    numbers: WeakKeyDictionary[Pings, int] = WeakKeyDictionary()

    def make(number_ping: Any) -> Any:
        def numbers_in_order(self: Pings, ping: Any) -> int:
            drawn: int = number_ping(self, ping)
            numbers[self] = number = numbers.get(self, 0) + 1
            self._pings[number] = self._pings.pop(drawn)
            return number

        return numbers_in_order

    return replaced(Pings, "number", make)


def writer_lent_twice() -> AbstractContextManager[Any]:
    """A vacant writer id stays with its holder when it is lent, and is lent to the next newcomer too."""

    def make(lend: Any) -> Any:
        def lends(self: Lending, now: float, peer: Peer) -> Lend:
            vacant = dict(self._vacant)
            answer: Lend = lend(self, now, peer)
            self._vacant.update(vacant)
            return answer

        return lends

    return replaced(Lending, "_lend", make)


def writer_lent_before_it_is_whole() -> AbstractContextManager[Any]:
    """A newcomer writes under a lent id at once, whatever it lacks of what was written under it."""

    def decide(self: Borrowing, now: float) -> None:
        if self._loan is not None:
            self._adopt(self._loan)
        else:
            self._ask(now)

    return patch.object(Borrowing, "_decide", decide)


PLANTED: Final[dict[Plant, str]] = {
    pings_numbered_from_one: "replay",
    stale_incarnation_accepted: "stale-incarnation",
    epoch_ignored_in_hearsay: "chaos",
    forgetting_dead_members: "long-partition",
    the_first_that_went_forgotten_first: "crowded-cut",
    failed_members_never_asked_again: "long-partition",
    any_word_revives: "deaf",
    greeting_revives: "deaf",
    no_refutation: "chaos",
    counter_never_bumped: "chaos",
    obituaries_believed_at_once: "partition-heal",
    greeting_for_every_stranger: "chaos",
    candidates_never_given_up: "churn",
    news_told_for_ever: "chaos",
    dead_links_kept: "half-crash",
    partner_kept_in_the_view: "half-crash",
    entries_copied_by_shuffles: "shuffles",
    youngest_given_away: "shuffles",
    writer_lent_twice: "short-lives",
    writer_lent_before_it_is_whole: "short-lives",
}
"""And the scenario that finds it."""
