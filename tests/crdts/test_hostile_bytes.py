"""Nothing but `DecodeError` leaves the decoder, and what it lets through is harmless."""

import tracemalloc
from collections.abc import Callable
from random import Random
from typing import Any

import cbor2
import pytest

from crdts import Context, DecodeError, Replica, decode, decode_context, encode, encode_context
from crdts.limits import MAX_BATCH_EVENTS, MAX_DELTA_BYTES, MAX_SEQ

from .mutations import context_corpus, corpus, mutated


def accepts_delta(data: bytes) -> bool:
    """Decode, and if that succeeds let the delta loose on a replica that holds something already."""
    try:
        delta = decode(data)
    except DecodeError:
        return False
    assert encode(delta) == data
    replica = Replica("a")
    told = []
    replica.on_change(told.extend)
    replica.orset("s").add("mine")
    replica.store.merge(delta)  # a replica refuses what has no name; whatever brings it must do no harm
    for obj in replica.objects():
        obj.value()
        repr(obj)
    repr([replica, replica.context, told])
    assert decode_context(encode_context(replica.context)) == replica.context
    whole = replica.store.kernel.state()
    assert decode(encode(whole)) == whole
    other = Replica("z")
    other.store.merge(whole)
    assert other.fingerprint == replica.fingerprint
    return True


def accepts_context(data: bytes) -> bool:
    try:
        context = decode_context(data)
    except DecodeError:
        return False
    assert encode_context(context) == data
    repr(context)
    Replica("a").merge(decode(DELTAS[-1])).delta_since(context)
    return True


DELTAS = corpus()
KINDS = pytest.mark.parametrize(
    ("accepts", "good"),
    [(accepts_delta, DELTAS), (accepts_context, context_corpus())],
    ids=["delta", "context"],
)


@KINDS
def test_every_encoding_of_the_corpus_is_accepted(accepts: Callable[[bytes], bool], good: list[bytes]) -> None:
    assert all(map(accepts, good))


@KINDS
def test_mutated_bytes_are_refused_or_harmless(accepts: Callable[[bytes], bool], good: list[bytes]) -> None:
    rng = Random(2)
    accepted = sum(accepts(mutated(rng, good)) for _ in range(20_000 if accepts is accepts_delta else 5_000))
    assert accepted > 200, "the mutations are too crude to get past the first checks"


CONTENT: list[Any] = [[[0, b"\x01"], [0, b""]]]
GOOD: list[Any] = [3, ["a", "b"], [b"sx"], [0, 0, 2], [2, 1, 0, 1], CONTENT, [1, 1, 7], [], [1, 1, 3], None, []]
STATE: list[Any] = [3, ["a", "b"], [b"sx"], [0, 1, 1], [2, 1], CONTENT, [], [], [], [[0, 2], []], [1, 9]]
"""A delta of each form, column by column."""
ROW: list[Any] = [2, "a", 1, b"sx", b"\x01", b"", "b", 7, "c", 9]
"""And one of a single event."""


def changed(row: list[Any], **columns: Any) -> bytes:
    names = "version replicas objects spans places contents kills batches runs context prekilled"
    if "keys" in columns or "payloads" in columns:
        columns["contents"] = [[[0, *columns.get("keys", [b"\x01"])], [0, *columns.get("payloads", [b""])]]]
    return cbor2.dumps([columns.get(name, value) for name, value in zip(names.split(), row, strict=True)])


def row(**parts: Any) -> bytes:
    names = "version replica seq obj key payload killed killed_seq other other_seq"
    return cbor2.dumps([parts.get(name, value) for name, value in zip(names.split(), ROW, strict=True)])


def test_the_deltas_that_the_faults_below_are_made_of_are_good() -> None:
    assert accepts_delta(cbor2.dumps(GOOD))
    assert accepts_delta(cbor2.dumps(STATE))
    assert accepts_delta(cbor2.dumps(ROW))


def nested(value: Any, depth: int) -> Any:
    return nested([value], depth - 1) if depth else value


FAULTS = {
    "no bytes at all": b"",
    "arrays a hundred thousand deep": b"\x81" * 100_000,
    "an array that claims 2**62 items": b"\x9b\x3f" + b"\xff" * 7,
    "a string that claims 2**62 bytes": b"\x8b\x03\x5b\x3f" + b"\xff" * 7,
    "trailing bytes": cbor2.dumps(GOOD) + b"\x00",
    "an array of indefinite length": b"\x9f" + cbor2.dumps(GOOD)[1:] + b"\xff",
    "an integer that is longer than it needs to be": cbor2.dumps(GOOD).replace(b"\x8b\x03", b"\x8b\x18\x03", 1),
    "a map": cbor2.dumps({str(i): column for i, column in enumerate(GOOD)}),
    "another version": changed(GOOD, version=4),
    "True for a version": changed(GOOD, version=True),
    "a column too many": cbor2.dumps([*GOOD, []]),
    "a column too few": cbor2.dumps(GOOD[:-1]),
    "a span of 2**61 events": changed(GOOD, spans=[0, 0, 2**61]),
    "a span without an event": changed(GOOD, spans=[0, 0, 2, 0, 5, 0]),
    "a span that ends early": changed(GOOD, spans=[0, 1]),
    "one span written as two": changed(GOOD, spans=[0, 0, 1, 0, 0, 1]),
    "spans out of order": changed(GOOD, spans=[0, 3, 1, 0, -4, 1]),
    "an event that comes twice": changed(GOOD, spans=[0, 3, 1, 0, -1, 1]),
    "a seq of 0": changed(GOOD, spans=[0, -1, 2]),
    "a seq above the last": changed(GOOD, spans=[0, MAX_SEQ, 2]),
    "a seq as a float": changed(GOOD, spans=[0, 0.0, 2]),
    "a seq as a bignum": changed(GOOD, spans=[0, 2**70, 2]),
    "a seq as a bool": changed(GOOD, spans=[0, False, 2]),
    "a replica that is not in the table": changed(GOOD, spans=[2, 0, 2]),
    "a replica counted from the end": changed(GOOD, spans=[-1, 0, 2]),
    "replicas out of order": changed(GOOD, replicas=["b", "a"]),
    "a replica twice": changed(GOOD, replicas=["a", "a"]),
    "a replica that nothing refers to": changed(GOOD, replicas=["a", "b", "c"]),
    "a replica without a name": changed(GOOD, replicas=["", "b"]),
    "a replica id of 65 bytes": changed(GOOD, replicas=["a", "b" * 65]),
    "a replica id that would spoil a terminal": changed(GOOD, replicas=["\x1b[2J", "b"]),
    "an object that nothing refers to": changed(GOOD, objects=[b"sx", b"sy"]),
    "an object that is not in the table": changed(GOOD, places=[3, 1, 0, 1]),
    "an object counted from the end": changed(GOOD, places=[-1, 1, 0, 1]),
    "an object without a type": changed(GOOD, objects=[b""]),
    "an object name of 256 bytes": changed(GOOD, objects=[b"s" + b"x" * 256]),
    "an object name that is not text": changed(GOOD, objects=[b"s\xff"]),
    "a key too many": changed(GOOD, keys=[b"\x01", b"\x02"]),
    "a key that is no value": changed(GOOD, keys=[b"\xff"]),
    "a key that is longer than it needs to be": changed(GOOD, keys=[b"\x18\x01"]),
    "a key with more behind it": changed(GOOD, keys=[b"\x01\x01"]),
    "a key of 4,097 bytes": changed(GOOD, keys=[cbor2.dumps(b"x" * 4094)]),
    "a key that is a date": changed(GOOD, keys=[cbor2.dumps(cbor2.CBORTag(1, 0))]),
    "a key that is a shared reference": changed(GOOD, keys=[b"\x82\xd8\x1c\x80\xd8\x1d\x00"]),
    "a key that is a regular expression": changed(GOOD, keys=[b"\xd8\x23\x65(a+)+"]),
    "a key that is a bignum": changed(GOOD, keys=[cbor2.dumps(2**64)]),
    "a key with a member twice": changed(GOOD, keys=[b"\xa2\x61a\x01\x61a\x01"]),
    "a key with members out of order": changed(GOOD, keys=[b"\xa2\x61b\x01\x61a\x01"]),
    "a key with a member that is no text": changed(GOOD, keys=[b"\xa1\x01\x01"]),
    "a key that is undefined": changed(GOOD, keys=[b"\xf7"]),
    "a key that is a long float": changed(GOOD, keys=[b"\xfb\x3f\xf0" + bytes(6)]),
    "a key that is one of the many other nans": changed(GOOD, keys=[b"\xf9\x7e\x01"]),
    "a key that is text with half a character": changed(GOOD, keys=[b"\x61\xc3"]),
    "a key that is nested 17 deep": changed(GOOD, keys=[cbor2.dumps(nested(1, 17))]),
    "a key that is nested a thousand deep": changed(GOOD, keys=[b"\x81" * 1000 + b"\x01"]),
    "a set entry with a payload": changed(GOOD, payloads=[b"\x01"]),
    "a counter entry below zero": changed(GOOD, objects=[b"gx"], keys=[b"a"], payloads=[b"\x82\x01\x20"]),
    "a counter entry of another shape": changed(GOOD, objects=[b"cx"], keys=[b"a"], payloads=[b"\x82\x01\x01"]),
    "a counter entry of nobody": changed(GOOD, objects=[b"gx"], keys=[b""], payloads=[b"\x82\x01\x01"]),
    "a register with a key": changed(GOOD, objects=[b"rx"], keys=[b"a"], payloads=[bytes(8) + b"\x01"]),
    "a register without a stamp": changed(GOOD, objects=[b"rx"], keys=[b""], payloads=[b"\x01"]),
    "a register without a value": changed(GOOD, objects=[b"rx"], keys=[b""], payloads=[bytes(8)]),
    "a map key that is not text": changed(GOOD, objects=[b"mx"], keys=[b"\xff"], payloads=[bytes(8) + b"\x01"]),
    "a counter entry of generation 0": changed(GOOD, objects=[b"gx"], keys=[b"a"], payloads=[b"\x82\x00\x01"]),
    "a remove-wins entry that is neither": changed(GOOD, objects=[b"wx"], payloads=[b"\x02"]),
    "a flag with a key": changed(GOOD, objects=[b"ex"]),
    "a share that is negative": changed(GOOD, objects=[b"bx"], keys=[b"a"], payloads=[b"\x84\x00\x01\x20\xa0"]),
    "a share of another shape": changed(GOOD, objects=[b"bx"], keys=[b"a"], payloads=[b"\x83\x00\x01\x01"]),
    "a transfer to nobody": changed(GOOD, objects=[b"bx"], keys=[b"a"], payloads=[b"\x84\x00\x01\x00\xa1\x60\x01"]),
    "an entry of a map of objects": changed(GOOD, objects=[b"ox"]),
    "an object inside a set": changed(GOOD, objects=[b"sx\xffsy"]),
    "an object inside a map without a type": changed(GOOD, objects=[b"ox\xff"]),
    "maps seventeen deep": changed(GOOD, objects=[b"ox\xff" * 16 + b"sx"]),
    "a retired writer without a last seq": changed(GOOD, objects=[b"x"], keys=[b"b"], payloads=[b"\x81\xf5"]),
    "places that are two runs of one": changed(GOOD, places=[2, 1, 0, 0, 0, 1]),
    "a place for fewer events": changed(GOOD, places=[2, 1]),
    "contents for fewer objects": changed(GOOD, contents=[]),
    "contents of four columns": changed(GOOD, contents=[[*CONTENT[0], *CONTENT[0]]]),
    "a column of an unknown form": changed(GOOD, contents=[[[3, b"\x01"], [0, b""]]]),
    "a column that is a table though it is short": changed(GOOD, contents=[[[1, [0, b"\x01"], b""], [0, b""]]]),
    "a column of text": changed(GOOD, contents=[[[0, "\x01"], [0, b""]]]),
    "a transaction of one event": changed(GOOD, batches=[0, 1, 1]),
    "a transaction of too many": changed(GOOD, batches=[0, 1, MAX_BATCH_EVENTS + 1]),
    "a transaction that nothing belongs to": changed(GOOD, batches=[1, 5, 2]),
    "transactions that overlap": changed(GOOD, batches=[0, 1, 2, 0, 2, 2]),
    "a transaction in a state": changed(STATE, batches=[0, 1, 2]),
    "kills of no event": changed(GOOD, kills=[2, 1, 7]),
    "kills out of order": changed(GOOD, kills=[1, 1, 7, 0, 1, 6]),
    "a kill that comes twice": changed(GOOD, kills=[1, 1, 7, 0, 1, 7]),
    "kills by events out of order": changed(GOOD, kills=[1, 1, 7, -1, 1, 7]),
    "4,097 kills of one event": changed(GOOD, kills=[n for seq in range(1, 4098) for n in (int(seq == 1), 1, seq)]),
    "a run of nothing": changed(GOOD, runs=[1, 1, 0]),
    "a run beyond the last seq": changed(GOOD, runs=[1, 2, MAX_SEQ]),
    "runs out of order": changed(GOOD, runs=[1, 5, 1, 1, 1, 1]),
    "runs that touch": changed(GOOD, runs=[1, 1, 2, 1, 3, 1]),
    "runs that overlap": changed(GOOD, runs=[1, 1, 3, 1, 2, 9]),
    "pre-killed dots outside a state": changed(GOOD, prekilled=[1, 9]),
    "a context for too few replicas": changed(STATE, context=[[0, 2]]),
    "a context with an empty range": changed(STATE, context=[[0, 2, 1, 0], []]),
    "a context with ranges that touch": changed(STATE, context=[[0, 1, 0, 1], []]),
    "a context that goes backwards": changed(STATE, context=[[0, 9, -3, 4], []]),
    "a context beyond the last seq": changed(STATE, context=[[0, MAX_SEQ + 1], []]),
    "a state with an entry outside its context": changed(STATE, context=[[0, 1], []]),
    "a state with a run": changed(STATE, runs=[1, 1, 1]),
    "a state with a dead event": changed(STATE, places=[0, 1], objects=[], contents=[]),
    "a state with kills": changed(STATE, kills=[0, 1, 7]),
    "a state with a pre-killed dot that it has processed": changed(STATE, prekilled=[0, 1, 1, 9]),
    "pre-killed dots out of order": changed(STATE, prekilled=[1, 9, 1, 8]),
    "a retired writer in a context": changed(STATE, objects=[b"x"], keys=[b"a"], payloads=[b"\x82\x02\xf5"]),
    "a single event in columns": changed(GOOD, spans=[0, 0, 1], places=[2, 1], kills=[], runs=[], replicas=["a"]),
    "a row of nobody": row(replica=""),
    "a row with a seq of 0": row(seq=0),
    "a row with a seq above the last": row(seq=MAX_SEQ + 1),
    "a row whose seq is a bool": row(seq=True),
    "a row without an object": row(obj=b""),
    "a row with a faulty entry": row(payload=b"x"),
    "a row that names its writer among the killed": row(killed="a"),
    "a row with kills out of order": row(killed="d"),
    "a row that kills a seq of 0": row(killed_seq=0),
    "a row that kills by position": row(killed=1),
    "a row that ends within a kill": cbor2.dumps(ROW[:-1]),
    "a row without a payload": cbor2.dumps(ROW[:5]),
    "a row of a removal with a key": row(obj=b"", payload=None),
    "a row of an entry's object without a payload": row(key=b"", payload=None),
    "a row that neither stores nor kills": cbor2.dumps([2, "a", 1, b"", b"", None]),
    "a row of 4,097 kills": cbor2.dumps([*ROW[:6], *(part for seq in range(1, 4098) for part in ("b", seq))]),
}


@pytest.mark.parametrize("data", FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_is_refused_at_little_cost(data: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError):
            decode(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000 + 20 * len(data)


CONTEXT_FAULTS = {
    "no bytes at all": b"",
    "a delta": cbor2.dumps(GOOD),
    "another version": cbor2.dumps([2, ["a"], [[0, 1]]]),
    "a replica without a dot": cbor2.dumps([1, ["a"], [[]]]),
    "an empty range": cbor2.dumps([1, ["a"], [[0, 0]]]),
    "a range beyond the last seq": cbor2.dumps([1, ["a"], [[1, MAX_SEQ]]]),
    "ranges that touch": cbor2.dumps([1, ["a"], [[0, 1, 0, 1]]]),
    "half a range": cbor2.dumps([1, ["a"], [[0, 1, 3]]]),
    "replicas out of order": cbor2.dumps([1, ["b", "a"], [[0, 1], [0, 1]]]),
    "trailing bytes": cbor2.dumps([1, ["a"], [[0, 1]]]) + b"\x00",
    "a tag": cbor2.dumps(cbor2.CBORTag(55799, [1, ["a"], [[0, 1]]])),
}


@pytest.mark.parametrize("data", CONTEXT_FAULTS.values(), ids=CONTEXT_FAULTS.keys())
def test_a_faulty_context_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_context(data)


def test_a_value_in_a_tag_of_any_number_is_refused() -> None:
    for tag in (*range(300), 55799, 2**16, 2**32, 2**64 - 1):
        for inside in (0, "1", b"1", [1, 2]):
            key = cbor2.dumps(cbor2.CBORTag(tag, inside))
            with pytest.raises(DecodeError):
                decode(changed(GOOD, keys=[key]))


@pytest.mark.parametrize("data", [bytearray(cbor2.dumps(GOOD)), cbor2.dumps(GOOD).hex(), None])
def test_what_is_not_bytes_is_refused_like_bytes_that_are_wrong(data: Any) -> None:
    with pytest.raises(DecodeError, match=type(data).__name__):
        decode(data)
    with pytest.raises(DecodeError, match=type(data).__name__):
        decode_context(data)


def test_too_many_bytes_are_refused_unread() -> None:
    data = cbor2.dumps(GOOD)
    assert decode(data, max_bytes=len(data))
    with pytest.raises(DecodeError, match="allowed"):
        decode(data, max_bytes=len(data) - 1)
    with pytest.raises(DecodeError, match="allowed"):
        decode_context(encode_context(Context({"a": 1})), max_bytes=3)
    with pytest.raises(DecodeError, match="allowed"):
        decode(bytes(MAX_DELTA_BYTES + 1))


def test_the_last_seq_can_be_used_and_told_of() -> None:
    context = Context({"b": MAX_SEQ})
    assert decode_context(encode_context(context)) == context
    decode(changed(GOOD, runs=[1, 1, MAX_SEQ]))


def test_a_run_beyond_all_counting_makes_nobody_deaf_to_a_writer() -> None:
    replica = Replica("z").merge(decode(changed(GOOD, runs=[1, 1, MAX_SEQ])))
    assert replica.context.last("b") < MAX_SEQ


def test_a_context_of_a_hundred_thousand_ranges_costs_no_more_than_its_size() -> None:
    context = Context.of(("a", seq, seq + 1) for seq in range(1, 200_000, 2))
    tracemalloc.start()
    try:
        assert decode_context(encode_context(context)) == context
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100 * 2 * 100_000


@pytest.mark.soak
@KINDS
def test_mutated_bytes_are_refused_or_harmless_in_the_long_run(
    accepts: Callable[[bytes], bool], good: list[bytes]
) -> None:
    seed = Random().randrange(2**32)
    print("seed", seed)  # noqa: T201  # pytest shows it when the test fails
    rng = Random(seed)
    for _ in range(1_000_000):
        accepts(mutated(rng, good))
