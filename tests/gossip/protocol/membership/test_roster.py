"""The list of members: how long it grows, what is forgotten, and what a cluster too large to list does."""

from collections import Counter
from dataclasses import replace

import pytest

from gossip.protocol import Address, Config, Effect, Identity
from gossip.protocol.membership.peers import FAILED, LEFT, Peer, Peers
from gossip.protocol.membership.roster import HOST_IDS, KNOWN_VIEWS, OLD_CONTACTS, least_missed
from gossip.protocol.wire.messages import Digest, Hello, Proof, Roll, Same, Welcome
from simulations import Cluster

from ..support import Puppet, Rig, acquainted, notices, of_type, only, pass_time_with

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


def gone(name: str, state: str, *, host: str, met: float = 0.0, since: float = 100.0, **more: bool) -> Peer:
    peer = Peer(name.encode(), name, 1, Address(host, 1), met, **more)
    peer.state, peer.since = state, since
    return peer


def in_order(*peers: Peer) -> list[str]:
    """The names of members that are gone, as they make way one after the other."""
    table, names = Peers(), []
    for peer in peers:
        table.add(peer)
    while table.all():
        spare = least_missed(table.in_state(LEFT), table.in_state(FAILED))
        names.append(spare.name)
        table.remove(spare)
    return names


def test_members_that_left_make_way_before_those_that_failed_and_first_those_that_keep_nothing() -> None:
    assert in_order(
        gone("failed", FAILED, host="10.0.0.1", since=1.0),
        gone("left later", LEFT, host="10.0.0.2", since=3.0),
        gone("left", LEFT, host="10.0.0.3", since=2.0),
        gone("keeps nothing", LEFT, host="10.0.0.4", since=9.0, keeps_nothing=True),
    ) == ["keeps nothing", "left", "left later", "failed"]


def test_of_those_that_failed_one_of_each_host_stays_and_of_one_host_the_one_that_was_there_for_longest() -> None:
    assert in_order(
        gone("worker 1", FAILED, host="10.0.0.1", met=90.0),
        gone("worker 2", FAILED, host="10.0.0.1", met=95.0),
        gone("alone, and short", FAILED, host="10.0.0.2", met=99.0),
        gone("alone, and long", FAILED, host="10.0.0.3"),
        gone("old", FAILED, host="10.0.0.1", met=-50.0),
    ) == ["worker 2", "worker 1", "alone, and short", "alone, and long", "old"]


@pytest.mark.parametrize(("killed", "sides"), [(False, (0, 3)), (True, (0, 3)), (False, (0,)), (True, (0,))])
def test_a_cut_heals_after_more_have_gone_than_are_listed(killed: bool, sides: tuple[int, ...]) -> None:
    """Short-lived members come and go on both sides, or on one, while the cluster is cut; there is no seed."""
    cluster = Cluster(6, seed=1, warm=True, config=replace(Config.lan(), max_gone=8))
    cluster.network.tracing = False
    cluster.run(5.0)
    cluster.cut([0, 1, 2], [3, 4, 5])
    cluster.run(20.0)
    for _ in range(20):
        workers = [cluster.add_beside(side) for side in sides]
        cluster.run(1.0)
        for worker in workers:
            _ = worker.vanish() if killed else worker.leave()
        cluster.run(0.2)
    cluster.run(5.0)
    cluster.heal()
    cluster.run_until_converged(timeout=30)
    cluster.run(5.0)
    for node in cluster.running():
        states = Counter(member.state for member in node.engine.members(node.now))
        assert (states["alive"], states["failed"] + states["left"] <= 8) == (5, True)


def test_where_more_failed_than_are_listed_the_halves_of_a_large_cut_still_find_each_other() -> None:
    cluster = Cluster(40, seed=2, warm=True, config=replace(Config.lan(), max_gone=4))
    cluster.network.tracing = False
    cluster.run(5.0)
    cluster.cut([*range(20)])
    cluster.run(60.0)
    assert {len(node.engine.members(node.now)) for node in cluster.nodes} == {19 + 4}
    cluster.heal()
    cluster.run(20.0)
    assert {Counter(m.state for m in node.engine.members(node.now))["alive"] for node in cluster.nodes} == {39}


@pytest.mark.parametrize("partial", [True, False])
def test_a_member_that_is_struck_off_by_its_own_word_disturbs_nothing(partial: bool) -> None:
    """The list of the gone is full; the oldest of them says that another has failed, and contradicts for itself."""
    kept = OLD_CONTACTS if partial else 100
    rig = Rig(config=replace(Config.lan(), max_gone=100))
    puppets = [Puppet(f"p{i}", host=f"10.2.{i // 250}.{i % 250 + 1}") for i in range(kept + 2)]
    known = [(Identity(each.node_id, each.name, each.epoch), each.address) for each in puppets]
    rig.engine.acquaint(rig.now, known, partial=partial)
    for puppet in puppets[:kept]:
        rig.now += 1e-5
        puppet.leaves(rig)
    oldest, another = puppets[0], puppets[kept]
    oldest.tells(rig, another.row("suspect"))
    rig.now += 60.0
    oldest.tells(rig, another.row("failed"), oldest.own_row("alive", 1))
    assert oldest.name not in rig.states()
    assert rig.states()[another.name] == "failed"


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


# ---- one address, one host


def at(host: str, port: int, name: str = "") -> Puppet:
    puppet = Puppet(name or f"{host} {port}", host=host)
    puppet.address = Address(host, port)
    return puppet


def count(rig: Rig, state: str = "alive") -> int:
    return list(rig.states().values()).count(state)


def test_members_invented_at_one_address_take_the_place_of_each_other() -> None:
    rig, (honest,) = acquainted(1, config=PARTIAL)
    for number in range(100):
        at("10.6.6.6", 1, f"invented {number}").meets(rig)
    assert [name for name, state in rig.states().items() if state == "alive"] == [honest.name, "invented 99"]
    assert not rig.engine.is_partial


def test_one_host_cannot_make_the_cluster_look_too_large_to_list() -> None:
    rig, (honest,) = acquainted(1)
    effects = [effect for port in range(1, 1100) for effect in meet(rig, at("10.6.6.6", port))]
    assert count(rig) == 1 + HOST_IDS
    assert not rig.engine.is_partial
    assert rig.rejected == {"crowded_host": 1099 - HOST_IDS}
    assert notices(effects).count("input.rejected") == 1
    at("10.6.6.7", 1, "elsewhere").meets(rig)
    assert rig.states()["elsewhere"] == "alive"
    invented = at("10.6.6.6", 2000)
    told = invented.hears(honest.tells(rig, invented.row()) + rig.pass_time(0.2))
    assert of_type(Hello, told) == [], "nor is it looked for"


def meet(rig: Rig, puppet: Puppet) -> list[Effect]:
    welcome = only(Welcome, puppet.hears(rig.receive(puppet.address, puppet.hello())))
    return rig.receive(puppet.address, puppet.says(Proof(welcome.cookie)))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1"])
def test_on_loopback_are_as_many_as_there_are_processes(host: str) -> None:
    rig = Rig()
    for port in range(1, HOST_IDS + 50):
        meet(rig, at(host, port))
    assert count(rig) == HOST_IDS + 49
    assert rig.rejected == {}


@pytest.mark.parametrize("how", ["a contradiction", "a new life", "a rumour"])
def test_who_is_gone_does_not_come_back_at_a_host_that_is_crowded_meanwhile(how: str) -> None:
    rig, (teller,) = acquainted(1)
    gone = at("10.6.6.6", 1)
    gone.meets(rig)
    gone.leaves(rig)
    for port in range(2, HOST_IDS + 2):
        meet(rig, at("10.6.6.6", port))
    if how == "a contradiction":
        gone.tells(rig, gone.own_row("alive", 1))
    elif how == "a new life":
        gone.epoch = 2
        gone.meets(rig)
    else:
        teller.tells(rig, gone.row("alive", 1))
    assert rig.states()[gone.name] == "left"
    assert count(rig) == 1 + HOST_IDS


def test_a_node_that_starts_again_as_another_takes_the_place_of_the_one_it_was_at_once() -> None:
    rig, (old, other) = acquainted(2)
    new = at(*old.address, "new")
    new.meets(rig)
    assert rig.states() == {old.name: "failed", other.name: "alive", "new": "alive"}
    other.tells(rig, old.row("alive", 1), old.row("suspect", 2))
    assert rig.states()[old.name] == "failed", "others do not know better who is there"


def test_who_was_displaced_and_answers_still_displaces_the_other() -> None:
    rig, (first,) = acquainted(1)
    second = at(*first.address, "second")
    second.meets(rig)
    told = first.hears(rig.receive(first.address, first.says(Same(bytes(8)))) + rig.pass_time(0.7))
    first.acks(rig, told)
    assert rig.states() == {first.name: "alive", "second": "failed"}


def test_a_member_that_is_displaced_where_it_was_is_looked_for_where_it_is_besides() -> None:
    rig, (first,) = acquainted(1)
    besides = Puppet(first.name, host="10.7.0.1")
    besides.meets(rig)
    second = at(*first.address, "second")
    second.meets(rig)
    assert rig.states() == {first.name: "alive", "second": "alive"}
    assert {m.name: m.address for m in rig.engine.members(0)} == {
        first.name: besides.address,
        "second": second.address,
    }
    third = at(*besides.address, "third")
    third.meets(rig)
    assert rig.states() == {first.name: "failed", "second": "alive", "third": "alive"}


def test_who_moves_to_the_address_of_another_displaces_it() -> None:
    rig, (first, second) = acquainted(2)
    moved = Puppet(second.name, host=first.address.host, epoch=2)
    moved.meets(rig)
    assert rig.states() == {first.name: "failed", second.name: "alive"}


def test_a_cluster_goes_on_with_a_node_that_has_lost_its_identity() -> None:
    cluster = Cluster(6, seed=1)
    cluster.run(3.0)
    cluster[5].stop()
    cluster._node_ids[5] = b"a new id"
    cluster.restart(5)
    cluster.run(1.0)
    ids = {node.engine.identity.node_id.hex() for node in cluster.nodes}
    for node in cluster.nodes:
        alive = {member.id for member in node.engine.members(0) if member.state == "alive"}
        assert alive == ids - {node.engine.identity.node_id.hex()}
