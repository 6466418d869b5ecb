"""A state that is joined in bulk, or written down in pieces, is joined as if it had come at once."""

from collections.abc import Iterator, Sequence
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crdts import Context, DecodeError, Delta, Event, Replica, decode, encode
from crdts.joining import Joining
from crdts.kernel import Kernel

from .reconcile.test_reconcile import SEEDS, full_copy, replica, snapshot, world


def parts(events: Sequence[Event], rng: Random) -> Iterator[Sequence[Event]]:
    """``events`` in parts of any size."""
    at = 0
    while at < len(events):
        size = rng.choice([1, 2, 5, 40])
        yield events[at : at + size]
        at += size


def prepared(kernel: Kernel, state: Delta, rng: Random) -> Joining:
    joining = Joining(kernel)
    for part in parts(state.events, rng):
        joining.take(part)
    joining.check(state.context or Context(), state.prekilled)
    return joining


def places(kernel: Kernel) -> dict[bytes, dict[bytes, list[Event]]]:
    return {obj: {key: sorted(held) for key, held in kernel.places(obj).items()} for obj in sorted(kernel.objects)}


def assert_same(one: Replica, other: Replica) -> None:
    assert snapshot(one) == snapshot(other)
    assert places(one.store.kernel) == places(other.store.kernel)
    assert one.store.kernel.live_map.chunks == other.store.kernel.live_map.chunks
    assert one.store.kernel.limits == other.store.kernel.limits


COURSE = {
    "rng": SEEDS,
    "log_limit": st.sampled_from([0, 3, 1000]),
    "steps": st.integers(0, 60),
    "watched": st.booleans(),
}


@settings(max_examples=150)
@given(**COURSE)
def test_a_state_that_comes_in_parts_is_joined_as_at_once_whatever_happens_meanwhile(
    rng: Random, log_limit: int, steps: int, watched: bool
) -> None:
    _, replicas, mail = world(rng, 3, log_limit, steps)
    state = replicas[0].store.kernel.state()
    at_once, in_parts = full_copy(replicas[1]), full_copy(replicas[1])
    told: list[list[object]] = [[], []]
    for each, heard in zip((at_once, in_parts), told, strict=True):
        if watched:
            each.on_change(heard.extend)
            assert each.fingerprint == each.store.kernel.fingerprint
            assert each.store.kernel.live_map is not None
    joining = Joining(in_parts.store.kernel)
    for part in parts(state.events, rng):
        joining.take(part)
        if mail and rng.random() < 0.5:  # which both hear of
            delta = rng.choice(mail)
            at_once.merge(delta)
            in_parts.merge(delta)
    joining.check(state.context or Context(), state.prekilled)
    before = snapshot(in_parts)
    assert before == snapshot(at_once), "something of it counted before all did"
    at_once.store.merge(state)
    in_parts.store.merge(state, joining)
    assert_same(at_once, in_parts)
    assert sorted(map(repr, told[0])) == sorted(map(repr, told[1]))


@settings(max_examples=150)
@given(**COURSE)
def test_the_pieces_of_a_state_joined_in_turn_are_the_state(
    rng: Random, log_limit: int, steps: int, watched: bool
) -> None:
    _, replicas, _ = world(rng, 3, log_limit, steps)
    if watched and steps:  # a writer that is being retired
        replicas[2].retire("a") if replicas[2].context.last("a") else None
        replicas[0].merge(replicas[2])
    state = replicas[0].store.kernel.state()
    at_once, in_turn = full_copy(replicas[1]), full_copy(replicas[1])
    pieces = prepared(in_turn.store.kernel, state, rng).pieces(state.context or Context(), state.prekilled)
    at_once.store.merge(state)
    for piece in pieces:
        in_turn.store.merge(decode(encode(piece)))
    one, other = at_once.store.kernel, in_turn.store.kernel
    assert one.context == other.context
    assert one.prekilled == other.prekilled
    assert places(one) == places(other)


def test_the_pieces_are_no_larger_than_the_parts() -> None:
    rng, one = Random(1), replica("a")
    for i in range(300):
        one.orset("s").add(i)
        if i % 3 == 0:
            one.orset("s").remove(i)
    state = one.store.kernel.state()
    pieces = prepared(replica("b").store.kernel, state, rng).pieces(state.context or Context(), state.prekilled)
    assert len(pieces) > 5
    assert max(len(piece.events) for piece in pieces) <= 40
    assert sum(len(piece.context or ()) for piece in pieces) == 400


@pytest.mark.parametrize("order", [[1, 0], [0, 0]])
def test_parts_out_of_order_are_refused(order: list[int]) -> None:
    events = [Replica(name).orset("s").add(1).events[0] for name in "ab"]
    joining = Joining(replica("c").store.kernel)
    joining.take([events[order[0]]])
    with pytest.raises(DecodeError, match="order"):
        joining.take([events[order[1]]])


def test_entries_outside_of_the_context_are_refused() -> None:
    one = replica("a")
    for i in range(5):
        one.orset("s").add(i)
    joining = Joining(replica("b").store.kernel)
    joining.take(one.store.kernel.state().events)
    joining.check(Context({"a": 5}), ())
    with pytest.raises(DecodeError, match="outside"):
        joining.check(Context.of([("a", 1, 3), ("a", 4, 6)]), ())
    with pytest.raises(DecodeError, match="pre-killed"):
        joining.check(Context({"a": 5}), [("a", 1)])
