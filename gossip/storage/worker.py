"""Writes beside the event loop, one at a time: what is short is waited for, what is long is awaited."""

from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import suppress
from threading import Lock
from typing import Final

import trio
from trio.lowlevel import start_thread_soon

from .errors import DiskFailed
from .patience import DISK_GRACE, NO_ANSWER, settle

PATIENCE: Final = 0.0005
"""Seconds for which the event loop stands still for a piece of work that may be done by then.

A thread beside a loop that never rests waits for Python's lock again and again, up to a tenth of a second each time:
a loop asks its system for news often, and takes the lock back before another thread has woken up. Standing still gives
the lock away for certain, and a quick disk has done its work by the end of it. Behind a slow one the rest is awaited.
"""
GIVE_WAY_FIRST: Final = 0.005
GIVE_WAY_MOST: Final = 0.1
"""Seconds after which it does so again while the work is not done: the first time, and at most."""


class Beside:
    """Runs pieces of work in a thread, one after the other."""

    def __init__(self) -> None:
        self._piece: _Piece | None = None

    @property
    def is_busy(self) -> bool:
        """True if a piece of work is not done yet."""
        return self._piece is not None and not self._piece.is_done

    @property
    def busy_since(self) -> float | None:
        """When the piece of work was begun that is not done yet, in Trio's time; None if there is none.

        A piece counts as done as soon as the thread has done it, even if the event loop has not heard of that yet.
        """
        return None if self._piece is None or self._piece.is_done else self._piece.begun

    def is_done_within(self, seconds: float) -> bool:
        """True if no work is left after so many seconds at most, for which the event loop stands still.

        The thread has Python's lock for itself meanwhile.
        """
        return self._piece is None or self._piece.is_done_within(seconds)

    async def run(self, work: Callable[[], object]) -> None:
        """Do it; raises what it raises, and `DiskFailed` while an earlier one is not done.

        If that is cancelled the work is waited for nevertheless, until `DISK_GRACE` seconds have passed since it began,
        and is done as if nobody had cancelled. Then it is left alone and `trio.Cancelled` raised: the thread goes on
        for as long as it takes, and does not keep the process from ending.
        """
        if self.is_busy:
            raise DiskFailed(NO_ANSWER)
        self._piece = piece = _Piece(work)
        await piece.done()


class _Piece:
    """One piece of work, under way."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work
        self._over = Lock()
        self._over.acquire()
        self._told = trio.Event()
        self._loop = trio.lowlevel.current_trio_token()
        self._result: Future[object] = Future()
        self._is_awaited = False
        self.begun = trio.current_time()
        start_thread_soon(self._run, lambda _: None, "gossip disk")

    @property
    def is_done(self) -> bool:
        return self._result.done()

    def is_done_within(self, seconds: float) -> bool:
        """True if the work is done after so many seconds at most, for which the event loop stands still."""
        return bool(wait([self._result], timeout=seconds).done)

    def _run(self) -> None:
        """In the thread. At its end it sees that it is awaited, or whoever is about to await it sees the result."""
        settle(self._result, self._work)
        self._over.release()
        if self._is_awaited:
            with suppress(trio.RunFinishedError):
                self._loop.run_sync_soon(self._told.set)

    async def done(self) -> None:
        if self._over.acquire(timeout=PATIENCE):
            await trio.lowlevel.cancel_shielded_checkpoint()  # or one write after the other would stop all other tasks
        else:
            self._is_awaited = True
            await self._wait()
        self._result.result()

    async def _wait(self) -> None:
        until = trio.current_time() + DISK_GRACE
        pause = GIVE_WAY_FIRST
        while not self.is_done:
            try:
                with trio.move_on_after(pause):
                    await self._told.wait()
            except trio.Cancelled:
                with trio.CancelScope(deadline=until, shield=True):
                    await self._told.wait()
                if not self.is_done:
                    raise
            if not self.is_done and self._over.acquire(timeout=PATIENCE):
                return
            pause = min(2 * pause, GIVE_WAY_MOST)
