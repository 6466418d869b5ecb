"""Faults of the network: cuts, bad weather, and strangers who forge."""

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from gossip.protocol import Address

from ..errors import ScenarioError
from ..world.link import Link
from .base import End, Fault

if TYPE_CHECKING:
    from ..world.cluster import Cluster

LAYOUTS: Final[dict[str, Callable[[int, int], int]]] = {
    "halves": lambda index, nodes: int(index >= nodes // 2),
    "odd-even": lambda index, nodes: index % 2,  # noqa: ARG005  # the shape of the others
    "minority": lambda index, nodes: int(index >= nodes // 3),
}
"""On which side of a partition a node is."""

VICTIM: Final = Address("192.0.2.7", 9)
"""Whom forged datagrams are said to come from: nobody here."""
FORGED_EACH: Final = 0.05
"""Seconds between two forged datagrams."""
REPLAYED_EACH: Final = 0.02
"""Seconds between two recorded datagrams that are sent again."""
OLD_NEWS: Final = 2000
"""Datagrams of the time of a node's earlier life that are kept at most, the latest."""


SHORTEST_FLAP: Final = 0.001
"""Seconds that a link is down or up at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition(Fault):
    """The network falls into groups that cannot reach each other."""

    kind: ClassVar[str] = "partition"
    groups: tuple[tuple[int, ...], ...] | str = "halves"
    """Node indexes, or ``halves`` (the first half and the rest), ``odd-even``, or ``minority`` (the first third).
    Who is in no group is with the first; one group is cut off from all the rest."""

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
        rest = 1 if len(self.groups) == 1 else 0
        return next((side for side, group in enumerate(self.groups) if index in group), rest)

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
class Deaf(Fault):
    """What all others send to these nodes is lost; they are still heard."""

    kind: ClassVar[str] = "deaf"
    of: tuple[int, ...]

    def apply(self, cluster: "Cluster") -> End:
        rest = tuple(i for i in range(len(cluster.nodes)) if i not in self.of)
        return cluster.add_cut(_present((rest, self.of), cluster), one_way=True)

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
        for name in ("down", "up"):
            if not SHORTEST_FLAP <= getattr(self, name) < float("inf"):
                told = f"{name} is in seconds, at least {SHORTEST_FLAP}, not {getattr(self, name)}"
                raise ScenarioError(f"flap: {told}")

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

    def __post_init__(self) -> None:
        Fault.__post_init__(self)
        try:
            Link(**dict(self.link))
        except TypeError as error:
            raise ScenarioError(f"weather: {error}") from None

    def apply(self, cluster: "Cluster") -> End:
        return cluster.add_weather(**dict(self.link))


def _listen_and_send(
    cluster: "Cluster", tap: Callable[[Address, Address, bytes], None], send: Callable[[], None], each: float
) -> End:
    """Show ``tap`` all datagrams, and call ``send`` every ``each`` seconds, until the fault ends."""
    ended = False

    def again() -> None:
        if not ended:
            send()
            cluster.queue.at(cluster.queue.now + each, again)

    def end() -> None:
        nonlocal ended
        if not ended:
            cluster.network.taps.remove(tap)
        ended = True

    cluster.network.taps.append(tap)
    again()
    return end


@dataclass(frozen=True, slots=True, kw_only=True)
class Forge(Fault):
    """A stranger records datagrams and sends them again under somebody else's address."""

    kind: ClassVar[str] = "forge"

    def apply(self, cluster: "Cluster") -> End:
        heard: list[tuple[Address, bytes]] = []
        rng = random.Random(f"{cluster.seed} forge {self.at}")

        def tap(source: Address, target: Address, data: bytes) -> None:
            if VICTIM not in (source, target):
                heard.append((target, data))
                del heard[:-20]

        def forge() -> None:
            if heard:
                cluster.network.send(VICTIM, *rng.choice(heard))

        return _listen_and_send(cluster, tap, forge, FORGED_EACH)


@dataclass(frozen=True, slots=True, kw_only=True)
class OldNews(Fault):
    """When a node has been started anew, what was sent before comes once more, at any time and in any order.

    So its earlier life is heard of again, and that it was gone.
    """

    kind: ClassVar[str] = "old-news"
    node: int

    def apply(self, cluster: "Cluster") -> End:
        if self.node >= len(cluster.nodes):
            return None
        kept: deque[tuple[Address, Address, bytes]] = deque(maxlen=OLD_NEWS)
        rng = random.Random(f"{cluster.seed} old news {self.at}")
        network, life = cluster.network, cluster[self.node].disk.owner.epoch

        def tap(source: Address, target: Address, data: bytes) -> None:
            if cluster[self.node].disk.owner.epoch == life and VICTIM not in (source, target):
                kept.append((source, target, data))

        def repeat() -> None:
            if kept and cluster[self.node].disk.owner.epoch > life:
                network.send(*rng.choice(kept))

        return _listen_and_send(cluster, tap, repeat, FORGED_EACH)

    def nodes(self) -> tuple[int, ...]:
        return (self.node,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay(Fault):
    """What a node sends is recorded, and sent again and again from its address while the node is down.

    Datagrams to former lives of others are sent again first: as long as there are any, only those are.
    """

    kind: ClassVar[str] = "replay"
    node: int

    def apply(self, cluster: "Cluster") -> End:
        if self.node >= len(cluster.nodes):
            return None
        kept: deque[tuple[Address, int, bytes]] = deque(maxlen=OLD_NEWS)
        rng = random.Random(f"{cluster.seed} replay {self.at}")
        network, recorded = cluster.network, cluster[self.node].address

        def tap(source: Address, target: Address, data: bytes) -> None:
            host = network.hosts.get(target)
            if source == recorded and host is not None and cluster[self.node].up:
                kept.append((target, cluster[host.index].disk.owner.epoch, data))

        def repeat() -> None:
            if kept and not cluster[self.node].up:
                target, _, data = rng.choice(self._of_former_lives(cluster, kept) or list(kept))
                network.send(recorded, target, data)

        return _listen_and_send(cluster, tap, repeat, REPLAYED_EACH)

    def _of_former_lives(
        self, cluster: "Cluster", kept: deque[tuple[Address, int, bytes]]
    ) -> list[tuple[Address, int, bytes]]:
        epochs = {node.address: node.disk.owner.epoch for node in cluster.nodes}
        return [each for each in kept if epochs.get(each[0], 0) > each[1]]

    def nodes(self) -> tuple[int, ...]:
        return (self.node,)


def _present(groups: tuple[tuple[int, ...], ...], cluster: "Cluster") -> tuple[tuple[int, ...], ...]:
    """Those of the groups' nodes that there are."""
    return tuple(tuple(i for i in group if i < len(cluster.nodes)) for group in groups)
