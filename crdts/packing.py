"""Groups events into deltas that stay under a byte budget when encoded, without encoding them to find out."""

from .codec import DELTA_BYTES, RUN_BYTES, event_bytes, name_bytes
from .context import Dot, DotRange
from .delta import Delta, Event, events_delta


class Packer:
    """Collects events and runs; hands back a full delta whenever the next piece would not fit.

    The sizes are upper bounds, so an encoded delta is never larger than ``max_bytes``, except that a single event
    larger than that travels alone.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._clear()

    def _clear(self) -> None:
        self._size = DELTA_BYTES
        self._events: list[Event] = []
        self._runs: list[DotRange] = []
        self._names: dict[str | bytes, None] = {}
        self._last: Dot | None = None

    def make_room(self, piece: Event | DotRange) -> Delta | None:
        """Hand back what was collected if ``piece`` does not fit beside it."""
        return self.flush() if self._size + self._bytes_of(piece) > self._max_bytes else None

    def add(self, piece: Event | DotRange) -> Delta | None:
        """Take an event or a run of dead dots; return the full delta that had to make room for it, if any."""
        full = None
        size = self._bytes_of(piece)
        if self._size + size > self._max_bytes:
            full = self.flush()
            size = self._bytes_of(piece)  # its names are new again
        self._size += size
        if isinstance(piece, Event):
            if not self._has_names(piece):
                self._names.update(dict.fromkeys(_names_of(piece)))
            self._events.append(piece)
            self._last = (piece.replica, piece.seq)
        else:
            self._names[piece[0]] = None
            self._runs.append(piece)
        return full

    def flush(self) -> Delta | None:
        """The rest as a delta, or None if there is none."""
        if not self._events and not self._runs:
            return None
        delta = events_delta(self._events, self._runs)
        self._clear()
        return delta

    def _bytes_of(self, piece: Event | DotRange) -> int:
        if isinstance(piece, Event):
            names = 0
            if not self._has_names(piece):
                names = sum(name_bytes(name) for name in _names_of(piece) if name not in self._names)
            follows = (piece.replica, piece.seq - 1) == self._last
            return names + event_bytes(piece, follows=follows)
        return RUN_BYTES + (0 if piece[0] in self._names else name_bytes(piece[0]))

    def _has_names(self, event: Event) -> bool:
        """Whether the delta names the replica and object of ``event`` already; the usual case, made cheap."""
        names = self._names
        return not event.kills and event.replica in names and event.obj in names


def _names_of(event: Event) -> list[str | bytes]:
    """The ids that ``event`` needs in a delta's tables, each once."""
    names: list[str | bytes] = [event.replica, *sorted({replica for replica, _ in event.kills} - {event.replica})]
    return [*names, event.obj] if event.payload is not None else names
