"""One dot with two contents: only two processes that write under one id make such, as one is a copy of the other.

A dot is no name for them then, so one of the two contents has to go. All must choose alike, or they would differ for
ever; and what was not chosen is for whoever wrote it to write again, under an id that nobody else has.
"""

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
        self._lost: list[Event] = []

    def disown(self, replica_id: str) -> None:
        """This process goes on under another id, and wrote under that one until now."""
        self._own[replica_id] = None

    def lose(self, event: Event, replica_id: str) -> None:
        """An entry was not chosen; this process writes under ``replica_id``."""
        if (event.replica == replica_id or event.replica in self._own) and type_tag(event.obj) not in _TOTALS:
            self._lost.append(event)
            del self._lost[:-WRITTEN_AGAIN]

    def take_lost(self) -> list[Event]:
        """Own entries that are to be written again, once: those of ids that this process has given up."""
        lost = [event for event in self._lost if event.replica in self._own]
        self._lost = [event for event in self._lost if event.replica not in self._own]
        return lost


def doubled_in(live: Mapping[str, dict[int, Event]], entries: Iterable[Event]) -> Iterator[tuple[Event, Event]]:
    """The entries that live here with another content, and that other one. What lives may change meanwhile."""
    for event in entries:
        held = live.get(event.replica, _NOBODY).get(event.seq)
        if held is not None and held != event:
            yield held, event
