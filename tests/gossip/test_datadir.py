"""A data directory: one process at a time, one id for ever, a new epoch at every start, also after a crash."""

import json
import os
import random
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gossip import ConfigError, DataDirInUse, open_node
from gossip.datadir import DataDir
from gossip.protocol import Identity


def identity(path: Path, name: str = "a", seed: int = 1) -> Identity:
    with DataDir(path) as directory:
        return directory.next_identity(name, random.Random(seed))


def test_the_id_stays_and_the_epoch_grows(tmp_path: Path) -> None:
    lives = [identity(tmp_path, name=f"name {n}", seed=n) for n in range(3)]
    assert [life.epoch for life in lives] == [1, 2, 3]
    assert len({life.node_id for life in lives}) == 1
    assert len({life.replica_id for life in lives}) == 3
    assert lives[2].name == "name 2"


def test_two_directories_are_two_nodes(tmp_path: Path) -> None:
    assert identity(tmp_path / "a", seed=1).node_id != identity(tmp_path / "b", seed=2).node_id


def test_the_directory_is_made_for_this_user_only(tmp_path: Path) -> None:
    place = tmp_path / "some" / "where"
    identity(place)
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in place.iterdir()} == {0o600}


def test_a_second_user_is_refused_and_the_first_is_named(tmp_path: Path) -> None:
    expected = f"{tmp_path} is in use by process {os.getpid()}; .* another"
    with DataDir(tmp_path), pytest.raises(DataDirInUse, match=expected):
        DataDir(tmp_path)
    with DataDir(tmp_path):
        pass


def test_another_process_is_refused_and_this_one_is_named(tmp_path: Path) -> None:
    program = "import sys; from gossip.datadir import DataDir; DataDir(sys.argv[1])"
    with DataDir(tmp_path):
        done = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, timeout=30, check=False
        )
    assert f"DataDirInUse: {tmp_path} is in use by process {os.getpid()};" in done.stderr


def test_a_directory_left_by_a_process_that_was_killed_is_free(tmp_path: Path) -> None:
    program = """
import os, random, signal, sys
from gossip.datadir import DataDir
DataDir(sys.argv[1]).next_identity("a", random.Random())
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], timeout=30, check=False)
    assert identity(tmp_path).epoch == 2


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"node_id": "0011223344556677"}',
        b'{"node_id": "0011223344556677", "epoch": "2"}',
        b'{"node_id": "0011223344556677", "epoch": true}',
        b'{"node_id": "0011223344556677", "epoch": 0}',
        b'{"node_id": "0011223344556677", "epoch": -4}',
        b'{"node_id": "0011223344556677", "epoch": 4611686018427387903}',
        b'{"node_id": "0011223344556677", "epoch": 4294967296}',
        b'{"node_id": "00112233", "epoch": 1}',
        b'{"node_id": "zz11223344556677", "epoch": 1}',
        b'{"node_id": 7, "epoch": 1}',
    ],
    ids=lambda content: content[:60].decode("latin-1"),
)
def test_a_damaged_identity_is_refused_and_kept(tmp_path: Path, content: bytes) -> None:
    """Starting as somebody else must be the user's decision."""
    file = tmp_path / "identity.json"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=f"{file} is damaged; remove it"):
        identity(tmp_path)
    assert file.read_bytes() == content
    file.unlink()
    assert identity(tmp_path).epoch == 1


def test_an_identity_that_cannot_be_read_is_not_called_damaged(tmp_path: Path) -> None:
    (tmp_path / "identity.json").mkdir()
    with pytest.raises(ConfigError, match=r"cannot read .*identity\.json: Is a directory"):
        identity(tmp_path)


def test_an_epoch_that_was_begun_and_not_finished_is_begun_again(tmp_path: Path) -> None:
    identity(tmp_path)
    (tmp_path / "identity.new").write_text('{"node_id": "torn')
    assert identity(tmp_path).epoch == 2


def test_a_name_that_is_none_costs_no_epoch(tmp_path: Path) -> None:
    identity(tmp_path)
    with pytest.raises(ConfigError, match="printable"):
        identity(tmp_path, name="\x1b[31m")
    assert identity(tmp_path).epoch == 2


def test_a_path_that_is_a_file_or_lies_below_one_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    for place in (file, file / "below"):
        with pytest.raises(ConfigError, match=f"cannot use {place} as data directory: .*; choose another"):
            DataDir(place)


def test_a_full_disk_is_told_of_and_the_old_identity_kept(tmp_path: Path) -> None:
    """A limit on the size of files stands for the full disk: both refuse the write itself."""
    identity(tmp_path)
    before = json.loads((tmp_path / "identity.json").read_text())
    program = """
import random, resource, sys
from gossip.datadir import DataDir
directory = DataDir(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
directory.next_identity("a", random.Random())
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, timeout=30, check=False
    )
    assert "ConfigError: cannot write" in done.stderr
    assert json.loads((tmp_path / "identity.json").read_text()) == before
    assert identity(tmp_path).epoch == before["epoch"] + 1


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace, to see system calls")
def test_a_new_epoch_is_on_the_disk_before_it_is_used(tmp_path: Path) -> None:
    """The file is synchronised before it takes its name, and the directory after."""
    identity(tmp_path / "data")
    program = "import random, sys; from gossip.datadir import DataDir; "
    program += "DataDir(sys.argv[1]).next_identity('a', random.Random()); print('used')"
    calls = "trace=fsync,fdatasync,rename,renameat,renameat2,write"
    command = ["strace", "-qq", "-y", "-e", calls, sys.executable, "-c", program, str(tmp_path / "data")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if "ptrace" in done.stderr.lower():
        pytest.skip("this system lets nobody trace")
    told = re.findall(r"^(fsync|rename|write)\w*\((.*)", done.stderr, re.MULTILINE)
    order = [name for name, rest in told if "identity" in rest or str(tmp_path) in rest or "used" in rest]
    assert order == ["write", "fsync", "rename", "fsync", "write"], done.stderr


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


async def test_a_node_restarts_as_itself_under_a_new_epoch(tmp_path: Path) -> None:
    seen = []
    for _ in range(2):
        async with open_node("a", data_dir=tmp_path) as node:
            seen.append((node.id, node.replica.replica_id))
    assert seen[0][0] == seen[1][0]
    assert [replica for _, replica in seen] == [f"{seen[0][0]}.1", f"{seen[0][0]}.2"]


async def test_a_relative_directory_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with open_node("a", data_dir="here"):
        monkeypatch.chdir("/")
    assert sorted(file.name for file in (tmp_path / "here").iterdir()) == ["identity.json", "lock"]
