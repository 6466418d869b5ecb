"""Work beside the event loop, one piece at a time: what is short is waited for, what is long is awaited."""

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from threading import Lock
from typing import Final, Generic, TypeVar

import trio
from trio.lowlevel import start_thread_soon

PATIENCE: Final = 0.0005
"""Seconds for which the event loop stands still for a piece of work that may be done by then.

A thread beside a loop that never rests waits for Python's lock again and again, up to a tenth of a second each time:
a loop asks its system for news often, and takes the lock back before another thread has woken up. Standing still gives
the lock away for certain, and a quick disk has done its work by the end of it. Behind a slow one the rest is awaited.
"""
GIVE_WAY_EVERY: Final = 0.005
"""Seconds after which it does so again, while the work is not done."""

T = TypeVar("T")


class Beside:
    """Runs pieces of work in a thread, one after the other."""

    def __init__(self) -> None:
        self._turn = trio.Lock()

    async def run(self, work: Callable[[], T]) -> T:
        """Do it and return what it returns, or raise what it raises. It cannot be cancelled once it has begun."""
        async with self._turn:
            return await _Piece(work).done()


class _Piece(Generic[T]):
    """One piece of work, under way."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._over = Lock()
        self._over.acquire()
        self._told = trio.Event()
        self._loop = trio.lowlevel.current_trio_token()
        self._result: Future[T] = Future()
        self._is_awaited = False
        start_thread_soon(self._run, lambda _: None, "gossip disk")

    def _run(self) -> None:
        """In the thread. At its end it sees that it is awaited, or whoever is about to await it sees the result."""
        try:
            self._result.set_result(self._work())
        except BaseException as error:  # of the one who waits
            self._result.set_exception(error)
        self._over.release()
        if self._is_awaited:
            with suppress(trio.RunFinishedError):
                self._loop.run_sync_soon(self._told.set)

    async def done(self) -> T:
        if not self._over.acquire(timeout=PATIENCE):
            self._is_awaited = True
            while not self._result.done():
                with trio.move_on_after(GIVE_WAY_EVERY, shield=True):
                    await self._told.wait()
                if not self._result.done() and self._over.acquire(timeout=PATIENCE):
                    break
        return self._result.result()
