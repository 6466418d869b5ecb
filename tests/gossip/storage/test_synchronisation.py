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
    assert re.search(r"fsync state\.db-wal.*fsync mark\.new \| rename mark\.\w+ \| fsync directory", before), calls
    for until_saved in rest.split("saved")[:5]:
        assert "fsync state.db-wal" in until_saved, calls


def test_less_durability_synchronises_who_it_is_and_nothing_that_is_written(tmp_path: Path) -> None:
    calls = calls_of(tmp_path / "data", "normal")
    before, _, rest = " | ".join(calls).partition("started")
    assert "fsync state.db-wal" in before
    assert not any("fsync" in until_saved for until_saved in rest.split("saved")[:5]), calls
