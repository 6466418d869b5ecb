"""Groups events into deltas that stay under a byte budget when encoded, without encoding them to find out."""

from .codec import DELTA_BYTES, RUN_BYTES, event_bytes, name_bytes
from .context import DotRange
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

    def add(self, event: Event) -> Delta | None:
        """Take ``event``; return the full delta that had to make room for it, if any."""
        size = event_bytes(event) + self._new_names(event)
        full = None
        if self._size + size > self._max_bytes and self._size > DELTA_BYTES:
            full = self.flush()
            size = event_bytes(event) + self._new_names(event)
        self._size += size
        self._events.append(event)
        for name in _names_of(event):
            self._names[name] = None
        return full

    def add_run(self, run: DotRange) -> Delta | None:
        """Like `add`, for a run of dead dots."""
        size = RUN_BYTES + (0 if run[0] in self._names else name_bytes(run[0]))
        full = None
        if self._size + size > self._max_bytes and self._size > DELTA_BYTES:
            full = self.flush()
            size = RUN_BYTES + name_bytes(run[0])
        self._size += size
        self._names[run[0]] = None
        self._runs.append(run)
        return full

    def flush(self) -> Delta | None:
        """The rest as a delta, or None if there is none."""
        if not self._events and not self._runs:
            return None
        delta = events_delta(self._events, self._runs)
        self._clear()
        return delta

    def _new_names(self, event: Event) -> int:
        return sum(name_bytes(name) for name in _names_of(event) if name not in self._names)


def _names_of(event: Event) -> list[str | bytes]:
    names: list[str | bytes] = [event.replica]
    if event.obj:
        names.append(event.obj)
    names.extend(replica for replica, _ in event.kills if replica != event.replica)
    return names
