"""Where logs remember next to nothing, reconciliation heals: every oracle holds, whatever breaks it off."""

import pytest

from simulations.campaign.runner import run_scenario
from simulations.scenario.file import load_scenario

SCENARIO = load_scenario("trimmed-logs")


@pytest.mark.parametrize("seeds", [range(8), pytest.param(range(1_000, 2_000), marks=pytest.mark.soak)])
def test_every_oracle_holds_and_differences_heal_what_events_cannot(seeds: range) -> None:
    wrong: list[str] = []
    states = differences = 0
    for seed in seeds:
        recording = run_scenario(SCENARIO, seed)
        wrong += [] if recording.passed else [f"gossip sim run trimmed-logs --seed {seed}: {recording.failures[0]}"]
        states += recording.summary.states_joined
        differences += recording.summary.differences_joined
    assert wrong == []
    assert differences > 10 * len(seeds), differences
    assert differences > 4 * states, "newcomers and wiped disks get states"
