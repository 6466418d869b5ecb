"""News goes out at once, in datagrams that fit, and stops by itself."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crdts import Replica
from crdts.codec import event_bytes
from crdts.delta import events_delta
from gossip.protocol import Address, Config, Effect, Send
from gossip.protocol.dissemination.push import SLICE_BYTES
from gossip.protocol.wire.codec import decode_datagram
from gossip.protocol.wire.messages import ContextPage, Digest, Hello, Message, Push, Relay
from simulations import Cluster, Link

from ..support import Puppet, Rig, of_type


def crowd(rig: Rig, count: int) -> list[Puppet]:
    """So many members."""
    puppets = [Puppet(f"p{i}", host=f"10.2.0.{i + 1}") for i in range(count)]
    for puppet in puppets:
        puppet.meets(rig)
    return puppets


def carriers(messages: list[Message]) -> list[Push | Relay]:
    """The messages among these that bring news."""
    return [message for message in messages if isinstance(message, Push | Relay)]


def pushes(puppets: list[Puppet], effects: list[Effect]) -> dict[str, list[Push]]:
    """What was flooded, by who got it."""
    return {p.name: found for p in puppets if (found := of_type(Push, p.hears(effects)))}


def news(*elements: str, writer: str = "w") -> Push:
    replica = Replica(writer)
    events = [event for element in elements for event in replica.orset("s").add(element).events]
    return Push(events_delta(events), 3, 0)


def test_a_write_after_a_quiet_moment_is_sent_at_once() -> None:
    rig, puppet = Rig(), Puppet()
    puppet.meets(rig)
    rig.pass_time(0.5)
    rig.replica.orset("s").add(1)
    assert rig.engine.deadline() == rig.now
    (push,) = carriers(puppet.hears(rig.tick()))
    assert [event.seq for event in push.delta.events] == [1]


def test_writes_in_quick_succession_travel_together_and_in_few_datagrams() -> None:
    rig, puppet = Rig(), Puppet()
    puppet.meets(rig)
    rig.replica.orset("s").add("first")
    rig.tick()
    started = rig.now
    for i in range(100):
        rig.replica.orset("s").add(i)
    found = carriers(puppet.hears(rig.tick()))
    assert rig.now == started + Config().push_interval
    assert sum(len(push.delta.events) for push in found) == 100
    assert len(found) < 10


def test_a_burst_goes_out_in_slices_between_which_others_have_their_turn() -> None:
    rig, puppet = Rig(), Puppet()
    puppet.meets(rig)
    for i in range(1000):
        rig.replica.orset("s").add(f"element {i:06} of a burst")
    slices = []
    while rig.engine.deadline() <= rig.now:
        found = [event for push in carriers(puppet.hears(rig.tick())) for event in push.delta.events]
        slices.append(sum(map(event_bytes, found)))
    assert len(slices) > 2
    assert max(slices) < 1.1 * SLICE_BYTES
    assert rig.engine.statistics().events_written == 1000 == len(rig.replica.orset("s"))
    assert sum(slices) == sum(map(event_bytes, rig.replica.store.kernel.state().events)), "all of it was pushed"


def test_no_slice_cuts_a_transaction() -> None:
    rig, puppet = Rig(), Puppet()
    puppet.meets(rig)
    for part in range(4):
        with rig.replica.transaction():
            for i in range(300):
                rig.replica.orset("s").add(f"element {i:06} of a transaction {part}")
    seqs: list[list[int]] = []
    while rig.engine.deadline() <= rig.now:
        seqs.append([event.seq for push in carriers(puppet.hears(rig.tick())) for event in push.delta.events])
    assert [(part[0], part[-1], len(part)) for part in seqs if part] == [
        (1, 300, 300),
        (301, 600, 300),
        (601, 900, 300),
        (901, 1200, 300),
    ]


def test_in_a_cluster_no_larger_than_the_fanout_everybody_hears_from_the_writer_and_nobody_passes_it_on() -> None:
    cluster = Cluster(5, seed=1)
    cluster.run(3.0)
    pushed = tapped(cluster, Push, Relay)
    cluster[2].replica.orset("s").add(1)
    cluster.run(0.1)
    assert cluster.converged()
    assert +pushed == {cluster[2].address: 4}


def test_in_a_larger_cluster_news_reaches_each_once_within_a_few_hops() -> None:
    cluster = Cluster(30, seed=1)
    cluster.run(3.0)
    pushed = tapped(cluster, Push, Relay)
    cluster[2].replica.orset("s").add(1)
    cluster.run(0.05)
    assert cluster.converged()
    assert sum(pushed.values()) == 29
    assert max(pushed.values()) <= Config().fanout


def test_nobody_gets_news_back_from_whom_it_sent_it_to() -> None:
    rig = Rig()
    puppets = crowd(rig, 4)
    effects = rig.receive(puppets[0].address, puppets[0].says(news("x")))
    effects += rig.pass_time(0.1)
    assert set(pushes(puppets, effects)) == {"p1", "p2", "p3"}


def test_every_pass_costs_a_hop_and_the_last_one_is_not_passed_on() -> None:
    rig = Rig()
    puppets = crowd(rig, 2)
    for hops, passed_on in ((3, [2]), (2, [1]), (1, []), (0, [])):
        push = Push(news(f"{hops}", writer=f"w{hops}").delta, hops, 0)
        effects = rig.receive(puppets[0].address, puppets[0].says(push)) + rig.pass_time(0.1)
        assert [p.hops for p in pushes(puppets, effects).get("p1", [])] == passed_on


def test_what_is_known_already_is_not_passed_on() -> None:
    rig = Rig()
    puppets = crowd(rig, 3)
    rig.receive(puppets[0].address, puppets[0].says(news("x")))
    rig.pass_time(0.1)
    effects = rig.receive(puppets[1].address, puppets[1].says(news("x"))) + rig.pass_time(0.1)
    assert pushes(puppets, effects) == {}
    assert rig.engine.statistics().events_known == 1
    effects = rig.receive(puppets[1].address, puppets[1].says(news("x", "y"))) + rig.pass_time(0.1)
    assert [e.seq for p in pushes(puppets, effects)["p0"] for e in p.delta.events] == [2]


def test_what_answers_a_context_counts_as_repaired_and_what_was_pushed_does_not() -> None:
    rig, puppet = Rig(), Puppet()
    puppet.meets(rig)
    for i, (hops, reach) in enumerate([(0, 0), (6, 0), (1, 0), (6, 2)]):
        rig.receive(puppet.address, puppet.says(Push(news("x", "y", writer=f"w{i}").delta, hops, reach)))
    rig.receive(puppet.address, puppet.says(Push(news("x", "y", "z", writer="w0").delta, 0, 0)))
    statistics = rig.engine.statistics()
    assert (statistics.events_new, statistics.events_repaired) == (9, 3)


def test_where_nothing_is_lost_next_to_nothing_is_repaired_and_what_is_lost_arrives_once_each() -> None:
    cluster = Cluster(10, seed=3)
    cluster.run(3.0)
    for i in range(20):
        cluster[i % 10].replica.orset("s").add(i)
        cluster.run(0.05)
    pushed = sum(node.engine.statistics().events_new for node in cluster.nodes)
    assert pushed == 20 * 9
    raced = sum(node.engine.statistics().events_repaired for node in cluster.nodes)
    assert raced <= 3, "a digest and a push of the same event may cross"
    cluster.set_link(loss=1.0)
    cluster[0].replica.orset("s").add("lost")
    cluster.run(3.0)
    cluster.set_link(loss=0.0)
    cluster.run_until_converged()
    statistics = [node.engine.statistics() for node in cluster.nodes]
    assert sum(s.events_new for s in statistics) == pushed + 9
    assert sum(s.events_repaired for s in statistics) <= raced + 9


def test_news_that_its_writer_sent_to_everyone_is_passed_on_only_where_more_members_are_known() -> None:
    for reach, passed_on in ((4, False), (3, True)):
        rig = Rig()
        puppets = crowd(rig, 3)
        push = Push(news("x").delta, 3, reach)
        effects = rig.receive(puppets[0].address, puppets[0].says(push)) + rig.pass_time(0.1)
        assert bool(pushes(puppets, effects)) is passed_on


def test_events_of_a_key_holder_that_is_no_member_are_taken_and_passed_on() -> None:
    rig, stranger = Rig(), Puppet("stranger", host="10.9.0.1")
    puppets = crowd(rig, 2)
    effects = rig.receive(stranger.address, stranger.says(news("x"))) + rig.pass_time(0.1)
    assert set(pushes(puppets, effects)) == {"p0", "p1"}


@pytest.mark.parametrize(
    ("config", "value"),
    [(Config(push_buffer_bytes=5000), "short"), (Config(), "x" * 1200)],
    ids=["a burst larger than the buffer", "an event larger than a datagram"],
)
def test_what_a_push_cannot_carry_is_told_by_digest_at_once(config: Config, value: str) -> None:
    rig, puppet = Rig(config=config), Puppet()
    puppet.meets(rig)
    rig.pass_time(0.25)
    for i in range(200):
        rig.replica.lwwmap("m").set(f"{i}", value)
    told = puppet.hears(rig.pass_time(0.02))
    assert of_type(Relay, told) == []
    assert len(of_type(Digest, told)) in (1, 2)


def test_with_nobody_there_a_write_is_kept_and_nothing_is_sent() -> None:
    rig = Rig()
    rig.replica.orset("s").add(1)
    assert of_type(Send, rig.pass_time(10.0)) == []
    assert rig.engine.deadline() < rig.now + 2


NAMES = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=80)


@given(
    datagram_bytes=st.sampled_from([600, 601, 1200, 1472, 9000, 65_000]),
    writes=st.lists(
        st.tuples(NAMES, NAMES, st.one_of(st.binary(max_size=1500), st.integers(0, 1 << 60)), st.integers(1, 4)),
        min_size=1,
        max_size=25,
    ),
)
def test_no_datagram_outgrows_its_bound_whatever_is_written(
    datagram_bytes: int, writes: list[tuple[str, str, bytes | int, int]]
) -> None:
    rig, puppet = Rig(config=Config(datagram_bytes=datagram_bytes)), Puppet()
    puppet.meets(rig)
    effects = []
    for i, (name, key, value, copies) in enumerate(writes):
        name = name.encode()[:255].decode("utf-8", "ignore")
        for j in range(copies):  # concurrent writers: entries with many kills, of replicas with long ids
            writer = Replica(f"{i} {j} ".ljust(64, "w"))
            rig.replica.merge(writer.lwwmap(name).set(key, value))
        rig.replica.lwwmap(name).set(key, value)
        if i % 5 == 4:
            effects += rig.tick()
    effects += rig.pass_time(1.1)  # with a digest, and what follows from it
    effects += rig.receive(puppet.address, puppet.says(Digest(bytes(8), 0)))
    effects += rig.receive(puppet.address, puppet.says(ContextPage("", "", Replica("x").context, True)))
    sizes = [len(effect.data) for effect in of_type(Send, effects)]
    assert max(sizes) <= datagram_bytes


@pytest.mark.parametrize("loss", [0.0, 0.3])
def test_twenty_nodes_writing_at_random_all_hear_of_everything(loss: float) -> None:
    cluster = Cluster(20, seed=5, link=Link(loss=loss))
    cluster.run(3.0)
    rng = random.Random(5)
    for i in range(150):
        rng.choice(cluster.nodes).replica.orset("s").add(i)
        cluster.run(0.005)
    cluster.run_until_converged(timeout=60)
    assert set(cluster[0].replica.orset("s")) == set(range(150))


def tapped(cluster: Cluster, *kinds: type[Message]) -> Counter[Address]:
    """Counts datagrams with a message of these types from now on, by sender."""
    seal, found = cluster.seal, Counter[Address]()

    def tap(source: Address, target: Address, data: bytes) -> None:
        found[source] += any(isinstance(message, kinds) for message in decode_datagram(seal.open(data))[2])

    cluster.network.taps.append(tap)
    return found


def test_a_greeting_is_no_news() -> None:
    cluster = Cluster(3, seed=1)
    hellos, pushed = tapped(cluster, Hello), tapped(cluster, Push, Relay)
    cluster.run(5.0)
    assert sum(hellos.values()) > 0
    assert sum(pushed.values()) == 0


def test_news_that_only_goes_to_the_disk_does_not_delay_the_answer_to_it() -> None:
    rig, puppet = Rig(), Puppet()
    puppet.meets(rig)
    rig.pass_time(0.5)
    told = news("question")
    rig.receive(puppet.address, puppet.says(Push(told.delta, told.hops, reach=2)))  # the writer reached everyone
    rig.tick()
    rig.replica.orset("s").add("answer")
    assert rig.engine.deadline() == rig.now
