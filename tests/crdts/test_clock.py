"""Stamps grow, follow the stamps of others, and do not run away with a wrong clock."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crdts import HybridClock, InvalidValue, UnsupportedType
from crdts.clock import MAX_STAMP, seconds_of, stamp_at


class Wall:
    """A clock on the wall that shows what it is set to."""

    def __init__(self, seconds: float = 1_700_000_000.0) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        return self.seconds


def test_a_stamp_is_the_time_of_day() -> None:
    assert seconds_of(HybridClock(Wall()).tick()) == 1_700_000_000.0


def test_stamps_grow_while_the_wall_clock_stands_still_or_goes_back() -> None:
    wall = Wall()
    clock = HybridClock(wall)
    stamps = [clock.tick() for _ in range(5000)]
    wall.seconds -= 3600
    stamps += [clock.tick() for _ in range(5000)]
    assert stamps == sorted(set(stamps))
    assert seconds_of(stamps[-1]) - wall.seconds - 3600 < 0.001


def test_a_stamp_is_later_than_any_that_was_observed() -> None:
    clock = HybridClock(Wall())
    ahead = stamp_at(1_700_000_059.0)
    assert clock.observe(ahead)
    assert clock.tick() > ahead
    assert clock.refused == 0


def test_an_older_stamp_does_not_turn_the_clock_back() -> None:
    clock = HybridClock(Wall())
    first = clock.tick()
    assert clock.observe(stamp_at(1.0))
    assert clock.tick() > first


def test_a_stamp_too_far_ahead_is_counted_and_not_followed() -> None:
    clock = HybridClock(Wall(), max_drift=60)
    assert not clock.observe(stamp_at(1_700_000_061.0))
    assert not clock.observe(MAX_STAMP)
    assert clock.refused == 2
    assert seconds_of(clock.tick()) == 1_700_000_000.0


@given(st.lists(st.one_of(st.none(), st.integers(0, MAX_STAMP), st.integers(0, 10).map(lambda s: stamp_at(1e9 + s)))))
def test_no_stamp_is_given_twice_and_none_fails_to_exceed_what_was_followed(steps: list[int | None]) -> None:
    clock = HybridClock(Wall(1e9))
    highest = -1
    for step in steps:
        if step is None:
            stamp = clock.tick()
            assert stamp > highest
            highest = stamp
        elif clock.observe(step):
            highest = max(highest, step)


@given(st.floats(0, 4.5e9))
def test_an_explicit_time_comes_back_to_the_microsecond(seconds: float) -> None:
    assert abs(seconds_of(stamp_at(seconds)) - seconds) < 2e-6


@given(st.floats(0, 4.5e9), st.floats(0, 4.5e9))
def test_stamps_order_as_their_times_do(one: float, other: float) -> None:
    assert (stamp_at(one) <= stamp_at(other)) or one > other


@pytest.mark.parametrize("seconds", [-1, -0.1, 4.6e9, 1_700_000_000_000, math.nan, math.inf])
def test_a_time_outside_the_years_1970_to_2112_is_refused(seconds: float) -> None:
    with pytest.raises(InvalidValue, match="timestamp"):
        stamp_at(seconds)


@pytest.mark.parametrize("seconds", [True, "now", None])
def test_a_time_that_is_no_number_is_refused_by_type(seconds: float) -> None:
    with pytest.raises(UnsupportedType, match=type(seconds).__name__):
        stamp_at(seconds)


def test_the_last_stamp_there_is_fits_its_eight_bytes() -> None:
    last = math.nextafter((1 << 52) / 1_000_000, 0)
    assert stamp_at(last) <= MAX_STAMP
