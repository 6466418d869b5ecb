"""How nodes meet, lose and find each other, and what nobody can talk them into."""

import random
from itertools import pairwise

import pytest

from crdts import Replica
from gossip.protocol import Address, Close, Config, Effect, Identity, Send
from gossip.protocol.members import CANDIDATE_TRIES
from gossip.protocol.messages import (
    Challenge,
    ContextPage,
    Digest,
    Hello,
    Known,
    Leave,
    Message,
    Offer,
    Proof,
    Push,
    Relay,
    Roll,
    Same,
    Welcome,
)
from simulations import Cluster, Link, Node

from .support import KEY, ME, OTHER_KEY, Puppet, Rig, notices, of_type, only


def sends(effects: list[Effect]) -> list[Send]:
    return of_type(Send, effects)


def names(node: Node, state: str = "alive") -> set[str]:
    """The members that ``node`` believes to be in ``state``."""
    return {m.name for m in node.engine.members(0) if m.state == state}


# ---- meeting


def test_a_seed_is_greeted_at_once_and_then_ever_more_rarely_but_for_ever() -> None:
    rig = Rig()
    puppet = Puppet()
    rig.seed(puppet.address)
    times = []
    while rig.now < 3600:
        if any(isinstance(m, Hello) for m in puppet.hears(rig.tick())):
            times.append(rig.now)
    gaps = [b - a for a, b in pairwise(times)]
    assert times[0] == 0.0
    assert gaps[0] < 0.5 < 7 < min(gaps[-20:]) <= max(gaps[-20:]) < 12.5


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


def test_nobody_becomes_a_member_by_a_hello_alone() -> None:
    rig, puppet = Rig(), Puppet()
    rig.receive(puppet.address, puppet.hello())
    assert rig.states() == {}


def test_a_proof_must_carry_the_cookie_that_went_to_that_very_address() -> None:
    rig, puppet = Rig(), Puppet()
    welcome = only(Welcome, puppet.hears(rig.receive(puppet.address, puppet.hello())))
    elsewhere = Address("10.9.9.9", 4747)
    rig.receive(elsewhere, puppet.hello())
    rig.receive(elsewhere, puppet.says(Proof(welcome.cookie)))
    rig.receive(puppet.address, puppet.says(Proof(bytes(8))))
    assert rig.states() == {}
    rig.receive(puppet.address, puppet.says(Proof(welcome.cookie)))
    assert rig.states() == {"puppet": "alive"}


def test_a_welcome_that_nobody_asked_for_is_asked_for_proof_and_changes_nothing() -> None:
    rig, puppet = Rig(), Puppet()
    welcome = puppet.says(Welcome("puppet", 1, bytes(8), bytes(8)))
    effects = rig.receive(puppet.address, welcome)
    assert rig.states() == {}
    assert only(Challenge, puppet.hears(effects))
    assert len(only(Send, effects).data) <= len(welcome)


def test_a_hello_from_ourselves_makes_no_member() -> None:
    rig = Rig()
    effects = rig.seed(ME) + rig.tick()
    hello = only(Send, effects)
    assert not sends(rig.receive(ME, hello.data))
    assert rig.states() == {}


def test_a_node_that_is_its_own_seed_greets_itself_rarely_and_joins_others() -> None:
    cluster = Cluster(3, seed=1)
    for node in cluster.nodes:
        node.join([n.address for n in cluster.nodes])
    heard = []
    cluster.network.taps.append(lambda source, target, _: heard.append(source == target))
    cluster.run(60.0)
    assert [names(node) for node in cluster.nodes] == [{"n1", "n2"}, {"n0", "n2"}, {"n0", "n1"}]
    assert sum(heard) <= 3 * 9


def test_our_own_words_with_a_forged_source_do_not_talk_us_out_of_a_seed() -> None:
    rig, puppet = Rig(), Puppet()
    hello = only(Send, rig.seed(puppet.address) + rig.tick())
    for _ in range(10):
        rig.receive(puppet.address, hello.data)
        rig.pass_time(1.0)
    greetings = of_type(Hello, puppet.hears(rig.pass_time(30.0)))
    assert greetings
    rig.receive(puppet.address, puppet.says(Welcome("puppet", 1, greetings[-1].cookie, bytes(8))))
    assert rig.states() == {"puppet": "alive"}


def test_a_name_that_was_only_heard_of_is_asked_for_proof_a_few_times() -> None:
    rig, puppet, rumour = Rig(), Puppet(), Puppet("rumour", host="10.3.0.1")
    puppet.meets(rig)
    rig.receive(puppet.address, puppet.says(Known(((rumour.node_id, rumour.address),))))
    told = rumour.hears(rig.pass_time(60.0))
    assert [type(message) for message in told] == [Hello] * CANDIDATE_TRIES
    assert rig.states().get("rumour") is None


def test_members_named_by_an_unproven_address_are_not_greeted() -> None:
    rig, puppet, victim = Rig(), Puppet(), Puppet("victim", host="10.3.0.1")
    rig.receive(puppet.address, puppet.says(Known(((victim.node_id, victim.address),))))
    assert victim.hears(rig.pass_time(10.0)) == []


def test_rumours_are_remembered_up_to_a_limit() -> None:
    rig, puppet = Rig(config=Config(max_candidates=5)), Puppet()
    puppet.meets(rig)
    crowd = tuple((bytes([i] * 8), Address(f"10.3.0.{i}", 1)) for i in range(1, 60))
    rig.receive(puppet.address, puppet.says(Known(crowd)))
    assert len({send.address for send in sends(rig.tick())}) <= 5 + 1


def test_a_full_list_takes_no_more_members_and_says_so() -> None:
    rig = Rig(config=Config(max_members=2))
    for i in range(3):
        Puppet(f"p{i}", host=f"10.2.0.{i}").meets(rig)
    assert rig.states() == {"p0": "alive", "p1": "alive"}


def test_a_full_list_makes_room_by_forgetting_who_left_and_then_who_failed_longest_ago() -> None:
    rig = Rig(config=Config(max_members=3))
    first, second, third = (Puppet(f"p{i}", host=f"10.2.0.{i}") for i in range(3))
    for puppet in (first, second, third):
        puppet.meets(rig)
    rig.pass_time(60.0)
    rig.receive(first.address, first.says(Same(bytes(8))))
    rig.receive(third.address, third.says(Same(bytes(8))))
    rig.receive(third.address, third.says(Leave(1)))
    assert rig.states() == {"p0": "alive", "p1": "failed", "p2": "left"}
    Puppet("fourth", host="10.2.0.4").meets(rig)
    assert rig.states() == {"p0": "alive", "p1": "failed", "fourth": "alive"}
    Puppet("fifth", host="10.2.0.5").meets(rig)
    assert rig.states() == {"p0": "alive", "fourth": "alive", "fifth": "alive"}
    rig.pass_time(10.0)
    second.meets(rig)
    assert rig.states()["p1"] == "alive"


def test_many_half_finished_greetings_take_bounded_room_and_do_not_shut_out_the_next() -> None:
    rig = Rig(config=Config(max_candidates=8))
    for i in range(100):
        stranger = Puppet(f"s{i}", host=f"10.4.0.{i}")
        rig.receive(stranger.address, stranger.hello())
    Puppet().meets(rig)
    assert rig.states() == {"puppet": "alive"}


# ---- a cluster that has formed already


def acquainted(count: int, *, config: Config | None = None) -> tuple[Rig, list[Puppet]]:
    rig = Rig(config=config)
    puppets = [Puppet(f"p{i}", host=f"10.2.0.{i + 1}") for i in range(count)]
    rig.engine.acquaint(rig.now, [(Identity(p.node_id, p.name, p.epoch), p.address) for p in puppets])
    return rig, puppets


def test_who_is_made_acquainted_is_a_member_at_once_and_nobody_hears_of_it() -> None:
    rig, puppets = acquainted(3)
    assert rig.states() == {"p0": "alive", "p1": "alive", "p2": "alive"}
    (first, *_) = rig.engine.members(rig.now)
    assert (first.id, first.address, first.epoch) == (puppets[0].node_id.hex(), puppets[0].address, 1)
    effects = rig.pass_time(0.5)
    assert notices(effects) == []
    assert len(sends(effects)) == 1, "the digest whose turn it is, and no comparison with every member"


def test_who_is_made_acquainted_is_heard_pushed_to_and_watched_like_anybody_who_was_met() -> None:
    rig, (puppet,) = acquainted(1)
    rig.replica.orset("s").add(1)
    assert of_type(Relay, puppet.hears(rig.pass_time(0.1)))
    assert of_type(ContextPage, puppet.hears(rig.receive(puppet.address, puppet.says(Digest(bytes(8), 0)))))
    assert "member.failed" in notices(rig.pass_time(10.0))
    assert "member.returned" in notices(rig.receive(puppet.address, puppet.says(Same(bytes(8)))))


def test_nobody_is_made_acquainted_with_itself_or_twice_or_beyond_the_list() -> None:
    rig, puppets = acquainted(2, config=Config(max_members=3))
    rig.receive(puppets[0].address, puppets[0].says(Leave(1)))
    more = [(rig.identity, ME)]
    more += [(Identity(p.node_id, p.name, p.epoch), p.address) for p in puppets]
    more += [(Identity(bytes([i] * 8), f"q{i}", 1), Address("10.3.0.1", i + 1)) for i in range(3)]
    rig.engine.acquaint(rig.now, more)
    assert rig.states() == {"p0": "left", "p1": "alive", "q0": "alive"}


# ---- keys


@pytest.mark.parametrize(("ours", "theirs"), [(KEY, OTHER_KEY), (OTHER_KEY, KEY), (None, KEY), (KEY, None)])
def test_a_node_with_another_key_or_none_neither_joins_nor_learns_anything(
    ours: bytes | None, theirs: bytes | None
) -> None:
    home, away = Cluster(2, seed=1, key=ours), Cluster(2, seed=2, key=theirs)
    home[0].replica.orset("s").add("secret")
    away[0].replica.orset("s").add("bait")
    stranger = Address("10.66.0.1", 4747)
    crossed = {"in": 0, "out": 0}

    # The two networks are one: what the one says, a node of the other hears.
    def cross(there: Cluster, way: str) -> None:
        def tap(_source: Address, _target: Address, data: bytes) -> None:
            crossed[way] += 1
            there[0].on_datagram(stranger, data)

        (away if way == "in" else home).network.taps.append(tap)

    cross(home, "in")
    away.run(5.0)
    away.network.taps.clear()
    cross(away, "out")
    home.run(5.0)
    assert crossed["in"] > 5
    assert crossed["out"] > 5
    for here, there, way in ((home, away, "in"), (away, home, "out")):
        statistics = here[0].engine.statistics()
        assert statistics.rejected == {"unknown_key": crossed[way]}
        assert names(here[0]) == {"n1"}
        assert not here[0].replica.context.covers(there[0].replica.context)


def test_what_is_refused_is_answered_with_silence() -> None:
    rig, stranger = Rig(), Puppet(key=OTHER_KEY)
    for datagram in (stranger.hello(), stranger.says(Offer()), b"", b"\0" * 200, b"\1" * 200):
        assert not sends(rig.receive(stranger.address, datagram))


def test_a_stream_under_another_key_is_closed_after_the_greeting_and_carries_nothing() -> None:
    rig, stranger = Rig(), Puppet(key=OTHER_KEY)
    rig.replica.orset("s").add("secret")
    conn = rig.engine.next_conn()
    effects = rig.done(rig.engine.stream_opened(0, conn, stranger.address))
    effects += rig.done(rig.engine.stream_writable(0, conn))
    effects += rig.done(rig.engine.stream_received(0, conn, stranger.seal.greeting(bytes(16))))
    assert [effect for effect in effects if isinstance(effect, Close)] == [Close(conn)]
    assert rig.engine.statistics().stream_bytes_sent == 21
    assert rig.engine.statistics().rejected == {"unknown_key": 1}


# ---- amplification


def test_many_questions_in_one_datagram_from_an_unproven_address_get_no_more_bytes_than_it_took() -> None:
    puppet = Puppet()
    hello = Hello("p", 1, bytes(8))
    for messages in ([hello] * 60, [Challenge(bytes(8))] * 60, [hello, Offer()], [Offer()] * 60):
        datagram = puppet.says(*messages)
        assert sum(len(send.data) for send in sends(Rig().receive(puppet.address, datagram))) <= len(datagram)


@pytest.mark.parametrize("seed", range(6))
def test_an_unproven_address_never_gets_more_bytes_than_it_sent(seed: int) -> None:
    """Recorded and home-made datagrams arrive from forged addresses while a cluster lives its life."""
    rng = random.Random(seed)
    cluster = Cluster(4, seed=seed, link=Link(loss=0.1, duplication=0.1))
    insider = Puppet("insider", key=b"simulated cluster key, 32 bytes.")
    forged = [Address(f"10.66.{i}.1", 4747) for i in range(12)]
    took: dict[tuple[Address, Address], int] = {}
    recorded: list[bytes] = []

    def tap(source: Address, target: Address, data: bytes) -> None:
        recorded.append(data)
        if target in forged:
            took[target, source] = took.get((target, source), 0) - len(data)
            assert took[target, source] >= 0, "more bytes than it sent"

    cluster.network.taps.append(tap)
    answered = 0
    for step in range(1500):
        if step % 100 == 0:
            cluster[step % 4].replica.orset("s").add(step)
        cluster.run(0.01)
        victim, source = rng.choice(cluster.nodes), rng.choice(forged)
        data = rng.choice(recorded) if rng.random() < 0.6 else insider.says(*some_messages(rng))
        took[source, victim.address] = took.get((source, victim.address), 0) + len(data)
        before = cluster.network.datagrams
        victim.on_datagram(source, data)
        answered += cluster.network.datagrams - before
    assert answered > 300, "nothing was put to the test"
    assert all(member.address not in forged for node in cluster.nodes for member in node.engine.members(0))


def some_messages(rng: random.Random) -> list[Message]:
    mark = rng.randbytes(8)
    kinds: list[Message] = [
        Hello("x", rng.randrange(1, 5), mark),
        Hello("x", 1, mark, bytes(150)),
        Welcome("y", 1, mark, mark),
        Challenge(mark),
        Proof(mark),
        Known(((mark, Address("10.77.0.1", 1)),)),
        Digest(mark, 7),
        Same(mark),
        Offer(),
        Leave(1),
    ]
    return [rng.choice(kinds) for _ in range(rng.choice([1, 1, 2, 40]))]


def test_every_question_of_an_unproven_address_is_met_with_a_challenge_and_answered_after_the_proof() -> None:
    rig, puppet = Rig(), Puppet()
    rig.replica.orset("s").add(1)
    told = puppet.hears(rig.receive(puppet.address, puppet.says(Digest(bytes(8), 0))))
    challenge = only(Challenge, told)
    hello = only(Hello, puppet.hears(rig.receive(puppet.address, puppet.says(Proof(challenge.cookie)))))
    told = puppet.hears(rig.receive(puppet.address, puppet.says(Welcome("puppet", 1, hello.cookie, bytes(8)))))
    assert of_type(Digest, told), "a new member is compared with at once"
    told = puppet.hears(rig.receive(puppet.address, puppet.says(Digest(bytes(8), 0))))
    assert of_type(ContextPage, told)


# ---- moving, restarting, leaving


def test_a_node_that_comes_back_under_another_address_is_the_same_node() -> None:
    rig, puppet = Rig(), Puppet()
    puppet.meets(rig)
    moved = Puppet(host="10.2.7.7")
    moved.meets(rig)
    (member,) = rig.engine.members(0)
    assert (member.id, member.address) == (puppet.node_id.hex(), moved.address)


def test_a_node_that_moves_while_it_runs_proves_its_new_address_when_it_next_speaks() -> None:
    rig, puppet = Rig(), Puppet()
    puppet.meets(rig)
    moved = Puppet(host="10.2.7.7")
    told = moved.hears(rig.receive(moved.address, moved.says(Digest(bytes(8), 0))))
    hello = only(Hello, moved.hears(moved.answers(rig, told)))
    effects = rig.receive(moved.address, moved.says(Welcome("puppet", 1, hello.cookie, bytes(8))))
    assert "member.moved" in notices(effects)
    assert [member.address for member in rig.engine.members(0)] == [moved.address]


def test_another_node_under_an_old_address_is_another_node() -> None:
    rig = Rig()
    old, new = Puppet("old"), Puppet("new")
    assert old.address == new.address
    old.meets(rig)
    new.meets(rig)
    assert rig.states() == {"old": "alive", "new": "alive"}
    for _ in range(60):  # only the new one answers
        told = new.hears(rig.tick())
        for digest in of_type(Digest, told):
            rig.receive(new.address, new.says(Same(digest.context_hash)))
    assert rig.states() == {"old": "failed", "new": "alive"}


def test_a_restart_with_a_higher_epoch_is_noticed_and_an_echo_of_the_earlier_life_is_not_believed() -> None:
    rig, first, second = Rig(), Puppet(epoch=1), Puppet(epoch=2, host="10.2.0.2")
    first.meets(rig)
    effects = rig.receive(second.address, second.hello())
    effects += rig.receive(second.address, second.says(Proof(only(Welcome, second.hears(effects)).cookie)))
    assert "member.restarted" in notices(effects)
    first.meets(rig)
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


def roll_of(rig: Rig, puppets: list[Puppet]) -> Roll:
    mark = int.from_bytes(rig.identity.node_id)
    for puppet in puppets:
        mark ^= int.from_bytes(puppet.node_id)
    return Roll(mark)


def test_who_believes_in_other_members_than_we_is_told_of_ours_and_who_does_not_is_told_nothing() -> None:
    rig, puppets = acquainted(3)
    first = puppets[0]
    assert first.hears(rig.receive(first.address, first.says(roll_of(rig, puppets)))) == []
    told = first.hears(rig.receive(first.address, first.says(roll_of(rig, puppets[:2]))))
    assert sorted(only(Known, told).members) == sorted((p.node_id, p.address) for p in puppets[1:])


def test_the_roll_follows_who_is_alive() -> None:
    rig, puppets = acquainted(3)
    first, second, third = puppets
    rig.receive(third.address, third.says(Leave(1)))
    assert first.hears(rig.receive(first.address, first.says(roll_of(rig, [first, second])))) == []
    rolls = of_type(Roll, first.hears(rig.pass_time(5.0)))
    assert set(rolls) == {roll_of(rig, [first, second])}


def test_a_full_list_calls_no_roll_and_takes_no_hints() -> None:
    rig, (puppet,) = acquainted(1, config=Config(max_members=1))
    assert of_type(Roll, puppet.hears(rig.pass_time(5.0))) == []
    hint = Known(((bytes(8), Address("10.77.0.1", 1)),))
    effects = rig.receive(puppet.address, puppet.says(hint)) + rig.pass_time(5.0)
    assert {send.address for send in sends(effects)} <= {puppet.address}


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
    effects = rig.receive(puppet.address, puppet.says(Push(late, 1, 0), Digest(bytes(8), 0), Leave(2)))
    assert puppet.hears(effects) == []
    assert "news" in rig.replica.orset("s")
    assert [(m.state, m.epoch) for m in rig.engine.members(0)] == [("alive", 2)]


def test_a_challenge_is_answered_only_where_we_may_have_written_to() -> None:
    rig, (puppet,) = acquainted(1)
    stranger = Address("10.66.0.1", 4747)
    assert sends(rig.receive(stranger, puppet.says(Challenge(bytes(8))))) == []
    assert only(Proof, puppet.hears(rig.receive(puppet.address, puppet.says(Challenge(bytes(8))))))


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
    late = [puppet.hello(), puppet.says(Digest(bytes(8), 0)), puppet.says(Leave(1)), puppet.says(Offer())]
    rig.receive(puppet.address, puppet.says(Leave(1)))
    for datagram in late:
        rig.receive(puppet.address, datagram)
    puppet.meets(rig)
    assert rig.states() == {"puppet": "left"}
    Puppet(epoch=2).meets(rig)
    assert rig.states() == {"puppet": "alive"}


def test_a_leave_counts_only_from_the_member_itself_and_from_its_present_life() -> None:
    rig, puppet, liar = Rig(), Puppet(epoch=2), Puppet("liar", host="10.2.0.9")
    puppet.meets(rig)
    liar.meets(rig)
    rig.receive(Address("10.2.0.8", 4747), puppet.says(Leave(2)))
    rig.receive(liar.address, puppet.says(Leave(2)))
    rig.receive(puppet.address, puppet.says(Leave(1)))
    assert rig.states() == {"puppet": "alive", "liar": "alive"}


# ---- failing and healing


def test_a_silent_member_fails_and_any_word_from_it_brings_it_back() -> None:
    rig, puppet = Rig(), Puppet()
    puppet.meets(rig)
    assert "member.failed" in notices(rig.pass_time(10.0))
    assert rig.states() == {"puppet": "failed"}
    effects = rig.receive(puppet.address, puppet.says(Same(bytes(8))))
    assert "member.returned" in notices(effects)
    assert of_type(Digest, puppet.hears(effects))


def test_a_failed_member_is_tried_for_ever() -> None:
    rig, puppet = Rig(), Puppet()
    puppet.meets(rig)
    rig.pass_time(24 * 3600.0)
    assert of_type(Digest, puppet.hears(rig.pass_time(10.0)))


@pytest.mark.parametrize("seconds", [60.0, 3600.0])
def test_a_partition_of_any_length_heals_by_itself(seconds: float) -> None:
    cluster = Cluster(5, seed=2)
    cluster.run(3.0)
    cluster.cut([0, 1], [2, 3, 4])
    cluster.run(seconds)
    left, right = cluster[0].replica.orset("s"), cluster[4].replica.orset("s")
    left.add("left")
    right.add("right")
    cluster.run(2.0)
    assert set(cluster[1].replica.orset("s")) == {"left"}
    assert names(cluster[0], "failed") == {"n2", "n3", "n4"}
    cluster.heal()
    cluster.run_until_converged(timeout=10)
    cluster.run(15.0)
    assert all(set(node.replica.orset("s")) == {"left", "right"} for node in cluster.nodes)
    assert all(len(names(node)) == 4 for node in cluster.nodes)


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
    while rig.now < 300:
        for digest in of_type(Digest, living.hears(rig.tick())):
            asked.append(rig.now)
            rig.receive(living.address, living.says(Same(digest.context_hash)))
    gaps = [b - a for a, b in pairwise(asked)]
    assert max(gaps) <= 45, "two rounds of 21 members at most"
    assert set(rig.states().values()) == {"failed", "alive"}
    assert rig.states()["living"] == "alive"
