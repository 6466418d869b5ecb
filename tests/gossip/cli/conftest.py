"""A node in this process, and the command line that talks to it."""

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import trio

from gossip import Node, open_node
from gossip.cli import main

from ..live import FAST, patience


class Answer(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


Gossip = Callable[..., Awaitable[Answer]]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
async def node(data: Path) -> AsyncIterator[Node]:
    async with open_node("alice", data_dir=data, config=FAST) as node:
        yield node


@pytest.fixture
def gossip(data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Gossip:
    """Run ``gossip ARGS --data DIR`` in a thread, as the console script does; output is not a terminal."""

    monkeypatch.setattr("gossip.cli.talk.LEAVE_WAIT", 0.05)  # a node that is told to leave goes on, in a test's block

    def run(args: list[str]) -> int:
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0)

    async def call(*args: str, at: Path | None = data) -> Answer:
        before, dashes, after = list(args), [], []
        if "--" in before:
            split = before.index("--")
            before, dashes, after = before[:split], ["--"], before[split + 1 :]
        where = [] if at is None else ["--data", str(at)]
        monkeypatch.setattr(sys, "argv", ["gossip", *before, *where, *dashes, *after])
        capsys.readouterr()
        with patience():
            code = await trio.to_thread.run_sync(run, sys.argv)
        return Answer(code, *capsys.readouterr())

    return call
