"""Columns of byte strings and of stamps: what repeats is written once.

A column of many strings takes one of three forms, chosen by the strings alone, so that equal columns are equal bytes:

    [0, string, ...]                                   as they are
    [1, column of the distinct ones, positions]        where each stands for two or more
    [2, prefix, suffix, widths, the rest, ...]         per block of `BLOCK` strings what all of them begin and end with,
                                                       the lengths of what lies between (one if all are equal), and that

Taking prefixes and suffixes off whole blocks costs a little more room than front coding, string by string, and a fifth
of the time, as nearly all of it happens in bulk operations.
"""

import struct
from itertools import accumulate, repeat
from operator import sub
from typing import Any, Final

from .limits import MAX_DELTA_BYTES, MAX_KEY_BYTES, MAX_VALUE_BYTES

MIN_STRINGS: Final = 64
"""A column of fewer is written as it is: there is little to gain, and datagrams are filled by simple sums."""
BLOCK: Final = 64
"""Strings of one block: more share shorter prefixes, fewer repeat them more often."""
PLAIN, _TABLE, _BLOCKS = 0, 1, 2
_COUNTER_BITS: Final = 12
"""The lower part of a stamp, as in `clock.py`; mostly 0."""
_MAX_STAMP: Final = (1 << 64) - 1


def pack_strings(strings: list[bytes]) -> list[Any]:
    """A column of ``strings``, as plain CBOR data."""
    count = len(strings)
    if count < MIN_STRINGS:
        return [PLAIN, *strings]
    table = dict.fromkeys(strings)
    if 2 * len(table) <= count:
        return [_TABLE, _pack_long(list(table)), _positions(strings, table)]
    return _pack_long(strings)


def _positions(strings: list[bytes], table: dict[bytes, Any]) -> bytes | list[int]:
    at = dict(zip(table, range(len(table)), strict=True))
    positions = map(at.__getitem__, strings)
    if len(at) == 1:
        return b""
    return bytes(positions) if len(at) <= 256 else list(positions)


def _pack_long(strings: list[bytes]) -> list[Any]:
    column: list[Any] = [_BLOCKS]
    size = plain = 0
    for start in range(0, len(strings), BLOCK):
        block = strings[start : start + BLOCK]
        plain += sum(map(len, block)) + 2 * len(block)
        prefix = _common_prefix(min(block), max(block))
        if prefix:
            cut = len(prefix)
            block = [string[cut:] for string in block]
        suffix = b""
        if all(block):
            turned = [string[::-1] for string in block]
            suffix = _common_prefix(min(turned), max(turned))[::-1]
            if suffix:
                block = [string[: -len(suffix)] for string in block]
        widths = list(map(len, block))
        alike = widths.count(widths[0]) == len(widths)
        rest = b"".join(block)
        size += len(prefix) + len(suffix) + len(rest) + (13 if alike else 9 + 2 * len(block))
        column += (prefix, suffix, widths[0] if alike else widths, rest)
    return column if size < plain else [PLAIN, *strings]


def _common_prefix(one: bytes, other: bytes) -> bytes:
    length = min(len(one), len(other))
    differing = int.from_bytes(one[:length], "big") ^ int.from_bytes(other[:length], "big")
    return one[: length - (differing.bit_length() + 7) // 8]


def unpack_strings(column: Any, count: int, room: int = MAX_DELTA_BYTES) -> list[bytes]:
    """The ``count`` strings of a column; raises ValueError if it cannot be one. May accept what is not canonical.

    ``room`` is how many bytes they may take together: a few bytes of a column can stand for a great many.
    """
    strings = _unpack(column, count, room)
    if sum(map(len, strings)) > room:
        raise ValueError("a column of too many bytes")
    return strings


def _unpack(column: Any, count: int, room: int) -> list[bytes]:
    if type(column) is not list or not column or type(column[0]) is not int:
        raise ValueError("a column has a form")
    form = column[0]
    if form == PLAIN:
        strings = column[1:]
        if len(strings) != count or not set(map(type, strings)) <= {bytes}:
            raise ValueError(f"{count} byte strings expected in a column")
        return strings
    if form == _TABLE and len(column) == 3:
        return _unpack_table(column[1], column[2], count, room)
    if form == _BLOCKS and len(column) == 1 + 4 * (-(-count // BLOCK)):
        return _unpack_blocks(column, count, room)
    raise ValueError("unknown form of a column")


def _unpack_table(inner: Any, positions: Any, count: int, room: int) -> list[bytes]:
    if type(inner) is not list or not inner or inner[0] == _TABLE:
        raise ValueError("a table in a table")
    if inner[0] == PLAIN:
        size = len(inner) - 1
    elif positions == b"":
        size = 1
    else:
        size = 1 + _highest(positions)
    table = _unpack(inner, size, room)
    if positions == b"" and size == 1:
        return table * count
    if _highest(positions) >= size or len(positions) != count:
        raise ValueError("a position beyond its table")
    return list(map(table.__getitem__, positions))


def _highest(positions: Any) -> int:
    if type(positions) is list:
        if not set(map(type, positions)) <= {int} or min(positions, default=0) < 0:
            raise ValueError("positions are integers from 0")
    elif type(positions) is not bytes:
        raise ValueError("positions are bytes or a list")
    return max(positions, default=0)


def _unpack_blocks(column: list[Any], count: int, room: int) -> list[bytes]:
    strings: list[bytes] = []
    for i in range(1, len(column), 4):
        prefix, suffix, widths, rest = column[i : i + 4]
        if type(prefix) is not bytes or type(suffix) is not bytes or type(rest) is not bytes:
            raise ValueError("a block is made of byte strings")
        if len(prefix) + len(suffix) > MAX_KEY_BYTES + MAX_VALUE_BYTES:
            raise ValueError("a block of too long strings")
        size = min(BLOCK, count - len(strings))
        room -= size * (len(prefix) + len(suffix)) + len(rest)
        if room < 0:
            raise ValueError("a column of too many bytes")
        strings += [prefix + part + suffix for part in _split(rest, widths, size)]
    return strings


def _split(rest: bytes, widths: Any, size: int) -> list[bytes]:
    if type(widths) is int:
        if widths < 0 or widths * size != len(rest):
            raise ValueError("a block is shorter or longer than its widths")
        return [rest[at : at + widths] for at in range(0, len(rest), widths)] if widths else [b""] * size
    if type(widths) is not list or len(widths) != size or not set(map(type, widths)) <= {int}:
        raise ValueError("a block has one width, or one a string")
    if min(widths) < 0 or sum(widths) != len(rest):
        raise ValueError("a block is shorter or longer than its widths")
    ends = list(accumulate(widths))
    return [rest[end - width : end] for end, width in zip(ends, widths, strict=True)]


def pack_stamps(stamps: bytes) -> list[Any]:
    """A column of stamps of 8 bytes each: the times as differences, and the counters unless all are 0."""
    numbers = struct.unpack(f">{len(stamps) // 8}Q", stamps)
    times = [number >> _COUNTER_BITS for number in numbers]
    differences = [times[0], *map(sub, times[1:], times)]
    counters = [number & ((1 << _COUNTER_BITS) - 1) for number in numbers]
    return [differences, counters if any(counters) else 0]


def unpack_stamps(column: Any, count: int) -> list[bytes]:
    """The stamps of a column, 8 bytes each; raises ValueError if it cannot be one."""
    if type(column) is not list or len(column) != 2:
        raise ValueError("stamps are times and counters")
    differences, counters = column
    if type(differences) is not list or len(differences) != count or not set(map(type, differences)) <= {int}:
        raise ValueError(f"{count} times expected")
    if counters == 0 and type(counters) is int:
        counters = repeat(0)
    elif type(counters) is not list or len(counters) != count or not set(map(type, counters)) <= {int}:
        raise ValueError(f"{count} counters expected")
    elif min(counters) < 0 or max(counters) >> _COUNTER_BITS:
        raise ValueError("a counter is out of range")
    stamps = [(time << _COUNTER_BITS) + low for time, low in zip(accumulate(differences), counters, strict=False)]
    if stamps and (min(stamps) < 0 or max(stamps) > _MAX_STAMP):
        raise ValueError("a stamp is out of range")
    packed = struct.pack(f">{count}Q", *stamps)
    return [packed[at : at + 8] for at in range(0, len(packed), 8)]
