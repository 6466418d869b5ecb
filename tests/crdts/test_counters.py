"""Counters that grow, and counters that go both ways."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crdts import GCounter, InvalidValue, PNCounter, UnsupportedType
from crdts.delta import NOTHING
from crdts.limits import MAX_INT

BOTH = pytest.mark.parametrize("kind", [GCounter, PNCounter])


@BOTH
def test_a_counter_starts_at_zero_and_counts_by_one(kind: type[GCounter | PNCounter]) -> None:
    counter = kind("a")
    assert counter.value() == 0
    counter.increment()
    counter.increment(41)
    assert counter.value() == 42


@BOTH
def test_concurrent_increments_all_count(kind: type[GCounter | PNCounter]) -> None:
    a, b = kind("a"), kind("b")
    a.increment(2)
    b.increment(3)
    assert a.merge(b).value() == b.merge(a).value() == 5


@BOTH
def test_an_increment_that_arrives_twice_counts_once(kind: type[GCounter | PNCounter]) -> None:
    a, b = kind("a"), kind("b")
    first, second = a.increment(2), a.increment(3)
    assert [b.merge(delta).value() for delta in (second, first, second, first)] == [5, 5, 5, 5]


@BOTH
def test_moving_by_nothing_is_an_empty_delta(kind: type[GCounter | PNCounter]) -> None:
    assert kind("a").increment(0) is NOTHING


@BOTH
@pytest.mark.parametrize("amount", [True, 1.0, "1", None])
def test_a_counter_moves_by_whole_numbers_only(kind: type[GCounter | PNCounter], amount: Any) -> None:
    with pytest.raises(UnsupportedType, match=type(amount).__name__):
        kind("a").increment(amount)


@BOTH
def test_a_counter_is_never_incremented_by_less_than_nothing(kind: type[GCounter | PNCounter]) -> None:
    with pytest.raises(InvalidValue, match="-1"):
        kind("a").increment(-1)


@BOTH
def test_the_share_of_a_writer_is_bounded_and_the_sum_is_not(kind: type[GCounter | PNCounter]) -> None:
    a, b = kind("a"), kind("b")
    a.increment(MAX_INT)
    with pytest.raises(InvalidValue, match="ends at"):
        a.increment()
    assert a.value() == MAX_INT
    b.increment(MAX_INT)
    assert a.merge(b).value() == 2 * MAX_INT


def test_a_counter_goes_down_and_below_zero() -> None:
    a, b = PNCounter("a"), PNCounter("b")
    a.increment(3)
    b.decrement(5)
    assert a.merge(b).value() == -2
    with pytest.raises(InvalidValue):
        a.decrement(-1)
    with pytest.raises(UnsupportedType):
        a.decrement(0.5)  # type: ignore[arg-type]


def test_a_thousand_increments_leave_one_entry() -> None:
    a, b = GCounter("a"), GCounter("b")
    for _ in range(1000):
        a.increment()
    b.merge(a)
    assert [len(held) for held in b._store.kernel.places(b._object).values()] == [1]
    assert b.value() == 1000


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(-5, 5), st.none() | st.integers(0, 2)), max_size=30))
def test_the_value_is_the_sum_of_all_moves_once_all_have_met(steps: list[tuple[int, int, int | None]]) -> None:
    counters = [PNCounter(name) for name in "abc"]
    growing = [GCounter(name) for name in "abc"]
    for who, amount, source in steps:
        if source is not None:
            counters[who].merge(counters[source])
            growing[who].merge(growing[source])
        elif amount < 0:
            counters[who].decrement(-amount)
        else:
            counters[who].increment(amount)
            growing[who].increment(amount)
    moves = [amount for _, amount, source in steps if source is None]
    for group, total in ((counters, sum(moves)), (growing, sum(m for m in moves if m > 0))):
        for one in group:
            for other in group:
                one.merge(other)
        assert [one.value() for one in group] == [total] * 3
