"""A node that keeps nothing and leaves: it hands its writer id on to one member, and writes nothing from then on.

The rules that keep two processes from writing under one id are in `lending`.
"""

from typing import Final

from crdts import ReplicaId

from .. import notices
from ..identity import NodeId
from ..membership.membership import Members
from ..membership.peers import Peer
from ..output import Output
from ..wire.messages import MAX_VACANT, Bequest, Message, Taken
from .borrowing import Borrowing
from .lending import Lending

BEQUEST_PATIENCE: Final = 1.0
"""Seconds in which an offer is repeated. After that a member may have forgotten its answer."""
HEIRS_ASKED: Final = 3
"""Members that are asked at most, each after the one before has refused."""


class Bequeathing:
    """Finds an heir for the writer id of this node, and for the vacant ones that it holds."""

    def __init__(self, output: Output, members: Members, lending: Lending, borrowing: Borrowing) -> None:
        self._out = output
        self._members = members
        self._lending = lending
        self._borrowing = borrowing
        self._heirs: list[tuple[Peer, int]] = []
        """The members to ask, the present one first, each with its epoch."""
        self._offered: tuple[tuple[ReplicaId, int], ...] = ()
        self._next = self._until = float("inf")
        self.has_heir: bool | None = None
        """True if an heir has the writer id, so that nothing may be written under it any more; None while it is open.

        False if nobody takes it: then it can be written under.
        """

    @property
    def is_leaving(self) -> bool:
        """True if the writer id was offered, and not refused: nothing may be written under it."""
        return bool(self._offered) and self.has_heir is not False

    def begin(self, now: float) -> None:
        """Offer the present writer, and the vacant ones held here, to the member that is to keep them."""
        self._borrowing.wrote()
        kernel = self._out.kernel
        own = kernel.context.last(kernel.replica_id)
        mine = ((kernel.replica_id, own),) if own and kernel.replica_id not in kernel.limits else ()
        self._offered = (*mine, *self._lending.close())[:MAX_VACANT]
        heirs = [peer for peer in self._members.alive() if peer.acked >= own and peer.replica_id is not None]
        self._until = now + BEQUEST_PATIENCE
        self._heirs = [(peer, peer.epoch) for peer in sorted(heirs, key=self._rank)[:HEIRS_ASKED]]
        self._ask(now)

    def _rank(self, peer: Peer) -> tuple[bool, bool, NodeId]:
        """Lower is asked earlier: the lender, then members that hold vacant writers, so that newcomers find them in one
        place.
        """
        return peer.node_id != self._borrowing.lender, not self._lending.held_by(peer.node_id), peer.node_id

    def deadline(self) -> float:
        """When `tick` wants to be called; infinity while no answer is waited for."""
        return self._next

    def tick(self, now: float) -> None:
        """Ask again."""
        if now >= self._next:
            self._ask(now)

    def _ask(self, now: float) -> None:
        self._next = float("inf")
        if not self._heirs or not self._offered:
            self.has_heir = False
            return
        heir, epoch = self._heirs[0]
        # Not a later life of the heir, nor another member: the heir may have lent the writer already.
        if heir.epoch == epoch and now <= self._until:
            self._next = now + self._out.config.probe_timeout + (heir.rtt or 0.0)
            self._out.send_data(heir.address, [Bequest(heir.node_id, epoch, self._offered)])

    def handle(self, now: float, peer: Peer, message: Message) -> bool:
        """Take a message of a member at its proven address; return False if it is about something else."""
        if not isinstance(message, Taken):
            return False
        if self._heirs and peer is self._heirs[0][0] and self.has_heir is None:
            self._on_answer(now, peer, message)
        return True

    def _on_answer(self, now: float, heir: Peer, answer: Taken) -> None:
        own = self._out.kernel.replica_id
        if own in answer.writers or own not in dict(self._offered):
            self.has_heir, self._next = own in answer.writers, float("inf")
        else:
            self._offered = tuple([offer for offer in self._offered if offer[0] not in answer.writers])
            self._heirs = self._heirs[1:]
            self._ask(now)
        self._out.notify(notices.WRITER_BEQUEATHED, writers=answer.writers, to=heir.name)
