"""Writing to the database beside the event loop: one thread at a time, one transaction after the other."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import trio

from ..protocol import Identity, Persist
from .beside import Beside
from .copies import back_up
from .database import Database
from .errors import DiskFailed, StorageError
from .ledger import Ledger
from .marks import set_mark
from .patience import DISK_GRACE, NO_ANSWER, run_patiently
from .records import Rows, Transaction, encoding


class DatabaseDisk:
    """A `gossip.disk.Disk`: what comes while one transaction is written goes into the next (group commit)."""

    def __init__(self, database: Database, ledger: Ledger, epoch: int = 0) -> None:
        """``epoch`` is that of the node's present life, for the mark beside the file."""
        self._database = database
        self._epoch = epoch
        self._ledger = ledger
        self._beside = Beside()
        self._copies = trio.CapacityLimiter(1)
        self._renamed: Identity | None = None
        self._bytes_on_disk = database.bytes_on_disk

    @property
    def has_more(self) -> bool:
        return self._renamed is not None or self._ledger.has_more

    @property
    def is_replacing(self) -> bool:
        return self._ledger.is_replacing

    def replace(self) -> None:
        self._ledger.replace()

    def rename(self, identity: Identity) -> None:
        self._renamed = identity

    async def save(self, batches: Sequence[Persist]) -> None:
        transaction = replace(self._ledger.transaction(batches), identity=self._renamed)
        rows = await _encoded(transaction)
        try:
            await self._beside.run(partial(self._write, transaction, rows))
        except StorageError:
            self._ledger.failed()
            raise
        self._ledger.done(transaction, rows)
        if self._renamed is transaction.identity:
            self._renamed = None

    def _write(self, transaction: Transaction, rows: Rows) -> None:
        self._database.write(transaction, rows, self._ledger.next_row)
        with suppress(OSError):  # it was taken away just now: the next write finds that
            self._bytes_on_disk = self._database.bytes_on_disk
        if transaction.identity is not None:
            self._epoch = transaction.identity.epoch
            self._mark(closed=False)

    def _mark(self, *, closed: bool) -> None:
        with suppress(OSError):  # without it the next start takes the file for a copy, or cannot tell: it is safe
            set_mark(self._database.path, self._epoch, closed=closed)

    @property
    def bytes_on_disk(self) -> int:
        """What the data takes since it was written to last. The disk is not asked for it: it may not answer."""
        return self._bytes_on_disk

    @property
    def is_busy(self) -> bool:
        """Whether a thread is at work there; once the node has ended, it is one that was given up."""
        return self._beside.is_busy

    async def back_up(self, target: Path, *, replace: bool) -> int:
        """A copy of all that is saved, made while more is saved; one at a time. See `copies.back_up`."""
        copy = partial(back_up, self._database, target, replace=replace, pause=trio.from_thread.check_cancelled)
        return await run_patiently(copy, self._copies)

    async def close(self, fingerprint: int | None) -> None:
        """Everything is saved that will be; ``fingerprint`` is what the replica has at its end.

        Raises `DiskFailed` if the disk does not answer: at once if a thread was given up before, which may be using the
        database, and after `DISK_GRACE` seconds otherwise.
        """
        if not self.is_busy:
            with trio.move_on_after(DISK_GRACE):
                await self._beside.run(partial(self._close, fingerprint))
                return
        raise DiskFailed(f"{self._database.path} cannot be closed: {NO_ANSWER}")

    def _close(self, fingerprint: int | None) -> None:
        in_place = self._database.is_in_place()
        try:
            if fingerprint is not None:
                self._database.put("closed", [self._ledger.next_row - 1, fingerprint])
        finally:
            self._database.close()
        if in_place:  # else it is another file that would be marked
            self._mark(closed=fingerprint is not None)


async def _encoded(transaction: Transaction) -> Rows:
    """The rows, made in the event loop's own thread: beside it, Python would only take turns, in pieces of 5 ms."""
    steps = encoding(transaction)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            rows: Rows = end.value
            return rows
        await trio.lowlevel.checkpoint()
