"""The list of members: how long it grows, what is forgotten, and what a cluster too large to list does."""

import pytest

from gossip.protocol import Config
from gossip.protocol.messages import Digest, Roll
from gossip.protocol.roster import KNOWN_VIEWS, OLD_CONTACTS
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
