"""News between real processes on this machine, sent in each of the ways of `bench_dissemination`."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import IO, Any, Final, cast

from rich.box import MARKDOWN
from rich.table import Table

import gossip

from .bench_dissemination import WAYS
from .measure import progress

NODES: Final = 30
WRITES: Final = 5
"""By each of them."""
PAUSE: Final = 3.0
"""Seconds between two writes of one: ten a second in all."""
KEY: Final = gossip.new_key()


class _Process:
    """One node."""

    def __init__(self, way: str, index: int, nodes: int, *seeds: str) -> None:
        command = [
            sys.executable,
            "-m",
            "tests.bench.spread_node",
            way,
            *map(str, (index, nodes, WRITES, PAUSE)),
            *seeds,
        ]
        environment = os.environ | {"GOSSIP_KEY": KEY}
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        self._in, self._out = cast("IO[str]", self._process.stdin), cast("IO[str]", self._process.stdout)

    def line(self) -> str:
        found = self._out.readline().strip()
        if not found:
            raise RuntimeError("a node has ended too early")
        return found

    def go(self) -> None:
        self._in.write("go\n")
        self._in.flush()

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        self._in.close()
        self._out.close()


def run(way: str, nodes: int = NODES) -> list[dict[str, Any]]:
    """What each node has seen."""
    with ExitStack() as stack:
        processes: list[_Process] = []
        seeds: list[str] = []
        for index in range(nodes):
            process = _Process(way, index, nodes, *seeds)
            stack.callback(process.end)
            processes.append(process)
            if not seeds:
                seeds = [process.line()]
        for process in processes[1:]:
            process.line()
        for process in processes:
            process.line()
        for process in processes:
            process.go()
        return [json.loads(process.line()) for process in processes]


def rows(nodes: int = NODES) -> Iterator[list[str]]:
    """One a way: milliseconds, and what it cost."""
    for way in WAYS:
        progress(way)
        seen = run(way, nodes)
        delays = sorted(delay for each in seen for delay in each["delays"])
        total = {name: sum(each[name] for each in seen) for name in seen[0] if name != "delays"}
        new = total["events_new"]
        yield [
            f"{nodes}",
            way,
            f"{total['events_known'] / new:.2f}",
            f"{total['datagrams_sent'] / new:.2f}",
            f"{total['datagram_bytes_sent'] / new:,.0f}",
            f"{delays[len(delays) // 2] * 1e3:.1f} ms",
            f"{delays[len(delays) * 99 // 100] * 1e3:.1f} ms",
            f"{delays[-1] * 1e3:.1f} ms",
            f"{100 * total['events_repaired'] / new:.1f}%",
            f"{total['cpu'] / nodes / (WRITES * PAUSE) * 100:.2f}%",
        ]


HEADINGS: Final = (
    "processes",
    "way",
    "received again per new",
    "datagrams per new, with rest",
    "bytes per new, with rest",
    "p50",
    "p99",
    "max",
    "left to digests",
    "CPU of a node",
)


def table() -> Table:
    made = Table(*HEADINGS, box=MARKDOWN, title="between processes, ten writes a second", title_justify="left")
    for row in rows():
        made.add_row(*row)
    return made
