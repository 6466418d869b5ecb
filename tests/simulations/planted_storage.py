"""Bugs that whoever keeps a log and a checkpoint may make, planted into the bookkeeping of a node's disk."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from typing import Any, Final
from unittest.mock import patch

from crdts.checkpoint import Sweep
from crdts.delta import state_delta
from gossip.protocol import Persist
from gossip.storage.backlog import Backlog
from gossip.storage.checkpointer import Ledger
from gossip.storage.rows import Rows, Transaction
from simulations.world.disk import Disk
from simulations.world.node import Node
from simulations.world.saver import Saver
from simulations.world.tables import IdentityRow, Operation, Owner, PartRow

from .planted import Plant, replaced


def part_written_before_its_batches() -> AbstractContextManager[Any]:
    """A part of a sweep is safe before the batches are that were applied before it was made."""

    def make(write: Any) -> Any:
        def writes(self: Disk, operations: Sequence[Operation], then: Any) -> None:
            if not self.full:
                self.tables.apply([each for each in operations if isinstance(each, PartRow)])
            write(self, [each for each in operations if not isinstance(each, PartRow)], then)

        return writes

    return replaced(Disk, "write", make)


def log_cut_at_the_end_of_the_sweep() -> AbstractContextManager[Any]:
    """A checkpoint cuts off the log up to its end, and not up to its beginning."""

    def make(transaction: Any) -> Any:
        def makes(self: Ledger, batches: Sequence[Persist]) -> Transaction:
            made: Transaction = transaction(self, batches)
            if made.finish is None:
                return made
            return replace(made, finish=replace(made.finish, log_from=self.next_row - 1))

        return makes

    return replaced(Ledger, "transaction", make)


def row_numbers_reused() -> AbstractContextManager[Any]:
    """After a restart rows are numbered from those on, that are in the log at that time."""

    def make(begin: Any) -> Any:
        def begins(self: Any, kernel: Any, contents: Any, **options: Any) -> None:
            begin(self, kernel, contents, **options)
            self._row = len(contents.log)

        return begins

    return replaced(Ledger, "__init__", make)


def replaced_in_place_despite_a_gap() -> AbstractContextManager[Any]:
    """A replica that is written anew takes the place of what the log still fits to."""

    def make(begin: Any) -> Any:
        return lambda self, *, in_place=True: begin(self)

    return replaced(Ledger, "begin_sweep", make)


def acknowledged_within_a_replacement() -> AbstractContextManager[Any]:
    """What was given up counts as saved before the replica is written anew."""

    def make(done: Any) -> Any:
        def does(self: Ledger, transaction: Transaction, rows: Rows) -> None:
            done(self, transaction, rows)
            self.is_replacing = False

        return does

    return replaced(Ledger, "done", make)


def failed_part_left_out() -> AbstractContextManager[Any]:
    """A sweep goes on behind the part that could not be written."""
    return patch.object(Ledger, "failed", lambda self: None)


def failed_batches_forgotten() -> AbstractContextManager[Any]:
    """Batches that could not be written are not written the next time either."""
    return replaced(Backlog, "failed", lambda failed: lambda self, batches, error: failed(self, [], error))


def given_up_without_a_replacement() -> AbstractContextManager[Any]:
    """Batches are given up, and the replica is not written anew."""
    return patch.object(Ledger, "replace", lambda self: None)


def prekilled_dots_left_out_of_checkpoints() -> AbstractContextManager[Any]:
    """A checkpoint does not say which dots were killed before they came."""

    def make(begin: Any) -> Any:
        def begins(self: Any, *args: Any, **options: Any) -> None:
            begin(self, *args, **options)
            self.head = state_delta((), self.head.context, ())

        return begins

    return replaced(Sweep, "__init__", make)


def name_saved_behind_the_batches() -> AbstractContextManager[Any]:
    """Who the node goes on as is saved when there is nothing else to save, and not with what it writes as such."""

    owed: dict[Disk, list[Operation]] = {}

    def make(write: Any) -> Any:
        def writes(self: Disk, operations: Sequence[Operation], then: Any) -> None:
            others = [each for each in operations if not isinstance(each, IdentityRow)]
            late, owed[self] = owed.get(self, []), [each for each in operations if isinstance(each, IdentityRow)]
            write(self, [*late, *others], then)

        return writes

    return replaced(Disk, "write", make)


def name_not_saved() -> AbstractContextManager[Any]:
    """A node goes on as another, and its disk is never told."""
    return patch.object(Saver, "rename", lambda *_: None)


def life_begun_lazily() -> AbstractContextManager[Any]:
    """The epoch of a start is not synced, and the epoch is all that tells one life from another."""

    def begins(self: Disk, who: int, name: str, epoch: int, life: str) -> None:
        self.tables.owner = Owner(who, name, epoch, [*self.owner.lives, life])

    stack = ExitStack()
    stack.enter_context(patch.object(Disk, "begin_life", begins))
    stack.enter_context(patch.object(Node, "_nonce", lambda *_: ""))
    return stack


def last_life_gone_on_with() -> AbstractContextManager[Any]:
    """A start goes on as the last life if that has left something to go on with."""

    def make(begin: Any) -> Any:
        def begins(self: Any, cluster: Any, index: int, disk: Disk, **options: Any) -> None:
            lives = disk.owner.lives
            if disk.tables.log and lives and "-" in lives[-1]:
                disk.owner.epoch -= 1
                nonce = lives[-1].partition("-")[2]
                with patch.object(Node, "_nonce", lambda *_: nonce):
                    begin(self, cluster, index, disk, **options)
            else:
                begin(self, cluster, index, disk, **options)

        return begins

    return replaced(Node, "__init__", make)


def everything_taken_in_at_once() -> AbstractContextManager[Any]:
    """A node takes in what others send however much waits for its disk."""
    return patch.object(Node, "_is_far_behind", lambda _: False)


def never_read_on() -> AbstractContextManager[Any]:
    """A node that has left unread what others send is not told when its disk has caught up."""
    return patch.object(Node, "room", lambda _: None)


OF_SLOWNESS: Final[list[Plant]] = [part_written_before_its_batches, everything_taken_in_at_once, never_read_on]
"""Found where disks are slow."""
OF_NAMES: Final[list[Plant]] = [name_saved_behind_the_batches, name_not_saved]
"""Found where directories are copied."""
OF_POWER: Final[list[Plant]] = [life_begun_lazily, last_life_gone_on_with]
"""Found where machines lose power."""
PLANTED: Final[list[Plant]] = [
    log_cut_at_the_end_of_the_sweep,
    row_numbers_reused,
    replaced_in_place_despite_a_gap,
    acknowledged_within_a_replacement,
    failed_part_left_out,
    failed_batches_forgotten,
    given_up_without_a_replacement,
    prekilled_dots_left_out_of_checkpoints,
]
