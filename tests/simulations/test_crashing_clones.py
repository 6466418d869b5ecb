"""A node that goes on as another, and dies before its disk knows: it comes back as who it was, and nothing is lost."""

from collections import Counter
from collections.abc import Iterable

import pytest

from gossip.protocol import notices
from simulations import Cluster, Node
from simulations.campaign.runner import Run
from simulations.judging.oracles import Judge
from simulations.world.disk import KEPT, LOST, TAILS
from simulations.world.saver import Saver

from .watching import watched

NORMAL = range(14)
SOAK = range(1_000, 3_000)
DELAY = 0.5
"""Seconds that a disk takes to learn who its node is."""


def saver_of(node: Node) -> Saver:
    assert node.saver is not None
    return node.saver


def look(_: Run, node: Node) -> Iterable[str]:
    """What a node had begun that dies after it has gone on as another."""
    renamed = len(node.lives) > 1
    if renamed and node.disk.owner.lives[-1] != node.lives[-1]:
        yield "comes back as who it was"
        if any(node.lives[-1] == replica for replica in node.replica.context.replicas()):
            yield "had written as the new one"
    elif renamed:
        yield "comes back as the new one"


def test_every_oracle_holds_and_nodes_come_back_as_who_they_were() -> None:
    wrong, counts = watched("crashing-clones", NORMAL, look)
    assert wrong == []
    assert min(counts[each] for each in ("comes back as who it was", "comes back as the new one")) > 0, counts


@pytest.mark.soak
@pytest.mark.parametrize("start", range(SOAK.start, SOAK.stop, 500))
def test_every_oracle_holds_in_two_thousand_schedules(start: int) -> None:
    wrong, counts = watched("crashing-clones", range(start, start + 500), look)
    assert wrong == []
    assert counts["had written as the new one"] > 0, counts


def contested(seed: int) -> tuple[Cluster, Judge, Node]:
    """A cluster in which a node has just gone on as another, and written as that; its disk knows of neither."""
    judge = Judge()
    cluster = Cluster(3, seed=seed, observers=[judge], disk=True, disk_delay=DELAY, warm=True)
    judge.watch(cluster)
    cluster[1].replica.orset("s").add("before")
    cluster.run(3.0)
    cluster.clone(1)
    node = cluster[1]
    for _ in range(1000):
        cluster.run(0.01)
        if len(node.lives) > 1:
            break
    assert saver_of(node).is_renaming
    node.replica.orset("s").add("as the new one")
    return cluster, judge, node


def settle(cluster: Cluster, judge: Judge) -> None:
    """All are equal and have one identity each."""
    cluster.run_until_converged(60.0)
    cluster.run(5.0)
    judge.check()
    judge.check_together()
    assert judge.failures == []
    ids = Counter(node.engine.identity.node_id for node in cluster.running())
    assert max(ids.values()) == 1


@pytest.mark.parametrize("seconds", [0.0, 0.3])
def test_a_crash_before_the_disk_knows_brings_back_who_it_was_and_it_finds_out_again(seconds: float) -> None:
    cluster, judge, node = contested(1)
    cluster.run(seconds)
    assert saver_of(node).is_renaming
    old, new = node.lives
    epoch = node.disk.owner.epoch
    node.stop(LOST)
    again = cluster.restart(1)
    me = again.engine.identity
    assert f"{me.node_id.hex()}.1" == old
    assert me.epoch == epoch + 1
    assert me.nonce
    assert me.replica_id not in (old, new)
    assert set(again.replica.orset("s")) == {"before"}
    settle(cluster, judge)
    assert notices.IDENTITY_FORKED in [notice.event for notice in again.notices]
    assert again.engine.identity.node_id.hex() not in (old.partition(".")[0], new.partition(".")[0])
    assert all(set(each.replica.orset("s")) == {"before"} for each in cluster.running())


@pytest.mark.parametrize("seconds", [0.05, 0.3, 0.6, 1.1])
@pytest.mark.parametrize("tail", TAILS)
def test_whatever_a_crash_leaves_of_a_new_name_nothing_is_lost(tail: str, seconds: float) -> None:
    cluster, judge, node = contested(2)
    cluster.run(seconds)
    node.stop(tail)
    cluster.restart(1)
    settle(cluster, judge)


def test_what_it_writes_as_the_new_one_is_never_saved_before_its_name() -> None:
    cluster, judge, node = contested(3)
    while saver_of(node).is_renaming:
        assert node.lives[-1] not in [dot[0] for dot in judge.made if dot in saver_of(node).durable.context]
        cluster.run(0.01)
    cluster.run(3 * DELAY)
    node.stop(KEPT)
    again = cluster.restart(1)
    assert again.engine.identity.node_id.hex() == node.lives[-1].partition(".")[0]
    assert again.engine.identity.epoch == 2
    assert set(again.replica.orset("s")) == {"before", "as the new one"}
    settle(cluster, judge)


def test_a_node_that_leaves_has_saved_who_it_is() -> None:
    cluster, judge, node = contested(4)
    node.leave(for_good=False)
    assert node.disk.owner.lives == node.lives[-1:]
    cluster.restart(1)
    settle(cluster, judge)
