"""Own writes that have to be written again under another id. There are two kinds.

Writes of a dot with two contents. Two processes have written under one id, because one is a copy of the other. Only one
content can stay. All replicas choose the same one, or they would differ for ever. The process whose content was not
chosen writes it again, under an id that no other process has.

Writes beyond the limit of a retired writer. Somebody else has retired the writer while it wrote, or before others had
all that it wrote. No replica will accept what lies beyond the limit. The process that wrote it, or the next life of
that process, writes it again.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from .context import ReplicaId
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
        self._own: dict[ReplicaId, None] = {}
        self.lives: dict[ReplicaId, None] = {}
        """The known ids under which this process and its earlier lives have written."""
        self._lost: list[Event] = []
        self._beyond: deque[list[Event]] = deque()

    def disown(self, replica_id: ReplicaId) -> None:
        """This process goes on under another id, and wrote under that one until now."""
        self._own[replica_id] = None

    def lose(self, event: Event, replica_id: ReplicaId) -> None:
        """An entry was not chosen; this process writes under ``replica_id``."""
        if (event.replica == replica_id or event.replica in self._own) and type_tag(event.obj) not in _TOTALS:
            self._lost.append(event)
            del self._lost[:-WRITTEN_AGAIN]

    def lose_beyond(self, units: Iterable[list[Event]]) -> None:
        """Keep own events that no replica will accept; a unit is one event, or all events of a transaction.

        There is no bound but the memory that they took before.
        """
        self._beyond.extend(units)

    @property
    def is_waiting(self) -> bool:
        """True if events are kept that may have to be written again."""
        return bool(self._beyond or self._lost)

    def take_lost(self) -> list[Event]:
        """Take out the events of the next transaction that writes again; empty if there are none.

        A content that was not chosen is kept until this process has given up its id.
        """
        if self._beyond:
            return self._beyond.popleft()
        first = next((event for event in self._lost if event.replica in self._own), None)
        if first is None:
            return []
        self._lost.remove(first)
        return [first]


def doubled_in(live: Mapping[ReplicaId, dict[int, Event]], entries: Iterable[Event]) -> Iterator[tuple[Event, Event]]:
    """Each live entry whose dot has another content in ``entries``, and that entry. ``live`` may change meanwhile."""
    for event in entries:
        held = live.get(event.replica, _NOBODY).get(event.seq)
        if held is not None and held != event:
            yield held, event
