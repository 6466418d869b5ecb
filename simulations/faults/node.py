"""Faults of nodes: deaths and disks, pauses and clocks, and those who come and go."""

from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, ClassVar, Final

from gossip.protocol.errors import LocalError
from gossip.protocol.identity import fence_of

from ..errors import ScenarioError
from ..world.disk import ERROR, FULL, KEPT, LOST, TAILS, TORN
from .base import End, Fault, held, is_up

if TYPE_CHECKING:
    from ..world.cluster import Cluster

SHORTEST_CHURN: Final = 0.001
"""Seconds between two newcomers at least."""
LARGEST_JUMP: Final = 1e8
"""Seconds that a clock is set forward or back at most: stamps end in the year 2112."""
RETRY_EACH: Final = 1.0
"""Seconds between two tries to retire somebody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash(Fault):
    """A node dies, and is started again after ``seconds``."""

    kind: ClassVar[str] = "crash"
    node: int
    tail: str = TORN
    """What its disk keeps of what it was not done with: ``lost``, ``torn``, ``kept`` or ``reordered``."""
    wipe: bool = False
    """Its disk is lost as well; only its identity comes back."""
    power: bool = False
    """The machine loses power: with normal durability ``tail`` goes for all that is not synced."""

    def __post_init__(self) -> None:
        Fault.__post_init__(self)
        if self.tail not in TAILS:
            raise ScenarioError(f"crash: tail is one of {', '.join(TAILS)}, not {self.tail!r}")

    def apply(self, cluster: "Cluster") -> End:
        if self.node >= len(cluster.nodes) or cluster[self.node].gone:
            return None
        victim = cluster[self.node]
        if not victim.up and not cluster.holds[self.kind, self.node]:
            return None  # it has left, and comes back in its own time
        if victim.up and self.wipe:
            victim.disk.wipe()
        victim.stop(LOST if self.wipe else self.tail, power=self.power)
        return held(cluster, (self.kind, self.node), lambda: self._come_back(cluster))

    def _come_back(self, cluster: "Cluster") -> None:
        if not cluster[self.node].up and not cluster[self.node].gone:
            cluster.restart(self.node)

    def nodes(self) -> tuple[int, ...]:
        return (self.node,)


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartAll(Fault):
    """Every node is stopped and started again, ``every`` so many seconds the next; 0: all at once."""

    kind: ClassVar[str] = "restart-all"
    every: float = 0.0
    down: float = 1.0
    """Seconds that each stays away."""
    tail: str = KEPT
    """What the disks keep of what they were not done with, as for a crash."""
    power: bool = False
    """The machines lose power, as for a crash."""

    def __post_init__(self) -> None:
        Fault.__post_init__(self)
        if min(self.every, self.down) < 0:
            raise ScenarioError(f"restart-all: every and down are not negative, not {self.every} and {self.down}")
        if self.tail not in TAILS:
            raise ScenarioError(f"restart-all: tail is one of {', '.join(TAILS)}, not {self.tail!r}")

    def apply(self, cluster: "Cluster") -> End:
        waiting = [Crash(node=node.index, tail=self.tail, power=self.power) for node in cluster.nodes if node.up]
        now = cluster.queue.now
        for number, crash in enumerate(list(waiting)):
            cluster.queue.at(now + number * self.every, self._restart, cluster, crash, waiting)
        return waiting.clear

    def _restart(self, cluster: "Cluster", crash: Crash, waiting: list[Crash]) -> None:
        come_back = crash.apply(cluster) if crash in waiting else None
        if come_back is not None:
            cluster.queue.at(cluster.queue.now + self.down, come_back)


@dataclass(frozen=True, slots=True, kw_only=True)
class MassCrash(Fault):
    """A share of the nodes, drawn at random, dies at once, and never comes back."""

    kind: ClassVar[str] = "mass-crash"
    share: float

    def __post_init__(self) -> None:
        Fault.__post_init__(self)
        if not 0 <= self.share <= 1:
            raise ScenarioError(f"mass-crash: share is from 0 to 1, not {self.share}")

    def apply(self, cluster: "Cluster") -> End:
        running = cluster.running()
        victims = Random(f"{cluster.seed} mass crash {self.at}").sample(running, int(self.share * len(running)))
        for node in victims[: len(running) - 1]:
            node.vanish()
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause(Fault):
    """A node does nothing for a while, as an agent process that computes; its sockets fill up."""

    kind: ClassVar[str] = "pause"
    node: int

    def apply(self, cluster: "Cluster") -> End:
        if not is_up(cluster, self.node):
            return None
        node = cluster[self.node]
        node.pause()
        life = f"{self.kind} of life {node.disk.owner.epoch}"  # the next one does not compute what this one did
        return held(cluster, (life, self.node), node.resume)

    def nodes(self) -> tuple[int, ...]:
        return (self.node,)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockJump(Fault):
    """A node's clock is set forward or back, for good."""

    kind: ClassVar[str] = "clock-jump"
    node: int
    by: float
    """Seconds."""

    def __post_init__(self) -> None:
        Fault.__post_init__(self)
        if not abs(self.by) <= LARGEST_JUMP:
            raise ScenarioError(f"clock-jump: by is in seconds, at most {LARGEST_JUMP:g} either way, not {self.by}")

    def apply(self, cluster: "Cluster") -> End:
        if self.node < len(cluster.nodes):
            cluster[self.node].clock.jump(self.by)
        return None

    def nodes(self) -> tuple[int, ...]:
        return (self.node,)


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskFull(Fault):
    """A node's disk is full: its own writes are refused, and what it hears waits to be saved, or is given up, to be
    written with all the rest."""

    kind: ClassVar[str] = "disk-full"
    node: int

    def apply(self, cluster: "Cluster") -> End:
        if self.node >= len(cluster.nodes):
            return None
        disk = cluster[self.node].disk
        disk.full = True
        return held(cluster, (self.kind, self.node), disk.make_room)

    def nodes(self) -> tuple[int, ...]:
        return (self.node,)


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskError(Fault):
    """One write of a node's disk fails, and the next one does not."""

    kind: ClassVar[str] = "disk-error"
    node: int
    write: int = 1
    """Which, counted from ``at``: a transaction is a write for each row, one for the commit, and the sync."""
    full: bool = False
    """It fails for want of room, and not because of an error."""

    def __post_init__(self) -> None:
        Fault.__post_init__(self)
        if self.write < 1:
            raise ScenarioError(f"disk-error: write is counted from 1, so not {self.write}")

    def apply(self, cluster: "Cluster") -> End:
        if self.node < len(cluster.nodes):
            cluster[self.node].disk.fail_write(self.write, FULL if self.full else ERROR)
        return None

    def nodes(self) -> tuple[int, ...]:
        return (self.node,)


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowDisk(Fault):
    """A node's disk takes long for every save; of several such faults the slowest counts."""

    kind: ClassVar[str] = "slow-disk"
    node: int
    delay: float
    """Seconds a save."""

    def __post_init__(self) -> None:
        Fault.__post_init__(self)
        if self.delay < 0:
            raise ScenarioError(f"slow-disk: delay is in seconds, not negative, not {self.delay}")

    def apply(self, cluster: "Cluster") -> End:
        if self.node >= len(cluster.nodes):
            return None
        return cluster[self.node].disk.slow_down(self.delay)

    def nodes(self) -> tuple[int, ...]:
        return (self.node,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Join(Fault):
    """A newcomer boots."""

    kind: ClassVar[str] = "join"

    def apply(self, cluster: "Cluster") -> End:
        cluster.add()
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Leave(Fault):
    """A node says goodbye and goes; for good, or it comes back after ``seconds`` if that is not 0."""

    kind: ClassVar[str] = "leave"
    node: int

    def apply(self, cluster: "Cluster") -> End:
        if not is_up(cluster, self.node) or len(cluster.running()) <= 2:
            return None
        left = cluster[self.node]
        if not self.seconds:
            left.depart()
            return None
        left.depart(for_good=False)

        def end() -> None:
            if cluster[self.node] is left:
                cluster.restart(self.node)

        return end

    def nodes(self) -> tuple[int, ...]:
        return (self.node,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retire(Fault):
    """A node leaves and ``by`` retires it; after ``seconds``, if that is not 0, it is started again all the same."""

    kind: ClassVar[str] = "retire"
    node: int
    by: int

    def apply(self, cluster: "Cluster") -> End:
        if self.node == self.by or not (is_up(cluster, self.node) and is_up(cluster, self.by)):
            return None
        if len(cluster.running()) <= 2:
            return None
        left = cluster[self.node]
        left.leave(for_good=not self.seconds)
        cluster.retired.append(left.who)
        self._say_so(cluster, left.who)
        if not self.seconds:
            return None

        def end() -> None:
            if cluster[self.node] is left:
                cluster.restart(self.node)

        return end

    def _say_so(self, cluster: "Cluster", who: int) -> None:
        """Retire it, as soon as ``by`` can write, or somebody else if that one has gone for good; until all know.

        Again if it was forgotten: ``by`` may die before anybody has heard, with its disk or before that had it.
        """
        by = cluster[self.by]
        if by.gone and cluster.running():
            by = cluster.running()[0]
        if by.up and not by.paused and by.who != who:
            with suppress(LocalError):  # a full disk, or it is retired itself: another time
                by.retire(who)
        fence = fence_of(cluster.node_id(who))
        if all(fence in node.replica.store.kernel.limits for node in cluster.running()):
            return
        cluster.queue.at(cluster.queue.now + RETRY_EACH, self._say_so, cluster, who)

    def nodes(self) -> tuple[int, ...]:
        return (self.node, self.by)


@dataclass(frozen=True, slots=True, kw_only=True)
class Churn(Fault):
    """Every so often a newcomer boots and the oldest node but the first two goes for good, every other one unasked."""

    kind: ClassVar[str] = "churn"
    every: float = 5.0
    """Seconds."""

    def __post_init__(self) -> None:
        Fault.__post_init__(self)
        if not SHORTEST_CHURN <= self.every < float("inf"):
            raise ScenarioError(f"churn: every is in seconds, at least {SHORTEST_CHURN}, not {self.every}")

    def apply(self, cluster: "Cluster") -> End:
        ended = False
        turn = 0

        def replace_one() -> None:
            nonlocal turn
            if ended:
                return
            oldest = next((node for node in cluster.nodes[2:] if node.up), None)
            cluster.add()
            if oldest is not None and turn % 2:
                oldest.vanish()
            elif oldest is not None:
                oldest.depart()
            turn += 1
            cluster.queue.at(cluster.queue.now + self.every, replace_one)

        def end() -> None:
            nonlocal ended
            ended = True

        replace_one()
        return end


@dataclass(frozen=True, slots=True, kw_only=True)
class Clone(Fault):
    """A copy of a node's data directory is started at another address; after ``seconds`` the original is stopped."""

    kind: ClassVar[str] = "clone"
    node: int

    def apply(self, cluster: "Cluster") -> End:
        if not is_up(cluster, self.node):
            return None
        cluster.clone(self.node)
        return lambda: cluster[self.node].vanish()  # whichever life of it that is by then

    def nodes(self) -> tuple[int, ...]:
        return (self.node,)
