"""The same work done by every contestant, each result checked before its time counts.

Rows are costs, so less is better. A change is *shipped* when it has been made and turned into the bytes that carry it
to the other replicas; *not encoded* it has been made, which with ours gives a delta, but nothing has become bytes.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

from . import samples
from .contestants import Contestant
from .measure import Case, Figure, Row, Stopwatch, compare, progress
from .memory import bytes_per_entry

MICROS: Final = "us CPU"
MANY: Final = 100_000
HELD: Final = 1_000
"""What the object holds already when small changes are made to it."""
WRITES: Final = 5_000
WRITES_OF_WHOLE_STATES: Final = 10
DIFFERENCES: Final = 100
ROUNDS: Final = 100


def rows(contestants: list[type[Contestant]]) -> list[Row]:
    return compare(_cases(), contestants) + _memory(contestants)


def _cases() -> Iterator[Case]:
    yield Case(_map_writes)
    yield Case(_set_writes)
    yield Case(_counter_writes)
    for count, runs in ((1_000, 5), (10_000, 5), (MANY, 3)):
        yield Case(_whole_state(f"{count:,} entries", samples.entries, count), runs)
    for count, runs in ((1_000, 5), (10_000, 5), (MANY, 3)):
        yield Case(_whole_state(f"{count:,} distinct entries", samples.distinct_entries, count), runs)
    yield Case(_one_change_among_many, 3)
    for name, exchange in EXCHANGES.items():
        yield Case(_two_that_differ(name, exchange), 3)
    yield Case(_ten_into_one)
    yield Case(_many_counters)
    yield Case(_churn, 3)


def _writes(kind: type[Contestant]) -> int:
    """How many shipped writes make a sample."""
    return WRITES_OF_WHOLE_STATES if kind.ships_whole_state else WRITES


def _assert_told(kind: type[Contestant], before: bytes, shipped: list[bytes], sender: Contestant) -> None:
    """What was shipped must be all that another replica needs to hold the same."""
    there = kind(2)
    there.apply(before)
    for data in shipped:
        there.apply(data)
    assert there.entries() == sender.entries()
    assert there.elements() == sender.elements()


def _map_writes(kind: type[Contestant]) -> list[Figure]:
    held = samples.entries(HELD)
    new = samples.entries(WRITES, first=HELD)
    again = [(samples.key(i % HELD), samples.value(i % HELD, 1 + i // HELD)) for i in range(WRITES)]
    figures = []
    for name, writes in (("map: set a new key", new), ("map: set a key again", again)):
        some = writes[: _writes(kind)]
        replica = kind(1)
        replica.fill(held)
        before = replica.dump()
        with replica.shipping(), Stopwatch() as watch:
            shipped = [replica.ship_put(key, value) for key, value in some]
        _assert_told(kind, before, shipped, replica)
        assert replica.entries() == dict(held) | dict(some)
        figures.append(Figure(f"{name}, shipped", watch.micros(len(some)), MICROS))
        figures.append(Figure(f"{name}, as bytes", sum(map(len, shipped)) / len(some), "bytes"))

        replica = kind(1)
        replica.fill(held)
        before = replica.dump()
        with Stopwatch() as watch:
            shipped = [replica.put_and_tell(key, value) for key, value in some]
        _assert_told(kind, before, shipped, replica)
        figures.append(Figure(f"{name}, shipped by asking for what is new", watch.micros(len(some)), MICROS))

        replica = kind(1)
        replica.fill(held)
        with Stopwatch() as watch:
            for key, value in writes:
                replica.put(key, value)
        assert replica.entries() == dict(held) | dict(writes)
        figures.append(Figure(f"{name}, not encoded", watch.micros(len(writes)), MICROS))
    return figures


def _set_writes(kind: type[Contestant]) -> list[Figure]:
    count = _writes(kind)
    held = {samples.key(i) for i in range(HELD)}
    new = [samples.key(HELD + i) for i in range(count)]
    replica = kind(1)
    for element in held:
        replica.add(element)
    before = replica.dump()
    with replica.shipping():
        with Stopwatch() as adding:
            added = [replica.ship_add(element) for element in new]
        assert replica.elements() == held | set(new)
        _assert_told(kind, before, added, replica)
        with Stopwatch() as removing:
            removed = [replica.ship_remove(element) for element in new]
    assert replica.elements() == held
    _assert_told(kind, before, added + removed, replica)
    return [
        Figure("set: add, shipped", adding.micros(count), MICROS),
        Figure("set: remove, shipped", removing.micros(count), MICROS),
    ]


def _counter_writes(kind: type[Contestant]) -> list[Figure]:
    count = _writes(kind)
    here, there = kind(1), kind(2)
    with here.shipping(), Stopwatch() as watch:
        shipped = [here.ship_increment("finished") for _ in range(count)]
    for data in shipped:
        there.apply(data)
    assert here.count("finished") == there.count("finished") == count
    return [Figure("counter: increment, shipped", watch.micros(count), MICROS)]


def _whole_state(
    name: str, make: Callable[[int], list[tuple[str, Any]]], count: int
) -> Callable[[type[Contestant]], list[Figure]]:
    def run(kind: type[Contestant]) -> list[Figure]:
        entries = make(count)
        here, there = kind(1), kind(2)
        here.fill(entries)
        with Stopwatch() as dumping:
            data = here.dump()
        with Stopwatch() as applying:
            there.apply(data)
            there.get(entries[0][0])  # so that a library that puts the work off does it now
        with Stopwatch() as reading:
            held = there.entries()
        assert held == dict(entries)
        figures = [
            Figure(f"{name}: dump, an entry", dumping.micros(count), MICROS),
            Figure(f"{name}: apply to an empty replica, an entry", applying.micros(count), MICROS),
            Figure(f"{name}: dump and apply, an entry", dumping.micros(count) + applying.micros(count), MICROS),
            Figure(
                f"{name}: dump, apply and read all, an entry",
                dumping.micros(count) + applying.micros(count) + reading.micros(count),
                MICROS,
            ),
        ]
        if count == MANY:
            short = here.dump_without_history()
            newcomer = kind(3)
            newcomer.apply(short)
            assert newcomer.entries() == dict(entries)
            figures.append(Figure(f"{name}: on the wire, an entry", len(data) / count, "bytes"))
            figures.append(Figure(f"{name}: the same without history", len(short) / count, "bytes"))
        return figures

    return run


def _pair_sharing_many(kind: type[Contestant]) -> tuple[Contestant, Contestant]:
    here, there = kind(1), kind(2)
    here.fill(samples.entries(MANY))
    there.apply(here.dump())
    there.get(samples.key(0))
    return here, there


def _diverge(here: Contestant, there: Contestant, each: int, round_: int = 0) -> dict[str, Any]:
    """Set so many new keys at each of the two; returns all of them."""
    first = MANY + 2 * each * round_
    mine, yours = samples.entries(each, first), samples.entries(each, first + each)
    here.fill(mine)
    there.fill(yours)
    return dict(mine) | dict(yours)


def _one_change_among_many(kind: type[Contestant]) -> list[Figure]:
    here, there = _pair_sharing_many(kind)
    settled = _diverge(here, there, 1)
    here.exchange_with(there)  # some read their history only now, which has a row of its own below
    count = 2 if kind.ships_whole_state else 1_000
    writes = [(samples.key(i * 97), samples.value(i * 97, 1)) for i in range(count)]
    with here.shipping(), Stopwatch() as watch:
        for key, value in writes:
            there.apply(here.ship_put(key, value))
    assert there.entries() == dict(samples.entries(MANY)) | settled | dict(writes)
    return [Figure(f"one change among {MANY:,}: made, shipped, merged", watch.micros(count), MICROS)]


EXCHANGES: Final[dict[str, Callable[[Contestant, Contestant], int]]] = {
    "by versions": lambda here, there: here.exchange_with(there),
    "by reconciliation": lambda here, there: here.reconcile_with(there),
}
"""Ways for two replicas to become equal; each takes both and returns the bytes that went over."""


def _two_that_differ(
    name: str, exchange: Callable[[Contestant, Contestant], int]
) -> Callable[[type[Contestant]], list[Figure]]:
    def run(kind: type[Contestant]) -> list[Figure]:
        here, there = _pair_sharing_many(kind)
        held = dict(samples.entries(MANY))
        figures = []
        for round_, when in enumerate(("first since loading", "again")):
            held |= _diverge(here, there, DIFFERENCES, round_)
            with Stopwatch() as watch:
                size = exchange(here, there)
            figures.append(Figure(f"{title}, {when}", watch.seconds * 1e3, "ms CPU"))
        assert here.entries() == there.entries() == held
        return [*figures, Figure(f"{title}: sent", size, "bytes")]

    title = f"{DIFFERENCES} differences each way among {MANY:,}, {name}"
    return run


def _ten_into_one(kind: type[Contestant]) -> list[Figure]:
    each = 1_000
    replicas = [kind(writer) for writer in range(1, 11)]
    for at, replica in enumerate(replicas):
        replica.fill(samples.entries(each, first=at * each))
    gathered = kind(11)
    with Stopwatch() as watch:
        asked = gathered.version()
        for replica in replicas:
            gathered.apply(replica.since(asked))
        gathered.get(samples.key(0))
    assert gathered.entries() == dict(samples.entries(10 * each))
    return [Figure(f"ten replicas of {each:,} into one, an entry", watch.micros(10 * each), MICROS)]


def _many_counters(kind: type[Contestant]) -> list[Figure]:
    names = [f"counter-{i:04d}" for i in range(1_000)]
    here, there = kind(1), kind(2)
    for i, name in enumerate(names):
        for _ in range(1 + i % 3):
            here.increment(name)
        there.increment(name)
    with Stopwatch() as watch:
        there.apply(here.since(there.version()))
    assert all(there.count(name) == 2 + i % 3 for i, name in enumerate(names[:50]))
    return [Figure("1,000 counters merged, a counter", watch.micros(len(names)), MICROS)]


def _churn(kind: type[Contestant]) -> list[Figure]:
    elements = [samples.key(i) for i in range(1_000)]
    here = kind(1)
    with Stopwatch() as watch:
        for _ in range(ROUNDS):
            for element in elements:
                here.add(element)
            for element in elements:
                here.remove(element)
    left, short = here.dump(), here.dump_without_history()
    for data in (left, short):
        there = kind(2)
        there.apply(data)
        assert there.elements() == here.elements() == set()
    name = f"1,000 elements added and removed {ROUNDS} times"
    return [
        Figure(f"{name}: one add or remove", watch.micros(2 * ROUNDS * len(elements)), MICROS),
        Figure(f"{name}: left", len(left), "bytes"),
        Figure(f"{name}: left without history", len(short), "bytes"),
    ]


def _memory(contestants: list[type[Contestant]]) -> list[Row]:
    built, loaded = {}, {}
    for kind in contestants:
        built[kind.name], loaded[kind.name] = bytes_per_entry(kind, MANY)
        progress(f"memory: {kind.name}")
    return [
        Row(f"memory, {MANY:,} entries set one by one, an entry", "bytes", built),
        Row(f"memory, {MANY:,} entries loaded, an entry", "bytes", loaded),
    ]
