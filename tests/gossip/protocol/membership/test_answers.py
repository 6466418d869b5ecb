"""Whoever records what members say, and sends it again under their address, draws next to nothing by it."""

import pytest

from crdts import Context, Replica
from gossip.protocol import Address, Config, Effect, Send
from gossip.protocol.membership.answers import ANSWER_BYTES, QUESTIONS_KEPT, Questions, affords
from gossip.protocol.membership.peers import Peer
from gossip.protocol.wire.messages import ContextPage, Digest, ListMembers, Message, Offer, Ping, Push, Roll
from simulations import Cluster

from ..support import KEY, Puppet, Rig, of_type

MOST = 3.0
"""Times the bytes of what was said again, that the answers to it may take."""
AGAIN = 10
"""Times that something is said again."""


def sent(effects: list[Effect]) -> int:
    return sum(len(effect.data) for effect in effects if isinstance(effect, Send))


def lived() -> tuple[Cluster, list[tuple[Address, Address, bytes]]]:
    """A sealed cluster in which much has happened, and every datagram that was sent in it."""
    said: list[tuple[Address, Address, bytes]] = []
    cluster = Cluster(8, seed=3, key=KEY)
    cluster.network.taps.append(lambda source, target, data: said.append((source, target, data)))
    cluster.run(3.0)
    for i in range(200):
        cluster[i % 8].replica.lwwmap("m").set(f"key {i}", "x" * 80)
    cluster.run(3.0)
    cluster[7].stop()
    for i in range(100):
        cluster[0].replica.lwwmap("m").set(f"key {i}", "y" * 80)
    cluster.run(10.0)
    cluster.restart(7)
    cluster.add()
    cluster.run(5.0)
    return cluster, said


def test_nothing_that_was_said_draws_more_than_thrice_its_bytes_when_it_is_said_again() -> None:
    cluster, said = lived()
    nodes = {node.address: node for node in cluster.running()}
    drawn = dict.fromkeys(range(len(said)), 0.0)
    for number, (source, target, data) in enumerate(said):
        node = nodes[target]
        answers = [sent(node.engine.receive(node.now, source, data)) for _ in range(AGAIN)]
        drawn[number] = sum(answers) / (AGAIN * len(data))
    assert max(drawn.values()) <= MOST
    assert len(drawn) > 1000


@pytest.mark.parametrize(
    "question",
    [Digest(bytes(8), 1), ContextPage("", "", Context({"x": 9}), True), ListMembers(b""), Roll(7, 99), Ping(7)],
    ids=lambda each: type(each).__name__,
)
def test_a_question_is_answered_once_and_the_same_question_asked_anew_again(question: Message) -> None:
    rig, puppet, other = Rig(), Puppet(), Puppet("other", host="10.2.0.2")
    puppet.meets(rig)
    other.meets(rig)
    rig.replica.orset("s").add(1)
    rig.pass_time(1.0)
    datagram = puppet.says(question)
    assert puppet.hears(rig.receive(puppet.address, datagram))
    assert [puppet.hears(rig.receive(puppet.address, datagram)) for _ in range(3)] == [[], [], []]
    assert rig.engine.statistics().datagrams_repeated == 3
    assert puppet.hears(rig.receive(puppet.address, puppet.says(question)))


def test_where_equal_words_are_equal_bytes_each_is_answered() -> None:
    rig, puppet = Rig(key=None), Puppet(key=None)
    puppet.meets(rig)
    for _ in range(3):
        assert of_type(ContextPage, puppet.hears(rig.receive(puppet.address, puppet.says(Digest(bytes(8), 1)))))
    assert rig.engine.statistics().datagrams_repeated == 0


def test_events_that_come_twice_are_no_repeated_question() -> None:
    rig, puppet = Rig(), Puppet()
    puppet.meets(rig)
    datagram = puppet.says(Push(Replica("w").orset("s").add(1), 0, 0))
    rig.receive(puppet.address, datagram)
    rig.receive(puppet.address, datagram)
    assert rig.engine.statistics().events_known == 1


def test_more_than_a_round_takes_is_not_sent_to_one_member_in_a_probe_interval_but_offered_over_a_stream() -> None:
    rig, puppet = Rig(), Puppet()
    puppet.meets(rig)
    for i in range(300):
        rig.replica.orset("s").add(f"{i} {'x' * 60}")
    rig.pass_time(0.2)
    drawn, told = 0, []
    for _ in range(100):
        effects = rig.receive(puppet.address, puppet.says(ContextPage("", "", Context(), False)))
        drawn += sent(effects)
        told += puppet.hears(effects)
    assert of_type(Push, told)
    assert of_type(Offer, told)
    assert drawn <= 1.1 * ANSWER_BYTES
    rig.pass_time(Config.lan().probe_interval)
    again = puppet.hears(rig.receive(puppet.address, puppet.says(ContextPage("", "", Context(), False))))
    assert of_type(Push, again)


def test_what_a_member_may_be_answered_with_grows_back_within_a_probe_interval_and_no_further() -> None:
    peer, config = Peer(b"somebody", "p", 1, Address("10.0.0.1", 1), 0.0), Config.lan()
    assert affords(100.0, peer, ANSWER_BYTES, config)
    assert not affords(100.0, peer, 1, config)
    assert affords(100.0 + config.probe_interval / 2, peer, ANSWER_BYTES // 2 - 1, config)
    assert not affords(500.0, peer, ANSWER_BYTES + 1, config)


def test_the_questions_that_are_remembered_are_bounded() -> None:
    questions = Questions()
    for i in range(QUESTIONS_KEPT + 1):
        assert not questions.is_repeated(i.to_bytes(16), [Ping(1)])
    assert questions.is_repeated((1).to_bytes(16), [Ping(1)])
    assert not questions.is_repeated((0).to_bytes(16), [Ping(1)])
    assert len(questions._marks) <= QUESTIONS_KEPT
