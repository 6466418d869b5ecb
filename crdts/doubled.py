"""Own writes that are to be written again under another id: of dots with two contents, and beyond a writer's limit.

One dot has two contents only if two processes write under one id, as one is a copy of the other.

A dot is no name for them then, so one of the two contents has to go. All must choose alike, or they would differ for
ever; and what was not chosen is for whoever wrote it to write again, under an id that nobody else has.

A writer that somebody else retires while it writes, or before others have all that it wrote, has written what nobody
will ever accept: beyond the limit. That is for the same process, or its next life, to write again.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from .delta import Event
from .schema import BOUNDED, COUNTER, GCOUNTER, RETIRED, type_tag

WRITTEN_AGAIN: Final = 4096
"""Own entries that were not chosen, and are kept to be written again, at most."""
_NOBODY: Final[dict[int, Event]] = {}
_TOTALS: Final = (GCOUNTER, COUNTER, BOUNDED, RETIRED)
"""Objects that hold one entry for each writer, with all that it ever did: of those the greater part is in the other."""


class Doubled:
    """What has become known of such dots."""

    def __init__(self) -> None:
        self.count = 0
        """How often two contents met here."""
        self._own: dict[str, None] = {}
        self.lives: dict[str, None] = {}
        """Ids under which this process and its earlier lives have written, as far as they are known."""
        self._lost: list[Event] = []
        self._beyond: deque[list[Event]] = deque()

    def disown(self, replica_id: str) -> None:
        """This process goes on under another id, and wrote under that one until now."""
        self._own[replica_id] = None

    def lose(self, event: Event, replica_id: str) -> None:
        """An entry was not chosen; this process writes under ``replica_id``."""
        if (event.replica == replica_id or event.replica in self._own) and type_tag(event.obj) not in _TOTALS:
            self._lost.append(event)
            del self._lost[:-WRITTEN_AGAIN]

    def lose_beyond(self, units: Iterable[list[Event]]) -> None:
        """Own events, each transaction in one piece, that nobody will accept. As many as there were in memory."""
        self._beyond.extend(units)

    @property
    def is_waiting(self) -> bool:
        """True if something may have to be written again."""
        return bool(self._beyond or self._lost)

    def take_lost(self) -> list[Event]:
        """Own events that are to be written again next, once, in one transaction; empty if there are none.

        Those that were not chosen wait until this process has given up their id.
        """
        if self._beyond:
            return self._beyond.popleft()
        first = next((event for event in self._lost if event.replica in self._own), None)
        if first is None:
            return []
        self._lost.remove(first)
        return [first]


def doubled_in(live: Mapping[str, dict[int, Event]], entries: Iterable[Event]) -> Iterator[tuple[Event, Event]]:
    """The entries that live here with another content, and that other one. What lives may change meanwhile."""
    for event in entries:
        held = live.get(event.replica, _NOBODY).get(event.seq)
        if held is not None and held != event:
            yield held, event
