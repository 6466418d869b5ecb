"""Runs of a scenario that are counted: how often what they are meant to show did happen."""

from collections import Counter
from collections.abc import Callable, Iterable

from simulations.campaign.runner import Run
from simulations.scenario.file import load_scenario
from simulations.world.node import Node
from simulations.world.observer import Observer


class Deaths(Observer):
    """Counts by what ``look`` says of a node that has just stopped, whose disk is as the next life will find it."""

    def __init__(self, look: Callable[[Run, Node], Iterable[str]]) -> None:
        self._look = look
        self._run: Run | None = None
        self.counts: Counter[str] = Counter()

    def watch(self, run: Run) -> None:
        self._run = run
        run.cluster.observers.insert(0, self)

    def stopped(self, node: Node) -> None:
        assert self._run is not None
        self.counts.update(self._look(self._run, node))


def watched(
    name: str, seeds: Iterable[int], look: Callable[[Run, Node], Iterable[str]]
) -> tuple[list[str], Counter[str]]:
    """What to run again, and what is wrong there; and the counts of all runs together."""
    deaths = Deaths(look)
    scenario, wrong = load_scenario(name), []
    for seed in seeds:
        run = Run(scenario, seed)
        deaths.watch(run)
        found = run.finish()
        wrong += [] if found.passed else [f"gossip sim run {name} --seed {seed}: {found.failures[0]}"]
    return wrong, deaths.counts
