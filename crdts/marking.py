"""The hash of a context's encoding, computed anew only where the context has changed.

Two replicas compare these hashes all the time, and nearly always little has changed since the last comparison. With
very many writers, encoding all of them takes some hundred times as long as finding out which ones have changed.
"""

from bisect import bisect_left
from hashlib import blake2b
from itertools import pairwise
from typing import Final

import cbor2

from .codec import CONTEXT, encode_context
from .context import Context, ReplicaId

FEW_WRITERS: Final = 1024
"""A context of up to so many writers is encoded as a whole each time."""
PART_WRITERS: Final = 256
"""Writers in one part: all of a part are encoded again if one of them has changed."""


class ContextMark:
    """Gives the blake2b hash of `encode_context`. Keep one for each context that is hashed again and again."""

    def __init__(self, size: int) -> None:
        """``size`` is the length of the hashes in bytes."""
        self._size = size
        self._parts: list[_Part] = []

    def of(self, context: Context) -> bytes:
        """The hash of the context as it is now."""
        if context.writers <= FEW_WRITERS:
            self._parts = []
            return blake2b(encode_context(context), digest_size=self._size).digest()
        names = context.replicas()
        if not self._parts:
            self._parts = [_Part(name) for name in (*names[PART_WRITERS::PART_WRITERS], "")]
        begin = largest = 0
        for part in self._parts:
            end = bisect_left(names, part.stop, begin) if part.stop else len(names)
            part.update(names[begin:end], context)
            begin, largest = end, max(largest, end - begin)
        digest = blake2b(b"\x83" + cbor2.dumps(CONTEXT) + _list_head(len(names)), digest_size=self._size)
        digest.update(b"".join([part.names_encoded for part in self._parts]))
        digest.update(_list_head(len(names)))
        digest.update(b"".join([part.bounds_encoded for part in self._parts]))
        if largest > 4 * PART_WRITERS:
            self._parts = []  # cut anew the next time
        return digest.digest()


class _Part:
    """The writers from the end of the part before to below the id `stop`, as they were encoded last."""

    __slots__ = ("bounds", "bounds_encoded", "names", "names_encoded", "stop")

    def __init__(self, stop: str) -> None:
        self.stop = stop
        """Empty for the last part, which has no end."""
        self.names: list[ReplicaId] = []
        self.names_encoded = b""
        self.bounds: list[list[int]] = []
        self.bounds_encoded = b""

    def update(self, names: list[ReplicaId], context: Context) -> None:
        if names != self.names:
            self.names, self.names_encoded = names, b"".join(map(cbor2.dumps, names))
        bounds = context.bounds_of(names)
        if bounds != self.bounds:
            self.bounds = [each[:] for each in bounds]
            self.bounds_encoded = b"".join([cbor2.dumps(_steps(each)) for each in bounds])


def _steps(bounds: list[int]) -> list[int]:
    """The same as `Context.steps`, of one writer's bounds."""
    return [bound - before for before, bound in pairwise((1, *bounds))]


def _list_head(count: int) -> bytes:
    """The first bytes of a CBOR array of ``count`` items, which are more than 255."""
    return b"\x99" + count.to_bytes(2) if count < 1 << 16 else b"\x9a" + count.to_bytes(4)
