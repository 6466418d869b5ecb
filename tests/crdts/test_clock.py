"""Stamps grow, follow the stamps of others, and do not run away with a wrong clock."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crdts import HybridClock, InvalidValue, Replica, UnsupportedType, WrongClock
from crdts.clock import END_OF_TIME, MAX_STAMP, seconds_of, stamp_at


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


YEAR = 365.25 * 86_400


@pytest.mark.parametrize(
    ("seconds", "shows"),
    [
        (-1.0, "the clock shows 1969-12-31:"),
        (-1e300, "the clock shows -1e+300 s since 1970:"),
        (143 * YEAR, "the clock shows 2113-"),
        (229 * YEAR, "the clock shows 2199-"),
        (1e300, "the clock shows 1e+300 s since 1970:"),
        (math.inf, "the clock shows inf s since 1970:"),
        (math.nan, "the clock shows nan s since 1970:"),
    ],
)
def test_a_clock_that_no_stamp_can_tell_is_refused_by_name_and_burns_no_stamp(seconds: float, shows: str) -> None:
    wall = Wall(seconds)
    clock = HybridClock(wall)
    with pytest.raises(WrongClock, match=re.escape(shows)):
        clock.tick()
    assert not clock.observe(stamp_at(4e9)), "a stamp was followed though nobody can say whether it is far ahead"
    wall.seconds = 1_700_000_000.0
    assert seconds_of(clock.tick()) == 1_700_000_000.0


def test_a_clock_near_the_end_of_time_never_gives_a_stamp_that_has_no_room() -> None:
    clock = HybridClock(Wall(END_OF_TIME - 1))
    assert clock.tick() <= MAX_STAMP
    assert clock.observe(MAX_STAMP)
    with pytest.raises(WrongClock):
        clock.tick()


@pytest.mark.parametrize("seconds", [-86_400.0, 143 * YEAR])
def test_where_the_clock_is_wrong_only_last_writer_wins_values_cannot_be_written(seconds: float) -> None:
    wall = Wall(seconds)
    replica = Replica("a", clock=HybridClock(wall))
    replica.register("kept").set("given a time", timestamp=1e9)
    before = replica.context
    for write in (
        lambda: replica.register("kept").set("no"),
        lambda: replica.lwwmap("m").set("k", "no"),
        lambda: replica.ormap("o").lwwmap("m").set("k", "no"),
    ):
        with pytest.raises(WrongClock):
            write()
    assert replica.context == before
    assert (replica.register("kept").get(), dict(replica.lwwmap("m"))) == ("given a time", {})
    replica.orset("s").add(1)
    replica.counter("c").increment()
    replica.mvregister("v").set(1)
    replica.ewflag("f").enable()
    wall.seconds = 1_700_000_000.0
    replica.lwwmap("m").set("k", "yes")
    assert replica.lwwmap("m")["k"] == "yes"


def test_a_transaction_that_the_clock_refuses_is_undone_whole() -> None:
    replica = Replica("a", clock=HybridClock(Wall(143 * YEAR)))
    with pytest.raises(WrongClock), replica.transaction():
        (replica.counter("c").increment(), replica.register("r").set(1))
    assert replica.objects() == []
