"""A map from str to values, each key a last-writer-wins register of its own."""

from collections.abc import Iterator
from typing import Any

from ..delta import Delta, Event
from ..errors import CrdtError
from ..folds import last_written, losers, stamped_value, winner
from ..limits import MAX_KEY_BYTES
from ..schema import LWWMAP, name_to_bytes
from ..values import Value
from .base import Crdt
from .registers import write_stamped


def _key(key: str) -> bytes:
    return name_to_bytes(key, "a map key", MAX_KEY_BYTES)


class LWWMap(Crdt):
    """A dict that merges key by key. A delete removes what it had seen: a concurrent set survives it."""

    __slots__ = ()
    tag = LWWMAP

    def set(self, key: str, value: Value, timestamp: float | None = None) -> Delta:
        """Write ``value`` under ``key``. ``timestamp``, in seconds since 1970, replaces the clock's own stamp."""
        return write_stamped(self._store, self._object, _key(key), value, timestamp)

    def delete(self, key: str) -> Delta:
        """Remove ``key`` as far as it was seen here; an empty delta if it is not there."""
        return self._write_all(_key(key), None)

    def get(self, key: str, default: Any = None) -> Any:
        held = self._store.kernel.at(self._object, _key(key))
        return last_written(held) if held else default

    @property
    def conflicts(self) -> dict[str, list[Any]]:
        """The values that lost to the current ones, by key, the latest first; see `LWWRegister.conflicts`."""
        places = self._store.kernel.places(self._object).items()
        return {key.decode(): losers(held) for key, held in places if len(held) > 1}

    def __getitem__(self, key: str) -> Any:
        held = self._store.kernel.at(self._object, _key(key))
        if not held:
            raise KeyError(key)
        return last_written(held)

    def __contains__(self, key: object) -> bool:
        try:
            return _key(key) in self._store.kernel.keys(self._object)  # type: ignore[arg-type]  # no str, no key
        except CrdtError:
            return False

    def __len__(self) -> int:
        return len(self._store.kernel.keys(self._object))

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def keys(self) -> list[str]:
        """The keys now, in no particular order."""
        return [key.decode() for key in self._store.kernel.keys(self._object)]

    def values(self) -> list[Any]:
        return [value for _, value in self.items()]

    def items(self) -> list[tuple[str, Any]]:
        places = self._store.kernel.objects.get(self._object, {}).items()
        return [(key.decode(), stamped_value(p if isinstance(p, Event) else winner(p))) for key, p in places]

    def value(self) -> dict[str, Any]:
        return dict(self.items())
