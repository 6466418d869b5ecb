"""Where a node's data may be kept beyond its process, and the queue in front of it."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import trio
from trio.lowlevel import enable_ki_protection

from .log import DISK_FAILED, DISK_RECOVERED
from .protocol import Identity, Persist
from .storage.backlog import UNSAVED_BATCHES, Backlog
from .storage.errors import DiskFailed, StorageError


class Disk(Protocol):
    """Makes data durable. Nothing that tells of a batch leaves the node before it is saved."""

    @property
    def has_more(self) -> bool:
        """Whether there is something to do besides new batches: `save` is then called with none."""

    def replace(self) -> None:
        """Batches have been given up: from now on write the replica anew, as it is. Until that is done, what was there
        before must stay."""

    def rename(self, identity: Identity) -> None:
        """The node is this one from now on: to be saved before, or with, the batches that come next."""

    @property
    def is_replacing(self) -> bool:
        """Whether that is under way: nothing counts as saved until it is over."""

    async def save(self, batches: Sequence[Persist]) -> None:
        """Make these durable, all that has come since the last call, in order; return once they are.

        The replica holds just these and those before them when it is called, until it first waits. There is one call at
        a time. It may be cancelled when the node ends; what it then leaves behind must be a part from the beginning.
        Raises `StorageError` if it cannot: it is called again later, with the same batches and more.
        """

    async def close(self, fingerprint: int | None) -> None:
        """Everything is saved that will be; ``fingerprint`` is what the replica has at its end, None if not all of that
        is saved."""


class Saver:
    """Hands batches to a disk from one task: those that come while it saves are saved together next."""

    def __init__(self, disk: Disk, settle: Callable[[], None], saved: Callable[[int], None], log: Any) -> None:
        """``settle`` puts all that the replica has been told so far; ``saved`` is called with the token up to which
        everything is durable."""
        self._disk = disk
        self._settle = settle
        self._saved = saved
        self._log = log
        self._backlog = Backlog(disk, most=UNSAVED_BATCHES)
        self._arrived = trio.Event()
        self._room = trio.Event()
        self._next = trio.Event()
        self._ended = False

    @property
    def failure(self) -> StorageError | None:
        """Why nothing is saved at present; None while all is well."""
        return self._backlog.failure

    @property
    def unsaved(self) -> int:
        """Batches that are not durable yet."""
        return self._backlog.unsaved

    def check(self) -> None:
        """Raises `DiskFailed` while nothing can be saved."""
        self._backlog.check()

    def put(self, batch: Persist) -> None:
        """Take a batch, to be saved after the earlier ones. Never blocks."""
        self._backlog.put(batch)
        self._arrived.set()

    async def flush(self) -> None:
        """Wait until all that the replica holds now is saved; raises `DiskFailed` if that cannot be at present.

        Costs the writer next to nothing: however many wait, one save begins for all of them. Returns at once when
        `run` has ended, as nothing is saved any more.
        """
        while True:
            self._arrived.set()
            await self._next.wait()
            if self.failure is not None:
                raise DiskFailed(f"not saved yet, and kept in memory until it can be: {self.failure}")
            if self._ended or not self._disk.is_replacing:
                return

    def rename(self, identity: Identity) -> None:
        """The node is this one from now on."""
        self._disk.rename(identity)
        self._arrived.set()

    async def room(self) -> None:
        """Wait while too much is unsaved to take in more from others; at once, without a checkpoint, if it is not."""
        while self._backlog.is_long:
            await self._room.wait()

    @enable_ki_protection
    async def run(self) -> None:
        """Save until cancelled."""
        try:
            while True:
                if not self._disk.has_more:
                    await self._arrived.wait()
                await self._save_once()
                if self.failure is not None:
                    await trio.sleep(self._backlog.pause())
        finally:
            self._ended = True
            self._next.set()

    async def _save_once(self) -> None:
        self._settle()
        self._arrived = trio.Event()  # behind it: what it puts is saved now
        waited_for, self._next = self._next, trio.Event()
        try:
            await self._save_batches()
        finally:
            waited_for.set()

    async def _save_batches(self) -> None:
        batches, token = self._backlog.take()
        self._room.set()
        self._room = trio.Event()
        if not batches and not self._disk.has_more:
            return  # whoever has flushed had nothing to flush
        try:
            await self._disk.save(batches)
        except StorageError as error:
            self._fail(batches, error)
            return
        if self._backlog.saved():
            self._log.info(DISK_RECOVERED)
        if not self._disk.is_replacing:
            self._saved(token)

    def _fail(self, batches: list[Persist], error: StorageError) -> None:
        if self.failure is None or str(error) != str(self.failure):
            self._log.error(DISK_FAILED, problem=str(error))
        self._backlog.failed(batches, error)
        self._arrived.set()
