"""Whose writes a transaction takes in: those of the code in its block, and of nobody else.

A block is *running* while the code that began it is on the call stack: that code itself, and the functions that it
calls. A task or generator that waits or yields in its block is not on the stack of those that run meanwhile, and
neither is another thread. So one look at the stack tells the block's own operations from those of others, for plain
code, generators, trio and asyncio alike.

* An operation from elsewhere (a write, another block, a merge, whatever hands out data) first undoes the blocks that
  are open and not running, and then stands alone, as if they had never been begun. It never becomes part of them.
* Code of a block that was undone is refused further writes and blocks, and the end of the block raises
  `InTransaction`: whoever waited inside is told, and nobody else is harmed.
* A block that is begun while another one is running is part of it. If it is left open where the outer one goes on (a
  generator has yielded in it), it is undone alone. If it goes on while the outer one waits, both are undone.

Reads from elsewhere undo nothing: until then they show what the open block has written so far.

Designs that were weighed and dropped:

* A context variable, or the current task, as the owner: it does not tell a generator that has yielded inside its block
  from the code that called it, a child task inherits it, and tasks are only known with an event loop at hand.
* Refusing operations from elsewhere: the waiting block would harm those who did nothing wrong.
* Keeping the writes of each block apart until its end, as databases do: a block would have to read what the replica
  holds and what itself has written as one, for every type; and two that overlap would still have to be told which of
  them has failed.
"""

import contextlib
import sys
from collections.abc import Callable
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_GENERATOR, CO_ITERABLE_COROUTINE
from operator import itemgetter
from types import FrameType
from typing import Final
from weakref import ref

from .delta import Event
from .errors import InTransaction, InvalidValue
from .kernel import Kernel
from .limits import MAX_BATCH_BYTES, MAX_BATCH_EVENTS

_GENERATORS: Final = CO_GENERATOR | CO_ASYNC_GENERATOR
_SUSPENDABLE: Final = _GENERATORS | CO_COROUTINE | CO_ITERABLE_COROUTINE
_BEGINNERS: Final = ("__enter__", "__aenter__")
_UNDONE: Final = (
    "the transaction was undone, as something else used the replica while its block waited or yielded: a block must "
    "not wait for anything, or yield, while it is open"
)


class Block:
    """One block of a transaction, from its beginning to its end."""

    __slots__ = ("__weakref__", "bytes", "events", "frame", "undo", "undone")

    def __init__(self) -> None:
        self.frame: FrameType | None = None
        """The code that began it; None while it is not open."""
        self.events = self.undo = self.bytes = 0
        """How much there was of each when it was begun."""
        self.undone = False


def beginner(frame: FrameType) -> FrameType:
    """The code with the `with` statement: behind context managers that begin a block for whoever uses them."""
    back = frame.f_back
    while back is not None:
        helps = frame.f_code.co_name in _BEGINNERS or frame.f_globals is contextlib.__dict__
        if not helps and not (frame.f_code.co_flags & _GENERATORS and back.f_globals is contextlib.__dict__):
            return frame
        frame, back = back, back.f_back
    return frame


class Blocks:
    """The blocks of one store that have been begun and have not ended, and what they have written."""

    __slots__ = ("_bytes", "_kernel", "_open", "begun", "checks", "pending", "stamp")

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._open: list[Block] = []
        """Those that were not undone, outermost first: each was begun while the one before was running."""
        self.begun: list[ref[Block]] = []
        """All that have not ended, those that were undone too. Empty most of the time: look before you `settle`."""
        self.pending: list[Event] | None = None
        """What the open blocks have written; None if there are none."""
        self.stamp: int | None = None
        """The stamp of their last-writer-wins writes, once there is one."""
        self._bytes = 0
        self.checks: list[Callable[[], None]] = []
        """Called before a block is begun, or undone for the sake of the caller: an exception refuses it."""

    # ---- a block

    def begin(self, block: Block, frame: FrameType) -> None:
        """Open a block for the code ``frame``; raises `InTransaction` within one that was undone."""
        if block.frame is not None:
            raise InTransaction("this block is open already; begin another one with transaction()")
        for check in self.checks:
            check()
        if self.begun:
            self.settle()
        kernel = self._kernel
        if self.pending is None:
            self.pending, kernel.undo = [], []
            kernel.log.held = True
            self._bytes, self.stamp = 0, None
        block.frame, block.undone = frame, False
        block.events, block.undo, block.bytes = len(self.pending), len(kernel.undo or ()), self._bytes
        self._open.append(block)
        self.begun.append(ref(block, self.begun.remove))

    def end(self, block: Block, *, failed: bool) -> list[Event] | None:
        """Close a block: if it is the outermost, returns what it and those inside have written, for good.

        Raises `InTransaction` if it was undone, unless an exception is on its way already.
        """
        # The collector may have taken the reference before the generator that is being closed here.
        self.begun[:] = [begun for begun in self.begun if begun() not in (None, block)]
        if not failed and self._open and block is not self._open[0] and not block.undone:
            self._undo_others([*self._running(), *self._open[self._open.index(block) :]])
        block.frame = None
        if block.undone:
            if not failed:
                raise InTransaction(_UNDONE)
            return None
        at = self._open.index(block)
        if failed:
            self._undo(at)
            return None
        if at + 1 < len(self._open):
            self._undo(at + 1)
        self._open.pop()
        if self._open:
            return None
        written, self.pending, self._kernel.undo = self.pending, None, None
        return written

    def make_room(self, size: int, events: int) -> None:
        """Count one more mutation of the open blocks; raises `InvalidValue` if it does not fit."""
        if self._bytes + size > MAX_BATCH_BYTES or len(self.pending or ()) + events > MAX_BATCH_EVENTS:
            raise InvalidValue(
                f"a transaction holds {MAX_BATCH_EVENTS:,} changes and {MAX_BATCH_BYTES:,} bytes; make several, "
                "or take away a large object in parts"
            )
        self._bytes += size

    # ---- others

    def settle(self) -> None:
        """Undo the blocks that are open and not running: before anything is read in order to write.

        Raises `InTransaction` if the caller is in a block that was undone.
        """
        if self._all_running():
            return
        running = self._running()
        if running and running[0].undone:
            raise InTransaction(_UNDONE)
        self._undo_others(running)
        if running and running[0].undone:  # with one that it had been begun in
            raise InTransaction(_UNDONE)

    def _all_running(self) -> bool:
        """True if the caller is in all blocks, each begun by the code of the one before or by what that code calls.

        The usual case, told without a look at the whole stack.
        """
        left = len(self._open)
        if left != len(self.begun):
            return False
        frame: FrameType | None = sys._getframe(3)
        while frame is not None:
            while frame is self._open[left - 1].frame:
                left -= 1
                if not left:
                    return True
            frame = frame.f_back
        return False

    def check_settled(self, what: str) -> None:
        """Undo the blocks that are open and not running; raises `InTransaction` if one is left: the caller's."""
        self._undo_others(self._running())
        if self._open:
            raise InTransaction(f"{what} while a transaction is open; end it first")

    def abort(self) -> None:
        """Undo all blocks, even those that are running."""
        if self._open:
            self._undo(0)

    def _undo_others(self, running: list[Block]) -> None:
        """Undo the open blocks that are not among these, and what was begun inside them."""
        first = next((at for at, block in enumerate(self._open) if block not in running), None)
        if first is not None:
            for check in self.checks:
                check()
            self._undo(first)

    def _undo(self, first: int) -> None:
        """Undo the open blocks from ``first`` on, as if they had never been begun."""
        block, pending = self._open[first], self.pending
        self._kernel.rollback(block.undo)
        if pending is not None:
            del pending[block.events :]
        self._bytes = block.bytes
        for each in self._open[first:]:
            each.undone = True
        del self._open[first:]
        if not self._open:
            self.pending = self._kernel.undo = None
            self._kernel.log.release()

    def _running(self) -> list[Block]:
        """The blocks that the caller is in, undone or not, innermost first."""
        depths: dict[FrameType, int] = {}
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            depths[frame] = len(depths)
            frame = frame.f_back
        blocks = [block for begun in reversed(self.begun) if (block := begun()) is not None]
        running = [(depth, block) for block in blocks if (depth := _depth(block.frame, depths)) is not None]
        return [block for _, block in sorted(running, key=itemgetter(0))]


def _depth(frame: FrameType | None, depths: dict[FrameType, int]) -> int | None:
    """How deep in the stack the code is that began a block; None if it is not running.

    A function that has returned, and has left the block open, has begun it for the one that called it.
    """
    while frame is not None and frame not in depths and not frame.f_code.co_flags & _SUSPENDABLE:
        frame = frame.f_back
    return depths.get(frame) if frame is not None else None
