"""Messages as bytes: their encoding in datagrams and stream frames, and the checks of what arrives.

A datagram holds one CBOR array ``[sender's node id, its epoch, message, message, ...]``, a stream frame one message; a
message is ``[type, field, ...]``. Messages of an unknown type and fields behind the known ones are ignored, so that
later versions can add some; everything else that does not fit is refused before any of the datagram is acted on.
"""

import ipaddress
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final

import cbor2

from crdts import CrdtError, DecodeError, Delta, ReplicaId, decode, decode_context, encode, encode_context
from crdts.embedding import check_replica_id, strict_loads

from ..errors import MalformedMessage
from ..identity import MAX_EPOCH, NOBODY, NODE_ID_BYTES, NONCE_CHARS, Address, NodeId, is_nonce, life_of, name_is_valid
from .messages import (
    MAX_VACANT,
    STATES,
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

COOKIE_BYTES: Final = 8
PING_BYTES: Final = 8
"""Bytes of a ping's number: so many that no recording has the answer to a later ping."""
MAX_PATIENCE: Final = 60_000
"""The most milliseconds that a helper may be asked to wait for the answer to a ping."""
HASH_BYTES: Final = 8
EXCHANGE_BYTES: Final = 8
"""Bytes of the name of a reconciliation."""
ENVELOPE_BYTES: Final = 32
"""Upper bound of what the envelope and the fields beside its delta or context add to a message."""
RELAY_BYTES: Final = 24
"""Upper bound of what a `Relay` has beyond that."""
SHORT_BYTES: Final = 512
"""Events that take up to this much are decoded once if they come again soon."""
MAX_MESSAGES: Final = 64
MAX_ROWS: Final = 64
MAX_ASKED: Final = 16
"""Writers that one member may ask another about at once."""
MAX_HOPS: Final = 255
MAX_COUNT: Final = 1 << 62
MAX_COUNTER: Final = 1 << 32
"""Of an incarnation; above it is absurd."""
MAX_NUMBER: Final = 1 << 32
MAX_AGE: Final = 1 << 16
MAX_VERSION_BYTES: Final = 24
MAX_TAGS: Final = 16
MAX_TAG_BYTES: Final = 256
"""Of all tags of a member together, keys and values."""
HELLO_BYTES: Final = 256
"""A hello is padded to this length, so that the answer to it is never longer."""


def encode_message(message: Message) -> bytes:
    """One message, to be put into a datagram by `assemble`."""
    return cbor2.dumps(_row(message))


def assemble(sender: NodeId, epoch: int, encoded: Sequence[bytes]) -> bytes:
    """A datagram of encoded messages, `MAX_MESSAGES` at most.

    The epoch says which of the sender's lives this is word of: it may arrive when that is over.
    """
    count = len(encoded) + 2
    head = bytes([0x80 + count]) if count < 24 else bytes([0x98, count])
    return b"".join([head, cbor2.dumps(sender), cbor2.dumps(epoch), *encoded])


def encode_datagram(sender: NodeId, epoch: int, messages: Sequence[Message]) -> bytes:
    """A datagram of those messages."""
    return assemble(sender, epoch, [encode_message(message) for message in messages])


def encode_frame(frame: Frame) -> bytes:
    return cbor2.dumps(_row(frame))


def decode_datagram(data: bytes) -> tuple[NodeId, int, list[Message]]:
    """Sender, its epoch, and messages, checked to the last field; raises `MalformedMessage`."""
    row = _load(data)
    if not 3 <= len(row) <= MAX_MESSAGES + 2:
        raise MalformedMessage("no message, or too many")
    messages = [_message(item, _MESSAGES) for item in row[2:]]
    return _node_id(row[0]), _number(row[1], MAX_EPOCH, 1), [m for m in messages if m is not None]


def decode_frame(data: bytes) -> Frame | None:
    """The message of a frame, None if it is of an unknown type; raises `MalformedMessage`."""
    return _message(_load(data), _FRAMES)  # type: ignore[no-any-return]


def _load(data: bytes) -> list[Any]:
    try:
        row = strict_loads(data, max_depth=6)
        if type(row) is not list or cbor2.dumps(row) != data:  # also finds trailing bytes
            raise ValueError("not a canonical array")
    except (ValueError, cbor2.CBOREncodeError) as error:
        raise MalformedMessage(str(error)) from None
    return row


def _row(message: Message | Frame) -> list[Any]:  # noqa: C901  # a table: one line a type
    match message:
        case Hello():
            return [1, message.name, message.epoch, message.known, message.cookie, message.padding]
        case Welcome():
            return [2, message.name, message.epoch, message.known, message.echo, message.cookie]
        case Challenge():
            return [3, message.cookie]
        case Proof():
            return [4, message.echo]
        case Updates():
            return [5, [_update_row(update) for update in message.rows]]
        case Ping():
            return [14, message.number.to_bytes(PING_BYTES)]
        case PingRequest():
            return [15, message.number.to_bytes(PING_BYTES), message.node_id, message.patience]
        case Ack():
            return [16, message.number.to_bytes(PING_BYTES)]
        case Nack():
            return [17, message.number.to_bytes(PING_BYTES)]
        case ListMembers():
            return [18, message.after]
        case Shuffle():
            entries = [[node_id, *_address_row(address), age] for node_id, address, age in message.entries]
            return [19, entries, message.answer]
        case Push():
            return [6, encode(message.delta), message.hops, message.reach]
        case Roll():
            return [13, message.mark, message.count]
        case Digest():
            return [7, message.context_hash, message.fingerprint]
        case Same():
            return [8, message.context_hash]
        case ContextPage():
            return [9, message.first, message.stop, encode_context(message.context), message.answer]
        case Offer():
            return [11]
        case Busy():
            return [12]
        case Relay():
            return [40, encode(message.delta), message.number, b"".join(message.span or ())]
        case Receipt():
            return [41, message.epoch, message.highest, message.mask, message.saved]
        case Ask():
            return [60, list(message.writers)]
        case Report():
            return [61, encode_context(message.context), message.mark, message.clear]
        case Gone():
            return [62]
        case Retired():
            return [63, message.node_id, message.echo]
        case Borrow():
            return [64]
        case Lend():
            return [65, message.writer, message.last, message.holder]
        case Bequest():
            return [66, message.heir, message.epoch, [[writer, last] for writer, last in message.writers]]
        case Taken():
            return [67, list(message.writers)]
        case Vacant():
            return [68, list(message.writers)]
        case Introduce():
            return [1, message.node_id, message.name, message.epoch, message.whole]
        case WholeContext():
            return [2, encode_context(message.context)]
        case Chunk():
            return [3, encode(message.delta)]
        case StatePart():
            return [4, encode(message.delta)]
        case StateEnd():
            return [5, encode(message.delta)]
        case Done():
            return [6]
        case HeadPart():
            return [7, encode(message.delta)]
        case CanReconcile():
            return [8, message.version]
        case Reconcile():
            return [9, message.name, message.message]
        case AskReconcile():
            return [10]
        case Declined():
            return [11, message.name]


def _update_row(update: Update) -> list[Any]:
    tags = [text for pair in update.tags for text in pair]
    place = _address_row(update.address)
    incarnation = update.node_id, STATES.index(update.state), update.epoch, update.counter
    return [*incarnation, *place, update.version, tags, update.nonce]


def _address_row(address: Address | None) -> tuple[bytes, int]:
    return (ipaddress.ip_address(address.host).packed, address.port) if address else (b"", 0)


def _message(row: Any, table: dict[int, tuple[int, Callable[..., Any]]]) -> Any:
    if type(row) is not list or not row or type(row[0]) is not int:
        raise MalformedMessage("a message is not an array with a type")
    if row[0] not in table:
        return None
    count, build = table[row[0]]
    if len(row) <= count:
        raise MalformedMessage(f"a message of type {row[0]} lacks fields")
    try:
        return build(*row[1 : count + 1])
    except DecodeError as error:
        raise MalformedMessage(str(error)) from None


def _exactly(value: Any, size: int) -> bytes:
    if type(value) is not bytes or len(value) != size:
        raise MalformedMessage(f"{size} bytes expected")
    return value


def _node_id(value: Any) -> NodeId:
    if type(value) is not bytes or len(value) != NODE_ID_BYTES:
        raise MalformedMessage(f"a node id of {NODE_ID_BYTES} bytes expected")
    return value  # type: ignore[return-value]  # it is one: every datagram has some


def _number(value: Any, top: int, least: int = 0) -> int:
    if type(value) is not int or not least <= value <= top:
        raise MalformedMessage(f"a number from {least} to {top} expected")
    return value


def _name(value: Any) -> str:
    if type(value) is not str or not name_is_valid(value):
        raise MalformedMessage("a node name expected")
    return value


def _bytes(value: Any) -> bytes:
    if type(value) is not bytes:
        raise MalformedMessage("bytes expected")
    return value


def _text(value: Any) -> str:
    if type(value) is not str:
        raise MalformedMessage("text expected")
    return value


def _flag(value: Any) -> bool:
    if type(value) is not bool:
        raise MalformedMessage("true or false expected")
    return value


def _place(packed: Any, port: Any) -> Address | None:
    if type(packed) is not bytes or len(packed) not in (0, 4, 16):
        raise MalformedMessage("the 4 or 16 bytes of an IP address expected")
    number = _number(port, 65_535, 1 if packed else 0)
    return Address(str(ipaddress.ip_address(packed)), number) if packed else None


def _rows(rows: Any, fields: int) -> list[list[Any]]:
    if type(rows) is not list or len(rows) > MAX_ROWS:
        raise MalformedMessage(f"a list of at most {MAX_ROWS} rows expected")
    if any(type(row) is not list or len(row) < fields for row in rows):
        raise MalformedMessage(f"rows of at least {fields} fields expected")
    return rows


def _updates(rows: Any) -> Updates:
    return Updates(tuple(_update(*row[:9]) for row in _rows(rows, 9)))


def _update(
    node_id: Any, state: Any, epoch: Any, counter: Any, host: Any, port: Any, version: Any, tags: Any, nonce: Any
) -> Update:
    return Update(
        _node_id(node_id),
        STATES[_number(state, len(STATES) - 1)],
        _number(epoch, MAX_EPOCH, 1),
        _number(counter, MAX_COUNTER),
        _place(host, port),
        _printable(version, MAX_VERSION_BYTES),
        _tags(tags),
        None if nonce is None else _nonce(nonce),
    )


def _nonce(value: Any) -> str:
    if not is_nonce(value) and life_of(_writer(value)) is None:
        raise MalformedMessage(f"a nonce of up to {NONCE_CHARS} letters and digits, or a replica id expected")
    return str(value)


def _tags(texts: Any) -> tuple[tuple[str, str], ...]:
    if type(texts) is not list or len(texts) % 2 or len(texts) > 2 * MAX_TAGS:
        raise MalformedMessage(f"at most {MAX_TAGS} pairs of key and value expected")
    texts = [_printable(text, MAX_TAG_BYTES) for text in texts]
    if sum(len(text.encode()) for text in texts) > MAX_TAG_BYTES:
        raise MalformedMessage(f"tags of at most {MAX_TAG_BYTES} bytes expected")
    keys = texts[::2]
    if not all(keys) or sorted(set(keys)) != keys:
        raise MalformedMessage("tags in the order of their keys expected, each once")
    return tuple(zip(keys, texts[1::2], strict=True))


def _printable(value: Any, max_bytes: int) -> str:
    if not isinstance(value, str) or len(value.encode()) > max_bytes or not (value.isprintable()):
        raise MalformedMessage(f"at most {max_bytes} bytes of printable text expected")
    return value


def _shuffle(rows: Any, answer: Any) -> Shuffle:
    entries = [(_node_id(row[0]), _place(row[1], row[2]), _number(row[3], MAX_AGE)) for row in _rows(rows, 4)]
    return Shuffle(tuple(entries), _flag(answer))


def _after(value: Any) -> ListMembers:
    return ListMembers(_node_id(value) if value != b"" else NOBODY)


def _events(data: Any) -> Delta:
    encoded = _bytes(data)
    return _short_events(encoded) if len(encoded) <= SHORT_BYTES else _decode_events(encoded)


def _decode_events(data: bytes) -> Delta:
    delta = decode(data)
    if delta.is_state:
        raise MalformedMessage("events expected, not a state")
    return delta


_short_events = lru_cache(maxsize=256)(_decode_events)
"""The same push comes from several members within milliseconds. What was accepted is remembered, refusals are not."""


def _entries(data: Any) -> Delta:
    delta = _events(data)
    if delta.runs or any(event.kills or event.payload is None for event in delta.events):
        raise MalformedMessage("a part of a state carries live entries only")
    return delta


def _head(data: Any) -> Delta:
    delta = decode(_bytes(data))
    if not delta.is_state or delta.events:
        raise MalformedMessage("the context of a state expected")
    return delta


def _page(first: Any, stop: Any, context: Any, answer: Any) -> ContextPage:
    page = ContextPage(_text(first), _text(stop), decode_context(_bytes(context)), _flag(answer))
    if page.context.outside(page.first, page.stop):
        raise MalformedMessage("a context page holds a replica outside its bounds")
    return page


def _relay(delta: Any, number: Any, span: Any) -> Relay:
    ids = _bytes(span)
    if len(ids) not in (0, 2 * NODE_ID_BYTES):
        raise MalformedMessage("a span is two node ids, or none")
    bounds = Span(ids[:NODE_ID_BYTES], ids[NODE_ID_BYTES:]) if ids else None
    return Relay(_events(delta), _number(number, MAX_COUNT, 1), bounds)


def _ask(writers: Any) -> Ask:
    asked = _few_writers(writers, MAX_ASKED)
    if not asked:
        raise MalformedMessage("a question about no writer")
    return Ask(asked)


def _writer(value: Any) -> ReplicaId:
    try:
        return check_replica_id(value)
    except CrdtError as error:
        raise MalformedMessage(str(error)) from None


def _few_writers(writers: Any, most: int = MAX_VACANT) -> tuple[ReplicaId, ...]:
    if type(writers) is not list or len(writers) > most:
        raise MalformedMessage(f"a list of at most {most} writers expected")
    return tuple(map(_writer, writers))


def _lend(writer: Any, last: Any, holder: Any) -> Lend:
    lender = NOBODY if holder == b"" else _node_id(holder)
    return Lend(None if writer is None else _writer(writer), _number(last, MAX_COUNT), lender)


def _bequest(heir: Any, epoch: Any, writers: Any) -> Bequest:
    rows = _rows(writers, 2)
    if len(rows) > MAX_VACANT:
        raise MalformedMessage(f"a list of at most {MAX_VACANT} writers expected")
    offered = tuple([(_writer(row[0]), _number(row[1], MAX_COUNT, 1)) for row in rows])
    return Bequest(_node_id(heir), _number(epoch, MAX_EPOCH, 1), offered)


def _report(context: Any, mark: Any, clear: Any) -> Report:
    return Report(decode_context(_bytes(context)), _number(mark, (1 << 64) - 1), _flag(clear))


def _retired(node_id: Any, echo: Any) -> Retired:
    return Retired(_node_id(node_id), echo if echo == b"" else _exactly(echo, COOKIE_BYTES))


def _receipt(epoch: Any, highest: Any, mask: Any, saved: Any) -> Receipt:
    if len(_bytes(mask)) > WINDOW // 8:
        raise MalformedMessage("a receipt of too many datagrams")
    return Receipt(_number(epoch, MAX_EPOCH, 1), _number(highest, MAX_COUNT, 1), mask, _number(saved, MAX_COUNT))


def _hello(name: Any, epoch: Any, known: Any, cookie: Any, padding: Any) -> Hello:
    life, listed = _number(epoch, MAX_EPOCH, 1), _number(known, MAX_COUNT)
    return Hello(_name(name), life, listed, _exactly(cookie, COOKIE_BYTES), _bytes(padding))


def _welcome(name: Any, epoch: Any, known: Any, echo: Any, cookie: Any) -> Welcome:
    life, listed = _number(epoch, MAX_EPOCH, 1), _number(known, MAX_COUNT)
    return Welcome(_name(name), life, listed, _exactly(echo, COOKIE_BYTES), _exactly(cookie, COOKIE_BYTES))


def _ping_number(value: Any) -> int:
    return int.from_bytes(_exactly(value, PING_BYTES))


def _ping_request(number: Any, node_id: Any, patience: Any) -> PingRequest:
    return PingRequest(_ping_number(number), _node_id(node_id), _number(patience, MAX_PATIENCE, 1))


def _introduce(node_id: Any, name: Any, epoch: Any, whole: Any) -> Introduce:
    return Introduce(_node_id(node_id), _name(name), _number(epoch, MAX_EPOCH, 1), _flag(whole))


_MESSAGES: Final[dict[int, tuple[int, Callable[..., Any]]]] = {
    1: (5, _hello),
    2: (5, _welcome),
    3: (1, lambda cookie: Challenge(_exactly(cookie, COOKIE_BYTES))),
    4: (1, lambda echo: Proof(_exactly(echo, COOKIE_BYTES))),
    5: (1, _updates),
    6: (3, lambda delta, hops, reach: Push(_events(delta), _number(hops, MAX_HOPS), _number(reach, MAX_COUNT))),
    13: (2, lambda mark, count: Roll(_number(mark, (1 << 64) - 1), _number(count, MAX_COUNT))),
    14: (1, lambda number: Ping(_ping_number(number))),
    15: (3, _ping_request),
    16: (1, lambda number: Ack(_ping_number(number))),
    17: (1, lambda number: Nack(_ping_number(number))),
    18: (1, _after),
    19: (2, _shuffle),
    7: (2, lambda digest, mark: Digest(_exactly(digest, HASH_BYTES), _number(mark, (1 << 64) - 1))),
    8: (1, lambda digest: Same(_exactly(digest, HASH_BYTES))),
    9: (4, _page),
    11: (0, Offer),
    12: (0, Busy),
    40: (3, _relay),
    41: (4, _receipt),
    60: (1, _ask),
    61: (3, _report),
    62: (0, Gone),
    63: (2, _retired),
    64: (0, Borrow),
    65: (3, _lend),
    66: (3, _bequest),
    67: (1, lambda writers: Taken(_few_writers(writers))),
    68: (1, lambda writers: Vacant(_few_writers(writers))),
}
"""By type: how many fields, and what builds the message from them."""

_FRAMES: Final[dict[int, tuple[int, Callable[..., Any]]]] = {
    1: (4, _introduce),
    2: (1, lambda context: WholeContext(decode_context(_bytes(context)))),
    3: (1, lambda delta: Chunk(_events(delta))),
    4: (1, lambda delta: StatePart(_entries(delta))),
    5: (1, lambda delta: StateEnd(_head(delta))),
    6: (0, Done),
    7: (1, lambda delta: HeadPart(_head(delta))),
    8: (1, lambda version: CanReconcile(_number(version, MAX_COUNT))),
    9: (2, lambda name, message: Reconcile(_exactly(name, EXCHANGE_BYTES), _bytes(message))),
    10: (0, AskReconcile),
    11: (1, lambda name: Declined(name if name == b"" else _exactly(name, EXCHANGE_BYTES))),
}
