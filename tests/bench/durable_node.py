"""A node that keeps many entries, in a process of its own: `grow DIR ENTRIES` writes them, `open DIR ENTRIES` reads."""

import resource
import sys
import time
from pathlib import Path

import trio

import gossip
from crdts import Context, encode

from . import samples

BURST = 50


async def grow(path: Path, size: int) -> None:
    async with gossip.open_node("bench", data_dir=path) as node:
        tasks, start = node.lwwmap("tasks"), time.perf_counter()
        for number, (key, value) in enumerate(samples.entries(size)):
            tasks.set(key, value)
            if number % BURST == 0:
                await trio.sleep(0)
        await node.flush()
        print("seconds", time.perf_counter() - start)
        for key, value in samples.entries(size // 2):  # written over, so that there is something to make smaller
            tasks.set(key, value)
        await node.flush()
        before = -1
        while before != (before := node.storage().bytes_on_disk):  # until it has been made smaller
            await trio.sleep(1.0)
        print("wal", (path / "state.db-wal").stat().st_size)
        print("state", len(encode(node.replica.delta_since(Context()))))
    print("bytes", (path / "state.db").stat().st_size)


async def open_again(path: Path, size: int) -> None:
    start = time.perf_counter()
    async with gossip.open_node("bench", data_dir=path) as node:
        assert len(node.lwwmap("tasks")) == size
        print("seconds", time.perf_counter() - start)
        resident = int(Path("/proc/self/statm").read_text().split()[1])
        print("rss", resident * resource.getpagesize())


verb, directory, entries = sys.argv[1:]
trio.run({"grow": grow, "open": open_again}[verb], Path(directory), int(entries))
