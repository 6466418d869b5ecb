"""Updates on their way: each told a few times, the newest first, in as much room as there is."""

import random

from hypothesis import given
from hypothesis import strategies as st

from gossip.protocol.membership.update_queue import MAX_UPDATES, ROWS, TELLINGS, UpdateQueue, fit, update_bytes
from gossip.protocol.wire.messages import Update


def about(number: int, state: str = "alive", counter: int = 0, **fields: object) -> Update:
    return Update(number.to_bytes(8, "big"), state, 1, counter, **fields)  # type: ignore[arg-type]


def drain(queue: UpdateQueue, max_bytes: int = 1200) -> list[Update]:
    told: list[Update] = []
    while queue:
        (updates,) = queue.take(max_bytes)
        told += updates.rows
    return told


def test_an_update_is_told_more_often_in_a_larger_cluster_and_then_no_more() -> None:
    for members, times in ((1, 1), (3, 2), (31, 5), (1023, 10)):
        queue = UpdateQueue()
        queue.put(about(1), members)
        assert len(drain(queue)) == TELLINGS * times
        assert queue.take(1200) == []


def test_a_newer_update_of_a_member_takes_the_place_of_the_older() -> None:
    queue = UpdateQueue()
    queue.put(about(1, "suspect"), 30)
    queue.take(1200)
    queue.put(about(1, "alive", 1), 30)
    assert set(drain(queue)) == {about(1, "alive", 1)}


def test_what_was_told_least_goes_first() -> None:
    queue = UpdateQueue()
    for number in range(ROWS):
        queue.put(about(number), 30)
    for _ in range(3):
        queue.take(100_000)
    queue.put(about(99), 30)
    (updates,) = queue.take(update_bytes(about(99)))
    assert updates.rows == (about(99),)


def test_without_room_nothing_is_told_and_nothing_is_lost() -> None:
    queue = UpdateQueue()
    queue.put(about(1), 1)
    assert queue.take(10) == []
    assert len(drain(queue)) == TELLINGS


def test_the_queue_is_bounded() -> None:
    queue = UpdateQueue()
    for number in range(MAX_UPDATES + 100):
        queue.put(about(number), 30)
    assert len(queue) == MAX_UPDATES


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 200)), max_size=60), st.integers(0, 5000))
def test_every_update_is_told_its_number_of_times_in_messages_that_fit(
    puts: list[tuple[int, int]], max_bytes: int
) -> None:
    queue, rng = UpdateQueue(), random.Random(1)
    for number, size in puts:
        queue.put(about(number, tags=(("k", "v" * size),)), 3)
        if rng.random() < 0.3:
            for updates in queue.take(max_bytes):
                assert sum(map(update_bytes, updates.rows)) <= max_bytes
                assert 0 < len(updates.rows) <= ROWS
    for row in drain(queue, 2000):
        assert row.node_id in {number.to_bytes(8, "big") for number, _ in puts}


@given(st.lists(st.integers(0, 200), max_size=60), st.integers(0, 3000))
def test_what_fits_is_a_prefix(sizes: list[int], max_bytes: int) -> None:
    rows = [about(i, tags=(("k", "v" * size),)) for i, size in enumerate(sizes)]
    taken = fit(rows, max_bytes)
    assert taken == rows[: len(taken)]
    assert sum(map(update_bytes, taken)) <= max_bytes
    if len(taken) < min(len(rows), ROWS):
        assert sum(map(update_bytes, rows[: len(taken) + 1])) > max_bytes
