"""How addresses are proven, and what nobody can talk a node into before they are."""

import random
from itertools import pairwise

import pytest

from gossip.protocol import Address, Close, Config, Send
from gossip.protocol.membership.handshake import CANDIDATE_TRIES
from gossip.protocol.wire.messages import (
    Challenge,
    ContextPage,
    Digest,
    Hello,
    ListMembers,
    Message,
    Offer,
    Ping,
    PingRequest,
    Proof,
    Roll,
    Same,
    Shuffle,
    Update,
    Updates,
    Welcome,
)
from simulations import Cluster, Link

from ..support import KEY, ME, OTHER_KEY, Puppet, Rig, acquainted, names, of_type, only, sends


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
    welcome = puppet.says(Welcome("puppet", 1, 0, bytes(8), bytes(8)))
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
    rig.receive(puppet.address, puppet.says(Welcome("puppet", 1, 0, greetings[-1].cookie, bytes(8))))
    assert rig.states() == {"puppet": "alive"}


def test_a_name_that_was_only_heard_of_is_asked_for_proof_a_few_times() -> None:
    rig, puppet, rumour = Rig(), Puppet(), Puppet("rumour", host="10.3.0.1")
    puppet.meets(rig)
    rig.receive(puppet.address, puppet.says(Updates((rumour.row(),))))
    told = rumour.hears(rig.pass_time(60.0))
    assert [type(message) for message in told] == [Hello] * CANDIDATE_TRIES
    assert rig.states().get("rumour") is None


def test_members_named_by_an_unproven_address_are_not_greeted() -> None:
    rig, puppet, victim = Rig(), Puppet(), Puppet("victim", host="10.3.0.1")
    rig.receive(puppet.address, puppet.says(Updates((victim.row(),))))
    assert victim.hears(rig.pass_time(10.0)) == []


def test_rumours_are_remembered_up_to_a_limit() -> None:
    rig, puppet = Rig(config=Config(max_candidates=5)), Puppet()
    puppet.meets(rig)
    crowd = [Puppet(f"c{i}", host=f"10.3.0.{i}").row() for i in range(1, 60)]
    puppet.tells(rig, *crowd)
    greeted = {send.address for send in sends(rig.pass_time(60.0))}
    assert len(greeted) == 5 + 1
    assert rig.rejected == {"too_many_names": 59 - 5, "unproven_address": 5}


def test_many_half_finished_greetings_take_bounded_room_and_do_not_shut_out_the_next() -> None:
    rig = Rig(config=Config(max_candidates=8))
    for i in range(100):
        stranger = Puppet(f"s{i}", host=f"10.4.0.{i}")
        rig.receive(stranger.address, stranger.hello())
    Puppet().meets(rig)
    assert rig.states() == {"puppet": "alive"}


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


def test_many_questions_in_one_datagram_from_an_unproven_address_get_no_more_bytes_than_it_took() -> None:
    puppet = Puppet()
    hello = Hello("p", 1, 0, bytes(8))
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
        Hello("x", rng.randrange(1, 5), 0, mark),
        Hello("x", 1, 0, mark, bytes(150)),
        Welcome("y", 1, 0, mark, mark),
        Challenge(mark),
        Proof(mark),
        Updates((Update(mark, "alive", 1, 0, Address("10.77.0.1", 1)),)),
        Shuffle(((mark, Address("10.77.0.2", 1), 0),), True),
        Roll(1, 999),
        ListMembers(b""),
        Ping(1),
        PingRequest(1, mark, 200),
        Digest(mark, 7),
        Same(mark),
        Offer(),
    ]
    return [rng.choice(kinds) for _ in range(rng.choice([1, 1, 2, 40]))]


def test_every_question_of_an_unproven_address_is_met_with_a_challenge_and_answered_after_the_proof() -> None:
    rig, puppet = Rig(), Puppet()
    rig.replica.orset("s").add(1)
    told = puppet.hears(rig.receive(puppet.address, puppet.says(Digest(bytes(8), 0))))
    challenge = only(Challenge, told)
    hello = only(Hello, puppet.hears(rig.receive(puppet.address, puppet.says(Proof(challenge.cookie)))))
    told = puppet.hears(rig.receive(puppet.address, puppet.says(Welcome("puppet", 1, 0, hello.cookie, bytes(8)))))
    assert of_type(Digest, told), "a new member is compared with at once"
    told = puppet.hears(rig.receive(puppet.address, puppet.says(Digest(bytes(8), 0))))
    assert of_type(ContextPage, told)


def test_a_challenge_is_answered_only_where_we_may_have_written_to() -> None:
    rig, (puppet,) = acquainted(1)
    stranger = Address("10.66.0.1", 4747)
    assert sends(rig.receive(stranger, puppet.says(Challenge(bytes(8))))) == []
    assert only(Proof, puppet.hears(rig.receive(puppet.address, puppet.says(Challenge(bytes(8))))))


def test_greetings_that_cross_do_not_go_round_for_ever() -> None:
    """Six answers at once, each to a greeting that later ones have pushed out: chaos seed 86 never ended."""
    rig, puppet = Rig(), Puppet()
    told = [m for _ in range(6) for m in puppet.hears(rig.receive(puppet.address, puppet.says(Digest(bytes(8), 0))))]
    heard = 0
    for _ in range(20):
        answers: list[Message] = [Proof(m.cookie) for m in told if isinstance(m, Challenge)]
        answers += [Welcome("puppet", 1, 0, bytes(8), bytes(8)) for m in told if isinstance(m, Hello)]
        heard += len(answers)
        told = [m for each in answers for m in puppet.hears(rig.receive(puppet.address, puppet.says(each)))]
        rig.now += 0.01
    assert heard < 12
