"""What a disk has promised to keep it keeps, and of the rest a crash leaves whole records from the beginning."""

import random
from collections.abc import Callable
from errno import ENOSPC

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crdts import Dot, Event, Replica, Value
from gossip.protocol import Config, Identity, Persist, seal_for
from gossip.protocol.output import Output
from gossip.storage.records import deltas_of
from simulations import Cluster, EventQueue
from simulations.disk import KEPT, LOST, TAILS, TORN, Disk, decode_log, encode_record

from ..crdts.strategies import dots
from .histories import Saved

RNG = random.Random(1)
EVENT = Replica("w").orset("s").add("x").events[0]


def batch(number: int) -> Persist:
    return Persist(number, (EVENT._replace(seq=number),))


class Desk:
    """A disk and what it has said to be safe, with the instants."""

    def __init__(self, *, delay: float = 0.0, survives: bool = True) -> None:
        self.queue = EventQueue()
        self.disk = Disk(self.queue, delay=delay, survives=survives)
        self.safe: list[tuple[float, int]] = []

    def save(self, *numbers: int) -> None:
        for number in numbers:
            self.disk.save(batch(number), lambda saved: self.safe.append((self.queue.now, saved.token)))

    def wait(self, seconds: float) -> None:
        self.queue.run_until(self.queue.now + seconds)

    def tokens(self) -> list[int]:
        return [token for _, token in self.safe]

    def records(self) -> list[int]:
        return [each.token for each in self.disk.records]


# ---- in good times


def test_a_disk_that_takes_no_time_has_everything_at_once() -> None:
    desk = Desk()
    desk.save(1, 2)
    assert desk.tokens() == desk.records() == [1, 2]
    assert desk.disk.waiting == 0


def test_a_slow_disk_saves_together_what_came_while_it_was_busy_and_keeps_the_order() -> None:
    desk = Desk(delay=0.5)
    desk.save(1, 2, 3)
    desk.wait(0.75)
    desk.save(4)
    assert (desk.tokens(), desk.disk.waiting) == ([1], 3)
    desk.wait(5.0)
    assert desk.safe == [(0.5, 1), (1.0, 2), (1.0, 3), (1.5, 4)]
    assert desk.records() == [1, 2, 3, 4]


def test_a_disk_that_becomes_quick_again_does_not_overtake_itself() -> None:
    desk = Desk()
    be_quick_again = desk.disk.slow_down(1.0)
    desk.save(1, 2)
    be_quick_again()
    desk.save(3)
    assert desk.tokens() == []
    desk.wait(2.0)
    assert desk.safe == [(1.0, 1), (1.0, 2), (1.0, 3)]
    desk.save(4)
    assert desk.tokens()[-1] == 4


def test_what_is_saved_while_a_batch_becomes_safe_comes_after_those_that_wait() -> None:
    desk = Desk()
    desk.disk.full = True
    desk.disk.save(batch(1), lambda _: desk.save(4))
    desk.save(2, 3)
    desk.disk.make_room()
    assert desk.records() == [1, 2, 3, 4]


# ---- crashes


@pytest.mark.parametrize("tail", TAILS)
def test_what_is_safe_survives_any_crash(tail: str) -> None:
    desk = Desk(delay=0.1)
    desk.save(1, 2, 3, 4)
    desk.wait(0.25)
    desk.save(5)
    desk.disk.crash(tail, RNG)
    assert desk.records()[:4] == [1, 2, 3, 4]
    desk.wait(1.0)
    assert desk.tokens() == [1, 2, 3, 4], "nobody hears of what was not safe"


def test_a_crash_leaves_all_or_nothing_or_some_of_what_was_not_safe() -> None:
    left = set()
    for seed in range(200):
        desk = Desk(delay=1.0)
        desk.save(1, 2, 3)
        desk.disk.crash(TORN, random.Random(seed))
        left.add(tuple(desk.records()))
    assert left == {(), (1,), (1, 2)} | left & {(1, 2, 3)}
    for tail, wanted in ((LOST, []), (KEPT, [1, 2, 3])):
        desk = Desk(delay=1.0)
        desk.save(1, 2, 3)
        desk.disk.crash(tail, RNG)
        assert desk.records() == wanted


def test_after_a_crash_the_next_life_saves_at_once_what_the_last_left_the_disk_busy_with() -> None:
    desk = Desk(delay=1.0)
    desk.save(1, 2, 3)
    desk.disk.crash(LOST, RNG)
    desk.wait(0.5)
    desk.save(4)
    desk.wait(10.0)
    assert desk.safe == [(1.5, 4)]
    assert desk.records() == [4]


def test_memory_only_forgets_everything() -> None:
    desk = Desk(survives=False)
    desk.save(1)
    desk.disk.crash(KEPT, RNG)
    assert desk.tokens() == [1]
    assert desk.records() == []


@given(st.integers(0, 10_000), st.integers(1, 12))
@settings(max_examples=25)
def test_for_every_cut_of_a_log_exactly_the_whole_records_before_it_are_read(seed: int, steps: int) -> None:
    saved = Saved(seed)
    saved.live(steps)
    records = [encode_record(each) for each in saved.batches]
    log = b"".join(records)
    whole = decode_log(log)
    assert [each.token for each in whole] == [each.token for each in saved.batches]
    assert [deltas_of(each) for each in whole] == [deltas_of(each) for each in saved.batches]
    ends = [sum(map(len, records[:count])) for count in range(len(records) + 1)]
    cuts = {*ends, *(end + 1 for end in ends), *(end - 1 for end in ends[1:]), *range(0, len(log), 97), len(log)}
    for cut in sorted(at for at in cuts if at <= len(log)):
        assert decode_log(log[:cut]) == whole[: sum(end <= cut for end in ends) - 1]


def test_a_short_log_is_read_right_at_every_single_cut() -> None:
    records = [encode_record(batch(number)) for number in (1, 2, 3)]
    log, ends = b"".join(records), [0, len(records[0]), len(records[0]) * 2, len(records[0]) * 3]
    for cut in range(len(log) + 1):
        assert [each.token for each in decode_log(log[:cut])] == [1, 2, 3][: sum(end <= cut for end in ends) - 1]


@given(st.data())
@settings(max_examples=50)
def test_a_flipped_bit_ends_the_log_before_its_record(data: st.DataObject) -> None:
    records = [encode_record(batch(number)) for number in (1, 2, 3)]
    log = bytearray(b"".join(records))
    at = data.draw(st.integers(0, len(log) - 1))
    log[at] ^= 1 << data.draw(st.integers(0, 7))
    assert [each.token for each in decode_log(bytes(log))] == [1, 2, 3][: at // len(records[0])]


# ---- a replica from a disk


def content(replica: Replica) -> dict[tuple[str, int], Event]:
    return {event.dot: event for seqs in replica.store.kernel.live.values() for event in seqs.values()}


def prekilled(replica: Replica) -> set[Dot]:
    early = replica.store.kernel.prekilled
    return {(writer, seq) for writer, seqs in early.items() for seq in seqs}


@given(st.integers(0, 100_000), st.integers(1, 25))
@settings(max_examples=150)
def test_a_replica_read_from_a_disk_is_the_replica_that_wrote_it(seed: int, steps: int) -> None:
    saved = Saved(seed)
    saved.live(steps)
    disk = Disk(EventQueue())
    for each in saved.batches:
        disk.save(each, lambda _: None)
    disk.records = decode_log(b"".join(map(encode_record, disk.records)))
    again = Replica("me again")
    disk.read_into(again)
    assert content(again) == content(saved.replica)
    assert again.fingerprint == saved.replica.fingerprint
    # A dot whose death was told of before it was known may count as processed now: its killer is in the same batch.
    early, told = prekilled(saved.replica), set(dots(again.context)) - set(dots(saved.replica.context))
    assert told <= early
    assert again.context.covers(saved.replica.context)
    assert prekilled(again) == early - told


def test_the_histories_cover_what_they_are_meant_to() -> None:
    runs = states = batches = early = 0
    for seed in range(100):
        saved = Saved(seed)
        saved.live(20)
        runs += sum(len(each.runs) for each in saved.batches)
        states += sum(len(each.states) for each in saved.batches)
        batches += sum(event.batch is not None for each in saved.batches for event in each.events)
        early += bool(saved.replica.store.kernel.prekilled)
    assert min(runs, states, batches) > 3, (runs, states, batches)
    assert early


def test_an_engine_saves_what_comes_behind_a_state_in_a_batch_behind_it() -> None:
    other = Replica("other")
    other.orset("s").add("in the state")
    out = Output(Identity(bytes(8), "n", 1), Config(), RNG, Replica("me"), seal_for(None))
    out.unsaved_state(other.store.kernel.state())
    out.unsaved((EVENT,))
    out.save()
    first, second = out.drain()
    assert isinstance(first, Persist)
    assert isinstance(second, Persist)
    assert (first.events, len(first.states)) == ((), 1)
    assert (second.events, second.states) == ((EVENT,), ())


def test_a_wiped_disk_reads_as_nothing() -> None:
    desk = Desk()
    desk.save(1, 2)
    desk.disk.wipe()
    replica = Replica("r")
    desk.disk.read_into(replica)
    assert not replica.context


def test_a_copy_has_the_same_content_and_goes_its_own_way() -> None:
    desk = Desk(delay=0.5)
    desk.disk.epoch = 3
    desk.save(1)
    desk.wait(1.0)
    desk.save(2)
    copy = desk.disk.copy()
    assert (copy.epoch, [each.token for each in copy.records], copy.waiting) == (3, [1], 0)
    assert (copy.delay, copy.survives) == (0.5, True)
    desk.wait(1.0)
    copy.wipe()
    assert desk.records() == [1, 2]
    assert copy.records == []


# ---- full disks


@pytest.mark.parametrize("delay", [0.0, 0.2])
def test_what_waits_for_a_full_disk_goes_on_in_order_when_there_is_room(delay: float) -> None:
    desk = Desk(delay=delay)
    desk.save(1)
    desk.wait(1.0)
    desk.disk.full = True
    desk.save(2, 3)
    desk.wait(5.0)
    assert (desk.records(), desk.disk.waiting) == ([1], 2)
    desk.disk.make_room()
    desk.save(4)
    desk.wait(5.0)
    assert desk.records() == desk.tokens() == [1, 2, 3, 4]
    assert [at for at, _ in desk.safe[1:]] == pytest.approx([6.0 + delay, 6.0 + delay, 6.0 + 2 * delay])


def test_a_disk_that_is_full_twice_saves_everything_once() -> None:
    desk = Desk(delay=1.0)
    desk.save(1)
    desk.disk.full = True  # 1 is on its way already
    desk.save(2, 3)
    desk.wait(1.0)
    assert desk.tokens() == [1]
    desk.disk.make_room()
    desk.wait(0.5)
    desk.disk.full = True  # 2 and 3 are on their way
    desk.save(4)
    desk.wait(4.5)
    desk.disk.make_room()
    desk.disk.make_room()
    desk.wait(10.0)
    assert desk.safe == [(1.0, 1), (2.0, 2), (2.0, 3), (7.0, 4)]


def test_a_crash_of_a_full_disk_leaves_what_was_safe_and_the_next_life_finds_it_full() -> None:
    desk = Desk()
    desk.save(1)
    desk.disk.full = True
    desk.save(2)
    desk.disk.crash(KEPT, RNG)
    assert desk.records() == [1]
    desk.save(3)
    assert desk.records() == [1]
    desk.disk.make_room()
    assert desk.records() == desk.tokens() == [1, 3]


@given(
    st.lists(
        st.one_of(
            st.just("save"), st.just("full"), st.just("room"), st.just("slow"), st.just("quick"), st.floats(0.0, 2.0)
        ),
        max_size=40,
    )
)
def test_whatever_a_disk_goes_through_it_saves_everything_in_order(steps: list[str | float]) -> None:
    desk = Desk()
    ends: list[Callable[[], None]] = []
    count = 0
    for step in steps:
        match step:
            case "save":
                count += 1
                desk.save(count)
            case "full":
                desk.disk.full = True
            case "room":
                desk.disk.make_room()
            case "slow":
                ends.append(desk.disk.slow_down(0.5))
            case "quick":
                while ends:
                    ends.pop()()
            case _:
                desk.wait(float(step))
    desk.disk.make_room()
    desk.wait(100.0)
    assert desk.tokens() == desk.records() == list(range(1, count + 1))


def test_a_full_disk_refuses_a_write_and_nothing_has_changed() -> None:
    cluster = Cluster(2, seed=1, disk=True)
    replica = cluster[0].replica
    replica.orset("s").add("before")
    cluster.run_until_converged()
    cluster[0].disk.full = True
    before = replica.context, content(replica), cluster[0].disk.waiting
    writes: list[tuple[str, Value]] = [("add", "refused"), ("remove", "before")]
    for operation, element in writes:
        with pytest.raises(OSError, match="full") as raised:
            getattr(replica.orset("s"), operation)(element)
        assert raised.value.errno == ENOSPC
    with pytest.raises(OSError, match="full"), replica.transaction():
        replica.counter("c").increment()
    assert (replica.context, content(replica), cluster[0].disk.waiting) == before
    cluster[0].disk.make_room()
    replica.orset("s").add("after")
    cluster.run_until_converged()
    assert set(cluster[1].replica.orset("s")) == {"before", "after"}


def test_a_disk_that_becomes_full_within_a_transaction_undoes_all_of_it() -> None:
    cluster = Cluster(1, seed=1, disk=True)
    replica = cluster[0].replica

    def write() -> None:
        with replica.transaction():
            replica.orset("s").add("first")
            cluster[0].disk.full = True
            replica.orset("s").add("second")

    with pytest.raises(OSError, match="full"):
        write()
    assert content(replica) == {}
    assert not replica.context


def test_a_node_with_a_full_disk_hears_and_tells_of_it_only_when_it_is_safe() -> None:
    cluster = Cluster(3, seed=2, disk=True, warm=True)
    middle = cluster[1]
    middle.disk.full = True
    cluster.cut([0, 1], [2])
    cluster[0].replica.orset("s").add("news")
    cluster.run(3.0)
    assert "news" in middle.replica.orset("s")
    assert not middle.engine.durable
    cluster.cut([1, 2], [0])
    cluster.run(5.0)
    assert "news" not in cluster[2].replica.orset("s")
    middle.disk.make_room()
    cluster.run(5.0)
    assert "news" in cluster[2].replica.orset("s")
    assert middle.engine.durable
