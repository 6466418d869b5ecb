"""A writer id goes from hand to hand: it is never used by two, and never lost while its holder is there."""

from typing import Final

import pytest

from crdts import Delta, Event, ReplicaId
from gossip.protocol.identity import NOBODY, NodeId, node_of
from gossip.protocol.succession.lending import ANSWER_SECONDS, ANSWERS_KEPT, LAST_ROUNDS, TELL_INTERVALS
from gossip.protocol.wire.messages import MAX_VACANT, Ask, Bequest, Borrow, Gone, Lend, Report, Taken, Vacant
from simulations import Cluster, Node

from ..support import Puppet, Rig, met, only, pass_time_with, told

STABLE: Final = 3


def writes(rig: Rig, writer: ReplicaId, last: int = 1) -> None:
    """The rig has processed so many events of a writer."""
    rig.kernel.merge(Delta(tuple([Event(writer, seq, b"aset", b"\x01", b"", ()) for seq in range(1, last + 1)])))


def writer_of(puppet: Puppet) -> ReplicaId:
    return ReplicaId(f"{puppet.node_id.hex()}.1")


def member(rig: Rig, name: str, *, last: int = 1) -> Puppet:
    """A member that has said which replica id it writes under, and has written so many events."""
    puppet = met(rig, name)
    puppet.tells(rig, puppet.own_row(nonce=""))
    if last:
        writes(rig, writer_of(puppet), last)
    return puppet


def offers(rig: Rig, puppet: Puppet, *writers: tuple[ReplicaId, int]) -> tuple[ReplicaId, ...]:
    """A member offers ``writers``, or its own writer if there are none; returns the writers that are taken."""
    offered = writers or ((writer_of(puppet), rig.kernel.context.last(writer_of(puppet))),)
    return only(Taken, told(rig, puppet, Bequest(rig.identity.node_id, rig.identity.epoch, offered))).writers


def departs(rig: Rig, puppet: Puppet, *writers: tuple[ReplicaId, int]) -> tuple[ReplicaId, ...]:
    """A member offers ``writers``, or its own, and leaves; returns the writers that are taken."""
    taken = offers(rig, puppet, *writers)
    rig.receive(puppet.address, puppet.says(Gone()))
    puppet.leaves(rig)
    return taken


def lent(rig: Rig, puppet: Puppet) -> Lend:
    return only(Lend, told(rig, puppet, Borrow()))


def test_a_writer_that_is_handed_on_is_lent_to_one_newcomer_and_to_no_other() -> None:
    rig = Rig()
    old = member(rig, "old", last=3)
    assert departs(rig, old) == (writer_of(old),)
    first, second = met(rig, "first"), met(rig, "second")
    assert lent(rig, first) == Lend(writer_of(old), 3, NOBODY)
    assert lent(rig, second) == Lend(None, 0, NOBODY)
    assert lent(rig, first) == Lend(writer_of(old), 3, NOBODY)  # its answer was lost


def test_a_node_of_the_same_name_gets_its_writer_back() -> None:
    rig = Rig()
    one, other = member(rig, "one"), member(rig, "other")
    departs(rig, one)
    departs(rig, other)
    again = Puppet("other", host="10.3.0.1", node="other, started again")
    again.meets(rig)
    assert lent(rig, again).writer == writer_of(other)


def test_a_bequest_is_refused_while_an_event_of_the_writer_is_missing() -> None:
    rig = Rig()
    old = member(rig, "old", last=2)
    assert departs(rig, old, (writer_of(old), 3)) == ()
    assert lent(rig, met(rig, "new")).writer is None


def test_nobody_hands_on_the_writer_of_another() -> None:
    rig = Rig()
    one, other = member(rig, "one"), member(rig, "other")
    assert departs(rig, one, (writer_of(other), 1)) == ()
    assert departs(rig, other, (rig.replica.replica_id, 1)) == ()


def test_a_bequest_that_comes_again_is_answered_alike_and_taken_once() -> None:
    rig = Rig()
    old, new = member(rig, "old"), met(rig, "new")
    assert offers(rig, old) == (writer_of(old),)
    assert lent(rig, new).writer == writer_of(old)
    assert offers(rig, old) == (writer_of(old),)
    assert lent(rig, met(rig, "third")).writer is None


def test_an_offer_that_was_refused_is_not_taken_later_as_the_leaving_node_asks_another_member_by_then() -> None:
    rig = Rig()
    old = met(rig, "old")  # it has not said which replica id it writes under
    writes(rig, writer_of(old))
    assert offers(rig, old) == ()
    old.tells(rig, old.own_row(nonce=""))
    assert offers(rig, old) == ()
    assert rig.engine._lending.vacant == []


def test_an_offer_to_another_node_or_life_is_neither_taken_nor_answered() -> None:
    rig = Rig()
    old, me = member(rig, "old"), rig.identity
    for heir, epoch in ((old.node_id, me.epoch), (me.node_id, me.epoch + 1)):
        assert told(rig, old, Bequest(NodeId(heir), epoch, ((writer_of(old), 1),))) == []
    assert rig.engine._lending.vacant == []


def test_an_offer_of_a_member_that_is_gone_is_not_answered() -> None:
    rig = Rig()
    departs(rig, old := member(rig, "old"), (writer_of(member(rig, "other")), 1))
    assert told(rig, old, Bequest(rig.identity.node_id, rig.identity.epoch, ((writer_of(old), 1),))) == []


def test_offers_are_not_answered_while_too_many_answers_are_remembered() -> None:
    rig = Rig()
    old = member(rig, "old")
    for number in range(ANSWERS_KEPT // MAX_VACANT):
        assert offers(rig, old, *[(ReplicaId(f"none.{number}.{each}"), 1) for each in range(MAX_VACANT)]) == ()
    bequest = Bequest(rig.identity.node_id, rig.identity.epoch, ((writer_of(old), 1),))
    assert told(rig, old, bequest) == []
    pass_time_with(rig, ANSWER_SECONDS + 1.0, old)
    assert offers(rig, old) == (writer_of(old),)


def test_a_loan_is_vacant_again_when_the_newcomer_says_that_it_writes_under_another_id() -> None:
    rig = Rig()
    departs(rig, old := member(rig, "old"))
    new = met(rig, "new")
    assert lent(rig, new).writer == writer_of(old)
    new.tells(rig, new.own_row(nonce=""))
    assert lent(rig, met(rig, "third")).writer == writer_of(old)


def test_members_are_told_of_a_loan_that_came_back() -> None:
    rig = Rig()
    other, old, new = member(rig, "other"), member(rig, "old"), met(rig, "new")
    departs(rig, old)
    lent(rig, new)
    pass_time_with(rig, 9 * TELL_INTERVALS * rig.engine.config.probe_interval, other, new)
    new.tells(rig, new.own_row(nonce=""))
    effects = rig.receive(new.address, new.says(Gone()))
    assert [m.writers for m in other.hears(effects) if isinstance(m, Vacant)] == [(writer_of(old),)]


def test_nothing_is_lent_to_a_member_that_has_left_or_writes_under_an_id_already() -> None:
    rig = Rig()
    departs(rig, old := member(rig, "old"))
    gone, new = met(rig, "gone"), member(rig, "new")
    rig.receive(gone.address, gone.says(Gone()))
    gone.leaves(rig)
    assert lent(rig, gone).writer is None  # it asked before, and that was overtaken
    assert lent(rig, new).writer is None
    assert rig.engine._lending.vacant == [writer_of(old)]


def test_loans_that_come_back_are_never_more_than_one_message_names() -> None:
    rig = Rig()
    for number in range(MAX_VACANT):
        departs(rig, member(rig, f"job {number}"))
    new = met(rig, "new")
    assert lent(rig, new).writer is not None
    assert departs(rig, member(rig, "one more")) == ()
    new.tells(rig, new.own_row(nonce=""))
    lent(rig, met(rig, "third"))
    assert len(rig.engine._lending.vacant) <= MAX_VACANT


def test_what_a_former_life_of_a_holder_has_told_counts_no_more() -> None:
    rig = Rig()
    holder = member(rig, "holder")
    told(rig, holder, Vacant((ReplicaId("0000000000000000.1"),)))
    assert [*rig.engine.vacant_writers] == ["0000000000000000.1"]
    holder.epoch += 1
    holder.meets(rig)
    assert [*rig.engine.vacant_writers] == []


def test_a_member_that_asks_about_a_vacant_writer_is_told_that_it_is_vacant() -> None:
    rig = Rig()
    departs(rig, old := member(rig, "old"))
    heard = told(rig, member(rig, "asker"), Ask((writer_of(old),)))
    assert only(Vacant, heard).writers == (writer_of(old),)


@pytest.mark.parametrize("is_told_again", [False, True])
def test_a_borrower_that_vanished_is_missed_unless_its_writer_is_said_to_be_vacant_after_that(
    is_told_again: bool,
) -> None:
    rig = Rig()
    holder, old, new = member(rig, "holder"), member(rig, "old"), met(rig, "new")
    told(rig, holder, Vacant((writer_of(old),)))
    new.tells(rig, new.own_row(nonce=writer_of(old)))
    rig.receive(old.address, old.says(Gone()))
    old.leaves(rig)
    pass_time_with(rig, 60.0, holder)
    assert rig.states()["new"] == "failed"
    if is_told_again:
        told(rig, holder, Vacant((writer_of(old),)))
    report = only(Report, told(rig, holder, Ask((writer_of(old),))))
    assert report.clear is is_told_again


def test_a_loan_that_may_have_been_used_is_not_lent_again() -> None:
    rig = Rig()
    departs(rig, old := member(rig, "old"))
    new = Puppet("new", host="10.3.0.1")
    new.meets(rig)  # it has not said which replica id it writes under
    assert lent(rig, new).writer == writer_of(old)
    rig.receive(new.address, new.says(Gone()))
    new.leaves(rig)
    assert lent(rig, met(rig, "third")).writer is None


def test_a_writer_that_was_limited_or_written_under_meanwhile_is_not_lent() -> None:
    rig = Rig()
    departs(rig, one := member(rig, "one"))
    departs(rig, other := member(rig, "other"))
    rig.replica.retire(writer_of(one))
    rig.kernel.merge(Delta((Event(writer_of(other), 2, b"aset", b"\x02", b"", ()),)))
    assert lent(rig, met(rig, "new")).writer is None


def test_no_more_writers_are_held_than_one_message_names() -> None:
    rig = Rig()
    taken = [departs(rig, member(rig, f"job {number}")) for number in range(MAX_VACANT + 1)]
    assert [len(each) for each in taken] == [1] * MAX_VACANT + [0]


def test_a_member_that_has_none_to_lend_names_one_that_has() -> None:
    rig = Rig()
    holder, new = member(rig, "holder"), met(rig, "new")
    told(rig, holder, Vacant((ReplicaId("0000000000000000.1"),)))
    assert lent(rig, new) == Lend(None, 0, holder.node_id)


def test_members_are_told_again_and_again_what_is_vacant_and_newcomers_at_once() -> None:
    rig = Rig()
    other, old = member(rig, "other"), member(rig, "old")
    departs(rig, old)
    later = pass_time_with(rig, 2 * TELL_INTERVALS * rig.engine.config.probe_interval, other)
    assert [m.writers for m in other.hears(later) if isinstance(m, Vacant)] == [(writer_of(old),)] * 2
    new = Puppet("new", host="10.3.0.1")
    assert only(Vacant, new.meets(rig)).writers == (writer_of(old),)


def test_members_are_told_that_nothing_is_vacant_any_more_and_then_no_more() -> None:
    rig = Rig()
    other, old, new = member(rig, "other"), member(rig, "old"), met(rig, "new")
    departs(rig, old)
    effects = rig.receive(new.address, new.says(Borrow()))
    effects += pass_time_with(rig, 9 * TELL_INTERVALS * rig.engine.config.probe_interval, other, new)
    told = [m.writers for m in other.hears(effects) if isinstance(m, Vacant)]
    assert told == [()] * (1 + LAST_ROUNDS)


def test_the_writer_of_a_retired_node_that_had_borrowed_it_is_over() -> None:
    rig = Rig()
    departs(rig, old := member(rig, "old"))
    new = Puppet("new", host="10.3.0.1")
    new.meets(rig)
    new.tells(rig, new.own_row(nonce=writer_of(old)))
    rig.done(rig.engine.retire(rig.now, new.node_id))
    assert rig.kernel.limits[writer_of(old)].is_mark


# ---- in clusters


def cluster(*, disk: bool = False, size: int = STABLE) -> Cluster:
    found = Cluster(size, seed=3, disk=disk, warm=True)
    for node in found.nodes:
        node.replica.counter("jobs").increment()
    found.run(1.0)
    return found


def works(cluster: Cluster, seconds: float = 0.5) -> Node:
    """A newcomer that has counted one."""
    node = cluster.add()
    cluster.run(seconds)
    node.replica.counter("jobs").increment()
    cluster.run(seconds)
    return node


def depart(cluster: Cluster, node: Node) -> None:
    node.depart()
    cluster.run(0.5)


def holders(cluster: Cluster) -> list[str]:
    """The nodes that hold a vacant writer."""
    return [node.name for node in cluster.running() if node.engine._lending.vacant]


def test_vacant_writers_do_not_keep_others_from_being_closed() -> None:
    town = cluster(size=4)
    depart(town, works(town))
    assert len(holders(town)) == 1
    next(node for node in town.running() if node.name not in holders(town)).leave()
    town.run(40.0)
    assert len(holders(town)) == 1
    assert [node.replica.context.writers for node in town.running()] == [STABLE + 1] * STABLE


def test_a_member_that_leaves_hands_on_what_it_holds() -> None:
    town = cluster()
    depart(town, works(town))
    holder = next(node for node in town.running() if node.engine._lending.vacant)
    depart(town, holder)
    assert holders(town) not in ([], [holder.name])
    borrowed = [node_of(works(town).replica.replica_id) for _ in range(2)]
    own = [node.engine.identity.node_id for node in town.nodes[-2:]]
    assert not [node_id for node_id in borrowed if node_id in own]


def test_writers_whose_holder_is_gone_are_closed_once_it_is_retired() -> None:
    town = cluster()
    depart(town, works(town))
    holder = next(node for node in town.running() if node.engine._lending.vacant)
    holder.vanish()
    town.running()[0].retire(holder.who)
    town.run(60.0)
    assert [node.replica.context.writers for node in town.running()] == [STABLE - 1] * (STABLE - 1)


@pytest.mark.parametrize("disk", [False, True])
def test_only_nodes_that_keep_nothing_borrow(disk: bool) -> None:
    town = cluster(disk=disk)
    depart(town, first := works(town))
    second = works(town)
    assert (second.replica.replica_id == first.replica.replica_id) is not disk


def test_a_report_stands_for_the_vacant_writers_too() -> None:
    rig = Rig()
    departs(rig, old := member(rig, "old"))
    asker = member(rig, "asker")
    report = only(Report, told(rig, asker, Ask((writer_of(old),))))
    assert report.context.last(writer_of(old)) == 1
