"""Who else is there: how members are met, heard of, watched and taken leave of."""

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from .. import notices
from ..errors import AbsurdIncarnation
from ..identity import Address, Hint, Identity, NodeId
from ..output import Output
from ..profile import Profile
from ..wire.messages import ACCUSED, ListMembers, Message, Roll, Shuffle, Updates
from .handshake import Greeter, Proven
from .hints import Hints
from .peers import ALIVE, FAILED, KNOWN, LEFT, SUSPECT, Member, Peer, mark_of
from .roster import Roster, fields
from .shuffle import Shuffles
from .updates import Hearsay, row_of

OTHER_ADDRESSES: Final = 4
"""Addresses that a member has proven besides the one where it is reached, which are kept at most."""


class Members:
    """The list of members, and all that keeps it right. None of its parts sends anything but greetings to an address
    that has not proven itself."""

    def __init__(self, output: Output, profile: Profile, former: Iterable[Hint] = (), now: float = 0.0) -> None:
        """``former``: the hints that an earlier life of this node has left."""
        self._out = output
        self._roster = Roster(output)
        self._greeter = Greeter(output, self._roster)
        self._hearsay = Hearsay(output, self._roster, self._greeter, profile)
        self._shuffles = Shuffles(output, self._roster, self._hearsay)
        self._hints = Hints(output, self._roster, self._greeter, former, now)
        self.to_probe: list[Peer] = []
        """Members thought to be gone that were heard of since this was last emptied."""

    # ---- reading

    def alive(self) -> Sequence[Peer]:
        """Members that count, as they are alive or only suspect. To be read at once: it is no copy."""
        return self._roster.alive()

    def targets(self) -> Sequence[Peer]:
        """Members of the view that count: those whom gossip is drawn from."""
        return self._roster.targets()

    def in_state(self, state: str) -> Sequence[Peer]:
        return self._roster.peers.in_state(state)

    def missing(self) -> Sequence[Peer]:
        """Members that failed, or left according to others only: they may come back."""
        left = [peer for peer in self._roster.peers.in_state(LEFT) if not peer.has_said_goodbye]
        return [*self._roster.peers.in_state(FAILED), *left]

    def find(self, node_id: NodeId) -> Peer | None:
        return self._roster.peers.find(node_id)

    def proven(self, node_id: NodeId, address: Address) -> Peer | None:
        """The member of that id, if it has proven to be at that address."""
        peer = self._roster.peers.find(node_id)
        return peer if peer is not None and peer.is_at(address) else None

    def listed(self) -> Collection[Peer]:
        """Everybody, in whatever state. To be read at once: it is no copy."""
        return self._roster.peers.all()

    def echoes(self, source: Address, echo: bytes) -> bool:
        """True if this is the cookie that we sent to that address."""
        return self._greeter.echoes(source, echo)

    def alive_mark(self) -> int:
        """Whom we believe to be there, ourselves included, and in which life, as one number; 0 if ours is one view of
        many.

        At loss members contradict suspicions all the time; this does not change by it.
        """
        me = self._out.identity
        return 0 if self._roster.is_partial else self._roster.peers.lives ^ mark_of(me.node_id, me.epoch, 0)

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
                replica_id=p.replica_id,
            )
            for p in self._roster.peers.all()
            if p.state != KNOWN
        ]

    @property
    def is_partial(self) -> bool:
        """True if the cluster is too large to list: then only the members in the view are known."""
        return self._roster.is_partial

    @property
    def view(self) -> Sequence[NodeId]:
        """The ids of those in the view."""
        return self._roster.view.ids

    @property
    def profile(self) -> Profile:
        return self._hearsay.profile

    @property
    def has_left(self) -> bool:
        """True if this node has said goodbye."""
        return self._hearsay.has_left

    @property
    def refutations(self) -> int:
        """Times that we had to contradict what was said of us."""
        return self._hearsay.refutations

    @property
    def candidates(self) -> int:
        """Addresses heard of that are still to prove themselves."""
        return self._greeter.candidates

    @property
    def to_compare(self) -> list[Peer]:
        """Members met, met again or back since this was last emptied: their data may differ from ours."""
        return self._roster.to_compare

    @property
    def met(self) -> list[Peer]:
        """Members met or started again since this was last emptied: nothing was pushed to them yet."""
        return self._roster.met

    # ---- meeting

    def set_seeds(self, now: float, addresses: list[Address]) -> None:
        """Where to look for the cluster. Called again whenever names are resolved again."""
        self._greeter.set_seeds(now, addresses)

    def addresses(self) -> list[Address]:
        """Where we would look for the cluster if we knew nobody: the seeds, and whoever is there."""
        found = [*self._greeter.seeds, *(peer.address for peer in self._roster.alive())]
        return list(dict.fromkeys(found))[: self._out.config.max_candidates]

    def acquaint(self, now: float, members: Iterable[tuple[Identity, Address]], *, partial: bool) -> None:
        """List these as alive, at proven addresses, without telling or asking anybody.

        Passed over are ourselves, who is listed already, and all that the list has no room for.
        """
        self._roster.is_partial = partial
        for identity, address in members:
            if self._roster.is_full():
                break
            node_id = identity.node_id
            if node_id != self._out.identity.node_id and self.find(node_id) is None:
                peer = Peer(node_id, identity.name, identity.epoch, address, now, nonce=identity.nonce)
                self._roster.peers.add(peer)
                self._roster.let_in(peer)

    def deadline(self) -> float:
        return min(self._greeter.deadline(), self._hearsay.deadline(), self._hints.deadline())

    def tick(self, now: float) -> None:
        """Greet who is due, and tell what is new."""
        self._greeter.tick(now)
        self._hints.tick(now)
        self._hearsay.tick(now)

    def hints(self) -> tuple[Hint, ...]:
        """The members to look for after a new beginning."""
        return self._hints.current()

    def greet(self, now: float, peer: Peer) -> None:
        """Greet a member that has not proven its address in our present life."""
        self._greeter.greet(now, peer.address)

    def datagram_arrived(self, size: int) -> None:
        """Until the next one, answers to an address that may be forged take ``size`` bytes in all at most."""
        self._greeter.datagram_arrived(size)

    def challenge(self, source: Address) -> None:
        """Ask an address for proof."""
        self._greeter.challenge(source)

    def recognise_self(self, now: float, source: Address, epoch: int) -> None:
        """Our own words came back from ``source``, or those of somebody with our identity."""
        self._greeter.recognise_self(source)
        self._hearsay.contest(now, epoch, source)

    def warn_former_life(self, now: float, peer: Peer, source: Address) -> None:
        """A member spoke from there, in a life that is over by what we know."""
        if source != peer.address:
            self._hearsay.warn_former_life(now, peer, source)

    def doubt(self, now: float, peer: Peer, source: Address, epoch: int, messages: Iterable[Message]) -> None:
        """A member speaks in an epoch that it can hardly have come to: believed once it has proven that it is there.

        Until then its datagrams count as forged.
        """
        for message in messages:
            _, proven = self._greeter.handle(now, peer.node_id, source, message)
            if proven is not None:
                self._admit(now, proven)
        if not peer.can_be_in(epoch):
            self._greeter.add_candidate(now, source)
            self._reject_epoch(now, peer, source, epoch)

    def _reject_epoch(self, now: float, peer: Peer, source: Address, epoch: int) -> None:
        self._out.reject(now, AbsurdIncarnation(f"epoch {epoch} of {peer.name}, after {peer.epoch}"), source)

    def handle(self, now: float, sender: NodeId, source: Address, message: Message) -> bool:
        """Take a message about membership.

        Returns False if it is about something else, or if only a member at its proven address is listened to.
        """
        taken, proven = self._greeter.handle(now, sender, source, message)
        if proven is not None:
            self._admit(now, proven)
        peer = self.proven(sender, source)
        return taken or (peer is not None and self._on_word(now, peer, source, message))

    def _on_word(self, now: float, peer: Peer, source: Address, message: Message) -> bool:
        match message:
            case Updates():
                self._hearsay.on_updates(now, peer, source, message)
            case Roll():
                self._hearsay.on_roll(now, peer, message)
            case ListMembers():
                self._hearsay.on_list(now, peer, message)
            case Shuffle():
                self._shuffles.take(now, peer, source, message)
            case _:
                return False
        return True

    def _admit(self, now: float, proven: Proven) -> None:
        """A node has proven that it is at an address."""
        peer = self.find(proven.node_id)
        if peer is not None and not peer.is_proven:
            self._drop(peer)
            peer = None
        if peer is None:
            peer = Peer(proven.node_id, proven.name, proven.epoch, proven.address, now, rtt=proven.rtt)
            if self._roster.list(now, peer):
                self._hearsay.introduce(peer, proven.known)
            return
        if proven.epoch < peer.epoch or (proven.epoch == peer.epoch and peer.has_said_goodbye):
            if proven.epoch < peer.epoch:  # overtaken on its way, or of another process that has its identity
                self.warn_former_life(now, peer, proven.address)
            return
        if not (peer.can_be_in(proven.epoch) or peer.is_at(proven.address)):
            self._reject_epoch(now, peer, proven.address, proven.epoch)
            return
        restarted = proven.epoch > peer.epoch
        moved = self._settle(now, peer, proven.address, restarted=restarted)
        peer.name = proven.name
        if restarted:
            self._roster.begin_life(now, peer, proven.epoch)
        if peer.address == proven.address and (proven.has_answered or restarted):
            self.confirm(now, peer)
        if moved or restarted:  # the others look for it where it was, and it may have forgotten them
            self._hearsay.introduce(peer, proven.known)

    def _settle(self, now: float, peer: Peer, address: Address, *, restarted: bool) -> bool:
        """A member has proven that address; whether it is to be reached there from now on.

        While it answers where it was, the new one is only noted: it may have several, and seeds for all of them. One
        that advertises an address is reached there, wherever its datagrams come from.
        """
        if peer.address == address or (peer.is_at(address) and peer.state == ALIVE and not restarted):
            return False
        if peer.advertised == address or (peer.advertised != peer.address and (restarted or peer.state != ALIVE)):
            self.move(now, peer, address)
            return True
        self._roster.peers.move(peer, peer.address, (address, *peer.others)[:OTHER_ADDRESSES])
        return False

    def move(self, now: float, peer: Peer, address: Address) -> None:
        """A member is to be reached at another address that it has proven."""
        others = tuple(each for each in (peer.address, *peer.others) if each != address)
        self._roster.move(now, peer, address, others[:OTHER_ADDRESSES])
        self._out.notify(notices.MEMBER_MOVED, **fields(peer))
        self._hearsay.spread(peer)

    def forget(self, node_id: NodeId) -> None:
        """Strike off a member that was retired."""
        self._hints.forget(node_id)
        peer = self.find(node_id)
        if peer is not None:
            self._drop(peer)
            self._greeter.drop(peer.address)
            self._out.notify(notices.MEMBER_RETIRED, **fields(peer))

    def withdraw(self) -> None:
        """Forget everybody: from now on nobody is greeted or told anything."""
        for peer in list(self._roster.peers.all()):
            self._drop(peer)
        self._greeter.withdraw()
        self.to_compare.clear()
        self.met.clear()

    def _drop(self, peer: Peer) -> None:
        self._roster.forget(peer)
        self._hearsay.forget(peer)

    # ---- telling

    def news(self) -> list[Updates]:
        """What rides on whatever is sent anyway."""
        return self._hearsay.news()

    def call_roll(self, peer: Peer) -> list[Roll]:
        """What rides on a probe, so that lists grow equal."""
        return self._hearsay.call_roll(peer)

    def begin_shuffle(self, now: float) -> tuple[Peer, list[Message]] | None:
        """Whom to shuffle views with, and what to say to it."""
        return self._shuffles.begin(now)

    def set_tags(self, tags: tuple[tuple[str, str], ...]) -> None:
        """Tell everybody of new tags."""
        self._hearsay.set_tags(tags)

    def tell_of_self(self) -> None:
        """Tell everybody which replica id we write under, now that it is decided."""
        self._hearsay.tell_of_self()

    def say_goodbye(self, besides: Sequence[Message] = ()) -> None:
        """Tell every member that we leave on purpose."""
        self._hearsay.say_goodbye(besides)

    # ---- watching

    def heard(self, now: float, peer: Peer, epoch: int) -> None:
        """Any authentic word of a member from its proven address, in its present life or the next.

        It does not bring back one that has failed: it may hear nobody. Its answer to a probe does.
        """
        if epoch > peer.epoch:
            self._roster.begin_life(now, peer, epoch)
            self.confirm(now, peer)
            self._hearsay.introduce(peer, 0)
        elif _is_missing(peer) and peer not in self.to_probe:
            self.to_probe.append(peer)

    def confirm(self, now: float, peer: Peer) -> None:
        """A member has answered: it is there, and we reach each other."""
        peer.answered = now
        if peer.state == SUSPECT or _is_missing(peer):
            self._roster.turn(now, peer, ALIVE)

    def suspect(self, now: float, peer: Peer) -> None:
        """It does not answer us."""
        if peer.state == ALIVE:
            self._roster.turn(now, peer, SUSPECT)
        self._hearsay.spread(peer, ACCUSED)

    def fail(self, now: float, peer: Peer) -> None:
        """It has answered nobody for as long as is fair."""
        self._roster.turn(now, peer, FAILED)
        self._hearsay.spread(peer)

    @property
    def farewells(self) -> list[tuple[Peer, int]]:
        """Members that left according to others; see `Hearsay.farewells`."""
        return self._hearsay.farewells

    def believe_farewell(self, now: float, peer: Peer, counter: int) -> None:
        """List a member as left: others say so, and it does not answer us."""
        self._hearsay.believe_farewell(now, peer, counter)

    def deny_farewell(self, now: float, peer: Peer) -> None:
        """Let a member contradict that answers us although it left according to others."""
        self._hearsay.deny_farewell(now, peer)

    def goodbye(self) -> list[Updates]:
        """What we answer to a ping once we have left; empty before."""
        return self._hearsay.goodbye()

    def acquit(self, now: float, peer: Peer) -> None:
        """Nothing came of a suspicion of others."""
        self._roster.turn(now, peer, ALIVE)

    def state_of(self, peer: Peer) -> Updates:
        """What we believe of a member, for itself to hear: only it can contradict so that everybody believes it."""
        return Updates((row_of(peer),))


def _is_missing(peer: Peer) -> bool:
    """True if a member failed, or left according to others only."""
    return peer.state == FAILED or (peer.state == LEFT and not peer.has_said_goodbye)
