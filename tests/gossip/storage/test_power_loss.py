"""Power that fails while the file is written: of what was not yet synchronised, any part may have reached the disk.

Images of the files are taken after each transaction. A crash image is made of two that follow each other: any of the
sectors that differ is as it was, as it became, or torn. SQLite promises to synchronise the WAL before a commit returns
(`durability="full"`), and before anything of it goes to the file proper; this is what becomes of that promise in our
use of it.
"""

import random
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

import crdts.checkpoint
from crdts import HybridClock, Replica, encode
from gossip.protocol import Persist
from gossip.storage.checkpointer import Ledger
from gossip.storage.database import FULL, NORMAL, Database
from gossip.storage.errors import DamagedData
from gossip.storage.rows import Contents, read_into, rows_of
from gossip.storage.wal import Dropped

SECTOR: Final = 512
"""Bytes that a disk writes in one go, or tears."""
WAL_HEADER: Final = 32
"""Bytes."""
TRANSACTIONS: Final = 80


@dataclass
class Image:
    """The files as they were at one moment."""

    file: bytes
    wal: bytes
    holds: bytes
    """What the replica held, encoded."""
    synchronised: bool
    """Whether what is in the WAL is known to be on the disk."""


class Photographed(Database):
    """Takes an image whenever something has been committed."""

    def __init__(self, path: Path, replica: Replica, durability: str) -> None:
        self.images: list[Image] = []
        self.replica = replica
        self.durability = durability
        super().__init__(path, durability=durability)
        self._connection.execute("PRAGMA wal_autocheckpoint = 24")  # pages

    def take(self) -> None:
        file = self.path.read_bytes()
        wal = self.path.with_name(self.path.name + "-wal").read_bytes()
        moved = not self.images or file != self.images[-1].file  # a checkpoint synchronises both, the WAL first
        holds = encode(self.replica.store.kernel.state())
        self.images.append(Image(file, wal, holds, self.durability == FULL or moved))

    def _give_back(self) -> None:
        self.take()
        super()._give_back()


def photographed(rng: random.Random, path: Path, durability: str) -> list[Image]:
    """Images of a life with overwritten, removed and large values, and sweeps all the time."""
    ticks = iter(range(1_700_000_000, 1_800_000_000))
    replica = Replica("a", clock=HybridClock(lambda: next(ticks)))
    fresh: list[Persist] = []
    replica.on_write(lambda events: fresh.append(Persist(1, events)))
    database = Photographed(path, replica, durability)
    ledger = Ledger(replica.store.kernel, Contents())
    with closing(database):
        database.take()
        for _ in range(TRANSACTIONS):
            for _ in range(rng.randrange(1, 4)):
                key = str(rng.randrange(30))
                if rng.random() < 0.2:
                    replica.lwwmap("map").delete(key)
                else:
                    replica.lwwmap("map").set(key, rng.randbytes(rng.choice([5, 300, 3_000])))
            if not ledger.has_more and rng.random() < 0.3:
                ledger.begin_sweep()
            transaction = ledger.transaction(fresh)
            fresh.clear()
            rows = rows_of(transaction)
            database.write(transaction, rows, ledger.next_row)
            ledger.done(transaction, rows)
            database.take()
    return database.images


def mixed(rng: random.Random, old: bytes, new: bytes) -> bytes:
    """What may be on the disk while ``old`` becomes ``new``."""
    share = rng.choice([0.0, 0.05, 0.5, 0.95, 1.0])
    length = rng.choice([len(old), len(new), max(len(old), len(new))])
    made = bytearray()
    for start in range(0, length, SECTOR):
        before, after = old[start : start + SECTOR], new[start : start + SECTOR]
        before += bytes(max(0, min(SECTOR, length - start) - len(before)))  # a file that has grown without content
        if before == after or not after:
            made += before
        elif rng.random() < 0.03:
            cut = rng.randrange(SECTOR)
            made += after[:cut] + before[cut:]
        elif rng.random() < 0.02 and start >= len(old):
            made += rng.randbytes(SECTOR)  # what was on the disk before, of another file
        else:
            made += after if rng.random() < share else before
    return bytes(made[:length])


def mixed_wal(rng: random.Random, old: bytes, new: bytes) -> bytes:
    """The same of a WAL. When it begins anew, its header is synchronised before anything else of it is written."""
    if old[:WAL_HEADER] == new[:WAL_HEADER]:
        return mixed(rng, old, new)
    if rng.random() < 0.2:
        cut = rng.randrange(WAL_HEADER + 1)
        return new[:cut] + old[cut:]
    return new[:WAL_HEADER] + mixed(rng, old, new)[WAL_HEADER:]


def crash_image(rng: random.Random, images: list[Image], at: int) -> tuple[bytes, bytes, list[bytes]]:
    """The files after a crash in the transaction that led to image ``at``, and what may be read from them."""
    old, new = images[at - 1], images[at]
    if new.file != old.file and rng.random() < 0.5:  # while a checkpoint copies to the file what the WAL holds for sure
        return mixed(rng, old.file, new.file), new.wal, [new.holds]
    since = at - 1
    while not images[since].synchronised:
        since -= 1
    return old.file, mixed_wal(rng, images[since].wal, new.wal), [image.holds for image in images[since : at + 1]]


def read(path: Path) -> tuple[bytes, Dropped]:
    with closing(Database(path)) as database:
        replica = Replica("reader")
        read_into(replica, database.contents())
        return encode(replica.store.kernel.state()), database.dropped


def judge(seeds: range, directory: Path, durability: str = FULL, *, lives: int = 50) -> Counter[str]:
    """Crash once for each seed; count what was found."""
    found: Counter[str] = Counter()
    path = directory / "state.db"
    images: list[Image] = []
    for seed in seeds:
        rng = random.Random(seed)
        if not images or seed % lives == 0:
            images = photographed(rng, directory / f"{seed}.db", durability)
        file, wal, allowed = crash_image(rng, images, rng.randrange(1, len(images)))
        path.write_bytes(file)
        path.with_name(path.name + "-wal").write_bytes(wal)
        held, dropped = read(path)
        assert held in allowed, f"seed {seed}"
        assert not dropped.is_damage(power_stayed=False, was_synced=durability == FULL), f"seed {seed}"
        found["dropped"] += dropped.transactions > 0
        kind = "checkpoint" if len(allowed) == 1 else "old" if held == allowed[0] else "new"
        found[kind if held in (allowed[0], allowed[-1]) else "between"] += 1
    return found


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crdts.checkpoint, "PART_EVENTS", 4)


def test_a_power_loss_takes_nothing_that_was_acknowledged_and_no_half_of_a_transaction(tmp_path: Path) -> None:
    found = judge(range(200), tmp_path)
    assert min(found["old"], found["new"], found["checkpoint"]) > 10


def test_a_power_loss_without_synchronisation_takes_the_last_moments_and_leaves_what_was_before(
    tmp_path: Path,
) -> None:
    found = judge(range(100), tmp_path, NORMAL)
    assert min(found["old"], found["new"], found["between"]) > 3


@pytest.mark.soak
@pytest.mark.parametrize("start", range(10_000, 15_000, 500))
def test_thousands_of_power_losses_take_nothing_that_was_acknowledged(start: int, tmp_path: Path) -> None:
    judge(range(start, start + 500), tmp_path)


# ---- a WAL that is damaged later


def judge_damaged_wal(seeds: range, directory: Path) -> Counter[str]:
    """Change one bit of a WAL for each seed: what is behind it cannot be told from what was never written, and goes.

    But nothing may come of it that never was: pages of the file may be newer than those of the WAL before the bit.
    """
    found: Counter[str] = Counter()
    path = directory / "state.db"
    images: list[Image] = []
    for seed in seeds:
        rng = random.Random(seed)
        if not images or seed % 100 == 0:
            images = photographed(rng, directory / f"{seed}.db", NORMAL)
        at = rng.randrange(len(images))
        wal = bytearray(images[at].wal)
        wal[rng.randrange(len(wal))] ^= 1 << rng.randrange(8)
        path.write_bytes(images[at].file)
        path.with_name(path.name + "-wal").write_bytes(wal)
        try:
            held, dropped = read(path)
        except DamagedData:
            found["damaged"] += 1
            continue
        moments = list(dict.fromkeys(image.holds for image in images[: at + 1]))
        gone = len(moments) - 1 - moments.index(held)
        is_told = dropped.is_damage(power_stayed=True, was_synced=False)
        found["told"] += is_told
        assert is_told or gone <= 2, f"seed {seed}"  # the last one, and that of which the bit is
        assert held in [image.holds for image in images[: at + 1]], f"seed {seed}"
        found["whole" if held == images[at].holds else "earlier"] += 1
    return found


def test_a_damaged_wal_leaves_an_earlier_moment_or_is_found(tmp_path: Path) -> None:
    found = judge_damaged_wal(range(300), tmp_path)
    assert min(found["damaged"], found["whole"], found["earlier"], found["told"]) > 10


@pytest.mark.soak
def test_damaged_wals_leave_an_earlier_moment_or_are_found_thousands_of_times(tmp_path: Path) -> None:
    judge_damaged_wal(range(10_000, 20_000), tmp_path)
