"""What members tell each other of members, and what of it is believed.

What a member says of itself counts most. What others say of it counts if it is about a newer incarnation, or worse news
of the same one (SWIM: Das, Gupta, Motivala, DSN 2002). Whoever is wrongly said to be gone contradicts by a newer
incarnation: (epoch, counter), of which the epoch grows with every start, so that a restarted member always beats its
own obituary.
"""

from collections.abc import Sequence
from itertools import islice
from typing import Final

from .. import notices
from ..errors import AbsurdIncarnation, CrowdedHost, TooManyNames
from ..fence import is_fenced
from ..identity import NOBODY, Address, NodeId
from ..output import MESSAGES_OVERHEAD_BYTES, Output
from ..profile import Profile
from ..wire.codec import MAX_COUNTER
from ..wire.messages import ACCUSED, ListMembers, Message, Roll, Update, Updates
from .answers import affords
from .handshake import Greeter
from .peers import ALIVE, EPOCH_JUMP, FAILED, KNOWN, LEFT, SUSPECT, Peer, mark_of
from .roster import Roster
from .sampling import sample_targets
from .update_queue import ROWS, UpdateQueue, fit

COUNTER_JUMP: Final = 16
"""Further ahead of a member's own word than this, hearsay of its counter is not believed: it is asked itself."""
CONTRADICTIONS_SAVED: Final = 16
"""Times that we contradict what is said of us, as fast as it is said."""
CONTRADICTION_INTERVAL: Final = 0.5
"""Seconds between two of them after that: so nobody drives our counter to its end within years."""
LISTINGS: Final = 4
"""Members whose whole list we are being told at a time, at most."""
WARNING_INTERVAL: Final = 1.0
"""Seconds between two warnings to a member that it is said to be gone."""
CONTRADICTION: Final = 0.5
"""Of the shortest suspicion: how long a member was suspect at least when we believe others that it has failed. It must
have had the time to contradict."""
TOLD_AT_ONCE: Final = 32
"""Members that are told at once which replica id we write under; the others ask for it with the roll."""
RIDERS_BYTES: Final = 100
"""Of a datagram with updates: room for what they ride on."""

_RANK: Final = {KNOWN: 0, ALIVE: 0, SUSPECT: 1, FAILED: 2, LEFT: 3}


class Hearsay:
    """Tells what is new a few times, compares lists, and believes what it should."""

    def __init__(self, output: Output, roster: Roster, greeter: Greeter, profile: Profile) -> None:
        self._out = output
        self._roster = roster
        self._greeter = greeter
        self.profile = profile
        self._queue = UpdateQueue()
        self._next_telling = 0.0
        self._listings: dict[NodeId, NodeId] = {}
        self._counter = 0
        self._contradicted = float("-inf")
        self._contested = 0
        self.has_left = False
        """True if this node has said goodbye."""
        self.farewells: list[tuple[Peer, int]] = []
        """Members that left according to others, with the incarnation counter, since this list was last emptied. The
        detector asks them whether it is so."""
        self.refutations = 0
        """Times that we had to contradict what was said of us."""

    # ---- telling

    def deadline(self) -> float:
        return self._next_telling if self._queue and self._roster.alive() else float("inf")

    def tick(self, now: float) -> None:
        """Tell a few members what is new."""
        if now >= self._next_telling and self._queue:
            self._next_telling = now + self._out.config.update_interval
            for peer in sample_targets(self._roster.targets(), self._out.config.update_fanout, self._out.rng):
                if news := self.news():  # the last of it may have gone to the one before
                    self._out.send(peer.address, news)

    def news(self) -> list[Updates]:
        """What rides on whatever is sent anyway."""
        news = self._queue.take(self._room())
        # Nobody passes our row on where views are partial: whoever pings us, or is pinged, hears of our tags from us.
        return [*news, Updates((self._own_row(),))] if self._roster.is_partial and self._counter else news

    def _room(self) -> int:
        return self._out.config.datagram_bytes - MESSAGES_OVERHEAD_BYTES - RIDERS_BYTES

    def tell(self, peer: Peer, rows: list[Update]) -> None:
        """Tell one member, as much of it as a datagram holds."""
        self._out.send(peer.address, [Updates(tuple(fit(rows, self._room())))])

    def spread(self, peer: Peer, state: str = "") -> None:
        """Tell everybody what we now believe of a member."""
        self._put(row_of(peer, state))

    def _put(self, row: Update) -> None:
        # With partial views nobody lists everybody, so it is of no use to tell everybody who is alive.
        if not self._roster.is_partial or row.state not in (ALIVE, KNOWN):
            self._queue.put(row, len(self._roster.alive()))

    def introduce(self, newcomer: Peer, known: int) -> None:
        """Name some others to a newcomer, as far as we list more than it does, and the newcomer to all.

        In a cluster too large to list, so many that it cannot take them for everybody and goes on by shuffles.
        """
        enough = 2 * self._out.config.view_size if self._roster.is_partial else len(self._roster.alive())
        more = enough - known
        others = sample_targets(self._roster.alive(), max(0, min(more, ROWS)), self._out.rng, but=newcomer.node_id)
        self.tell(newcomer, [self._own_row(), *map(row_of, others)])
        self.spread(newcomer)

    def _own_row(self) -> Update:
        me, about = self._out.identity, self.profile
        incarnation = me.node_id, LEFT if self.has_left else ALIVE, me.epoch, self._counter
        return Update(
            *incarnation, about.advertise, about.version, about.tags, None if self._out.is_undecided else me.nonce
        )

    def tell_of_self(self) -> None:
        """Tell everybody which replica id we write under, now that it is decided: they believe only us."""
        for peer in sample_targets(self._roster.alive(), TOLD_AT_ONCE, self._out.rng):
            self.tell(peer, [self._own_row()])
        self._put(self._own_row())

    def set_tags(self, tags: tuple[tuple[str, str], ...]) -> None:
        """Tell everybody of new tags."""
        self.profile = Profile(self.profile.version, tags, self.profile.advertise)
        self._counter = min(self._counter + 1, MAX_COUNTER)
        self._put(self._own_row())

    def say_goodbye(self, besides: Sequence[Message]) -> None:
        """Tell every member that we leave on purpose."""
        self.has_left = True
        for peer in self._roster.alive():
            self._out.send(peer.address, [*self.goodbye(), *besides])

    def goodbye(self) -> list[Updates]:
        """What we answer to a ping once we have left; empty before."""
        return [Updates((self._own_row(),))] if self.has_left else []

    def forget(self, peer: Peer) -> None:
        """Say nothing more of a member."""
        self._queue.drop(peer.node_id)
        self._listings.pop(peer.node_id, None)

    # ---- comparing lists

    def call_roll(self, peer: Peer | None = None) -> list[Roll]:
        """What rides on a probe so that lists grow equal, whatever is lost on its way. Nothing if the view is partial:
        then lists are meant to differ.

        To a ``peer`` that has not said a word of itself in this life, our roll is another one than its own for certain:
        so it tells of itself.
        """
        if self._roster.is_partial:
            return []
        is_unheard = peer is not None and peer.nonce is None
        return [Roll(self.mark() ^ is_unheard, len(self._roster.alive()) + 1)]

    def mark(self) -> int:
        """Whom we believe to be there, ourselves included, and in which incarnations, as one number."""
        me = self._out.identity
        return self._roster.peers.roll ^ mark_of(me.node_id, me.epoch, self._counter)

    def on_roll(self, now: float, peer: Peer, roll: Roll) -> None:
        """Lists differ: most likely by what has changed last."""
        if self._roster.is_partial or roll.mark == self.mark() or not self._may_answer(now, peer):
            return
        latest = list(islice((each for each in self._roster.peers.latest() if each.is_proven), ROWS // 2))
        others = sample_targets(self._roster.alive(), ROWS, self._out.rng)
        chosen = dict.fromkeys(each for each in (*latest, *others) if each is not peer)
        wrong = [] if peer.is_present else [row_of(peer)]  # it is there, and can contradict
        self.tell(peer, [self._own_row(), *wrong, *map(row_of, chosen)])
        if roll.count > len(self._roster.alive()) + 1 + ROWS and self._may_ask_for_list(peer):
            self._ask_for_list(peer, NOBODY)

    def _may_ask_for_list(self, peer: Peer) -> bool:
        """Not of too many; who is gone does not count, and who answers no more is asked again."""
        here = {each.node_id for each in self._roster.alive()}
        self._listings = {node_id: after for node_id, after in self._listings.items() if node_id in here}
        return len(self._listings) < LISTINGS or peer.node_id in self._listings

    def _ask_for_list(self, peer: Peer, after: NodeId) -> None:
        self._listings[peer.node_id] = after
        self._out.send(peer.address, [ListMembers(after)])

    def _may_answer(self, now: float, peer: Peer) -> bool:
        """True if a member may be sent one more datagram full of rows now; it is counted as sent then."""
        return affords(now, peer, self._room(), self._out.config)

    def on_list(self, now: float, peer: Peer, request: ListMembers) -> None:
        """Tell a member of some that follow on the one it names."""
        if not self._may_answer(now, peer):
            return
        following = [each for each in self._roster.alive() if each.node_id > request.after]
        self.tell(peer, [row_of(each) for each in sorted(following, key=lambda each: each.node_id)])

    def _go_on_with_list(self, peer: Peer, updates: Updates) -> None:
        after = self._listings.pop(peer.node_id, None)
        ids = [row.node_id for row in updates.rows]
        if after is not None and ids and ids == sorted(ids) and ids[0] > after:
            self._ask_for_list(peer, ids[-1])

    # ---- being told

    def on_updates(self, now: float, teller: Peer, source: Address, updates: Updates) -> None:
        """A member's word at its proven address."""
        for row in updates.rows:
            if row.node_id == self._out.identity.node_id:
                self._on_word_of_us(now, teller, source, row)
            elif row.node_id == teller.node_id:
                self._on_word_of_itself(now, teller, source, row)
            else:
                self._on_word_of_another(now, teller, source, row)
        self._go_on_with_list(teller, updates)

    def _on_word_of_us(self, now: float, teller: Peer, source: Address, row: Update) -> None:
        """Contradict whoever says that we are gone."""
        me = self._out.identity
        if row.epoch > me.epoch:
            self._out.reject(now, AbsurdIncarnation(f"{row.epoch}.{row.counter} of ourselves"), source)
            self.contest(now, row.epoch, source)
        if row.epoch == me.epoch and row.nonce not in (None, me.nonce):
            self._out.contested = f"{source} says that a copy of this node goes on too, in the same epoch"
            self._out.notify_rarely(now, notices.IDENTITY_CONTESTED, epoch=row.epoch, ours=me.epoch, source=str(source))
            return
        if row.epoch != me.epoch or row.counter < self._counter or self.has_left:
            return
        if row.counter > min(self._counter + COUNTER_JUMP, MAX_COUNTER - 1):
            self._out.reject(now, AbsurdIncarnation(f"{row.epoch}.{row.counter} of ourselves"), source)
        elif row.state != ALIVE or row.counter > self._counter:
            self._contradict(now, teller, source, row)

    def _contradict(self, now: float, teller: Peer, source: Address, row: Update) -> None:
        paid = max(self._contradicted, now - CONTRADICTIONS_SAVED * CONTRADICTION_INTERVAL) + CONTRADICTION_INTERVAL
        if paid > now:  # whoever means it says it again
            self._out.reject(now, AbsurdIncarnation("we are said to be gone again and again"), source)
            return
        self._contradicted = paid
        self._counter = row.counter + 1
        self.refutations += 1
        self._put(self._own_row())
        self.tell(teller, [self._own_row()])

    def contest(self, now: float, epoch: int, source: Address) -> None:
        """Somebody says that we are in that epoch. If that is later than ours, another process has our identity, or
        pretends to: those who believe it take our word for that of an earlier life.
        """
        ours = self._out.identity.epoch
        if epoch > max(ours, self._contested):
            self._contested = epoch
            if epoch <= ours + EPOCH_JUMP:
                self._out.contested = (
                    f"{source} says that this node has started again since: in epoch {epoch}, this is {ours}"
                )
            self._out.notify_rarely(now, notices.IDENTITY_CONTESTED, epoch=epoch, ours=ours, source=str(source))

    def _on_word_of_itself(self, now: float, peer: Peer, source: Address, row: Update) -> None:
        if row.epoch == peer.epoch and None not in (row.nonce, peer.nonce) and row.nonce != peer.nonce:
            self.warn_former_life(
                now, peer, source
            )  # two copies of it are in one epoch: let this one hear of the other
            return
        if row.epoch == peer.epoch:
            peer.vouched = max(peer.vouched, row.counter)
        contradicts = row.counter > peer.counter
        if row.epoch != peer.epoch or row.counter < peer.counter:
            return
        if peer.state == LEFT and not contradicts:
            peer.has_said_goodbye = peer.has_said_goodbye or row.state == LEFT
            return
        nonce = peer.nonce if row.nonce is None else row.nonce  # None: said earlier, and overtaken on its way
        news = contradicts or (row.version, row.tags, nonce) != (peer.version, peer.tags, peer.nonce)
        if contradicts:
            self._roster.peers.advance(peer, row.epoch, row.counter)
        peer.version, peer.tags, peer.nonce, peer.advertised = row.version, row.tags, nonce, row.address
        if row.address is not None and row.address != peer.address:
            self._greeter.add_candidate(now, row.address)
        if row.state == LEFT:
            self._roster.turn(now, peer, LEFT)
            peer.has_said_goodbye = True
        elif contradicts and peer.state in (SUSPECT, FAILED, LEFT):  # so it has heard us
            self._roster.turn(now, peer, ALIVE)
        if news or row.state == LEFT:
            self.spread(peer)

    def _on_word_of_another(self, now: float, teller: Peer, source: Address, row: Update) -> None:
        state = SUSPECT if row.state == ACCUSED else row.state
        peer = self._roster.peers.find(row.node_id)
        if peer is not None and not peer.is_proven:
            if state == LEFT and row.epoch >= peer.epoch:
                self._roster.turn(now, peer, LEFT)
            peer = None  # whatever else is said of it waits until it has proven its address
        if peer is not None and not peer.can_be_in(row.epoch):
            self._out.reject(now, AbsurdIncarnation(f"{row.epoch}.{row.counter} of {peer.name}"), source)
        elif peer is None or row.epoch > peer.epoch:
            if state in (ALIVE, SUSPECT) and row.address is not None and not self._roster.is_partial:
                self.look_at(now, row.node_id, row.address, source)
        elif row.epoch == peer.epoch:
            self._on_word_of_its_life(now, teller, source, peer, state, row)

    def _on_word_of_its_life(
        self, now: float, teller: Peer, source: Address, peer: Peer, state: str, row: Update
    ) -> None:
        if row.counter > peer.vouched + COUNTER_JUMP:
            self._out.reject(now, AbsurdIncarnation(f"{row.epoch}.{row.counter} of {peer.name}"), source)
            self._ask(now, peer)
        elif (row.counter, _RANK[state]) > (peer.counter, _RANK[peer.state]):
            if state == LEFT and peer.state not in (FAILED, LEFT):  # a failed member has not answered already
                self.farewells.append((peer, row.counter))
            else:
                self._weigh(now, teller, peer, state, row)
        elif state == ALIVE and peer.state in (SUSPECT, FAILED) and row.address not in (None, peer.address):
            self.look_at(now, row.node_id, row.address, source)  # it may have moved

    def look_at(self, now: float, node_id: NodeId, address: Address, source: Address) -> bool:
        """See whether a member is where it was said to be; False if it was retired, or there is no room for that."""
        if is_fenced(self._out.kernel, node_id):
            return False
        if self._roster.peers.find(node_id) is None and self._roster.is_crowded(address.host):
            self._out.reject(now, CrowdedHost(f"more members are said to be at {address.host}"), source)
            return False
        if self._roster.peers.is_present_at(address) or self._greeter.add_candidate(now, address, node_id):
            return True
        self._out.reject(now, TooManyNames("more names than can be looked at"), source)
        return False

    def _weigh(self, now: float, teller: Peer, peer: Peer, state: str, row: Update) -> None:
        """News of another: worse than what we know, or of a newer incarnation."""
        if peer.state == KNOWN and state in (ALIVE, SUSPECT):
            return
        if not peer.is_present and state in (ALIVE, SUSPECT) and not self._roster.has_place_for(peer):
            return  # it has to prove that it is there
        if state in (SUSPECT, FAILED):
            if teller.state == FAILED:
                return  # it may be the one that is cut off, and find everybody gone
            if now - peer.answered < self._out.config.probe_interval:
                self._warn(now, peer, row)
                return
        if state == FAILED and peer.is_present and not self._has_been_suspect(now, peer):
            self._warn(now, peer, row)  # after a partition, the other side has obituaries of all of us
            peer.has_obituary = True
            if peer.state == SUSPECT:
                return
            state = SUSPECT
        if row.counter > peer.counter:
            self._roster.peers.advance(peer, row.epoch, row.counter)
            if state == ALIVE:
                peer.version, peer.tags = row.version, row.tags
                peer.nonce = peer.nonce if row.nonce is None else row.nonce
        self._roster.turn(now, peer, state)
        self.spread(peer)

    def believe_farewell(self, now: float, peer: Peer, counter: int) -> None:
        """List a member as left: others say so, and it does not answer us."""
        if counter > peer.counter:
            self._roster.peers.advance(peer, peer.epoch, counter)
        self._roster.turn(now, peer, LEFT)
        self.spread(peer)

    def deny_farewell(self, now: float, peer: Peer) -> None:
        """Tell a member that answers what others say, so that it contradicts: others may have believed it."""
        self._warn(now, peer, row_of(peer, LEFT))

    def _has_been_suspect(self, now: float, peer: Peer) -> bool:
        """For long enough to have contradicted, if it could."""
        return peer.state == SUSPECT and now - peer.since >= self._out.config.suspicion * CONTRADICTION

    def warn_former_life(self, now: float, peer: Peer, address: Address) -> None:
        """What speaks there is over by what we know, or another process has taken its identity: let it hear that."""
        if now - peer.warned >= WARNING_INTERVAL:
            peer.warned = now
            self._out.send(address, [Updates((row_of(peer),))])

    def _ask(self, now: float, peer: Peer) -> None:
        """A member may have gone on far without our hearing of it: our roll makes it tell of itself."""
        if now - peer.warned >= WARNING_INTERVAL:
            peer.warned = now
            self._out.send(peer.address, self.call_roll())

    def _warn(self, now: float, peer: Peer, row: Update) -> None:
        """We know better, but only the member itself can make the others believe it."""
        if now - peer.warned >= WARNING_INTERVAL:
            peer.warned = now
            self.tell(peer, [row])


def row_of(peer: Peer, state: str = "") -> Update:
    """What we believe of a member, or something else of the same incarnation.

    "known" is a word for ourselves: to others, a member that has only left our view is alive.
    """
    place: Address | None = peer.advertised or peer.address
    if (
        place and "%" in place.host
    ):  # a link-local address means nothing without the name of an interface, which is ours alone
        place = None
    believed = ALIVE if peer.state == KNOWN else peer.state
    incarnation = peer.node_id, state or believed, peer.epoch, peer.counter
    return Update(*incarnation, place, peer.version, peer.tags, peer.nonce)
