"""The kill log: complete above its floor, bounded, and never a part of a transaction."""

from contextlib import suppress

import pytest

from crdts import Dot, Event, LogTrimmed, Replica
from crdts.delta import REPLACED
from crdts.killlog import TRIM_SHARE, KillLog


def killer(seq: int, *kills: Dot, replica: str = "a", obj: bytes = b"sx") -> Event:
    return Event(replica, seq, obj, b"", None, kills or (("z", seq),))


def filled(limit: int = 1000) -> KillLog:
    """Kills of a:1 to a:10, two of them removals, and two transactions."""
    log = KillLog(limit)
    for seq in range(1, 11):
        log.remember(killer(seq, obj=b"" if seq in (2, 9) else b"sx"))
    log.remember_batch("a", (7, 9))
    log.remember_batch("a", (3, 6))
    return log


def test_an_event_is_logged_with_what_it_killed_and_whether_it_ever_had_an_entry() -> None:
    log = KillLog()
    log.remember(killer(1, ("b", 1), ("c", 2)))
    log.remember(killer(4, ("b", 3), obj=b""))
    log.remember(killer(1, ("b", 9), replica="b", obj=REPLACED))
    assert log.kills == {"a": {1: (("b", 1), ("c", 2)), 4: (("b", 3),)}, "b": {1: (("b", 9),)}}
    assert log.removals == {"a": {4: None}}
    assert (log.size, log.floor, log.batches) == (4, {}, {})


def test_up_to_its_floor_a_log_takes_nothing_more() -> None:
    log = KillLog()
    log.raise_floor("a", 5)
    for seq in (4, 5, 6):
        log.remember(killer(seq, obj=b""))
    log.remember(killer(1, replica="b"))
    assert {replica: list(held) for replica, held in log.kills.items()} == {"a": [6], "b": [1]}
    assert log.removals == {"a": {6: None}}
    assert log.size == 2


def test_a_log_is_trimmed_a_little_as_soon_as_it_is_over_its_limit_and_not_before() -> None:
    log = KillLog(limit=4)
    for seq in (1, 2, 3, 4):
        log.remember(killer(seq))
    assert (log.size, log.floor) == (4, {})
    log.remember(killer(5))
    assert (list(log.kills["a"]), log.size, log.floor) == ([2, 3, 4, 5], 4, {"a": 1})


def test_of_a_large_log_a_share_is_forgotten_at_once_so_that_it_is_not_at_every_event() -> None:
    log = KillLog(limit=2 * TRIM_SHARE)
    for seq in range(1, 2 * TRIM_SHARE + 2):
        log.remember(killer(seq))
    assert (log.size, log.floor) == (2 * TRIM_SHARE - 2, {"a": 3})


def test_of_several_writers_each_loses_half_at_most_before_the_next_has_its_turn() -> None:
    log = KillLog()
    for replica, count in (("a", 3), ("b", 9), ("c", 6)):
        for seq in range(1, count + 1):
            log.remember(killer(seq, replica=replica))
    log.trim(8)
    assert {replica: list(held) for replica, held in log.kills.items()} == {"a": [2, 3], "b": [7, 8, 9], "c": [4, 5, 6]}


def test_records_that_came_out_of_order_are_forgotten_up_to_the_highest_of_the_first() -> None:
    log = KillLog()
    for seq in (2, 5, 1, 9, 7):
        log.remember(killer(seq))
    log.trim(3)
    assert (list(log.kills["a"]), log.floor) == ([9, 7], {"a": 5})


def test_transactions_count_towards_the_limit() -> None:
    log = KillLog(limit=4)
    for start in (1, 3, 5, 7):
        log.remember_batch("a", (start, start + 2))
    assert (log.size, log.floor) == (4, {})
    log.remember_batch("a", (9, 11))
    assert (log.batches, log.size, log.floor) == ({"a": [(3, 5), (5, 7), (7, 9), (9, 11)]}, 4, {"a": 2})


def test_a_transaction_is_logged_once_and_transactions_are_sorted() -> None:
    log = filled()
    log.remember_batch("a", (3, 6))
    log.remember_batch("b", (1, 3))
    assert log.batches == {"a": [(3, 6), (7, 9)], "b": [(1, 3)]}
    assert log.size == 10 + 3


def test_the_transaction_of_a_dot_is_found_by_any_of_its_dots_and_no_other() -> None:
    log = filled()
    assert {seq: log.batch_of("a", seq) for seq in range(11)} == {
        **dict.fromkeys(range(11)),
        **dict.fromkeys((3, 4, 5), (3, 6)),
        **dict.fromkeys((7, 8), (7, 9)),
    }
    assert log.batch_of("b", 3) is None


@pytest.mark.parametrize("floor", range(1, 12))
def test_a_floor_is_raised_to_the_end_of_the_transaction_that_it_falls_into(floor: int) -> None:
    log = filled()
    log.remember(killer(1, replica="b", obj=b""))
    log.raise_floor("a", floor)
    raised = {3: 5, 4: 5, 7: 8}.get(floor, floor)
    assert log.floor == {"a": raised}
    assert list(log.kills.get("a", ())) == list(range(raised + 1, 11))
    assert list(log.removals.get("a", ())) == [seq for seq in (2, 9) if seq > raised]
    assert log.batches.get("a", []) == [batch for batch in ((3, 6), (7, 9)) if batch[0] > raised]
    assert log.size == 1 + max(0, 10 - raised) + len(log.batches.get("a", ()))
    assert all([*log.kills.values(), *log.removals.values(), *log.batches.values()]), "something empty is kept"
    assert (log.kills["b"], log.removals["b"]) == ({1: (("z", 1),)}, {1: None})


def test_a_transaction_of_one_event_ends_where_it_begins() -> None:
    log = KillLog()
    for start in (4, 5, 6):
        log.remember_batch("a", (start, start + 1))
    log.raise_floor("a", 5)
    assert (log.floor, log.batches, log.size) == ({"a": 5}, {"a": [(6, 7)]}, 1)


def test_a_floor_never_falls() -> None:
    log = filled()
    log.raise_floor("a", 6)
    log.raise_floor("a", 2)
    log.raise_floor("a", 6)
    assert log.floor == {"a": 6}
    log.raise_floor("b", 1)
    assert log.floor == {"a": 6, "b": 1}


@pytest.mark.parametrize(
    ("batch", "floor", "held"),
    [((3, 5), 5, []), ((4, 6), 5, []), ((4, 7), 6, []), ((5, 7), 6, []), ((6, 8), 5, [(6, 8)]), ((2, 9), 8, [])],
)
def test_a_transaction_that_begins_below_the_floor_raises_it_to_its_end(
    batch: tuple[int, int], floor: int, held: list[tuple[int, int]]
) -> None:
    log = KillLog()
    log.raise_floor("a", 5)
    log.remember_batch("a", batch)
    assert log.floor == {"a": floor}
    assert log.batches.get("a", []) == held
    assert log.size == len(held)


def test_forgetting_an_event_leaves_no_trace_of_it_and_the_others_as_they_are() -> None:
    log = KillLog()
    log.remember(killer(1, ("b", 1), ("b", 2)))
    log.remember(killer(2, ("b", 3), obj=b""))
    log.remember(killer(3, ("b", 4), obj=b""))
    log.forget("b", 1)
    log.forget("a", 9)
    assert log.size == 4
    log.forget("a", 1)
    assert (log.size, list(log.kills["a"]), list(log.removals["a"])) == (2, [2, 3], [2, 3])
    log.forget("a", 2)
    assert (log.size, list(log.kills["a"]), list(log.removals["a"])) == (1, [3], [3])
    log.forget("a", 3)
    log.forget("a", 3)
    assert (log.size, log.kills, log.removals) == (0, {}, {})


def test_a_log_is_trimmed_where_it_holds_most_and_no_more_than_it_must_be() -> None:
    log = KillLog()
    for seq in range(1, 9):
        log.remember(killer(seq))
    for seq in (1, 2, 3):
        log.remember(killer(seq, replica="b"))
    log.remember_batch("b", (4, 6))
    log.remember_batch("b", (6, 8))
    log.trim(12)
    assert (log.floor, log.size) == ({"a": 1}, 12)
    log.trim(9)
    assert (log.floor, log.size) == ({"a": 4}, 9)
    log.trim(9)
    assert log.floor == {"a": 4}
    log.trim(8)
    assert (log.floor, log.size) == ({"a": 4, "b": 1}, 8)
    log.trim(6)
    assert (log.floor, log.size) == ({"a": 6, "b": 1}, 6)
    log.trim(4)
    assert (log.floor, log.size, list(log.kills)) == ({"a": 6, "b": 3}, 4, ["a"])
    log.trim(0)
    assert (log.floor, log.size, log.kills, log.batches) == ({"a": 8, "b": 7}, 0, {}, {})


def test_of_replicas_with_as_much_to_forget_the_first_by_id_is_trimmed() -> None:
    log = KillLog()
    for replica in ("c", "a", "b"):
        log.remember(killer(1, replica=replica))
    log.trim(2)
    assert log.floor == {"a": 1}


def test_a_log_reaches_back_to_all_that_lies_above_its_floors() -> None:
    log = KillLog()
    assert log.reaches([("a", 1, 2)])
    log.raise_floor("a", 3)
    assert log.reaches([])
    assert log.reaches([("a", 4, 9), ("b", 1, 9)])
    assert not log.reaches([("b", 1, 9), ("a", 3, 4)])
    assert not log.reaches([("a", 1, 2), ("b", 1, 9)])


def test_asking_below_the_floor_says_how_much_is_forgotten_and_what_to_do() -> None:
    log = KillLog()
    log.check("a", 1)
    log.raise_floor("a", 3)
    log.check("a", 4)
    log.check("b", 1)
    with pytest.raises(LogTrimmed, match=r"^of a kills up to 3 are forgotten, 3 was asked for; send delta_since\(\)$"):
        log.check("a", 3)


def test_what_an_undone_transaction_logged_pushes_nothing_else_out() -> None:
    replica = Replica("a", log_limit=8)
    for i in range(9):
        replica.register("r").set(i)
    log = replica.store.kernel.log
    before = dict(log.floor), log.size
    with suppress(ZeroDivisionError), replica.transaction():
        for i in range(20):
            replica.register("r").set(i)
        raise ZeroDivisionError
    assert (dict(log.floor), log.size) == before
    with replica.transaction():
        for i in range(20):
            replica.register("r").set(i)
    assert log.size <= 8


def test_a_log_of_very_many_writers_is_trimmed_in_few_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    log, passes = KillLog(1 << 62), 0
    for i in range(500):
        for seq in range(2, 12):
            log.remember(Event(f"w{i}", seq, b"", b"", None, ((f"w{i}", seq - 1),)))
    records = KillLog._records

    def counted(self: KillLog, replica: str) -> int:
        nonlocal passes
        passes += 1
        return records(self, replica)

    monkeypatch.setattr(KillLog, "_records", counted)
    log.trim(100)
    assert log.size <= 100
    assert passes < 500 * 12
