"""Plain values in, canonical bytes out, and back, strictly.

A value is None, bool, int, float, str, bytes, a list or tuple of values, or a dict from str to values. Its identity
is its canonical encoding (RFC 8949 section 4.2.3, length-first deterministic CBOR), because in Python
``1 == True == 1.0`` and ``nan != nan``, which would make set elements merge or multiply. Lists and tuples are one
type here.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, TypeAlias, cast

import cbor2

from .errors import InvalidValue, UnsupportedType
from .limits import MAX_DEPTH, MAX_INT, MAX_KEY_BYTES, MAX_VALUE_BYTES, MIN_INT

SHORT_BYTES: Final = 64
"""Encoded values up to this length are worth remembering."""
_TEXT: Final = frozenset({str})
_USUAL: Final = frozenset({str, bool, type(None), bytes})
_SHAPE_KEYS: Final = 16
"""Dicts of up to so many keys have their order remembered."""

Value: TypeAlias = "bool | int | float | str | bytes | list[Value] | tuple[Value, ...] | dict[str, Value] | None"


def encode_value(value: Value) -> bytes:
    """Return the canonical bytes of ``value``.

    Raises `UnsupportedType` (a TypeError) for any other type, and `InvalidValue` (a ValueError) for an integer beyond
    64 bits, nesting deeper than `MAX_DEPTH`, text that is not valid Unicode, or more than `MAX_VALUE_BYTES` bytes.
    """
    kind = type(value)
    try:
        if kind is str or kind is bytes:
            if len(value) > MAX_VALUE_BYTES:  # type: ignore[arg-type]  # kind says it has a length
                raise _too_long(len(value))  # type: ignore[arg-type]
            encoded = cbor2.dumps(value)
        elif kind is int:
            _check_int(cast(int, value))
            return cbor2.dumps(value)
        elif value is None or kind is bool:
            return cbor2.dumps(value)
        elif kind is dict and _is_usual(cast("dict[object, object]", value)):
            encoded = cbor2.dumps(_in_order(cast("dict[str, Value]", value)))
        elif _is_simple(value, MAX_DEPTH):
            if kind is dict:
                value = _in_order(cast("dict[str, Value]", value))
            encoded = cbor2.dumps(value)
        else:  # several times slower
            encoded = cbor2.dumps(value, canonical=True)
    except (UnicodeEncodeError, cbor2.CBOREncodeError):
        raise InvalidValue("text with lone surrogates cannot be encoded; replace them first") from None
    if len(encoded) > MAX_VALUE_BYTES:
        raise _too_long(len(encoded))
    return encoded


def _is_usual(value: dict[object, object]) -> bool:
    """True if the value is a small dict from ASCII text to text and the like; `_is_simple` finds out more slowly."""
    return (
        len(value) <= _SHAPE_KEYS
        and _TEXT.issuperset(map(type, value))
        and _USUAL.issuperset(map(type, value.values()))
        and "".join(cast("dict[str, object]", value)).isascii()
    )


def _in_order(value: "dict[str, Value]") -> "dict[str, Value]":
    """A dict with ASCII keys in canonical order: shorter keys first."""
    if len(value) > _SHAPE_KEYS:
        return dict(sorted(value.items(), key=lambda item: (len(item[0]), item[0])))
    keys = tuple(value)
    order = _order_of(keys)
    return value if keys == order else {key: value[key] for key in order}


@lru_cache(maxsize=512)
def _order_of(keys: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(keys, key=lambda key: (len(key), key)))


def encode_key(value: Value) -> bytes:
    """Return the canonical bytes of a set element; the same as `encode_value` with the bound `MAX_KEY_BYTES`."""
    encoded = encode_value(value)
    if len(encoded) > MAX_KEY_BYTES:
        raise InvalidValue(
            f"a set element may take {MAX_KEY_BYTES} bytes encoded, this one takes {len(encoded)}; "
            "keep the long part in a map and its key in the set"
        )
    return encoded


def decode_value(data: bytes) -> Any:
    """Return the value whose canonical bytes are ``data``; the inverse of `encode_value`, for bytes it made."""
    return _loads(data)


def decode_element(data: bytes) -> Any:
    """Like `decode_value`, with lists as tuples, so that elements are hashable wherever they can be."""
    value = _loads(data)
    return _freeze(value) if type(value) is list else value


def check_canonical(data: bytes) -> None:
    """Raise ValueError unless ``data`` is exactly what `encode_value` makes of some value. For untrusted bytes."""
    if not data:
        raise ValueError("empty value")
    head = data[0]
    if 0x60 <= head <= 0x77 and len(data) == head - 0x5F:  # short text, the usual key: no need to build anything
        data[1:].decode()
    elif len(data) <= SHORT_BYTES:
        _check_short(data)
    else:
        _check_fully(data)


def check_all_canonical(many: Iterable[bytes]) -> None:
    """`check_canonical` for very many: decoded as one array, and then encoded one by one, which tells them apart."""
    encoded = list(dict.fromkeys(many))
    if len(encoded) < 16:
        for one in encoded:
            check_canonical(one)
        return
    try:
        values = strict_loads(b"\x9a" + len(encoded).to_bytes(4, "big") + b"".join(encoded), max_depth=MAX_DEPTH + 1)
        if list(map(encode_value, values)) != encoded:
            raise ValueError("not in canonical form")
    except UnsupportedType as error:
        raise ValueError(str(error)) from None


def _check_fully(data: bytes) -> None:
    try:
        value = strict_loads(data)
        again = encode_value(value)
    except (UnsupportedType, InvalidValue) as error:
        raise ValueError(str(error)) from None
    if again != data:
        raise ValueError("not in canonical form")


_check_short = lru_cache(maxsize=4096)(_check_fully)
"""Small values repeat a great deal (a status, an owner, a flag). What was accepted is remembered, refusals are not."""


def strict_loads(data: bytes, *, max_depth: int = MAX_DEPTH) -> Any:
    """Decode plain CBOR data: no tags, no indefinite lengths, no duplicate or non-string keys; raises ValueError.

    Trailing bytes are not noticed (cbor2 cannot tell); callers compare a re-encoding. The size of ``data`` is the
    caller's to check first.
    """
    try:
        return cbor2.loads(
            data,
            max_depth=max_depth,
            allow_indefinite=False,
            allow_duplicate_keys=False,
            strict_hashable_types=True,
            semantic_decoders=_REFUSE_ALL_TAGS,
            tag_hook=_refuse_tag,
        )
    except (cbor2.CBORError, UnicodeError, RecursionError, MemoryError, OverflowError) as error:
        raise ValueError(f"not plain CBOR: {error}") from None


def _refuse_tag(*_: object) -> Any:
    raise ValueError("tags are refused")


class _EveryTag(Mapping[int, Callable[..., Any]]):
    """Maps every tag number to a refusal, so that none of cbor2's built-in tag decoders can run."""

    def __getitem__(self, tag: int) -> Callable[..., Any]:
        return _refuse_tag

    def __iter__(self) -> Iterator[int]:
        return iter(())

    def __len__(self) -> int:
        return 0


_REFUSE_ALL_TAGS: Final = _EveryTag()
_loads = cbor2.loads


def _check_int(value: int) -> None:
    if not MIN_INT <= value <= MAX_INT:
        raise InvalidValue("an integer must be between -2**64 and 2**64 - 1; share larger ones as text")


def _is_simple(value: object, depth: int) -> bool:
    """Walk ``value`` before it reaches the encoder, which would die on very deep nesting instead of raising.

    True if the encoder's plain mode makes canonical bytes of the value, once a dict at the top is in order: the value
    has no floats, no dict keys beyond ASCII, and no dicts below the top.
    """
    kind = type(value)
    if kind is str or kind is bool or value is None or kind is bytes:
        return True
    if kind is int:
        _check_int(cast(int, value))
        return True
    if kind is float:
        return False
    if kind is list or kind is tuple:
        return _are_simple(cast("list[object]", value), depth)
    if kind is dict:
        held = cast("dict[object, object]", value)
        ascii_keys = True
        for key in held:
            if type(key) is not str:
                raise UnsupportedType(f"dict keys must be str, not {type(key).__name__}")
            ascii_keys = ascii_keys and key.isascii()
        return _are_simple(held.values(), depth) and ascii_keys
    raise UnsupportedType(
        f"{kind.__module__}.{kind.__qualname__} cannot be shared; use None, bool, int, float, str, bytes, "
        "lists or tuples of those, or dicts with str keys"
    )


def _are_simple(items: Iterable[object], depth: int) -> bool:
    if not depth:
        raise _too_deep()
    simple = True
    for item in items:
        if type(item) is not str and not (_is_simple(item, depth - 1) and type(item) is not dict):
            simple = False
    return simple


def _freeze(value: Any) -> Any:
    return tuple(_freeze(item) for item in value) if type(value) is list else value


def _too_long(size: int) -> InvalidValue:
    return InvalidValue(f"a value may take {MAX_VALUE_BYTES} bytes encoded, this one takes {size}; share a reference")


def _too_deep() -> InvalidValue:
    return InvalidValue(f"lists and dicts may nest {MAX_DEPTH} deep")
