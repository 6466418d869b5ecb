"""Disks that fail at any write and crash at any moment: whatever happens to them, every oracle holds."""

from collections import Counter
from collections.abc import Iterable

import pytest

from simulations.campaign.runner import Run, run_scenario
from simulations.scenario.file import load_scenario
from simulations.world.node import Node

NORMAL = range(200)
SOAK = range(1_000, 6_000)
SCENARIO = load_scenario("crashing-disks")


def failed(seeds: Iterable[int]) -> list[str]:
    """What to run again, and what is wrong."""
    wrong = [each for each in (run_scenario(SCENARIO, seed) for seed in seeds) if not each.passed]
    return [f"gossip sim run crashing-disks --seed {each.seed}: {each.failures[0]}" for each in wrong]


def test_every_oracle_holds_in_two_hundred_schedules() -> None:
    assert failed(NORMAL) == []


@pytest.mark.soak
@pytest.mark.parametrize("start", range(SOAK.start, SOAK.stop, 500))
def test_every_oracle_holds_in_five_thousand_schedules(start: int) -> None:
    assert failed(range(start, start + 500)) == []


class Deaths(Counter[str]):
    """What the disks of nodes were busy with when their nodes died; watches a run."""

    def __getattr__(self, name: str) -> object:
        return lambda *_: None

    def stopped(self, node: Node) -> None:
        if (saver := node.saver) is not None:
            found = {
                "lives": 1,
                "checkpoints": saver.checkpoints,
                "failures": saver.failures,
                "given up": saver.given_up,
                "died while saving": bool(saver.attempts),
                "died while failing": saver.failure is not None,
                "died while sweeping": saver.ledger.has_more,
                "died while written anew": saver.ledger.is_replacing,
            }
            self.update(found)


def test_the_schedules_cover_what_they_are_meant_to() -> None:
    deaths = Deaths()
    for seed in range(30):
        run = Run(SCENARIO, seed)
        run.cluster.observers.append(deaths)
        run.finish()
    assert min(deaths.values()) > 3, deaths
    assert len(deaths) == 8, deaths
