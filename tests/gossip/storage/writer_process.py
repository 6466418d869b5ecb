"""A node in a process that writes as fast as its disk takes it, and tells of it on stdout: for `test_crashes`.

    python -m tests.gossip.storage.writer_process NAME DIRECTORY HOST:PORT...

Each line is a word and what belongs to it, written at once, so that what was said before a SIGKILL has been said.
It obeys words on stdin, and ends with it.
"""

import os
import sys
from collections.abc import Iterable
from functools import partial
from hashlib import blake2b
from typing import Any, Final

import structlog
import trio

from crdts import Event
from crdts.delta import REPLACED
from gossip import Config, Node, open_node
from gossip.storage.checkpointer import Ledger

PAUSE: Final = 0.002
"""Seconds between two writes: three such nodes must fit on a small machine."""
KEYS: Final = 50
"""Of the map that is overwritten again and again."""


def say(word: str, *rest: object) -> None:
    os.write(1, (" ".join(map(str, (word, *rest))) + "\n").encode())


def tell(logger: Any, method: str, line: Any) -> Any:
    if method in ("warning", "error", "exception"):
        say("log", line["event"], line)
    raise structlog.DropEvent


def tell_events(events: Iterable[Event]) -> None:
    """Each event with what it holds, as a digest."""
    lines = []
    for event in events:
        if event.obj != REPLACED:
            content = repr((event.obj, event.key, event.payload)).encode()
            lines.append(f"event {event.replica} {event.seq} {blake2b(content, digest_size=8).hexdigest()}\n")
    if lines:
        os.write(1, "".join(lines).encode())


async def write(node: Node, name: str) -> None:
    life = node.replica.replica_id
    number = 0
    while True:
        number += 1
        with node.transaction():
            node.orset("written").add(f"{life} {number}")
            node.counter("count").increment(1)
        node.lwwmap("map").set(f"{number % KEYS}", f"{life} {number}")
        say("wrote", life, number)
        await node.flush()
        say("acked", life, number)
        await trio.sleep(PAUSE)


async def obey(node: Node, writing: trio.CancelScope) -> None:
    async for data in trio.lowlevel.FdStream(os.dup(0)):
        for word in data.decode().split():
            if word == "quiet":
                writing.cancel()
            elif word == "state":
                await node.flush()
                say("state", node.replica.fingerprint)
            elif word == "stop":
                return


async def main(name: str, directory: str, *join: str) -> None:
    log = structlog.wrap_logger(None, processors=[structlog.processors.add_log_level, tell])
    options: dict[str, Any] = {"join": join, "data_dir": directory, "config": Config.local(), "log": log}
    async with open_node(name, **options) as node:
        node.replica.on_write(tell_events)
        node.replica.on_merge(lambda delta, new: tell_events(delta.events if delta.is_state else new))
        say("ready", node.address)
        async with trio.open_nursery() as nursery:
            writing = trio.CancelScope()

            async def write_until_quiet() -> None:
                with writing:
                    await write(node, name)

            nursery.start_soon(write_until_quiet)
            await obey(node, writing)
            nursery.cancel_scope.cancel()


if __name__ == "__main__":
    Ledger.__init__.__kwdefaults__ = {"log_min_bytes": 30_000, "part_events": 100}  # many sweeps of many parts
    trio.run(partial(main, *sys.argv[1:]))
