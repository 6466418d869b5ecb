"""Work in a thread that may never come back, because a disk does not answer."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import Final, TypeVar

import trio

DISK_GRACE: Final = 10.0
"""Seconds that a node waits at its end for a disk that does not answer."""
DISK_SLOW: Final = 5.0
"""Seconds after which a disk that has not saved what it was given counts as silent, however little it was given."""
DISK_SLOW_EVENT: Final = 0.0001
"""Seconds added to `DISK_SLOW` for each event that the disk was given: very many take long on any disk."""
SECOND_LOOK: Final = 0.2
"""The share of `DISK_SLOW` between two looks whether the disk has answered. The event loop must run in between, as a
loop that stands still does not hear an answer that is there."""
LOOK_LATE: Final = 0.2
"""A look that comes more than this many seconds late does not count: the loop did not get to run. It is repeated."""
LOOKS_MOST: Final = 6
"""Looks until one counts even if it comes late."""
LAST_LOOK: Final = 0.1
"""Seconds for which the event loop stands still before a disk counts as silent. The thread that writes may have lacked
nothing but Python's lock, which it has for itself then."""
_NO_ANSWER: Final = "the disk does not answer{since}; look at its mount and at the system's log"
NO_ANSWER: Final = _NO_ANSWER.format(since="")

_T = TypeVar("_T")


def no_answer_for(seconds: float) -> str:
    """`NO_ANSWER`, with how long that has been so."""
    return _NO_ANSWER.format(since=f" since {seconds:.0f} s")


def settle(result: Future[_T], work: Callable[[], _T]) -> None:
    """Do it, in whatever thread, and let what it returns or raises arrive at whoever waits for it, if anybody does."""
    try:
        result.set_result(work())
    except BaseException as error:
        result.set_exception(error)


async def run_patiently(work: Callable[[], _T], limiter: trio.CapacityLimiter) -> _T:
    """Run ``work``, which may take long, in a thread, one at a time under ``limiter``.

    If that is cancelled the work is waited for nevertheless, for `DISK_GRACE` seconds more, and its result counts as if
    nobody had cancelled. Then it is left alone and `trio.Cancelled` raised: the thread goes on for as long as it takes,
    does not keep the process from ending, and ``limiter`` stays taken until it ends.
    """
    done: Future[_T] = Future()
    try:
        await trio.to_thread.run_sync(settle, done, work, limiter=limiter, abandon_on_cancel=True)
    except trio.Cancelled:
        with trio.move_on_after(DISK_GRACE, shield=True):
            async with limiter:  # free once the thread has ended
                pass
        if not done.done():
            raise
    return done.result()
