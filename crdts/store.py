"""One kernel, its clock, and who is told about changes: what a standalone object and a `Replica` both stand on."""

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Final, Self, TypeAlias

from .changes import OnChange, Told, changes_of
from .clock import HybridClock
from .context import Context, Dot, ReplicaId
from .delta import NOTHING, Delta, Event, events_delta, joined
from .errors import LocalError, UnsupportedType, WriterRetired
from .joining import Joining
from .kernel import Kernel
from .limits import MAX_BATCH_BYTES, MAX_KILLS_PER_EVENT
from .schema import SEPARATOR, STAMP_BYTES, STAMPED, check_replica_id, type_tag
from .transactions import Block, Blocks, beginner

OnWrite: TypeAlias = Callable[[tuple[Event, ...]], None]
OnMerge: TypeAlias = Callable[[Delta, list[Event]], None]

PART_EVENTS: Final = 8192
"""Mutations that make a transaction where they are too many for one."""
MAX_ECHOES: Final = 1000
"""Writes that subscribers may make because of one change: they and what they write might never come to an end."""
_EVENT_BYTES: Final = 64
_KILL_BYTES: Final = 24
"""What an event, its names and content apart, and each dot it replaces, is reckoned to take encoded."""


def _events_of(replaced: tuple[Event, ...]) -> int:
    """How many events one mutation takes."""
    return max(1, -(-len(replaced) // MAX_KILLS_PER_EVENT))


def _bytes_of(obj: bytes, key: bytes, payload: bytes | None, replaced: tuple[Event, ...]) -> int:
    """Upper bound of what one mutation takes encoded."""
    size = _EVENT_BYTES + len(obj) + len(key) + len(payload or b"")
    if replaced:
        size += len(replaced) * _KILL_BYTES + sum(
            len(name.encode()) for name in dict.fromkeys([e.replica for e in replaced])
        )
    return size


class Transaction(Block):
    """Several operations as one: see `Store.transaction`."""

    __slots__ = ("_store", "delta")

    def __init__(self, store: "Store") -> None:
        super().__init__()
        self._store = store
        self.delta = NOTHING
        """All that the operations made, once the block has ended."""

    def __enter__(self) -> Self:
        self._store.blocks.begin(self, beginner(sys._getframe(1)))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._store.end(self, failed=kind is not None)


class Store:
    """Writes and merges go through here, so that the clock follows and subscribers hear of both alike."""

    __slots__ = (
        *("_guards", "_on_change", "_on_merge", "_on_write", "_untold"),
        *("begun", "blocks", "clock", "kernel", "lives_of", "name_of", "on_listener_error", "receiver_of", "settle"),
    )

    def __init__(self, replica_id: str, *, clock: HybridClock | None = None, kernel: Kernel | None = None) -> None:
        if clock is not None and not isinstance(clock, HybridClock):
            raise UnsupportedType(f"a clock is a HybridClock, not {type(clock).__name__}")
        self.kernel = kernel if kernel is not None else Kernel(check_replica_id(replica_id))
        self.clock = clock if clock is not None else HybridClock(time.time)
        self._on_change: dict[object, tuple[bytes, OnChange]] = {}
        self._on_write: list[OnWrite] = []
        self._on_merge: list[OnMerge] = []
        self._guards: list[Callable[[], None]] = []
        self.blocks = Blocks(self.kernel)
        self.begun = self.blocks.begun
        """Empty if no block is open; then there is nothing to `settle`."""
        self.settle = self.blocks.settle
        """Undo the blocks that others have open; called before reading in order to write. See `crdts.transactions`."""
        self._untold: list[list[Told]] = []
        self.on_listener_error: Callable[[Exception], None] | None = None
        """What to do with an exception of a subscriber; None lets it reach whoever wrote or merged."""
        self.receiver_of: Callable[[str], ReplicaId] | None = None
        """The replica id of who is meant where something is given away; raises if it is nobody's. None takes what is
        given for one."""
        self.lives_of: Callable[[str, Iterable[ReplicaId]], Iterable[ReplicaId]] | None = None
        """Which of these replica ids are of who is meant, who may have written under several; raises if it is nobody.
        None takes what is given for the only one."""
        self.name_of: Callable[[ReplicaId], str] = lambda replica_id: replica_id
        """What to call who writes under a replica id, for people."""

    # ---- writing

    def write(self, obj: bytes, key: bytes, payload: bytes | None, replaced: tuple[Event, ...]) -> Delta:
        """Make one mutation, tell the subscribers, and return it as a delta; raises what a guard raises.

        Within a transaction, nobody is told yet and the delta is empty.
        """
        kernel = self.kernel
        for guard in self._guards:
            guard()
        if kernel.limits and kernel.replica_id in kernel.limits:
            raise WriterRetired(f"{kernel.replica_id!r} has been retired; go on under a new replica id")
        if self.begun and (pending := self.blocks.pending) is not None:
            self.blocks.make_room(_bytes_of(obj, key, payload, replaced), _events_of(replaced))
            pending += kernel.write(obj, key, payload, replaced)
            return NOTHING
        events = kernel.write(obj, key, payload, replaced)
        if len(events) > 1 and _bytes_of(obj, key, payload, replaced) <= MAX_BATCH_BYTES:
            events = tuple(kernel.together(list(events)))
        for told in self._on_write:
            told(events)
        if kernel.touched:
            self._publish()
        return Delta(events)

    def write_again(self) -> int:
        """Write again, under the present id, the next lost transaction of an earlier id; see `crdts.collisions`.

        Returns how many events the lost transaction had; 0 if there is none, or the present id is retired too. If a
        guard raises, so does this, and the transaction is kept.
        """
        kernel = self.kernel
        for guard in self._guards:
            guard()
        lost = [] if kernel.replica_id in kernel.limits else kernel.doubled.take_lost()
        with self.transaction():
            for event in lost:
                replaced = tuple(Event(replica, seq, b"", b"", None, ()) for replica, seq in event.kills)
                if event.payload is not None or replaced:
                    self.write(event.obj, event.key, event.payload, replaced)
        return len(lost)

    def stamp(self) -> int:
        """The stamp of a last-writer-wins write: a new one, or the one that all writes of the open transaction share.

        The stamp of a transaction is above all stamps that the clock has followed before, and nothing is merged while
        the transaction is open. So stamps and replica ids put all transactions in one order, each above all that it had
        seen. Every place shows the write of the greatest transaction that wrote there.
        """
        blocks = self.blocks
        if blocks.pending is None:
            return self.clock.tick()
        if blocks.stamp is None:
            blocks.stamp = self.clock.tick()
        return blocks.stamp

    def transaction(self) -> Transaction:
        """Make everything that is written in the block one batch: receivers apply all of it or nothing.

        Subscribers hear of it once, at its end. Reads inside see what was written so far. An exception undoes all of
        it (but for the clock, which has gone on); a block inside a block is undone alone, and what it makes is in the
        outer one's delta. Merging inside raises `InTransaction`, and so does the end of a block that waited or yielded
        while something else used the replica: see `crdts.transactions`. Raises `InvalidValue` at the operation that
        makes it too large.
        """
        return Transaction(self)

    def fits(self, events: int, kills: int) -> bool:
        """True if so many small events, and so many dots replaced, make one transaction."""
        return events <= PART_EVENTS and kills * _KILL_BYTES <= MAX_BATCH_BYTES // 2

    def in_parts(self, writes: Sequence[Callable[[], object]]) -> Delta:
        """Make these mutations, of a few events each, in one transaction, or in as many as it takes.

        Inside a transaction they are part of it, and raise `InvalidValue` if they do not fit.
        """
        if self.in_transaction:
            for write in writes:
                write()
            return NOTHING
        made: list[Delta] = []
        for start in range(0, len(writes), PART_EVENTS):
            with self.transaction() as done:
                for write in writes[start : start + PART_EVENTS]:
                    write()
            made.append(done.delta)
        return joined(made)

    def end(self, block: Transaction, *, failed: bool) -> None:
        """End a block; if it is the outermost, tell the subscribers what was written."""
        written = self.blocks.end(block, failed=failed)
        if written is None:
            if failed and not self.in_transaction:
                self._publish()
            return
        events = tuple(self.kernel.together(written))
        self.kernel.log.release()
        if not events:
            return
        block.delta = events_delta(events)
        for told in self._on_write:
            told(events)
        self._publish()

    @property
    def in_transaction(self) -> bool:
        return self.blocks.pending is not None

    def check_settled(self, what: str) -> None:
        """Undo the blocks that others have open.

        Raises `InTransaction` if the caller is in an open block: what the block wrote may yet be undone. ``what`` names
        the caller's operation.
        """
        if self.begun:
            self.blocks.check_settled(what)

    def abort_transaction(self) -> None:
        """Undo the open transaction, if there is one, even the caller's own: its block will raise `InTransaction`.

        A caller that must send or merge uses it where the program waits for something inside a transaction.
        """
        self.blocks.abort()

    def guard_blocks(self, check: Callable[[], None]) -> None:
        """Call ``check`` before a block is begun, and before others' blocks are undone; its exception prevents that."""
        self.blocks.checks.append(check)

    def guard_writes(self, guard: Callable[[], None]) -> None:
        """Call ``guard`` before every local mutation: an exception it raises refuses the mutation, wholly."""
        self._guards.append(guard)

    def on_write(self, told: OnWrite) -> None:
        """Call ``told`` with the events of every local mutation or transaction, at once."""
        self._on_write.append(told)

    # ---- merging

    def on_merge(self, told: OnMerge) -> None:
        """Call ``told`` with every delta that is merged and those of its events that were new, at once.

        For whoever measures how news spreads. A state has no new events: which of its entries others had made known
        before is not kept. What a `reconcile` joins is no delta, and is not told of.
        """
        self._on_merge.append(told)

    def merge(self, delta: Delta, prepared: Joining | None = None) -> list[Event]:
        """Join ``delta`` in place; return the events that were new.

        ``prepared`` has the entries of ``delta``, which is a state then; the caller has observed them. So the join
        takes little time.
        """
        self.check_settled("merging")
        if prepared is not None:
            self.kernel.join_prepared(delta, prepared)
            new: list[Event] = []
        else:
            new = self.kernel.merge(delta)
            self.observe(delta.events if delta.is_state else new)
        for told in self._on_merge:
            try:
                told(delta, new)
            except Exception as error:
                if self.on_listener_error is None:
                    raise
                self.on_listener_error(error)
        if self.kernel.touched:
            self._publish()
        return new

    def join_difference(
        self, theirs: Context, gone: list[Dot], events: list[Event], prekilled: list[Dot], seen: Context
    ) -> bool:
        """Join a state of which only the difference is known; see `Kernel.join_difference`."""
        self.check_settled("reconciling")
        joined = self.kernel.join_difference(theirs, gone, events, prekilled, seen)
        self.observe(events)
        if self.kernel.touched:
            self._publish()
        return joined

    def observe(self, events: Iterable[Event]) -> None:
        """Let the clock follow the stamps of these entries."""
        stamped: dict[bytes, bool] = {}
        stamps: list[bytes] = []
        for event in events:
            known = stamped.get(event.obj)
            if known is None:
                known = stamped[event.obj] = type_tag(event.obj) in STAMPED
            if known and event.payload is not None:
                stamps.append(event.payload[:STAMP_BYTES])
        if stamps and not self.clock.follows(int.from_bytes(max(stamps), "big")):
            for stamp in stamps:
                self.clock.observe(int.from_bytes(stamp, "big"))

    # ---- telling

    def subscribe(self, told: OnChange, within: bytes = b"") -> Callable[[], None]:
        """Call ``told`` with the changes of every write, transaction and merge; returns a function that ends it.

        Only with those in the object ``within`` or inside it, if one is given, and not at all if there are none.
        """
        if not callable(told):
            raise UnsupportedType(f"on_change takes a function of a list of Change, not {type(told).__name__}")
        subscription = object()
        self._on_change[subscription] = within, told
        if self.kernel.touched is None:
            self.kernel.touched = {}

        def cancel() -> None:
            self._on_change.pop(subscription, None)
            if not self._on_change:
                self.kernel.touched = None

        return cancel

    def _publish(self) -> None:
        """Tell every subscriber, even if one of them raises; then raise the first of what they raised.

        What a subscriber writes is told of when all have been told of what came before it.
        """
        touched = self.kernel.touched
        if not touched:
            return
        self.kernel.touched = {}
        if len(self._untold) >= MAX_ECHOES:
            raise LocalError(f"a subscriber has written {MAX_ECHOES} times because of one change, each told of in turn")
        self._untold.append(changes_of(self.kernel, touched))
        if len(self._untold) > 1:
            return
        first: Exception | None = None
        try:
            for changes in self._untold:  # grows while it is walked
                raised = self._tell(changes)
                first = first or raised
        finally:
            self._untold.clear()
        if first is not None:
            raise first

    def _tell(self, changes: list[Told]) -> Exception | None:
        first: Exception | None = None
        for within, told in tuple(self._on_change.values()):
            inside = within + SEPARATOR
            heard = [c for obj, c in changes if not within or obj == within or obj.startswith(inside)]
            if not heard:
                continue
            try:
                told(heard)
            except Exception as error:
                if self.on_listener_error is not None:
                    self.on_listener_error(error)
                elif first is None:
                    first = error
        return first
