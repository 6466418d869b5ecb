"""Whatever was missed is found and travels, by itself, and costs next to nothing when nothing was."""

import random
from collections.abc import Iterator
from contextlib import suppress
from hashlib import blake2b
from itertools import pairwise
from time import process_time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crdts import Context, Delta, InvalidValue, Replica, WriterRetired, encode_context
from crdts.context import DotRange
from crdts.delta import state_delta
from crdts.kernel import Kernel
from crdts.limits import MAX_SEQ
from gossip.protocol import Close, Config, Effect, OpenStream, Send
from gossip.protocol.membership.peers import STRANGE_ROUNDS
from gossip.protocol.sync.antientropy import OFFERS, context_pages
from gossip.protocol.wire.codec import decode_datagram
from gossip.protocol.wire.messages import ContextPage, Digest, Message, Offer, Push, Same
from simulations import Cluster, Link

from ..support import Puppet, Rig, notices, of_type, only


def merge_many(replica: Replica, writers: int, *, writes: int = 1, prefix: str = "writer ") -> None:
    """Let ``replica`` hear of so many replica ids."""
    for i in range(writers):
        other = Replica(f"{prefix}{i:05}")
        for j in range(writes):
            other.orset("s").add(f"{prefix}{i} {j}")
        replica.merge(other)


# ---- digests


def test_equal_replicas_say_so_and_nothing_more() -> None:
    rig, puppet = Rig(), Puppet()
    digest = only(Digest, puppet.meets(rig))
    told = puppet.hears(rig.receive(puppet.address, puppet.says(digest)))
    assert told == [Same(digest.context_hash)]


def something_processed(rng: random.Random, rig: Rig, others: list[Replica]) -> None:
    """One thing that changes what a replica has processed, or that is undone."""
    other = rng.choice(others)
    match rng.randrange(7):
        case 0:
            rig.replica.orset("s").add(rng.randrange(50))
        case 1:
            with suppress(KeyError), rig.replica.transaction():
                rig.replica.orset("s").add(rng.randrange(50))
                if rng.random() < 0.5:
                    raise KeyError
        case 2:
            rig.replica.merge(other.orset("s").add(rng.randrange(50)))
        case 3:
            rig.replica.merge(other.orset("s").clear())
        case 4:
            other.orset("s").add(rng.randrange(50))
            rig.replica.merge(other.store.kernel.state())
        case 5:
            rig.replica.merge(other.counter("c").increment())
            with suppress(InvalidValue):
                rig.replica.retire(other.replica_id)
            others.append(Replica(f"writer {len(others)}"))
        case _:
            for one in others:
                one.merge(rig.replica)
                rig.replica.report(one.replica_id, one.context)


@pytest.mark.parametrize("seed", range(10))
def test_a_digest_is_compared_with_what_has_been_processed_by_now(seed: int) -> None:
    rng, rig, puppet = random.Random(seed), Rig(), Puppet()
    puppet.meets(rig)
    others = [Replica(f"writer {i}") for i in range(4)]
    hashes: dict[bytes, None] = {}
    for _ in range(150):
        with suppress(WriterRetired):
            something_processed(rng, rig, others)
        mark = blake2b(encode_context(rig.replica.context), digest_size=8).digest()
        told = puppet.hears(rig.receive(puppet.address, puppet.says(Digest(mark, rig.replica.fingerprint))))
        assert told == [Same(mark)]
        hashes[mark] = None
    assert len(hashes) > 50
    assert rig.replica.retired, "writers that leave the context were put to the test as well"


def test_a_peer_that_lacks_little_gets_it_at_once() -> None:
    rig, puppet = Rig(), Puppet()
    puppet.meets(rig)
    for i in range(100):
        rig.replica.orset("s").add(i)
    rig.pass_time(0.1)
    page = ContextPage("", "", Context({rig.replica.replica_id: 40}), True)
    told = puppet.hears(rig.receive(puppet.address, puppet.says(page)))
    assert sorted(e.seq for push in of_type(Push, told) for e in push.delta.events) == list(range(41, 101))
    assert len(told) == len(of_type(Push, told))


def test_a_peer_that_has_more_is_asked_for_it() -> None:
    rig, puppet = Rig(), Puppet()
    puppet.meets(rig)
    rig.replica.orset("s").add(1)
    rig.pass_time(0.1)
    theirs = Context({rig.replica.replica_id: 1, "other": 5})
    told = puppet.hears(rig.receive(puppet.address, puppet.says(ContextPage("", "", theirs, True))))
    assert told == [ContextPage("", "", rig.replica.context, answer=False)]
    assert not of_type(Send, rig.receive(puppet.address, puppet.says(ContextPage("", "", theirs, False))))


def test_a_page_says_nothing_of_the_replicas_outside_its_bounds() -> None:
    rig, puppet = Rig(), Puppet()
    puppet.meets(rig)
    merge_many(rig.replica, 9)
    page = ContextPage("writer 00003", "writer 00005", Context(), True)
    told = puppet.hears(rig.receive(puppet.address, puppet.says(page)))
    assert [e.replica for push in of_type(Push, told) for e in push.delta.events] == ["writer 00003", "writer 00004"]


def test_all_that_pushes_lose_is_found_within_a_few_rounds() -> None:
    cluster = Cluster(2, seed=1)
    cluster.run(2.0)
    cluster.set_link(loss=1.0)
    cluster[0].replica.orset("s").add("lost")
    cluster[1].replica.orset("s").add("as well")
    cluster.run(0.1)
    cluster.set_link(loss=0.0)
    assert not cluster.converged()
    cluster.run_until_converged(timeout=2.5)


def test_at_rest_a_node_sends_one_small_probe_an_interval_and_answers_as_many() -> None:
    cluster = Cluster(20, seed=1)
    for i, node in enumerate(cluster.nodes):
        node.replica.orset("s").add(i)
    cluster.run(30.0)
    before = [node.engine.statistics() for node in cluster.nodes]
    cluster.run(60.0)
    for old, new in zip(before, [node.engine.statistics() for node in cluster.nodes], strict=True):
        assert 200 <= new.datagrams_sent - old.datagrams_sent <= 240
        assert new.datagram_bytes_sent - old.datagram_bytes_sent < 60 * 292
        assert new.streams_opened == old.streams_opened


def test_a_cluster_that_boots_at_once_is_quiet_within_seconds() -> None:
    cluster = Cluster(30, seed=1)
    cluster.run(2.0)
    assert cluster.network.datagrams < 30 * 29 * 25, "a bounded number a pair"
    before = cluster.network.datagrams
    cluster.run(10.0)
    assert cluster.network.datagrams - before < 30 * 10 * 4.3


# ---- contexts


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=16),
        st.lists(st.tuples(st.integers(1, 1 << 40), st.integers(1, 1 << 20)), min_size=1, max_size=4),
        max_size=60,
    ),
    st.sampled_from([150, 600, 1127]),
)
def test_pages_cover_every_replica_once_and_put_together_make_the_context(
    ranges: dict[str, list[tuple[int, int]]], max_bytes: int
) -> None:
    context = Context.of((r, start, start + size) for r, found in ranges.items() for start, size in found)
    pages = context_pages(context, max_bytes, most=1000)
    assert pages is not None
    assert context_pages(context, max_bytes, most=len(pages)) == pages
    assert len(pages) == 1 or context_pages(context, max_bytes, most=len(pages) - 1) is None
    assert pages[0].first == ""
    assert pages[-1].stop == ""
    assert all(page.stop == following.first for page, following in pairwise(pages))
    whole = Context()
    for page in pages:
        whole.update(page.context)
        assert len(encode_context(page.context)) <= max_bytes or len(page.context.replicas()) == 1
    assert whole == context


def test_a_context_at_the_end_of_all_numbers_can_still_be_told() -> None:
    """One hostile event must not leave us with a context that every peer refuses."""
    rig, puppet = Rig(), Puppet()
    puppet.meets(rig)
    event = Replica("far").orset("s").add(1).events[0]._replace(seq=MAX_SEQ)
    rig.receive(puppet.address, puppet.says(Push(type(Replica("x").orset("s").add(1))((event,)), 0, 0)))
    assert rig.replica.context.last("far") == MAX_SEQ
    told = puppet.hears(rig.receive(puppet.address, puppet.says(Digest(bytes(8), 0))))
    assert only(ContextPage, told).context == rig.replica.context


def test_a_context_larger_than_one_datagram_is_paged() -> None:
    cluster = Cluster(3, seed=1)
    cluster.run(1.0)
    cluster.cut([0], [1], [2])
    for i, node in enumerate(cluster.nodes):
        merge_many(node.replica, 200, prefix=f"{i} ")
    cluster.heal()
    pages = []
    seal = cluster.seal
    cluster.network.taps.append(
        lambda _, __, data: pages.extend(of_type(ContextPage, decode_datagram(seal.open(data))[2]))
    )
    cluster.run_until_converged(timeout=20)
    assert len(cluster[0].replica.context.replicas()) == 600
    assert any(page.first for page in pages)
    assert cluster.network.largest_datagram <= Config().datagram_bytes


def test_an_answer_that_outgrows_one_datagram_is_paged_too() -> None:
    rig, puppet = Rig(), Puppet()
    puppet.meets(rig)
    merge_many(rig.replica, 300)
    effects = rig.receive(puppet.address, puppet.says(ContextPage("", "", Context({"theirs": 1}), True)))
    assert max(len(send.data) for send in of_type(Send, effects)) <= Config().datagram_bytes
    whole = Context()
    for page in of_type(ContextPage, puppet.hears(effects)):
        whole.update(page.context)
        assert not page.answer
    assert whole == rig.replica.context


def test_a_context_larger_than_all_pages_goes_over_a_stream() -> None:
    cluster = Cluster(2, seed=1, config=Config(max_context_pages=2))
    cluster.run(1.0)
    for i, node in enumerate(cluster.nodes):
        merge_many(node.replica, 400, prefix=f"{i} ")
    cluster.run_until_converged(timeout=20)
    assert cluster[1].engine.statistics().streams_opened >= 1
    assert cluster.network.largest_datagram <= Config().datagram_bytes


@pytest.mark.parametrize("question", [Digest(bytes(8), 0), ContextPage("", "", Context({"other": 1}), True)])
def test_of_very_many_writers_a_stream_is_offered_without_a_walk_over_all_of_them(question: Message) -> None:
    rig, puppet = Rig(), Puppet()
    puppet.meets(rig)
    rig.kernel.merge(state_delta((), Context({f"{i * 7_919 % 100_003:06}": 1 for i in range(100_000)}), ()))
    rig.receive(puppet.address, puppet.says(question))
    took, offers = [], 0
    for i in range(5):
        rig.kernel.merge(Replica(f"new {i}").orset("s").add(i))
        rig.now += 1.0
        datagram = puppet.says(question)
        began = process_time()
        told = puppet.hears(rig.receive(puppet.address, datagram))
        took.append(process_time() - began)
        assert not of_type(ContextPage, told)
        offers += len(of_type(Offer, told))
    assert offers >= 2
    began = process_time()
    encode_context(rig.replica.context)
    assert min(took) < process_time() - began, "less than to encode all of them but once"


def test_a_context_in_very_many_pieces_goes_over_a_stream() -> None:
    cluster = Cluster(2, seed=1)
    cluster.run(1.0)
    writer = Replica("writer")
    for i in range(4000):
        delta = writer.orset("s").add(i)
        cluster[i % 2].replica.merge(delta)
    cluster.run_until_converged(timeout=20)
    assert len(cluster[0].replica.orset("s")) == 4000
    assert cluster.network.largest_datagram <= Config().datagram_bytes


def test_dots_of_one_writer_in_more_ranges_than_a_page_can_hold_are_no_page() -> None:
    context = Context.of([("writer", 2 * i + 1, 2 * i + 2) for i in range(10_000)])
    assert context_pages(context, 1_000, most=16) is None
    looked_at: list[DotRange] = []
    ranges = context.ranges()

    class Counting(Context):
        def ranges(self) -> Iterator[DotRange]:
            for each in ranges:
                looked_at.append(each)
                yield each

    assert context_pages(Counting(), 1_000, most=16) is None
    assert len(looked_at) <= 501, "a range takes two bytes at least"


# ---- streams offered


@pytest.mark.parametrize("kind", ["live", "removals", "replaced"])
def test_a_stream_is_offered_without_making_any_datagram_of_what_is_missing(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig, puppet = Rig(), Puppet()
    puppet.meets(rig)
    tasks = rig.replica.orset("tasks")
    for i in range(10_000):
        tasks.add(i)
    known = Context() if kind == "live" else rig.replica.context.copy()
    for i in range(5_000):
        if kind == "removals":
            tasks.remove(i)
        elif kind == "replaced":
            tasks.add(i)
            tasks.add(i)
    rig.pass_time(1.0)
    pieces: list[Delta] = []
    deltas_since = Kernel.deltas_since

    def counted(self: Kernel, *args: Any) -> Iterator[Delta]:
        for piece in deltas_since(self, *args):
            pieces.append(piece)
            yield piece

    monkeypatch.setattr(Kernel, "deltas_since", counted)
    told = puppet.hears(rig.receive(puppet.address, puppet.says(ContextPage("", "", known, False))))
    assert of_type(Offer, told)
    assert not of_type(Push, told)
    assert pieces == []


def test_the_pages_of_one_context_lead_to_one_offer() -> None:
    rig, puppet = Rig(), Puppet()
    puppet.meets(rig)
    merge_many(rig.replica, 30, writes=300)
    middle = "writer 00015"
    effects = rig.receive(puppet.address, puppet.says(ContextPage("", middle, Context(), True)))
    effects += rig.receive(puppet.address, puppet.says(ContextPage(middle, "", Context(), True)))
    assert puppet.hears(effects) == [Offer()]


def test_who_never_takes_up_an_offer_is_connected_to_and_if_that_fails_gets_a_few_datagrams_every_round() -> None:
    rig, puppet = Rig(), Puppet()
    puppet.meets(rig)
    for i in range(10_000):
        rig.replica.orset("s").add(i)
    rig.pass_time(1.0)
    theirs = Replica("theirs")
    offers = opened = rounds = 0
    while len(theirs.orset("s")) < 10_000:
        rounds += 1
        page = ContextPage("", "", theirs.context, True)
        effects = rig.receive(puppet.address, puppet.says(page))
        for conn in [effect.conn for effect in of_type(OpenStream, effects)]:
            opened += 1
            rig.done(rig.engine.stream_closed(rig.now, conn))
        told = puppet.hears(effects)
        offers += len(of_type(Offer, told))
        for push in of_type(Push, told):
            theirs.merge(push.delta)
        rig.pass_time(1.0)
        assert rounds < 60
    assert offers == OFFERS
    assert opened >= 1


def test_a_new_life_of_a_member_does_not_wait_for_what_its_former_life_failed_to_do() -> None:
    rig, puppet = Rig(), Puppet()
    puppet.meets(rig)
    for i in range(10_000):
        rig.replica.orset("s").add(i)
    rig.pass_time(1.0)

    def told(puppet: Puppet) -> list[Effect]:
        return rig.receive(puppet.address, puppet.says(ContextPage("", "", Context(), True)))

    for _ in range(20):
        for conn in [effect.conn for effect in of_type(OpenStream, told(puppet))]:
            rig.done(rig.engine.stream_closed(rig.now, conn))
        rig.pass_time(0.2)
    assert not of_type(Offer, puppet.hears(told(puppet)))
    again = Puppet(epoch=2)
    again.meets(rig)
    assert of_type(Offer, again.hears(told(again)))


def test_a_stream_to_a_former_life_of_a_member_is_let_go_and_does_not_count_against_the_new_life() -> None:
    rig, puppet = Rig(), Puppet()
    puppet.meets(rig)
    (opened,) = of_type(OpenStream, rig.receive(puppet.address, puppet.says(Offer())))
    again = Puppet(epoch=2)
    effects = rig.receive(again.address, again.says(Offer()))
    assert [effect.conn for effect in of_type(Close, effects)] == [opened.conn]
    effects += rig.receive(again.address, again.says(Offer()))
    assert of_type(OpenStream, effects)


def test_an_offer_is_taken_up_one_at_a_time() -> None:
    rig = Rig()
    first, second = Puppet("first"), Puppet("second", host="10.2.0.2")
    for puppet in (first, second):
        puppet.meets(rig)
    opened = of_type(OpenStream, rig.receive(first.address, first.says(Offer())))
    assert [effect.address for effect in opened] == [first.address]
    assert not of_type(OpenStream, rig.receive(first.address, first.says(Offer())))
    assert not of_type(OpenStream, rig.receive(second.address, second.says(Offer())))
    rig.done(rig.engine.stream_closed(rig.now, opened[0].conn))
    assert of_type(OpenStream, rig.receive(second.address, second.says(Offer())))


# ---- progress


def test_members_tell_how_far_they_are() -> None:
    rig, puppet = Rig(), Puppet()
    puppet.meets(rig)
    for i in range(5):
        rig.replica.orset("s").add(i)
    assert rig.engine.acked_by(5) == ([], ["puppet"])
    rig.pass_time(0.1)
    page = ContextPage("", "", Context({rig.replica.replica_id: 3}), True)
    rig.receive(puppet.address, puppet.says(page))
    assert rig.engine.acked_by(3) == (["puppet"], [])
    assert rig.engine.acked_by(4) == ([], ["puppet"])
    digest = of_type(Digest, puppet.hears(rig.pass_time(1.1)))[-1]
    effects = rig.receive(puppet.address, puppet.says(Same(digest.context_hash)))
    assert "member.progressed" in notices(effects)
    assert rig.engine.acked_by(5) == (["puppet"], [])


def test_a_hash_that_we_never_sent_acknowledges_nothing() -> None:
    rig, puppet = Rig(), Puppet()
    puppet.meets(rig)
    rig.replica.orset("s").add(1)
    rig.pass_time(0.1)
    rig.receive(puppet.address, puppet.says(Same(b"whatever")))
    assert rig.engine.acked_by(1) == ([], ["puppet"])


def test_a_page_that_is_not_about_us_acknowledges_nothing() -> None:
    rig, puppet = Rig(), Puppet()
    puppet.meets(rig)
    rig.replica.orset("s").add(1)
    rig.pass_time(0.1)
    me = rig.replica.replica_id
    for first, stop in ((me + "0", ""), ("", me)):
        rig.receive(puppet.address, puppet.says(ContextPage(first, stop, Context(), False)))
    assert rig.engine.acked_by(1) == ([], ["puppet"])


def test_whoever_waits_asks_the_late_again_and_again_until_the_wait_is_over() -> None:
    rig = Rig()
    slow, quick = Puppet("slow"), Puppet("quick", host="10.2.0.2")
    for puppet in (slow, quick):
        puppet.meets(rig)
    rig.replica.orset("s").add(1)
    rig.tick()
    rig.receive(quick.address, quick.says(ContextPage("", "", rig.replica.context, False)))
    effects = rig.done(rig.engine.await_acks(rig.now, 1)) + rig.pass_time(0.5)
    assert 8 <= len(of_type(Digest, slow.hears(effects))) <= 13
    assert len(of_type(Digest, quick.hears(effects))) <= 1
    rig.done(rig.engine.await_acks(rig.now, 0))
    assert len(of_type(Digest, slow.hears(rig.pass_time(0.5)))) <= 2


def test_a_new_life_has_to_acknowledge_anew() -> None:
    rig, puppet = Rig(), Puppet()
    puppet.meets(rig)
    rig.replica.orset("s").add(1)
    rig.pass_time(0.1)
    rig.receive(puppet.address, puppet.says(ContextPage("", "", rig.replica.context, False)))
    assert rig.engine.acked_by(1) == (["puppet"], [])
    Puppet(epoch=2).meets(rig)
    assert rig.engine.acked_by(1) == ([], ["puppet"])


# ---- strange content


def corrupt(replica: Replica) -> None:
    """Lose one entry without any event that removed it."""
    kernel = replica.store.kernel
    dot = next((r, seq) for r in sorted(kernel.live) for seq in kernel.live[r])
    kernel._drop(dot, dot)


def test_equal_events_with_unequal_content_are_noticed_counted_and_reconciled() -> None:
    cluster = Cluster(3, seed=1)
    for i, node in enumerate(cluster.nodes):
        for j in range(50):
            node.replica.orset("s").add(f"{i} {j}")
    cluster.run_until_converged()
    corrupt(cluster[1].replica)
    assert not cluster.converged()
    cluster.run_until_converged(timeout=30)
    cluster.run(5.0)
    assert sum(node.engine.statistics().fingerprint_mismatches for node in cluster.nodes) >= 1
    assert any(n.event == "fingerprint.mismatched" for node in cluster.nodes for n in node.notices)
    before = [node.engine.statistics().fingerprint_mismatches for node in cluster.nodes]
    cluster.run(60.0)
    assert [node.engine.statistics().fingerprint_mismatches for node in cluster.nodes] == before


def test_content_that_states_cannot_reconcile_is_tried_ever_more_rarely() -> None:
    rig, puppet = Rig(), Puppet()
    puppet.meets(rig)
    rig.replica.orset("s").add(1)
    digest = of_type(Digest, puppet.hears(rig.pass_time(1.1)))[-1]
    strange = Digest(digest.context_hash, digest.fingerprint ^ 1)
    opened = []
    for i in range(100):
        for effect in of_type(OpenStream, rig.receive(puppet.address, puppet.says(strange))):
            opened.append(i + 1)
            rig.done(rig.engine.stream_closed(rig.now, effect.conn))
        rig.now += 5.0  # else it is too soon after the last stream that failed
    n = STRANGE_ROUNDS
    assert opened == [n, 3 * n, 7 * n, 15 * n, 31 * n]
    assert rig.engine.statistics().fingerprint_mismatches == 5


def test_an_event_that_never_arrives_does_not_hide_strange_content() -> None:
    rig, puppet = Rig(), Puppet()
    puppet.meets(rig)
    writer = Replica("writer")
    writer.orset("s").add(1)
    late_kill = writer.orset("s").add(1)
    rig.receive(puppet.address, puppet.says(Push(late_kill, 0, 0)))
    assert rig.kernel.prekilled
    digest = of_type(Digest, puppet.hears(rig.pass_time(1.1)))[-1]
    opened = []
    for _ in range(STRANGE_ROUNDS):
        effects = rig.receive(puppet.address, puppet.says(Digest(digest.context_hash, digest.fingerprint ^ 1)))
        opened += of_type(OpenStream, effects)
    assert len(opened) == 1


# ---- trimmed logs


@pytest.mark.parametrize("seed", range(4))
def test_with_a_trimmed_log_states_are_exchanged_and_everything_converges(seed: int) -> None:
    cluster = Cluster(4, seed=seed, log_limit=8, link=Link(loss=0.1))
    cluster.run(1.0)
    for _ in range(3):
        cluster.cut([0, 1], [2, 3])
        for i in range(120):
            node = cluster[i % 4].replica
            node.orset("s").add(i % 20)
            node.counter("c").increment()
            if i % 3 == 0:
                node.orset("s").remove(i % 20)
            cluster.run(0.01)
        cluster.heal()
        for i in range(40):  # and writes go on
            cluster[i % 4].replica.lwwmap("m").set("k", i)
            cluster.run(0.02)
    cluster.run_until_converged(timeout=60)
    assert cluster[0].replica.counter("c").value() == 360
    assert sum(node.engine.statistics().states_joined for node in cluster.nodes) > 0
    assert not any(node.replica.store.kernel.prekilled for node in cluster.nodes)


# ---- bursts


@pytest.mark.parametrize("keys", [1_000, 100_000])
@pytest.mark.parametrize("loss", [0.0, 0.3])
def test_keys_written_in_one_burst_all_arrive_on_both(keys: int, loss: float) -> None:
    cluster = Cluster(2, seed=1, link=Link(loss=loss))
    cluster.run(1.0)
    left, right = (node.replica.lwwmap("m") for node in cluster.nodes)
    for i in range(keys // 2):
        left.set(f"left {i}", i)
        right.set(f"right {i}", i)
    cluster.run_until_converged(timeout=30)
    assert len(left) == len(right) == keys
    assert left[f"right {keys // 2 - 1}"] == right[f"left {keys // 2 - 1}"] == keys // 2 - 1


@pytest.mark.parametrize("loss", [0.0, 0.3])
def test_a_newcomer_pulls_ten_thousand_entries(loss: float) -> None:
    cluster = Cluster(5, seed=1, link=Link(loss=loss))
    for i in range(10_000):
        cluster[i % 5].replica.orset("s").add(f"element {i}")
    cluster.run_until_converged(timeout=30)
    newcomer = cluster.add()
    cluster.run_until_converged(timeout=20)
    assert len(newcomer.replica.orset("s")) == 10_000
    statistics = newcomer.engine.statistics()
    assert statistics.stream_bytes_received < 10_000 * 80, "nothing came twice"
    if not loss:
        assert statistics.streams_opened == 1


def test_a_newcomer_to_a_state_with_a_long_past_pays_for_what_is_alive() -> None:
    cluster = Cluster(3, seed=1)
    for i in range(6_000):
        cluster[i % 3].replica.counter("c").increment()
        cluster[i % 3].replica.orset("s").add(i % 10)
    cluster.run_until_converged(timeout=30)
    newcomer = cluster.add()
    cluster.run_until_converged(timeout=10)
    assert newcomer.replica.counter("c").value() == 6_000
    assert newcomer.engine.statistics().states_joined == 1
    assert newcomer.engine.statistics().stream_bytes_received < 10_000


def test_a_member_whose_streams_keep_failing_is_connected_to_ever_more_rarely() -> None:
    rig, puppet = Rig(), Puppet()
    puppet.meets(rig)
    for i in range(10_000):
        rig.replica.orset("s").add(i)
    rig.pass_time(1.0)
    begun, opened = rig.now, []
    while rig.now < begun + 60:
        effects = rig.receive(puppet.address, puppet.says(ContextPage("", "", Context(), True)))
        for conn in [effect.conn for effect in of_type(OpenStream, effects)]:
            opened.append(rig.now - begun)
            rig.done(rig.engine.stream_closed(rig.now, conn))
        rig.pass_time(0.1)
    assert 8 <= len(opened) <= 12
    pauses = [later - earlier for earlier, later in pairwise(opened)]
    assert pauses[-1] > 10
    assert pauses == sorted(pauses)
