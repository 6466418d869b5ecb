"""Short-lived nodes beside those that stay: they come and go, one after the other."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from ..errors import ScenarioError
from .base import End, Fault, is_up

if TYPE_CHECKING:
    from ..world.cluster import Cluster
    from ..world.node import Node

SHORTEST_TURN: Final = 0.01
"""The least seconds between two workers."""
MAX_WRITES: Final = 1000
"""Writes of one worker at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers(Fault):
    """Every so often a worker, a new node, boots beside each of some nodes, and goes for good a little later.

    A worker is on the same side of every cut as the node that it boots beside, and has that node as its only seed.
    """

    kind: ClassVar[str] = "workers"
    of: tuple[int, ...]
    every: float = 1.0
    """Seconds from one worker to the next."""
    stay: float = 0.6
    """Seconds that each worker is there."""
    killed: bool = False
    """True if workers just stop, without a goodbye."""
    writes: int = 0
    """Times that each worker counts one and adds an element, evenly over its stay."""

    def __post_init__(self) -> None:
        Fault.__post_init__(self)
        if not self.of:
            raise ScenarioError("workers: of is empty; name a node")
        if not 0 <= self.writes <= MAX_WRITES:
            raise ScenarioError(f"workers: writes is a number from 0 to {MAX_WRITES}, not {self.writes}")
        if not SHORTEST_TURN <= self.every < float("inf") or not 0 < self.stay < float("inf"):
            raise ScenarioError(
                f"workers: every is in seconds, at least {SHORTEST_TURN}, and stay above 0, not {self.every} and "
                f"{self.stay}"
            )

    def apply(self, cluster: "Cluster") -> End:
        ended = False

        def send_some() -> None:
            if ended:
                return
            for host in self.of:
                if is_up(cluster, host):
                    worker = cluster.add_beside(host)
                    for number in range(self.writes):
                        at = cluster.queue.now + self.stay * (number + 1) / (self.writes + 1)
                        cluster.queue.at(at, self._work, worker, number)
                    cluster.queue.at(cluster.queue.now + self.stay, self._dismiss, worker)
            cluster.queue.at(cluster.queue.now + self.every, send_some)

        def end() -> None:
            nonlocal ended
            ended = True

        send_some()
        return end

    @staticmethod
    def _work(worker: "Node", number: int) -> None:
        if worker.up:
            worker.replica.counter("counter").increment()
            worker.replica.orset("set").add(number)

    def _dismiss(self, worker: "Node") -> None:
        if worker.up and self.killed:
            worker.vanish()
        elif worker.up:
            worker.depart()

    def nodes(self) -> tuple[int, ...]:
        return self.of
