"""Reconciliation: whatever happened before and happens meanwhile, both sides end as the model says, or unchanged."""

from collections.abc import Callable
from random import Random
from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import crdts.reconcile.reconcile
from crdts import (
    Context,
    DecodeError,
    Delta,
    Event,
    InvalidValue,
    LocalError,
    OutOfStep,
    Reconciliation,
    Replica,
    encode,
)
from crdts.codec import encode_context
from crdts.delta import events_delta
from crdts.livemap import CHUNK_DOTS
from crdts.reconcile.reconcile import MIN_MESSAGE_BYTES
from crdts.schema import RETIRED

from .. import mutations
from ..oracle import Oracle, assert_equal, check_structure, dots_of, flat, random_step, replica, sent

SEEDS = st.integers(0, 1 << 32).map(Random)
BUDGETS = st.sampled_from([512, 700, 2000, 65_536])


def converse(one: Reconciliation, other: Reconciliation, between: Callable[[], object] = lambda: None) -> list[int]:
    """Run an exchange to its end, whether both take what they are told or not; returns the sizes of the messages."""
    message: bytes | None = one.start()
    sizes: list[int] = []
    sides = [other, one]
    while message is not None:
        between()
        sizes.append(len(message))
        message = sides[len(sizes) % 2 - 1].receive(message)
        assert len(sizes) < 100_000, "it never ends"
    return sizes


def exchange(one: Reconciliation, other: Reconciliation, between: Callable[[], object] = lambda: None) -> list[int]:
    """Run an exchange in which both join what the other has; returns the sizes of the messages."""
    sizes = converse(one, other, between)
    assert one.finished
    assert other.finished
    return sizes


def reconcile(one: Replica, other: Replica, max_bytes: int = 65_536) -> list[int]:
    return exchange(one.reconcile(max_bytes=max_bytes), other.reconcile(max_bytes=max_bytes))


def full_copy(one: Replica) -> Replica:
    """A fresh replica that got everything as a state, through the wire."""
    return replica(one.replica_id).merge(sent(one.store.kernel.state()))


def snapshot(one: Replica) -> tuple[Any, ...]:
    """What must be untouched as long as nothing was joined."""
    kernel = one.store.kernel
    log = {name: dict(held) for name, held in kernel.log.kills.items()}
    return encode(kernel.state()), kernel.fingerprint, log, dict(kernel.log.floor), kernel.processed, kernel.refused


def world(rng: Random, size: int, log_limit: int, steps: int) -> tuple[Oracle, list[Replica], list[Delta]]:
    oracle = Oracle()
    replicas = [oracle.watch(replica("abcd"[i], log_limit=log_limit)) for i in range(size)]
    mail: list[Delta] = []
    for one in replicas:
        one.on_write(lambda events: mail.append(events_delta(events)))
    for _ in range(steps):
        random_step(rng, replicas, mail)
    for one in replicas:
        if rng.random() < 0.5:
            one.trim_log(rng.randrange(3))
    return oracle, replicas, mail


WORLDS = {
    "rng": SEEDS,
    "size": st.integers(2, 4),
    "log_limit": st.sampled_from([0, 3, 1000]),
    "steps": st.integers(0, 60),
    "max_bytes": BUDGETS,
}


# ---- both end as the model says


def check_reconciliation(rng: Random, size: int, log_limit: int, steps: int, max_bytes: int) -> None:
    oracle, replicas, _ = world(rng, size, log_limit, steps)
    one, other = replicas[:2]
    expected = full_copy(one).merge(sent(full_copy(other).store.kernel.state()))
    check_sizes(reconcile(one, other, max_bytes), max_bytes, one)
    for each in (one, other):
        oracle.check(each)
        assert_equal(each, expected)
    # The floors are right too: what is handed out as events from here on is no less than the truth.
    for target in (*replicas, replica("newcomer")):
        for source in (one, other):
            target.merge(sent(source.delta_since(target.context)))
            oracle.check(target)
            source.merge(sent(target.delta_since(source.context)))
            oracle.check(source)


def check_sizes(sizes: list[int], max_bytes: int, one: Replica) -> None:
    """A message may be larger only for a context that is; the entries here are small."""
    kernel = one.store.kernel
    context = len(encode_context(kernel.context)) + 12 * sum(map(len, kernel.prekilled.values()))
    assert max(sizes) <= max(max_bytes, context + MIN_MESSAGE_BYTES // 2)


@settings(max_examples=200)
@given(**WORLDS)
def test_both_sides_end_as_if_they_had_merged_each_other_s_states(
    rng: Random, size: int, log_limit: int, steps: int, max_bytes: int
) -> None:
    check_reconciliation(rng, size, log_limit, steps, max_bytes)


@pytest.mark.soak
@settings(max_examples=20_000, derandomize=False)
@given(**WORLDS)
def test_both_sides_end_as_the_model_says_in_the_long_run(
    rng: Random, size: int, log_limit: int, steps: int, max_bytes: int
) -> None:
    check_reconciliation(rng, size, log_limit, steps, max_bytes)


def check_busy_reconciliation(rng: Random, size: int, log_limit: int, steps: int, max_bytes: int) -> None:
    oracle, replicas, mail = world(rng, size, log_limit, steps)
    one, other = replicas[:2]

    def meanwhile() -> None:
        for _ in range(rng.randrange(6)):
            random_step(rng, replicas, mail)
            for each in replicas:
                oracle.check(each)

    before = dots_of(one.context) | dots_of(other.context)
    exchange(one.reconcile(max_bytes=max_bytes), other.reconcile(max_bytes=max_bytes), meanwhile)
    for each in (one, other):
        oracle.check(each)
        assert before <= dots_of(each.context), "something was not brought over"
    reconcile(one, other, max_bytes)
    assert_equal(one, other)
    for _ in replicas:
        for source in replicas:
            for target in replicas:
                if source is not target:
                    target.merge(sent(source.delta_since(target.context)))
                    oracle.check(target)
    for each in replicas[1:]:
        assert_equal(each, replicas[0])


@settings(max_examples=150)
@given(**WORLDS)
def test_what_happens_between_the_messages_neither_disturbs_nor_is_lost(
    rng: Random, size: int, log_limit: int, steps: int, max_bytes: int
) -> None:
    check_busy_reconciliation(rng, size, log_limit, steps, max_bytes)


@pytest.mark.soak
@settings(max_examples=10_000, derandomize=False)
@given(**WORLDS)
def test_what_happens_between_the_messages_in_the_long_run(
    rng: Random, size: int, log_limit: int, steps: int, max_bytes: int
) -> None:
    check_busy_reconciliation(rng, size, log_limit, steps, max_bytes)


@settings(max_examples=60)
@given(**WORLDS)
def test_exchanges_of_one_replica_with_several_at_once_do_not_disturb_each_other(
    rng: Random, size: int, log_limit: int, steps: int, max_bytes: int
) -> None:
    oracle, replicas, _ = world(rng, 4, log_limit, steps)
    runs: list[list[Any]] = []
    for i, j in ((0, 1), (0, 2), (3, 0), (1, 3), (1, 0)):
        pair = [replicas[i].reconcile(max_bytes=max_bytes), replicas[j].reconcile(max_bytes=max_bytes)]
        runs.append([*pair, pair[0].start()])
    while runs:
        run = rng.choice(runs)
        sender, receiver, message = run
        answer = receiver.receive(message)
        for each in replicas:
            oracle.check(each)
        if answer is None:
            runs.remove(run)
        else:
            run[:] = [receiver, sender, answer]
    for _ in range(2):
        for i, j in ((0, 1), (1, 2), (2, 3), (3, 0)):
            reconcile(replicas[i], replicas[j])
    for each in replicas[1:]:
        assert_equal(each, replicas[0])


def test_equal_replicas_find_that_out_in_a_few_small_messages() -> None:
    a, b = replica("a"), replica("b")
    for i in range(3000):
        a.orset("s").add(i)
    b.merge(a)
    sizes = reconcile(a, b)
    assert len(sizes) <= 5
    assert sum(sizes) < 1200
    assert_equal(a, b)


def test_two_empty_replicas_reconcile() -> None:
    reconcile(replica("a"), replica("b"))


def test_a_newcomer_gets_everything_whoever_begins() -> None:
    a, b, c = replica("a"), replica("b"), replica("c")
    for i in range(2000):
        a.lwwmap("m").set(str(i % 500), i)
    a.trim_log()
    reconcile(b, a, 2000)
    assert_equal(a, b)
    reconcile(a, c, 2000)
    assert_equal(a, c)


@pytest.mark.parametrize("removed", [1, 5000, 9989])
@pytest.mark.parametrize("max_bytes", [512, 1024, 65_536])
def test_nothing_is_joined_before_all_has_been_asked_however_small_the_messages(removed: int, max_bytes: int) -> None:
    a, b = replica("a"), replica("b")
    for i in range(10_000):
        a.orset("s").add(i)
    b.merge(a)
    b.orset("s").remove(removed)
    b.trim_log()
    reconcile(a, b, max_bytes)
    assert_equal(a, b)
    b.orset("s").remove(removed + 1)
    b.trim_log()
    reconcile(b, a, max_bytes)
    assert_equal(a, b)


LARGE = 8 * CHUNK_DOTS


def large(name: str) -> Replica:
    """`LARGE` elements of a third writer."""
    writer = replica("w")
    for i in range(LARGE):
        writer.orset("s").add(i)
    return replica(name).merge(writer.store.kernel.state())


@settings(max_examples=40)
@given(SEEDS, BUDGETS, st.integers(1, 400))
def test_many_differences_in_a_large_set_are_all_found(rng: Random, max_bytes: int, differences: int) -> None:
    a, b = large("a"), large("b")
    for i, element in enumerate(rng.sample(range(LARGE), differences)):
        rng.choice((a, b)).orset("s").remove(element)
        if i % 3 == 0:
            rng.choice((a, b)).orset("s").add(("new", element))
    a.trim_log()
    b.trim_log()
    check_sizes(reconcile(a, b, max_bytes), max_bytes, a)
    assert_equal(a, b)
    assert len(a.orset("s")) == LARGE - differences + len(range(0, differences, 3))


def wide(name: str, writers: int = 60, width: int = 64) -> Replica:
    """Entries of many writers with long ids: a chunk for each, and ids that take more than what is said of them."""
    one = replica(name)
    for i in range(writers):
        writer = replica(f"{i:0{width}}")
        for n in range(3):
            writer.orset("s").add((i, n))
        one.merge(writer.store.kernel.state())
    return one


@settings(max_examples=40)
@given(SEEDS, st.integers(1, 150), st.sampled_from([1, 24, 64]), st.sampled_from([512, 800, 6000, 8000, 65_536]))
def test_differences_among_many_writers_are_all_found_and_long_ids_fit(
    rng: Random, differences: int, width: int, max_bytes: int
) -> None:
    width = max(width, 2)
    a, b = wide("a", width=width), wide("b", width=width)
    elements = [(i, n) for i in range(60) for n in range(3)]
    for element in rng.sample(elements, differences):
        rng.choice((a, b)).orset("s").remove(element)
        if rng.random() < 0.3:
            rng.choice((a, b)).orset("s").add(("new", *element))
    a.trim_log()
    b.trim_log()
    check_sizes(reconcile(a, b, max_bytes), max_bytes, a)
    assert_equal(a, b)


def test_entries_do_not_travel_with_a_context_that_fills_the_message() -> None:
    a, b = wide("a"), replica("b")
    context = len(encode_context(a.context))
    max_bytes = context + 1000
    for sizes in (reconcile(b, a, max_bytes), reconcile(a, replica("c"), max_bytes)):
        assert max(sizes) <= max_bytes
    assert_equal(a, b)


def test_an_entry_larger_than_a_message_travels_alone() -> None:
    a, b = replica("a"), replica("b")
    a.register("r").set("x" * 5000)
    a.register("q").set("y")
    sizes = reconcile(a, b, 512)
    assert len([size for size in sizes if size > 512]) == 1
    assert max(sizes) < 5300
    assert_equal(a, b)


def test_a_message_has_a_least_size() -> None:
    with pytest.raises(InvalidValue, match="512"):
        replica("a").reconcile(max_bytes=MIN_MESSAGE_BYTES - 1)


# ---- broken off, repeated, and out of step


@settings(max_examples=60)
@given(**WORLDS)
def test_broken_off_anywhere_nothing_has_changed_or_all_on_one_side(
    rng: Random, size: int, log_limit: int, steps: int, max_bytes: int
) -> None:
    oracle, replicas, _ = world(rng, size, log_limit, steps)
    expected = full_copy(replicas[0]).merge(full_copy(replicas[1]).store.kernel.state())
    before = {i: snapshot(replicas[i]) for i in (0, 1)}
    for stop in range(1000):
        one, other = replicas[0].reconcile(max_bytes=max_bytes), replicas[1].reconcile(max_bytes=max_bytes)
        sides = [(1, other), (0, one)]
        message: bytes | None = one.start()
        for step in range(stop):
            if message is None:
                break
            message = sides[step % 2][1].receive(message)
        finished = [one.finished, other.finished]
        for i in (0, 1):
            oracle.check(replicas[i])
            if finished[i]:
                assert_equal(replicas[i], expected)
            else:
                assert snapshot(replicas[i]) == before[i]
        if any(finished):
            break
    if rng.random() < 0.5:
        reconcile(replicas[1], replicas[0], max_bytes)
    else:
        reconcile(replicas[0], replicas[1], max_bytes)
    assert_equal(*replicas[:2])
    assert_equal(replicas[0], expected)


@settings(max_examples=80)
@given(**WORLDS)
def test_messages_that_are_lost_repeated_and_resumed_do_no_harm(
    rng: Random, size: int, log_limit: int, steps: int, max_bytes: int
) -> None:
    oracle, replicas, _ = world(rng, size, log_limit, steps)
    expected = full_copy(replicas[0]).merge(full_copy(replicas[1]).store.kernel.state())
    sides = [replicas[0].reconcile(max_bytes=max_bytes), replicas[1].reconcile(max_bytes=max_bytes)]
    on_the_way: list[tuple[int, bytes]] = [(1, sides[0].start())]
    for _ in range(100_000):
        if not on_the_way:
            waiting = [i for i in (0, 1) if not sides[i].finished]
            if not waiting:
                break
            on_the_way.append((1, sides[0].resume()) if rng.random() < 0.5 else resumed(sides))
        target, message = on_the_way[0]
        fate = rng.random()
        if fate < 0.2:
            on_the_way.pop(0)
            continue
        if fate < 0.7:
            on_the_way.pop(0)
        answer = sides[target].receive(message)
        if answer is not None and len(on_the_way) < 3:
            on_the_way.append((1 - target, answer))
        for each in replicas[:2]:
            oracle.check(each)
    for each in replicas[:2]:
        assert_equal(each, expected)


def resumed(sides: list[Reconciliation]) -> tuple[int, bytes]:
    try:
        return 0, sides[1].resume()
    except LocalError:  # it has heard nothing yet, or has had the last word
        return 1, sides[0].resume()


def test_every_message_may_come_twice_the_last_one_too() -> None:
    a, b = replica("a"), replica("b")
    a.orset("s").add(1)
    b.orset("s").add(2)
    one, other = a.reconcile(), b.reconcile()
    message: bytes | None = one.start()
    sides = [other, one]
    step = 0
    while message is not None:
        answer = sides[step % 2].receive(message)
        assert sides[step % 2].receive(message) == answer
        message = answer
        step += 1
    assert_equal(a, b)


def test_what_is_out_of_step_is_refused() -> None:
    a, b = replica("a"), replica("b")
    a.orset("s").add(1)
    one, other = a.reconcile(), b.reconcile()
    with pytest.raises(LocalError, match="nothing to send again"):
        other.resume()
    first = one.start()
    with pytest.raises(LocalError, match="begun"):
        one.start()
    assert one.resume() == first
    second = other.receive(first)
    third = one.receive(second)
    assert second is not None
    assert third is not None
    fourth = other.receive(third)
    assert fourth is not None
    for side, message in ((one, first), (other, second), (b.reconcile(), third), (b.reconcile(), fourth)):
        with pytest.raises(OutOfStep):
            side.receive(message)


def test_a_side_that_has_begun_does_not_answer_another_beginning() -> None:
    a, b = replica("a"), replica("b")
    one, other = a.reconcile(), b.reconcile()
    one.start()
    with pytest.raises(OutOfStep):
        one.receive(other.start())


def test_a_finished_exchange_cannot_be_resumed_or_begun() -> None:
    a, b = replica("a"), replica("b")
    one, other = a.reconcile(), b.reconcile()
    exchange(one, other)
    for side in (one, other):
        with pytest.raises(LocalError):
            side.start()


# ---- what it costs


def differing_pair(shared: int, different: int) -> tuple[Replica, Replica]:
    a, b = replica("a"), replica("b")
    writer = replica("w")
    rows = writer.lwwmap("rows")
    for i in range(shared):
        rows.set(f"row {i}", "unchanged")
    state = writer.store.kernel.state()
    a.merge(state)
    b.merge(state)
    rng = Random(shared)
    for one in (a, b):
        for i in rng.sample(range(shared), different):
            one.lwwmap("rows").set(f"row {i}", "changed")
        one.trim_log()
    return a, b


def cost_of(shared: int, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int, int, int]:
    """Bytes, messages, entries and bitmaps that an exchange of 100 differences on each side takes."""
    a, b = differing_pair(shared, 100)
    counts = {"entries": 0, "chunks": 0}

    def count(what: str, function: Any, size: Callable[..., int]) -> Any:
        def counted(*args: Any, **kwargs: Any) -> Any:
            counts[what] += size(*args)
            return function(*args, **kwargs)

        return counted

    with monkeypatch.context() as patch:
        encoded = count("entries", crdts.reconcile.reconcile.encode, lambda delta: len(delta.events))
        patch.setattr(crdts.reconcile.reconcile, "encode", encoded)
        sent_chunks = count("chunks", crdts.reconcile.reconcile.Names.chunks, lambda _, chunks: len(chunks))
        patch.setattr(crdts.reconcile.reconcile.Names, "chunks", sent_chunks)
        sizes = reconcile(a, b)
    assert a.fingerprint == b.fingerprint
    assert a.context == b.context
    return sum(sizes), len(sizes), counts["entries"], counts["chunks"]


def test_a_hundred_differences_cost_about_the_same_in_ten_and_in_a_hundred_thousand_entries(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small, large = cost_of(10_000, monkeypatch), cost_of(100_000, monkeypatch)
    assert large[0] < 40_000
    assert large[1] <= 9
    assert small[2] == large[2] == 200
    assert large[3] <= 5 * 200  # a leaf of two bitmaps for each, and what is gone of them
    assert large[0] < 4 * small[0]  # in the small one nearly every bitmap differs


def test_a_reconciliation_without_differences_costs_bytes_for_the_contexts_alone() -> None:
    a, b = differing_pair(20_000, 0)
    sizes = reconcile(a, b)
    assert sum(sizes) < 1000


# ---- hostile messages


def transcript(one: Reconciliation, other: Reconciliation) -> list[bytes]:
    """All messages of an exchange."""
    messages = [one.start()]
    sides = [other, one]
    while (answer := sides[(len(messages) + 1) % 2].receive(messages[-1])) is not None:
        messages.append(answer)
    return messages


def hostile_pair(rng: Random) -> list[Replica]:
    _, replicas, _ = world(rng, 3, 1000, 40)
    for i in range(rng.randrange(300)):
        replicas[0].orset("s").add(i)
    if rng.random() < 0.5:
        replicas[1].merge(replicas[0])
        for i in range(5):
            replicas[1].orset("s").remove(i)
    for one in replicas:
        one.trim_log(rng.choice((0, 1000)))
    return replicas


def copy_of(one: Replica) -> Replica:
    twin = full_copy(one)
    assert twin.fingerprint == one.fingerprint
    assert twin.store.kernel.live_map.chunks is not None
    return twin


def check_hostile(rng: Random, rounds: int) -> tuple[int, int]:
    """Spoil messages of a real exchange; return how many were refused, and how many were not."""
    replicas = hostile_pair(rng)
    pair = [copy_of(replicas[0]), copy_of(replicas[1])]
    max_bytes = rng.choice((512, 65_536))
    good = transcript(*[one.reconcile(max_bytes=max_bytes) for one in (copy_of(pair[0]), copy_of(pair[1]))])
    refused = taken = 0
    for _ in range(rounds):
        twins = [copy_of(one) for one in pair]
        sides = [one.reconcile(max_bytes=max_bytes) for one in twins]
        stop = rng.randrange(len(good))
        message: bytes | None = sides[0].start()
        for step in range(stop):
            assert message is not None
            message = sides[(step + 1) % 2].receive(message)
        assert message == good[stop]
        target, victim = sides[(stop + 1) % 2], twins[(stop + 1) % 2]
        before = snapshot(victim)
        spoiled = mutations.mutated(rng, good if rng.random() < 0.2 else [message])
        try:
            target.receive(spoiled)
            taken += 1
            check_sound(victim)
        except (DecodeError, OutOfStep):
            refused += 1
            assert snapshot(victim) == before
            # It is as if it had never come.
            answer = target.receive(message)
            assert answer == (good[stop + 1] if stop + 1 < len(good) else None)
    return refused, taken


def check_sound(one: Replica) -> None:
    """Whatever lies it was told, a replica remains one that others can live with."""
    kernel = one.store.kernel
    check_structure(kernel, {event.dot: event for seqs in kernel.live.values() for event in seqs.values()})
    assert all(dot in kernel.context for dot in flat(kernel.live))
    assert not any(dot in kernel.context for dot in flat(kernel.prekilled))
    reader = replica("reader").merge(sent(kernel.state()))
    assert reader.fingerprint == one.fingerprint
    if kernel.log_reaches(Context()):
        for delta in one.deltas_since(Context(), 1000):
            sent(delta)


@settings(max_examples=25)
@given(SEEDS)
def test_spoiled_messages_are_refused_without_a_trace_or_leave_a_sound_replica(rng: Random) -> None:
    check_hostile(rng, 12)


@pytest.mark.soak
@settings(max_examples=3000, derandomize=False)
@given(SEEDS)
def test_spoiled_messages_in_the_long_run(rng: Random) -> None:
    check_hostile(rng, 30)


def test_truncated_messages_are_refused() -> None:
    a, b = large("a"), replica("b")
    b.orset("s").add("x")
    good = transcript(a.reconcile(max_bytes=2000), b.reconcile(max_bytes=2000))
    for message in good[:4]:
        for end in range(0, len(message), max(1, len(message) // 40)):
            with pytest.raises(DecodeError):
                replica("c").reconcile().receive(message[:end])


FIRST = encode_context(Context({"b": 3}))


def second(**changes: Any) -> bytes:
    """The first answer of a peer that has processed b 1 to 3, of which b 2 lives."""
    entries = encode(Delta((Event("b", 2, b"sx", b"\x02", b"", ()),)))
    row = {"context": FIRST, "prekilled": [], "ranges": [], "gone": [], "entries": entries, "more": True, "names": []}
    row |= changes
    return cbor2.dumps([1, 1, *row.values()])


def entries_of(*events: Event) -> bytes:
    return encode(events_delta(events))


LIVE = Event("b", 2, b"sx", b"\x02", b"", ())
HOSTILE: dict[str, bytes] = {
    "an entry outside of the context": second(entries=entries_of(LIVE._replace(seq=4))),
    "an entry of another replica": second(entries=entries_of(LIVE._replace(replica="c"))),
    "an entry with kills": second(entries=entries_of(LIVE._replace(kills=(("b", 1),)))),
    "a removal": second(entries=entries_of(Event("b", 2, b"", b"", None, (("b", 1),)))),
    "a transaction": second(entries=entries_of(LIVE._replace(batch=(2, 4)), LIVE._replace(seq=3, batch=(2, 4)))),
    "runs": second(entries=encode(Delta((), (("b", 1, 2),)))),
    "a state": second(entries=encode(replica("z").store.kernel.state())),
    "no entries": second(entries=b"\x80"),
    "an entry of no type": second(entries=cbor2.dumps([2, "b", 2, b"sx", b"\xff", b""])),
    "pre-killed dots that are processed": second(prekilled=[0, 1], names=["b"]),
    "half a pre-killed dot": second(prekilled=[0], names=["b"]),
    "a pre-killed dot of nobody": second(prekilled=[0, 9]),
    "a pre-killed dot 0": second(prekilled=[0, 0], names=["c"]),
    "a bad replica id": second(names=["\n"]),
    "no names": second(names=None),
    "a hash too short": second(ranges=[[-1, 0, -1, 0, b"1234567"]]),
    "an empty range": second(ranges=[[0, 5, 0, 5, b"12345678"]], names=["b"]),
    "a range turned around": second(ranges=[[0, 5, 0, 4, b"12345678"]], names=["b"]),
    "ranges that overlap": second(ranges=[[-1, 0, -1, 0, b"12345678"]] * 2),
    "a range of four parts": second(ranges=[[-1, 0, -1, 0]]),
    "a chunk too long": second(gone=[0, 0, bytes(33)], names=["b"]),
    "a chunk of a negative number": second(gone=[0, -1, b"\x01"], names=["b"]),
    "a chunk beyond all dots": second(gone=[0, 1 << 60, b"\x01"], names=["b"]),
    "half a chunk": second(gone=[0, 0], names=["b"]),
    "more that is no answer": second(more=1),
    "a context of another version": second(context=cbor2.dumps([2, [], []])),
    "no context": second(context=b""),
    "a closed writer of which not all is known": second(
        entries=entries_of(Event("b", 2, RETIRED, b"b", cbor2.dumps([9, True]), ()))
    ),
    "another version": cbor2.dumps([2, 1, FIRST]),
    "too few parts": cbor2.dumps([1, 1, FIRST]),
    "a step that is a float": cbor2.dumps([1, 1.0, FIRST, [], [], [], b"", True, []]),
    "a step below 0": cbor2.dumps([1, -1, FIRST, [], [], [], b"", True, []]),
    "a map": cbor2.dumps({}),
    "nothing": b"",
    "a tag": cbor2.dumps(cbor2.CBORTag(55799, [1, 1, FIRST, [], [], [], b"", True, []])),
    "deep nesting": b"\x81" * 100_000 + b"\x80",
}


def test_the_message_that_the_hostile_ones_are_made_of_is_good() -> None:
    a = replica("a")
    side = a.reconcile()
    side.start()
    assert side.receive(second()) is not None


@pytest.mark.parametrize("message", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_message_that_no_peer_would_send_is_refused_and_changes_nothing(message: bytes) -> None:
    a, b = large("a"), replica("b")
    b.orset("s").add(1)
    side, other = a.reconcile(), b.reconcile()
    answer = other.receive(side.start())
    before = snapshot(a)
    for _ in range(2):
        with pytest.raises(DecodeError):
            side.receive(message)
    assert snapshot(a) == before
    assert answer is not None
    last = side.receive(answer)
    while last is not None:
        last = other.receive(last)
        last = last and side.receive(last)
    assert_equal(a, b)


@pytest.mark.parametrize("message", [None, 1, "text", bytearray(b"\x83\x01\x00\x40"), memoryview(b"\x80")])
def test_what_is_no_bytes_is_refused(message: Any) -> None:
    with pytest.raises(DecodeError):
        replica("a").reconcile().receive(message)


def test_an_entry_that_comes_twice_is_refused() -> None:
    a = replica("a")
    side = a.reconcile()
    side.start()
    side.receive(second())
    again = cbor2.dumps([1, 3, b"", [], [], [], entries_of(LIVE), True, []])
    with pytest.raises(DecodeError, match="order"):
        side.receive(again)
    side.receive(cbor2.dumps([1, 3, b"", [], [], [], b"", False, []]))
    check_sound(a)
    assert a.orset("x").get_elements() == {2}
