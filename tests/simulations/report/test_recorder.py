"""What the recorder hears of: news as events, as dead dots or as a difference, lives, and what is lost with a disk."""

from functools import cache

import pytest

from simulations.campaign.runner import run_scenario
from simulations.faults.registry import Crash, Join, Partition
from simulations.report.recording import Recording
from simulations.scenario.operations import Write
from simulations.scenario.scenario import Scenario


@cache
def apart(log_limit: int = 65_536) -> Recording:
    """One side of a partition writes to one place again and again; the other must hear of it all later.

    What is written before makes a state dearer than the few events that are left.
    """
    before = [Write(1.0, 0, "log.add", number) for number in range(60)]
    writes = (*before, *(Write(3.0 + number / 10, number % 2, "map.set", 1) for number in range(30)))
    return run_scenario(
        Scenario(
            name="apart",
            nodes=4,
            duration=12.0,
            log_limit=log_limit,
            workload=(),
            writes=writes,
            faults=(Partition(at=2.0, seconds=5.0),),
        ),
        1,
    )


@pytest.mark.parametrize("log_limit", [65_536, 4], ids=["dead dots", "differences"])
def test_what_was_replaced_before_it_came_has_come_as_well(log_limit: int) -> None:
    recording = apart(log_limit)
    assert recording.passed
    assert bool(recording.summary.differences_joined) == (log_limit == 4)
    assert [len(trace.arrivals) for trace in recording.writes] == [3] * 90
    for trace in recording.writes[60:]:
        assert all((when < 7.0) == (node < 2) for when, node, _ in trace.arrivals)


@cache
def wiped() -> Recording:
    """A node loses its disk and comes back, and another one joins."""
    writes = tuple(Write(1.0 + number / 10, 0, "log.add", number) for number in range(10))
    crash = Crash(at=4.0, seconds=2.0, node=1, wipe=True)
    return run_scenario(
        Scenario(name="wiped", nodes=3, duration=10.0, workload=(), writes=writes, faults=(crash, Join(at=8.0))), 1
    )


def test_a_node_that_lost_its_disk_gets_everything_again() -> None:
    for trace in wiped().writes:
        assert trace.losses == ((6.0, 1),)
        first, again = (when for when, node, _ in trace.arrivals if node == 1)
        assert first < 4.0 < 6.0 < again


def test_a_delivery_counts_once_a_node() -> None:
    summary = wiped().summary
    assert summary.delivery.count == 10 * 3
    assert summary.delivery.most == pytest.approx(7.0, abs=0.2)  # to the newcomer


def test_lives_are_from_when_to_when_a_node_ran() -> None:
    recording = wiped()
    end = recording.summary.seconds
    assert [each.lives for each in recording.totals] == [
        ((0.0, end),),
        ((0.0, 4.0), (6.0, end)),
        ((0.0, end),),
        ((8.0, end),),
    ]
