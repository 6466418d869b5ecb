"""Observed-remove set, add wins (Shapiro et al., 2011; without tombstones, Bieniusa et al., 2012)."""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from typing import Any

from .base import Crdt
from .delta import NOTHING, Delta
from .errors import CrdtError
from .schema import ORSET
from .values import Value, decode_element, encode_key


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
        return _contains(self._keys, element)

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


class ORSet(Crdt):
    """A set. An add wins over a remove that had not seen it; a remove of what it had seen is final."""

    __slots__ = ()
    tag = ORSET

    def add(self, element: Value) -> Delta:
        """Add ``element``. It takes a new dot even if it is there, so as to win over a concurrent remove."""
        key = encode_key(element)
        return self._store.write(self._object, key, b"", self._store.kernel.at(self._object, key))

    def remove(self, element: Value) -> Delta:
        """Remove ``element`` as far as it was seen here; an empty delta if it is not there."""
        key = encode_key(element)
        held = self._store.kernel.at(self._object, key)
        return self._store.write(self._object, key, None, held) if held else NOTHING

    def contains(self, element: Value) -> bool:
        return bool(self._store.kernel.at(self._object, encode_key(element)))

    def get_elements(self) -> Elements:
        """The elements now, as a snapshot. Sort by your own key where order matters: it has none."""
        return Elements(dict.fromkeys(self._store.kernel.keys(self._object)))

    def value(self) -> Elements:
        return self.get_elements()

    def __contains__(self, element: object) -> bool:
        return _contains(self._store.kernel.keys(self._object), element)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.get_elements())

    def __len__(self) -> int:
        return len(self._store.kernel.keys(self._object))


def _contains(keys: dict[bytes, Any], element: object) -> bool:
    try:
        return encode_key(element) in keys  # type: ignore[arg-type]  # what is no value is no element
    except CrdtError:
        return False
