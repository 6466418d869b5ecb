"""A simulated disk: one file with what a node has saved, all that can go wrong with it, and what a crash leaves.

A transaction is safe, all of it, once the disk has had its time. Until then its frames are somewhere on their way; a
crash may leave all of them, none, the first bytes, or just some sectors, and recovery takes what is whole from the
beginning. A lazy disk syncs only now and then: what it has written survives the process, and is still on its way when
the power fails. A write may fail: because the disk is full, or because it reports an error. What had been written
before stays where it is until the next transaction is written over it, so that a crash may bring back even a
transaction of which the node was told that it had failed.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from crdts import Replica, ReplicaId
from gossip.storage.errors import DiskFailed
from gossip.storage.rows import read_into

from .queue import EventQueue
from .tables import Commit, Operation, Owner, Tables, encode_frames, recover

SECTOR_BYTES: Final = 64
"""A disk writes so many bytes at once, or none: few, so that small transactions have several sectors."""
SYNC_BYTES: Final = 4096
"""A lazy disk syncs once so many bytes have been written since the last time."""
LOST: Final = "lost"
TORN: Final = "torn"
KEPT: Final = "kept"
REORDERED: Final = "reordered"
TAILS: Final = (LOST, TORN, KEPT, REORDERED)
"""What a crash leaves of what is not safe yet: nothing, the bytes up to some point, all of them, or any sectors of it,
later ones without those before."""
FULL: Final = "the disk is full; make room"
ERROR: Final = "the disk reports an error"

Then: TypeAlias = Callable[[DiskFailed | None], None]


@dataclass(frozen=True, slots=True, eq=False)
class _Flight:
    """A transaction that the disk is busy with, and what will become of it."""

    operations: Sequence[Operation]
    error: DiskFailed | None
    then: Then


@dataclass(slots=True, eq=False)
class _Trap:
    """A write that is to fail."""

    writes: int
    """That are still to come, with this one."""
    problem: str
    lasts: bool
    """True if every later one fails as well, for want of room."""


class Disk:
    """What one data directory holds. Survives the node that wrote it."""

    def __init__(self, queue: EventQueue, *, delay: float = 0.0, survives: bool = True, is_lazy: bool = False) -> None:
        """``delay`` is in seconds a transaction. One that does not survive is none: its node has only memory.

        ``is_lazy``: it says that a transaction is saved before that is synced (``durability="normal"``).
        """
        self._queue = queue
        self.delay = self._usual_delay = delay
        self.survives = survives
        self._slower: list[list[float]] = []
        self.is_lazy = is_lazy
        self.full = False
        self.tables = Tables()
        """What is saved: all of it survives the process."""
        self._synced = self.tables.copy() if is_lazy else self.tables
        """What survives a power loss."""
        self._unsynced: list[Operation] = []
        self._unsynced_bytes = 0
        self.writes = 0
        """Writes so far, those that failed among them: one for each operation, one for the commit, and the sync."""
        self.wiped = False
        """True if everything was lost since the last transaction."""
        self._traps: list[_Trap] = []
        self._flight: _Flight | None = None
        self._laid: list[Operation] = []
        self._stale = b""
        """What failed transactions have left where the next one is written."""

    @property
    def owner(self) -> Owner:
        """Who writes there."""
        return self.tables.owner

    @property
    def is_busy(self) -> bool:
        """True if a transaction is under way."""
        return self._flight is not None

    @property
    def is_synced(self) -> bool:
        """True if a power loss leaves all that is saved."""
        return not self._unsynced

    # ---- writing

    def end_life(self) -> None:
        """The last life is over for certain, and all that it wrote is here."""
        owner = self.tables.owner
        owner.ended += owner.lives[-1:]

    def begin_life(self, who: int, name: str, epoch: int, life: ReplicaId) -> None:
        """Save, and sync, who the node is this time, before it says a word."""
        owner = self.tables.owner
        self.tables.owner = Owner(who, name, epoch, [*owner.lives, life], owner.ended)
        self.sync()

    def sync(self) -> None:
        """A power loss leaves all that is saved by now."""
        self._unsynced, self._unsynced_bytes = [], 0
        self._synced = self.tables.copy() if self.is_lazy else self.tables

    def write(self, operations: Sequence[Operation], then: Then) -> None:
        """Do all of these or nothing, and call ``then`` with the error if it failed; at once if the disk takes no time.

        There is one call at a time.
        """
        error = self._lay_down(operations) if operations else None  # nothing to do is done whatever the disk is like
        self._flight = _Flight(operations, error, then)
        if self.delay and operations:
            self._queue.at(self._queue.now + self.delay, self._finish, self._flight)
        else:
            self._finish(self._flight)

    def _lay_down(self, operations: Sequence[Operation]) -> DiskFailed | None:
        self._laid = []
        for operation in (*operations, Commit()):
            if problem := self._write_problem():
                return DiskFailed(problem)
            self._laid.append(operation)
        if self.is_lazy:
            return None
        problem = self._write_problem()  # the sync: all of it may be there, and nobody knows
        return DiskFailed(problem) if problem else None

    def _write_problem(self) -> str:
        """Why this write fails; empty if it does not."""
        self.writes += 1
        for trap in self._traps:
            trap.writes -= 1
        sprung = [trap for trap in self._traps if trap.writes == 0]
        self._traps = [trap for trap in self._traps if trap.writes > 0]
        self.full = self.full or any(trap.lasts for trap in sprung)
        if sprung:
            return sprung[0].problem
        return FULL if self.full else ""

    def hurry(self) -> None:
        """Be done at once with what it is busy with."""
        if self._flight is not None:
            self._finish(self._flight)

    def _finish(self, flight: _Flight) -> None:
        if flight is not self._flight:
            return  # a crash, or a hurry, was first
        self._flight = None
        if flight.error is not None:
            self._stale, self._laid = self._unsafe(), []
        elif flight.operations:
            self.tables.apply(flight.operations)
            self._stale, self._laid = b"", []
            self.wiped = False
            if self.is_lazy:
                self._sync_later([*flight.operations, Commit()])
        flight.then(flight.error)

    def _sync_later(self, operations: Sequence[Operation]) -> None:
        self._unsynced += operations
        self._unsynced_bytes += len(encode_frames(operations))
        if self._unsynced_bytes >= SYNC_BYTES:
            self.sync()

    def _unsafe(self) -> bytes:
        """What was written and is not synced: the new over what was there."""
        laid = encode_frames([*self._unsynced, *self._laid])
        return laid + self._stale[len(laid) :]

    # ---- faults

    def make_room(self) -> None:
        """The disk is not full any more."""
        self.full = False

    def fail_write(self, number: int, problem: str = ERROR) -> None:
        """Let one write fail: that of this number, counted from now on, the next one is 1."""
        self._traps.append(_Trap(number, problem, lasts=False))

    def fill_up(self, number: int) -> None:
        """Let the disk be full from the write of this number on, until there is room."""
        self._traps.append(_Trap(number, FULL, lasts=True))

    def slow_down(self, delay: float) -> Callable[[], None]:
        """Take at least so many seconds a transaction for a while; returns a function that ends just this."""
        slower = [delay]
        self._slower.append(slower)
        self.delay = self._slowest()

        def end() -> None:
            self._slower = [each for each in self._slower if each is not slower]
            self.delay = self._slowest()

        return end

    def _slowest(self) -> float:
        return max(self._usual_delay, *(each[0] for each in self._slower), 0.0)

    # ---- crashes

    def crash(self, tail: str, rng: random.Random, *, power: bool = False) -> None:
        """The node is gone: of what was not safe yet, ``tail`` says what is left, and recovery takes what is whole.

        ``power``: so is what was not synced; else that is as safe as the rest.
        """
        unsafe = self._unsafe() if self.survives else b""
        saved = 0 if power else len(encode_frames(self._unsynced))
        safe, unsafe = unsafe[:saved], unsafe[saved:]
        if tail == LOST:
            unsafe = b""
        elif tail == TORN:
            unsafe = unsafe[: rng.randrange(len(unsafe) + 1)]
        elif tail == REORDERED:
            unsafe = _some_sectors(unsafe, rng)
        self._synced.apply(recover(safe + unsafe))
        self._synced.forget_behind_gap()
        self._begin_anew(self._synced)

    def wipe(self) -> None:
        """Everything is gone but the identity, which was kept elsewhere."""
        self._begin_anew(Tables(owner=self.owner))
        self.wiped = True

    def _begin_anew(self, tables: Tables) -> None:
        self.tables = tables
        self._flight, self._laid, self._stale = None, [], b""
        self.sync()

    def copy(self) -> "Disk":
        """Another data directory with the same content, as a careless administrator makes it."""
        other = Disk(self._queue, delay=self._usual_delay, survives=self.survives, is_lazy=self.is_lazy)
        other.tables = self.tables.copy()
        other.tables.forget_behind_gap()
        other.sync()
        return other

    def read_into(self, replica: Replica) -> None:
        """Read everything into an empty replica, as a node does at its start."""
        read_into(replica, self.tables.contents())


def _some_sectors(log: bytes, rng: random.Random) -> bytes:
    sectors = [log[at : at + SECTOR_BYTES] for at in range(0, len(log), SECTOR_BYTES)]
    return b"".join(sector if rng.random() < 0.5 else bytes(len(sector)) for sector in sectors)
