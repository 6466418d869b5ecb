"""Who else is there: the list of members, what is told of them, and what is believed.

A member is listed once it has proven its address, and then for good. What it says of itself counts most; what others
say of it counts if it is about a newer incarnation, or worse news of the same one (SWIM: Das, Gupta, Motivala, DSN
2002). Whoever is wrongly said to be gone contradicts by a newer incarnation: (epoch, counter), of which the epoch grows
with every start, so that a restarted member always beats its own obituary.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Final

from . import notices
from .errors import AbsurdIncarnation, TooManyNames
from .greeting import Greeter, Proven
from .identity import Address, Identity
from .messages import ACCUSED, ListMembers, Message, Roll, Shuffle, Update, Updates
from .output import MESSAGES_OVERHEAD_BYTES, Output
from .peers import ALIVE, FAILED, KNOWN, LEFT, SUSPECT, Member, Peer, Peers, mark_of
from .profile import Profile
from .sampling import sample_targets
from .updates import ROWS, UpdateQueue, fit
from .views import View

COUNTER_JUMP: Final = 1000
"""Further ahead than this, hearsay of an incarnation is absurd: a member goes on by one at a time."""
GONE_KEPT: Final = 1024
"""Members that failed or left which are listed at most."""
OLD_CONTACTS: Final = 32
"""Of these, the ones that a node with a partial view keeps, to try them again."""
LISTINGS: Final = 4
"""Members whose whole list we are being told at a time, at most."""
WARNING_INTERVAL: Final = 1.0
"""Seconds between two warnings to a member that it is said to be gone."""

UNPROVEN_ROUNDS: Final = 3
"""Shuffles after which an entry of the view is dropped if nobody has answered at its address."""
KNOWN_VIEWS: Final = 8
"""How many times the size of the view a node with a partial one remembers of those who were in it."""

_RANK: Final = {KNOWN: 0, ALIVE: 0, SUSPECT: 1, FAILED: 2, LEFT: 3}


class Members:
    """The members, and what is said of them."""

    def __init__(self, output: Output, profile: Profile) -> None:
        self._out = output
        self._profile = profile
        self._peers = Peers()
        self._greeter = Greeter(output, self._peers)
        self._queue = UpdateQueue()
        self._next_telling = 0.0
        self._listings: dict[bytes, bytes] = {}
        self._warned: dict[bytes, float] = {}
        self._counter = 0
        self._has_left = False
        self.view = View(output.config.view_size, output.rng)
        self.is_partial = False
        """Whether the cluster is too large to list: then only those in the view are known."""
        self.refutations = 0
        """Times that we had to contradict what was said of us."""
        self.to_compare: list[Peer] = []
        """Members met, met again or back since this was last emptied: their data may differ from ours."""
        self.to_probe: list[Peer] = []
        """Members thought to be gone that were heard of since this was last emptied."""

    # ---- reading

    def alive(self) -> Sequence[Peer]:
        """Members that count, as they are alive or only suspect. To be read at once: it is no copy."""
        return self._peers.present()

    def targets(self) -> Sequence[Peer]:
        """Members of the view that count: those whom gossip is drawn from."""
        found = [self._peers.find(node_id) for node_id in self.view.ids]
        return [peer for peer in found if peer is not None and peer.is_present]

    def in_state(self, state: str) -> Sequence[Peer]:
        return self._peers.in_state(state)

    def find(self, node_id: bytes) -> Peer | None:
        return self._peers.find(node_id)

    def proven(self, node_id: bytes, address: Address) -> Peer | None:
        """The member of that id, if it has proven to be at that address."""
        peer = self._peers.find(node_id)
        return peer if peer is not None and address in (peer.address, peer.origin) else None

    def snapshot(self, now: float) -> list[Member]:
        return [
            Member(
                id=p.node_id.hex(),
                name=p.name,
                address=p.advertised or p.address,
                state=p.state,
                seconds=max(0.0, now - p.since),
                epoch=p.epoch,
                version=p.version,
                rtt=p.rtt,
                tags=dict(p.tags),
            )
            for p in self._peers.all()
            if p.state != KNOWN
        ]

    @property
    def profile(self) -> Profile:
        return self._profile

    # ---- meeting

    def set_seeds(self, now: float, addresses: list[Address]) -> None:
        """Where to look for the cluster. Called again whenever names are resolved again."""
        self._greeter.set_seeds(now, addresses)

    def acquaint(self, now: float, members: Iterable[tuple[Identity, Address]], *, partial: bool) -> None:
        """List these as alive, at proven addresses, without telling or asking anybody.

        Passed over are ourselves, who is listed already, and all that the list has no room for.
        """
        self.is_partial = partial
        for identity, address in members:
            if self._is_full():
                break
            node_id = identity.node_id
            if node_id != self._out.identity.node_id and self._peers.find(node_id) is None:
                self._peers.add(Peer(node_id, identity.name, identity.epoch, address, now))
                self.view.admit(node_id, len(self._peers.present()))

    def deadline(self) -> float:
        telling = self._next_telling if self._queue and self._peers.present() else float("inf")
        return min(self._greeter.deadline(), telling)

    def tick(self, now: float) -> None:
        """Greet who is due, and tell what is new."""
        self._greeter.tick(now)
        if now >= self._next_telling and self._queue:
            self._next_telling = now + self._out.config.update_interval
            for peer in sample_targets(self.targets(), self._out.config.update_fanout, self._out.rng):
                self._out.send(peer.address, self.news())

    def datagram_arrived(self, size: int) -> None:
        """Until the next one, answers to an address that may be forged take ``size`` bytes in all at most."""
        self._greeter.datagram_arrived(size)

    def challenge(self, source: Address) -> None:
        """Ask an address for proof."""
        self._greeter.challenge(source)

    def recognise_self(self, source: Address) -> None:
        """Our own words came back from ``source``."""
        self._greeter.recognise_self(source)

    def handle(self, now: float, sender: bytes, source: Address, message: Message) -> bool:
        """Take a message about membership; return False if it is about something else."""
        match message:
            case Updates() | Roll() | ListMembers() | Shuffle():
                peer = self.proven(sender, source)
                if peer is not None:
                    self._on_word(now, peer, source, message)
                return peer is not None
            case _:
                taken, proven = self._greeter.handle(now, sender, source, message)
                if proven is not None:
                    self._admit(now, proven)
                return taken

    def _on_word(
        self, now: float, peer: Peer, source: Address, message: Updates | Roll | ListMembers | Shuffle
    ) -> None:
        """What is taken only from a member at its proven address."""
        match message:
            case Updates():
                self._on_updates(now, peer, source, message)
            case Roll():
                self._on_roll(peer, message)
            case ListMembers():
                self._on_list(peer, message)
            case Shuffle():
                self._on_shuffle(now, peer, source, message)

    def _admit(self, now: float, proven: Proven) -> None:
        """A node has proven that it is at an address."""
        peer = self._peers.find(proven.node_id)
        if peer is None:
            self._add(now, proven)
            return
        if proven.epoch < peer.epoch or (proven.epoch == peer.epoch and peer.state == LEFT):
            return  # word of an earlier life, overtaken on its way
        moved, restarted = self._settle(peer, proven.address), proven.epoch > peer.epoch
        peer.name = proven.name
        if restarted:
            self._begin_life(peer, proven.epoch)
        self.confirm(now, peer)
        if moved or restarted:  # the others look for it where it was, and it may have forgotten them
            self._introduce(peer)

    def _add(self, now: float, proven: Proven) -> None:
        if self._is_full() and not self.is_partial:
            self.is_partial = True
            self._out.notify(notices.MEMBERS_PARTIAL, limit=self._out.config.full_membership_max)
        peer = Peer(proven.node_id, proven.name, proven.epoch, proven.address, now, rtt=proven.rtt)
        self._peers.add(peer)
        if self.is_partial and peer.node_id not in self.view and self.view.is_full():
            self._peers.turn(peer, KNOWN, now)
        else:
            self._let_in(peer)
            self._out.notify(notices.MEMBER_JOINED, **_fields(peer))
            self.to_compare.append(peer)
        self._introduce(peer)

    def _settle(self, peer: Peer, address: Address) -> bool:
        """A member is at that address; whether it has moved there.

        One that advertises an address is reached there, wherever its datagrams come from.
        """
        if address in (peer.address, peer.origin):
            return False
        if peer.advertised == peer.address:
            peer.origin = address
            return False
        peer.origin = peer.address if peer.advertised == address else None
        self._peers.move(peer, address)
        self._out.notify(notices.MEMBER_MOVED, **_fields(peer))
        return True

    def _begin_life(self, peer: Peer, epoch: int) -> None:
        """A member has been started again: what its former life had acknowledged may be lost."""
        self._peers.advance(peer, epoch, 0)
        peer.acked, peer.strange_rounds = 0, 0
        self._out.notify(notices.MEMBER_RESTARTED, **_fields(peer))
        self.to_compare.append(peer)

    def _introduce(self, newcomer: Peer) -> None:
        """Name some others to a newcomer, and the newcomer to all."""
        others = [] if self.is_partial else sample_targets(self.alive(), ROWS, self._out.rng, but=newcomer.node_id)
        self._tell(newcomer, [self._own_row(), *map(_row, others)])
        self._spread(newcomer)

    def _is_full(self) -> bool:
        return len(self._peers.present()) >= self._out.config.full_membership_max

    # ---- telling

    def news(self) -> list[Updates]:
        """What rides on whatever is sent anyway."""
        return self._queue.take(self._room())

    def _room(self) -> int:
        """Bytes of a datagram that is meant for updates."""
        return self._out.config.datagram_bytes - MESSAGES_OVERHEAD_BYTES - 100

    def _tell(self, peer: Peer, rows: list[Update]) -> None:
        self._out.send(peer.address, [Updates(tuple(fit(rows, self._room())))])

    def _spread(self, peer: Peer) -> None:
        """Tell everybody what we now believe of a member."""
        self._put(_row(peer))

    def _put(self, row: Update) -> None:
        # With partial views nobody lists everybody, so it is of no use to tell everybody who is alive.
        if not self.is_partial or row.state not in (ALIVE, KNOWN):
            self._queue.put(row, len(self._peers.present()))

    def _own_row(self, state: str = ALIVE) -> Update:
        me, about = self._out.identity, self._profile
        return Update(me.node_id, state, me.epoch, self._counter, about.advertise, about.version, about.tags)

    def set_tags(self, tags: tuple[tuple[str, str], ...]) -> None:
        """Tell everybody of new tags."""
        self._profile = Profile(self._profile.version, tags, self._profile.advertise)
        self._counter += 1
        self._put(self._own_row())

    def say_goodbye(self) -> None:
        """Tell every member that we leave on purpose."""
        self._has_left = True
        for peer in self.alive():
            self._tell(peer, [self._own_row(LEFT)])

    def call_roll(self) -> list[Message]:
        """What rides on a digest so that lists grow equal, whatever is lost on its way. Nothing if the view is partial:
        then lists are meant to differ.
        """
        return [] if self.is_partial else [Roll(self._roll(), len(self._peers.present()) + 1)]

    def _roll(self) -> int:
        me = self._out.identity
        return self._peers.roll ^ mark_of(me.node_id, me.epoch, self._counter)

    def _on_roll(self, peer: Peer, roll: Roll) -> None:
        """Lists differ: most likely by what has changed last."""
        if self.is_partial or roll.mark == self._roll():
            return
        latest = [each for each in islice(self._peers.latest(), ROWS // 2) if each is not peer]
        others = [each for each in sample_targets(self.alive(), ROWS, self._out.rng) if each not in latest]
        self._tell(peer, [self._own_row(), *map(_row, latest), *(_row(each) for each in others if each is not peer)])
        if roll.count > len(self._peers.present()) + 1 + ROWS and len(self._listings) < LISTINGS:
            self._ask_for_list(peer, b"")

    def _ask_for_list(self, peer: Peer, after: bytes) -> None:
        self._listings[peer.node_id] = after
        self._out.send(peer.address, [ListMembers(after)])

    def _on_list(self, peer: Peer, request: ListMembers) -> None:
        ids = sorted(each.node_id for each in self.alive() if each.node_id > request.after)[:ROWS]
        self._tell(peer, [_row(each) for each in map(self._peers.find, ids) if each is not None])

    # ---- being told

    def _on_updates(self, now: float, peer: Peer, source: Address, updates: Updates) -> None:
        for row in updates.rows:
            if row.node_id == self._out.identity.node_id:
                self._on_word_of_us(now, peer, source, row)
            elif row.node_id == peer.node_id:
                self._on_word_of_itself(now, peer, row)
            else:
                self._on_hearsay(now, peer, source, row)
        self._go_on_with_list(peer, updates)

    def _go_on_with_list(self, peer: Peer, updates: Updates) -> None:
        after = self._listings.pop(peer.node_id, None)
        ids = [row.node_id for row in updates.rows]
        if after is not None and ids and ids == sorted(ids) and ids[0] > after:
            self._ask_for_list(peer, ids[-1])

    def _on_word_of_us(self, now: float, peer: Peer, source: Address, row: Update) -> None:
        """Contradict whoever says that we are gone."""
        me = self._out.identity
        if row.epoch < me.epoch or row.counter < self._counter or self._has_left:
            return
        if row.epoch > me.epoch or row.counter > self._counter + COUNTER_JUMP:
            self._out.reject(now, AbsurdIncarnation(f"{row.epoch}.{row.counter} of ourselves"), source)
        elif row.state != ALIVE or row.counter > self._counter:
            self._counter = row.counter + 1
            self.refutations += 1
            self._put(self._own_row())
            self._tell(peer, [self._own_row()])

    def _on_word_of_itself(self, now: float, peer: Peer, row: Update) -> None:
        if row.epoch != peer.epoch or row.counter < peer.counter or peer.state == LEFT:
            return
        news = row.counter > peer.counter or (row.version, row.tags) != (peer.version, peer.tags)
        if row.counter > peer.counter:
            self._peers.advance(peer, row.epoch, row.counter)
        peer.version, peer.tags, peer.advertised = row.version, row.tags, row.address
        if row.address is not None and row.address != peer.address:
            self._greeter.add_candidate(now, row.address)
        if row.state == LEFT:
            self._turn(now, peer, LEFT)
        elif news and peer.state not in (ALIVE, KNOWN):  # it contradicts, so it has heard us
            self._turn(now, peer, ALIVE)
        if news or row.state == LEFT:
            self._spread(peer)

    def _on_hearsay(self, now: float, teller: Peer, source: Address, row: Update) -> None:
        state = SUSPECT if row.state == ACCUSED else row.state
        peer = self._peers.find(row.node_id)
        if peer is None or row.epoch > peer.epoch:
            if state in (ALIVE, SUSPECT) and row.address is not None and not self.is_partial:
                self._look_at(now, row.address, source)
            return
        if row.epoch < peer.epoch or peer.state == LEFT:
            return
        if row.counter > peer.counter + COUNTER_JUMP:
            self._out.reject(now, AbsurdIncarnation(f"{row.epoch}.{row.counter} of {peer.name}"), source)
        elif (row.counter, _RANK[state]) > (peer.counter, _RANK[peer.state]):
            self._believe(now, teller, peer, state, row)
        elif state == ALIVE and peer.state in (SUSPECT, FAILED) and row.address not in (None, peer.address):
            self._look_at(now, row.address, source)  # it may have moved

    def _look_at(self, now: float, address: Address, source: Address) -> bool:
        """See whether a member is where it was said to be; False if there is no room to remember that."""
        if self._peers.is_present_at(address) or self._greeter.add_candidate(now, address):
            return True
        self._out.reject(now, TooManyNames("more names than can be looked at"), source)
        return False

    def _believe(self, now: float, teller: Peer, peer: Peer, state: str, row: Update) -> None:
        if peer.state == KNOWN and state in (ALIVE, SUSPECT):
            return
        if state in (SUSPECT, FAILED):
            if teller.state == FAILED:
                return  # it may be the one that is cut off, and find everybody gone
            if now - peer.answered < self._out.config.probe_interval:
                self._warn(now, peer, row)
                return
        if row.counter > peer.counter:
            self._peers.advance(peer, row.epoch, row.counter)
            if state == ALIVE:
                peer.version, peer.tags = row.version, row.tags
        self._turn(now, peer, state)
        self._spread(peer)

    def _warn(self, now: float, peer: Peer, row: Update) -> None:
        """We know better, but only the member itself can make the others believe it."""
        if now - self._warned.get(peer.node_id, float("-inf")) >= WARNING_INTERVAL:
            self._warned[peer.node_id] = now
            self._tell(peer, [row])

    # ---- watching

    def heard(self, now: float, peer: Peer, epoch: int) -> None:
        """Any authentic word of a member from its proven address, in its present life or the next.

        It does not bring back one that has failed: it may hear nobody. Its answer to a probe does.
        """
        if epoch > peer.epoch:
            self._begin_life(peer, epoch)
            self.confirm(now, peer)
            self._introduce(peer)
        elif peer.state == FAILED and peer not in self.to_probe:
            self.to_probe.append(peer)

    def confirm(self, now: float, peer: Peer) -> None:
        """A member has answered: it is there, and we reach each other."""
        peer.answered = now
        if peer.state not in (ALIVE, KNOWN):
            self._turn(now, peer, ALIVE)

    def suspect(self, now: float, peer: Peer) -> None:
        """It does not answer us."""
        if peer.state == ALIVE:
            self._turn(now, peer, SUSPECT)
        self._put(_row(peer, ACCUSED))

    def fail(self, now: float, peer: Peer) -> None:
        """It has answered nobody for as long as is fair."""
        self._turn(now, peer, FAILED)
        self._spread(peer)

    def acquit(self, now: float, peer: Peer) -> None:
        """Nothing came of a suspicion of others."""
        self._turn(now, peer, ALIVE)

    def state_of(self, peer: Peer) -> Updates:
        """What we believe of a member, for itself to hear: only it can contradict so that everybody believes it."""
        return Updates((_row(peer),))

    def _turn(self, now: float, peer: Peer, state: str) -> None:
        before = peer.state
        if before == state:
            return
        self._peers.turn(peer, state, now)
        if state in (FAILED, LEFT):
            self._on_gone(peer, state)
        elif before in (FAILED, LEFT):
            self._out.notify(notices.MEMBER_RETURNED, **_fields(peer))
            self._let_in(peer)
            self.to_compare.append(peer)
        elif state == SUSPECT:
            self._out.notify(notices.MEMBER_SUSPECTED, **_fields(peer))

    def _on_gone(self, peer: Peer, state: str) -> None:
        self._out.notify(notices.MEMBER_FAILED if state == FAILED else notices.MEMBER_LEFT, **_fields(peer))
        self._warned.pop(peer.node_id, None)
        self.view.discard(peer.node_id)
        self._fill_view()
        gone = [*self._peers.in_state(LEFT), *self._peers.in_state(FAILED)]
        if len(gone) > (OLD_CONTACTS if self.is_partial else GONE_KEPT):
            self._forget(min(gone, key=lambda each: each.since))

    def _forget(self, peer: Peer) -> None:
        self._peers.remove(peer)
        self.view.discard(peer.node_id)
        self._listings.pop(peer.node_id, None)
        self._queue.drop(peer.node_id)

    # ---- the view

    def _let_in(self, peer: Peer) -> None:
        """A member that counts may come into the view."""
        self.view.admit(peer.node_id, len(self._peers.present()))

    def _fill_view(self) -> None:
        """Members that are listed take the places that are free."""
        if not self.view.is_full() and len(self.view) < len(self.alive()):
            for peer in sample_targets(self.alive(), self._out.config.view_size, self._out.rng):
                if self.view.is_full():
                    break
                self._let_in(peer)

    def begin_shuffle(self, now: float) -> tuple[Peer, list[Message]] | None:
        """A partner and what to say to it; None while everybody is in the view, or nobody."""
        if not self.is_partial and len(self.alive()) <= self._out.config.view_size:
            return None
        self.view.discard_where(lambda node_id, age: age > UNPROVEN_ROUNDS and self._peers.find(node_id) is None)
        partner = self._peers.find(self.view.begin() or b"")
        if partner is None:
            return None
        mine = (self._out.identity.node_id, self._profile.advertise, 0)
        offered = self._entries(self._out.config.shuffle_length - 1)
        self._keep_to_view(now)
        return partner, [Shuffle((mine, *offered), answer=True)]

    def _entries(self, length: int) -> list[tuple[bytes, Address | None, int]]:
        offered = self.view.offer(length, lambda node_id: self._peers.find(node_id) is not None)
        found = [(self._peers.find(node_id), age) for node_id, age in offered]
        return [(peer.node_id, peer.advertised or peer.address, age) for peer, age in found if peer is not None]

    def _on_shuffle(self, now: float, peer: Peer, source: Address, shuffle: Shuffle) -> None:
        length = self._out.config.shuffle_length
        if shuffle.answer:
            self._out.send(peer.address, [Shuffle(tuple(self._entries(length)), answer=False)])
        taken = []
        for node_id, address, age in shuffle.entries[:length]:
            member = self._peers.find(node_id)
            if member is None and address is not None and node_id != self._out.identity.node_id:
                if self._look_at(now, address, source) and self.is_partial:
                    taken.append((node_id, age))
            elif member is not None and member.state in (ALIVE, SUSPECT, KNOWN):
                taken.append((node_id, age))
        self.view.take(taken)
        self._keep_to_view(now)

    def _keep_to_view(self, now: float) -> None:
        """With a partial view, only who is in it is listed. Whoever was is known for a while: it may have us in its."""
        if not self.is_partial:
            return
        for peer in [each for each in self._peers.all() if each.is_present != (each.node_id in self.view)]:
            if peer.is_present:
                self._peers.turn(peer, KNOWN, now)
            elif peer.state == KNOWN:
                self._peers.turn(peer, ALIVE, now)
        known = self._peers.in_state(KNOWN)
        for peer in known[: max(0, len(known) - KNOWN_VIEWS * self._out.config.view_size)]:
            self._forget(peer)


def _row(peer: Peer, state: str = "") -> Update:
    place = peer.advertised or peer.address
    return Update(peer.node_id, state or peer.state, peer.epoch, peer.counter, place, peer.version, peer.tags)


def _fields(peer: Peer) -> Mapping[str, object]:
    return {
        "member": peer.name,
        "member_id": peer.node_id.hex(),
        "address": str(peer.address),
        "epoch": peer.epoch,
    }
