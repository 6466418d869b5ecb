"""Objects by name: the accessors that `Replica` and `ORMap` have in common, and the map of objects itself.

A map has no entries of its own: an object inside it has an id that begins with the map's, and a key is there as long as
something below it is. So a delete is a removal of what was seen below, and a concurrent change of a child survives it,
alone (reset-remove, as in Riak's maps; Almeida, Shoker, Baquero: Delta State Replicated Data Types, 2018).
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final, TypeVar

from ..delta import Delta, joined
from ..errors import CrdtError, InvalidValue
from ..folds import WHOLE, entries_of, is_there
from ..limits import MAX_NAME_BYTES
from ..schema import KIND_OF_TAG, ORMAP, child_id, name_to_bytes, names_of, object_id, type_tag
from ..spelling import composed
from ..store import Store
from .base import Crdt
from .bounded import BoundedCounter
from .counters import GCounter, PNCounter
from .flags import DWFlag, EWFlag
from .lwwmap import LWWMap
from .registers import LWWRegister, MVRegister
from .sets import GSet, ORSet, RWSet

_T = TypeVar("_T", bound=Crdt)


class Accessors:
    """Objects by name. A name is scoped by its type: an orset "x" and a counter "x" are two objects.

    Names that differ only in how their letters are composed are one name: see `crdts.spelling`.

    An object exists as soon as it is named and takes room once it is written to.
    """

    __slots__ = ()

    def _home(self) -> tuple[Store, bytes]:
        """The store, and the id of the map that the objects are in; empty outside of maps."""
        raise NotImplementedError

    def gset(self, name: str) -> GSet:
        """The grow-only set of that name."""
        return self._object_of(GSet, name)

    def orset(self, name: str) -> ORSet:
        """The observed-remove set of that name."""
        return self._object_of(ORSet, name)

    def rwset(self, name: str) -> RWSet:
        """The remove-wins set of that name."""
        return self._object_of(RWSet, name)

    def ewflag(self, name: str) -> EWFlag:
        """The enable-wins flag of that name."""
        return self._object_of(EWFlag, name)

    def dwflag(self, name: str) -> DWFlag:
        """The disable-wins flag of that name."""
        return self._object_of(DWFlag, name)

    def gcounter(self, name: str) -> GCounter:
        """The grow-only counter of that name."""
        return self._object_of(GCounter, name)

    def counter(self, name: str) -> PNCounter:
        """The counter of that name that goes up and down."""
        return self._object_of(PNCounter, name)

    def bounded_counter(self, name: str, lower: int | None = None) -> BoundedCounter:
        """The bounded counter of that name. Without ``lower``: the bound that others have given, or else 0."""
        store, _ = self._home()
        return BoundedCounter._bounded(store, self._id_of(BoundedCounter, name), lower)

    def register(self, name: str) -> LWWRegister:
        """The last-writer-wins register of that name."""
        return self._object_of(LWWRegister, name)

    def mvregister(self, name: str) -> MVRegister:
        """The multi-value register of that name."""
        return self._object_of(MVRegister, name)

    def lwwmap(self, name: str) -> LWWMap:
        """The last-writer-wins map of that name."""
        return self._object_of(LWWMap, name)

    def ormap(self, name: str) -> "ORMap":
        """The map of objects of that name."""
        return self._object_of(ORMap, name)

    def _object_of(self, kind: type[_T], name: str) -> _T:
        return kind._within(self._home()[0], self._id_of(kind, name))

    def _id_of(self, kind: type[Crdt], name: str) -> bytes:
        if name == "":
            raise InvalidValue("an object in a replica or a map needs a name of at least one character")
        _, home = self._home()
        name = composed(name)
        return child_id(home, kind.tag, name) if home else object_id(kind.tag, name)


class ORMap(Crdt, Accessors):
    """A map from names to objects of any type, maps too. A delete takes away what it had seen, and nothing else."""

    __slots__ = ()
    tag = ORMAP

    def _home(self) -> tuple[Store, bytes]:
        return self._store, self._object

    def delete(self, key: str) -> Delta:
        """Remove all objects under ``key``, of every type, as far as they were seen here.

        One change, unless it is larger than a transaction may be: then as many as it takes.
        """
        if self._store.begun:
            self._store.settle()
        return self._delete(self._named(key))

    def _named(self, key: str) -> list[bytes]:
        """The ids of the objects under ``key`` as it is spelled, and under its composed spelling."""
        spellings = dict.fromkeys([name_to_bytes(key, "a map key", MAX_NAME_BYTES), composed(key).encode()])
        return [child for name in spellings for child in self._store.kernel.tree.named(self._object, name)]

    def clear(self) -> Delta:
        """Remove all objects in this map as far as they were seen here; one change, like `delete`."""
        if self._store.begun:
            self._store.settle()
        return self._delete(self._children())

    def _reset(self) -> Delta:
        return self.clear()

    def _delete(self, children: list[bytes]) -> Delta:
        kernel = self._store.kernel
        inside = [obj for child in children for obj in kernel.tree.within(child) if obj in kernel.objects]
        counters = [obj for obj in inside if type_tag(obj) in WHOLE]
        entries = [e for obj in inside if type_tag(obj) not in WHOLE for e in entries_of(kernel.places(obj))]
        writes: list[Callable[[], Delta]] = [view(self._store, obj)._reset for obj in counters]
        if entries:
            writes.insert(0, partial(self._store.write, b"", b"", None, tuple(entries)))
        events = sum(len(kernel.keys(obj)) for obj in counters)
        if self._store.in_transaction or self._store.fits(events, len(entries)):
            return self._store.in_parts(writes)
        return joined([write() for write in writes])

    def _children(self) -> list[bytes]:
        return self._store.kernel.tree.children(self._object)

    def _present(self) -> dict[str, list[bytes]]:
        """The ids of the objects that hold something, by key."""
        present: dict[str, list[bytes]] = {}
        for child in self._children():
            if holds_something(self._store, child):
                present.setdefault(names_of(child)[-1], []).append(child)
        return present

    def keys(self) -> list[str]:
        """The keys that something is under, sorted."""
        return sorted(self._present())

    def __contains__(self, key: object) -> bool:
        try:
            children = self._named(key)  # type: ignore[arg-type]  # what is no text is no key
        except CrdtError:
            return False
        return any(holds_something(self._store, child) for child in children)

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self._present())

    def value(self) -> dict[str, Any]:
        """What is under each key. Where several types share a key, a dict of them by accessor name."""
        content: dict[str, Any] = {}
        present = self._present()
        for key in sorted(present):
            views = [view(self._store, child) for child in present[key]]
            content[key] = views[0].value() if len(views) == 1 else {each.kind: each.value() for each in views}
        return content


def holds_something(store: Store, obj: bytes) -> bool:
    """True if an object, or anything inside it, counts as being there, for those who know its type."""
    tag = type_tag(obj)
    if tag == ORMAP:
        return any(holds_something(store, child) for child in store.kernel.tree.children(obj))
    return tag in KIND_OF_TAG and is_there(tag, store.kernel.places(obj))


def view(store: Store, obj: bytes) -> Crdt:
    """The object with this id, which is of a known type."""
    return TYPE_OF_TAG[type_tag(obj)]._within(store, obj)


TYPE_OF_TAG: Final[dict[bytes, type[Crdt]]] = {
    kind.tag: kind
    for kind in (
        *(GSet, ORSet, RWSet, EWFlag, DWFlag, GCounter, PNCounter, BoundedCounter),
        *(LWWRegister, MVRegister, LWWMap, ORMap),
    )
}
