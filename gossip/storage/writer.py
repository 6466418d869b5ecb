"""Writing to the database beside the event loop: one thread at a time, one transaction after the other."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import trio

from ..protocol import Identity, Persist
from .backup import back_up
from .checkpointer import Ledger
from .database import Database
from .errors import DiskFailed, StorageError
from .origin import Mark, make_mark, remove_other_marks
from .patience import DISK_GRACE, NO_ANSWER, run_patiently
from .rows import Encoding, Rows, Transaction
from .sqlite import failures
from .worker import Beside


class DatabaseDisk:
    """A `gossip.storage.saver.Disk`: what comes while one transaction is written goes into the next (group commit)."""

    def __init__(self, database: Database, ledger: Ledger) -> None:
        self._database = database
        self._ledger = ledger
        self._beside = Beside()
        self._copies = trio.CapacityLimiter(1)
        self._renamed: Identity | None = None
        self._hints: bytes | None = None
        self._bytes_on_disk = database.bytes_on_disk
        self._mark: Mark | None = None
        """One that is to be in force with a transaction that was not written yet."""

    @property
    def has_more(self) -> bool:
        return self._renamed is not None or self._hints is not None or self._ledger.has_more

    @property
    def is_replacing(self) -> bool:
        return self._ledger.is_replacing

    @property
    def asked_since(self) -> float | None:
        return self._beside.busy_since

    def answers_within(self, seconds: float) -> bool:
        return self._beside.is_done_within(seconds)

    def replace(self) -> None:
        self._ledger.replace()

    def rename(self, identity: Identity) -> None:
        self._renamed = identity

    def remember(self, hints: bytes) -> None:
        self._hints = hints

    async def save(self, batches: Sequence[Persist]) -> None:
        transaction = replace(self._ledger.transaction(batches), identity=self._renamed, hints=self._hints)
        rows = await _encoded(transaction)
        try:
            await self._beside.run(partial(self._write, transaction, rows))
        except StorageError:
            self._ledger.failed()
            raise
        self._ledger.done(transaction, rows)
        if self._renamed is transaction.identity:
            self._renamed = None
        if self._hints is transaction.hints:
            self._hints = None

    def _write(self, transaction: Transaction, rows: Rows) -> None:
        mark = None if transaction.identity is None else self._fresh_mark()
        self._database.write(transaction, rows, self._ledger.next_row, None if mark is None else asdict(mark))
        if mark is not None:
            self._is_in_force(mark)
        with suppress(OSError):  # it was taken away just now: the next write finds that
            self._bytes_on_disk = self._database.bytes_on_disk

    def _fresh_mark(self) -> Mark:
        """The one that was made for a transaction that failed, or was said to, or a new one."""
        if self._mark is None:
            with failures(f"the mark beside {self._database.path} cannot be written"):
                self._mark = make_mark(self._database.path)
        return self._mark

    def _is_in_force(self, mark: Mark) -> None:
        self._mark = None
        remove_other_marks(self._database.path, mark)

    @property
    def bytes_on_disk(self) -> int:
        """What the data takes since it was written to last. The disk is not asked for it: it may not answer."""
        return self._bytes_on_disk

    @property
    def is_busy(self) -> bool:
        """True if the worker thread is at work. Once the node has ended, that thread was given up."""
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
        try:
            if fingerprint is not None and self._database.is_in_place():  # else it is another file that would be marked
                mark = self._fresh_mark()
                self._database.end([self._ledger.next_row - 1, fingerprint], asdict(mark))
                self._is_in_force(mark)
        finally:
            self._database.close()


async def _encoded(transaction: Transaction) -> Rows:
    """The rows, made in the event loop's own thread: beside it, Python would only take turns, in pieces of 5 ms."""
    encoding = Encoding(transaction)
    for _ in encoding.steps():
        await trio.lowlevel.checkpoint()
    return encoding.rows
