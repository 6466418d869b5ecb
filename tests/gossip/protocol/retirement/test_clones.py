"""Somebody else is who we are: how it shows, and that we go on as somebody new with all that we have."""

from collections.abc import Iterable
from dataclasses import replace

import pytest

from crdts import Context, Delta, Event, Replica
from crdts.limits import MAX_SEQ
from gossip.protocol import Effect, Notify, Persist, Rename, notices
from gossip.protocol.retirement.clones import INTERVAL
from gossip.protocol.wire.messages import ContextPage, Hello, Push, Update, Updates

from ..support import Puppet, Rig, pass_time_with


def forks(effects: Iterable[Effect]) -> list[Notify]:
    return [e for e in effects if isinstance(e, Notify) and e.event == notices.IDENTITY_FORKED]


def written_as(rig: Rig, life: str) -> Push:
    """An event under an id of the rig's node."""
    return Push(Replica(f"{rig.identity.node_id.hex()}.{life}").orset("s").add("by another"), 0, 0)


def heard(rig: Rig, puppet: Puppet, message: Push | ContextPage | Updates) -> list[Effect]:
    puppet.meets(rig)
    return rig.receive(puppet.address, puppet.says(message))


@pytest.mark.parametrize("life", ["3-cccccc", "4-dddddd", "9"])
def test_a_life_that_we_never_had_is_another_s(life: str) -> None:
    rig, puppet = Rig(epoch=3, lives=("1", "2-bbbbbb")), Puppet()
    rig.replica.orset("s").add("ours")
    former = rig.engine.identity
    effects = heard(rig, puppet, written_as(rig, life))
    [notice] = forks(effects)
    assert life in str(notice.fields["why"])
    assert notice.fields["former_id"] == former.node_id.hex()
    assert rig.engine.identity.node_id.hex() == notice.fields["id"] != former.node_id.hex()
    assert rig.replica.replica_id == rig.engine.identity.replica_id
    assert set(rig.replica.orset("s")) == {"ours", "by another"}


@pytest.mark.parametrize("life", ["1", "2-bbbbbb", "0", "1-aaaaaa.x"])
def test_lives_that_we_had_and_those_before_all_that_we_know_of_are_no_news(life: str) -> None:
    rig, puppet = Rig(epoch=3, lives=("1", "2-bbbbbb")), Puppet()
    assert not forks(heard(rig, puppet, written_as(rig, life)))


def test_who_does_not_know_its_lives_takes_all_for_its_own() -> None:
    rig, puppet = Rig(epoch=3), Puppet()
    assert not forks(heard(rig, puppet, written_as(rig, "9-zzzzzz")))


def test_an_event_under_our_present_id_that_we_did_not_write_is_another_s() -> None:
    rig, puppet = Rig(lives=()), Puppet()
    rig.replica.orset("s").add("ours")
    twin = Replica(rig.replica.replica_id)
    for number in range(2):
        delta = twin.orset("s").add(number)
    [notice] = forks(heard(rig, puppet, Push(delta, 0, 0)))
    assert "replica id of this process" in str(notice.fields["why"])


def test_an_event_under_our_present_id_is_another_s_even_if_we_have_not_written_yet() -> None:
    rig, puppet = Rig(lives=()), Puppet()
    last = Event(rig.replica.replica_id, MAX_SEQ, b"ss", b"ax", b"", ())
    assert len(forks(heard(rig, puppet, Push(Delta((last,)), 0, 0)))) == 1
    rig.replica.orset("s").add("ours")
    assert set(rig.replica.orset("s")) == {"x", "ours"}


def test_a_member_that_has_more_of_us_than_there_is_shows_that_we_were_set_back() -> None:
    rig, puppet = Rig(lives=()), Puppet()
    rig.replica.orset("s").add("ours")
    page = ContextPage("", "", Context({rig.replica.replica_id: 7}), answer=False)
    [notice] = forks(heard(rig, puppet, page))
    assert "has more" in str(notice.fields["why"])


def test_who_is_said_to_have_started_again_since_goes_on_as_a_new_node() -> None:
    rig, puppet = Rig(epoch=3, lives=("1", "2")), Puppet()
    row = Update(rig.identity.node_id, "alive", 4, 0, puppet.address, "", ())
    assert len(forks(heard(rig, puppet, Updates((row,))))) == 1


def test_who_hears_that_a_copy_goes_on_in_the_same_epoch_goes_on_as_a_new_node() -> None:
    rig, puppet = Rig(epoch=3, lives=("1", "2")), Puppet()
    row = Update(rig.identity.node_id, "alive", 3, 0, puppet.address, nonce="cccccc")
    [notice] = forks(heard(rig, puppet, Updates((row,))))
    assert "a copy of this node goes on too" in str(notice.fields["why"])
    assert not forks(heard(rig, puppet, Updates((replace(row, node_id=rig.identity.node_id, nonce=None),))))


def test_a_copy_of_a_member_in_the_same_epoch_is_told_of_it_and_not_believed() -> None:
    rig, puppet = Rig(), Puppet()
    puppet.meets(rig)
    me = Update(puppet.node_id, "alive", puppet.epoch, 0, None, nonce="aaaaaa")
    rig.receive(puppet.address, puppet.says(Updates((me,))))
    copy = Puppet(puppet.name, host="10.2.0.9")
    copy.meets(rig)
    told = copy.hears(rig.receive(copy.address, copy.says(Updates((replace(me, nonce="bbbbbb"),)))))
    [row] = [row for message in told if isinstance(message, Updates) for row in message.rows]
    assert (row.node_id, row.epoch, row.nonce) == (puppet.node_id, puppet.epoch, "aaaaaa")
    [member] = rig.engine.members(rig.now)
    assert member.replica_id == f"{puppet.node_id.hex()}.{puppet.epoch}-aaaaaa"


def test_the_new_node_greets_whom_the_former_one_knew_and_its_words_are_in_its_own_name() -> None:
    rig, puppet, other = Rig(epoch=3, lives=()), Puppet(), Puppet("other", host="10.2.0.2")
    other.meets(rig)
    former = rig.engine.identity.node_id
    heard(rig, puppet, written_as(rig, "3-cccccc"))
    assert rig.states() == {}
    effects = rig.pass_time(2.0)
    assert any(isinstance(message, Hello) for message in other.hears(effects))
    assert any(isinstance(message, Hello) for message in puppet.hears(effects))
    fresh = rig.engine.identity.node_id
    assert fresh != former
    puppet.meets(rig)
    assert rig.states()["puppet"] == "alive"


def test_the_disk_has_the_new_identity_before_anything_written_under_it() -> None:
    rig, puppet = Rig(epoch=3, lives=(), slow_disk=True), Puppet()
    puppet.meets(rig)
    rig.replica.orset("s").add("before")
    effects = rig.receive(puppet.address, puppet.says(written_as(rig, "3-cccccc")))
    rig.replica.orset("s").add("after")
    effects += rig.done(rig.engine.flush(rig.now))
    named = [e for e in effects if isinstance(e, Rename | Persist)]
    place = next(i for i, e in enumerate(named) if isinstance(e, Rename))
    writers = [{event.replica for event in e.events} for e in named if isinstance(e, Persist)]
    fresh = rig.engine.identity.replica_id
    assert all(fresh not in some for some in writers[:place])
    assert any(fresh in some for some in writers[place:])
    saved: list[Event] = [event for e in named if isinstance(e, Persist) for event in e.events]
    assert {event.key for event in saved} == {event.key for event in rig.kernel.live[fresh].values()} | {
        event.key for writer in rig.kernel.live for event in rig.kernel.live[writer].values()
    }


def test_a_member_that_lies_does_not_have_us_change_all_the_time() -> None:
    rig, puppet = Rig(epoch=3, lives=()), Puppet()
    assert len(forks(heard(rig, puppet, written_as(rig, "3-cccccc")))) == 1
    puppet.meets(rig)
    own = rig.engine.identity.node_id.hex()
    lie = Push(Replica(f"{own}.5").orset("s").add("another lie"), 0, 0)
    assert not forks(rig.receive(puppet.address, puppet.says(lie)))
    assert not forks(pass_time_with(rig, INTERVAL - 1, puppet))
    assert len(forks(pass_time_with(rig, 5.0, puppet))) == 1
