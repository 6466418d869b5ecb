"""Counters: each writer keeps its own cumulative entry, replacing its previous one; the value is the sum.

A reset must take away what was seen and nothing else, although a writer's next entry repeats what it had counted
before. So a writer counts in *generations*, named by the seq of the first entry of each. A reset replaces the entries
it sees, and leaves for every other writer an entry that says how much of which generation is void. An increment that
the reset had not seen goes on counting in the old generation, less what is void; a writer that has seen the reset
begins a new generation at 0, and removes what was said of its old ones, which nobody needs any more: its own
earlier entries are all dead, and no other writer makes entries of its generations.

A faulty writer may do so all the same, or make void what was never counted. The owner counts on: its next entry
replaces what others wrote in its share, and begins a new generation if more is void of the old one than was counted.
"""

from collections.abc import Callable
from functools import partial
from operator import add

import cbor2

from ..delta import NOTHING, Delta, Event
from ..folds import Held, counted, counts_of
from ..schema import COUNTER, GCOUNTER
from ..values import decode_value
from .base import Crdt, check_amount, check_total


class _Counter(Crdt):
    __slots__ = ()

    def value(self) -> int:
        return counted(self._store.kernel.places(self._object))

    def reset(self) -> Delta:
        """Back to 0 as far as was seen here: a concurrent increment survives, and it alone.

        One change, up to some thousand writers."""
        return self._reset()

    def _move(self, *by: int) -> Delta:
        if self._store.begun:
            self._store.settle()
        kernel = self._store.kernel
        key = kernel.replica_id.encode()
        held = kernel.at(self._object, key)
        if len(held) == 1 and held[0].replica == kernel.replica_id:  # the usual case
            generation, *before = decode_value(held[0].payload or b"")
            if generation > 0:
                row = [generation, *map(check_total, map(add, before, by))]
                return self._store.write(self._object, key, cbor2.dumps(row), held)
        generation, before = self._own_count(held, len(by))
        row = [generation, *(check_total(b + n) for b, n in zip(before, by, strict=True))]
        # What is void of this generation must stay: others may yet see its earlier entries.
        replaced = tuple(e for e in held if _generation(e) != -generation)
        return self._store.write(self._object, key, cbor2.dumps(row), replaced)

    def _own_count(self, held: Held, numbers: int) -> tuple[int, list[int]]:
        """The generation of this writer's next entry, and what the writer has counted in that generation so far."""
        kernel = self._store.kernel
        me = kernel.replica_id
        foreign = [event for event in held if event.replica != me and _generation(event) > 0]
        counts, voids = counts_of(tuple(event for event in held if event.replica == me or _generation(event) < 0))
        generation = max(counts, default=0)
        before = counts.get(generation, [0] * numbers)
        void = voids.get(generation, before)
        absurd = any(v > b for v, b in zip(void, before, strict=True))
        kernel.contested_shares += bool(foreign) or absurd
        if generation and not absurd:
            return generation, before
        generation = kernel.context.last(me) + 1
        while generation in voids:
            generation += 1
        return generation, [max(0, b - v) for b, v in zip(before, void, strict=True)] if absurd else before

    def _reset(self) -> Delta:
        if self._store.begun:
            self._store.settle()
        me = self.replica_id.encode()
        writes: list[Callable[[], object]] = []
        for key, held in sorted(self._store.kernel.places(self._object).items()):
            if key == me:  # we count one after the other: nothing of ours can be on its way
                writes.append(partial(self._store.write, self._object, key, None, held))
            else:
                writes.append(partial(self._void, key, held))
        return self._store.in_parts(writes)

    def _void(self, key: bytes, held: Held) -> None:
        """Say of another writer that what was seen of it does not count; drop what says less."""
        counts, voids = counts_of(held)
        for generation, numbers in sorted(counts.items()):
            void = list(map(max, numbers, voids.get(generation, numbers)))
            replaced = tuple(e for e in held if abs(decode_value(e.payload or b"")[0]) == generation)
            self._store.write(self._object, key, cbor2.dumps([-generation, *void]), replaced)


def _generation(event: Event) -> int:
    """The generation of a counter's entry: negative if the entry tells what is void of that generation."""
    generation: int = decode_value(event.payload or b"")[0]
    return generation


class GCounter(_Counter):
    """A counter that only grows, but for resets."""

    __slots__ = ()
    tag = GCOUNTER

    def increment(self, amount: int = 1) -> Delta:
        """Add ``amount``, at least 0; raises `UnsupportedType` or `InvalidValue`."""
        return self._move(amount) if check_amount(amount) else NOTHING


class PNCounter(_Counter):
    """A counter that grows and shrinks; it may go below zero."""

    __slots__ = ()
    tag = COUNTER

    def increment(self, amount: int = 1) -> Delta:
        """Add ``amount``, at least 0; raises `UnsupportedType` or `InvalidValue`."""
        return self._move(amount, 0) if check_amount(amount) else NOTHING

    def decrement(self, amount: int = 1) -> Delta:
        """Subtract ``amount``, at least 0; raises `UnsupportedType` or `InvalidValue`."""
        return self._move(0, amount) if check_amount(amount) else NOTHING
