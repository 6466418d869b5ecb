"""A sweep writes down a replica that goes on changing: with what was applied since, that is the replica at the end."""

import random
from collections.abc import Callable

import pytest

from crdts import Delta, HybridClock, Replica, encode
from crdts import checkpoint as sweep
from crdts.checkpoint import PART_EVENTS, Sweep, restored
from crdts.delta import events_delta


def held(replica: Replica) -> bytes:
    return encode(replica.store.kernel.state())


def parts_of(sweep: Sweep, between: Callable[[], object] = lambda: None) -> list[Delta]:
    parts = []
    while (part := sweep.next()) is not None:
        parts.append(events_delta(part.events))
        between()
    return parts


def read(head: Delta, parts: list[Delta], since: list[Delta]) -> Replica:
    reader = Replica("reader")
    for delta in (restored(head, parts), *since):
        reader.store.merge(delta)
    return reader


@pytest.mark.parametrize("size", [0, 1, 2, 5, PART_EVENTS])
@pytest.mark.parametrize("seed", range(8))
def test_whatever_is_written_and_merged_meanwhile_nothing_is_lost_or_comes_back(
    size: int, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "PART_EVENTS", max(1, size))
    rng, ticks = random.Random(seed), iter(range(1_700_000_000, 1_800_000_000))
    replica, other = (Replica(name, clock=HybridClock(lambda: next(ticks))) for name in "ab")
    since: list[Delta] = []
    replica.on_write(lambda events: since.append(events_delta(events)))

    def change() -> None:
        for _ in range(rng.randrange(4)):
            who, key = rng.choice([replica, other]), str(rng.randrange(20))
            if rng.random() < 0.4:
                who.lwwmap("map").delete(key)
            else:
                who.lwwmap("map").set(key, rng.randrange(99))
        other.merge(replica)
        if rng.random() < 0.5:
            delta = other.delta_since(replica.context)
            since.append(delta)
            replica.merge(delta)

    for _ in range(15):
        change()
    for _ in range(4):
        walk = Sweep(replica.store.kernel)
        since.clear()
        parts = parts_of(walk, change)
        assert held(read(walk.head, parts, since)) == held(replica)


def test_a_sweep_that_is_cut_short_leaves_the_former_one_of_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its parts take the place of those of the former, up to where it came."""
    monkeypatch.setattr(sweep, "PART_EVENTS", 2)
    replica = Replica("a")
    since: list[Delta] = []
    replica.on_write(lambda events: since.append(events_delta(events)))
    for number in range(10):
        replica.lwwmap("map").set(str(number), number)
    first = Sweep(replica.store.kernel)
    since.clear()
    old = list(iter(first.next, None))
    new: list[sweep.Part] = []
    second = Sweep(replica.store.kernel)
    for cut in range(1, 4):
        replica.lwwmap("map").set(str(cut), "new")
        replica.lwwmap("map").delete(str(9 - cut))
        part = second.next()
        assert part is not None
        new.append(part)
        old = [each for each in old if each.last > part.last]
        parts = [events_delta(each.events) for each in (*old, *new)]
        assert held(read(first.head, parts, since)) == held(replica)


def test_a_part_holds_a_bounded_number_of_entries_and_of_bytes() -> None:
    replica = Replica("a")
    for number in range(3 * PART_EVENTS):
        replica.orset("small").add(number)
    for number in range(5):
        replica.lwwmap("large").set(str(number), bytes(sweep.PART_BYTES // 2))
    replica.register("huge").set(bytes(2 * sweep.PART_BYTES))
    walk = Sweep(replica.store.kernel)
    found = 0
    while (part := walk.next()) is not None:
        found += len(part.events)
        assert len(part.events) <= PART_EVENTS
        size = len(encode(events_delta(part.events)))
        assert size < 2 * sweep.PART_BYTES or part.events[-1].obj.endswith(b"huge")
        assert part.last == part.events[-1].dot
    assert found == 3 * PART_EVENTS + 6


def test_the_head_of_an_empty_replica_is_an_empty_state() -> None:
    walk = Sweep(Replica("a").store.kernel)
    assert walk.next() is None
    assert walk.head.is_state
    assert held(read(walk.head, [], [])) == held(Replica("reader"))


def test_only_a_state_can_be_the_head() -> None:
    with pytest.raises(TypeError):
        restored(events_delta(()), [])


def test_what_was_killed_before_it_came_is_still_known_to_be_dead() -> None:
    writer, remover, replica = Replica("w"), Replica("r"), Replica("a")
    late = writer.orset("set").add(1)
    remover.merge(late)
    replica.merge(remover.orset("set").remove(1))
    walk = Sweep(replica.store.kernel)
    reader = read(walk.head, parts_of(walk), [])
    reader.merge(late)
    assert len(reader.orset("set")) == 0


def test_entries_of_a_later_sweep_are_not_taken_for_earlier_ones() -> None:
    """One that the head does not know belongs to the log: it may be a part of a transaction."""
    replica = Replica("a")
    replica.orset("set").add(1)
    walk = Sweep(replica.store.kernel)
    replica.orset("set").add(2)
    later = events_delta(replica.store.kernel.state().events)
    assert len(read(walk.head, [later], []).orset("set")) == 1
    assert [event.seq for event in restored(walk.head, [later]).events] == [1]
