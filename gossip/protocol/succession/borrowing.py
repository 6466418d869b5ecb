"""A newcomer that keeps nothing: it writes on under a vacant writer id, if a member has one to lend.

Until that is decided the node does not say which replica id it writes under. Its first write decides, and so does the
first member that has nothing to lend. The rules that keep two processes from writing under one id are in `lending`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from crdts import ReplicaId

from .. import notices
from ..identity import NOBODY, NodeId
from ..membership.membership import Members
from ..membership.peers import Peer
from ..output import Output
from ..wire.messages import Borrow, Lend, Message

LENDERS_ASKED: Final = 3
"""Members that are asked for a writer at most, one after the other."""
TRIES: Final = 2
"""Times that each of them is asked."""
LOAN_PATIENCE: Final = 10.0
"""Seconds in which a newcomer must have received all that was written under the lent id."""


@dataclass(frozen=True, slots=True)
class _Loan:
    writer: ReplicaId
    last: int
    lender: NodeId
    until: float


class Borrowing:
    """Decides which replica id this node writes under."""

    def __init__(self, output: Output, members: Members, borrowed: Callable[[], None]) -> None:
        """``borrowed`` is called when the node has begun to write under a lent id."""
        self._out = output
        self._members = members
        self._borrowed = borrowed
        self._asked: list[NodeId] = []
        self._tries = 0
        self._next = float("-inf")
        self._loan: _Loan | None = None

    def _has_written(self) -> bool:
        return self._out.kernel.context.last(self._out.kernel.replica_id) > 0

    def deadline(self) -> float:
        """When `tick` wants to be called; infinity while nothing is waited for."""
        if self._out.is_undecided:
            return max(self._next, 0.0) if self._members.alive() else float("inf")
        return float("inf")

    def tick(self, now: float) -> None:
        """Ask a member, or ask again; decide what can be decided. To be called whenever something has come in, too."""
        if self._out.is_undecided:
            self._decide(now)

    def wrote(self) -> None:
        """The node writes: under its own id, if nothing is decided yet."""
        if self._out.is_undecided:
            self._keep_own()

    def _decide(self, now: float) -> None:
        loan, kernel = self._loan, self._out.kernel
        if self._has_written():
            self._keep_own()
        elif loan is None:
            self._ask(now)
        elif kernel.context.prefix(loan.writer) == loan.last == kernel.context.last(loan.writer):
            self._adopt(loan)
        elif now >= loan.until or kernel.context.last(loan.writer) > loan.last or loan.writer in kernel.limits:
            self._keep_own()

    def _ask(self, now: float) -> None:
        """Ask a member for a writer: the first that was met, then the holder that it names, then others if no answer
        comes.
        """
        peer = self._members.find(self._asked[-1]) if self._asked else None
        if self._asked and peer is None and now < self._next:
            return  # the holder was named by another member, and is not met yet
        if peer is None or (self._tries >= TRIES and now >= self._next):
            peer = self._next_lender()
            if peer is not None:
                self._asked.append(peer.node_id)
                self._tries = 0
            elif self._asked:
                self._keep_own()
        if peer is not None and (not self._tries or now >= self._next):
            self._tries += 1
            self._next = now + self._patience(peer)
            self._out.send(peer.address, [Borrow()])

    def _patience(self, peer: Peer) -> float:
        return self._out.config.probe_timeout + (peer.rtt or 0.0)

    def _next_lender(self) -> Peer | None:
        others = (peer for peer in self._members.alive() if peer.node_id not in self._asked)
        return next(others, None) if len(self._asked) < LENDERS_ASKED else None

    def _on_lend(self, now: float, peer: Peer, answer: Lend) -> None:
        if not self._out.is_undecided or self._loan is not None or self._asked[-1:] != [peer.node_id]:
            return
        if answer.writer is not None:
            self._loan = _Loan(answer.writer, answer.last, peer.node_id, now + LOAN_PATIENCE)
            self._next = self._loan.until
            self._decide(now)
        elif answer.holder == NOBODY or answer.holder in self._asked or len(self._asked) == LENDERS_ASKED:
            self._keep_own()
        else:
            self._asked.append(answer.holder)
            self._tries, self._next = 0, now + self._patience(peer)
            self._decide(now)

    def _adopt(self, loan: _Loan) -> None:
        lender = self._members.find(loan.lender)
        if lender is not None:
            lender.acked = loan.last
        self._out.write_on_as(replace(self._out.identity, nonce=loan.writer))
        self._borrowed()
        self._keep_own()

    def _keep_own(self) -> None:
        """Write under the present replica id: no other one comes into question any more."""
        self._out.is_undecided = False
        self._members.tell_of_self()
        self._out.notify(notices.WRITER_CHOSEN, writer=self._out.kernel.replica_id)

    def handle(self, now: float, peer: Peer, message: Message) -> bool:
        """Take a message of a member at its proven address; return False if it is about something else."""
        if not isinstance(message, Lend):
            return False
        self._on_lend(now, peer, message)
        return True

    @property
    def lender(self) -> NodeId:
        """The member that lent a writer, or else the member that was asked first; empty if none was asked."""
        return self._loan.lender if self._loan is not None else next(iter(self._asked), NOBODY)
