"""What keeping data on a disk costs: durable writes beside a bare loop of commits, stalls, and growth."""

import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

import trio

import gossip
from gossip.storage.database import DURABILITIES, NONE

from .measure import Figure, progress

SECONDS: Final = 3.0
"""Of each measurement of throughput."""
ROW: Final = b"x" * 120
"""What a bare commit writes: about what a small change takes as a row."""
WRITERS: Final = 200
"""Tasks that each write, wait until that is durable, and write again."""
BURST: Final = 50
"""Writes between two times that a writer which does not wait lets others run."""
HEARTBEAT: Final = 0.001
SIZES: Final = (10_000, 100_000)
LARGE: Final = 1_000_000

Growth = dict[int, list[Figure]]


@contextmanager
def _directory() -> Iterator[Path]:
    """Beside this file, as the system's place for temporary files may be in memory."""
    build = Path(__file__).resolve().parents[2] / "build"
    build.mkdir(exist_ok=True)
    path = Path(tempfile.mkdtemp(prefix="durability-", dir=build))
    try:
        yield path
    finally:
        shutil.rmtree(path)


def figures() -> Iterator[Figure]:
    """Throughput, each beside the bare loop just before it, what a write costs, and stalls."""
    for durability in DURABILITIES:
        bare = 0.0
        if durability != NONE:
            with _directory() as path:
                bare = _bare_commits(path / "bare.db", durability)
            yield Figure(f"{durability}: a bare loop of single commits", bare, "a second")
        for name, writing in WRITING.items():
            progress(f"durability: {durability}, {name}")
            with _directory() as path:
                began = time.process_time()
                count, seconds, stalls = trio.run(writing, path, durability)
                cpu = time.process_time() - began
            yield Figure(f"{durability}: durable writes, {name}", count / seconds, "a second")
            if bare:
                yield Figure("  times the bare loop", count / seconds / bare, "times")
            yield Figure("  CPU of a write, start and end included", cpu / count * 1e6, "us")
            yield Figure("  longest stall of the event loop meanwhile", max(stalls) * 1e3, "ms")
            yield Figure("  p99 of its stalls", statistics.quantiles(stalls, n=100)[-1] * 1e3, "ms")


def _bare_commits(path: Path, durability: str) -> float:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {durability.upper()}")
    connection.execute("CREATE TABLE rows (number INTEGER PRIMARY KEY, data BLOB)")
    count, start = 0, time.perf_counter()
    while time.perf_counter() < start + SECONDS:
        connection.execute("INSERT INTO rows (data) VALUES (?)", (ROW,))
        count += 1
    rate = count / (time.perf_counter() - start)
    connection.close()
    return rate


async def _beat(stalls: list[float]) -> None:
    """How much later than due the loop comes back to a task that sleeps."""
    while True:
        due = trio.current_time() + HEARTBEAT
        await trio.sleep_until(due)
        stalls.append(max(0.0, trio.current_time() - due))


@asynccontextmanager
async def _node(path: Path, durability: str) -> AsyncIterator[gossip.Node]:
    """A node in a program that keeps Python's collections short, as `gossip run` does."""
    async with gossip.open_node("bench", data_dir=path, durability=durability) as node:
        with gossip.short_collections():
            yield node


async def _alone(path: Path, durability: str) -> tuple[int, float, list[float]]:
    count = 0
    stalls: list[float] = []
    async with _node(path, durability) as node, trio.open_nursery() as nursery:
        nursery.start_soon(_beat, stalls)
        await trio.sleep(0.01)
        start = time.perf_counter()
        while time.perf_counter() < start + SECONDS:
            node.lwwmap("tasks").set(f"task-{count % 20:02}", {"status": "open", "turn": count})
            await node.flush()
            count += 1
        seconds = time.perf_counter() - start
        nursery.cancel_scope.cancel()
    return count, seconds, stalls


async def _waiting(path: Path, durability: str) -> tuple[int, float, list[float]]:
    done = 0
    stalls: list[float] = []

    async def writes(number: int) -> None:
        nonlocal done
        turn = 0
        while True:
            node.lwwmap("tasks").set(f"task-{number:04}-{turn % 20:02}", {"status": "open", "turn": turn})
            await node.flush()
            done += 1
            turn += 1

    async with _node(path, durability) as node, trio.open_nursery() as nursery:
        for number in range(WRITERS):
            nursery.start_soon(writes, number)
        nursery.start_soon(_beat, stalls)
        start = time.perf_counter()
        await trio.sleep(SECONDS)
        seconds = time.perf_counter() - start
        nursery.cancel_scope.cancel()
    return done, seconds, stalls


async def _streaming(path: Path, durability: str) -> tuple[int, float, list[float]]:
    count = 0
    stalls: list[float] = []
    async with _node(path, durability) as node, trio.open_nursery() as nursery:
        nursery.start_soon(_beat, stalls)
        await trio.sleep(0.01)
        tasks, start = node.lwwmap("tasks"), time.perf_counter()
        while time.perf_counter() < start + SECONDS:
            for _ in range(BURST):
                tasks.set(f"task-{count % 10_000:06}", {"status": "open", "turn": count})
                count += 1
            await trio.sleep(0)
        await node.flush()
        seconds = time.perf_counter() - start
        nursery.cancel_scope.cancel()
    return count, seconds, stalls


WRITING: Final = {
    "one by one": _alone,
    f"each waited for, by {WRITERS} tasks": _waiting,
    "waited for at the end": _streaming,
}


# ---- growth


def growth(large: bool) -> Growth:
    """What it takes to keep so many entries, in processes of their own."""
    found: Growth = {}
    for size in (*SIZES, LARGE) if large else SIZES:
        with _directory() as path:
            grown = _in_a_process("grow", path, size)
            opened = _in_a_process("open", path, size)
        found[size] = [
            Figure("written and durable", size / grown["seconds"], "entries a second"),
            Figure("file, an entry", grown["bytes"] / size, "bytes"),
            Figure("file, times the encoded state", grown["bytes"] / grown["state"], "times"),
            Figure("WAL beside it", grown["wal"] / 1e6, "MB"),
            Figure("start until it can be read", opened["seconds"], "s"),
            Figure("memory, all of the process", opened["rss"] / 2**20, "MiB"),
        ]
        progress(f"durability: {size:,} entries")
    return found


def _in_a_process(verb: str, path: Path, size: int) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.bench.durable_node", verb, str(path), str(size)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {name: float(value) for name, _, value in (line.partition(" ") for line in done.stdout.splitlines())}
