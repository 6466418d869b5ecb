"""A simulated file holds what a real one would, and a crash leaves whole transactions from the beginning."""

import random
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crdts import Replica
from gossip.storage.checkpointer import Ledger
from gossip.storage.database import NORMAL, Database
from gossip.storage.rows import Contents, Rows, Transaction, read_into, rows_of
from simulations.errors import SimulationError
from simulations.world.tables import Commit, LogRow, Operation, PartRow, Tables, encode_frames, operations_of, recover

from ..histories import Saved

BYTES = st.binary(max_size=40)
NUMBERS = st.integers(1, 1000)
ROWS = st.one_of(
    st.builds(LogRow, NUMBERS, BYTES),
    st.builds(PartRow, NUMBERS, st.text(max_size=9), NUMBERS, st.booleans(), BYTES, NUMBERS),
)
TRANSACTIONS = st.lists(st.lists(ROWS, max_size=3).map(lambda rows: [*rows, Commit()]), max_size=4)


def together(transactions: list[list[Operation]]) -> list[Operation]:
    return [operation for transaction in transactions for operation in transaction]


class Bookkeeper:
    """Writes a random history into a simulated file and a real one, gives up some of it, and tells what each holds."""

    def __init__(self, seed: int, database: Database | None = None) -> None:
        self.rng = random.Random(seed)
        self.saved = Saved(seed)
        self.tables = Tables()
        self.database = database
        self.ledger = Ledger(self.saved.replica.store.kernel, Contents(), log_min_bytes=200, part_events=2)

    def live(self, steps: int) -> None:
        for _ in range(steps):
            before = len(self.saved.batches)
            self.saved.live(1)
            batches = self.saved.batches[before:]
            if self.rng.random() < 0.1:
                self.ledger.replace()
                batches = []
            transaction = self.ledger.transaction(batches)
            if self.rng.random() < 0.1:
                self.ledger.failed()
                self.ledger.replace()  # so that what was in it is not missing
            else:
                self._write(transaction)
        while self.ledger.has_more:
            self._write(self.ledger.transaction([]))

    def _write(self, transaction: Transaction) -> None:
        rows = rows_of(transaction)
        self.tables.apply(recover(encode_frames([*operations_of(transaction, rows, self.ledger.next_row), Commit()])))
        if self.database is not None:
            self.database.write(transaction, rows, self.ledger.next_row)
            assert contents_of(self.database) == ordered(self.tables.contents())
        self.ledger.done(transaction, rows)


def contents_of(database: Database) -> Contents:
    """What counts of it: what is behind a gap goes when it is opened next."""
    contents = database.contents()
    gap = database.get("gap")
    if gap is None:
        return ordered(contents)
    copy = database.path.with_suffix(".copy")
    copy.unlink(missing_ok=True)
    database.copy_to(copy, lambda: None)
    with closing(Database(copy, durability=NORMAL)) as opened:
        return ordered(opened.contents())


def ordered(contents: Contents) -> Contents:
    return replace(contents, parts=sorted(contents.parts))


@pytest.mark.parametrize("seed", range(4))
def test_it_holds_after_every_transaction_what_a_real_file_holds(seed: int, tmp_path: Path) -> None:
    with closing(Database(tmp_path / "state.db", durability=NORMAL)) as database:
        Bookkeeper(seed, database).live(20)


@given(st.integers(0, 100_000), st.integers(1, 20))
@settings(max_examples=25, deadline=None)
def test_a_replica_read_from_it_is_the_replica_that_was_written(seed: int, steps: int) -> None:
    keeper = Bookkeeper(seed)
    keeper.live(steps)
    again = Replica("again")
    read_into(again, keeper.tables.contents())
    assert again.fingerprint == keeper.saved.replica.fingerprint
    assert again.context.covers(keeper.saved.replica.context)


def test_a_file_that_lacks_rows_of_the_log_is_not_read() -> None:
    tables = Tables()
    tables.apply([LogRow(1, b"a"), LogRow(3, b"c")])
    with pytest.raises(SimulationError, match="missing"):
        tables.contents()


# ---- the write-ahead log


@given(TRANSACTIONS)
def test_what_is_written_whole_is_recovered_whole(transactions: list[list[Operation]]) -> None:
    written = together(transactions)
    assert recover(encode_frames(written)) == written


@given(TRANSACTIONS, st.data())
def test_of_a_log_that_was_cut_the_whole_transactions_are_recovered(
    transactions: list[list[Operation]], data: st.DataObject
) -> None:
    log = encode_frames(together(transactions))
    cut = data.draw(st.integers(0, len(log)))
    ends = [len(encode_frames(together(transactions[:count]))) for count in range(len(transactions) + 1)]
    whole = sum(end <= cut for end in ends) - 1
    assert recover(log[:cut]) == together(transactions[:whole])


@given(TRANSACTIONS.filter(bool), st.data())
def test_a_flipped_bit_ends_the_log_before_its_transaction(
    transactions: list[list[Operation]], data: st.DataObject
) -> None:
    log = bytearray(encode_frames(together(transactions)))
    at = data.draw(st.integers(0, len(log) - 1))
    log[at] ^= 1 << data.draw(st.integers(0, 7))
    ends = [len(encode_frames(together(transactions[:count]))) for count in range(len(transactions) + 1)]
    assert recover(bytes(log)) == together(transactions[: sum(end <= at for end in ends) - 1])


def test_what_an_earlier_attempt_has_left_is_not_taken_for_a_part_of_a_later_one() -> None:
    failed = encode_frames([LogRow(7, b"old"), LogRow(8, b"of old"), Commit()])
    begun = encode_frames([LogRow(7, b"new")])
    assert recover(begun + failed[len(begun) :]) == []


def test_a_transaction_of_nothing_is_no_operation() -> None:
    assert operations_of(Transaction(), Rows(), 1) == []
