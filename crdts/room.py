"""The bounds of what others can make a replica remember for good: pre-killed dots, and writers.

A dot is pre-killed if it was killed before its own event came. A replica never forgets one locally, as the event may
yet come; nor does it forget a writer. So an event that would go beyond the bounds is not processed: the replica refuses
and counts it, and gets it again with a later exchange. An honest cluster stays far below the bounds. If it does not, it
goes on all the same:

* The event of a pre-killed dot always finds room, as it frees some. So pre-killed dots drain as their events come.
* An event whose victims arrive in the same delta needs room only until the delta is processed.
* A state needs room for the other side's pre-killed dots only, and may take twice as much as events. A replica that
  had to refuse events asks for a state.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from . import limits
from .context import Context, Dot, ReplicaId
from .delta import Delta, Event


class Room:
    """Counts the pre-killed dots, and refuses events and states for which there is no room."""

    def __init__(self, context: Context, prekilled: Mapping[ReplicaId, Mapping[int, None]]) -> None:
        """``context`` and ``prekilled`` are those of the replica, not copies."""
        self._context = context
        self._prekilled = prekilled
        self._arriving: Delta | None = None
        self._told: Context | None = None
        self.taken = 0
        """How many dots are pre-killed."""
        self.easy: Final = limits.MAX_PREKILLED_OF_WRITER
        """Up to so many pre-killed dots there is room, whoever wrote them."""
        self.refused = 0
        """Events, transactions and states that were not processed because there was no room for them."""
        self.is_bounded = True
        """False while a replica is read back from its disk: what was taken once is not refused then."""

    @property
    def beyond(self) -> int:
        """How many pre-killed dots there are beyond all bounds."""
        return max(0, self.taken - 2 * limits.MAX_PREKILLED)

    def begin(self, delta: Delta) -> None:
        """Note the delta whose events `has_for` will be asked about."""
        self._arriving, self._told = delta, None

    def end(self) -> None:
        """Forget the delta."""
        self._arriving = self._told = None

    def has_for(self, events: Sequence[Event]) -> bool:
        """True if there is room for all dots that these events kill before they come. Counts a refusal."""
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
        """True if there is room for the pre-killed dots and the writers of a state. Counts a refusal."""
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
        """``delta`` without the events of new writers for whom there is no room; those are counted as refused."""
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
        """The dots of ``kills`` that are neither processed nor pre-killed, each once."""
        nothing: Mapping[int, None] = {}
        return [
            (replica, seq)
            for replica, seq in dict.fromkeys(kills)
            if seq not in self._prekilled.get(replica, nothing) and not self._context.contains(replica, seq)
        ]

    def _comes_now(self, replica: ReplicaId, seq: int) -> bool:
        """True if the delta that has arrived has the event of this dot too."""
        if self._told is None:
            arriving = self._arriving or Delta()
            self._told = Context.of([*((e.replica, e.seq, e.seq + 1) for e in arriving.events), *arriving.runs])
        return self._told.contains(replica, seq)
