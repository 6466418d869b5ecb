"""One of the demo's processes: embeds a node and does what it is told. Run as ``python -m gossip.demo.worker NAME``.

It reads one JSON object a line on standard input and answers each with one on standard output; its log goes to
standard error. It ends in good order when its input ends, so it never outlives whoever started it. The cluster key
comes in the environment variable GOSSIP_KEY, which unlike an argument is not for every user of the machine to see.
"""

import os
import sys
import time
from dataclasses import asdict
from typing import Any, Final

import trio

from crdts import Change
from gossip import Config, Node, TransportFaults, open_node
from gossip.protocol import Address
from gossip.runtime.addresses import split_address

from .figures import Sighting
from .jsonlines import JsonLines

KEY_VARIABLE: Final = "GOSSIP_KEY"
FILES: Final = "files"
TASKS: Final = "tasks"
HOURS: Final = "hours"
NOTES: Final = "notes"
POLL_INTERVAL: Final = 0.02
"""Seconds between two looks at the members, while somebody waits for them."""


class Sightings:
    """Notes when the writes of other nodes became visible on this one.

    Instants are of `time.monotonic_ns`, which is one clock for all processes of a machine, so those of two workers
    compare. A write counts as visible once this node has processed it: from then on a read returns it, or what has
    replaced it. Going by what was processed, and not by the changes reported, also times a write whose place was
    written again before it arrived, which is reported as one change.
    """

    def __init__(self, node: Node) -> None:
        self._replica = node.replica
        self._seen = node.replica.context
        self.noted: list[Sighting] = []
        node.replica.on_change(self._on_change)

    def _on_change(self, _changes: list[Change]) -> None:
        now = time.monotonic_ns()
        for replica, start, stop in self._replica.context.missing_from(self._seen):
            self._seen.add_range(replica, start, stop)
            if replica != self._replica.replica_id:
                self.noted.append((replica, start, stop, now))


class Session:
    """Carries out requests, one after the other."""

    def __init__(self, node: Node, faults: TransportFaults) -> None:
        self._node = node
        self._faults = faults
        self._sightings = Sightings(node)
        self._written: list[tuple[int, int]] = []

    async def handle(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what ``request`` asks and return the answer."""
        match request.pop("op"):
            case "step":
                return await self._step(**request)
            case "work":
                return self._work(**request)
            case "wait":
                return await self._wait(**request)
            case "await_alive":
                return await self._await_alive(**request)
            case "cut":
                return self._cut(**request)
            case "look":
                return self._look()
            case "statistics":
                return {"statistics": asdict(self._node.statistics())}
            case "report":
                return self._report()
            case op:
                raise ValueError(f"no such request: {op!r}")

    async def _step(self, after: str | None, edits: list[tuple[str, str | None]]) -> dict[str, Any]:
        """Make the edits once everything that ``after`` stands for has been seen."""
        if after is not None:
            await self._node.wait_for(after)
        files = self._node.lwwmap(FILES)
        for path, blob in edits:
            instant = time.monotonic_ns()
            delta = files.set(path, blob) if blob is not None else files.delete(path)
            if delta.events:  # none if there was nothing to delete
                self._written.append((delta.events[-1].seq, instant))
        return {"version": str(self._node.version())}

    def _work(self, task: str, hours: int, note: str) -> dict[str, Any]:
        """Write to one object of each of three types."""
        self._node.orset(TASKS).add(task)
        self._node.counter(HOURS).increment(hours)
        self._node.lwwmap(NOTES).set("latest", note)
        return {"version": str(self._node.version())}

    async def _wait(self, versions: list[str]) -> dict[str, Any]:
        for version in versions:
            await self._node.wait_for(version)
        return {}

    async def _await_alive(self, names: list[str]) -> dict[str, Any]:
        """Wait until exactly these members are seen alive."""
        while self._alive() != names:
            await trio.sleep(POLL_INTERVAL)
        return {}

    def _alive(self) -> list[str]:
        return sorted(member.name for member in self._node.members() if member.state == "alive")

    def _cut(self, addresses: list[str]) -> dict[str, Any]:
        """Let nothing pass to and from these addresses, and everything to and from all others."""
        self._faults.heal()
        self._faults.cut(*[Address(*split_address(address)) for address in addresses])
        return {}

    def _look(self) -> dict[str, Any]:
        return {
            "tasks": sorted(self._node.orset(TASKS).get_elements()),
            "hours": self._node.counter(HOURS).value(),
            "note": self._node.lwwmap(NOTES).get("latest"),
            "alive": self._alive(),
            "fingerprint": self._node.replica.fingerprint,
        }

    def _report(self) -> dict[str, Any]:
        """The files as they are here, and every instant noted."""
        return {
            "files": self._node.lwwmap(FILES).value(),
            "written": self._written,
            "sightings": self._sightings.noted,
        }


async def serve(name: str) -> None:
    """Answer requests until standard input ends. The first one says whom to join."""
    lines = JsonLines(trio.lowlevel.FdStream(os.dup(0)), trio.lowlevel.FdStream(os.dup(1)))
    opening = await lines.receive()
    if opening is None:
        return
    faults = TransportFaults()
    # Config.local, because that is what this is: processes on one machine. Against the defaults it only compares
    # notes five times as often, so that a cut is noticed, and mended once it heals, within seconds.
    async with open_node(
        name, join=opening["join"], key=os.environ[KEY_VARIABLE], config=Config.local(), faults=faults
    ) as node:
        session = Session(node, faults)
        await lines.send({"address": str(node.address), "replica_id": node.replica.replica_id})
        while (request := await lines.receive()) is not None:
            await lines.send(await session.handle(request))


if __name__ == "__main__":
    trio.run(serve, sys.argv[1])
