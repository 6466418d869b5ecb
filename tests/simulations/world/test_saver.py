"""A node and its disk: what it saves, what it does while the disk fails, and what is there afterwards."""

from collections.abc import Callable
from typing import Final

import pytest

from crdts import Value
from gossip.storage.errors import DiskFailed
from simulations import Cluster, Node
from simulations.judging.oracles import Judge
from simulations.world.disk import ERROR, FULL, KEPT, TAILS, Disk
from simulations.world.saver import UNSAVED_BATCHES, Saver


def saver_of(node: Node) -> Saver:
    assert node.saver is not None
    return node.saver


def judged(nodes: int = 2, **options: object) -> tuple[Cluster, Judge]:
    judge = Judge()
    settings = {"seed": 1, "disk": True, "warm": True, **options}
    cluster = Cluster(nodes, observers=[judge], **settings)  # type: ignore[arg-type]
    judge.watch(cluster)
    return cluster, judge


def write_much(node: Node, count: int = 60) -> None:
    """Enough for a few checkpoints; refused while the disk fails."""
    for number in range(count):
        node.replica.register(f"register {number % 20}").set("x" * number)


def settle(cluster: Cluster, judge: Judge) -> None:
    """Until all is equal and saved; nothing was wrong."""
    cluster.run_until_converged(60.0)
    cluster.run(3.0)
    judge.check()
    judge.check_together()
    assert judge.failures == []


# ---- in good times


def test_checkpoints_in_many_parts_are_finished_and_the_log_is_cut() -> None:
    cluster, judge = judged(disk_delay=0.01)
    for _ in range(4):
        write_much(cluster[0])
        cluster.run(1.0)
    settle(cluster, judge)
    assert saver_of(cluster[0]).checkpoints > 2
    assert len(cluster[0].disk.tables.parts) > 2
    assert cluster[0].disk.tables.checkpoint.log_from > 0


def test_what_a_node_of_memory_only_applies_is_as_durable_as_it_gets() -> None:
    cluster, _ = judged(disk=False)
    cluster[0].disk.full = True
    cluster[0].replica.orset("s").add("x")
    cluster.run(1.0)
    assert cluster[0].engine.durable
    assert cluster[0].saver is None


def test_a_node_that_leaves_has_saved_everything() -> None:
    cluster, judge = judged(disk_delay=5.0)
    cluster[0].replica.orset("s").add("first")
    cluster.run(1.0)
    cluster[0].replica.orset("s").add("second")
    cluster[0].leave(for_good=False)
    assert set(cluster.restart(0).replica.orset("s")) == {"first", "second"}
    assert judge.failures == []


def test_a_paused_node_learns_when_it_goes_on_what_its_disk_has_done() -> None:
    cluster, _ = judged(disk_delay=0.5)
    cluster[0].replica.orset("s").add("x")
    cluster.run(0.3)
    cluster[0].pause()
    cluster.run(2.0)
    assert cluster[0].disk.tables.log
    assert not cluster[0].engine.durable
    cluster[0].resume()
    assert cluster[0].engine.durable


def test_every_life_but_the_first_writes_under_an_id_with_a_nonce_of_its_own() -> None:
    cluster, _ = judged()
    lives = [cluster[1].replica.replica_id]
    for _ in range(3):
        cluster[1].stop()
        lives.append(cluster.restart(1).replica.replica_id)
    lives.append(cluster.clone(1).replica.replica_id)
    cluster[1].stop()
    lives.append(cluster.restart(1).replica.replica_id)
    assert len(set(lives)) == len(lives)
    assert ["-" in life for life in lives] == [False, True, True, True, True, True]
    assert lives[-1].partition(".")[2].startswith("5-")


# ---- disks that fail


def test_mutations_are_refused_while_the_disk_fails_and_reads_and_membership_go_on() -> None:
    cluster, judge = judged(3)
    replica = cluster[1].replica
    replica.orset("s").add("before")
    cluster.run_until_converged()
    cluster[1].disk.full = True
    replica.orset("s").add("not refused: nobody knows yet")
    cluster.run(1.0)
    before = replica.context
    operations: list[tuple[str, Value]] = [("add", "refused"), ("remove", "before")]
    for operation, element in operations:
        with pytest.raises(DiskFailed, match="nothing was written: the disk is full"):
            getattr(replica.orset("s"), operation)(element)
    with pytest.raises(DiskFailed), replica.transaction():
        replica.counter("c").increment()
    assert replica.context == before
    cluster[0].replica.orset("s").add("heard")
    cluster.run(30.0)
    assert set(replica.orset("s")) == {"before", "heard", "not refused: nobody knows yet"}
    assert "not refused: nobody knows yet" not in cluster[0].replica.orset("s")
    assert all(len(node.engine.members(node.now)) == 2 for node in cluster.nodes)
    assert {member.state for member in cluster[0].engine.members(cluster[0].now)} == {"alive"}
    cluster[1].disk.make_room()
    cluster.run(3.0)
    replica.orset("s").add("after")
    settle(cluster, judge)
    assert len(cluster[0].replica.orset("s")) == 4


FAILURES: Final[dict[str, Callable[[Disk, int], None]]] = {
    "an error": lambda disk, number: disk.fail_write(number, ERROR),
    "no room, once": lambda disk, number: disk.fail_write(number, FULL),
    "no room from then on": lambda disk, number: disk.fill_up(number),
}
"""What becomes of the write of a number."""


def walk(number: int, failure: str = "", tail: str = KEPT) -> int:
    """A node writes much and hears much, and its write of that number fails; then it goes on, crashes and goes on.

    Returns how many writes its disk had made before the crash.
    """
    cluster, judge = judged(disk_delay=0.02)
    if failure:
        FAILURES[failure](cluster[1].disk, number)
    write_much(cluster[1])
    for _ in range(8):
        write_much(cluster[0], 6)
        cluster.run(0.1)
    cluster.run(0.1)  # the disk is done with all that it was given
    writes = cluster[1].disk.writes
    assert bool(saver_of(cluster[1]).failures) == bool(failure)
    cluster[1].disk.make_room()
    cluster[1].stop(tail)
    cluster.restart(1)
    settle(cluster, judge)
    return writes


@pytest.mark.parametrize("failure", FAILURES)
def test_whichever_write_of_a_run_fails_nothing_is_lost(failure: str) -> None:
    for number in range(1, walk(0) + 1):
        walk(number, failure, TAILS[number % len(TAILS)])


@pytest.mark.soak
@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("tail", TAILS)
def test_whichever_write_of_a_run_fails_nothing_is_lost_by_any_crash(tail: str, failure: str) -> None:
    for number in range(1, walk(0) + 1):
        walk(number, failure, tail)


def write_anew(number: int, failure: str = "", tail: str = KEPT) -> int:
    """Like `walk`, while a replica is written anew after batches were given up."""
    cluster, judge = judged(disk_delay=0.02)
    write_much(cluster[1], 30)
    cluster.run(1.0)
    fill(cluster)
    disk, saver = cluster[1].disk, saver_of(cluster[1])
    disk.make_room()
    before, failures = disk.writes, saver.failures
    if failure:
        FAILURES[failure](disk, number)
    cluster.run(4.0)
    writes = disk.writes - before
    assert (saver.failures > failures) == bool(failure)
    disk.make_room()
    cluster[1].stop(tail)
    cluster.restart(1)
    settle(cluster, judge)
    return writes


@pytest.mark.parametrize("failure", FAILURES)
def test_whichever_write_fails_while_a_replica_is_written_anew_nothing_is_lost(failure: str) -> None:
    writes = write_anew(0)
    assert writes > 20
    for number in range(1, writes + 1):
        write_anew(number, failure, TAILS[number % len(TAILS)])


@pytest.mark.parametrize("number", range(1, 40, 5))
def test_a_crash_before_a_failed_write_was_tried_again_leaves_what_was_saved(number: int) -> None:
    cluster, judge = judged(disk_delay=0.02, seed=number)
    cluster[1].disk.fail_write(number)
    write_much(cluster[1])
    for _ in range(200):
        cluster.run(0.01)
        if saver_of(cluster[1]).failure is not None:
            break
        write_much(cluster[0], 1)
    assert saver_of(cluster[1]).failure is not None
    cluster[1].stop(KEPT)
    cluster.restart(1)
    settle(cluster, judge)


def fill(cluster: Cluster) -> None:
    """The disk of node 1 is full for so long that batches are given up."""
    cluster[1].disk.full = True
    for number in range(3 * UNSAVED_BATCHES):
        cluster[0].replica.orset("s").add(number)
        cluster.run(0.5)
    assert saver_of(cluster[1]).given_up > 0
    assert cluster[1].unsaved < UNSAVED_BATCHES


def test_a_replica_is_written_anew_after_batches_were_given_up_and_tells_of_nothing_before_that() -> None:
    cluster, judge = judged(disk_delay=0.05)
    write_much(cluster[1])
    cluster.run(5.0)
    fill(cluster)
    cluster[1].disk.make_room()
    while saver_of(cluster[1]).ledger.is_replacing:
        assert not cluster[1].engine.durable
        cluster.run(0.01)
    settle(cluster, judge)
    assert saver_of(cluster[1]).failure is None


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("seconds", [0.0, 0.3, 0.9, 3.0])
def test_a_crash_while_a_replica_is_written_anew_leaves_what_was_before_or_all(seconds: float, tail: str) -> None:
    cluster, judge = judged(disk_delay=0.1)
    write_much(cluster[1])
    cluster.run(5.0)
    fill(cluster)
    cluster[1].disk.make_room()
    cluster.run(2.0 + seconds)
    cluster[1].stop(tail)
    cluster.restart(1)
    settle(cluster, judge)
