"""Where a node's data may be kept beyond its process, and the queue in front of it."""

from collections.abc import Callable, Sequence
from math import inf
from typing import Any, Protocol

import trio
from trio.lowlevel import enable_ki_protection

from ..log import DISK_FAILED, DISK_RECOVERED, DISK_SLOW
from ..protocol import Identity, Persist
from . import patience
from .backlog import UNSAVED_BATCHES, Backlog
from .errors import DiskFailed, StorageError


class Disk(Protocol):
    """Makes data durable. Nothing that tells of a batch leaves the node before it is saved."""

    @property
    def has_more(self) -> bool:
        """True if there is something to do besides new batches: `save` is then called with none."""

    def replace(self) -> None:
        """Batches have been given up: from now on write the replica anew, as it is. Until that is done, what was there
        before must stay."""

    def rename(self, identity: Identity) -> None:
        """The node is this one from now on: to be saved before, or with, the batches that come next."""

    def remember(self, hints: bytes) -> None:
        """Keep ``hints`` for the next start, in place of the former ones. They are saved with the next transaction."""

    @property
    def is_replacing(self) -> bool:
        """True while the replica is being written anew: nothing counts as saved until that is over."""

    @property
    def asked_since(self) -> float | None:
        """When the disk was given what it has not done yet, in Trio's time; None if it has done everything.

        What `save` does before that, such as encoding, takes as long as the event loop lets it, and says nothing of the
        disk. Nor does the time until the event loop hears of an answer.
        """

    def answers_within(self, seconds: float) -> bool:
        """True if the disk has done everything after so many seconds at most, for which the event loop stands still."""

    async def save(self, batches: Sequence[Persist]) -> None:
        """Make these durable, all that has come since the last call, in order; return once they are.

        The replica holds just these and those before them when it is called, until it first waits. There is one call at
        a time. It may be cancelled when the node ends; what it then leaves behind must be a part from the beginning.
        Raises `StorageError` if it cannot: it is called again later, with the same batches and more.
        """

    async def close(self, fingerprint: int | None) -> None:
        """Everything is saved that will be; ``fingerprint`` is what the replica has at its end, None if not all of that
        is saved."""


class _Turn:
    """What those wait for who have flushed: the save behind that."""

    def __init__(self) -> None:
        self.over = trio.Event()
        self.is_given_up = False
        """True if the node ended before the disk answered."""
        self.is_saved = False
        """True if that save has made everything durable."""
        self.failure: StorageError | None = None
        """Why it has not, if it failed."""


class Saver:
    """Hands batches to a disk from one task. Batches that come while the disk saves are saved together next.

    A disk that takes very long counts as failing until it answers. An event loop that takes very long does not.
    """

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
        self._next = _Turn()
        self._present = _Turn()
        self._asked: float | None = None
        """When the disk that counts as silent was asked; None while it does not."""
        self._patient = 0.0
        """Seconds that the disk may take for what it is saving."""
        self._next_look = inf
        self._looks = 0
        self._is_silent = False
        self._look_again = trio.CancelScope()
        self._ended: float | None = None

    @property
    def failure(self) -> StorageError | None:
        """Why nothing is saved at present; None while all is well."""
        if self._is_silent:
            return DiskFailed(patience.no_answer_for(self._waited))
        return self._backlog.failure

    @property
    def _waited(self) -> float:
        """Seconds for which the disk has not answered, or had not when `run` ended."""
        now = trio.current_time() if self._ended is None else self._ended
        return 0.0 if self._asked is None else now - self._asked

    @property
    def unsaved(self) -> int:
        """Batches that are not durable yet."""
        return self._backlog.unsaved

    def check(self) -> None:
        """Raises `DiskFailed` while nothing can be saved."""
        if self._is_silent:
            raise DiskFailed(f"nothing was written: {self.failure}")
        self._backlog.check()

    def put(self, batch: Persist) -> None:
        """Take a batch, to be saved after the earlier ones. Never blocks."""
        self._backlog.put(batch)
        self._arrived.set()

    async def flush(self, *, patiently: bool = False) -> None:
        """Wait until all that the replica holds now is saved; raises `DiskFailed` if that cannot be at present.

        Costs the writer next to nothing: however many wait, one save begins for all of them. Returns at once when
        `run` has ended, as nothing is saved any more. ``patiently``: wait for a disk that does not answer, too.
        """
        while True:
            self._arrived.set()
            turn = self._next
            if not self._is_silent or patiently:
                await turn.over.wait()
            if turn.is_saved:
                return  # whatever has become of the disk since
            if turn.is_given_up and patiently:
                continue
            is_silent = turn.is_given_up or (self._is_silent and not patiently)
            if is_silent or turn.failure is not None:
                await trio.lowlevel.checkpoint()
                why = turn.failure or self.failure or patience.NO_ANSWER
                raise DiskFailed(f"not saved yet, and kept in memory until it can be: {why}")
            if self._ended is not None:
                return

    def rename(self, identity: Identity) -> None:
        """The node is this one from now on."""
        self._disk.rename(identity)
        self._arrived.set()

    def remember(self, hints: bytes) -> None:
        """Keep ``hints`` for the next start, in place of the former ones."""
        self._disk.remember(hints)
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
            self._ended = trio.current_time()
            self._next.failure = self.failure
            self._next.over.set()

    async def _save_once(self) -> None:
        self._settle()
        self._arrived = trio.Event()  # behind it: what it puts is saved now
        self._present, self._next = self._next, _Turn()
        try:
            await self._save_batches()
            self._present.is_saved = self.failure is None and not self._disk.is_replacing
        finally:
            self._present.failure = self.failure
            self._present.over.set()

    async def _save_batches(self) -> None:
        batches, token = self._backlog.take()
        self._make_room()
        if not batches and not self._disk.has_more:
            return  # whoever has flushed had nothing to flush
        try:
            self._note_asked(batches)
            await self._disk.save(batches)
            self._note_answered()
        except StorageError as error:
            self._note_answered()
            self._fail(batches, error)
            return
        if self._backlog.saved():
            self._log.info(DISK_RECOVERED)
        if not self._disk.is_replacing:
            self._saved(token)

    def _make_room(self) -> None:
        self._room.set()
        self._room = trio.Event()

    def _note_asked(self, batches: list[Persist]) -> None:
        self._looks = 0
        self._patient = patience.DISK_SLOW + patience.DISK_SLOW_EVENT * _events_of(batches)
        self._next_look = self._first_look(trio.current_time())
        if self._look_again.deadline == inf:  # else `watch` will see by itself: most saves need not set an alarm
            self._look_again.deadline = self._next_look

    def _first_look(self, asked: float) -> float:
        return asked + self._patient - patience.DISK_SLOW * patience.SECOND_LOOK

    def _note_answered(self) -> None:
        self._asked, self._next_look, self._is_silent = None, inf, False

    @enable_ki_protection
    async def watch(self) -> None:
        """Look whether the disk answers, until cancelled.

        The disk counts as silent if it has not answered by the second look, or by a later one if that look came late,
        and does not answer while the event loop stands still: a busy event loop may keep the thread from its work.
        """
        while True:
            with trio.CancelScope(deadline=self._next_look) as self._look_again:
                await trio.sleep_forever()
            now = trio.current_time()
            if now < self._next_look:
                continue
            asked = self._disk.asked_since
            if asked is None or now < self._first_look(asked):  # the time went by before the disk was asked
                self._looks, self._next_look = 0, self._first_look(now if asked is None else asked)
                continue
            self._looks += 1
            is_late = now > self._next_look + patience.LOOK_LATE and self._looks < patience.LOOKS_MOST
            if self._looks > 1 and not is_late and not self._disk.answers_within(patience.LAST_LOOK):
                self._next_look = inf
                self._note_silence(asked)
            else:
                self._next_look = now + patience.DISK_SLOW * patience.SECOND_LOOK

    def _note_silence(self, asked: float) -> None:
        self._asked = asked
        self._log.error(DISK_SLOW, seconds=round(self._waited, 1), unsaved=self.unsaved)
        self._is_silent = True
        self._backlog.failure = DiskFailed(patience.NO_ANSWER)
        self._make_room()
        given_up, self._present, self._next = (self._present, self._next), _Turn(), _Turn()
        for turn in given_up:
            turn.is_given_up = True
            turn.over.set()

    def _fail(self, batches: list[Persist], error: StorageError) -> None:
        if self.failure is None:
            self._log.error(DISK_FAILED, problem=str(error))
        self._backlog.failed(batches, error)
        self._arrived.set()


def _events_of(batches: Sequence[Persist]) -> int:
    return sum(len(batch.events) for batch in batches)
