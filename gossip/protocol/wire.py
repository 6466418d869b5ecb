"""Messages as bytes: their encoding in datagrams and stream frames, and the checks of what arrives.

A datagram holds one CBOR array ``[sender's node id, its epoch, message, message, ...]``, a stream frame one message; a
message is ``[type, field, ...]``. Messages of an unknown type and fields behind the known ones are ignored, so that
later versions can add some; everything else that does not fit is refused before any of the datagram is acted on.
"""

import ipaddress
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

import cbor2

from crdts import CrdtError, DecodeError, Delta, decode, decode_context, encode, encode_context
from crdts.schema import check_replica_id
from crdts.values import strict_loads

from .errors import MalformedMessage
from .identity import NODE_ID_BYTES, Address, name_is_valid
from .messages import (
    Ask,
    Busy,
    Challenge,
    Chunk,
    ContextPage,
    Digest,
    Done,
    Frame,
    Gone,
    Hello,
    Introduce,
    Known,
    Leave,
    Message,
    Offer,
    Proof,
    Push,
    Report,
    Retired,
    Roll,
    Same,
    StateEnd,
    StatePart,
    Welcome,
    WholeContext,
)

COOKIE_BYTES: Final = 8
HASH_BYTES: Final = 8
ENVELOPE_BYTES: Final = 32
"""Upper bound of what the envelope and the fields beside its delta or context add to a message."""
KNOWN_BYTES: Final = 32
"""Upper bound of one member in a `Known`."""
SHORT_BYTES: Final = 512
"""Events that take up to this much are decoded once if they come again soon."""
MAX_MESSAGES: Final = 64
MAX_ROWS: Final = 64
MAX_ASKED: Final = 16
"""Writers that one member may ask another about at once."""
MAX_HOPS: Final = 255
MAX_COUNT: Final = 1 << 62
HELLO_BYTES: Final = 256
"""A hello is padded to this length, so that the answer to it is never longer."""


def encode_datagram(sender: bytes, epoch: int, messages: list[Message]) -> bytes:
    """The epoch says which of the sender's lives this is word of: it may arrive when that is over."""
    return cbor2.dumps([sender, epoch, *[_row(message) for message in messages]])


def encode_frame(frame: Frame) -> bytes:
    return cbor2.dumps(_row(frame))


def decode_datagram(data: bytes) -> tuple[bytes, int, list[Message]]:
    """Sender, its epoch, and messages, checked to the last field; raises `MalformedMessage`."""
    row = _load(data)
    if not 3 <= len(row) <= MAX_MESSAGES + 2:
        raise MalformedMessage("no message, or too many")
    messages = [_message(item, _MESSAGES) for item in row[2:]]
    return _exactly(row[0], NODE_ID_BYTES), _number(row[1], MAX_COUNT, 1), [m for m in messages if m is not None]


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
            return [1, message.name, message.epoch, message.cookie, message.padding]
        case Welcome():
            return [2, message.name, message.epoch, message.echo, message.cookie]
        case Challenge():
            return [3, message.cookie]
        case Proof():
            return [4, message.echo]
        case Known():
            return [5, [[node, ipaddress.ip_address(host).packed, port] for node, (host, port) in message.members]]
        case Push():
            return [6, encode(message.delta), message.hops, message.reach]
        case Roll():
            return [13, message.mark]
        case Digest():
            return [7, message.context_hash, message.fingerprint]
        case Same():
            return [8, message.context_hash]
        case ContextPage():
            return [9, message.first, message.stop, encode_context(message.context), message.answer]
        case Leave():
            return [10, message.epoch]
        case Offer():
            return [11]
        case Busy():
            return [12]
        case Ask():
            return [60, list(message.writers)]
        case Report():
            return [61, encode_context(message.context), message.mark, message.clear]
        case Gone():
            return [62]
        case Retired():
            return [63, message.node_id, message.echo]
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


def _known(rows: Any) -> Known:
    if type(rows) is not list or len(rows) > MAX_ROWS:
        raise MalformedMessage("a short list of members expected")
    members = []
    for row in rows:
        if type(row) is not list or len(row) < 3 or type(row[1]) is not bytes or len(row[1]) not in (4, 16):
            raise MalformedMessage("a member is an id, an IP address and a port")
        members.append(
            (_exactly(row[0], NODE_ID_BYTES), Address(str(ipaddress.ip_address(row[1])), _number(row[2], 65_535, 1)))
        )
    return Known(tuple(members))


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


def _state_end(data: Any) -> StateEnd:
    delta = decode(_bytes(data))
    if not delta.is_state or delta.events:
        raise MalformedMessage("the context of a state expected")
    return StateEnd(delta)


def _page(first: Any, stop: Any, context: Any, answer: Any) -> ContextPage:
    page = ContextPage(_text(first), _text(stop), decode_context(_bytes(context)), _flag(answer))
    if page.context.outside(page.first, page.stop):
        raise MalformedMessage("a context page holds a replica outside its bounds")
    return page


def _ask(writers: Any) -> Ask:
    if type(writers) is not list or not 0 < len(writers) <= MAX_ASKED:
        raise MalformedMessage("a short list of writers expected")
    try:
        return Ask(tuple([check_replica_id(writer) for writer in writers]))
    except CrdtError as error:
        raise MalformedMessage(str(error)) from None


def _report(context: Any, mark: Any, clear: Any) -> Report:
    return Report(decode_context(_bytes(context)), _number(mark, (1 << 64) - 1), _flag(clear))


def _retired(node_id: Any, echo: Any) -> Retired:
    return Retired(_exactly(node_id, NODE_ID_BYTES), echo if echo == b"" else _exactly(echo, COOKIE_BYTES))


def _hello(name: Any, epoch: Any, cookie: Any, padding: Any) -> Hello:
    return Hello(_name(name), _number(epoch, MAX_COUNT, 1), _exactly(cookie, COOKIE_BYTES), _bytes(padding))


def _welcome(name: Any, epoch: Any, echo: Any, cookie: Any) -> Welcome:
    echoed = _exactly(echo, COOKIE_BYTES)
    return Welcome(_name(name), _number(epoch, MAX_COUNT, 1), echoed, _exactly(cookie, COOKIE_BYTES))


def _introduce(node_id: Any, name: Any, epoch: Any, whole: Any) -> Introduce:
    return Introduce(_exactly(node_id, NODE_ID_BYTES), _name(name), _number(epoch, MAX_COUNT, 1), _flag(whole))


_MESSAGES: Final[dict[int, tuple[int, Callable[..., Any]]]] = {
    1: (4, _hello),
    2: (4, _welcome),
    3: (1, lambda cookie: Challenge(_exactly(cookie, COOKIE_BYTES))),
    4: (1, lambda echo: Proof(_exactly(echo, COOKIE_BYTES))),
    5: (1, _known),
    6: (3, lambda delta, hops, reach: Push(_events(delta), _number(hops, MAX_HOPS), _number(reach, MAX_COUNT))),
    13: (1, lambda mark: Roll(_number(mark, (1 << 64) - 1))),
    7: (2, lambda digest, mark: Digest(_exactly(digest, HASH_BYTES), _number(mark, (1 << 64) - 1))),
    8: (1, lambda digest: Same(_exactly(digest, HASH_BYTES))),
    9: (4, _page),
    10: (1, lambda epoch: Leave(_number(epoch, MAX_COUNT, 1))),
    11: (0, Offer),
    12: (0, Busy),
    60: (1, _ask),
    61: (3, _report),
    62: (0, Gone),
    63: (2, _retired),
}
"""By type: how many fields, and what builds the message from them."""

_FRAMES: Final[dict[int, tuple[int, Callable[..., Any]]]] = {
    1: (4, _introduce),
    2: (1, lambda context: WholeContext(decode_context(_bytes(context)))),
    3: (1, lambda delta: Chunk(_events(delta))),
    4: (1, lambda delta: StatePart(_entries(delta))),
    5: (1, _state_end),
    6: (0, Done),
}
