"""A cluster in virtual time: the very engines that the Trio node drives, on virtual hardware, from one seed."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from gossip.protocol import Address, Config

from .clock import SkewedClock
from .disk import Disk
from .link import Link
from .network import Cut
from .node import Node
from .observer import Observer
from .topology import Topology
from .twins import resume_twice
from .world import World

STEP: Final = 0.01
"""Virtual seconds between two looks at whether all are equal."""
RING_TRIES: Final = 20
EPOCH_STEP: Final = 64
"""By how much the epoch of a copy grows at most, as that of each start does in a real node: of two in one epoch who
have not written yet, nobody could tell the one from the other."""
FULL: Final = "full"
NORMAL: Final = "normal"
DURABILITIES: Final = (FULL, NORMAL)
"""What is saved survives a power loss; or just the end of the process, and is safe some time later."""


class Cluster(World):
    """Some nodes on one virtual network. Same arguments, same run, to the last byte.

    >>> cluster = Cluster(5, seed=7)
    >>> cluster.run(1.0)
    >>> cluster.cut([0, 1], [2, 3, 4])
    >>> _ = cluster[0].replica.orset("tasks").add("left"), cluster[4].replica.orset("tasks").add("right")
    >>> cluster.heal()
    >>> seconds = cluster.run_until_converged(timeout=30)
    >>> sorted(cluster[2].replica.orset("tasks"))
    ['left', 'right']
    """

    observers: list[Observer]

    def __init__(
        self,
        nodes: int,
        *,
        seed: int = 0,
        link: Link | None = None,
        topology: Topology | None = None,
        config: Config | None = None,
        key: bytes | None = b"simulated cluster key, 32 bytes.",
        disk: bool = False,
        disk_delay: float = 0.0,
        durability: str = FULL,
        log_limit: int = 65_536,
        clock_skew: float = 0.0,
        clock_drift: float = 0.0,
        warm: bool = False,
        view: int = 0,
        observers: Sequence[Observer] = (),
    ) -> None:
        """``nodes`` of them boot at once and join through the first.

        ``link`` is between any two, unless there is a ``topology``. ``disk``: what a node has saved outlives it;
        ``disk_delay`` is in seconds a save, and ``durability`` ``full`` or ``normal``. ``clock_skew`` in seconds and
        ``clock_drift`` in seconds a second are how wrong a node's clock is at most, either way. ``warm``: all know each
        other already, or each ``view`` others at random (an even number) if that is not 0: the first of views of that
        size, which they shuffle. Raises ValueError.
        """
        if nodes < 1 or disk_delay < 0 or clock_skew < 0 or clock_drift < 0 or view < 0:
            raise ValueError(
                "a cluster has at least one node, and disk_delay, clock_skew, clock_drift and view are not negative; "
                f"not {nodes}, {disk_delay}, {clock_skew}, {clock_drift}, {view}"
            )
        if durability not in DURABILITIES:
            raise ValueError(f"durability is {' or '.join(DURABILITIES)}, not {durability!r}")
        config = config or Config.lan()
        if view:
            config = replace(config, full_membership_max=view, view_size=view)
        topology = topology or Topology(near=link or Link())
        super().__init__(seed, topology, config, key, log_limit=log_limit, observers=observers)
        self.holds: Counter[tuple[str, int]] = Counter()
        """Faults under way by kind and node: what several of them hold ends with the last."""
        self.retired: list[int] = []
        """Nodes that are to be retired, whichever life of theirs it is."""
        self._disk = disk
        self._disk_delay = disk_delay
        self._is_lazy = durability == NORMAL
        self._skew, self._drift = clock_skew, clock_drift
        self._calm = topology
        self._weathers: list[dict[str, Any]] = []
        self.rough_until = 0.0
        """When links last ceased to be rough, or were changed while they were."""
        self.nodes: list[Node] = []
        for _ in range(nodes):
            self._boot_next()
        if warm:
            self._acquaint(view)
        else:
            for node in self.nodes[1:]:
                node.join([self.addresses[0]])

    def _acquaint(self, view: int) -> None:
        """Let all know each other, or who is chosen at random to know whom; always both ways."""
        who = [(node.engine.identity, node.address) for node in self.nodes]
        chosen = _random_views(len(who), view, random.Random(f"{self.seed} views")) if view else []
        for node in self.nodes:
            known = [who[i] for i in chosen[node.index]] if view else who
            node.engine.acquaint(self.queue.now, known, partial=bool(view))

    # ---- nodes

    def __getitem__(self, index: int) -> Node:
        return self.nodes[index]

    def _boot_next(self, disk: Disk | None = None, who: int | None = None, step: int = 1) -> Node:
        index = self.add_address()
        rng = random.Random(f"{self.seed} clock {index}")
        clock = SkewedClock(
            self.queue, offset=rng.uniform(-self._skew, self._skew), drift=rng.uniform(-self._drift, self._drift)
        )
        disk = disk or Disk(self.queue, delay=self._disk_delay, survives=self._disk, is_lazy=self._is_lazy)
        node = Node(self, index, disk, who=index if who is None else who, clock=clock, step=step)
        self.nodes.append(node)
        return node

    def add(self) -> Node:
        """Boot one more node."""
        node = self._boot_next()
        node.join(self._seeds(node.index))
        return node

    def add_beside(self, index: int) -> Node:
        """Boot one more node on the same side of every cut as the node ``index``, its only seed."""
        node = self._boot_next()
        self.network.place_beside(node.address, self.addresses[index])
        node.join([self.addresses[index]])
        return node

    def clone(self, index: int, *, step: int | None = None) -> Node:
        """Start a copy of a node's data directory at another address, while the node itself may go on.

        ``step``: how many epochs later, if that is not left to chance.
        """
        original = self.nodes[index]
        step = step or random.Random(f"{self.seed} step {len(self.nodes)}").randint(1, EPOCH_STEP)
        node = self._boot_next(original.disk.copy(), original.disk.owner.who, step)
        node.join(self._seeds(node.index))
        return node

    def twin(self, index: int) -> Node:
        """Let a copy of a running node, memory and all, go on beside it at another address."""
        return resume_twice(self, self.nodes, index)

    def _seeds(self, index: int) -> list[Address]:
        """Where the node ``index`` looks for the others: two that run, if there are, so that one may stop."""
        others = [node for i, node in enumerate(self.nodes) if i != index]
        return [node.address for node in [n for n in others if n.up] or others][:2]

    def renew_seeds(self) -> None:
        """Give new seeds to nodes that know no running node, as if the name of a seed was looked up again."""
        places = [node.address for node in self.running()]
        for node in self.running():
            if not any(member.address in places for member in node.engine.members(self.queue.now)):
                node.join(self._seeds(node.index))

    def restart(self, index: int, *, wipe: bool = False) -> Node:
        """Boot a stopped node anew: the same node at the same address, one life later, with what its disk has kept.

        Raises ValueError if it runs. ``wipe``: its data is lost, and only its identity left.
        """
        old = self.nodes[index]
        if old.up:
            raise ValueError(f"{old.name} is running; stop it first")
        if wipe:
            old.disk.wipe()
        elif not old.lost_power:  # else a real start could not tell this disk from a copy of it
            old.disk.end_life()
        node = self.nodes[index] = Node(self, index, old.disk, who=old.disk.owner.who, clock=old.clock)
        node.join(self._seeds(index))
        return node

    def running(self) -> list[Node]:
        """The nodes that have not stopped."""
        return [node for node in self.nodes if node.up]

    # ---- time and faults

    def run(self, seconds: float) -> None:
        """Let virtual time pass; raises ValueError for a negative time."""
        if seconds < 0:
            raise ValueError(f"time does not run backwards, so not {seconds} seconds")
        self.queue.run_until(self.queue.now + seconds)

    def cut(self, *groups: list[int]) -> None:
        """Part the network into groups of node indexes; who is in none stays with the first. One group is cut off from
        all the rest. Replaces earlier cuts.

        Raises ValueError for a node that is not there, or is in two groups.
        """
        self.network.heal()
        self.add_cut(groups)

    def add_cut(self, groups: Sequence[Sequence[int]], *, one_way: bool = False) -> Callable[[], None]:
        """Like `cut`, besides earlier cuts; returns a function that lifts just this one.

        ``one_way``: only what goes from a group to a later one is held, and who is in none stays with the second.
        """
        named = [index for group in groups for index in group]
        if len(set(named)) < len(named) or any(not 0 <= index < len(self.nodes) for index in named):
            raise ValueError(f"groups of different node indexes from 0 to {len(self.nodes) - 1} expected, not {groups}")
        if len(groups) == 1:
            groups = (*groups, tuple(i for i in range(len(self.nodes)) if i not in groups[0]))
        side = {self.addresses[i]: number for number, group in enumerate(groups) for i in group}
        return self.network.add_cut(Cut(side, one_way))

    def heal(self) -> None:
        """Let everything pass again."""
        self.network.heal()

    def set_link(self, **changes: Any) -> None:
        """Change how the network treats what is sent from now on."""
        self._calm = self._calm.with_links(**changes)
        self._apply_weathers()

    def add_weather(self, **changes: Any) -> Callable[[], None]:
        """Change every link for a while, over earlier changes; returns a function that ends just this one."""
        self._weathers.append(changes)
        self._apply_weathers()

        def end() -> None:
            self._weathers = [each for each in self._weathers if each is not changes]
            self._apply_weathers()

        return end

    def _apply_weathers(self) -> None:
        topology = self._calm
        for changes in self._weathers:
            topology = topology.with_links(**changes)
        if self.network.topology.is_rough:
            self.rough_until = self.queue.now
        self.network.topology = topology

    # ---- looking

    def trace(self) -> str:
        """A hash of everything that was sent so far, and when."""
        return self.network.trace()

    def converged(self) -> bool:
        """True if all running nodes have processed the same events and hold the same content."""
        first, *others = self.running()
        ours = first.replica.store.kernel
        for node in others:
            kernel = node.replica.store.kernel
            if kernel.fingerprint != ours.fingerprint or kernel.exported_context() != ours.exported_context():
                return False
        return True

    def run_until_converged(self, timeout: float = 30.0) -> float:
        """Let time pass until all nodes are equal; return how long it took; raises TimeoutError after ``timeout``."""
        start = self.queue.now
        while not self.converged():
            if self.queue.now - start >= timeout:
                sizes = {node.name: len(node.replica.context) for node in self.running()}
                raise TimeoutError(f"not equal after {timeout} virtual seconds; events processed: {sizes}")
            self.run(STEP)
        return self.queue.now - start


def _random_views(nodes: int, view: int, rng: random.Random) -> list[list[int]]:
    """Who knows whom in a random graph without direction, in one piece, in which all know ``view`` others, or nearly.

    Rings on top of each other, each in an order of its own; who know each other from one ring are no neighbours in the
    next, if that can be helped.
    """
    views: list[dict[int, None]] = [{} for _ in range(nodes)]
    for _ in range(view // 2):
        ring = rng.sample(range(nodes), nodes)
        for place in range(nodes - 1):
            for _ in range(RING_TRIES):
                if ring[place + 1] not in views[ring[place]]:
                    break
                other = rng.randrange(place + 1, nodes)
                ring[place + 1], ring[other] = ring[other], ring[place + 1]
        for here, there in zip(ring, ring[1:] + ring[:1], strict=True):
            views[here][there] = views[there][here] = None
    return [list(view) for view in views]
