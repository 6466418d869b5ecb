"""Normal durability: a process that dies loses nothing, a machine its last moments, and no dot is ever used twice."""

from collections.abc import Iterable

import pytest

from simulations import Cluster, Node
from simulations.campaign.runner import Run
from simulations.judging.oracles import Judge
from simulations.world.disk import KEPT, LOST, REORDERED, SYNC_BYTES, TAILS, TORN

from .watching import watched

NORMAL = range(12)
SOAK = range(1_000, 3_000)


def look(run: Run, node: Node) -> Iterable[str]:
    """What became of a node's writes that it had acknowledged."""
    again = Cluster(1, disk=True)[0].replica
    node.disk.read_into(again)
    if node.saver is None or node.disk.wiped:
        return
    forgotten = node.saver.durable.context.missing_from(again.context)
    if not node.lost_power:
        yield "forgotten by a crash" if forgotten else "kept by a crash"
        return
    yield "lost power"
    if forgotten:
        yield "forgotten"
        others = [other.replica.context for other in run.cluster.running() if other is not node]
        known = [any(context.contains(replica, start) for context in others) for replica, start, _ in forgotten]
        own = [replica in node.lives for replica, _, _ in forgotten]
        if any(of_its_own and seen for of_its_own, seen in zip(own, known, strict=True)):
            yield "forgotten, written here, and known elsewhere"
        if not all(known):
            yield "forgotten by all"


def check(seeds: range, least: int) -> None:
    wrong, counts = watched("power-losses", seeds, look)
    assert wrong == []
    assert counts["forgotten by a crash"] == 0
    wanted = ("kept by a crash", "lost power", "forgotten", "forgotten, written here, and known elsewhere")
    assert min(counts[each] for each in (*wanted, "forgotten by all")) > least, counts


def test_every_oracle_holds_and_machines_forget_what_others_know_and_what_nobody_does() -> None:
    check(NORMAL, 1)


@pytest.mark.soak
@pytest.mark.parametrize("start", range(SOAK.start, SOAK.stop, 500))
def test_every_oracle_holds_in_two_thousand_schedules(start: int) -> None:
    check(range(start, start + 500), 20)


# ---- one node


def forgetful(*, durability: str = "normal", seed: int = 1) -> tuple[Cluster, Judge]:
    """Two nodes; the first has acknowledged three writes, too few to be synced, and the second has them."""
    judge = Judge()
    cluster = Cluster(2, seed=seed, observers=[judge], disk=True, durability=durability, warm=True)
    judge.watch(cluster)
    for number in range(3):
        cluster[0].replica.orset("s").add(number)
        cluster.run(1.0)
    assert cluster[0].engine.durable
    assert cluster.converged()
    return cluster, judge


def finish(cluster: Cluster, judge: Judge) -> None:
    cluster.run_until_converged(60.0)
    cluster.run(3.0)
    judge.check()
    judge.check_together()
    assert judge.failures == []


@pytest.mark.parametrize("tail", TAILS)
def test_what_was_acknowledged_survives_any_end_of_the_process(tail: str) -> None:
    cluster, judge = forgetful()
    cluster[0].stop(tail)
    cluster[1].stop(tail)
    assert set(cluster.restart(0).replica.orset("s")) == {0, 1, 2}
    cluster.restart(1)
    finish(cluster, judge)


@pytest.mark.parametrize(("tail", "wanted"), [(LOST, {0}), (KEPT, {3}), (TORN, {0, 1, 2}), (REORDERED, {0, 1})])
def test_a_power_loss_leaves_a_prefix_and_what_the_other_has_comes_back(tail: str, wanted: set[int]) -> None:
    found = set()
    for seed in range(40):
        cluster, judge = forgetful(seed=seed)
        cluster[0].stop(tail, power=True)
        again = cluster.restart(0)
        left = set(again.replica.orset("s"))
        assert left == set(range(len(left))), "what is later than something lost"
        found.add(len(left))
        again.replica.orset("s").add("of the next life")
        finish(cluster, judge)
        assert set(again.replica.orset("s")) == {0, 1, 2, "of the next life"}
    assert wanted <= found
    assert len(found) == 1 or tail in (TORN, REORDERED)


def test_with_full_durability_a_power_loss_takes_nothing_that_was_acknowledged() -> None:
    cluster, judge = forgetful(durability="full")
    cluster[0].stop(LOST, power=True)
    assert set(cluster.restart(0).replica.orset("s")) == {0, 1, 2}
    finish(cluster, judge)


def test_what_nobody_else_had_is_gone_and_is_never_written_again_under_the_same_dot() -> None:
    cluster, judge = forgetful()
    cluster.cut([0], [1])
    cluster[0].replica.orset("s").add("alone")
    cluster.run(1.0)
    assert cluster[0].engine.durable
    before = cluster[0].replica.replica_id
    cluster[0].stop(LOST, power=True)
    again = cluster.restart(0)
    cluster.heal()
    again.replica.orset("s").add("later")
    finish(cluster, judge)
    assert again.replica.replica_id != before
    assert set(again.replica.orset("s")) == {0, 1, 2, "later"}
    assert judge.excused == {(before, 4)}


def test_a_disk_syncs_now_and_then_and_a_power_loss_leaves_what_was_before() -> None:
    cluster, judge = forgetful()
    cluster[0].replica.register("large").set("x" * SYNC_BYTES)
    cluster.run(1.0)
    cluster[0].replica.orset("s").add("last")
    cluster.run(1.0)
    assert not cluster[0].disk.is_synced
    cluster[0].stop(LOST, power=True)
    assert set(cluster.restart(0).replica.orset("s")) == {0, 1, 2}
    assert cluster[0].replica.register("large").value() == "x" * SYNC_BYTES
    finish(cluster, judge)


def test_a_node_that_leaves_in_good_order_is_synced() -> None:
    cluster, judge = forgetful()
    cluster[0].leave(for_good=False)
    assert cluster[0].disk.is_synced
    cluster.restart(0)
    finish(cluster, judge)
