"""Vacant writer ids: a node that keeps nothing hands its writer on when it leaves, and a later one writes on under it.

Without that, each life of a node without a disk would leave a writer behind: an id in the contexts until it is closed,
a row in the shared state for good, and a share in each counter. A cluster with a job a minute would grow for ever.
With it, there are as many writers as were ever there at once.

A writer id must never be used by two processes at a time, so it has one owner at any time, and goes from hand to hand:

    the leaving node --Bequest--> one member --Lend--> one newcomer, which has written nothing yet

* The leaving node asks one member at a time, and only members that have all of its writes. If a member refuses, it asks
  the next; if the last one refuses, it closes its writer. If no answer comes, it asks nobody else and writes nothing
  more: the member may have taken the writer.
* A member answers an offer alike each time, as the leaving node acts on the first answer that comes. An offer names one
  life of the member, so an offer that comes late is not taken by a later life.
* The member lends a writer once, to a newcomer that has not said yet which id it writes under. It takes the writer back
  if the newcomer says that it writes under another id: a newcomer chooses once.
* The newcomer writes under the lent id once it has processed all that was ever written under it, and only if it has
  not written before; see `borrowing`.
* A member that holds vacant writers names them to the other members, again and again, and whenever it is asked about
  one. The other members neither miss these writers nor close them (see `retirement.writers`).

What is held is lost with its holder. Then the other members close these writers, as those of any node that left.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from crdts import ReplicaId

from ..identity import NOBODY, NodeId, node_of
from ..membership.membership import Members
from ..membership.peers import Peer
from ..membership.sampling import sample_targets
from ..output import Output
from ..wire.messages import MAX_VACANT, Bequest, Borrow, Lend, Message, Taken, Vacant

ANSWERS_KEPT: Final = 1024
"""Offered writers for which the answer is remembered, at most. While there are so many, new offers are not answered."""
ANSWER_SECONDS: Final = 30.0
"""Seconds for which an answer is remembered: much longer than an offer is repeated, and than a datagram travels."""
TOLD_AT_ONCE: Final = 32
"""Members that are told at a time which writers are vacant here."""
TELL_INTERVALS: Final = 10
"""Probe intervals between two times that members are told."""
LAST_ROUNDS: Final = 3
"""Times that members are told that nothing is vacant here any more."""


@dataclass(frozen=True, slots=True)
class _Vacancy:
    last: int
    """The seq of the last event that was written under the id."""
    name: str
    """The name of the node that wrote under it: a node of that name gets it first."""


@dataclass(frozen=True, slots=True)
class _Told:
    epoch: int
    """Of the member that said so: a later life holds nothing of it."""
    when: float
    writers: tuple[ReplicaId, ...]


class Lending:
    """The vacant writers that this node holds, and the vacant writers that other members say they hold."""

    def __init__(self, output: Output, members: Members) -> None:
        self._out = output
        self._members = members
        self._vacant: dict[ReplicaId, _Vacancy] = {}
        self._lent: dict[NodeId, tuple[ReplicaId, _Vacancy]] = {}
        """Loans to members that have not said yet that they write under the id."""
        self._answers: dict[tuple[NodeId, int, ReplicaId], tuple[float, bool]] = {}
        """By member, its epoch and offered writer: when it was first answered, and whether the writer was taken."""
        self._told: dict[NodeId, _Told] = {}
        """What each present member holds, as it said itself."""
        self._next = float("inf")
        self._rounds = 0
        self._is_closed = False

    # ---- reading

    @property
    def vacant(self) -> list[ReplicaId]:
        """The writers that are vacant here. This node answers for them."""
        return [*self._vacant]

    def held_by(self, node_id: NodeId) -> tuple[ReplicaId, ...]:
        """The writers that are vacant at a member, as it said itself."""
        told, peer = self._told.get(node_id), self._members.find(node_id)
        return told.writers if told is not None and peer is not None and peer.epoch == told.epoch else ()

    def has_passed_on(self, peer: Peer) -> bool:
        """True if the writer of a member that is gone is vacant or lent by now: the member does not write any more.

        What others said before the member was gone does not count: the writer may have been vacant before the member
        borrowed it.
        """
        writer, alive = peer.replica_id, self._members.alive()
        if writer in self._vacant or any(each.replica_id == writer for each in alive):
            return writer is not None
        holders = [each for each in alive if writer in self.held_by(each.node_id)]
        return any(self._told[each.node_id].when >= peer.since for each in holders)

    def owned(self) -> dict[ReplicaId, None]:
        """The writers that are not over although they name nodes that left.

        Somebody holds them, or a present member has borrowed them.
        """
        owned = self.all_vacant()
        owned |= dict.fromkeys([writer for writer, _ in self._lent.values()])
        for peer in self._members.alive():
            writer = peer.replica_id
            if writer is not None and is_lent_to(peer.node_id, writer):
                owned[writer] = None
        return owned

    def all_vacant(self) -> dict[ReplicaId, None]:
        """The writers that are vacant, here or at a present member, as far as members have said."""
        self._tidy()
        vacant = dict.fromkeys(self._vacant)
        alive = self._members.alive()
        for peer in alive:
            vacant |= dict.fromkeys(self.held_by(peer.node_id))
        for peer in alive if vacant else ():
            if peer.replica_id is not None:
                vacant.pop(peer.replica_id, None)  # it was lent since
        return vacant

    def close(self) -> tuple[tuple[ReplicaId, int], ...]:
        """Lend and take no more, as this node leaves; returns the vacant writers, each with its last seq."""
        self._is_closed = True
        self._tidy()
        return tuple([(writer, vacancy.last) for writer, vacancy in self._vacant.items()])

    # ---- time

    def deadline(self) -> float:
        """When `tick` wants to be called; infinity while nothing is vacant here."""
        return self._next

    def tick(self, now: float) -> None:
        """Tell some members what is vacant here."""
        if now < self._next:
            return
        self._take_back(now)
        self._tell_all(now)

    def _changed(self, now: float) -> None:
        self._rounds = LAST_ROUNDS
        self._tell_all(now)

    def _tell_all(self, now: float) -> None:
        is_told = not self._vacant and self._rounds < 0
        self._rounds -= not self._vacant
        is_over = not self._vacant and not self._lent and self._rounds < 0  # a loan may come back
        self._next = float("inf") if is_over else now + TELL_INTERVALS * self._out.config.probe_interval
        for peer in () if is_told else sample_targets(self._members.alive(), TOLD_AT_ONCE, self._out.rng):
            self._tell(peer)

    def met(self, peer: Peer) -> None:
        """A member was met, or has started again: it knows of no vacant writers."""
        if self._vacant:
            self._tell(peer)

    def asked_about(self, peer: Peer, writers: Sequence[ReplicaId]) -> None:
        """A member asks about writers that it takes to be over: it has not heard that some are vacant here."""
        if any(writer in self._vacant for writer in writers):
            self._tell(peer)

    def _tell(self, peer: Peer) -> None:
        self._out.send_data(peer.address, [Vacant(tuple(self._vacant))])

    # ---- messages

    def handle(self, now: float, peer: Peer, message: Message) -> bool:
        """Take a message of a member at its proven address; return False if it is about something else."""
        match message:
            case Borrow():
                self._out.send_data(peer.address, [self._lend(now, peer)])
            case Bequest():
                self._on_bequest(now, peer, message)
            case Vacant():
                self._told.pop(peer.node_id, None)
                self._told[peer.node_id] = _Told(peer.epoch, now, message.writers)
                if len(self._told) > self._out.config.full_membership_max:
                    del self._told[next(iter(self._told))]
            case _:
                return False
        return True

    def _lend(self, now: float, peer: Peer) -> Lend:
        """The answer to a `Borrow`: always the same loan for the same member."""
        self._take_back(now)
        is_undecided = peer.is_present and peer.replica_id is None
        if is_undecided and peer.node_id not in self._lent and self._vacant and not self._is_closed:
            writer = next((each for each, vacancy in self._vacant.items() if vacancy.name == peer.name), None)
            writer = writer or next(iter(self._vacant))
            self._lent[peer.node_id] = writer, self._vacant.pop(writer)
            self._changed(now)
        if peer.node_id in self._lent:
            writer, vacancy = self._lent[peer.node_id]
            return Lend(writer, vacancy.last, NOBODY)
        holders = [each.node_id for each in self._members.alive() if self.held_by(each.node_id)]
        return Lend(None, 0, next(iter(holders), NOBODY))

    def _on_bequest(self, now: float, peer: Peer, offer: Bequest) -> None:
        """Take over what a member that leaves hands on, as far as it is that member's and nothing of it is missing."""
        me = self._out.identity
        if (offer.heir, offer.epoch) != (me.node_id, me.epoch):
            return
        self._tidy()
        self._forget_answers(now)
        offered = dict(offer.writers)
        new = [writer for writer in offered if (peer.node_id, peer.epoch, writer) not in self._answers]
        if new and (not peer.is_present or len(self._answers) + len(new) > ANSWERS_KEPT):
            return  # a refusal that is not remembered could be followed by another answer
        for writer in new:
            is_taken = self._may_take(peer, writer, offered[writer])
            self._answers[peer.node_id, peer.epoch, writer] = now, is_taken
            if is_taken:
                self._vacant[writer] = _Vacancy(offered[writer], peer.name)
        taken = tuple([writer for writer in offered if self._answers[peer.node_id, peer.epoch, writer][1]])
        self._out.send_data(peer.address, [Taken(taken)])
        if taken:
            self._changed(now)

    def _forget_answers(self, now: float) -> None:
        while self._answers and next(iter(self._answers.values()))[0] < now - ANSWER_SECONDS:
            del self._answers[next(iter(self._answers))]

    def _may_take(self, peer: Peer, writer: ReplicaId, last: int) -> bool:
        kernel = self._out.kernel
        is_its_own = writer == peer.replica_id or writer in self.held_by(peer.node_id)
        is_whole = kernel.context.prefix(writer) == last == kernel.context.last(writer)
        is_new = writer not in self._vacant and writer not in kernel.limits and writer != kernel.replica_id
        has_room = len(self._vacant) + len(self._lent) < MAX_VACANT and not self._is_closed
        return peer.is_present and is_its_own and is_whole and is_new and has_room

    # ---- what becomes of loans

    def left(self, now: float, peer: Peer) -> None:
        """A member that keeps nothing has said goodbye: what it never wrote under is vacant again."""
        self._told.pop(peer.node_id, None)
        self._take_back(now)
        self._lent.pop(peer.node_id, None)

    def _take_back(self, now: float) -> None:
        """Hold writers again that were lent to members which have said that they write under another id."""
        self._tidy()
        found = [(node_id, *loan) for node_id, loan in self._lent.items() if self._is_declined(node_id)]
        for node_id, writer, vacancy in found:
            del self._lent[node_id]
            self._vacant[writer] = vacancy
        self._tidy()
        if found and not self._is_closed:
            self._changed(now)

    def _is_declined(self, node_id: NodeId) -> bool:
        peer = self._members.find(node_id)
        return peer is not None and peer.replica_id not in (None, self._lent[node_id][0])

    def _tidy(self) -> None:
        """Forget vacant writers that were limited or written under, and loans that are seen to be used, or lost."""
        kernel = self._out.kernel
        for writer, vacancy in list(self._vacant.items()):
            if writer in kernel.limits or kernel.context.last(writer) != vacancy.last:
                del self._vacant[writer]
        for node_id, (writer, _) in list(self._lent.items()):
            peer = self._members.find(node_id)
            if peer is None or peer.replica_id == writer or writer in kernel.limits:
                del self._lent[node_id]


def is_lent_to(node_id: NodeId, writer: ReplicaId) -> bool:
    """True if a node that writes under that id has borrowed it: the id names another node."""
    return node_of(writer) != node_id
