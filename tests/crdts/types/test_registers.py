"""The register of the last writer, and the one of all concurrent writers."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crdts import HybridClock, InvalidValue, LWWRegister, MVRegister, UnsupportedType


class Wall:
    def __init__(self, seconds: float = 1_700_000_000.0) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        return self.seconds


def registers(wall: Wall | None = None) -> tuple[LWWRegister, LWWRegister]:
    wall = wall or Wall()
    return LWWRegister("a", clock=HybridClock(wall)), LWWRegister("b", clock=HybridClock(wall))


@pytest.mark.parametrize("value", [None, True, 1, 1.5, "text", b"bytes", [1, [2]], {"k": [None]}])
def test_a_register_gives_back_what_was_set(value: Any) -> None:
    last, every = LWWRegister("a"), MVRegister("a")
    last.set(value)
    every.set(value)
    assert last.get() == last.value() == value
    assert every.get() == every.value() == [value]


def test_a_register_never_written_has_a_default() -> None:
    a, _ = registers()
    assert a.get() is None
    assert a.get("default") == "default"
    assert a.timestamp is None
    a.set(None)
    assert a.get("default") is None


def test_of_concurrent_writes_the_later_stamp_wins() -> None:
    wall = Wall()
    a, b = registers(wall)
    b.set("earlier")
    wall.seconds += 1
    a.set("later")
    assert a.merge(b).get() == b.merge(a).get() == "later"
    assert a.timestamp == wall.seconds


def test_of_equal_stamps_the_higher_replica_id_wins() -> None:
    a, b = registers()
    a.set("of a", timestamp=7)
    b.set("of b", timestamp=7)
    assert a.merge(b).get() == b.merge(a).get() == "of b"


def test_a_write_replaces_what_it_has_seen_even_from_a_clock_far_ahead() -> None:
    wall = Wall()
    a, b = registers(wall)
    ahead = LWWRegister("z", clock=HybridClock(Wall(4e9)))
    a.merge(ahead.set("from the future"))
    assert a._store.clock.refused == 1
    assert b.merge(a).get() == "from the future"
    b.set("now")
    assert b.get() == "now"
    assert a.merge(b).get() == ahead.merge(b).get() == "now"


def test_an_explicit_time_orders_writes_as_it_says() -> None:
    a, b = registers()
    a.set("newer", timestamp=20)
    a.set("older", timestamp=10)
    assert a.get() == "newer"
    assert a.timestamp == 20
    assert b.merge(a).get() == "newer"
    a.set("newest", timestamp=20.5)
    assert b.merge(a).get() == "newest"


def test_the_clock_follows_what_it_reads() -> None:
    a, _ = registers(Wall(1000))
    behind = LWWRegister("b", clock=HybridClock(Wall(990)))
    behind.merge(a.set("first"))
    other = behind.set("second")
    third = LWWRegister("c", clock=HybridClock(Wall(1))).merge(other).merge(a)
    assert third.get() == "second"


def test_the_clock_follows_what_a_state_brings() -> None:
    a, behind = LWWRegister("a", clock=HybridClock(Wall(1000))), LWWRegister("b", clock=HybridClock(Wall(990)))
    a.set("first")
    behind.merge(a._store.kernel.state())
    behind.set("second")
    assert behind.timestamp == pytest.approx(1000)


@pytest.mark.parametrize(("timestamp", "error"), [(-1, InvalidValue), (math.nan, InvalidValue), ("1", UnsupportedType)])
def test_a_bad_time_is_refused_and_nothing_is_written(timestamp: Any, error: type[Exception]) -> None:
    a, _ = registers()
    with pytest.raises(error):
        a.set("x", timestamp=timestamp)
    assert a.get() is None


@given(st.permutations(range(6)), st.lists(st.integers(0, 3), min_size=6, max_size=6))
def test_the_winner_is_the_same_in_any_order_of_arrival(order: list[int], stamps: list[int]) -> None:
    writers = [LWWRegister("abcdef"[i]) for i in range(6)]
    deltas = [writer.set(i, timestamp=stamp) for i, (writer, stamp) in enumerate(zip(writers, stamps, strict=True))]
    reader = LWWRegister("reader")
    for i in order:
        reader.merge(deltas[i])
    assert reader.get() == max(range(6), key=lambda i: (stamps[i], i))


def test_every_concurrent_value_is_kept_until_one_who_saw_them_writes() -> None:
    a, b, c = MVRegister("a"), MVRegister("b"), MVRegister("c")
    assert a.get() == []
    a.set("x")
    b.set("y")
    c.merge(a).merge(b)
    assert c.get() == a.merge(b).get() == b.merge(a).get() == ["x", "y"]
    c.set("z")
    assert a.merge(c).get() == ["z"]


def test_a_value_written_twice_concurrently_is_one_value() -> None:
    a, b = MVRegister("a"), MVRegister("b")
    a.set([1])
    b.set([1])
    assert a.merge(b).get() == [[1]]


def test_a_write_replaces_only_what_it_had_seen() -> None:
    a, b = MVRegister("a"), MVRegister("b")
    first = a.set("first")
    b.merge(first)
    seen = b.set("saw the first")
    unseen = a.set("concurrent")
    reader = MVRegister("r")
    for delta in (unseen, seen, first):
        reader.merge(delta)
    assert sorted(reader.get()) == ["concurrent", "saw the first"]


@given(st.lists(st.sampled_from([1, True, 1.0, "1", None]), min_size=1, max_size=5))
def test_concurrent_values_come_in_the_same_order_everywhere(values: list[Any]) -> None:
    writers = [MVRegister("abcde"[i]) for i in range(len(values))]
    deltas = [writer.set(value) for writer, value in zip(writers, values, strict=True)]
    one, other = MVRegister("x"), MVRegister("y")
    for delta in deltas:
        one.merge(delta)
    for delta in reversed(deltas):
        other.merge(delta)
    assert list(map(repr, one.get())) == list(map(repr, other.get()))
    assert set(map(repr, one.get())) == set(map(repr, values))


def test_several_values_written_at_once_stand_as_if_written_concurrently() -> None:
    a, b = MVRegister("a"), MVRegister("b")
    b.merge(a.set("old"))
    delta = a.set_all(["x", "y", "x"])
    assert b.merge(delta).get() == a.get() == ["x", "y"]
    assert a.merge(b.set("new")).get() == ["new"]
    assert b.merge(a.set_all([])).get() == []
