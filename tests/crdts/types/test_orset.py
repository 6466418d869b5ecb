"""The observed-remove set."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crdts import Delta, ForeignDelta, InvalidValue, ORSet, PNCounter, Replica, UnsupportedType
from crdts.delta import NOTHING
from crdts.values import encode_value

from ..strategies import VALUES


def trio() -> tuple[ORSet, ORSet, ORSet]:
    return ORSet("a"), ORSet("b"), ORSet("c")


def test_a_new_set_is_empty() -> None:
    a = ORSet("a")
    assert (len(a), list(a), "x" in a, a.contains("x")) == (0, [], False, False)
    assert a.get_elements() == set()
    assert repr(a) == "<ORSet of 'a': Elements()>"


def test_an_element_is_there_after_an_add_and_gone_after_a_remove() -> None:
    a = ORSet("a")
    a.add("x")
    a.add("y")
    assert a.get_elements() == {"x", "y"}
    a.remove("x")
    assert a.get_elements() == {"y"}
    assert "y" in a
    assert not a.contains("x")
    assert len(a) == 1
    assert list(a) == ["y"]


def test_removing_what_is_not_there_is_an_empty_delta() -> None:
    assert ORSet("a").remove("x") is NOTHING
    assert not NOTHING


def test_a_delta_alone_carries_the_change() -> None:
    a, b, _ = trio()
    b.merge(a.add("x"))
    assert b.get_elements() == {"x"}
    b.merge(a.remove("x"))
    assert b.get_elements() == set()


def test_an_add_wins_over_a_remove_that_had_not_seen_it() -> None:
    a, b, _ = trio()
    b.merge(a.add("x"))
    removed = b.remove("x")
    added = a.add("x")
    assert a.merge(removed).get_elements() == {"x"}
    assert b.merge(added).get_elements() == {"x"}


def test_a_remove_is_final_for_what_it_had_seen() -> None:
    a, b, c = trio()
    added = a.add("x")
    removed = b.merge(added).remove("x")
    assert c.merge(removed).merge(added).get_elements() == set()
    assert a.merge(removed).merge(b).merge(added).get_elements() == set()


def test_an_add_outlives_the_add_and_remove_of_one_who_never_saw_it() -> None:
    a, _, c = trio()
    a.add("x")
    c.add("x")
    c.remove("x")
    assert a.merge(c).get_elements() == {"x"}
    assert c.merge(a).get_elements() == {"x"}


def test_a_removed_element_can_be_added_again() -> None:
    a, b, _ = trio()
    a.add("x")
    a.remove("x")
    a.add("x")
    assert b.merge(a).get_elements() == {"x"}


def test_deltas_that_arrive_backwards_end_where_they_should() -> None:
    a, b, _ = trio()
    deltas = [a.add("x"), a.remove("x"), a.add("x"), a.add("y"), a.remove("y")]
    for delta in reversed(deltas):
        b.merge(delta)
        b.merge(delta)
    assert b.get_elements() == a.get_elements() == {"x"}


def test_merge_chains_and_leaves_its_argument_alone() -> None:
    a, b, c = trio()
    a.add(1)
    b.add(2)
    c.add(3)
    assert a.merge(b).merge(c) is a
    assert a.merge(a) is a
    assert a.get_elements() == {1, 2, 3}
    assert b.get_elements() == {2}
    assert c.get_elements() == {3}


def test_one_and_true_and_one_point_zero_are_three_elements() -> None:
    a = ORSet("a")
    a.add(1)
    assert True not in a
    assert 1.0 not in a
    a.add(True)
    a.add(1.0)
    assert len(a) == 3
    a.remove(1)
    assert sorted(map(repr, a)) == ["1.0", "True"]


def test_nan_is_one_element_and_the_two_zeros_are_two() -> None:
    a = ORSet("a")
    for element in (math.nan, float("nan"), 0.0, -0.0):
        a.add(element)
    assert len(a) == 3
    assert math.nan in a
    a.remove(math.nan)
    assert math.nan not in a


def test_lists_come_out_as_tuples_and_dicts_as_dicts() -> None:
    a = ORSet("a")
    a.add([1, [2]])
    a.add({"k": [1]})
    assert (1, (2,)) in a
    assert (1, (2,)) in {element for element in a if isinstance(element, tuple)}
    assert {"k": [1]} in list(a)


@pytest.mark.parametrize("element", [{1}, object(), 1 + 1j, {1: 2}, "\ud800", 2**64, "x" * 5000])
def test_what_cannot_be_an_element_is_refused_and_is_not_in_the_set(element: Any) -> None:
    a = ORSet("a")
    with pytest.raises((UnsupportedType, InvalidValue)):
        a.add(element)
    with pytest.raises((UnsupportedType, InvalidValue)):
        a.remove(element)
    assert element not in a
    assert element not in a.get_elements()
    assert not a._store.kernel.context, "a refused add took a dot"


def test_the_elements_are_a_snapshot_that_behaves_as_a_set() -> None:
    a = ORSet("a")
    for element in "xyz":
        a.add(element)
    elements = a.get_elements()
    a.remove("x")
    assert elements == {"x", "y", "z"}
    assert {"x", "y", "z"} == elements
    assert elements & {"x", "q"} == {"x"}
    assert elements - {"x"} == {"y", "z"}
    assert elements | {1} == {"x", "y", "z", 1}
    assert elements >= {"x"}
    assert not elements.isdisjoint(["z"])
    assert elements != {"x", "y"}
    a.add(1)
    assert a.get_elements() & {True} == set()
    assert a.get_elements() != {"y", "z", True}
    assert {"y", "z", True} != a.get_elements()
    assert not a.get_elements() <= {"y", "z", True, "w"}
    assert a.get_elements() < {"y", "z", 1, "w"}
    assert a.get_elements() != ["y", "z", 1]


def test_only_a_delta_or_a_set_can_be_merged() -> None:
    for other in (PNCounter("b"), Replica("b"), {"x"}, b"bytes", None):
        with pytest.raises(UnsupportedType, match=type(other).__name__):
            ORSet("a").merge(other)  # type: ignore[arg-type]


def test_a_delta_of_another_object_is_refused_whole() -> None:
    a = ORSet("a")
    for delta in (
        PNCounter("b").increment(),
        Replica("c").orset("named").add("x"),
        Replica("d").lwwmap("m").set("k", 1),
    ):
        with pytest.raises(ForeignDelta, match="not a standalone orset"):
            a.merge(delta)
    assert not a._store.kernel.context


@pytest.mark.parametrize("replica_id", ["", "x" * 65, "a\n", "\ud800"])
def test_a_replica_id_is_short_printable_text(replica_id: str) -> None:
    with pytest.raises(InvalidValue):
        ORSet(replica_id)
    with pytest.raises(UnsupportedType, match="int"):
        ORSet(1)  # type: ignore[arg-type]


@given(st.lists(st.tuples(st.booleans(), st.one_of(VALUES, st.sampled_from([1, True, 1.0]))), max_size=20))
def test_alone_it_is_a_set_of_encoded_values(steps: list[tuple[bool, Any]]) -> None:
    a, model = ORSet("a"), set()
    for add, element in steps:
        (a.add if add else a.remove)(element)
        (model.add if add else model.discard)(encode_value(element))
        assert {encode_value(e) for e in a} == model
        assert a.contains(element) == add
    assert len(a) == len(model)


STEPS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.sampled_from("arm")), max_size=25)


@given(STEPS)
def test_merging_is_commutative_associative_and_idempotent(steps: list[tuple[int, int, str]]) -> None:
    sets = trio()
    for who, what, how in steps:
        if how == "m":
            sets[who].merge(sets[what])
        else:
            (sets[who].add if how == "a" else sets[who].remove)(what)
    a, b, c = sets

    def joined(*parts: ORSet) -> ORSet:
        reader = ORSet("reader")
        for part in parts:
            reader.merge(part)
        return reader

    assert joined(a, b).value() == joined(b, a).value()
    assert joined(joined(a, b), c).value() == joined(a, joined(b, c)).value() == joined(c, b, a, b, c).value()
    assert joined(a, a).value() == a.value()


@given(STEPS, st.randoms(use_true_random=False))
def test_all_deltas_in_any_order_are_the_same_as_the_states(steps: list[tuple[int, int, str]], rng: Any) -> None:
    sets = trio()
    deltas: list[Delta] = []
    for who, what, how in steps:
        if how == "m":
            sets[who].merge(sets[what])
        else:
            deltas.append((sets[who].add if how == "a" else sets[who].remove)(what))
    by_state, by_delta = ORSet("s"), ORSet("d")
    for one in sets:
        by_state.merge(one)
    rng.shuffle(deltas)
    for delta in deltas:
        by_delta.merge(delta)
    assert by_delta.value() == by_state.value()
    assert by_delta._store.kernel.fingerprint == by_state._store.kernel.fingerprint
