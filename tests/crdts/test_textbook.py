"""The textbook cases, as a user would write them."""

from crdts import (
    DWFlag,
    EWFlag,
    GCounter,
    GSet,
    HybridClock,
    LWWMap,
    LWWRegister,
    MVRegister,
    ORMap,
    ORSet,
    PNCounter,
    Replica,
    RWSet,
)


def test_two_agents_add_different_tasks_and_both_are_there() -> None:
    alice, bob = Replica("alice"), Replica("bob")
    alice.orset("tasks").add("write the report")
    bob.orset("tasks").add("book the room")
    alice.merge(bob)
    bob.merge(alice)
    assert alice.orset("tasks").value() == {"write the report", "book the room"}
    assert bob.orset("tasks").value() == {"write the report", "book the room"}


def test_three_counters_of_5_and_3_and_7_merge_to_15() -> None:
    a, b, c = GCounter("a"), GCounter("b"), GCounter("c")
    a.increment(5)
    b.increment(3)
    c.increment(7)
    assert a.merge(b).merge(c).value() == 15
    assert c.merge(b).merge(a).value() == 15


def test_a_counter_that_gains_10_and_loses_3_is_at_7() -> None:
    counter = PNCounter("a")
    counter.increment(10)
    counter.decrement(3)
    assert counter.value() == 7


def test_gains_and_losses_of_two_replicas_add_up() -> None:
    a, b = PNCounter("a"), PNCounter("b")
    a.increment(10)
    b.decrement(3)
    assert a.merge(b).value() == b.merge(a).value() == 7


def test_the_later_stamp_wins_a_configuration() -> None:
    a, b = LWWRegister("a"), LWWRegister("b")
    a.set({"workers": 4}, timestamp=1_000)
    b.set({"workers": 8}, timestamp=2_000)
    assert a.merge(b).get() == {"workers": 8}
    assert b.merge(a).get() == {"workers": 8}


def test_the_later_of_two_clocks_wins_a_configuration() -> None:
    early, late = HybridClock(lambda: 1_700_000_000.0), HybridClock(lambda: 1_700_000_001.0)
    a, b = LWWRegister("a", clock=late), LWWRegister("b", clock=early)
    a.set("late")
    b.set("early")
    assert a.merge(b).get() == b.merge(a).get() == "late"


def test_equal_stamps_fall_to_the_replica_id_the_same_way_everywhere() -> None:
    a, b = LWWRegister("a"), LWWRegister("b")
    a.set("of a", timestamp=1_000)
    b.set("of b", timestamp=1_000)
    third = LWWRegister("c").merge(b).merge(a)
    assert a.merge(b).get() == b.merge(a).get() == third.get() == "of b"


def test_a_multi_value_register_keeps_both_of_two_concurrent_values_and_a_later_write_replaces_both() -> None:
    a, b = MVRegister("a"), MVRegister("b")
    a.set("red")
    b.set("blue")
    assert sorted(a.merge(b).get()) == sorted(b.merge(a).get()) == ["blue", "red"]
    a.set("green")
    assert a.get() == ["green"]
    assert b.merge(a).get() == ["green"]


def test_a_last_writer_wins_map_merges_key_by_key() -> None:
    a, b = LWWMap("a"), LWWMap("b")
    a.set("mine", 1, timestamp=1_000)
    a.set("both", "older", timestamp=1_000)
    b.set("yours", 2, timestamp=2_000)
    b.set("both", "newer", timestamp=2_000)
    assert a.merge(b).value() == {"mine": 1, "yours": 2, "both": "newer"}
    assert b.merge(a).value() == a.value()


def test_an_added_element_is_there_after_one_who_never_saw_it_added_and_removed_its_own() -> None:
    a, c = ORSet("a"), ORSet("c")
    a.add("x")
    c.add("x")
    c.remove("x")
    assert a.merge(c).value() == {"x"}
    assert c.merge(a).value() == {"x"}


def test_the_removal_of_what_was_observed_sticks() -> None:
    a, b, c = ORSet("a"), ORSet("b"), ORSet("c")
    a.add("x")
    c.merge(a)
    b.merge(a)
    b.remove("x")
    assert a.merge(b).value() == set()
    assert a.merge(c).value() == set()
    assert c.merge(b).value() == set()


def test_replaying_a_merge_changes_nothing() -> None:
    a, b = Replica("a"), Replica("b")
    a.orset("tasks").add("x")
    a.counter("hits").increment(3)
    delta = a.orset("tasks").add("y")
    b.merge(a)
    before = b.context, b.fingerprint
    b.merge(a).merge(a).merge(delta).merge(delta)
    assert (b.context, b.fingerprint) == before
    assert b.orset("tasks").value() == {"x", "y"}
    assert b.counter("hits").value() == 3


def test_a_coordinator_merges_an_orchestrators_2_and_workers_5_and_7_to_14() -> None:
    orchestrator, first, second = Replica("orchestrator"), Replica("worker-1"), Replica("worker-2")
    orchestrator.gcounter("done").increment(2)
    first.gcounter("done").increment(5)
    second.gcounter("done").increment(7)
    coordinator = Replica("coordinator").merge(orchestrator).merge(first).merge(second)
    assert coordinator.gcounter("done").value() == 14
    assert coordinator.merge(first).gcounter("done").value() == 14


def test_a_grow_only_set_is_the_union() -> None:
    a, b = GSet("a"), GSet("b")
    a.add(1)
    b.add(2)
    assert a.merge(b).value() == b.merge(a).value() == {1, 2}


def test_of_a_concurrent_add_and_remove_the_remove_wins_in_a_remove_wins_set() -> None:
    a, b = RWSet("a"), RWSet("b")
    b.merge(a.add("x"))
    added, removed = a.add("x"), b.remove("x")
    assert a.merge(removed).value() == b.merge(added).value() == set()
    a.add("x")
    assert b.merge(a).value() == {"x"}


def test_of_a_concurrent_enable_and_disable_the_one_wins_that_gives_the_flag_its_name() -> None:
    a, b = EWFlag("a"), EWFlag("b")
    b.merge(a.enable())
    enabled, disabled = a.enable(), b.disable()
    assert a.merge(disabled).value() is b.merge(enabled).value() is True
    c, d = DWFlag("c"), DWFlag("d")
    d.merge(c.disable())
    disabled, enabled = c.disable(), d.enable()
    assert c.merge(enabled).value() is d.merge(disabled).value() is False


def test_a_budget_of_10_is_spent_by_whoever_holds_the_right_and_never_overspent() -> None:
    bank, shop = Replica("bank"), Replica("shop")
    bank.bounded_counter("budget").increment(10)
    bank.bounded_counter("budget").transfer("shop", 4)
    shop.merge(bank)
    shop.bounded_counter("budget").decrement(4)
    bank.bounded_counter("budget").decrement(6)
    assert bank.merge(shop).bounded_counter("budget").value() == 0
    assert shop.merge(bank).bounded_counter("budget").value() == 0


def test_a_map_keeps_what_was_added_to_a_key_while_another_deleted_it_and_nothing_else() -> None:
    a, b = ORMap("a"), ORMap("b")
    a.orset("members").add("ann")
    a.counter("visits").increment(5)
    b.merge(a)
    a.orset("members").add("bob")
    a.counter("visits").increment(2)
    b.delete("members")
    b.delete("visits")
    assert a.merge(b).value() == b.merge(a).value() == {"members": {"bob"}, "visits": 2}
