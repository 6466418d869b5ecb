"""Messages survive the trip, and nothing that is not one gets through."""

from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crdts import Context, Delta, Replica, ReplicaId, encode, encode_context
from crdts.delta import events_delta, state_delta
from gossip.protocol import Address
from gossip.protocol.errors import MalformedMessage
from gossip.protocol.identity import MAX_EPOCH, NOBODY
from gossip.protocol.membership.update_queue import update_bytes
from gossip.protocol.wire.codec import (
    ENVELOPE_BYTES,
    HELLO_BYTES,
    MAX_AGE,
    MAX_ASKED,
    MAX_COUNT,
    MAX_COUNTER,
    MAX_HOPS,
    MAX_MESSAGES,
    MAX_NUMBER,
    MAX_TAG_BYTES,
    MAX_TAGS,
    MAX_VERSION_BYTES,
    RELAY_BYTES,
    assemble,
    decode_datagram,
    decode_frame,
    encode_datagram,
    encode_frame,
    encode_message,
)
from gossip.protocol.wire.messages import (
    WINDOW,
    Ack,
    Ask,
    AskReconcile,
    Bequest,
    Borrow,
    Busy,
    CanReconcile,
    Challenge,
    Chunk,
    ContextPage,
    Declined,
    Digest,
    Done,
    Frame,
    Gone,
    HeadPart,
    Hello,
    Introduce,
    Lend,
    ListMembers,
    Message,
    Nack,
    Offer,
    Ping,
    PingRequest,
    Proof,
    Push,
    Receipt,
    Reconcile,
    Relay,
    Report,
    Retired,
    Roll,
    Same,
    Shuffle,
    Span,
    StateEnd,
    StatePart,
    Taken,
    Update,
    Updates,
    Vacant,
    Welcome,
    WholeContext,
)

from ..support import Puppet

NODE = b"nodeid.."
COOKIE = b"cookie.."
DELTA = Replica("a").orset("s").add("x")
STATE = Replica("b").merge(DELTA).store.kernel.state()
CONTEXT = Context({"a": 3, "b": 1})

MESSAGES: list[Message] = [
    Hello("n", 1, 0, COOKIE, b"\0" * 9),
    Welcome("n", MAX_EPOCH, MAX_COUNT, COOKIE, COOKIE),
    Challenge(COOKIE),
    Proof(COOKIE),
    Updates(
        (
            Update(NODE, "alive", 1, 0),
            Update(NODE, "accused", MAX_EPOCH, MAX_COUNTER, Address("10.0.0.1", 1), "1.2.3", (("a", ""), ("b", "é"))),
            Update(NODE, "left", 2, 3, Address("fe80::1", 65_535), nonce=""),
            Update(NODE, "alive", 2, 3, nonce="abc234"),
            Update(NODE, "alive", 2, 3, nonce="0102030405060708.4-abc234"),
        )
    ),
    Push(DELTA, 6, 0),
    Relay(DELTA, 1, None),
    Relay(DELTA, MAX_COUNT, Span(NODE, COOKIE)),
    Receipt(1, MAX_COUNT, bytes(WINDOW // 8), MAX_COUNT),
    Receipt(MAX_EPOCH, 1, b"", 0),
    Roll((1 << 64) - 1, 1024),
    ListMembers(b""),
    Ping(0),
    PingRequest(MAX_NUMBER, NODE, 200),
    Ack(1),
    Nack(MAX_NUMBER),
    Shuffle(((NODE, None, 0), (COOKIE, Address("10.0.0.2", 9), MAX_AGE)), True),
    Digest(COOKIE, (1 << 64) - 1),
    Same(COOKIE),
    ContextPage("a", "", CONTEXT, True),
    Offer(),
    Busy(),
    Ask(("a.1", "b.2")),
    Report(CONTEXT, (1 << 64) - 1, True),
    Gone(),
    Retired(NODE, COOKIE),
    Retired(NODE, b""),
    Borrow(),
    Lend(ReplicaId("0102030405060708.1"), 7, NOBODY),
    Lend(None, 0, NODE),
    Bequest(NODE, MAX_EPOCH, ((ReplicaId("0102030405060708.1"), 7), (ReplicaId("other"), MAX_COUNT))),
    Taken((ReplicaId("0102030405060708.1"),)),
    Taken(()),
    Vacant((ReplicaId("0102030405060708.1"), ReplicaId("other"))),
]
FRAMES: list[Frame] = [
    Introduce(NODE, "n", 1, False),
    WholeContext(CONTEXT),
    Chunk(DELTA),
    StatePart(events_delta(STATE.events)),
    StateEnd(state_delta((), CONTEXT, [("c", 7)])),
    Done(),
    HeadPart(state_delta((), CONTEXT, [("c", 7)])),
    CanReconcile(1),
    Reconcile(COOKIE, Replica("a").reconcile().start()),
    AskReconcile(),
    Declined(b""),
    Declined(COOKIE),
]


ODD_FIELDS: list[tuple[str, Any]] = [
    ("node_id", b""),
    ("node_id", "nodeid.."),
    ("state", -1),
    ("state", 5),
    ("state", "alive"),
    ("epoch", 0),
    ("epoch", MAX_EPOCH + 1),
    ("counter", -1),
    ("counter", MAX_COUNTER + 1),
    ("counter", True),
    ("host", b"\x0a\0\0"),
    ("host", "10.0.0.1"),
    ("port", 0),
    ("port", 65_536),
    ("version", b"1"),
    ("version", "1\n2"),
    ("version", "\x1b[31m"),
    ("version", "v" * (MAX_VERSION_BYTES + 1)),
    ("version", "é" * (MAX_VERSION_BYTES // 2 + 1)),
    ("tags", {}),
    ("tags", ["role"]),
    ("tags", ["", "worker"]),
    ("tags", ["role", b"worker"]),
    ("tags", ["role", "work\x07er"]),
    ("tags", ["ro\u202ele", "worker"]),
    ("tags", ["b", "1", "a", "2"]),
    ("tags", ["a", "1", "a", "2"]),
    ("tags", ["k", "v" * MAX_TAG_BYTES]),
    ("tags", [text for i in range(MAX_TAGS + 1) for text in (f"{i:02}", "")]),
]


def update(**odd: Any) -> list[Any]:
    """A row of a proper `Updates` message, but for what is given."""
    fields = {"node_id": NODE, "state": 0, "epoch": 1, "counter": 0, "host": b"\x0a\0\0\1", "port": 1}
    return list((fields | {"version": "", "tags": []} | odd).values())


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
def test_a_message_arrives_as_it_was_sent(message: Message) -> None:
    assert decode_datagram(encode_datagram(NODE, 1, [message])) == (NODE, 1, [message])


@pytest.mark.parametrize("frame", FRAMES, ids=lambda f: type(f).__name__)
def test_a_frame_arrives_as_it_was_sent(frame: Frame) -> None:
    assert decode_frame(encode_frame(frame)) == frame


def test_events_that_come_again_are_the_same_and_what_was_refused_is_refused_again() -> None:
    good, state = encode_datagram(NODE, 1, [Push(DELTA, 6, 0)]), encode_datagram(NODE, 1, [Push(STATE, 6, 0)])
    for _ in range(3):
        assert decode_datagram(good) == (NODE, 1, [Push(DELTA, 6, 0)])
        with pytest.raises(MalformedMessage, match="not a state"):
            decode_datagram(state)


def test_a_datagram_keeps_the_order_of_its_messages() -> None:
    assert decode_datagram(encode_datagram(NODE, 1, MESSAGES))[2] == MESSAGES


def test_unknown_types_and_further_fields_are_ignored_so_that_later_versions_can_add_some() -> None:
    datagram = cbor2.dumps([NODE, 1, [99, "news"], [8, COOKIE, "more"], [11, {"a": [1]}]])
    assert decode_datagram(datagram) == (NODE, 1, [Same(COOKIE), Offer()])
    assert decode_frame(cbor2.dumps([99, "news"])) is None
    assert decode_frame(cbor2.dumps([6, "more"])) == Done()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80",
        cbor2.dumps([]),
        cbor2.dumps([NODE]),
        cbor2.dumps([NODE, 1]),
        cbor2.dumps([NODE, 0, [8, COOKIE]]),
        cbor2.dumps([NODE, True, [8, COOKIE]]),
        cbor2.dumps({"a": 1}),
        cbor2.dumps([NODE, 1, [8, COOKIE]]) + b"\0",
        cbor2.dumps([b"short", 1, [8, COOKIE]]),
        cbor2.dumps(["nodeid..", 1, [8, COOKIE]]),
        cbor2.dumps([NODE, 1, *[[11]] * (MAX_MESSAGES + 1)]),
        cbor2.dumps([NODE, 1, 8]),
        cbor2.dumps([NODE, 1, []]),
        cbor2.dumps([NODE, 1, ["8", COOKIE]]),
        cbor2.dumps([NODE, 1, [True, "n", 1, COOKIE, b""]]),
        cbor2.dumps([NODE, 1, [1 << 70, COOKIE]]),
        cbor2.dumps([NODE, 1, [8, [[[[[[[[1]]]]]]]]]]),
        cbor2.dumps([NODE, 1, [8, cbor2.CBORTag(1, 0)]]),
        b"\x83" + cbor2.dumps(NODE) + b"\x01" + b"\x9f\x0b\xff",  # indefinite length
        b"\x83" + cbor2.dumps(NODE) + b"\x01" + b"\x81\x18\x0b",  # 11, not in its shortest form
    ],
)
def test_what_is_not_a_canonical_datagram_is_malformed(content: bytes) -> None:
    with pytest.raises(MalformedMessage):
        decode_datagram(content)


@pytest.mark.parametrize(
    "row",
    [
        [1, "", 1, 0, COOKIE, b""],
        [1, "n" * 65, 1, 0, COOKIE, b""],
        [1, "red\x1b[31m", 1, 0, COOKIE, b""],
        [1, b"n", 1, 0, COOKIE, b""],
        [1, "n", 0, 0, COOKIE, b""],
        [1, "n", True, 0, COOKIE, b""],
        [1, "n", 1.0, 0, COOKIE, b""],
        [1, "n", MAX_COUNT + 1, 0, COOKIE, b""],
        [1, "n", 1, 0, b"seven..", b""],
        [1, "n", 1, -1, COOKIE, b""],
        [1, "n", 1, 0, COOKIE, "text"],
        [1, "n", 1, 0, COOKIE],
        [2, "n", 1, 0, COOKIE, None],
        [2, "n", -1, 0, COOKIE, COOKIE],
        [2, "n", 1, True, COOKIE, COOKIE],
        [3, b""],
        [4, "cookie.."],
        [5, {}],
        [5, [update()] * 65],
        [5, [update()[:7]]],
        [5, [{}]],
        *([5, [update(**{field: value})]] for field, value in ODD_FIELDS),
        [6, encode(DELTA)[:-1], 1, 0],
        [6, encode(DELTA) + b"\0", 1, 0],
        [6, encode(DELTA), MAX_HOPS + 1, 0],
        [6, encode(DELTA), 1, -1],
        [6, encode(STATE), 1, 0],
        [6, [1, 2], 1, 0],
        [7, COOKIE, 1 << 64],
        [7, COOKIE, -1],
        [7, COOKIE + COOKIE, 0],
        [8, None],
        [9, "b", "", encode_context(CONTEXT), True],
        [9, "", "b", encode_context(CONTEXT), True],
        [9, "", "", encode_context(CONTEXT), 1],
        [9, b"", "", encode_context(CONTEXT), True],
        [9, "", "", encode(DELTA), True],
        [40, encode(STATE), 1, b""],
        [40, encode(DELTA), 0, b""],
        [40, encode(DELTA), -1, b""],
        [40, encode(DELTA), 1, NODE],
        [40, encode(DELTA), 1, NODE + COOKIE + b"x"],
        [40, encode(DELTA), 1, "x" * 16],
        [40, encode(DELTA), 1, None],
        [40, encode(DELTA), 1],
        [41, 0, 1, b"", 0],
        [41, 1, 0, b"", 0],
        [41, 1, MAX_COUNT + 1, b"", 0],
        [41, 1, 1, bytes(WINDOW // 8 + 1), 0],
        [41, 1, 1, 7, 0],
        [41, 1, 1, b"", -1],
        [60, []],
        [60, "a.1"],
        [60, ["a.1"] * (MAX_ASKED + 1)],
        [60, [""]],
        [60, [b"a.1"]],
        [60, ["two\nlines"]],
        [61, encode(DELTA), 0, True],
        [61, encode_context(CONTEXT), 1 << 64, True],
        [61, encode_context(CONTEXT), 0, 1],
        [63, b"short", COOKIE],
        [63, NODE, b"short"],
        [63, NODE, None],
        [13, 1],
        [13, 1 << 64, 1],
        [13, 1, -1],
        [14, -1],
        [14, True],
        [14, MAX_NUMBER + 1],
        [15, 1, b"short"],
        [16, "1"],
        [17, None],
        [18, b"seven.."],
        [18, ""],
        [19, [[NODE, b"", 0, 0]] * 65, True],
        [19, [[NODE, b"", 0]], True],
        [19, [[NODE, b"\x0a\0\0\1", 0, 0]], True],
        [19, [[NODE, b"", 0, -1]], True],
        [19, [[NODE, b"", 0, MAX_AGE + 1]], True],
        [19, [[b"", b"", 0, 0]], True],
        [19, [[NODE, b"", 0, 0]], 1],
        [19, None, True],
    ],
)
def test_a_message_with_a_field_out_of_place_is_malformed(row: list[Any]) -> None:
    with pytest.raises(MalformedMessage):
        decode_datagram(cbor2.dumps([NODE, 1, row]))


@pytest.mark.parametrize(
    "row",
    [
        [1, NODE, "n", 1],
        [1, NODE, "n", 1, 0],
        [1, NODE, "n", 0, False],
        [2, encode(DELTA)],
        [2, None],
        [3, encode(STATE)],
        [4, encode(STATE)],
        [4, encode(Delta((), (("a", 1, 3),)))],
        [4, encode(Replica("k").merge(DELTA).orset("s").add("x"))],  # an entry that kills
        [5, encode(DELTA)],
        [5, encode(STATE)],  # entries belong into parts
        [5, None],
    ],
)
def test_a_frame_with_a_field_out_of_place_is_malformed(row: list[Any]) -> None:
    with pytest.raises(MalformedMessage):
        decode_frame(cbor2.dumps(row))


@given(st.binary(max_size=2000), st.integers(1, MAX_COUNT))
def test_a_relay_takes_as_many_bytes_beyond_the_envelope_as_is_claimed_at_most(payload: bytes, number: int) -> None:
    row = [40, payload, number, NODE + COOKIE]
    assert len(cbor2.dumps([NODE, MAX_COUNT, row])) - len(payload) <= ENVELOPE_BYTES + 16 + RELAY_BYTES


def test_one_bad_message_spoils_the_whole_datagram() -> None:
    with pytest.raises(MalformedMessage):
        decode_datagram(cbor2.dumps([NODE, 1, [8, COOKIE], [14, -1]]))


@given(st.text(min_size=1, max_size=64), st.integers(1, MAX_COUNT))
def test_the_answer_to_a_hello_is_never_longer_than_the_hello(name: str, epoch: int) -> None:
    name = "".join(c for c in name if c.isprintable()).encode("utf-8", "ignore")[:64].decode("utf-8", "ignore") or "n"
    sealed = Puppet().says(Welcome(name, epoch, MAX_COUNT, COOKIE, COOKIE))
    assert len(sealed) <= HELLO_BYTES


@given(st.binary(max_size=2000), st.integers(0, MAX_HOPS), st.integers(0, MAX_COUNT))
def test_the_envelope_is_as_large_as_it_claims_at_most(payload: bytes, hops: int, reach: int) -> None:
    assert len(cbor2.dumps([NODE, 1, [6, payload, hops, reach]])) - len(payload) <= ENVELOPE_BYTES + 16


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=20)


@given(
    st.lists(
        st.tuples(
            st.one_of(st.none(), st.tuples(st.ip_addresses(), st.integers(1, 65_535))),
            st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=MAX_VERSION_BYTES),
            st.dictionaries(TEXT, TEXT, max_size=4).map(lambda tags: tuple(sorted(tags.items()))),
            st.integers(1, MAX_EPOCH),
            st.integers(0, MAX_COUNTER),
        ),
        max_size=24,
    )
)
def test_an_update_takes_as_many_bytes_as_is_claimed_at_most(rows: list[Any]) -> None:
    updates = Updates(
        tuple(
            Update(NODE, "suspect", epoch, counter, Address(str(at[0]), at[1]) if at else None, version, tags, "x" * 6)
            for at, version, tags, epoch, counter in rows
            if sum(len(text.encode()) for pair in tags for text in pair) <= MAX_TAG_BYTES
        )
    )
    assert len(encode_message(updates)) <= 6 + sum(map(update_bytes, updates.rows))
    assert decode_datagram(encode_datagram(NODE, 1, [updates])) == (NODE, 1, [updates])


def test_messages_encoded_one_by_one_make_the_same_datagram() -> None:
    for count in (1, 2, 21, 22, MAX_MESSAGES):
        messages: list[Message] = [Ping(i) for i in range(count)]
        datagram = assemble(NODE, 7, [encode_message(message) for message in messages])
        assert datagram == encode_datagram(NODE, 7, messages)
        assert decode_datagram(datagram) == (NODE, 7, messages)


@pytest.mark.parametrize("nonce", ["0102030405060708." + "9" * 5_000, "0102030405060708." + "9" * 40, "a.b", 7])
def test_the_end_of_a_replica_id_is_refused_by_its_size_before_it_is_read(nonce: object) -> None:
    row = [NODE, 0, 1, 0, b"", 0, "", [], nonce]
    with pytest.raises(MalformedMessage):
        decode_datagram(cbor2.dumps([NODE, 1, [5, [row]]]))
