"""Random histories of a replica, as the batches that its node would save."""

import random
from dataclasses import dataclass, field

from crdts import Delta, Event, InsufficientRights, Replica
from crdts.context import DotRange
from gossip.protocol import Persist
from simulations.scenario.operations import OPERATIONS

NAMES = tuple(name for name in OPERATIONS if name != "history.step")


def act(replica: Replica, rng: random.Random, count: int) -> None:
    """So many operations of any kind, some of them together."""
    for _ in range(count):
        try:
            if rng.random() < 0.2:
                with replica.transaction():
                    for _ in range(rng.randint(1, 4)):
                        OPERATIONS[rng.choice(NAMES)](replica, rng.randrange(6))
            else:
                OPERATIONS[rng.choice(NAMES)](replica, rng.randrange(6))
        except InsufficientRights:
            pass


@dataclass
class Saved:
    """A replica that writes and hears of others, and what it has asked its disk to keep."""

    seed: int
    batches: list[Persist] = field(default_factory=list)
    _events: list[Event] = field(default_factory=list)
    _runs: list[DotRange] = field(default_factory=list)
    _states: list[Delta] = field(default_factory=list)
    _processed: int = 0

    def __post_init__(self) -> None:
        self.rng = random.Random(f"history {self.seed}")
        self.replica = Replica("me", log_limit=self.rng.choice([4, 65_536]))
        self.others = [Replica(name, log_limit=self.rng.choice([0, 4, 65_536])) for name in ("a", "b")]
        self.replica.on_write(self._wrote)
        self.replica.on_merge(self._heard)

    def _wrote(self, events: tuple[Event, ...]) -> None:
        self._events += events
        self._processed = self.replica.store.kernel.processed

    def _heard(self, delta: Delta, new: list[Event]) -> None:
        self._events += new
        processed = self.replica.store.kernel.processed
        if processed > self._processed:
            self._runs += delta.runs
        self._processed = processed
        if delta.is_state:
            self._states.append(delta)
            self.save()

    def live(self, steps: int) -> None:
        """Write, hear, and save, at random."""
        for _ in range(steps):
            some = self.rng.choice([self.replica, *self.others])
            act(some, self.rng, self.rng.randint(1, 4))
            source, target = self.rng.sample([self.replica, *self.others], 2)
            self._exchange(source, target)
            if self.rng.random() < 0.5:
                self.save()
        for other in self.others:
            act(other, self.rng, 5)
            self._exchange(other, self.replica)
        self.save()

    def _exchange(self, source: Replica, target: Replica) -> None:
        delta = source.delta_since(target.context)
        if not delta.is_state and self.rng.random() < 0.5:  # some of it was lost on its way
            kept = tuple(event for event in delta.events if self.rng.random() < 0.5)
            delta = Delta(kept, tuple(run for run in delta.runs if self.rng.random() < 0.5))
        if delta:
            target.store.merge(delta)

    def save(self) -> None:
        """Hand over what is not saved."""
        batch = Persist(len(self.batches) + 1, tuple(self._events), tuple(self._runs), tuple(self._states))
        for unsaved in (self._events, self._runs, self._states):
            unsaved.clear()  # type: ignore[attr-defined]
        if batch.events or batch.runs or batch.states:
            self.batches.append(batch)
