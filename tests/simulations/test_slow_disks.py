"""A node whose disk cannot follow leaves unread what others send: what waits is bounded, and all comes in the end."""

from collections.abc import Iterable

import pytest

from simulations import Cluster, Node
from simulations.campaign.runner import Run
from simulations.judging.oracles import Judge
from simulations.world.node import SOCKET_DATAGRAMS
from simulations.world.saver import UNSAVED_BATCHES, Saver

from .watching import watched

DELAY = 6.0
"""Seconds that the slow disk takes for a save."""


def saver_of(node: Node) -> Saver:
    assert node.saver is not None
    return node.saver


def flooded(*, own: int = 0) -> tuple[Cluster, Judge, int]:
    """Of three nodes the second has a slow disk; the others write more than it can save, and it ``own`` times itself.

    Also returns how many looks at it found that it had stopped taking in.
    """
    judge = Judge()
    cluster = Cluster(3, seed=5, observers=[judge], disk=True, disk_delay=0.01, warm=True)
    judge.watch(cluster)
    slow = cluster[1]
    slow.disk.slow_down(DELAY)
    held = 0
    for number in range(150):
        cluster[2 * (number % 2)].replica.orset("s").add(number)
        if number < own:
            slow.replica.orset("own").add(number)
        cluster.run(0.1)
        held += slow.holds_off
    return cluster, judge, held


def finish(cluster: Cluster, judge: Judge) -> None:
    cluster[1].disk.delay = 0.01
    cluster.run_until_converged(60.0)
    cluster.run(DELAY + 3.0)
    assert not cluster[1].holds_off
    judge.check()
    judge.check_together()
    assert judge.failures == []


def test_what_waits_for_a_slow_disk_is_bounded_and_all_comes_when_it_is_fast() -> None:
    cluster, judge, held = flooded()
    assert held > 50
    assert saver_of(cluster[1]).longest == UNSAVED_BATCHES
    assert len(cluster[1].replica.orset("s")) < 150
    finish(cluster, judge)
    assert set(cluster[1].replica.orset("s")) == set(range(150))


def test_own_writes_are_never_held_up() -> None:
    cluster, judge, _ = flooded(own=100)
    assert len(cluster[1].replica.orset("own")) == 100
    assert UNSAVED_BATCHES < saver_of(cluster[1]).longest <= UNSAVED_BATCHES + 100
    finish(cluster, judge)
    assert set(cluster[0].replica.orset("own")) == set(range(100))


def test_what_is_left_unread_is_bounded_as_sockets_are() -> None:
    cluster, judge, _ = flooded()
    slow = cluster[1]
    assert slow.holds_off
    unread = slow.unread
    for number in range(SOCKET_DATAGRAMS + 100):
        slow.on_datagram(cluster.addresses[0], b"%d" % number)
    assert unread < slow.unread <= SOCKET_DATAGRAMS
    finish(cluster, judge)


def test_a_node_that_holds_off_can_stop_and_come_back() -> None:
    cluster, judge, _ = flooded()
    assert cluster[1].holds_off
    cluster[1].stop()
    cluster.restart(1)
    finish(cluster, judge)


def test_a_node_that_holds_off_can_pause_and_go_on() -> None:
    cluster, judge, _ = flooded()
    assert cluster[1].holds_off
    cluster[1].pause()
    cluster.run(2 * DELAY)
    assert cluster[1].holds_off
    cluster[1].resume()
    finish(cluster, judge)


def test_a_disk_that_fails_while_a_node_holds_off_lets_it_go_on() -> None:
    cluster, judge, _ = flooded()
    cluster[1].disk.full = True
    cluster.run(4 * DELAY)
    assert saver_of(cluster[1]).failure is not None
    assert not cluster[1].holds_off
    cluster[0].replica.orset("s").add("meanwhile")
    cluster.run(1.0)
    assert "meanwhile" in cluster[1].replica.orset("s")
    cluster[1].disk.make_room()
    cluster.run(4 * DELAY)
    finish(cluster, judge)


def look(_: Run, node: Node) -> Iterable[str]:
    if node.holds_off:
        yield "died while it held off"


@pytest.mark.parametrize("seeds", [range(4), pytest.param(range(1_000, 1_300), marks=pytest.mark.soak)])
def test_every_oracle_holds_where_disks_are_slow(seeds: range) -> None:
    wrong, counts = watched("slow-disks", seeds, look)
    assert wrong == []
    assert counts["died while it held off"] > 1, counts
