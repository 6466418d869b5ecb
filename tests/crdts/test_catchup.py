"""What a peer lacks: in which order, in which form, and what is never told."""

import random
from contextlib import nullcontext, suppress

import pytest

from crdts import Context, Dot, Event, LogTrimmed, Replica
from crdts.catchup import (
    MAX_PIECE,
    STATE_PREFERENCE,
    dead_runs,
    pieces_of,
    prefers_state,
    takes_more_than,
    whole_delta,
)
from crdts.context import DotRange
from crdts.delta import NOTHING, REPLACED, events_delta
from crdts.dependents import Held, dead_killer, dependent_units, runs_between
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
    ((events, runs),) = list(dependent_units(held, [("a", *missing)])) or [([], [])]
    assert [one.dot for one in events] == ([("a", 5), ("a", 7)] if touched else [])
    assert runs == ([("a", 6, 7)] if touched else [])
    assert all(one.batch == (5, 8) for one in events)


def test_a_transaction_that_is_missing_in_two_places_is_told_of_once() -> None:
    held = held_of(*(event("a", seq) for seq in range(1, 6)), batches=(("a", 1, 6),))
    missing = [("a", 1, 2), ("a", 4, 5)]
    assert told([*dependent_units(held, missing)]) == [[("a", seq) for seq in range(1, 6)]]
    assert [one.dot for one in whole_delta(held, missing).events] == [("a", seq) for seq in range(1, 6)]


def test_what_is_dead_in_a_transaction_is_told_of_with_it_and_nowhere_else() -> None:
    events = [event("a", 1), event("a", 2, ("b", 1)), event("a", 3), event("c", 1, ("a", 2), ("a", 3))]
    held = held_of(*events, batches=(("a", 1, 4), ("d", 1, 3)))
    told_of = [events[0]._replace(batch=(1, 4)), Event("a", 2, REPLACED, b"", None, (("b", 1),), (1, 4))]
    assert list(dependent_units(held, [("a", 1, 4)])) == [(told_of, [("a", 3, 4)])]
    assert dead_runs(held, [("a", 1, 4)]) == []
    assert whole_delta(held, [("a", 1, 4)]) == events_delta(told_of, [("a", 3, 4)])
    assert list(dependent_units(held, [("d", 1, 2)])) == [([], [("d", 1, 3)])]


# ---- the order


def order_of(held: Held, *missing: DotRange) -> list[list[Dot]]:
    return told([*dependent_units(held, [*missing])])


def test_removals_go_first_and_of_one_writer_the_latest_of_what_was_replaced() -> None:
    chain = [event("a", seq, ("a", seq - 1)) for seq in (2, 3, 4, 5)]
    removals = [event("a", 6, ("z", 1), payload=None), event("b", 1, ("a", 5), payload=None)]
    held = held_of(*chain, *removals)
    expected = [[("a", 6)], [("b", 1)], [("a", 5)], [("a", 4)], [("a", 3)], [("a", 2)]]
    assert order_of(held, ("a", 1, 9), ("b", 1, 9)) == expected
    assert order_of(held, ("a", 1, 4), ("a", 5, 6)) == [[("a", 5)], [("a", 3)], [("a", 2)]]


def test_what_was_replaced_waits_for_all_dead_killers_of_other_writers() -> None:
    """The last event of each writer is a removal, so that all others are dead."""
    events = [event("a", 1, ("z", 1)), event("a", 2, ("z", 2)), event("b", 1, ("a", 1)), event("c", 1, ("a", 1))]
    events += [event("d", 1, ("c", 1)), event("e", 1, ("a", 2), ("b", 1), ("d", 1), payload=None)]
    held = held_of(*events)
    ranges = [(replica, 1, 9) for replica in "abcd"]
    assert order_of(held, *ranges) == [[("a", 2)], [("b", 1)], [("d", 1)], [("c", 1)], [("a", 1)]]
    assert order_of(held, ("a", 1, 2), ("b", 1, 2)) == [[("b", 1)], [("a", 1)]]


def test_a_transaction_waits_for_who_killed_any_of_its_events_or_of_its_dead() -> None:
    batch = [event("a", 1, ("z", 1)), event("a", 2), event("a", 3)]
    killers = [event("b", 1, ("a", 1)), event("c", 1, ("a", 3)), event("d", 1, ("b", 1), ("c", 1), payload=None)]
    held = held_of(*batch, *killers, batches=(("a", 1, 4),))
    ranges = [(replica, 1, 9) for replica in "abc"]
    assert order_of(held, *ranges) == [[("b", 1)], [("c", 1)], [("a", 1), ("a", 2)]]
    held = held_of(*batch, killers[1], event("e", 1), killers[2], batches=(("a", 1, 4), ("c", 1, 3)))
    assert order_of(held, *ranges) == [[("c", 1)], [("a", 1), ("a", 2)]], "a transaction is a killer too"


def test_who_killed_something_of_itself_waits_for_nobody() -> None:
    held = held_of(event("a", 1, ("z", 1)), event("a", 2, ("a", 1)), batches=(("a", 1, 3),))
    assert order_of(held, ("a", 1, 3)) == [[("a", 1), ("a", 2)]]


def test_a_circle_that_a_liar_has_made_goes_out_all_the_same() -> None:
    circle = [event("a", 1, ("b", 1)), event("b", 1, ("a", 1)), event("c", 1, ("a", 1)), event("c", 2, ("c", 1))]
    held = held_of(*circle)
    units = order_of(held, ("a", 1, 2), ("b", 1, 2), ("c", 1, 3))
    assert sorted(units) == [[("a", 1)], [("b", 1)], [("c", 1)]]


def after_writing_over_each_other(rng: random.Random) -> Kernel:
    """One of four replicas that have set and deleted the same few keys, in transactions too, and merged events."""
    replicas = [Replica(name) for name in "abcd"]
    for _ in range(80):
        one, other = rng.choice(replicas), rng.choice(replicas)
        if one is not other and rng.random() < 0.5:
            for piece in other.deltas_since(one.context, 1 << 20):  # never a state, which would raise floors
                one.merge(piece)
        with one.transaction() if rng.random() < 0.3 else nullcontext():
            for _ in range(rng.randrange(1, 4)):
                key = f"{rng.randrange(4)}"
                if rng.random() < 0.3:
                    one.lwwmap("m").delete(key)
                else:
                    one.lwwmap("m").set(key, rng.random())
    return replicas[0].store.kernel


@pytest.mark.parametrize("seed", range(60))
def test_killers_come_first_whatever_writers_did_to_each_other(seed: int) -> None:
    kernel = after_writing_over_each_other(random.Random(seed))
    held, missing = Held(kernel.live, kernel.log), kernel.missing_for(Context())
    units = [*dependent_units(held, missing)]
    dots = [one.dot for events, _ in units for one in events]
    dead = {(r, seq) for r, seqs in kernel.log.kills.items() for seq in seqs if seq not in kernel.live.get(r, ())}
    assert dead <= set(dots), "nothing is left out"
    assert len(dots) == len(set(dots))
    alive = [(r, seq) for r, seqs in kernel.live.items() for seq in seqs if kernel.log.batch_of(r, seq) is None]
    killed = {dot for r, seq in alive for dot in kernel.log.kills.get(r, {}).get(seq, ())}
    for events, _ in units:
        killed |= {dot for one in events for dot in one.kills}
        assert all(one.obj != REPLACED or one.dot in killed for one in events), "told of before what replaced it"


@pytest.mark.parametrize("seed", range(20))
def test_all_pieces_count_at_once_however_small_they_are(seed: int) -> None:
    kernel = after_writing_over_each_other(random.Random(seed))
    for most in (1, 3, 1024):
        newcomer = Kernel("z")
        for piece in pieces_of(Held(kernel.live, kernel.log), kernel.missing_for(Context()), 1 << 20, most):
            newcomer.merge(piece)
        assert newcomer.context == kernel.context
        assert newcomer.fingerprint == kernel.fingerprint


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


@pytest.mark.parametrize("kind", ["live", "removals", "replaced"])
def test_no_piece_has_more_events_than_it_may_whatever_their_kind(kind: str) -> None:
    kernel = Kernel("a")
    for i in range(3 * MAX_PIECE):
        if kind == "replaced":
            kernel.write(OBJ, b"k", b"", kernel.at(OBJ, b"k"))
        else:
            kernel.write(OBJ, b"%d" % i, b"", ())
    if kind == "removals":
        for i in range(3 * MAX_PIECE):
            kernel.write(OBJ, b"", None, kernel.at(OBJ, b"%d" % i))
    sizes = [len(piece.events) for piece in kernel.deltas_since(Context(), 1 << 20)]
    assert sizes[:3] in ([MAX_PIECE] * 3, [1, MAX_PIECE, MAX_PIECE], [MAX_PIECE, MAX_PIECE, MAX_PIECE - 1])
    assert max(sizes) == MAX_PIECE
    assert sum(sizes) in (3 * MAX_PIECE, 3 * MAX_PIECE - 1)


class Counting(dict[int, Event]):
    """Counts the events that are looked at one by one."""

    looked_at = 0

    def __getitem__(self, seq: int) -> Event:
        self.looked_at += 1
        return super().__getitem__(seq)


def test_that_something_takes_too_much_is_known_without_a_look_at_all_of_it() -> None:
    held = held_of(*(event("a", seq) for seq in range(1, 5_001)))
    counting = Counting(held.live["a"])
    missing = [("a", 1, 5_001)]
    assert takes_more_than(held._replace(live={"a": counting}), missing, 1_000)
    assert 0 < 2 * counting.looked_at < 1_000, "an event takes two bytes at least"


@pytest.mark.parametrize("kind", ["live", "removals", "replaced"])
def test_what_takes_more_than_some_bytes_takes_more_pieces_of_them(kind: str) -> None:
    kernel = Kernel("a")
    for i in range(200):
        held = kernel.at(OBJ, b"k") if kind == "replaced" else ()
        kernel.write(OBJ, b"%d" % i if kind != "replaced" else b"k", b"", held)
    known = Context()
    if kind == "removals":
        known = kernel.context.copy()
        for i in range(200):
            kernel.write(OBJ, b"", None, kernel.at(OBJ, b"%d" % i))
    for count in range(1, 30):
        pieces = len([*kernel.deltas_since(known, 300)])
        assert not kernel.takes_more_than(known, 300 * count) or pieces > count
    assert kernel.takes_more_than(known, 600)
    assert not kernel.takes_more_than(known, 1 << 20)
    assert not kernel.takes_more_than(kernel.context, 0)


def test_below_the_floor_nothing_is_told_in_either_form() -> None:
    held = Held({}, KillLog())
    held.log.raise_floor("a", 2)
    for missing in ([("a", 2, 3)], [("b", 1, 2), ("a", 1, 9)]):
        for tell in (
            whole_delta,
            lambda *args: list(dependent_units(*args)),
            dead_runs,
            lambda *args: list(pieces_of(*args, 1)),
        ):
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
