"""What every type has in common: one constructor shape, merge, and a place in a store."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Self

from ..changes import OnChange
from ..clock import HybridClock
from ..context import Context, ReplicaId
from ..delta import NOTHING, Delta
from ..errors import ForeignDelta, InvalidValue, UnsupportedType
from ..folds import entries_of
from ..limits import MAX_INT
from ..schema import KIND_OF_TAG, RETIRED, SEPARATOR, names_of, object_id, type_tag
from ..stats import Stats, stats_of
from ..store import Store, Transaction


class Crdt:
    """A replicated object. Made alone with a replica id of its own, or by an accessor of `Replica` or `ORMap`."""

    __slots__ = ("_object", "_store")
    tag: ClassVar[bytes]

    def __init__(self, replica_id: str, *, clock: HybridClock | None = None) -> None:
        """A standalone object. ``replica_id`` names this writer: no two objects that are ever merged may share one.

        ``clock`` gives the stamps of last-writer-wins types; the system clock is the default.
        """
        self._store = Store(replica_id, clock=clock)
        self._object = object_id(self.tag, "")

    @classmethod
    def _within(cls, store: Store, obj: bytes) -> Self:
        self = cls.__new__(cls)
        self._store = store
        self._object = obj
        return self

    @property
    def replica_id(self) -> ReplicaId:
        return self._store.kernel.replica_id

    @property
    def name(self) -> str:
        """The object's name inside its `Replica` or `ORMap`; empty when it stands alone."""
        return self._object[self._object.rfind(SEPARATOR) + 2 :].decode()

    @property
    def kind(self) -> str:
        """The name of its type's accessor, such as ``"orset"``."""
        return KIND_OF_TAG[self.tag]

    def value(self) -> Any:
        """The current content as plain Python data."""
        raise NotImplementedError

    def merge(self, other: Delta | Self) -> Self:
        """Join a delta, or everything another replica of this object has, in place; returns self.

        Takes time in proportion to what is new, and leaves ``other`` as it was. Inside a `Replica` the whole replica
        is joined, because all its objects share one causal context. Raises `UnsupportedType` for another type, and
        `ForeignDelta` for a delta that belongs to other objects.
        """
        if isinstance(other, Delta):
            delta = other
        elif type(other) is type(self):
            if other._store is self._store:
                return self
            if other._object != self._object:
                raise ForeignDelta(f"{_described(other._object)} is not another replica of {_described(self._object)}")
            delta = other.delta_since(self.context)
        else:
            raise not_mergeable(f"{type(self).__name__} merges a Delta or its own type", other)
        outermost = self._object.partition(SEPARATOR)[0]
        check_home(delta, outermost if len(outermost) == 1 else b"")
        self._store.merge(delta)
        return self

    @property
    def context(self) -> Context:
        """The dots processed so far, by all of the replica that it is in; a copy."""
        return self._store.kernel.exported_context().copy()

    def delta_since(self, context: Context) -> Delta:
        """What another replica of this object with that context lacks; see `Replica.delta_since`."""
        self._store.check_settled("handing out a delta")
        return self._store.kernel.delta_since(check_context(context))

    def on_change(self, told: OnChange) -> Callable[[], None]:
        """Call ``told`` once with the list of `Change` of each write, transaction or merge that changed this object.

        Returns a function that ends it. Changes inside a map's objects are changes of the map.
        """
        return self._store.subscribe(told, self._object)

    def transaction(self) -> AbstractContextManager[Transaction]:
        """A block whose writes are one batch; see `Replica.transaction`."""
        return self._store.transaction()

    def stats(self) -> Stats:
        """What it holds and what that takes; of the whole replica if it is inside one."""
        return stats_of(self._store)

    def _write_all(self, key: bytes, payload: bytes | None) -> Delta:
        """Write in place of everything seen at ``key``; nothing to write and nothing there is no change."""
        if self._store.begun:
            self._store.settle()
        held = self._store.kernel.at(self._object, key)
        if payload is None and not held:
            return NOTHING
        return self._store.write(self._object, key, payload, held)

    def _remove_everything(self) -> Delta:
        """Remove all entries seen here."""
        if self._store.begun:
            self._store.settle()
        held = tuple(entries_of(self._store.kernel.places(self._object)))
        return self._store.write(self._object, b"", None, held) if held else NOTHING

    def _reset(self) -> Delta:
        """Take away all that was seen here, for the map that this object is in."""
        return self._remove_everything()

    def __repr__(self) -> str:
        name = f" {self.name!r}" if self.name else ""
        return f"<{type(self).__name__}{name} of {self.replica_id!r}: {self.value()!r}>"


def _described(obj: bytes) -> str:
    if type_tag(obj) not in KIND_OF_TAG:
        return f"an object of an unknown type ({obj.hex()})"
    kind, names = KIND_OF_TAG[type_tag(obj)], "/".join(names_of(obj))
    return f"{kind} {names!r}" if names else f"a standalone {kind}"


def check_home(delta: Delta, standalone: bytes) -> None:
    """Raise `ForeignDelta` unless all entries of a delta belong to one standalone object, or to a replica (empty)."""
    for obj in dict.fromkeys([event.obj for event in delta.events if event.payload is not None]):
        if obj == RETIRED:
            continue
        outermost = obj.partition(SEPARATOR)[0]
        if standalone and outermost != standalone:
            raise ForeignDelta(f"the delta carries {_described(obj)}, not {_described(standalone)}")
        if not standalone and len(outermost) == 1 and outermost in KIND_OF_TAG:
            raise ForeignDelta(
                f"the delta carries {_described(outermost)}: a Replica takes the deltas of a Replica, in which objects "
                "have names"
            )


def not_mergeable(rule: str, given: object) -> UnsupportedType:
    """The error for what is no delta."""
    return UnsupportedType(f"{rule}, not {type(given).__name__}{'; decode it first' if type(given) is bytes else ''}")


def check_context(context: object) -> Context:
    """Return ``context`` if it is one; raises `UnsupportedType`."""
    if isinstance(context, Context):
        return context
    hint = "; decode_context it first" if type(context) is bytes else ""
    raise UnsupportedType(f"a Context is expected, not {type(context).__name__}{hint}")


def check_amount(amount: int) -> int:
    """Return ``amount`` if a counter can move by it; raises `UnsupportedType` or `InvalidValue`."""
    if type(amount) is not int:
        raise UnsupportedType(f"a counter moves by an int, not {type(amount).__name__}")
    if not 0 <= amount <= MAX_INT:
        raise InvalidValue(f"a counter moves by 0 to 2**64 - 1 at a time, not by {amount}")
    return amount


def check_total(total: int) -> int:
    """Return ``total`` if one writer's share of a counter can be as much."""
    if total > MAX_INT:
        raise InvalidValue("one writer's share of a counter ends at 2**64 - 1")
    return total
