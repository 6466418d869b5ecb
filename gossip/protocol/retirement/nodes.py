"""Retiring nodes: who is retired is forgotten by all, and fenced: nobody takes its word again, under any epoch.

What fences is in the shared state (`fence`), so it reaches everybody and outlives restarts. A fenced node that speaks
is told so; it then takes no part any more, and writes nothing. How the writers of its lives leave the contexts is in
`writers`.
"""

from collections.abc import Sequence
from itertools import islice
from typing import Final

from crdts import ReplicaId
from crdts.embedding import names_of

from .. import notices
from ..errors import Fenced, NodeRetired
from ..fence import is_fenced
from ..identity import Address, NodeId, fence_of, fences_in
from ..membership.membership import Members
from ..membership.peers import Peer
from ..output import Output
from ..succession.lending import Lending, is_lent_to
from ..sync.streams import Streams
from ..wire.messages import Ask, Gone, Hello, Message, Report, Retired
from .unknown import UnknownWriters
from .writers import Closing

TOLD_INTERVAL: Final = 1.0
"""Seconds between two times that a retired node is told so at one address, at least."""
TOLD_KEPT: Final = 64
"""Addresses remembered for that."""
OBJECTS_NAMED: Final = 5
"""Objects that a log line names at most."""


class Retiring:
    """Keeps fenced nodes out, and takes this one out of the cluster if it is one of them."""

    def __init__(
        self, output: Output, members: Members, streams: Streams, lending: Lending, ended: Sequence[ReplicaId] = ()
    ) -> None:
        """``ended``: the ids under which this node wrote before, and nobody does any more."""
        self._out = output
        self._members = members
        self._streams = streams
        self._lending = lending
        self.closing = Closing(output, members, lending, ended)
        self.unknown = UnknownWriters(output, members, lending, self.closing)
        self._known: dict[NodeId, None] = {}
        self._limited = 0
        self._told: dict[tuple[NodeId, Address], float] = {}
        self.retired = False
        """True if this node was retired, and knows."""

    # ---- by this node

    def retire(self, node_id: NodeId) -> None:
        """Fence a node and forget it; raises as a mutation does."""
        self.check_writable()
        peer = self._members.find(node_id)
        writer = peer.replica_id if peer is not None else None
        self._out.replica.forbid(fence_of(node_id))
        if writer is not None and is_lent_to(node_id, writer) and self._out.kernel.context.last(writer):
            self._out.replica.mark(writer)
        self.notice()

    def retire_writer(self, writer: ReplicaId) -> None:
        """Have a writer closed that belongs to no member; raises `MemberAlive`, `UnknownMember`, or as a mutation."""
        self.check_writable()
        self.unknown.retire(writer)

    def retire_unknown(self, now: float, *, dry: bool) -> list[ReplicaId]:
        """Have all writers closed that belong to no member; returns them. Raises `UnknownMember`."""
        self.check_writable()
        return self.unknown.retire_all(now, dry=dry)

    def check_writable(self) -> None:
        """Raise `NodeRetired` if this node was retired: no member would take what it writes."""
        if self.retired:
            raise NodeRetired(
                f"the cluster has retired node {self._out.identity.name}: nothing was written. It can still be read; "
                "to take part again start it with a fresh data directory, as a new node"
            )

    # ---- from others

    def is_fenced(self, node_id: NodeId) -> bool:
        return is_fenced(self._out.kernel, node_id)

    def notice(self) -> None:
        """Act on what the shared state says by now of who is retired."""
        kernel = self._out.kernel
        new = kernel.limited - self._limited
        if not new:
            return
        self._limited = kernel.limited
        for node_id in fences_in(islice(reversed(kernel.limits), new)):
            if node_id not in self._known:
                self._known[node_id] = None
                self._forget(node_id)

    def _forget(self, node_id: NodeId) -> None:
        if node_id == self._out.identity.node_id:
            self._stop("the data it received")
            return
        self._members.forget(node_id)
        self._streams.drop(node_id)
        self.closing.forget(node_id)

    def refuse(self, now: float, sender: NodeId, source: Address, size: int, messages: list[Message]) -> None:
        """A fenced node has sent a datagram of ``size`` bytes: count it, and tell it in no more bytes than that."""
        self._out.reject(now, Fenced(f"word of node {sender.hex()}"), source)
        if now < self._told.get((sender, source), float("-inf")) + TOLD_INTERVAL:
            return
        echo = next((message.cookie for message in messages if isinstance(message, Hello)), b"")
        if len(self._out.sealed([Retired(sender, echo)])) <= size:
            self._told.pop((sender, source), None)
            self._told[sender, source] = now
            if len(self._told) > TOLD_KEPT:
                del self._told[next(iter(self._told))]
            self._out.send(source, [Retired(sender, echo)])

    def handle(self, now: float, source: Address, peer: Peer | None, message: Message) -> bool:
        """Take a message about retirement; return False if it is about something else, or of no member."""
        match message:
            case Retired():
                # Replayed words are about another node, or true.
                proven = peer is not None or self._members.echoes(source, message.echo)
                if proven and message.node_id == self._out.identity.node_id:
                    self._stop(peer.name if peer is not None else str(source))
                return True
            case Ask() | Report() | Gone():
                if peer is not None:
                    self.closing.handle(now, peer, message)
                    if isinstance(message, Gone):
                        self._lending.left(now, peer)
                return peer is not None
            case _:
                return False

    def _stop(self, told_by: str) -> None:
        """Take no part any more."""
        if self.retired:
            return
        self.retired = True
        unshared, objects = self._unshared()
        self._out.notify(
            notices.IDENTITY_RETIRED,
            told_by=told_by,
            unshared_writes=unshared,
            objects=", ".join(objects) or "none",
            advice="start with a fresh data directory, as a new node",
        )
        self._streams.drop()
        self._members.withdraw()

    def _unshared(self) -> tuple[int, list[str]]:
        """How many of our writes nobody is known to have, and some of the objects that hold them."""
        kernel = self._out.kernel
        me = kernel.replica_id
        known = max((peer.acked for peer in self._members.listed()), default=0)
        entries = kernel.live.get(me, {})
        names = [names_of(entries[seq].obj) for seq in sorted(entries) if seq > known]
        objects = list(dict.fromkeys(["/".join(each) for each in names if each]))
        more = ["..."] if len(objects) > OBJECTS_NAMED else []
        return max(0, kernel.context.last(me) - known), objects[:OBJECTS_NAMED] + more
