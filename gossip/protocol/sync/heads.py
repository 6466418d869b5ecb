"""The head of a state, cut into frames: its context and its pre-killed dots, of which there may be very many.

A peer refuses a frame that is larger than its settings allow, and decodes each frame in one go. So a head travels in
parts of at most `Config.stream_chunk_bytes` (256 KiB at most), and the receiver puts them together again.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import pairwise
from typing import Final

from crdts import Context, DecodeError, Delta, Dot, ReplicaId
from crdts.embedding import (
    DELTA_BYTES,
    MAX_PREKILLED,
    MAX_REPLICA_ID_BYTES,
    MAX_WRITERS,
    DotRange,
    name_bytes,
    state_delta,
)

from ..errors import Oversized
from ..wire.messages import Frame, HeadPart

RANGE_BYTES: Final = 18
"""Upper bound of one range of a context, encoded: a gap and a length."""
COLUMN_BYTES: Final = 5
"""Upper bound of what the list of one replica's ranges takes, the ranges apart."""
DOT_BYTES: Final = 12
"""Upper bound of one pre-killed dot, encoded, its replica id apart."""
OUT_OF_ORDER: Final = 1 << 20
"""Ranges that a context may have besides the first one of each writer."""
MAX_HEAD_BYTES: Final = (
    2 * MAX_WRITERS * (MAX_REPLICA_ID_BYTES + 3 + COLUMN_BYTES + RANGE_BYTES)
    + 2 * MAX_PREKILLED * (MAX_REPLICA_ID_BYTES + 3 + COLUMN_BYTES + DOT_BYTES)
    + OUT_OF_ORDER * RANGE_BYTES
)
"""Bytes that the parts of one head may take, by `head_bytes`: room for the largest head that a replica can have."""


def head_parts(context: Context, prekilled: Iterable[Dot], max_bytes: int) -> Iterator[Delta]:
    """A context and pre-killed dots as states without entries, each at most ``max_bytes`` encoded; at least one.

    ``context`` must not change until the last part is made.
    """
    ranges: list[DotRange] = []
    dots: list[Dot] = []
    size, last = DELTA_BYTES, ""
    for replica, start, stop in context.ranges():
        cost = RANGE_BYTES + (0 if replica == last else _name_bytes(replica))
        if size + cost > max_bytes and ranges:
            yield _part(ranges, dots)
            ranges, size, cost = [], DELTA_BYTES, RANGE_BYTES + _name_bytes(replica)
        ranges.append((replica, start, stop))
        size, last = size + cost, replica
    last = ""
    for replica, seq in sorted(prekilled):
        cost = DOT_BYTES + (0 if replica == last else _name_bytes(replica))
        if size + cost > max_bytes and (ranges or dots):
            yield _part(ranges, dots)
            ranges, dots, size, cost = [], [], DELTA_BYTES, DOT_BYTES + _name_bytes(replica)
        dots.append((replica, seq))
        size, last = size + cost, replica
    yield _part(ranges, dots)


def head_frames(
    context: Context, prekilled: Iterable[Dot], max_bytes: int, end: Callable[[Delta], Frame]
) -> Iterator[Frame]:
    """The parts of a head as frames. ``end`` makes the last frame, which completes the head."""
    last: Delta | None = None
    for part in head_parts(context, prekilled, max_bytes):
        if last is not None:
            yield HeadPart(last)
        last = part
    if last is not None:
        yield end(last)


def _name_bytes(replica: ReplicaId) -> int:
    return name_bytes(replica) + COLUMN_BYTES


def _part(ranges: list[DotRange], dots: list[Dot]) -> Delta:
    return state_delta((), Context.of(ranges), dots)


def head_bytes(context: Context, prekilled: Collection[Dot]) -> int:
    """Upper bound of the bytes of a head that is encoded in one piece."""
    names = {*context.replicas(), *(replica for replica, _ in prekilled)}
    size = DELTA_BYTES + DOT_BYTES * len(prekilled) + sum(map(_name_bytes, names))
    return size + RANGE_BYTES * (context.writers + context.cloud_size())


class Head:
    """Collects the parts of a head that have arrived, `MAX_HEAD_BYTES` at most."""

    def __init__(self) -> None:
        self._context = Context()
        self._prekilled: list[Dot] = []
        self._bytes = 0

    def keep(self, part: Delta) -> None:
        """Take one part; raises `Oversized` if all parts are too large together."""
        self._bytes += head_bytes(part.context or Context(), part.prekilled)
        if self._bytes > MAX_HEAD_BYTES:
            raise Oversized(f"a context and pre-killed dots of more than {MAX_HEAD_BYTES} bytes")
        self._context.update(part.context or Context())
        self._prekilled += part.prekilled

    def completed(self, context: Context, prekilled: tuple[Dot, ...] = ()) -> tuple[Context, list[Dot]]:
        """All of the head, given its last part. Raises `DecodeError` if a pre-killed dot came twice."""
        dots = sorted([*self._prekilled, *prekilled])
        if any(one == other for one, other in pairwise(dots)):
            raise DecodeError("a pre-killed dot of a state came twice")
        if self._context:
            self._context.update(context)
            context = self._context
        self._context, self._prekilled, self._bytes = Context(), [], 0
        return context, dots
