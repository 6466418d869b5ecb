"""Counters that grow, and counters that go both ways."""

from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crdts import Delta, Dot, Event, GCounter, InvalidValue, PNCounter, UnsupportedType
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


# ---- resets


def entries(counter: GCounter | PNCounter) -> int:
    return counter.stats().entries


@BOTH
def test_resetting_a_counter_that_was_never_moved_is_an_empty_delta(kind: type[GCounter | PNCounter]) -> None:
    a = kind("a")
    assert a.reset() is NOTHING
    a.increment()
    assert a.reset()
    assert a.reset() is NOTHING


@BOTH
def test_a_reset_by_the_only_writer_leaves_nothing(kind: type[GCounter | PNCounter]) -> None:
    a = kind("a")
    for _ in range(3):
        a.increment(5)
        a.reset()
        assert a.value() == 0
        assert entries(a) == 0
    a.increment(2)
    assert kind("b").merge(a).value() == 2


@BOTH
def test_an_increment_that_a_reset_had_not_seen_survives_alone(kind: type[GCounter | PNCounter]) -> None:
    a, b = kind("a"), kind("b")
    b.merge(a.increment(5))
    more, reset = a.increment(2), b.reset()
    assert a.merge(reset).value() == b.merge(more).value() == 2
    a.increment(1)
    assert b.merge(a).value() == a.value() == 3


@BOTH
def test_two_resets_of_the_same_take_it_once(kind: type[GCounter | PNCounter]) -> None:
    a, b, c = kind("a"), kind("b"), kind("c")
    first = a.increment(5)
    b.merge(first)
    c.merge(first)
    more = a.increment(3)
    b_reset, c_reset = b.reset(), c.merge(more).reset()
    last = a.increment(10)
    for order in ((b_reset, c_reset), (c_reset, b_reset)):
        reader = kind("r").merge(last)
        for reset in order:
            reader.merge(reset)
        assert reader.value() == 10


@BOTH
def test_what_was_said_of_old_counts_is_gone_when_their_writer_counts_again(kind: type[GCounter | PNCounter]) -> None:
    a, b, c = kind("a"), kind("b"), kind("c")
    for turn in range(5):
        a.increment(turn + 1)
        b.merge(a)
        b.reset()
        c.merge(b)
        assert entries(b) == 1, "how much of the other's count is void"
        a.merge(b)
        a.increment(7)
        assert c.merge(a).value() == 7
        assert entries(a) == entries(c) == 1
        a.reset()
        assert entries(a) == 0


@BOTH
def test_a_count_does_not_come_back_with_an_entry_that_arrives_late(kind: type[GCounter | PNCounter]) -> None:
    a, b, c = kind("a"), kind("b"), kind("c")
    first, second = a.increment(5), a.increment(3)
    reset = b.merge(second).reset()
    assert c.merge(reset).value() == 0
    assert c.merge(second).merge(first).value() == 0
    assert c.merge(a).value() == 0


def test_a_reset_takes_gains_and_losses_alike() -> None:
    a, b = PNCounter("a"), PNCounter("b")
    a.increment(10)
    b.decrement(4)
    a.merge(b)
    lost, reset = b.decrement(1), a.reset()
    assert a.value() == 0
    assert a.merge(lost).value() == b.merge(reset).value() == -1


def test_the_share_of_a_writer_begins_anew_after_a_reset() -> None:
    a = GCounter("a")
    a.increment(MAX_INT)
    with pytest.raises(InvalidValue, match="ends at"):
        a.increment()
    a.reset()
    a.increment(MAX_INT)
    assert a.value() == MAX_INT


def test_a_reset_travels_as_one_change() -> None:
    a = PNCounter("a")
    for name in "bcd":
        a.merge(PNCounter(name).increment(2))
    reset = a.reset()
    assert {event.batch for event in reset.events} == {(1, 4)}
    assert a.value() == 0


@pytest.mark.parametrize("amount", [-1, MAX_INT + 1])
def test_an_amount_out_of_range_is_refused_with_the_range(amount: int) -> None:
    a = PNCounter("a")
    for call in (a.increment, a.decrement):
        with pytest.raises(InvalidValue, match=f"0 to 2\\*\\*64 - 1 at a time, not by {amount}"):
            call(amount)
    assert not a._store.kernel.context


# ---- shares that others have written in


def forged(owner: PNCounter, *rows: list[int], kills: tuple[Dot, ...] = ()) -> Delta:
    """Entries of another writer in the owner's share."""
    key = owner.replica_id.encode()
    return Delta(tuple(Event("liar", n, b"c", key, cbor2.dumps(row), kills) for n, row in enumerate(rows, 1)))


@pytest.mark.parametrize(
    "rows",
    [
        ([1, MAX_INT, 0],),
        ([10**6, MAX_INT, 0],),
        ([2, MAX_INT, MAX_INT],),
        ([-1, 1 << 60, 1 << 60],),
        ([-3, 5, 5], [3, 9, 9]),
    ],
)
def test_a_share_that_another_has_written_in_does_not_keep_its_owner_from_counting(rows: tuple[list[int], ...]) -> None:
    owner, other = PNCounter("a"), PNCounter("b")
    other.merge(owner.increment(5))
    lie = forged(owner, *rows)
    other.merge(lie)
    owner.merge(lie)
    other.merge(owner.increment())
    for step in (1, 10):
        before = owner.value()
        other.merge(owner.increment(step))
        other.merge(owner.decrement(2))
        assert owner.value() == other.value() == before + step - 2
    assert owner._store.kernel.contested_shares == 1
    assert 0 <= owner.value() < 20


def test_an_owner_goes_on_if_its_entry_was_taken_away_as_well() -> None:
    owner = PNCounter("a")
    owner.increment(5)
    owner.merge(forged(owner, [1, MAX_INT, 0], kills=(("a", 1),)))
    owner.increment(3)
    owner.increment(3)
    assert owner.value() == 6


def test_a_reset_by_another_is_no_such_thing() -> None:
    owner, other = PNCounter("a"), PNCounter("b")
    other.merge(owner.increment(5))
    owner.merge(other.reset())
    owner.increment(2)
    assert owner.value() == 2
    assert owner._store.kernel.contested_shares == 0
