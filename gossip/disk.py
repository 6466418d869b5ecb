"""Where a node's data may be kept beyond its process, and the queue in front of it."""

from collections.abc import Callable, Sequence
from typing import Final, Protocol

import trio
from trio.lowlevel import enable_ki_protection

from .protocol import Persist

UNSAVED_BATCHES: Final = 1024
"""Batches that wait for a slow disk before the node stops taking in what others send. Local writes are not held up, as
they wait for nobody: a program that writes faster than its disk paces itself by `Node.flush`."""


class Disk(Protocol):
    """Makes data durable. Nothing that tells of a batch leaves the node before it is saved."""

    async def save(self, batches: Sequence[Persist]) -> None:
        """Make these durable, all that has come since the last call, in order; return once they are.

        There is one call at a time. It may be cancelled when the node ends; what it then leaves behind must be a part
        from the beginning. An exception ends the node: what it has not saved, nobody has heard of.
        """


class Saver:
    """Hands batches to a disk from one task: those that come while it saves are saved together next."""

    def __init__(self, disk: Disk, saved: Callable[[int], None]) -> None:
        """``saved`` is called with the token up to which everything is durable."""
        self._disk = disk
        self._saved = saved
        self._waiting: list[Persist] = []
        self._arrived = trio.Event()
        self._room = trio.Event()

    def put(self, batch: Persist) -> None:
        """Take a batch, to be saved after the earlier ones. Never blocks."""
        self._waiting.append(batch)
        self._arrived.set()

    async def room(self) -> None:
        """Wait while too much is unsaved to take in more from others; at once, without a checkpoint, if it is not."""
        while len(self._waiting) >= UNSAVED_BATCHES:
            await self._room.wait()

    @enable_ki_protection
    async def run(self) -> None:
        """Save until cancelled."""
        while True:
            await self._arrived.wait()
            self._arrived = trio.Event()
            batches, self._waiting = self._waiting, []
            self._room.set()
            self._room = trio.Event()
            await self._disk.save(batches)
            self._saved(batches[-1].token)
