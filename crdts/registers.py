"""Registers: last writer wins, and the one that keeps every concurrent value."""

from typing import Any

from .base import Crdt
from .clock import seconds_of, stamp_at
from .delta import NOTHING, Delta, Event
from .schema import MVREGISTER, REGISTER, STAMP_BYTES
from .store import Store
from .values import Value, decode_value, encode_value


def stamp_of(event: Event) -> bytes:
    """The stamp of a last-writer-wins entry; bytes order as the stamps do."""
    return (event.payload or b"")[:STAMP_BYTES]


def winner(held: tuple[Event, ...]) -> Event:
    """The entry that last-writer-wins reads: the highest (stamp, replica id, seq). ``held`` is not empty."""
    return held[0] if len(held) == 1 else max(held, key=lambda e: (stamp_of(e), e.replica, e.seq))


def stamped_value(event: Event) -> Any:
    return decode_value((event.payload or b"")[STAMP_BYTES:])


def write_stamped(store: Store, obj: bytes, key: bytes, value: Value, timestamp: float | None) -> Delta:
    """Write ``value`` under a stamp of its own or a given one.

    Without a timestamp everything seen at this place is replaced. With one, only what it beats is: an old stamp must
    not hide a newer value, here or anywhere. If it is beaten by what is seen here, nothing is written: everybody who
    heard of it would hear of the winner too, and losers would pile up.
    """
    encoded = encode_value(value)
    held = store.kernel.at(obj, key)
    if timestamp is None:
        stamp = store.clock.tick().to_bytes(STAMP_BYTES, "big")
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
        return stamped_value(winner(held)) if held else default

    def value(self) -> Any:
        return self.get()

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
        encoded = encode_value(value)
        return self._store.write(self._object, b"", encoded, self._store.kernel.at(self._object, b""))

    def get(self) -> list[Any]:
        """All concurrent values, each once, in an order that is the same everywhere; empty while none was written."""
        held = self._store.kernel.at(self._object, b"")
        return [decode_value(payload) for payload in sorted({e.payload for e in held if e.payload is not None})]

    def value(self) -> list[Any]:
        return self.get()
