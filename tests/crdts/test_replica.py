"""Many objects under one context."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crdts import (
    Change,
    Context,
    Delta,
    Event,
    ForeignDelta,
    GCounter,
    InvalidValue,
    ORMap,
    ORSet,
    Replica,
    UnsupportedType,
    decode,
    decode_context,
    encode,
    encode_context,
)
from crdts.delta import joined

ACCESSORS = ["orset", "gcounter", "counter", "register", "mvregister", "lwwmap"]


def test_a_name_is_scoped_by_its_type() -> None:
    replica = Replica("a")
    replica.orset("x").add(1)
    replica.gcounter("x").increment(2)
    replica.counter("x").decrement(3)
    replica.register("x").set(4)
    replica.mvregister("x").set(5)
    replica.lwwmap("x").set("k", 6)
    assert replica.orset("x").value() == {1}
    assert replica.gcounter("x").value() == 2
    assert replica.counter("x").value() == -3
    assert replica.register("x").value() == 4
    assert replica.mvregister("x").value() == [5]
    assert replica.lwwmap("x").value() == {"k": 6}
    assert [(type(obj).__name__, obj.name) for obj in replica.objects()] == [
        ("PNCounter", "x"),
        ("GCounter", "x"),
        ("LWWMap", "x"),
        ("LWWRegister", "x"),
        ("ORSet", "x"),
        ("MVRegister", "x"),
    ]


def test_an_object_takes_room_only_while_it_holds_something() -> None:
    replica = Replica("a")
    tasks = replica.orset("tasks")
    assert replica.objects() == []
    tasks.add(1)
    assert repr(replica) == "<Replica 'a': 1 objects>"
    assert repr(replica.objects()) == "[<ORSet 'tasks' of 'a': {1}>]"
    tasks.remove(1)
    assert replica.objects() == []


def test_two_handles_of_one_name_are_one_object() -> None:
    replica = Replica("a")
    handle = replica.orset("x")
    replica.orset("x").add(1)
    assert 1 in handle
    assert handle.merge(replica.orset("x")) is handle
    assert handle.replica_id == replica.replica_id == "a"


@pytest.mark.parametrize("accessor", ACCESSORS)
def test_a_name_is_text_of_1_to_255_bytes(accessor: str) -> None:
    make = getattr(Replica("a"), accessor)
    assert make("x" * 255).name == "x" * 255
    for name in ("", "é" * 128, "\ud800"):
        with pytest.raises(InvalidValue):
            make(name)
    for name in (b"x", 1, None):
        with pytest.raises(UnsupportedType, match=type(name).__name__):
            make(name)


def test_a_whole_replica_or_a_delta_of_it_is_merged() -> None:
    a, b, c = Replica("a"), Replica("b"), Replica("c")
    a.orset("s").add(1)
    delta = a.lwwmap("m").set("k", 2)
    assert b.merge(a).merge(c) is b
    assert c.merge(delta).lwwmap("m").value() == {"k": 2}
    assert b.orset("s").value() == {1}
    assert b.context == a.context == Context({"a": 2})
    assert b.fingerprint == a.fingerprint != c.fingerprint
    assert a.merge(a) is a


def test_merging_one_object_of_a_replica_joins_all_of_it() -> None:
    a, b = Replica("a"), Replica("b")
    a.orset("s").add(1)
    a.counter("c").increment()
    b.orset("s").merge(a.orset("s"))
    assert b.counter("c").value() == 1
    assert b.context == a.context


@pytest.mark.parametrize("other", [ORSet("b"), b"bytes", None, Context()])
def test_only_a_delta_or_a_replica_can_be_merged(other: Any) -> None:
    with pytest.raises(UnsupportedType, match=type(other).__name__):
        Replica("a").merge(other)


def test_the_context_is_a_copy() -> None:
    replica = Replica("a")
    before = replica.context
    before.add("z", 1)
    replica.orset("s").add(1)
    assert replica.context == Context({"a": 1})


def test_delta_since_brings_exactly_what_is_missing() -> None:
    a, b = Replica("a"), Replica("b")
    a.orset("s").add(1)
    b.merge(a)
    known = b.context
    a.orset("s").add(2)
    a.orset("s").remove(1)
    delta = decode(encode(a.delta_since(known)))
    assert [event.dot for event in delta.events] == [("a", 2), ("a", 3)]
    assert b.merge(delta).orset("s").value() == {2}
    assert not a.delta_since(b.context)


def test_a_log_limit_of_nothing_costs_states_and_never_content() -> None:
    a, b = Replica("a", log_limit=0), Replica("b", log_limit=0)
    for i in range(20):
        a.lwwmap("m").set(str(i % 3), i)
        b.merge(a)
        b.lwwmap("m").delete(str(i % 2))
        a.merge(b)
    assert a.lwwmap("m").value() == b.lwwmap("m").value()
    assert a.fingerprint == b.fingerprint


def test_entries_of_a_type_from_a_newer_version_are_carried_along_and_not_read() -> None:
    a, b = Replica("a"), Replica("b")
    told: list[Change] = []
    b.on_change(told.extend)
    a.store.write(b"?\xff", b"\xff", b"\xff", ())
    a.orset("s").add(1)
    assert [obj.name for obj in b.merge(decode(encode(a.delta_since(Context())))).objects()] == ["s"]
    assert [change.name for change in told] == ["s"]
    assert b.fingerprint == a.fingerprint
    with pytest.raises(ForeignDelta, match="an object of an unknown type"):
        ORSet("c").merge(a.delta_since(Context()))


def test_changes_name_the_place_and_the_event_that_changed_it_last() -> None:
    a, b = Replica("a"), Replica("b")
    told: list[Change] = []
    b.on_change(told.extend)
    a.orset("s").add((1, "x"))
    a.lwwmap("m").set("", 1)
    a.register("r").set(1)
    a.counter("c").increment()
    a.mvregister("v").set(None)
    b.merge(a)
    assert sorted(told, key=lambda change: change.seq) == [
        Change(("s", (1, "x")), False, True, "orset", "a", 1),
        Change(("m", ""), None, 1, "lwwmap", "a", 2),
        Change(("r",), None, 1, "register", "a", 3, keyed=False),
        Change(("c",), 0, 1, "counter", "a", 4, keyed=False),
        Change(("v",), [], [None], "mvregister", "a", 5, keyed=False),
    ]
    told.clear()
    b.orset("s").remove((1, "x"))
    assert told == [Change(("s", (1, "x")), True, False, "orset", "b", 1)]


def test_nobody_is_told_of_what_was_known_before() -> None:
    a, b = Replica("a"), Replica("b")
    delta = a.orset("s").add(1)
    told: list[list[Change]] = []
    b.on_change(told.append)
    b.merge(delta)
    b.merge(delta)
    b.merge(a)
    assert len(told) == 1


def test_a_subscription_ends_when_it_is_cancelled() -> None:
    replica = Replica("a")
    first: list[Change] = []
    second: list[Change] = []
    cancel = replica.on_change(first.extend)
    replica.on_change(second.extend)
    replica.orset("s").add(1)
    cancel()
    cancel()
    replica.orset("s").add(2)
    assert (len(first), len(second)) == (1, 2)


def test_a_subscriber_may_write() -> None:
    replica = Replica("a")

    def count(changes: list[Change]) -> None:
        for change in changes:
            if change.kind == "orset":
                replica.counter("adds").increment()

    replica.on_change(count)
    replica.orset("s").add(1)
    replica.orset("s").add(2)
    assert replica.counter("adds").value() == 2


def test_every_local_event_is_told_once_and_no_merged_one() -> None:
    a, b = Replica("a"), Replica("b")
    written: list[Any] = []
    a.on_write(written.extend)
    a.orset("s").add(1)
    a.orset("s").remove(1)
    a.orset("s").remove(1)
    b.counter("c").increment()
    a.merge(b)
    assert [event.dot for event in written] == [("a", 1), ("a", 2)]


def test_every_merged_delta_is_told_with_what_was_new_in_it_and_no_local_event() -> None:
    a, b = Replica("a"), Replica("b")
    first, second = b.orset("s").add(1), b.orset("s").add(2)
    merged: list[tuple[Delta, list[Event]]] = []
    counts: list[int] = []
    a.on_merge(lambda delta, new: merged.append((delta, new)))
    a.on_merge(lambda _, new: counts.append(len(new)))
    a.orset("s").add(0)
    both = joined([first, second])
    for delta in (second, both, both):
        a.merge(delta)
    assert merged == [(second, list(second.events)), (both, list(first.events)), (both, [])]
    assert counts == [1, 1, 0], "every listener is told"


def test_whoever_is_told_of_a_merge_sees_it_done_and_is_told_before_the_changes_are() -> None:
    a, told = Replica("a"), []
    a.on_change(lambda changes: told.append("changed"))
    a.on_merge(lambda *_: told.append(f"merged: {sorted(a.orset('s'))}"))
    a.merge(Replica("b").orset("s").add(1))
    assert told == ["merged: [1]", "changed"]


def test_a_merged_state_is_told_of_without_new_events() -> None:
    a, b = Replica("a"), Replica("b")
    b.orset("s").add(1)
    state = b.store.kernel.state()
    merged: list[tuple[Delta, list[Event]]] = []
    a.on_merge(lambda *told: merged.append(told))
    a.merge(state)
    assert merged == [(state, [])]


def test_a_newcomer_is_equal_after_one_encoded_delta() -> None:
    a = Replica("a")
    for i in range(1000):
        a.orset("s").add(i)
        a.lwwmap("m").set(str(i % 10), i)
    data = encode(a.delta_since(Context()))
    b = Replica("b").merge(decode(data))
    assert b.fingerprint == a.fingerprint
    assert [obj.value() for obj in b.objects()] == [obj.value() for obj in a.objects()]


OPERATIONS = st.lists(
    st.tuples(
        st.integers(0, 2), st.sampled_from([*ACCESSORS, "remove", "delete", "merge", "merge"]), st.integers(0, 3)
    ),
    max_size=40,
)


def operate(replica: Replica, how: str, number: int) -> None:
    match how:
        case "orset":
            replica.orset("x").add(number)
        case "remove":
            replica.orset("x").remove(number)
        case "gcounter":
            replica.gcounter("x").increment(number)
        case "counter":
            replica.counter("x").decrement(number)
        case "register" | "mvregister":
            getattr(replica, how)("x").set(number)
        case "lwwmap":
            replica.lwwmap("x").set(str(number), number)
        case "delete":
            replica.lwwmap("x").delete(str(number))


@given(OPERATIONS, st.sampled_from([0, 3, 1000]))
def test_all_types_converge_and_the_counters_count_every_step(
    operations: list[tuple[int, str, int]], log_limit: int
) -> None:
    replicas = [Replica(name, log_limit=log_limit) for name in "abc"]
    for who, how, number in operations:
        if how == "merge":
            delta = replicas[number % 3].delta_since(replicas[who].context)
            replicas[who].merge(decode(encode(delta)))
        else:
            operate(replicas[who], how, number)
    for one in replicas:
        for other in replicas:
            one.merge(other)
    replicas[0].merge(replicas[1]).merge(replicas[2])
    for one in replicas:
        one.merge(replicas[0])
        assert one.context == replicas[0].context
        assert one.fingerprint == replicas[0].fingerprint
        assert one.orset("x").value() == replicas[0].orset("x").value()
        assert one.lwwmap("x").value() == replicas[0].lwwmap("x").value()
        assert one.register("x").value() == replicas[0].register("x").value()
        assert one.mvregister("x").value() == replicas[0].mvregister("x").value()
        assert one.gcounter("x").value() == sum(n for _, how, n in operations if how == "gcounter")
        assert one.counter("x").value() == -sum(n for _, how, n in operations if how == "counter")


def test_a_standalone_counter_and_one_in_a_replica_are_the_same_class() -> None:
    assert type(Replica("a").gcounter("x")) is GCounter
    assert GCounter("a").name == ""


def test_a_function_subscribed_twice_is_told_twice_until_each_is_cancelled() -> None:
    replica = Replica("a")
    told: list[list[Change]] = []
    cancel, _ = replica.on_change(told.append), replica.on_change(told.append)
    replica.orset("s").add(1)
    cancel()
    cancel()
    replica.orset("s").add(2)
    assert [change.key for changes in told for change in changes] == [1, 1, 2]


def test_a_named_object_does_not_merge_a_standalone_one() -> None:
    alone = ORSet(replica_id="b")
    alone.add(1)
    with pytest.raises(ForeignDelta, match="not another replica of orset 's'"):
        Replica("a").orset("s").merge(alone)


def test_a_negative_log_limit_is_refused() -> None:
    with pytest.raises(InvalidValue, match="at least 0"):
        Replica("a", log_limit=-1)


def test_what_has_no_name_is_no_part_of_a_replica() -> None:
    replica = Replica("x")
    for held in (ORSet("a"), ORMap("a")):
        delta = held.add(1) if isinstance(held, ORSet) else held.counter("k").increment()
        with pytest.raises(ForeignDelta, match="in which objects have names"):
            replica.merge(delta)
        with pytest.raises(ForeignDelta, match="in which objects have names"):
            replica.orset("tasks").merge(delta)
    assert replica.context == Context()


def test_an_object_that_stands_alone_tells_what_another_of_it_lacks() -> None:
    a, b = ORSet("a"), ORSet("b")
    a.add(1)
    a.add(2)
    asked = encode_context(b.context)
    b.merge(decode(encode(a.delta_since(decode_context(asked)))))
    assert b.get_elements() == {1, 2}
    assert b.context == a.context


@pytest.mark.parametrize("wrong", [b"bytes", None, {}, 5])
def test_what_is_no_context_and_no_delta_is_refused_by_name(wrong: Any) -> None:
    replica, name = Replica("a"), type(wrong).__name__
    for call in (replica.delta_since, ORSet("a").delta_since, lambda w: replica.report("b", w), encode_context):
        with pytest.raises(UnsupportedType, match=f"not {name}"):
            call(wrong)
    for call in (replica.merge, ORSet("a").merge, encode, replica.on_change):
        with pytest.raises(UnsupportedType, match=f"not {name}"):
            call(wrong)


def test_a_second_writer_under_our_id_is_counted_and_a_restart_from_what_was_saved_is_not() -> None:
    one, other = Replica("a"), Replica("a")
    one.orset("s").add(1)
    for i in range(40):
        other.orset("s").add(i)
    saved = encode(one.delta_since(Context()))
    again = Replica("a").merge(decode(saved))
    again.orset("s").add(3)
    assert again.stats().impostors == 0
    assert one.merge(other.delta_since(one.context)).stats().impostors == 39
