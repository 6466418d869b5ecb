"""Random schedules: whatever happens to a cluster, once it is let alone all nodes hold what the model says."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .schedules import Schedule

NORMAL = range(30)
SOAK = range(1000, 3000)


def check(seed: int) -> None:
    schedule = Schedule(seed)
    try:
        schedule.run()
        schedule.check()
    except Exception as error:
        error.add_note(f"schedule {seed}: " + "; ".join(schedule.lives))
        raise


@pytest.mark.parametrize("seed", NORMAL)
def test_a_cluster_converges_to_the_model_after_any_schedule(seed: int) -> None:
    check(seed)


@pytest.mark.soak
@pytest.mark.parametrize("seed", SOAK)
def test_a_cluster_converges_to_the_model_after_a_great_many_schedules(seed: int) -> None:
    check(seed)


def test_the_schedules_cover_what_they_are_meant_to() -> None:
    """Deaths, states, streams, mismatched networks: the seeds above are worth nothing if they are all quiet."""
    died = states = failed = 0
    for seed in range(8):
        schedule = Schedule(seed)
        schedule.run()
        died += schedule.died
        statistics = [node.engine.statistics() for node in schedule.cluster.nodes]
        states += sum(s.states_joined for s in statistics)
        failed += sum(s.streams_failed for s in statistics)
    assert died >= 2
    assert states > 20
    assert failed > 5


TRACE = """
from tests.simulations.schedules import Schedule
schedule = Schedule(11)
schedule.run()
print(schedule.cluster.trace(), schedule.cluster.network.datagrams, schedule.cluster.queue.ran)
"""


def test_the_same_seed_gives_the_same_trace_in_every_process_whatever_the_hash_seed() -> None:
    traces = {
        subprocess.run(
            [sys.executable, "-c", TRACE],
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("0", "1", "4242")
    }
    assert len(traces) == 1
    assert len(traces.pop().split()) == 3


def test_another_seed_gives_another_trace() -> None:
    traces = set()
    for seed in (11, 12):
        schedule = Schedule(seed)
        schedule.run()
        traces.add(schedule.cluster.trace())
    assert len(traces) == 2
