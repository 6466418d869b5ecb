"""The scenarios that come with the package hold what they promise."""

from dataclasses import replace

import pytest

from simulations.campaign.runner import run_scenario
from simulations.scenario.file import load_scenario, scenario_names

SLOW = {"thousand-nodes", "ten-thousand-nodes", "half-crash", "most-crash"}
"""These take ten to thirty seconds."""


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", [name for name in scenario_names() if name not in SLOW])
def test_a_scenario_that_comes_with_the_package_passes(name: str, seed: int) -> None:
    recording = run_scenario(load_scenario(name), seed)
    assert recording.failures == ()
    assert recording.summary.writes > 30


@pytest.mark.parametrize("seconds", [30.0, pytest.param(3600.0, marks=pytest.mark.soak)])
@pytest.mark.parametrize("loss", [0.0, 0.25])
def test_a_partition_heals_within_ten_seconds_however_long_it_was(seconds: float, loss: float) -> None:
    scenario = load_scenario("long-partition")
    assert scenario.settle == 10.0
    lossy = replace(scenario, duration=30.0 + seconds, topology=scenario.topology.with_links(loss=loss))
    assert run_scenario(lossy, 1).failures == ()


@pytest.mark.parametrize("name", scenario_names())
def test_each_says_what_it_shows_and_what_is_promised(name: str) -> None:
    scenario = load_scenario(name)
    assert scenario.name == name
    assert 10 < len(scenario.title) < 100
    assert "Promised" in scenario.about
    assert 2 <= len(scenario.about.splitlines()) <= 6
    assert max(map(len, scenario.about.splitlines())) <= 120


@pytest.mark.parametrize("name", sorted(SLOW))
def test_the_large_ones_pass_with_fewer_nodes(name: str) -> None:
    scenario = load_scenario(name)
    duration = 10.0 if not scenario.faults else scenario.duration
    assert run_scenario(replace(scenario, nodes=80, duration=duration), 1).passed


@pytest.mark.soak
@pytest.mark.parametrize("name", sorted(SLOW))
def test_the_large_ones_pass(name: str) -> None:
    assert run_scenario(load_scenario(name), 1).passed
