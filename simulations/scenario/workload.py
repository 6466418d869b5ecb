"""Who writes what and when: named patterns that a seed turns into a list of writes."""

import random
from bisect import bisect
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import Final

from ..errors import ScenarioError
from .operations import OPERATIONS, Write, history

_KEYED: Final = ("set.add", "set.add", "set.remove", "map.set", "map.set", "map.delete", "counter.add")
_TASKS: Final = ("task.add", "task.add", "task.claim", "task.claim", "task.complete")
_BUDGET: Final = ("budget.grant", "budget.spend", "budget.spend", "budget.spend", "budget.transfer")
_RIVALS: Final = ("rivals.set", "rivals.set", "rivals.set", "rivals.one")
_LOGGED: Final = ("log.add",)
_OBJECTS: Final = ("register", "conflicts", "nested", "flag", "several", "many")
_OTHERS: Final = tuple(name for name in OPERATIONS if name.partition(".")[0] in _OBJECTS)
PATTERNS: Final = {
    "uniform": _KEYED,
    "zipf": _KEYED,
    "bursts": _KEYED,
    "mixed": (*_KEYED, *_TASKS, *_BUDGET, *_OTHERS, "set.clear", "counter.reset"),
    "tasks": _TASKS,
    "budget": _BUDGET,
    "log": _LOGGED,
    "transactions": _RIVALS,
    "history": (),
}
"""The operations of each pattern, as often as they come up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A pattern of writes, spread over the nodes that there are at the start."""

    kind: str = "uniform"
    """``uniform`` and ``zipf``: set, map and counter operations on keys that are alike, or that follow Zipf's law.
    ``mixed``: every type of object. ``bursts``: ``burst`` writes of one node at once, ``rate`` being their average.
    ``tasks``: agents that add, claim and complete tasks. ``budget``: a bounded counter, granted, passed on and spent.
    ``log``: elements that are only ever added. ``transactions``: several registers and map keys set at once, and one
    now and then. ``history``: a real project's file changes from its beginning, each
    author at a node."""
    rate: float = 2.0
    """Writes a second, of all nodes together."""
    keys: int = 20
    """Different keys or elements."""
    exponent: float = 1.1
    """Of Zipf's law: the key of rank r is written to in proportion to ``r ** -exponent``."""
    burst: int = 50
    """Writes in one burst."""
    start: float = 0.0
    """Virtual seconds before the first."""
    until: float = 0.0
    """Virtual second of the last; 0: the end of the scenario."""

    def __post_init__(self) -> None:
        if self.kind not in PATTERNS:
            raise ScenarioError(f"a workload is one of {', '.join(PATTERNS)}, not {self.kind!r}")
        for name in ("rate", "keys", "burst"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ScenarioError(f"workload: {name} is above 0, not {getattr(self, name)}")
        if min(self.exponent, self.start, self.until) < 0:
            raise ScenarioError("workload: exponent, start and until are not negative")

    def writes(self, rng: random.Random, nodes: int, duration: float) -> list[Write]:
        """The writes of one run, in order of time."""
        end = self.until or duration
        if end <= self.start:
            return []
        if self.kind == "bursts":
            instants = [at for at in self._instants(rng, end, self.burst) for _ in range(self.burst)]
        else:
            instants = self._instants(rng, end, 1)
        if self.kind == "history":
            steps = history()
            return [Write(at, steps[i % len(steps)].author % nodes, "history.step", i) for i, at in enumerate(instants)]
        found: list[Write] = []
        for at in instants:
            together = found and found[-1].at == at
            node = found[-1].node if together else rng.randrange(nodes)
            found.append(Write(at, node, rng.choice(PATTERNS[self.kind]), self._key(rng)))
        return found

    def _instants(self, rng: random.Random, end: float, together: int) -> list[float]:
        count = int((end - self.start) * self.rate / together)
        return sorted(rng.uniform(self.start, end) for _ in range(count))

    def _key(self, rng: random.Random) -> int:
        if self.kind == "zipf":
            weights = _zipf(self.keys, self.exponent)
            return bisect(weights, rng.random() * weights[-1])
        return rng.randrange(1 << 40 if self.kind == "log" else self.keys)


@cache
def _zipf(keys: int, exponent: float) -> list[float]:
    """Sums of the weights of the first key, of the first two, and so on."""
    return list(accumulate(rank**-exponent for rank in range(1, keys + 1)))


UNIFORM: Final = Workload()
