"""A newcomer writes under a vacant id if there is one, and under its own if not, or if it cannot wait."""

from typing import Final

import pytest

from crdts import Delta, Event, ReplicaId
from gossip.protocol.errors import NotRunning
from gossip.protocol.identity import NOBODY, NodeId, replica_id_of
from gossip.protocol.succession.bequeathing import BEQUEST_PATIENCE
from gossip.protocol.succession.borrowing import LENDERS_ASKED, LOAN_PATIENCE, TRIES
from gossip.protocol.wire.messages import Bequest, Borrow, Lend, Push, Taken, Updates
from simulations import Cluster, Link, Node

from ..support import Puppet, Rig, met, notices, only, pass_time_with, told

VACANT: Final = ReplicaId("00112233aabbccdd.4-abcdef")
STABLE: Final = 3


class Newcomer(Rig):
    """A rig without a disk, which borrows."""

    def __init__(self) -> None:
        super().__init__(borrows=True)


def events(writer: ReplicaId, last: int) -> Delta:
    return Delta(tuple([Event(writer, seq, b"aset", bytes([seq]), b"", ()) for seq in range(1, last + 1)]))


def asked(rig: Rig, *puppets: Puppet, seconds: float = 0.05) -> list[str]:
    """The names of the puppets that are asked for a writer while time passes, in order."""
    found = []
    end = rig.now + seconds
    while rig.engine.deadline() <= end:
        effects = rig.tick()
        found += [each.name for each in puppets for m in each.hears(effects) if isinstance(m, Borrow)]
    rig.now = end
    return found


def test_the_lent_id_is_written_under_once_all_of_its_events_are_here() -> None:
    rig, lender = Newcomer(), Puppet("lender")
    assert only(Borrow, lender.meets(rig))
    told(rig, lender, Lend(VACANT, 2, NOBODY))
    assert rig.replica.replica_id != VACANT
    told(rig, lender, Push(events(VACANT, 1), 0, 0))
    assert rig.replica.replica_id != VACANT
    effects = rig.receive(lender.address, lender.says(Push(events(VACANT, 2), 0, 0)))
    assert "writer.chosen" in notices(effects)
    assert rig.replica.replica_id == VACANT == rig.engine.identity.replica_id
    row = next(row for m in lender.hears(effects) if isinstance(m, Updates) for row in m.rows)
    assert replica_id_of(row.node_id, row.epoch, row.nonce or "") == VACANT
    rig.replica.orset("s").add(1)
    assert rig.kernel.context.last(VACANT) == 3
    assert rig.kernel.context.writers == 1


def test_the_first_write_decides_and_what_is_lent_later_is_not_used() -> None:
    rig = Newcomer()
    lender = met(rig)
    rig.replica.orset("s").add(1)
    assert not rig.engine.is_undecided
    told(rig, lender, Lend(VACANT, 1, NOBODY), Push(events(VACANT, 1), 0, 0))
    assert rig.replica.replica_id == rig.identity.replica_id


def test_a_node_with_a_disk_asks_nobody() -> None:
    rig = Rig()
    assert asked(rig, met(rig)) == []
    assert not rig.engine.is_undecided


def test_a_member_that_has_none_and_knows_of_none_ends_the_search() -> None:
    rig = Newcomer()
    lender = met(rig)
    told(rig, lender, Lend(None, 0, NOBODY))
    assert not rig.engine.is_undecided


def test_a_holder_that_was_named_is_asked_as_soon_as_it_is_met() -> None:
    rig = Newcomer()
    lender, holder = met(rig), Puppet("holder", host="10.3.0.1")
    told(rig, lender, Lend(None, 0, NodeId(holder.node_id)))
    assert rig.engine.is_undecided
    assert [m for m in holder.meets(rig) if isinstance(m, Borrow)] == [Borrow()]


def test_a_holder_that_is_not_met_is_not_waited_for() -> None:
    rig = Newcomer()
    lender = met(rig)
    told(rig, lender, Lend(None, 0, NodeId(b"nobody's")))
    pass_time_with(rig, 2 * rig.engine.config.probe_timeout, lender)
    assert not rig.engine.is_undecided


def test_members_that_do_not_answer_are_asked_again_and_then_others() -> None:
    rig = Newcomer()
    puppets = [met(rig, f"p{number}") for number in range(LENDERS_ASKED + 1)]
    found = asked(rig, *puppets, seconds=2 * LENDERS_ASKED * TRIES * rig.engine.config.probe_timeout)
    told = [f"p{number}" for number in range(LENDERS_ASKED) for _ in range(TRIES)]
    assert ["p0", *found] == told  # the first was asked when it was met
    assert not rig.engine.is_undecided


def test_an_answer_of_a_member_that_was_not_asked_is_no_loan() -> None:
    rig = Newcomer()
    met(rig)
    other = met(rig, "other")
    told(rig, other, Lend(VACANT, 1, NOBODY), Push(events(VACANT, 1), 0, 0))
    assert rig.engine.is_undecided


@pytest.mark.parametrize("what", ["it goes on", "it is retired", "its events do not come"])
def test_a_loan_is_given_up_if(what: str) -> None:
    rig = Newcomer()
    lender = met(rig)
    told(rig, lender, Push(events(VACANT, 1), 0, 0), Lend(VACANT, 2, NOBODY))
    if what == "it goes on":
        told(rig, lender, Push(Delta((Event(VACANT, 3, b"aset", b"\x03", b"", ()),)), 0, 0))
    elif what == "it is retired":
        other = Rig(name="other")
        other.kernel.merge(events(VACANT, 1))
        told(rig, lender, Push(other.replica.retire(VACANT), 0, 0))
    pass_time_with(rig, LOAN_PATIENCE + 1.0 if what == "its events do not come" else 0.1, lender)
    assert not rig.engine.is_undecided
    assert rig.replica.replica_id == rig.identity.replica_id


# ---- the end


def acknowledged(rig: Rig, puppet: Puppet) -> None:
    """The puppet has all that the rig wrote."""
    peer = rig.engine._members.find(puppet.node_id)
    assert peer is not None
    peer.acked = rig.kernel.context.last(rig.replica.replica_id)


def leaving(rig: Rig) -> tuple[Puppet, Bequest]:
    """The rig has written once, and offers its writer to the one member there is."""
    heir = met(rig)
    heir.tells(rig, heir.own_row(nonce=""))
    rig.replica.orset("s").add(1)
    rig.pass_time(0.01)
    acknowledged(rig, heir)
    return heir, only(Bequest, heir.hears(rig.done(rig.engine.bequeath(rig.now))))


def test_nothing_can_be_written_from_the_offer_on() -> None:
    rig = Newcomer()
    heir, bequest = leaving(rig)
    assert bequest.writers == ((rig.replica.replica_id, 1),)
    with pytest.raises(NotRunning, match="about to leave"):
        rig.engine.check_writable()
    told(rig, heir, Taken((rig.replica.replica_id,)))
    assert rig.engine.has_heir is True
    with pytest.raises(NotRunning):
        rig.engine.check_writable()


def test_a_leaving_node_stays_what_it_is_when_its_heir_has_lent_the_writer_already() -> None:
    rig = Newcomer()
    heir, _ = leaving(rig)
    told(rig, heir, Push(Delta((Event(rig.replica.replica_id, 2, b"aset", b"\x02", b"", ()),)), 0, 0))
    assert rig.engine.identity.node_id == rig.identity.node_id


def test_an_offer_is_not_repeated_once_the_heir_may_have_forgotten_its_answer() -> None:
    rig = Newcomer()
    heir, _ = leaving(rig)
    rig.now += BEQUEST_PATIENCE + 0.1  # the process stood still
    later = pass_time_with(rig, 1.0, heir)
    assert [m for m in heir.hears(later) if isinstance(m, Bequest)] == []
    assert rig.engine.has_heir is None


def test_a_writer_that_nobody_takes_can_be_closed_by_its_node() -> None:
    rig = Newcomer()
    heir, _ = leaving(rig)
    told(rig, heir, Taken(()))
    assert rig.engine.has_heir is False
    rig.engine.check_writable()


def test_an_offer_is_repeated_until_it_is_answered_but_not_to_a_later_life_of_the_heir() -> None:
    rig = Newcomer()
    heir, bequest = leaving(rig)
    again = [m for m in heir.hears(pass_time_with(rig, 1.0, heir)) if isinstance(m, Bequest)]
    assert len(again) >= 3
    assert {*again} == {bequest}
    heir.epoch += 1
    heir.meets(rig)
    assert [m for m in heir.hears(pass_time_with(rig, 1.0, heir)) if isinstance(m, Bequest)] == []
    assert rig.engine.has_heir is None


def test_without_a_member_that_has_everything_there_is_no_heir() -> None:
    rig = Newcomer()
    met(rig)
    rig.replica.orset("s").add(1)
    rig.done(rig.engine.bequeath(rig.now))
    assert rig.engine.has_heir is False


def lives(count: int, *, link: Link | None = None, pause: float = 0.6) -> tuple[Cluster, list[Node]]:
    """A cluster after so many nodes without a disk came, counted, and left."""
    town = Cluster(STABLE, seed=5, disk=False, link=link)
    town.run(3.0)
    found = []
    for _ in range(count):
        found.append(town.add())
        town.run(pause)
        found[-1].replica.counter("jobs").increment()
        town.run(pause)
        found[-1].depart()
        town.run(pause)
    return town, found


@pytest.mark.parametrize("loss", [0.0, 0.2])
def test_counts_stay_exact_through_many_lives(loss: float) -> None:
    town, found = lives(30, link=Link(loss=loss))
    town.run(30.0)
    assert [node.replica.counter("jobs").value() for node in town.running()] == [30] * STABLE
    ids = {node.replica.replica_id for node in found}
    assert len(ids) == 1 if not loss else len(ids) < 15


def test_rights_to_a_bounded_counter_pass_to_the_next_life() -> None:
    town = Cluster(STABLE, seed=5, disk=False)
    town.run(3.0)
    one = town.add()
    town.run(0.5)
    one.replica.bounded_counter("budget").increment(10)
    one.replica.bounded_counter("budget").decrement(4)
    town.run(1.0)
    one.depart()
    town.run(1.0)
    other = town.add()
    town.run(0.5)
    other.replica.bounded_counter("budget").decrement(6)
    town.run(1.0)
    assert [node.replica.bounded_counter("budget").value() for node in town.running()] == [0] * (STABLE + 1)
