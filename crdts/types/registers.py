"""Registers: last writer wins, and the one that keeps every concurrent value."""

from collections.abc import Iterable, Sequence
from typing import Any

from ..clock import seconds_of, stamp_at
from ..delta import NOTHING, Delta, joined
from ..errors import UnsupportedType
from ..folds import all_values, last_written, losers, stamp_of, winner
from ..schema import MVREGISTER, REGISTER, STAMP_BYTES
from ..store import Store
from ..values import Value, encode_value
from .base import Crdt


def write_stamped(store: Store, obj: bytes, key: bytes, value: Value, timestamp: float | None) -> Delta:
    """Write ``value`` under the clock's stamp, one for all writes of a transaction, or under a given one.

    Without a timestamp everything seen at this place is replaced. With one, only what it beats is: an old stamp must
    not hide a newer value, here or anywhere. If it is beaten by what is seen here, nothing is written: everybody who
    heard of it would hear of the winner too, and losers would pile up.
    """
    if store.begun:
        store.settle()
    encoded = encode_value(value)
    held = store.kernel.at(obj, key)
    if timestamp is None:
        stamp = (store.stamp() if store.begun else store.clock.tick()).to_bytes(STAMP_BYTES, "big")
    else:
        number = stamp_at(timestamp)
        stamp = number.to_bytes(STAMP_BYTES, "big")
        me = store.kernel.replica_id
        if any((stamp_of(e), e.replica) > (stamp, me) for e in held):
            return NOTHING
        store.clock.observe(number)
    return store.write(obj, key, stamp + encoded, held)


class LWWRegister(Crdt):
    """One value; of concurrent writes the one with the later stamp wins, then the higher replica id."""

    __slots__ = ()
    tag = REGISTER

    def set(self, value: Value, timestamp: float | None = None) -> Delta:
        """Write ``value``. ``timestamp``, in seconds since 1970, replaces the hybrid logical clock's own stamp."""
        return write_stamped(self._store, self._object, b"", value, timestamp)

    def get(self, default: Any = None) -> Any:
        """The value, or ``default`` while none was written."""
        held = self._store.kernel.at(self._object, b"")
        return last_written(held) if held else default

    def value(self) -> Any:
        return self.get()

    @property
    def conflicts(self) -> list[Any]:
        """The values that lost to the current one, the latest first; kept until somebody who has seen them writes."""
        return losers(self._store.kernel.at(self._object, b""))

    @property
    def timestamp(self) -> float | None:
        """When the value was written, in seconds since 1970 by its writer's clock; None while none was."""
        held = self._store.kernel.at(self._object, b"")
        return seconds_of(int.from_bytes(stamp_of(winner(held)), "big")) if held else None


class MVRegister(Crdt):
    """Keeps every value written concurrently until somebody who has seen them writes again."""

    __slots__ = ()
    tag = MVREGISTER

    def set(self, value: Value) -> Delta:
        """Write ``value`` in place of everything seen here."""
        return self._write_all(b"", encode_value(value))

    def set_all(self, values: Sequence[Value]) -> Delta:
        """Write several values in place of everything seen here, as if they had been written concurrently.

        None at all empties the register."""
        if isinstance(values, str | bytes) or not isinstance(values, Iterable):
            raise UnsupportedType(f"set_all takes a list of values, not {type(values).__name__}")
        payloads = list(dict.fromkeys(map(encode_value, values)))
        first = self._write_all(b"", payloads[0] if payloads else None)
        return joined([first, *[self._store.write(self._object, b"", payload, ()) for payload in payloads[1:]]])

    def get(self) -> list[Any]:
        """All concurrent values, each once, in an order that is the same everywhere; empty while none was written."""
        return all_values(self._store.kernel.at(self._object, b""))

    def value(self) -> list[Any]:
        return self.get()
