"""Laws of every type: states and deltas, in any order, number and grouping, come to the same.

What is compared are the encoded states, so that equal contents having equal bytes is among the laws.
"""

from itertools import islice
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crdts import Context, Delta, HybridClock, InsufficientRights, decode, decode_context, encode, encode_context
from crdts.replica import TYPES
from crdts.types.base import Crdt

from .machine import ALONE, BUDGETS, START, Operation, operations, repr_of
from .specs import LOWER, Path

IN_A_MAP: list[Path] = [
    *((("ormap", ""), (kind, "k")) for kind in ALONE),
    (("ormap", ""), ("ormap", "k"), ("counter", "l")),
    (("ormap", ""), ("ormap", "l"), ("rwset", "l")),
    (("ormap", ""),),
    (("ormap", ""), ("ormap", "k")),
]
OPERATIONS = {kind: operations([((kind, ""),)] if kind != "ormap" else IN_A_MAP) for kind in TYPES}
EVERY_TYPE = pytest.mark.parametrize("kind", TYPES)


class Made(NamedTuple):
    """What a few objects have made by writing and merging."""

    objects: list[Crdt]
    deltas: list[Delta]
    """Of every write and transaction."""
    states: list[Delta]
    """Taken on the way and at the end."""


def new(kind: str, name: str) -> Crdt:
    """An object that stands alone, whose clock stands still."""
    clock = HybridClock(lambda: START)
    return TYPES[kind](name, LOWER, clock=clock) if kind == "bounded_counter" else TYPES[kind](name, clock=clock)  # type: ignore[call-arg,arg-type]


def call(held: Any, operation: Operation) -> Delta:
    path, name, args = operation
    for kind, key in path[1:]:
        held = held.bounded_counter(key, LOWER) if kind == "bounded_counter" else getattr(held, kind)(key)
    try:
        return getattr(held, name)(*args)  # type: ignore[no-any-return]
    except InsufficientRights:
        return Delta()


@st.composite
def histories(draw: st.DrawFn, kind: str) -> Made:
    who, operation = st.integers(0, 2), OPERATIONS[kind]
    write = st.tuples(st.just("write"), who, operation)
    steps = st.lists(
        st.one_of(
            *(write, write),
            st.tuples(st.just("merge"), who, who),
            st.tuples(st.just("together"), who, st.lists(operation, min_size=2, max_size=3)),
            st.tuples(st.just("state"), who, st.none()),
        ),
        min_size=6,
        max_size=16,
    )
    made = Made([new(kind, name) for name in "abc"], [], [])
    for how, number, what in draw(steps):
        held = made.objects[number]
        if how == "write":
            made.deltas.append(call(held, what))
        elif how == "merge":
            held.merge(made.objects[what])
        elif how == "state":
            made.states.append(state_of(held))
        else:
            with held.transaction() as done:
                for one in what:
                    call(held, one)
            made.deltas.append(done.delta)
    made.states.extend(map(state_of, made.objects))
    return made


def state_of(held: Crdt) -> Delta:
    return held._store.kernel.state()


def joined(kind: str, *parts: Delta | Crdt) -> Crdt:
    reader = new(kind, "reader")
    for part in parts:
        reader.merge(part)  # type: ignore[arg-type]
    return reader


def look(held: Crdt) -> tuple[bytes, int, Any]:
    """All there is to compare."""
    return encode(state_of(held)), held._store.kernel.fingerprint, repr_of(held.value())


@EVERY_TYPE
@settings(max_examples=40)
@given(data=st.data())
def test_states_and_deltas_may_come_in_any_order_and_again(kind: str, data: st.DataObject) -> None:
    made = data.draw(histories(kind))
    some = data.draw(st.lists(st.sampled_from([*made.deltas, *made.states]), max_size=12))
    other = data.draw(st.permutations(some))
    assert look(joined(kind, *some)) == look(joined(kind, *other))
    assert look(joined(kind, *some, *other)) == look(joined(kind, *some))


@EVERY_TYPE
@settings(max_examples=40)
@given(data=st.data())
def test_it_does_not_matter_who_joins_whom_first(kind: str, data: st.DataObject) -> None:
    made = data.draw(histories(kind))
    groups = st.lists(st.sampled_from([*made.deltas, *made.states]), max_size=6)
    parts = data.draw(st.tuples(groups, groups, groups))
    a, b, c = (joined(kind, *part) for part in parts)
    left = look(joined(kind, joined(kind, a, b), c))
    assert left == look(joined(kind, a, joined(kind, b, c)))
    assert left == look(joined(kind, c, b, a))
    assert left == look(joined(kind, *map(state_of, (b, a, c))))
    assert left == look(joined(kind, *parts[2], *parts[0], *parts[1]))
    assert look(joined(kind, a, a)) == look(a)


@EVERY_TYPE
@settings(max_examples=30)
@given(data=st.data())
def test_the_deltas_come_to_the_same_as_the_states(kind: str, data: st.DataObject) -> None:
    made = data.draw(histories(kind))
    by_states = joined(kind, *made.states[-3:])
    assert look(joined(kind, *made.objects)) == look(by_states)
    assert look(joined(kind, *data.draw(st.permutations(made.deltas)))) == look(by_states)
    last = made.objects[0]
    for other in made.objects[1:]:
        last.merge(other)
    assert look(last) == look(by_states)


@EVERY_TYPE
@settings(max_examples=30)
@given(data=st.data())
def test_pieces_for_one_who_lags_behind_come_to_the_same_once_all_have_been_taken(
    kind: str, data: st.DataObject
) -> None:
    made = data.draw(histories(kind))
    reader = joined(kind, *data.draw(st.lists(st.sampled_from([*made.deltas, *made.states]), max_size=3)))
    known = reader._store.kernel.context.copy()
    pieces: list[Delta] = []
    for held in made.objects:
        kernel = held._store.kernel
        pieces += (
            kernel.deltas_since(known, data.draw(st.sampled_from(BUDGETS)))
            if kernel.log_reaches(known)
            else [kernel.state()]
        )
    for _ in range(len(pieces) + 1):  # what is told of as replaced counts when its killer is known: so again
        before = reader._store.kernel.processed
        for piece in data.draw(st.permutations(pieces)):
            reader.merge(piece)
        if reader._store.kernel.processed == before:
            break
    assert look(reader) == look(joined(kind, *made.objects))


@EVERY_TYPE
@settings(max_examples=30)
@given(data=st.data())
def test_merging_again_brings_nothing(kind: str, data: st.DataObject) -> None:
    made = data.draw(histories(kind))
    a, b, _ = made.objects
    before = look(b)
    a.merge(b)
    once, processed = look(a), a._store.kernel.processed
    a.merge(b)
    assert look(a) == once
    assert look(b) == before
    for delta in made.deltas:
        if all(event.dot in a._store.kernel.context for event in delta.events):
            a.merge(delta)
    assert look(a) == once
    assert a._store.kernel.processed == processed
    assert not b._store.kernel.delta_since(a._store.kernel.context)


@EVERY_TYPE
@settings(max_examples=30)
@given(data=st.data())
def test_what_is_encoded_comes_back_and_has_one_encoding(kind: str, data: st.DataObject) -> None:
    made = data.draw(histories(kind))
    pieces = islice(made.objects[0]._store.kernel.deltas_since(Context(), 200), 9)
    for delta in [*made.deltas, *made.states, *(pieces if not made.objects[0]._store.kernel.log.floor else [])]:
        again = decode(encode(delta))
        assert again == delta
        assert encode(again) == encode(delta)
    for held in made.objects:
        context = held._store.kernel.context
        assert decode_context(encode_context(context)) == context
        assert look(joined(kind, decode(encode(state_of(held))))) == look(held)
