"""Backups: a copy is whole, sound and nobody's, or not there; and what is put back is what was copied."""

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Event, Thread

import pytest

from crdts import Replica
from gossip.protocol import Persist
from gossip.protocol.errors import ConfigError, DataDirInUse, NotRunning
from gossip.storage import database as database_module
from gossip.storage.backup import Restored, back_up, back_up_closed, restore_into
from gossip.storage.database import NORMAL, Database
from gossip.storage.datadir import DataDir
from gossip.storage.errors import DamagedData, DiskFailed, UnknownFormat
from gossip.storage.rows import Transaction, read_into, rows_of

from ..cli.process import environment
from .faults import may_mount

LARGE = "x" * 5_000


class Kept:
    """A replica, and the database that every write to it goes into."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.path = directory / "state.db"
        self.database = Database(self.path, durability=NORMAL)
        self.replica = Replica("node.1")
        self.row = 0
        self.database.begin({"node_id": b"12345678"}, {"name": "mark"})
        self.replica.on_write(self._save)

    def _save(self, events: tuple) -> None:
        self.row += 1
        transaction = Transaction((Persist(self.row, events, (), ()),))
        self.database.write(transaction, rows_of(transaction), self.row)


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    kept = Kept(tmp_path / "a")
    for number in range(50):
        kept.replica.lwwmap("m").set(f"{number}", LARGE + str(number))
    yield kept
    kept.database.close()


def do_nothing() -> None:
    pass


def read(file: Path) -> Replica:
    with closing(Database(file)) as found:
        replica = Replica("reader")
        read_into(replica, found.contents())
    return replica


def test_a_copy_has_all_data_and_nothing_of_who_wrote_it(kept: Kept, tmp_path: Path) -> None:
    target = tmp_path / "b.db"
    assert back_up(kept.database, target, replace=False, pause=do_nothing) == target.stat().st_size
    assert b"12345678" not in target.read_bytes()
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["b.db"]
    with closing(sqlite3.connect(f"file:{target}?mode=ro&immutable=1", uri=True)) as copy:
        assert copy.execute("SELECT key FROM meta").fetchall() == []
    assert read(target).fingerprint == kept.replica.fingerprint


def test_what_is_written_during_a_copy_is_in_it_and_nobody_waits_for_its_end(
    kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "COPY_PAGES", 2)
    written: list[int] = []

    def write() -> None:
        if len(written) < 20:
            written.append(len(written))
            thread = Thread(target=kept.replica.lwwmap("m").set, args=(f"{len(written)}", f"late {len(written)}"))
            thread.start()
            thread.join()

    back_up(kept.database, tmp_path / "b.db", replace=False, pause=write)
    assert len(written) == 20
    assert read(tmp_path / "b.db").fingerprint == kept.replica.fingerprint


def test_a_copy_ends_where_the_database_is_closed(kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "COPY_PAGES", 1)
    started, closed = Event(), Event()

    def close() -> None:
        started.wait()
        kept.database.close()
        closed.set()

    closing_thread = Thread(target=close)
    closing_thread.start()
    with pytest.raises(NotRunning):
        back_up(kept.database, tmp_path / "b.db", replace=False, pause=started.set)
    closing_thread.join()
    assert closed.is_set()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_copy_that_is_called_off_leaves_nothing(kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "COPY_PAGES", 1)

    def refuse() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        back_up(kept.database, tmp_path / "b.db", replace=False, pause=refuse)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    kept.replica.lwwmap("m").set("still", "works")


def test_an_existing_file_is_replaced_only_if_that_is_meant(kept: Kept, tmp_path: Path) -> None:
    target = tmp_path / "b.db"
    target.write_text("precious")
    with pytest.raises(ConfigError, match="exists"):
        back_up(kept.database, target, replace=False, pause=do_nothing)
    assert target.read_text() == "precious"
    back_up(kept.database, target, replace=True, pause=do_nothing)
    assert read(target).fingerprint == kept.replica.fingerprint


def test_a_file_that_comes_while_the_copy_is_made_is_not_replaced(kept: Kept, tmp_path: Path) -> None:
    target = tmp_path / "b.db"
    with pytest.raises(ConfigError, match="exists"):
        back_up(kept.database, target, replace=False, pause=lambda: target.write_text("precious") and None)
    assert target.read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b.db"]


@pytest.mark.parametrize("name", ["a/state.db", "a/copy.db", "a/../a/mark", "directory"])
def test_no_copy_is_put_where_it_would_do_harm(kept: Kept, tmp_path: Path, name: str) -> None:
    (tmp_path / "directory").mkdir()
    before = kept.path.read_bytes()
    with pytest.raises(ConfigError):
        back_up(kept.database, tmp_path / name, replace=True, pause=do_nothing)
    assert kept.path.read_bytes() == before


@pytest.mark.parametrize("name", ["state.db", "state.db-wal", "mark.json"])
def test_no_copy_replaces_a_file_of_the_node_that_has_another_name_too(kept: Kept, tmp_path: Path, name: str) -> None:
    own = tmp_path / "a" / name
    own.touch()
    target = tmp_path / "b.db"
    target.hardlink_to(own)
    before = own.stat()
    with pytest.raises(ConfigError, match=f"{target} is {own}, the node's own file, under another name"):
        back_up(kept.database, target, replace=True, pause=do_nothing)
    with pytest.raises(ConfigError, match="the node's own file"):
        back_up_closed(tmp_path / "a", target, replace=True)
    assert own.stat() == before


def test_no_copy_is_put_into_the_directory_by_another_way(kept: Kept, tmp_path: Path) -> None:
    (tmp_path / "there").symlink_to(tmp_path / "a")
    with pytest.raises(ConfigError, match="holds the node's own files"):
        back_up(kept.database, tmp_path / "there" / "state.db", replace=True, pause=do_nothing)


def test_a_place_that_cannot_be_written_is_named(kept: Kept, tmp_path: Path) -> None:
    says = r"nowhere/b\.db cannot be written: No such file or directory; name a file in a directory that is there"
    with pytest.raises(ConfigError, match=says):  # the node's own disk is well
        back_up(kept.database, tmp_path / "nowhere" / "b.db", replace=False, pause=do_nothing)


def test_a_directory_where_nobody_runs_is_copied_and_left_as_it_was(kept: Kept, tmp_path: Path) -> None:
    """Also what a killed process left in the WAL: the marks that tell copies by must stay."""
    shutil.copytree(tmp_path / "a", tmp_path / "killed")  # with the WAL that nobody has closed
    before = {path.name: (path.read_bytes(), path.stat().st_ctime_ns) for path in (tmp_path / "killed").iterdir()}
    assert "state.db-wal" in before
    back_up_closed(tmp_path / "killed", tmp_path / "b.db", replace=False)
    after = {path.name: (path.read_bytes(), path.stat().st_ctime_ns) for path in (tmp_path / "killed").iterdir()}
    del after["lock"]
    assert after == before
    assert read(tmp_path / "b.db").fingerprint == kept.replica.fingerprint


READ_ONLY = """
import sys
from pathlib import Path
from gossip.storage.backup import back_up_closed
back_up_closed(Path(sys.argv[1]), Path(sys.argv[2]), replace=False)
"""


@pytest.mark.skipif(not may_mount(), reason="needs the right to mount")
def test_a_directory_on_a_read_only_disk_is_copied(kept: Kept, tmp_path: Path) -> None:
    shutil.copytree(tmp_path / "a", tmp_path / "killed")
    script = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && ! touch "$1/x" && exec "$3" -c "$4" "$1" "$2"'
    places = str(tmp_path / "killed"), str(tmp_path / "b.db")
    command = ["unshare", "-m", "sh", "-c", script, "sh", *places, sys.executable, READ_ONLY]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment())
    assert done.returncode == 0, done.stderr
    assert read(tmp_path / "b.db").fingerprint == kept.replica.fingerprint


def test_a_link_to_a_file_is_not_copied_without_its_wal(kept: Kept, tmp_path: Path) -> None:
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "state.db").symlink_to(kept.path)
    with pytest.raises(ConfigError, match="symbolic link"):
        back_up_closed(tmp_path / "link", tmp_path / "b.db", replace=False)


def test_a_directory_in_use_is_not_copied_behind_its_owners_back(kept: Kept, tmp_path: Path) -> None:
    with DataDir(tmp_path / "a"), pytest.raises(DataDirInUse):
        back_up_closed(tmp_path / "a", tmp_path / "b.db", replace=False)


# ---- the way back


@pytest.fixture
def backup(kept: Kept, tmp_path: Path) -> Path:
    back_up(kept.database, tmp_path / "b.db", replace=False, pause=do_nothing)
    return tmp_path / "b.db"


@pytest.mark.parametrize("prepared", ["new", "empty", "locked once", "deep/down"])
def test_a_backup_becomes_a_data_directory(kept: Kept, backup: Path, tmp_path: Path, prepared: str) -> None:
    directory = tmp_path / prepared
    if prepared in ("empty", "locked once"):
        directory.mkdir()
    if prepared == "locked once":
        DataDir(directory).close()
    before = backup.read_bytes()
    assert restore_into(backup, directory) == Restored(objects=1, entries=50)
    assert backup.read_bytes() == before
    assert sorted(path.name for path in directory.iterdir()) == ["lock", "state.db"]
    assert stat.S_IMODE((directory / "state.db").stat().st_mode) == 0o600
    assert read(directory / "state.db").fingerprint == kept.replica.fingerprint


def test_a_directory_that_holds_anything_is_left_alone(backup: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "state.db").write_text("precious")
    with pytest.raises(ConfigError, match="not empty"):
        restore_into(backup, tmp_path / "full")
    assert [path.read_text() for path in (tmp_path / "full").iterdir()] == ["precious"]


def test_a_directory_in_use_is_not_restored_into(backup: Path, tmp_path: Path) -> None:
    with DataDir(tmp_path / "new"), pytest.raises(DataDirInUse):
        restore_into(backup, tmp_path / "new")


def damage(backup: Path) -> Iterator[tuple[bytes, str]]:
    """The backup with a byte changed, or cut, at many places that matter."""
    whole = backup.read_bytes()
    for at in range(0, len(whole), 4096):
        yield whole[:at] + b"\xff" * 64 + whole[at + 64 :], f"page at {at}"
    for length in (*range(0, 200, 50), 4096, len(whole) // 2, len(whole) - 4096):
        yield whole[:length], f"cut to {length}"
    text = whole.find(LARGE[:100].encode())
    yield whole[:text] + b"y" + whole[text + 1 :], "one letter of a value"


def test_no_damaged_backup_is_restored_and_nothing_is_left_of_the_attempt(backup: Path, tmp_path: Path) -> None:
    """A changed page that holds nothing is no damage: then all of the data is there."""
    whole = read(backup).fingerprint
    refused: dict[str, str] = {}
    for content, what in damage(backup):
        bad = tmp_path / "bad.db"
        bad.write_bytes(content)
        try:
            restore_into(bad, tmp_path / "new")
        except (DamagedData, ConfigError) as error:
            refused[what] = str(error)
            assert not (tmp_path / "new").exists(), what
        else:
            assert read(tmp_path / "new" / "state.db").fingerprint == whole, what
            shutil.rmtree(tmp_path / "new")
    assert len(refused) > 10
    assert "one letter of a value" in refused
    assert [what for what, told in refused.items() if "bad.db" not in told] == []


def test_other_files_are_told_from_backups(kept: Kept, backup: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    with closing(sqlite3.connect(other)) as foreign:
        foreign.execute("CREATE TABLE meta (x)")
        foreign.commit()
    text = tmp_path / "text"
    text.write_text('{"gossip": 1}')
    own = tmp_path / "own.db"
    own.write_bytes(kept.path.read_bytes())
    for file, expected, says in (
        (other, DamagedData, "holds no node's data"),
        (text, ConfigError, "is no backup"),
        (own, ConfigError, "a node's own file"),
        (tmp_path / "missing", ConfigError, r"missing: No such file or directory; .*`gossip backup`"),
        (tmp_path, ConfigError, "is a directory; name a regular file"),
    ):
        with pytest.raises(expected, match=says):
            restore_into(file, tmp_path / "new")
        assert not (tmp_path / "new").exists()


def test_a_backup_of_a_later_release_is_refused(backup: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(backup)) as later:
        later.execute("PRAGMA user_version = 99")
    with pytest.raises(UnknownFormat, match="format 99"):
        restore_into(backup, tmp_path / "new")


def test_a_damaged_file_is_not_copied_and_its_owner_is_told_what_to_do(kept: Kept, tmp_path: Path) -> None:
    kept.database.close()
    directory = tmp_path / "damaged"
    directory.mkdir()
    whole = kept.path.read_bytes()
    text = whole.find(LARGE[:100].encode())
    contents = {
        "empty": b"",
        "not SQLite's": b"no database" * 1000,
        "cut": whole[: len(whole) // 2],
        "a page": whole[:8192] + b"\xff" * 4096 + whole[8192 + 4096 :],
        "a letter": whole[:text] + b"y" + whole[text + 1 :],
    }
    for what, content in contents.items():
        (directory / "state.db").write_bytes(content)
        with pytest.raises(DamagedData, match=r"state\.db.*; there is no backup of it\. Start a node there") as refused:
            back_up_closed(directory, tmp_path / "b.db", replace=False)
        told = str(refused.value)
        assert "\n" not in told, what
        assert "***" not in told, what
        assert not (tmp_path / "b.db").exists(), what


def test_a_full_disk_leaves_no_half_of_a_copy(kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(DiskFailed, match="No space left"):
        back_up(kept.database, tmp_path / "b.db", replace=False, pause=do_nothing)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
