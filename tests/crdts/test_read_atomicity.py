"""Of transactions over last-writer-wins places the greatest wins, whole: at every moment, at every replica."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crdts import Event, HybridClock, Replica
from crdts.delta import Delta
from crdts.schema import STAMP_BYTES, STAMPED, type_tag

from .oracle import assert_equal, pull, sent

# ruff: noqa: PT012  # a block that raises is part of what is tested here

PLACES: Final[dict[str, tuple[Callable[[Replica, int], object], Callable[[Replica], Any]]]] = {
    "register": (lambda r, n: r.register("r").set(n), lambda r: r.register("r").get()),
    "map x": (lambda r, n: r.lwwmap("m").set("x", n), lambda r: r.lwwmap("m").get("x")),
    "map y": (lambda r, n: r.lwwmap("m").set("y", n), lambda r: r.lwwmap("m").get("y")),
    "nested register": (lambda r, n: r.ormap("o").register("k").set(n), lambda r: r.ormap("o").register("k").get()),
    "nested map": (
        lambda r, n: r.ormap("o").ormap("i").lwwmap("k").set("x", n),
        lambda r: r.ormap("o").ormap("i").lwwmap("k").get("x"),
    ),
}
"""How each place is written and read."""


@dataclass(frozen=True, slots=True)
class Made:
    """A transaction, or a write of its own."""

    number: int
    rank: tuple[int, str]
    places: frozenset[str]
    last: tuple[str, int]


class World:
    """Replicas whose clocks stand, creep, or are seconds apart, and all that they have made."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.now = 1_700_000_000.0
        self.replicas = [self._replica(name, rng.choice((0.0, 0.0, 1e-6, 0.3, 20.0))) for name in "abc"]
        self.made: list[Made] = []
        self.mail: list[Delta] = []
        self.events: list[Event] = []
        for one in self.replicas:
            one.on_write(self._wrote)

    def _replica(self, name: str, ahead: float) -> Replica:
        return Replica(name, clock=HybridClock(lambda: self.now + ahead))

    def _wrote(self, events: tuple[Event, ...]) -> None:
        self.events = list(events)
        self.mail.append(Delta(events))

    def writes(self, one: Replica) -> None:
        """A transaction over some places, in any order, some of them more than once; or one write."""
        rng, number = self.rng, len(self.made)
        chosen = [rng.choice(sorted(PLACES)) for _ in range(rng.choice((1, 2, 2, 3, 5)))]
        with one.transaction():
            for place in chosen:
                PLACES[place][0](one, number)
                self.now += rng.choice((0, 0, 1e-6, 1e-3))
                if rng.random() < 0.2:
                    one.orset("s").add(number)
        stamped = [e for e in self.events if e.payload is not None and type_tag(e.obj) in STAMPED]
        rank = int.from_bytes((stamped[0].payload or b"")[:STAMP_BYTES], "big"), one.replica_id
        made = Made(number, rank, frozenset(chosen), self.events[-1].dot)
        assert all(seen.rank < rank for seen in self.made if seen.last in one.context), "below what it had seen"
        self.made.append(made)

    def check(self, one: Replica) -> None:
        context = one.context
        known = sorted((made for made in self.made if made.last in context), key=lambda made: made.rank)
        for place, (_, read) in PLACES.items():
            greatest = [made.number for made in known if place in made.places]
            assert read(one) == (greatest[-1] if greatest else None), place


def check_world(rng: Random) -> None:
    world = World(rng)
    for _ in range(40):
        one, other = rng.sample(world.replicas, 2)
        move = rng.random()
        if move < 0.45:
            world.writes(one)
        elif move < 0.8 and world.mail:
            one.merge(sent(rng.choice(world.mail)))
        elif move < 0.9:
            pull(one, other, 200, rng.randrange(4))
        else:
            one.merge(sent(other.store.kernel.state()))
        world.now += rng.choice((0, 0, 0.001, 0.3))
        world.check(one)
    for one in world.replicas:
        for other in world.replicas:
            one.merge(other)
    for one in world.replicas:
        one.merge(world.replicas[-1])
        world.check(one)
        assert_equal(one, world.replicas[0])


@settings(max_examples=150)
@given(st.integers(0, 1 << 32).map(Random))
def test_every_place_shows_the_write_of_the_greatest_transaction_that_wrote_there(rng: Random) -> None:
    check_world(rng)


@pytest.mark.soak
@settings(max_examples=10_000, derandomize=False)
@given(st.integers(0, 1 << 32).map(Random))
def test_every_place_shows_the_greatest_in_the_long_run(rng: Random) -> None:
    check_world(rng)


@pytest.mark.parametrize("creeping", [0.0, 1e-6], ids=["with clocks that stand", "with clocks that go on"])
def test_of_two_transactions_that_write_in_opposite_order_one_wins_at_every_place(creeping: float) -> None:
    now = 1_700_000_000.0

    def clock() -> float:
        nonlocal now
        now += creeping
        return now

    a, b = (Replica(name, clock=HybridClock(clock)) for name in "ab")
    with a.transaction() as one:
        for place in PLACES:
            PLACES[place][0](a, 1)
    with b.transaction() as other:
        for place in reversed(PLACES):
            PLACES[place][0](b, 2)
    a.merge(sent(other.delta))
    b.merge(sent(one.delta))
    assert_equal(a, b)
    assert {place: read(a) for place, (_, read) in PLACES.items()} == dict.fromkeys(PLACES, 2)


def test_blocks_in_a_block_have_its_stamp_and_the_next_one_a_later_one() -> None:
    a = Replica("a", clock=HybridClock(lambda: 1_700_000_000.0))
    with a.transaction() as done:
        a.register("r").set(1)
        with a.transaction():
            a.register("s").set(1)
        with pytest.raises(ZeroDivisionError), a.transaction():
            a.register("t").set(1)
            raise ZeroDivisionError
        a.register("t").set(1)
    stamps = {(event.payload or b"")[:STAMP_BYTES] for event in done.delta.events}
    assert len(stamps) == 1
    (later,) = a.register("r").set(2).events
    assert (later.payload or b"")[:STAMP_BYTES] > stamps.pop()
