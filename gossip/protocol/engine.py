"""The protocol of one node, without I/O: what happened goes in, what is to be done comes out.

The Trio driver, the simulator and the tests are three callers of this one thing. Every method takes ``now``, in
seconds of any clock that never goes back, and returns effects, to be carried out in order. Time passes only by `tick`,
which wants to be called at `deadline`.
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from crdts import CrdtError, Event, Replica, ReplicaId

from . import notices
from .config import Config
from .dissemination.push import Pusher
from .dissemination.split_tree import SplitTree
from .dissemination.strategy import MakeDissemination
from .effects import Close, Effect
from .errors import GossipError, NotRunning, RemoteError
from .identity import Address, Hint, Identity, NodeId
from .membership.answers import Questions
from .membership.detector import Detector
from .membership.membership import Members
from .membership.peers import Member, Peer
from .output import Output
from .profile import Profile, check_tags
from .retirement.clones import Lineage
from .retirement.nodes import Retiring
from .statistics import Statistics
from .succession.bequeathing import Bequeathing
from .succession.borrowing import Borrowing
from .succession.lending import Lending
from .sync.antientropy import AntiEntropy
from .sync.streams import Streams
from .wire.codec import decode_datagram
from .wire.messages import Gone, Message, Push, Relay, Updates
from .wire.seal import Seal

WRITTEN_AGAIN_AT_ONCE: Final = 1024
"""About how many events are written again in one go: some ten milliseconds of work."""


class Engine:
    """Composes membership, push, anti-entropy and streams over one replica. None of them knows the others' insides."""

    def __init__(
        self,
        identity: Identity,
        config: Config,
        rng: random.Random,
        replica: Replica,
        seal: Seal,
        now: float,
        profile: Profile | None = None,
        *,
        lives: Sequence[ReplicaId] | None = None,
        ended: Sequence[ReplicaId] | None = None,
        hints: Sequence[Hint] = (),
        borrows: bool = False,
        dissemination: MakeDissemination = SplitTree,
    ) -> None:
        """``rng`` must be unpredictable in production: cookies and nonces come from it.

        ``lives``: the replica ids under which this node wrote before, if they are known; what is left of it must be in
        the replica. ``ended``: those of them that are over for certain, with all that they wrote in the replica, so
        that they can be closed; all, if it is not given.

        ``hints``: members of former lives, as the last `Remember` had them; their addresses are greeted like seeds.

        ``borrows``: the node keeps its data in memory only, and looks for members. It writes on under a vacant writer
        id if one of them has one (see `borrowing`), so its replica id may change until the first write.

        ``dissemination``: another way to send news, for comparisons.
        """
        self._out = Output(identity, config, rng, replica, seal)
        _ = replica.fingerprint  # computed now and kept up to date: at the first digest there may be many entries
        self._make_dissemination = dissemination
        self._lineage = Lineage(self._out, lives)
        self._out.kernel.doubled.lives.update(dict.fromkeys(lives or ()))
        self._out.is_undecided = borrows
        self._compose(now, profile or Profile(), (lives or ()) if ended is None else ended, hints)

    def _compose(self, now: float, profile: Profile, ended: Sequence[ReplicaId], hints: Sequence[Hint]) -> None:
        """Make the parts of the engine. They know no members yet, but hints."""
        self._questions = Questions()
        self._members = Members(self._out, profile, hints, now)
        self._dissemination = self._make_dissemination(self._out, self._members)
        self._pusher = Pusher(self._out, self._dissemination)
        self._streams = Streams(self._out, self._members, self._pusher)
        self._antientropy = AntiEntropy(self._out, self._members, self._streams, self._pusher.on_its_way)
        self._detector = Detector(self._out, self._members, self._antientropy.compare_with, now)
        self._lending = Lending(self._out, self._members)
        self._borrowing = Borrowing(self._out, self._members, self._lineage.write_on)
        self._bequeathing = Bequeathing(self._out, self._members, self._lending, self._borrowing)
        self._retiring = Retiring(self._out, self._members, self._streams, self._lending, ended)

    # ---- what happened

    def set_seeds(self, now: float, addresses: list[Address]) -> list[Effect]:
        """Where other nodes may be found. They are greeted until they answer, for ever."""
        self._settle()
        if not self.retired:
            self._members.set_seeds(now, addresses)
        return self._out.drain()

    def acquaint(self, now: float, members: Iterable[tuple[Identity, Address]], *, partial: bool = False) -> None:
        """Take these for members met before: alive, and proven to be at their addresses.

        For a simulation that starts from a cluster that has formed already. Nobody is told, greeted or compared with
        out of turn. Passed over are ourselves, members known already, and all beyond `Config.full_membership_max`.
        ``partial``: the cluster is too large to list, and these are the first view of it.
        """
        self._out.is_undecided = False
        self._members.acquaint(now, members, partial=partial)

    def wrote(self, now: float, events: tuple[Event, ...]) -> bool:
        """The replica made local mutations. What follows comes out of `tick`.

        Returns whether the `deadline` may have moved: it does not for those that join others that wait already.
        """
        self._borrowing.wrote()
        return self._pusher.wrote(now, events)

    def receive(self, now: float, source: Address, datagram: bytes) -> list[Effect]:
        """A datagram arrived. Nothing in it can raise: what cannot be accepted is counted, and changes nothing."""
        self._settle()
        self._out.counts["datagrams_received"] += 1
        self._out.counts["datagram_bytes_received"] += len(datagram)
        try:
            sender, epoch, messages = decode_datagram(self._out.seal.open(datagram))
        except RemoteError as error:
            self._out.reject(now, error, source)
            return self._out.drain()
        if sender == self._out.identity.node_id:
            self._members.recognise_self(now, source, epoch)
            return self._out.drain()
        if self.retired:
            return self._out.drain()
        if self._retiring.is_fenced(sender):
            self._retiring.refuse(now, sender, source, len(datagram), messages)
            return self._out.drain()
        peer = self._members.proven(sender, source)
        if peer is not None and epoch < peer.epoch:
            # Overtaken on its way by word of the next life. Events are as right as ever; all else is out of date.
            for push in [message for message in messages if isinstance(message, Push | Relay)]:
                self._on_push(now, sender, None, push)
            self._members.warn_former_life(now, peer, source)
            return self._out.drain()
        if peer is not None and self._questions.is_repeated(self._out.seal.mark(datagram), messages):
            self._out.counts["datagrams_repeated"] += 1
            return self._out.drain()
        self._members.datagram_arrived(len(datagram))
        if peer is not None and not peer.can_be_in(epoch):
            self._members.doubt(now, peer, source, epoch, messages)
            return self._out.drain()
        if peer is not None:
            self._members.heard(now, peer, epoch)
            self._dissemination.heard(now, peer)
        self._take(now, sender, source, peer, messages)
        self._compare_where_needed(now)
        return self._out.drain()

    def persisted(self, now: float, token: int) -> list[Effect]:
        """The disk has everything up to and including the `Persist` effect of that token."""
        self._settle()
        self._out.persisted(token)
        self._pusher.persisted(now)
        self._compare_where_needed(now)
        return self._out.drain()

    def next_conn(self) -> int:
        """A number for a stream that the driver accepted."""
        return self._streams.next_conn()

    def stream_opened(self, now: float, conn: int, address: Address) -> list[Effect]:
        """A stream is connected: one that `OpenStream` asked for, or one that was accepted."""
        self._settle()
        if self.retired:
            self._out.emit(Close(conn))
        else:
            self._streams.opened(now, conn, address)
        return self._out.drain()

    def stream_received(self, now: float, conn: int, data: bytes) -> list[Effect]:
        """Bytes arrived on a stream, in any pieces."""
        self._settle()
        self._streams.received(now, conn, data)
        self._compare_where_needed(now)
        return self._out.drain()

    def stream_writable(self, now: float, conn: int) -> list[Effect]:
        """Everything written to a stream has been handed to the system."""
        self._settle()
        self._streams.writable(now, conn)
        self._compare_where_needed(now)
        return self._out.drain()

    def stream_closed(self, now: float, conn: int) -> list[Effect]:
        """A stream was closed by the other side, broke, or could not be connected."""
        self._settle()
        self._streams.closed(now, conn)
        self._compare_where_needed(now)
        return self._out.drain()

    def await_acks(self, now: float, seq: int) -> list[Effect]:
        """Ask members again and again how far they are, until all have our writes up to ``seq``; 0 ends it."""
        self._settle()
        self._antientropy.await_acks(now, seq)
        return self._out.drain()

    def flush(self, now: float) -> list[Effect]:
        """Hand every write so far to the disk now; `durable` tells when it is there."""
        self._settle()
        self._pusher.flush(now)
        self._compare_where_needed(now)
        return self._out.drain()

    def set_tags(self, tags: Mapping[str, str]) -> list[Effect]:
        """Tell all members of new tags, in place of the old ones; raises `ConfigError`."""
        self._settle()
        self._members.set_tags(check_tags(tags))
        return self._out.drain()

    def leave(self, *, keeps_nothing: bool = False) -> list[Effect]:
        """Tell every member that we go on purpose, and whether anything is left of us that could come back."""
        self._settle()
        self._members.say_goodbye([Gone()] if keeps_nothing else [])
        return self._out.drain()

    def bequeath(self, now: float) -> list[Effect]:
        """Hand the writer id of this node on, as it keeps nothing and is about to leave: write nothing after this.

        Wait until `has_heir` is not None, for a second at most. If it is False by then, retire the replica's own id in
        its place: it can still be written under.
        """
        self._settle()
        self._bequeathing.begin(now)
        return self._out.drain()

    def retire(self, now: float, node_id: NodeId) -> list[Effect]:
        """Fence a node for good: it is forgotten by all, and never admitted again, in any life.

        Raises `NodeRetired` if we are retired ourselves, and else as a mutation does.
        """
        self._settle()
        self._retiring.retire(node_id)
        self._compare_where_needed(now)
        return self._out.drain()

    def retire_writer(self, now: float, writer: ReplicaId) -> list[Effect]:
        """Have a writer closed that belongs to no member.

        Raises `MemberAlive` if it belongs to one, `UnknownMember` if nothing was heard of it or this node cannot tell,
        `NodeRetired`, and else as a mutation does.
        """
        self._settle()
        self._retiring.retire_writer(writer)
        self._compare_where_needed(now)
        return self._out.drain()

    def retire_unknown(self, now: float, *, dry: bool = False) -> list[ReplicaId]:
        """Have all writers closed that belong to no member, some in each `tick`; returns them, which is all if ``dry``.

        Raises `UnknownMember` if this node cannot tell yet which they are, and `NodeRetired`.
        """
        self._settle()
        return self._retiring.retire_unknown(now, dry=dry)

    # ---- time

    def deadline(self) -> float:
        """When `tick` wants to be called next, on the clock of ``now``."""
        return min(
            self._pusher.deadline(),
            self._dissemination.deadline(),
            self._antientropy.deadline(),
            self._members.deadline(),
            self._detector.deadline(),
            self._streams.deadline(),
            self._lending.deadline(),
            self._borrowing.deadline(),
            self._bequeathing.deadline(),
            self._retiring.closing.deadline(),
            self._retiring.unknown.deadline(),
        )

    def tick(self, now: float) -> list[Effect]:
        """Do what is due."""
        self._settle()
        self._pusher.tick(now)
        self._dissemination.tick(now)
        self._members.tick(now)
        self._detector.tick(now)
        self._antientropy.tick(now)
        self._streams.tick(now)
        self._lending.tick(now)
        self._borrowing.tick(now)
        self._bequeathing.tick(now)
        self._retiring.closing.tick(now)
        self._retiring.unknown.tick(now)
        self._compare_where_needed(now)
        return self._out.drain()

    # ---- reading

    @property
    def identity(self) -> Identity:
        return self._out.identity

    @property
    def config(self) -> Config:
        return self._out.config

    @property
    def is_undecided(self) -> bool:
        """True while the replica id may still change, as a member may have a vacant one: until the first write."""
        return self._out.is_undecided

    @property
    def has_heir(self) -> bool | None:
        """True if a member has taken over the writer id, False if none has, None while that is open; see `bequeath`."""
        return self._bequeathing.has_heir

    @property
    def retired(self) -> bool:
        """True if this node was retired and knows; then it takes no part any more."""
        return self._retiring.retired

    @property
    def unknown_writers(self) -> list[ReplicaId] | None:
        """The writers in the context that belong to no member, and are not being closed, sorted.

        None if this node does not list all members, and so cannot tell.
        """
        return self._retiring.unknown.find() if self._retiring.unknown.is_known else None

    @property
    def vacant_writers(self) -> dict[ReplicaId, None]:
        """The writers that wait for a node to borrow them, as far as this node has heard."""
        return self._lending.all_vacant()

    def check_closable(self, writer: ReplicaId) -> None:
        """Raise what `retire_writer` would raise."""
        self._retiring.check_writable()
        self._retiring.unknown.check(writer)

    def check_writable(self) -> None:
        """Refuse a mutation of a node that was retired, or has handed its writer id on.

        Raises `NodeRetired` or `NotRunning`.
        """
        self._retiring.check_writable()
        if self._bequeathing.is_leaving:
            raise NotRunning(f"node {self.identity.name} is about to leave: nothing was written")

    @property
    def durable(self) -> bool:
        """True if the disk has everything so far."""
        return self._out.durable

    def members(self, now: float) -> list[Member]:
        """Every other member ever met, in the order they were met."""
        return self._members.snapshot(now)

    @property
    def is_partial(self) -> bool:
        """True if the cluster is too large to list: `members` are then only those of the view."""
        return self._members.is_partial

    def view(self) -> Sequence[NodeId]:
        """The ids of the members that gossip goes to at present."""
        return self._members.view

    @property
    def tags(self) -> Mapping[str, str]:
        return dict(self._members.profile.tags)

    def acked_by(self, seq: int) -> tuple[list[str], list[str]]:
        """The names of the live members that are known to have our writes up to ``seq``, and of those that are not."""
        alive = self._members.alive()
        return [p.name for p in alive if p.acked >= seq], [p.name for p in alive if p.acked < seq]

    def statistics(self) -> Statistics:
        shares = self._out.kernel.contested_shares
        return replace(self._out.statistics(), candidates=self._members.candidates, shares_contested=shares)

    # ---- inside

    def _settle(self) -> None:
        """Nothing may be told of a transaction under way, as it may yet be undone. One whose block waits ends here."""
        self._out.replica.store.abort_transaction()

    def _take(self, now: float, sender: NodeId, source: Address, peer: Peer | None, messages: list[Message]) -> None:
        """Take the messages of one datagram; ``peer`` is the sender, if it has proven to be at ``source``."""
        unproven_question = False
        for message in messages:
            if peer is not None and isinstance(message, Updates):
                self._detector.note_accusations(peer, message)
            if self._members.handle(now, sender, source, message):
                peer = self._members.proven(sender, source)  # it may be one only now, or no more
                continue
            if self._retiring.handle(now, source, peer, message):
                if self.retired:
                    return
                continue
            if isinstance(message, Push | Relay):
                self._on_push(now, sender, peer, message)
            elif peer is not None:
                self._take_from_member(now, peer, message)
            unproven_question = peer is None
        if unproven_question:
            self._members.challenge(source)

    def _take_from_member(self, now: float, peer: Peer, message: Message) -> None:
        succession = self._lending, self._borrowing, self._bequeathing
        for part in (self._detector, self._dissemination, self._antientropy, *succession):
            if part.handle(now, peer, message):
                return

    def _on_push(self, now: float, sender: NodeId, peer: Peer | None, push: Push | Relay) -> None:
        """Events are taken from any holder of the key, wherever it is: they are right or known already."""
        before = self._out.kernel.processed
        answers = isinstance(push, Push) and push.is_answer
        new = self._out.merge(now, push.delta, sender, pushed=not answers)
        self._pusher.received(now, new, push, peer, sender)
        if self._out.kernel.processed > before:
            self._out.notify(notices.DATA_RECEIVED)

    def _begin_anew(self, now: float, why: str) -> None:
        """Go on as a new node with all that we have: somebody else is the one that we were."""
        former, streams = self._out.identity, self._streams
        self._pusher.flush(now)
        streams.drop()
        addresses, profile, hints = self._members.addresses(), self._members.profile, self._members.hints()
        self._out.take_identity(Identity.fresh(former.name, self._out.rng))
        self._lineage.begin(now)
        self._out.is_undecided = False
        self._compose(now, profile, (), hints)
        self._streams.succeed(streams)
        self._members.set_seeds(now, addresses)
        fresh = self._out.identity.node_id.hex()
        self._out.notify(notices.IDENTITY_FORKED, why=why, id=fresh, former_id=former.node_id.hex())
        self._out.notify(notices.DATA_RECEIVED)  # whoever waits for acknowledgements of former writes looks again

    def _write_again(self, now: float) -> None:
        """Write again the lost writes that `crdts.collisions` keeps, a slice at a time. Each leads to the next."""
        count = 0
        try:
            while count < WRITTEN_AGAIN_AT_ONCE and (written := self._out.replica.store.write_again()):
                count += written
        except (OSError, CrdtError, GossipError):
            pass  # the disk may be full: what is left waits
        if count:
            self._out.notify_rarely(now, notices.WRITES_REPEATED, count=count)

    def _compare_where_needed(self, now: float) -> None:
        """Send digests at once where there is reason to: members just met, and news that a push could not carry."""
        # Once the writer id was handed on, another node may write under it while this one takes leave.
        if not self.retired and not self._bequeathing.is_leaving and (why := self._lineage.doubt(now)):
            self._begin_anew(now, why)
        if self._out.kernel.doubled.is_waiting and not self.retired:
            self._write_again(now)
        self._retiring.notice()
        self._detector.ask_those_said_to_have_left(now)
        for peer, seq in self._dissemination.confirmed:
            self._antientropy.acked(peer, seq)
        self._dissemination.confirmed.clear()
        for peer in self._members.to_compare:
            self._streams.drop_former(peer)
        while self._members.met:
            peer = self._members.met.pop(0)
            self._pusher.bring(now, peer)
            self._lending.met(peer)
        self._borrowing.tick(now)
        for peers in (self._members.to_compare, self._streams.finished_with, self._dissemination.to_compare):
            while peers:
                self._antientropy.compare_with(peers.pop(0))
        if self._dissemination.overflowed or self._streams.has_news:
            self._dissemination.overflowed = self._streams.has_news = False
            self._antientropy.hurry(now)
