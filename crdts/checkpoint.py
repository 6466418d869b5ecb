"""A walk over all that a replica holds, in small parts, while it goes on changing: for whoever writes it down.

A part holds entries as they are when it is made, so the parts of one sweep are of different moments. Together they are
no state that ever was. But with all that was applied since the sweep began they are the state at the end of it, as
events may be applied in any order and any number of times: what died after the beginning and is missing from a later
part has its killer among those events, and what came after the beginning is among them itself. So a sweep never stops
the replica, and never copies it. (The idea is that of a fuzzy checkpoint: Mohan et al., ARIES, 1992.)
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from .context import Dot, ReplicaId
from .delta import Delta, Event, state_delta
from .kernel import Kernel

PART_EVENTS: Final = 512
"""Entries of one part at most, and"""
PART_BYTES: Final = 256 * 1024
"""bytes of them, but for one entry that is larger: a millisecond of work."""
_ENTRY_BYTES: Final = 32
"""What an entry takes at most beside its key and payload."""


@dataclass(frozen=True, slots=True)
class Part:
    """Some entries, neighbours in the order of dots."""

    events: tuple[Event, ...]
    last: Dot
    """The sweep has passed every dot up to this one."""


class Sweep:
    """One walk. What has been processed by its beginning is in `head`; what comes later is not its business."""

    def __init__(self, kernel: Kernel, *, part_events: int | None = None) -> None:
        self._kernel = kernel
        self._part_events = part_events or PART_EVENTS
        self._times = 1
        self._context = kernel.context.copy()
        prekilled = [(replica, seq) for replica in kernel.prekilled for seq in kernel.prekilled[replica]]
        self.head: Final[Delta] = state_delta((), self._context, prekilled)
        """The context and the pre-killed dots at the beginning, as a state without its entries."""
        self._parts = self._walk(sorted(kernel.live))

    def next(self, times: int = 1) -> Part | None:
        """The next part, as the replica is now, up to so many times as large as usual; None at the end."""
        self._times = times
        return next(self._parts, None)

    def _walk(self, replicas: list[ReplicaId]) -> Iterator[Part]:
        events: list[Event] = []
        size = 0
        for replica in replicas:
            for seq in sorted(self._kernel.live.get(replica, ())):
                event = self._kernel.live.get(replica, {}).get(seq)  # it may have died since the list was made
                if event is None or not self._context.contains(replica, seq):
                    continue
                events.append(event)
                size += _ENTRY_BYTES + len(event.key) + len(event.payload or b"")
                if len(events) >= self._part_events * self._times or size >= PART_BYTES * self._times:
                    yield Part(tuple(events), event.dot)
                    # What waits here while the caller has its turn would be of an earlier moment than its part says.
                    events, size = [], 0
        if events:
            yield Part(tuple(events), events[-1].dot)


def restored(head: Delta, parts: Iterable[Delta]) -> Delta:
    """The state that a sweep has written down: to be merged first, and then all that was applied since it began.

    A part may be of a later sweep that was not finished, and an entry in two of them.
    """
    context = head.context
    if context is None:
        raise TypeError("the head of a sweep is a state")
    found = {event.dot: event for part in parts for event in part.events if event.dot in context}
    return state_delta(found.values(), context, head.prekilled)
