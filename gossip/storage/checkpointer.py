"""What to write down of a replica, and when: a log of batches behind a checkpoint, and a sweep that renews it.

Pure bookkeeping: it says what the next transaction is to do, and is told whether it is safe. It asks of a disk that a
transaction is all or nothing, and that they become safe in order. A checkpoint is a sweep of the replica in parts
(`crdts.checkpoint`). Each part goes into one transaction with the batches that were applied before it was made, so the
work is spread, nobody waits for it, and the parts of the former checkpoint go as they are replaced: the file never
holds two states. Were a part written without them, a crash could leave an entry replaced by what was never saved.
"""

from collections.abc import Sequence
from typing import Final

from crdts.embedding import Kernel, Sweep

from ..protocol import Persist
from .rows import Contents, Finish, Part, Rows, Transaction

LOG_MIN_BYTES: Final = 256 * 1024
"""The log is let grow to half of the checkpoint, and to so much at least, before the checkpoint is renewed."""
HURRY: Final = 4
"""How many times as large as usual the parts of a sweep are at most,"""
HURRY_FROM: Final = 512
"""so many events that are written with one make it larger by its usual size: else the log would outgrow the sweep."""


class Ledger:
    """Says what to write. It is told what has become of one transaction before it is asked for the next."""

    def __init__(
        self,
        kernel: Kernel,
        contents: Contents,
        *,
        log_min_bytes: int = LOG_MIN_BYTES,
        part_events: int | None = None,
    ) -> None:
        """``kernel`` holds what ``contents`` do. ``part_events``: entries of one part of a sweep at most, if not as
        usual."""
        self._kernel = kernel
        self._log_min_bytes = log_min_bytes
        self._part_events = part_events
        self._row = contents.last_row
        self._generation = max(contents.checkpoint.generation, contents.last_generation)
        self._log_bytes = sum(map(len, contents.log))
        self._checkpoint_bytes = sum(map(len, contents.parts))
        self._sweep: Sweep | None = None
        self._in_place = True
        self._must_replace = False
        self.is_replacing = False
        """True if the replica is being written anew: until that is done the disk lacks something that was given up,
        and nothing counts as saved."""
        self._log_from = self._log_bytes_before = self._swept_bytes = 0

    @property
    def has_more(self) -> bool:
        """True if there is more to write although nothing new has come."""
        return self._must_replace or self.sweeps or self.wants_sweep

    @property
    def sweeps(self) -> bool:
        """True if the checkpoint is being renewed."""
        return self._sweep is not None

    @property
    def wants_sweep(self) -> bool:
        """True if the log has grown so long that the checkpoint should be renewed."""
        return self._sweep is None and self._log_bytes > max(self._checkpoint_bytes // 2, self._log_min_bytes)

    @property
    def next_row(self) -> int:
        """The number that the next row of the log gets."""
        return self._row + 1

    def replace(self) -> None:
        """Batches have been given up: with the next transaction begin to write the replica anew."""
        self._must_replace = self.is_replacing = True

    def begin_sweep(self, *, in_place: bool = True) -> None:
        """Renew the checkpoint from now on, and from the beginning if that was under way.

        ``in_place`` is False if the log lacks something that the replica has: then all that is there stays to its end.
        """
        self._sweep = Sweep(self._kernel, part_events=self._part_events)
        self._in_place = in_place
        self._generation += 1
        self._log_from, self._log_bytes_before, self._swept_bytes = self._row, self._log_bytes, 0

    def transaction(self, batches: Sequence[Persist]) -> Transaction:
        """What makes these safe, and takes a sweep that is under way one step further.

        The replica must hold just these batches and those before them.
        """
        if self._must_replace:
            self._must_replace = False
            self.begin_sweep(in_place=False)
        elif self.wants_sweep:
            self.begin_sweep()
        if self._sweep is None:
            return Transaction(tuple(batches))
        part = self._sweep.next(min(HURRY, 1 + sum(len(batch.events) for batch in batches) // HURRY_FROM))
        if part is None:
            return Transaction(tuple(batches), finish=Finish(self._generation, self._log_from, self._sweep.head))
        return Transaction(tuple(batches), Part(self._generation, part.last, part.events, self._in_place))

    def done(self, transaction: Transaction, rows: Rows) -> None:
        """It is safe."""
        self._row += bool(rows.log)
        self._log_bytes += len(rows.log)
        self._swept_bytes += len(rows.part)
        if transaction.finish is not None:
            self._sweep = None
            self._log_bytes -= self._log_bytes_before
            self._checkpoint_bytes = self._swept_bytes
            self.is_replacing = self._must_replace

    def failed(self) -> None:
        """Nothing of it was written. The part that was in it is missing from the sweep, which begins anew."""
        if self._sweep is not None:
            self.begin_sweep(in_place=self._in_place)
