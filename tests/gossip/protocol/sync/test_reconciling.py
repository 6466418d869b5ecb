"""Reconciliation over streams: a difference costs what differs, a break costs nothing, and a liar gains nothing."""

import random
from collections.abc import Callable

import pytest

from crdts import Context, Replica
from crdts.delta import events_delta, state_delta
from crdts.reconcile.messages import VERSION
from gossip.protocol import Config, Identity, seal_for
from gossip.protocol.errors import MalformedMessage, Oversized
from gossip.protocol.sync.exchanges import KEPT_EXCHANGES, KEPT_SECONDS, Exchange, Exchanges
from gossip.protocol.sync.reconciling import Difference
from gossip.protocol.sync.session import Session, Taken, WholeState
from gossip.protocol.wire.messages import (
    AskReconcile,
    CanReconcile,
    Chunk,
    Declined,
    Done,
    Frame,
    Introduce,
    Reconcile,
    StateEnd,
    StatePart,
    WholeContext,
)
from simulations import Cluster

from ..support import KEY, HandStream, Puppet

SMALL = Config(stream_chunk_bytes=600)


class Side:
    """One node, as far as streams to one other matter."""

    def __init__(self, name: str, replica: Replica, config: Config = SMALL) -> None:
        self.name, self.replica, self.config = name, replica, config
        self.exchanges = Exchanges()
        self.rng = random.Random(name)
        self.identity = Identity(self.rng.randbytes(8), name, 1)
        self.sent: dict[type, int] = {}

    def session(self, *, opens: bool, whole: bool = False) -> Session:
        salt = self.rng.randbytes(16)
        return Session(
            self.identity,
            self.config,
            self.replica.store,
            seal_for(KEY),
            salt,
            opened_by_us=opens,
            whole=whole,
            exchanges=self.exchanges,
        )

    def take(self, frames: list[Taken]) -> None:
        for frame in frames:
            self.sent[type(frame)] = self.sent.get(type(frame), 0) + 1
            if isinstance(frame, Chunk | Difference):
                self.replica.merge(frame.delta)
            elif isinstance(frame, WholeState):
                self.replica.store.merge(frame.delta, frame.prepared)


def stream(
    one: Side,
    two: Side,
    *,
    breaks_after: int | None = None,
    whole: bool = False,
    meanwhile: Callable[[], None] = lambda: None,
) -> int:
    """One stream, opened by ``one``, that may break after so many writes; returns the bytes that went both ways."""
    sides = one, two
    sessions = one.session(opens=True, whole=whole), two.session(opens=False)
    size = writes = 0
    busy = True
    while busy and not all(session.finished for session in sessions):
        busy = False
        for i in (0, 1):
            data = sessions[i].next_bytes()
            if data is None:
                continue
            busy = True
            size, writes = size + len(data), writes + 1
            if breaks_after is not None and writes > breaks_after:
                for session in sessions:
                    session.keep_exchange(0.0)
                    session.close()
                return size
            sides[1 - i].take(sessions[1 - i].receive(data))
            meanwhile()
    assert all(session.finished for session in sessions), "both wait for the other"
    return size


def apart(entries: int = 400, differences: int = 5) -> tuple[Side, Side]:
    """Two that shared everything, wrote and removed a little each, and remember no kills."""
    left, right = Replica("left"), Replica("right")
    for i in range(entries):
        left.orset("s").add(i)
    right.merge(left)
    for i in range(differences):
        left.orset("s").remove(7 * i)
        right.orset("s").remove(11 * i + 3)
        left.orset("s").add(f"left {i}")
        right.orset("s").add(f"right {i}")
    for replica in (left, right):
        replica.trim_log()
    return Side("one", left), Side("two", right)


def assert_equal(one: Side, two: Side) -> None:
    assert one.replica.context == two.replica.context
    assert one.replica.fingerprint == two.replica.fingerprint
    assert one.replica.store.kernel.prekilled == two.replica.store.kernel.prekilled


def test_two_that_differ_in_little_exchange_little() -> None:
    one, two = apart(2_000, 1)
    assert stream(one, two) < 1_500
    assert_equal(one, two)
    assert one.sent[Difference] == two.sent[Difference] == 1
    assert WholeState not in {**one.sent, **two.sent}
    assert len(one.replica.orset("s")) == 2_000


def test_who_accepted_a_stream_asks_for_it_if_only_its_own_log_is_too_short() -> None:
    one, two = apart(400, 0)
    two.replica.orset("s").remove(5)
    two.replica.trim_log()
    one.replica.orset("s").add("new")
    stream(one, two)
    assert_equal(one, two)
    assert one.sent.get(WholeState, 0) == two.sent.get(WholeState, 0) == 0
    assert one.sent[Difference] == 1


def test_a_newcomer_gets_a_state() -> None:
    one, _ = apart(400, 5)
    two = Side("two", Replica("newcomer"))
    stream(two, one)
    assert_equal(one, two)
    assert two.sent[WholeState] == 1
    assert Difference not in two.sent


@pytest.mark.parametrize("asks", [False, True])
def test_contexts_too_large_for_one_message_go_with_states_in_frames_that_everybody_accepts(asks: bool) -> None:
    one, two = apart(400, 5)
    for i in range(15_000):
        writer = f"{i:06}".ljust(64, "w")
        for side in (one, two):
            side.replica.store.kernel.context.add(writer, 1)
    sides = (two, one) if asks else (one, two)
    if asks:
        one.replica.orset("s").add("new")
    sessions = sides[0].session(opens=True), sides[1].session(opens=False)
    largest, told = 0, list[Frame | Difference]()
    busy = True
    while busy:
        busy = False
        for i in (0, 1):
            data = sessions[i].next_bytes()
            if data is not None:
                busy, largest = True, max(largest, len(data))
                frames = sessions[1 - i].receive(data)
                sides[1 - i].take(frames)
                told += frames
    assert all(session.finished for session in sessions)
    assert largest < 2_000
    assert [type(frame) for frame in told].count(WholeState) == 2
    assert_equal(one, two)


def test_equal_events_with_unequal_contents_are_reconciled_where_other_dots_live() -> None:
    one, two = apart(400, 0)
    two.replica.merge(one.replica)
    kernel = two.replica.store.kernel
    kernel._drop(("left", 9), ("left", 9))  # what a bug, or a damaged memory, might do
    assert one.replica.context == two.replica.context
    size = stream(one, two, whole=True)
    assert_equal(one, two)
    assert size < 1_500
    assert WholeState not in {**one.sent, **two.sent}


def test_equal_dots_with_unequal_contents_are_settled_by_states() -> None:
    one, two = apart(400, 0)
    for side, text in ((one, "a"), (two, "b")):
        side.replica.merge(Replica("twice").orset("s").add(text))
    assert one.replica.context == two.replica.context
    stream(one, two, whole=True)
    assert_equal(one, two)
    assert one.sent[WholeState] == two.sent[WholeState] == 1


# ---- breaking


def test_a_stream_that_breaks_is_carried_on_and_what_arrived_is_not_sent_again() -> None:
    left, right = apart(3_000, 0)
    for i in range(1_000):
        right.replica.orset("s").add(f"many {i * 2_654_435_761 % 2**32:08x}")
    right.replica.orset("s").remove(1)
    right.replica.trim_log()
    whole = stream(*apart_again(left, right))
    total, streams = 0, 0
    while left.replica.context != right.replica.context:
        total += stream(left, right, breaks_after=12)
        streams += 1
        assert streams < 100
    total += stream(left, right)
    assert_equal(left, right)
    assert streams > 4
    assert total < 2 * whole
    assert left.sent[Difference] == 1


def apart_again(left: Side, right: Side) -> tuple[Side, Side]:
    """Copies of both, which remember no kills either."""
    copies = []
    for side in (left, right):
        copy = Replica(side.replica.replica_id).merge(side.replica.store.kernel.state())
        copy.trim_log()
        copies.append(Side(side.name, copy))
    return copies[0], copies[1]


@pytest.mark.parametrize("seed", range(25))
def test_with_breaks_anywhere_and_writes_meanwhile_both_end_equal_and_nothing_is_lost_or_returns(seed: int) -> None:
    rng = random.Random(seed)
    one, two = apart(rng.choice([40, 300]), rng.randrange(12))
    sides = [one, two]
    made = [*one.replica.orset("s"), *two.replica.orset("s")]
    removed = [e for e in made if type(e) is int and not (e in one.replica.orset("s") and e in two.replica.orset("s"))]

    def meanwhile() -> None:
        if rng.random() < 0.15:
            side = rng.choice(sides)
            element = f"{side.name} {len(made)}"
            side.replica.orset("s").add(element)
            made.append(element)
        if rng.random() < 0.05:
            side = rng.choice(sides)
            element = rng.choice(sorted(side.replica.orset("s"), key=str))
            side.replica.orset("s").remove(element)
            removed.append(element)
        if rng.random() < 0.3:
            rng.choice(sides).replica.trim_log()

    for _ in range(rng.randrange(1, 10)):
        rng.shuffle(sides)
        stream(sides[0], sides[1], breaks_after=rng.choice([None, rng.randrange(40)]), meanwhile=meanwhile)
        if rng.random() < 0.2:  # a node that starts again has forgotten what was under way
            rng.choice(sides).exchanges = Exchanges()
    for _ in range(3):
        stream(one, two)
    assert_equal(one, two)
    assert set(one.replica.orset("s")) == {element for element in made if element not in removed}


def test_what_is_not_carried_on_is_given_up_after_a_while_and_of_few_members_kept() -> None:
    exchanges = Exchanges()
    for i in range(KEPT_EXCHANGES + 2):
        exchange = Exchange(b"12345678", Replica("r").reconcile())
        exchanges.keep(float(i), Introduce(bytes([i]) * 8, "p", 1, False), exchange)
    assert len(exchanges) == KEPT_EXCHANGES
    assert exchanges.take(Introduce(bytes([0]) * 8, "p", 1, False)) is None
    assert exchanges.take(Introduce(bytes([5]) * 8, "p", 2, False)) is None, "another life of the member"
    assert exchanges.deadline() == 2.0 + KEPT_SECONDS
    exchanges.tick(2.0 + KEPT_SECONDS)
    assert len(exchanges) == KEPT_EXCHANGES - 1
    assert exchanges.take(Introduce(bytes([5]) * 8, "p", 1, False)) is not None


def test_a_peer_that_has_forgotten_what_is_carried_on_has_it_begun_anew() -> None:
    one, two = apart(2_000, 60)
    stream(one, two, breaks_after=10)
    assert len(one.exchanges) == 1
    two.exchanges = Exchanges()
    stream(one, two)
    assert_equal(one, two)
    assert one.sent[Difference] == 1


# ---- peers of another version, and those that lie


def met(
    side: Side, *, can: bool = True, opens: bool = False, config: Config | None = None
) -> tuple[Session, HandStream]:
    """A session that has heard the puppet's introduction and context: that of somebody with nearly all."""
    mine = side.session(opens=opens)
    hand = HandStream(Puppet(), opens=not opens)
    hand.take(mine.next_bytes() or b"")
    mine.receive(hand.greeting())
    known = Context({"left": 395})
    frames: list[Frame] = [Introduce(b"puppet..", "puppet", 1, False)]
    frames += [CanReconcile(VERSION)] if can else []
    mine.receive(hand.writes(*frames, WholeContext(known)))
    return mine, hand


def heard(mine: Session, hand: HandStream) -> list[Frame]:
    """All that it has to say now."""
    before = len(hand.heard)
    while (data := mine.next_bytes()) is not None:
        hand.take(data)
    return hand.heard[before:]


@pytest.mark.parametrize("opens", [True, False])
@pytest.mark.parametrize("version", [None, VERSION + 1])
def test_a_peer_that_does_not_know_how_gets_a_state(opens: bool, version: int | None) -> None:
    one, _ = apart()
    mine, hand = met(one, can=False, opens=opens)
    if version is not None:
        mine = one.session(opens=opens)
        hand = HandStream(Puppet(), opens=not opens)
        hand.take(mine.next_bytes() or b"")
        mine.receive(hand.greeting())
        introduction = Introduce(b"puppet..", "puppet", 1, False)
        mine.receive(hand.writes(introduction, CanReconcile(version), WholeContext(Context({"left": 395}))))
    told = heard(mine, hand)
    assert any(isinstance(frame, StateEnd) for frame in told)
    assert isinstance(told[-1], Done)


@pytest.mark.parametrize("opens", [True, False])
def test_a_peer_that_declines_gets_a_state(opens: bool) -> None:
    one, _ = apart()
    mine, hand = met(one, opens=opens)
    last = heard(mine, hand)[-1]
    assert isinstance(last, Reconcile if opens else AskReconcile)
    mine.receive(hand.writes(Declined(last.name if isinstance(last, Reconcile) else b"")))
    told = heard(mine, hand)
    assert any(isinstance(frame, StatePart) for frame in told)
    assert isinstance(told[-1], Done)


def test_a_peer_that_breaks_the_rules_gets_states_from_then_on() -> None:
    one, _ = apart()
    before = one.replica.context
    mine, hand = met(one, opens=True)
    begun = heard(mine, hand)[-1]
    assert isinstance(begun, Reconcile)
    with pytest.raises(MalformedMessage):
        mine.receive(hand.writes(Reconcile(begun.name, b"nonsense")))
    mine.keep_exchange(0.0)
    assert len(one.exchanges) == 0
    mine, hand = met(one, opens=True)
    assert isinstance(heard(mine, hand)[-1], Done)
    assert one.replica.context == before


def test_who_opens_a_stream_is_the_one_that_begins_and_contexts_come_first() -> None:
    one, _ = apart()
    mine, hand = met(one, opens=False)
    assert isinstance(heard(mine, hand)[-1], AskReconcile)
    with pytest.raises(MalformedMessage, match="opened"):
        mine.receive(hand.writes(AskReconcile()))
    mine = one.session(opens=True)
    hand = HandStream(Puppet(), opens=False)
    hand.take(mine.next_bytes() or b"")
    mine.receive(hand.greeting())
    mine.receive(hand.writes(Introduce(b"puppet..", "puppet", 1, False)))
    with pytest.raises(MalformedMessage, match="contexts"):
        mine.receive(hand.writes(AskReconcile()))


def test_who_sends_a_state_already_declines() -> None:
    one, _ = apart()
    mine, hand = met(one, can=False, opens=False)
    hand.take(mine.next_bytes() or b"")
    while not any(isinstance(frame, StatePart) for frame in hand.heard):
        hand.take(mine.next_bytes() or b"")
    mine.receive(hand.writes(Reconcile(b"12345678", Replica("p").reconcile().start())))
    told = heard(mine, hand)
    assert [type(frame) for frame in told if not isinstance(frame, StatePart)] == [Declined, StateEnd, Done]


def test_entries_that_are_held_until_all_is_known_are_bounded() -> None:
    one, two = apart(2_000, 3)
    for i in range(300):
        two.replica.orset("s").add(f"much {i}" + "x" * 500)
    two.replica.trim_log()
    one.config = Config(stream_chunk_bytes=600, max_state_bytes=50_000)
    with pytest.raises((MalformedMessage, Oversized), match="bytes"):
        stream(one, two)
    assert len(one.exchanges) == 0


def test_a_state_in_parts_and_a_difference_do_not_mix() -> None:
    """A difference is no state: what came of a state before is not part of it."""
    one, _ = apart()
    mine, hand = met(one, can=True, opens=True)
    heard(mine, hand)
    part = StatePart(events_delta(Replica("w").orset("s").add("x").events))
    mine.receive(hand.writes(part))
    (end,) = mine.receive(hand.writes(StateEnd(state_delta((), Context({"w": 1}), ()))))
    assert isinstance(end, WholeState)
    assert len(end.delta.events) == 1


# ---- in a cluster


def test_a_cluster_with_short_logs_reconciles_after_a_cut() -> None:
    cluster = Cluster(2, seed=1, log_limit=4)
    for i in range(2_000):
        cluster[0].replica.orset("s").add(i)
    cluster.run_until_converged(timeout=15)
    cluster.cut([0], [1])
    for i, node in enumerate(cluster.nodes):
        for j in range(60):
            node.replica.orset("s").add(f"{i} {j}")
            node.replica.orset("s").remove(2 * j + i)
    cluster.run(3.0)
    before = [node.engine.statistics().stream_bytes_sent for node in cluster.nodes]
    cluster.heal()
    cluster.run_until_converged(timeout=15)
    statistics = [node.engine.statistics() for node in cluster.nodes]
    assert [each.differences_joined for each in statistics] == [1, 1]
    assert sum(each.stream_bytes_sent for each in statistics) - sum(before) < 6_000
    assert len(cluster[1].replica.orset("s")) == 2_000
