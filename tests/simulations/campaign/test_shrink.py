"""Shrinking: what is left is small, and fails."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulations.campaign.runner import run_scenario
from simulations.campaign.shrink import keeping, shrink
from simulations.errors import ScenarioError
from simulations.faults.registry import Churn, Crash, Fault, Flap, Isolate, Join, Partition, Retire, Weather
from simulations.scenario.file import dump_scenario, load_scenario, parse_scenario
from simulations.scenario.operations import Write
from simulations.scenario.scenario import Scenario

from ..planted import removal_without_a_dot


def always() -> bool:
    return True


def large(seed: int) -> Scenario:
    return replace(load_scenario("chaos"), duration=30.0).concrete(seed)


def test_only_what_is_needed_is_left() -> None:
    scenario = replace(
        large(1), faults=(*large(1).faults, Crash(at=11.0, node=7, seconds=5.0), Crash(at=12.0, node=2, seconds=5.0))
    )
    wanted = scenario.writes[17]

    def fails(candidate: Scenario) -> bool:
        crashes = [fault for fault in candidate.faults if fault.kind == "crash" and fault.at in (11.0, 12.0)]
        return len(crashes) == 2 and any(write.at == wanted.at for write in candidate.writes)

    found = shrink(scenario, 1, fails, always)
    assert fails(found)
    assert [fault.at for fault in found.faults] == [11.0, 12.0]
    assert [write.at for write in found.writes] == [wanted.at]
    assert found.nodes <= 3
    assert found.duration <= max(13.0, wanted.at + 1.0)
    assert all(fault.seconds < 1.0 for fault in found.faults)
    assert (found.disk_delay, found.clock_skew) == (0.0, 0.0)


def test_bad_weather_becomes_as_mild_as_it_can() -> None:
    weather = Weather(at=1.0, seconds=8.0, link=(("loss", 0.5), ("corruption", 0.1), ("echoes", 0.1)))

    def fails(candidate: Scenario) -> bool:
        return any(isinstance(fault, Weather) and "corruption" in dict(fault.link) for fault in candidate.faults)

    found = shrink(Scenario(name="x", faults=(weather,)), 1, fails, always)
    (mild,) = found.faults
    assert isinstance(mild, Weather)
    assert (mild.at, mild.link) == (1.0, (("corruption", 0.1),))
    assert mild.seconds < 0.3
    assert (found.writes, found.nodes) == ((), 1)


def test_what_cannot_be_spared_stays() -> None:
    scenario = large(2)
    assert shrink(scenario, 2, lambda candidate: candidate == scenario, always) == scenario


@pytest.mark.parametrize("allowed", [0, 1, 5, 30])
def test_when_the_time_is_over_the_smallest_so_far_is_returned(allowed: int) -> None:
    runs: list[Scenario] = []
    told: list[tuple[Scenario, int]] = []

    def fails(candidate: Scenario) -> bool:
        runs.append(candidate)
        return len(candidate.writes) >= 3

    def tell(scenario: Scenario, tried: int) -> None:
        told.append((scenario, tried))

    found = shrink(large(3), 3, fails, lambda: len(runs) < allowed, tell)
    assert len(runs) == allowed
    assert len(set(runs)) == allowed, "nothing is tried twice"
    assert len(found.writes) >= 3
    assert not told or (told[-1][0] == found and told[-1][1] <= allowed)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 50), st.data())
def test_what_is_returned_fails_whatever_makes_it_fail(seed: int, data: st.DataObject) -> None:
    scenario = large(seed)
    faults = data.draw(st.sets(st.sampled_from([fault.kind for fault in scenario.faults]), max_size=2))
    writes = data.draw(st.sets(st.sampled_from([write.operation for write in scenario.writes]), max_size=2))

    def fails(candidate: Scenario) -> bool:
        kinds = {fault.kind for fault in candidate.faults}
        return faults <= kinds and writes <= {write.operation for write in candidate.writes}

    found = shrink(scenario, seed, fails, always)
    assert fails(found)
    assert len(found.faults) == len(faults)
    assert len(found.writes) == len(writes)
    assert parse_scenario(dump_scenario(found), "x.toml") == found, "it can be kept in a file"


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), st.integers(0, 3), st.data())
def test_what_is_done_to_newcomers_does_not_outlive_them(nodes: int, joins: int, data: st.DataObject) -> None:
    anyone = st.integers(0, nodes + joins - 1)
    times = st.floats(0.0, 20.0)
    drawn = data.draw(
        st.lists(st.builds(Crash, at=times, node=anyone) | st.builds(Isolate, at=times, node=anyone), max_size=4)
    )
    writes = data.draw(st.lists(st.builds(Write, times, anyone, st.just("set.add"), st.just(1)), max_size=4))
    faults = (*[Join(at=1.0)] * joins, *drawn)
    scenario = Scenario(name="x", nodes=nodes, faults=faults, writes=tuple(writes), workload=())
    kept = data.draw(st.integers(0, len(drawn)))
    found = shrink(scenario, 1, lambda candidate: len(candidate.faults) >= kept, always)
    assert parse_scenario(dump_scenario(found), "x.toml") == found


def test_a_planted_bug_comes_down_to_a_few_writes() -> None:
    """A removal that kills nothing: an element comes back where it was removed."""
    scenario = replace(load_scenario("chaos"), duration=20.0, membership=False)
    with removal_without_a_dot():
        seed, oracle = next(
            (seed, recording.failures[0].oracle)
            for seed in range(10)
            if (recording := run_scenario(scenario, seed)).failures
        )
        runs = 0

        def fails(candidate: Scenario) -> bool:
            nonlocal runs
            runs += 1
            return any(failure.oracle == oracle for failure in run_scenario(candidate, seed).failures)

        found = shrink(scenario, seed, fails, lambda: runs < 150)
        assert fails(found)
    assert len(found.faults) <= 1
    assert len(found.writes) <= 4
    assert found.nodes <= 3
    assert run_scenario(found, seed).passed, "without the bug"


def test_fewer_nodes_take_their_faults_and_writes_along() -> None:
    faults: tuple[Fault, ...] = (
        Crash(node=1),
        Crash(node=3),
        Partition(groups=((0, 1), (2, 3))),
        Partition(groups=((1,), (0, 2, 3))),
        Flap(of=(1, 2)),
        Retire(node=2, by=1),
        Join(),
        Isolate(node=4),
        Churn(),
    )
    writes = (Write(1.0, 1, "set.add", 1), Write(2.0, 3, "set.add", 2), Write(3.0, 4, "set.add", 3))
    found = keeping(Scenario(name="x", nodes=4, faults=faults, writes=writes), [0, 2, 3])
    assert found.nodes == 3
    assert found.faults == (
        Crash(node=2),
        Partition(groups=((0,), (1, 2))),
        Flap(of=(1,)),
        Join(),
        Isolate(node=3),
        Churn(),
    )
    assert found.writes == (Write(2.0, 2, "set.add", 2), Write(3.0, 3, "set.add", 3))


def test_a_scenario_keeps_one_node_at_least() -> None:
    assert keeping(Scenario(name="x", nodes=4), []).nodes == 1
    with pytest.raises(ScenarioError):
        Scenario(name="x", nodes=0)
