"""The simulator finds the bugs that others have made: each, planted into the protocol, within 200 seeds of `chaos`."""

import pytest

from simulations.runner import run_scenario
from simulations.scenario_file import load_scenario

from .planted import PLANTED, Plant

CHAOS = load_scenario("chaos")
SEEDS = range(200)

LIKELY = {"stale_incarnation_accepted": 45, "forgetting_dead_members": 11, "failed_members_never_asked_again": 11}
"""Seeds that have found these before: tried first, as most of the others do not."""


def finds(plant: Plant, seed: int) -> bool:
    with plant():
        return not run_scenario(CHAOS, seed).passed


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_a_planted_bug_is_found(plant: Plant) -> None:
    first = LIKELY.get(plant.__name__, 0)
    found = next((seed for seed in (first, *SEEDS) if finds(plant, seed)), None)
    assert found is not None, f"{plant.__doc__} Not found in {len(SEEDS)} seeds"
    assert run_scenario(CHAOS, found).passed, "the seed fails without the bug as well"
