"""What a node does, over real sockets between real processes on this machine."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import trio

import gossip

from .measure import Figure

KEY = gossip.new_key()
WRITES = 500
PAUSE = 0.002
"""Seconds between two writes whose way is timed, so that each travels alone."""


def figures() -> Iterator[Figure]:
    yield from trio.run(_latency)
    for entries in (10_000, 100_000):
        yield from trio.run(_newcomer, entries)
    yield from trio.run(_idle)


@contextmanager
def _other_process(verb: str, *args: object) -> Iterator[str]:
    """Another node in a process of its own; yields the first line it prints."""
    command = [sys.executable, "-m", "tests.bench.other_node", verb, *map(str, args)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=_environment()
    ) as other:
        try:
            yield other.stdout.readline().strip()
        finally:
            other.stdin.close()


def _environment() -> dict[str, str]:
    return os.environ | {"GOSSIP_KEY": KEY}


async def _latency() -> list[Figure]:
    """Write here, changed there, changed back here: half of the round trip is one write made visible."""
    with _other_process("echo") as address:
        async with gossip.open_node("bench", key=KEY, join=[address]) as node:
            node.register("ping").set(-1)
            await node.synced(to=1)
            ways = []
            with node.watch("pong") as pongs:
                for i in range(WRITES):
                    start = time.perf_counter()
                    node.register("ping").set(i)
                    while node.register("pong").get() != i:
                        await anext(pongs)
                    ways.append((time.perf_counter() - start) / 2)
                    await trio.sleep(PAUSE)
    ways.sort()
    return [
        Figure("write visible in another process, p50", ways[len(ways) // 2] * 1e3, "ms"),
        Figure("write visible in another process, p99", ways[len(ways) * 99 // 100] * 1e3, "ms"),
    ]


async def _newcomer(entries: int) -> list[Figure]:
    with _other_process("hold", entries) as line:
        address, version = line.split()
        async with gossip.open_node("bench", key=KEY, join=[address]) as node:
            start = time.perf_counter()
            await node.wait_for(version)
            seconds = time.perf_counter() - start
            assert len(node.lwwmap("tasks")) == entries
    return [Figure(f"newcomer holds {entries:,} entries", seconds, "s")]


async def _idle() -> list[Figure]:
    """A quiet cluster of five in this process: what one node costs when nothing happens."""
    async with gossip.open_node("n0", key=KEY) as first, trio.open_nursery() as nursery:
        for i in range(1, 5):
            nursery.start_soon(_stay, f"n{i}", first.address)
        await trio.sleep(3)
        cpu, sent = time.process_time(), first.statistics()
        await trio.sleep(10)
        cpu, now = time.process_time() - cpu, first.statistics()
        nursery.cancel_scope.cancel()
    bytes_sent = now.datagram_bytes_sent - sent.datagram_bytes_sent
    return [
        Figure("idle node of five: CPU a minute", cpu / 5 / 10 * 60, "s CPU"),
        Figure("idle node of five: sent, UDP payload", bytes_sent / 10, "bytes/s"),
    ]


async def _stay(name: str, seed: gossip.Address) -> None:
    async with gossip.open_node(name, key=KEY, join=[seed]):
        await trio.sleep_forever()
