"""Commands that other packages bring: found when they are asked for, and no harm if they are broken."""

import subprocess
import sys
from pathlib import Path

import pytest

from .process import ROOT, environment, gossip

WORKING = "import click\n@click.command()\ndef hello() -> None:\n    '''Says hello.'''\n    click.echo('hello')\n"


def install(folder: Path, code: str, target: str = "other_package:hello", name: str = "hello") -> str:
    """A distribution in a folder; what to set PYTHONPATH to."""
    (folder / "other_package.py").write_text(code)
    info = folder / "other_package-9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other-package\nVersion: 9\n")
    (info / "entry_points.txt").write_text(f"[gossip.commands]\n{name} = {target}\n")
    return f"{ROOT}:{folder}"


async def test_a_command_of_another_package_is_one_of_ours(tmp_path: Path) -> None:
    path = install(tmp_path, WORKING)
    assert (await gossip("hello", PYTHONPATH=path)).stdout == b"hello\n"
    assert b"Says hello." in (await gossip("--help", PYTHONPATH=path)).stdout


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("import nowhere", "ModuleNotFoundError: No module named 'nowhere'"),
        ("hello = 3", "other_package:hello is no command"),
        ("", "AttributeError: module 'other_package' has no attribute 'hello'"),
        ("raise SystemExit", "SystemExit"),
    ],
)
async def test_a_broken_one_is_told_in_one_line_and_breaks_nothing_else(tmp_path: Path, code: str, told: str) -> None:
    path = install(tmp_path, code)
    done = await gossip("hello", "--any", "thing", PYTHONPATH=path)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.decode().startswith(f"gossip: hello of other-package cannot be loaded: {told}")
    assert done.stderr.count(b"\n") == 1
    text = (await gossip("--help", PYTHONPATH=path)).stdout.decode()
    assert "cannot be loaded" in text
    assert "keygen" in text
    assert (await gossip("keygen", PYTHONPATH=path)).returncode == 0


async def test_no_package_can_take_the_place_of_one_of_ours(tmp_path: Path) -> None:
    path = install(tmp_path, WORKING, name="version")
    assert b"gossip-crdts" in (await gossip("version", PYTHONPATH=path)).stdout


async def test_an_unknown_command_is_wrong_usage() -> None:
    done = await gossip("hello")
    assert done.returncode == 2
    assert b"No such command 'hello'" in done.stderr


def test_our_own_verbs_look_for_no_others() -> None:
    code = (
        "import sys; sys.argv = ['gossip', 'keygen']\nfrom gossip.cli import main\n"
        "try: main()\nexcept SystemExit: print('simulations' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=True)
    assert done.stdout.endswith("False\n")
