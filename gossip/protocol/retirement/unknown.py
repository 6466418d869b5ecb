"""Writers that belong to no member: of nodes that vanished and were forgotten, or that somebody with the key invented.

Nobody can say of them how much they wrote, and while one of them is in the contexts no writer is closed (`writers`). An
operator says that they are over. That is a mark in the shared state (`crdts.Replica.mark`), so all members hear of it:
they count such a writer as over, and close it as they close the others. Until then all that it wrote is accepted.

A writer that is marked and lives after all finds its own id limited, and goes on under a new one (`clones`).
"""

from collections import deque
from itertools import islice
from typing import Final

from crdts import CrdtError, ReplicaId

from ..errors import GossipError, MemberAlive, UnknownMember
from ..fence import is_fenced
from ..identity import NodeId, node_of
from ..membership.membership import Members
from ..output import Output
from ..succession.lending import Lending
from .writers import LAG_SHARE, Closing

MARKED_AT_ONCE: Final = 128
"""Writers marked in one step; a few milliseconds."""
MARK_INTERVAL: Final = 0.05
"""Seconds between two steps at least."""
LONGEST_PAUSE: Final = 1.0
"""Seconds between two steps at most, whether the event loop is late or the disk has not saved the last marks yet."""
RETRY_INTERVAL: Final = 1.0
"""Seconds until writing is tried again when it failed."""


class UnknownWriters:
    """Finds the writers that belong to no member, and marks those that are to be closed."""

    def __init__(self, output: Output, members: Members, lending: Lending, closing: Closing) -> None:
        self._out = output
        self._members = members
        self._lending = lending
        self._closing = closing
        self._waiting: deque[ReplicaId] = deque()
        """Writers to mark: at most those in the context, which `crdts.limits.MAX_WRITERS` bounds."""
        self._next = float("inf")
        self._stepped = float("-inf")
        """When the last step was made."""

    @property
    def is_known(self) -> bool:
        """True if this node lists all members, so that it can tell which writers are nobody's."""
        return not self._members.is_partial

    def find(self) -> list[ReplicaId]:
        """The writers that belong to no member in the list, and are not being closed, sorted.

        Members of a former life of this node count until they have been looked for in vain.
        """
        known = self._known()
        return [writer for writer in self._out.kernel.open_writers() if self._is_unknown(writer, known)]

    def _known(self) -> dict[NodeId | ReplicaId, None]:
        """Nodes that may come back, and writers that somebody has borrowed or holds."""
        nodes = [hint.node_id for hint in self._members.hints()]
        return dict.fromkeys([*nodes, *self._lending.owned()])

    def _is_unknown(self, writer: ReplicaId, known: dict[NodeId | ReplicaId, None]) -> bool:
        node_id = node_of(writer)
        if writer == self._out.kernel.replica_id or self._closing.is_own(writer) or writer in known:
            return False
        if node_id is None:
            return True
        return (
            node_id != self._out.identity.node_id
            and node_id not in known
            and self._members.find(node_id) is None
            and not is_fenced(self._out.kernel, node_id)
        )

    def retire(self, writer: ReplicaId) -> None:
        """Have one writer closed; raises `MemberAlive` or `UnknownMember` if that is not to be, else as a mutation."""
        self.check(writer)
        self._out.replica.mark(writer)

    def check(self, writer: ReplicaId) -> None:
        """Raise `UnknownMember` or `MemberAlive` unless the writer can be closed as nobody's."""
        kernel = self._out.kernel
        node_id = node_of(writer)
        if kernel.is_closed(writer):
            raise UnknownMember(f"the writer {writer} is closed already")
        if not kernel.context.last(writer):
            raise UnknownMember(f"nothing was ever heard of a writer {writer}")
        self._check_list()
        if writer == kernel.replica_id or node_id == self._out.identity.node_id:
            raise MemberAlive(f"{writer} is this node's own; earlier lives of a node are closed by themselves")
        if writer in self._lending.owned():
            raise MemberAlive(f"{writer} has been borrowed by a member, or waits to be: it is not over")
        peer = None if node_id is None else self._members.find(node_id)
        if peer is not None:
            raise MemberAlive(
                f"{writer} belongs to the member {peer.name} ({peer.state}), which closes its earlier lives by itself; "
                f"if the member is gone for good, retire it: `gossip retire {peer.node_id.hex()}`"
            )

    def retire_all(self, now: float, *, dry: bool) -> list[ReplicaId]:
        """Have all writers closed that are nobody's, some in each step; returns them. If ``dry``, only returns them.

        Raises `UnknownMember` while that cannot be told.
        """
        self._check_list()
        if not self._closing.is_settled(now):
            raise UnknownMember(
                "the list of members has changed a moment ago, and may not be complete: writers of a member that is "
                f"missing in it would be closed. Wait until it has stayed the same for {self._closing.quiet_time:g} s"
            )
        found = self.find()
        if not dry:
            self._waiting = deque(found)
            self._next = now if found else float("inf")
        return found

    def _check_list(self) -> None:
        if self._members.is_partial:
            raise UnknownMember(
                "the cluster is too large for this node to list: it cannot tell which writers belong to no member"
            )

    # ---- time

    def deadline(self) -> float:
        """When `tick` wants to be called; infinity while nothing is to be marked."""
        return self._next

    def tick(self, now: float) -> None:
        """Mark the next writers."""
        if now < self._next:
            return
        if not self._out.durable and now < self._stepped + LONGEST_PAUSE:  # else the disk falls ever further behind
            self._next = now + MARK_INTERVAL
            return
        known = self._known()
        late = now - self._next
        self._stepped = now
        self._next = now + min(max(MARK_INTERVAL, LAG_SHARE * late), LONGEST_PAUSE)
        for writer in list(islice(self._waiting, MARKED_AT_ONCE)):
            if writer not in self._out.kernel.limits and self._is_unknown(writer, known):
                try:
                    self._out.replica.mark(writer)
                except (OSError, CrdtError, GossipError):  # the disk may be full
                    self._next = now + RETRY_INTERVAL
                    return
            self._waiting.popleft()
        if not self._waiting:
            self._next = float("inf")
