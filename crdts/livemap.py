"""Which dots are alive, as bitmaps: what reconciliation compares, a few hundred dots at a time.

A chunk is `CHUNK_DOTS` consecutive seqs of one replica and holds one bit a dot, in an immutable integer, so that a
snapshot of a million dots is a copy of a dict of a few thousand items.
"""

from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

from .context import Dot, DotRange, ReplicaId, runs_in

CHUNK_BITS: Final = 8
CHUNK_DOTS: Final = 1 << CHUNK_BITS
"""Few enough that a chunk in which one dot differs costs at most 32 bytes."""

ChunkKey: TypeAlias = tuple[ReplicaId, int]
"""(replica id, number): the dots from number * `CHUNK_DOTS` on. Chunks are ordered by it."""
Chunks: TypeAlias = dict[ChunkKey, int]


class LiveMap:
    """The live dots of a kernel as bitmaps. `Entries.live_map` makes it at first use; the kernel keeps it current."""

    __slots__ = ("chunks",)

    def __init__(self, live: dict[ReplicaId, dict[int, object]]) -> None:
        self.chunks: Chunks = {}
        """No chunk is 0."""
        for replica, seqs in live.items():
            for start, stop in runs_in(sorted(seqs)):
                for number in range(start >> CHUNK_BITS, (stop - 1 >> CHUNK_BITS) + 1):
                    first = number << CHUNK_BITS
                    bits = self.chunks.get((replica, number), 0)
                    self.chunks[replica, number] = bits | _bits_between(start - first, stop - first)

    def flip(self, replica: ReplicaId, seq: int) -> None:
        """A dot has come to life, or died."""
        key = replica, seq >> CHUNK_BITS
        bits = self.chunks.get(key, 0) ^ 1 << (seq & (CHUNK_DOTS - 1))
        if bits:
            self.chunks[key] = bits
        else:
            del self.chunks[key]

    def add(self, others: "LiveMap") -> None:
        """Add the dots of ``others``, none of which is here yet."""
        for key, bits in others.chunks.items():
            self.chunks[key] = self.chunks.get(key, 0) | bits


def masked(chunks: Chunks, outside: Iterable[DotRange]) -> Chunks:
    """A copy of ``chunks`` without the dots in these ranges."""
    kept = dict(chunks)
    by_replica: dict[ReplicaId, list[int]] | None = None
    for replica, start, stop in outside:
        first, last = start >> CHUNK_BITS, (stop - 1) >> CHUNK_BITS
        if last - first < 64:
            numbers: Iterable[int] = range(first, last + 1)
        else:  # a long range of few chunks: walk the chunks
            if by_replica is None:
                by_replica = {}
                for owner, number in chunks:
                    by_replica.setdefault(owner, []).append(number)
            numbers = [number for number in by_replica.get(replica, ()) if first <= number <= last]
        for number in numbers:
            bits = kept.get((replica, number))
            if bits is not None:
                bits &= ~_bits_between(start - (number << CHUNK_BITS), stop - (number << CHUNK_BITS))
                if bits:
                    kept[replica, number] = bits
                else:
                    del kept[replica, number]
    return kept


def _bits_between(start: int, stop: int) -> int:
    start, stop = max(start, 0), min(stop, CHUNK_DOTS)
    return (1 << stop) - (1 << start)


def dots_in(key: ChunkKey, bits: int) -> Iterator[Dot]:
    """The dots whose bits are set."""
    replica, number = key
    base = number << CHUNK_BITS
    while bits:
        low = bits & -bits
        yield replica, base + low.bit_length() - 1
        bits ^= low
