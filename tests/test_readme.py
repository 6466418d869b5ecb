"""Every example in the READMEs of the project and of gossip/ does what the text says."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TIMEOUT = 60
"""Seconds for one example."""

READMES = ("README.md", "gossip/README.md")


def blocks(language: str) -> list[pytest.param]:
    found = []
    for name in READMES:
        text = (ROOT / name).read_text()
        for match in re.finditer(rf"^```{language}\n(.*?)^```\n(.*?)(?=^```|\Z)", text, re.DOTALL | re.MULTILINE):
            line = text.count("\n", 0, match.start()) + 1
            found.append(pytest.param(match[1], match[2], id=f"{name}:{line}"))
    assert found
    return found


@pytest.mark.parametrize(("code", "after"), blocks("python"))
def test_a_python_example_runs_and_prints_what_the_text_says(code: str, after: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=TIMEOUT, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    promised = re.match(r"\s*prints `(.+?)`", after)
    if promised:
        assert done.stdout.strip() == promised[1]


@pytest.mark.parametrize(("session", "after"), blocks("console"))
def test_a_console_session_runs_and_prints_what_the_text_shows(session: str, after: str, tmp_path: Path) -> None:
    commands, expected = [], []
    for line in session.splitlines():
        if line.startswith("$ "):
            commands.append(line[2:])
        else:
            expected.append(line.rstrip())
    script = "\n".join(["set -eu", "trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT", *commands])
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        cwd=tmp_path,
        check=False,
        env=os.environ | {"PATH": path},
    )
    assert done.returncode == 0, done.stderr
    assert [line.rstrip() for line in done.stdout.splitlines()] == expected


def test_the_readme_names_every_verb_of_the_command_line() -> None:
    help_text = subprocess.run(
        [sys.executable, "-m", "gossip", "--help"], capture_output=True, text=True, timeout=TIMEOUT, check=True
    ).stdout
    verbs = re.findall(r"^  (\w+)  ", help_text.partition("Commands:")[2], re.MULTILINE)
    text = (ROOT / "README.md").read_text()
    assert len(verbs) >= 14
    assert [verb for verb in verbs if f"`{verb}" not in text] == []
