"""A run keeps to its scenario: faults end, the dead come back, nothing breaks it, and its seed says all."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest

from gossip.protocol import Engine
from simulations.campaign.runner import CHECK_EACH, Run, run_scenario
from simulations.faults.registry import (
    ClockJump,
    Crash,
    DiskFull,
    Fault,
    Isolate,
    Leave,
    Partition,
    Pause,
    RestartAll,
    Weather,
)
from simulations.judging.census import Census
from simulations.judging.oracles import Judge
from simulations.report.recording import Recording
from simulations.scenario.file import load_scenario
from simulations.scenario.operations import OPERATIONS, Write
from simulations.scenario.scenario import Scenario
from simulations.scenario.workload import Workload


def scenario(*faults: Fault, **changes: object) -> Scenario:
    settings: dict[str, object] = {"name": "test", "nodes": 4, "duration": 10.0, "start": "warm", "settle": 60.0}
    return Scenario(**{**settings, "faults": faults, **changes})  # type: ignore[arg-type]


def test_a_quiet_run_passes_and_counts_what_was_written() -> None:
    recording = run_scenario(scenario(), 1)
    assert recording.failures == ()
    assert recording.duration == 10.0
    assert (recording.summary.nodes, recording.summary.running, recording.summary.refused) == (4, 4, 0)
    assert recording.summary.writes == len(recording.writes) > 5
    assert recording.summary.converged < 1.0


def test_all_faults_end_with_the_scenario_and_the_dead_come_back() -> None:
    run = Run(
        scenario(
            Partition(at=1.0),
            Weather(at=2.0, link=(("loss", 1.0),)),
            Crash(at=3.0, node=1),
            Pause(at=4.0, node=2),
            DiskFull(at=5.0, node=3),
            Leave(at=6.0, node=0, seconds=100.0),
            RestartAll(at=9.5, every=0.2, down=5.0),
        ),
        1,
    )
    cluster = run.cluster
    cluster.run(9.6)
    assert len(cluster.running()) < 3
    recording = run.finish()
    assert recording.failures == ()
    assert len(cluster.running()) == 4
    assert not any(node.paused or node.disk.full for node in cluster.nodes)
    assert cluster.network.passes(cluster.addresses[0], cluster.addresses[3])
    assert cluster.network.topology.near.loss == 0.0
    assert [interval.end for interval in recording.intervals] == [10.0] * 7


def test_who_left_for_good_stays_away() -> None:
    run = Run(scenario(Leave(at=1.0, node=1)), 1)
    assert run.finish().failures == ()
    assert not run.cluster[1].up


def test_intervals_are_from_when_to_when_a_fault_lasted_and_say_to_whom() -> None:
    faults = (
        Crash(at=1.0, seconds=2.0, node=1),
        ClockJump(at=2.0, node=3, by=5.0),
        Partition(at=4.0, seconds=1.5, groups="odd-even"),
        Isolate(at=8.0, seconds=60.0, node=2),
        Crash(at=9.0, node=77),
    )
    intervals = run_scenario(scenario(*faults), 1).intervals
    assert [(each.kind, each.start, each.end, each.nodes, each.sides) for each in intervals] == [
        ("crash", 1.0, 3.0, (1,), ()),
        ("clock-jump", 2.0, 2.0, (3,), ()),
        ("partition", 4.0, 5.5, (), (0, 1, 0, 1)),
        ("isolate", 8.0, 10.0, (2,), ()),
        ("crash", 9.0, 9.0, (77,), ()),
    ]


def test_what_is_planned_for_after_the_end_does_not_happen() -> None:
    writes = (Write(9.9, 0, "set.add", 1), Write(11.0, 0, "set.add", 2))
    plan = scenario(Crash(at=11.0, node=1), workload=(), writes=writes, disk_delay=2.0)
    recording = run_scenario(plan, 1)
    assert recording.failures == ()
    assert recording.summary.converged > 1.0
    assert recording.summary.writes == 1
    assert recording.intervals == ()


def test_writes_to_who_cannot_take_them_are_refused_and_counted() -> None:
    writes = tuple(Write(at, 1, "set.add", int(at * 10)) for at in (0.5, 2.5, 4.5, 6.5, 6.9, 8.5))
    faults = (
        Crash(at=2.0, seconds=1.0, node=1),
        Pause(at=4.0, seconds=1.0, node=1),
        DiskFull(at=6.0, seconds=1.0, node=1),
    )
    summary = run_scenario(scenario(*faults, workload=(), writes=writes), 1).summary
    assert (summary.writes, summary.refused) == (3, 3), "that the disk is full shows in the first that it does not take"


def test_writes_of_who_left_for_good_are_made_by_somebody_else() -> None:
    writes = tuple(Write(float(at), 1, "set.add", at) for at in range(3, 9))
    recording = run_scenario(scenario(Leave(at=1.0, node=1), workload=(), writes=writes), 1)
    assert (recording.summary.writes, recording.summary.refused) == (6, 0)


def failing(after: float) -> object:
    receive = Engine.receive

    def raises(self: Engine, now: float, *args: object) -> object:
        if now > after:
            raise RuntimeError("an engine's bug")
        return receive(self, now, *args)  # type: ignore[arg-type]

    return patch.object(Engine, "receive", raises)


@pytest.mark.parametrize("after", [5.0, 10.0])
def test_an_exception_inside_an_engine_is_a_failure_of_the_run_and_not_its_end(after: float) -> None:
    with failing(after):  # type: ignore[attr-defined]
        recording = run_scenario(scenario(writes=(Write(9.9999, 0, "set.add", 1),)), 1)
    (failure,) = recording.failures
    assert failure.oracle == "no node ever raises"
    assert failure.at > after
    assert "RuntimeError: an engine's bug (test_runner.py:" in failure.what
    assert recording.summary.writes > 0


def test_an_exception_at_the_very_beginning_is_a_failure_as_well() -> None:
    with patch.dict(OPERATIONS, {"set.add": lambda replica, n: 1 / 0}):
        recording = run_scenario(scenario(workload=(), writes=(Write(0.0, 0, "set.add", 1),)), 1)
    (failure,) = recording.failures
    assert (failure.oracle, failure.at) == ("no node ever raises", 0.0)
    assert "ZeroDivisionError" in failure.what


def test_a_cluster_that_does_not_come_together_fails_when_its_time_to_settle_is_over() -> None:
    with patch.object(Engine, "receive", lambda self, now, source, data: []):
        recording = run_scenario(scenario(settle=3.0), 1)
    late = [each for each in recording.failures if each.oracle == "all are equal in time"]
    assert [each.at for each in late] == [pytest.approx(13.0, abs=0.02)]
    assert recording.summary.seconds == pytest.approx(13.0, abs=0.02)
    assert recording.summary.converged is None


def test_who_is_there_must_be_known_in_time_unless_the_scenario_does_not_ask() -> None:
    with patch.object(Census, "wrong", lambda self: "n0 is wrong about n1"):
        asked = run_scenario(scenario(settle=3.0), 1)
        not_asked = run_scenario(scenario(settle=3.0, membership=False), 1)
    assert [each.oracle for each in asked.failures] == ["everybody knows who is there"]
    assert asked.summary.seconds <= 13.5
    assert not_asked.failures == ()


def test_on_second_is_called_each_second_of_virtual_time_to_the_end() -> None:
    seconds: list[float] = []
    recording = run_scenario(scenario(), 1, on_second=seconds.append)
    assert seconds == [float(second) for second in range(1, len(seconds) + 1)]
    assert len(seconds) == int(recording.summary.seconds) >= 10
    assert [sample.at for sample in recording.samples] == seconds


def test_the_judge_looks_at_every_node_every_few_seconds_and_at_the_end() -> None:
    looks: list[float] = []
    check = Judge.check

    def look(self: Judge) -> None:
        looks.append(self.cluster.queue.now)
        check(self)

    with patch.object(Judge, "check", look):
        recording = run_scenario(scenario(rest=0.0), 1)
    assert looks[:2] == [CHECK_EACH, 2 * CHECK_EACH]
    assert looks[-1] == pytest.approx(10.0 + recording.summary.converged)


def chaotic() -> Scenario:
    return replace(load_scenario("chaos"), nodes=5, duration=20.0, workload=(Workload(kind="mixed", rate=4.0),))


def test_the_same_seed_gives_the_same_run_to_the_last_byte_and_another_one_another() -> None:
    def told(recording: Recording) -> object:
        return recording.to_json()

    first, again, other = (run_scenario(chaotic(), seed) for seed in (7, 7, 8))
    assert told(first) == told(again)
    assert first.trace != other.trace
    assert first.summary != other.summary


def test_to_watch_a_run_does_not_change_it() -> None:
    watched = run_scenario(chaotic(), 7, on_second=lambda at: None)
    assert watched == run_scenario(chaotic(), 7)


TRACE = """
from simulations.campaign.runner import run_scenario
from simulations.scenario.file import load_scenario
for name in ("chaos", "partition-heal"):
    recording = run_scenario(load_scenario(name), 3)
    print(name, recording.trace, hash(recording.summary.datagrams), recording.summary.events, recording.failures)
"""


def test_the_scenarios_that_are_shipped_run_alike_in_every_process_whatever_the_hash_seed() -> None:
    traces = {
        subprocess.run(
            [sys.executable, "-c", TRACE],
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(Path(__file__).parents[3])},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("0", "4242")
    }
    assert len(traces) == 1
    assert [line.split()[0] for line in traces.pop().splitlines()] == ["chaos", "partition-heal"]
