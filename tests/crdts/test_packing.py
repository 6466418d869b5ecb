"""Packed deltas keep to their budget, lose nothing, and are not wasteful."""

from hypothesis import given
from hypothesis import strategies as st

from crdts import Context, Delta, Event, Replica, decode, encode
from crdts.context import DotRange
from crdts.packing import Packer, pack

from .test_codec import EVENTS

RUNS = st.tuples(st.sampled_from(["a", "é", "x" * 64]), st.integers(1, 2**61), st.integers(1, 2**61)).map(
    lambda run: (run[0], run[1], run[1] + run[2])
)


def packed(pieces: list[Event | DotRange], max_bytes: int) -> list[Delta]:
    packer = Packer(max_bytes)
    deltas = [packer.add(piece) for piece in pieces]
    return [delta for delta in (*deltas, packer.flush()) if delta is not None]


@given(st.lists(EVENTS | RUNS, max_size=25), st.sampled_from([1, 150, 300, 1200]))
def test_a_piece_is_over_its_budget_only_if_it_is_a_single_event(
    pieces: list[Event | DotRange], max_bytes: int
) -> None:
    for delta in packed(pieces, max_bytes):
        assert len(encode(delta)) <= max_bytes or len(delta) == 1


@given(st.lists(EVENTS, max_size=25, unique_by=lambda event: event.dot), st.sampled_from([1, 150, 300, 1200]))
def test_every_event_is_in_one_piece_in_order(events: list[Event], max_bytes: int) -> None:
    deltas = packed(list(events), max_bytes)
    at = 0
    for delta in deltas:
        size = len(delta.events)
        assert size
        assert list(delta.events) == sorted(events[at : at + size])
        assert decode(encode(delta)) == delta
        at += size
    assert at == len(events)


def test_an_empty_packer_has_nothing_to_flush() -> None:
    assert Packer(100).flush() is None


def test_datagrams_of_small_events_are_nearly_full() -> None:
    replica = Replica("a" * 20)
    for i in range(1000):
        replica.orset("tasks").add(f"task number {i}")
    sizes = [len(encode(delta)) for delta in replica.store.kernel.deltas_since(Context(), 1200)]
    assert sum(sizes[:-1]) > 1000 * len(sizes[:-1])
    assert max(sizes) <= 1200


def test_an_id_takes_room_once_in_each_delta() -> None:
    long = "x" * 64
    pieces = [Event(long, seq, b"", b"", None, ((long, seq + 100), (long, seq + 200))) for seq in range(1, 11)]
    size = 64 + 66 + 15 + 6 + 10 * 16 + 21  # columns, the id, a span, a run of places, events with two kills, a run
    assert [len(delta) for delta in packed([*pieces, (long, 900, 950)], size)] == [11]
    assert [len(delta) for delta in packed([*pieces, (long, 900, 950)], size - 1)] == [10, 1]


@given(EVENTS)
def test_one_event_travels_as_it_would_among_others(event: Event) -> None:
    for max_bytes in (1, 1200):
        assert pack([event], max_bytes) == packed([event], max_bytes)
