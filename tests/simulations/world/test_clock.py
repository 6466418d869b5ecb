"""A node's wall clock is as wrong as it is told to be, and stamps follow it."""

import pytest

from simulations import Cluster, EventQueue
from simulations.world.clock import EPOCH, SkewedClock


def test_a_right_clock_shows_the_virtual_time_since_its_epoch() -> None:
    queue = EventQueue()
    clock = SkewedClock(queue)
    assert clock() == EPOCH
    queue.run_until(12.5)
    assert clock() == EPOCH + 12.5


def test_an_offset_stays_and_a_drift_grows() -> None:
    queue = EventQueue()
    clock = SkewedClock(queue, offset=-3.0, drift=0.01)
    assert clock() == EPOCH - 3.0
    queue.run_until(100.0)
    assert clock() == pytest.approx(EPOCH + 98.0)


def test_jumps_add_up_and_may_go_back() -> None:
    clock = SkewedClock(EventQueue(), offset=1.0)
    clock.jump(10.0)
    clock.jump(-30.0)
    assert clock() == EPOCH - 19.0


def test_the_clocks_of_a_cluster_are_wrong_by_no_more_than_is_asked_and_not_all_alike() -> None:
    cluster = Cluster(30, seed=4, clock_skew=2.0, clock_drift=0.001)
    offsets = [node.clock() - EPOCH for node in cluster.nodes]
    assert all(-2.0 <= offset <= 2.0 for offset in offsets)
    assert min(offsets) < -0.5
    assert max(offsets) > 0.5
    cluster.queue.now = 1000.0
    gained = [node.clock() - EPOCH - 1000.0 - offset for node, offset in zip(cluster.nodes, offsets, strict=True)]
    assert all(-1.0 <= each <= 1.0 for each in gained)
    assert len({round(each, 6) for each in gained}) == 30


def test_a_clock_keeps_its_error_when_its_node_is_restarted() -> None:
    cluster = Cluster(2, seed=4, clock_skew=5.0)
    cluster[1].clock.jump(60.0)
    shown = cluster[1].clock()
    cluster[1].stop()
    assert cluster.restart(1).clock() == shown


def test_a_later_write_wins_although_its_writers_clock_is_behind_as_it_has_seen_the_earlier() -> None:
    cluster = Cluster(2, seed=1)
    cluster[1].clock.jump(-20.0)
    cluster[0].replica.register("r").set("first")
    cluster.run_until_converged()
    cluster[1].replica.register("r").set("second")
    cluster.run_until_converged()
    assert cluster[0].replica.register("r").get() == "second"
