"""Many named objects under one causal context: what one process shares."""

from collections.abc import Callable
from typing import Final, Self, TypeVar

from .base import Crdt
from .clock import HybridClock
from .context import Context
from .counters import GCounter, PNCounter
from .delta import Delta
from .errors import InvalidValue, UnsupportedType
from .kernel import DEFAULT_LOG_LIMIT, Kernel
from .lwwmap import LWWMap
from .orset import ORSet
from .registers import LWWRegister, MVRegister
from .schema import check_replica_id
from .store import KIND_OF_TAG, OnChange, OnWrite, Store

_T = TypeVar("_T", bound=Crdt)

TYPES: Final[dict[str, type[Crdt]]] = {
    KIND_OF_TAG[kind.tag]: kind for kind in (ORSet, GCounter, PNCounter, LWWRegister, MVRegister, LWWMap)
}
"""Every type by the name of its accessor."""


class Replica:
    """A set of named objects. A name is scoped by its type: an orset "x" and a counter "x" are two objects.

    An object exists as soon as it is named and takes room once it is written to.
    """

    __slots__ = ("store",)

    def __init__(
        self, replica_id: str, *, clock: HybridClock | None = None, log_limit: int = DEFAULT_LOG_LIMIT
    ) -> None:
        """``replica_id`` names this writer and must never be used again by another, nor after its state was lost.

        ``log_limit`` bounds what is remembered for replicas that lag behind, in replaced dots: more costs memory,
        less makes them fetch a whole state sooner.
        """
        if log_limit < 0:
            raise InvalidValue(f"log_limit is a number of dots, at least 0, not {log_limit}")
        self.store = Store(replica_id, clock=clock, kernel=Kernel(check_replica_id(replica_id), log_limit=log_limit))

    @property
    def replica_id(self) -> str:
        return self.store.kernel.replica_id

    def orset(self, name: str) -> ORSet:
        """The observed-remove set of that name."""
        return self._object(ORSet, name)

    def gcounter(self, name: str) -> GCounter:
        """The grow-only counter of that name."""
        return self._object(GCounter, name)

    def counter(self, name: str) -> PNCounter:
        """The counter of that name that goes up and down."""
        return self._object(PNCounter, name)

    def register(self, name: str) -> LWWRegister:
        """The last-writer-wins register of that name."""
        return self._object(LWWRegister, name)

    def mvregister(self, name: str) -> MVRegister:
        """The multi-value register of that name."""
        return self._object(MVRegister, name)

    def lwwmap(self, name: str) -> LWWMap:
        """The last-writer-wins map of that name."""
        return self._object(LWWMap, name)

    def _object(self, kind: type[_T], name: str) -> _T:
        if name == "":
            raise InvalidValue("an object in a replica needs a name of at least one character")
        return kind._within(self.store, name)

    def objects(self) -> list[Crdt]:
        """Every object that holds something, by type and name."""
        return [
            TYPES[KIND_OF_TAG[obj[:1]]]._within(self.store, obj[1:].decode())
            for obj in sorted(self.store.kernel.objects)
            if obj[:1] in KIND_OF_TAG
        ]

    @property
    def context(self) -> Context:
        """The dots processed so far, as a copy that later changes leave alone."""
        return self.store.kernel.context.copy()

    @property
    def fingerprint(self) -> int:
        """64 bits over all live entries; replicas with equal content have equal fingerprints."""
        return self.store.kernel.fingerprint

    def delta_since(self, context: Context) -> Delta:
        """What a replica with this context lacks, in the smaller of the two forms of `Delta`."""
        return self.store.kernel.delta_since(context)

    def merge(self, other: "Delta | Replica") -> Self:
        """Join a delta, or everything another replica has, in place; returns self and leaves ``other`` as it was."""
        if isinstance(other, Replica):
            if other is self:
                return self
            other = other.delta_since(self.store.kernel.context)
        elif not isinstance(other, Delta):
            raise UnsupportedType(f"a Replica merges a Delta or a Replica, not {type(other).__name__}")
        self.store.merge(other)
        return self

    def on_change(self, told: OnChange) -> Callable[[], None]:
        """Call ``told`` with a list of `Change` after every write and merge; returns a function that ends it."""
        return self.store.subscribe(told)

    def on_write(self, told: OnWrite) -> None:
        """Call ``told`` with the events of every local mutation, at once; for whoever carries them to peers."""
        self.store.on_write(told)

    def __repr__(self) -> str:
        return f"<Replica {self.replica_id!r}: {len(self.store.kernel.objects)} objects>"
