"""Who a node is when it starts again, and what it finds: after a stop, a crash, damage, and with a copy."""

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

import pytest

from crdts import Value
from gossip import open_node
from gossip.storage import database
from gossip.storage.errors import DiskFailed, StorageError, UnknownFormat
from gossip.storage.files import DATABASE_FILE
from gossip.storage.marks import MARK_FILE, set_mark
from gossip.storage.opening import EPOCH_STEP, Opened, open_data

from ..live import FAST, Journal


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
from gossip.storage.opening import open_data
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
    assert opened.lives == (killed.identity.replica_id,)
    assert opened.identity.node_id == killed.identity.node_id


async def test_everything_in_the_directory_is_for_this_user_only(tmp_path: Path) -> None:
    opened = await life(tmp_path, "x", stop=False)
    await save(opened)
    files = [file for file in tmp_path.iterdir() if file.is_file()]
    assert {file.name for file in files} == {DATABASE_FILE, f"{DATABASE_FILE}-wal", MARK_FILE}
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    let_go(opened)


# ---- damage


def mark_anew(file: Path) -> None:
    """As if the disk had done it, and not a program: then no ctime tells."""
    set_mark(file, 1, closed=True)


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
    mark_anew(file)
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
        mark_anew(file)

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

    def fail(self: database.Database, key: str, value: object) -> None:
        self._connection.execute("CREATE TABLE something (x)")
        self._connection.execute("DROP TABLE something")
        raise DiskFailed("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(database.Database, "put", fail)
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
    assert copied.forked == "it is a copy of the file that was written"
    assert copied.identity.node_id != former.identity.node_id
    assert values(copied) == ["x"]
    assert copied.lives == ()
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


async def test_an_old_state_that_is_written_over_the_file_makes_another_node(tmp_path: Path) -> None:
    former = await life(tmp_path, "x")
    file = tmp_path / DATABASE_FILE
    backup = tmp_path / "backup"
    shutil.copy2(file, backup)
    await life(tmp_path, "y", seed=2)
    mark = (tmp_path / MARK_FILE).read_bytes()
    with open(file, "r+b") as out:  # into the same inode
        out.write(backup.read_bytes())
        out.truncate()
    shutil.copystat(backup, file)
    assert (tmp_path / MARK_FILE).read_bytes() == mark
    opened = await reopened(tmp_path)
    assert opened.forked == "it was changed after the node had stopped"
    assert opened.identity.node_id != former.identity.node_id
    assert values(opened) == ["x"]


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b"null", b'{"machine": ""}', b"[" * 100_000])
async def test_a_mark_that_is_missing_or_damaged_makes_another_node_with_the_same_data(
    content: bytes | None, tmp_path: Path
) -> None:
    former = await life(tmp_path, "x")
    mark = tmp_path / MARK_FILE
    mark.unlink()
    if content is not None:
        mark.write_bytes(content)
    opened = await reopened(tmp_path)
    assert "mark" in opened.forked
    assert opened.identity.node_id != former.identity.node_id
    assert values(opened) == ["x"]


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
    async with open_node("a", data_dir=original, config=FAST):
        pass
    shutil.copytree(original, copy)
    async with open_node("a", data_dir=copy, config=FAST, log=journal.logger):
        pass
    assert len(journal.named("identity.forked")) == 1
    (copy / DATABASE_FILE).write_bytes(b"not a database" * 100)
    async with open_node("a", data_dir=copy, config=FAST, log=journal.logger):
        pass
    (line,) = journal.named("data.damaged")
    assert line["set_aside"] == str(copy / f"{DATABASE_FILE}.damaged-1")
