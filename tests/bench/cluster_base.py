"""A cluster of processes of some system, and what every system must be able to do for the measurements."""

import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import ClassVar, Final, Self

from .cluster_journal import ROOT, Journal, Report, wait_until

HOST: Final = "127.0.0.1"
PATIENCE: Final = 120.0
"""Seconds until a cluster that does not come together is given up."""


class ClusterError(Exception):
    """The cluster did not do what the measurement needs."""


def free_ports(count: int) -> list[int]:
    """Ports of loopback that are free for UDP and TCP alike, at this moment."""
    ports: list[int] = []
    with ExitStack() as stack:
        while len(ports) < count:
            stream = stack.enter_context(socket.socket())
            stream.bind((HOST, 0))
            port = stream.getsockname()[1]
            datagrams = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
            try:
                datagrams.bind((HOST, port))
            except OSError:
                continue
            ports.append(port)
    return ports


class Cluster(ABC):
    """So many nodes in processes of their own, from the start of its block to the end; the first is everyone's seed."""

    system: ClassVar[str]
    version: ClassVar[str]

    def __init__(self, size: int) -> None:
        self.size = size
        self.journal = Journal(self.parse)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        """Those that run, by node name."""
        self.started: list[subprocess.Popen[bytes]] = []
        """All there have been, in their order."""

    # ---- what a system brings

    @staticmethod
    @abstractmethod
    def parse(line: str, at: float) -> Report | None:
        """The report that a line of output stands for: ``up``, ``alive NAME``, ``failed NAME``, ``seen ID``, ..."""

    @abstractmethod
    def launch(self, names: list[str]) -> None:
        """Start nodes, all at once."""

    @abstractmethod
    def write(self, node: str, write: str) -> None:
        """Write something small at ``node``; the journal has ``wrote`` with the time when that began."""

    @abstractmethod
    def look_every(self, seconds: float) -> None:
        """How often nodes that do not report changes by themselves are to look for them."""

    @abstractmethod
    def payload_bytes_sent(self) -> int | None:
        """UDP payload that running nodes say they have sent in all; None if they do not count."""

    @abstractmethod
    def lose(self, share: float) -> bool:
        """Lose that share of all datagrams, in the nodes themselves; False where a system cannot."""

    # ---- life

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for process in self.started:
            process.kill()
        self.journal.close()
        for process in self.started:
            process.communicate()  # waits, and closes the pipes

    def start(self) -> float:
        """Start all, wait until every node lists all others as alive.

        Returns the seconds that took from when the last node was up. Raises `ClusterError`.
        """
        return self.add(self.size)

    def add(self, count: int) -> float:
        """Start further nodes at once; like `start`."""
        names = [f"n{number}" for number in range(len(self.started), len(self.started) + count)]
        self.launch(names)
        self.wait(lambda: self._acquainted(names), "every node lists all others")
        up = max(self.journal.first["up", "-"][name] for name in names)
        return max(time or 0.0 for time in self._meetings(names)) - up

    def spawn(self, node: str, command: list[str], env: dict[str, str] | None = None) -> None:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=ROOT, env=env
        )
        self.started.append(process)
        self.processes[node] = process
        self.journal.follow(node, process)

    def kill(self, node: str) -> float:
        """End a node by SIGKILL; the time of that."""
        process = self.processes.pop(node)
        start = time.monotonic()
        process.kill()
        process.wait()
        return start

    def wait(self, condition: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
        """Wait for ``condition()``; raises `ClusterError` if it does not come true, or if a node ends meanwhile."""

        def done() -> bool:
            for node, process in self.processes.items():
                if process.poll() is not None:
                    raise ClusterError(f"{self.system}: {node} has ended with {process.returncode}")
            return condition()

        if not wait_until(done, seconds):
            raise ClusterError(f"{self.system}: not so after {seconds:.0f} s: {what}")

    def pids(self) -> list[int]:
        return [process.pid for process in self.processes.values()]

    def _acquainted(self, names: list[str]) -> bool:
        return all(self.journal.time_of("up", "-", name) for name in names) and all(self._meetings(names))

    def _meetings(self, names: list[str]) -> list[float | None]:
        """When each node first listed each of ``names``, and each of ``names`` each node."""
        pairs = [(name, other) for name in names for other in self.processes if other != name]
        both = [*pairs, *((other, name) for name, other in pairs)]
        return [self.journal.time_of("alive", subject, node) for subject, node in both]
