"""Encoded deltas and contexts, and ways to spoil them: at random bytes, and at random places of their structure."""

from random import Random
from typing import Any, Final

import cbor2

from crdts import Context, HybridClock, Replica, encode, encode_context

ODD: Final[list[Any]] = [
    *(0, 1, 2, 23, 24, 255, 256, 2**32, 2**61, 2**62 - 2, 2**62 - 1, 2**62, 2**63, 2**64 - 1, 2**64, -1, -(2**64)),
    *(None, True, False, 0.0, 1.0, float("nan"), cbor2.undefined, cbor2.CBORSimpleValue(99)),
    *("", "a", "b", "\x00", "a b", "é", "x" * 65, b"", b"s", b"sx", b"c\xff", b"g", b"?new", b"\xf9\x7e\x00", b"\xff"),
    *([], [[]], [0, 1], [1, 1, 1], [[[[[[]]]]]], {}, {"a": 1}, {1: 2}, {b"a": []}),
    *(cbor2.CBORTag(tag, value) for tag in (0, 2, 4, 28, 29, 35, 258, 55799) for value in (0, b"1", "1", [1, 2])),
]
"""What a place of the structure is replaced with."""

VALUES: Final = [None, True, 1, 1.0, -0.0, float("inf"), "text", "", b"bytes", [1, [2, (3,)]], {"b": 1, "aa": [None]}]


def corpus() -> list[bytes]:
    """Valid encodings of every kind of thing: all types, both forms, removals, kills, runs, gaps, pre-kills."""
    ticks = iter(range(1_700_000_000, 1_800_000_000))
    replicas = [Replica(name, clock=HybridClock(lambda: next(ticks))) for name in ("a", "b", "node-c")]
    made = []
    for i, value in enumerate(VALUES):
        replica, other = replicas[i % 3], replicas[(i + 1) % 3]
        made += [
            replica.orset("s").add(value),
            replica.gcounter("g").increment(i),
            replica.counter("c").decrement(i + 2**40),
            replica.register("r").set(value),
            replica.mvregister("v").set(value),
            replica.lwwmap("m").set(str(value), value),
            replica.lwwmap("m").delete("None"),
        ]
        if i % 2:
            made.append(replica.orset("s").remove(value))
            made.append(other.delta_since(replica.context))
            other.merge(replica)
    reader = Replica("reader")
    for delta in made[5::3]:  # out of order and with gaps: pre-killed dots and a cloud
        reader.merge(delta)
    made += [one.delta_since(Context()) for one in (*replicas, reader)]
    made += [one.store.kernel.state() for one in (*replicas, reader)]
    writer = Replica("writer")
    for i in range(12):
        writer.lwwmap("m").set(str(i % 5), i)
        writer.lwwmap("m").delete(str(i % 3))
    made += writer.store.kernel.deltas_since(Context(), 200)
    return sorted({encode(delta) for delta in made})


def context_corpus() -> list[bytes]:
    return [
        encode_context(Context()),
        encode_context(Context({"a": 5, "b": 2**40})),
        encode_context(Context.of([("a", 1, 3), ("a", 7, 9), ("node-c", 2, 2**62), ("é", 1, 2)])),
    ]


def mutated(rng: Random, good: list[bytes]) -> bytes:
    """A good encoding with one to three faults, or none that matters."""
    data = rng.choice(good)
    for _ in range(rng.choice((1, 1, 2, 3))):
        data = _mutate_structure(rng, data) if rng.random() < 0.7 else _mutate_bytes(rng, data, good)
    return data


def _mutate_bytes(rng: Random, data: bytes, good: list[bytes]) -> bytes:
    at = rng.randrange(len(data) + 1)
    to = min(len(data), at + rng.randrange(9))
    return rng.choice(
        (
            data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :],
            data[:at],
            data[:at] + data[to:],
            data[:to] + data[at:],
            data[:at] + rng.randbytes(rng.randrange(1, 9)) + data[at:],
            data[:at] + rng.choice(good)[at:],
            data + b"\x00",
            rng.randbytes(rng.randrange(40)),
        )
    )


def _mutate_structure(rng: Random, data: bytes) -> bytes:
    try:
        root = cbor2.loads(data)
    except Exception:  # spoiled before: whatever cbor2 says of it is not the point here
        return data
    spot = root
    while type(spot) is list and spot and any(type(item) is list and item for item in spot) and rng.random() < 0.9:
        spot = rng.choice([item for item in spot if type(item) is list and item])
    if type(spot) is not list or not spot:
        return data
    _spoil(rng, spot)
    try:
        return cbor2.dumps(root)
    except Exception:  # such as text that was cut within a surrogate
        return data


def _spoil(rng: Random, column: list[Any]) -> None:
    i, j = rng.randrange(len(column)), rng.randrange(len(column))
    how = rng.randrange(8)
    if how == 0:
        column[i] = rng.choice(ODD)
    elif how == 1:
        column[i], column[j] = column[j], column[i]
    elif how == 2:
        del column[i]
    elif how == 3:
        column.insert(i, column[j])
    elif how == 4:
        column.insert(i, rng.choice(ODD))
    elif how == 5:
        del column[i:]
    elif type(column[i]) is bytes:
        column[i] = _mutate_bytes(rng, column[i], [column[j]] if type(column[j]) is bytes else [b"\x01"])
    elif type(column[i]) is int:
        column[i] += rng.choice((-2, -1, 1, 2))
