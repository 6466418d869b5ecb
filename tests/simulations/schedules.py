"""Random lives of a cluster from one seed, and the model that says what it must hold in the end."""

import random
from dataclasses import dataclass, field

from crdts import Dot, Event
from gossip.protocol import Config
from simulations import Cluster, Link, Node

HEALING_SECONDS = 120.0
"""Virtual time by which everybody must have everything, once the network lets them."""


@dataclass
class Schedule:
    """What happened: every event ever made, and whether any could be lost with the node that made it."""

    seed: int
    cluster: Cluster = field(init=False)
    rng: random.Random = field(init=False)
    made: dict[Dot, Event] = field(default_factory=dict)
    lives: list[str] = field(default_factory=list)
    """What was done, to make sense of a failure."""
    counted: int = 0
    died: bool = False

    def __post_init__(self) -> None:
        self.rng = rng = random.Random(f"schedule {self.seed}")
        config = Config(
            fanout=rng.choice([1, 2, 4]),
            datagram_bytes=rng.choice([600, 1200]),
            stream_chunk_bytes=rng.choice([500, 65_536]),
            push_buffer_bytes=rng.choice([1_000, 262_144]),
            catchup_datagrams=rng.choice([1, 32]),
            max_context_pages=rng.choice([1, 16]),
            max_streams=rng.choice([1, 8]),
        )
        self.cluster = Cluster(
            rng.randint(2, 6),
            seed=self.seed,
            config=config,
            link=Link(latency=rng.choice([(0.0002, 0.001), (0.001, 0.3)])),
            disk_delay=rng.choice([0.0, 0.0, 0.03, 0.4]),
            log_limit=rng.choice([4, 40, 65_536]),
        )
        for node in self.cluster.nodes:
            self._follow(node)

    def _follow(self, node: Node) -> None:
        node.replica.on_write(lambda events: self.made.update({event.dot: event for event in events}))

    def run(self) -> None:
        """Live, heal, and come together."""
        actions = [*[self.write] * 12, *[self.wait] * 8, self.cut, self.heal, self.weather, self.stop, self.restart]
        actions += [self.restart, self.newcomer]
        for _ in range(self.rng.randint(40, 120)):
            self.rng.choice(actions)()
        self.heal()
        if not self.cluster[0].up:  # who had not met anybody before its only seed stopped
            self._follow(self.cluster.restart(0))
        self.cluster.set_link(loss=self.rng.choice([0.0, 0.1, 0.3]))
        self.cluster.run_until_converged(timeout=HEALING_SECONDS)

    # ---- what may happen

    def write(self) -> None:
        rng = self.rng
        replica = rng.choice(self.cluster.running()).replica
        for _ in range(rng.choice([1, 1, 1, 3, 30])):
            element = rng.randrange(12)
            match rng.randrange(9):
                case 0 | 1:
                    replica.orset("s").add(element)
                case 2 | 3:
                    replica.orset("s").remove(element)
                case 4:
                    replica.counter("c").increment(element)
                    self.counted += element
                case 5:
                    replica.gcounter("g").increment(element)
                case 6:
                    replica.register("r").set([element, "x" * rng.choice([1, 1, 900, 5000])])
                case 7:
                    replica.mvregister("v").set(element)
                case _ if rng.random() < 0.3:
                    replica.lwwmap("m").delete(str(element))
                case _:
                    replica.lwwmap("m").set(str(element), rng.random())

    def wait(self) -> None:
        self.cluster.run(self.rng.choice([0.0005, 0.01, 0.05, 0.5, 3.0]))

    def cut(self) -> None:
        side = [self.rng.randrange(2) for _ in self.cluster.nodes]
        groups = [[i for i, s in enumerate(side) if s == wanted] for wanted in (0, 1)]
        self._note(f"cut {groups}")
        self.cluster.cut(*groups)

    def heal(self) -> None:
        self._note("heal")
        self.cluster.heal()

    def weather(self) -> None:
        loss, duplication = self.rng.choice([0.0, 0.1, 0.3]), self.rng.choice([0.0, 0.2])
        self.cluster.set_link(loss=loss, duplication=duplication)

    def stop(self) -> None:
        running = self.cluster.running()
        if len(running) > 2:
            node = self.rng.choice(running)
            self.died = True
            self._note(f"stop {node.engine.identity.name}")
            self.rng.choice([node.stop, node.leave])()

    def restart(self) -> None:
        stopped = [i for i, node in enumerate(self.cluster.nodes) if not node.up]
        if stopped:
            self._follow(self.cluster.restart(self.rng.choice(stopped)))
            self._note("restart")

    def newcomer(self) -> None:
        if len(self.cluster.nodes) < 8 and self.cluster[0].up:
            self._follow(self.cluster.add())
            self._note("newcomer")

    def _note(self, what: str) -> None:
        self.lives.append(f"{self.cluster.queue.now:.3f} {what}")

    # ---- what must be

    def check(self) -> None:
        """Raise AssertionError unless every running node holds what the model says.

        What a node that died never told anybody is nowhere; but a death it knew of may have been told by a filler.
        """
        nodes = self.cluster.running()
        context = nodes[0].replica.context
        processed = {dot for dot in self.made if dot in context}
        assert len(processed) == len(context), "processed what nobody made"
        alive = {node.replica.replica_id for node in nodes}
        assert not [dot for dot in self.made if dot[0] in alive and dot not in processed], "a write was lost"
        model = self._live(processed)
        killed = {dot for event in self.made.values() for dot in event.kills}
        for node in nodes:
            kernel = node.replica.store.kernel
            held = {event.dot: event for seqs in kernel.live.values() for event in seqs.values()}
            assert all(event == self.made[dot]._replace(kills=()) for dot, event in held.items())
            assert held.keys() <= model, "holds what was removed"
            assert model - held.keys() <= (killed if self.died else set()), "lost what nobody removed"
            assert self.died or not kernel.prekilled
        if not self.died:
            assert nodes[-1].replica.counter("c").value() == self.counted

    def _live(self, processed: set[Dot]) -> set[Dot]:
        killed = {dot for made in processed for dot in self.made[made].kills}
        return {dot for dot in processed if self.made[dot].payload is not None and dot not in killed}
