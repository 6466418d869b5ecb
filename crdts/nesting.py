"""Which maps hold which objects, found by the ids of the objects that hold something."""

from typing import Final

from .schema import SEPARATOR

TAGS: Final = [bytes([tag]) for tag in range(33, 127)]
"""Of types known and to come: printable ASCII."""


class ObjectTree:
    """Counts, for each map, the objects with live entries at or below each of its children."""

    __slots__ = ("_children",)

    def __init__(self) -> None:
        self._children: dict[bytes, dict[bytes, int]] = {}

    def add(self, obj: bytes) -> None:
        """The object ``obj``, which is inside a map, has got its first live entry."""
        end = obj.rfind(SEPARATOR)
        while end > 0:
            parent = obj[:end]
            children = self._children.setdefault(parent, {})
            children[obj] = children.get(obj, 0) + 1
            obj, end = parent, parent.rfind(SEPARATOR)

    def remove(self, obj: bytes) -> None:
        """It has lost its last one."""
        end = obj.rfind(SEPARATOR)
        while end > 0:
            parent = obj[:end]
            children = self._children[parent]
            children[obj] -= 1
            if not children[obj]:
                del children[obj]
                if not children:
                    del self._children[parent]
            obj, end = parent, parent.rfind(SEPARATOR)

    def children(self, parent: bytes) -> list[bytes]:
        """The ids of what is right inside the map ``parent``, sorted."""
        return sorted(self._children.get(parent, ()))

    def named(self, parent: bytes, name: bytes) -> list[bytes]:
        """The ids of what is right inside the map ``parent`` under ``name``, of all types."""
        children = self._children.get(parent)
        if not children:
            return []
        first = parent + SEPARATOR
        return [child for tag in TAGS if (child := first + tag + name) in children]

    def within(self, obj: bytes) -> list[bytes]:
        """``obj`` and the ids of all that is below it, sorted."""
        found = [obj]
        for one in found:  # grows while it is walked
            found += self._children.get(one, ())
        return sorted(found)
