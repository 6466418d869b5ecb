"""The kernel on textbook cases; test_convergence.py does the rest."""

import gc
from contextlib import suppress

import cbor2
import pytest

from crdts import Change, Context, Delta, Event, InvalidValue, LogTrimmed, Replica, decode, encode
from crdts.bulk import PAUSE_FROM
from crdts.delta import REPLACED, Batch, events_delta, state_delta
from crdts.entries import BULK_EVENTS, entry_hash
from crdts.kernel import Kernel
from crdts.limits import MAX_KILLS_PER_EVENT, MAX_SEQ
from crdts.livemap import LiveMap
from crdts.schema import RETIRED

OBJ, KEY = b"sx", b"\x01"


def write(kernel: Kernel, payload: bytes | None = b"") -> Event:
    """Replace whatever is at the one place used here."""
    (event,) = kernel.write(OBJ, KEY, payload, kernel.at(OBJ, KEY))
    return event


def dots_at(kernel: Kernel) -> list[tuple[str, int]]:
    return sorted(event.dot for event in kernel.at(OBJ, KEY))


def test_every_mutation_takes_the_next_dot_removals_too() -> None:
    kernel = Kernel("a")
    assert [write(kernel).dot, write(kernel, None).dot, write(kernel).dot] == [("a", 1), ("a", 2), ("a", 3)]
    assert kernel.context == Context({"a": 3})


def test_an_event_that_arrives_again_changes_nothing_even_when_its_entry_is_dead() -> None:
    writer, reader = Kernel("a"), Kernel("b")
    added, removed = write(writer), write(writer, None)
    assert [reader.apply(event) for event in (added, removed, added, removed)] == [True, True, False, False]
    assert dots_at(reader) == []


def test_a_killed_dot_is_remembered_until_it_arrives_and_is_not_processed_before() -> None:
    writer, reader = Kernel("a"), Kernel("b")
    added, removed = write(writer), write(writer, None)
    reader.apply(removed)
    assert reader.context == Context.of([("a", 2, 3)])
    assert reader.prekilled == {"a": {1: None}}
    assert reader.apply(added)
    assert dots_at(reader) == []
    assert reader.prekilled == {}
    assert reader.context == Context({"a": 2})


def test_a_run_of_dead_dots_uses_up_their_pre_kills_and_leaves_live_entries_alone() -> None:
    kernel = Kernel("b")
    kernel.apply(Event("a", 5, OBJ, KEY, b"", (("a", 2), ("a", 9))))
    assert kernel.apply_run(("a", 1, 6))
    assert not kernel.apply_run(("a", 1, 6))
    assert kernel.context == Context.of([("a", 2, 3), ("a", 5, 6)])
    assert kernel.prekilled == {"a": {9: None}}
    assert dots_at(kernel) == [("a", 5)]


def test_concurrent_entries_of_one_place_live_side_by_side() -> None:
    one, other = Kernel("a"), Kernel("b")
    event, concurrent = write(one), write(other)
    one.apply(concurrent)
    other.apply(event)
    assert dots_at(one) == dots_at(other) == [("a", 1), ("b", 1)]
    assert one.fingerprint == other.fingerprint


def test_the_fingerprint_returns_to_zero_when_all_is_removed() -> None:
    kernel = Kernel("a")
    write(kernel)
    assert kernel.fingerprint != 0
    write(kernel, None)
    assert kernel.fingerprint == 0
    assert kernel.live == kernel.objects == {}


@pytest.mark.parametrize(
    "other",
    [
        Event("a", 2, b"sx", b"k", b"p", ()),
        Event("b", 1, b"sx", b"k", b"p", ()),
        Event("a", 1, b"sxk", b"", b"p", ()),
        Event("a", 1, b"s", b"xk", b"p", ()),
        Event("a", 1, b"sx", b"kp", b"", ()),
        Event("a", 1, b"sx", b"k", b"q", ()),
    ],
)
def test_the_hash_of_an_entry_tells_apart_its_dot_place_and_payload(other: Event) -> None:
    assert entry_hash(other) != entry_hash(Event("a", 1, b"sx", b"k", b"p", ()))


def test_a_replica_id_with_a_space_cannot_pass_its_entry_off_as_another() -> None:
    assert entry_hash(Event("a", 1, b"4 ", b"key", b"x---", ())) != entry_hash(
        Event("a 1", 2, b"key", b"x---", b"", ())
    )


def test_a_delta_holds_only_what_is_missing() -> None:
    kernel = Kernel("a")
    write(kernel)
    known = kernel.context.copy()
    second = write(kernel)
    assert kernel.delta_since(known) == events_delta([second])
    assert kernel.delta_since(kernel.context) == Delta()


def test_dead_dots_travel_as_runs_and_killers_with_their_kills() -> None:
    kernel = Kernel("a")
    (first,) = kernel.write(OBJ, b"\x02", b"", ())
    for _ in range(5):
        write(kernel)
        write(kernel, None)
    kernel.write(OBJ, b"\x02", None, (first,))
    (delta,) = kernel.deltas_since(Context(), 10_000)
    assert delta.runs == (("a", 1, 3), *(("a", seq, seq + 1) for seq in (4, 6, 8, 10)))
    assert [event.kills for event in delta.events] == [(("a", seq),) for seq in (2, 4, 6, 8, 10, 1)]


def test_live_entries_come_first() -> None:
    kernel = Kernel("a")
    for i in range(9):
        (event,) = kernel.write(OBJ, bytes([i]), b"", ())
        if i % 2:
            kernel.write(OBJ, bytes([i]), None, (event,))
    pieces = [piece for delta in kernel.deltas_since(Context(), 1) for piece in (*delta.events, *delta.runs)]
    alive = [isinstance(piece, Event) and piece.payload is not None for piece in pieces]
    assert alive == [True] * 5 + [False] * 8


def test_a_trimmed_log_raises_the_floor_and_asks_for_a_state() -> None:
    kernel = Kernel("a", log_limit=10)
    for _ in range(12):
        write(kernel)
    assert kernel.log.size <= 10
    assert not kernel.log_reaches(Context())
    with pytest.raises(LogTrimmed, match="of a kills up to"):
        list(kernel.deltas_since(Context(), 1000))
    assert kernel.delta_since(Context()).is_state
    recent = Context({"a": 11})
    assert kernel.log_reaches(recent)
    assert not kernel.delta_since(recent).is_state


def test_a_log_trimmed_between_two_pieces_ends_the_delta() -> None:
    kernel = Kernel("a")
    for i in range(4):
        kernel.write(OBJ, bytes([i]), b"", ())
    write(kernel)
    write(kernel)
    pieces = kernel.deltas_since(Context(), 1)
    next(pieces)
    kernel.trim_log(0)
    with pytest.raises(LogTrimmed):
        list(pieces)


def test_a_log_limit_of_nothing_keeps_nothing() -> None:
    kernel = Kernel("a", log_limit=0)
    for _ in range(3):
        write(kernel)
    assert (kernel.log.kills, kernel.log.size, kernel.log.floor) == ({}, 0, {"a": 3})


@pytest.mark.parametrize("budget", range(150, 400, 10))
def test_no_piece_calls_a_dot_alive_and_dead_when_it_dies_between_two_pieces(budget: int) -> None:
    kernel = Kernel("a")
    for i in range(4):
        (first,) = kernel.write(OBJ, bytes([i]), b"", ())
        kernel.write(OBJ, bytes([i]), b"", (first,))  # an entry with kills
    for delta in kernel.deltas_since(Context(), budget):
        assert decode(encode(delta)) == delta
        dead = Context.of(delta.runs)
        assert not any(event.dot in dead for event in delta.events)
        sent = {event.key for event in delta.events}
        for key, held in list(kernel.places(OBJ).items()):
            if key not in sent:
                kernel.write(OBJ, key, None, held)


def test_a_removal_of_more_entries_than_one_event_may_kill_takes_several_events() -> None:
    kernel = Kernel("z")
    for i in range(MAX_KILLS_PER_EVENT + 5):
        kernel.apply(Event("a", i + 1, OBJ, KEY, b"", ()))
    events = kernel.write(OBJ, KEY, b"", kernel.at(OBJ, KEY))
    assert [(event.seq, len(event.kills)) for event in events] == [(1, MAX_KILLS_PER_EVENT), (2, 5)]
    assert [event.payload for event in events] == [None, b""]
    assert dots_at(kernel) == [("z", 2)]
    assert decode(encode(events_delta(events))) == events_delta(events)


def test_a_state_drops_what_its_sender_has_seen_removed_and_nothing_else() -> None:
    one, other = Kernel("a"), Kernel("b")
    write(one)
    other.merge(one.delta_since(Context()))
    (unseen,) = one.write(OBJ, b"\x02", b"", ())
    write(other, None)
    one.join(other.state())
    assert dots_at(one) == []
    assert one.at(OBJ, b"\x02") == (unseen,)


def test_an_old_state_brings_nothing_back() -> None:
    kernel = Kernel("a")
    write(kernel)
    old = kernel.state()
    write(kernel, None)
    kernel.join(old)
    assert dots_at(kernel) == []


def test_a_state_is_a_snapshot() -> None:
    kernel = Kernel("a")
    write(kernel)
    state = kernel.state()
    before = encode(state)
    write(kernel)
    kernel.apply(Event("b", 1, OBJ, KEY, b"", (("c", 9),)))
    assert encode(state) == before


def test_a_newcomer_gets_a_state_when_most_of_the_past_is_dead() -> None:
    kernel = Kernel("a")
    for _ in range(100):
        write(kernel)
    assert kernel.delta_since(Context()).is_state
    assert not kernel.delta_since(Context({"a": 99})).is_state


def test_what_a_state_brought_cannot_be_passed_on_as_events() -> None:
    one, other = Kernel("a"), Kernel("b")
    for _ in range(3):
        write(one)
    other.join(one.state())
    assert other.log.floor == {"a": 3}
    assert not other.log_reaches(Context())
    assert other.log_reaches(Context({"a": 3}))


def test_join_takes_states_only() -> None:
    with pytest.raises(TypeError, match=r"^join takes a state; use apply for events$"):
        Kernel("a").join(Delta())


def test_an_event_under_our_own_id_from_elsewhere_is_never_written_over() -> None:
    kernel = Kernel("a")
    kernel.apply(Event("a", 7, OBJ, KEY, b"", ()))
    assert write(kernel).dot == ("a", 8)


def test_a_dead_dot_counts_only_where_what_replaced_it_is_known() -> None:
    a, b, c = Replica("a"), Replica("b"), Replica("c")
    a.orset("s").add("x")
    b.merge(a)
    b.orset("s").add("x")  # replaces a's entry
    told = b.store.kernel.delta_since(c.context)
    c.merge(Delta(runs=told.runs))  # the rest was lost on its way, and b is gone
    assert told.runs == (("a", 1, 2),)
    assert "x" in c.merge(a).orset("s")
    assert "x" in a.merge(c).orset("s")


def test_an_entry_that_dies_while_it_is_told_of_is_not_lost_with_its_killer() -> None:
    a, b, c = Replica("a"), Replica("b"), Replica("c")
    for i in range(20):
        a.lwwmap("m").set(f"k{i:02}", "old")
    b.merge(a)
    for i, piece in enumerate(b.store.kernel.deltas_since(c.context, 200)):
        if i == 0:
            b.lwwmap("m").set("k19", "new")
        c.merge(piece)
    c.merge(a)  # b is gone
    assert len(c.lwwmap("m")) == 20


def test_a_long_chain_of_replaced_values_is_caught_up_with_at_once_however_it_is_cut() -> None:
    for budget in (1, 200, 100_000):
        a, b, c = Replica("a"), Replica("b"), Replica("c")
        for i in range(50):
            writer, other = (a, b) if i % 2 else (b, a)
            writer.register("r").set(i)
            other.merge(writer)
        for piece in a.store.kernel.deltas_since(c.context, budget):
            c.merge(piece)
        assert c.context == a.context
        assert c.register("r").get() == 49


# ---- who changed a place last


def test_what_was_at_a_place_is_noted_once_and_who_changed_it_at_every_change() -> None:
    kernel = Kernel("a")
    kernel.touched = {}
    first = write(kernel)
    assert kernel.touched == {(OBJ, KEY): ((), first.dot)}
    kernel.touched = {}
    second = write(kernel)
    concurrent = Event("b", 1, OBJ, KEY, b"", ())
    kernel.apply(concurrent)
    assert kernel.touched == {(OBJ, KEY): ((first,), concurrent.dot)}
    kernel.touched = {}
    removed = write(kernel, None)
    ((before, by),) = kernel.touched.values()
    assert sorted(before) == [second._replace(kills=()), concurrent]
    assert by == removed.dot


def test_an_undone_event_is_not_what_changed_a_place_last() -> None:
    one = Replica("a")
    heard: list[list[Change]] = []
    one.on_change(heard.append)
    one.orset("s").add("x")
    with one.transaction():
        one.orset("s").remove("x")
        with suppress(KeyError), one.transaction():
            one.orset("s").add("x")
            one.counter("c").increment()
            raise KeyError
    assert [[(change.path, change.seq) for change in changes] for changes in heard] == [
        [(("s", "x"), 1)],
        [(("s", "x"), 2)],
    ]
    assert one.context == Context({"a": 2})


def test_what_is_undone_has_touched_nothing_unless_somebody_began_to_listen_in_between() -> None:
    kernel = Kernel("a")
    write(kernel)
    (early,) = kernel.live["a"].values()
    kernel.undo, kernel.touched = [], {}
    write(kernel)
    kernel.write(OBJ, b"\x02", b"", ())
    kernel.rollback(0)
    assert kernel.touched == {}
    kernel.touched = None
    unheard = write(kernel)
    (new,) = kernel.write(OBJ, b"\x02", b"", ())
    kernel.touched = {}
    kernel.rollback(0)
    assert kernel.touched == {
        (OBJ, KEY): ((unheard._replace(kills=()),), early.dot),
        (OBJ, b"\x02"): ((new,), new.dot),
    }


# ---- retired writers


def limit_row(writer: str, seq: int, of: str, last: int, *, closed: bool) -> Event:
    return Event(writer, seq, RETIRED, of.encode(), cbor2.dumps([last, closed]), ())


def test_a_closed_writer_that_had_limited_another_beyond_its_end_does_not_stop_the_join() -> None:
    kernel = Kernel("z")
    rows = [limit_row("a", 1, "gone", 3, closed=True), limit_row("gone", 4, "x", 1, closed=False)]
    kernel.join(state_delta(rows, Context({"a": 1, "gone": 4}), ()))
    assert kernel.limits == {"gone": (3, True)}
    assert kernel.context == Context({"a": 1, "gone": 3})


def test_a_closed_writer_whose_end_falls_during_a_join_does_not_stop_it() -> None:
    kernel = Kernel("z")
    rows = [limit_row("a", 1, "gone", 3, closed=True), limit_row("b", 1, "gone", 5, closed=True)]
    kernel.join(state_delta([*rows, Event("gone", 4, OBJ, KEY, b"", ())], Context({"a": 1, "b": 1, "gone": 5}), ()))
    assert kernel.limits == {"gone": (5, True)}
    kernel.join(decode(encode(state_delta((), Context({"b": 1}), ()))))
    assert kernel.limits == {"gone": (3, True)}
    assert kernel.live == {"a": {1: rows[0]}}
    assert kernel.context == Context({"a": 1, "b": 1, "gone": 3})


def test_a_limit_holds_as_long_as_the_entry_that_set_it() -> None:
    kernel = Kernel("z")
    for writer in ("gone", "other"):
        kernel.apply(limit_row("a", 1 + len(kernel.limits), writer, 2, closed=False))
    assert not kernel.apply(Event("gone", 3, OBJ, KEY, b"", ()))
    kernel.apply(Event("a", 3, b"", b"", None, (("a", 1),)))
    assert kernel.limits == {"other": (2, False)}
    assert kernel.apply(Event("gone", 3, OBJ, KEY, b"", ()))


def test_an_event_beyond_a_limit_is_refused_and_counted_unless_it_was_there_before() -> None:
    kernel = Kernel("z")
    events = [Event("gone", seq, OBJ, KEY, b"", ()) for seq in (1, 2, 3)]
    kernel.apply(events[1])
    kernel.apply(limit_row("a", 1, "gone", 1, closed=False))
    assert [kernel.apply(event) for event in events] == [True, False, False]
    assert kernel.refused == 1
    assert kernel.context == Context({"a": 1, "gone": 2})


def test_a_dot_killed_beyond_a_limit_is_remembered_as_long_as_the_limit_may_be_raised() -> None:
    kernel = Kernel("z")
    kernel.apply(limit_row("a", 1, "gone", 1, closed=False))
    kernel.apply(Event("b", 1, b"", b"", None, (("gone", 1), ("gone", 2))))
    assert kernel.prekilled == {"gone": {1: None, 2: None}}
    kernel.apply(Event("gone", 1, OBJ, KEY, b"", ()))
    kernel.apply(limit_row("a", 2, "gone", 1, closed=True))
    kernel.apply(Event("b", 2, b"", b"", None, (("gone", 3),)))
    assert kernel.prekilled == {}


def test_all_that_lies_beyond_the_end_of_a_closed_writer_is_forgotten_and_counted() -> None:
    kernel = Kernel("z")
    for seq in range(1, 6):
        kernel.apply(Event("gone", seq, OBJ, bytes([seq]), b"", (("b", seq),)))
    kernel.apply(Event("c", 1, b"", b"", None, (("gone", 7),)))
    kernel.touched = {}
    closing = limit_row("a", 1, "gone", 2, closed=True)
    kernel.apply(closing)
    assert kernel.refused == 3
    assert kernel.live == {"gone": {1: kernel.live["gone"][1], 2: kernel.live["gone"][2]}, "a": {1: closing}}
    assert kernel.prekilled == {"b": dict.fromkeys(range(1, 6))}
    assert kernel.context == Context({"a": 1, "c": 1, "gone": 2})
    assert (kernel.log.kills.keys(), kernel.log.floor) == ({"c"}, {"gone": 5})
    assert {key: by for (_, key), (_, by) in kernel.touched.items()} == {
        **{bytes([seq]): ("gone", seq) for seq in (3, 4, 5)},
        b"gone": ("a", 1),
    }


def test_what_was_killed_of_a_closed_writer_before_a_state_brings_it_stays_dead() -> None:
    kernel = Kernel("z")
    kernel.apply(Event("b", 1, b"", b"", None, (("gone", 1), ("gone", 2))))
    closing = limit_row("a", 1, "gone", 2, closed=True)
    entries = [Event("gone", seq, OBJ, KEY, b"", ()) for seq in (1, 2)]
    kernel.join(state_delta([closing, *entries], Context({"a": 1}), ()))
    assert dots_at(kernel) == []
    assert kernel.prekilled == {}
    assert kernel.context == Context({"a": 1, "b": 1, "gone": 2})


# ---- what is new


def entry(writer: str, seq: int, *kills: tuple[str, int], batch: Batch | None = None) -> Event:
    return Event(writer, seq, OBJ, b"%b%d" % (writer.encode(), seq), b"", kills, batch)


def removal(writer: str, seq: int, *kills: tuple[str, int], batch: Batch | None = None) -> Event:
    return Event(writer, seq, b"", b"", None, kills, batch)


def replaced(writer: str, seq: int, *kills: tuple[str, int], batch: Batch | None = None) -> Event:
    return Event(writer, seq, REPLACED, b"", None, kills, batch)


def test_what_does_not_count_yet_or_counted_before_is_not_reported_as_new() -> None:
    kernel = Kernel("z")
    told = [replaced("a", 1, ("b", 1)), limit_row("c", 1, "a", 1, closed=True), entry("d", 1, ("a", 1))]
    assert [kernel.apply(event) for event in (*told, *told, *told)] == [
        *(False, False, True),
        *(True, True, False),
        *(False, False, False),
    ]
    assert kernel.context == Context({"c": 1, "d": 1, "a": 1})
    assert kernel.prekilled == {"b": {1: None}}


def test_every_dot_that_is_processed_counts_once() -> None:
    kernel = Kernel("a")
    counts = [kernel.processed]
    for change in (
        lambda: write(kernel),
        lambda: kernel.apply(entry("b", 1)),
        lambda: kernel.apply(entry("b", 1)),
        lambda: kernel.apply(removal("c", 1, ("b", 2), ("b", 3), ("b", 5))),
        lambda: kernel.apply_run(("b", 1, 5)),
        lambda: kernel.apply_run(("b", 1, 5)),
        lambda: kernel.merge(events_delta(entry("d", seq) for seq in range(1, BULK_EVENTS + 1))),
        lambda: kernel.join(state_delta((), Context({"e": 9}), ())),
    ):
        change()
        counts.append(kernel.processed)
    assert counts == [0, 1, 2, 2, 3, 5, 5, 5 + BULK_EVENTS, 6 + BULK_EVENTS]


def test_what_is_undone_no_longer_counts() -> None:
    kernel = Kernel("a")
    kernel.undo = []
    for _ in range(5):
        write(kernel)
    kernel.rollback(3)
    assert kernel.processed == 3
    assert kernel.context == Context({"a": 3})
    assert kernel.log.kills == {"a": {2: (("a", 1),), 3: (("a", 2),)}}
    assert dots_at(kernel) == [("a", 3)]
    kernel.rollback(0)
    assert (kernel.processed, kernel.log.kills, kernel.live) == (0, {}, {})


# ---- events that depend on others


def test_what_is_known_to_be_replaced_counts_in_whichever_order_it_is_told_of() -> None:
    told = [
        *(replaced("a", 1, ("b", 1)), replaced("b", 1, ("c", 1)), replaced("c", 1, ("a", 2))),
        *(replaced("a", 2, ("d", 2)), entry("d", 1, ("a", 1)), replaced("e", 1, ("b", 7)), replaced("d", 2, ("d", 3))),
    ]
    reader = Kernel("z")
    new = reader.merge(events_delta(told))
    assert sorted(event.dot for event in new) == [("a", 1), ("a", 2), ("b", 1), ("c", 1), ("d", 1), ("d", 2)]
    assert reader.context == Context({"a": 2, "b": 1, "c": 1, "d": 2})
    assert reader.prekilled == {"d": {3: None}}
    assert reader.merge(events_delta([removal("f", 1, ("e", 1)), *told])) == [removal("f", 1, ("e", 1)), told[5]]


def test_what_does_not_count_stays_behind_and_what_it_does_not_wait_for_counts() -> None:
    reader = Kernel("z")
    told = [replaced("a", 1, ("b", 1)), replaced("b", 1), replaced("c", 1, ("c", 2)), entry("d", 1, ("c", 1))]
    assert [event.dot for event in reader.merge(events_delta(told))] == [("d", 1), ("c", 1)]
    assert reader.context == Context({"c": 1, "d": 1})


def test_a_transaction_counts_when_another_told_of_with_it_has_replaced_its_dead() -> None:
    first = [entry("b", 1, batch=(1, 3)), replaced("b", 2, ("x", 1), batch=(1, 3))]
    second = [entry("a", 1, ("b", 2), batch=(1, 3)), entry("a", 2, batch=(1, 3))]
    reader = Kernel("z")
    assert reader.merge(events_delta(first)) == []
    assert reader.context == Context()
    assert sorted(event.dot for event in reader.merge(events_delta([*first, *second]))) == [
        *(("a", 1), ("a", 2)),
        *(("b", 1), ("b", 2)),
    ]
    assert reader.log.batches == {"a": [(1, 3)], "b": [(1, 3)]}
    assert reader.prekilled == {"x": {1: None}}


def test_a_transaction_is_complete_with_what_was_processed_before_or_is_told_of_as_dead_and_known_to_be() -> None:
    batch = (1, 5)
    processed, killer = entry("a", 3, batch=batch), removal("b", 1, ("a", 4))
    cases = {
        "all but one": ([processed], [killer], (), False),
        "one is dead, and told of as such": ([processed], [killer], (("a", 4, 5),), True),
        "one is told of as dead": ([processed], [], (("a", 4, 5),), False),
        "one was not processed": ([], [killer], (("a", 4, 5),), False),
        "one is dead by one of the others": ([entry("a", 3, batch=batch)], [], (("a", 4, 5),), True),
        "another's dot was": ([entry("b", 3)], [killer], (("a", 4, 5),), False),
        "another's dot is dead": ([processed], [removal("b", 1, ("c", 4))], (("a", 4, 5),), False),
    }
    for name, (before, with_it, runs, counts) in cases.items():
        here = [entry("a", 1, *[("a", 4)] * ("by one of" in name), batch=batch), entry("a", 2, batch=batch)]
        reader = Kernel("z")
        for event in before:
            reader.apply(event)
        new = reader.merge(events_delta([*here, *with_it], runs))
        assert {event.dot for event in new} == {event.dot for event in (*with_it, *(here if counts else ()))}, name
        assert (("a", 1) in reader.context) is counts, name


def test_a_run_of_dead_dots_counts_although_nothing_else_came_with_it() -> None:
    reader = Kernel("z")
    reader.apply(removal("b", 1, ("a", 1), ("a", 2)))
    assert reader.merge(Delta(runs=(("a", 1, 2), ("a", 4, 6)))) == []
    assert reader.context == Context({"a": 1, "b": 1})
    assert reader.prekilled == {"a": {2: None}}


def test_a_writer_is_closed_by_what_came_with_the_transaction_that_completes_it() -> None:
    reader = Kernel("z")
    told = [entry("a", 1, ("a", 2), batch=(1, 3)), limit_row("c", 1, "a", 2, closed=True)]
    assert reader.merge(events_delta(told, [("a", 2, 3)])) == told
    assert reader.limits == {"a": (2, True)}


def test_transactions_that_follow_each_other_are_told_apart() -> None:
    told = [entry(writer, seq, batch=batch) for batch in ((1, 3), (3, 5)) for writer in "ab" for seq in range(*batch)]
    whole, part = Kernel("y"), Kernel("z")
    assert len(whole.merge(events_delta(told))) == 8
    assert whole.log.batches == {"a": [(1, 3), (3, 5)], "b": [(1, 3), (3, 5)]}
    part.merge(events_delta([event for event in told if event.dot != ("a", 3)]))
    assert part.context == Context({"a": 2, "b": 4})


def test_transactions_from_beyond_a_limit_are_refused_and_the_others_count() -> None:
    reader = Kernel("z")
    reader.apply(limit_row("c", 1, "a", 3, closed=False))
    told = [entry(writer, seq, batch=(3, 5)) for writer in "ab" for seq in (3, 4)]
    assert reader.merge(events_delta(told)) == told[2:]
    assert reader.refused == 1
    assert reader.context == Context.of([("b", 3, 5), ("c", 1, 2)])


# ---- many at once


def mixed(writer: str) -> list[Event]:
    """More than enough events of one writer to be looked at in bulk, of all kinds."""
    events = [entry(writer, seq) for seq in range(1, BULK_EVENTS + 9)]
    events[5] = entry(writer, 6, (writer, 2), ("x", 1))
    events[6] = removal(writer, 7, (writer, 3))
    events[8] = entry(writer, 9, batch=(9, 11))
    events[9] = entry(writer, 10, batch=(9, 11))
    events[11] = limit_row(writer, 12, "nobody-" + writer, 4, closed=False)
    events[12] = replaced(writer, 13, ("y", 1))
    events[13] = entry(writer, 14, (writer, 13))
    events[15] = entry(writer, 16)._replace(key=events[16].key)
    events[17] = replaced(writer, 18)  # nobody has told what replaced it
    events[19] = limit_row(writer, 20, "absent", 4, closed=True)  # not before all of that writer's events are here
    return events


@pytest.mark.parametrize("limited", [False, True])
@pytest.mark.parametrize("watched", [False, True])
def test_many_events_at_once_do_what_they_do_one_by_one(limited: bool, watched: bool) -> None:
    plain = [entry("h", seq) for seq in range(1, BULK_EVENTS + 1)]
    told = [event for writer in "abcdefg" for event in mixed(writer)] + plain
    kernels = [Kernel("y"), Kernel("z")]
    for kernel in kernels:
        kernel.apply(removal("n", 1, ("b", 21), ("e", 99)))  # known before it arrives to be dead
        kernel.apply(entry("c", 21))
        kernel.apply(entry("d", 1))
        kernel.apply(removal("n", 2, ("d", 1), ("c", 21)))
        kernel.apply(Event("n", 3, OBJ, plain[7].key, b"", ()))  # at a place where another comes
        if limited:
            kernel.apply(limit_row("n", 4, "f", 30, closed=False))
        if watched:
            assert kernel.fingerprint >= 0
            assert kernel.live_map
    one, other = kernels
    before = one.processed
    new = one.merge(events_delta(told))
    by_one: list[Event] = []
    for event in sorted(told, key=lambda event: (event.obj == REPLACED, event)):
        if event.batch is None:
            by_one += other.merge(Delta((event,)))
        elif event.seq == 9:
            by_one += other.merge(Delta((event, event._replace(seq=10, key=b"%b10" % event.replica.encode()))))
    by_one += other.merge(events_delta(told))
    assert sorted(event.dot for event in new) == sorted(event.dot for event in by_one)
    assert len(new) == len(told) - 14 - 2 - 10 * limited
    assert one.processed == before + len(new)
    assert one.refused == 10 * limited
    assert (one.live, one.context, one.prekilled, one.limits) == (
        *(other.live, other.context, other.prekilled, other.limits),
    )
    assert (one.log.kills, one.log.batches, one.log.size) == (other.log.kills, other.log.batches, other.log.size)
    assert {obj: places.keys() for obj, places in one.objects.items()} == {
        obj: places.keys() for obj, places in other.objects.items()
    }
    for key in other.keys(OBJ):
        assert sorted(one.at(OBJ, key)) == sorted(other.at(OBJ, key))
    assert one.fingerprint == other.fingerprint
    assert one.live_map.chunks == other.live_map.chunks


def test_events_made_together_are_told_and_remembered_as_one_and_a_single_one_as_itself() -> None:
    kernel = Kernel("a")
    first = write(kernel)
    assert kernel.together([first]) == [first]
    assert kernel.log.batches == {}
    two, three = [write(kernel) for _ in range(2)], [write(kernel) for _ in range(3)]
    assert kernel.together(two) == [event._replace(batch=(2, 4)) for event in two]
    assert kernel.together(three) == [event._replace(batch=(4, 7)) for event in three]
    assert kernel.log.batches == {"a": [(2, 4), (4, 7)]}


# ---- joins


def test_a_join_tells_of_every_place_by_which_dot_it_was_changed() -> None:
    kernel = Kernel("z")
    for seq in (1, 2):
        kernel.apply(entry("a", seq))
    kernel.touched = {}
    kernel.join(state_delta([entry("b", 1)], Context({"a": 1, "b": 1}), [("a", 2)]))
    assert {key: by for (_, key), (_, by) in kernel.touched.items()} == {
        b"a1": ("a", 1),
        b"a2": ("a", 2),
        b"b1": ("b", 1),
    }
    assert kernel.context == Context({"a": 2, "b": 1})


def test_a_state_s_dead_stay_dead_here_and_its_killed_dots_are_waited_for() -> None:
    kernel = Kernel("z")
    kernel.apply(removal("c", 1, ("a", 3), ("b", 2)))
    told = [entry("a", seq) for seq in (1, 3, 4)] + [entry("b", seq) for seq in (1, 3)]
    kernel.apply(told[0])
    kernel.apply(entry("d", 5))
    kernel.join(state_delta(told, Context({"a": 4, "b": 3, "d": 4}), [("e", 7), ("d", 9)]))
    assert {replica: list(held) for replica, held in kernel.live.items()} == {"a": [1, 4], "b": [1, 3], "d": [5]}
    assert kernel.prekilled == {"e": {7: None}, "d": {9: None}}
    assert kernel.context == Context({"a": 4, "b": 3, "c": 1, "d": 5})
    assert kernel.log.floor == {"a": 4, "b": 3, "d": 4}


def test_the_difference_of_a_state_is_joined_with_what_came_in_meanwhile() -> None:
    kernel = Kernel("z")
    for seq in range(1, 4):
        kernel.apply(entry("a", seq))
    seen = kernel.context.copy()
    for writer, seq in (("b", 1), ("b", 2), ("b", 3), ("c", 1), ("a", 4)):
        kernel.apply(entry(writer, seq))
    kernel.touched = {}
    theirs = Context({"a": 2, "b": 5, "d": 1})
    news = [entry("b", seq) for seq in (2, 4)]
    kernel.join_difference(theirs, [("a", 1)], news, [("e", 1), ("c", 1)], seen)
    assert {replica: list(held) for replica, held in kernel.live.items()} == {"a": [2, 3, 4], "b": [2, 4]}
    assert kernel.prekilled == {"e": {1: None}}
    assert kernel.context == Context({"a": 4, "b": 5, "c": 1, "d": 1})
    assert kernel.log.floor == {"b": 5, "d": 1}
    assert {key: by for (_, key), (_, by) in kernel.touched.items()} == {
        b"a1": ("a", 1),
        b"b1": ("b", 1),
        b"b3": ("b", 3),
        b"b4": ("b", 4),
        b"c1": ("c", 1),
    }


LATE = Context({"gone": 3})
"""What a state holds of a writer whose limit is 2."""


@pytest.mark.parametrize("by_difference", [False, True])
@pytest.mark.parametrize(
    ("theirs", "told", "gone", "taken"),
    [
        ({"gone": 2}, [], [], True),
        ({"gone": 3}, [], [], False),
        ({"gone": 3, "other": 9}, [], [], False),
        # Its retirement was taken back there, or raised, or not enough, or for another, or only beside ours.
        ({"gone": 3, "a": 2}, [], [("a", 1)], True),
        ({"gone": 3, "a": 2}, [limit_row("a", 2, "gone", 3, closed=False)], [("a", 1)], True),
        ({"gone": 4, "a": 2}, [limit_row("a", 2, "gone", 3, closed=False)], [("a", 1)], False),
        ({"gone": 3, "a": 2}, [limit_row("a", 2, "other", 3, closed=False)], [("a", 1)], True),
        ({"gone": 3, "b": 1}, [limit_row("b", 1, "gone", 3, closed=False)], [], False),
        ({"gone": 3, "b": 1}, [entry("b", 1)], [], False),
    ],
)
def test_a_state_from_beyond_a_limit_is_taken_if_it_raises_the_limit(
    theirs: dict[str, int], told: list[Event], gone: list[tuple[str, int]], taken: bool, by_difference: bool
) -> None:
    kernel = Kernel("z")
    kernel.apply(limit_row("a", 1, "gone", 2, closed=False))
    kernel.apply(limit_row("c", 1, "other", 9, closed=False))
    news = [*told, entry("gone", 2)]
    before = kernel.context.copy()
    for n in (1, 2):
        if by_difference:
            assert kernel.join_difference(Context(theirs), gone, news, [], before) is taken
        else:
            assert kernel.merge(state_delta(news, Context(theirs), ())) == []
        assert kernel.refused == (0 if taken else n)
    assert (("gone", 2) in kernel.context) is taken
    assert kernel.context.covers(Context(theirs)) is taken


def test_a_state_that_lowers_a_limit_is_measured_by_the_one_that_stood_before() -> None:
    kernel = Kernel("z")
    kernel.apply(limit_row("a", 1, "gone", 2, closed=False))
    kernel.join(state_delta([limit_row("b", 1, "gone", 1, closed=False)], Context({"b": 1, "gone": 2}), ()))
    assert (kernel.refused, kernel.limits) == (0, {"gone": (1, False)})
    assert kernel.context == Context({"a": 1, "b": 1, "gone": 2})


def test_a_limit_that_came_in_during_an_exchange_is_judged_by_the_other_s_context() -> None:
    for row_there, taken in ((True, True), (False, False)):
        kernel = Kernel("z")
        seen = kernel.context.copy()
        kernel.apply(limit_row("a", 1, "gone", 2, closed=False))
        theirs = Context({"gone": 3, "a": 1} if row_there else {"gone": 3})  # where the row is gone again, or unknown
        kernel.join_difference(theirs, [], [entry("gone", 3)], [], seen)
        assert (("gone", 3) in kernel.context) is taken
        assert kernel.limits == ({} if taken else {"gone": (2, False)})


def test_a_limit_that_both_know_of_stands_unless_it_is_gone_there() -> None:
    kernel = Kernel("z")
    kernel.apply(limit_row("a", 1, "gone", 2, closed=False))
    kernel.join_difference(Context({"a": 1, "gone": 3}), [], [entry("gone", 3)], [], kernel.context.copy())
    assert kernel.refused == 1
    assert kernel.context == Context({"a": 1})


def test_of_several_writers_from_beyond_their_limits_one_is_enough_to_refuse_a_state() -> None:
    kernel = Kernel("z")
    for seq, writer in enumerate(("p", "q", "r"), start=1):
        kernel.apply(limit_row("a", seq, writer, 1, closed=False))
    raised = [limit_row("b", 1, "p", 5, closed=False)]
    kernel.join(state_delta(raised, Context({"a": 1, "b": 1, "p": 2, "q": 2}), ()))
    assert kernel.refused == 1
    assert kernel.context == Context({"a": 3})
    kernel.join(state_delta(raised, Context({"a": 1, "b": 1, "p": 2, "q": 1}), ()))
    assert kernel.context == Context({"a": 3, "b": 1, "p": 2, "q": 1})


def test_a_state_brings_all_of_a_closed_writer_although_its_context_does_not_say_so() -> None:
    source, kernel = Kernel("y"), Kernel("z")
    for writer in ("gone", "away"):
        for seq in (1, 2, 3):
            source.apply(entry(writer, seq))
    source.apply(limit_row("a", 1, "gone", 3, closed=True))
    source.apply(limit_row("a", 2, "away", 3, closed=False))
    assert source.exported_context() == Context({"a": 2, "away": 3})
    state = source.state()
    assert state.context == Context({"a": 2, "away": 3})
    assert kernel.exported_context() is kernel.context
    kernel.join(state)
    assert kernel.context == source.context == Context({"a": 2, "away": 3, "gone": 3})
    assert state.context == Context({"a": 2, "away": 3})
    assert kernel.live == source.live
    assert kernel.exported_context() == source.exported_context()
    assert kernel.missing_for(source.exported_context()) == []
    assert kernel.missing_for(Context({"away": 1})) == [("a", 1, 3), ("away", 2, 4), ("gone", 1, 4)]


def test_what_a_peer_leaves_out_of_its_context_is_known_from_whom_it_knows_to_be_closed_in_turn() -> None:
    kernel = Kernel("z")
    for writer in ("p", "q", "r"):
        kernel.apply(entry(writer, 1))
    kernel.apply(limit_row("p", 2, "q", 1, closed=True))
    kernel.apply(limit_row("q", 1, "r", 1, closed=True))
    kernel.apply(limit_row("a", 1, "p", 2, closed=True))
    assert kernel.limits.keys() == {"p", "q"}
    kernel.apply(limit_row("p", 2, "r", 1, closed=True))
    known = Context({"a": 1})
    assert kernel.with_closed(known) == Context({"a": 1, "p": 2, "q": 1})
    assert known == Context({"a": 1})
    assert kernel.with_closed(Context({"b": 1})) == Context({"b": 1})
    assert kernel.missing_for(known) == [("r", 1, 2)]


def test_an_event_that_was_there_before_its_writer_s_limit_stays_until_the_writer_is_closed() -> None:
    kernel = Kernel("z")
    for seq in (1, 2, 3):
        kernel.apply(entry("gone", seq))
    kernel.apply(limit_row("a", 1, "gone", 2, closed=False))
    kernel.join(state_delta([entry("b", 1)], Context({"b": 1}), ()))
    assert list(kernel.live["gone"]) == [1, 2, 3]
    closing = limit_row("c", 1, "gone", 2, closed=True)
    kernel.join(state_delta([closing, entry("gone", 1), entry("gone", 2)], Context({"c": 1}), ()))
    assert list(kernel.live["gone"]) == [1, 2]


def test_a_state_does_not_bring_back_what_was_the_last_of_its_writer_here() -> None:
    kernel = Kernel("z")
    kernel.apply(entry("a", 1))
    kernel.apply(removal("b", 1, ("a", 1)))
    kernel.join(state_delta([entry("a", 1), entry("a", 2)], Context({"a": 2}), ()))
    assert list(kernel.live["a"]) == [2]


def test_a_large_state_is_the_same_as_many_small_ones() -> None:
    one, other = Kernel("y"), Kernel("z")
    inside = [entry("a", seq)._replace(obj=b"o\xffsx", key=b"%d" % seq) for seq in range(90, 90 + BULK_EVENTS)]
    told = [*(entry(writer, seq) for writer in "bc" for seq in range(1, BULK_EVENTS + 2)), *inside]
    told += [entry(writer, seq)._replace(obj=b"sy") for writer in "bc" for seq in range(50, 55)]
    for kernel in (one, other):
        kernel.apply(removal("d", 1, ("b", 7), ("c", 9)))
        kernel.apply(entry("c", 4))
        kernel.apply(entry("e", 1)._replace(key=b"b3"))  # at a place of the first object
    assert one.merge(state_delta(told, Context({"a": 200, "b": 90, "c": 90}), ())) == []
    for event in told:
        other.join(state_delta([event], Context.of([(*event.dot, event.seq + 1)]), ()))
    assert one.live == other.live
    assert one.objects == other.objects
    assert one.tree.children(b"o") == other.tree.children(b"o") == [b"o\xffsx"]
    assert one.fingerprint == other.fingerprint


@pytest.mark.parametrize("watch", ["touched", "fingerprint", "live_map", "nothing"])
def test_whatever_is_kept_of_the_entries_is_right_behind_many_at_once(watch: str) -> None:
    kernel = Kernel("z")
    told = [entry("a", seq) for seq in range(1, BULK_EVENTS + 1)]
    if watch == "touched":
        kernel.touched = {}
    elif watch != "nothing":
        getattr(kernel, watch)
    assert kernel.merge(events_delta(told)) == told
    assert kernel.touched == ({(OBJ, event.key): ((), event.dot) for event in told} if watch == "touched" else None)
    assert kernel.fingerprint == sum(map(entry_hash, told)) % 2**64
    assert kernel.live_map.chunks == LiveMap(kernel.live).chunks  # type: ignore[arg-type]
    assert kernel.places(OBJ) == {event.key: (event,) for event in told}


def test_many_retirements_at_once_are_all_heeded() -> None:
    kernel = Kernel("z")
    rows = [limit_row("a", seq, f"gone-{seq}", seq, closed=False) for seq in range(1, BULK_EVENTS + 1)]
    kernel.join(state_delta(rows, Context({"a": len(rows)}), ()))
    assert kernel.limits == {f"gone-{seq}": (seq, False) for seq in range(1, BULK_EVENTS + 1)}


def test_what_is_read_at_an_object_is_all_of_its_places_and_nothing_elsewhere() -> None:
    kernel = Kernel("z")
    one, other, beside = entry("a", 1), entry("b", 1)._replace(key=b"a1"), entry("a", 2)
    elsewhere = entry("a", 3)._replace(obj=b"sy")
    for event in (one, other, beside, elsewhere):
        kernel.apply(event)
    assert kernel.places(OBJ) == {b"a1": (one, other), b"a2": (beside,)}
    assert kernel.places(b"sy") == {b"a3": (elsewhere,)}
    assert kernel.keys(OBJ) == {b"a1", b"a2"}
    assert kernel.at(OBJ, b"a1") == (one, other)
    assert kernel.at(OBJ, b"a2") == (beside,)
    assert kernel.at(OBJ, b"a3") == kernel.at(b"sz", b"a1") == ()
    assert (kernel.places(b"sz"), list(kernel.keys(b"sz"))) == ({}, [])


def test_an_entry_has_the_same_hash_at_every_replica_and_in_every_version() -> None:
    assert entry_hash(Event("node-\u00fc", 7, b"sx", b"\x01", b"", ())) == 0x960D3587D4F564BD
    assert entry_hash(Event("a", 1, b"l", b"k", b"p", (("b", 1),), (1, 3))) == 0x52911ABD7346C9E9


def test_each_of_several_entries_of_a_place_leaves_it_alone() -> None:
    kernel = Kernel("z")
    entries = [entry(writer, 1)._replace(key=KEY) for writer in "abc"]
    for event in entries:
        kernel.apply(event)
    assert kernel.at(OBJ, KEY) == tuple(entries)
    kernel.touched = {}
    for seq, (victim, left) in enumerate(zip("bac", ["ac", "c", ""], strict=True), start=1):
        kernel.apply(removal("d", seq, (victim, 1)))
        assert [event.replica for event in kernel.at(OBJ, KEY)] == list(left)
        assert kernel.touched == {(OBJ, KEY): (tuple(entries), ("d", seq))}
    assert kernel.live == kernel.objects == {}


def test_an_event_stores_something_or_replaces_something() -> None:
    kernel = Kernel("a")
    with pytest.raises(ValueError, match=r"^an event stores something or replaces something$"):
        kernel.write(OBJ, KEY, None, ())
    assert kernel.context == Context()
    write(kernel)
    assert write(kernel, None) == Event("a", 2, b"", b"", None, (("a", 1),))


def test_one_event_replaces_as_many_entries_as_one_may() -> None:
    kernel = Kernel("z")
    for seq in range(1, MAX_KILLS_PER_EVENT + 1):
        kernel.apply(Event("a", seq, OBJ, KEY, b"", ()))
    (event,) = kernel.write(OBJ, KEY, b"", kernel.at(OBJ, KEY))
    assert len(event.kills) == MAX_KILLS_PER_EVENT


def test_what_somebody_has_killed_of_our_own_is_dead_when_we_make_it() -> None:
    kernel = Kernel("a")
    kernel.apply(removal("b", 1, ("a", 1), ("a", 3), ("c", 2)))
    assert [write(kernel).seq for _ in range(3)] == [1, 2, 3]
    assert dots_at(kernel) == []
    assert kernel.prekilled == {"c": {2: None}}
    assert write(kernel).kills == ()


def test_what_is_dead_already_can_be_replaced_once_more_and_that_undone() -> None:
    kernel = Kernel("a")
    kernel.apply(entry("b", 1))
    stale = kernel.at(OBJ, b"b1")
    kernel.apply(removal("c", 1, ("b", 1)))
    kernel.undo = []
    assert kernel.write(OBJ, b"b1", b"", stale)[0].kills == (("b", 1),)
    kernel.rollback(0)
    assert (kernel.live, kernel.prekilled) == ({}, {})


def test_objects_inside_maps_are_found_as_long_as_they_hold_something() -> None:
    kernel = Kernel("a")
    first = kernel.write(b"o\xffsx", b"k", b"", ())
    second = kernel.write(b"o\xffsx", b"l", b"", ())
    kernel.write(b"sx", b"k", b"", ())
    assert kernel.tree.children(b"o") == [b"o\xffsx"]
    kernel.write(b"o\xffsx", b"k", None, first)
    assert kernel.tree.children(b"o") == [b"o\xffsx"]
    kernel.write(b"o\xffsx", b"l", None, second)
    assert kernel.tree.children(b"o") == []
    kernel.write(b"sx", b"k", None, kernel.at(b"sx", b"k"))
    assert kernel.objects == {}


def test_what_is_kept_about_the_entries_follows_every_one_of_them() -> None:
    kernel = Kernel("z")
    assert (kernel.fingerprint, kernel.live_map.chunks, kernel.touched) == (0, {}, None)
    for event in (entry("a", 1), entry("a", 300), removal("b", 1, ("a", 1)), entry("b", 2), removal("a", 2, ("b", 2))):
        kernel.apply(event)
        live = [one for seqs in kernel.live.values() for one in seqs.values()]
        assert kernel.fingerprint == sum(map(entry_hash, live)) % 2**64
        assert kernel.live_map.chunks == LiveMap(kernel.live).chunks  # type: ignore[arg-type]
    assert kernel.touched is None, "changes are noted although nobody asked"


def test_very_many_events_are_merged_while_collection_is_paused() -> None:
    told = [entry("a", seq) for seq in range(1, PAUSE_FROM + 1)]
    kernel = Kernel("z")
    assert kernel.merge(events_delta(told)) == told
    assert kernel.merge(events_delta(told)) == []
    assert gc.isenabled()


def test_events_under_our_own_id_are_counted_in_every_form_once_we_have_written() -> None:
    kernel = Kernel("a")
    kernel.apply(entry("a", 1))
    kernel.merge(events_delta(entry("a", seq) for seq in range(2, BULK_EVENTS + 2)))
    kernel.join(state_delta((), Context({"a": 40}), ()))
    assert (kernel.wrote, kernel.impostors) == (False, 0)
    assert write(kernel).seq == 41
    counts = []
    for delta in (
        events_delta([entry("a", 50)]),
        events_delta([entry("a", 50), entry("b", 50)]),
        events_delta(entry(writer, seq) for writer in "abc" for seq in range(100, 100 + BULK_EVENTS)),
        state_delta((), Context.of([("a", 1, 46), ("b", 1, 46), ("c", 1, 46)]), ()),
    ):
        kernel.merge(delta)
        counts.append(kernel.impostors)
    assert (kernel.wrote, counts) == (True, [1, 1, 1 + BULK_EVENTS, 2 + BULK_EVENTS])


def test_a_chain_of_replaced_values_is_merged_in_as_many_steps_as_it_has_links(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b, c = Replica("a"), Replica("b"), Replica("c")
    for i in range(250):  # what fits one delta
        b.merge(a.register("r").set(i))
        a.merge(b.register("r").set(i))
    (delta,) = a.deltas_since(Context(), 1 << 20)
    steps: list[Event] = []
    apply_unit = Kernel._apply_unit

    def counted(self: Kernel, unit: list[Event], runs: Context) -> list[Event]:
        steps.append(unit[0])
        return apply_unit(self, unit, runs)

    monkeypatch.setattr(Kernel, "_apply_unit", counted)
    assert c.merge(delta).context == a.context
    assert len(steps) < 3 * len(delta.events)


def test_the_last_seq_that_somebody_used_up_leaves_no_write_that_nobody_can_read() -> None:
    kernel = Kernel("a")
    kernel.apply(Event("a", MAX_SEQ, OBJ, KEY, b"", ()))
    context = kernel.context.copy()
    with pytest.raises(InvalidValue, match="new replica id"):
        kernel.write(OBJ, KEY, b"", ())
    assert kernel.context == context


def test_transactions_that_overlap_leave_nothing_that_could_not_be_told_of() -> None:
    kernel = Kernel("z")
    for batch in ((3, 5), (1, 4)):
        kernel.merge(events_delta(Event("a", seq, OBJ, b"%d" % seq, b"", (), batch) for seq in range(*batch)))
    for delta in (kernel.delta_since(Context()), *kernel.deltas_since(Context(), 100)):
        assert decode(encode(delta)) == delta
