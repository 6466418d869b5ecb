"""Bugs that others have made, or we, planted into the protocol: the simulator must find each of them.

Each spoils one rule while its context is open.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from typing import Any, Final, TypeAlias
from unittest.mock import patch

from crdts import Context, Delta, Dot, Event, InsufficientRights, Reconciliation
from crdts.delta import state_delta
from crdts.joining import Joining
from crdts.kernel import Kernel, Snapshot
from crdts.killlog import KillLog
from crdts.reconcile.messages import Body
from crdts.schema import STAMP_BYTES, STAMPED, type_tag
from crdts.store import Store
from crdts.types.bounded import BoundedCounter
from gossip.protocol.dissemination.split_tree import SplitTree
from gossip.protocol.effects import Effect
from gossip.protocol.membership.peers import Peer
from gossip.protocol.output import Output
from gossip.protocol.sync.session import Session, WholeState
from gossip.protocol.wire.messages import Frame, Relay, StatePart, WholeContext
from simulations.world import node as node_module
from simulations.world.disk import Disk

Plant: TypeAlias = Callable[[], AbstractContextManager[Any]]


def replaced(owner: Any, name: str, make: Callable[[Any], Any]) -> AbstractContextManager[Any]:
    """``owner.name`` is what ``make`` makes of the original."""
    return patch.object(owner, name, make(getattr(owner, name)))


def context_wider_than_the_delta() -> AbstractContextManager[Any]:
    """Who has the newest event of a writer says that it has all before it (delta_crdt_ex #65)."""

    def make(merge: Any) -> Any:
        def merges(self: Kernel, delta: Delta) -> list[Event]:
            new: list[Event] = merge(self, delta)
            for event in new:
                self.context.add_range(event.replica, 1, event.seq)
            return new

        return merges

    return replaced(Kernel, "merge", make)


def killed_dot_counted_as_processed() -> AbstractContextManager[Any]:
    """A dot that was killed before its event came is processed, and never asked for again."""

    def kills(self: Kernel, dot: Dot, by: Dot) -> None:
        if not self._drop(dot, by):
            self.context.add(*dot)

    return patch.object(Kernel, "_kill", kills)


@contextmanager
def own_seq_reused_after_a_crash() -> Iterator[None]:
    """A restarted node goes on under its old replica id, whatever its disk has forgotten."""
    begin = node_module.Node.__init__

    def begins(self: Any, world: Any, index: int, disk: Disk, **options: Any) -> None:
        disk.owner.epoch = 0
        begin(self, world, index, disk, **options)

    with patch.object(node_module.Node, "__init__", begins):
        yield


def fold_before_the_last_range() -> AbstractContextManager[Any]:
    """A state is folded in with each part that comes, and not at once when all of it is there."""
    contexts: dict[Session, Context] = {}

    def make(take: Any) -> Any:
        def takes(self: Session, frame: Frame) -> Any:
            if isinstance(frame, WholeContext):
                contexts[self] = frame.context
            found = take(self, frame)
            if isinstance(frame, StatePart) and self._state is not None:
                prepared = Joining(self._kernel)
                prepared.take(tuple(self._state.events()))
                return WholeState(state_delta(prepared.events(), contexts[self].copy(), ()), prepared)
            return found

        return takes

    return replaced(Session, "_take", make)


def difference_joined_before_all_is_known() -> AbstractContextManager[Any]:
    """What a reconciliation has found out so far is joined with each message, with the whole context of the peer."""

    def make(receive: Any) -> Any:
        def receives(self: Reconciliation, message: bytes) -> bytes | None:
            answer: bytes | None = receive(self, message)
            self._join()
            return answer

        return receives

    return replaced(Reconciliation, "receive", make)


def range_skipped() -> AbstractContextManager[Any]:
    """Of the ranges that a message asks about, the last is taken for equal."""

    def make(take: Any) -> Any:
        def takes(self: Reconciliation, body: Body) -> None:
            body.ranges = body.ranges[:-1]
            take(self, body)

        return takes

    return replaced(Reconciliation, "_take", make)


def context_newer_than_its_snapshot() -> AbstractContextManager[Any]:
    """A state says at its end that all has been processed which is by then, and not when its entries were taken."""

    def make(snapshot: Any) -> Any:
        def snapshots(self: Kernel) -> Snapshot:
            whole: Snapshot = snapshot(self)
            return whole._replace(context=self.context)

        return snapshots

    return replaced(Kernel, "snapshot", make)


def loser_of_lww_dropped() -> AbstractContextManager[Any]:
    """Of concurrent values of a register, all but the latest are dropped at once, locally."""

    def make(apply: Any) -> Any:
        def applies(self: Kernel, event: Event) -> bool:
            new: bool = apply(self, event)
            if new and type_tag(event.obj) in STAMPED:
                *losers, _ = sorted(
                    self.at(event.obj, event.key), key=lambda e: ((e.payload or b"")[:STAMP_BYTES], e.dot)
                ) or [event]
                for loser in losers:
                    self._drop(loser.dot, loser.dot)
            return new

        return applies

    return replaced(Kernel, "apply", make)


def removal_without_a_dot() -> AbstractContextManager[Any]:
    """Removing drops what is there, and makes no event of it."""

    def make(write: Any) -> Any:
        def writes(self: Kernel, obj: bytes, key: bytes, payload: bytes | None, victims: tuple[Event, ...]) -> Any:
            if payload is not None or self.undo is not None:
                return write(self, obj, key, payload, victims)
            for victim in victims:
                self._drop(victim.dot, victim.dot)
            return ()

        return writes

    return replaced(Kernel, "write", make)


def dots_leave_before_the_disk_has_them() -> AbstractContextManager[Any]:
    """What tells of a write is sent at once, and not when a crash cannot undo it any more."""

    def sends(self: Output, effect: Effect) -> None:
        self.save()
        self._release(effect)

    return patch.object(Output, "_after_disk", sends)


def received_events_not_saved() -> AbstractContextManager[Any]:
    """What comes from others is acknowledged, and never handed to the disk."""

    def make(unsaved: Any) -> Any:
        def adds(self: Output, events: Any) -> None:
            unsaved(self, [event for event in events if event.replica == self.replica.replica_id])

        return adds

    return replaced(Output, "unsaved", make)


def states_not_saved() -> AbstractContextManager[Any]:
    """A state that was joined is never handed to the disk."""
    return patch.object(Output, "unsaved_state", lambda *_: None)


def trimmed_log_not_noticed() -> AbstractContextManager[Any]:
    """What the log has forgotten is told of as having replaced nothing."""
    stack = ExitStack()
    stack.enter_context(patch.object(KillLog, "check", lambda *_: None))
    stack.enter_context(patch.object(KillLog, "reaches", lambda *_: True))
    return stack


def prekilled_dots_left_out_of_states() -> AbstractContextManager[Any]:
    """Neither a state nor a reconciliation says which dots were killed before they came."""

    def of_kernel(snapshot: Any) -> Any:
        def snapshots(self: Kernel) -> Snapshot:
            whole: Snapshot = snapshot(self)
            return whole._replace(prekilled=[])

        return snapshots

    def of_reconciliation(take: Any) -> Any:
        def takes(self: Reconciliation) -> None:
            take(self)
            self._known_prekilled = []

        return takes

    stack = ExitStack()
    stack.enter_context(replaced(Kernel, "snapshot", of_kernel))
    stack.enter_context(replaced(Reconciliation, "_take_snapshot", of_reconciliation))
    return stack


def spending_without_rights() -> AbstractContextManager[Any]:
    """A budget is checked against all that there is, and not against what this replica holds."""

    def check(self: BoundedCounter, amount: int, purpose: str) -> None:
        if amount > self.value():
            raise InsufficientRights(purpose)

    return patch.object(BoundedCounter, "_check_rights", check)


def receipts_before_the_disk() -> AbstractContextManager[Any]:
    """A receipt says that writes are saved which the disk does not have yet."""

    def make(arrived: Any) -> Any:
        def arrives(self: SplitTree, now: float, peer: Peer, relay: Relay, brought_news: bool) -> int:
            seq: int = arrived(self, now, peer, relay, brought_news)
            self._confirm_saved(now, peer, seq)
            return 0

        return arrives

    return replaced(SplitTree, "_arrived", make)


def nonce_left_out_of_receipts() -> AbstractContextManager[Any]:
    """A receipt confirms what a member wrote under an id without a nonce: in all lives but the first, nothing."""

    def make(arrived: Any) -> Any:
        def arrives(self: SplitTree, now: float, peer: Peer, relay: Relay, brought_news: bool) -> int:
            seq: int = arrived(self, now, replace(peer, nonce=""), relay, brought_news)
            return seq

        return arrives

    return replaced(SplitTree, "_arrived", make)


def stamp_for_each_write() -> AbstractContextManager[Any]:
    """What a transaction writes to last-writer-wins places has as many stamps as there are writes."""
    return patch.object(Store, "stamp", lambda self: self.clock.tick())


OF_TRANSACTIONS: Final[list[Plant]] = [stamp_for_each_write]
"""What only rival transactions bring to light."""

PLANTED: Final[list[Plant]] = [
    context_wider_than_the_delta,
    killed_dot_counted_as_processed,
    own_seq_reused_after_a_crash,
    fold_before_the_last_range,
    difference_joined_before_all_is_known,
    range_skipped,
    context_newer_than_its_snapshot,
    loser_of_lww_dropped,
    removal_without_a_dot,
    dots_leave_before_the_disk_has_them,
    received_events_not_saved,
    states_not_saved,
    trimmed_log_not_noticed,
    prekilled_dots_left_out_of_states,
    spending_without_rights,
    receipts_before_the_disk,
    nonce_left_out_of_receipts,
]
