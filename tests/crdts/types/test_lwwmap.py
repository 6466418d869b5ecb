"""The map whose keys are registers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crdts import InvalidValue, LWWMap, UnsupportedType
from crdts.delta import NOTHING
from crdts.limits import MAX_KEY_BYTES


def test_a_map_reads_as_a_dict() -> None:
    a = LWWMap("a")
    a.set("k", 1)
    a.set("l", [2])
    assert a["k"] == a.get("k") == 1
    assert a.get("missing") is None
    assert a.get("missing", 7) == 7
    assert "k" in a
    assert "missing" not in a
    assert 1 not in a
    assert len(a) == 2
    assert sorted(a) == sorted(a.keys()) == ["k", "l"]
    assert dict(a.items()) == a.value() == {"k": 1, "l": [2]}
    assert sorted(map(str, a.values())) == ["1", "[2]"]
    with pytest.raises(KeyError, match="missing"):
        a["missing"]


def test_a_deleted_key_is_gone_and_deleting_it_again_is_nothing() -> None:
    a = LWWMap("a")
    a.set("k", 1)
    a.delete("k")
    assert "k" not in a
    assert len(a) == 0
    assert a.delete("k") is NOTHING


def test_concurrent_sets_of_different_keys_both_survive() -> None:
    a, b = LWWMap("a"), LWWMap("b")
    a.set("x", 1)
    b.set("y", 2)
    assert a.merge(b).value() == b.merge(a).value() == {"x": 1, "y": 2}


def test_of_concurrent_sets_of_one_key_the_later_wins() -> None:
    a, b = LWWMap("a"), LWWMap("b")
    a.set("x", "later", timestamp=20)
    b.set("x", "earlier", timestamp=10)
    assert a.merge(b).value() == b.merge(a).value() == {"x": "later"}


def test_a_set_survives_a_concurrent_delete_whatever_the_stamps() -> None:
    a, b = LWWMap("a"), LWWMap("b")
    b.merge(a.set("x", 1, timestamp=50))
    deleted = b.delete("x")
    unseen = a.set("y", 0)
    old = LWWMap("c").set("x", "old but unseen", timestamp=10)
    a.merge(old).merge(deleted).merge(unseen)
    b.merge(old).merge(unseen)
    assert a.value() == b.value() == {"x": "old but unseen", "y": 0}


def test_a_delete_removes_the_losers_it_has_seen_too() -> None:
    a, b = LWWMap("a"), LWWMap("b")
    a.set("x", "winner", timestamp=20)
    b.set("x", "loser", timestamp=10)
    a.merge(b)
    a.delete("x")
    assert b.merge(a).value() == a.value() == {}


def test_a_set_with_an_old_time_hides_nothing() -> None:
    a, b = LWWMap("a"), LWWMap("b")
    a.set("x", "newer", timestamp=20)
    a.set("x", "older", timestamp=10)
    assert a.value() == b.merge(a).value() == {"x": "newer"}


def test_the_empty_key_is_a_key() -> None:
    a = LWWMap("a")
    a.set("", 1)
    assert "" in a
    assert a.value() == {"": 1}


def test_a_key_with_half_a_surrogate_pair_is_refused_and_never_found() -> None:
    a = LWWMap("a")
    a.set("?", 1)
    assert "\ud800" not in a
    with pytest.raises(InvalidValue, match="surrogate"):
        a.set("\ud800", 1)


def test_a_key_is_text_of_bounded_length() -> None:
    a = LWWMap("a")
    a.set("x" * MAX_KEY_BYTES, 1)
    with pytest.raises(InvalidValue, match="map key"):
        a.set("é" * (MAX_KEY_BYTES // 2 + 1), 1)
    for call in (lambda: a.set(1, 1), lambda: a.get(b"k"), lambda: a.delete(None), lambda: a[1]):  # type: ignore[arg-type,index]
        with pytest.raises(UnsupportedType, match="map key"):
            call()
    assert "x" * (MAX_KEY_BYTES + 1) not in a


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from("xyz"), st.sampled_from(["set", "set", "delete", "merge"])),
        max_size=25,
    )
)
def test_all_end_with_the_same_map_by_states_and_by_deltas(steps: list[tuple[int, str, str]]) -> None:
    maps = [LWWMap(name) for name in "abc"]
    deltas = []
    for i, (who, key, how) in enumerate(steps):
        if how == "set":
            deltas.append(maps[who].set(key, i))
        elif how == "delete":
            deltas.append(maps[who].delete(key))
        else:
            maps[who].merge(maps[ord(key) % 3])
    reader = LWWMap("reader")
    for delta in reversed(deltas):
        reader.merge(delta)
    for one in maps:
        for other in maps:
            one.merge(other)
    for one in maps:
        assert one.value() == reader.value()


@given(st.lists(st.tuples(st.sampled_from("xyz"), st.none() | st.integers(0, 5)), max_size=20))
def test_alone_it_is_a_dict(steps: list[tuple[str, int | None]]) -> None:
    a, model = LWWMap("a"), {}
    for key, value in steps:
        if value is None:
            a.delete(key)
            model.pop(key, None)
        else:
            a.set(key, value)
            model[key] = value
        assert a.value() == model
