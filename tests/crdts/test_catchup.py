"""What a peer lacks: in which order, in which form, and what is never told."""

from contextlib import suppress

import pytest

from crdts import Context, Dot, Event, LogTrimmed
from crdts.catchup import (
    STATE_PREFERENCE,
    Held,
    dead_killer,
    dead_runs,
    dependent_units,
    killers_first,
    pieces_of,
    prefers_state,
    runs_between,
    whole_delta,
)
from crdts.context import DotRange
from crdts.delta import NOTHING, REPLACED, events_delta
from crdts.kernel import Kernel
from crdts.killlog import KillLog
from crdts.packing import Unit

OBJ = b"?x"


def event(replica: str, seq: int, *kills: Dot, payload: bytes | None = b"p") -> Event:
    return Event(replica, seq, OBJ if payload is not None else b"", b"%d" % seq, payload, kills)


def held_of(*events: Event, batches: tuple[DotRange, ...] = ()) -> Held:
    """What a replica holds that has processed these events, with these transactions."""
    kernel = Kernel("z")
    for one in events:
        kernel.apply(one)
    for replica, start, stop in batches:
        kernel.log.remember_batch(replica, (start, stop))
    return Held(kernel.live, kernel.log)


def told(units: list[Unit]) -> list[list[Dot]]:
    return [[one.dot for one in events] for events, _ in units]


# ---- which form


def test_a_state_is_preferred_only_when_events_are_a_good_deal_more_than_what_lives() -> None:
    live = [event("a", seq) for seq in range(1, 5)]
    killers = [event("b", seq, ("a", 10 + seq), payload=None) for seq in range(1, 6)]
    for n, many in ((1, False), (2, False), (3, True)):
        held = held_of(*live, *killers[: n - 1], event("b", n + 2, ("a", 90), payload=None))
        # 4 live entries and n killers are missing, in two ranges: too many if 4 + n > 4 * 1.25 + 2
        assert prefers_state(held, [("a", 1, 5), ("b", 1, 99)]) is (n + 4 > 4 * STATE_PREFERENCE + 2), n
        assert prefers_state(held, [("a", 1, 5), ("b", 1, 99)]) is False or many
    held = held_of(*live, *killers)
    assert prefers_state(held, [("a", 1, 5), ("b", 1, 6)])
    assert not prefers_state(held, [("b", 1, 6)])
    assert not prefers_state(held, [("a", 1, 5)])


def test_an_entry_with_kills_is_one_piece_and_dead_dots_that_killed_nothing_are_none() -> None:
    live = [event("a", seq, ("b", seq)) for seq in range(1, 5)]
    assert not prefers_state(held_of(*live), [("a", 1, 5), ("b", 1, 99)])
    assert prefers_state(held_of(), [("a", 1, 2)]) is False


def test_a_kernel_prefers_what_is_preferred_for_what_the_peer_lacks() -> None:
    kernel = Kernel("a")
    for _ in range(9):
        kernel.write(OBJ, b"k", b"", kernel.at(OBJ, b"k"))
    assert kernel.prefers_state(Context())
    assert not kernel.prefers_state(Context({"a": 8}))
    kernel.trim_log(0)
    assert kernel.prefers_state(Context({"a": 8}))
    assert not kernel.prefers_state(kernel.context)


# ---- dead events


def test_a_dead_entry_is_told_of_as_replaced_and_a_removal_as_what_it_is() -> None:
    held = held_of(event("a", 1, ("z", 1)), event("a", 2, ("a", 1)), event("a", 3, ("a", 2), payload=None))
    assert dead_killer(held, "a", 1) == Event("a", 1, REPLACED, b"", None, (("z", 1),))
    assert dead_killer(held, "a", 2) == Event("a", 2, REPLACED, b"", None, (("a", 1),))
    assert dead_killer(held, "a", 3) == Event("a", 3, b"", b"", None, (("a", 2),))


def test_runs_are_what_neither_lives_nor_killed_nor_belongs_to_a_transaction() -> None:
    events = [event("a", 2), event("a", 5, ("a", 6)), event("b", 2)]
    held = held_of(*events, batches=(("a", 8, 11),))
    assert dead_runs(held, [("a", 1, 20)]) == [("a", 1, 2), ("a", 3, 5), ("a", 6, 8), ("a", 11, 20)]
    assert dead_runs(held, [("a", 4, 10), ("b", 1, 3)]) == [("a", 4, 5), ("a", 6, 8), ("b", 1, 2)]
    assert dead_runs(held, [("a", 9, 13)]) == [("a", 11, 13)]
    assert dead_runs(held, [("a", 6, 8)]) == [("a", 6, 8)]
    assert dead_runs(held, [("a", 11, 12)]) == [("a", 11, 12)]
    assert dead_runs(held, [("c", 1, 3), ("a", 1, 3)]) == [("c", 1, 3), ("a", 1, 2)]


def test_the_gaps_between_dots_are_runs() -> None:
    assert runs_between("a", 1, 9, []) == [("a", 1, 9)]
    assert runs_between("a", 1, 9, [1, 2, 5, 8]) == [("a", 3, 5), ("a", 6, 8)]
    assert runs_between("a", 1, 9, [3]) == [("a", 1, 3), ("a", 4, 9)]
    assert runs_between("a", 1, 3, [1, 2]) == []


@pytest.mark.parametrize(
    ("missing", "touched"),
    [((1, 5), False), ((1, 6), True), ((6, 7), True), ((7, 8), True), ((8, 9), False), ((1, 99), True)],
)
def test_a_transaction_is_told_of_whole_if_any_of_it_is_missing(missing: tuple[int, int], touched: bool) -> None:
    held = held_of(event("a", 5), event("a", 7, ("b", 1)), batches=(("a", 5, 8), ("b", 5, 8)))
    ((events, runs),) = dependent_units(held, [("a", *missing)]) or [([], [])]
    assert [one.dot for one in events] == ([("a", 5), ("a", 7)] if touched else [])
    assert runs == ([("a", 6, 7)] if touched else [])
    assert all(one.batch == (5, 8) for one in events)


def test_a_transaction_that_is_missing_in_two_places_is_told_of_once() -> None:
    held = held_of(*(event("a", seq) for seq in range(1, 6)), batches=(("a", 1, 6),))
    missing = [("a", 1, 2), ("a", 4, 5)]
    assert told(dependent_units(held, missing)) == [[("a", seq) for seq in range(1, 6)]]
    assert [one.dot for one in whole_delta(held, missing).events] == [("a", seq) for seq in range(1, 6)]


def test_what_is_dead_in_a_transaction_is_told_of_with_it_and_nowhere_else() -> None:
    events = [event("a", 1), event("a", 2, ("b", 1)), event("a", 3), event("c", 1, ("a", 2), ("a", 3))]
    held = held_of(*events, batches=(("a", 1, 4), ("d", 1, 3)))
    told_of = [events[0]._replace(batch=(1, 4)), Event("a", 2, REPLACED, b"", None, (("b", 1),), (1, 4))]
    assert dependent_units(held, [("a", 1, 4)]) == [(told_of, [("a", 3, 4)])]
    assert dead_runs(held, [("a", 1, 4)]) == []
    assert whole_delta(held, [("a", 1, 4)]) == events_delta(told_of, [("a", 3, 4)])
    assert dependent_units(held, [("d", 1, 2)]) == [([], [("d", 1, 3)])]


# ---- the order


def test_killers_come_before_what_they_killed_something_of() -> None:
    chain = [([event("a", seq, ("a", seq - 1))], []) for seq in (2, 3, 4, 5)]
    assert told(killers_first(chain)) == [[("a", seq)] for seq in (5, 4, 3, 2)]
    both: list[Unit] = [([event("a", 1)], []), ([event("b", 1, ("a", 1))], []), ([event("c", 1, ("a", 1))], [])]
    assert told(killers_first(both)) == [[("b", 1)], [("c", 1)], [("a", 1)]]


def test_a_transaction_comes_behind_who_killed_any_of_its_events_or_of_its_dead() -> None:
    first: Unit = ([event("a", 1), event("a", 2)], [])
    second: Unit = ([event("b", 1, ("a", 2)), event("b", 2)], [])
    assert killers_first([first, second]) == [second, first]
    assert killers_first([second, first]) == [second, first]
    alone: Unit = ([event("a", 1)], [("a", 2, 4)])
    killer: Unit = ([event("b", 1, ("a", 3))], [])
    assert killers_first([alone, killer]) == [killer, alone]
    with_run: Unit = ([event("b", 1, ("a", 3))], [("b", 2, 3)])
    assert killers_first([alone, with_run]) == killers_first([with_run, alone]) == [with_run, alone]
    empty: Unit = ([], [("a", 2, 4)])
    assert killers_first([empty, killer]) == [killer, empty]


def test_the_dots_of_a_run_are_those_in_it_and_no_earlier_ones() -> None:
    earlier: Unit = ([event("a", 1, ("b", 1))], [])
    batch: Unit = ([event("a", 5)], [("a", 6, 8)])
    killer: Unit = ([event("c", 1, ("a", 1))], [])
    assert told(killers_first([earlier, batch, killer])) == [[("a", 5)], [("c", 1)], [("a", 1)]]


def test_who_killed_something_of_itself_waits_for_nobody() -> None:
    unit: Unit = ([event("a", 1), event("a", 2, ("a", 1))], [])
    assert killers_first([unit]) == [unit]


# ---- pieces


def test_nothing_is_missing_from_who_has_everything() -> None:
    held = held_of(event("a", 1))
    assert whole_delta(held, []) is NOTHING
    assert list(pieces_of(held, [], 100)) == []


def test_the_whole_is_all_of_the_pieces() -> None:
    events = [event("a", 1), event("a", 2, ("a", 1)), event("a", 3, ("a", 2), payload=None), event("a", 4)]
    events += [event("b", seq, ("c", seq)) for seq in (1, 2, 3, 4, 5)]
    held = held_of(*events, event("d", 1, ("b", 2)), batches=(("b", 3, 5),))
    missing = [("a", 1, 5), ("b", 1, 6), ("c", 1, 2), ("d", 1, 2)]
    whole = whole_delta(held, missing)
    assert [(one.dot, one.obj, one.batch) for one in whole.events] == [
        (("a", 2), REPLACED, None),
        (("a", 3), b"", None),
        (("a", 4), OBJ, None),
        (("b", 1), OBJ, None),
        (("b", 2), REPLACED, None),
        (("b", 3), OBJ, (3, 5)),
        (("b", 4), OBJ, (3, 5)),
        (("b", 5), OBJ, None),
        (("d", 1), OBJ, None),
    ]
    assert {one.dot: one.kills for one in whole.events} == {one.dot: one.kills for one in events[1:]} | {
        ("d", 1): (("b", 2),)
    }
    assert whole.runs == (("a", 1, 2), ("c", 1, 2))
    for budget in (1, 100_000):
        pieces = list(pieces_of(held, missing, budget))
        assert sorted(one for piece in pieces for one in piece.events) == list(whole.events)
        assert sorted(run for piece in pieces for run in piece.runs) == list(whole.runs)


def test_below_the_floor_nothing_is_told_in_either_form() -> None:
    held = Held({}, KillLog())
    held.log.raise_floor("a", 2)
    for missing in ([("a", 2, 3)], [("b", 1, 2), ("a", 1, 9)]):
        for tell in (whole_delta, dependent_units, dead_runs, lambda *args: list(pieces_of(*args, 1))):
            with pytest.raises(LogTrimmed):
                tell(held, missing)
    assert dead_runs(held, [("a", 3, 4)]) == [("a", 3, 4)]
    alive = held_of(event("a", 1, ("b", 1)), event("a", 2))
    alive.log.trim(0)
    with pytest.raises(LogTrimmed):
        whole_delta(alive, [("a", 1, 3)])
    assert whole_delta(alive, [("a", 2, 3)]).events == (event("a", 2),)


@pytest.mark.parametrize("trimmed_after", range(9))
def test_a_log_that_is_trimmed_between_any_two_pieces_makes_no_killer_a_run(trimmed_after: int) -> None:
    events = [event("a", 1), event("a", 2, ("a", 1)), event("a", 3, ("b", 1), payload=None), event("a", 4, ("a", 2))]
    held = held_of(*events, event("c", 1), event("c", 2), event("b", 2, ("c", 1)))
    killers = Context.of([("a", 2, 5), ("b", 2, 3)])
    pieces = []
    with suppress(LogTrimmed):
        for i, piece in enumerate(pieces_of(held, [("a", 1, 5), ("b", 1, 3), ("c", 1, 3)], 1)):
            pieces.append(piece)
            if i == trimmed_after:
                held.log.trim(0)
    assert not [run for piece in pieces for run in piece.runs if Context.of([run]).missing_from(killers) == []]
    assert all(one.kills for piece in pieces for one in piece.events if one.dot in killers)


def test_an_entry_that_dies_before_its_turn_is_told_of_as_dead() -> None:
    kernel = Kernel("a")
    entries = [kernel.write(OBJ, b"%d" % i, b"", ())[0] for i in range(3)]
    pieces = kernel.deltas_since(Context(), 1)
    first = next(pieces)
    kernel.write(OBJ, b"1", None, (entries[1],))
    kernel.write(OBJ, b"2", None, (entries[2],))
    rest = list(pieces)
    assert first.events == (entries[0],)
    assert [one for piece in rest for one in piece.events] == []
    assert [run for piece in rest for run in piece.runs] == [("a", 2, 4)]


def test_all_entries_of_a_writer_may_die_before_their_turn() -> None:
    kernel = Kernel("z")
    for one in (event("a", 1), event("b", 1), event("b", 2)):
        kernel.apply(one)
    pieces = kernel.deltas_since(Context(), 1)
    assert next(pieces).events == (event("a", 1),)
    kernel.apply(event("c", 1, ("b", 1), ("b", 2)))
    rest = list(pieces)
    assert [one for piece in rest for one in piece.events] == []
    assert [run for piece in rest for run in piece.runs] == [("b", 1, 3)]
