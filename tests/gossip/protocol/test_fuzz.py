"""Hostile input: nothing raises, what is refused changes nothing and is counted, and the engine works on."""

import random

import pytest

from crdts import Context, Delta, Replica
from crdts.delta import state_delta
from gossip.protocol import Address, Close, Send
from gossip.protocol.errors import AbsurdIncarnation, RemoteError, TooManyNames, UnprovenAddress
from gossip.protocol.wire.codec import decode_datagram, decode_frame
from gossip.protocol.wire.messages import Chunk, Introduce, Push, StateEnd, StatePart, WholeContext

from . import mutations
from .support import HandStream, Puppet, Rig, connect, of_type, pump, say

RUNS = [
    pytest.param(20_000, id="20,000"),
    pytest.param(1_000_000, id="1,000,000", marks=pytest.mark.soak),
]
STRANGER = Address("10.66.0.1", 666)


def snapshot(rig: Rig) -> tuple[object, ...]:
    return rig.replica.context, rig.replica.fingerprint, len(rig.kernel.prekilled), rig.engine.members(rig.now)


def rejected(rig: Rig) -> int:
    """Datagrams and frames that were refused: not what one that was accepted says of members."""
    hearsay = {error.reason for error in (AbsurdIncarnation, TooManyNames, UnprovenAddress)}
    return sum(count for reason, count in rig.engine.statistics().rejected.items() if reason not in hearsay)


def victim() -> tuple[Rig, Puppet]:
    """An engine with some content, and a member of it."""
    rig, puppet = Rig(), Puppet()
    puppet.meets(rig)
    for i in range(20):
        rig.replica.orset("s").add(i)
        rig.replica.counter("c").increment()
    rig.pass_time(1.5)
    return rig, puppet


def works_on(rig: Rig) -> None:
    """A proper newcomer gives and gets everything."""
    proper, theirs = Puppet("proper", host="10.1.0.2"), Replica("proper")
    proper.meets(rig)
    rig.receive(proper.address, proper.says(Push(theirs.orset("proof of life").add("theirs"), 1, 0)))
    rig.replica.orset("proof of life").add("mine")
    rig.pass_time(0.1)
    conn, stream = connect(rig, proper)
    say(rig, conn, stream, Introduce(proper.node_id, "proper", 1, False), WholeContext(Context()))
    entries = [event for part in of_type(StatePart, stream.heard) for event in part.delta.events]
    for frame in stream.heard:
        if isinstance(frame, Chunk):
            theirs.merge(frame.delta)
        elif isinstance(frame, StateEnd):
            assert frame.delta.context is not None
            theirs.merge(state_delta(entries, frame.delta.context, frame.delta.prekilled))
    assert set(theirs.orset("proof of life")) == set(rig.replica.orset("proof of life")) == {"mine", "theirs"}
    assert theirs.context == rig.replica.context
    assert theirs.fingerprint == rig.replica.fingerprint
    for node in rig.replica.objects():
        node.value()


@pytest.mark.parametrize("count", RUNS)
def test_random_and_altered_datagrams_are_refused_and_counted(count: int) -> None:
    rng = random.Random(count)
    rig, puppet = victim()
    good = [puppet.seals(content) for content in mutations.datagrams(puppet.node_id)]
    before = snapshot(rig)
    for i in range(count):
        data = rng.choice(good)
        while data in good:  # a mutation can undo itself
            data = mutations.flipped(data, rng) if rng.random() < 0.7 else rng.randbytes(rng.randrange(120))
        effects = rig.receive(rng.choice([puppet.address, STRANGER]), data)
        assert not of_type(Send, effects)
        assert rejected(rig) == i + 1
    assert snapshot(rig) == before
    works_on(rig)


@pytest.mark.parametrize("count", RUNS)
def test_sealed_garbage_raises_nothing_and_what_is_refused_changes_nothing(count: int) -> None:
    """From a key holder: whatever the seal cannot stop, the decoder must."""
    rng = random.Random(count + 1)
    rig, puppet = victim()
    good = mutations.datagrams(puppet.node_id)
    refused = accepted = 0
    for i in range(count):
        content = mutations.altered(rng.choice(good), rng)
        try:
            decode_datagram(content)
            fine = True
            accepted += 1
        except RemoteError:
            fine = False
            refused += 1
            before = snapshot(rig)
        effects = rig.receive(rng.choice([puppet.address, STRANGER]), puppet.seals(content))
        assert rejected(rig) == refused
        if not fine:
            assert not of_type(Send, effects)
            assert snapshot(rig) == before
        if i % 100 == 0:
            rig.pass_time(0.3)
    assert accepted > count / 20
    assert refused > count / 3
    works_on(rig)


@pytest.mark.parametrize("count", RUNS)
def test_garbage_frames_end_their_stream_and_change_nothing(count: int) -> None:
    rng = random.Random(count + 2)
    rig, puppet = victim()
    conversations = mutations.frames()
    fed = refused = 0
    while fed < count:
        rig.now += 0.001
        conn, stream = connect(rig, puppet)
        alive = True
        contents = [mutations.introduction(puppet.node_id), *rng.choice(conversations)]
        for content in contents:
            if rng.random() < 0.4:
                content = mutations.altered(content, rng)
            before = snapshot(rig)
            effects = pump(
                rig, conn, stream, rig.done(rig.engine.stream_received(rig.now, conn, stream.seals(content)))
            )
            fed += 1
            alive = not any(effect.conn == conn for effect in of_type(Close, effects))
            if rejected(rig) > refused:
                refused += 1
                assert not alive
                assert snapshot(rig) == before
            if not acceptable(content):
                assert not alive
            if not alive:
                break
        if alive:
            rig.done(rig.engine.stream_closed(rig.now, conn))
        if fed % 100 == 0:
            rig.pass_time(0.1)
    assert refused > count / 20
    works_on(rig)


def acceptable(content: bytes) -> bool:
    try:
        decode_frame(content)
    except RemoteError:
        return False
    return True


@pytest.mark.parametrize("count", RUNS)
def test_random_bytes_on_a_stream_end_it_sooner_or_later(count: int) -> None:
    rng = random.Random(count + 3)
    rig, puppet = victim()
    before = snapshot(rig)
    fed = ended = 0
    while fed < count:
        conn = rig.engine.next_conn()
        stream = HandStream(puppet)
        pump(rig, conn, stream, rig.done(rig.engine.stream_opened(rig.now, conn, puppet.address)))
        good = (
            stream.greeting() + stream.writes(Introduce(puppet.node_id, "puppet", 1, False)) if stream.frames else b""
        )
        data = mutations.flipped(good or stream.greeting() + rng.randbytes(200), rng)
        open_now = True
        while data and open_now:
            size = rng.choice([1, 5, 50, 500])
            effects = rig.done(rig.engine.stream_received(rig.now, conn, data[:size]))
            open_now = not of_type(Close, effects)
            data = data[size:]
            fed += 1
        ended += not open_now
        if open_now:
            rig.done(rig.engine.stream_closed(rig.now, conn))
    assert snapshot(rig) == before
    assert ended > 100
    assert rejected(rig) == ended
    works_on(rig)


def test_the_corpus_itself_is_accepted() -> None:
    rig, puppet = victim()
    for content in mutations.datagrams(puppet.node_id):
        rig.receive(puppet.address, puppet.seals(content))
    for conversation in mutations.frames():
        conn, stream = connect(rig, puppet)
        for content in [mutations.introduction(puppet.node_id), *conversation]:
            pump(rig, conn, stream, rig.done(rig.engine.stream_received(rig.now, conn, stream.seals(content))))
    assert rig.engine.statistics().rejected == {}
    assert rig.replica.context.covers(mutations.replica().context)


def test_garbage_from_one_member_does_not_spoil_a_delta_of_another() -> None:
    rig, puppet = victim()
    twice: Delta = Replica("w").orset("s").add("x")
    rig.receive(puppet.address, puppet.says(Push(twice, 1, 0)) + b"\0")
    rig.receive(puppet.address, puppet.says(Push(twice, 1, 0)))
    assert "x" in rig.replica.orset("s")
