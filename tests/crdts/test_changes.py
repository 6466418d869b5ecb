"""What subscribers are told: once per batch, what can be read differently now, and nothing else."""

import math
from typing import Any

import pytest

from crdts import Change, Context, Delta, Event, HybridClock, InvalidValue, LocalError, ORMap, ORSet, PNCounter, Replica
from crdts.replica import TYPES
from crdts.store import MAX_ECHOES


class Ear:
    """Remembers what it was told, call by call."""

    def __init__(self) -> None:
        self.calls: list[list[Change]] = []

    def __call__(self, changes: list[Change]) -> None:
        self.calls.append(changes)

    def take(self) -> list[tuple[Any, Any, Any]]:
        """(path, before, after) of the only call since the last time; empty if there was none."""
        assert len(self.calls) <= 1, "told more than once"
        changes = self.calls.pop() if self.calls else []
        return [(change.path, change.before, change.after) for change in changes]


def listener(of: Any) -> Ear:
    ear = Ear()
    of.on_change(ear)
    return ear


def test_a_set_tells_which_element_went_in_or_out() -> None:
    for kind in ("gset", "orset", "rwset"):
        replica = Replica("a")
        ear = listener(replica)
        held = getattr(replica, kind)("s")
        held.add((1, "x"))
        assert ear.take() == [(("s", (1, "x")), False, True)]
        held.add((1, "x"))
        assert ear.take() == [], "it was in before"
        if kind != "gset":
            held.remove((1, "x"))
            assert ear.take() == [(("s", (1, "x")), True, False)]
            held.remove("never there")
            assert ear.take() == []


def test_a_flag_tells_its_value() -> None:
    replica = Replica("a")
    ear = listener(replica)
    replica.ewflag("f").enable()
    assert ear.take() == [(("f",), False, True)]
    replica.ewflag("f").enable()
    assert ear.take() == []
    replica.dwflag("g").disable()
    assert ear.take() == [(("g",), True, False)]
    replica.dwflag("g").enable()
    assert ear.take() == [(("g",), False, True)]


def test_a_counter_tells_its_total() -> None:
    for kind in ("gcounter", "counter", "bounded_counter"):
        replica = Replica("a")
        ear = listener(replica)
        held = getattr(replica, kind)("c")
        held.increment(3)
        assert ear.take() == [(("c",), 0, 3)]
        held.increment(2)
        assert ear.take() == [(("c",), 3, 5)]
        held.reset()
        assert ear.take() == [(("c",), 5, 0)]


def test_a_transfer_of_rights_changes_no_total_and_tells_whose_rights_changed() -> None:
    replica = Replica("a")
    replica.bounded_counter("c").increment(3)
    ear = listener(replica)
    replica.bounded_counter("c").transfer("b", 2)
    assert ear.take() == [(("c", "a"), 3, 1), (("c", "b"), 0, 2)]


def test_a_register_tells_its_value_and_none_where_there_was_none() -> None:
    replica = Replica("a")
    ear = listener(replica)
    replica.register("r").set([1])
    assert ear.take() == [(("r",), None, [1])]
    replica.register("r").set([1])
    assert ear.take() == []
    replica.mvregister("v").set(1)
    assert ear.take() == [(("v",), [], [1])]


def test_a_map_tells_the_value_of_the_key() -> None:
    replica = Replica("a")
    ear = listener(replica)
    replica.lwwmap("m").set("", 1)
    assert ear.take() == [(("m", ""), None, 1)]
    replica.lwwmap("m").set("", 2)
    assert ear.take() == [(("m", ""), 1, 2)]
    replica.lwwmap("m").delete("")
    assert ear.take() == [(("m", ""), 2, None)]


def test_one_and_true_are_a_change_and_nan_and_nan_are_none() -> None:
    replica = Replica("a")
    ear = listener(replica)
    replica.register("r").set(1)
    replica.register("r").set(True)
    replica.register("r").set(math.nan)
    replica.register("r").set(math.nan)
    assert [(str(c.before), str(c.after)) for call in ear.calls for c in call] == [
        ("None", "1"),
        ("1", "True"),
        ("True", "nan"),
    ]


def test_a_loser_that_arrives_changes_nothing_to_read() -> None:
    a, b = Replica("a"), Replica("b")
    a.register("r").set("winner", timestamp=20)
    loser = b.register("r").set("loser", timestamp=10)
    ear = listener(a)
    a.merge(loser)
    assert ear.take() == []
    assert a.register("r").conflicts == ["loser"]


def test_what_is_inside_a_map_is_told_by_the_names_that_lead_there() -> None:
    replica = Replica("a")
    ear = listener(replica)
    replica.ormap("m").ormap("n").orset("s").add("x")
    assert ear.take() == [(("m", "n", "s", "x"), False, True)]
    replica.ormap("m").counter("c").increment(2)
    assert ear.take() == [(("m", "c"), 0, 2)]
    replica.ormap("m").delete("n")
    assert ear.take() == [(("m", "n", "s", "x"), True, False)]
    replica.ormap("m").clear()
    assert ear.take() == [(("m", "c"), 2, 0)]


def test_a_change_knows_its_object_its_key_and_who_made_it() -> None:
    a, b = Replica("a"), Replica("b")
    ear = listener(b)
    a.ormap("m").orset("s").add("x")
    a.counter("c").increment()
    b.merge(a)
    (changes,) = ear.calls
    assert sorted(changes, key=lambda change: change.seq) == [
        Change(("m", "s", "x"), False, True, "orset", "a", 1),
        Change(("c",), 0, 1, "counter", "a", 2, keyed=False),
    ]
    element, total = sorted(changes, key=lambda change: change.seq)
    assert (element.name, element.key) == ("m", "x")
    assert (total.name, total.key) == ("c", None)


def test_an_object_that_stands_alone_has_no_name() -> None:
    alone, within = ORSet("a"), ORMap("a")
    first, second = listener(alone), listener(within)
    alone.add("x")
    within.orset("s").add("x")
    within.counter("c").increment()
    assert [(c.path, c.name, c.key) for call in first.calls for c in call] == [(("x",), "", "x")]
    assert [(c.path, c.name, c.key) for call in second.calls for c in call] == [
        (("s", "x"), "s", "x"),
        (("c",), "c", None),
    ]


def test_a_merge_is_told_once_whatever_it_brings() -> None:
    a, b = Replica("a"), Replica("b")
    for i in range(100):
        a.orset("s").add(i)
        a.lwwmap("m").set("k", i)
        a.orset("s").remove(i - 1)
    ear = listener(b)
    b.merge(a)
    assert sorted(ear.take(), key=repr) == [(("m", "k"), None, 99), (("s", 99), False, True)]
    b.merge(a)
    assert ear.take() == []


def test_a_state_is_told_once_as_what_it_brings_and_what_it_takes() -> None:
    a, b = Replica("a"), Replica("b")
    a.orset("s").add("old")
    b.merge(a)
    a.orset("s").remove("old")
    a.orset("s").add("new")
    ear = listener(b)
    b.merge(a.store.kernel.state())
    assert sorted(ear.take()) == [(("s", "new"), False, True), (("s", "old"), True, False)]


def test_a_reconciliation_is_told_once() -> None:
    a, b = Replica("a"), Replica("b")
    for i in range(5):
        a.orset("s").add(i)
    ear = listener(b)
    one, other = a.reconcile(), b.reconcile()
    message: bytes | None = one.start()
    while message is not None:
        message = other.receive(message)
        if message is not None:
            message = one.receive(message)
    assert len(ear.take()) == 5


def test_a_transaction_is_told_once_by_its_net_effect() -> None:
    a, b = Replica("a"), Replica("b")
    a.register("r").set("before")
    b.merge(a)
    here, there = listener(a), listener(b)
    with a.transaction() as done:
        a.register("r").set("between")
        a.orset("s").add("passing")
        a.counter("c").increment(2)
        a.counter("c").increment(3)
        a.orset("s").remove("passing")
        a.register("r").set("after")
        assert here.calls == [], "nobody is told before the end"
    expected = [(("c",), 0, 5), (("r",), "before", "after")]
    assert sorted(here.take()) == expected
    b.merge(done.delta)
    assert sorted(there.take()) == expected


def test_a_transaction_that_comes_to_nothing_or_is_undone_tells_nobody() -> None:
    a = Replica("a")
    a.counter("c").increment()
    ear = listener(a)
    with a.transaction():
        a.orset("s").add("x")
        a.orset("s").remove("x")
        a.counter("d").increment(0)
    with pytest.raises(InvalidValue), a.transaction():  # noqa: PT012
        a.counter("c").increment(5)
        a.counter("c").reset()
        a.orset("s").add("y")
        a.counter("c").increment(-1)
    assert ear.calls == []


def test_an_object_tells_its_own_changes_only_and_a_map_all_that_is_in_it() -> None:
    a = Replica("a")
    ears = {
        "replica": listener(a),
        "orset s": listener(a.orset("s")),
        "orset st": listener(a.orset("st")),
        "gset s": listener(a.gset("s")),
        "map m": listener(a.ormap("m")),
        "map mm": listener(a.ormap("mm")),
        "m's s": listener(a.ormap("m").orset("s")),
    }

    def told() -> list[str]:
        heard = [name for name, ear in ears.items() if ear.calls]
        for ear in ears.values():
            ear.calls.clear()
        return heard

    a.orset("s").add(1)
    assert told() == ["replica", "orset s"]
    a.ormap("m").orset("s").add(1)
    assert told() == ["replica", "map m", "m's s"]
    a.ormap("m").ormap("deep").counter("c").increment()
    assert told() == ["replica", "map m"]
    a.orset("st").add(1)
    assert told() == ["replica", "orset st"]
    with a.transaction():
        a.orset("s").add(2)
        a.ormap("mm").counter("c").increment()
    assert told() == ["replica", "orset s", "map mm"]


def test_in_a_batch_each_hears_its_part() -> None:
    a = Replica("a")
    first, second = listener(a.orset("one")), listener(a.orset("two"))
    with a.transaction():
        a.orset("one").add(1)
        a.orset("two").add(2)
    assert first.take() == [(("one", 1), False, True)]
    assert second.take() == [(("two", 2), False, True)]


def test_a_subscription_to_an_object_ends_alone() -> None:
    a = Replica("a")
    whole, part = Ear(), Ear()
    a.on_change(whole)
    cancel = a.orset("s").on_change(part)
    a.orset("s").add(1)
    cancel()
    cancel()
    a.orset("s").add(2)
    assert (len(whole.calls), len(part.calls)) == (2, 1)


def test_when_nobody_listens_any_more_nothing_is_kept() -> None:
    a = Replica("a")
    cancel = a.on_change(Ear())
    cancel()
    a.orset("s").add(1)
    assert a.store.kernel.touched is None
    ear = listener(a)
    a.orset("s").add(2)
    assert ear.take() == [(("s", 2), False, True)]


def test_an_exception_of_a_listener_reaches_whoever_wrote_and_the_write_stands() -> None:
    a, b = Replica("a"), Replica("b")

    def fail(changes: list[Change]) -> None:
        raise RuntimeError("of the listener")

    a.on_change(fail)
    later = listener(a)
    with pytest.raises(RuntimeError, match="of the listener"):
        a.orset("s").add(1)
    assert a.orset("s").value() == {1}
    assert later.take() == [(("s", 1), False, True)], "the others hear of it all the same"
    delta = b.orset("s").add(2)
    with pytest.raises(RuntimeError, match="of the listener"):
        a.merge(delta)
    assert later.take() == [(("s", 2), False, True)]
    with pytest.raises(RuntimeError, match="of the listener"), a.transaction():
        a.counter("c").increment()
    assert a.counter("c").value() == 1, "the transaction had ended"
    assert later.take() == [(("c",), 0, 1)]
    assert b.merge(a).context == a.context == Context({"a": 2, "b": 1})


def test_of_several_exceptions_of_listeners_the_first_is_raised() -> None:
    a = PNCounter("a")
    for name in ("first", "second"):

        def fail(changes: list[Change], name: str = name) -> None:
            raise RuntimeError(name)

        a.on_change(fail)
    with pytest.raises(RuntimeError, match="first"):
        a.increment()


def test_exceptions_of_listeners_go_where_the_store_was_told_to_send_them() -> None:
    a = Replica("a")
    caught: list[Exception] = []
    a.store.on_listener_error = caught.append

    def fail(changes: list[Change]) -> None:
        raise RuntimeError("of the listener")

    a.on_change(fail)
    later = listener(a)
    a.orset("s").add(1)
    assert [str(error) for error in caught] == ["of the listener"]
    assert later.take() == [(("s", 1), False, True)]


def test_exceptions_of_those_who_are_told_of_merges_go_there_too() -> None:
    a = Replica("a")
    caught: list[Exception] = []

    def fail(delta: Delta, new: list[Event]) -> None:
        raise RuntimeError("of the listener")

    a.on_merge(fail)
    with pytest.raises(RuntimeError, match="of the listener"):
        a.merge(Replica("b").orset("s").add(1))
    a.store.on_listener_error = caught.append
    changes, merges = listener(a), []
    a.on_merge(lambda *told: merges.append(told))
    a.merge(Replica("c").orset("s").add(2))
    assert [str(error) for error in caught] == ["of the listener"]
    assert changes.take() == [(("s", 2), False, True)]
    assert len(merges) == 1


def test_a_listener_that_writes_is_told_of_that_too_in_the_order_it_happened() -> None:
    a = Replica("a")
    heard: list[tuple[Any, ...]] = []

    def count(changes: list[Change]) -> None:
        heard.extend(change.path for change in changes)
        if changes[0].kind == "orset":
            a.counter("adds").increment()

    a.on_change(count)
    a.orset("s").add("x")
    assert heard == [("s", "x"), ("adds",)]


def test_who_listens_behind_one_that_writes_hears_of_changes_in_the_order_they_happened() -> None:
    a = Replica("a")

    def correct(changes: list[Change]) -> None:
        if changes[0].after == "wrong":
            a.register("r").set("right")

    a.on_change(correct)
    later = listener(a)
    a.register("r").set("wrong")
    assert [(c.before, c.after) for call in later.calls for c in call] == [(None, "wrong"), ("wrong", "right")]


def test_a_listener_that_is_stopped_by_force_does_not_silence_what_comes_later() -> None:
    a = Replica("a")

    def stop(changes: list[Change]) -> None:
        raise KeyboardInterrupt

    cancel = a.on_change(stop)
    later = listener(a)
    with pytest.raises(KeyboardInterrupt):
        a.orset("s").add(1)
    cancel()
    a.orset("s").add(2)
    assert later.take() == [(("s", 2), False, True)]


def test_entries_that_nobody_can_read_and_retirements_are_not_told_of() -> None:
    a, b = Replica("a"), Replica("b")
    b.orset("s").add(1)
    a.merge(b)
    ear = listener(a)
    a.store.write(b"?new", b"key", b"payload", ())
    a.retire("b")
    assert ear.take() == []


@pytest.mark.parametrize("kind", TYPES)
def test_every_type_can_be_listened_to_alone(kind: str) -> None:
    writes: dict[str, Any] = {
        "ormap": lambda held: held.counter("c").increment(),
        "dwflag": lambda held: held.disable(),
        "ewflag": lambda held: held.enable(),
        "lwwmap": lambda held: held.set("k", 1),
    }
    held: Any = TYPES[kind]("a", clock=HybridClock(lambda: 1.7e9))
    ear = listener(held)
    default = next(name for name in ("add", "increment", "set", "enable", "delete") if hasattr(held, name))
    writes.get(kind, lambda held: getattr(held, default)(1))(held)
    (changes,) = ear.calls
    assert len(changes) == 1
    assert changes[0].writer == "a"
    assert changes[0].kind == ("counter" if kind == "ormap" else kind)


def test_a_subscriber_that_answers_every_change_with_another_is_stopped() -> None:
    replica = Replica("a")
    replica.on_change(lambda _: replica.gcounter("changes").increment())
    with pytest.raises(LocalError, match="a subscriber has written"):
        replica.orset("s").add(1)
    assert replica.gcounter("changes").value() == MAX_ECHOES
