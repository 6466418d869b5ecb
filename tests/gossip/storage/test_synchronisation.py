"""What "durable" means in system calls: a write is on the disk itself before anybody is told that it is."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ..cli.process import environment

PROGRAM = """
import os, sys, trio
from gossip import Config, open_node

async def main(path, durability):
    async with open_node("a", data_dir=path, durability=durability, config=Config.local()) as node:
        os.write(1, b"started")
        for number in range(5):
            node.orset("set").add(number)
            await node.flush()
            os.write(1, b"saved")
    os.write(1, b"stopped")

trio.run(main, *sys.argv[1:])
"""

PERSISTENT = """
import sys, trio
from gossip import Config, open_node
from gossip.storage.errors import DiskFailed

async def main(path):
    refused = 0
    async with open_node("a", data_dir=path, config=Config.local()) as node:
        for number in range(100):
            while True:
                try:
                    node.orset("set").add(number)
                    await node.flush()
                    break
                except DiskFailed as error:
                    assert "reports an error" in str(error), error
                    refused += 1
                    await trio.sleep(0.05)
        before = node.replica.fingerprint
    async with open_node("a", data_dir=path, config=Config.local()) as node:
        assert node.replica.fingerprint == before
        assert {*node.orset("set")} == {*range(100)}
    print("refused", refused)

trio.run(main, sys.argv[1])
"""

pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace, to see system calls")


def calls_of(path: Path, durability: str) -> list[str]:
    """What it did to its files, and what it said, in order."""
    trace = "trace=fsync,fdatasync,rename,renameat,renameat2,write"
    command = ["strace", "-f", "-qq", "-y", "-e", trace, sys.executable, "-c", PROGRAM, str(path), durability]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment())
    if "ptrace" in done.stderr.lower():
        pytest.skip("this system lets nobody trace")
    assert done.returncode == 0, done.stderr
    calls = []
    for name, rest in re.findall(r"(fsync|fdatasync|rename|write)\w*\((.*)", done.stderr):
        if said := re.search(r'"(started|saved|stopped)"', rest):
            calls.append(said[1])
        elif name != "write" and (file := re.search(rf"{re.escape(str(path))}/?([\w.-]*)", rest)):
            calls.append(f"{name.replace('fdatasync', 'fsync')} {file[1] or 'directory'}")
    return calls


def test_a_write_is_synchronised_before_it_counts_as_saved(tmp_path: Path) -> None:
    calls = calls_of(tmp_path / "data", "full")
    before, _, rest = " | ".join(calls).partition("started")
    assert re.search(r"fsync mark-\w+ \| fsync directory \| fsync state\.db-wal \| .*fsync state\.db \|", before), calls
    for until_saved in rest.split("saved")[:5]:
        assert "fsync state.db-wal" in until_saved, calls


def test_less_durability_synchronises_who_it_is_and_nothing_that_is_written(tmp_path: Path) -> None:
    calls = calls_of(tmp_path / "data", "normal")
    before, _, rest = " | ".join(calls).partition("started")
    assert "fsync state.db-wal" in before
    first, *others = rest.split("saved")[:5]
    assert first.count("fsync") <= 1, "the head of the WAL, which begins anew behind a checkpoint"
    assert not any("fsync" in until_saved for until_saved in others), calls


def test_a_synchronisation_that_fails_is_told_of_and_made_good(tmp_path: Path) -> None:
    """The kernel says EIO for a while: what was not synchronised is written again, and nothing counts until then.

    It is counted for each thread, of which there may be several.
    """
    inject = ["-e", "trace=fdatasync,fsync", "-e", "inject=fdatasync,fsync:error=EIO:when=18..21"]
    command = ["strace", "-f", "-qq", "-o", "/dev/null", *inject, sys.executable, "-c", PERSISTENT, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment())
    if "ptrace" in done.stderr.lower():
        pytest.skip("this system lets nobody trace")
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) > 0
