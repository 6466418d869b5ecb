"""One dot with two contents: all choose alike, and whoever wrote the other one can write it again."""

import pytest

from crdts import HybridClock, Replica
from crdts import collisions as doubled
from crdts.collisions import Doubled


def copies(*names: str) -> list[Replica]:
    """Several processes that write under one id."""
    return [Replica("a", clock=HybridClock(lambda: 1_700_000_000)) for _ in names]


def join(into: Replica, other: Replica) -> None:
    into.merge(other.store.kernel.state())


def test_whoever_has_heard_of_both_contents_reads_the_same_in_whatever_order() -> None:
    one, other = copies("one", "other")
    one.orset("s").add("x")
    other.orset("s").add("y")
    first, second = Replica("b"), Replica("c")
    for reader, order in ((first, (one, other)), (second, (other, one))):
        for writer in order:
            join(reader, writer)
    assert first.fingerprint == second.fingerprint
    assert set(first.orset("s")) == set(second.orset("s")) == {"y"}
    assert (first.stats().doubled, second.stats().doubled) == (1, 1)
    join(first, second)
    assert first.stats().doubled == 1


def test_what_was_not_chosen_is_its_writer_s_to_write_again_once_it_has_another_id() -> None:
    one, other = copies("one", "other")
    one.orset("s").add("x")
    other.orset("s").add("y")
    for each, its_other in ((one, other.store.kernel.state()), (other, one.store.kernel.state())):
        each.merge(its_other)
    lost = [each.store.kernel.doubled.take_lost() for each in (one, other)]
    assert lost == [[], []], "under the id that both have, it would be lost again"
    one.store.kernel.go_on_as("b")
    assert [event.key for event in one.store.kernel.doubled.take_lost()] == [b"ax"]
    assert one.store.kernel.doubled.take_lost() == []
    other.store.kernel.go_on_as("c")
    assert other.store.kernel.doubled.take_lost() == []


def test_writing_it_again_goes_through_the_store_so_that_all_hear_of_it() -> None:
    one, other = copies("one", "other")
    one.orset("s").add("x")
    other.orset("s").add("y")
    one.merge(other.store.kernel.state())
    one.store.kernel.go_on_as("b")
    told: list[object] = []
    one.on_write(lambda events: told.extend(event.replica for event in events))
    one.on_change(lambda changes: told.extend(change.key for change in changes))
    assert one.store.write_again() == 1
    assert told == ["b", "x"]
    assert one.store.write_again() == 0


def test_it_waits_while_nothing_may_be_written() -> None:
    one, other = copies("one", "other")
    one.orset("s").add("x")
    other.orset("s").add("y")
    one.merge(other.store.kernel.state())
    one.store.kernel.go_on_as("b")
    refusing = [True]

    def guard() -> None:
        if refusing:
            raise OSError("the disk is full")

    one.store.guard_writes(guard)
    with pytest.raises(OSError, match="full"):
        one.store.write_again()
    refusing.clear()
    assert one.store.write_again() == 1
    assert "x" in one.orset("s")


def test_it_counts_as_somebody_else_s_who_uses_the_id() -> None:
    one, other = copies("one", "other")
    one.orset("s").add("x")
    other.orset("s").add("y")
    states = one.store.kernel.state(), other.store.kernel.state()
    one.merge(states[1])
    other.merge(states[0])
    assert (one.stats().impostors, other.stats().impostors) == (1, 1)


def test_totals_are_not_written_again() -> None:
    one, other = copies("one", "other")
    for each, amount in ((one, 3), (other, 5)):
        each.counter("c").increment(amount)
    join(one, other)
    one.store.kernel.go_on_as("b")
    assert one.store.kernel.doubled.take_lost() == []
    assert one.counter("c").value() == 5


def test_subscribers_hear_that_a_content_was_replaced() -> None:
    one, other = copies("one", "other")
    one.register("r").set("x")
    other.register("r").set("y")
    told: list[tuple[object, object]] = []
    one.register("r").on_change(lambda changes: told.extend((change.before, change.after) for change in changes))
    join(one, other)
    assert told == [("x", "y")]


def test_entries_that_are_kept_to_be_written_again_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doubled, "WRITTEN_AGAIN", 3)
    one, kept = Replica("a"), Doubled()
    events = [event for number in range(5) for event in one.orset("s").add(number).events]
    for event in events:
        kept.lose(event, "a")
    kept.disown("a")
    assert [kept.take_lost() for _ in range(4)] == [*([event] for event in events[-3:]), []]
