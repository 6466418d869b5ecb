"""A transaction takes in the writes of the code in its block, and no others.

A block is *running* while the code that began the block is on the call stack: that code itself, or a function that it
has called. A task or generator that waits or yields in its block is not on the stack of the code that runs meanwhile;
nor is another thread. So one look at the stack tells the block's own operations from those of others, for plain code,
generators, trio and asyncio alike.

* An operation from elsewhere (a write, another block, a merge, a call that hands out data) first undoes the blocks that
  are open and not running. Then the operation stands alone, as if those blocks had never been begun.
* The code of an undone block is refused further writes and blocks, and the end of the block raises `InTransaction`. So
  the code that waited inside learns of it, and no other code is harmed.
* A block that is begun while another one is running is part of the outer block. If the outer one goes on while the
  inner one is still open (a generator has yielded in it), the inner one is undone alone. If the inner one goes on while
  the outer one waits, both are undone.

A read from elsewhere undoes nothing; it shows what the open block has written so far.

Designs that were weighed and dropped:

* A context variable, or the current task, as the owner: it does not tell a generator that has yielded inside its block
  from the code that called it, a child task inherits it, and tasks are only known with an event loop at hand.
* Refusing operations from elsewhere: the waiting block would harm code that did nothing wrong.
* Keeping the writes of each block apart until its end, as databases do: every type would have to read the replica and
  the block's own writes as one, and of two blocks that overlap one would still have to fail.
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
        """The code that began the block; None while the block is not open."""
        self.events = self.undo = self.bytes = 0
        """The events, undo steps and bytes that the open blocks had made when this block was begun."""
        self.undone = False
        """True if something else used the replica while the block waited."""


def beginner(frame: FrameType) -> FrameType:
    """The code with the `with` statement, found from ``frame`` by passing over context managers around a block."""
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
        """The blocks that were not undone, outermost first: each was begun while the one before was running."""
        self.begun: list[ref[Block]] = []
        """All blocks that have not ended, undone ones too. Nearly always empty: callers look before they `settle`."""
        self.pending: list[Event] | None = None
        """What the open blocks have written; None if no block is open."""
        self.stamp: int | None = None
        """The stamp of all last-writer-wins writes of the open blocks; None before the first such write."""
        self._bytes = 0
        self.checks: list[Callable[[], None]] = []
        """Called before a block is begun, and before blocks of others are undone; an exception prevents that."""

    # ---- a block

    def begin(self, block: Block, frame: FrameType) -> None:
        """Open a block for the code ``frame``; raises `InTransaction` inside a block that was undone."""
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
        """Close a block. Returns what all blocks have written if this was the outermost, and None otherwise.

        ``failed`` means that the block ends by an exception: then its writes are undone. Otherwise raises
        `InTransaction` if the block was undone.
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
        """Undo the blocks that are open and not running. Call it before reading in order to write.

        Raises `InTransaction` if the caller is in a block that was undone.
        """
        if self._all_running():
            return
        running = self._running()
        if running and running[0].undone:
            raise InTransaction(_UNDONE)
        self._undo_others(running)
        if running and running[0].undone:  # because a block around it was
            raise InTransaction(_UNDONE)

    def _all_running(self) -> bool:
        """True if the caller is inside all blocks that have not ended, innermost on top of the stack.

        This is the usual case, found without a look at the whole stack.
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
        """Undo the blocks that are open and not running; raises `InTransaction` if the caller is in an open one."""
        self._undo_others(self._running())
        if self._open:
            raise InTransaction(f"{what} while a transaction is open; end it first")

    def abort(self) -> None:
        """Undo all blocks, even those that are running."""
        if self._open:
            self._undo(0)

    def _undo_others(self, running: list[Block]) -> None:
        """Undo the open blocks that are not in ``running``, and the blocks inside them."""
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
    """How deep in the stack the code is that began a block with ``frame``; None if the block is not running.

    A function that has returned and left its block open has begun the block for its caller.
    """
    while frame is not None and frame not in depths and not frame.f_code.co_flags & _SUSPENDABLE:
        frame = frame.f_back
    return depths.get(frame) if frame is not None else None
