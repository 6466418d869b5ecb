"""Who is meant by a name, an id or a replica id.

Every life of a node writes under a replica id of its own, which ends with something random: others know it once they
have heard the node say it, or have something that it wrote. Rights that are given to an id that nobody writes under
are lost, so that is refused.
"""

from collections.abc import Callable, Container, Iterable, Sequence
from typing import Final, NamedTuple

from crdts import ReplicaId
from crdts.embedding import Kernel, Store, composed, told_apart

from .protocol import Identity, Member
from .protocol.errors import UnknownMember
from .protocol.fence import is_fenced
from .protocol.identity import Life, NodeId, is_fence, life_of, node_id_of, node_of, writers_of
from .protocol.membership.peers import ALIVE, SUSPECT

_NAME_IT: Final = (
    "Give the name or id of a member (`node.members()`), or the replica id that it writes under now (there: "
    "`node.replica.replica_id`)"
)


class _Node(NamedTuple):
    """One of the nodes that are known."""

    id: str
    name: str
    epoch: int
    replica_id: ReplicaId | None
    state: str


class Names:
    """Those of the nodes that are known, and of the replicas that they write under."""

    def __init__(
        self,
        kernel: Kernel,
        identity: Callable[[], Identity],
        members: Callable[[], Sequence[Member]],
        vacant: Callable[[], Container[ReplicaId]] = tuple,
    ) -> None:
        """``vacant``: the writers that wait for a node to borrow them."""
        self._kernel = kernel
        self._vacant = vacant
        self._identity = identity
        self._members = members

    def serve(self, store: Store) -> None:
        """Let members be called by name where rights are given away or asked about."""
        store.receiver_of, store.lives_of, store.name_of = self.replica_of, self.lives_of, self.name_of

    @property
    def _own_id(self) -> str:
        return self._identity().node_id.hex()

    def node_of(self, member: str | Member) -> str:
        """The id of who is meant by a name or an id, or as one of the members; raises `UnknownMember`."""
        if isinstance(member, Member):
            return self._known(member.id)
        named = [each for each in self._members() if composed(each.name) == composed(member)]
        if len(named) == 1 and member != self._own_id:
            return named[0].id
        if named and member != self._own_id:
            raise UnknownMember(f"{len(named)} members are called {member}; name one by its id: {_ids(named)}")
        return self._known(member)

    def _known(self, member: str) -> str:
        """An id, if there is or was such a node; raises `UnknownMember`."""
        if composed(member) in (self._own_id, self._identity().name):
            raise UnknownMember(f"{member} is this node itself: it can leave, others can retire it then")
        writers = *self._kernel.context.replicas(), *self._kernel.limits
        if member in [each.id for each in self._members()] or any(_is_of(writer, member) for writer in writers):
            return member
        raise UnknownMember(f"no member is called {member}; `gossip members` lists who there is, with ids")

    def writer_of(self, text: str) -> ReplicaId | None:
        """The writer with that id, if there is or was one, and the text names no node."""
        writer, kernel = ReplicaId(text), self._kernel
        if not kernel.context.last(writer) and writer not in kernel.limits:
            return None
        named = any(text == node.id or composed(text) == composed(node.name) for node in self._nodes())
        return None if named or is_fence(writer) else writer

    def name_of(self, replica_id: ReplicaId) -> str:
        """The name of the node that writes under a replica id; the id itself if it is unknown."""
        named = [node for node in self._nodes() if node.replica_id == replica_id or _is_of(replica_id, node.id)]
        if not named:
            return replica_id
        return min(named, key=lambda node: (node.replica_id != replica_id, node.state not in (ALIVE, SUSPECT))).name

    # ---- replicas

    def replica_of(self, to: str) -> ReplicaId:
        """The replica id of who is meant by a name, an id or a replica id; raises `UnknownMember` if it is nobody's."""
        life = life_of(to)
        if life is None:
            return self._of_member(to)
        writer = ReplicaId(to)
        self._check_life(writer, life)
        return writer

    def _check_life(self, writer: ReplicaId, life: Life) -> None:
        if writer == self._kernel.replica_id:
            return
        if any(node.replica_id == writer and node.state in (ALIVE, SUSPECT) for node in self._nodes()):
            return  # under a borrowed id, it may be
        if is_fenced(self._kernel, life.node_id) or self._is_over(writer):
            raise UnknownMember(f"nobody writes as {writer} any more, so rights given to it would be lost. {_NAME_IT}")
        told = [(node.epoch, node.replica_id) for node in self._nodes() if node.id == life.node_id.hex()]
        present, present_id = told[0] if told else (0, None)
        if writer == present_id:
            return
        if life.epoch < present:
            raise UnknownMember(f"{writer} is an earlier life of a node that has started again since. {_NAME_IT}")
        if self._kernel.context.last(writer):
            return
        if life.epoch != present or present_id is not None or self._writers(life.node_id, life.epoch):
            raise UnknownMember(
                f"nobody is known to write as {writer}, so rights given to it would be lost. {_NAME_IT}"
            )

    def _is_over(self, writer: ReplicaId) -> bool:
        """True if nobody writes as ``writer`` any more, but for a node that borrows the id later."""
        return writer in self._kernel.limits or writer in self._vacant()

    def _of_member(self, who: str) -> ReplicaId:
        node = self._called(who)
        if node is not None:
            writer = node.replica_id or self._of_life(who, node_id_of(node.id), node.epoch)
            if self._is_over(writer) and writer != self._kernel.replica_id:
                raise UnknownMember(
                    f"{who} has left and keeps nothing: nobody writes as {writer} any more, so rights given to it "
                    f"would be lost. {_NAME_IT}"
                )
            return writer
        other = ReplicaId(who)
        if self._kernel.context.last(other) and not self._is_over(other):
            return other  # no node's, but somebody's
        raise UnknownMember(
            f"{who!r:.60} is neither a member nor a replica id, so rights given to it would be lost. {_NAME_IT}"
        )

    def _called(self, who: str) -> _Node | None:
        """The node of that id, or the only one of that name, or the only such that is there; raises `UnknownMember`."""
        found = [node for node in self._nodes() if who == node.id or composed(who) == composed(node.name)]
        there = [node for node in found if node.state in (ALIVE, SUSPECT)]
        if len(found) > 1 and len(there) != 1:
            raise UnknownMember(f"{len(found)} members are called {who}; name one by its id: {_ids(found)}")
        return next(iter(there or found), None)

    def lives_of(self, who: str, writers: Iterable[ReplicaId]) -> list[ReplicaId]:
        """Those of the replica ids ``writers`` that who is meant by a name, an id or a replica id writes or has written
        under; of this node those whose rights are its own. Raises `UnknownMember`."""
        among = list(writers)
        life = life_of(who)
        node = self._called(who) if life is None else None
        member_id = life.node_id.hex() if life is not None else who if node is None else node.id
        if member_id == self._own_id:
            return [self._kernel.replica_id, *self._kernel.former]
        present = [node.replica_id for node in self._nodes() if node.id == member_id]
        found = [each for each in among if who == each or _is_of(each, member_id) or each in present]
        if not found and node is None and life is None and not self._kernel.context.last(ReplicaId(who)):
            raise UnknownMember(f"{who!r:.60} is neither a member nor a replica id. {_NAME_IT}")
        return found

    def _of_life(self, who: str, node_id: NodeId, epoch: int) -> ReplicaId:
        writers = self._writers(node_id, epoch)
        if len(writers) == 1:
            return writers[0]
        if writers:
            raise UnknownMember(
                f"{who} writes as {' and '.join(writers)}, which are copies of one node; give one of them"
            )
        raise UnknownMember(
            f"it is not known here yet which replica id {who} writes under: it has not said so since it started, and "
            "has written nothing. Wait a moment, or give the replica id itself (there: `node.replica.replica_id`)"
        )

    def _writers(self, node_id: NodeId, epoch: int) -> list[ReplicaId]:
        """The replica ids of that life of the node that have written and are not retired."""
        lives = [(each, life_of(each)) for each in writers_of(self._kernel.context, node_id)]
        of_epoch = [each for each, life in lives if life is not None and life.epoch == epoch]
        return [each for each in of_epoch if each not in self._kernel.limits]

    def _nodes(self) -> list[_Node]:
        """Every node that is known, this one first."""
        own = self._identity()
        others = [
            _Node(member.id, member.name, member.epoch, member.replica_id, member.state) for member in self._members()
        ]
        return [_Node(own.node_id.hex(), own.name, own.epoch, self._kernel.replica_id, ALIVE), *others]


def _is_of(writer: ReplicaId, member_id: str) -> bool:
    """True if ``writer`` is a replica id of the node with that `Member.id`."""
    node = node_of(writer)
    return node is not None and node.hex() == member_id


def _ids(members: Sequence[Member | _Node]) -> str:
    return ", ".join(f"{member.id} ({_spelling(member.name)}{member.state})" for member in members)


def _spelling(name: str) -> str:
    """``name`` with escapes, if it is spelled so that it looks like another name; empty if not."""
    shown = told_apart(name)
    return "" if shown == name else f"{shown}, "
