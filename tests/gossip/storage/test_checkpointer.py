"""What is on disk after any transaction is the replica as it was, whatever was written, refused and given up."""

import random
from contextlib import closing
from pathlib import Path

import pytest

import crdts.checkpoint
from crdts import Replica
from gossip.protocol import Persist
from gossip.storage.checkpointer import Ledger
from gossip.storage.database import NORMAL, Database
from gossip.storage.errors import DiskFailed
from gossip.storage.rows import Contents, read_into, rows_of

from .faults import Faults
from .life import Life, Picture, picture

STEPS = 150


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a sweep has many, and much happens between them."""
    monkeypatch.setattr(crdts.checkpoint, "PART_EVENTS", 3)


class Keeper:
    """Does what `DatabaseDisk` does, one step at a time, and fails when it is told to."""

    def __init__(self, life: Life, path: Path) -> None:
        self.life = life
        self.rng = life.rng
        self.lives = 1
        self.faults = Faults()
        self.database = self.faults.into(Database(path, durability=NORMAL))
        self.ledger = Ledger(life.mine.store.kernel, Contents())
        self.waiting: list[Persist] = []
        self.expected = [picture(life.mine)]
        """What a crash now may leave: one picture, or two after a failure that may have been none."""

    @property
    def replacing(self) -> bool:
        return self.ledger.is_replacing

    @property
    def settled(self) -> bool:
        """Whether what is written is what the replica holds."""
        return not self.replacing and not self.waiting

    def close(self) -> None:
        self.database.close()

    def step(self) -> None:
        rng = self.rng
        self.waiting += self.life.batches()
        # Nothing is given up behind a commit that failed and was done nevertheless: SQLite does not do that by itself.
        if rng.random() < 0.05 and len(self.expected) == 1:
            self.waiting.clear()
            self.ledger.replace()
        elif rng.random() < 0.1 and not self.replacing:
            self.ledger.begin_sweep()
        transaction = self.ledger.transaction(self.waiting)
        rows = rows_of(transaction)
        if rng.random() < 0.2:
            self.faults.begin(after=rng.randrange(15), but_done=not self.replacing and rng.random() < 0.3)
        try:
            self.database.write(transaction, rows, self.ledger.next_row)
        except DiskFailed:
            self.faults.end()
            self.on_failure()
            return
        self.faults.end()
        self.ledger.done(transaction, rows)
        self.waiting.clear()
        if not self.replacing:
            self.expected = [picture(self.life.mine)]

    def on_failure(self) -> None:
        self.ledger.failed()
        if self.replacing:
            self.waiting.clear()
        found = picture(self.read())
        if not self.expects(found):
            assert not self.replacing
            assert self.same(found, picture(self.life.mine))  # it was written although it was said that it was not
            self.expected.append(found)

    def expects(self, found: Picture) -> bool:
        return any(self.same(found, each) for each in self.expected)

    def same(self, one: Picture, other: Picture) -> bool:
        return one == other or one.settled(self.life.told_dead) == other.settled(self.life.told_dead)

    def restart(self) -> None:
        """As after a crash: what was not written is gone, and the next life has a name of its own."""
        self.database.close()
        self.database = self.faults.into(Database(self.database.path, durability=NORMAL))
        self.lives += 1
        replica = self.read(f"a{self.lives}")
        found = picture(replica)
        assert self.expects(found)
        self.expected = [found]
        self.life.begin(replica)
        self.ledger = Ledger(replica.store.kernel, self.database.contents())
        self.waiting.clear()

    def read(self, name: str = "reader") -> Replica:
        replica = self.life.replica(name)  # of another name, and with a kill log that is full sooner or later
        read_into(replica, self.database.contents())
        return replica


def live(seed: int, path: Path) -> Keeper:
    life = Life(random.Random(seed))
    keeper = Keeper(life, path)
    with closing(keeper):
        for _ in range(STEPS):
            for _ in range(life.rng.randrange(4)):
                life.step()
            keeper.step()
            read = keeper.read()
            assert keeper.expects(picture(read))
            if life.rng.random() < 0.02:
                keeper.restart()
            elif keeper.settled and life.rng.random() < 0.05:
                life.readers.append(read)
        life.meet()
        for reader in life.readers:
            assert keeper.same(picture(reader), picture(life.mine))
    return keeper


@pytest.mark.parametrize("seed", range(25))
def test_a_crash_after_any_transaction_leaves_what_was_written_by_then(seed: int, tmp_path: Path) -> None:
    live(seed, tmp_path / "state.db")


@pytest.mark.soak
@pytest.mark.parametrize("start", range(1000, 3000, 100))
def test_a_crash_after_any_transaction_leaves_what_was_written_in_many_lives(start: int, tmp_path: Path) -> None:
    for seed in range(start, start + 100):
        live(seed, tmp_path / f"{seed}.db")
