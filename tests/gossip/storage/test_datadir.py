"""A data directory: it belongs to one process at a time. Who that is, and what is in it, is in `storage`."""

import errno
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gossip import ConfigError, DataDirInUse, open_node
from gossip.storage.datadir import KERNEL_LOCKS, LOCK_FILE, DataDir

from .marking import named


def test_the_directory_is_made_for_this_user_only(tmp_path: Path) -> None:
    place = tmp_path / "some" / "where"
    with DataDir(place):
        pass
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in place.iterdir()} == {0o600}


OPEN = "import sys; from gossip.storage.datadir import DataDir; DataDir(sys.argv[1])"
"""A program that opens a directory."""


FILES_ONLY = f"""
import errno, fcntl, os, stat
flock = fcntl.flock

def of_files_only(handle, operation):
    if stat.S_ISDIR(os.fstat(handle).st_mode):
        raise OSError(errno.EBADF, "Bad file descriptor")
    flock(handle, operation)

fcntl.flock = of_files_only
{OPEN}
"""
"""The same, where a directory cannot be locked, as on a network file system."""


def opened_elsewhere(path: Path, program: str = OPEN) -> str:
    """What a process says that opens it."""
    command = [sys.executable, "-c", program, str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False).stderr


def test_who_opens_a_directory_twice_is_told_that_it_is_itself(tmp_path: Path) -> None:
    expected = f"{tmp_path} is in use: this process has it open already, .* close it first, or give this one another"
    (tmp_path / "there").symlink_to(tmp_path)
    with DataDir(tmp_path):
        with pytest.raises(DataDirInUse, match=expected):
            DataDir(tmp_path)
        with pytest.raises(DataDirInUse, match="this process has it open already"):
            DataDir(tmp_path / "there")
    with DataDir(tmp_path):
        pass


def test_a_process_that_was_forked_from_the_owner_is_told_so(tmp_path: Path) -> None:
    program = """
import os, sys
from gossip.storage.datadir import DataDir
directory = DataDir(sys.argv[1])
if child := os.fork():
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
DataDir(sys.argv[1])
"""
    said = opened_elsewhere(tmp_path, program)
    assert "this process has it open already, or the one that it was forked from" in said


def test_another_process_is_refused_and_this_one_is_named(tmp_path: Path) -> None:
    with DataDir(tmp_path):
        said = opened_elsewhere(tmp_path)
    assert f"DataDirInUse: {tmp_path} is in use by process {os.getpid()}; stop it, or give this node another" in said


def test_a_directory_without_its_lock_file_is_still_this_process_s(tmp_path: Path) -> None:
    with DataDir(tmp_path):
        (tmp_path / LOCK_FILE).unlink()
        said = opened_elsewhere(tmp_path)
        assert not (tmp_path / LOCK_FILE).exists()
    named = f"process {os.getpid()}" if KERNEL_LOCKS.exists() else "another process"
    assert f"DataDirInUse: {tmp_path} is in use by {named}; stop it" in said
    assert opened_elsewhere(tmp_path) == ""


def test_a_process_that_was_forked_does_not_keep_the_directory_from_others(tmp_path: Path) -> None:
    program = """
import os, signal, sys
from gossip.storage.datadir import DataDir
held = DataDir(sys.argv[1])
if os.fork():
    sys.stdin.readline()
    os.kill(os.getpid(), signal.SIGKILL)
print("forked", flush=True)
signal.pause()
"""
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as owner:
        assert owner.stdin is not None
        assert owner.stdout is not None
        try:
            assert owner.stdout.readline() == "forked\n"
            assert f"is in use by process {owner.pid};" in opened_elsewhere(tmp_path), "the first one holds it still"
            owner.stdin.write("\n")
            owner.stdin.flush()
            owner.wait(10)
            assert opened_elsewhere(tmp_path) == ""
        finally:
            os.killpg(owner.pid, signal.SIGKILL)


def test_where_a_directory_cannot_be_locked_its_lock_file_is(tmp_path: Path) -> None:
    program = (
        FILES_ONLY
        + """
print("locked", flush=True)
sys.stdin.read()
"""
    )
    command = [sys.executable, "-c", program.replace("; DataDir(", "; held = DataDir("), str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "locked\n"
        assert f"is in use by process {owner.pid};" in opened_elsewhere(tmp_path, FILES_ONLY)
        owner.kill()


def test_a_directory_that_is_kept_stays_locked(tmp_path: Path) -> None:
    with DataDir(tmp_path) as directory:
        directory.keep()
    try:
        assert "DataDirInUse" in opened_elsewhere(tmp_path)
        with pytest.raises(DataDirInUse):
            DataDir(tmp_path)
    finally:
        directory._kept = False
        directory.close()
    assert opened_elsewhere(tmp_path) == ""


def test_a_directory_left_by_a_process_that_was_killed_is_free(tmp_path: Path) -> None:
    program = """
import os, signal, sys
from gossip.storage.datadir import DataDir
directory = DataDir(sys.argv[1])
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], timeout=30, check=False)
    assert done.returncode == -signal.SIGKILL
    with DataDir(tmp_path):
        pass


@pytest.mark.parametrize("was_used", [True, False])
def test_a_directory_on_a_read_only_disk_can_be_taken_to_read_it_unless_it_is_in_use(
    was_used: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if was_used:
        DataDir(tmp_path).close()
    opened = os.open

    def open_to_read(path: Any, flags: int, *rest: Any) -> int:
        if flags & (os.O_RDWR | os.O_WRONLY | os.O_CREAT):
            raise OSError(errno.EROFS, "Read-only file system")
        return opened(path, flags, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", open_to_read)
        with pytest.raises(ConfigError, match="Read-only file system"):
            DataDir(tmp_path)
        with DataDir(tmp_path, to_read=True), DataDir(tmp_path, to_read=True):
            pass
    if was_used:
        with DataDir(tmp_path), monkeypatch.context() as patch:
            patch.setattr(os, "open", open_to_read)
            with pytest.raises(DataDirInUse, match="this process has it open already"):
                DataDir(tmp_path, to_read=True)


def test_a_path_that_is_a_file_or_lies_below_one_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    for place, what in ((file, "it is a file"), (file / "below", f"{file} is a file")):
        with pytest.raises(ConfigError, match=f"cannot use {place} as data directory: {what}; choose another"):
            DataDir(place)


async def test_an_empty_path_is_no_data_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="data_dir is empty; name a directory"):
        async with open_node("a", data_dir=""):
            pass
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("durability", ["full", "normal"])
async def test_nothing_is_promised_without_a_place_to_keep_it(durability: str) -> None:
    with pytest.raises(ConfigError, match=f"durability '{durability}' needs a directory .* data_dir"):
        async with open_node("a", durability=durability):
            pass
    for options in ({}, {"durability": "none"}):
        async with open_node("a", **options) as node:
            assert node.storage().durability == "none"


async def test_a_node_that_cannot_start_leaves_its_directory_free(tmp_path: Path) -> None:
    async with open_node("first") as first:
        with pytest.raises(ConfigError, match="in use"):
            async with open_node("second", bind=str(first.address), data_dir=tmp_path):
                pass
    with DataDir(tmp_path):
        pass


async def test_settings_that_cannot_be_are_refused_before_a_directory_is_made(tmp_path: Path) -> None:
    wrong: list[dict[str, Any]] = [{"bind": "0.0.0.0:0"}, {"join": ["x"]}, {"bind": "nowhere.invalid:0"}]
    for options in wrong:
        with pytest.raises(ConfigError):
            async with open_node("a", data_dir=tmp_path / "new", **options):
                pass
    assert not (tmp_path / "new").exists()


async def test_a_relative_directory_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with open_node("a", data_dir="here"):
        monkeypatch.chdir("/")
    assert named(tmp_path / "here") == ["lock", "mark", "state.db"]
