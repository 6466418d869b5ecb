"""Counters: each writer keeps its own cumulative entry, replacing its previous one; the value is the sum."""

from typing import Any

import cbor2

from .base import Crdt, check_amount
from .delta import NOTHING, Delta
from .errors import InvalidValue
from .limits import MAX_INT
from .schema import COUNTER, GCOUNTER
from .values import decode_value


def _check_total(total: int) -> int:
    if total > MAX_INT:
        raise InvalidValue("one writer's share of a counter ends at 2**64 - 1")
    return total


class GCounter(Crdt):
    """A counter that only grows."""

    __slots__ = ()
    tag = GCOUNTER

    def increment(self, amount: int = 1) -> Delta:
        """Add ``amount``, at least 0; raises `UnsupportedType` or `InvalidValue`."""
        if not check_amount(amount):
            return NOTHING
        kernel = self._store.kernel
        key = kernel.replica_id.encode()
        held = kernel.at(self._object, key)
        total = _check_total(amount + max((decode_value(e.payload) for e in held if e.payload), default=0))
        return self._store.write(self._object, key, cbor2.dumps(total), held)

    def value(self) -> int:
        places = self._store.kernel.keys(self._object).values()
        return sum(max(decode_value(e.payload) for e in held if e.payload) for held in places)


class PNCounter(Crdt):
    """A counter that grows and shrinks; it may go below zero."""

    __slots__ = ()
    tag = COUNTER

    def increment(self, amount: int = 1) -> Delta:
        """Add ``amount``, at least 0; raises `UnsupportedType` or `InvalidValue`."""
        return self._move(check_amount(amount), 0)

    def decrement(self, amount: int = 1) -> Delta:
        """Subtract ``amount``, at least 0; raises `UnsupportedType` or `InvalidValue`."""
        return self._move(0, check_amount(amount))

    def value(self) -> int:
        total = 0
        for held in self._store.kernel.keys(self._object).values():
            up, down = _highest(held)
            total += up - down
        return total

    def _move(self, up: int, down: int) -> Delta:
        if not up and not down:
            return NOTHING
        kernel = self._store.kernel
        key = kernel.replica_id.encode()
        held = kernel.at(self._object, key)
        before = _highest(held)
        counts = [_check_total(before[0] + up), _check_total(before[1] + down)]
        return self._store.write(self._object, key, cbor2.dumps(counts), held)


def _highest(held: tuple[Any, ...]) -> tuple[int, int]:
    """One writer's counts: the pointwise highest, should there ever be several entries under its id."""
    counts = [decode_value(event.payload) for event in held]
    return max((c[0] for c in counts), default=0), max((c[1] for c in counts), default=0)
