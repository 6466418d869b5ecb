"""Random fault schedules: whatever happens to a cluster, every oracle holds."""

import os
import time
from collections.abc import Iterable
from dataclasses import replace
from random import Random

import pytest

from simulations.campaign.outcome import Outcome
from simulations.campaign.pools import LocalPool
from simulations.campaign.runner import run_scenario
from simulations.campaign.sweep import Sweep
from simulations.errors import ScenarioError
from simulations.faults.chaos import DRAWS, Chaos
from simulations.scenario.file import load_scenario

NORMAL = range(200)
SOAK = range(1_000, 11_000)
CHAOS = load_scenario("chaos")


def sweep(seeds: Iterable[int]) -> list[Outcome]:
    pool = LocalPool(min(2, os.cpu_count() or 1))
    try:
        return list(Sweep(CHAOS, seeds, pool, time.monotonic).outcomes())
    finally:
        pool.close()


def failed(outcomes: list[Outcome]) -> list[str]:
    """What to run again, and what is wrong."""
    return [f"gossip sim run chaos --seed {each.seed}: {each.why}" for each in outcomes if not each.passed]


def test_every_oracle_holds_in_two_hundred_random_schedules() -> None:
    outcomes = sweep(NORMAL)
    assert failed(outcomes) == []
    assert sorted(outcome.seed for outcome in outcomes) == list(NORMAL)


@pytest.mark.parametrize("seed", [9_000_427, 9_001_314])
def test_the_writers_of_retired_nodes_are_closed_where_anybody_knows_of_the_retirement(seed: int) -> None:
    """In the first, all who had heard lost their data; in the second, a member began to write after its report."""
    assert run_scenario(CHAOS, seed).failures == ()


def test_receipts_confirm_what_is_saved_even_where_a_node_takes_all_others_for_failed() -> None:
    assert run_scenario(CHAOS, 1_079).failures == ()


@pytest.mark.soak
def test_every_oracle_holds_in_ten_thousand_random_schedules() -> None:
    outcomes = sweep(SOAK)
    assert failed(outcomes) == []
    assert len(outcomes) == len(SOAK)


def test_the_schedules_cover_what_they_are_meant_to() -> None:
    """Seeds that are all quiet would be worth nothing."""
    kinds: set[str] = set()
    states = differences = streams = refused = 0
    for seed in range(20):
        recording = run_scenario(CHAOS, seed)
        kinds |= {interval.kind for interval in recording.intervals}
        states += recording.summary.states_joined
        differences += recording.summary.differences_joined
        streams += recording.summary.streams
        refused += recording.summary.refused
    assert kinds == {fault.kind for fault in one_of_each()} - {"clone"}
    assert min(states, differences, streams, refused) > 50


def one_of_each() -> Iterable[object]:
    return [draw(Random(1), 10, 1.0, 1.0) for draw in DRAWS.values()]


def test_logs_are_as_long_as_one_of_those_that_are_asked_for() -> None:
    short = replace(CHAOS, chaos=Chaos(log_limits=(0, 7)))
    assert {short.concrete(seed).log_limit for seed in range(20)} == {0, 7}
    for limits in ((), (4, -1)):
        with pytest.raises(ScenarioError, match="log_limits"):
            Chaos(log_limits=limits)


def test_a_seed_draws_the_same_faults_and_settings_each_time_and_another_seed_draws_others() -> None:
    assert CHAOS.concrete(1) == CHAOS.concrete(1)
    assert CHAOS.concrete(1).faults != CHAOS.concrete(2).faults
    assert len({CHAOS.concrete(seed).config for seed in range(20)}) > 10


@pytest.mark.parametrize("kind", DRAWS)
def test_only_the_kinds_that_are_asked_for_are_drawn_and_they_fit_the_time(kind: str) -> None:
    faults = Chaos(count=30, kinds=(kind,), longest=7.0).faults(Random(kind), 5, 20.0)
    assert len(faults) == 30
    assert len({type(fault) for fault in faults}) == 1
    assert all(0 <= fault.at <= 20 and fault.seconds <= 7.0 for fault in faults)
    assert all(0 <= index < 5 for fault in faults for index in fault.nodes())
