"""Transactions: all or nothing at every receiver, whatever becomes of the messages; and no trace of a failed one."""

# ruff: noqa: PT012  # the blocks that raise are what is tested here

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crdts import (
    Change,
    Context,
    Delta,
    Event,
    InTransaction,
    InvalidValue,
    LogTrimmed,
    ORSet,
    Replica,
    Transaction,
    UnsupportedType,
    decode,
    encode,
)
from crdts.delta import events_delta
from crdts.limits import MAX_BATCH_BYTES, MAX_BATCH_EVENTS, MAX_KILLS_PER_EVENT, MAX_NAME_BYTES
from crdts.livemap import LiveMap

from .oracle import Oracle, assert_equal, operate, pull, random_history, read, replica, sent

SEEDS = st.integers(0, 1 << 32).map(Random)


def trace(one: Replica) -> dict[str, Any]:
    """Everything that a transaction that failed must leave as it was, but for the clock."""
    kernel = one.store.kernel
    return {
        "state": encode(kernel.state()),
        "context": one.context,
        "stats": one.stats(),
        "kills": {name: dict(log) for name, log in kernel.log.kills.items()},
        "removals": {name: dict(log) for name, log in kernel.log.removals.items()},
        "batches": {name: list(log) for name, log in kernel.log.batches.items()},
        "floor": dict(kernel.log.floor),
        "log size": kernel.log.size,
        "fingerprint": kernel._fingerprint,
        "live map": dict(kernel._live_map.chunks) if kernel._live_map else None,
        "undo": kernel.undo,
        "processed": kernel.processed,
        "limits": dict(kernel.limits),
        "content": read(one),
        "places": {obj: set(keys) for obj, keys in kernel.objects.items()},
        "tree": {parent: dict(children) for parent, children in kernel.tree._children.items()},
        "delta": encode(one.delta_since(Context())),
    }


def two_adds(one: Replica) -> Delta:
    with one.transaction() as done:
        one.orset("s").add("x")
        one.lwwmap("m").set("k", "x")
    return done.delta


# ---- what a receiver sees


def test_the_operations_of_a_block_are_one_delta_that_comes_at_its_end() -> None:
    a, b = replica("a"), replica("b")
    with a.transaction() as done:
        assert not a.orset("s").add("x")
        assert not a.orset("s").add("y")
        assert not done.delta
        assert a.orset("s").get_elements() == {"x", "y"}
    assert [event.batch for event in done.delta.events] == [(1, 3), (1, 3)]
    b.merge(sent(done.delta))
    assert_equal(a, b)


def test_a_part_of_a_transaction_changes_nothing_and_is_not_remembered() -> None:
    a, b = replica("a"), replica("b")
    whole = two_adds(a)
    for event in whole.events:
        b.merge(sent(events_delta([event])))
        assert (b.context, b.stats().entries, b.stats().prekilled) == (Context(), 0, 0)
    b.merge(sent(whole))
    assert_equal(a, b)


def test_a_transaction_of_one_operation_is_an_operation() -> None:
    a = replica("a")
    with a.transaction() as done:
        a.orset("s").add("x")
    assert [event.batch for event in done.delta.events] == [None]
    assert len(done.delta) == 1


def test_an_empty_transaction_makes_nothing_and_tells_nobody() -> None:
    a, told = replica("a"), list[Any]()
    a.on_change(told.append)
    a.on_write(told.append)
    with a.transaction() as done:
        pass
    assert not done.delta
    assert not told


def test_a_transaction_counts_once_all_its_dead_members_have_their_killers_there() -> None:
    a, b = replica("a"), replica("b")
    two_adds(a)
    overwritten = a.lwwmap("m").set("k", "later")
    *_, batch = a.deltas_since(Context(), 1)
    b.merge(sent(batch))
    assert b.context == Context()
    b.merge(sent(overwritten))
    b.merge(sent(batch))
    assert_equal(a, b)


def test_a_dead_member_that_killed_something_takes_its_kills_along() -> None:
    a, b = replica("a"), replica("b")
    b.merge(a.lwwmap("m").set("k", "first"))
    two_adds(a)
    overwritten = a.lwwmap("m").set("k", "later")
    assert b.lwwmap("m").get("k") == "first"
    for delta in a.deltas_since(b.context, 1):
        b.merge(sent(delta))
        assert ("x" in b.orset("s")) <= (b.lwwmap("m").get("k") != "first")
    assert overwritten.events[0].dot in b.context
    assert_equal(a, b)


def test_a_transaction_that_replaces_itself_arrives_whole() -> None:
    a, b = replica("a"), replica("b")
    with a.transaction() as done:
        for i in range(5):
            a.register("r").set(i)
        a.orset("s").add("x")
        a.orset("s").clear()
    b.merge(sent(done.delta))
    assert b.register("r").get() == 4
    assert len(b.orset("s")) == 0
    assert_equal(a, b)
    c = replica("c")
    for delta in a.deltas_since(Context(), 1):
        c.merge(sent(delta))
    assert_equal(a, c)


@pytest.mark.parametrize("known_dead", [False, True])
def test_a_member_that_is_known_to_be_dead_is_waited_for_as_it_may_have_killed_something(known_dead: bool) -> None:
    a, b = replica("a"), replica("b")
    b.merge(a.register("r").set("old"))
    with a.transaction() as done:
        a.orset("s").add("x")
        a.register("r").set("passing")  # replaces the old value
        a.mvregister("v").set("y")
        if not known_dead:
            a.register("r").set("new")
    if known_dead:
        b.merge(a.register("r").set("new"))
    assert done.delta.events[1].kills
    before = b.context
    b.merge(sent(events_delta([done.delta.events[0], *done.delta.events[2:]])))
    assert b.context == before
    assert len(b.orset("s")) == 0
    b.merge(sent(a.delta_since(before)))
    assert_equal(a, b)
    assert b.register("r").get() == "new"
    assert not b.register("r").conflicts


def test_a_third_replica_passes_a_transaction_on_as_one() -> None:
    a, b, c = replica("a"), replica("b"), replica("c")
    b.merge(two_adds(a))
    pieces = [sent(delta) for delta in b.deltas_since(Context(), 1)]
    assert [[event.batch for event in piece.events] for piece in pieces] == [[(1, 3), (1, 3)]]
    c.merge(pieces[0])
    assert_equal(a, c)


def test_where_it_is_not_remembered_as_one_a_transaction_travels_as_a_state() -> None:
    a, b, c = replica("a"), replica("b"), replica("c")
    two_adds(a)
    b.merge(sent(a.store.kernel.state()))
    with pytest.raises(LogTrimmed):
        list(b.deltas_since(Context(), 1))
    c.merge(sent(b.delta_since(Context())))
    assert_equal(a, c)
    a.trim_log()
    with pytest.raises(LogTrimmed):
        list(a.deltas_since(Context(), 1))


@pytest.mark.parametrize("log_limit", [0, 1, 2, 3, 4, 5, 8])
def test_a_log_that_is_trimmed_inside_a_transaction_does_not_tear_it(log_limit: int) -> None:
    a = replica("a", log_limit=log_limit)
    for i in range(5):
        a.lwwmap("m").set(str(i), i)
    known = a.context
    with a.transaction():
        for i in range(5):
            a.lwwmap("m").set(str(i), i)
            a.orset("s").add(i)
    floor = a.store.kernel.log.floor.get("a", 0)
    assert floor <= 5 or floor == 15
    b = replica("b").merge(sent(a.store.kernel.state()))
    a.register("r").set("more")
    if a.store.kernel.log_reaches(known):
        assert {event.batch for delta in a.deltas_since(known, 1) for event in delta.events} == {(6, 16), None}
    b.merge(sent(a.delta_since(b.context)))
    assert_equal(a, b)


def test_a_log_of_transactions_that_replace_nothing_stays_within_its_limit() -> None:
    a = replica("a", log_limit=10)
    b = replica("b", log_limit=10)
    for _ in range(30):
        b.merge(two_adds_of_new_elements(a))
        assert a.stats().log_kills <= 10
        assert b.stats().log_kills <= 10


def two_adds_of_new_elements(one: Replica) -> Delta:
    with one.transaction() as done:
        one.orset("s").add(len(one.context))
        one.orset("t").add(len(one.context))
    return done.delta


def test_a_transaction_of_which_a_part_is_below_the_floor_is_not_torn_by_whoever_passes_it_on() -> None:
    writer, remover, reader, third, last = (replica(name) for name in ("w", "x", "r", "q", "p"))
    with writer.transaction() as done:
        for element in (1, 2, 3):
            writer.orset("s").add(element)
    remover.merge(done.delta)
    first_removed = remover.orset("s").remove(1)
    remover.orset("s").remove(2)
    remover.orset("s").remove(3)
    reader.merge(first_removed)
    reader.merge(Delta(runs=(("w", 1, 4),)))  # all dead, but here that is known of the first alone
    assert reader.context == Context({"w": 1, "x": 1})
    third.merge(sent(reader.store.kernel.state()))
    last.merge(sent(reader.store.kernel.state()))
    third.merge(sent(done.delta))
    assert third.orset("s").get_elements() == {2, 3}
    if third.store.kernel.log_reaches(last.context):
        for delta in third.deltas_since(last.context, 1):
            last.merge(sent(delta))
            assert len(last.orset("s")) in (0, 2), "a part of the transaction is visible"
    last.merge(sent(third.delta_since(last.context)))
    assert_equal(third, last)


# ---- whatever becomes of the messages


class Pair:
    """All versions of an account that moves between two maps: what is read must always add up."""

    def __init__(self, one: Replica) -> None:
        self.left, self.right = one.lwwmap("left"), one.lwwmap("right")

    def move(self, n: int) -> None:
        self.left.set("k", n)
        self.right.set("k", -n)

    def adds_up(self) -> bool:
        return bool(self.left.get("k", 0) + self.right.get("k", 0) == 0)


@given(SEEDS, st.sampled_from([1, 120, 250, 500, 100_000]), st.sampled_from([0, 3, 1000]))
def test_what_was_written_together_is_read_together_at_every_moment(rng: Random, budget: int, log_limit: int) -> None:
    """One writer: its transactions arrive as pushes and pieces, in any order, again, in part, and as states."""
    writer, readers = replica("w", log_limit=log_limit), [replica("r", log_limit=log_limit), replica("s")]
    pairs = [Pair(each) for each in readers]
    mail: list[Delta] = []
    writer.on_write(lambda events: mail.append(events_delta(events)))
    for n in range(25):
        with writer.transaction():
            Pair(writer).move(n)
            if rng.random() < 0.5:
                writer.orset("s").add(n)
        if rng.random() < 0.2:
            writer.orset("s").clear()
        if rng.random() < 0.05:
            writer.trim_log()
        if rng.random() < 0.1:
            mail.append(writer.store.kernel.state())
        one = rng.choice([writer, *readers])
        known = rng.choice([reader.context for reader in readers] + [Context()])
        if one.store.kernel.log_reaches(known):
            mail += one.deltas_since(known, budget)
        rng.shuffle(mail)
        del mail[30:]
        for delta in rng.sample(mail, min(len(mail), rng.randrange(6))):
            for reader, pair in zip(readers, pairs, strict=True):
                if rng.random() < 0.7:
                    reader.merge(sent(cut(rng, delta)))
                    assert pair.adds_up()


def cut(rng: Random, delta: Delta) -> Delta:
    """A part of a delta in the events form is a delta too."""
    if delta.is_state or rng.random() < 0.6:
        return delta
    return Delta(
        tuple(event for event in delta.events if rng.random() < 0.8), tuple(r for r in delta.runs if rng.random() < 0.8)
    )


HISTORIES = {
    "rng": SEEDS,
    "size": st.integers(2, 4),
    "log_limit": st.sampled_from([0, 3, 20, 1000]),
    "budget": st.sampled_from([1, 150, 300, 600, 100_000]),
}


def history_step(rng: Random, one: Replica, other: Replica, mail: list[Delta], budget: int) -> None:
    move = rng.random()
    if move < 0.35:
        with one.transaction():
            for _ in range(rng.randrange(1, 7)):
                operate(one, rng.randrange(99), rng.randrange(16))
    elif move < 0.5:
        operate(one, rng.randrange(99), rng.randrange(16))
    elif move < 0.85 and mail:
        other.merge(sent(cut(rng, rng.choice(mail))))
    elif move < 0.95:
        known = rng.choice([other.context, Context()])
        if one.store.kernel.log_reaches(known):
            mail += one.deltas_since(known, budget)
        pull(one, other, budget, rng.randrange(4))
    else:
        mail.append(one.store.kernel.state())


def check_history(rng: Random, size: int, log_limit: int, budget: int) -> None:
    oracle = Oracle()
    replicas = [oracle.watch(replica("abcd"[i], log_limit=log_limit)) for i in range(size)]
    mail: list[Delta] = []
    for one in replicas:
        one.on_write(lambda events: mail.append(events_delta(events)))
    for _ in range(40):
        one, other = rng.choice(replicas), rng.choice(replicas)
        history_step(rng, one, other, mail, budget)
        oracle.check(one)
        oracle.check(other)
    for _ in replicas:
        for one in replicas:
            for other in replicas:
                pull(one, other, budget, 10_000)
                oracle.check(other)
    for other in replicas[1:]:
        assert_equal(replicas[0], other)
    assert not replicas[0].stats().prekilled


@settings(max_examples=150)
@given(**HISTORIES)
def test_no_replica_ever_shows_a_part_of_a_transaction(rng: Random, size: int, log_limit: int, budget: int) -> None:
    check_history(rng, size, log_limit, budget)


@pytest.mark.soak
@settings(max_examples=10_000, derandomize=False)
@given(**HISTORIES)
def test_no_replica_shows_a_part_in_the_long_run(rng: Random, size: int, log_limit: int, budget: int) -> None:
    check_history(rng, size, log_limit, budget)


# ---- one that fails


def block_of_everything(one: Replica, numbers: Any = range(120)) -> None:
    for n in numbers:
        operate(one, n, n % 16)


def shared_history(log_limit: int = 10_000) -> list[Replica]:
    """Two replicas of which each holds what the other has not."""
    oracle = Oracle()
    replicas = [oracle.watch(replica(name, log_limit=log_limit)) for name in ("a", "b")]
    random_history(Random(7), oracle, replicas, 150)
    return replicas


@pytest.mark.parametrize("tracked", [False, True])
def test_an_exception_undoes_all_and_tells_nobody(tracked: bool) -> None:
    a, _ = shared_history()
    told: list[Any] = []
    a.on_write(told.append)
    if tracked:
        a.on_change(told.append)
        assert a.fingerprint
        assert a.store.kernel.live_map.chunks
    before = trace(a)
    with pytest.raises(ZeroDivisionError), a.transaction() as done:
        block_of_everything(a)
        raise ZeroDivisionError
    assert not done.delta
    assert trace(a) == before
    assert not told
    if tracked:
        assert a.store.kernel.live_map.chunks == LiveMap(a.store.kernel.live).chunks  # type: ignore[arg-type]
    a.orset("s").add("after")
    assert len(told) == 1 + tracked


@given(SEEDS, st.integers(0, 20))
def test_what_is_undone_leaves_no_trace_wherever_it_stops(rng: Random, stop: int) -> None:
    oracle = Oracle()
    replicas = [oracle.watch(replica(name)) for name in ("a", "b", "c")]
    random_history(rng, oracle, replicas, 40)
    one = replicas[0]
    if rng.random() < 0.5:
        assert one.fingerprint >= 0
        assert one.store.kernel.live_map.chunks is not None
    before = trace(one)
    with pytest.raises(KeyError), one.transaction():
        for _ in range(stop):
            operate(one, rng.randrange(99), rng.randrange(16))
            if rng.random() < 0.2:
                with pytest.raises(LookupError), one.transaction():
                    operate(one, rng.randrange(99), rng.randrange(16))
                    raise LookupError
        raise KeyError
    assert trace(one) == before
    oracle.check(one)
    random_history(rng, oracle, replicas, 20)
    for each in replicas:
        oracle.check(each)


def test_an_exception_that_is_no_error_undoes_it_too() -> None:
    a = replica("a")
    before = trace(a)
    with pytest.raises(KeyboardInterrupt), a.transaction():
        two_adds(a)
        raise KeyboardInterrupt
    assert trace(a) == before


def test_a_block_inside_a_block_is_part_of_it_and_undone_alone() -> None:
    a, b = replica("a"), replica("b")
    with a.transaction() as outer:
        a.orset("s").add(1)
        with a.transaction() as inner:
            a.orset("s").add(2)
        with pytest.raises(ZeroDivisionError), a.transaction():
            a.orset("s").add(3)
            a.orset("s").remove(1)
            raise ZeroDivisionError
        assert a.orset("s").get_elements() == {1, 2}
        a.orset("s").add(4)
    assert not inner.delta
    assert [event.dot for event in outer.delta.events] == [("a", 1), ("a", 2), ("a", 3)]
    b.merge(sent(outer.delta))
    assert b.orset("s").get_elements() == {1, 2, 4}
    assert_equal(a, b)


def test_a_block_that_ends_well_inside_one_that_fails_is_undone_too() -> None:
    a = replica("a")
    with pytest.raises(ZeroDivisionError), a.transaction():
        two_adds(a)
        raise ZeroDivisionError
    assert a.context == Context()
    assert a.stats().entries == 0


def test_an_aborted_transaction_is_undone_at_once_and_its_block_raises() -> None:
    a, told = replica("a"), list[Any]()
    a.on_write(told.append)
    a.on_change(told.append)
    before = trace(a)

    def abort_and_merge() -> None:
        a.store.abort_transaction()
        assert a.context == Context()
        assert len(a.orset("s")) == 0
        a.store.abort_transaction()  # again: nothing

    with pytest.raises(InTransaction, match="undone"), a.transaction():
        two_adds(a)
        abort_and_merge()
        with pytest.raises(InTransaction, match="undone"):
            a.orset("s").add("late")
    assert trace(a) == before
    with pytest.raises(InTransaction), a.transaction():
        with pytest.raises(InTransaction), a.transaction():
            a.orset("s").add("x")
            a.store.abort_transaction()
        a.orset("s").add("y")
    assert trace(a) == before
    assert not told
    a.store.abort_transaction()
    two_adds(a)
    assert len(told) == 2


# ---- what is not possible inside


def test_inside_a_transaction_nothing_is_merged_handed_out_or_retired() -> None:
    a, b = replica("a"), replica("b")
    other = b.orset("s").add("other")
    a.merge(other)
    lone = ORSet("lone")
    with a.transaction():
        a.orset("s").add("x")
        forbidden: list[Callable[[], Any]] = [
            lambda: a.merge(other),
            lambda: a.merge(b),
            lambda: b.merge(a),
            lambda: a.delta_since(Context()),
            lambda: a.deltas_since(Context(), 1000),
            lambda: a.retire("b"),
            lambda: a.orset("s").merge(b.orset("s")),
            lambda: b.orset("s").merge(a.orset("s")),
            lambda: a.reconcile().receive(b.reconcile().start()),
        ]
        for act in forbidden:
            with pytest.raises(InTransaction):
                act()
        with lone.transaction(), pytest.raises(InTransaction):
            lone.merge(ORSet("lone 2"))
    assert a.orset("s").get_elements() == {"x", "other"}
    assert b.orset("s").get_elements() == {"other"}


def test_pieces_that_were_begun_before_are_not_continued_inside() -> None:
    a = replica("a")
    for i in range(5):
        a.orset("s").add(i)
    early, begun = a.deltas_since(Context(), 1), a.deltas_since(Context(), 1)
    next(begun)
    with pytest.raises(ZeroDivisionError), a.transaction():
        a.orset("s").add("never")
        a.orset("s").remove(3)
        for pieces in (early, begun):
            with pytest.raises(InTransaction):
                next(pieces)
        raise ZeroDivisionError


# ---- limits


def test_the_operation_that_makes_a_transaction_too_large_raises_and_all_is_undone() -> None:
    a = replica("a")
    before = trace(a)
    with pytest.raises(InvalidValue, match="transaction"), a.transaction():
        for i in range(MAX_BATCH_EVENTS + 1):
            a.orset("s").add(i)
    assert trace(a) == before
    with pytest.raises(InvalidValue, match="transaction"), a.transaction():
        for i in range(3):
            a.register(str(i)).set("x" * (MAX_BATCH_BYTES // 3))
    assert trace(a) == before


def test_an_operation_that_did_not_fit_can_be_left_out() -> None:
    a = replica("a")
    with a.transaction() as done:
        a.register("0").set("x" * (1 << 19))
        a.register("1").set("x" * (1 << 19))
        with pytest.raises(InvalidValue):
            a.register("2").set("x" * (1 << 19))
        a.register("2").set("small")
    assert [event.seq for event in done.delta.events] == [1, 2, 3]
    assert_equal(a, replica("b").merge(sent(done.delta)))


def test_a_block_that_is_undone_gives_back_its_room() -> None:
    a = replica("a")
    with a.transaction():
        for _ in range(3):
            with pytest.raises(ZeroDivisionError), a.transaction():
                a.register("0").set("x" * (MAX_BATCH_BYTES // 2))
                raise ZeroDivisionError
        a.register("1").set("small")


def test_the_largest_transaction_of_small_changes_travels() -> None:
    a, b = replica("a"), replica("b")
    with a.transaction() as done:
        for i in range(MAX_BATCH_EVENTS):
            a.orset("s").add(i)
    assert len(encode(done.delta)) <= MAX_BATCH_BYTES
    assert_equal(a, b.merge(sent(done.delta)))


def test_no_operation_makes_a_transaction_of_more_events_than_can_be_decoded() -> None:
    a, b = replica("a"), replica("b")
    for i in range(MAX_KILLS_PER_EVENT + 1):
        a.orset("old").add(i)
    b.merge(sent(a.delta_since(b.context)))
    with a.transaction() as done:
        for i in range(MAX_BATCH_EVENTS - 1):
            a.orset("s").add(i)
        with pytest.raises(InvalidValue):
            a.orset("old").clear()  # takes two events
        a.orset("old").remove(1)
    assert_equal(a, b.merge(sent(done.delta)))


def test_long_names_count_too() -> None:
    a = replica("a" * 64)
    names = ["x" * (MAX_NAME_BYTES - 8) + f"{i:08}" for i in range(8000)]
    with a.transaction() as done:
        for name in names:
            try:
                a.register(name).set(None)
            except InvalidValue:
                break
    assert len(encode(done.delta)) <= MAX_BATCH_BYTES


def test_the_ids_of_replaced_writers_count_too() -> None:
    a = replica("a")
    for i in range(MAX_KILLS_PER_EVENT):
        name = f"{i:064}"
        a.merge(Delta((Event(name, 1 << 61, b"sx", b"\x01", b"", ()),)))
    with a.transaction() as done:
        a.orset("x").remove(1)
        with pytest.raises(InvalidValue):
            for i in range(1000):
                a.register(str(i)).set("x" * 4000)
    assert len(encode(done.delta)) <= MAX_BATCH_BYTES


def test_a_write_that_replaces_more_than_one_event_may_is_a_transaction() -> None:
    a, b, c = replica("a"), replica("b"), replica("c")
    count = 2 * MAX_KILLS_PER_EVENT + 5
    for i in range(count):
        a.orset("s").add(i)
    b.merge(sent(a.delta_since(b.context)))
    told: list[tuple[Event, ...]] = []
    a.on_write(told.append)
    cleared = a.orset("s").clear()
    assert [event.batch for event in cleared.events] == [(count + 1, count + 4)] * 3
    assert told == [cleared.events]
    for event in cleared.events:
        b.merge(sent(Delta((event,))))
        assert len(b.orset("s")) == count
    b.merge(sent(cleared))
    assert len(b.orset("s")) == 0
    assert_equal(a, b)
    assert_equal(a, c.merge(sent(a.delta_since(c.context))))


# ---- who is told


def test_observers_are_told_once_of_a_transaction_where_it_is_made_and_where_it_arrives() -> None:
    a, b = replica("a"), replica("b")
    here: list[list[Change]] = []
    there: list[list[Change]] = []
    written: list[tuple[Event, ...]] = []
    a.on_change(here.append)
    b.on_change(there.append)
    a.on_write(written.append)
    with a.transaction() as done:
        a.orset("s").add("x")
        a.orset("s").add("passing")
        a.counter("c").increment(3)
        a.counter("c").decrement(1)
        a.orset("s").remove("passing")
        assert here == written == []
    for event in done.delta.events:
        b.merge(Delta((event,)))
    assert there == []
    b.merge(sent(done.delta))
    b.merge(sent(done.delta))
    expected = [(("s", "x"), False, True), (("c",), 0, 2)]
    for told in (here, there):
        assert [[(c.path, c.before, c.after) for c in changes] for changes in told] == [expected]
    assert written == [done.delta.events]


def test_a_transaction_object_is_what_the_block_is_given() -> None:
    a = replica("a")
    with a.transaction() as done:
        assert isinstance(done, Transaction)
        with pytest.raises(UnsupportedType):
            a.orset("s").add(object())  # type: ignore[arg-type]
        a.orset("s").add(1)
    assert decode(encode(done.delta)) == done.delta


def test_a_block_that_outlives_the_block_around_it_is_undone_alone_and_told_so() -> None:
    for outer_first in (True, False):
        replica = Replica("r")
        outer, inner = replica.transaction(), replica.transaction()
        outer.__enter__()
        replica.counter("x").increment(1)
        inner.__enter__()
        replica.counter("x").increment(10)
        if outer_first:
            outer.__exit__(None, None, None)
            with pytest.raises(InTransaction, match="undone"):
                inner.__exit__(None, None, None)
        else:
            inner.__exit__(None, None, None)
            outer.__exit__(None, None, None)
        assert replica.counter("x").value() == (1 if outer_first else 11)
        assert replica.counter("x").increment()
        assert not replica.store.in_transaction
