"""How our own costs grow with what an object holds: all but the whole-state ones should stay where they are."""

import statistics
from typing import Final

from crdts import Context, Replica, decode, encode

from . import samples
from .contestants import Ours
from .measure import Figure, Stopwatch, progress
from .memory import bytes_per_entry

SIZES: Final = (1_000, 10_000, 100_000)
LARGE: Final = 1_000_000
WRITES: Final = 2_000
CHANGES: Final = 100
REPEATS: Final = 10

Growth = dict[int, list[Figure]]
"""The figures by how many entries the object held; the same ones in the same order for each."""


def growth(large: bool) -> Growth:
    """Everything at each size; the largest takes a minute and gigabytes, so only if asked for."""
    found: Growth = {}
    for size in (*SIZES, LARGE) if large else SIZES:
        runs = [_figures(size) for _ in range(1 if size == LARGE else 3)]
        found[size] = [
            Figure(same[0].name, statistics.median(figure.value for figure in same), same[0].unit)
            for same in zip(*runs, strict=True)
        ]
        built, loaded = bytes_per_entry(Ours, size)
        found[size].append(Figure("memory, set one by one, an entry", built, "bytes"))
        found[size].append(Figure("memory, loaded, an entry", loaded, "bytes"))
        progress(f"growth: {size:,} entries")
    return found


def _figures(size: int) -> list[Figure]:
    here, there = Replica("writer-1"), Replica("writer-2")
    tasks = here.lwwmap("tasks")
    for key, value in samples.entries(size):
        tasks.set(key, value)
    whole = _whole_state(here, there, size)

    writes = samples.entries(WRITES, first=size)
    with Stopwatch() as setting:
        shipped = [encode(tasks.set(key, value)) for key, value in writes]
    for data in shipped:
        there.merge(decode(data))

    asking, merging = Stopwatch(), Stopwatch()
    for repeat in range(REPEATS):
        known = there.context
        for i in range(CHANGES):
            tasks.set(samples.key(i), samples.value(i, 1 + repeat))
        with asking:
            delta = here.delta_since(known)
        received = decode(encode(delta))
        with merging:
            there.merge(received)
    assert there.context == here.context
    assert there.fingerprint == here.fingerprint
    return [
        Figure("set a new key, shipped", setting.micros(WRITES), "us CPU"),
        Figure(f"delta_since for {CHANGES} changes", asking.micros(REPEATS), "us CPU"),
        Figure(f"merge of a delta of {CHANGES}", merging.micros(REPEATS), "us CPU"),
        *whole,
    ]


def _whole_state(here: Replica, there: Replica, size: int) -> list[Figure]:
    with Stopwatch() as asking:
        state = here.delta_since(Context())
    with Stopwatch() as encoding:
        data = encode(state)
    del state
    with Stopwatch() as decoding:
        received = decode(data)
    with Stopwatch() as merging:
        there.merge(received)
    assert there.lwwmap("tasks").value() == dict(samples.entries(size))
    parts = {"delta_since": asking, "encode": encoding, "decode": decoding, "merge": merging}
    figures = [Figure(f"whole state: {name}, an entry", watch.micros(size), "us CPU") for name, watch in parts.items()]
    total = sum(figure.value for figure in figures)
    return [*figures, Figure("whole state: all four, an entry", total, "us CPU")]
