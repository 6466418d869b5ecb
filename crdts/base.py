"""What every type has in common: one constructor shape, merge, and a place in a store."""

from typing import Any, ClassVar, Self

from .clock import HybridClock
from .delta import Delta
from .errors import InvalidValue, UnsupportedType
from .limits import MAX_INT
from .schema import object_id
from .store import KIND_OF_TAG, Store


class Crdt:
    """A replicated object. Made alone with a replica id of its own, or by an accessor of `Replica`."""

    __slots__ = ("_object", "_store")
    tag: ClassVar[bytes]

    def __init__(self, replica_id: str, *, clock: HybridClock | None = None) -> None:
        """A standalone object. ``replica_id`` names this writer: no two objects that are ever merged may share one.

        ``clock`` gives the stamps of last-writer-wins types; the system clock is the default.
        """
        self._store = Store(replica_id, clock=clock)
        self._object = object_id(self.tag, "")

    @classmethod
    def _within(cls, store: Store, name: str) -> Self:
        self = cls.__new__(cls)
        self._store = store
        self._object = object_id(cls.tag, name)
        return self

    @property
    def replica_id(self) -> str:
        return self._store.kernel.replica_id

    @property
    def name(self) -> str:
        """The object's name inside its `Replica`; empty when it stands alone."""
        return self._object[1:].decode()

    def value(self) -> Any:
        """The current content as plain Python data."""
        raise NotImplementedError

    def merge(self, other: Delta | Self) -> Self:
        """Join a delta, or everything another replica of this object has, in place; returns self.

        Takes time in proportion to what is new, and leaves ``other`` as it was. Inside a `Replica` the whole replica
        is joined, because all its objects share one causal context. Raises `UnsupportedType` for another type, and
        `InvalidValue` for a delta that belongs to other objects.
        """
        if isinstance(other, Delta):
            delta = other
        elif type(other) is type(self):
            if other._store is self._store:
                return self
            if other.name != self.name:
                raise InvalidValue(f"{other.name!r} is not another replica of {self.name!r}; merge the Replica instead")
            delta = other._store.kernel.delta_since(self._store.kernel.context)
        else:
            raise UnsupportedType(f"{type(self).__name__} merges a Delta or its own type, not {type(other).__name__}")
        if len(self._object) == 1:
            for event in delta.events:
                if event.payload is not None and event.obj != self._object:
                    kind = KIND_OF_TAG.get(event.obj[:1], "unknown object")
                    raise InvalidValue(
                        f"the delta carries {kind} {event.obj[1:].decode(errors='replace')!r}, not a standalone "
                        f"{KIND_OF_TAG[self.tag]}; merge it into a Replica"
                    )
        self._store.merge(delta)
        return self

    def __repr__(self) -> str:
        name = f" {self.name!r}" if self.name else ""
        return f"<{type(self).__name__}{name} of {self.replica_id!r}: {self.value()!r}>"


def check_amount(amount: int) -> int:
    """Return ``amount`` if a counter can move by it; raises `UnsupportedType` or `InvalidValue`."""
    if type(amount) is not int:
        raise UnsupportedType(f"a counter moves by an int, not {type(amount).__name__}")
    if not 0 <= amount <= MAX_INT:
        raise InvalidValue(f"a counter moves by 0 to 2**64 - 1 at a time, not by {amount}")
    return amount
