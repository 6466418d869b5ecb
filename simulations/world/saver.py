"""What `gossip.storage.saver.Saver` is for Trio: hands a node's batches to its disk, one at a time, in virtual time.

All that it decides is decided by the real `Backlog` and `Ledger`; only waiting is made up.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from crdts import Context, Dot
from crdts.embedding import Kernel
from gossip.protocol import Persist
from gossip.storage.backlog import Backlog
from gossip.storage.checkpointer import Ledger
from gossip.storage.errors import DiskFailed, StorageError
from gossip.storage.rows import Rows, Transaction, rows_of

from .disk import Disk
from .queue import EventQueue
from .tables import IdentityRow, operations_of

LOG_MIN_BYTES: Final = 512
PART_EVENTS: Final = 4
UNSAVED_BATCHES: Final = 8
"""Much less than in a real node, so that a minute is long enough for checkpoints in many parts, and for giving up."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What a replica held when something was saved: what a disk brings back must be like that."""

    fingerprint: int
    context: Context
    prekilled: frozenset[Dot]

    @classmethod
    def of(cls, kernel: Kernel) -> "Moment":
        early = kernel.prekilled
        return cls(
            kernel.fingerprint,
            kernel.context.copy(),
            frozenset([(replica, seq) for replica in early for seq in early[replica]]),
        )

    def is_in(self, kernel: Kernel) -> bool:
        """True if a replica that was read from a disk is as it was.

        A dot whose death was told of before it was known may count as processed there: its killer is in the same row.
        """
        if kernel.fingerprint != self.fingerprint or not kernel.context.covers(self.context):
            return False
        more = kernel.context.missing_from(self.context)
        return all((replica, seq) in self.prekilled for replica, start, stop in more for seq in range(start, stop))


class Saving(Protocol):
    """The node, as far as its disk is concerned."""

    def settle(self) -> None:
        """Put all that the replica has been told so far."""

    def saved(self, token: int, moment: Moment) -> None:
        """Everything up to that token is durable."""

    def room(self) -> None:
        """What has waited for the disk waits no more."""

    def later(self, call: Callable[..., None], *args: Any) -> bool:
        """True if the node cannot take this in now; if it ever can, ``call`` is called again then."""


@dataclass(frozen=True, slots=True, eq=False)
class _Save:
    """One transaction, and what it is for."""

    batches: list[Persist]
    token: int
    transaction: Transaction
    rows: Rows
    renamed: IdentityRow | None
    moment: Moment


class Saver:
    """Of one life of one node."""

    def __init__(self, node: Saving, disk: Disk, kernel: Kernel, queue: EventQueue) -> None:
        self._node = node
        self._disk = disk
        self._kernel = kernel
        self._queue = queue
        self.ledger = Ledger(kernel, disk.tables.contents(), log_min_bytes=LOG_MIN_BYTES, part_events=PART_EVENTS)
        self.backlog = Backlog(self.ledger, most=UNSAVED_BATCHES)
        self.durable = Moment.of(kernel)
        """What is saved."""
        self.older: list[Moment] = []
        """What a power loss may bring back instead, as nothing was synced since but the first of these."""
        self.attempts: list[Moment] = []
        """What may be there as well, of what was begun since: a crash decides."""
        self.given_up = self.checkpoints = self.failures = 0
        """How often the replica had to be written anew, a checkpoint was finished, and a transaction has failed."""
        self.longest = 0
        """Batches that have waited at once for a disk that works."""
        self._arrived = False
        self._busy = self._looping = False
        self._resting = False
        self._renamed: IdentityRow | None = None
        self._hints: bytes | None = None

    @property
    def is_renaming(self) -> bool:
        """True if the disk has yet to be told that the node has gone on as another."""
        return self._renamed is not None

    @property
    def _has_more(self) -> bool:
        return self.is_renaming or self._hints is not None or self.ledger.has_more

    @property
    def failure(self) -> StorageError | None:
        """Why nothing is saved at present; None while all is well."""
        return self.backlog.failure

    def put(self, batch: Persist) -> None:
        """Take a batch, to be saved after the earlier ones, when `start` is called next."""
        was = self.ledger.is_replacing
        self.backlog.put(batch)
        if self.failure is None:
            self.longest = max(self.longest, len(self.backlog))
        self.given_up += self.ledger.is_replacing and not was
        self._arrived = True

    def rename(self, row: IdentityRow) -> None:
        """The node is this one from now on: saved with the batches that come next, or without any."""
        self._renamed = row
        self._arrived = True

    def remember(self, hints: bytes) -> None:
        """Keep ``hints`` for the next start. They are saved with the next batches, or without any."""
        self._hints = hints
        self._arrived = True

    def start(self) -> None:
        """Save what waits, unless the disk is busy, or is to be left alone after a failure."""
        if self._looping:
            return
        self._looping = True
        while not self._busy and not self._resting and (self._arrived or self._has_more):
            if self._node.later(self.start):
                break
            self._save_once()
        self._looping = False

    def finish(self) -> None:
        """Save everything at once, as a node waits for it that stops in good order; in vain if the disk fails."""
        while self.failure is None and (self._busy or self._arrived or self.is_renaming or self.ledger.is_replacing):
            if self._busy:
                self._disk.hurry()
            else:
                self.start()

    def _save_once(self) -> None:
        self._node.settle()
        self._arrived = False
        batches, token = self.backlog.take()
        self._node.room()
        if not batches and not self._has_more:
            return
        self._busy = True
        transaction = replace(self.ledger.transaction(batches), hints=self._hints)
        rows = rows_of(transaction)
        save = _Save(batches, token, transaction, rows, self._renamed, Moment.of(self._kernel))
        self.attempts.append(save.moment)
        operations = operations_of(transaction, rows, self.ledger.next_row, save.renamed)
        self._disk.write(operations, lambda error: self._written(save, error))

    def _written(self, save: _Save, error: DiskFailed | None) -> None:
        if self._node.later(self._written, save, error):
            return
        self._busy = False
        if error is not None:
            self._fail(save.batches, error)
            return
        self.ledger.done(save.transaction, save.rows)
        self.checkpoints += save.transaction.finish is not None
        self.backlog.saved()
        if self._renamed is save.renamed:
            self._renamed = None
        if self._hints is save.transaction.hints:
            self._hints = None
        if self._disk.is_synced:
            self.older.clear()
        elif not self.ledger.is_replacing:
            self.older.append(self.durable)
        if not self.ledger.is_replacing:
            self.durable = save.moment
            self.attempts.clear()
            self._node.saved(save.token, save.moment)
        self.start()

    def _fail(self, batches: list[Persist], error: DiskFailed) -> None:
        self.failures += 1
        self.ledger.failed()
        self.backlog.failed(batches, error)
        self._resting = True
        self._queue.at(self._queue.now + self.backlog.pause(), self._retry)

    def _retry(self) -> None:
        if not self._node.later(self._retry):
            self._resting, self._arrived = False, True
            self.start()
