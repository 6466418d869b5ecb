"""Streams: one for each member, a bounded number, given up without progress, and nothing lost by a break."""

import gc
import tracemalloc
from itertools import pairwise

import pytest

from crdts import Context, Delta, Event, Replica, limits
from crdts.delta import events_delta, state_delta
from crdts.limits import MAX_SEQ, MAX_VALUE_BYTES
from gossip.protocol import Close, Config, Effect, OpenStream, Persist, Write
from gossip.protocol.sync.streams import GOODBYE_WAIT
from gossip.protocol.wire.messages import (
    CanReconcile,
    Chunk,
    Digest,
    Done,
    Introduce,
    Offer,
    StateEnd,
    StatePart,
    WholeContext,
)
from simulations import Cluster, Link

from ..support import HandStream, Puppet, Rig, connect, notices, of_type, pass_time_with, pump, say


def introduction(puppet: Puppet, *, whole: bool = False) -> Introduce:
    return Introduce(puppet.node_id, puppet.name, puppet.epoch, whole)


def closed(effects: list[Effect]) -> list[int]:
    return [effect.conn for effect in of_type(Close, effects)]


def test_both_sides_of_a_stream_end_with_everything() -> None:
    cluster = Cluster(2, seed=1)
    cluster.cut([0], [1])
    for i, node in enumerate(cluster.nodes):
        for j in range(3_000):
            node.replica.orset("s").add(f"{i} {j}")
    cluster.heal()
    cluster.run_until_converged(timeout=15)
    assert len(cluster[0].replica.orset("s")) == 6_000
    assert cluster[0].engine.statistics().streams_opened <= 2, "one from each side at most"


def test_what_a_stream_brings_counts_as_repaired() -> None:
    cluster = Cluster(2, seed=1)
    for i in range(20_000):
        cluster[0].replica.orset("s").add(i)
    cluster.run_until_converged(timeout=15)
    statistics = cluster[1].engine.statistics()
    assert 1 <= statistics.streams_opened <= 2, "one from each side at most"
    assert statistics.events_repaired == statistics.events_new == 20_000


def test_what_a_stream_brought_is_told_to_others() -> None:
    cluster = Cluster(8, seed=1)
    cluster.run(2.0)
    for i in range(20_000):
        cluster[0].replica.orset("s").add(i)
    assert cluster.run_until_converged(timeout=10) < 3.0


@pytest.mark.parametrize("size", [1_100, 20_000, MAX_VALUE_BYTES - 5])
def test_values_of_any_size_travel(size: int) -> None:
    cluster = Cluster(3, seed=1, link=Link(loss=0.1))
    cluster.run(1.0)
    cluster[0].replica.lwwmap("m").set("large", b"x" * size)
    cluster[0].replica.lwwmap("m").set("small", 1)
    cluster.run_until_converged(timeout=15)
    assert len(cluster[2].replica.lwwmap("m")["large"]) == size


def test_a_large_value_with_many_rivals_travels() -> None:
    cluster = Cluster(2, seed=1)
    cluster.run(1.0)
    for i in range(3_000):
        cluster[0].replica.merge(Replica(f"{i}".ljust(64, "w")).mvregister("r").set(i))
    cluster[0].replica.mvregister("r").set(b"x" * (MAX_VALUE_BYTES - 5))
    cluster.run_until_converged(timeout=15)
    assert len(cluster[1].replica.mvregister("r").get()[0]) == MAX_VALUE_BYTES - 5


# ---- breaking


def test_a_stream_that_breaks_midway_is_resumed_and_what_arrived_is_not_sent_again() -> None:
    cluster = Cluster(2, seed=1, config=Config(stream_chunk_bytes=8_000))
    cluster.run(1.0)
    for i in range(60_000):
        cluster[0].replica.orset("s").add(f"{i * 2_654_435_761 % 2**32:08x}")  # nothing that columns make small
    received, breaks = cluster[1].replica, 0
    while not cluster.converged() and cluster.queue.now < 60:
        before = len(received.orset("s"))
        cluster.run(0.004)
        if len(received.orset("s")) > before + 3_000:
            cluster.cut([0], [1])
            breaks += 1
            cluster.run(0.5)
            cluster.heal()
    cluster.run_until_converged(timeout=5)
    assert breaks >= 3
    assert len(received.orset("s")) == 60_000
    assert cluster[1].engine.statistics().events_known < 60_000 / 4
    assert cluster[1].engine.statistics().streams_failed >= breaks


def test_a_state_that_is_refused_is_neither_counted_nor_saved_nor_told_of() -> None:
    rig, puppet = Rig(), Puppet()
    puppet.meets(rig)
    writer = Replica("retired")
    rig.replica.merge(writer.orset("s").add("known"))
    rig.replica.retire("retired")
    rig.pass_time(1.0)
    writer.orset("s").add("beyond the limit")
    state = writer.store.kernel.state()
    assert state.context is not None
    conn, stream = connect(rig, puppet)
    effects = say(rig, conn, stream, introduction(puppet), WholeContext(state.context))
    parts = (StatePart(events_delta(state.events)), StateEnd(state_delta((), state.context, ())))
    effects += say(rig, conn, stream, *parts, Done())
    assert set(rig.replica.orset("s")) == {"known"}
    assert "state.joined" not in notices(effects)
    assert not [effect for effect in of_type(Persist, effects) if effect.states]
    assert rig.engine.statistics().states_joined == 0


def test_a_state_that_breaks_midway_leaves_no_trace_and_comes_again() -> None:
    cluster = Cluster(2, seed=1, log_limit=4)
    cluster.run(1.0)
    cluster.cut([0], [1])
    for i in range(20_000):
        cluster[0].replica.orset("s").add(i % 15_000)
    cluster.heal()
    before = cluster[1].replica.context
    while cluster[1].engine.statistics().stream_bytes_received < 20_000 and cluster.queue.now < 30:
        cluster.run(0.001)
    cluster.cut([0], [1])
    cluster.run(1.0)
    assert cluster[1].replica.context == before
    assert cluster[1].engine.statistics().streams_failed == 1
    cluster.heal()
    cluster.run_until_converged(timeout=15)
    assert len(cluster[1].replica.orset("s")) == 15_000


def test_a_stream_that_cannot_be_connected_is_tried_again_by_the_next_digest() -> None:
    rig, puppet = Rig(), Puppet()
    puppet.meets(rig)
    for _ in range(3):
        (opened,) = of_type(OpenStream, rig.receive(puppet.address, puppet.says(Offer())))
        assert "stream.failed" not in notices(rig.done(rig.engine.stream_closed(rig.now, opened.conn)))
        assert notices(pass_time_with(rig, GOODBYE_WAIT, puppet)).count("stream.failed") == 1
    assert rig.engine.statistics().streams_failed == 3


def test_a_stream_that_ends_as_its_member_leaves_is_counted_and_no_news() -> None:
    rig, puppet = Rig(), Puppet()
    puppet.meets(rig)
    conn, stream = connect(rig, puppet)
    say(rig, conn, stream, introduction(puppet))
    effects = rig.done(rig.engine.stream_closed(rig.now, conn))
    effects += puppet.leaves(rig)
    assert "stream.failed" not in notices([*effects, *rig.pass_time(10 * GOODBYE_WAIT)])
    assert rig.engine.statistics().streams_failed == 1


@pytest.mark.parametrize("whole", [False, True])
def test_a_hundred_streams_that_failed_leave_nothing_in_memory(whole: bool) -> None:
    """Without a search for circles: in a node that holds very many entries they are an hour apart."""
    rig = Rig(config=Config(stream_chunk_bytes=2_000))
    for i in range(3_000):
        rig.replica.lwwmap("m").set(f"key {i}", i)
    puppet = Puppet()

    def fail() -> None:
        conn, stream = connect(rig, puppet)
        said = stream.writes(introduction(puppet, whole=whole), WholeContext(Context()))
        effects = rig.done(rig.engine.stream_received(rig.now, conn, said))
        for _ in range(5):
            for write in of_type(Write, effects):
                stream.take(write.data)
            effects = rig.done(rig.engine.stream_writable(rig.now, conn))
        assert of_type(StatePart if whole else Chunk, stream.heard), "in the middle of a catch-up"
        rig.done(rig.engine.stream_closed(rig.now, conn))

    fail()
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(100):
            fail()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        gc.enable()
    assert rig.engine.statistics().streams_failed == 101
    assert after - before < 300_000


def test_streams_that_keep_failing_are_opened_ever_more_rarely_and_not_never() -> None:
    rig, puppet = Rig(), Puppet()
    puppet.meets(rig)
    opened = []
    while rig.now < 120.0:
        for effect in of_type(OpenStream, rig.receive(puppet.address, puppet.says(Offer()))):
            opened.append(rig.now)
            rig.done(rig.engine.stream_closed(rig.now, effect.conn))
        rig.now += 0.05
    gaps = [later - earlier for earlier, later in pairwise(opened)]
    assert 12 < len(opened) < 20, "however often a member offers"
    assert all(one <= other + 0.06 for one, other in pairwise(gaps))
    assert 12.0 < max(gaps) < 13.5


def test_a_stream_that_brought_something_before_it_failed_is_followed_by_another_soon() -> None:
    rig, puppet = Rig(), Puppet()
    puppet.meets(rig)
    writer = Replica("writer")
    for _ in range(8):
        conn, stream = connect(rig, puppet)
        say(rig, conn, stream, introduction(puppet), Chunk(writer.orset("s").add(rig.now)))
        rig.done(rig.engine.stream_closed(rig.now, conn))
        rig.now += 0.2
    assert of_type(OpenStream, rig.receive(puppet.address, puppet.says(Offer())))


def test_who_had_to_refuse_events_asks_for_whole_states_and_ever_more_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_PREKILLED_OF_WRITER", 2)
    rig, puppet = Rig(), Puppet()
    asked = []
    seq = 0
    while rig.now < 300.0:
        conn, stream = connect(rig, puppet)
        say(rig, conn, stream, introduction(puppet))
        introduced = of_type(Introduce, stream.heard)[0]
        if introduced.whole:
            asked.append(rig.now)
        seq += 1
        kills = (("nobody", 3 * seq), ("nobody", 3 * seq + 1))
        say(rig, conn, stream, Chunk(events_delta([Event("evil", seq, b"", b"", None, kills)])))
        rig.done(rig.engine.stream_closed(rig.now, conn))
        rig.now += 0.5
    assert sum(map(len, rig.kernel.prekilled.values())) == 2
    assert rig.engine.statistics().events_refused == seq - 1
    assert 5 < len(asked) < 15
    assert asked[0] < 2.0


# ---- both at once


@pytest.mark.parametrize("seed", range(8))
def test_when_both_open_a_stream_at_once_one_of_them_stays_and_does_the_work(seed: int) -> None:
    """Each side learns of the other at the same instant and lacks more than datagrams carry."""
    cluster = Cluster(2, seed=seed, link=Link(latency=(0.001, 0.001)))
    cluster.run(1.0)
    cluster.cut([0], [1])
    for i, node in enumerate(cluster.nodes):
        for j in range(5_000):
            node.replica.orset("s").add(f"{i} {j}")
    cluster.heal()
    cluster.run_until_converged(timeout=15)
    cluster.run(2.0)
    opened = [node.engine.statistics().streams_opened for node in cluster.nodes]
    assert max(opened) <= 4
    assert len(cluster[0].replica.orset("s")) == 10_000


@pytest.mark.parametrize("ours_is_lower", [True, False])
def test_of_two_streams_between_the_same_two_the_one_opened_by_the_lower_id_stays(ours_is_lower: bool) -> None:
    rig = Rig()
    puppet = next(
        p for p in (Puppet(f"p{i}") for i in range(99)) if (rig.identity.node_id < p.node_id) is ours_is_lower
    )
    puppet.meets(rig)
    (ours,) = of_type(OpenStream, rig.receive(puppet.address, puppet.says(Offer())))
    theirs, stream = connect(rig, puppet)
    effects = say(rig, theirs, stream, introduction(puppet))
    assert closed(effects) == [theirs if ours_is_lower else ours.conn]


def test_a_second_stream_of_a_member_replaces_the_first_which_must_have_been_lost() -> None:
    rig, puppet = Rig(), Puppet()
    first, stream = connect(rig, puppet)
    say(rig, first, stream, introduction(puppet))
    second, stream = connect(rig, puppet)
    assert closed(say(rig, second, stream, introduction(puppet))) == [first]


def test_a_stream_to_ourselves_is_refused() -> None:
    rig, puppet = Rig(), Puppet()
    conn, stream = connect(rig, puppet)
    me = rig.identity
    assert closed(say(rig, conn, stream, Introduce(me.node_id, me.name, me.epoch, False))) == [conn]
    assert rig.engine.statistics().rejected == {"malformed": 1}


# ---- limits


def test_no_more_streams_than_the_limit_are_open_at_once() -> None:
    rig = Rig(config=Config(max_streams=3))
    puppets = [Puppet(f"p{i}", host=f"10.2.0.{i}") for i in range(5)]
    accepted = []
    for puppet in puppets[:3]:
        conn, stream = connect(rig, puppet)
        say(rig, conn, stream, introduction(puppet))
        accepted.append((conn, stream))
    extra = rig.engine.next_conn()
    assert closed(rig.done(rig.engine.stream_opened(rig.now, extra, puppets[3].address))) == [extra]
    puppets[4].meets(rig)
    assert not of_type(OpenStream, rig.receive(puppets[4].address, puppets[4].says(Offer())))
    conn, stream = accepted[0]
    assert closed(say(rig, conn, stream, WholeContext(rig.replica.context), Done())) == [conn]
    assert of_type(OpenStream, rig.receive(puppets[4].address, puppets[4].says(Offer())))


def test_strangers_that_say_nothing_make_way_for_members() -> None:
    rig, puppet = Rig(config=Config(max_streams=3)), Puppet()
    puppet.meets(rig)
    strangers = [rig.engine.next_conn() for _ in range(3)]
    for conn in strangers:
        rig.done(rig.engine.stream_opened(rig.now, conn, Puppet(host="10.9.9.9").address))
    effects = rig.receive(puppet.address, puppet.says(Offer()))
    assert closed(effects) == strangers[:1]
    assert of_type(OpenStream, effects)
    fourth, stream = connect(rig, Puppet("another", host="10.2.0.2"))
    assert stream.frames is not None
    assert fourth not in strangers


def test_a_newcomer_gets_through_though_more_ask_than_the_limit_allows() -> None:
    cluster = Cluster(1, seed=1, config=Config(max_streams=2))
    for i in range(5_000):
        cluster[0].replica.orset("s").add(i)
    for _ in range(8):
        cluster.add()
    cluster.run_until_converged(timeout=30)


# ---- time


def test_a_stream_without_progress_is_given_up() -> None:
    rig, puppet = Rig(), Puppet()
    conn, stream = connect(rig, puppet)
    say(rig, conn, stream, introduction(puppet))
    assert closed(rig.pass_time(9.9)) == []
    say(rig, conn, stream, Chunk(Replica("r").orset("s").add(1)))
    assert closed(rig.pass_time(9.9)) == []
    assert closed(rig.pass_time(0.2)) == [conn]
    assert rig.engine.statistics().streams_failed == 1


def test_a_stream_that_never_connects_is_given_up_and_refused_when_it_connects_after_all() -> None:
    rig, puppet = Rig(), Puppet()
    puppet.meets(rig)
    (opened,) = of_type(OpenStream, rig.receive(puppet.address, puppet.says(Offer())))
    assert closed(rig.pass_time(10.1)) == [opened.conn]
    assert rig.done(rig.engine.stream_opened(rig.now, opened.conn, puppet.address)) == [Close(opened.conn)]


def test_a_stranger_that_dribbles_gets_no_more_time_than_one_that_is_silent() -> None:
    rig, puppet = Rig(), Puppet()
    conn = rig.engine.next_conn()
    rig.done(rig.engine.stream_opened(rig.now, conn, puppet.address))
    gone = []
    for byte in puppet.seal.greeting(bytes(16)):
        gone += closed(rig.pass_time(1.0))
        gone += closed(rig.done(rig.engine.stream_received(rig.now, conn, bytes([byte]))))
    assert gone == [conn]
    assert rig.now < 25


def test_bytes_and_room_on_a_stream_that_is_gone_are_ignored() -> None:
    rig = Rig()
    for call in (
        rig.engine.stream_received(0, 7, b"late"),
        rig.engine.stream_writable(0, 7),
        rig.engine.stream_closed(0, 7),
    ):
        assert call == []
    assert rig.engine.statistics().streams_failed == 0


def test_one_piece_is_written_at_a_time() -> None:
    rig, puppet = Rig(config=Config(stream_chunk_bytes=1000)), Puppet()
    for i in range(500):
        rig.replica.orset("s").add(i)
    rig.pass_time(0.1)
    conn = rig.engine.next_conn()
    stream = HandStream(puppet)
    first = rig.done(rig.engine.stream_opened(rig.now, conn, puppet.address))
    again = rig.done(rig.engine.stream_received(rig.now, conn, stream.greeting()))
    assert len(first) == 1
    assert again == [], "the first piece is not with the system yet"
    pump(rig, conn, stream, first)
    assert [type(frame) for frame in stream.heard] == [Introduce, CanReconcile, WholeContext]
    say(rig, conn, stream, introduction(puppet), WholeContext(Replica("x").context))
    chunks = of_type(Chunk, stream.heard)
    assert sum(len(chunk.delta.events) for chunk in chunks) == 500
    assert len(chunks) > 2
    assert isinstance(stream.heard[-1], Done)


def test_a_member_whose_stream_finished_is_compared_with_again() -> None:
    rig, puppet = Rig(), Puppet()
    puppet.meets(rig)
    conn, stream = connect(rig, puppet)
    effects = say(rig, conn, stream, introduction(puppet), WholeContext(Replica("x").context), Done())
    assert closed(effects) == [conn]
    assert of_type(Digest, puppet.hears(effects))


def test_runs_of_dead_dots_beyond_all_counting_change_nothing_and_harm_nobody() -> None:
    rig, puppet = Rig(), Puppet()
    conn, stream = connect(rig, puppet)
    huge = Delta((), tuple((name, 1, MAX_SEQ) for name in ("a", "b", "c")))
    effects = say(rig, conn, stream, introduction(puppet), Chunk(huge))
    effects += say(rig, conn, stream, Chunk(huge), WholeContext(rig.replica.context), Done())
    assert "data.received" not in notices(effects)
    assert not rig.replica.context
    assert closed(effects) == [conn]


@pytest.mark.parametrize("breaks", [True, False])
def test_news_of_a_stream_is_told_at_once_also_when_it_breaks(breaks: bool) -> None:
    rig = Rig()
    puppet, other = Puppet(), Puppet("other", host="10.2.0.2")
    other.meets(rig)
    rig.pass_time(0.5)
    conn, stream = connect(rig, puppet)
    effects = say(rig, conn, stream, introduction(puppet), Chunk(Replica("r").orset("s").add("kept")))
    assert "data.received" in notices(effects)
    if breaks:
        effects = rig.done(rig.engine.stream_closed(rig.now, conn))
    else:
        effects = say(rig, conn, stream, WholeContext(rig.replica.context), Done())
        assert closed(effects) == [conn]
    effects += rig.pass_time(0.05)
    assert "kept" in rig.replica.orset("s")
    assert of_type(Digest, other.hears(effects))
