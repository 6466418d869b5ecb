"""Flags: of concurrent changes one way wins (Shapiro et al., 2011)."""

from ..delta import Delta
from ..folds import BY_PLACE
from ..schema import DWFLAG, EWFLAG
from .base import Crdt


class _Flag(Crdt):
    __slots__ = ()

    def value(self) -> bool:
        return bool(BY_PLACE[self.tag](self._store.kernel.at(self._object, b"")))

    def __bool__(self) -> bool:
        return self.value()


class EWFlag(_Flag):
    """Off at first. An enable wins over a disable that had not seen it."""

    __slots__ = ()
    tag = EWFLAG

    def enable(self) -> Delta:
        """Turn it on. It takes a new dot even if it is on, so as to win over a concurrent disable."""
        return self._write_all(b"", b"")

    def disable(self) -> Delta:
        """Turn it off as far as it was seen here; an empty delta if it is off."""
        return self._write_all(b"", None)


class DWFlag(_Flag):
    """On at first. A disable wins over an enable that had not seen it."""

    __slots__ = ()
    tag = DWFLAG

    def disable(self) -> Delta:
        """Turn it off. It takes a new dot even if it is off, so as to win over a concurrent enable."""
        return self._write_all(b"", b"")

    def enable(self) -> Delta:
        """Undo the disables seen here; an empty delta if it is on."""
        return self._write_all(b"", None)
