"""Makes a scenario that fails small: fewer faults, writes and nodes, a shorter time, milder faults, and it still fails.

The faults and writes that chance would draw are drawn first, so that each can be left out on its own. Then parts are
left out as long as the rest fails (delta debugging: Zeller and Hildebrandt, "Simplifying and isolating failure-inducing
input"), again and again until nothing can be spared.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

from ..faults.registry import Fault, Partition, Weather
from ..scenario.reader import NODE_FIELDS, only_possible_nodes
from ..scenario.scenario import Scenario
from ..world.cluster import FULL
from ..world.topology import LAN

T = TypeVar("T")

SHORTEST: Final = 0.1
"""Seconds below which a fault is not made shorter."""


def shrink(
    scenario: Scenario,
    seed: int,
    still_fails: Callable[[Scenario], bool],
    budget: Callable[[], bool],
    on_smaller: Callable[[Scenario, int], object] = lambda _scenario, _runs: None,
) -> Scenario:
    """The smallest scenario found that ``still_fails``, given that ``scenario`` does with ``seed``.

    ``budget`` is asked before each run whether there may be one more. ``on_smaller`` is called with whatever smaller
    scenario fails, and with how many were tried so far.
    """
    search = _Search(scenario.concrete(seed), still_fails, budget, on_smaller)
    before = None
    while before != search.best and not search.spent:
        before = search.best
        for step in (_faults, _writes, _nodes, _settings, _duration, _milder):
            step(search)
    return search.best


@dataclass(slots=True)
class _Search:
    best: Scenario
    """The smallest that is known to fail."""
    still_fails: Callable[[Scenario], bool]
    budget: Callable[[], bool]
    on_smaller: Callable[[Scenario, int], object]
    spent: bool = False
    runs: int = 0
    _tried: set[Scenario] = field(default_factory=set)

    def fails(self, candidate: Scenario) -> bool:
        """Try one; if it fails, it is the new best."""
        if self.spent or candidate in self._tried or candidate == self.best:
            return False
        if not only_possible_nodes(candidate):  # a newcomer was left out, and not what is done to it
            return False
        if not self.budget():
            self.spent = True
            return False
        self._tried.add(candidate)
        self.runs += 1
        if not self.still_fails(candidate):
            return False
        self.best = candidate
        self.on_smaller(candidate, self.runs)
        return True

    def fewest(self, parts: Sequence[T], with_parts: Callable[[Sequence[T]], Scenario]) -> None:
        """Leave out as many of the parts as can be."""
        if parts and self.fails(with_parts([])):
            return
        pieces = 2
        while len(parts) > 1 and not self.spent:
            size = -(-len(parts) // pieces)
            for start in range(0, len(parts), size):
                rest = [*parts[:start], *parts[start + size :]]
                if self.fails(with_parts(rest)):
                    parts, pieces = rest, max(2, pieces - 1)
                    break
            else:
                if pieces >= len(parts):
                    return
                pieces = min(len(parts), 2 * pieces)


def _faults(search: _Search) -> None:
    best = search.best
    search.fewest(best.faults, lambda faults: replace(best, faults=tuple(faults)))


def _writes(search: _Search) -> None:
    best = search.best
    search.fewest(best.writes, lambda writes: replace(best, writes=tuple(writes)))


def _nodes(search: _Search) -> None:
    best = search.best
    search.fewest(range(best.nodes), lambda nodes: keeping(best, nodes))


def _settings(search: _Search) -> None:
    """Each setting that is not the default, if it is not needed."""
    usual: list[dict[str, Any]] = [
        *(
            {"topology": LAN},
            {"sealed": False},
            {"disk_delay": 0.0},
            {"durability": FULL},
            {"clock_skew": 0.0},
            {"clock_drift": 0.0},
        ),
        *({"log_limit": 65_536}, {"view": 0}, {"start": "boot", "view": 0}),
    ]
    for values in usual:
        search.fails(replace(search.best, **values))
    best = search.best
    search.fewest(best.config, lambda config: replace(best, config=tuple(config)))


def _duration(search: _Search) -> None:
    """First as long as something begins, then shorter and shorter."""
    starts = [*(fault.at for fault in search.best.faults), *(write.at for write in search.best.writes)]
    for end in (max(starts, default=0.0) + 1.0, *(search.best.duration / part for part in (8.0, 4.0, 2.0))):
        if 0.0 < end < search.best.duration:
            search.fails(_until(search.best, end))


def _until(scenario: Scenario, end: float) -> Scenario:
    faults = tuple(
        replace(fault, seconds=min(fault.seconds, end - fault.at)) for fault in scenario.faults if fault.at < end
    )
    writes = tuple(write for write in scenario.writes if write.at <= end)
    return replace(scenario, duration=end, faults=faults, writes=writes)


def _milder(search: _Search) -> None:
    """Each fault shorter, and bad weather less bad."""
    for number in range(len(search.best.faults)):
        for milder in _milder_than(search.best.faults[number]):
            search.fails(_with_fault(search.best, number, milder))
        fault = search.best.faults[number]
        if isinstance(fault, Weather) and len(fault.link) > 1:
            best, link = search.best, fault.link
            search.fewest(link, lambda kept: _with_fault(best, number, replace(fault, link=tuple(kept))))  # noqa: B023


def _milder_than(fault: Fault) -> Iterator[Fault]:
    seconds = fault.seconds
    for part in (16.0, 8.0, 4.0, 2.0):
        if seconds / part >= SHORTEST:
            yield replace(fault, seconds=seconds / part)


def _with_fault(scenario: Scenario, number: int, fault: Fault) -> Scenario:
    return replace(scenario, faults=(*scenario.faults[:number], fault, *scenario.faults[number + 1 :]))


# ---- fewer nodes


def keeping(scenario: Scenario, nodes: Sequence[int]) -> Scenario:
    """The same with these of the nodes that are there at the start, numbered anew; at least one stays.

    Faults and writes of the others go with them; who comes later comes later still.
    """
    kept = list(nodes) or [0]
    place = {old: new for new, old in enumerate(kept)}
    fewer = scenario.nodes - len(kept)

    def renamed(index: int) -> int | None:
        return index - fewer if index >= scenario.nodes else place.get(index)

    writes = [(write, renamed(write.node)) for write in scenario.writes]
    return replace(
        scenario,
        nodes=len(kept),
        view=min(scenario.view, len(kept)),
        writes=tuple(replace(write, node=node) for write, node in writes if node is not None),
        faults=tuple(fault for fault in (_renamed(each, renamed) for each in scenario.faults) if fault is not None),
    )


def _renamed(fault: Fault, renamed: Callable[[int], int | None]) -> Fault | None:
    """The fault with its nodes' new numbers, or None if too few of them are left."""
    changes: dict[str, Any] = {}
    for name in NODE_FIELDS:
        value = getattr(fault, name, None)
        if isinstance(value, int):
            new: Any = renamed(value)
            if new is None:
                return None
        elif isinstance(value, tuple):
            new = _group(value, renamed) if name == "of" else tuple(filter(None, (_group(g, renamed) for g in value)))
            if len(new) < (2 if isinstance(fault, Partition) else 1):
                return None
        else:
            continue
        changes[name] = new
    return replace(fault, **changes)


def _group(nodes: tuple[int, ...], renamed: Callable[[int], int | None]) -> tuple[int, ...]:
    return tuple(new for new in map(renamed, nodes) if new is not None)
