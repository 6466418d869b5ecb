"""How members are met, move, restart, leave, fail and come back."""

from itertools import pairwise

import pytest

from crdts import Replica
from gossip.protocol import Address, Config, Identity
from gossip.protocol.identity import MAX_EPOCH
from gossip.protocol.membership.peers import EPOCH_JUMP
from gossip.protocol.wire.messages import (
    Ack,
    ContextPage,
    Digest,
    Hello,
    Offer,
    Ping,
    Proof,
    Push,
    Relay,
    Same,
    Updates,
    Welcome,
)
from simulations import Cluster, Link

from ..support import ME, Puppet, Rig, acquainted, names, notices, of_type, only, pass_time_with


def test_whoever_answers_from_its_address_becomes_a_member_on_both_sides() -> None:
    cluster = Cluster(2, seed=1)
    cluster.run(0.1)
    assert (names(cluster[0]), names(cluster[1])) == ({"n1"}, {"n0"})


def test_a_newcomer_learns_of_everybody_from_one_seed() -> None:
    cluster = Cluster(20, seed=1)
    cluster.run(2.0)
    newcomer = cluster.add()
    cluster.run(1.0)
    assert len(names(newcomer)) == 20
    assert all(len(names(node)) == 20 for node in cluster.nodes)


def test_a_cluster_beyond_one_datagram_of_names_still_gets_to_know_all() -> None:
    cluster = Cluster(40, seed=1, link=Link(loss=0.1))
    cluster.run(30.0)
    assert {len(names(node)) for node in cluster.nodes} == {39}


def test_who_is_made_acquainted_is_a_member_at_once_and_nobody_hears_of_it() -> None:
    rig, puppets = acquainted(3)
    assert rig.states() == {"p0": "alive", "p1": "alive", "p2": "alive"}
    (first, *_) = rig.engine.members(rig.now)
    assert (first.id, first.address, first.epoch) == (puppets[0].node_id.hex(), puppets[0].address, 1)
    effects = rig.pass_time(0.5)
    assert notices(effects) == []
    told = [message for puppet in puppets for message in puppet.hears(effects)]
    assert len(of_type(Digest, told)) == 1, "the probe whose turn it is, and no comparison with every member"
    assert not of_type(Updates, told)


def test_who_is_made_acquainted_is_heard_pushed_to_and_watched_like_anybody_who_was_met() -> None:
    rig, (puppet,) = acquainted(1)
    rig.replica.orset("s").add(1)
    assert of_type(Relay, puppet.hears(rig.pass_time(0.1)))
    assert of_type(ContextPage, puppet.hears(rig.receive(puppet.address, puppet.says(Digest(bytes(8), 0)))))
    assert "member.failed" in notices(rig.pass_time(10.0))
    told = puppet.hears(rig.pass_time(3.0))
    assert "member.returned" in notices(puppet.acks(rig, told))


def test_nobody_is_made_acquainted_with_itself_or_twice_or_beyond_the_list() -> None:
    rig, puppets = acquainted(2, config=Config(full_membership_max=2))
    puppets[0].leaves(rig)
    more = [(rig.identity, ME)]
    more += [(Identity(p.node_id, p.name, p.epoch), p.address) for p in puppets]
    more += [(Identity(bytes([i] * 8), f"q{i}", 1), Address("10.3.0.1", i + 1)) for i in range(3)]
    rig.engine.acquaint(rig.now, more)
    assert rig.states() == {"p0": "left", "p1": "alive", "q0": "alive"}


def test_a_node_that_comes_back_under_another_address_is_the_same_node() -> None:
    rig, puppet = Rig(), Puppet()
    puppet.meets(rig)
    moved = Puppet(host="10.2.7.7", epoch=2)
    moved.meets(rig)
    (member,) = rig.engine.members(0)
    assert (member.id, member.address) == (puppet.node_id.hex(), moved.address)


def test_a_node_that_moves_while_it_runs_proves_its_new_address_when_it_next_speaks() -> None:
    rig, puppet = Rig(), Puppet()
    puppet.meets(rig)
    moved = Puppet(host="10.2.7.7")
    told = moved.hears(rig.receive(moved.address, moved.says(Digest(bytes(8), 0))))
    hello = only(Hello, moved.hears(moved.answers(rig, told)))
    rig.receive(moved.address, moved.says(Welcome("puppet", 1, 0, hello.cookie, bytes(8))))
    assert [member.address for member in rig.engine.members(0)] == [puppet.address], "it may still be there as well"
    effects = pass_time_with(rig, 5.0, moved)
    assert "member.moved" in notices(effects)
    assert [(member.address, member.state) for member in rig.engine.members(0)] == [(moved.address, "alive")]


def test_another_node_under_an_old_address_is_another_node() -> None:
    rig = Rig()
    old, new = Puppet("old"), Puppet("new")
    assert old.address == new.address
    old.meets(rig)
    new.meets(rig)
    assert rig.states() == {"old": "failed", "new": "alive"}, "one address is proven by one"
    pass_time_with(rig, 30.0, new)
    assert rig.states() == {"old": "failed", "new": "alive"}


def test_a_restart_with_a_higher_epoch_is_noticed_and_an_echo_of_the_earlier_life_is_not_believed() -> None:
    rig, first, second = Rig(), Puppet(epoch=1), Puppet(epoch=2, host="10.2.0.2")
    first.meets(rig)
    effects = rig.receive(second.address, second.hello())
    effects += rig.receive(second.address, second.says(Proof(only(Welcome, second.hears(effects)).cookie)))
    assert "member.restarted" in notices(effects)
    rig.receive(first.address, first.hello())
    (member,) = rig.engine.members(0)
    assert (member.epoch, member.address) == (2, second.address)


def test_a_node_that_restarts_with_empty_hands_gets_everything_back_and_writes_on() -> None:
    cluster = Cluster(4, seed=3)
    cluster[1].replica.orset("s").add("before")
    cluster.run_until_converged()
    cluster[1].stop()
    cluster.run(1.0)
    cluster.restart(1).replica.orset("s").add("after")
    cluster.run_until_converged(timeout=5)
    assert all(set(node.replica.orset("s")) == {"before", "after"} for node in cluster.nodes)
    cluster.run(1.0)  # what was written comes sooner than the news of the restart
    assert {m.epoch for node in cluster.nodes for m in node.engine.members(0) if m.name == "n1"} == {2}


def test_even_the_only_seed_may_restart() -> None:
    cluster = Cluster(5, seed=3)
    cluster.run(2.0)
    cluster[0].stop()
    cluster.run(1.0)
    node = cluster.restart(0)
    cluster.run(3.0)
    assert names(node) == {"n1", "n2", "n3", "n4"}


def test_a_node_that_restarts_elsewhere_is_found_by_all_who_knew_it() -> None:
    cluster = Cluster(12, seed=3)
    cluster.run(3.0)
    cluster[5].stop()
    moved = cluster.clone(5)
    cluster.run(3.0)
    assert len(names(moved)) == 11
    cluster.run(20.0)
    others = [node for node in cluster.running() if node is not moved]
    assert {m.address for n in others for m in n.engine.members(0) if m.name == "n5"} == {moved.address}


def test_in_a_cluster_at_heavy_loss_all_get_to_know_all() -> None:
    cluster = Cluster(40, seed=7, link=Link(loss=0.25))
    known: dict[str, set[str]] = {node.name: set() for node in cluster.nodes}
    for _ in range(30):
        cluster.run(1.0)
        for node in cluster.nodes:
            known[node.name] |= names(node)
    assert {len(each) for each in known.values()} == {39}


def test_a_node_that_restarts_is_known_in_its_new_life_by_who_hears_nothing_but_its_digests() -> None:
    rig, (puppet,) = acquainted(1)
    puppet.epoch = 2
    rig.receive(puppet.address, puppet.says(Digest(bytes(8), 0)))
    assert [(m.name, m.epoch) for m in rig.engine.members(0)] == [(puppet.name, 2)]


def test_word_of_an_earlier_life_brings_its_events_and_nothing_else() -> None:
    rig, (puppet,) = acquainted(1)
    puppet.epoch = 2
    rig.receive(puppet.address, puppet.says(Digest(bytes(8), 0)))
    puppet.epoch = 1
    late = Replica("late").orset("s").add("news")
    effects = rig.receive(
        puppet.address, puppet.says(Push(late, 1, 0), Digest(bytes(8), 0), Updates((puppet.own_row("left"),)))
    )
    assert puppet.hears(effects) == []
    assert "news" in rig.replica.orset("s")
    assert [(m.state, m.epoch) for m in rig.engine.members(0)] == [("alive", 2)]


def test_leaving_is_not_a_failure() -> None:
    cluster = Cluster(4, seed=1)
    cluster.run(2.0)
    cluster[3].leave()
    cluster.run(60.0)
    for node in cluster.running():
        assert names(node, "left") == {"n3"}
        assert [n.event for n in node.notices if n.event in ("member.left", "member.failed")] == ["member.left"]


def test_a_late_word_does_not_revive_a_member_that_left_but_a_new_life_does() -> None:
    rig, puppet = Rig(), Puppet()
    puppet.meets(rig)
    rows = [puppet.own_row("left"), puppet.own_row("alive"), puppet.own_row("alive", tags=(("late", "tag"),))]
    late = [puppet.hello(), puppet.says(Digest(bytes(8), 0)), puppet.says(Updates(tuple(rows))), puppet.says(Ack(1))]
    puppet.leaves(rig)
    for datagram in late:
        rig.receive(puppet.address, datagram)
    puppet.meets(rig)
    assert rig.states() == {"puppet": "left"}
    Puppet(epoch=2).meets(rig)
    assert rig.states() == {"puppet": "alive"}


def test_a_leave_counts_only_from_a_proven_address_and_of_the_present_life() -> None:
    rig, puppet, liar = Rig(), Puppet(epoch=2), Puppet("liar", host="10.2.0.9")
    puppet.meets(rig)
    liar.meets(rig)
    rig.receive(Address("10.2.0.8", 4747), puppet.says(Updates((puppet.own_row("left"),))))
    puppet.tells(rig, puppet.own_row("left", epoch=1), puppet.own_row("left", epoch=3))
    liar.tells(rig, puppet.row("left", epoch=1), puppet.row("left", epoch=3))
    assert rig.states() == {"puppet": "alive", "liar": "alive"}


def test_a_silent_member_fails_and_is_back_when_it_answers_a_probe_and_not_by_words_alone() -> None:
    rig, puppet = Rig(), Puppet()
    puppet.meets(rig)
    assert "member.failed" in notices(rig.pass_time(10.0))
    assert rig.states() == {"puppet": "failed"}
    effects = rig.receive(puppet.address, puppet.says(Same(bytes(8)), Ping(1), Offer(), Ack(60_000)))
    assert rig.states() == {"puppet": "failed"}, "it may hear nobody"
    assert only(Ack, puppet.hears(effects)) == Ack(1)
    told = puppet.hears(rig.pass_time(0.6))
    effects = puppet.acks(rig, told)
    assert "member.returned" in notices(effects)
    assert of_type(Digest, puppet.hears(effects))


def test_a_word_of_a_failed_member_lets_it_be_probed_in_the_next_round() -> None:
    rig, puppets = acquainted(9)
    *living, dead = puppets
    pass_time_with(rig, 30.0, *living)
    assert rig.states()["p8"] == "failed"
    rig.receive(dead.address, dead.says(Same(bytes(8))))
    told = dead.hears(pass_time_with(rig, 0.6, *living))
    assert of_type(Ping, told)
    assert [row.state for each in of_type(Updates, told) for row in each.rows if row.node_id == dead.node_id]


@pytest.mark.parametrize("how", ["a greeting", "a contradiction", "a new life"])
def test_a_failed_member_comes_back_by_whatever_shows_that_it_hears(how: str) -> None:
    rig, puppet = Rig(), Puppet()
    puppet.meets(rig)
    rig.pass_time(10.0)
    assert rig.states() == {"puppet": "failed"}
    if how == "a greeting":  # shows that it speaks; what it answers, that it hears
        puppet.meets(rig)
        assert rig.states() == {"puppet": "failed"}
        puppet.acks(rig, puppet.hears(rig.pass_time(0.6)))
    elif how == "a contradiction":
        puppet.tells(rig, puppet.own_row("alive", 1))
    else:
        puppet.epoch = 2
        rig.receive(puppet.address, puppet.says(Same(bytes(8))))
    assert rig.states() == {"puppet": "alive"}


def test_a_failed_member_is_tried_for_ever() -> None:
    rig, puppet = Rig(), Puppet()
    puppet.meets(rig)
    rig.pass_time(3600.0)
    assert of_type(Digest, puppet.hears(rig.pass_time(10.0)))


def test_two_clusters_that_never_met_become_one_when_the_seed_of_one_comes_up() -> None:
    cluster = Cluster(6, seed=2)
    cluster.cut([0, 1, 2], [3, 4, 5])
    cluster[4].join([cluster[0].address, cluster[3].address])
    cluster[5].join([cluster[3].address])
    cluster.run(600.0)
    assert names(cluster[5]) == {"n3", "n4"}
    cluster.heal()
    cluster.run(25.0)
    assert all(len(names(node)) == 5 for node in cluster.nodes)


def test_many_deaths_at_once_do_not_keep_a_node_from_comparing_with_the_living() -> None:
    rig, living = Rig(), Puppet("living")
    living.meets(rig)
    for i in range(20):
        Puppet(f"dead {i}", host=f"10.5.0.{i}").meets(rig)
    asked = []
    while rig.now < 120:
        told = living.hears(rig.tick())
        asked += [rig.now for _ in of_type(Digest, told)]
        living.acks(rig, told)
    gaps = [b - a for a, b in pairwise(asked)]
    assert max(gaps) <= 25, "two rounds of 21 members at most"
    assert rig.states() == {"living": "alive"} | {f"dead {i}": "failed" for i in range(20)}


# ---- absurd epochs


def epochs(rig: Rig) -> dict[str, int]:
    return {member.name: member.epoch for member in rig.engine.members(rig.now)}


def test_nobody_takes_a_member_over_from_elsewhere_by_an_absurd_epoch() -> None:
    rig, (puppet,) = acquainted(1)
    liar = Puppet("p0", host="10.9.0.1", epoch=MAX_EPOCH)
    liar.meets(rig)
    assert epochs(rig) == {"p0": 1}
    assert rig.rejected == {"absurd_incarnation": 1}
    assert puppet.hears(rig.receive(puppet.address, puppet.says(Ping(7)))) == [Ack(7)]


def test_a_forged_datagram_of_an_absurd_epoch_changes_nothing_and_the_address_is_asked_for_proof() -> None:
    rig, (puppet,) = acquainted(1)
    forged = Puppet("p0", host=puppet.address.host, epoch=MAX_EPOCH)
    for datagram in (forged.hello(), forged.says(Digest(bytes(8), 0)), forged.says(Updates((forged.own_row("left"),)))):
        rig.receive(puppet.address, datagram)
    assert epochs(rig) == {"p0": 1}
    assert rig.states() == {"p0": "alive"}
    assert rig.rejected == {"absurd_incarnation": 3}
    assert of_type(Hello, puppet.hears(rig.pass_time(0.1)))


@pytest.mark.parametrize("how", ["greeting", "a digest"])
def test_a_member_that_was_started_very_often_is_believed_once_it_has_proven_that_it_is_where_it_was(how: str) -> None:
    rig, (puppet,) = acquainted(1)
    puppet.epoch = 50 * EPOCH_JUMP
    if how == "greeting":
        puppet.meets(rig)
    else:
        rig.receive(puppet.address, puppet.says(Digest(bytes(8), 0)))
        hello = only(Hello, puppet.hears(rig.pass_time(0.1)))
        rig.receive(puppet.address, puppet.says(Welcome("p0", puppet.epoch, 0, hello.cookie, bytes(8))))
    assert epochs(rig) == {"p0": 50 * EPOCH_JUMP}
    assert rig.states() == {"p0": "alive"}


def test_who_proves_itself_in_an_earlier_life_elsewhere_hears_of_the_later_one() -> None:
    """A copy of its data that was started in the lower epoch: nobody would ever listen to it, or tell it why."""
    rig, later = Rig(), Puppet("p", epoch=9)
    later.meets(rig)
    earlier = Puppet("p", host="10.2.0.9", epoch=5)
    told = earlier.meets(rig)
    assert [(row.node_id, row.epoch) for row in only(Updates, told).rows] == [(earlier.node_id, 9)]
    assert epochs(rig) == {"p": 9}
