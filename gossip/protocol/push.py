"""Push: new events are collected for a moment, saved together, and go out once the disk has them.

Only an accelerator: digests find whatever is lost for good. Whom news goes to is up to a `Dissemination`.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from crdts import Event
from crdts.codec import event_bytes

from .dissemination import Dissemination
from .messages import Message
from .output import Output
from .peers import Peer

_LEAST_BYTES: Final = 20
"""What an event is reckoned to take at least."""


@dataclass(frozen=True, slots=True)
class _Group:
    """Events of others that travel alike."""

    events: Sequence[Event]
    route: Any
    """Where to, in the terms of the `Dissemination`."""


class _Batch:
    """What is pushed together, once it is saved."""

    __slots__ = ("others", "own")

    def __init__(self) -> None:
        self.own: list[Event] = []
        """Our own events: in one list, as there may be very many."""
        self.others: list[_Group] = []


class Pusher:
    """Collects new events for `push_interval`, hands them to the disk together, and pushes them once they are there."""

    def __init__(self, output: Output, dissemination: Dissemination) -> None:
        self._out = output
        self._dissemination = dissemination
        self._fresh = _Batch()
        self._has_fresh = False
        self._fresh_since = 0.0
        self._last_flush = float("-inf")
        self._saving: deque[tuple[int, _Batch]] = deque()

    def wrote(self, now: float, events: tuple[Event, ...]) -> bool:
        """Local mutations. Returns whether they are the first to wait, so that the `deadline` has moved."""
        self._out.counts["events_written"] += len(events)
        is_first = not self._has_fresh
        self._add(now, events)
        self._fresh.own += events
        return is_first

    def received(self, now: float, events: list[Event], message: Message, peer: Peer | None, sender: bytes) -> None:
        """A message brought news of ``sender``, of which these events were new here.

        ``peer`` is the sender, if it is a member and has proven to be where the message came from.
        """
        passed, route = self._dissemination.take(now, message, events, peer, sender)
        if events or route is not None:
            self._add(now, events)
        if route is not None:
            self._fresh.others.append(_Group(passed, route))

    def absorbed(self, now: float, events: list[Event]) -> None:
        """Events from a stream: to be saved, not to be passed on."""
        if events:
            self._add(now, events)

    def _add(self, now: float, new: Sequence[Event]) -> None:
        if not self._has_fresh:
            self._has_fresh, self._fresh_since = True, now
        self._out.unsaved(new)

    def deadline(self) -> float:
        """When `tick` wants to flush: at once after a quiet moment, else when the interval has passed."""
        if not self._has_fresh:
            return float("inf")
        return max(self._fresh_since, self._last_flush + self._out.config.push_interval)

    def tick(self, now: float) -> None:
        if now >= self.deadline():
            self.flush(now)

    def flush(self, now: float) -> None:
        """Hand everything fresh to the disk now, and push it as soon as it is there."""
        if self._fresh.own or any(group.events for group in self._fresh.others):
            self._last_flush = now  # what only goes to the disk must not delay an answer to it
        self._saving.append((self._out.save(), self._fresh))
        self._fresh, self._has_fresh = _Batch(), False
        self.persisted(now)

    def persisted(self, now: float) -> None:
        """Push what the disk has by now."""
        budget = self._out.config.push_buffer_bytes
        while self._saving and self._out.is_durable(self._saving[0][0]):
            budget = self._push(now, self._saving.popleft()[1], budget)

    def _push(self, now: float, batch: _Batch, budget: int) -> int:
        """Push what ``budget`` bytes allow; returns what is left of them. The rest peers will fetch."""
        if self._dissemination.is_alone:
            return budget
        if batch.own:
            size = _size(batch.own, budget)
            if size <= budget:
                budget -= size
                self._dissemination.originate(now, batch.own)
            else:
                self._dissemination.overflowed = True
        for group in batch.others:
            size = _size(group.events, budget)
            if size <= budget:
                budget -= size
                self._dissemination.pass_on(now, group.events, group.route)
            else:
                self._dissemination.overflowed = True
        return budget


def _size(events: Sequence[Event], budget: int) -> int:
    """Bytes of these events; not reckoned to the end, which takes long for very many, where they are too many."""
    least = len(events) * _LEAST_BYTES
    return least if least > budget else sum(map(event_bytes, events))
