"""The bounded counter: rights are granted, spent, transferred and reset, and never spent twice."""

from typing import Any

import pytest

from crdts import BoundedCounter, Delta, Event, InsufficientRights, InvalidValue, Replica, UnsupportedType
from crdts.delta import NOTHING
from crdts.errors import LocalError
from crdts.limits import MAX_INT
from crdts.values import encode_value


def pair(lower: int = 0) -> tuple[BoundedCounter, BoundedCounter]:
    return BoundedCounter("a", lower), BoundedCounter("b", lower)


def test_a_counter_begins_at_its_lower_bound_with_no_rights() -> None:
    a = BoundedCounter("a", -5)
    assert a.value() == a.lower == -5
    assert a.rights() == 0
    assert a.holders() == {}
    assert BoundedCounter("a").value() == 0
    assert repr(a) == "<BoundedCounter of 'a': -5>"


def test_who_adds_may_take_away_as_much() -> None:
    a = BoundedCounter("a", 10)
    a.increment(3)
    a.increment()
    assert (a.value(), a.rights(), a.holders()) == (14, 4, {"a": 4})
    a.decrement()
    a.decrement(3)
    assert (a.value(), a.rights(), a.holders()) == (10, 0, {})


def test_a_decrement_without_rights_names_who_could_transfer_some() -> None:
    a, b = pair()
    a.increment(5)
    b.merge(a)
    message = "'b' holds rights to 0, not enough to take away 3; ask for a transfer: {'a': 5}"
    with pytest.raises(InsufficientRights) as caught:
        b.decrement(3)
    assert str(caught.value) == message
    assert isinstance(caught.value, LocalError)
    assert b.value() == 5


def test_a_decrement_that_nobody_has_the_rights_to_says_so() -> None:
    a, _ = pair()
    a.increment(2)
    with pytest.raises(
        InsufficientRights, match="'a' holds rights to 2, not enough to take away 3; nobody else holds any"
    ):
        a.decrement(3)
    with pytest.raises(InsufficientRights, match="not enough to transfer 3 to 'b'; nobody else"):
        a.transfer("b", 3)
    assert len(a._store.kernel.context) == 1, "a refused call took a dot"


def test_rights_can_be_transferred_on_and_spent_where_they_are() -> None:
    a, b = pair()
    c = BoundedCounter("c")
    a.increment(10)
    b.merge(a.transfer("b", 6))
    c.merge(b.transfer("c", 2))
    assert c.rights() == 2
    c.decrement(2)
    b.merge(a).decrement(4)
    a.merge(b).merge(c)
    assert (a.value(), a.holders()) == (4, {"a": 4})
    assert a.rights("b") == a.rights("nobody") == 0


def test_a_transfer_that_has_not_arrived_cannot_be_spent() -> None:
    a, b = pair()
    b.merge(a.increment(5))
    transfer = a.transfer("b", 5)
    with pytest.raises(InsufficientRights):
        b.decrement()
    with pytest.raises(InsufficientRights):
        a.decrement()
    b.merge(transfer)
    b.decrement(5)
    assert a.merge(b).value() == 0


def test_rights_can_be_given_to_one_who_has_never_written() -> None:
    a, _ = pair()
    a.increment(5)
    a.transfer("newcomer", 2)
    assert a.holders() == {"a": 3, "newcomer": 2}
    BoundedCounter("newcomer").merge(a).decrement(2)


def test_who_knows_the_receivers_says_who_is_meant_and_refuses_others() -> None:
    replica = Replica("a")
    budget = replica.bounded_counter("budget")
    budget.increment(5)
    replica.store.receiver_of = {"Bob": "b.1"}.__getitem__
    budget.transfer("Bob", 2)
    assert budget.holders() == {"a": 3, "b.1": 2}
    with pytest.raises(KeyError):
        budget.transfer("Bobby", 2)
    assert budget.holders() == {"a": 3, "b.1": 2}


def test_who_knows_the_holders_adds_up_what_one_holds_and_names_whom_to_ask() -> None:
    replica = Replica("a")
    for writer in ("b.1", "b.2", "c.1"):
        replica.merge(Replica(writer).bounded_counter("budget").increment(5))
    budget = replica.bounded_counter("budget")
    assert budget.rights("b.1") == 5
    replica.store.lives_of = lambda who, holders: [each for each in holders if each.startswith(who)]
    replica.store.name_of = {"a": "Ann", "b.1": "Bob", "b.2": "Bob", "c.1": "Cy"}.__getitem__
    assert budget.rights("b") == 10
    with pytest.raises(InsufficientRights, match=r"^'Ann' holds rights to 0, .*: {'Bob': 10, 'Cy': 5}$"):
        budget.decrement(1)


def test_a_transfer_to_oneself_or_of_nothing_changes_nothing() -> None:
    a, _ = pair()
    a.increment(5)
    assert a.transfer("a", 5) is NOTHING
    assert a.transfer("b", 0) is NOTHING
    with pytest.raises(InsufficientRights):
        a.transfer("a", 6)
    assert a.increment(0) is a.decrement(0) is NOTHING


@pytest.mark.parametrize("amount", [True, False, 1.0, 0.0, "1", "", None, []])
def test_rights_are_whole_numbers(amount: Any) -> None:
    a, _ = pair()
    a.increment(5)
    for call in (a.increment, a.decrement, lambda n: a.transfer("b", n)):
        with pytest.raises(UnsupportedType, match=type(amount).__name__):
            call(amount)


@pytest.mark.parametrize("amount", [-1, MAX_INT + 1])
def test_rights_are_bounded(amount: int) -> None:
    a, _ = pair()
    a.increment(5)
    for call in (a.increment, a.decrement, lambda n: a.transfer("b", n)):
        with pytest.raises(InvalidValue, match=r"0 to 2\*\*64 - 1"):
            call(amount)


def test_the_share_of_a_holder_is_bounded_and_the_sum_is_not() -> None:
    a, b = pair()
    a.increment(MAX_INT)
    b.increment(MAX_INT)
    with pytest.raises(InvalidValue, match="ends at"):
        a.increment()
    assert a.merge(b).value() == 2 * MAX_INT


@pytest.mark.parametrize("to", ["", "x" * 65, "a\n"])
def test_rights_are_transferred_to_a_replica_id(to: str) -> None:
    a, _ = pair()
    a.increment(5)
    with pytest.raises(InvalidValue, match="replica id"):
        a.transfer(to, 1)
    with pytest.raises(UnsupportedType, match="replica id"):
        a.transfer(1, 1)  # type: ignore[arg-type]


@pytest.mark.parametrize("lower", [True, 1.0, "1", None])
def test_a_lower_bound_is_a_whole_number(lower: Any) -> None:
    with pytest.raises(UnsupportedType, match=f"a lower bound is an int, not {type(lower).__name__}"):
        BoundedCounter("a", lower)
    if lower is not None:
        with pytest.raises(UnsupportedType, match="lower bound"):
            Replica("a").bounded_counter("x", lower)


@pytest.mark.parametrize("lower", [MAX_INT + 1, -MAX_INT - 1])
def test_a_lower_bound_has_64_bits(lower: int) -> None:
    with pytest.raises(InvalidValue, match="lower bound lies between"):
        BoundedCounter("a", lower)


@pytest.mark.parametrize("lower", [MAX_INT, -MAX_INT])
def test_the_utmost_lower_bounds_travel(lower: int) -> None:
    a, b = pair(lower)
    b.merge(a.increment(MAX_INT))
    assert b.value() == lower + MAX_INT


def test_of_different_lower_bounds_the_highest_that_was_written_stands() -> None:
    a, b = BoundedCounter("a", 1), BoundedCounter("b", 7)
    a.increment(2)
    b.increment(1)
    assert a.merge(b).value() == b.merge(a).value() == 10
    assert a.lower == b.lower == 7


def test_who_gives_another_lower_bound_than_the_one_in_force_is_told_so_and_writes_nothing() -> None:
    a, b = BoundedCounter("a", 1), BoundedCounter("b", 7)
    b.merge(a.increment(2))
    assert (b.value(), b.lower) == (3, 1)
    with pytest.raises(InvalidValue, match="lower bound is 1, not 7"):
        b.increment(1)
    assert b.value() == 3
    replica = Replica("c")
    replica.bounded_counter("x", 5).increment()
    assert replica.bounded_counter("x").increment()
    assert replica.bounded_counter("x").value() == 7


def test_a_handle_without_the_bound_reads_what_was_written() -> None:
    replica = Replica("a")
    replica.bounded_counter("x", 5).increment(2)
    assert replica.bounded_counter("x").value() == 7
    assert [obj.value() for obj in replica.objects()] == [7]


# ---- resets


def test_a_reset_takes_all_rights_that_it_sees() -> None:
    a, b = pair(3)
    a.increment(5)
    a.transfer("b", 2)
    b.merge(a)
    b.increment(1)
    b.reset()
    assert (b.value(), b.holders()) == (3, {})
    assert (a.merge(b).value(), a.rights()) == (3, 0)
    with pytest.raises(InsufficientRights):
        a.decrement()
    assert b.reset() is NOTHING
    assert BoundedCounter("c").reset() is NOTHING


def test_an_increment_that_a_reset_had_not_seen_survives() -> None:
    a, b = pair()
    b.merge(a.increment(5))
    more, reset = a.increment(2), b.reset()
    assert a.merge(reset).value() == b.merge(more).value() == 2
    a.decrement(2)
    assert b.merge(a).value() == 0


def test_two_resets_of_the_same_rights_take_them_once() -> None:
    a, b = pair()
    c = BoundedCounter("c")
    granted = a.increment(5)
    b.merge(granted)
    c.merge(granted)
    a.merge(b.reset()).merge(c.reset())
    assert a.value() == 0
    a.increment(4)
    assert (a.value(), a.rights()) == (4, 4)


def test_what_was_spent_while_a_reset_took_it_is_made_up_for_by_the_next_rights() -> None:
    a, b = pair()
    b.merge(a.increment(5))
    a.decrement(3)
    reset = b.reset()
    assert (a.merge(reset).value(), a.rights()) == (0, 0)
    a.increment(4)
    assert (a.value(), a.rights()) == (1, 1)
    assert b.merge(a).value() == 1


def test_what_was_given_away_while_a_reset_took_it_is_still_held_by_the_other() -> None:
    a, b = pair()
    c = BoundedCounter("c")
    c.merge(a.increment(5))
    transfer, reset = a.transfer("b", 5), c.reset()
    b.merge(transfer).merge(reset)
    assert (b.value(), b.rights()) == (5, 5)
    b.decrement(5)
    assert a.merge(b).merge(c).value() == 0


def test_a_reset_is_one_change() -> None:
    a, _ = pair()
    for name in "bcd":
        a.merge(BoundedCounter(name).increment(2))
    assert {event.batch for event in a.reset().events} == {(1, 4)}


def test_many_moves_and_resets_leave_two_entries_for_each_holder() -> None:
    a, b = pair()
    for i in range(50):
        a.increment(i + 1)
        a.transfer("b", 1)
        b.merge(a)
        b.decrement()
        b.reset()
        a.merge(b)
    assert a.value() == b.value() == 0
    assert a.stats().entries == 4


def test_a_replica_spends_what_it_held_under_its_former_ids() -> None:
    before, other = Replica("a.1"), Replica("b")
    before.bounded_counter("budget").increment(100)
    before.bounded_counter("budget").decrement(30)
    again = Replica("a.2").merge(before)
    with pytest.raises(InsufficientRights):
        again.bounded_counter("budget").decrement(1)
    again.store.kernel.former = ("a.1",)
    budget = again.bounded_counter("budget")
    assert budget.rights() == 70
    assert budget.rights("a.1") == 70
    budget.increment(5)
    budget.decrement(75 - 10)
    assert budget.rights() == budget.value() == 10
    budget.transfer("b", 4)
    assert other.merge(again).bounded_counter("budget").rights() == 4
    assert other.bounded_counter("budget").value() == 10
    assert other.bounded_counter("budget").rights("a.1") == 6, "no more was taken over than it took"
    with pytest.raises(InsufficientRights):
        budget.decrement(7)


def test_two_that_go_on_from_one_former_id_forget_nothing_that_either_has_spent() -> None:
    before = Replica("a.1")
    before.bounded_counter("budget").increment(100)
    first, second = Replica("a.2-x").merge(before), Replica("a.2-y").merge(before)
    for again, spent in ((first, 60), (second, 30)):
        again.store.kernel.former = ("a.1",)
        again.bounded_counter("budget").decrement(spent)
    first.merge(second)
    second.merge(first)
    for again in (first, second):
        assert again.bounded_counter("budget").value() == again.bounded_counter("budget").rights() == 10
        again.bounded_counter("budget").decrement(1)
    assert first.merge(second).bounded_counter("budget").value() == 8


def test_what_is_taken_over_from_a_former_id_survives_a_reset() -> None:
    before = Replica("a.1")
    before.bounded_counter("budget").increment(10)
    again = Replica("a.2").merge(before)
    again.store.kernel.former = ("a.1",)
    budget = again.bounded_counter("budget")
    budget.decrement(4)
    budget.reset()
    assert budget.value() == budget.rights() == 0
    budget.increment(3)
    assert budget.value() == budget.rights() == 3
    budget.decrement(3)
    assert budget.value() == 0


@pytest.mark.parametrize("row", [[0, MAX_INT, 0, {}], [0, 0, 1 << 60, {}], [0, 0, 0, {"z": 1 << 60}]])
def test_a_share_that_another_has_written_in_neither_stops_its_holder_nor_gives_it_more(row: list[object]) -> None:
    holder, other = BoundedCounter("a"), BoundedCounter("b")
    other.merge(holder.increment(10))
    lie = Delta((Event("liar", 1, b"b", b"a", encode_value(row), ()),))
    holder.merge(lie)
    other.merge(lie)
    assert holder.rights() == 10
    with pytest.raises(InsufficientRights):
        holder.decrement(11)
    other.merge(holder.decrement(4))
    assert holder.rights() == holder.value() == other.value() == 6
    other.merge(holder.increment(1))
    assert other.value() == 7
    assert holder._store.kernel.contested_shares == 1
