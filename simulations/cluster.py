"""A cluster in virtual time: the very engines that the Trio node drives, on a virtual network, from one seed."""

import random
from dataclasses import replace
from typing import Final

from crdts import HybridClock, Replica
from gossip.protocol import (
    Address,
    Close,
    Config,
    Effect,
    Engine,
    Identity,
    Notify,
    OpenStream,
    Persist,
    Send,
    Write,
    seal_for,
)

from .network import Link, Network
from .queue import EventQueue

WALL_CLOCK: Final = 1_700_000_000.0
"""What the clocks of all nodes show when virtual time begins, in seconds since 1970."""
STEP: Final = 0.01
"""Virtual seconds between two looks at whether all are equal."""


class Node:
    """One simulated node: an engine, its replica, and a driver that carries out effects on the virtual network."""

    def __init__(self, cluster: "Cluster", index: int, *, epoch: int = 1, like: int | None = None) -> None:
        """``index`` gives it its address and, unless it is to be ``like`` another one, its identity."""
        self._cluster = cluster
        self._queue = cluster.queue
        self._network = cluster.network
        self.address = Address(f"10.0.{index // 250}.{index % 250 + 1}", 4747)
        who = index if like is None else like
        rng = random.Random(f"{cluster.seed} node {who} epoch {epoch}")
        node_id = random.Random(f"{cluster.seed} node {who}").randbytes(8)
        identity = Identity(node_id, f"n{who}", epoch)
        clock = HybridClock(lambda: WALL_CLOCK + self._queue.now)
        self.replica = Replica(identity.replica_id, clock=clock, log_limit=cluster.log_limit)
        self.engine = Engine(identity, cluster.config, rng, self.replica, seal_for(cluster.key), self._queue.now)
        self.replica.on_write(lambda events: self._after_write(events))
        self.notices: list[Notify] = []
        self._wake_at = float("inf")
        self._up = True
        self._network.attach(self)
        self._schedule()

    def join(self, seeds: list[Address]) -> None:
        self._do(self.engine.set_seeds(self._queue.now, seeds))

    @property
    def up(self) -> bool:
        return self._up

    def leave(self) -> None:
        """Take leave of the others, and stop."""
        self._do(self.engine.leave())
        self.stop()

    def stop(self) -> None:
        """Vanish without a word."""
        self._up = False
        self._network.detach(self)

    def _after_write(self, events: object) -> None:
        self.engine.wrote(self._queue.now, events)  # type: ignore[arg-type]
        self._schedule()

    def _do(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send():
                    self._network.send(self.address, effect.address, effect.data)
                case OpenStream():
                    self._network.open_stream(self, effect.conn, effect.address)
                case Write():
                    self._network.write(self.address, effect.conn, effect.data)
                case Close():
                    self._network.close(self.address, effect.conn)
                case Persist():
                    self._persist(effect.token)
                case Notify():
                    self.notices.append(effect)
        self._schedule()

    def _persist(self, token: int) -> None:
        delay = self._cluster.disk_delay
        if delay:
            self._queue.at(self._queue.now + delay, lambda: self._persisted(token))
        else:
            self._persisted(token)

    def _persisted(self, token: int) -> None:
        if self._up:
            self._do(self.engine.persisted(self._queue.now, token))

    def _schedule(self) -> None:
        due = self.engine.deadline()
        if due < self._wake_at:
            self._wake_at = due
            self._queue.at(due, lambda: self._wake(due))

    def _wake(self, due: float) -> None:
        if self._up and due == self._wake_at:
            self._wake_at = float("inf")
            self._do(self.engine.tick(self._queue.now))

    def on_datagram(self, source: Address, data: bytes) -> None:
        self._do(self.engine.receive(self._queue.now, source, data))

    def accept(self) -> int:
        return self.engine.next_conn()

    def on_stream_open(self, conn: int, source: Address) -> None:
        self._do(self.engine.stream_opened(self._queue.now, conn, source))

    def on_stream_data(self, conn: int, data: bytes) -> None:
        self._do(self.engine.stream_received(self._queue.now, conn, data))

    def on_stream_writable(self, conn: int) -> None:
        self._do(self.engine.stream_writable(self._queue.now, conn))

    def on_stream_closed(self, conn: int) -> None:
        if self._up:
            self._do(self.engine.stream_closed(self._queue.now, conn))


class Cluster:
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

    def __init__(
        self,
        nodes: int,
        *,
        seed: int = 0,
        link: Link | None = None,
        config: Config | None = None,
        key: bytes | None = b"simulated cluster key, 32 bytes.",
        disk_delay: float = 0.0,
        log_limit: int = 65_536,
    ) -> None:
        """``nodes`` of them boot at once and join through the first. ``disk_delay`` is in seconds a batch."""
        if nodes < 1 or disk_delay < 0:
            raise ValueError(f"a cluster has at least one node and no negative disk_delay, not {nodes}, {disk_delay}")
        self.seed = seed
        self.config = config or Config.lan()
        self.key = key
        self.disk_delay = disk_delay
        self.log_limit = log_limit
        self.queue = EventQueue()
        self.network = Network(self.queue, random.Random(f"{seed} network"), link or Link())
        self.nodes = [Node(self, i) for i in range(nodes)]
        for node in self.nodes[1:]:
            node.join([self.nodes[0].address])

    def __getitem__(self, index: int) -> Node:
        return self.nodes[index]

    def add(self) -> Node:
        """Boot one more node."""
        seeds = self._seeds(len(self.nodes))
        node = Node(self, len(self.nodes))
        self.nodes.append(node)
        node.join(seeds)
        return node

    def _seeds(self, index: int) -> list[Address]:
        """Where the node ``index`` looks for the others: two that run, if there are, so that one may stop."""
        others = [node for i, node in enumerate(self.nodes) if i != index]
        return [node.address for node in [n for n in others if n.up] or others][:2]

    def restart(self, index: int) -> Node:
        """Boot a stopped node anew: the same node at the same address, one life later and with an empty memory."""
        old = self.nodes[index]
        if old.up:
            raise ValueError(f"{old.engine.identity.name} is running; stop it first")
        node = self.nodes[index] = Node(self, index, epoch=old.engine.identity.epoch + 1)
        node.join(self._seeds(index))
        return node

    def running(self) -> list[Node]:
        """The nodes that have not stopped."""
        return [node for node in self.nodes if node.up]

    def run(self, seconds: float) -> None:
        """Let virtual time pass."""
        self.queue.run_until(self.queue.now + seconds)

    def cut(self, *groups: list[int]) -> None:
        """Part the network into groups of node indexes; who is in none stays with the first.

        Raises ValueError for a node that is not there, or is in two groups.
        """
        named = [index for group in groups for index in group]
        if len(set(named)) < len(named) or any(not 0 <= index < len(self.nodes) for index in named):
            raise ValueError(f"groups of different node indexes from 0 to {len(self.nodes) - 1} expected, not {groups}")
        self.network.cut(*[[self.nodes[i].address for i in group] for group in groups])

    def heal(self) -> None:
        self.network.heal()

    def set_link(self, **changes: object) -> None:
        """Change how the network treats what is sent from now on."""
        self.network.link = replace(self.network.link, **changes)  # type: ignore[arg-type]

    def trace(self) -> str:
        """A hash of everything that was sent so far, and when."""
        return self.network.trace()

    def converged(self) -> bool:
        """Whether all running nodes have processed the same events and hold the same content."""
        first, *others = self.running()
        return all(
            node.replica.context == first.replica.context and node.replica.fingerprint == first.replica.fingerprint
            for node in others
        )

    def run_until_converged(self, timeout: float = 30.0) -> float:
        """Let time pass until all nodes are equal; return how long it took; raises TimeoutError after ``timeout``."""
        start = self.queue.now
        while not self.converged():
            if self.queue.now - start >= timeout:
                sizes = {n.engine.identity.name: len(n.replica.context) for n in self.running()}
                raise TimeoutError(f"not equal after {timeout} virtual seconds; events processed: {sizes}")
            self.run(STEP)
        return self.queue.now - start
