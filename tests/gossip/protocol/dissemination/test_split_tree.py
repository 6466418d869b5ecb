"""News is shared out, confirmed, repeated, and taken over from relays that are not heard of."""

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crdts import Delta, ORSet, Replica
from crdts.delta import events_delta
from gossip.protocol import Address, Config, Effect, Send
from gossip.protocol.dissemination.links import LEAST_TIMEOUT, PATIENCE, SILENT_OUTSTANDING, TRIES
from gossip.protocol.dissemination.recent import STRANGE
from gossip.protocol.dissemination.ring import everybody_but
from gossip.protocol.dissemination.split_tree import REPEATS_SAVED
from gossip.protocol.identity import replica_id_of
from gossip.protocol.wire.messages import WINDOW, Digest, Push, Receipt, Relay, Span
from simulations import Cluster

from ..support import Puppet, Rig, notices, of_type, only


def crowd(rig: Rig, count: int) -> list[Puppet]:
    """So many members, and the excitement of meeting them is over."""
    puppets = [Puppet(f"p{i}", host=f"10.2.0.{i + 1}") for i in range(count)]
    for puppet in puppets:
        puppet.meets(rig)
    rig.now += STRANGE + 0.001
    rig.tick()
    return puppets


def relays(puppets: list[Puppet], effects: list[Effect]) -> dict[str, list[Relay]]:
    """What was pushed, by who got it."""
    return {p.name: found for p in puppets if (found := of_type(Relay, p.hears(effects)))}


def holds(relay: Relay, puppet: Puppet) -> bool:
    """Whether the puppet is to hear of it from whoever got it."""
    return relay.span is not None and relay.span.holds(puppet.node_id)


def news(element: str | int = "x", writer: str = "w") -> Delta:
    return Replica(writer).orset("s").add(element)


def quick(fanout: int = 6) -> Config:
    """Digests are too rare to disturb."""
    return Config(fanout=fanout, probe_interval=1e6)


def confirm(rig: Rig, puppet: Puppet, relay: Relay, *, epoch: int = 1, saved: int = 0) -> list[Effect]:
    return rig.receive(puppet.address, puppet.says(Receipt(epoch, relay.number, b"", saved)))


# ---- sharing out


def test_a_writer_sends_to_as_many_as_its_fanout_and_shares_all_others_out_among_them() -> None:
    rig = Rig(config=quick(fanout=3))
    puppets = crowd(rig, 12)
    rig.replica.orset("s").add(1)
    found = relays(puppets, rig.tick())
    assert len(found) == 3
    spans = {name: relay.span for name, (relay,) in found.items()}
    for puppet in puppets:
        held = [name for name, span in spans.items() if span is not None and span.holds(puppet.node_id)]
        assert len(held) == 1
        assert puppet.name in held or puppet.name not in found
    assert not any(span.holds(rig.identity.node_id) for span in spans.values() if span is not None)


def test_in_a_cluster_no_larger_than_the_fanout_all_get_it_at_once_and_nobody_is_to_pass_it_on() -> None:
    rig = Rig(config=quick(fanout=4))
    puppets = crowd(rig, 4)
    rig.replica.orset("s").add(1)
    found = relays(puppets, rig.tick())
    assert [relay.span for pushed in found.values() for relay in pushed] == [None] * 4


def test_a_relay_passes_on_within_its_span_and_not_outside() -> None:
    rig = Rig(config=quick(fanout=2))
    puppets = crowd(rig, 10)
    ring = sorted(puppets, key=lambda puppet: puppet.node_id)
    sender, inside = ring[0], ring[3:8]
    relay = Relay(news(), 1, Span(inside[0].node_id, ring[8].node_id))
    found = relays(puppets, rig.receive(sender.address, sender.says(relay)) + rig.tick())
    assert 0 < len(found) <= 2
    assert set(found) <= {puppet.name for puppet in inside}
    for puppet in inside:
        assert puppet.name in found or any(holds(relay, puppet) for (relay,) in found.values())


def test_without_a_span_nothing_is_passed_on() -> None:
    rig = Rig(config=quick())
    puppets = crowd(rig, 3)
    effects = rig.receive(puppets[0].address, puppets[0].says(Relay(news(), 1, None))) + rig.pass_time(1.0)
    assert relays(puppets, effects) == {}
    assert rig.replica.orset("s").value() == {"x"}


def test_what_is_known_by_a_relay_already_is_not_passed_on_again() -> None:
    rig = Rig(config=quick())
    puppets = crowd(rig, 3)
    span = everybody_but(puppets[0].node_id)
    rig.receive(puppets[0].address, puppets[0].says(Relay(news(), 1, None)))
    rig.pass_time(0.01)
    effects = rig.receive(puppets[0].address, puppets[0].says(Relay(news(), 2, span))) + rig.pass_time(0.01)
    assert relays(puppets, effects) == {}
    assert rig.engine.statistics().events_known == 1


def test_what_a_repair_brought_before_is_still_passed_on_once() -> None:
    rig = Rig(config=quick())
    puppets = crowd(rig, 3)
    span = everybody_but(puppets[0].node_id)
    rig.receive(puppets[0].address, puppets[0].says(Push(news(), 0, 0)))
    rig.pass_time(0.01)
    for number in (1, 2):
        effects = rig.receive(puppets[0].address, puppets[0].says(Relay(news(), number, span))) + rig.pass_time(0.01)
        assert set(relays(puppets, effects)) == ({"p1", "p2"} if number == 1 else set())


def test_news_of_a_key_holder_that_is_no_member_is_taken_and_passed_on_but_not_confirmed() -> None:
    rig, stranger = Rig(config=quick()), Puppet("stranger", host="10.9.0.1")
    puppets = crowd(rig, 2)
    relay = Relay(news(), 1, everybody_but(stranger.node_id))
    effects = rig.receive(stranger.address, stranger.says(relay)) + rig.pass_time(0.01)
    assert set(relays(puppets, effects)) == {"p0", "p1"}
    assert of_type(Receipt, stranger.hears(effects)) == []


def test_where_the_list_of_members_is_a_partial_view_news_is_flooded() -> None:
    rig = Rig(config=replace(quick(), full_membership_max=5))
    puppets = crowd(rig, 6)
    assert rig.engine.is_partial
    rig.replica.orset("s").add(1)
    effects = rig.tick()
    assert relays(puppets, effects) == {}
    assert sum(len(of_type(Push, puppet.hears(effects))) for puppet in puppets) == 4


def test_a_relay_with_a_partial_view_floods_what_it_should_pass_on_as_it_does_not_list_all_of_the_span() -> None:
    rig = Rig(config=replace(quick(), full_membership_max=5))
    puppets = crowd(rig, 6)
    sender = puppets[0]
    nobody = Span(sender.node_id, sender.node_id)
    effects = rig.receive(sender.address, sender.says(Relay(news(), 1, nobody))) + rig.pass_time(0.001)
    assert relays(puppets, effects) == {}
    pushes = [push for puppet in puppets for push in of_type(Push, puppet.hears(effects))]
    assert [(push.hops, push.reach) for push in pushes] == [(rig.engine._out.config.hops, 0)] * 4
    assert of_type(Push, sender.hears(effects)) == []
    effects = rig.receive(sender.address, sender.says(Relay(news("leaf", "v"), 2, None))) + rig.pass_time(0.001)
    assert not any(of_type(Push, puppet.hears(effects)) for puppet in puppets)


def test_what_came_by_a_flood_before_is_still_passed_on_once_to_the_span_of_a_relay() -> None:
    rig = Rig(config=quick())
    puppets = crowd(rig, 3)
    span = everybody_but(puppets[0].node_id)
    rig.receive(puppets[0].address, puppets[0].says(Push(news(), 1, 0)))
    rig.pass_time(0.01)
    for number in (1, 2):
        effects = rig.receive(puppets[0].address, puppets[0].says(Relay(news(), number, span))) + rig.pass_time(0.01)
        assert set(relays(puppets, effects)) == ({"p1", "p2"} if number == 1 else set())


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_where_some_list_all_and_some_only_a_view_hardly_anybody_waits_for_a_digest(share: float) -> None:
    cluster = Cluster(60, seed=1, warm=True)
    cluster.network.tracing = False
    rng = random.Random(1)
    for node in cluster.nodes:
        if rng.random() < share:
            roster = node.engine._members._roster
            roster.is_partial = True
            roster.view.discard_where(lambda *_, view=roster.view: len(view) > 16 and rng.random() < 0.5)
            roster.keep_to_view(node.now)
    cluster.run(5.0)
    late = 0
    for number in range(20):
        rng.choice(cluster.nodes).replica.orset("s").add(number)
        cluster.run(0.02)
        late += sum(number not in node.replica.orset("s") for node in cluster.nodes)
        cluster.run(0.2)
    assert 1 <= sum(node.engine.is_partial for node in cluster.nodes) < 60
    assert late < 0.05 * 20 * 60


# ---- receipts


def test_what_arrived_is_confirmed_soon_and_by_one_receipt() -> None:
    rig = Rig(config=quick())
    (puppet,) = crowd(rig, 1)
    effects: list[Effect] = []
    for number in (3, 4, 6):
        effects += rig.receive(puppet.address, puppet.says(Relay(news(number, f"w{number}"), number, None)))
    receipt = only(Receipt, puppet.hears(effects + rig.pass_time(0.01)))
    assert (receipt.epoch, receipt.highest, receipt.mask) == (1, 6, bytes([0b110]))


def test_in_a_burst_receipts_do_not_wait_until_the_window_has_passed() -> None:
    rig = Rig(config=quick())
    (puppet,) = crowd(rig, 1)
    effects: list[Effect] = []
    for number in range(1, WINDOW + 1):
        effects += rig.receive(puppet.address, puppet.says(Relay(news(number, f"w{number}"), number, None)))
        if rig.engine.deadline() <= rig.now:
            effects += rig.done(rig.engine.tick(rig.now))
    assert len(of_type(Receipt, puppet.hears(effects))) >= 3


def test_receipts_are_sent_twice_while_much_comes_twice() -> None:
    rig = Rig(config=quick())
    (puppet,) = crowd(rig, 1)

    def receipts(number: int, element: int) -> int:
        relay = Relay(news(element, f"w{element}"), number, None)
        effects = rig.receive(puppet.address, puppet.says(relay)) + rig.pass_time(0.05)
        return len(of_type(Receipt, puppet.hears(effects)))

    assert [receipts(number, 0) for number in range(1, 5)] == [1, 1, 2, 2]
    assert [receipts(100 + number, number) for number in range(1, 30)][-1] == 1


def test_a_receipt_says_which_writes_of_the_sender_the_disk_has_once_it_has_them() -> None:
    rig = Rig(config=quick(), slow_disk=True)
    (puppet,) = crowd(rig, 1)
    puppet.tells(rig, puppet.own_row(nonce=""))
    replica = Replica(replica_id_of(puppet.node_id, 1, ""))
    effects = rig.receive(puppet.address, puppet.says(Relay(replica.orset("s").add(1), 1, None)))
    effects += rig.pass_time(0.01)
    assert only(Receipt, puppet.hears(effects)).saved == 0
    effects = rig.engine.persisted(rig.now, 1) + rig.pass_time(0.01)
    assert only(Receipt, puppet.hears(effects)).saved == 1


def test_a_receipt_says_so_in_every_life_of_the_sender_once_it_has_said_what_it_writes_under() -> None:
    rig = Rig(config=quick())
    crowd(rig, 1)
    for epoch, nonce in ((2, "abcdef"), (5, "ghjkmn")):
        again = Puppet("p0", host="10.2.0.1", epoch=epoch)
        orset = Replica(replica_id_of(again.node_id, epoch, nonce)).orset("s")

        def saved(number: int, orset: ORSet = orset, again: Puppet = again) -> int:
            effects = rig.receive(again.address, again.says(Relay(orset.add(number), number, None)))
            return of_type(Receipt, again.hears(effects + rig.pass_time(0.01)))[-1].saved

        assert saved(1) == 0, "it is not known yet what the member writes under"
        again.tells(rig, again.own_row(nonce=nonce))
        assert saved(2) == 2


def test_receipts_acknowledge_our_writes() -> None:
    rig = Rig(config=quick())
    (puppet,) = crowd(rig, 1)
    for i in range(3):
        rig.replica.orset("s").add(i)
    relay = only(Relay, puppet.hears(rig.tick()))
    effects = confirm(rig, puppet, relay, saved=2)
    assert "member.progressed" in notices(effects)
    assert rig.engine.acked_by(2) == (["p0"], [])
    assert rig.engine.acked_by(3) == ([], ["p0"])


@pytest.mark.parametrize(("epoch", "saved"), [(2, 1), (1, 2), (1, 1 << 62)])
def test_a_receipt_of_another_life_or_of_what_was_never_written_acknowledges_nothing(epoch: int, saved: int) -> None:
    rig = Rig(config=quick())
    (puppet,) = crowd(rig, 1)
    rig.replica.orset("s").add(1)
    relay = only(Relay, puppet.hears(rig.tick()))
    confirm(rig, puppet, relay, epoch=epoch, saved=saved)
    assert rig.engine.acked_by(1) == ([], ["p0"])


def test_a_restarted_member_is_confirmed_by_the_numbers_of_its_new_life() -> None:
    rig = Rig(config=quick())
    (puppet,) = crowd(rig, 1)
    rig.receive(puppet.address, puppet.says(Relay(news("a", "w1"), 500, None)))
    rig.pass_time(0.01)
    again = Puppet("p0", host="10.2.0.1", epoch=2)
    effects = rig.receive(again.address, again.says(Relay(news("b", "w2"), 1, None))) + rig.pass_time(0.01)
    receipt = only(Receipt, again.hears(effects))
    assert (receipt.epoch, receipt.highest, receipt.mask) == (2, 1, b"")


# ---- what is lost


def test_what_is_not_confirmed_is_sent_again_under_a_new_number_until_it_is() -> None:
    rig = Rig(config=quick())
    (puppet,) = crowd(rig, 1)
    rig.replica.orset("s").add(1)
    first = only(Relay, puppet.hears(rig.tick()))
    (second,) = of_type(Relay, puppet.hears(rig.pass_time(0.12)))
    assert second.delta == first.delta
    assert second.number > first.number
    confirm(rig, puppet, second)
    assert of_type(Relay, puppet.hears(rig.pass_time(10.0))) == []
    assert rig.engine.statistics().pushes_repeated == 1


def test_what_is_confirmed_is_not_sent_again() -> None:
    rig = Rig(config=quick())
    puppets = crowd(rig, 6)
    for i in range(20):
        rig.replica.orset("s").add(i)
        effects = rig.tick()
        rig.pass_time(0.003)
        for puppet in puppets:
            for relay in of_type(Relay, puppet.hears(effects)):
                confirm(rig, puppet, relay)
    assert relays(puppets, rig.pass_time(5.0)) == {}
    assert rig.engine.statistics().pushes_repeated == 0


def test_a_member_that_never_confirms_is_left_to_a_digest_after_so_many_tries() -> None:
    rig = Rig(config=quick())
    (puppet,) = crowd(rig, 1)
    rig.replica.orset("s").add(1)
    told = puppet.hears(rig.pass_time(60.0))
    assert len(of_type(Relay, told)) == TRIES
    assert len(of_type(Digest, told)) == 1


def test_the_share_of_a_relay_that_is_not_heard_of_is_taken_over_without_it() -> None:
    rig = Rig(config=quick(fanout=2))
    puppets = crowd(rig, 9)
    rig.replica.orset("s").add(1)
    found = relays(puppets, rig.tick())
    named = {puppet.name: puppet for puppet in puppets}
    (dead, (lost,)), (alive, (confirmed,)) = found.items()
    assert lost.span is not None
    confirm(rig, named[alive], confirmed)
    more = relays(puppets, rig.pass_time(0.35))
    assert not any(holds(relay, named[dead]) for name in more if name != dead for relay in more[name])
    for puppet in puppets:
        if holds(lost, puppet) and puppet.name != dead:
            assert puppet.name in more or any(holds(relay, puppet) for passed in more.values() for relay in passed)
    assert rig.engine.statistics().shares_taken_over >= 1


def test_a_relay_that_was_heard_of_meanwhile_keeps_its_share() -> None:
    rig = Rig(config=quick(fanout=1))
    puppets = crowd(rig, 3)
    rig.replica.orset("s").add(1)
    ((name, _),) = relays(puppets, rig.tick()).items()
    relay = next(puppet for puppet in puppets if puppet.name == name)
    for _ in range(5):
        rig.pass_time(0.09)
        rig.receive(relay.address, relay.says(Digest(bytes(8), 0)))
    assert rig.engine.statistics().shares_taken_over == 0


def write_and_confirm(rig: Rig, answering: list[Puppet], element: int) -> list[Effect]:
    """A write; whoever answers confirms what it gets."""
    rig.replica.orset("s").add(element)
    effects = rig.pass_time(0.3)
    for puppet in answering:
        for relay in of_type(Relay, puppet.hears(effects)):
            confirm(rig, puppet, relay)
    return effects


def test_a_silent_member_is_no_relay_until_it_is_heard_of() -> None:
    rig = Rig(config=quick(fanout=1))
    answering, silent = crowd(rig, 2)
    for i in range(30):
        write_and_confirm(rig, [answering], i)
    told = [relays([silent], write_and_confirm(rig, [answering], 30 + i)) for i in range(30)]
    assert not any(relay.span for found in told for relay in found.get(silent.name, []))
    back = rig.receive(silent.address, silent.says(Digest(bytes(8), 0)))
    assert of_type(Digest, silent.hears(back))
    told = [relays([silent], write_and_confirm(rig, [answering], 60 + i)) for i in range(30)]
    assert any(relay.span for found in told for relay in found.get(silent.name, []))


def test_to_a_silent_member_hardly_anything_is_sent_again() -> None:
    rig = Rig(config=quick(fanout=2))
    answering, silent = crowd(rig, 2)
    for i in range(30):
        write_and_confirm(rig, [answering], i)
    before = rig.engine.statistics().pushes_repeated
    told = [len(of_type(Relay, silent.hears(write_and_confirm(rig, [answering], 30 + i)))) for i in range(30)]
    assert min(told) >= 1
    assert rig.engine.statistics().pushes_repeated - before <= SILENT_OUTSTANDING * 30 * 0.3 / PATIENCE


def test_repeats_are_bounded_by_what_is_sent_anew() -> None:
    rig = Rig(config=quick(fanout=6))
    crowd(rig, 6)
    for i in range(1000):
        rig.replica.orset("s").add(i)
        rig.pass_time(0.003)
    rig.pass_time(10.0)
    first = 6 * 1000
    assert rig.engine.statistics().pushes_repeated <= 2 * first + REPEATS_SAVED


def test_nothing_is_kept_for_a_member_that_is_gone() -> None:
    rig = Rig(config=quick())
    (puppet,) = crowd(rig, 1)
    rig.replica.orset("s").add(1)
    rig.tick()
    puppet.leaves(rig)
    assert of_type(Relay, puppet.hears(rig.pass_time(5.0))) == []


# ---- hostile


IDS = st.binary(min_size=8, max_size=8)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(1, 1 << 62), st.one_of(st.none(), st.builds(Span, IDS, IDS))), max_size=10))
def test_absurd_numbers_and_spans_reach_nobody_twice_and_break_nothing(rows: list[tuple[int, Span | None]]) -> None:
    rig = Rig(config=quick(fanout=2))
    puppets = crowd(rig, 5)
    for i, (number, span) in enumerate(rows):
        effects = rig.receive(puppets[0].address, puppets[0].says(Relay(news(i, f"w{i}"), number, span)))
        effects += rig.pass_time(0.003)
        assert all(len(found) == 1 for found in relays(puppets[1:], effects).values())
    assert len(rig.replica.orset("s")) == len(rows)


@given(st.integers(1, 1 << 62), st.binary(max_size=32), st.integers(0, 1 << 62))
def test_receipts_of_what_was_never_sent_have_no_effect(highest: int, mask: bytes, saved: int) -> None:
    rig = Rig(config=quick())
    (puppet,) = crowd(rig, 1)
    effects = rig.receive(puppet.address, puppet.says(Receipt(1, highest, mask, saved)))
    assert of_type(Send, effects) == []
    assert rig.engine.acked_by(1) == ([], ["p0"])


# ---- clusters


@pytest.mark.parametrize("nodes", [2, 3, 7, 8, 30, 100])
def test_without_loss_everybody_hears_of_everything_once(nodes: int) -> None:
    cluster = Cluster(nodes, seed=2, warm=True, config=Config(probe_interval=1e6))
    for i in range(10):
        cluster[i % nodes].replica.orset("s").add(i)
        cluster.run(0.1)
    assert cluster.converged()
    statistics = [node.engine.statistics() for node in cluster.nodes]
    assert sum(s.events_new for s in statistics) == 10 * (nodes - 1)
    assert sum(s.events_known + s.pushes_repeated for s in statistics) == 0


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 40), st.integers(1, 8), st.integers(0, 1 << 16))
def test_whichever_single_datagram_of_news_is_lost_it_is_sent_again(nodes: int, fanout: int, seed: int) -> None:
    config = Config(fanout=fanout, probe_interval=1e6)
    cluster = Cluster(nodes, seed=seed, warm=True, config=config)
    victim = random.Random(seed).randrange(nodes - 1)
    sent = 0

    def tap(source: Address, target: Address, data: bytes) -> None:
        nonlocal sent
        sent += 1
        cluster.set_link(loss=1.0 if sent == victim + 1 else 0.0)

    cluster.network.taps.append(tap)
    cluster[0].replica.orset("s").add("x")
    cluster.run(1.0)
    assert cluster.converged()


def test_a_dead_member_that_nobody_has_noticed_delays_the_others_by_a_few_timeouts_only() -> None:
    cluster = Cluster(40, seed=4, warm=True, config=Config(fanout=3, probe_interval=1e6))
    for i in range(20):
        cluster[i].replica.orset("s").add(i)
        cluster.run(0.1)
    for victim in (7, 21, 33):
        cluster[victim].vanish()
    for i in range(20):
        cluster.running()[i].replica.orset("s").add(100 + i)
        cluster.run(25 * LEAST_TIMEOUT)
        assert cluster.converged()


def test_a_transaction_is_passed_on_whole() -> None:
    cluster = Cluster(20, seed=5, warm=True, config=Config(fanout=2, probe_interval=1e6))
    replica = cluster[3].replica
    with replica.transaction():
        replica.orset("s").add(1)
        replica.lwwmap("m").set("k", "v")
    cluster.run(0.2)
    assert cluster.converged()


def test_events_of_one_batch_arrive_together() -> None:
    events = [event for i in range(3) for event in news(i, f"w{i}").events]
    rig = Rig(config=quick())
    puppets = crowd(rig, 2)
    relay = Relay(events_delta(events), 1, everybody_but(puppets[0].node_id))
    found = relays(puppets, rig.receive(puppets[0].address, puppets[0].says(relay)) + rig.tick())
    assert [len(each.delta.events) for each in found["p1"]] == [3]


def test_a_lossy_cluster_is_equal_long_before_a_round_of_digests() -> None:
    cluster = Cluster(30, seed=6, warm=True, config=Config(probe_interval=1e6))
    cluster.set_link(loss=0.3)
    for i in range(20):
        cluster[i].replica.orset("s").add(i)
        cluster.run(0.05)
    cluster.run(1.5)
    assert cluster.converged()
