"""Members of former lives: where a node looks for the cluster at its start, and what it may not take from that."""

from gossip.protocol import Address, Effect, Hint, Identity, Remember
from gossip.protocol.engine import Engine
from gossip.protocol.membership.handshake import HINT_TRIES
from gossip.protocol.membership.hints import HINT_LIVES, HINTS, LONGEST_PAUSE
from gossip.protocol.wire.messages import Hello, Message
from simulations import Cluster
from simulations.world.node import Node

from ..support import Puppet, Rig, acquainted, notices, of_type, only, pass_time_with


def hint(puppet: Puppet, *, epoch: int = 1, missed: int = 0) -> Hint:
    return Hint(puppet.node_id, puppet.name, epoch, puppet.address, missed)


def kept(effects: list[Effect]) -> list[str]:
    """Whom the last word names that is to be kept."""
    return [each.name for each in of_type(Remember, effects)[-1].hints]


def restart(cluster: Cluster, index: int, *seeds: Address) -> Node:
    """The next life of a node at its address, with these seeds only."""
    old = cluster[index]
    node = cluster.nodes[index] = Node(cluster, index, old.disk, who=old.disk.owner.who, clock=old.clock)
    node.join([*seeds])
    return node


def states(node: Node) -> dict[str, str]:
    return {member.name: member.state for member in node.engine.members(node.now)}


# ---- what is kept


def test_members_are_kept_for_the_next_start_soon_after_they_were_met_and_then_ever_more_rarely() -> None:
    rig, puppets = acquainted(1)
    told = of_type(Remember, pass_time_with(rig, 2.0, *puppets))
    assert [each.name for each in only(Remember, told).hints] == ["p0"]
    for number in range(1, 20):
        puppets.append(Puppet(f"p{number}", host=f"10.2.0.{number + 1}"))
        puppets[-1].meets(rig)
        told += of_type(Remember, pass_time_with(rig, 3.0, *puppets))
    assert len(told) <= 7
    told += of_type(Remember, pass_time_with(rig, LONGEST_PAUSE, *puppets))
    assert len(told[-1].hints) == 20
    assert not of_type(Remember, pass_time_with(rig, 2 * LONGEST_PAUSE, *puppets)), "nothing has changed"


def test_who_has_left_is_not_kept_and_who_has_failed_is() -> None:
    rig, (left, failed, alive) = acquainted(3)
    pass_time_with(rig, 2.0, left, failed, alive)
    left.leaves(rig)
    assert sorted(kept(pass_time_with(rig, LONGEST_PAUSE, alive))) == ["p1", "p2"]
    assert rig.states() == {"p0": "left", "p1": "failed", "p2": "alive"}


def test_a_bounded_number_is_kept_of_as_many_hosts_as_there_are() -> None:
    rig = Rig()
    crowd = [Puppet(f"c{i}", host="10.3.0.1") for i in range(100)]
    for number, each in enumerate(crowd):
        each.address = Address("10.3.0.1", 1000 + number)
    alone = [Puppet(f"a{i}", host=f"10.4.0.{i + 1}") for i in range(40)]
    known = [(Identity(each.node_id, each.name, 1), each.address) for each in [*crowd, *alone]]
    rig.engine.acquaint(rig.now, known)
    names = kept(pass_time_with(rig, 1.5, *crowd, *alone))
    assert len(names) == HINTS
    assert {each.name for each in alone} <= {*names}


# ---- what becomes of it


def with_hints(*hints: Hint) -> Rig:
    rig = Rig()
    rig.engine = Engine(
        rig.identity,
        rig.engine._out.config,
        rig.engine._out.rng,
        rig.replica,
        rig.engine._out.seal,
        rig.now,
        hints=hints,
    )
    return rig


def test_a_former_member_is_greeted_and_nothing_else_is_sent_to_it_for_ever() -> None:
    puppet = Puppet()
    rig = with_hints(hint(puppet))
    told: list[Message] = puppet.hears(rig.pass_time(1.0))
    assert of_type(Hello, told)
    assert rig.states() == {}
    effects = rig.pass_time(10.0)
    assert rig.states() == {"puppet": "failed"}
    assert notices(effects) == ["member.failed"]
    told += puppet.hears(effects)
    more = puppet.hears(rig.pass_time(30.0))
    assert more, "it is tried now and then"
    assert len(of_type(Hello, [*told, *more])) == len([*told, *more])
    assert len(told) < HINT_TRIES + 12


def test_what_a_former_member_says_counts_only_once_it_has_proven_its_address() -> None:
    puppet, teller = Puppet(epoch=1), Puppet("teller", host="10.2.0.9")
    rig = with_hints(hint(puppet, epoch=9))
    rig.pass_time(10.0)
    teller.meets(rig)
    puppet.tells(rig, puppet.own_row("alive", 1))
    teller.tells(rig, puppet.row("alive", 3, epoch=9))
    assert rig.states() == {"puppet": "failed", "teller": "alive"}
    puppet.meets(rig)
    assert rig.states() == {"puppet": "alive", "teller": "alive"}
    assert {member.epoch for member in rig.engine.members(rig.now)} == {1}, "whatever was kept of it"


def test_nobody_is_told_of_a_former_member_that_was_not_met() -> None:
    puppet, other = Puppet(), Puppet("other", host="10.2.0.9")
    rig = with_hints(hint(puppet))
    rig.pass_time(10.0)
    told = other.meets(rig) + other.hears(pass_time_with(rig, 3.0, other))
    assert puppet.node_id not in [row.node_id for each in told for row in getattr(each, "rows", ())]


def test_a_hint_that_came_to_nothing_in_many_lives_is_not_kept_any_more() -> None:
    old, older = Puppet("old"), Puppet("older", host="10.2.0.7")
    rig = with_hints(hint(old, missed=HINT_LIVES - 2), hint(older, missed=HINT_LIVES - 1))
    effects = rig.pass_time(LONGEST_PAUSE)
    assert rig.states() == {"old": "failed", "older": "failed"}
    assert [(each.name, each.missed) for each in of_type(Remember, effects)[-1].hints] == [("old", HINT_LIVES - 1)]


def test_a_life_that_ends_before_it_has_looked_for_long_does_not_count_against_a_hint() -> None:
    puppet, other = Puppet(), Puppet("other", host="10.2.0.9")
    rig = with_hints(hint(puppet, missed=3))
    other.meets(rig)
    kept_now = of_type(Remember, pass_time_with(rig, 2.0, other))[-1].hints
    assert [(each.name, each.missed) for each in kept_now if each.name == "puppet"] == [("puppet", 3)]


def test_retired_nodes_and_ourselves_are_not_greeted() -> None:
    puppet = Puppet()
    rig = Rig()
    rig.replica.forbid(f"{puppet.node_id.hex()}.*")
    me = Hint(rig.identity.node_id, "me", 1, Address("10.2.0.8", 4747))
    rig.engine = Engine(
        rig.identity,
        rig.engine._out.config,
        rig.engine._out.rng,
        rig.replica,
        rig.engine._out.seal,
        rig.now,
        hints=[hint(puppet), me],
    )
    assert not of_type(Hello, puppet.hears(rig.pass_time(20.0)))
    assert rig.states() == {}


# ---- whole clusters


def test_after_a_power_loss_the_members_find_each_other_though_the_seed_stays_down() -> None:
    cluster = Cluster(4, seed=1, disk=True)
    cluster.run(10.0)
    for node in cluster.nodes:
        node.stop("lost", power=True)
    for index in (1, 2, 3):
        restart(cluster, index, cluster.addresses[0])
    cluster[1].replica.orset("s").add("after")
    cluster.run_until_converged(timeout=5)
    cluster.run(15.0)
    assert states(cluster[1]) == {"n0": "failed", "n2": "alive", "n3": "alive"}
    restart(cluster, 0)
    cluster.run(3.0)
    assert {name for node in cluster.nodes for name in states(node).values()} == {"alive"}


def test_a_seed_that_comes_back_at_another_address_finds_the_others_by_itself() -> None:
    cluster = Cluster(3, seed=2, disk=True)
    cluster.run(10.0)
    cluster[0].stop("lost")
    cluster.run(20.0)
    moved = cluster._boot_next(cluster[0].disk, cluster[0].disk.owner.who)
    cluster.run(5.0)
    assert states(moved) == {"n1": "alive", "n2": "alive"}
    assert states(cluster[1]) == {"n0": "alive", "n2": "alive"}


def test_a_node_that_keeps_nothing_has_no_hints_and_a_copied_directory_may_use_those_that_it_finds() -> None:
    cluster = Cluster(3, seed=3, disk=False)
    cluster.run(10.0)
    assert cluster[1].disk.tables.hints == b""
    cluster = Cluster(3, seed=3, disk=True)
    cluster.run(10.0)
    copy = cluster._boot_next(cluster[1].disk.copy(), cluster[1].disk.owner.who, 3)
    cluster[1].stop()
    cluster.run(5.0)
    assert sorted(name for name, state in states(copy).items() if state == "alive") == ["n0", "n2"]


def test_hints_change_nothing_for_those_that_meet_by_their_seeds() -> None:
    cluster = Cluster(3, seed=4, disk=True)
    cluster.run(10.0)
    for node in cluster.nodes:
        node.stop()
    for index in range(3):
        cluster.restart(index)
    cluster.run(10.0)
    for node in cluster.nodes:
        assert set(states(node).values()) == {"alive"}
        assert "member.failed" not in [notice.event for notice in node.notices]
