"""The simulator does what it says: time, faults, and lives that come and go."""

import doctest
from collections.abc import Callable

import pytest

from simulations import Cluster, EventQueue, Link
from simulations.world import cluster as module


def test_the_example_of_the_cluster_runs() -> None:
    assert doctest.testmod(module) == (0, 7)


def test_callbacks_run_in_order_of_their_instant_and_ties_in_order_of_scheduling() -> None:
    queue, ran = EventQueue(), []
    for when, name in ((2.0, "c"), (1.0, "a"), (2.0, "d"), (1.0, "b"), (9.0, "late")):
        queue.at(when, lambda name=name: ran.append((queue.now, name)))  # type: ignore[misc]
    queue.at(1.0, lambda: queue.at(0.5, lambda: ran.append((queue.now, "past"))))
    queue.run_until(5.0)
    assert ran == [(1.0, "a"), (1.0, "b"), (1.0, "past"), (2.0, "c"), (2.0, "d")]
    assert queue.now == 5.0


def test_a_cluster_that_cannot_converge_says_who_has_what() -> None:
    cluster = Cluster(2, seed=1)
    cluster.cut([0], [1])
    cluster[0].replica.orset("s").add(1)
    with pytest.raises(TimeoutError, match=r"'n0': 1, 'n1': 0"):
        cluster.run_until_converged(timeout=1.0)


def test_only_a_stopped_node_is_restarted() -> None:
    cluster = Cluster(2, seed=1)
    with pytest.raises(ValueError, match="n1 is running"):
        cluster.restart(1)
    cluster[1].stop()
    assert cluster.running() == [cluster[0]]
    assert cluster.restart(1).engine.identity.epoch == 2


@pytest.mark.parametrize(
    "nonsense",
    [
        lambda: Cluster(0),
        lambda: Cluster(2, disk_delay=-1),
        lambda: Link(loss=2),
        lambda: Link(duplication=-0.1),
        lambda: Link(latency=(0.2, 0.1)),
        lambda: Cluster(3).cut([0, 1], [1, 2]),
        lambda: Cluster(3).cut([0], [7]),
    ],
)
def test_what_makes_no_sense_is_refused(nonsense: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match="not"):
        nonsense()


def test_a_newcomer_finds_the_others_when_the_first_node_is_gone() -> None:
    cluster = Cluster(3, seed=3)
    cluster.run(1.0)
    cluster[1].replica.orset("s").add("kept")
    cluster.run_until_converged()
    cluster[0].stop()
    newcomer = cluster.add()
    cluster.run_until_converged()
    assert "kept" in newcomer.replica.orset("s")


@pytest.mark.parametrize("seed", range(6))
def test_nothing_vanishes_when_half_of_a_catch_up_is_lost_and_its_sender_dies(seed: int) -> None:
    cluster = Cluster(3, seed=seed)
    sender, holder, _ = cluster.nodes
    cluster.run(3)
    elements = {f"element-{i:04}" for i in range(150)}
    for element in sorted(elements):
        holder.replica.orset("s").add(element)
    cluster.run_until_converged()
    cluster.cut([0], [1, 2])
    for element in sorted(elements):  # each add replaces what the others hold
        sender.replica.orset("s").add(element)
    cluster.run(1)
    cluster.set_link(loss=0.3)
    newcomer = cluster.add()
    while not newcomer.replica.context:
        cluster.run(0.001)
    cluster.run(0.003)
    sender.stop()
    cluster.set_link(loss=0.0)
    cluster.heal()
    newcomer.join([holder.address])
    cluster.run_until_converged(timeout=60)
    assert [set(node.replica.orset("s")) for node in cluster.running()] == [elements] * 3
