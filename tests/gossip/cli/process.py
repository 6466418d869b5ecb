"""`gossip` in processes of its own."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from ..live import patience

GOSSIP = (sys.executable, "-m", "gossip")
ROOT = Path(__file__).parents[3]


def environment(**extra: str) -> dict[str, str]:
    """This process's, without what would change how output looks or which key is used."""
    removed = {"GOSSIP_KEY", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"}
    kept = {name: value for name, value in os.environ.items() if name not in removed}
    return kept | {"PYTHONPATH": str(ROOT), "TERM": "xterm"} | extra


async def gossip(*args: str | bytes, **env: str) -> subprocess.CompletedProcess[bytes]:
    with patience():
        return await trio.run_process(
            [*GOSSIP, *args], capture_stdout=True, capture_stderr=True, check=False, env=environment(**env)
        )


@dataclass
class Running:
    """A `gossip run` under way."""

    process: trio.Process
    address: str
    data: Path
    log: bytes = b""
    code: int | None = None

    async def stop(self, sign: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; returns the exit code."""
        self.process.send_signal(sign)
        return await self.ended()

    async def ended(self) -> int:
        with patience():
            return await self.process.wait()


@asynccontextmanager
async def running(
    name: str, data: Path, *args: str, program: Sequence[str] = GOSSIP, **env: str
) -> AsyncIterator[Running]:
    """A node in a process, killed at the end of the block if it is still there."""
    command = [
        *program,
        "run",
        "--name",
        name,
        "--data",
        str(data),
        "--profile",
        "local",
        "--bind",
        "127.0.0.1:0",
        "--no-discovery",  # or it would find the nodes of other tests; a test of discovery turns it on again
        *args,
    ]
    process = await trio.lowlevel.open_process(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(**env)
    )
    assert process.stdout is not None
    node = Running(process, "", data)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_collect, node)
            with patience():
                first = await process.stdout.receive_some()
            match = re.fullmatch(rb".* listens on (\S+); .*\n", first)
            assert match, (first, node.log)
            node.address = match[1].decode()
            yield node
            if process.returncode is None:
                process.kill()
    finally:
        if process.returncode is None:
            process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            await process.stdout.aclose()


async def _collect(node: Running) -> None:
    stream = node.process.stderr
    assert stream is not None
    async with stream:
        async for data in stream:
            node.log += data
