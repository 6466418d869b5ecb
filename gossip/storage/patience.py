"""Work in a thread that may never come back, because a disk does not answer."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import Final, TypeVar

import trio

DISK_GRACE: Final = 10.0
"""Seconds that a node waits at its end for a disk that does not answer."""
NO_ANSWER: Final = "the disk does not answer; look at its mount and at the system's log"

_T = TypeVar("_T")


async def run_patiently(work: Callable[[], _T], limiter: trio.CapacityLimiter) -> _T:
    """Run ``work``, which may take long, in a thread, one at a time under ``limiter``.

    If that is cancelled the work is waited for nevertheless, for `DISK_GRACE` seconds more, and its result counts as if
    nobody had cancelled. Then it is left alone and `trio.Cancelled` raised: the thread goes on for as long as it takes,
    does not keep the process from ending, and ``limiter`` stays taken until it ends.
    """
    done: Future[_T] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:  # of the one who waits, if it still does
            done.set_exception(error)

    try:
        await trio.to_thread.run_sync(run, limiter=limiter, abandon_on_cancel=True)
    except trio.Cancelled:
        with trio.move_on_after(DISK_GRACE, shield=True):
            async with limiter:  # free once the thread has ended
                pass
        if not done.done():
            raise
    return done.result()
