"""Push: new events are collected for a moment, saved together, and go out once the disk has them.

Only an accelerator: digests find whatever is lost for good. Whom news goes to is up to a `Dissemination`.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from crdts import Event
from crdts.codec import event_bytes

from .dissemination import Dissemination
from .messages import Message
from .output import Output
from .peers import Peer


@dataclass(frozen=True, slots=True)
class _Group:
    """Events that travel alike, or only go to the disk."""

    events: Sequence[Event]
    """To be sent."""
    route: Any
    """Where to, in the terms of the `Dissemination`; None if they are our own, or to be saved only."""


class Pusher:
    """Collects new events for `push_interval`, hands them to the disk together, and pushes them once they are there."""

    def __init__(self, output: Output, dissemination: Dissemination) -> None:
        self._out = output
        self._dissemination = dissemination
        self._fresh: list[_Group] = []
        self._fresh_since = 0.0
        self._last_flush = float("-inf")
        self._saving: deque[tuple[int, list[_Group]]] = deque()

    def wrote(self, now: float, events: tuple[Event, ...]) -> None:
        """Local mutations."""
        self._out.counts["events_written"] += len(events)
        self._add(now, events, _Group(events, None))

    def received(self, now: float, events: list[Event], message: Message, peer: Peer | None, sender: bytes) -> None:
        """A message brought news of ``sender``, of which these events were new here.

        ``peer`` is the sender, if it is a member and has proven to be where the message came from.
        """
        passed, route = self._dissemination.take(now, message, events, peer, sender)
        self._add(now, events, _Group(passed, route))

    def absorbed(self, now: float, events: list[Event]) -> None:
        """Events from a stream: to be saved, not to be passed on."""
        self._add(now, events, _Group((), None))

    def _add(self, now: float, new: Sequence[Event], group: _Group) -> None:
        if new or group.route is not None:
            if not self._fresh:
                self._fresh_since = now
            self._fresh.append(group)
            self._out.unsaved(new)

    def deadline(self) -> float:
        """When `tick` wants to flush: at once after a quiet moment, else when the interval has passed."""
        if not self._fresh:
            return float("inf")
        return max(self._fresh_since, self._last_flush + self._out.config.push_interval)

    def tick(self, now: float) -> None:
        if now >= self.deadline():
            self.flush(now)

    def flush(self, now: float) -> None:
        """Hand everything fresh to the disk now, and push it as soon as it is there."""
        if any(group.events for group in self._fresh):  # what only goes to the disk must not delay an answer to it
            self._last_flush = now
        self._saving.append((self._out.save(), self._fresh))
        self._fresh = []
        self.persisted(now)

    def persisted(self, now: float) -> None:
        """Push what the disk has by now."""
        while self._saving and self._out.is_durable(self._saving[0][0]):
            self._push(now, self._saving.popleft()[1])

    def _push(self, now: float, groups: list[_Group]) -> None:
        budget = self._out.config.push_buffer_bytes
        own = [event for group in groups if group.route is None for event in group.events]
        others = [group for group in groups if group.route is not None]
        for group in ([_Group(own, None)] if own else []) + others:
            size = sum(event_bytes(event) for event in group.events)
            if size > budget:
                self._dissemination.overflowed = True
                continue
            budget -= size
            if group.route is None:
                self._dissemination.originate(now, group.events)
            else:
                self._dissemination.pass_on(now, group.events, group.route)
