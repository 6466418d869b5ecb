"""What was sent is confirmed, or sent again a bounded number of times."""

import random

from hypothesis import given
from hypothesis import strategies as st

from crdts import Replica
from gossip.protocol.dissemination.links import (
    INITIAL_TIMEOUT,
    LEAST_TIMEOUT,
    OUTSTANDING,
    PATIENCE,
    REPEATS_AT_ONCE,
    SILENT_AFTER,
    SILENT_OUTSTANDING,
    WINDOW,
    Arrivals,
    Link,
    RoundTrip,
    Sent,
    numbers_of,
)

DELTA = Replica("w").orset("s").add(1)


def sent(number: int, now: float = 0.0) -> Sent:
    return Sent(DELTA, None, number, now, now)


def link_with(count: int, now: float = 0.0) -> Link:
    link = Link(RoundTrip())
    for number in range(1, count + 1):
        link.put(sent(number, now))
    return link


def receipt(arrivals: Arrivals) -> tuple[int, bytes]:
    return arrivals.highest, arrivals.mask_bytes()


# ---- receipts


@given(st.lists(st.integers(1, 700), min_size=1, max_size=300))
def test_a_receipt_names_the_last_arrivals_in_whatever_order_they_came(numbers: list[int]) -> None:
    arrivals, expected = Arrivals(1), set[int]()
    for number in numbers:
        arrivals.add(number)
        expected = {each for each in expected | {number} if each >= max(expected | {number}) - WINDOW}
        found = list(numbers_of(*receipt(arrivals)))
        assert found[0] == max(expected)
        assert len(arrivals.mask_bytes()) <= WINDOW // 8
        assert set(found) == expected


def test_a_number_far_ahead_costs_nothing_and_leaves_only_itself() -> None:
    arrivals = Arrivals(1)
    for number in (1, 2, 1 << 62):
        arrivals.add(number)
    assert list(numbers_of(*receipt(arrivals))) == [1 << 62]


def test_what_is_confirmed_is_not_sent_again() -> None:
    link, arrivals = link_with(5), Arrivals(1)
    for number in (1, 2, 4):
        arrivals.add(number)
    link.confirm(0.01, *receipt(arrivals))
    assert [each.number for each in link.expire(1.0)] == [3, 5]


def test_one_receipt_covers_those_that_were_lost() -> None:
    link, arrivals = link_with(100), Arrivals(1)
    for number in range(1, 101):
        arrivals.add(number)
    link.confirm(0.01, *receipt(arrivals))
    assert len(link) == 0
    assert link.due == float("inf")


def test_a_receipt_for_an_earlier_try_counts_and_ends_all_tries() -> None:
    link = link_with(1)
    (late,) = link.expire(1.0)
    link.repeat(late, 7, 1.0)
    assert late.tries == 2
    link.confirm(1.1, 1, b"")
    assert len(link) == 0
    link.confirm(1.2, 7, b"")
    assert link.expire(9.0) == []


@given(st.integers(1, 1 << 62), st.binary(max_size=WINDOW // 8))
def test_a_receipt_for_what_was_never_sent_changes_nothing(highest: int, mask: bytes) -> None:
    link = Link(RoundTrip())
    link.put(sent(highest + 1))
    before = link.due
    assert link.confirm(0.01, highest, mask) is None
    assert (len(link), link.due) == (1, before)


# ---- time


def test_the_timeout_follows_the_way_and_its_variation() -> None:
    trip = RoundTrip()
    assert trip.timeout == INITIAL_TIMEOUT
    for _ in range(50):
        trip.sample(0.3)
    assert 0.3 <= trip.timeout < 0.32
    for i in range(50):
        trip.sample(0.2 if i % 2 else 0.4)
    assert trip.timeout > 0.5
    for _ in range(50):
        trip.sample(0.001)
    assert trip.timeout == LEAST_TIMEOUT


def test_a_try_is_timed_by_its_own_number_and_never_by_that_of_another() -> None:
    link = link_with(1)
    (late,) = link.expire(1.0)
    link.repeat(late, 2, 1.0)
    assert link.confirm(1.25, 2, b"\1") == 0.25
    link = link_with(1)
    (late,) = link.expire(1.0)
    link.repeat(late, 2, 1.0)
    assert link.confirm(1.25, 1, b"") == 1.25


def test_a_receipt_of_old_arrivals_says_nothing_of_the_way() -> None:
    link = link_with(2)
    assert link.confirm(0.01, 2, b"") == 0.01
    assert link.confirm(5.0, 2, b"\1") is None
    assert link.rtt.mean == 0.01


@given(st.integers(0, 1 << 32))
def test_timeouts_in_a_row_double_up_to_a_bound_and_a_receipt_ends_that(seed: int) -> None:
    rng, now = random.Random(seed), 0.0
    link = Link(RoundTrip(rng.uniform(0.0001, 0.2), 0.001))
    first = link.timeout
    link.put(sent(1))
    for i in range(rng.randrange(1, 20)):
        assert link.timeout <= max(first, PATIENCE)
        before, now = link.timeout, link.due
        (late,) = link.expire(now)
        link.repeat(late, i + 2, now)
        assert before <= link.timeout <= 2 * before
    link.confirm(now + first / 2, late.number, b"")
    link.put(sent(100, now))
    assert link.timeout <= max(2 * first, LEAST_TIMEOUT)


# ---- bounds


def test_for_one_timeout_only_so_many_are_sent_again_the_oldest_first() -> None:
    link = link_with(OUTSTANDING)
    assert link.is_full
    assert [each.number for each in link.expire(1.0)] == list(range(1, REPEATS_AT_ONCE + 1))


def test_before_it_is_due_nothing_is_sent_again() -> None:
    link = link_with(3, now=5.0)
    assert link.expire(5.0 + INITIAL_TIMEOUT / 2) == []
    assert link.unheard == 0
    assert link.due == 5.0 + INITIAL_TIMEOUT


def test_a_member_that_is_never_heard_of_is_silent_until_it_is() -> None:
    link, now = link_with(10), 0.0
    for number in range(SILENT_AFTER):
        assert not link.is_silent
        now = link.due
        for i, late in enumerate(link.expire(now)):
            link.repeat(late, 100 * (number + 1) + i, now)
    assert link.is_silent
    assert link.is_full
    dropped = link.drop_beyond(SILENT_OUTSTANDING)
    assert len(dropped) == 10 - SILENT_OUTSTANDING
    assert len(link) == SILENT_OUTSTANDING
    for gone in dropped:
        link.confirm(now, gone.number, b"")  # too late, and harmless
    assert len(link) == SILENT_OUTSTANDING
    assert link.heard()
    assert not link.is_silent
    assert not link.heard()
