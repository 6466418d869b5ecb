"""The grow-only and the remove-wins set; what all sets have in common is tried on all three."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crdts import (
    Context,
    ForeignDelta,
    GSet,
    InvalidValue,
    ORSet,
    PNCounter,
    Replica,
    RWSet,
    UnsupportedType,
    decode,
    encode,
)
from crdts.delta import NOTHING
from crdts.limits import MAX_BATCH_BYTES
from crdts.values import encode_value

from ..strategies import VALUES

AnySet = GSet | ORSet | RWSet
EVERY = pytest.mark.parametrize("kind", [GSet, ORSet, RWSet])
REMOVING = pytest.mark.parametrize("kind", [ORSet, RWSet])


# ---- what all have in common


@EVERY
def test_a_new_set_is_empty(kind: type[AnySet]) -> None:
    a = kind("a")
    assert (len(a), list(a), "x" in a, a.contains("x")) == (0, [], False, False)
    assert a.value() == a.get_elements() == set()
    assert repr(a) == f"<{kind.__name__} of 'a': Elements()>"


@EVERY
def test_what_was_added_is_in_and_read_as_a_set(kind: type[AnySet]) -> None:
    a = kind("a")
    for element in ("x", 1, None, (1, [2]), "x"):
        a.add(element)
    assert len(a) == 4
    assert a.value() == {"x", 1, None, (1, (2,))}
    assert sorted(map(repr, a)) == ["'x'", "(1, (2,))", "1", "None"]
    assert (1, (2,)) in a
    assert True not in a
    assert not a.contains(1.0)


@EVERY
def test_the_elements_do_not_follow_what_happens_later(kind: type[AnySet]) -> None:
    a = kind("a")
    a.add("x")
    elements = a.value()
    a.add("y")
    assert elements == {"x"}


@EVERY
@pytest.mark.parametrize("element", [{1}, object(), 1 + 1j, {1: 2}, "\ud800", 2**64, "x" * 5000])
def test_what_cannot_be_an_element_is_refused_and_never_in(kind: type[AnySet], element: Any) -> None:
    a = kind("a")
    for call in (a.add, a.contains, getattr(a, "remove", a.add)):
        with pytest.raises((UnsupportedType, InvalidValue)):
            call(element)
    assert element not in a
    assert element not in a.value()
    assert not a._store.kernel.context, "a refused call took a dot"


@EVERY
def test_a_delta_of_another_type_is_refused_whole(kind: type[AnySet]) -> None:
    a = kind("a")
    other = ORSet("b") if kind is not ORSet else GSet("b")
    for delta in (PNCounter("b").increment(), other.add("x")):
        with pytest.raises(ForeignDelta, match=f"not a standalone {kind.__name__.lower()}"):
            a.merge(delta)
    with pytest.raises(UnsupportedType, match=type(other).__name__):
        a.merge(other)  # type: ignore[arg-type]
    assert not a._store.kernel.context


@EVERY
def test_sets_of_one_name_and_three_types_do_not_mix(kind: type[AnySet]) -> None:
    replica = Replica("a")
    getattr(replica, kind("x").kind)("s").add("x")
    assert [obj.kind for obj in replica.objects()] == [kind("x").kind]
    assert [len(replica.gset("s")), len(replica.orset("s")), len(replica.rwset("s"))].count(1) == 1


# ---- grow-only


def test_a_grow_only_set_has_no_way_to_remove() -> None:
    for name in ("remove", "discard", "clear", "purge"):
        assert not hasattr(GSet, name)


def test_adding_what_is_in_a_grow_only_set_is_an_empty_delta_and_takes_no_dot() -> None:
    a, b = GSet("a"), GSet("b")
    delta = a.add("x")
    assert a.add("x") is NOTHING
    assert b.merge(delta).add("x") is NOTHING
    assert a._store.kernel.context == b._store.kernel.context == Context({"a": 1})


def test_an_element_added_twice_concurrently_is_one_element() -> None:
    a, b = GSet("a"), GSet("b")
    a.add("x")
    b.add("x")
    assert list(a.merge(b)) == ["x"]
    assert a.add("x") is NOTHING


@given(st.lists(st.tuples(st.integers(0, 2), VALUES | st.sampled_from([1, True, 1.0])), max_size=20))
def test_grow_only_sets_merge_to_their_union(steps: list[tuple[int, Any]]) -> None:
    sets = [GSet(name) for name in "abc"]
    for who, element in steps:
        sets[who].add(element)
    a = sets[0].merge(sets[1]).merge(sets[2])
    assert {encode_value(element) for element in a} == {encode_value(element) for _, element in steps}


# ---- remove-wins


def test_a_remove_wins_over_an_add_that_had_not_seen_it() -> None:
    a, b = RWSet("a"), RWSet("b")
    b.merge(a.add("x"))
    removed, added = b.remove("x"), a.add("x")
    assert a.merge(removed).value() == set()
    assert b.merge(added).value() == set()


def test_a_remove_wins_over_an_add_that_it_has_never_heard_of() -> None:
    a, b = RWSet("a"), RWSet("b")
    removed = b.remove("x")
    assert removed, "a removal that has nothing to remove yet is remembered"
    a.add("x")
    assert a.merge(removed).value() == b.merge(a).value() == set()


def test_an_add_that_has_seen_the_remove_undoes_it() -> None:
    a, b = RWSet("a"), RWSet("b")
    a.add("x")
    b.merge(a)
    b.remove("x")
    a.merge(b)
    a.add("x")
    assert b.merge(a).value() == a.value() == {"x"}


def test_an_add_does_not_undo_a_remove_that_it_has_not_seen_though_it_has_seen_another() -> None:
    a, b, c = RWSet("a"), RWSet("b"), RWSet("c")
    first, second = b.remove("x"), c.remove("x")
    a.merge(first)
    a.add("x")
    assert "x" in a
    assert "x" not in a.merge(second)
    assert len(a) == 0
    assert list(a) == []


def test_clearing_removes_what_is_in_as_one_change_and_wins_too() -> None:
    a, b = RWSet("a"), RWSet("b")
    a.add("x")
    a.add("y")
    a.remove("z")
    b.merge(a)
    cleared = a.clear()
    again = b.add("x")
    fresh = b.add("new")
    assert {event.batch for event in cleared.events} == {(4, 6)}
    assert a.value() == set()
    assert a.merge(again).merge(fresh).value() == b.merge(cleared).value() == {"new"}
    assert RWSet("c").clear() is NOTHING


def test_clearing_more_than_one_change_can_hold_is_refused_and_changes_nothing() -> None:
    a = RWSet("a")
    for i in range(MAX_BATCH_BYTES // 4000):
        a.add(f"{i:04}" + "x" * 4000)
    before = encode(a._store.kernel.state())
    with pytest.raises(InvalidValue, match="bytes; make several"):
        a.clear()
    assert encode(a._store.kernel.state()) == before


def test_removals_are_remembered_until_they_are_purged() -> None:
    a = RWSet("a")
    for i in range(10):
        a.add(i)
        a.remove(i)
    a.add("kept")
    assert a.stats().entries == 11
    purged = a.purge()
    assert len(purged.events) == 1
    assert a.value() == {"kept"}
    assert a.stats().entries == 1
    assert a.purge() is NOTHING


def test_an_add_that_was_concurrent_with_a_purged_removal_is_in_when_it_arrives_later() -> None:
    a, b = RWSet("a"), RWSet("b")
    late = b.add("x")
    a.remove("x")
    a.purge()
    assert a.merge(late).value() == {"x"}
    assert b.merge(a).value() == {"x"}


def test_a_purge_takes_the_adds_that_lost_with_it() -> None:
    a, b = RWSet("a"), RWSet("b")
    a.merge(b.add("x")).merge(RWSet("c").remove("x"))
    assert a.value() == set()
    a.purge()
    assert a.stats().entries == 0
    assert b.merge(a).value() == set()


def test_a_purge_does_not_forget_a_removal_that_it_had_not_seen() -> None:
    a, b, c = RWSet("a"), RWSet("b"), RWSet("c")
    a.remove("x")
    b.remove("x")
    purged = a.purge()
    c.add("x")
    assert c.merge(purged).value() == {"x"}
    assert c.merge(b).value() == set()


def test_what_a_remove_wins_set_stores_comes_back_from_its_encoding() -> None:
    a = RWSet("a")
    for delta in (a.add("x"), a.remove("x"), a.remove("y"), a.add("y"), a.clear(), a.purge()):
        assert decode(encode(delta)) == delta


# ---- those that remove


@REMOVING
def test_a_removed_element_can_be_added_again(kind: type[ORSet | RWSet]) -> None:
    a, b = kind("a"), kind("b")
    a.add("x")
    a.remove("x")
    assert a.value() == set()
    a.add("x")
    assert b.merge(a).value() == {"x"}


@REMOVING
@given(st.lists(st.tuples(st.sampled_from(["add", "remove", "clear"]), st.integers(0, 3)), max_size=20))
def test_alone_it_is_a_set(kind: type[ORSet | RWSet], steps: list[tuple[str, int]]) -> None:
    a, model = kind("a"), set()
    for how, element in steps:
        if how == "clear":
            a.clear()
            model.clear()
        else:
            getattr(a, how)(element)
            (model.add if how == "add" else model.discard)(element)
        assert a.value() == model
        assert len(a) == len(model)


def test_clearing_an_observed_remove_set_is_one_removal_of_all_that_was_seen() -> None:
    a, b = ORSet("a"), ORSet("b")
    for element in "xyz":
        a.add(element)
    b.merge(a)
    cleared = a.clear()
    assert len(cleared.events) == 1
    again = b.add("y")
    assert a.merge(again).value() == b.merge(cleared).value() == {"y"}
    assert ORSet("c").clear() is NOTHING


def test_a_cleared_observed_remove_set_leaves_no_entry() -> None:
    a = ORSet("a")
    for i in range(5000):  # more than one event can replace
        a.add(i)
    cleared = a.clear()
    assert len(cleared.events) == 2
    assert a.stats().entries == 0
    assert ORSet("b").merge(cleared).value() == set()
