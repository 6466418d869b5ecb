"""One gossip node in a process of its own, told what to do on standard input; ends at once when that does.

It imports nothing but what an application would, as its memory is measured. It prints lines ``KIND SUBJECT TIME``, with
the time of ``time.monotonic``, which is one clock for all processes of a machine:

    ready - T           everything is imported; `open` is awaited
    up - T              the node listens
    STATE NAME T        member NAME is in that state now ("alive", "failed", ...)
    logged EVENT T      the node logged this about a member
    wrote ID T          it began to write this
    seen ID T           a write became visible here, its own too
    stats JSON T        the node's own counts

Commands: ``open``, ``write ID``, ``poll SECONDS`` (how often to look at `members()` when nothing is logged),
``lose SHARE`` (of the datagrams it sends), ``stats``.
"""

import json
import logging
import os
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import fields

import trio

import gossip


def say(kind: str, subject: str = "-", at: float | None = None) -> None:
    print(kind, subject, time.monotonic() if at is None else at, flush=True)


class Lookout(logging.Handler):
    """Looks at the list of members: whenever the node logs something about one, and now and then."""

    def __init__(self, node: gossip.Node) -> None:
        super().__init__(logging.INFO)
        self.period = 0.05
        """Seconds between two looks if nothing is logged."""
        self._node = node
        self._wake = trio.Event()
        self._states: dict[str, str] = {}

    def emit(self, record: logging.LogRecord) -> None:
        event = record.getMessage().partition(" ")[0]
        if event.startswith("member."):
            say("logged", event)
            self._wake.set()

    def wake(self) -> None:
        self._wake.set()

    async def run(self) -> None:
        while True:
            self._wake = trio.Event()
            for member in self._node.members():
                if self._states.get(member.name) != member.state:
                    self._states[member.name] = member.state
                    say(member.state, member.name)
            with trio.move_on_after(self.period):
                await self._wake.wait()


async def _commands() -> AsyncIterator[list[str]]:
    """The words of each line of standard input."""
    rest = b""
    async with trio.lowlevel.FdStream(os.dup(0)) as stream:
        async for chunk in stream:
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                yield line.decode().split()


async def _report_writes(node: gossip.Node) -> None:
    with node.watch("bench") as changes:
        async for change in changes:
            say("seen", str(change.key))


def _write(node: gossip.Node, write: str) -> None:
    start = time.monotonic()
    node.lwwmap("bench").set(write, "a small value of 32 characters..")
    say("wrote", write, start)


def _counts(node: gossip.Node) -> str:
    found = node.statistics()
    counts = {field.name: getattr(found, field.name) for field in fields(found)}
    whole = {name: value for name, value in counts.items() if isinstance(value, int)}
    return json.dumps(whole, separators=(",", ":"))


async def main(*arguments: str) -> None:
    name, bind, *join = arguments
    commands = _commands()
    faults = gossip.TransportFaults()
    say("ready")
    if await anext(commands, None) is None:
        return
    key = os.environ["GOSSIP_KEY"]
    config = gossip.Config.lan()
    async with (
        gossip.open_node(name, bind=bind, join=join, key=key, config=config, faults=faults) as node,
        trio.open_nursery() as nursery,
    ):
        say("up")
        lookout = Lookout(node)
        logging.getLogger("gossip").addHandler(lookout)
        nursery.start_soon(lookout.run)
        nursery.start_soon(_report_writes, node)
        async for verb, *words in commands:
            match verb:
                case "write":
                    _write(node, words[0])
                case "poll":
                    lookout.period = float(words[0])
                    lookout.wake()
                case "lose":
                    faults.loss = float(words[0])
                case "stats":
                    say("stats", _counts(node))
        os._exit(0)  # whoever listened is gone: no farewell


if __name__ == "__main__":
    logging.getLogger("gossip").setLevel(logging.INFO)
    trio.run(main, *sys.argv[1:])
