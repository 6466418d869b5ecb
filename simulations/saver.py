"""What `gossip.disk.Saver` is for Trio: hands a node's batches to its disk, one transaction at a time, in virtual time.

All that it decides is decided by the real `Backlog` and `Ledger`; only waiting is made up.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from crdts import Context, Dot
from crdts.kernel import Kernel
from gossip.protocol import Persist
from gossip.storage.backlog import Backlog
from gossip.storage.errors import DiskFailed, StorageError
from gossip.storage.ledger import Ledger
from gossip.storage.records import Rows, Transaction, rows_of

from .disk import Disk
from .queue import EventQueue
from .tables import operations_of

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
        """Whether a replica that was read from a disk is as it was.

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

    def later(self, call: Callable[..., None], *args: Any) -> bool:
        """Whether it cannot take this in now; if it ever will, ``call`` is called again then."""


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
        """What is safe."""
        self.attempts: list[Moment] = []
        """What may be there as well, of what was begun since: a crash decides."""
        self.given_up = self.checkpoints = self.failures = 0
        """How often the replica had to be written anew, a checkpoint was finished, and a transaction has failed."""
        self._arrived = False
        self._busy = self._looping = False
        self._resting = False

    @property
    def failure(self) -> StorageError | None:
        """Why nothing is saved at present; None while all is well."""
        return self.backlog.failure

    def put(self, batch: Persist) -> None:
        """Take a batch, to be saved after the earlier ones, when `start` is called next."""
        was = self.ledger.is_replacing
        self.backlog.put(batch)
        self.given_up += self.ledger.is_replacing and not was
        self._arrived = True

    def start(self) -> None:
        """Save what waits, unless the disk is busy, or is to be left alone after a failure."""
        if self._looping:
            return
        self._looping = True
        while not self._busy and not self._resting and (self._arrived or self.ledger.has_more):
            if self._node.later(self.start):
                break
            self._save_once()
        self._looping = False

    def finish(self) -> None:
        """Save everything at once, as a node waits for it that stops in good order; in vain if the disk fails."""
        while self.failure is None and (self._busy or self._arrived or self.ledger.is_replacing):
            if self._busy:
                self._disk.hurry()
            else:
                self.start()

    def _save_once(self) -> None:
        self._arrived = False
        self._node.settle()
        batches, token = self.backlog.take()
        if not batches and not self.ledger.has_more:
            return
        self._busy = True
        transaction = self.ledger.transaction(batches)
        moment = Moment.of(self._kernel)
        self.attempts.append(moment)
        rows = rows_of(transaction)
        operations = operations_of(transaction, rows, self.ledger.next_row)
        self._disk.write(operations, lambda error: self._written(batches, token, transaction, rows, moment, error))

    def _written(
        self,
        batches: list[Persist],
        token: int,
        transaction: Transaction,
        rows: Rows,
        moment: Moment,
        error: DiskFailed | None,
    ) -> None:
        if self._node.later(self._written, batches, token, transaction, rows, moment, error):
            return
        self._busy = False
        if error is not None:
            self._fail(batches, error)
            return
        self.ledger.done(transaction, rows)
        self.checkpoints += transaction.finish is not None
        self.backlog.saved()
        if not self.ledger.is_replacing:
            self.durable = moment
            self.attempts.clear()
            self._node.saved(token, moment)
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
