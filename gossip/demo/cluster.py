"""The demo's processes: started, asked, watched, and ended with certainty."""

import os
import re
import subprocess
import sys
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

import trio

from crdts import ReplicaId
from gossip.protocol import new_key
from gossip.protocol.errors import LocalError

from .jsonlines import JsonLines
from .worker import KEY_VARIABLE

ANSWER_TIMEOUT: Final = 20.0
"""Seconds within which a worker must answer anything; the slowest, to notice that members are gone, takes three."""
END_TIMEOUT: Final = 10.0
"""Seconds for all workers to end in good order."""
LAST_WORDS: Final = 20
"""Log lines of a worker that are kept."""


class DemoError(LocalError):
    """The demo did not go as it must. The message is one line for people."""


class Worker:
    """One process with one node."""

    def __init__(self, name: str, process: trio.Process) -> None:
        if process.stdin is None or process.stdout is None:
            raise TypeError("a worker needs pipes for its input and output")
        self.name = name
        self.address = ""
        self.replica_id = ReplicaId("")
        self.process = process
        self._lines = JsonLines(process.stdout, process.stdin)
        self._log: deque[str] = deque(maxlen=LAST_WORDS)
        self._log_ended = trio.Event()
        self._ending = False

    async def open(self, join: Sequence[str]) -> None:
        """Let it open its node, with the given ones to join."""
        answer = await self.ask("open", join=list(join))
        self.address, self.replica_id = answer["address"], answer["replica_id"]

    async def ask(self, op: str, **arguments: Any) -> dict[str, Any]:
        """The worker's answer to one request; raises `DemoError`. One task at a time."""
        with trio.move_on_after(ANSWER_TIMEOUT):
            try:
                await self._lines.send({"op": op, **arguments})
                answer = await self._lines.receive()
            except trio.BrokenResourceError:
                answer = None
            if answer is None:
                await self._fail()
            else:
                return answer
        raise DemoError(f"node {self.name} did not answer {op!r} within {ANSWER_TIMEOUT:.0f} s")

    async def end(self) -> None:
        """Let it leave in good order."""
        self._ending = True
        await self._lines.end()
        await self.process.wait()
        if self.process.returncode:
            await self._fail()

    async def watch(self) -> None:
        """Raise `DemoError` as soon as the process ends unasked."""
        await self.process.wait()
        if not self._ending:
            await self._fail()

    async def keep_log(self) -> None:
        """Keep the last lines it logged."""
        rest = b""
        if self.process.stderr is not None:
            async for data in self.process.stderr:
                *lines, rest = (rest + data).split(b"\n")
                self._log.extend(line.decode(errors="replace") for line in lines)
        self._log_ended.set()

    async def _fail(self) -> None:
        await self.process.wait()
        with trio.move_on_after(1):
            await self._log_ended.wait()
        words = next((line.strip() for line in reversed(self._log) if re.search("[A-Za-z]", line)), "no word of why")
        raise DemoError(f"node {self.name} ended with code {self.process.returncode}: {words}")


async def ask_all(workers: Iterable[Worker], op: str, **arguments: Any) -> list[dict[str, Any]]:
    """The answers of all workers to the same request, in the order of the workers."""
    workers = list(workers)
    answers: dict[str, dict[str, Any]] = {}

    async def ask_one(worker: Worker) -> None:
        answers[worker.name] = await worker.ask(op, **arguments)

    async with trio.open_nursery() as nursery:
        for worker in workers:
            nursery.start_soon(ask_one, worker)
    return [answers[worker.name] for worker in workers]


@asynccontextmanager
async def open_cluster(names: Sequence[str]) -> AsyncIterator[list[Worker]]:
    """Nodes of those names that all know each other, one process each, under a fresh key, for the length of a block.

    If the block fails or is cancelled, or a process ends unasked, all are killed; else they leave in good order.
    """
    environment = {**os.environ, KEY_VARIABLE: new_key()}
    async with trio.open_nursery() as nursery:
        workers = [await _start(nursery, name, environment) for name in names]
        await workers[0].open([])
        for worker in workers[1:]:
            await worker.open([workers[0].address])
        await await_alive(workers)
        yield workers
        with trio.move_on_after(END_TIMEOUT) as patience:
            async with trio.open_nursery() as ending:
                for worker in workers:
                    ending.start_soon(worker.end)
        if patience.cancelled_caught:
            raise DemoError(f"the nodes did not end within {END_TIMEOUT:.0f} s")
        nursery.cancel_scope.cancel()


async def await_alive(group: Sequence[Worker]) -> None:
    """Wait until every node of ``group`` sees exactly the others of the group alive."""
    async with trio.open_nursery() as nursery:
        for worker in group:
            names = sorted(other.name for other in group if other is not worker)
            nursery.start_soon(partial(worker.ask, "await_alive", names=names))


async def _start(nursery: trio.Nursery, name: str, environment: dict[str, str]) -> Worker:
    run = partial(
        trio.run_process,
        [sys.executable, "-m", f"{__package__}.worker", name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        check=False,
        env=environment,
        start_new_session=True,  # Ctrl-C is for us alone: we end the workers
    )
    worker = Worker(name, await nursery.start(run))
    nursery.start_soon(worker.keep_log)
    nursery.start_soon(worker.watch)
    return worker
