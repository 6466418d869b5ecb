"""What others can make a replica remember for good has an end: dots that were killed before they came, and writers.

Neither is ever forgotten locally, as a dot that was killed may yet come. So what would go beyond the bounds is not
processed: it is refused, counted, and comes again with the next exchange. An honest cluster stays far below them, and
goes on if it does not:

* What was killed always finds room, as it frees some. So pre-killed dots drain as they come.
* An event whose victims arrive with it, in one delta, needs none: they are gone behind it.
* A state needs room for the other side's pre-killed dots only, and may take twice as much as events. A replica that
  had to refuse events asks for a state.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from . import limits
from .context import Context, Dot
from .delta import Delta, Event


class Room:
    """How many dots are pre-killed, and what has been refused because there would have been too many."""

    def __init__(self, context: Context, prekilled: Mapping[str, Mapping[int, None]]) -> None:
        """Both are looked at as they are at any moment."""
        self._context = context
        self._prekilled = prekilled
        self._arriving: Delta | None = None
        self._told: Context | None = None
        self.taken = 0
        """Pre-killed dots."""
        self.easy: Final = limits.MAX_PREKILLED_OF_WRITER
        """Up to so many there is room for whatever they are."""
        self.refused = 0
        """Events and states that were not processed, as they would have taken too much room."""
        self.is_bounded = True
        """False while a replica is read back from where it was saved: what was taken once is not refused then."""

    @property
    def beyond(self) -> int:
        """How many dots are pre-killed beyond all bounds."""
        return max(0, self.taken - 2 * limits.MAX_PREKILLED)

    def begin(self, delta: Delta) -> None:
        """A delta has arrived, and is looked at event by event."""
        self._arriving, self._told = delta, None

    def end(self) -> None:
        self._arriving = self._told = None

    def has_for(self, events: Sequence[Event]) -> bool:
        """True if the dots that these events kill too early find room, all of them. If not, that is counted."""
        if not self.is_bounded or self.taken + sum([len(event.kills) for event in events]) <= self.easy:
            return True
        kills = [dot for event in events if event.dot not in self._context for dot in event.kills]
        fresh = self._fresh(kills)
        lasting = Counter(replica for replica, seq in fresh if not self._comes_now(replica, seq))
        fits = (
            self.taken + len(fresh) <= 2 * limits.MAX_PREKILLED
            and (not lasting or self.taken + lasting.total() <= limits.MAX_PREKILLED)
            and all(
                len(self._prekilled.get(replica, ())) + count <= limits.MAX_PREKILLED_OF_WRITER
                for replica, count in lasting.items()
            )
        )
        self.refused += not fits
        return fits

    def has_for_state(self, context: Context, prekilled: Iterable[Dot]) -> bool:
        """True if the pre-killed dots and the writers of a state find room. If not, that is counted."""
        early = list(prekilled)
        if not self.is_bounded or (
            self.taken + len(early) <= 2 * limits.MAX_PREKILLED
            and self._context.writers + context.writers <= 2 * limits.MAX_WRITERS
        ):
            return True
        new = sum(not self._context.last(writer) for writer in context.replicas())
        fits = (
            self.taken + len(self._fresh(early)) <= 2 * limits.MAX_PREKILLED
            and self._context.writers + new <= 2 * limits.MAX_WRITERS
        )
        self.refused += not fits
        return fits

    def admitted(self, delta: Delta) -> Delta:
        """A delta of events without those of new writers for whom there is no room; they are counted."""
        if not self.is_bounded or self._context.writers + len(delta.events) <= limits.MAX_WRITERS:
            return delta
        free = limits.MAX_WRITERS - self._context.writers
        new = {event.replica: None for event in delta.events if not self._context.last(event.replica)}
        late = set(list(new)[max(0, free) :])
        if not late:
            return delta
        events = tuple([event for event in delta.events if event.replica not in late])
        self.refused += len(delta.events) - len(events)
        return Delta(events, delta.runs)

    def _fresh(self, kills: Iterable[Dot]) -> list[Dot]:
        """Those dots that are neither processed nor pre-killed, each once."""
        nothing: Mapping[int, None] = {}
        return [
            (replica, seq)
            for replica, seq in dict.fromkeys(kills)
            if seq not in self._prekilled.get(replica, nothing) and not self._context.contains(replica, seq)
        ]

    def _comes_now(self, replica: str, seq: int) -> bool:
        """True if the delta that has just arrived tells of this dot too."""
        if self._told is None:
            arriving = self._arriving or Delta()
            self._told = Context.of([*((e.replica, e.seq, e.seq + 1) for e in arriving.events), *arriving.runs])
        return self._told.contains(replica, seq)
