"""How long a catch-up keeps an event loop from everything else: the longest step of any task of two real nodes.

Both run in this process, with data directories, and talk over sockets. A step is reckoned in CPU time of its thread,
as other processes may take the machine away. Searches of the garbage collector are kept short, as `gossip run` does;
one catch-up is measured with Python's own searches beside that.
"""

import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import trio

import gossip

from .measure import Figure

ENTRIES: int = 100_000
DIFFERENCES: int = 100
PART: int = 4_096
"""Writes between two flushes, when the entries are made."""


class Steps(trio.abc.Instrument):
    """Takes the time of every step of every task."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._began = float("inf")  # not the step that it is put to work in

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._began = time.thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.longest = max(self.longest, time.thread_time() - self._began)


def figures(entries: int = ENTRIES) -> Iterator[Figure]:
    yield from _run(partial(_newcomer, entries=entries, what="its events", trimmed=False), short=False)
    yield from _run(partial(_newcomer, entries=entries, what="its events", trimmed=False))
    yield from _run(partial(_newcomer, entries=entries, what="a state", trimmed=True))
    yield from _run(partial(_behind, entries=entries, what="removed", changed=entries // 10 * 4, change=_remove))
    yield from _run(
        partial(_behind, entries=entries, what="replaced twice", changed=entries // 10 * 3, change=_replace)
    )
    trimmed = partial(_behind, entries=entries, what="removed, logs trimmed,", change=_remove, trimmed=True)
    yield from _run(partial(trimmed, changed=entries // 100))
    yield from _run(partial(trimmed, changed=entries // 10 * 4))
    yield from _run(partial(_apart, entries=entries))


def _run(measure: Callable[[Path], Awaitable[list[Figure]]], *, short: bool = True) -> list[Figure]:
    """``short`` means with short searches of the garbage collector."""

    async def measured(directory: Path) -> list[Figure]:
        with gossip.short_collections() if short else nullcontext():
            found = await measure(directory)
        return found if short else [replace(found[0], name=f"{found[0].name}, Python's own searches")]

    with tempfile.TemporaryDirectory() as directory:
        return trio.run(measured, Path(directory))


async def _newcomer(directory: Path, entries: int, what: str, trimmed: bool) -> list[Figure]:
    key = gossip.new_key()
    async with gossip.open_node("holder", key=key, data_dir=directory / "holder") as holder:
        await _fill(holder, entries)
        if trimmed:
            holder.orset("tasks").remove("task 000001")
            holder._replica.trim_log()
        await _saved(holder)
        async with gossip.open_node(
            "newcomer", key=key, data_dir=directory / "newcomer", join=[holder.address]
        ) as other:
            return await _measured(f"newcomer, {entries:,} entries as {what}", [holder, other])


async def _behind(
    directory: Path,
    entries: int,
    what: str,
    changed: int,
    change: Callable[[gossip.Node, range], None],
    *,
    trimmed: bool = False,
) -> list[Figure]:
    """A member comes back that lacks what happened to so many of the entries."""
    key = gossip.new_key()
    where = {name: directory / name for name in ("one", "two")}
    async with gossip.open_node("one", key=key, data_dir=where["one"]) as one:
        await _fill(one, entries)
        async with gossip.open_node("two", key=key, data_dir=where["two"], join=[one.address]) as two:
            await two.wait_for(one.version())
            await _saved(two)
        for start in range(0, changed, PART):
            change(one, range(start, min(start + PART, changed)))
            await _saved(one)
        if trimmed:
            one._replica.trim_log()
        async with gossip.open_node("two", key=key, data_dir=where["two"], join=[one.address]) as two:
            return await _measured(f"{changed:,} {what} of {entries:,}", [one, two])


def _remove(node: gossip.Node, numbers: range) -> None:
    for i in numbers:
        node.orset("tasks").remove(f"task {i:06d}")


def _replace(node: gossip.Node, numbers: range) -> None:
    """Each has an event then that is dead and has killed the one before it."""
    for i in numbers:
        for _ in range(2):
            node.orset("tasks").add(f"task {i:06d}")


async def _apart(directory: Path, entries: int) -> list[Figure]:
    key = gossip.new_key()
    where = {name: directory / name for name in ("one", "two")}
    async with gossip.open_node("one", key=key, data_dir=where["one"]) as one:
        await _fill(one, entries)
        async with gossip.open_node("two", key=key, data_dir=where["two"], join=[one.address]) as two:
            await two.wait_for(one.version())
            await _saved(two)
    async with gossip.open_node("one", key=key, data_dir=where["one"]) as one:
        _differ(one, 1)
        one._replica.trim_log()
        await _saved(one)
        async with gossip.open_node("two", key=key, data_dir=where["two"]) as alone:
            _differ(alone, 2)
            await _saved(alone)
        async with gossip.open_node("two", key=key, data_dir=where["two"], join=[one.address]) as two:
            two._replica.trim_log()
            return await _measured(f"{DIFFERENCES} differences a side in {entries:,} entries", [one, two])


def _differ(node: gossip.Node, who: int) -> None:
    tasks = node.orset("tasks")
    for i in range(DIFFERENCES // 2):
        tasks.remove(f"task {1_000 * who + 13 * i:06d}")
        tasks.add(f"new task {who} {i}")


async def _fill(node: gossip.Node, entries: int) -> None:
    for start in range(0, entries, PART):
        for i in range(start, min(start + PART, entries)):
            node.orset("tasks").add(f"task {i:06d}")
        await _saved(node)


async def _saved(node: gossip.Node) -> None:
    """Until all is on its disk, however slow that is."""
    while True:
        with suppress(gossip.DiskFailed):
            await node.flush()
            return
        await trio.sleep(0.1)


async def _measured(what: str, nodes: list[gossip.Node]) -> list[Figure]:
    """Until both are equal and all is on their disks."""
    steps = Steps()
    trio.lowlevel.add_instrument(steps)
    before = [node.statistics() for node in nodes]
    start, cpu = time.perf_counter(), time.process_time()
    with trio.fail_after(120):
        while nodes[0]._replica.context != nodes[1]._replica.context:
            await trio.sleep(0.005)
        for node in nodes:
            await _saved(node)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    await trio.sleep(0.5)
    trio.lowlevel.remove_instrument(steps)
    assert nodes[0]._replica.fingerprint == nodes[1]._replica.fingerprint
    sent = sum(
        node.statistics().stream_bytes_sent - was.stream_bytes_sent for node, was in zip(nodes, before, strict=True)
    )
    return [
        Figure(f"{what}: longest step of the loop", steps.longest * 1e3, "ms"),
        Figure(f"{what}: until both have it on disk", seconds, "s"),
        Figure(f"{what}: CPU of both", cpu, "s"),
        Figure(f"{what}: on streams", sent / 1e3, "kB"),
    ]
