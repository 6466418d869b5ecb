"""A context is a set of dots; a plain Python set is the model."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crdts import Context, Dot
from crdts.context import runs_in, seqs_within

from .strategies import CONTEXTS, RANGES, dots


def test_a_new_context_is_empty() -> None:
    context = Context()
    assert not context
    assert len(context) == 0
    assert list(context.ranges()) == []
    assert ("a", 1) not in context


def test_prefixes_are_the_dots_from_one_on() -> None:
    context = Context({"a": 3, "b": 0})
    assert dots(context) == {("a", 1), ("a", 2), ("a", 3)}
    assert context.replicas() == ["a"]


def test_a_gap_keeps_a_dot_in_the_cloud_until_it_is_filled() -> None:
    context = Context({"a": 2})
    assert context.add("a", 4)
    assert (context.prefix("a"), context.last("a"), context.cloud_size()) == (2, 4, 1)
    assert context.add("a", 3)
    assert (context.prefix("a"), context.last("a"), context.cloud_size()) == (4, 4, 0)


def test_the_prefix_is_zero_as_long_as_the_first_dot_is_missing() -> None:
    context = Context.of([("a", 2, 9)])
    assert context.prefix("a") == 0
    assert context.last("a") == 8
    assert context.cloud_size() == 1


def test_a_dot_is_new_once() -> None:
    context = Context()
    assert [context.add("a", seq) for seq in (5, 5, 1, 6, 1, 6)] == [True, False, True, True, False, False]


def test_a_million_dots_in_a_row_are_one_range() -> None:
    context = Context()
    for seq in range(1, 1_000_001):
        context.add("a", seq)
    assert list(context.ranges()) == [("a", 1, 1_000_001)]
    assert len(context) == 1_000_000


def test_a_copy_goes_its_own_way() -> None:
    context = Context({"a": 1})
    twin = context.copy()
    twin.add("a", 2)
    twin.add("b", 1)
    assert dots(context) == {("a", 1)}


def test_a_context_is_equal_by_content_and_cannot_be_a_key() -> None:
    assert Context({"a": 2}) == Context.of([("a", 2, 3), ("a", 1, 2)])
    assert Context({"a": 2}) != {"a": 2}
    with pytest.raises(TypeError):
        hash(Context())


def test_a_context_prints_its_ranges() -> None:
    assert repr(Context.of([("b", 1, 2), ("a", 1, 4), ("a", 6, 8)])) == "Context(a:1-3, a:6-7, b:1-1)"


@given(st.lists(st.one_of(RANGES, st.tuples(st.sampled_from("abc"), st.integers(1, 30))), max_size=40))
def test_adding_dots_and_ranges_is_adding_to_a_set(steps: list[tuple[str, int] | tuple[str, int, int]]) -> None:
    context, model = Context(), set()
    for step in steps:
        if len(step) == 2:
            assert context.add(*step) == (step not in model)
            model.add(step)
        else:
            replica, start, stop = step
            context.add_range(replica, start, stop)
            model |= {(replica, seq) for seq in range(start, stop)}
        assert dots(context) == model
    ranges = list(context.ranges())
    assert ranges == sorted(ranges)
    assert all(a[0] != b[0] or a[2] < b[1] for a, b in pairwise(ranges)), "ranges touch"
    assert len(context) == len(model)
    assert bool(context) == bool(model)
    for replica in "abc":
        seqs = {seq for name, seq in model if name == replica}
        assert context.last(replica) == max(seqs, default=0)
        assert context.prefix(replica) == min(set(range(1, 60)) - seqs) - 1
        assert all(context.contains(replica, seq) == (seq in seqs) for seq in range(1, 60))


@given(CONTEXTS, CONTEXTS)
def test_two_contexts_relate_as_their_sets_do(one: Context, other: Context) -> None:
    missing = one.missing_from(other)
    assert dots(Context.of(missing)) == dots(one) - dots(other)
    assert missing == list(Context.of(missing).ranges()), "neither sorted nor maximal"
    assert one.covers(other) == (dots(one) >= dots(other))
    assert (one == other) == (dots(one) == dots(other))
    union = one.copy()
    union.update(other)
    assert dots(union) == dots(one) | dots(other)


@given(CONTEXTS, st.sampled_from("abcd"), st.sampled_from(["", "a", "b", "c", "d"]))
def test_a_page_of_replica_ids_and_the_rest_make_the_whole(context: Context, first: str, stop: str) -> None:
    page, rest = context.within(first, stop), context.outside(first, stop)
    assert dots(page) == {dot for dot in dots(context) if first <= dot[0] and (not stop or dot[0] < stop)}
    assert dots(rest) == dots(context) - dots(page)
    page.add_range("a", 1, 99)
    rest.add_range("b", 1, 99)
    assert len(context) < 99, "a page shares its ranges with the whole"


def of_dots(some: set[Dot]) -> Context:
    return Context.of((replica, seq, seq + 1) for replica, seq in sorted(some))


@given(CONTEXTS, st.sampled_from("abc"), st.integers(0, 45))
def test_what_is_beyond_a_seq_is_discarded_and_nothing_else(context: Context, replica: str, last: int) -> None:
    kept = {dot for dot in dots(context) if dot[0] != replica or dot[1] <= last}
    context.discard_beyond(replica, last)
    assert context == of_dots(kept)


@given(CONTEXTS, st.sampled_from("abc"))
def test_the_last_dot_of_a_replica_is_discarded_until_none_is_left(context: Context, replica: str) -> None:
    kept = dots(context)
    while last := context.last(replica):
        kept.remove((replica, last))
        context.discard_last(replica)
        assert context == of_dots(kept)
    assert replica not in context.replicas()


@given(CONTEXTS, st.sets(st.sampled_from("abcd")))
def test_a_context_without_some_replicas_has_all_the_others(context: Context, replicas: set[str]) -> None:
    before = context.copy()
    rest = context.without(sorted(replicas))
    assert dots(rest) == {dot for dot in dots(context) if dot[0] not in replicas}
    for replica in "abc":
        rest.add_range(replica, 1, 99)
    assert context == before, "it shares its ranges with the whole"


@given(CONTEXTS, st.sampled_from("abcd"))
def test_the_next_dot_lies_behind_the_last(context: Context, replica: str) -> None:
    expected, last = dots(context), context.last(replica)
    assert context.take_next(replica) == last + 1
    assert context == of_dots(expected | {(replica, last + 1)})


@given(CONTEXTS)
def test_the_cloud_is_every_range_that_does_not_begin_at_one(context: Context) -> None:
    size = context.cloud_size()
    assert size == sum(start > 1 for _, start, _ in context.ranges())
    assert type(size) is int


def test_a_prefix_is_one_dot_at_least() -> None:
    assert Context({"a": 0, "b": 1, "c": -1}) == Context.of([("b", 1, 2)])
    assert Context({"a": 0}) == Context.of([("a", 3, 3), ("a", 4, 2)]) == Context()


@given(st.sets(st.integers(1, 40)), st.integers(1, 41), st.integers(0, 45))
def test_seqs_within_bounds_are_sorted_whichever_way_they_are_found(seqs: set[int], start: int, length: int) -> None:
    held = dict.fromkeys(sorted(seqs, reverse=True))
    assert seqs_within(held, start, start + length) == sorted(seqs & set(range(start, start + length)))


@given(st.sets(st.integers(0, 40)))
def test_runs_in_seqs_are_maximal(seqs: set[int]) -> None:
    found = list(runs_in(sorted(seqs)))
    assert {seq for start, stop in found for seq in range(start, stop)} == seqs
    assert all(start < stop for start, stop in found)
    assert all(one[1] < other[0] for one, other in pairwise(found))


def test_what_is_missing_ends_where_the_other_begins_and_is_never_empty() -> None:
    mine = Context.of([("a", 1, 5), ("a", 7, 9), ("b", 2, 4)])
    assert mine.missing_from(Context.of([("a", 3, 5), ("a", 9, 12), ("b", 2, 4)])) == [("a", 1, 3), ("a", 7, 9)]
    assert mine.missing_from(Context.of([("a", 1, 9), ("b", 1, 2)])) == [("b", 2, 4)]
    assert mine.missing_from(Context.of([("a", 2, 3), ("a", 4, 8)])) == [
        *(("a", 1, 2), ("a", 3, 4), ("a", 8, 9)),
        ("b", 2, 4),
    ]


def test_the_next_dot_fills_no_gap() -> None:
    context = Context.of([("a", 1, 3), ("a", 5, 7)])
    assert context.take_next("a") == 7
    assert list(context.ranges()) == [("a", 1, 3), ("a", 5, 8)]


def test_two_runs_may_lie_as_far_apart_as_they_are_long() -> None:
    assert list(runs_in([1, 4])) == [(1, 2), (4, 5)]
    assert list(runs_in([3, 4, 5])) == [(3, 6)]
    assert list(runs_in([])) == []


def test_the_steps_of_a_replica_are_its_gaps_and_lengths_in_turn() -> None:
    context = Context.of([("a", 1, 4), ("b", 3, 5), ("b", 9, 10)])
    assert context.steps("a") == [0, 3]
    assert context.steps("b") == [2, 2, 4, 1]
    assert context.steps("c") == []


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(1, 4), st.integers(0, 5)), max_size=40))
def test_replicas_are_in_order_whenever_one_looks(steps: list[tuple[str, int, int]]) -> None:
    context, model = Context(), set[Dot]()
    for replica, seq, what in steps:
        match what:
            case 0 if context.last(replica):
                model.discard((replica, context.last(replica)))
                context.discard_last(replica)
            case 1:
                context.discard_beyond(replica, seq)
                model -= {dot for dot in model if dot[0] == replica and dot[1] > seq}
            case 2:
                model.add((replica, context.take_next(replica)))
            case 3:
                assert context.replicas() == sorted({name for name, _ in model})
                assert context.writers_within("c", "f") == len({name for name, _ in model if "c" <= name < "f"})
            case _:
                context.add(replica, seq)
                model.add((replica, seq))
    assert dots(context) == model
    assert [name for name, _, _ in context.ranges()] == sorted(name for name, _, _ in context.ranges())
    assert dots(context.without(["a", "c"])) == {dot for dot in model if dot[0] not in "ac"}
    assert context.without(["a"]).replicas() == sorted({name for name, _ in model} - {"a"})
