"""Retiring writers: closed when nobody can bring anything more of them, and nothing is lost or left over."""

from collections.abc import Callable
from contextlib import suppress
from random import Random

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crdts import Context, Delta, Event, InTransaction, InvalidValue, LogTrimmed, Replica, WriterRetired, decode, encode
from crdts.codec import encode_context
from crdts.context import DotRange
from crdts.delta import events_delta
from crdts.schema import RETIRED

from .oracle import Oracle, assert_equal, dots_of, flat, operate, read, replica, sent
from .reconcile.test_reconcile import converse, exchange, reconcile, snapshot

SEEDS = st.integers(0, 1 << 32).map(Random)


def team(*names: str) -> list[Replica]:
    """Replicas that have all written something and know of all of it."""
    members = [replica(name) for name in names]
    for one in members:
        one.orset("s").add(one.replica_id)
    spread(members)
    return members


def spread(members: list[Replica]) -> None:
    """Everybody hears everything, and everybody's context."""
    for _ in range(2):
        for one in members:
            for other in members:
                one.merge(other)


def close(members: list[Replica], writer: str) -> None:
    """Retire a writer, and let everybody hear of it until it is closed."""
    members[0].retire(writer)
    for _ in range(3):
        spread(members)
    assert all(writer in one.retired for one in members)


# ---- the usual course


def test_a_retired_writer_leaves_the_contexts_and_its_entries_stay() -> None:
    a, b, gone = team("a", "b", "gone" * 16)
    before = len(encode_context(a.context))
    close([a, b], gone.replica_id)
    assert a.retired == b.retired == {gone.replica_id: 1}
    for one in (a, b):
        assert one.context.replicas() == ["a", "b"]
        assert one.orset("s").get_elements() == {"a", "b", gone.replica_id}
        assert one.stats().retired_ids == 1
        assert one.stats().replica_ids == 2
        assert one.store.kernel.state().context == one.context
    assert len(encode_context(a.context)) < before - 64
    assert_equal(a, b)


def test_it_is_closed_only_after_everybody_has_reported_behind_the_first_step() -> None:
    a, b, c, _gone = team("a", "b", "c", "gone")
    early = b.context
    begun = a.retire("gone")
    assert a.store.kernel.limits["gone"] == (1, False)
    for peer, context in (("b", early), ("c", c.context)):
        assert not a.report(peer, context)
    for one in (b, c):
        one.merge(sent(begun))
    assert not a.report("b", b.context)
    closed = a.report("c", c.context)
    assert closed
    assert a.retired == {"gone": 1}
    for one in (b, c):
        one.merge(sent(closed))
        assert one.retired == {"gone": 1}
    assert_equal(a, b)
    assert_equal(a, c)


def test_somebody_who_lacks_an_event_of_it_is_waited_for() -> None:
    a, b, gone = team("a", "b", "gone")
    a.merge(gone.orset("s").add("last"))
    b.merge(sent(a.retire("gone")))
    assert not a.report("b", b.context)
    b.merge(sent(a.delta_since(b.context)))
    assert a.report("b", b.context)


def test_a_report_that_goes_beyond_raises_the_limit_and_nothing_is_lost() -> None:
    a, b, c, gone = team("a", "b", "c", "gone")
    late = gone.orset("s").add("late")
    b.merge(late)
    begun = a.retire("gone")
    c.merge(sent(begun))
    c.merge(sent(late))
    assert "late" not in c.orset("s")
    assert c.stats().refused == 1
    raised = a.report("b", b.context)
    assert a.store.kernel.limits["gone"] == (2, False)
    c.merge(sent(raised))
    c.merge(sent(late))
    assert "late" in c.orset("s")
    for _ in range(2):
        spread([a, b, c])
    assert a.retired == b.retired == c.retired == {"gone": 2}
    assert "late" in a.orset("s")
    for one in (b, c):
        assert_equal(a, one)


def test_what_comes_too_late_is_refused_and_counted_in_every_form() -> None:
    a, b, gone = team("a", "b", "gone")
    close([a, b], "gone")
    late = gone.orset("s").add("late")
    before = a.context
    a.merge(sent(late))
    assert a.stats().refused == 1
    a.merge(sent(gone.store.kernel.state()))
    assert a.stats().refused == 2
    with gone.transaction() as done:
        gone.orset("s").add("later")
        gone.orset("s").add("latest")
    a.merge(sent(done.delta))
    assert a.stats().refused == 3
    assert a.context == before
    assert a.orset("s").get_elements() == {"a", "b", "gone"}
    assert not a.stats().prekilled
    assert a.stats().cloud == 0
    assert_equal(a, b)


def test_its_entries_can_be_replaced_like_any_others() -> None:
    a, b, _gone = team("a", "b", "gone")
    close([a, b], "gone")
    b.merge(sent(a.orset("s").remove("gone")))
    assert_equal(a, b)
    assert a.orset("s").get_elements() == {"a", "b"}
    assert a.retired == {"gone": 1}


def test_a_writer_of_whom_nothing_was_heard_cannot_be_retired() -> None:
    a = replica("a")
    with pytest.raises(InvalidValue, match="nothing was ever heard"):
        a.retire("nobody")
    with pytest.raises(InvalidValue):
        a.retire("\n")


def test_a_mark_limits_nothing_and_whoever_retires_the_writer_replaces_it() -> None:
    a, b, gone = team("a", "b", "gone")
    b.merge(sent(a.mark("gone")))
    assert not a.mark("gone")
    assert not b.mark("gone"), "once is enough"
    assert list(b.store.kernel.marked) == ["gone"]
    assert not b.store.kernel.retiring
    b.merge(gone.orset("s").add("later"))
    assert "later" in b.orset("s")
    a.merge(b)
    assert not a.retired, "a mark closes nothing"
    assert "gone" in a.context.replicas()
    a.merge(sent(b.retire("gone")))
    assert not a.store.kernel.marked
    for _ in range(3):
        spread([a, b])
    assert a.retired == b.retired == {"gone": 2}
    assert len(a.store.kernel.at(RETIRED, b"gone")) == 1, "nothing is left of the mark"


def test_who_only_marked_a_writer_closes_nobody() -> None:
    a, b, _ = team("a", "b", "gone")
    a.mark("gone")
    for _ in range(3):
        spread([a, b])
    assert a.store.kernel.limits == b.store.kernel.limits
    assert not a.retired
    close([a, b], "gone")


def test_a_mark_of_nobody_and_of_oneself_is_refused() -> None:
    a = team("a")[0]
    with pytest.raises(InvalidValue, match="nothing was ever heard"):
        a.mark("nobody")
    with pytest.raises(InvalidValue, match="is this replica"):
        a.mark("a")
    with a.transaction(), pytest.raises(InTransaction):
        a.mark("nobody")


def test_a_mark_travels_with_a_state() -> None:
    a, b, _ = team("a", "b", "gone")
    a.mark("gone")
    b.store.kernel.join(a.store.kernel.state())
    assert list(b.store.kernel.marked) == ["gone"]
    assert b.store.kernel.open_writers() == ["a", "b"]


def test_the_writers_without_a_limit_are_those_of_the_context_that_have_none() -> None:
    a, b, c = team("a", "b", "c")
    kernel = a.store.kernel
    assert kernel.open_writers() == ["a", "b", "c"]
    a.mark("c")
    assert kernel.open_writers() == ["a", "b"]
    a.merge(replica("d").orset("s").add(1))
    assert kernel.open_writers() == ["a", "b", "d"]
    a.retire("b")
    assert kernel.open_writers() == ["a", "d"]
    with suppress(ZeroDivisionError), a.transaction():
        a.orset("s").add("undone")
        raise ZeroDivisionError
    assert kernel.open_writers() == ["a", "d"]
    assert b.store.kernel.open_writers() == ["a", "b", "c"]
    assert c.store.kernel.limited == 0
    assert kernel.limited == 2


def test_a_reader_that_has_gone_holds_up_nothing_once_it_is_retired() -> None:
    a, b, gone = team("a", "b", "gone")
    a.report("reader", replica("reader").merge(gone).context)
    b.merge(sent(a.retire("gone")))
    assert not a.report("b", b.context)
    assert a.retire("reader")
    assert a.retired == {"gone": 1}
    with pytest.raises(InvalidValue):
        a.retire("reader")


def test_the_closed_are_told_of_once_even_when_those_who_closed_them_are_closed_as_well() -> None:
    a, b, c, x, _y = team("a", "b", "c", "x", "y")
    close([x, a, b, c], "y")
    close([a, b, c], "x")
    assert a.retired.keys() == {"x", "y"}
    for one in (b, c):
        assert_equal(a, one)
        assert not a.delta_since(one.context)
    new = replica("new")
    new.merge(sent(a.delta_since(new.context)))
    assert_equal(a, new)
    a.orset("s").add("z")
    delta = a.delta_since(new.context)
    assert not delta.is_state
    assert len(delta) == 1
    # And a retirement that one of the closed had begun too comes to its end.
    b.merge(sent(delta))
    c.merge(sent(delta))


def test_retiring_what_is_retired_does_nothing() -> None:
    a, b, _gone = team("a", "b", "gone")
    a.retire("gone")
    assert not a.retire("gone")
    close([a, b], "gone")
    assert not a.retire("gone")
    assert not b.retire("gone")


def test_the_only_other_replica_can_be_retired_at_once() -> None:
    a, _gone = team("a", "gone")
    assert a.retire("gone")
    assert a.retired == {"gone": 1}
    assert a.context.replicas() == ["a"]


# ---- ids that nobody has used


def test_a_forbidden_id_is_closed_at_once_everywhere_and_in_no_context() -> None:
    a, b = team("a", "b")
    before = a.context
    begun = a.forbid("nobody")
    assert a.retired == {"nobody": 0}
    assert a.context.replicas() == before.replicas()
    b.merge(sent(begun))
    assert b.retired == {"nobody": 0}
    assert not a.forbid("nobody")
    assert not b.forbid("nobody")
    assert not b.retire("nobody")
    assert_equal(a, b)
    for new in (replica("new").merge(a), replica("new").merge(sent(a.store.kernel.state()))):
        assert_equal(a, new)
        assert new.retired == {"nobody": 0}


def test_two_may_forbid_the_same_id_at_once() -> None:
    a, b = team("a", "b")
    first, second = a.forbid("nobody"), b.forbid("nobody")
    a.merge(sent(second))
    b.merge(sent(first))
    assert a.retired == b.retired == {"nobody": 0}
    assert_equal(a, b)


def test_what_is_written_under_a_forbidden_id_is_refused() -> None:
    a, _b = team("a", "b")
    a.forbid("nobody")
    before = a.context
    a.merge(replica("nobody").orset("s").add("x"))
    assert a.context == before
    assert a.stats().refused == 1
    somebody = replica("nobody")
    somebody.merge(a)
    with pytest.raises(WriterRetired):
        somebody.orset("s").add("x")


def test_an_id_that_was_used_cannot_be_forbidden() -> None:
    a, _b = team("a", "b")
    for name in ("a", "b"):
        with pytest.raises(InvalidValue, match="retire it"):
            a.forbid(name)
    with pytest.raises(InvalidValue, match="retire it"):
        replica("new").forbid("new")
    with pytest.raises(InvalidValue):
        a.forbid("")


def test_what_a_replica_has_said_of_a_writer_is_told_by_its_dots() -> None:
    a, b, _gone = team("a", "b", "gone")
    assert a.said_of("gone") == []
    begun = a.retire("gone")
    assert a.said_of("gone") == [begun.events[0].dot]
    b.merge(sent(begun))
    assert b.said_of("gone") == []


# ---- its own id


def test_a_replica_that_has_been_retired_reads_and_merges_and_writes_no_more() -> None:
    a, b, gone = team("a", "b", "gone")
    begun = a.retire("gone")
    gone.merge(sent(begun))
    before = gone.context
    writes: list[Callable[[Replica], object]] = [
        lambda one: one.orset("s").add("x"),
        lambda one: one.counter("c").increment(),
        lambda one: one.ormap("o").orset("s").add(1),
        lambda one: one.retire("b"),
    ]
    for write in writes:
        with pytest.raises(WriterRetired, match="gone"):
            write(gone)
    with pytest.raises(WriterRetired), gone.transaction():
        gone.orset("s").add("x")
    assert gone.context == before
    spread([a, b])
    gone.merge(a)
    assert gone.orset("s").get_elements() == {"a", "b", "gone"}
    assert gone.retired == {"gone": 1}
    assert_equal(a, gone)
    with pytest.raises(WriterRetired):
        gone.orset("s").add("x")
    successor = replica("successor").merge(gone)
    successor.orset("s").add("x")
    a.merge(successor)
    assert "x" in a.orset("s")


def test_a_replica_that_retires_itself_is_closed_by_another() -> None:
    a, b, leaving = team("a", "b", "leaving")
    a.merge(sent(leaving.orset("s").add("last")))
    begun = leaving.retire("leaving")
    assert not leaving.retire("leaving")
    with pytest.raises(WriterRetired):
        leaving.orset("s").add("more")
    for one in (a, b):
        one.merge(leaving)
    assert a.store.kernel.limits["leaving"] == (begun.events[0].seq, False)
    a.retire("leaving")
    for _ in range(2):
        spread([a, b])
    assert a.retired == b.retired == {"leaving": 3}
    assert a.orset("s").get_elements() == b.orset("s").get_elements() == {"a", "b", "leaving", "last"}
    leaving.merge(b)
    assert_equal(a, leaving)


# ---- who joins later


@pytest.fixture
def closed() -> list[Replica]:
    a, b, gone = team("a", "b", "gone")
    for i in range(20):
        gone.lwwmap("m").set(str(i % 7), i)
    spread([a, b, gone])
    close([a, b], "gone")
    return [a, b]


def check_newcomer(one: Replica, a: Replica) -> None:
    assert_equal(one, a)
    assert one.retired == {"gone": 21}
    assert "gone" not in one.context.replicas()
    one.orset("s").add("new")
    a.merge(sent(one.delta_since(a.context)))
    assert_equal(one, a)


def test_a_newcomer_gets_everything_by_a_delta(closed: list[Replica]) -> None:
    new = replica("new")
    new.merge(sent(closed[0].delta_since(new.context)))
    check_newcomer(new, closed[0])


def test_a_newcomer_gets_everything_by_pieces_or_is_told_to_take_a_state(closed: list[Replica]) -> None:
    new = replica("new")
    try:
        for delta in closed[0].deltas_since(new.context, 200):
            new.merge(sent(delta))
    except LogTrimmed:
        new.merge(sent(closed[0].store.kernel.state()))
    check_newcomer(new, closed[0])


@pytest.mark.parametrize("begins", [0, 1])
def test_a_newcomer_gets_everything_by_reconciliation(closed: list[Replica], begins: int) -> None:
    pair = [closed[0], replica("new")]
    reconcile(pair[begins], pair[1 - begins], 512)
    check_newcomer(pair[1], pair[0])


def test_somebody_who_knows_nothing_of_the_retirement_gets_just_its_two_events() -> None:
    a, b, _gone = team("a", "b", "gone")
    late = replica("late").merge(a)
    a.retire("gone")
    spread([a, b])
    assert a.retired
    delta = a.delta_since(late.context)
    assert not delta.is_state
    late.merge(sent(delta))
    assert late.retired == {"gone": 1}
    assert_equal(a, late)


def test_the_event_that_closes_makes_no_hole_where_the_writer_is_not_complete() -> None:
    a, b, _gone = team("a", "b", "gone")
    a.retire("gone")
    closing: list[tuple[Event, ...]] = []
    a.on_write(closing.append)
    spread([a, b])
    (events,) = closing
    new = replica("new")
    new.merge(sent(Delta(events)))
    assert new.retired == {}
    assert new.context == Context()
    assert not new.stats().prekilled
    partly = replica("partly")
    partly.merge(sent(a.delta_since(Context({"a": 1, "b": 1, "gone": 1}))))
    assert partly.retired == {}
    for one in (new, partly):
        one.merge(sent(a.delta_since(one.context)))
        assert_equal(one, a)


def test_a_closed_writer_s_complete_events_are_asked_for_by_who_lacks_some_of_them() -> None:
    a, b, gone = team("a", "b", "gone")
    for i in range(5):
        gone.orset("s").add(i)
    a.merge(gone)
    behind = replica("behind").merge(b)
    spread([a, b])
    close([a, b], "gone")
    for target in (behind, replica("behind 2").merge(behind)):
        target.merge(sent(a.delta_since(target.context)))
        assert_equal(a, target)
    other = replica("behind 3").merge(Delta(gone.store.kernel.delta_since(Context({"gone": 4})).events[:1]))
    reconcile(other, a)
    assert_equal(a, other)


# ---- several at once


def test_two_replicas_may_retire_the_same_writer_at_once() -> None:
    a, b, c, _gone = team("a", "b", "c", "gone")
    a.retire("gone")
    b.retire("gone")
    for _ in range(3):
        spread([a, b, c])
    assert a.retired == b.retired == c.retired == {"gone": 1}
    for one in (b, c):
        assert_equal(a, one)


def test_two_may_close_it_at_the_same_moment() -> None:
    a, b, _gone = team("a", "b", "gone")
    first, second = a.retire("gone"), b.retire("gone")
    a.merge(sent(second))
    b.merge(sent(first))
    closings = a.report("b", b.context), b.report("a", a.context)
    # Whoever was first is enough; if both did it, both stand.
    for delta in closings:
        for one in (a, b):
            one.merge(sent(delta))
    spread([a, b])
    assert a.retired == b.retired == {"gone": 1}
    assert_equal(a, b)
    assert_equal(a, replica("new").merge(a))
    assert not a.delta_since(b.context)


def test_several_writers_may_be_retired_at_once() -> None:
    a, b, x, y = team("a", "b", "x", "y")
    y.orset("s").add("late")
    x.merge(y)
    a.merge(x)
    a.retire("x")
    b.retire("y")
    for _ in range(4):
        spread([a, b])
    assert a.retired == b.retired == {"x": 1, "y": 2}
    assert "late" in b.orset("s")
    assert_equal(a, b)


def test_another_may_take_over_a_retirement_whose_author_has_gone() -> None:
    a, b, c, _gone = team("a", "b", "c", "gone")
    b.merge(sent(a.retire("gone")))
    b.retire("a")
    b.retire("gone")
    for _ in range(4):
        spread([b, c])
    assert b.retired == c.retired == {"a": 2, "gone": 1}
    assert_equal(b, c)


# ---- in a transaction


def test_a_report_inside_a_transaction_counts_after_it() -> None:
    a, b, _gone = team("a", "b", "gone")
    b.merge(sent(a.retire("gone")))
    with a.transaction():
        a.orset("s").add("x")
        assert not a.report("b", b.context)
        with pytest.raises(InTransaction):
            a.retire("b")
    assert a.retired == {}
    b.merge(a)
    assert a.report("b", b.context)
    assert a.retired == {"gone": 1}


# ---- late events


def test_a_holder_of_late_events_that_nobody_knew_of_falls_into_line_when_it_hears() -> None:
    a, b, gone = team("a", "b", "gone")
    a.orset("s").add("kept by a")
    holder = replica("holder").merge(a)
    spread([a, b])
    holder.merge(gone)
    holder.merge(gone.orset("s").add("late"))
    close([a, b], "gone")
    a.merge(sent(holder.store.kernel.state()))
    assert a.stats().refused == 1
    holder.merge(sent(a.delta_since(holder.context)))
    assert holder.stats().refused == 1
    assert holder.retired == {"gone": 1}
    assert_equal(a, holder)
    assert holder.store.kernel.context.last("gone") == 1
    holder.orset("s").add("from the holder")
    reconcile(a, holder)
    assert_equal(a, holder)
    assert "from the holder" in a.orset("s")
    b.merge(sent(holder.delta_since(b.context)))
    assert_equal(b, holder)


@pytest.mark.parametrize("form", ["reconcile", "state", "delta"])
def test_a_state_with_events_beyond_the_limit_is_not_taken_while_the_limit_stands(form: str) -> None:
    """Else somebody who has reported to have all of it and no more would have more when it is closed."""
    a, b, gone = team("a", "b", "gone")
    holder = replica("holder").merge(a)
    holder.merge(gone.orset("s").remove("a"))
    holder.merge(gone.orset("s").add("late"))
    b.merge(sent(a.retire("gone")))
    closing = a.report("b", b.context)
    assert closing
    if form == "reconcile":
        exchange_one_way(holder, b)
    else:
        b.merge(sent(holder.store.kernel.state() if form == "state" else holder.delta_since(b.context)))
    b.merge(sent(closing))
    assert_equal(a, b)


def exchange_one_way(source: Replica, target: Replica) -> None:
    """A reconciliation of which the source does not hear the last message."""
    one, other = source.reconcile(), target.reconcile()
    message: bytes | None = one.start()
    sides = [other, one]
    step = 0
    while message is not None and not other.finished:
        message = sides[step % 2].receive(message)
        step += 1


def test_a_state_that_raises_the_limit_itself_is_taken() -> None:
    a, b, c, gone = team("a", "b", "c", "gone")
    c.merge(sent(a.retire("gone")))
    b.merge(gone.orset("s").add("late"))
    a.report("b", b.context)
    b.merge(sent(a.delta_since(b.context)))
    assert b.store.kernel.limits["gone"] == (2, False)
    c.merge(sent(b.store.kernel.state()))
    assert "late" in c.orset("s")
    assert_equal(b, c)


def test_a_reconciliation_that_raises_the_limit_itself_is_taken() -> None:
    a, b, c, gone = team("a", "b", "c", "gone")
    c.merge(sent(a.retire("gone")))
    b.merge(gone.orset("s").add("late"))
    a.report("b", b.context)
    b.merge(sent(a.delta_since(b.context)))
    reconcile(b, c)
    assert "late" in c.orset("s")
    assert_equal(b, c)


def test_it_is_not_closed_below_a_limit_that_still_stands() -> None:
    """The holder's report raised the limit, then the holder was retired: others may still accept what it has told."""
    a, b, holder, gone = team("a", "b", "holder", "gone")
    late = gone.orset("s").remove("a")
    holder.merge(late)
    a.retire("gone")
    a.report("holder", holder.context)
    assert a.store.kernel.limits["gone"] == (2, False)
    a.retire("holder")  # nobody else has what it had
    b.merge(sent(a.delta_since(b.context)))
    a.report("b", b.context)
    assert a.retired == {"holder": 1}
    b.merge(sent(a.delta_since(b.context)))
    a.report("b", b.context)
    b.merge(sent(late))  # on its way all the time
    b.merge(sent(a.delta_since(b.context)))
    for _ in range(4):
        spread([a, b])
    assert "gone" in a.retired
    assert a.retired == b.retired
    assert_equal(a, b)


def test_a_report_counts_only_if_it_holds_all_that_is_known_of_the_limit() -> None:
    a, b, c, _holder, gone = team("a", "b", "c", "holder", "gone")
    late = gone.orset("s").add("late")
    lower = a.retire("gone")
    c.report("holder", Context({"gone": 2}))
    higher = c.retire("gone")
    assert c.store.kernel.limits["gone"] == (2, False)
    b.merge(sent(higher))  # b accepts up to 2
    a.merge(sent(higher))
    a.retire("holder")
    for one in (b, c):
        a.report(one.replica_id, one.context)
    assert "gone" not in a.retired
    b.merge(sent(late))
    b.merge(sent(lower))
    for _ in range(4):
        spread([a, b, c])
    assert a.retired == b.retired == c.retired
    assert "late" in a.orset("s")
    for one in (b, c):
        assert_equal(a, one)


def test_who_has_reported_keeps_to_the_limit_although_another_would_raise_it() -> None:
    a, b, gone = team("a", "b", "gone")
    late = gone.orset("s").remove("a")
    begun = a.retire("gone")
    b.merge(sent(begun))
    reported = b.context
    b.report("holder", Context({"gone": 2}))
    higher = b.retire("gone")
    assert b.store.kernel.limits["gone"] == (1, False)
    b.merge(sent(late))
    assert b.stats().refused == 1
    closing = a.report("b", reported)
    assert a.retired == {"gone": 1}
    b.merge(sent(closing))
    a.merge(sent(higher))
    assert a.retired == b.retired == {"gone": 1}
    assert_equal(a, b)


def test_the_limit_of_one_who_was_retired_too_stands_until_that_one_is_closed() -> None:
    a, b, c, gone = team("a", "b", "c", "gone")
    late = gone.orset("s").add("late")
    begun = a.retire("gone")  # and then a is gone as well
    b.merge(sent(begun))
    c.merge(sent(late))
    c.merge(sent(begun))
    b.report("c", c.context)
    b.retire("gone")
    assert b.store.kernel.limits["gone"] == (1, False)
    b.retire("a")
    for _ in range(5):
        spread([b, c])
    assert b.retired == c.retired == {"a": 2, "gone": 2}
    assert "late" in b.orset("s")
    assert_equal(b, c)


def test_dots_that_were_killed_beyond_the_end_are_not_waited_for() -> None:
    a, b, gone = team("a", "b", "gone")
    holder = replica("holder").merge(a)
    holder.merge(gone.orset("s").add("late"))
    removal = holder.orset("s").remove("late")
    for one in (a, b):
        one.merge(sent(removal))
        assert one.stats().prekilled == 1
    a.report("holder", Context({"a": 1, "b": 1, "gone": 1, "holder": 1}))
    a.retire("holder")
    close([a, b], "gone")
    for one in (a, b):
        assert one.stats().prekilled == 0
        assert sent(one.store.kernel.state()).prekilled == ()
    new = replica("new").merge(sent(removal))
    new.merge(sent(a.delta_since(new.context)))
    assert new.stats().prekilled == 0
    assert_equal(a, new)
    with_closed = replica("again").merge(a)
    with_closed.merge(sent(events_delta([removal.events[0]._replace(replica="z", seq=1)])))
    assert with_closed.stats().prekilled == 0


# ---- reconciliations in between


def reconcile_within_limits(one: Replica, other: Replica, max_bytes: int = 65_536) -> list[bool]:
    """Reconcile, and say of each side whether it has joined.

    One may refuse only what goes beyond a limit that it keeps, and then nothing of it has changed: it waits for whoever
    has set the limit to raise it.
    """
    pair = (one, other)
    before = [(snapshot(each)[:-1], each.stats().refused, exceeds(peer, each)) for each, peer in (pair, pair[::-1])]
    sides = (one.reconcile(max_bytes=max_bytes), other.reconcile(max_bytes=max_bytes))
    converse(*sides)
    for each, side, (content, refused, may_refuse) in zip(pair, sides, before, strict=True):
        if not side.finished:
            assert may_refuse, "refused without a reason"
            assert snapshot(each)[:-1] == content, "refused, and changed all the same"
            assert each.stats().refused == refused + 1
    return [side.finished for side in sides]


def exceeds(source: Replica, target: Replica) -> bool:
    """Whether ``source`` has processed more of some writer than ``target`` may accept for now."""
    last = source.store.kernel.context.last
    return any(last(writer) > limit.last for writer, limit in target.store.kernel.limits.items())


@pytest.mark.parametrize("begins", [0, 1])
def test_what_goes_beyond_a_limit_is_refused_by_one_side_only_until_the_limit_is_raised(begins: int) -> None:
    a, b, holder, gone = team("a", "b", "holder", "gone")
    holder.merge(gone.orset("s").add("late"))
    holder.orset("s").add("from the holder")
    b.merge(sent(a.retire("gone")))
    b.orset("s").add("from b")
    pair = [b, holder]
    joined = reconcile_within_limits(pair[begins], pair[1 - begins])
    assert joined == [begins == 1, begins == 0]
    assert b.orset("s").get_elements() == {"a", "b", "holder", "gone", "from b"}
    assert holder.orset("s").get_elements() == {"a", "b", "holder", "gone", "from b", "late", "from the holder"}
    raised = a.report("holder", holder.context)
    assert a.store.kernel.limits["gone"] == (2, False)
    holder.merge(sent(raised))
    assert reconcile_within_limits(pair[begins], pair[1 - begins]) == [True, True]
    assert_equal(b, holder)
    for _ in range(3):
        spread([a, b, holder])
    assert a.retired == b.retired == holder.retired == {"gone": 2}
    assert_equal(a, b)


@pytest.mark.parametrize("begins", [0, 1])
@pytest.mark.parametrize("both", [False, True])
def test_sides_reconcile_of_which_one_or_both_have_closed_a_writer(begins: int, both: bool) -> None:
    a, b, c, _gone = team("a", "b", "c", "gone")
    a.retire("gone")
    spread([a, b, c])
    a.report("b", b.context)
    a.report("c", c.context)
    assert a.retired
    if both:
        c.merge(sent(a.delta_since(c.context)))
        assert c.retired
    a.orset("s").remove("b")
    c.orset("s").remove("c")
    c.orset("s").add("x")
    a.trim_log()
    c.trim_log()
    pair = [a, c]
    reconcile(pair[begins], pair[1 - begins])
    assert_equal(a, c)
    assert c.retired == {"gone": 1}
    assert a.orset("s").get_elements() == {"a", "gone", "x"}


def test_a_writer_may_be_closed_between_the_messages_of_a_reconciliation() -> None:
    a, b, c, gone = team("a", "b", "c", "gone")
    a.merge(sent(gone.orset("s").add("more")))
    c.orset("s").add("x")
    steps = iter(
        [
            lambda: a.retire("gone"),
            lambda: spread([a, b]),
            lambda: c.merge(sent(a.delta_since(c.context))),
            lambda: spread([a, b, c]),
            lambda: spread([a, b, c]),
        ]
    )
    exchange(a.reconcile(), c.reconcile(), lambda: next(steps, lambda: None)())
    spread([a, b, c])
    spread([a, b, c])
    assert a.retired == c.retired == {"gone": 2}
    reconcile(a, c)
    for one in (b, c):
        assert_equal(a, one)
    assert "more" in b.orset("s")


# ---- any history


def lacked(one: Replica, known: Context) -> list[DotRange]:
    """What a peer lacks, reckoned writer by writer: those that it knows to be closed are not in its context."""
    kernel = one.store.kernel
    known, told = known.copy(), True
    while told:
        told = False
        for writer, limit in kernel.limits.items():
            dots = [event.dot for event in kernel.at(RETIRED, writer.encode())]
            if limit.closed and known.last(writer) < limit.last and any(dot in known for dot in dots):
                known.add_range(writer, 1, limit.last + 1)
                told = True
    return kernel.context.missing_from(known)


class Course:
    """A few replicas that write and talk at random; some of them stop, and are retired by the others."""

    def __init__(self, rng: Random, size: int, log_limit: int) -> None:
        self.rng = rng
        self.oracle = Oracle()
        self.members = [self.oracle.watch(replica("abcdefgh"[i], log_limit=log_limit)) for i in range(size)]
        self.gone: list[Replica] = []
        self.mail: list[Delta] = []
        for one in self.members:
            one.on_write(lambda events: self.mail.append(events_delta(events)))

    def run(self, steps: int, retirements: int) -> None:
        for _ in range(steps):
            self.step(self.members)
        for _ in range(retirements):
            leaving = self.members.pop(self.rng.randrange(len(self.members)))
            self.gone.append(leaving)
            for _ in range(self.rng.randrange(4)):  # it goes on talking, but not writing
                self.talk(leaving, self.rng.choice(self.members))
            for _ in range(self.rng.randrange(steps)):
                self.step([*self.members, leaving], writers=self.members)
            for one in self.members:
                if one.store.kernel.context.last(leaving.replica_id) and self.rng.random() < 0.4:
                    self.retire(one, leaving.replica_id)
        for _ in range(steps):
            self.step(self.members)

    def step(self, talkers: list[Replica], writers: list[Replica] | None = None) -> None:
        rng = self.rng
        move = rng.random()
        one = rng.choice(writers or talkers)
        if move < 0.3:
            operate(one, rng.randrange(99), rng.randrange(16))
        elif move < 0.4:
            with one.transaction():
                for _ in range(rng.randrange(1, 5)):
                    operate(one, rng.randrange(99), rng.randrange(16))
        elif move < 0.6 and self.mail:
            rng.choice(talkers).merge(sent(rng.choice(self.mail)))
        else:
            self.talk(rng.choice(talkers), rng.choice(talkers))
        for each in (*self.members, *self.gone):
            self.oracle.check(each)

    def talk(self, one: Replica, other: Replica) -> None:
        """``one`` hears the context of ``other``, and ``other`` gets what it lacks, in whole or in part."""
        rng = self.rng
        if one is other:
            return
        known = other.context
        assert one.store.kernel.missing_for(known) == lacked(one, known)
        one.report(other.replica_id, known)
        how = rng.random()
        if how < 0.3:
            other.merge(sent(one.delta_since(known)))
        elif how < 0.6:
            try:
                for i, delta in enumerate(one.deltas_since(known, rng.choice((1, 300, 9999)))):
                    if i > 5 * rng.random() * 5:
                        break
                    other.merge(sent(delta))
            except LogTrimmed:
                self.mail.append(one.store.kernel.state())
        elif how < 0.7:
            one.trim_log(rng.randrange(3))
        elif how < 0.85:
            reconcile_within_limits(one, other, rng.choice((512, 65_536)))
        elif how < 0.9:
            self.mail.append(one.store.kernel.state())
        else:
            other.merge(one)

    def settle(self) -> None:
        """All that is left talk until nothing changes; then every one that left is retired and closed."""
        expected = set[str]()
        for leaving in self.gone:
            name = leaving.replica_id
            known = [one for one in self.members if one.store.kernel.context.last(name)]
            if not known:  # a reader, that may have reported
                for one in self.members:
                    with suppress(InvalidValue):
                        one.retire(name)
            else:
                everything = Context()
                for one in known:
                    everything.update(one.store.kernel.context)
                if everything.prefix(name) == everything.last(name):
                    expected.add(name)  # else it took with it what would fill the gap: it stays limited
                if not any(name in one.store.kernel.limits for one in known):
                    self.retire(self.rng.choice(known), name)
        for _ in range(3 + 3 * len(self.gone)):
            spread(self.members)
            for each in self.members:
                self.oracle.check(each)
            self.take_over()
        for one in self.members:
            assert_equal(one, self.members[0])
            assert one.context == one.store.kernel.context.without(expected)
            assert one.store.kernel.retiring.keys() == one.store.kernel.limits.keys() - one.retired.keys()
            assert {writer for writer, last in one.retired.items() if last} == expected
            assert not expected & set(one.context.replicas())
            waiting = {writer for writer, limit in one.store.kernel.limits.items() if not limit.closed}
            assert one.store.kernel.prekilled.keys() <= waiting

    def retire(self, one: Replica, name: str) -> None:
        """Whoever retires a writer must have heard of everybody else."""
        for other in self.members:
            if other is not one:
                one.report(other.replica_id, other.context)
        one.retire(name)

    def take_over(self) -> None:
        """A retirement that was begun by somebody who has left is begun again by one who has not."""
        for name, limit in list(self.members[0].store.kernel.limits.items()):
            authors = {e.replica for e in self.members[0].store.kernel.at(RETIRED, name.encode())}
            if not limit.closed and not authors & {one.replica_id for one in self.members}:
                self.retire(self.members[0], name)


COURSES = {
    "rng": SEEDS,
    "size": st.integers(4, 6),
    "log_limit": st.sampled_from([0, 5, 1000]),
    "steps": st.integers(5, 40),
    "retirements": st.integers(1, 2),
}


def check_course(rng: Random, size: int, log_limit: int, steps: int, retirements: int) -> None:
    course = Course(rng, size, log_limit)
    course.run(steps, retirements)
    before = set[tuple[str, int]]()
    for one in course.members:
        before |= dots_of(one.store.kernel.context)
    course.settle()
    for one in course.members:
        assert before <= dots_of(one.store.kernel.context), "something that was known is lost"
    everything = dots_of(course.members[0].store.kernel.context)
    assert set(flat(course.members[0].store.kernel.live)) == course.oracle.live(everything)
    new = replica("new").merge(sent(course.members[0].delta_since(Context())))
    assert read(new) == read(course.members[0])


@settings(max_examples=150)
@given(**COURSES)
def test_in_the_end_all_are_equal_and_nothing_that_was_known_is_lost(
    rng: Random, size: int, log_limit: int, steps: int, retirements: int
) -> None:
    check_course(rng, size, log_limit, steps, retirements)


def test_a_course_in_which_a_reconciliation_meets_a_limit_ends_like_any_other() -> None:
    check_course(Random(6), size=4, log_limit=0, steps=31, retirements=1)


@pytest.mark.soak
@settings(max_examples=10_000, derandomize=False)
@given(**COURSES)
def test_in_the_end_all_are_equal_in_the_long_run(
    rng: Random, size: int, log_limit: int, steps: int, retirements: int
) -> None:
    check_course(rng, size, log_limit, steps, retirements)


def test_a_closing_event_of_the_format_is_what_retire_writes() -> None:
    a, _gone = team("a", "gone")
    closing = a.retire("gone").events[-1]
    assert (closing.obj, closing.key, closing.payload) == (RETIRED, b"gone", cbor2.dumps([1, True]))


def test_a_limit_below_what_two_replicas_have_does_not_keep_them_from_exchanging_states() -> None:
    a, b, c, gone = (Replica(name) for name in ("A", "B", "C", "W"))
    for one in (b, c):
        one.orset("s").add(one.replica_id)
        a.merge(one)
    gone.orset("s").add("w1")
    a.merge(gone)
    gone.orset("s").add("w2")
    b.merge(gone)
    c.merge(gone)
    a.retire("W")  # has not seen w2, and is never heard of again
    b.merge(a)
    c.merge(a)
    b.orset("news").add(1)
    c.merge(decode(encode(b.store.kernel.state())))
    assert c.orset("news").get_elements() == {1}
    b.orset("news").add(2)
    reconcile(b, c)
    assert c.orset("news").get_elements() == {1, 2}
