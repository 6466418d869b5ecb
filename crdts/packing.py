"""Groups events into deltas that stay under a byte budget when encoded, without encoding them to find out."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, TypeAlias

from .codec import BATCH_BYTES, DELTA_BYTES, RUN_BYTES, event_bytes, name_bytes
from .context import DotRange, ReplicaId
from .delta import Delta, Event, events_delta

UNBOUNDED: Final = 1 << 62

Unit: TypeAlias = tuple[list[Event], list[DotRange]]
"""What must not be torn apart: one event, or one run, or all of a transaction."""


class Packer:
    """Collects events and runs; hands back a full delta whenever the next piece would not fit.

    The sizes are upper bounds, so an encoded delta is never larger than ``max_bytes``, except that a single unit
    larger than that travels alone.
    """

    def __init__(self, max_bytes: int, max_events: int = UNBOUNDED) -> None:
        """``max_events``: a delta holds no more events, but for a unit that has more."""
        self._max_bytes = max_bytes
        self._max_events = max_events
        self._clear()

    def _clear(self) -> None:
        self._size = DELTA_BYTES
        self._events: list[Event] = []
        self._runs: list[DotRange] = []
        self._names: dict[ReplicaId | bytes, None] = {}
        self._last: Event | None = None

    def make_room(self, unit: Unit) -> Delta | None:
        """Hand back what was collected if ``unit`` does not fit beside it."""
        is_full = len(self._events) + len(unit[0]) > self._max_events
        return self.flush() if is_full or self._size + self._unit_bytes(unit) > self._max_bytes else None

    def add(self, piece: Event | DotRange) -> Delta | None:
        """Take an event or a run of dead dots; return the full delta that had to make room for it, if any."""
        if not isinstance(piece, Event):
            return self.add_unit(([], [piece]))
        if piece.batch is not None:
            return self.add_unit(([piece], []))
        full, size = None, self._event_bytes(piece)
        if self._size + size > self._max_bytes or len(self._events) >= self._max_events:
            full, size = self.flush(), self._event_bytes(piece)  # which has to bring its names now
        self._size += size
        if not self._has_names(piece):
            self._names.update(dict.fromkeys(_names_of(piece)))
        self._last = piece
        self._events.append(piece)
        return full

    def add_unit(self, unit: Unit) -> Delta | None:
        """Take what belongs together; return the full delta that had to make room for it, if any."""
        full = self.make_room(unit)
        if unit[0] and unit[0][0].batch is not None:
            self._size += BATCH_BYTES
        for event in unit[0]:
            self._size += self._event_bytes(event)
            if not self._has_names(event):
                self._names.update(dict.fromkeys(_names_of(event)))
            self._last = event
        for run in unit[1]:
            self._size += self._run_bytes(run)
            self._names[run[0]] = None
        self._events += unit[0]
        self._runs += unit[1]
        return full

    def flush(self) -> Delta | None:
        """The rest as a delta, or None if there is none."""
        if not self._events and not self._runs:
            return None
        delta = events_delta(self._events, self._runs)
        self._clear()
        return delta

    def _unit_bytes(self, unit: Unit) -> int:
        events, runs = unit
        if len(events) == 1 and not runs and events[0].batch is None:
            return self._event_bytes(events[0])
        size = sum(map(self._run_bytes, runs)) + sum(map(self._event_bytes, events))
        return size + BATCH_BYTES if events else size

    def _event_bytes(self, event: Event) -> int:
        names = 0
        if not self._has_names(event):
            names = sum(name_bytes(name) for name in _names_of(event) if name not in self._names)
        return names + event_bytes(event, after=self._last)

    def _run_bytes(self, run: DotRange) -> int:
        return RUN_BYTES + (0 if run[0] in self._names else name_bytes(run[0]))

    def _has_names(self, event: Event) -> bool:
        """True if the delta names the replica and object of ``event`` already; the usual case, made cheap."""
        names = self._names
        replica, _, obj, _, _, kills, _ = event
        if replica not in names or obj not in names:
            return False
        return not [killed for killed, _ in kills if killed != replica and killed not in names]


def _names_of(event: Event) -> list[ReplicaId | bytes]:
    """The ids that ``event`` needs in a delta's tables, each once."""
    names: list[ReplicaId | bytes] = [event.replica, *sorted({replica for replica, _ in event.kills} - {event.replica})]
    return [*names, event.obj] if event.payload is not None else names


def units(events: Iterable[Event]) -> Iterator[Unit]:
    """``events`` as what must not be torn apart: those of a transaction together, if they follow each other."""
    together: list[Event] = []
    for event in events:
        if together and (event.batch is None or not _belong_together(together[0], event)):
            yield together, []
            together = []
        together.append(event)
    if together:
        yield together, []


def _belong_together(one: Event, other: Event) -> bool:
    return (one.replica, one.batch) == (other.replica, other.batch)


def pack(events: Sequence[Event], max_bytes: int) -> list[Delta]:
    """``events`` as deltas of at most ``max_bytes`` encoded, in order."""
    if len(events) == 1:  # the usual case: it travels alone whatever it takes
        return [events_delta(events)]
    packer = Packer(max_bytes)
    if any(event.batch for event in events):
        deltas = [full for unit in units(events) if (full := packer.add_unit(unit)) is not None]
    else:
        deltas = [full for event in events if (full := packer.add(event)) is not None]
    rest = packer.flush()
    return [*deltas, rest] if rest is not None else deltas


def packed(events: Iterable[Event], max_bytes: int, max_events: int) -> Iterator[Delta]:
    """Live entries as deltas of at most ``max_bytes`` encoded and ``max_events`` events, made one at a time.

    A single event larger than ``max_bytes`` is a delta of its own.
    """
    packer = Packer(max_bytes, max_events)
    for event in events:
        full = packer.add(event)
        if full is not None:
            yield full
    rest = packer.flush()
    if rest is not None:
        yield rest
