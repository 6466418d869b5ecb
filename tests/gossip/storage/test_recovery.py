"""Who a node is when it starts again, and what it finds: after a stop, a crash, damage, and with a copy."""

import errno
import os
import random
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from crdts import Replica, Value
from gossip import ConfigError, open_node
from gossip.protocol import Identity
from gossip.storage import database
from gossip.storage import origin as marks
from gossip.storage import quarantine as asides
from gossip.storage import recovery as opening
from gossip.storage.errors import DamagedData, DiskFailed, StorageError, UnknownFormat
from gossip.storage.files import DATABASE_FILE, wal_of
from gossip.storage.recovery import EPOCH_STEP, LATEST_LIVES, Opened, open_data
from gossip.storage.sqlite import lacks_wal

from ..cli.process import environment
from ..live import FAST, Journal
from .faults import Faults
from .marking import mark_of, named


async def life(path: Path, *values: Value, name: str = "a", seed: int = 1, stop: bool = True) -> Opened:
    """Open, write these values, save them, and stop in good order, or as if killed."""
    opened = open_data(path, name, random.Random(seed))
    for value in values:
        opened.replica.orset("set").add(value)
    if stop:
        await save(opened)
        await opened.disk.close(opened.replica.fingerprint)
    return opened


async def save(opened: Opened) -> None:
    """Write the whole replica down."""
    opened.disk.replace()
    while opened.disk.has_more:
        await opened.disk.save(())


def let_go(opened: Opened) -> None:
    """What the end of its process does."""
    opened.disk._database.close()


def values(opened: Opened) -> list[str]:
    return sorted(map(str, opened.replica.orset("set")))


async def reopened(path: Path, *, seed: int = 9) -> Opened:
    opened = open_data(path, "a", random.Random(seed))
    let_go(opened)
    return opened


# ---- who it is


async def test_the_id_stays_the_epoch_grows_and_each_life_has_a_nonce_of_its_own(tmp_path: Path) -> None:
    lives = [(await life(tmp_path, name=f"name {number}", seed=number)).identity for number in range(3)]
    epochs = [each.epoch for each in lives]
    assert epochs[0] == 1
    assert all(0 < later - earlier <= EPOCH_STEP for earlier, later in pairwise(epochs))
    assert len({each.node_id for each in lives}) == 1
    assert len({each.nonce for each in lives}) == 3
    assert len({each.replica_id for each in lives}) == 3
    assert lives[2].name == "name 2"


async def test_two_directories_are_two_nodes(tmp_path: Path) -> None:
    ids = set()
    for number in range(2):
        place = tmp_path / str(number)
        place.mkdir()
        ids.add((await life(place, seed=number)).identity.node_id)
    assert len(ids) == 2


async def test_a_process_that_was_killed_before_it_wrote_has_had_its_epoch(tmp_path: Path) -> None:
    program = """
import os, random, signal, sys
from pathlib import Path
from gossip.storage.recovery import open_data
open_data(Path(sys.argv[1]), "a", random.Random(1))
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], timeout=30, check=False)
    assert done.returncode == -signal.SIGKILL
    opened = await reopened(tmp_path)
    assert 1 < opened.identity.epoch <= 1 + EPOCH_STEP
    assert not opened.forked


async def test_what_was_written_before_a_kill_is_there_and_the_killed_life_is_remembered(tmp_path: Path) -> None:
    killed = await life(tmp_path, "x", "y", stop=False)
    await save(killed)
    let_go(killed)
    opened = await reopened(tmp_path)
    assert values(opened) == ["x", "y"]
    assert opened.past.lives == (killed.identity.replica_id,)
    assert opened.identity.node_id == killed.identity.node_id


@pytest.mark.parametrize("stop", [True, False])
@pytest.mark.parametrize("gone", ["nothing", "boot", "device"])
async def test_a_life_is_over_for_certain_if_it_ended_well_or_just_its_process_died(
    stop: bool, gone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    former = await life(tmp_path, "x", stop=stop)
    if not stop:
        await save(former)
        let_go(former)
    if gone == "boot":
        other = tmp_path / "boot_id"
        other.write_text("another")
        monkeypatch.setattr(marks, "_BOOT_ID", other)
    elif gone == "device":
        monkeypatch.setattr(marks.Mark, "is_where_it_was", lambda *_: False)
    opened = await reopened(tmp_path)
    assert not opened.forked
    is_over = stop or gone == "nothing"
    assert opened.past.ended == ((former.identity.replica_id,) if is_over else ())
    assert opened.past.lives == (former.identity.replica_id,)


async def test_rights_given_to_a_life_that_wrote_nothing_are_held_however_often_it_starts_again(tmp_path: Path) -> None:
    other = Replica("other")
    other.bounded_counter("budget").increment(5)
    silent = await life(tmp_path, stop=False)
    other.bounded_counter("budget").transfer(silent.identity.replica_id, 5)
    silent.replica.merge(other.store.kernel.state())
    await save(silent)
    let_go(silent)
    for number in range(LATEST_LIVES + 3):
        opened = await reopened(tmp_path, seed=number)
    assert silent.identity.replica_id in opened.replica.store.kernel.former
    assert opened.replica.bounded_counter("budget").rights() == 5
    assert len(opened.replica.store.kernel.former) == 1 + LATEST_LIVES


async def test_everything_in_the_directory_is_for_this_user_only(tmp_path: Path) -> None:
    opened = await life(tmp_path, "x", stop=False)
    await save(opened)
    files = [file for file in tmp_path.iterdir() if file.is_file()]
    assert named(tmp_path) == ["mark", DATABASE_FILE, f"{DATABASE_FILE}-wal"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    let_go(opened)


# ---- damage


def zeroed(file: Path) -> None:
    file.write_bytes(bytes(file.stat().st_size))


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def changed_in_a_row(file: Path) -> None:
    with closing(sqlite3.connect(file)) as other, other:
        other.execute("UPDATE parts SET data = substr(data, 1, 20) || x'00' || substr(data, 22)")


def not_what_it_was(file: Path) -> None:
    """A file that is sound, and holds less than the node had when it stopped."""
    with closing(sqlite3.connect(file)) as other, other:
        other.execute("DELETE FROM parts")


@pytest.mark.parametrize("damage", [zeroed, emptied, cut, changed_in_a_row, not_what_it_was])
async def test_a_damaged_file_is_set_aside_and_the_node_begins_anew(
    damage: Callable[[Path], None], tmp_path: Path
) -> None:
    former = await life(tmp_path, *range(300))
    file = tmp_path / DATABASE_FILE
    damage(file)
    content = file.read_bytes()
    opened = await reopened(tmp_path)
    assert opened.set_aside == tmp_path / f"{DATABASE_FILE}.damaged-1"
    assert opened.set_aside.read_bytes()[100:] == content[100:]  # a look at it may count up in its header
    assert values(opened) == []
    assert opened.identity.node_id != former.identity.node_id
    assert not (await reopened(tmp_path)).set_aside


async def test_every_damaged_file_is_kept(tmp_path: Path) -> None:
    for number in range(1, 4):
        await life(tmp_path, number, seed=number)
        file = tmp_path / DATABASE_FILE
        file.write_bytes(b"damaged %d" % number * 1000)
        assert (await reopened(tmp_path, seed=number)).set_aside == tmp_path / f"{DATABASE_FILE}.damaged-{number}"
    for number in range(1, 4):
        assert (tmp_path / f"{DATABASE_FILE}.damaged-{number}").read_bytes() == b"damaged %d" % number * 1000


async def test_a_wal_whose_file_is_gone_is_kept_too(tmp_path: Path) -> None:
    """As a crash leaves it that comes between the renaming of the one and of the other."""
    opened = await life(tmp_path, "x", stop=False)
    await save(opened)
    wal = tmp_path / f"{DATABASE_FILE}-wal"
    content = wal.read_bytes()
    let_go(opened)
    (tmp_path / DATABASE_FILE).rename(tmp_path / f"{DATABASE_FILE}.damaged-1")
    wal.write_bytes(content)
    assert values(await reopened(tmp_path)) == []
    assert (tmp_path / f"{DATABASE_FILE}.damaged-1-wal").read_bytes() == content


async def test_a_later_format_is_refused_and_the_node_is_the_same_afterwards(tmp_path: Path) -> None:
    former = await life(tmp_path, "x")
    file = tmp_path / DATABASE_FILE
    known = database.FORMAT

    def format_is(number: int) -> None:
        with closing(sqlite3.connect(file)) as other:
            other.execute(f"PRAGMA user_version = {number}")

    format_is(known + 1)
    with pytest.raises(UnknownFormat, match="use the later release"):
        open_data(tmp_path, "a", random.Random(2))
    assert [each.name for each in tmp_path.iterdir() if "damaged" in each.name] == []
    format_is(known)
    opened = await reopened(tmp_path)
    assert (opened.identity.node_id, values(opened)) == (former.identity.node_id, ["x"])


async def test_a_start_that_fails_does_not_make_another_node_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has opened the file, and may have changed it."""
    former = await life(tmp_path, "x")

    def fail(self: database.Database, identity: object, mark: object) -> None:
        self._connection.execute("CREATE TABLE something (x)")
        self._connection.execute("DROP TABLE something")
        raise DiskFailed("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(database.Database, "begin", fail)
        with pytest.raises(StorageError, match="full"):
            open_data(tmp_path, "a", random.Random(2))
    opened = await reopened(tmp_path)
    assert not opened.forked
    assert opened.identity.node_id == former.identity.node_id
    assert 1 < opened.identity.epoch <= 1 + EPOCH_STEP


async def test_a_node_that_stops_with_something_unsaved_is_not_called_damaged(tmp_path: Path) -> None:
    opened = await life(tmp_path, "x")
    opened = open_data(tmp_path, "a", random.Random(2))
    opened.replica.orset("set").add("unsaved")
    await opened.disk.close(None)
    again = await reopened(tmp_path)
    assert again.set_aside is None
    assert values(again) == ["x"]


# ---- copies


async def test_a_copied_directory_is_another_node_with_the_same_data(tmp_path: Path) -> None:
    original, copy = tmp_path / "original", tmp_path / "copy"
    original.mkdir()
    former = await life(original, "x")
    shutil.copytree(original, copy)
    copied = await reopened(copy)
    assert copied.forked == "it is a copy of the directory that was written"
    assert copied.identity.node_id != former.identity.node_id
    assert values(copied) == ["x"]
    assert copied.past.lives == ()
    same = await reopened(original)
    assert not same.forked
    assert same.identity.node_id == former.identity.node_id
    assert not (await reopened(copy)).forked, "it is told of once"


async def test_a_directory_that_was_moved_is_the_same_node(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    former = await life(place, "x")
    place.rename(tmp_path / "moved")
    opened = await reopened(tmp_path / "moved")
    assert opened.identity.node_id == former.identity.node_id


def put_back(former: Path, directory: Path) -> None:
    """Write every file of it over the one that is there, into the same inode, and all that a tool can set of it."""
    for file in former.iterdir():
        place = directory / file.name
        with open(place, "r+b" if place.exists() else "wb") as out:
            out.write(file.read_bytes())
            out.truncate()
        shutil.copystat(file, place)


async def test_an_old_state_that_is_put_back_in_place_makes_another_node(tmp_path: Path) -> None:
    """Also of the same life, as a backup has it that was made of a running node; and the mark is left out or not."""
    data, old = tmp_path / "data", tmp_path / "old"
    data.mkdir()
    former = await life(data, "x")
    shutil.copytree(data, old)
    put_back(old, data)
    opened = await reopened(data, seed=2)
    assert opened.forked == "it was put back in place, or its mark was changed"
    assert opened.identity.node_id != former.identity.node_id
    assert values(opened) == ["x"]


@pytest.mark.parametrize("when", ["in an earlier life", "in the same life"])
@pytest.mark.parametrize("marked", [True, False], ids=["with its mark", "without its mark"])
async def test_an_old_file_put_back_is_older_than_the_mark_that_is_there(
    when: str, marked: bool, tmp_path: Path
) -> None:
    data, old = tmp_path / "data", tmp_path / "old"
    data.mkdir()
    if when == "in the same life":
        former = await life(data, "x", stop=False)
        await save(former)
        shutil.copytree(data, old)
        former.replica.orset("set").add("y")
        await save(former)
        await former.disk.close(former.replica.fingerprint)
    else:
        former = await life(data, "x")
        shutil.copytree(data, old)
        await life(data, "y", seed=2)
    if not marked:
        mark_of(old).unlink()
    put_back(old, data)
    opened = await reopened(data, seed=3)
    if marked:  # it may have been given the same inode
        assert opened.forked in (
            "it is a copy of the directory that was written",
            "it was put back in place, or its mark was changed",
        )
    else:
        assert opened.forked == "it is older than its mark"
    assert opened.identity.node_id != former.identity.node_id
    assert values(opened) == ["x"]


async def test_a_file_that_takes_the_place_of_the_one_that_was_written_makes_another_node(tmp_path: Path) -> None:
    await life(tmp_path, "x")
    file = tmp_path / DATABASE_FILE
    shutil.copy2(file, tmp_path / "copy")
    (tmp_path / "copy").rename(file)
    assert (await reopened(tmp_path)).forked == "its file was replaced by another one"


async def test_another_machine_makes_another_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await life(tmp_path, "x")
    other = tmp_path / "machine-id"
    other.write_text("another")
    monkeypatch.setattr(marks, "_MACHINE_ID", other)
    assert (await reopened(tmp_path)).forked == "it was written on another machine"


@pytest.mark.parametrize("how", [Path.unlink, lambda mark: mark.write_bytes(b""), lambda mark: mark.chmod(0o644)])
async def test_a_mark_that_is_missing_or_was_changed_makes_another_node_with_the_same_data(
    how: Callable[[Path], object], tmp_path: Path
) -> None:
    former = await life(tmp_path, "x")
    how(mark_of(tmp_path))
    opened = await reopened(tmp_path)
    assert "mark" in opened.forked
    assert opened.identity.node_id != former.identity.node_id
    assert values(opened) == ["x"]


async def test_what_is_done_to_the_file_alone_makes_no_other_node(tmp_path: Path) -> None:
    former = await life(tmp_path, "x")
    (tmp_path / DATABASE_FILE).chmod(0o640)
    (tmp_path / "link").hardlink_to(tmp_path / DATABASE_FILE)
    opened = await reopened(tmp_path)
    assert not opened.forked
    assert opened.identity.node_id == former.identity.node_id


async def test_who_stops_leaves_a_directory_alone_that_has_come_in_place_of_its_own(tmp_path: Path) -> None:
    place, other = tmp_path / "place", tmp_path / "other"
    place.mkdir()
    other.mkdir()
    owner = await life(other, "x", seed=3)
    opened = await life(place, "y", stop=False)
    await save(opened)
    place.rename(tmp_path / "away")
    other.rename(place)
    await opened.disk.close(opened.replica.fingerprint)
    again = await reopened(place)
    assert not again.forked
    assert again.identity.node_id == owner.identity.node_id
    assert values(await reopened(tmp_path / "away")) == ["y"]


@pytest.mark.parametrize("call", ["make_mark", "begin", "remove_other_marks"])
@pytest.mark.parametrize("done", [False, True], ids=["before", "behind"])
async def test_a_start_that_is_cut_short_anywhere_leaves_the_node_what_it_was(
    call: str, done: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    former = await life(tmp_path, "x")
    place = database.Database if call == "begin" else opening
    original = getattr(place, call)

    def cut_short(*args: Any) -> None:
        if done:
            original(*args)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(place, call, cut_short)
        with pytest.raises(KeyboardInterrupt):
            open_data(tmp_path, "a", random.Random(2))
    opened = await reopened(tmp_path)
    assert not opened.forked
    assert opened.identity.node_id == former.identity.node_id
    assert named(tmp_path).count("mark") == 1, "those too many are removed"


async def test_a_first_start_that_is_cut_short_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut_short(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(database.Database, "begin", cut_short)
        with pytest.raises(KeyboardInterrupt):
            open_data(tmp_path, "a", random.Random(2))
    opened = await reopened(tmp_path)
    assert (opened.forked, opened.damage, opened.set_aside) == ("", "", None)


async def test_who_has_taken_another_identity_goes_on_as_that_one(tmp_path: Path) -> None:
    opened = await life(tmp_path, "x", stop=False)
    await save(opened)
    first = mark_of(tmp_path)
    other = Identity.fresh("a", random.Random(5))
    opened.disk.rename(other)
    await opened.disk.save(())
    assert mark_of(tmp_path) != first
    let_go(opened)
    again = await reopened(tmp_path)
    assert not again.forked
    assert again.identity.node_id == other.node_id


async def test_an_identity_that_cannot_be_written_at_first_leaves_one_mark(tmp_path: Path) -> None:
    opened = await life(tmp_path, "x", stop=False)
    await save(opened)
    faults = Faults()
    faults.into(opened.disk._database)
    opened.disk.rename(Identity.fresh("a", random.Random(5)))
    faults.begin(after=2)
    for _ in range(3):
        with pytest.raises(DiskFailed):
            await opened.disk.save(())
    assert named(tmp_path).count("mark") == 2
    faults.end()
    await opened.disk.save(())
    assert named(tmp_path).count("mark") == 1
    let_go(opened)
    assert not (await reopened(tmp_path)).forked


# ---- a WAL that was taken away, or cut

KILLED = """
import os, random, signal, sys, trio
from pathlib import Path
from gossip.storage.recovery import open_data

async def main(path, durability):
    opened = open_data(Path(path), "a", random.Random(1), durability=durability)
    for number in range(10):
        opened.replica.orset("set").add(number)
        opened.disk.replace()
        while opened.disk.has_more:
            await opened.disk.save(())
    os.kill(os.getpid(), signal.SIGKILL)

trio.run(main, *sys.argv[1:])
"""


def killed(directory: Path, durability: str = "full") -> Path:
    """A directory on which a process was killed that had written ten elements."""
    command = [sys.executable, "-c", KILLED, str(directory), durability]
    done = subprocess.run(command, timeout=60, check=False, env=environment())
    assert done.returncode == -signal.SIGKILL
    return directory / DATABASE_FILE


async def test_a_file_in_use_whose_wal_was_taken_away_is_a_copy(tmp_path: Path) -> None:
    file = killed(tmp_path)
    wal_of(file).unlink()
    before = named(tmp_path)
    assert lacks_wal(file)
    assert named(tmp_path) == before, "a look makes no file"
    opened = await reopened(tmp_path)
    assert opened.forked == "its write-ahead log is missing: the latest writes are not in it"
    assert opened.set_aside is None
    assert not (await reopened(tmp_path, seed=10)).forked, "it is told of once"


async def test_a_file_in_use_that_was_copied_without_its_wal_is_a_copy(tmp_path: Path) -> None:
    file = killed(tmp_path)
    (tmp_path / "copy").mkdir()
    shutil.copy2(file, tmp_path / "copy")
    assert "write-ahead log is missing" in (await reopened(tmp_path / "copy")).forked
    assert not (await reopened(tmp_path)).forked


KILLED_AT_THE_START = """
import os, random, signal, sys
from pathlib import Path
from gossip.storage.database import Database
from gossip.storage.recovery import open_data

Database.begin = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
open_data(Path(sys.argv[1]), "a", random.Random(2))
"""


async def test_a_missing_wal_is_known_of_even_if_the_first_start_behind_it_is_cut_short(tmp_path: Path) -> None:
    """As it makes a new WAL."""
    wal = wal_of(killed(tmp_path))
    wal.unlink()
    command = [sys.executable, "-c", KILLED_AT_THE_START, str(tmp_path)]
    done = subprocess.run(command, timeout=60, check=False, env=environment())
    assert done.returncode == -signal.SIGKILL
    assert wal.exists()
    assert (await reopened(tmp_path)).forked


async def test_a_failed_start_behind_a_kill_does_not_take_the_wal_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(tmp_path)

    def fail(*_: object) -> None:
        raise DiskFailed("the disk is full")

    for place in (database.Database, database.Database, opening):
        with monkeypatch.context() as patch:
            patch.setattr(place, "begin" if place is database.Database else "read_into", fail)
            with pytest.raises(DiskFailed):
                open_data(tmp_path, "a", random.Random(2))
    opened = await reopened(tmp_path)
    assert not opened.forked
    assert values(opened) == sorted(map(str, range(10)))


def damage_frame(wal: Path, number: int) -> None:
    """Change one byte of a page in the WAL."""
    content = bytearray(wal.read_bytes())
    content[32 + number * (24 + 4096) + 500] ^= 1
    wal.write_bytes(content)


@pytest.mark.parametrize("durability", ["full", "normal"])
async def test_transactions_behind_a_damaged_place_in_the_wal_are_missed(durability: str, tmp_path: Path) -> None:
    """A kill leaves no such thing; and what that life may have spent is nobody's."""
    file = killed(tmp_path, durability)
    frames = (wal_of(file).stat().st_size - 32) // (24 + 4096)
    damage_frame(wal_of(file), frames // 2)
    opened = await reopened(tmp_path)
    assert "write-ahead log is damaged" in opened.cut
    assert not opened.forked
    assert opened.replica.store.kernel.former == ()
    assert not (await reopened(tmp_path, seed=10)).cut, "it is told of once"


def damaged(directory: Path) -> bytes:
    """Damage the WAL of a process that was killed; returns what is in it."""
    wal = wal_of(killed(directory))
    damage_frame(wal, 1)
    return wal.read_bytes()


def kept_wals(directory: Path) -> list[str]:
    return sorted(file.name for file in directory.iterdir() if "-wal.damaged" in file.name)


async def test_a_damaged_wal_is_kept_as_it_was(tmp_path: Path) -> None:
    for number in (1, 2):
        content = damaged(tmp_path)
        opened = await reopened(tmp_path, seed=number)
        assert opened.cut
        assert opened.kept_wal == tmp_path / f"state.db-wal.damaged-{number}"
        assert opened.kept_wal.read_bytes() == content
        assert stat.S_IMODE(opened.kept_wal.stat().st_mode) == 0o600
    assert kept_wals(tmp_path) == ["state.db-wal.damaged-1", "state.db-wal.damaged-2"]


async def test_a_wal_that_is_not_damaged_is_not_kept(tmp_path: Path) -> None:
    killed(tmp_path)
    assert (await reopened(tmp_path)).kept_wal is None
    assert kept_wals(tmp_path) == []


@pytest.mark.parametrize("where", ["copy", "sync", "set up", "check", "read", "begin"])
async def test_a_start_that_fails_behind_a_damaged_wal_loses_neither_it_nor_word_of_it(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = damaged(tmp_path)
    place, call = {
        "copy": (asides.shutil, "copyfile"),
        "sync": (asides, "sync"),
        "set up": (database.Database, "_set_up"),
        "check": (database.Database, "_check"),
        "read": (opening, "read_into"),
        "begin": (database.Database, "begin"),
    }[where]

    def fail(*_: object) -> None:
        raise OSError(28, "no room")

    for _ in range(3):
        with monkeypatch.context() as patch:
            patch.setattr(place, call, fail)
            with pytest.raises((DiskFailed, OSError), match="no room"):
                open_data(tmp_path, "a", random.Random(2))
    opened = await reopened(tmp_path)
    assert opened.cut
    assert not opened.forked
    assert opened.replica.store.kernel.former == ()
    assert kept_wals(tmp_path) == ["state.db-wal.damaged-1"], "one for all attempts"
    assert opened.kept_wal is not None
    assert opened.kept_wal.read_bytes() == content
    assert not (await reopened(tmp_path, seed=10)).cut, "it is told of once"


async def test_a_damaged_wal_of_a_damaged_file_is_kept_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = damaged(tmp_path)

    def refuse(self: database.Database) -> None:
        monkeypatch.undo()
        raise DamagedData("its tables are of another moment")

    monkeypatch.setattr(database.Database, "_check", refuse)
    opened = await reopened(tmp_path)
    assert opened.set_aside == tmp_path / f"{DATABASE_FILE}.damaged-1"
    assert opened.kept_wal is not None
    assert opened.kept_wal.read_bytes() == content


async def test_the_end_of_a_wal_that_was_cut_short_is_no_damage(tmp_path: Path) -> None:
    file = killed(tmp_path)
    damage_frame(wal_of(file), (wal_of(file).stat().st_size - 32) // (24 + 4096) - 1)
    opened = await reopened(tmp_path)
    assert not opened.cut
    assert len(opened.replica.store.kernel.former) == 1


async def test_a_power_loss_may_take_many_transactions_that_were_not_synchronised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = killed(tmp_path, "normal")
    damage_frame(wal_of(file), (wal_of(file).stat().st_size - 32) // (24 + 4096) // 2)
    monkeypatch.setattr(marks, "_BOOT_ID", tmp_path / "none")
    opened = await reopened(tmp_path)
    assert not opened.cut
    assert opened.replica.store.kernel.former == ()


@pytest.mark.parametrize("boot", ["the same", "another", ""])
@pytest.mark.parametrize("durability", ["full", "normal"])
async def test_a_kill_takes_nothing_whatever_is_promised_and_a_power_loss_may(
    durability: str, boot: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, boot_id = tmp_path / "data", tmp_path / "boot_id"
    data.mkdir()
    killed(data, durability)
    if boot != "the same":
        boot_id.write_text(boot) if boot else None
        monkeypatch.setattr(marks, "_BOOT_ID", boot_id)
    opened = await reopened(data)
    assert values(opened) == sorted(map(str, range(10)))
    assert bool(opened.replica.store.kernel.former) == (durability == "full" or boot == "the same")


async def test_a_life_that_was_killed_behind_one_that_was_not_does_not_count_as_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, copy = tmp_path / "data", tmp_path / "copy"
    data.mkdir()
    await life(data, "x")
    killed(data, "normal")
    shutil.copytree(data, copy)
    wal_of(copy / DATABASE_FILE).unlink()
    assert "write-ahead log is missing" in (await reopened(copy)).forked
    monkeypatch.setattr(marks, "_BOOT_ID", tmp_path / "none")
    assert (await reopened(data)).replica.store.kernel.former == ()


async def test_who_has_stopped_in_good_order_has_forgotten_nothing_whatever_happens_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = open_data(tmp_path, "a", random.Random(1), durability="normal")
    opened.replica.orset("set").add("x")
    await save(opened)
    await opened.disk.close(opened.replica.fingerprint)
    monkeypatch.setattr(marks, "_BOOT_ID", tmp_path / "none")
    assert (await reopened(tmp_path)).replica.store.kernel.former == (opened.identity.replica_id,)


async def test_where_the_system_names_no_boot_a_kill_counts_as_a_power_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marks, "_BOOT_ID", tmp_path / "none")
    opened = open_data(tmp_path, "a", random.Random(1), durability="normal")
    opened.replica.orset("set").add("x")
    await save(opened)
    let_go(opened)
    assert (await reopened(tmp_path)).replica.store.kernel.former == ()


# ---- links


async def test_a_link_in_place_of_the_file_is_refused_and_one_in_place_of_the_directory_is_not(tmp_path: Path) -> None:
    data, link, other = tmp_path / "data", tmp_path / "link", tmp_path / "other"
    data.mkdir()
    other.mkdir()
    former = await life(data, "x")
    link.symlink_to(data)
    assert (await reopened(link)).identity.node_id == former.identity.node_id
    for target in (data / DATABASE_FILE, tmp_path / "nothing"):
        place = other / DATABASE_FILE
        place.symlink_to(target)
        with pytest.raises(ConfigError, match="make the directory a link"):
            open_data(other, "a", random.Random(2))
        assert [file.name for file in other.iterdir()] == [DATABASE_FILE]
        place.unlink()


# ---- the node


async def test_a_node_restarts_as_itself_and_with_what_it_had(tmp_path: Path) -> None:
    seen = []
    for number in range(3):
        async with open_node("a", data_dir=tmp_path, config=FAST) as node:
            assert len(node.orset("set")) == number
            node.orset("set").add(number)
            seen.append((node.id, node.replica.replica_id))
    assert len({each for each, _ in seen}) == 1
    assert len({replica for _, replica in seen}) == 3


async def test_a_node_says_that_it_was_copied_and_that_a_file_was_set_aside(tmp_path: Path) -> None:
    journal = Journal()
    original, copy = tmp_path / "original", tmp_path / "copy"
    async with open_node("a", data_dir=original, config=FAST) as node:
        pass
    shutil.copytree(original, copy)
    async with open_node("a", data_dir=copy, config=FAST, log=journal.logger):
        pass
    (line,) = journal.named("identity.forked")
    assert line["former_id"] == node.id
    assert line["id"] != node.id
    (copy / DATABASE_FILE).write_bytes(b"not a database" * 100)
    async with open_node("a", data_dir=copy, config=FAST, log=journal.logger):
        pass
    (line,) = journal.named("data.damaged")
    assert line["set_aside"] == str(copy / f"{DATABASE_FILE}.damaged-1")


async def test_a_mark_that_cannot_be_written_is_not_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk takes the name of a file, not its content; it is tried again every two seconds."""
    opened = await life(tmp_path, "x", stop=False)
    opened.disk.rename(Identity.fresh("a", random.Random(2)))

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        for _ in range(3):
            with pytest.raises(DiskFailed, match="the mark beside"):
                await opened.disk.save(())
    assert len(marks.marks_in(tmp_path)) == 1
    await save(opened)
    let_go(opened)
    assert not (await reopened(tmp_path)).forked
