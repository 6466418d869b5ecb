"""A cluster of gossip nodes."""

import json
import os
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import ClassVar

import gossip

from .cluster_base import HOST, Cluster, free_ports
from .cluster_journal import Report


def installed() -> str:
    """The version of this package, if it is installed and not merely on the path."""
    try:
        return version("gossip-crdts")
    except PackageNotFoundError:
        return ""


class GossipCluster(Cluster):
    """Nodes of `tests.bench.cluster_node`, profile lan, under a cluster key, in memory."""

    system: ClassVar[str] = "gossip"
    version: ClassVar[str] = installed()

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._environment = os.environ | {"GOSSIP_KEY": gossip.new_key()}
        self._seed = ""

    @staticmethod
    def parse(line: str, at: float) -> Report | None:
        with suppress(ValueError):
            kind, subject, when = line.split()
            return kind, subject, float(when)
        print(line, file=sys.stderr)  # a traceback: whoever runs this should see it
        return None

    def launch(self, names: list[str]) -> None:
        """Their imports, which are not the protocol's doing, are over before the first one opens."""
        addresses = [f"{HOST}:{port}" for port in free_ports(len(names))]
        self._seed = self._seed or addresses[0]
        for name, address in zip(names, addresses, strict=True):
            join = [self._seed] if address != self._seed else []
            command = [sys.executable, "-m", "tests.bench.cluster_node", name, address, *join]
            self.spawn(name, command, self._environment)
        self.wait(lambda: all(self.journal.time_of("ready", "-", name) for name in names), "everything is imported")
        for name in names:
            self._tell(name, "open")

    def write(self, node: str, write: str) -> None:
        self._tell(node, f"write {write}")

    def look_every(self, seconds: float) -> None:
        self._tell_all(f"poll {seconds}")

    def payload_bytes_sent(self) -> int | None:
        return sum(self._counts(node)["datagram_bytes_sent"] for node in self.processes)

    def lose(self, share: float) -> bool:
        self._tell_all(f"lose {share}")
        return True

    def _counts(self, node: str) -> dict[str, int]:
        before = self._stats_of(node)
        self._tell(node, "stats")
        self.wait(lambda: self._stats_of(node) != before, f"{node} tells its counts")
        latest = max(self._stats_of(node).items(), key=lambda found: found[1])
        counts: dict[str, int] = json.loads(latest[0])
        return counts

    def _stats_of(self, node: str) -> dict[str, float]:
        return {
            subject: times[node]
            for (kind, subject), times in list(self.journal.first.items())
            if kind == "stats" and node in times
        }

    def _tell_all(self, command: str) -> None:
        for node in self.processes:
            self._tell(node, command)

    def _tell(self, node: str, command: str) -> None:
        stdin = self.processes[node].stdin
        assert stdin is not None
        stdin.write(command.encode() + b"\n")
        stdin.flush()
