"""A cluster that was too large to list and is small again is surely found, and never too early."""

import random
from dataclasses import replace

import pytest

from gossip.protocol import Config
from gossip.protocol.membership.estimate import ROUNDS, SAMPLES, SizeEstimate
from gossip.protocol.wire.messages import Shuffle
from simulations import Cluster

from ..support import Puppet, Rig, names, notices, of_type, pass_time_with

LIMIT, LENGTH = 60, 6
ANSWERS = SAMPLES * LIMIT // LENGTH
SMALL = replace(Config.lan(), full_membership_max=24, view_size=24, shuffle_interval=1.0)


def ids(count: int) -> list[bytes]:
    return [number.to_bytes(8) for number in range(count)]


def estimate_of(members: int, *, answers: int = ANSWERS, seed: int = 1) -> SizeEstimate:
    """What is heard in a cluster of that many."""
    rng, estimate = random.Random(seed), SizeEstimate(LIMIT, LENGTH)
    for _ in range(answers):
        estimate.note(rng.sample(ids(members), min(LENGTH, members)))
    return estimate


@pytest.mark.parametrize("seed", range(50))
def test_half_of_the_limit_is_small_and_the_limit_is_not(seed: int) -> None:
    assert estimate_of(LIMIT // 2, seed=seed).is_small([])
    assert not estimate_of(LIMIT, seed=seed).is_small([])
    assert not estimate_of(100 * LIMIT, seed=seed).is_small([])


def test_a_cluster_is_not_small_before_enough_was_heard_nor_after_the_estimate_was_cleared() -> None:
    estimate = estimate_of(3, answers=ANSWERS - 1)
    assert not estimate.is_small([])
    estimate.note([])
    assert estimate.is_small([])
    estimate.clear()
    assert not estimate.is_small([])


def test_who_is_in_the_view_counts_as_well_and_each_only_once() -> None:
    estimate = estimate_of(LIMIT // 2)
    assert estimate.is_small(ids(LIMIT // 2))
    assert not estimate.is_small(ids(LIMIT // 2 + 1))


def test_what_was_heard_long_ago_does_not_count() -> None:
    estimate = estimate_of(100 * LIMIT)
    for _ in range(ANSWERS):
        estimate.note(ids(3))
    assert estimate.is_small([])


# ---- of nodes


def crowded() -> tuple[Rig, list[Puppet]]:
    """A node that has just outgrown its list."""
    rig = Rig(config=replace(Config.lan(), full_membership_max=8, view_size=4, shuffle_interval=1.0))
    puppets = [Puppet(f"p{i}", host=f"10.2.0.{i + 1}") for i in range(9)]
    for puppet in puppets:
        puppet.meets(rig)
    assert rig.engine.is_partial
    return rig, puppets


def test_answers_that_nobody_asked_for_do_not_make_a_cluster_look_small() -> None:
    rig, puppets = crowded()
    for _ in range(10 * ROUNDS):
        for puppet in puppets:
            rig.receive(puppet.address, puppet.says(Shuffle((), answer=False)))
    pass_time_with(rig, 5.0, *puppets)
    assert rig.engine.is_partial


def test_who_was_known_and_not_listed_is_greeted_anew_and_listed_if_it_is_there() -> None:
    rig, puppets = crowded()
    living, told = puppets[:4], []
    for _ in range(3000):
        if not rig.engine.is_partial:
            break
        effects = pass_time_with(rig, 0.02, *puppets)
        told += notices(effects)
        for puppet in puppets:
            if of_type(Shuffle, puppet.hears(effects)):
                entries = tuple((each.node_id, each.address, 0) for each in living)
                told += notices(rig.receive(puppet.address, puppet.says(Shuffle(entries, answer=False))))
    assert told.count("members.complete") == 1
    for puppet in living:
        puppet.meets(rig)
    assert {puppet.name for puppet in living} <= set(rig.states())


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("view_size", [8, 24])
def test_a_cluster_that_has_shrunk_lists_everybody_again(seed: int, view_size: int) -> None:
    cluster = Cluster(40, seed=seed, config=replace(SMALL, view_size=view_size))
    cluster.network.tracing = False
    cluster.run(20.0)
    assert all(node.engine.is_partial for node in cluster.nodes)
    for node in cluster.nodes[8:]:
        node.stop()
    cluster.run(90.0)
    for node in cluster.running():
        assert not node.engine.is_partial
        assert len(names(node)) == 7
        assert [notice.event for notice in node.notices].count("members.complete") == 1
        assert [notice.event for notice in node.notices].count("members.partial") == 1


@pytest.mark.parametrize(("nodes", "loss"), [(100, 0.0), (30, 0.0), (30, 0.25)])
def test_a_cluster_that_is_still_too_large_never_lists_everybody(nodes: int, loss: float) -> None:
    cluster = Cluster(nodes, seed=1, config=SMALL)
    cluster.network.tracing = False
    cluster.run(20.0)
    cluster.set_link(loss=loss)
    cluster.run(60.0)
    assert all(node.engine.is_partial for node in cluster.nodes)
    assert not [notice for node in cluster.nodes for notice in node.notices if notice.event == "members.complete"]
