"""Verbs that need no node: making a key, and telling versions and conflicts."""

import json
import platform
import re
import stat
from pathlib import Path

import pytest

from gossip.protocol import parse_key

from .conftest import Gossip
from .process import ROOT
from .process import gossip as process


async def test_each_key_is_another_and_fits(gossip: Gossip) -> None:
    keys = {(await gossip("keygen", at=None)).out for _ in range(20)}
    assert len(keys) == 20
    for key in keys:
        assert re.fullmatch(r"[A-Za-z0-9_-]{43}=\n", key)
        assert len(parse_key(key)) == 32


async def test_a_key_is_written_for_this_user_only_and_over_no_other(gossip: Gossip, tmp_path: Path) -> None:
    file = tmp_path / "cluster.key"
    answer = await gossip("keygen", "--out", str(file), at=None)
    assert (answer.code, answer.out, answer.err) == (0, "", "")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    key = file.read_text()
    assert len(parse_key(key)) == 32
    again = await gossip("keygen", "--out", str(file), at=None)
    assert again.code == 2
    assert f"{file} exists; remove it first" in again.err
    assert file.read_text() == key


async def test_a_key_that_cannot_be_written_is_a_failure_in_one_line(gossip: Gossip, tmp_path: Path) -> None:
    answer = await gossip("keygen", "--out", str(tmp_path / "no" / "where"), at=None)
    assert (answer.code, answer.out) == (1, "")
    assert answer.err == f"gossip: {tmp_path}/no/where: No such file or directory; name one that is there\n"
    answer = await gossip("keygen", "--out", str(tmp_path), at=None)
    assert answer.code == 2
    assert "is a directory" in answer.err


async def test_a_full_disk_leaves_no_half_a_key(tmp_path: Path) -> None:
    done = await process("keygen", "--out", "/dev/full")
    assert done.returncode == 2, "it exists"
    assert done.stderr.count(b"\n") == 1


async def test_the_version_names_the_distribution_and_the_interpreter(gossip: Gossip) -> None:
    answer = await gossip("version", at=None)
    assert (answer.code, answer.err) == (0, "")
    assert re.fullmatch(rf"gossip-crdts \S+, Python {re.escape(platform.python_version())}\n", answer.out)
    found = json.loads((await gossip("version", "--json", at=None)).out)
    assert found["conflicts"] == {}
    assert found["python"] == platform.python_version()
    assert found["version"] in answer.out


@pytest.mark.parametrize("name", ["crdts", "gossip"])
async def test_another_distribution_that_owns_one_of_our_names_is_warned_of(tmp_path: Path, name: str) -> None:
    info = tmp_path / "other_package-9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other-package\nVersion: 9\n")
    (info / "RECORD").write_text(f"{name}/__init__.py,,\nother_package-9.dist-info/METADATA,,\n")
    done = await process("version", PYTHONPATH=f"{ROOT}:{tmp_path}")
    assert done.returncode == 0
    assert done.stderr.decode() == (
        f"gossip: other-package also installs `{name}`; uninstall it, or use a new environment\n"
    )
    done = await process("version", "--json", PYTHONPATH=f"{ROOT}:{tmp_path}")
    assert json.loads(done.stdout)["conflicts"] == {name: ["other-package"]}
