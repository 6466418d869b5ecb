"""Broken messages: real ones with bytes flipped, and real structures with a part altered, sealed again."""

import random
from typing import Any, Final

import cbor2

from crdts import Context, Replica, encode
from crdts.delta import events_delta, state_delta
from crdts.limits import MAX_SEQ
from gossip.protocol import Address
from gossip.protocol.wire.codec import encode_datagram, encode_frame
from gossip.protocol.wire.messages import (
    Ack,
    Ask,
    Busy,
    Challenge,
    Chunk,
    ContextPage,
    Digest,
    Done,
    Frame,
    Gone,
    HeadPart,
    Hello,
    Introduce,
    ListMembers,
    Message,
    Nack,
    Offer,
    Ping,
    PingRequest,
    Proof,
    Push,
    Receipt,
    Relay,
    Report,
    Retired,
    Roll,
    Same,
    Shuffle,
    Span,
    StateEnd,
    StatePart,
    Update,
    Updates,
    Welcome,
    WholeContext,
)

_MARK = b"mark...."
_ODD: Final[tuple[Any, ...]] = (
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        2,
        255,
        256,
        65_536,
        MAX_SEQ,
        MAX_SEQ + 1,
        (1 << 64) - 1,
        1 << 64,
        1 << 80,
        -(1 << 64),
    ),
    *(1.0, float("nan"), float("inf"), "", "x", "\n", "x" * 300, b"", b"\0", b"\xff" * 8, b"x" * 5000),
    *([], [[]], [[[[[[[[]]]]]]]], {}, {"a": 1}, [0] * 100, cbor2.CBORTag(28, 0), cbor2.CBORTag(2, b"\1" * 40)),
)


def replica() -> Replica:
    """A bit of every type, by several writers, with removals and a gap."""
    made = Replica("fuzz")
    for name in ("fuzz a", "fuzz b"):
        other = Replica(name)
        other.orset("s").add("x")
        other.orset("s").add(("nested", 1, None))
        other.orset("s").remove("x")
        other.counter("c").decrement(3)
        other.gcounter("g").increment(2)
        other.register("r").set({"k": [1.5, b"bytes"]})
        other.mvregister("v").set(name)
        other.lwwmap("m").set("key", name)
        made.merge(other)
    made.lwwmap("m").set("key", "both")
    made.orset("s").add(1)
    made.orset("s").remove(1)
    made.merge(events_delta([Replica("fuzz c").orset("s").add(9).events[0]._replace(seq=7)]))
    return made


def datagrams(sender: bytes) -> list[bytes]:
    """One of every kind, and some with several messages."""
    delta = replica().delta_since(Context())
    context = replica().context
    pushes: list[Message] = [Push(events_delta([event]), 3, 0) for event in delta.events]
    messages: list[Message] = [
        Hello("fuzz", 1, 0, _MARK, bytes(99)),
        Welcome("fuzz", 1, 0, _MARK, _MARK),
        Challenge(_MARK),
        Proof(_MARK),
        Updates(
            (
                Update(_MARK, "suspect", 1, 2, Address("10.99.0.1", 1), "0.1", (("role", "worker"), ("zone", "a"))),
                Update(sender, "alive", 1, 0, Address("fd00::1", 2)),
            )
        ),
        Push(delta, 3, 5),
        *pushes,
        Relay(delta, 1, None),
        Relay(delta, 2, Span(_MARK, sender)),
        Receipt(1, 70, b"\xff" * 8, 3),
        Roll(12345, 7),
        ListMembers(_MARK),
        Ping(1),
        PingRequest(2, _MARK, 200),
        Ack(3),
        Nack(4),
        Shuffle(((sender, None, 0), (_MARK, Address("10.99.0.2", 1), 3)), True),
        Digest(_MARK, 12345),
        Same(_MARK),
        ContextPage("", "", context, True),
        ContextPage("fuzz a", "fuzz c", context.within("fuzz a", "fuzz c"), False),
        Offer(),
        Busy(),
        Ask(("fuzz a", "fuzz b.1")),
        Report(context, 12345, True),
        Gone(),
        Retired(_MARK, _MARK),
    ]
    singles = [encode_datagram(sender, 1, [message]) for message in messages]
    return [*singles, encode_datagram(sender, 1, messages[4:8]), encode_datagram(sender, 1, pushes)]


def frames() -> list[list[bytes]]:
    """Whole conversations, behind the introduction."""
    made = replica()
    events, state = made.delta_since(Context()), made.store.kernel.state()
    assert state.context is not None
    conversations: list[list[Frame]] = [
        [WholeContext(made.context), Chunk(events), Done()],
        [WholeContext(Context()), StatePart(events_delta(state.events)), StateEnd(_end(state.context)), Done()],
        [HeadPart(_end(Context({"fuzz y": 2}))), WholeContext(made.context), HeadPart(_end(state.context)), Done()],
    ]
    return [[encode_frame(frame) for frame in conversation] for conversation in conversations]


def _end(context: Context) -> Any:
    return state_delta((), context, [("fuzz z", 3)])


def introduction(node_id: bytes) -> bytes:
    return encode_frame(Introduce(node_id, "fuzz", 1, False))


def altered(data: bytes, rng: random.Random) -> bytes:
    """``data`` with a few bytes or a part of its structure changed; sometimes unchanged."""
    if rng.random() < 0.3:
        return flipped(data, rng)
    tree = _altered_tree(cbor2.loads(data), rng)
    try:
        return cbor2.dumps(tree)
    except (cbor2.CBOREncodeError, UnicodeEncodeError):
        return flipped(data, rng)


def flipped(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 8])):
        place = rng.randrange(len(changed) + 1)
        match rng.randrange(4):
            case 0 if place < len(changed):
                changed[place] ^= 1 << rng.randrange(8)
            case 1:
                changed[place:place] = rng.randbytes(rng.choice([1, 2, 9]))
            case 2:
                del changed[place : place + rng.choice([1, 2, 30])]
            case _:
                changed[place : place + 1] = rng.choice(
                    [b"\x1b" + b"\xff" * 8, b"\x9f", b"\xd8\x1c", b"\x5a\xff\xff\xff\xff"]
                )
    return bytes(changed)


def _altered_tree(tree: Any, rng: random.Random) -> Any:
    """One place of ``tree`` changed, also inside bytes that hold a structure of their own."""
    if isinstance(tree, bytes) and len(tree) > 8 and rng.random() < 0.9:
        try:
            inner = cbor2.loads(tree)
        except (cbor2.CBORError, ValueError):
            return rng.choice(_ODD)
        return cbor2.dumps(_altered_tree(inner, rng)) if isinstance(inner, list) else rng.choice(_ODD)
    if isinstance(tree, list) and tree and rng.random() < 0.9:
        return _altered_list(list(tree), rng)
    if type(tree) is int and rng.random() < 0.6:
        return tree + rng.choice([-1, 1, 1 << 20, 1 << 61, -tree])
    return rng.choice(_ODD)


def _altered_list(items: list[Any], rng: random.Random) -> list[Any]:
    i, j = rng.randrange(len(items)), rng.randrange(len(items))
    match rng.randrange(8):
        case 0:
            del items[i]
        case 1:
            items.insert(i, items[j])
        case 2:
            items[i], items[j] = items[j], items[i]
        case 3:
            items.insert(i, rng.choice(_ODD))
        case _:
            items[i] = _altered_tree(items[i], rng)
    return items


assert encode(replica().store.kernel.state())  # the corpus must be valid to begin with
