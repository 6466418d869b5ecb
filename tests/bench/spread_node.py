"""A node of a cluster of processes that tells how long news took to reach it; ends when its standard input does.

`python -m tests.bench.spread_node WAY INDEX NODES WRITES PAUSE [ADDRESS]` prints its address, then `ready` when it
knows all others, and, once it has read a line, writes so many times and prints as JSON what it has seen.
"""

import json
import os
import sys
import time
from dataclasses import asdict, replace
from functools import partial
from unittest.mock import patch

import trio

import gossip
import gossip.open
from gossip.protocol import Engine

from . import plumtree
from .bench_dissemination import WAYS

SETTLE = 2.0
"""Seconds that the last write has to arrive."""


async def _listen(node: gossip.Node, delays: list[float]) -> None:
    """What is written are the times when it was, on the clock that all processes of a machine share."""
    with node.watch("times") as changes:
        async for change in changes:
            if not change.writer.startswith(node.id):
                delays.append(time.monotonic() - change.after)  # noqa: PERF401  # the list is read meanwhile


async def _write(node: gossip.Node, index: int, nodes: int, writes: int, pause: float) -> None:
    await trio.sleep(pause * index / nodes)
    for _ in range(writes):
        node.lwwmap("times").set(node.name, time.monotonic())
        await trio.sleep(pause)
    await trio.sleep(SETTLE)


async def main(way: str, index: int, nodes: int, writes: int, pause: float, *seeds: str) -> None:
    plumtree.install()
    chosen, delays = WAYS[way], list[float]()
    config = replace(gossip.Config.lan(), fanout=chosen.fanout, hops=12)
    with patch.object(gossip.open, "Engine", partial(Engine, dissemination=chosen.make)):
        async with gossip.open_node(f"n{index}", key=os.environ["GOSSIP_KEY"], join=seeds, config=config) as node:
            print(node.address, flush=True)
            while sum(member.state == "alive" for member in node.members()) < nodes - 1:
                await trio.sleep(0.1)
            print("ready", flush=True)
            await trio.to_thread.run_sync(sys.stdin.readline)
            before, used = asdict(node.statistics()), time.process_time()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_listen, node, delays)
                await _write(node, index, nodes, writes, pause)
                nursery.cancel_scope.cancel()
            after = asdict(node.statistics())
            counts = {name: value - before[name] for name, value in after.items() if isinstance(value, int)}
            print(json.dumps({"delays": delays, "cpu": time.process_time() - used, **counts}), flush=True)
            await trio.to_thread.run_sync(sys.stdin.read)


way, *numbers = sys.argv[1:6]
trio.run(main, way, int(numbers[0]), int(numbers[1]), int(numbers[2]), float(numbers[3]), *sys.argv[6:])
