"""Rows: what is read is what was written, in the order in which it counts, or an error."""

import random
from dataclasses import replace
from itertools import pairwise

import pytest

from crdts import Context, Delta, Event, Replica, encode, limits
from crdts.checkpoint import Sweep
from crdts.delta import events_delta
from gossip.protocol import Persist
from gossip.storage.errors import DamagedData
from gossip.storage.rows import (
    Contents,
    Encoding,
    Finish,
    Part,
    Transaction,
    deltas_of,
    read_delta,
    read_into,
    read_log_row,
    rows_of,
)


def written(replica: Replica) -> list[Persist]:
    """The writes of a replica from now on, a batch each."""
    batches: list[Persist] = []
    replica.on_write(lambda events: batches.append(Persist(len(batches) + 1, events)))
    return batches


def log_of(*batches: Persist) -> Contents:
    return Contents(log=[rows_of(Transaction((batch,))).log for batch in batches])


def test_a_row_of_the_log_holds_its_batches_in_order() -> None:
    replica = Replica("a")
    batches = written(replica)
    replica.orset("set").add(1)
    replica.orset("set").remove(1)
    replica.orset("set").add(2)
    row = rows_of(Transaction(tuple(batches))).log
    assert read_log_row(row) == [events_delta([event for batch in batches for event in batch.events])]


def test_a_batch_in_several_states_is_read_with_its_states_last() -> None:
    replica, other = Replica("a"), Replica("b")
    other.orset("set").add(1)
    state = other.store.kernel.state()
    batches = written(replica)
    replica.orset("set").add(2)
    assert [*deltas_of([replace(batches[0], states=(state,))])] == [events_delta(batches[0].events), state]


def test_nothing_to_write_is_no_row() -> None:
    assert rows_of(Transaction()).log == b""
    assert rows_of(Transaction((Persist(1, ()),))).log == b""


def test_an_event_that_came_under_a_later_limit_of_its_writer_is_read_back() -> None:
    """A batch is written sorted. Sorted, the event comes before what allowed it, and was refused."""
    writer, retiring, reader = Replica("b"), Replica("c"), Replica("a")
    taken: list[Delta] = []

    def take(delta: Delta) -> None:
        taken.append(delta)
        assert reader.store.merge(delta)

    first, second = writer.orset("set").add(1), writer.orset("set").add(2)
    retiring.merge(first)
    retiring.report("d", retiring.context)
    take(first)
    take(retiring.retire("b"))
    assert not reader.store.merge(second), "it is beyond the limit"
    take(retiring.report("d", writer.context))
    take(second)
    first_batch, second_batch = [tuple(e for delta in some for e in delta.events) for some in (taken[:2], taken[2:])]
    again = Replica("again")
    read_into(again, log_of(Persist(1, first_batch), Persist(2, second_batch)))
    assert again.fingerprint == reader.fingerprint
    assert again.context == reader.context


def test_a_transaction_of_which_much_is_dead_is_read_back_whole() -> None:
    replica, reader = Replica("a"), Replica("b")
    batches = written(replica)
    with replica.transaction():
        for number in range(5):
            replica.register("r").set(number)
            replica.orset("set").add(number)
    read_into(reader, log_of(*batches))
    assert encode(reader.store.kernel.state()) == encode(replica.store.kernel.state())


def test_no_step_of_encoding_takes_more_than_some_events_or_one_transaction() -> None:
    replica = Replica("a")
    batches = written(replica)
    for number in range(2000):
        with replica.transaction():
            replica.orset("set").add(number)
            replica.lwwmap("map").set("key", number)
    batches.append(Persist(len(batches) + 1, (), (("b", 1, 2),)))
    deltas = [*deltas_of(batches)]
    assert max(len(delta.events) for delta in deltas) <= 512
    assert {event.dot for delta in deltas for event in delta.events} == {e.dot for b in batches for e in b.events}
    assert deltas[-1] == Delta(runs=(("b", 1, 2),))
    batches_of = [{event.batch for event in delta.events} for delta in deltas]
    assert all(not one & other for one, other in pairwise(batches_of)), "a transaction is torn"


def rows() -> list[tuple[bytes, bool]]:
    """A row of each kind, and whether it is one of the log."""
    replica = Replica("a")
    batches = written(replica)
    for number in range(50):
        replica.orset("set").add(number)
    sweep = Sweep(replica.store.kernel)
    part = sweep.next()
    assert part is not None
    whole = rows_of(
        Transaction(tuple(batches), Part(1, part.last, part.events, in_place=True), Finish(1, 0, sweep.head))
    )
    return [(whole.log, True), (whole.part, False), (whole.head, False)]


@pytest.mark.parametrize("kind", range(3), ids=["log", "part", "head"])
def test_a_row_with_any_bit_changed_or_cut_anywhere_is_damaged(kind: int) -> None:
    row, is_log = rows()[kind]
    read = read_log_row if is_log else read_delta
    rng = random.Random(5)
    read(row)
    for _ in range(500):
        at = rng.randrange(len(row))
        changed = bytearray(row)
        changed[at] ^= 1 << rng.randrange(8)
        for damaged in (bytes(changed), row[:at], row + b"\0"):
            with pytest.raises(DamagedData):
                read(damaged)


def test_what_an_earlier_version_has_saved_beyond_the_bounds_is_read_and_shed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_PREKILLED_OF_WRITER", 4)
    monkeypatch.setattr(limits, "MAX_PREKILLED", 5)
    kills = [Event("evil", seq, b"", b"", None, (("nobody", 2 * seq),)) for seq in range(1, 40)]
    kept = Replica("w").orset("s").add("kept")
    batch = Persist(1, (*kills, *kept.events))
    row = rows_of(Transaction((batch,))).log
    replica = Replica("again")
    read_into(replica, Contents(log=[row]))
    assert replica.store.kernel.context == Context({"evil": 39, "w": 1})
    assert set(replica.orset("s")) == {"kept"}
    assert sum(map(len, replica.store.kernel.prekilled.values())) == 10
    assert replica.store.kernel.room.refused == 0
    more = events_delta([Event("evil", 40, b"", b"", None, (("nobody", 100),))])
    assert replica.store.merge(more) == []


def test_very_many_marks_are_encoded_in_few_turns_of_the_event_loop() -> None:
    """Each has a delta of its own, and a turn of a busy loop takes longer than many of them."""
    replica = Replica("me")
    writers = [f"w{number}" for number in range(1024)]
    replica.merge(events_delta([Event(writer, 1, b"", b"", None, ()) for writer in writers]))
    batches = written(replica)
    for writer in writers:
        replica.mark(writer)
    encoding = Encoding(Transaction(tuple(batches)))
    assert sum(1 for _ in encoding.steps()) <= 16
    assert len(read_log_row(encoding.rows.log)) == len(writers)
