"""The file: what is damaged is found, what is full or read-only is said, and it does not grow for ever."""

import random
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from crdts import HybridClock, Replica, encode_context
from gossip.protocol import Persist
from gossip.storage.checkpointer import Ledger
from gossip.storage.database import NORMAL, WAL_BYTES, Database
from gossip.storage.errors import DamagedData, UnknownFormat
from gossip.storage.files import wal_of
from gossip.storage.rows import Contents, read_into, rows_of

VERSION_AT = range(60, 64)
"""Where SQLite keeps ``PRAGMA user_version``, our format."""


class Keeper:
    """A replica, and a file that everything goes into."""

    def __init__(self, path: Path) -> None:
        ticks = iter(range(1_700_000_000, 1_800_000_000))
        self.replica = Replica("a", clock=HybridClock(lambda: next(ticks)))
        self.database = Database(path, durability=NORMAL)
        self.ledger = Ledger(self.replica.store.kernel, Contents())
        self.fresh: list[Persist] = []
        self.replica.on_write(lambda events: self.fresh.append(Persist(1, events)))

    def save(self) -> None:
        transaction = self.ledger.transaction(self.fresh)
        self.fresh = []
        rows = rows_of(transaction)
        self.database.write(transaction, rows, self.ledger.next_row)
        self.ledger.done(transaction, rows)


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def filled(path: Path, *, values: int = 60, closed: bool = True) -> tuple[Keeper, int]:
    """A file with a checkpoint of several parts, a log, an identity; returns the fingerprint too."""
    keeper = Keeper(path)
    rng = random.Random(3)
    for number in range(values):
        keeper.replica.lwwmap("map").set(f"key {number % 40}", rng.randbytes(rng.choice([3, 90, 9_000])))
        if number % 3 == 0:
            keeper.save()
        if number == values // 2:
            keeper.ledger.begin_sweep()
    keeper.database.begin({"node_id": b"12345678", "epoch": 7, "lives": ["a", "b"]}, {"name": "mark"})
    keeper.save()
    if closed:
        keeper.database.close()
    return keeper, keeper.replica.fingerprint


def everything(path: Path) -> tuple[object, ...]:
    """All that a start would go by; raises `StorageError`."""
    with closing(Database(path, durability=NORMAL)) as database:
        contents = database.contents()
        replica = Replica("reader")
        read_into(replica, contents)
        numbers = contents.last_row, contents.last_generation, contents.checkpoint.log_from
        return replica.fingerprint, encode_context(replica.context), database.get("identity"), numbers


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    _, fingerprint = filled(path)
    assert everything(path)[0] == fingerprint
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def damaged(path: Path, rng: random.Random, original: bytes) -> range:
    """Write the file with some bytes changed; returns where."""
    content = bytearray(original)
    at = rng.randrange(len(content)) if rng.random() < 0.6 else rng.randrange(200) + 4096 * rng.randrange(4)
    length = min(rng.choice([1, 1, 1, 4, 512, 4096]), len(content) - at)
    how = rng.randrange(4)
    if length == 1:
        content[at] ^= 1 << rng.randrange(8)
    elif how == 0:
        content[at : at + length] = bytes(length)
    elif how == 1:
        content[at : at + length] = rng.randbytes(length)
    elif how == 2:
        start = rng.randrange(len(content) - length)
        content[at : at + length] = content[start : start + length]
    else:
        del content[max(at, 1) :]  # of an empty one the mark tells: see test_opening
    path.write_bytes(content)
    return range(at, at + length)


def judge_damage(path: Path, seeds: range) -> int:
    """Damage the file in many ways: a start finds out, or nothing has changed. Returns how often it was found."""
    filled(path)
    original, expected = path.read_bytes(), everything(path)
    found = 0
    for seed in seeds:
        where = damaged(path, random.Random(seed), original)
        wal_of(path).unlink(missing_ok=True)
        try:
            assert everything(path) == expected, f"seed {seed}"
        except DamagedData:
            found += 1
        except UnknownFormat:
            assert set(where) & set(VERSION_AT), f"seed {seed}"
    return found


def test_bytes_changed_anywhere_are_found_or_change_nothing(tmp_path: Path) -> None:
    assert judge_damage(tmp_path / "state.db", range(300)) > 100


@pytest.mark.soak
def test_bytes_changed_anywhere_are_found_or_change_nothing_thousands_of_times(tmp_path: Path) -> None:
    assert judge_damage(tmp_path / "state.db", range(10_000, 20_000)) > 3_000


def test_a_file_whose_tables_are_others_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    filled(path)
    with closing(sqlite3.connect(path)) as other:
        other.execute("DROP INDEX parts_by_end")
    with pytest.raises(DamagedData, match="tables"):
        Database(path)


@pytest.mark.parametrize("at", [18, 19])
def test_a_header_of_no_version_is_damage_and_not_a_disk_that_is_read_only(at: int, tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    filled(path)
    content = bytearray(path.read_bytes())
    content[at] ^= 1 << 4
    path.write_bytes(content)
    with pytest.raises(DamagedData, match="version"):
        Database(path)


def test_a_row_of_the_log_that_is_missing_is_missed(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    filled(path)
    with closing(sqlite3.connect(path)) as other, other:
        (first, last) = other.execute("SELECT min(number), max(number) FROM log").fetchone()
        assert last > first + 2
        other.execute("DELETE FROM log WHERE number = ?", (first + 1,))
    with closing(Database(path)) as database, pytest.raises(DamagedData, match="missing"):
        database.contents()


@pytest.mark.parametrize("change", ["number = number + 5 WHERE number = (SELECT max(number) FROM log)", "data = x'00'"])
def test_a_row_of_the_log_that_was_changed_is_found(change: str, tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    filled(path)
    with closing(sqlite3.connect(path)) as other, other:
        other.execute(f"UPDATE log SET {change}")
    with closing(Database(path)) as database, pytest.raises(DamagedData):
        read_into(Replica("reader"), database.contents())


@pytest.mark.parametrize("change", ["generation = generation + 1", "last_seq = last_seq + 1", "last_replica = 'b'"])
def test_a_part_that_is_said_to_be_another_is_found(change: str, tmp_path: Path) -> None:
    """Its place decides when it is replaced: a wrong one would bring back entries that are dead."""
    path = tmp_path / "state.db"
    filled(path)
    with closing(sqlite3.connect(path)) as other, other:
        other.execute(f"UPDATE parts SET {change}")
    with closing(Database(path)) as database, pytest.raises(DamagedData, match="checksum"):
        database.contents()


@pytest.mark.parametrize("table", ["parts", "log"])
def test_a_table_of_an_earlier_moment_beside_others_is_found(table: str, tmp_path: Path) -> None:
    """A damaged WAL can leave that: pages of one table that are older than those of another, all of them sound."""
    older, newer = tmp_path / "older.db", tmp_path / "newer.db"
    filled(older, values=60)
    filled(newer, values=75)
    with closing(sqlite3.connect(newer)) as other, other:
        other.execute("ATTACH ? AS older", (str(older),))
        other.execute(f"DELETE FROM {table}")
        other.execute(f"INSERT INTO {table} SELECT * FROM older.{table}")
    with closing(Database(newer)) as database, pytest.raises(DamagedData):
        database.contents()


def test_a_later_format_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    filled(path)
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA user_version = 99")
    before = path.read_bytes()
    with pytest.raises(UnknownFormat, match="99"):
        Database(path)
    assert path.read_bytes() == before


def test_the_file_stays_within_twice_the_live_state_however_often_it_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    keeper = Keeper(path)
    rng = random.Random(1)
    live = 400 * 10_000
    largest = largest_wal = 0
    for round_number in range(12):
        for number in range(400):
            keeper.replica.lwwmap("map").set(f"key {number}", rng.randbytes(10_000))
            if number % 4 == 3:
                keeper.save()
                if round_number:
                    largest = max(largest, size(path))
                largest_wal = max(largest_wal, size(wal_of(path)))
    while keeper.ledger.has_more:
        keeper.save()
    keeper.database.close()
    assert size(path) < 2 * live
    assert largest < 2 * live
    assert largest_wal < 2 * WAL_BYTES


def test_the_file_becomes_small_again_when_little_is_left(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    keeper = Keeper(path)
    for number in range(300):
        keeper.replica.lwwmap("map").set(f"key {number}", bytes(10_000))
        keeper.save()
    for number in range(300):
        keeper.replica.lwwmap("map").delete(f"key {number}")
    keeper.ledger.begin_sweep()
    while keeper.fresh or keeper.ledger.has_more:
        keeper.save()
    keeper.database.close()
    assert size(path) < 100_000


def test_what_is_given_up_leaves_no_gap_behind(tmp_path: Path) -> None:
    """What comes behind it counts when a sweep has made it good, and not before."""
    path = tmp_path / "state.db"
    keeper = Keeper(path)
    objects = keeper.replica.orset("set")
    for number in range(3000):
        objects.add(number)
    keeper.save()
    before = keeper.replica.fingerprint
    objects.add("given up")
    keeper.fresh.clear()
    keeper.ledger.begin_sweep(in_place=False)
    for number in range(2):
        objects.add(f"behind {number}")
        keeper.save()
        assert keeper.ledger.has_more
        assert read(keeper).fingerprint == before
    keeper.database.close()
    with closing(Database(path)) as database:
        after = Replica("after")
        read_into(after, database.contents())
        assert after.fingerprint == before
        assert database.contents().last_row == 1


def test_sweeps_that_never_come_to_their_end_do_not_pile_up(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    keeper = Keeper(path)
    for number in range(3000):
        keeper.replica.orset("set").add(number)
    keeper.save()
    parts = []
    for _ in range(5):
        keeper.ledger.begin_sweep(in_place=False)
        keeper.save()
        keeper.save()
        parts.append(len(keeper.database.contents().parts))
    assert max(parts) <= 3
    keeper.database.close()


def read(keeper: Keeper) -> Replica:
    replica = Replica("reader")
    read_into(replica, keeper.database.contents())
    return replica


def test_pages_that_cannot_be_given_back_are_no_failed_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The transaction has been committed by then: whoever was told that it failed would write it again."""

    def fail(self: Database) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(Database, "_give_back", fail)
    keeper = Keeper(tmp_path / "state.db")
    keeper.replica.orset("set").add(1)
    keeper.ledger.begin_sweep()
    while keeper.fresh or keeper.ledger.has_more:
        keeper.save()
    assert read(keeper).fingerprint == keeper.replica.fingerprint
    keeper.database.close()
