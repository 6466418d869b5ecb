"""What members tell of members: what is believed, what is contradicted, and how lists grow equal."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from gossip.protocol import Address, Config, Effect, Notify
from gossip.protocol.membership import farewells
from gossip.protocol.membership.peers import EPOCH_JUMP, KNOWN, Peer, mark_of
from gossip.protocol.membership.update_queue import ROWS
from gossip.protocol.membership.updates import (
    CONTRADICTION,
    CONTRADICTION_INTERVAL,
    CONTRADICTIONS_SAVED,
    COUNTER_JUMP,
    row_of,
)
from gossip.protocol.wire.codec import encode_message
from gossip.protocol.wire.messages import Ack, ListMembers, Ping, Roll, Update, Updates
from simulations import Cluster, Link

from ..support import Puppet, Rig, acquainted, names, notices, of_type, only, pass_time_with, sends


def us(rig: Rig, state: str = "alive", counter: int = 0, *, epoch: int = 0) -> Update:
    """What others would say of the rig."""
    return Update(rig.identity.node_id, state, epoch or rig.identity.epoch, counter, Address("10.1.0.1", 4747))


def rows(messages: Sequence[object]) -> list[Update]:
    return [row for each in of_type(Updates, messages) for row in each.rows]


def rows_of(puppet: Puppet, messages: Sequence[object]) -> list[Update]:
    return [row for row in rows(messages) if row.node_id == puppet.node_id]


def roll_of(rig: Rig, puppets: list[Puppet], *, counter: int = 0) -> Roll:
    mark = mark_of(rig.identity.node_id, rig.identity.epoch, counter)
    for puppet in puppets:
        mark ^= mark_of(puppet.node_id, puppet.epoch, 0)
    return Roll(mark, len(puppets) + 1)


def believe(rig: Rig, teller: Puppet, row: Update) -> None:
    """Tell of it, and once more if there was a chance to contradict first."""
    teller.tells(rig, row)
    if row.state == "failed":
        assert "suspect" in rig.states().values()
        rig.now += rig.engine._out.config.suspicion * CONTRADICTION
        teller.tells(rig, row)


# ---- of others


def test_a_member_that_has_only_left_our_view_is_alive_to_others() -> None:
    member = Peer(b"somebody", "p", 1, Address("10.0.0.1", 1), 0.0)
    member.state = KNOWN
    assert row_of(member).state == "alive"
    assert row_of(member, "suspect").state == "suspect"
    assert encode_message(Updates((row_of(member),)))


@pytest.mark.parametrize("state", ["suspect", "accused"])
def test_word_that_a_member_does_not_answer_is_believed(state: str) -> None:
    rig, (teller, puppet, _) = acquainted(3)
    believe(rig, teller, puppet.row(state))
    assert rig.states() == {"p0": "alive", "p1": "suspect", "p2": "alive"}


def test_a_goodbye_that_others_tell_of_is_believed_within_a_second_and_passed_on_if_the_member_does_not_answer() -> (
    None
):
    rig, (teller, puppet, other) = acquainted(3)
    assert of_type(Ping, puppet.hears(teller.tells(rig, puppet.row("left"))))
    assert rig.states()["p1"] == "alive"
    effects = pass_time_with(rig, 1.0, teller, other)
    assert rig.states() == {"p0": "alive", "p1": "left", "p2": "alive"}
    assert {row.state for each in (teller, other) for row in rows_of(puppet, each.hears(effects))} == {"left"}


def test_a_member_that_answers_has_not_left_whoever_says_so_and_how_often() -> None:
    rig, (liar, puppet, other) = acquainted(3)
    effects: list[Effect] = []
    for _ in range(20):
        told = liar.tells(rig, puppet.row("left"), puppet.row("left", 5))
        effects += [*told, *puppet.acks(rig, puppet.hears(told))]
        effects += pass_time_with(rig, 0.2, liar, puppet, other)
        assert rig.states()["p1"] == "alive"
    assert "left" in [row.state for row in rows_of(puppet, puppet.hears(effects))], "so that it can contradict"
    assert "member.left" not in notices(effects)
    assert len(of_type(Ping, puppet.hears(effects))) < 60


def test_a_member_that_failed_and_is_said_to_have_left_is_tried_on_and_back_when_it_answers() -> None:
    rig, (liar, puppet) = acquainted(2)
    believe(rig, liar, puppet.row("failed"))
    liar.tells(rig, puppet.row("left"))
    assert rig.states()["p1"] == "left"
    told = puppet.hears(pass_time_with(rig, 5.0, liar))
    assert of_type(Ping, told)
    puppet.acks(rig, told)
    assert rig.states()["p1"] == "alive"


def test_a_node_that_has_left_and_still_runs_says_so_to_whoever_asks_it() -> None:
    rig, (puppet,) = acquainted(1)
    rig.engine.leave()
    told = puppet.hears(rig.receive(puppet.address, puppet.says(Ping(7))))
    assert [row.state for row in rows(told)] == ["left"]
    assert not of_type(Ack, told)


def test_what_is_asked_because_of_goodbyes_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(farewells, "MAX_FAREWELLS", 10)
    rig, (liar, *others) = acquainted(30)
    liar.tells(rig, *[each.row("left") for each in others])
    assert len(rig.engine._detector._farewells) == 10


def test_an_obituary_of_a_member_that_was_thought_alive_is_looked_into_and_it_is_told_so_that_it_can_contradict() -> (
    None
):
    rig, (teller, puppet) = acquainted(2)
    effects = teller.tells(rig, puppet.row("failed"))
    assert rig.states()["p1"] == "suspect"
    assert [row.state for row in rows_of(puppet, puppet.hears(effects))] == ["failed"]
    told = puppet.hears(rig.pass_time(0.6))
    assert of_type(Ping, told)
    puppet.acks(rig, told)
    assert rig.states()["p1"] == "alive"


def test_an_obituary_stands_if_nothing_is_heard_of_the_member() -> None:
    rig, (teller, puppet) = acquainted(2)
    teller.tells(rig, puppet.row("failed"))
    pass_time_with(rig, 6.0, teller)
    assert rig.states() == {"p0": "alive", "p1": "failed"}


def test_an_obituary_of_a_member_that_has_been_suspect_for_a_while_is_believed_and_passed_on() -> None:
    rig, (teller, puppet, other) = acquainted(3)
    believe(rig, teller, puppet.row("failed"))
    assert rig.states()["p1"] == "failed"
    told = [row.state for each in (teller, other) for row in rows_of(puppet, each.hears(rig.pass_time(0.3)))]
    assert set(told) == {"failed"}


def test_better_news_needs_a_newer_incarnation() -> None:
    rig, (teller, puppet) = acquainted(2)
    believe(rig, teller, puppet.row("failed"))
    teller.tells(rig, puppet.row("alive"), puppet.row("suspect"))
    assert rig.states()["p1"] == "failed"
    teller.tells(rig, puppet.row("alive", 1))
    assert rig.states()["p1"] == "alive"
    teller.tells(rig, puppet.row("failed", 0), puppet.row("left", 0))
    assert rig.states()["p1"] == "alive", "word of the incarnation before"


def test_updates_that_are_replayed_change_nothing() -> None:
    rig, (teller, puppet) = acquainted(2)
    recorded = [
        teller.says(Updates((puppet.row(state, counter),))) for counter in (0, 1) for state in ("suspect", "failed")
    ]
    puppet.tells(rig, puppet.own_row("alive", 2, tags=(("role", "x"),)))
    before = rig.engine.members(rig.now)
    for datagram in recorded * 3:
        assert notices(rig.receive(teller.address, datagram)) == []
    assert rig.engine.members(rig.now) == before
    assert rig.rejected == {}


def test_word_of_a_member_that_just_answered_changes_nothing_and_it_is_told_so_that_it_can_contradict() -> None:
    rig, (liar, puppet) = acquainted(2)
    pass_time_with(rig, 1.6, liar, puppet)
    while True:  # until a probe of it has been answered
        told = puppet.hears(rig.tick())
        if of_type(Ping, told):
            puppet.acks(rig, told)
            break
    for state in ("suspect", "accused", "failed"):
        effects = liar.tells(rig, puppet.row(state))
        assert notices(effects) == []
        assert rig.states()["p1"] == "alive"
        if state == "suspect":
            assert rows_of(puppet, puppet.hears(effects)) == [puppet.row(state)]
        else:
            assert rows_of(puppet, puppet.hears(effects)) == [], "once a second is enough"


def test_a_member_that_we_believe_failed_is_not_believed_to_have_seen_others_fail() -> None:
    rig, (deaf, puppet) = acquainted(2)
    pass_time_with(rig, 10.0, puppet)
    assert rig.states() == {"p0": "failed", "p1": "alive"}
    rig.pass_time(0.6)
    deaf.tells(rig, puppet.row("failed"), puppet.row("suspect"), puppet.row("accused"))
    assert rig.states()["p1"] != "failed"


def test_a_liar_that_says_that_everybody_is_gone_keeps_nobody_from_being_listed() -> None:
    for state in ("failed", "left"):
        cluster = Cluster(8, seed=1)
        cluster.run(3.0)
        liar = Puppet("liar", key=b"simulated cluster key, 32 bytes.", host="10.9.9.9")
        identity = cluster[7].engine.identity
        liar.node_id, liar.epoch = identity.node_id, identity.epoch
        lies = tuple(Update(node.engine.identity.node_id, state, 1, 0, node.address) for node in cluster.nodes[:7])
        for _ in range(3):
            for node in cluster.nodes[:7]:
                cluster.network.send(cluster[7].address, node.address, liar.says(Updates(lies)))
            cluster.run(0.5)
        cluster.run(10.0)
        for node in cluster.nodes:
            assert len(names(node)) == 7, f"all are alive again though they were said to have {state}"
            assert "member.left" not in [notice.event for notice in node.notices]


# ---- of ourselves


@pytest.mark.parametrize("state", ["suspect", "accused", "failed", "left"])
def test_who_says_that_we_are_gone_is_contradicted_at_once_and_all_hear_of_it(state: str) -> None:
    rig, (teller, other) = acquainted(2)
    told = teller.hears(teller.tells(rig, us(rig, state)))
    (row, *_) = rows(told)
    assert (row.node_id, row.state, row.counter) == (rig.identity.node_id, "alive", 1)
    assert [row.counter for row in rows(other.hears(rig.pass_time(0.5))) if row.node_id == rig.identity.node_id]


def test_old_word_of_ourselves_is_not_contradicted() -> None:
    rig, (teller,) = acquainted(1)
    rig.engine.set_tags({"a": "b"})
    for row in (us(rig, "failed", 0), us(rig, "alive", 1), us(rig, "alive", 0)):
        assert teller.hears(teller.tells(rig, row)) == []
    rig, (teller,) = acquainted(1)
    assert rows(teller.hears(teller.tells(rig, us(rig, "alive", 5))))[0].counter == 6, "nobody may be ahead of us"


def test_who_has_left_contradicts_nobody() -> None:
    rig, (teller,) = acquainted(1)
    rig.engine.leave()
    assert teller.hears(teller.tells(rig, us(rig, "left"), us(rig, "failed", 3))) == []


def test_a_restarted_member_beats_its_obituary() -> None:
    cluster = Cluster(6, seed=1)
    cluster.run(3.0)
    cluster[5].stop()
    cluster.run(20.0)
    assert all("n5" in names(node, "failed") for node in cluster.running())
    cluster.restart(5)
    cluster.run(1.5)
    assert all("n5" in names(node) for node in cluster.running() if node.name != "n5")


def test_all_that_restart_at_once_are_alive_within_a_round_or_two() -> None:
    cluster = Cluster(12, seed=2)
    cluster.run(5.0)
    for place in range(12):
        cluster[place].stop()
    for place in range(12):
        cluster.restart(place)
    cluster.run(2.0)
    assert all(len(names(node)) == 11 for node in cluster.nodes)
    assert {m.epoch for node in cluster.nodes for m in node.engine.members(0)} == {2}


# ---- leaving


@pytest.mark.parametrize("seed", range(2))
def test_a_leave_is_relayed_to_those_who_missed_it(seed: int) -> None:
    cluster = Cluster(20, seed=seed, link=Link(loss=0.5))
    cluster.run(30.0)
    cluster[19].leave()
    cluster.set_link(loss=0.25)
    cluster.run(10.0)
    assert all(names(node, "left") == {"n19"} for node in cluster.running())


def test_who_is_wrongly_said_to_have_left_can_contradict() -> None:
    rig, (liar, puppet) = acquainted(2)
    liar.tells(rig, puppet.row("left"))
    pass_time_with(rig, 1.0, liar)
    assert rig.states()["p1"] == "left"
    told = puppet.hears(rig.receive(puppet.address, puppet.says(Roll(1, 3))))
    assert rows_of(puppet, told) == [replace(puppet.row("left"), nonce="")], "it is told what is said of it"
    puppet.tells(rig, puppet.own_row("alive", 1))
    assert rig.states()["p1"] == "alive"


# ---- lists


def test_who_believes_in_other_members_than_we_is_told_of_ours_and_who_does_not_is_told_nothing() -> None:
    rig, puppets = acquainted(3)
    first = puppets[0]
    assert first.hears(rig.receive(first.address, first.says(roll_of(rig, puppets)))) == []
    told = first.hears(rig.receive(first.address, first.says(roll_of(rig, puppets[:2]))))
    assert {row.node_id for row in rows(told)} == {rig.identity.node_id, *(p.node_id for p in puppets[1:])}


def test_the_roll_follows_who_is_present_and_in_which_incarnation() -> None:
    rig, puppets = acquainted(3)
    first, second, third = puppets
    third.leaves(rig)
    assert set(of_type(Roll, first.hears(pass_time_with(rig, 5.0, first, second)))) == {roll_of(rig, [first, second])}
    rig.engine.set_tags({"a": "b"})
    rolls = of_type(Roll, first.hears(pass_time_with(rig, 5.0, first, second)))
    assert set(rolls) == {roll_of(rig, [first, second], counter=1)}
    second.tells(rig, second.own_row("alive", 1))
    rolls = of_type(Roll, first.hears(pass_time_with(rig, 5.0, first, second)))
    assert set(rolls).isdisjoint({roll_of(rig, [first, second], counter=1)})


def test_who_has_not_said_a_word_of_itself_gets_a_roll_that_is_none_so_that_it_does() -> None:
    rig, puppet = Rig(), Puppet()
    puppet.meets(rig)
    assert set(of_type(Roll, puppet.hears(pass_time_with(rig, 5.0, puppet)))).isdisjoint({roll_of(rig, [puppet])})
    puppet.tells(rig, puppet.own_row(nonce="abcdef"))
    assert set(of_type(Roll, puppet.hears(pass_time_with(rig, 5.0, puppet)))) == {roll_of(rig, [puppet])}


@pytest.mark.parametrize("seed", range(5))
def test_all_learn_what_all_say_of_themselves_whatever_is_lost(seed: int) -> None:
    cluster = Cluster(6, seed=seed)
    cluster.set_link(loss=0.5)
    cluster.run(10.0)
    cluster[0].stop()
    cluster.restart(0)
    cluster.run(20.0)
    written = {node.engine.identity.replica_id for node in cluster.nodes}
    for node in cluster.nodes:
        told = {member.replica_id for member in node.engine.members(cluster.queue.now)}
        assert told == written - {node.engine.identity.replica_id}


def test_a_long_list_is_asked_for_page_by_page() -> None:
    rig, puppets = acquainted(1)
    teller = puppets[0]
    crowd = sorted((Puppet(f"c{i}", host=f"10.3.{i // 200}.{i % 200}") for i in range(60)), key=lambda p: p.node_id)
    told = teller.hears(rig.receive(teller.address, teller.says(Roll(1, 62))))
    assert only(ListMembers, told).after == b""
    for start in (0, ROWS, 2 * ROWS):
        page = crowd[start : start + ROWS]
        told = teller.hears(teller.tells(rig, *(puppet.row() for puppet in page)))
        assert only(ListMembers, told).after == page[-1].node_id
    assert of_type(ListMembers, teller.hears(teller.tells(rig))) == []


def test_a_list_is_told_in_the_order_of_ids_from_behind_the_one_that_is_named() -> None:
    rig, puppets = acquainted(60)
    asker = puppets[0]
    found: list[bytes] = []
    while page := rows(asker.hears(rig.receive(asker.address, asker.says(ListMembers(found[-1] if found else b""))))):
        assert len(page) <= ROWS
        found += [row.node_id for row in page]
    assert found == sorted(puppet.node_id for puppet in puppets)


def test_those_who_die_while_they_tell_their_list_do_not_keep_others_from_being_asked() -> None:
    rig, puppets = acquainted(8)
    asked = []
    for teller in puppets:
        told = teller.hears(rig.receive(teller.address, teller.says(Roll(1, 500))))
        asked += [teller for _ in of_type(ListMembers, told)]
    assert asked == puppets[:4], "not of everybody at once"
    pass_time_with(rig, 30.0, *puppets[4:])
    last = puppets[7]
    assert of_type(ListMembers, last.hears(rig.receive(last.address, last.says(Roll(1, 500)))))


def test_a_newcomer_knows_two_hundred_within_two_seconds() -> None:
    cluster = Cluster(200, seed=1, warm=True)
    cluster.network.tracing = False
    cluster.run(1.0)
    newcomer = cluster.add()
    cluster.run(2.0)
    assert len(names(newcomer)) == 200
    assert sum(newcomer.name in names(node) for node in cluster.nodes) == 200


def test_nothing_is_said_of_members_while_nothing_changes() -> None:
    cluster = Cluster(10, seed=1)
    cluster.run(20.0)
    heard: list[object] = []
    puppet = Puppet(key=b"simulated cluster key, 32 bytes.")
    cluster.network.taps.append(lambda _, __, data: heard.extend(puppet.opens(data)))
    cluster.run(10.0)
    assert of_type(Ack, heard)
    assert of_type(Updates, heard) == []


def test_no_datagram_of_news_is_empty_or_too_large() -> None:
    rig, puppets = acquainted(60, config=Config(datagram_bytes=600))
    tags = (("k" * 100, "v" * 150),)
    for puppet in puppets[1:]:
        puppet.tells(rig, puppet.own_row("alive", 1, tags=tags))
    effects = rig.pass_time(5.0)
    assert sends(effects)
    for send in sends(effects):
        assert len(send.data) <= 600
        assert puppets[0].opens(send.data)


def test_an_incarnation_beyond_what_may_be_is_not_hearsay_to_follow() -> None:
    rig, (teller, puppet) = acquainted(2)
    teller.tells(rig, puppet.row("alive", COUNTER_JUMP + 1), puppet.row("failed", COUNTER_JUMP + 1))
    assert rig.states()["p1"] == "alive"
    assert rig.rejected == {"absurd_incarnation": 2}
    believe(rig, teller, puppet.row("failed", COUNTER_JUMP))
    assert rig.states()["p1"] == "failed"


def test_hearsay_does_not_drive_the_counter_of_a_member_on_step_by_step() -> None:
    rig, (liar, puppet) = acquainted(2)
    for counter in range(1, 20 * COUNTER_JUMP):
        liar.tells(rig, puppet.row("alive", counter))
    assert rig.rejected == {"absurd_incarnation": 19 * COUNTER_JUMP - 1}
    believe(rig, liar, puppet.row("suspect", COUNTER_JUMP))
    puppet.tells(rig, puppet.own_row("alive", COUNTER_JUMP + 1))
    assert rig.states()["p1"] == "alive", "its own word still counts"


def test_a_member_whose_counter_has_gone_far_is_asked_once_a_second_and_believed() -> None:
    rig, (teller, puppet) = acquainted(2)
    row = puppet.row("alive", 500, tags=(("role", "boss"),))
    told = [puppet.hears(teller.tells(rig, row)) for _ in range(3)]
    assert [len(of_type(Roll, each)) for each in told] == [1, 0, 0]
    puppet.tells(rig, puppet.own_row("alive", 500, tags=(("role", "boss"),)))
    assert [m.tags for m in rig.engine.members(rig.now) if m.name == "p1"] == [{"role": "boss"}]
    believe(rig, teller, puppet.row("left", 500 + COUNTER_JUMP))
    pass_time_with(rig, 1.0, teller)
    assert rig.states()["p1"] == "left", "from there on it is hearsay again"


def test_who_contradicted_often_while_another_was_away_is_believed_by_it_when_they_meet_again() -> None:
    cluster = Cluster(6, seed=1)
    cluster.run(3.0)
    cluster.cut([0, 1, 2, 3, 4], [5])
    cluster.run(10.0)
    for number in range(200):
        cluster[0].engine.set_tags({"number": str(number)})
        cluster.run(0.1)
    cluster.heal()
    cluster.run(10.0)
    for node in cluster.nodes[1:]:
        assert [m.tags for m in node.engine.members(0) if m.name == "n0"] == [{"number": "199"}]
        assert len(names(node)) == 5


def test_our_counter_is_driven_on_by_others_in_small_steps_now_and_then_and_the_rest_is_refused() -> None:
    rig, (liar,) = acquainted(1)

    def lie(times: int) -> int:
        for _ in range(times):
            liar.tells(rig, us(rig, "failed", rig.engine._members._hearsay._counter + COUNTER_JUMP))
        return rig.engine._members._hearsay._counter

    step = COUNTER_JUMP + 1
    assert lie(1000) == CONTRADICTIONS_SAVED * step
    assert rig.rejected == {"absurd_incarnation": 1000 - CONTRADICTIONS_SAVED}
    rig.now += 3 * CONTRADICTION_INTERVAL
    assert lie(1000) == (CONTRADICTIONS_SAVED + 3) * step
    rig.now += CONTRADICTION_INTERVAL
    told = liar.hears(liar.tells(rig, us(rig, "failed", rig.engine._members._hearsay._counter)))
    assert rows(told)[0].state == "alive", "an honest suspicion is contradicted again"


# ---- of our identity


def contested(effects: Sequence[object]) -> list[object]:
    return [each.fields["epoch"] for each in of_type(Notify, effects) if each.event == "identity.contested"]


def test_a_later_epoch_of_ourselves_is_told_of_once_whoever_names_it() -> None:
    rig, (teller,) = acquainted(1)
    found: list[object] = []
    for epoch in (1, 7, 7, 6):
        found += contested(teller.tells(rig, us(rig, epoch=epoch)))
    assert found == [7]
    assert rig.engine.identity.node_id != rig.identity.node_id, "and it goes on as a new node"


def test_an_absurd_epoch_of_ourselves_is_told_of_and_changes_nothing() -> None:
    rig, (teller,) = acquainted(1)
    assert contested(teller.tells(rig, us(rig, epoch=EPOCH_JUMP + 2))) == [EPOCH_JUMP + 2]
    assert rig.engine.identity == rig.identity


def test_the_word_of_another_process_with_our_identity_contests_it_if_its_epoch_is_later() -> None:
    rig, twin = Rig(epoch=3), Puppet("twin", host="10.9.0.1")
    twin.node_id = rig.identity.node_id
    found: list[object] = []
    for twin.epoch in (2, 3, 4, 4):
        found += contested(rig.receive(twin.address, twin.says(Ping(1))))
    assert found == [4]


def test_an_older_life_that_still_speaks_from_where_it_was_hears_that_it_is_followed_by_another() -> None:
    rig, (old,) = acquainted(1)
    new = Puppet("p0", host="10.9.0.1", epoch=2)
    new.meets(rig)
    told = [old.hears(rig.receive(old.address, old.says(Ping(1)))) for _ in range(2)]
    assert [[row.epoch for row in rows_of(old, each)] for each in told] == [[2], []], "once a second"


def test_an_earlier_word_of_a_member_that_comes_late_does_not_take_its_replica_id_back() -> None:
    rig, puppet = Rig(), Puppet()
    puppet.meets(rig)
    puppet.tells(rig, puppet.own_row(nonce=""))
    puppet.tells(rig, puppet.own_row(nonce=None))
    assert rig.engine.members(rig.now)[0].replica_id == f"{puppet.node_id.hex()}.1"
