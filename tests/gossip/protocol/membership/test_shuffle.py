"""Shuffles: parts of two views change places, and nobody is believed to be where it was only said to be."""

from gossip.protocol import Address, Config
from gossip.protocol.membership.shuffle import UNPROVEN_ROUNDS
from gossip.protocol.wire.messages import Ack, Hello, Ping, Shuffle

from ..support import Puppet, Rig, acquainted, of_type, only, pass_time_with, sends

SMALL = Config(full_membership_max=8, view_size=8, shuffle_interval=1.0)


def partial(count: int = 12) -> tuple[Rig, list[Puppet]]:
    """A node that has met more members than it lists."""
    rig = Rig(config=SMALL)
    puppets = [Puppet(f"p{i}", host=f"10.2.0.{i + 1}") for i in range(count)]
    for puppet in puppets:
        puppet.meets(rig)
    assert rig.engine.is_partial
    return rig, puppets


def test_while_everybody_is_in_the_view_nothing_is_shuffled() -> None:
    rig, puppets = acquainted(5)
    effects = pass_time_with(rig, 60.0, *puppets)
    assert [shuffle for puppet in puppets for shuffle in of_type(Shuffle, puppet.hears(effects))] == []


def test_a_shuffle_rides_on_a_probe_names_us_first_and_asks_for_an_answer() -> None:
    rig, puppets = partial()
    effects = pass_time_with(rig, 3.0, *puppets)
    told = [puppet.hears(effects) for puppet in puppets]
    shuffles = [shuffle for each in told for shuffle in of_type(Shuffle, each)]
    assert 2 <= len(shuffles) <= 4
    for shuffle in shuffles:
        assert shuffle.entries[0] == (rig.identity.node_id, None, 0)
        assert 1 < len(shuffle.entries) <= SMALL.shuffle_length
        assert shuffle.answer
    assert all(of_type(Ping, each) for each in told if of_type(Shuffle, each))


def test_an_answer_is_given_once_and_not_answered() -> None:
    rig, (first, second, *_) = partial()
    told = first.hears(rig.receive(first.address, first.says(Shuffle((), True))))
    answer = only(Shuffle, told)
    assert not answer.answer
    assert 0 < len(answer.entries) <= SMALL.shuffle_length
    assert {node_id for node_id, _, _ in answer.entries} <= set(rig.engine.view())
    assert sends(rig.receive(second.address, second.says(Shuffle((), False)))) == []


def test_an_unknown_entry_is_greeted_and_dropped_if_nobody_answers_there() -> None:
    rig, puppets = partial()
    ghost = Puppet("ghost", host="10.9.0.1")
    for puppet in puppets[:3]:
        rig.receive(puppet.address, puppet.says(Shuffle(((ghost.node_id, ghost.address, 0),), True)))
    assert ghost.node_id in rig.engine.view()
    assert "ghost" not in rig.states()
    effects = pass_time_with(rig, (UNPROVEN_ROUNDS + 3) * 1.2, *puppets)
    assert {type(message) for message in ghost.hears(effects)} == {Hello}
    assert ghost.node_id not in rig.engine.view()


def test_an_unknown_entry_that_answers_is_listed() -> None:
    rig, puppets = partial()
    newcomer = Puppet("newcomer", host="10.9.0.1")
    for puppet in puppets[:3]:
        rig.receive(puppet.address, puppet.says(Shuffle(((newcomer.node_id, newcomer.address, 0),), True)))
    newcomer.meets(rig)
    pass_time_with(rig, 1.2, newcomer, *puppets)
    if newcomer.node_id in rig.engine.view():
        assert rig.states()["newcomer"] == "alive"
    told = newcomer.hears(rig.receive(newcomer.address, newcomer.says(Ping(5))))
    assert Ack(5) in told


def test_nobody_puts_us_into_our_own_view_and_an_entry_without_an_address_is_of_no_use() -> None:
    rig, (puppet, *_) = partial()
    entries = ((rig.identity.node_id, Address("10.9.0.1", 1), 0), (b"nowhere.", None, 0))
    before = set(rig.engine.view())
    rig.receive(puppet.address, puppet.says(Shuffle(entries, False)))
    assert set(rig.engine.view()) == before


def test_who_left_or_failed_does_not_come_back_by_a_shuffle() -> None:
    rig, (first, second, *others) = partial()
    gone = next(puppet for puppet in others if puppet.node_id in rig.engine.view())
    gone.leaves(rig)
    assert gone.node_id not in rig.engine.view()
    for teller in (first, second):
        rig.receive(teller.address, teller.says(Shuffle(((gone.node_id, gone.address, 0),), True)))
    assert gone.node_id not in rig.engine.view()
    assert rig.states()[gone.name] == "left"
