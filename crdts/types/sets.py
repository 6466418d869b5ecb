"""Sets: grow-only, add-wins and remove-wins (Shapiro et al., 2011; without tombstones, Bieniusa et al., 2012)."""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from functools import partial
from typing import Any

from ..delta import NOTHING, Delta
from ..errors import CrdtError
from ..folds import all_added, entries_of
from ..schema import ADDED, GSET, ORSET, REMOVED, RWSET
from ..values import Value, decode_element, encode_key
from .base import Crdt


class Elements(AbstractSet[Any]):
    """A read-only snapshot of a set's elements. Equal to a Python set of the same elements, and more exact than one.

    1, True and 1.0 are three elements here, and unhashable elements (dicts) are possible.
    """

    __slots__ = ("_keys",)

    def __init__(self, keys: dict[bytes, None]) -> None:
        self._keys = keys

    @classmethod
    def _from_iterable(cls, elements: Any) -> "Elements":
        return cls({encode_key(element): None for element in elements})

    def __contains__(self, element: object) -> bool:
        try:
            return encode_key(element) in self._keys  # type: ignore[arg-type]  # what is no value is no element
        except CrdtError:
            return False

    def __iter__(self) -> Iterator[Any]:
        return map(decode_element, self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def __le__(self, other: AbstractSet[Any]) -> bool:
        # The inherited one, which == uses too, would ask a Python set for our elements, and to it 1 is True.
        if not isinstance(other, AbstractSet):
            return NotImplemented
        return sum(element in self for element in other) == len(self)

    def __repr__(self) -> str:
        return "{" + ", ".join(repr(element) for element in self) + "}" if self._keys else "Elements()"


class _Set(Crdt):
    """What all sets share: the reading."""

    __slots__ = ()

    def contains(self, element: Value) -> bool:
        """True if ``element`` is in; raises `UnsupportedType` or `InvalidValue` if it never could be."""
        return self._has(encode_key(element))

    def _has(self, key: bytes) -> bool:
        return bool(self._store.kernel.at(self._object, key))

    def _keys(self) -> dict[bytes, None]:
        return dict.fromkeys(self._store.kernel.keys(self._object))

    def get_elements(self) -> AbstractSet[Any]:
        """The elements now, as a snapshot. Sort by your own key where order matters: it has none."""
        return Elements(self._keys())

    def value(self) -> AbstractSet[Any]:
        return self.get_elements()

    def __contains__(self, element: object) -> bool:
        try:
            return self._has(encode_key(element))  # type: ignore[arg-type]  # what is no value is no element
        except CrdtError:
            return False

    def __iter__(self) -> Iterator[Any]:
        return iter(self.get_elements())

    def __len__(self) -> int:
        return len(self._store.kernel.keys(self._object))


class GSet(_Set):
    """A set that only grows: no element ever leaves it, unless it is inside a map and its key is deleted."""

    __slots__ = ()
    tag = GSET

    def add(self, element: Value) -> Delta:
        """Add ``element``; an empty delta if it is there."""
        if self._store.begun:
            self._store.settle()
        key = encode_key(element)
        return NOTHING if self._has(key) else self._store.write(self._object, key, b"", ())


class ORSet(_Set):
    """A set. An add wins over a remove that had not seen it; a remove of what it had seen is final."""

    __slots__ = ()
    tag = ORSET

    def add(self, element: Value) -> Delta:
        """Add ``element``. It takes a new dot even if it is there, so as to win over a concurrent remove."""
        if self._store.begun:
            self._store.settle()
        key = encode_key(element)
        return self._store.write(self._object, key, b"", self._store.kernel.at(self._object, key))

    def remove(self, element: Value) -> Delta:
        """Remove ``element`` as far as it was seen here; an empty delta if it is not there."""
        return self._write_all(encode_key(element), None)

    def clear(self) -> Delta:
        """Remove all elements seen here, as one change; tens of thousands of them as several."""
        return self._remove_everything()


class RWSet(_Set):
    """A set. A remove wins over every add that had not seen it; an add that has seen the remove undoes it.

    Removals are remembered, because adds that they must win over may still be on their way; see `purge`.
    """

    __slots__ = ()
    tag = RWSET

    def _has(self, key: bytes) -> bool:
        return all_added(self._store.kernel.at(self._object, key))

    def _keys(self) -> dict[bytes, None]:
        return {key: None for key, held in self._store.kernel.places(self._object).items() if all_added(held)}

    def __len__(self) -> int:
        return len(self._keys())

    def add(self, element: Value) -> Delta:
        """Add ``element``, over all removals seen here."""
        return self._write_all(encode_key(element), ADDED)

    def remove(self, element: Value) -> Delta:
        """Remove ``element``, seen here or not: adds that are concurrent with this lose."""
        return self._write_all(encode_key(element), REMOVED)

    def clear(self) -> Delta:
        """Remove all elements that are in, as one change; some thousand and more of them as several."""
        if self._store.begun:
            self._store.settle()
        return self._store.in_parts([partial(self._write_all, key, REMOVED) for key in self._keys()])

    def purge(self) -> Delta:
        """Forget the removals seen here. An add that was concurrent with one of them, and arrives later, will be in.

        Call it when everybody has what was added before: every removal takes the room of an element until then.
        """
        if self._store.begun:
            self._store.settle()
        places = self._store.kernel.places(self._object)
        dead = {key: held for key, held in places.items() if not all_added(held)}
        return self._store.write(self._object, b"", None, tuple(entries_of(dead))) if dead else NOTHING
