"""What push has on its way is not sent again for a digest; who is met is brought what was written before."""

import random

import pytest

from crdts import Context, Dot, Event
from gossip.protocol import Config
from gossip.protocol.dissemination.recent import (
    BATCHES_KEPT,
    BROUGHT_BYTES,
    MEETING,
    STRANGE,
    STRANGE_MEMBERS,
    Recent,
    Written,
)
from gossip.protocol.wire.messages import ContextPage, Push, Receipt, Relay, Span
from simulations import Cluster, Link, Node

from ..support import Puppet, Rig, acquainted, of_type, only, pass_time_with

ROUND_TRIP = 0.2


def confirmed_after(seconds: float) -> tuple[Rig, list[Puppet]]:
    """A node whose members take so long to confirm what is pushed to them, and some of these."""
    rig, puppets = acquainted(3)
    pass_time_with(rig, 30.0, *puppets)
    rig.replica.orset("s").add("first")
    told = rig.tick()
    relays = {puppet.name: only(Relay, puppet.hears(told)) for puppet in puppets}
    rig.now += seconds
    for puppet in puppets:
        rig.receive(puppet.address, puppet.says(Receipt(1, relays[puppet.name].number, b"", 0)))
    return rig, puppets


def brought(rig: Rig, puppet: Puppet, context: Context) -> list[Event]:
    """What a member is sent that says it has only this."""
    told = puppet.hears(rig.receive(puppet.address, puppet.says(ContextPage("", "", context, False))))
    return [event for push in of_type(Push, told) for event in push.delta.events]


def test_a_digest_asks_in_vain_for_what_was_just_pushed_and_gets_it_when_that_must_have_been_lost() -> None:
    rig, (puppet, *_) = confirmed_after(ROUND_TRIP)
    has = rig.replica.context
    rig.replica.orset("s").add("second")
    rig.tick()
    assert brought(rig, puppet, has) == []
    rig.now += ROUND_TRIP / 4
    assert brought(rig, puppet, has) == []
    rig.now += 2 * ROUND_TRIP
    assert len(brought(rig, puppet, has)) == 1


def test_what_is_old_is_sent_at_once_without_what_is_on_its_way() -> None:
    rig, (puppet, *_) = confirmed_after(ROUND_TRIP)
    rig.now += 2 * ROUND_TRIP
    rig.replica.orset("s").add("second")
    rig.tick()
    assert [event.seq for event in brought(rig, puppet, Context())] == [1]


def test_what_replaces_others_and_what_is_of_a_transaction_are_sent_with_the_rest() -> None:
    """Else a member could be told that something is gone, and not by what."""
    rig, (puppet, *_) = confirmed_after(ROUND_TRIP)
    has = rig.replica.context
    rig.now += 2 * ROUND_TRIP
    rig.replica.orset("s").remove("first")
    with rig.replica.transaction():
        rig.replica.orset("s").add("second")
        rig.replica.orset("s").add("third")
    rig.tick()
    assert [event.seq for event in brought(rig, puppet, has)] == [2, 3, 4]


def test_who_was_met_meanwhile_does_not_wait_for_what_was_pushed_to_others() -> None:
    rig, _ = confirmed_after(ROUND_TRIP)
    late = Puppet("late", host="10.2.0.99")
    rig.replica.orset("s").add("second")
    rig.tick()
    late.meets(rig)
    assert [event.seq for event in brought(rig, late, Context())] == [1, 2]


def test_who_is_met_is_brought_what_was_written_a_moment_ago_and_no_more() -> None:
    rig = Rig()
    early, late = Puppet("early", host="10.2.0.1"), Puppet("late", host="10.2.0.2")
    rig.replica.orset("s").add("alone")
    rig.tick()
    relays = of_type(Relay, early.meets(rig))
    assert [event.seq for relay in relays for event in relay.delta.events] == [1]
    rig.pass_time(MEETING + 1.0)
    rig.replica.orset("s").add("in company")
    rig.tick()
    relays = of_type(Relay, late.meets(rig))
    assert [event.seq for relay in relays for event in relay.delta.events] == [2]


def test_what_a_writer_brings_itself_is_still_passed_on_to_the_share_that_a_relay_names() -> None:
    rig, puppets = acquainted(4)
    writer, relay, *share = puppets
    other = Rig(seed=9, name="writer")
    other.replica.orset("s").add("news")
    other.engine.acquaint(0.0, [])
    delta = other.kernel.delta_since(Context())
    me = writer.node_id
    told = rig.receive(writer.address, writer.says(Relay(delta, 1, Span(me, me))))
    told += rig.pass_time(0.01)
    assert not [each for puppet in share for each in of_type(Relay, puppet.hears(told))]
    told = rig.receive(relay.address, relay.says(Relay(delta, 1, Span(bytes(8), b"\xff" * 8))))
    told += rig.pass_time(0.01)
    assert all(of_type(Relay, puppet.hears(told)) for puppet in share)


def events(count: int) -> list[Event]:
    rig = Rig()
    found: list[Event] = []
    rig.replica.on_write(found.extend)
    for number in range(count):
        rig.replica.orset("s").add(number)
    return found


def test_what_is_remembered_is_bounded() -> None:
    recent, written = Recent(), Written()
    (event,) = events(1)
    for number in range(2 * BATCHES_KEPT):
        recent.note(float(number), [event])
        written.note(0.0, [event], BROUGHT_BYTES // 4)
    assert len([*recent.since(-1.0)]) == BATCHES_KEPT
    assert len(written.latest(0.0)) == 4
    assert written.latest(MEETING + 0.1) == []


def test_under_load_hardly_anything_is_sent_twice_where_round_trips_are_long() -> None:
    cluster = Cluster(12, seed=1, link=Link(latency=ROUND_TRIP / 2), key=None)
    cluster.network.tracing = False
    cluster.run(3 * MEETING)
    rng = random.Random(1)
    for number in range(200):
        cluster.run(0.03)
        rng.choice(cluster.nodes).replica.orset("s").add(number)
    cluster.run(3.0)
    assert cluster.converged()
    again = sum(node.engine.statistics().events_known for node in cluster.nodes)
    assert again < 0.1 * 200, "of 2,200 that were sent"


@pytest.mark.parametrize("seed", range(20))
def test_writes_made_while_a_cluster_forms_are_everywhere_within_a_round_trip_of_the_meeting(seed: int) -> None:
    cluster = Cluster(12, seed=seed, link=Link(latency=ROUND_TRIP / 2), key=None)
    cluster.network.tracing = False
    written: dict[Dot, tuple[float, int]] = {}
    arrived: dict[tuple[Dot, int], float] = {}
    met: dict[tuple[int, int], float] = {}

    def follow(node: Node) -> None:
        def wrote(news: tuple[Event, ...]) -> None:
            written.update({event.dot: (node.now, node.index) for event in news})

        def merged(_: object, news: list[Event]) -> None:
            arrived.update({(event.dot, node.index): node.now for event in news})

        node.replica.on_write(wrote)
        node.replica.on_merge(merged)

    for node in cluster.nodes:
        follow(node)
    index = {node.engine.identity.node_id.hex(): node.index for node in cluster.nodes}
    rng = random.Random(seed)
    for number in range(100):
        cluster.run(0.02)
        for node in cluster.nodes:
            for member in node.engine.members(node.now):
                met.setdefault((node.index, index[member.id]), node.now)
        if number < 50:
            rng.choice(cluster.nodes).replica.orset("s").add(number)
    assert len(met) == 12 * 11
    late = [
        arrived[dot, other] - max(when, met[writer, other], met[other, writer])
        for dot, (when, writer) in written.items()
        for other in range(12)
        if other != writer
    ]
    assert max(late) <= ROUND_TRIP + 0.02


def brought_at_once(rig: Rig, puppet: Puppet, writes: int) -> int:
    """How many of so many writes the node itself sends to a member, each at most once."""
    found = 0
    for _ in range(writes):
        (event,) = rig.replica.orset("s").add(f"{rig.now}").events
        relays = of_type(Relay, puppet.hears(rig.tick()))
        copies = sum(event in relay.delta.events for relay in relays)
        assert copies <= 1
        found += copies
        rig.now += 0.01
    return found


def test_who_was_just_met_gets_writes_from_the_writer_itself_as_relays_may_not_know_it() -> None:
    rig, _ = acquainted(30)
    late = Puppet("late", host="10.2.0.99")
    late.meets(rig)
    rig.now += 0.5
    assert brought_at_once(rig, late, 20) == 20
    rig.now += STRANGE
    assert brought_at_once(rig, late, 20) < 20


def test_of_many_who_were_just_met_the_latest_get_writes_from_the_writer_itself() -> None:
    rig = Rig()
    puppets = [Puppet(f"p{i}", host=f"10.2.0.{i + 1}") for i in range(STRANGE_MEMBERS + 30)]
    for puppet in puppets:
        puppet.meets(rig)
    (event,) = rig.replica.orset("s").add("news").events
    told = rig.tick()
    direct = [puppet for puppet in puppets if any(event in r.delta.events for r in of_type(Relay, puppet.hears(told)))]
    assert set(puppets[-STRANGE_MEMBERS:]) <= set(direct)
    assert len(direct) <= STRANGE_MEMBERS + Config().fanout


def test_what_comes_twice_because_it_was_brought_is_no_loss() -> None:
    rig, puppets = acquainted(4)
    writer, relay, *_ = puppets
    other = Rig(seed=9, name="writer")
    me = writer.node_id
    for number in range(1, 5):
        other.replica.orset("s").add(number)
        delta = other.kernel.delta_since(Context({other.identity.replica_id: number - 1}))
        brought_too = (writer, Relay(delta, number, Span(me, me))), (relay, Relay(delta, number, None))
        for sender, message in brought_too if number % 2 else brought_too[::-1]:
            rig.receive(sender.address, sender.says(message))
    before = rig.engine.statistics().receipts_sent
    rig.pass_time(0.5)
    assert rig.engine.statistics().receipts_sent - before <= 2, "one to each, none of them twice"
