"""What each type stores in its entries: object ids, and the check that untrusted entries pass before they are kept.

An object id is one tag byte and the object's name, so a name is scoped by its type. Entries of a tag that is not
listed here come from a newer version: they are carried along and never read.
"""

from collections.abc import Callable
from typing import Final

from .errors import InvalidValue, UnsupportedType
from .limits import MAX_KEY_BYTES, MAX_NAME_BYTES, MAX_REPLICA_ID_BYTES, MAX_VALUE_BYTES
from .values import check_canonical, strict_loads

STAMP_BYTES: Final = 8
"""Payloads of last-writer-wins entries begin with the stamp, big-endian, so that bytes order as stamps do."""


def object_id(tag: bytes, name: str) -> bytes:
    """The id of the object ``name`` of the type ``tag``; raises `UnsupportedType` or `InvalidValue` for a bad name."""
    return tag + name_to_bytes(name, "an object name", MAX_NAME_BYTES)


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


def check_replica_id(replica_id: str) -> str:
    """Return ``replica_id`` if it can name a writer; raises `UnsupportedType` or `InvalidValue`."""
    if not name_to_bytes(replica_id, "a replica id", MAX_REPLICA_ID_BYTES) or not replica_id.isprintable():
        raise InvalidValue("a replica id must be 1 to 64 bytes of printable text")
    return replica_id


def check_entry(obj: bytes, key: bytes, payload: bytes) -> None:
    """Raise ValueError unless an entry with this key and payload can belong to object ``obj``."""
    if not obj or len(obj) > MAX_NAME_BYTES + 1:
        raise ValueError("bad object id")
    if len(key) > MAX_KEY_BYTES or len(payload) > MAX_VALUE_BYTES + STAMP_BYTES:
        raise ValueError("key or payload too long")
    check = CHECKS.get(obj[:1])
    if check is not None:
        obj[1:].decode()
        check(key, payload)


def _check_orset(key: bytes, payload: bytes) -> None:
    check_canonical(key)
    if payload:
        raise ValueError("a set entry has no payload")


def _check_gcounter(key: bytes, payload: bytes) -> None:
    _check_writer(key)
    check_canonical(payload)
    _check_count(strict_loads(payload))


def _check_counter(key: bytes, payload: bytes) -> None:
    _check_writer(key)
    check_canonical(payload)
    counts = strict_loads(payload)
    if type(counts) is not list or len(counts) != 2:
        raise ValueError("a counter entry is a pair")
    for count in counts:
        _check_count(count)


def _check_count(count: object) -> None:
    if type(count) is not int or count < 0:
        raise ValueError("a count is an integer of at least 0")


def _check_writer(key: bytes) -> None:
    check_replica_id(key.decode())


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


ORSET: Final = b"s"
GCOUNTER: Final = b"g"
COUNTER: Final = b"c"
REGISTER: Final = b"r"
MVREGISTER: Final = b"v"
LWWMAP: Final = b"m"

CHECKS: Final[dict[bytes, Callable[[bytes, bytes], None]]] = {
    ORSET: _check_orset,
    GCOUNTER: _check_gcounter,
    COUNTER: _check_counter,
    REGISTER: _check_register,
    MVREGISTER: _check_mvregister,
    LWWMAP: _check_lwwmap,
}
STAMPED: Final = (REGISTER, LWWMAP)
"""Types whose payloads begin with a stamp."""
KEYLESS: Final = (REGISTER, MVREGISTER)
"""Types that are one place."""
