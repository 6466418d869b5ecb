"""What waits for a disk: batches that a node has handed over, and what becomes of them while the disk fails.

Pure: whoever drives it says when. Virtual time drives it as Trio does.
"""

from typing import Final, Protocol

from ..protocol import Persist
from .errors import DiskFailed, StorageError

UNSAVED_BATCHES: Final = 1024
"""Batches that wait for a slow disk before the node stops taking in what others send. Local writes are not held up, as
they wait for nobody: a program that writes faster than its disk paces itself by `Node.flush`. Behind a disk that fails,
so many are given up."""
RETRY_FIRST: Final = 0.1
RETRY_MOST: Final = 2.0
"""Seconds until a disk that has failed is tried again: the first time, and at most."""


class Replacing(Protocol):
    """Who can write the replica anew."""

    @property
    def is_replacing(self) -> bool:
        """True while the replica is being written anew: nothing counts as saved until that is over."""

    def replace(self) -> None:
        """Batches have been given up: begin it, or begin it again."""


class Backlog:
    """Batches in order, those that are being saved left out, and why nothing is saved."""

    def __init__(self, disk: Replacing, *, most: int = UNSAVED_BATCHES) -> None:
        """``most`` batches wait behind a disk that fails; then they are given up."""
        self._disk = disk
        self._most = most
        self._waiting: list[Persist] = []
        self._being_saved = 0
        self._token = 0
        self._delay = RETRY_FIRST
        self.failure: StorageError | None = None
        """Why nothing is saved at present; None while all is well."""

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def unsaved(self) -> int:
        """Batches that are not durable yet, those that are being saved among them."""
        return len(self._waiting) + self._being_saved

    @property
    def is_long(self) -> bool:
        """True if too much waits for a disk that works, to take in more from others.

        Not behind a disk that has failed: that may be for long, and the node must answer meanwhile.
        """
        return len(self._waiting) >= self._most and self.failure is None

    def check(self) -> None:
        """Raises `DiskFailed` while nothing can be saved."""
        if self.failure is not None:
            raise DiskFailed(f"nothing was written: {self.failure}")

    def put(self, batch: Persist) -> None:
        """Take a batch, to be saved after the earlier ones."""
        self._waiting.append(batch)
        self._token = batch.token
        if self.failure is not None and len(self._waiting) >= self._most:
            self._waiting.clear()  # all of it is in the replica
            self._disk.replace()

    def take(self) -> tuple[list[Persist], int]:
        """All that wait, to be saved now, and the token up to which everything is durable once they are."""
        batches, self._waiting = self._waiting, []
        self._being_saved = len(batches)
        return batches, self._token

    def saved(self) -> bool:
        """What was taken is on the disk. Returns whether the disk had failed before."""
        self._being_saved = 0
        recovered, self.failure, self._delay = self.failure is not None, None, RETRY_FIRST
        return recovered

    def failed(self, batches: list[Persist], error: StorageError) -> None:
        """These are not on the disk."""
        self._being_saved = 0
        if not self._disk.is_replacing:
            self._waiting = [*batches, *self._waiting]
        self.failure = error

    def pause(self) -> float:
        """Seconds until a disk that has failed is to be tried again: longer each time."""
        delay, self._delay = self._delay, min(2 * self._delay, RETRY_MOST)
        return delay
