"""The judge sees every rule that is broken, names it and the node, and has nothing to say of a healthy run."""

from dataclasses import replace
from unittest.mock import patch

import pytest

from crdts import Dot, Event
from crdts.context import Context
from crdts.kernel import Kernel
from crdts.store import Store
from crdts.types.bounded import BoundedCounter
from gossip.storage.backlog import Backlog
from gossip.storage.errors import DiskFailed
from simulations import Cluster, Node
from simulations.campaign.runner import run_scenario
from simulations.faults.network import VICTIM
from simulations.judging.contests import contradiction
from simulations.judging.oracles import MAX_FAILURES, Failure, Judge
from simulations.scenario.operations import OPERATIONS
from simulations.scenario.scenario import Scenario
from simulations.scenario.workload import Workload
from simulations.world.saver import Saver


class Court:
    """A judged cluster of nodes that know each other."""

    def __init__(self, nodes: int = 3, **options: object) -> None:
        self.judge = Judge()
        settings = {"seed": 1, "disk": True, "warm": True, **options}
        self.cluster = Cluster(nodes, observers=[self.judge], **settings)  # type: ignore[arg-type]
        self.judge.watch(self.cluster)

    def __getitem__(self, index: int) -> Node:
        return self.cluster[index]

    def settle(self) -> None:
        self.cluster.heal()
        self.cluster.run_until_converged()
        self.cluster.run(1.0)

    def write(self) -> Event:
        """An element that all have, and one that was removed; returns the event of the first."""
        (event,) = self[0].replica.orset("s").add("kept").events
        self[0].replica.orset("s").add("removed")
        self[0].replica.orset("s").remove("removed")
        self.settle()
        return event

    def verdict(self, *, together: bool = False) -> list[Failure]:
        self.judge.check()
        if together:
            self.judge.check_together()
        return self.judge.failures

    def told(self, *, together: bool = False) -> set[tuple[str, str]]:
        """Which rules are broken, and where."""
        return {(each.oracle, each.node) for each in self.verdict(together=together)}


def saver_of(node: Node) -> Saver:
    assert node.saver is not None
    return node.saver


def kernel_of(node: Node) -> Kernel:
    return node.replica.store.kernel


def forget(kernel: Kernel, dot: Dot) -> None:
    """As if an event had never come."""
    kernel._drop(dot, dot)
    ranges = list(kernel.context.ranges())
    writer, seq = dot
    left = Context.of([each for each in ranges if each[0] != writer])
    for _, start, stop in [each for each in ranges if each[0] == writer]:
        for other in range(start, stop):
            if other != seq:
                left.add(writer, other)
    kernel.context = left


# ---- health


def test_nothing_is_wrong_with_a_healthy_cluster() -> None:
    court = Court()
    court.write()
    assert court.verdict(together=True) == []


def test_nothing_is_wrong_while_nodes_are_apart_crash_and_come_back() -> None:
    court = Court(4, disk_delay=0.01)
    names = [name for name in OPERATIONS if not name.startswith(("budget", "history"))]
    for number in range(200):
        OPERATIONS[names[number % len(names)]](court[number % 4].replica, number % 7)
        court.cluster.run(0.02)
        if number == 40:
            court.cluster.cut([0, 1], [2, 3])
        if number in (80, 120):
            court[3].stop("torn")
            court.cluster.restart(3)
        if number % 20 == 0:
            assert court.verdict() == []
    court.settle()
    assert court.verdict(together=True) == []


@pytest.mark.parametrize("seed", range(4))
def test_nothing_is_wrong_with_a_run_of_every_operation(seed: int) -> None:
    scenario = Scenario(name="x", nodes=4, duration=15.0, workload=(Workload(kind="mixed", rate=20.0),))
    assert run_scenario(scenario, seed).failures == ()


# ---- what a replica holds


def test_an_entry_that_is_gone_without_a_removal_is_seen() -> None:
    court = Court()
    event = court.write()
    kernel_of(court[1])._drop(event.dot, event.dot)
    (failure,) = court.verdict()
    assert (failure.oracle, failure.node) == ("nothing is lost that nobody removed", "n1")
    assert failure.at == court.cluster.queue.now
    assert f"{event.replica}:{event.seq}" in failure.what


def test_an_entry_that_comes_back_after_its_removal_is_seen() -> None:
    court = Court()
    court.write()
    removed = court.judge.made[court[0].replica.replica_id, 2]
    kernel_of(court[2])._insert(removed)
    assert court.told() == {("what was removed does not come back", "n2")}


def test_an_entry_with_another_content_is_seen() -> None:
    court = Court()
    event = court.write()
    kernel_of(court[1]).live[event.replica][event.seq] = event._replace(payload=b"\x07", kills=())
    assert court.told() == {("everybody has the same content", "n1")}


def test_a_dot_that_nobody_made_is_seen() -> None:
    court = Court()
    court.write()
    kernel_of(court[1]).context.add("nobody", 1)
    assert court.told() == {("only what was written is processed", "n1")}


def test_a_dot_that_is_used_twice_is_seen_at_once() -> None:
    court = Court(2, disk=False)
    court[1].replica.orset("s").add("first")
    court[1].stop()
    court[1].disk.owner.epoch = 0
    again = court.cluster.restart(1)
    assert court.judge.failures == []
    again.replica.orset("s").add("second")
    assert [(each.oracle, each.node) for each in court.judge.failures] == [("dots are never used twice", "n1")]


def test_a_part_of_a_transaction_is_seen() -> None:
    court = Court()
    court.cluster.cut([0], [1, 2])
    with court[0].replica.transaction() as done:
        court[0].replica.orset("s").add("one")
        court[0].replica.orset("s").add("two")
    kernel_of(court[1]).apply(done.delta.events[0])
    assert court.told() == {("a transaction is seen whole or not at all", "n1")}
    kernel_of(court[2]).merge(done.delta)
    assert {node for _, node in court.told()} == {"n1"}


def test_a_removal_without_the_rest_of_its_transaction_is_seen() -> None:
    court = Court()
    court.write()
    court.cluster.cut([0], [1, 2])
    with court[0].replica.transaction() as done:
        court[0].replica.orset("s").remove("kept")
        court[0].replica.orset("s").add("instead")
    kernel_of(court[1]).apply(done.delta.events[0])
    assert court.told() == {("a transaction is seen whole or not at all", "n1")}


@pytest.mark.parametrize("shared", [True, False], ids=["one stamp", "a stamp for each write"])
def test_transactions_that_win_half_each_are_seen(shared: bool) -> None:
    court = Court()
    stamp = Store.stamp if shared else lambda self: self.clock.tick()
    court.cluster.cut([0], [1], [2])
    with patch.object(Store, "stamp", stamp):
        for node, keys in ((court[0], ("x", "y", "z")), (court[1], ("y", "z", "x"))):
            with node.replica.transaction():
                for key in keys:
                    node.replica.lwwmap("m").set(key, node.name)
    court.settle()
    rule = "of concurrent transactions one wins whole"
    assert court.told(together=True) == (set() if shared else {(rule, name) for name in ("n0", "n1", "n2")})


def test_a_circle_of_transactions_of_which_each_is_beaten_by_the_next_is_seen() -> None:
    def written(writer: str, seq: int, key: str, stamp: int) -> Event:
        return Event(writer, seq, b"mm", key.encode(), stamp.to_bytes(8, "big") + b"\x01", (), (1, 3))

    circle = [
        *(written("a", 1, "x", 2), written("a", 2, "z", 1)),
        *(written("b", 1, "x", 1), written("b", 2, "y", 2)),
        *(written("c", 1, "y", 1), written("c", 2, "z", 2)),
    ]
    made = {event.dot: event for event in circle}
    assert sorted(contradiction(made, circle)) == [("a", 1), ("b", 1), ("c", 1)]
    assert contradiction(made, circle[:5]) == []


def test_a_pre_killed_dot_that_nobody_killed_is_seen_and_so_is_one_that_is_left_in_the_end() -> None:
    court = Court()
    court.write()
    kernel_of(court[1]).prekilled["somebody"] = {4: None}
    assert court.told() == {("pre-killed dots are what was killed before it came", "n1")}
    assert ("pre-killed dots return to none", "n1") in court.told(together=True)


def test_a_dot_that_was_killed_before_it_came_is_right_on_the_way_and_wrong_in_the_end() -> None:
    court = Court()
    court.cluster.cut([0], [1, 2])
    court[0].replica.orset("s").add("x")
    (removal,) = court[0].replica.orset("s").remove("x").events
    court[1].replica.store.merge(type(court[0].replica.delta_since(Context()))((removal,)))
    assert court.verdict() == []
    assert ("pre-killed dots return to none", "n1") in court.told(together=True)


# ---- what was promised


def test_an_acknowledged_write_that_all_have_forgotten_is_seen() -> None:
    court = Court()
    court.write()
    last = court[0].replica.replica_id, 3
    for node in court.cluster.nodes:
        forget(kernel_of(node), last)
        kernel_of(node)._insert(court.judge.made[last[0], 2])  # what the forgotten event had removed
    assert court.verdict() == []
    told = court.told(together=True)
    assert told == {
        (rule, f"n{index}")
        for rule in ("no acknowledged write is lost", "memory and disk are equal at rest")
        for index in range(3)
    }


def test_a_gap_that_is_left_is_seen() -> None:
    court = Court()
    event = court.write()
    forget(kernel_of(court[2]), event.dot)
    before = {("what is acknowledged is there", "n0")}
    assert court.told() == before
    wanted = {("the dot cloud returns to none", "n2"), ("no acknowledged write is lost", "n2")} | before
    wanted |= {("everybody reads the same", "n2"), ("memory and disk are equal at rest", "n2")}
    assert court.told(together=True) == wanted


def test_a_write_that_its_disk_never_had_must_not_be_known_to_others() -> None:
    court = Court(disk_delay=1.0)
    (event,) = court[0].replica.orset("s").add("unsafe").events
    kernel_of(court[1]).apply(event)
    court.cluster.run(0.1)
    assert court.verdict() == []
    court[0].stop("lost")
    assert ("nothing leaves a node before its disk has it", "n1") in court.told()


def test_a_write_that_its_disk_never_had_may_be_missing() -> None:
    court = Court(disk_delay=1.0)
    court[0].replica.orset("s").add("unsafe")
    court[0].stop("lost")
    court.cluster.restart(0)
    court.settle()
    assert court.verdict(together=True) == []
    assert not court[1].replica.context


@pytest.mark.parametrize("end", ["wiped", "vanished", "memory"])
def test_a_write_is_excused_when_the_last_disk_that_had_it_is_gone(end: str) -> None:
    court = Court(disk=end != "memory")
    court.cluster.cut([0], [1, 2])
    (event,) = court[0].replica.orset("s").add("alone").events
    court.cluster.run(1.0)
    if end == "vanished":
        court[0].vanish()
    else:
        if end == "wiped":
            court[0].disk.wipe()
        court[0].stop("lost")
        court.cluster.restart(0)
    assert court.judge.excused == {event.dot}
    court.settle()
    assert court.verdict(together=True) == []


def test_a_write_is_not_excused_while_another_disk_has_it() -> None:
    court = Court()
    event = court.write()
    court[0].disk.wipe()
    court[0].stop("lost")
    assert court.judge.excused == set()
    for node in court.cluster.running():
        forget(kernel_of(node), event.dot)
    assert ("no acknowledged write is lost", "n1") in court.told(together=True)


def test_a_false_acknowledgement_is_seen() -> None:
    court = Court()
    court.cluster.run(2.0)
    court.cluster.cut([0], [1, 2])
    court[0].replica.orset("s").add("unheard")
    assert court.verdict() == []
    for peer in court[0].engine._members.alive():
        if peer.name == "n2":
            peer.acked = 1
    (failure,) = court.verdict()
    assert (failure.oracle, failure.node) == ("what is acknowledged is there", "n0")
    assert failure.what.startswith("n2 does not have")


def test_a_kill_log_above_its_limit_is_seen() -> None:
    court = Court(log_limit=10)
    court.write()
    kernel_of(court[1]).log.size = 11
    assert court.told(together=True) == {("the kill log keeps its limit", "n1")}


def test_what_is_not_saved_in_the_end_is_seen() -> None:
    court = Court()
    court[1].disk.full = True
    court.write()
    assert court.told(together=True) == {("everything is saved in the end", "n1")}


# ---- the network


def test_a_datagram_above_the_limit_is_seen_lost_or_not() -> None:
    court = Court()
    limit = court.cluster.config.datagram_bytes
    one, other = court.cluster.addresses[:2]
    court.cluster.cut([0], [1])
    court.cluster.network.send(one, other, bytes(limit))
    assert court.judge.failures == []
    court.cluster.network.send(one, other, bytes(limit + 1))
    (failure,) = court.judge.failures
    assert failure.oracle == "no datagram is above the limit"
    assert failure.what == f"{one} sent {limit + 1} bytes"


def test_an_unproven_address_that_gets_more_than_it_sent_is_seen() -> None:
    court = Court()
    node = court.cluster.addresses[1]
    court.cluster.network.send(VICTIM, node, bytes(100))
    court.cluster.run(0.1)
    court.cluster.network.send(node, VICTIM, bytes(60))
    court.cluster.network.send(node, VICTIM, bytes(40))
    assert court.judge.failures == []
    court.cluster.network.send(node, VICTIM, bytes(1))
    (failure,) = court.judge.failures
    assert failure.oracle == "an unproven address gets no more than it sent"
    assert failure.what == f"{node} sent it 1 more"


def test_what_a_stranger_sent_and_nobody_got_gives_it_no_claim() -> None:
    court = Court()
    node = court.cluster.addresses[1]
    court.cluster.set_link(loss=1.0)
    court.cluster.network.send(VICTIM, node, bytes(100))
    court.cluster.run(0.1)
    court.cluster.network.send(node, VICTIM, bytes(1))
    assert len(court.judge.failures) == 1


# ---- budgets


def test_a_budget_that_is_overspent_is_seen_when_it_happens() -> None:
    court = Court()
    court[0].replica.bounded_counter("b").increment(10)
    court.settle()
    court.cluster.cut([0], [1, 2])
    with patch.object(BoundedCounter, "_check_rights", lambda *_: None):
        court[0].replica.bounded_counter("b").decrement(6)
        assert court.judge.failures == []
        court[1].replica.bounded_counter("b").decrement(6)
    (failure,) = court.judge.failures
    assert (failure.oracle, failure.node) == ("bounded counters are never overspent", "n1")
    assert failure.what == "2 more spent than granted"


def test_what_was_spent_and_vanished_with_a_disk_counts_no_more() -> None:
    court = Court(disk_delay=1.0)
    court[0].replica.bounded_counter("b").increment(10)
    court.cluster.run(5.0)
    court[0].replica.bounded_counter("b").decrement(10)
    court[0].stop("lost")
    court.settle()
    with patch.object(BoundedCounter, "_check_rights", lambda *_: None):
        court[1].replica.bounded_counter("b").decrement(10)
        assert court.judge.failures == []
        court[1].replica.bounded_counter("b").decrement(1)
    assert [each.oracle for each in court.judge.failures] == ["bounded counters are never overspent"]


# ---- the judge itself


def test_a_judge_tells_of_the_first_failures_only() -> None:
    court = Court()
    for number in range(MAX_FAILURES + 5):
        court.judge.fail("a rule", str(number))
    assert [each.what for each in court.judge.failures] == [str(number) for number in range(MAX_FAILURES)]


@pytest.mark.parametrize(("count", "wanted"), [(1, "w:1"), (3, "w:1, w:2, w:3"), (5, "w:1, w:2, w:3 and 2 more")])
def test_of_many_dots_a_few_are_named(count: int, wanted: str) -> None:
    court = Court()
    for seq in range(1, count + 1):
        court.judge.made["w", seq] = Event("w", seq, b"ss", b"k", b"", ())
    assert {each.what for each in court.verdict(together=True)} == {f"{wanted} of {count} are missing"}


def test_a_write_that_was_acknowledged_and_that_its_disk_does_not_bring_back_is_seen() -> None:
    court = Court()
    court.write()
    (event,) = court[0].replica.orset("s").add("later").events
    court.settle()
    court.cluster.run(5.0)  # long enough for digests to tell who has it
    court[2].disk.tables.log.popitem()
    assert event.dot in court[2].replica.context
    assert court.told() == set()
    court[2].stop()
    assert court.told() == {
        ("what is acknowledged survives a crash", "n2"),
        ("what is saved survives a crash", "n2"),
    }


def test_a_disk_that_brings_back_what_never_was_in_memory_is_seen() -> None:
    court = Court()
    court.write()
    saver = saver_of(court[1])
    saver.durable = replace(saver.durable, fingerprint=1)
    court[1].stop()
    assert court.told() == {("a disk brings back what was in memory", "n1")}


def test_a_disk_that_differs_from_memory_at_rest_is_seen() -> None:
    court = Court()
    court.write()
    assert court.told(together=True) == set()
    court[1].disk.tables.log.popitem()
    assert court.told(together=True) == {("memory and disk are equal at rest", "n1")}


def test_a_write_while_the_disk_fails_is_seen() -> None:
    court = Court()
    court.write()
    saver_of(court[1]).backlog.failure = DiskFailed("broken")
    with patch.object(Backlog, "check", lambda _: None):
        court[1].replica.orset("s").add("bold")
    assert [(each.oracle, each.node) for each in court.judge.failures] == [
        ("nothing is written while the disk fails", "n1")
    ]


def test_nodes_that_read_other_values_from_the_same_entries_are_seen() -> None:
    court = Court()
    court.write()
    kernel = kernel_of(court[1])
    for places in kernel.objects.values():
        places.clear()
    assert ("everybody reads the same", "n1") in court.told(together=True)


def test_a_retirement_that_nobody_remembers_is_not_waited_for() -> None:
    court = Court(disk=False)
    court[2].replica.orset("s").add("x")
    court.settle()
    court.cluster.retired.append(court[2].who)
    court[0].retire(court[2].who)
    assert court.judge.unretired()
    for index in range(2):
        court[index].stop()
    for index in range(2):
        court.cluster.restart(index)
    court.settle()
    assert court.judge.unretired() == []
