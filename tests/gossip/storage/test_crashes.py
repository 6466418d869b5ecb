"""Processes that are killed while they write: what they had acknowledged is there, everywhere, in the end."""

import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import trio

from crdts import Replica
from gossip.storage.recovery import open_data

from ..cli.process import environment
from ..live import patience

NODES = ("a", "b", "c")
PROGRAM = (sys.executable, "-m", "tests.gossip.storage.writer_process")


class Witness:
    """All that the processes have ever said."""

    def __init__(self) -> None:
        self.wrote: set[str] = set()
        self.acked: set[str] = set()
        self.content: dict[tuple[str, int], str] = {}
        self.log: list[str] = []

    def hear(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        if word == "wrote":
            self.wrote.add(rest)
        elif word == "acked":
            self.acked.add(rest)
        elif word == "log":
            self.log.append(rest)
        elif word == "event":
            writer, seq, digest = rest.split()
            assert self.content.setdefault((writer, int(seq)), digest) == digest, f"two contents of {writer} {seq}"


class Writer:
    """One node, and the process that it is in at present."""

    def __init__(self, name: str, directory: Path, witness: Witness) -> None:
        self.name = name
        self.directory = directory
        self.address = ""
        self.fingerprint = ""
        self._witness = witness
        self._process: trio.Process | None = None
        self._ready = trio.Event()
        self._answered = trio.Event()
        self._silent = trio.Event()

    async def start(self, nursery: trio.Nursery, join: list[str]) -> None:
        command = [*PROGRAM, self.name, str(self.directory), *join]
        self._process = await trio.lowlevel.open_process(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment()
        )
        self.address = ""
        self._ready, self._silent = trio.Event(), trio.Event()
        nursery.start_soon(self._listen, self._process, self._ready, self._silent)

    async def _listen(self, process: trio.Process, ready: trio.Event, silent: trio.Event) -> None:
        assert process.stdout is not None
        rest = b""
        async for data in process.stdout:
            *lines, rest = (rest + data).split(b"\n")  # what was cut off by the kill was not said
            for line in lines:
                text = line.decode()
                self._witness.hear(text)
                if text.startswith("ready "):
                    self.address = text.split()[1]
                    ready.set()
                elif text.startswith("state "):
                    self.fingerprint = text.split()[1]
                    self._answered.set()
        silent.set()

    async def ready(self) -> None:
        with patience():
            await self._ready.wait()

    async def kill(self) -> None:
        await self._end(signal.SIGKILL)

    async def _end(self, sign: signal.Signals | None = None) -> int:
        assert self._process is not None
        if sign is not None:
            self._process.send_signal(sign)
        with patience():
            code = await self._process.wait()
            await self._silent.wait()
        return code

    async def tell(self, word: str) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        await self._process.stdin.send_all(f"{word}\n".encode())

    async def state(self) -> str:
        self._answered = trio.Event()
        await self.tell("state")
        with patience():
            await self._answered.wait()
        return self.fingerprint

    async def stop(self) -> None:
        await self.tell("stop")
        assert await self._end() == 0

    async def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            await self._process.wait()


@asynccontextmanager
async def writers(directory: Path, witness: Witness) -> AsyncIterator[tuple[trio.Nursery, list[Writer]]]:
    async with trio.open_nursery() as nursery, AsyncExitStack() as stack:
        nodes = [Writer(name, directory / name, witness) for name in NODES]
        for node in nodes:
            stack.push_async_callback(_close, node)
            await node.start(nursery, [other.address for other in nodes if other.address])
            await node.ready()
        yield nursery, nodes


async def _close(node: Writer) -> None:
    with trio.CancelScope(shield=True):
        await node.close()


async def crash(rng: random.Random, nursery: trio.Nursery, nodes: list[Writer]) -> None:
    """Kill one or two of them at any moment, that of their start included, and start them again."""
    victims = rng.sample(nodes, rng.choice([1, 1, 1, 2]))
    await trio.sleep(rng.uniform(0, 0.6))
    for victim in victims:
        await victim.kill()
    others = [node.address for node in nodes if node not in victims]
    for victim in victims:
        await victim.start(nursery, others)
        while rng.random() < 0.3:
            await trio.sleep(rng.uniform(0, 1.0))
            await victim.kill()
            await victim.start(nursery, others)
    for victim in victims:
        await victim.ready()


async def settle(nodes: list[Writer]) -> None:
    """Wait until all have the same."""
    for node in nodes:
        await node.tell("quiet")
    with patience():
        while len({await node.state() for node in nodes}) > 1:
            await trio.sleep(0.05)


def check(replica: Replica, witness: Witness) -> None:
    """It has all that was acknowledged, and nothing that was not written."""
    there = {str(each) for each in replica.orset("written")}
    assert not witness.acked - there, "an acknowledged write is missing"
    assert not there - witness.wrote, "written by nobody"
    assert len(there) == replica.counter("count").value(), "half a transaction"


async def survive(rounds: int, seed: int, directory: Path) -> Witness:
    rng = random.Random(seed)
    witness = Witness()
    async with writers(directory, witness) as (nursery, nodes):
        for _ in range(rounds):
            await crash(rng, nursery, nodes)
        await settle(nodes)
        for node in nodes:
            await node.stop()
    fingerprints = set()
    for node in nodes:
        opened = open_data(node.directory, node.name, rng)
        assert not opened.forked
        assert opened.set_aside is None
        check(opened.replica, witness)
        fingerprints.add(opened.replica.fingerprint)
        await opened.disk.close(opened.replica.fingerprint)
    assert len(fingerprints) == 1
    assert not [line for line in witness.log if line.startswith(("disk.", "data.", "identity.", "listener."))]
    assert len(witness.acked) > 10 * rounds, "they have hardly written"
    return witness


async def test_nothing_that_was_acknowledged_is_lost_by_a_kill(tmp_path: Path) -> None:
    await survive(10, 1, tmp_path)


@pytest.mark.soak
async def test_nothing_that_was_acknowledged_is_lost_by_hundreds_of_kills(tmp_path: Path) -> None:
    await survive(200, random.randrange(1 << 32), tmp_path)
