"""What others can make a replica remember has an end, and replicas that reach it still become equal."""

import random
from itertools import permutations

import pytest

from crdts import Context, Event, Replica, decode, encode, limits
from crdts.delta import Delta, events_delta, state_delta
from crdts.kernel import Kernel


@pytest.fixture
def little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_PREKILLED_OF_WRITER", 4)
    monkeypatch.setattr(limits, "MAX_PREKILLED", 6)
    monkeypatch.setattr(limits, "MAX_WRITERS", 10)


def killer(writer: str, seq: int, *kills: tuple[str, int]) -> Event:
    return Event(writer, seq, b"", b"", None, tuple(sorted(kills)))


def count(kernel: Kernel) -> int:
    held = sum(map(len, kernel.prekilled.values()))
    assert kernel.room.taken == held
    return held


def test_dots_killed_before_they_came_are_bounded_by_writer(little_room: None) -> None:
    kernel = Kernel("me")
    for seq in range(1, 10):
        kernel.merge(events_delta([killer("evil", seq, ("victim", 2 * seq), ("victim", 2 * seq + 1))]))
    assert count(kernel) == 4
    assert kernel.context == Context({"evil": 2})
    assert kernel.room.refused == 7


def test_dots_killed_before_they_came_are_bounded_in_all(little_room: None) -> None:
    kernel = Kernel("me")
    for seq in range(1, 10):
        kernel.merge(events_delta([killer("evil", seq, (f"victim {seq}", 1))]))
    assert count(kernel) == 6
    assert kernel.room.refused == 3


def test_a_large_delta_finds_no_more_room_than_many_small_ones(little_room: None) -> None:
    kernel = Kernel("me")
    kernel.merge(events_delta([killer("evil", seq, (f"victim {seq}", 7)) for seq in range(1, 60)]))
    assert count(kernel) == 6


def test_what_was_refused_is_processed_when_its_victims_have_come(little_room: None) -> None:
    kernel, writer = Kernel("me"), Replica("writer")
    kernel.merge(events_delta([killer("evil", 1, *(("nobody", seq) for seq in range(1, 5)))]))
    kernel.merge(events_delta([killer("evil", 2, ("nothing", 1), ("nothing", 2))]))
    first = writer.orset("s").add("x")
    second = writer.orset("s").remove("x")
    assert kernel.merge(second) == []
    kernel.merge(first)
    assert kernel.merge(second)
    assert not kernel.live
    assert count(kernel) == 6


def test_an_event_whose_victims_come_with_it_needs_no_room(little_room: None) -> None:
    kernel, writer = Kernel("me"), Replica("writer")
    kernel.merge(events_delta([killer("evil", 1, *((f"{i}", 1) for i in range(6)))]))
    for i in range(100):
        writer.register("r").set(i)
    kernel.merge(_events(writer))
    assert kernel.context.last("writer") == 100
    assert len(kernel.live["writer"]) == 1
    assert count(kernel) == 6
    assert kernel.room.refused == 0


def _events(writer: Replica) -> Delta:
    (delta,) = writer.deltas_since(Context(), 1 << 20)
    return delta


def test_a_transaction_finds_room_for_all_of_it_or_waits_whole(little_room: None) -> None:
    kernel = Kernel("me")
    kernel.merge(events_delta([killer("evil", 1, *(("nobody", seq) for seq in range(1, 4)))]))
    both = [killer("w", seq, ("nobody", 10 + seq))._replace(batch=(1, 3)) for seq in (1, 2)]
    assert kernel.merge(events_delta(both)) == []
    assert not kernel.context.last("w")
    assert count(kernel) == 3


def test_a_state_takes_twice_as_much_room_and_then_none(little_room: None) -> None:
    kernel = Kernel("me")
    for turn, name in enumerate("abcd"):
        kernel.merge(state_delta((), Context({name: 1}), [(f"early {name} {i}", 1) for i in range(5)]))
        assert count(kernel) == min(turn + 1, 2) * 5
    assert kernel.context == Context({"a": 1, "b": 1})
    assert kernel.room.refused == 2


def test_new_writers_are_refused_when_there_are_too_many_and_known_ones_go_on(little_room: None) -> None:
    kernel, honest = Kernel("me"), Replica("honest")
    kernel.merge(honest.orset("s").add("early"))
    for i in range(0, 90, 9):
        kernel.merge(events_delta([Event(f"r{i + j}", 1, b"ss", b"\x00", b"", ()) for j in range(9)]))
    assert kernel.context.writers == 10
    assert kernel.room.refused == 81
    kernel.merge(honest.orset("s").add("late"))
    assert kernel.context.last("honest") == 2
    kernel.write(b"ss", b"\x01", b"", ())
    assert kernel.context.last("me") == 1


def test_a_state_of_too_many_writers_is_refused(little_room: None) -> None:
    kernel = Kernel("me")
    kernel.merge(state_delta((), Context({f"{i}": 1 for i in range(20)}), ()))
    assert kernel.context.writers == 20
    kernel.merge(state_delta((), Context({f"{i}": 1 for i in range(21)}), ()))
    assert kernel.context.writers == 20
    assert kernel.room.refused == 1


def test_what_a_replica_took_once_it_takes_again_and_sheds_what_is_beyond_all_bounds(little_room: None) -> None:
    kernel = Kernel("me")
    kernel.room.is_bounded = False
    kernel.merge(events_delta([killer("evil", seq, (f"victim {seq}", 7)) for seq in range(1, 60)]))
    assert count(kernel) == 59
    kernel.room.is_bounded = True
    assert kernel.shed_prekilled() == 47
    assert count(kernel) == 12
    assert kernel.shed_prekilled() == 0


def write_something(replica: Replica, rng: random.Random) -> Delta:
    key = rng.randrange(6)
    match rng.randrange(5):
        case 0:
            return replica.orset("s").remove(key)
        case 1:
            with replica.transaction() as made:
                for each in range(3):
                    replica.lwwmap("m").set(f"{each}", rng.random())
            return made.delta
        case _:
            return replica.orset("s").add(key)


def bring_up_to_date(other: Replica, one: Replica) -> None:
    """By events in small pieces, and by a state where those no longer are or find no room, as nodes do."""
    refused = other.store.kernel.room.refused
    reaches = one.store.kernel.log_reaches(other.context)
    for delta in one.deltas_since(other.context, 80) if reaches else ():
        other.merge(decode(encode(delta)))
    if not reaches or other.store.kernel.room.refused > refused:
        other.merge(decode(encode(one.store.kernel.state())))
    assert count(other.store.kernel) <= 12


def test_replicas_with_hardly_any_room_become_equal(little_room: None) -> None:
    """Honest writes only, lost, doubled and out of order."""
    refused = 0
    for seed in range(60):
        rng = random.Random(seed)
        replicas = [Replica(f"r{i}", log_limit=rng.choice([3, 1000])) for i in range(4)]
        in_flight: list[Delta] = []
        for _ in range(150):
            in_flight.append(write_something(rng.choice(replicas), rng))
            for _ in range(rng.randrange(3)):
                rng.choice(replicas).merge(decode(encode(rng.choice(in_flight))))
            if rng.random() < 0.1:
                bring_up_to_date(*rng.sample(replicas, 2))
        for one, other in [*permutations(replicas, 2)] * 2:
            bring_up_to_date(other, one)
        assert len({replica.fingerprint for replica in replicas}) == 1
        assert len({repr(replica.context) for replica in replicas}) == 1
        assert not any(count(replica.store.kernel) for replica in replicas)
        refused += sum(replica.store.kernel.room.refused for replica in replicas)
    assert refused > 100, "there was too little room"
