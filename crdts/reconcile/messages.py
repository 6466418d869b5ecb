"""The messages of a reconciliation, as CBOR arrays: how they are written, and how they are checked.

    [1, 0, context]                                                                     the first
    [1, step, context, pre-killed, ranges, gone, entries, more to come, replica ids]    all others

Replica ids are named by position. A range is where it begins and ends, and a hash or all of its chunks.
"""

from collections.abc import Iterable
from itertools import pairwise
from operator import attrgetter
from typing import Any, Final, TypeAlias

from ..context import Dot, ReplicaId
from ..decoding import decode, decode_context
from ..delta import Delta
from ..errors import DecodeError, LocalError
from ..limits import MAX_DELTA_BYTES, MAX_SEQ
from ..livemap import CHUNK_BITS, CHUNK_DOTS, ChunkKey, Chunks
from ..schema import check_replica_id
from ..values import strict_loads

VERSION: Final = 1
HASH_BYTES: Final = 8
"""Of each range: at a million ranges compared, one wrong "equal" in 10**13 exchanges; then the fingerprints tell."""
HEAD_BYTES: Final = 48
"""Upper bounds of what is in a message: the array and its small parts,"""
_PROBE_BYTES: Final = 40
"""a range with its hash,"""
CHUNK_BYTES: Final = CHUNK_DOTS // 8 + 14
"""a chunk,"""
DOT_BYTES: Final = 12
"""and a dot; replica ids apart."""

Bound: TypeAlias = ChunkKey | None
"""Where a range ends; None: behind everything."""
LOWEST: Final[ChunkKey] = (ReplicaId(""), 0)
"""Before everything."""


class Range:
    """Chunks from ``first`` on and before ``stop``: their hash to compare, or all of them."""

    __slots__ = ("chunks", "digest", "first", "stop")

    def __init__(self, first: ChunkKey, stop: Bound, digest: bytes = b"", chunks: Chunks | None = None) -> None:
        self.first = first
        self.stop = stop
        self.digest = digest
        self.chunks = chunks


class Names:
    """The replica ids of one message, each written once."""

    def __init__(self) -> None:
        self.names: list[ReplicaId] = []
        self.size = 0
        """Upper bound of what they take."""
        self._at: dict[ReplicaId, int] = {}

    def at(self, replica: ReplicaId) -> int:
        position = self._at.get(replica)
        if position is None:
            position = self._at[replica] = len(self.names)
            self.names.append(replica)
            self.size += _id_bytes(replica)
        return position

    def needs(self, keys: Iterable[Bound]) -> int:
        """What the ids of these chunks would add."""
        new = {key[0] for key in keys if key is not None and key != LOWEST and key[0] not in self._at}
        return sum(map(_id_bytes, new))

    def bound(self, key: Bound) -> list[int]:
        return [-1, 0] if key is None or key == LOWEST else [self.at(key[0]), key[1]]

    def range(self, asked: Range) -> list[Any]:
        content: Any = asked.digest if asked.chunks is None else self.chunks(sorted(asked.chunks.items()))
        return [*self.bound(asked.first), *self.bound(asked.stop), content]

    def chunks(self, chunks: list[tuple[ChunkKey, int]]) -> list[Any]:
        row: list[Any] = []
        for (replica, number), bits in chunks:
            row += (self.at(replica), number, bits.to_bytes((bits.bit_length() + 7) // 8, "little"))
        return row


def _id_bytes(replica: ReplicaId) -> int:
    return 2 + len(replica.encode())


def range_bytes(table: Names, asked: Range) -> int:
    chunks = asked.chunks or {}
    return _PROBE_BYTES + CHUNK_BYTES * len(chunks) + table.needs([asked.first, asked.stop, *chunks])


def flat_dots(table: Names, dots: list[Dot]) -> list[int]:
    return [n for replica, seq in dots for n in (table.at(replica), seq)]


def parse(message: bytes) -> list[Any]:
    try:
        if type(message) is not bytes or len(message) > MAX_DELTA_BYTES:
            raise ValueError("too long, or not bytes")
        row = strict_loads(message, max_depth=5)
        if type(row) is not list or len(row) < 3 or row[0] != VERSION or type(row[1]) is not int:
            raise ValueError("unknown version or shape")
        if (len(row) != 3 if row[1] == 0 else len(row) != 9) or row[1] < 0:
            raise ValueError("unknown shape")
    except ValueError as error:
        raise DecodeError(f"not a message of a reconciliation: {error}") from None
    return row


class Body:
    """A message behind the first, checked."""

    def __init__(self, row: list[Any], *, first: bool) -> None:
        _, _, context, prekilled, ranges, gone, entries, more, names = row
        try:
            if type(names) is not list or type(entries) is not bytes or type(more) is not bool:
                raise ValueError("unknown shape")
            self._names = [check_replica_id(name) for name in names]
            self.context = decode_context(context) if first else None
            if not first and context != b"":
                raise ValueError("a context out of turn")
            self.prekilled = self._dots(prekilled)
            self.ranges = [self._range(row) for row in _list(ranges)]
            _check_disjoint(self.ranges)
            self.gone = list(self._chunks(gone).items())
            self.asks = len(self.gone) + sum(1 + len(asked.chunks or ()) for asked in self.ranges)
            delta = decode(entries) if entries else Delta()
            if delta.is_state or delta.runs or any(e.kills or e.payload is None or e.batch for e in delta.events):
                raise ValueError("more than live entries")
            self.entries = delta.events
        except (ValueError, LocalError) as error:
            raise DecodeError(f"not a message of a reconciliation: {error}") from None
        self.quiet = not (more or self.ranges)

    def _name(self, position: Any) -> ReplicaId:
        if type(position) is not int or not 0 <= position < len(self._names):
            raise ValueError("no such replica id")
        return self._names[position]

    def _dots(self, flat: Any) -> list[Dot]:
        numbers = _list(flat)
        if len(numbers) % 2 or any(type(n) is not int or not 0 < n <= MAX_SEQ for n in numbers[1::2]):
            raise ValueError("a dot is out of range")
        return [(self._name(numbers[i]), numbers[i + 1]) for i in range(0, len(numbers), 2)]

    def _range(self, row: Any) -> Range:
        if type(row) is not list or len(row) != 5:
            raise ValueError("unknown shape of a range")
        if type(row[1]) is not int or type(row[3]) is not int:
            raise ValueError("a chunk has a number")
        first = LOWEST if row[0] == -1 else (self._name(row[0]), row[1])
        stop = None if row[2] == -1 else (self._name(row[2]), row[3])
        if type(row[4]) is bytes:
            if len(row[4]) != HASH_BYTES:
                raise ValueError("a hash has another length")
            return Range(first, stop, row[4])
        return Range(first, stop, chunks=self._chunks(row[4]))

    def _chunks(self, flat: Any) -> Chunks:
        parts = _list(flat)
        if len(parts) % 3:
            raise ValueError("chunks end within one")
        chunks: Chunks = {}
        for i in range(0, len(parts), 3):
            number, bits = parts[i + 1], parts[i + 2]
            if type(number) is not int or not 0 <= number <= MAX_SEQ >> CHUNK_BITS:
                raise ValueError("a chunk is out of range")
            if type(bits) is not bytes or len(bits) > CHUNK_DOTS >> 3:
                raise ValueError("a chunk is too long")
            chunks[self._name(parts[i]), number] = int.from_bytes(bits, "little")
        return chunks


def _check_disjoint(ranges: list[Range]) -> None:
    """Raise ValueError if ranges are empty or overlap: it would take more time than the message is long."""
    for one, following in pairwise([*sorted(ranges, key=attrgetter("first")), None]):
        if one is None or (one.stop is not None and one.stop <= one.first):
            raise ValueError("an empty range")
        if following is not None and (one.stop is None or following.first < one.stop):
            raise ValueError("ranges overlap")


def _list(part: Any) -> list[Any]:
    if type(part) is not list:
        raise ValueError("a list expected")
    return part
