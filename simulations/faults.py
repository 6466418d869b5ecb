"""Everything that can be done to a cluster, each fault a plain record: what, when, for how long, and to whom.

``apply`` begins a fault and returns what ends it, or None if it ends by itself. Nodes are named by index; a fault that
no longer fits (its node has left, say) does nothing, so that a schedule stays valid when parts of it are taken away.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeAlias

from gossip.protocol import Address

from .disk import KEPT, LOST, TAILS, TORN
from .errors import ScenarioError

if TYPE_CHECKING:
    from .cluster import Cluster
    from .node import Node

End: TypeAlias = Callable[[], object] | None

LAYOUTS: Final[dict[str, Callable[[int, int], int]]] = {
    "halves": lambda index, nodes: int(index >= nodes // 2),
    "odd-even": lambda index, nodes: index % 2,  # noqa: ARG005  # the shape of the others
    "minority": lambda index, nodes: int(index >= nodes // 3),
}
"""On which side of a partition a node is."""

VICTIM: Final = Address("192.0.2.7", 9)
"""Whom forged datagrams are said to come from: nobody here."""
REPORT_EACH: Final = 1.0
"""Seconds between two rounds of reports of a retirement."""
FORGED_EACH: Final = 0.05
"""Seconds between two forged datagrams."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Base of all faults."""

    kind: ClassVar[str]
    at: float = 0.0
    """Virtual seconds since the start."""
    seconds: float = 0.0
    """How long it lasts; 0: until the end of the scenario, when all faults are lifted."""

    def __post_init__(self) -> None:
        for name in ("at", "seconds"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ScenarioError(f"{self.kind}: {name} is in seconds, at least 0, not {getattr(self, name)}")

    def apply(self, cluster: "Cluster") -> End:
        raise NotImplementedError

    def nodes(self) -> tuple[int, ...]:
        """Whom it is done to, as far as it says."""
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition(Fault):
    """The network falls into groups that cannot reach each other."""

    kind: ClassVar[str] = "partition"
    groups: tuple[tuple[int, ...], ...] | str = "halves"
    """Node indexes, or ``halves`` (the first half and the rest), ``odd-even``, or ``minority`` (the first third)."""

    def __post_init__(self) -> None:
        Fault.__post_init__(self)
        if isinstance(self.groups, str) and self.groups not in LAYOUTS:
            raise ScenarioError(f"partition: groups are lists of nodes or one of {', '.join(LAYOUTS)}")

    def apply(self, cluster: "Cluster") -> End:
        groups = self.groups
        if isinstance(groups, str):
            nodes = range(len(cluster.nodes))
            groups = tuple(tuple(i for i in nodes if self.side(i, len(nodes)) == side) for side in (0, 1))
        return cluster.add_cut(_present(groups, cluster))

    def side(self, index: int, nodes: int) -> int:
        """The group of a node; the first for one that is in none."""
        if isinstance(self.groups, str):
            return LAYOUTS[self.groups](index, nodes)
        return next((side for side, group in enumerate(self.groups) if index in group), 0)

    def nodes(self) -> tuple[int, ...]:
        return () if isinstance(self.groups, str) else tuple(index for group in self.groups for index in group)


@dataclass(frozen=True, slots=True, kw_only=True)
class OneWay(Fault):
    """What these nodes send to all others is lost; they still hear."""

    kind: ClassVar[str] = "one-way"
    of: tuple[int, ...]

    def apply(self, cluster: "Cluster") -> End:
        rest = tuple(i for i in range(len(cluster.nodes)) if i not in self.of)
        return cluster.add_cut(_present((self.of, rest), cluster), one_way=True)

    def nodes(self) -> tuple[int, ...]:
        return self.of


@dataclass(frozen=True, slots=True, kw_only=True)
class Isolate(Fault):
    """One node is cut off from all others."""

    kind: ClassVar[str] = "isolate"
    node: int

    def apply(self, cluster: "Cluster") -> End:
        return cluster.add_cut(_present(((), (self.node,)), cluster))

    def nodes(self) -> tuple[int, ...]:
        return (self.node,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flap(Fault):
    """The links of some nodes go down and up again and again."""

    kind: ClassVar[str] = "flap"
    of: tuple[int, ...]
    down: float = 1.0
    """Seconds."""
    up: float = 1.0
    """Seconds."""

    def __post_init__(self) -> None:
        Fault.__post_init__(self)
        if self.down <= 0 or self.up <= 0:
            raise ScenarioError(f"flap: down and up are in seconds, above 0, not {self.down} and {self.up}")

    def apply(self, cluster: "Cluster") -> End:
        lift: list[Callable[[], None]] = []
        ended = False

        def go_down() -> None:
            if not ended:
                lift.append(cluster.add_cut(_present(((), self.of), cluster)))
                cluster.queue.at(cluster.queue.now + self.down, go_up)

        def go_up() -> None:
            while lift:
                lift.pop()()
            if not ended:
                cluster.queue.at(cluster.queue.now + self.up, go_down)

        def end() -> None:
            nonlocal ended
            ended = True
            go_up()

        go_down()
        return end

    def nodes(self) -> tuple[int, ...]:
        return self.of


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather(Fault):
    """Every link changes: ``link`` names fields of `Link`, and their values meanwhile."""

    kind: ClassVar[str] = "weather"
    link: tuple[tuple[str, Any], ...]

    def apply(self, cluster: "Cluster") -> End:
        return cluster.add_weather(**dict(self.link))


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash(Fault):
    """A node dies, and is started again after ``seconds``."""

    kind: ClassVar[str] = "crash"
    node: int
    tail: str = TORN
    """What its disk keeps of what it was not done with: ``lost``, ``torn`` or ``kept``."""
    wipe: bool = False
    """Its disk is lost as well; only its identity comes back."""

    def __post_init__(self) -> None:
        Fault.__post_init__(self)
        if self.tail not in TAILS:
            raise ScenarioError(f"crash: tail is one of {', '.join(TAILS)}, not {self.tail!r}")

    def apply(self, cluster: "Cluster") -> End:
        if not _is_up(cluster, self.node):
            return None
        dead = cluster[self.node]
        if self.wipe:
            dead.disk.wipe()
        dead.stop(LOST if self.wipe else self.tail)

        def end() -> None:
            if cluster[self.node] is dead:
                cluster.restart(self.node)

        return end

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

    def __post_init__(self) -> None:
        Fault.__post_init__(self)
        if min(self.every, self.down) < 0:
            raise ScenarioError(f"restart-all: every and down are not negative, not {self.every} and {self.down}")
        if self.tail not in TAILS:
            raise ScenarioError(f"restart-all: tail is one of {', '.join(TAILS)}, not {self.tail!r}")

    def apply(self, cluster: "Cluster") -> End:
        now = cluster.queue.now
        for number, node in enumerate(list(cluster.nodes)):
            if node.up:
                crash = Crash(node=node.index, tail=self.tail)
                cluster.queue.at(now + number * self.every, self._restart, cluster, crash)
        return None

    def _restart(self, cluster: "Cluster", crash: Crash) -> None:
        end = crash.apply(cluster)
        if end is not None:
            cluster.queue.at(cluster.queue.now + self.down, end)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause(Fault):
    """A node does nothing for a while, as an agent process that computes; its sockets fill up."""

    kind: ClassVar[str] = "pause"
    node: int

    def apply(self, cluster: "Cluster") -> End:
        if not _is_up(cluster, self.node):
            return None
        node = cluster[self.node]
        node.pause()
        return node.resume

    def nodes(self) -> tuple[int, ...]:
        return (self.node,)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockJump(Fault):
    """A node's clock is set forward or back, for good."""

    kind: ClassVar[str] = "clock-jump"
    node: int
    by: float
    """Seconds."""

    def apply(self, cluster: "Cluster") -> End:
        if self.node < len(cluster.nodes):
            cluster[self.node].clock.jump(self.by)
        return None

    def nodes(self) -> tuple[int, ...]:
        return (self.node,)


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskFull(Fault):
    """A node's disk is full: its own writes are refused, and what it hears waits to be saved."""

    kind: ClassVar[str] = "disk-full"
    node: int

    def apply(self, cluster: "Cluster") -> End:
        if self.node >= len(cluster.nodes):
            return None
        disk = cluster[self.node].disk
        disk.full = True
        return disk.make_room

    def nodes(self) -> tuple[int, ...]:
        return (self.node,)


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowDisk(Fault):
    """A node's disk takes long for every batch."""

    kind: ClassVar[str] = "slow-disk"
    node: int
    delay: float
    """Seconds a batch."""

    def __post_init__(self) -> None:
        Fault.__post_init__(self)
        if self.delay < 0:
            raise ScenarioError(f"slow-disk: delay is in seconds, not negative, not {self.delay}")

    def apply(self, cluster: "Cluster") -> End:
        if self.node >= len(cluster.nodes):
            return None
        disk = cluster[self.node].disk
        disk.delay = self.delay
        return disk.be_quick_again

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
        if not _is_up(cluster, self.node) or len(cluster.running()) <= 2:
            return None
        left = cluster[self.node]
        if not self.seconds:
            left.leave()
            return None
        left.leave(for_good=False)

        def end() -> None:
            if cluster[self.node] is left:
                cluster.restart(self.node)

        return end

    def nodes(self) -> tuple[int, ...]:
        return (self.node,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retire(Fault):
    """A node goes for good and ``by`` says so: its writer leaves every context once all have been heard to know it.

    The reports that end a retirement are carried here by the harness: nodes do not send them yet.
    """

    kind: ClassVar[str] = "retire"
    node: int
    by: int

    def apply(self, cluster: "Cluster") -> End:
        if self.node == self.by or not (_is_up(cluster, self.node) and _is_up(cluster, self.by)):
            return None
        writer = cluster[self.node].replica.replica_id
        cluster[self.node].leave()
        retiring = cluster[self.by]
        if writer in retiring.replica.context.replicas():
            retiring.replica.retire(writer)
            self._report(cluster, retiring, writer)
        return None

    def _report(self, cluster: "Cluster", retiring: "Node", writer: str) -> None:
        if not retiring.up or writer in retiring.replica.retired:
            return
        for node in cluster.running():
            if node is not retiring:
                retiring.replica.report(node.replica.replica_id, node.replica.context)
        cluster.queue.at(cluster.queue.now + REPORT_EACH, self._report, cluster, retiring, writer)

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
        if self.every <= 0:
            raise ScenarioError(f"churn: every is in seconds, above 0, not {self.every}")

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
                oldest.leave()
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
        if not _is_up(cluster, self.node):
            return None
        original = cluster[self.node]
        cluster.clone(self.node)
        return original.vanish

    def nodes(self) -> tuple[int, ...]:
        return (self.node,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forge(Fault):
    """A stranger records datagrams and sends them again under somebody else's address."""

    kind: ClassVar[str] = "forge"

    def apply(self, cluster: "Cluster") -> End:
        heard: list[tuple[Address, bytes]] = []
        rng = random.Random(f"{cluster.seed} forge {self.at}")
        network = cluster.network
        ended = False

        def tap(source: Address, target: Address, data: bytes) -> None:
            if VICTIM not in (source, target):
                heard.append((target, data))
                del heard[:-20]

        def forge() -> None:
            if ended:
                return
            if heard:
                network.send(VICTIM, *rng.choice(heard))
            cluster.queue.at(cluster.queue.now + FORGED_EACH, forge)

        def end() -> None:
            nonlocal ended
            ended = True
            network.taps.remove(tap)

        network.taps.append(tap)
        forge()
        return end


FAULTS: Final[dict[str, type[Fault]]] = {
    each.kind: each
    for each in (
        *(Partition, OneWay, Isolate, Flap, Weather, Crash, RestartAll, Pause, ClockJump, DiskFull, SlowDisk),
        *(Join, Leave, Retire, Churn, Clone, Forge),
    )
}
"""Every kind by the name it has in scenario files."""


def _is_up(cluster: "Cluster", index: int) -> bool:
    return index < len(cluster.nodes) and cluster[index].up


def _present(groups: tuple[tuple[int, ...], ...], cluster: "Cluster") -> tuple[tuple[int, ...], ...]:
    """Those of the groups' nodes that there are."""
    return tuple(tuple(i for i in group if i < len(cluster.nodes)) for group in groups)
