"""What each type stores in its entries: object ids, and the check that untrusted entries pass before they are kept.

An object id is one tag byte and the object's name, so a name is scoped by its type. An object inside a map has the
map's id, a separator that no UTF-8 text contains, and then its own tag and name. Entries of a tag that is not listed
here come from a newer version: they are carried along and never read.

| tag | type | key | payload |
|---|---|---|---|
| a | grow-only set | element | empty |
| s | observed-remove set | element | empty |
| w | remove-wins set | element | 1: added, 0: removed |
| e, d | enable-wins, disable-wins flag | none | empty |
| r | last-writer-wins register | none | stamp, value |
| v | multi-value register | none | value |
| m | last-writer-wins map | key | stamp, value |
| g | grow-only counter | writer | generation, up; or -generation, up that is void |
| c | counter | writer | generation, up, down; or -generation, up and down that are void |
| b | bounded counter | holder | lower bound, granted, spent, {holder: transferred}; or seq of a share, what is void |
| o | map of objects | holds no entries of its own | |
| x | retired writers | replica id | last seq (0: it never wrote, and never will), closed or not |
"""

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Final, NamedTuple

from .context import Context, ReplicaId
from .delta import Event
from .errors import InvalidValue, UnsupportedType
from .limits import (
    MAX_KEY_BYTES,
    MAX_NAME_BYTES,
    MAX_NESTING,
    MAX_OBJECT_BYTES,
    MAX_REPLICA_ID_BYTES,
    MAX_SEQ,
    MAX_VALUE_BYTES,
)
from .values import check_all_canonical, check_canonical, decode_value

GSET: Final = b"a"
ORSET: Final = b"s"
RWSET: Final = b"w"
EWFLAG: Final = b"e"
DWFLAG: Final = b"d"
REGISTER: Final = b"r"
MVREGISTER: Final = b"v"
LWWMAP: Final = b"m"
GCOUNTER: Final = b"g"
COUNTER: Final = b"c"
BOUNDED: Final = b"b"
ORMAP: Final = b"o"
RETIRED: Final = b"x"

KIND_OF_TAG: Final[dict[bytes, str]] = {
    GSET: "gset",
    ORSET: "orset",
    RWSET: "rwset",
    EWFLAG: "ewflag",
    DWFLAG: "dwflag",
    REGISTER: "register",
    MVREGISTER: "mvregister",
    LWWMAP: "lwwmap",
    GCOUNTER: "gcounter",
    COUNTER: "counter",
    BOUNDED: "bounded_counter",
    ORMAP: "ormap",
}
"""The name of each type, which is also the name of its accessor on `Replica` and `ORMap`."""
KEYED: Final = (GSET, ORSET, RWSET, LWWMAP)
"""Types whose places are elements or keys."""
STAMPED: Final = (REGISTER, LWWMAP)
"""Types whose payloads begin with a stamp."""
STAMP_BYTES: Final = 8
"""Payloads of last-writer-wins entries begin with the stamp, big-endian, so that bytes order as stamps do."""
SEPARATOR: Final = b"\xff"
"""Between an object's id and that of an object inside it; not a byte of UTF-8."""
ADDED: Final = b"\x01"
REMOVED: Final = b"\x00"


def object_id(tag: bytes, name: str) -> bytes:
    """The id of the object ``name`` of the type ``tag``; raises `UnsupportedType` or `InvalidValue` for a bad name."""
    return tag + name_to_bytes(name, "an object name", MAX_NAME_BYTES)


def child_id(parent: bytes, tag: bytes, name: str) -> bytes:
    """The id of the object ``name`` inside the map ``parent``; raises as `object_id` does, and if it is too deep."""
    child = parent + SEPARATOR + object_id(tag, name)
    if len(child) > MAX_OBJECT_BYTES or child.count(SEPARATOR) >= MAX_NESTING:
        raise InvalidValue(
            f"maps nest {MAX_NESTING} levels deep at most, with {MAX_OBJECT_BYTES} bytes of names in all"
        )
    return child


def type_tag(obj: bytes) -> bytes:
    """The tag of the object's own type: behind those of the maps it is in. What is in anything else is not known."""
    while obj[:1] == ORMAP and SEPARATOR in obj:
        obj = obj.partition(SEPARATOR)[2]
    return obj[:1]


def names_of(obj: bytes) -> tuple[str, ...]:
    """The names that lead to an object, outermost first; those of objects that stand alone are empty and left out."""
    return tuple([part[1:].decode() for part in obj.split(SEPARATOR) if len(part) > 1])


def name_to_bytes(name: str, what: str, max_bytes: int) -> bytes:
    """UTF-8 of ``name``, or an error that calls it ``what``."""
    if type(name) is not str:
        raise UnsupportedType(f"{what} must be str, not {type(name).__name__}")
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        raise InvalidValue(f"{what} must be valid Unicode, without lone surrogates") from None
    if len(encoded) > max_bytes:
        raise InvalidValue(f"{what} may take {max_bytes} bytes in UTF-8, this one takes {len(encoded)}")
    return encoded


def check_replica_id(replica_id: str) -> ReplicaId:
    """Return ``replica_id`` if it can name a writer; raises `UnsupportedType` or `InvalidValue`."""
    if type(replica_id) is not str or not _is_replica_id(replica_id):
        name_to_bytes(replica_id, "a replica id", MAX_REPLICA_ID_BYTES)
        raise InvalidValue("a replica id must be 1 to 64 bytes of printable text")
    return replica_id  # type: ignore[return-value]  # it is one: calling `ReplicaId` takes as long as the check


def writer_in(key: bytes) -> ReplicaId:
    """The replica id that a key spells: the holder of a share, or the writer of a limit."""
    return ReplicaId(key.decode())


@lru_cache(maxsize=1024)
def _is_replica_id(replica_id: str) -> bool:
    return 0 < len(replica_id) <= MAX_REPLICA_ID_BYTES >= len(replica_id.encode("utf-8", "replace")) and (
        replica_id.isprintable()
    )


def check_entry(obj: bytes, key: bytes, payload: bytes) -> None:
    """Raise ValueError unless an entry with this key and payload can belong to object ``obj``."""
    check_object(obj)
    check_content(obj, key, payload)


@lru_cache(maxsize=1024)
def check_object(obj: bytes) -> None:
    """Raise ValueError unless entries can belong to an object with this id. Few ids are met again and again."""
    if not obj or len(obj) > MAX_OBJECT_BYTES:
        raise ValueError("bad object id")
    depth = 1
    while obj[:1] == ORMAP and SEPARATOR in obj:
        name, _, obj = obj.partition(SEPARATOR)
        _check_name(name, inside=depth > 1)
        depth += 1
    if depth > MAX_NESTING or not obj:
        raise ValueError("too deep inside maps, or nothing in there")
    if obj[:1] in CHECKS:  # the names of other types are their own business
        if SEPARATOR in obj:
            raise ValueError("an object inside what is no map")
        _check_name(obj, inside=depth > 1)


def _check_name(part: bytes, *, inside: bool) -> None:
    if len(part) > MAX_NAME_BYTES + 1 or (inside and len(part) < 2):
        raise ValueError("an object's name is too long, or there is none in a map")
    part[1:].decode()


def check_content(obj: bytes, key: bytes, payload: bytes) -> None:
    """The part of `check_entry` that depends on the entry: ``obj`` has passed `check_object`."""
    if len(key) > MAX_KEY_BYTES or len(payload) > MAX_VALUE_BYTES + STAMP_BYTES:
        raise ValueError("key or payload too long")
    check = CHECKS.get(type_tag(obj))
    if check is not None:
        check(key, payload)


def check_entries(obj: bytes, keys: list[bytes], payloads: list[bytes]) -> None:
    """`check_entry` for many entries of one object."""
    check_object(obj)
    tag = type_tag(obj)
    if len(keys) < 2 or tag not in (GSET, ORSET, RWSET, LWWMAP):
        for key, payload in zip(keys, payloads, strict=True):
            check_content(obj, key, payload)
        return
    if max(map(len, keys)) > MAX_KEY_BYTES or max(map(len, payloads)) > MAX_VALUE_BYTES + STAMP_BYTES:
        raise ValueError("key or payload too long")
    if tag == LWWMAP:
        b"\0".join(keys).decode()  # no piece of valid text begins or ends within a character
        if min(map(len, payloads)) <= STAMP_BYTES:
            raise ValueError("no stamp")
        check_all_canonical([payload[STAMP_BYTES:] for payload in payloads])
    else:
        check_all_canonical(keys)
        for payload in dict.fromkeys(payloads):
            CHECKS[tag](keys[0], payload)


class Limit(NamedTuple):
    """How far a writer that is being retired may be believed."""

    last: int
    """Its highest seq that may be accepted."""
    closed: bool
    """Everybody has its events up to there: it has left the contexts that are exchanged."""

    @property
    def is_mark(self) -> bool:
        """True if the writer is only said to be over: all of its events are accepted yet."""
        return self.last == MAX_SEQ and not self.closed


def writer_limit(held: Iterable[Event]) -> Limit | None:
    """What these live entries of `RETIRED`, all of one writer, say of it; None if there are none."""
    rows = [decode_value(event.payload) for event in held if event.payload is not None]
    if not rows:
        return None
    closed = [last for last, is_closed in rows if is_closed]
    # Of several limits the lowest holds: who has reported to stay within one must do so until its author raises it.
    return Limit(max(closed), closed=True) if closed else Limit(min(last for last, _ in rows), closed=False)


def closed_writers(events: Iterable[Event]) -> dict[ReplicaId, int]:
    """The writers that these live entries say are closed, with their last seq."""
    closed: dict[ReplicaId, int] = {}
    for event in events:
        if event.obj == RETIRED:
            limit = writer_limit((event,))
            if limit is not None and limit.closed:
                writer = writer_in(event.key)
                closed[writer] = max(limit.last, closed.get(writer, 0))
    return closed


def with_closed_writers(context: Context, events: Iterable[Event]) -> Context:
    """A context with all dots of the writers that these live entries say are closed: they are left out of states."""
    closed = closed_writers(events)
    if closed:
        context = context.copy()
        for writer, last in closed.items():
            context.add_range(writer, 1, last + 1)
    return context


def _check_set(key: bytes, payload: bytes) -> None:
    check_canonical(key)
    if payload:
        raise ValueError("a set entry has no payload")


def _check_rwset(key: bytes, payload: bytes) -> None:
    check_canonical(key)
    if payload not in (ADDED, REMOVED):
        raise ValueError("an entry of a remove-wins set is an add or a remove")


def _check_flag(key: bytes, payload: bytes) -> None:
    if key or payload:
        raise ValueError("a flag entry is empty")


def _check_gcounter(key: bytes, payload: bytes) -> None:
    _check_counts(key, payload, 1)


def _check_counter(key: bytes, payload: bytes) -> None:
    _check_counts(key, payload, 2)


def _check_counts(key: bytes, payload: bytes, count: int) -> None:
    row = _numbers(key, payload)
    if len(row) != 1 + count or any(type(n) is not int for n in row):
        raise ValueError("a counter entry is a generation and its counts")
    if not 0 < abs(row[0]) <= MAX_SEQ or min(row[1:]) < 0:
        raise ValueError("a generation or a count is out of range")


def _check_bounded(key: bytes, payload: bytes) -> None:
    row = _numbers(key, payload)
    if len(row) == 4 and type(row[3]) is dict and type(row[0]) is int:
        transferred = row.pop()
        for holder in transferred:
            check_replica_id(holder)
        row = [*row[1:], *transferred.values()]
    elif len(row) != 2:
        raise ValueError("a bounded counter entry is a share, or how much of one is void")
    if any(type(n) is not int or n < 0 for n in row):
        raise ValueError("rights are integers of at least 0")


def _numbers(key: bytes, payload: bytes) -> list[Any]:
    """The payload of an entry whose key is a writer."""
    check_replica_id(key.decode())
    check_canonical(payload)
    row = decode_value(payload)
    if type(row) is not list:
        raise ValueError("a list expected")
    return row


def _check_retired(key: bytes, payload: bytes) -> None:
    row = _numbers(key, payload)
    if [type(item) for item in row] != [int, bool] or not 0 <= row[0] <= MAX_SEQ:
        raise ValueError("a retired writer has a last seq, and is closed or not")


def _check_register(key: bytes, payload: bytes) -> None:
    if key:
        raise ValueError("a register entry has no key")
    _check_stamped(payload)


def _check_mvregister(key: bytes, payload: bytes) -> None:
    if key:
        raise ValueError("a register entry has no key")
    check_canonical(payload)


def _check_lwwmap(key: bytes, payload: bytes) -> None:
    key.decode()
    _check_stamped(payload)


def _check_stamped(payload: bytes) -> None:
    if len(payload) <= STAMP_BYTES:
        raise ValueError("no stamp")
    check_canonical(payload[STAMP_BYTES:])


def _check_ormap(_key: bytes, _payload: bytes) -> None:
    raise ValueError("a map of objects has no entries of its own")


CHECKS: Final[dict[bytes, Callable[[bytes, bytes], None]]] = {
    GSET: _check_set,
    ORSET: _check_set,
    RWSET: _check_rwset,
    EWFLAG: _check_flag,
    DWFLAG: _check_flag,
    REGISTER: _check_register,
    MVREGISTER: _check_mvregister,
    LWWMAP: _check_lwwmap,
    GCOUNTER: _check_gcounter,
    COUNTER: _check_counter,
    BOUNDED: _check_bounded,
    ORMAP: _check_ormap,
    RETIRED: _check_retired,
}
