"""Encoding: what goes in comes out, one encoding each, small, and the same in every version to come."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crdts import Context, Delta, Event, HybridClock, Replica, decode, decode_context, encode, encode_context
from crdts.context import DotRange
from crdts.delta import REPLACED, events_delta, state_delta

from .strategies import CONTEXTS, RANGES, dots

NAMES = st.sampled_from(["a", "b", "node-c", "é"])
DOTS = st.tuples(NAMES, st.integers(1, 2**62 - 1) | st.integers(1, 9))
ENTRIES = st.tuples(
    st.sampled_from([b"?", b"?x", b"?y"]),  # objects of a type nobody knows, so that keys and payloads can be anything
    st.binary(max_size=9),
    st.binary(max_size=9),
)
NO_ENTRIES = st.sampled_from([(b"", b"", None), (REPLACED, b"", None)])


def events(places: st.SearchStrategy[tuple[bytes, bytes, bytes | None]], least_kills: int) -> st.SearchStrategy[Event]:
    kills = st.sets(DOTS, min_size=least_kills, max_size=4)
    return st.builds(lambda dot, place, kills: Event(*dot, *place, tuple(sorted(kills))), DOTS, places, kills)


EVENTS = events(ENTRIES, 0) | events(NO_ENTRIES, 1)


@st.composite
def events_deltas(draw: st.DrawFn) -> Delta:
    events = draw(st.lists(EVENTS, max_size=8, unique_by=lambda event: event.dot))
    runs = [run for run in draw(st.lists(RANGES, max_size=4)) if run[1] < run[2]]
    return events_delta(events, runs)


@st.composite
def state_deltas(draw: st.DrawFn) -> Delta:
    events = [
        event._replace(kills=())
        for event in draw(st.lists(EVENTS, max_size=8, unique_by=lambda event: event.dot))
        if event.payload is not None
    ]
    context = draw(CONTEXTS)
    for event in events:
        context.add(*event.dot)
    return state_delta(events, context, draw(st.sets(DOTS, max_size=5)) - dots(context))


@given(st.one_of(events_deltas(), state_deltas()))
def test_a_delta_comes_back_as_it_was(delta: Delta) -> None:
    assert decode(encode(delta)) == delta


@given(CONTEXTS)
def test_a_context_comes_back_as_it_was(context: Context) -> None:
    assert decode_context(encode_context(context)) == context


@given(st.lists(RANGES, max_size=8), st.randoms(use_true_random=False))
def test_the_bytes_do_not_depend_on_the_order_of_arrival(ranges: list[DotRange], rng: object) -> None:
    shuffled = sorted(ranges, key=lambda _: rng.random())  # type: ignore[attr-defined]
    assert encode_context(Context.of(ranges)) == encode_context(Context.of(shuffled))


def test_equal_replicas_have_equal_bytes() -> None:
    one, other = Replica("one"), Replica("other")
    for i in range(30):
        one.orset("s").add(i)
        other.lwwmap("m").set(str(i), i)
    reader_a = Replica("r").merge(one).merge(other)
    reader_b = Replica("r").merge(other).merge(one)
    assert encode(reader_a.store.kernel.state()) == encode(reader_b.store.kernel.state())


def test_the_formats_are_pinned() -> None:
    events = [
        Event("a", 1, b"sx", b"\x01", b"", (), (1, 3)),
        Event("a", 2, b"sx", b"\x61z", b"", (("b", 7),), (1, 3)),
        Event("b", 9, b"", b"", None, (("a", 5),)),
    ]
    assert encode(events_delta(events, [("b", 1, 4)])).hex(" ") == (
        "8b 03 "  # 11 columns, format 3
        "82 61 61 61 62 "  # replicas a, b
        "81 42 73 78 "  # objects: the orset x
        "86 00 00 02 01 08 01 "  # spans a 1-2, b 9
        "84 02 02 00 01 "  # two of the orset, one removal
        "81 82 83 00 41 01 42 61 7a 83 00 40 40 "  # its keys 1, "z", and payloads
        "86 01 01 07 01 00 05 "  # the second event kills b 7, the third a 5
        "83 00 01 02 "  # a 1-2 are one transaction
        "83 01 01 03 "  # run b 1-3
        "f6 80"  # no context, nothing pre-killed
    )
    state = state_delta([events[0]._replace(batch=None)], Context.of([("a", 1, 3), ("b", 2, 5)]), [("b", 9)])
    assert encode(state).hex(" ").endswith("80 80 80 82 82 00 02 82 01 03 82 01 09")
    single = Event("a", 2, b"sx", b"\x01", b"", (("a", 1), ("b", 7)))
    assert encode(events_delta([single])).hex(" ") == "8a 02 61 61 02 42 73 78 41 01 40 00 01 61 62 07"
    assert (
        encode_context(Context.of([("a", 1, 3), ("b", 2, 5)])).hex(" ") == "83 01 82 61 61 61 62 82 82 00 02 82 01 03"
    )


@pytest.mark.parametrize("form", ["distinct", "few values", "one value", "long", "counters"])
def test_the_columns_of_a_large_state_come_back_as_they_were(form: str) -> None:
    ticks = iter(range(1_700_000_000, 1_800_000_000))
    replica = Replica("a", clock=HybridClock(lambda: 1.7e9 if form == "counters" else next(ticks)))
    values = {
        "distinct": lambda i: {"title": f"task {i}", "owner": i % 7},
        "few values": lambda i: {"status": "open", "owner": f"agent-{i % 300}"},
        "one value": lambda i: None,
        "long": lambda i: "x" * (i % 50),
        "counters": lambda i: i % 3,
    }
    for i in range(1000):
        replica.lwwmap("m").set(f"key {i * 7919 % 1000}", values[form](i))
        replica.orset("s").add(i)
    delta = replica.delta_since(Context())
    data = encode(delta)
    assert decode(data) == delta
    assert encode(decode(data)) == data
    assert len(data) < sum(len(e.key) + len(e.payload or b"") for e in delta.events)


def test_a_hundred_thousand_entries_take_ten_bytes_each() -> None:
    ticks = iter(range(10**9))
    replica = Replica("a", clock=HybridClock(lambda: 1.7e9 + next(ticks) * 17e-6))
    for i in range(100_000):
        replica.lwwmap("tasks").set(f"task-{i:06d}", {"status": "open", "owner": f"agent-{i % 10}"})
    assert len(encode(replica.delta_since(Context()))) <= 10 * 100_000


def test_a_thousand_adds_cost_few_bytes_beside_the_elements() -> None:
    replica = Replica("a-replica-id-of-some-length")
    for i in range(1000):
        replica.orset("a name of some length").add(f"{i:08}")
    assert len(encode(replica.delta_since(Context()))) < 1000 * (1 + 1 + 9 + 2)


def test_ten_thousand_adds_and_removes_of_one_element_leave_a_short_state() -> None:
    replica = Replica("a")
    for _ in range(10_000):
        replica.orset("s").add("x")
        replica.orset("s").remove("x")
    assert len(encode(replica.delta_since(Context()))) < 40
