"""Maps of objects: any type inside, maps too; a delete takes what it had seen and nothing else."""

from typing import Any

import pytest

from crdts import (
    Change,
    Context,
    DecodeError,
    Delta,
    Event,
    ForeignDelta,
    InvalidValue,
    ORMap,
    ORSet,
    PNCounter,
    Replica,
    UnsupportedType,
    decode,
    encode,
)
from crdts.delta import NOTHING, events_delta
from crdts.limits import MAX_NAME_BYTES, MAX_NESTING, MAX_OBJECT_BYTES
from crdts.replica import TYPES

WRITES: dict[str, tuple[str, tuple[Any, ...], Any]] = {
    "gset": ("add", ("x",), {"x"}),
    "orset": ("add", ("x",), {"x"}),
    "rwset": ("add", ("x",), {"x"}),
    "ewflag": ("enable", (), True),
    "dwflag": ("disable", (), False),
    "gcounter": ("increment", (3,), 3),
    "counter": ("decrement", (3,), -3),
    "bounded_counter": ("increment", (3,), 3),
    "register": ("set", ("v",), "v"),
    "mvregister": ("set", ("v",), ["v"]),
    "lwwmap": ("set", ("k", "v"), {"k": "v"}),
}
"""A write of each type that makes its key be there, and the value it makes."""
EVERY_KIND = pytest.mark.parametrize("kind", WRITES)


def write(inside: ORMap | Replica, kind: str, name: str = "k") -> Any:
    how, args, _ = WRITES[kind]
    return getattr(getattr(inside, kind)(name), how)(*args)


def pair() -> tuple[ORMap, ORMap]:
    return ORMap("a"), ORMap("b")


def test_every_type_but_the_map_itself_is_tried_here() -> None:
    assert {*WRITES, "ormap"} == set(TYPES)


def test_a_new_map_is_empty() -> None:
    a, _ = pair()
    assert (len(a), list(a), a.keys(), a.value(), "k" in a) == (0, [], [], {}, False)
    assert repr(a) == "<ORMap of 'a': {}>"
    a.orset("k")
    assert "k" not in a, "naming an object writes nothing"


@EVERY_KIND
def test_a_key_is_there_once_something_is_written_below_it(kind: str) -> None:
    a, b = pair()
    b.merge(write(a, kind))
    for one in (a, b):
        assert "k" in one
        assert one.keys() == list(one) == ["k"]
        assert len(one) == 1
        assert one.value() == {"k": WRITES[kind][2]}
        assert getattr(one, kind)("k").name == "k"
        assert getattr(one, kind)("k").kind == kind


@EVERY_KIND
def test_a_deleted_key_is_gone_everywhere_and_begins_anew(kind: str) -> None:
    a, b = pair()
    b.merge(write(a, kind))
    a.merge(write(b, kind))
    deleted = b.delete("k")
    assert b.value() == a.merge(deleted).value() == {}
    assert "k" not in a
    assert len(a) == 0
    assert b.delete("k") is NOTHING
    initial = getattr(ORMap("new"), kind)("k").value()
    assert getattr(a, kind)("k").value() == initial
    write(a, kind)
    assert b.merge(a).value() == a.value() == {"k": WRITES[kind][2]}


@EVERY_KIND
def test_a_write_that_a_delete_had_not_seen_survives_it(kind: str) -> None:
    a, b = pair()
    b.merge(write(a, kind))
    deleted, again = b.delete("k"), write(a, kind)
    if kind == "gset":  # adding what is in a grow-only set is no change that could survive
        assert again is NOTHING
        a.gset("k").add("y")
    a.merge(deleted)
    assert "k" in a
    expected = {"y"} if kind == "gset" else WRITES[kind][2]
    assert b.merge(a).value() == a.value() == {"k": expected}


def test_only_the_concurrent_part_of_a_child_survives() -> None:
    a, b = pair()
    a.orset("members").add("old")
    a.lwwmap("settings").set("old", 1)
    b.merge(a)
    a.orset("members").add("new")
    a.lwwmap("settings").set("new", 2)
    b.clear()
    assert b.value() == {}
    assert a.merge(b).value() == b.merge(a).value() == {"members": {"new"}, "settings": {"new": 2}}


def test_a_delete_is_one_change_even_with_counters_and_maps_below() -> None:
    a, b = pair()
    a.ormap("k").orset("s").add("x")
    a.ormap("k").counter("c").increment(5)
    a.merge(ORMap("c").merge(a).ormap("k").counter("c").increment(2))
    deleted = a.delete("k")
    assert len({event.batch for event in deleted.events}) == 1
    assert len(deleted.events) > 1
    assert a.value() == {}
    b.merge(decode(encode(a._store.kernel.delta_since(Context()))))
    assert b.value() == {}


def test_a_delete_reaches_all_the_way_down_and_leaves_what_is_beside() -> None:
    a, b = pair()
    a.ormap("x").ormap("y").ormap("z").counter("deep").increment(1)
    a.ormap("x").ormap("kept").orset("s").add(1)
    b.merge(a)
    b.ormap("x").delete("y")
    assert a.merge(b).value() == {"x": {"kept": {"s": {1}}}}
    a.delete("x")
    assert a.value() == {}
    assert b.merge(a).ormap("x").value() == {}


def test_a_key_whose_children_are_gone_is_gone() -> None:
    a, _ = pair()
    a.ormap("x").orset("s").add(1)
    assert "x" in a
    a.ormap("x").orset("s").remove(1)
    assert a.value() == {}
    assert a.stats().entries == 0


def test_a_removal_that_a_remove_wins_set_remembers_does_not_make_a_key() -> None:
    a, _ = pair()
    a.rwset("k").remove("x")
    assert "k" not in a
    assert a.value() == {}
    assert a.stats().entries == 1
    a.delete("k")
    assert a.stats().entries == 0


def test_a_delete_turns_a_disable_wins_flag_on_again() -> None:
    a, _ = pair()
    a.dwflag("f").disable()
    assert a.value() == {"f": False}
    a.delete("f")
    assert a.dwflag("f").value() is True
    assert "f" not in a


def test_what_a_map_remembers_of_deleted_counters_does_not_make_a_key_and_goes_in_time() -> None:
    a, b = pair()
    b.merge(a.counter("c").increment(5))
    b.delete("c")
    assert b.value() == {}
    assert b.stats().entries == 1, "how much of the other's count is void"
    a.merge(b)
    assert a.value() == {}
    a.counter("c").increment(1)
    assert b.merge(a).stats().entries == 1
    a.delete("c")
    assert a.stats().entries == 0


def test_a_deleted_bounded_counter_grants_nobody_anything() -> None:
    a, b = pair()
    b.merge(a.bounded_counter("budget", 3).increment(5))
    b.delete("budget")
    assert a.merge(b).bounded_counter("budget", 3).rights() == 0
    assert a.bounded_counter("budget", 3).value() == 3
    assert a.value() == {}


def test_where_several_types_share_a_key_the_value_has_them_by_accessor() -> None:
    a, _ = pair()
    a.orset("k").add("x")
    assert a.value() == {"k": {"x"}}
    a.counter("k").increment(2)
    a.ormap("k").register("r").set(1)
    assert a.value() == {"k": {"orset": {"x"}, "counter": 2, "ormap": {"r": 1}}}
    assert len(a) == 1
    assert a.keys() == ["k"]
    a.delete("k")
    assert a.value() == {}


def test_a_map_inside_a_replica_is_apart_from_what_is_beside_it() -> None:
    replica = Replica("a")
    replica.ormap("m").orset("s").add("inside")
    replica.orset("s").add("outside")
    replica.ormap("mm").orset("s").add("other")
    assert replica.ormap("m").value() == {"s": {"inside"}}
    assert [(obj.kind, obj.name) for obj in replica.objects()] == [("ormap", "m"), ("ormap", "mm"), ("orset", "s")]
    replica.ormap("m").clear()
    assert [obj.name for obj in replica.objects()] == ["mm", "s"]


def test_keys_are_sorted() -> None:
    a, _ = pair()
    for key in ("b", "é", "a", "ab"):
        a.counter(key).increment()
    assert a.keys() == list(a) == list(a.value()) == ["a", "ab", "b", "é"]


@EVERY_KIND
def test_the_name_of_a_child_is_text_of_1_to_255_bytes(kind: str) -> None:
    make = getattr(ORMap("a"), kind)
    assert make("x" * MAX_NAME_BYTES).name == "x" * MAX_NAME_BYTES
    for name in ("", "é" * 128, "\ud800"):
        with pytest.raises(InvalidValue):
            make(name)
    for name in (b"x", 1, None):
        with pytest.raises(UnsupportedType, match=type(name).__name__):
            make(name)


@pytest.mark.parametrize("key", [1, b"k", None, ("k",)])
def test_what_is_no_text_is_no_key(key: Any) -> None:
    a, _ = pair()
    a.counter("k").increment()
    assert key not in a
    with pytest.raises(UnsupportedType, match="str"):
        a.delete(key)


@pytest.mark.parametrize("key", ["", "x" * (MAX_NAME_BYTES + 1), "\ud800"])
def test_deleting_a_key_that_can_never_be_there_is_refused_or_nothing(key: str) -> None:
    a, _ = pair()
    a.counter("k").increment()
    assert key not in a
    try:
        assert a.delete(key) is NOTHING
    except InvalidValue:
        assert key
    assert a.value() == {"k": 1}


def test_maps_nest_as_deep_as_the_limit_says() -> None:
    held: Any = Replica("a")
    for _ in range(MAX_NESTING - 1):
        held = held.ormap("m")
    held.counter("c").increment(1)
    inner = held.ormap("last")
    with pytest.raises(InvalidValue, match=f"maps nest {MAX_NESTING} levels deep at most"):
        inner.counter("c")
    top = held._store
    data = encode(top.kernel.delta_since(Context()))
    other = Replica("b").merge(decode(data))
    expected: Any = {"c": 1}
    for _ in range(MAX_NESTING - 2):
        expected = {"m": expected}
    assert other.ormap("m").value() == expected


def test_the_names_of_nested_maps_have_a_bound_together() -> None:
    held: Any = Replica("a")
    names = MAX_OBJECT_BYTES // (MAX_NAME_BYTES + 2)
    for _ in range(names):
        held = held.ormap("x" * MAX_NAME_BYTES)
    with pytest.raises(InvalidValue, match=f"{MAX_OBJECT_BYTES} bytes of names"):
        held.counter("x" * MAX_NAME_BYTES)


def test_children_merge_on_their_own_and_bring_the_whole_map() -> None:
    a, b = pair()
    a.orset("s").add("x")
    a.counter("c").increment(2)
    assert b.orset("s").merge(a.orset("s")).value() == {"x"}
    assert b.value() == {"s": {"x"}, "c": 2}
    with pytest.raises(ForeignDelta, match="not another replica of orset 's'"):
        b.orset("s").merge(a.orset("t"))
    with pytest.raises(UnsupportedType, match="PNCounter"):
        b.orset("s").merge(a.counter("c"))  # type: ignore[arg-type]


def test_a_map_that_stands_alone_takes_nothing_that_is_not_in_it() -> None:
    a, _ = pair()
    for delta in (
        ORSet("b").add("x"),
        PNCounter("b").increment(),
        Replica("b").ormap("named").counter("c").increment(),
    ):
        with pytest.raises(ForeignDelta, match="not a standalone ormap"):
            a.merge(delta)
    assert not a._store.kernel.context


def test_a_child_written_within_a_transaction_is_read_within_it() -> None:
    a, b = pair()
    with a.transaction() as done:
        a.orset("s").add("x")
        a.counter("c").increment()
        a.delete("s")
        assert a.value() == {"c": 1}
    assert b.merge(done.delta).value() == {"c": 1}


def test_a_map_filled_and_cleared_over_and_over_leaves_nothing() -> None:
    a, _ = pair()
    for turn in range(50):
        for kind in WRITES:
            write(a, kind, name=f"{kind}{turn}")
        a.ormap("m").counter("c").increment()
        a.clear()
        assert a.value() == {}
    left = {event.obj[:1] + event.obj.rpartition(b"\xff")[2][:1] for event in a._store.kernel.state().events}
    assert left == {b"ob"}, "only a bounded counter remembers what was spent"


# ---- what others send


def sent(obj: bytes, key: bytes = b"\x01", payload: bytes = b"") -> Delta:
    """An entry as a peer may send it."""
    return decode(encode(events_delta([Event("z", 1, obj, key, payload, ())])))


@pytest.mark.parametrize("obj", [b"om\xffs", b"o\xffs", b"om\xffo\xffsx", b"o\xffo\xffsx", b"om\xffon\xffc"])
def test_an_object_inside_a_map_without_a_name_is_refused(obj: bytes) -> None:
    with pytest.raises(DecodeError):
        sent(obj, *((b"z", b"\x83\x01\x01\x00") if obj.endswith(b"c") else ()))


@pytest.mark.parametrize(
    "obj", [b"om\xff?\xfe", b"om\xff?k", b"om\xffok\xff?k", b"om\xff?k\xffsk", b"om\xff?\xfe\xffsk"]
)
def test_a_child_of_a_type_from_a_newer_version_is_carried_along_and_not_read(obj: bytes) -> None:
    told: list[Change] = []
    replica = Replica("a")
    replica.on_change(told.extend)
    a = replica.merge(sent(obj)).ormap("m")
    assert "k" not in a
    assert (a.value(), a.keys(), len(a)) == ({}, [], 0)
    assert told == []
    assert replica.stats().entries == 1
    a.orset("k").add("x")
    assert a.value() == {"k": {"x"}}
    a.clear()
    assert replica.stats().entries == 0


@pytest.mark.parametrize("obj", [b"?\xfe\xffsk", b"?k\xffok\xffsk", b"?\xff\xffr"])
def test_what_is_inside_an_object_of_an_unknown_type_is_not_read(obj: bytes) -> None:
    told: list[Change] = []
    replica = Replica("a")
    replica.on_change(told.extend)
    replica.merge(sent(obj))
    assert told == []
    assert replica.objects() == []
    assert replica.stats().entries == 1
    assert Replica("b").merge(replica).fingerprint == replica.fingerprint


def test_deleting_a_key_takes_what_newer_versions_have_there_too() -> None:
    replica = Replica("a").merge(sent(b"om\xff?k"))
    replica.ormap("m").orset("k").add("x")
    replica.ormap("m").delete("k")
    assert replica.stats().entries == 0


@pytest.mark.parametrize("kind", ["orset", "counters"])
def test_a_key_with_more_in_it_than_a_transaction_holds_is_deleted_all_the_same(kind: str) -> None:
    a, b = ORMap("a"), ORMap("b")
    if kind == "orset":
        for i in range(60_000):
            a.orset("k").add(i)
    else:
        for i in range(17_000):
            a.ormap("k").counter(str(i)).increment()
    b.merge(a)
    deleted = b.delete("k")
    assert "k" not in b
    assert "k" not in a.merge(decode(encode(deleted)))
    assert a.value() == {}
