"""Columns: what comes out is what went in, equal columns are equal bytes, and no column is a bomb."""

import struct
import tracemalloc
from typing import Any

import cbor2
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from crdts import DecodeError, Delta, Event, Replica, decode, encode
from crdts.columns import (
    BLOCK,
    MIN_STRINGS,
    pack_stamps,
    pack_strings,
    unpack_stamps,
    unpack_strings,
)
from crdts.delta import events_delta
from crdts.limits import MAX_BATCH_EVENTS, MAX_DELTA_BYTES, MAX_VALUE_BYTES
from crdts.values import strict_loads

from .mutations import ODD

PLAIN, TABLE, BLOCKS = 0, 1, 2


@st.composite
def columns(draw: st.DrawFn) -> list[bytes]:
    """Short and long ones, of strings that repeat, or share beginnings and ends, or do not."""
    count = draw(st.sampled_from([0, 1, 63, 64, 65, 127, 128, 129, 200, 600]))
    stock = draw(st.lists(st.binary(max_size=12), min_size=1, max_size=draw(st.sampled_from([1, 2, 30, 400]))))
    prefix, suffix = draw(st.binary(max_size=9)), draw(st.binary(max_size=9))
    numbers = draw(st.booleans())
    shift = draw(st.integers(0, 1000))
    picks = [(i * 7919 + shift) % len(stock) for i in range(count)]
    return [prefix + stock[pick] + (b"%d" % i if numbers else b"") + suffix for i, pick in enumerate(picks)]


@settings(max_examples=300)
@given(columns())
@example([])
@example([b""] * 64)
@example([b""] * 63 + [b"x"])
@example([b"a" * 100] * 64 + [b"b" * 100] * 64)
@example([b"ab"] * 32 + [b"aab"] * 33)  # beginning and end overlap
@example([bytes([i % 256, i // 256]) for i in range(700)])
def test_what_comes_out_is_what_went_in(strings: list[bytes]) -> None:
    column = pack_strings(strings)
    assert unpack_strings(strict_loads(cbor2.dumps(column)), len(strings)) == strings
    assert pack_strings(list(map(bytes, map(bytearray, strings)))) == column, "equal strings, another column"


@settings(max_examples=150)
@given(columns())
def test_no_column_is_larger_than_it_would_be_as_it_is(strings: list[bytes]) -> None:
    plain = len(cbor2.dumps([PLAIN, *strings]))
    assert len(cbor2.dumps(pack_strings(strings))) <= plain + 16


@pytest.mark.parametrize(
    ("strings", "form"),
    [
        ([b"%d" % (i // 2) for i in range(MIN_STRINGS - 1)], PLAIN),
        ([b"%d" % (i // 2) for i in range(MIN_STRINGS)], TABLE),
        ([b"row %06d" % i for i in range(MIN_STRINGS)], BLOCKS),
        ([struct.pack(">Q", i * 0x9E3779B97F4A7C15 % 2**64) for i in range(300)], BLOCKS),  # one width for all
        ([b"x" * (i % 3) + b"%d" % i for i in range(300)], PLAIN),
    ],
)
def test_the_form_depends_on_the_strings_alone(strings: list[bytes], form: int) -> None:
    assert pack_strings(strings)[0] == form
    assert unpack_strings(pack_strings(strings), len(strings)) == strings


def test_what_repeats_is_written_once() -> None:
    alike = pack_strings([b"unchanged"] * 10_000)
    assert alike == [TABLE, [PLAIN, b"unchanged"], b""]
    few = pack_strings([b"red", b"green"] * 5000)
    assert len(cbor2.dumps(few)) < 10_000 + 20
    many = pack_strings([b"%d" % (i % 300) for i in range(10_000)])
    assert many[0] == TABLE
    assert type(many[2]) is list
    rows = pack_strings([b"row %06d of the table" % i for i in range(10_000)])
    assert len(cbor2.dumps(rows)) < 4 * 10_000


def test_a_block_names_one_width_where_all_are_equal() -> None:
    (_, prefix, suffix, width, rest) = pack_strings([b"a%03dz" % i for i in range(BLOCK)])
    assert (prefix, suffix, width, len(rest)) == (b"a0", b"z", 2, 2 * BLOCK)
    column = pack_strings([b"a long common beginning %dz" % i for i in range(BLOCK)])
    assert column[3] == [1] * 10 + [2] * 54


FAULTS: dict[str, tuple[Any, int]] = {
    "no list": (b"", 1),
    "no form": ([], 0),
    "a form that is no integer": ([False, b"x"], 1),
    "an unknown form": ([3, b"x"], 1),
    "a float as form": ([0.0, b"x"], 1),
    "too few": ([PLAIN, b"x"], 2),
    "too many": ([PLAIN, b"x", b"y"], 1),
    "text": ([PLAIN, "x"], 1),
    "none": ([PLAIN, None], 1),
    "a table in a table": ([TABLE, [TABLE, [PLAIN, b"x"], b""], b""], 64),
    "a table that is no list": ([TABLE, b"x", b""], 64),
    "an empty table": ([TABLE, [], b""], 64),
    "a table without strings": ([TABLE, [PLAIN], b"\x00"], 1),
    "a table without positions": ([TABLE, [PLAIN, b"x"]], 1),
    "a position beyond the table": ([TABLE, [PLAIN, b"x", b"y"], b"\x00\x02"], 2),
    "too few positions": ([TABLE, [PLAIN, b"x", b"y"], b"\x00\x01"], 3),
    "no positions into two": ([TABLE, [PLAIN, b"x", b"y"], b""], 2),
    "positions of another type": ([TABLE, [PLAIN, b"x", b"y"], "ab"], 2),
    "positions that are floats": ([TABLE, [PLAIN, b"x", b"y"], [0.0, 1.0]], 2),
    "positions that are truths": ([TABLE, [PLAIN, b"x", b"y"], [False, True]], 2),
    "a negative position": ([TABLE, [PLAIN, b"x", b"y"], [0, -1]], 2),
    "a huge position": ([TABLE, [BLOCKS, b"", b"", 0, b""], [2**64 - 1]], 1),
    "half a block": ([BLOCKS, b"", b"", 1], 1),
    "a block too many": ([BLOCKS, *(b"", b"", 1, b"x"), *(b"", b"", 1, b"x")], 1),
    "a block too few": ([BLOCKS, b"", b"", 1, b"x" * 64], 65),
    "a prefix that is text": ([BLOCKS, "", b"", 1, b"x"], 1),
    "a suffix that is text": ([BLOCKS, b"", "", 1, b"x"], 1),
    "a rest that is text": ([BLOCKS, b"", b"", 1, "x"], 1),
    "a width that does not fit": ([BLOCKS, b"", b"", 2, b"x"], 1),
    "a negative width": ([BLOCKS, b"", b"", -1, b"x"], 1),
    "a width that is a truth": ([BLOCKS, b"", b"", True, b"x"], 1),
    "too few widths": ([BLOCKS, b"", b"", [1], b"x"], 2),
    "widths that do not fit": ([BLOCKS, b"", b"", [1, 2], b"x"], 2),
    "widths below 0": ([BLOCKS, b"", b"", [2, -1], b"x"], 2),
    "widths that are truths": ([BLOCKS, b"", b"", [True], b"x"], 1),
    "a prefix that is too long": ([BLOCKS, bytes(MAX_VALUE_BYTES + 5000), b"", 0, b""], 1),
}


@pytest.mark.parametrize(("column", "count"), FAULTS.values(), ids=FAULTS.keys())
def test_a_faulty_column_is_refused(column: Any, count: int) -> None:
    with pytest.raises(ValueError, match=r"."):
        unpack_strings(column, count)


@given(columns(), st.data())
def test_a_spoiled_column_is_refused_or_holds_as_many_strings(strings: list[bytes], data: st.DataObject) -> None:
    column = pack_strings(strings)
    spot: Any = column
    while isinstance(spot, list) and any(isinstance(item, list) for item in spot) and data.draw(st.booleans()):
        spot = data.draw(st.sampled_from([item for item in spot if isinstance(item, list)]))
    if spot:
        spot[data.draw(st.integers(0, len(spot) - 1))] = ODD[data.draw(st.integers(0, len(ODD) - 1))]
    try:
        unpacked = unpack_strings(column, len(strings))
    except ValueError:
        return
    assert len(unpacked) == len(strings)
    assert {type(string) for string in unpacked} <= {bytes}


# ---- stamps

STAMPS = st.lists(
    st.one_of(
        st.integers(0, 2**64 - 1), st.integers(2**62, 2**62 + 10**7), st.integers(2**40, 2**41).map(lambda n: n << 12)
    ),
    min_size=1,
    max_size=100,
)


@given(STAMPS)
@example([0])
@example([2**64 - 1, 0, 2**64 - 1])
def test_stamps_come_out_as_they_went_in(stamps: list[int]) -> None:
    packed = b"".join(stamp.to_bytes(8, "big") for stamp in stamps)
    column = strict_loads(cbor2.dumps(pack_stamps(packed)))
    assert b"".join(unpack_stamps(column, len(stamps))) == packed
    assert pack_stamps(packed) == column


def test_stamps_of_a_clock_take_a_few_bytes_each() -> None:
    stamps = [(1_700_000_000_000_000 + 1000 * i) << 12 for i in range(1000)]
    column = pack_stamps(b"".join(stamp.to_bytes(8, "big") for stamp in stamps))
    assert column[1] == 0
    assert len(cbor2.dumps(column)) < 3100


STAMP_FAULTS: dict[str, tuple[Any, int]] = {
    "no list": (b"", 1),
    "one part": ([[1]], 1),
    "three parts": ([[1], 0, 0], 1),
    "times that are no list": ([1, 0], 1),
    "too few times": ([[1], 0], 2),
    "a time that is a float": ([[1.0], 0], 1),
    "a time that is a truth": ([[True], 0], 1),
    "counters that are false": ([[1], False], 1),
    "counters that are a number": ([[1], 1], 1),
    "too few counters": ([[1, 1], [1]], 2),
    "a counter that is a float": ([[1], [1.0]], 1),
    "a counter too large": ([[1], [4096]], 1),
    "a negative counter": ([[1], [-1]], 1),
    "a negative time": ([[-1], 0], 1),
    "a time too large": ([[2**52], 0], 1),
    "times whose sum is too large": ([[2**51, 2**51], 0], 2),
}


@pytest.mark.parametrize(("column", "count"), STAMP_FAULTS.values(), ids=STAMP_FAULTS.keys())
def test_a_faulty_column_of_stamps_is_refused(column: Any, count: int) -> None:
    with pytest.raises(ValueError, match=r"."):
        unpack_stamps(column, count)


# ---- small helpers


# ---- bombs


def bomb(count: int, keys: Any, payloads: Any) -> bytes:
    return cbor2.dumps([3, ["a"], [b"?x"], [0, 0, count], [2, count], [[keys, payloads]], [], [], [], None, []])


SAME: Any = [TABLE, [PLAIN, b""], b""]


def peak_of_refusal(data: bytes, match: str) -> int:
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError, match=match):
            decode(data)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("count", [10**6, 10**10, 2**61])
def test_a_few_bytes_cannot_stand_for_any_number_of_events(count: int) -> None:
    assert peak_of_refusal(bomb(count, SAME, SAME), "more events") < 1_000_000


def test_few_bytes_cannot_stand_for_any_number_of_bytes() -> None:
    blocks = MAX_DELTA_BYTES // (BLOCK * MAX_VALUE_BYTES) + 1
    prefix = bytes(MAX_VALUE_BYTES)
    count = blocks * BLOCK
    data = bomb(count, SAME, [BLOCKS, *([prefix, b"", 0, b""] * blocks)])
    assert len(data) < 6 * MAX_VALUE_BYTES
    with pytest.raises(DecodeError, match="too many bytes"):
        decode(data)
    long = [TABLE, [PLAIN, prefix], b""]
    with pytest.raises(DecodeError, match="too many bytes"):
        decode(bomb(2000, SAME, long))


def test_as_many_equal_events_as_a_transaction_may_have_can_be_decoded() -> None:
    events = [Event("a", seq, b"?x", b"", b"", ()) for seq in range(1, MAX_BATCH_EVENTS + 1)]
    delta = events_delta(events)
    data = encode(delta)
    assert len(data) < 100
    assert decode(data) == delta


def test_whatever_the_types_write_can_be_decoded_however_small_it_gets() -> None:
    a = Replica("a")
    with a.transaction() as done:
        for _ in range(3000):
            a.ewflag("e").enable()
            a.register("r").set(None, timestamp=1)
    deltas: list[Delta] = [done.delta, a.store.kernel.state()]
    for i in range(3000):
        a.gset("g").add(i)
        a.ormap("o").lwwmap("m").set(str(i), None, timestamp=1)
    deltas += [a.store.kernel.state(), *a.deltas_since(Replica("b").context, 2000)]
    for delta in deltas:
        assert decode(encode(delta)) == delta
