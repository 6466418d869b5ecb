"""The list of members: how long it grows, what is forgotten, and what a cluster too large to list does."""

from dataclasses import replace

import pytest

from gossip.protocol import Address, Config, Identity
from gossip.protocol.messages import Digest, Roll
from gossip.protocol.peers import FAILED, Peer, Peers
from gossip.protocol.roster import GONE_KEPT, KNOWN_VIEWS, OLD_CONTACTS
from simulations import Cluster

from .support import Puppet, Rig, notices, of_type, pass_time_with

PARTIAL = Config(full_membership_max=16, view_size=16, shuffle_interval=1.0)


def crowd(count: int, *, prefix: str = "p") -> list[Puppet]:
    return [Puppet(f"{prefix}{i}", host=f"10.{len(prefix)}.{i // 200}.{i % 200 + 1}") for i in range(count)]


def test_a_cluster_that_outgrows_the_list_is_said_once_and_its_members_stay_as_many_as_a_view_holds() -> None:
    rig = Rig(config=PARTIAL)
    told: list[str] = []
    for puppet in crowd(60):
        welcome = rig.receive(puppet.address, puppet.hello())
        told += notices(welcome)
        puppet.meets(rig)
    effects = rig.pass_time(1.5)
    assert rig.engine.is_partial
    assert len(rig.engine.members(rig.now)) <= PARTIAL.view_size
    assert {bytes.fromhex(member.id) for member in rig.engine.members(rig.now)} <= set(rig.engine.view())
    assert notices(effects).count("members.partial") == 0


def test_the_notice_names_the_limit_and_comes_once() -> None:
    cluster = Cluster(24, seed=1, config=PARTIAL)
    cluster.run(20.0)
    for node in cluster.nodes:
        said = [notice for notice in node.notices if notice.event == "members.partial"]
        assert [notice.fields["limit"] for notice in said] == [16] * len(said)
        assert len(said) == node.engine.is_partial
    assert sum(node.engine.is_partial for node in cluster.nodes) > 12


def test_who_was_in_the_view_is_known_for_a_while_and_not_listed() -> None:
    rig = Rig(config=PARTIAL)
    puppets = crowd(300)
    for puppet in puppets:
        puppet.meets(rig)
        if len(rig.states()) == PARTIAL.view_size:
            pass_time_with(rig, 0.05, *puppets)
    pass_time_with(rig, 5.0, *puppets)
    known = rig.engine._members._roster.peers
    assert len(known.all()) <= PARTIAL.view_size * (1 + KNOWN_VIEWS) + OLD_CONTACTS
    unlisted = [puppet for puppet in puppets if puppet.name not in rig.states() and known.find(puppet.node_id)]
    assert unlisted
    told = unlisted[-1].hears(rig.receive(unlisted[-1].address, unlisted[-1].says(Digest(bytes(8), 0))))
    assert told, "it has proven its address, and is answered"


def test_proven_strangers_do_not_pile_up_between_two_shuffles() -> None:
    rig = Rig(config=Config(full_membership_max=8, view_size=8, shuffle_interval=1000.0))
    for puppet in crowd(300):
        puppet.meets(rig)
    assert len(rig.engine._members._roster.peers.all()) <= 8 * (1 + KNOWN_VIEWS) + OLD_CONTACTS


def test_a_node_with_a_partial_view_calls_no_roll() -> None:
    rig = Rig(config=PARTIAL)
    puppets = crowd(30)
    for puppet in puppets:
        puppet.meets(rig)
    effects = pass_time_with(rig, 5.0, *puppets)
    assert [roll for puppet in puppets for roll in of_type(Roll, puppet.hears(effects))] == []
    assert puppets[0].hears(rig.receive(puppets[0].address, puppets[0].says(Roll(1, 999)))) == []


@pytest.mark.parametrize("seed", range(2))
def test_a_cluster_larger_than_its_lists_forms_and_shares_everything(seed: int) -> None:
    cluster = Cluster(60, seed=seed, config=PARTIAL)
    cluster.network.tracing = False
    cluster.run(20.0)
    for place in range(0, 60, 7):
        cluster[place].replica.orset("s").add(place)
    cluster.run_until_converged(timeout=30)
    for node in cluster.nodes:
        members = node.engine.members(0)
        assert node.engine.is_partial or len(members) <= PARTIAL.full_membership_max
        assert 8 <= len([m for m in members if m.state == "alive"]) <= PARTIAL.view_size
        assert not [m for m in members if m.state in ("failed", "suspect")]


def test_the_gone_are_kept_up_to_a_limit_the_latest_longest() -> None:
    rig = Rig(config=PARTIAL)
    puppets = crowd(OLD_CONTACTS + 30)
    for puppet in puppets:
        puppet.meets(rig)
        rig.pass_time(0.01)
    for puppet in puppets:
        puppet.leaves(rig)
        rig.now += 0.001
    left = [name for name, state in rig.states().items() if state == "left"]
    assert len(left) <= OLD_CONTACTS
    assert puppets[-1].name in left


@pytest.mark.parametrize("partial", [True, False])
def test_a_member_that_is_struck_off_by_its_own_word_disturbs_nothing(partial: bool) -> None:
    """The list of the gone is full; the oldest of them says that another has left, and then contradicts for itself."""
    kept = OLD_CONTACTS if partial else GONE_KEPT
    rig = Rig(config=replace(Config.lan(), full_membership_max=2 * GONE_KEPT))
    puppets = [Puppet(f"p{i}", host=f"10.2.{i // 250}.{i % 250 + 1}") for i in range(kept + 2)]
    known = [(Identity(each.node_id, each.name, each.epoch), each.address) for each in puppets]
    rig.engine.acquaint(rig.now, known, partial=partial)
    for puppet in puppets[:kept]:
        rig.now += 1e-5
        puppet.leaves(rig)
    oldest, another = puppets[0], puppets[kept]
    oldest.tells(rig, another.row("left"), oldest.own_row("alive", 1))
    assert oldest.name not in rig.states()
    assert rig.states()[another.name] == "left"


def test_what_is_changed_of_somebody_who_was_struck_off_changes_nothing() -> None:
    peers = Peers()
    peer = Peer(b"somebody", "p", 1, Address("10.0.0.1", 1), 0.0)
    peers.add(peer)
    peers.remove(peer)
    peers.move(peer, Address("10.0.0.2", 1), ())
    peers.advance(peer, 2, 0)
    peers.turn(peer, FAILED, 1.0)
    peers.remove(peer)
    assert (len(peers.all()), peers.roll, peer.epoch, peer.state) == (0, 0, 1, "alive")


def test_partial_views_that_heavy_loss_has_emptied_fill_again() -> None:
    config = replace(Config.lan(), full_membership_max=8, view_size=8)
    cluster = Cluster(40, seed=4, config=config)
    cluster.run(20.0)
    for node in cluster.nodes:
        view = node.engine._members._roster.view
        view.discard_where(lambda *_: True)
        node.engine._members._roster.keep_to_view(node.now)
        assert node.engine.members(node.now) == []
    cluster.run(60.0)
    assert all(len(node.engine.view()) >= 4 for node in cluster.nodes)
    cluster[0].replica.orset("s").add("x")
    cluster.run_until_converged(timeout=10)


def test_changed_tags_are_seen_by_those_who_list_the_node_in_a_partial_view() -> None:
    cluster = Cluster(20, seed=1, config=replace(Config.lan(), full_membership_max=8, view_size=8))
    cluster.run(20.0)
    cluster[3].engine.set_tags({"role": "boss"})
    cluster.run(20.0)
    found = [m.tags for node in cluster.nodes for m in node.engine.members(node.now) if m.name == "n3"]
    told = [tags for tags in found if tags == {"role": "boss"}]
    assert len(told) > len(found) / 2, "all but those into whose views it has just come"
