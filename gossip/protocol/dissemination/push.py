"""Push: new events are collected for a moment, saved together, and go out once the disk has them.

Only an accelerator: digests find whatever is lost for good. Whom news goes to is up to a `Dissemination`.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from crdts import Event
from crdts.embedding import event_bytes

from ..identity import NodeId
from ..membership.peers import Peer
from ..output import Output
from ..wire.messages import Message, Push
from .recent import Recent, Written
from .strategy import Dissemination

SLICE_BYTES: Final = 16 * 1024
"""Bytes of events that are pushed in one go, a few milliseconds of work; before more, others have their turn."""
LEFT_ALONE: Final = 256
"""Of what was written at once while nobody was there, the events that are looked at for who is met next, the latest."""
_LEAST_BYTES: Final = 20
"""What an event is reckoned to take at least."""
_OWN: Final = object()
"""The route of our own events."""


@dataclass(frozen=True, slots=True)
class _Group:
    """Events that travel alike."""

    events: Sequence[Event]
    route: Any
    """Where to, in the terms of the `Dissemination`."""
    size: int = 0
    """Bytes that they are reckoned to take, once that is known."""


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
        self._saved: deque[_Group] = deque()
        self._saved_bytes = 0
        self._saved_since = 0.0
        self._recent = Recent()
        self._written = Written()

    def wrote(self, now: float, events: tuple[Event, ...]) -> bool:
        """Local mutations. Returns whether they are the first to wait, so that the `deadline` has moved."""
        self._out.counts["events_written"] += len(events)
        is_first = not self._has_fresh
        self._add(now, events)
        self._fresh.own += events
        return is_first

    def received(self, now: float, events: list[Event], message: Message, peer: Peer | None, sender: NodeId) -> None:
        """A message brought news of ``sender``, of which these events were new here.

        ``peer`` is the sender, if it is a member and has proven to be where the message came from.
        """
        passed, route = self._dissemination.take(now, message, events, peer, sender)
        if events or route is not None:
            self._add(now, events)
        if route is not None:
            self._fresh.others.append(_Group(passed, route))
        if not (isinstance(message, Push) and message.is_answer):
            self._recent.note(now, events)

    def absorbed(self, now: float, events: list[Event]) -> None:
        """Events from a stream: to be saved, not to be passed on."""
        if events:
            self._add(now, events)

    def _add(self, now: float, new: Sequence[Event]) -> None:
        if not self._has_fresh:
            self._has_fresh, self._fresh_since = True, now
        self._out.unsaved(new)

    def deadline(self) -> float:
        """When `tick` wants to flush: at once after a quiet moment, else when the interval has passed. Or to go on."""
        return self._saved_since if self._saved else self._flush_due()

    def _flush_due(self) -> float:
        if not self._has_fresh:
            return float("inf")
        return max(self._fresh_since, self._last_flush + self._out.config.push_interval)

    def tick(self, now: float) -> None:
        self._push_slice(now)
        if now >= self._flush_due():
            self.flush(now)

    def flush(self, now: float) -> None:
        """Hand everything fresh to the disk now, and push it as soon as it is there."""
        if self._fresh.own or any(group.events for group in self._fresh.others):
            self._last_flush = now  # what only goes to the disk must not delay an answer to it
        self._saving.append((self._out.save(), self._fresh))
        self._fresh, self._has_fresh = _Batch(), False
        self.persisted(now)

    def persisted(self, now: float) -> None:
        """Begin to push what the disk has by now."""
        while self._saving and self._out.is_durable(self._saving[0][0]):
            self._put(now, self._saving.popleft()[1])
        self._push_slice(now)

    def _put(self, now: float, batch: _Batch) -> None:
        """Have a batch pushed, as far as the buffer allows. The rest peers will fetch."""
        if self._dissemination.is_alone:
            self._keep_for_the_first(now, batch.own)
            for group in batch.others:
                self._leave(now, group)
            return
        self._saved_since = now
        for group in ([_Group(batch.own, _OWN)] if batch.own else []) + batch.others:
            room = self._out.config.push_buffer_bytes - self._saved_bytes
            slices = [*_slices(group)] if len(group.events) * _LEAST_BYTES <= room else []
            size = sum(each.size for each in slices)
            if size > room or not slices:  # not reckoned where there are too many, as that would take long
                self._dissemination.overflowed = True
                self._leave(now, group)
                continue
            self._saved += slices
            self._saved_bytes += size

    def _leave(self, now: float, group: _Group) -> None:
        """Push none of these events. A member that waits for a receipt is told all the same that they are saved."""
        if group.route is not _OWN:
            self._dissemination.pass_on(now, (), group.route)

    def _push_slice(self, now: float) -> None:
        budget = SLICE_BYTES
        while self._saved and budget > 0:
            group = self._saved.popleft()
            self._saved_bytes -= group.size
            budget -= group.size
            if group.route is _OWN:
                self._recent.note(now, group.events)
                self._written.note(now, group.events, group.size)
                self._dissemination.originate(now, group.events)
            else:
                self._dissemination.pass_on(now, group.events, group.route)
        if self._dissemination.overflowed:
            self._recent.forget()

    # ---- what is on its way

    def on_its_way(self, now: float, peer: Peer) -> Iterator[Event]:
        """What a member that lacks it will most likely be pushed yet, by us or by others."""
        begun = now - self._dissemination.spread_time()
        return self._recent.since(begun) if peer.since <= begun else iter(())

    def bring(self, now: float, peer: Peer) -> None:
        """A member was just met: bring it what we wrote a moment ago, when it could not be reached."""
        self._dissemination.bring(now, peer, self._written.latest(now))

    def _keep_for_the_first(self, now: float, own: list[Event]) -> None:
        """Nobody is there whom our writes could be pushed to: whoever is met soon gets the latest of them."""
        if own:
            for each in _slices(_Group(own[-LEFT_ALONE:], _OWN)):
                self._written.note(now, each.events, each.size)


def _slices(group: _Group) -> Iterator[_Group]:
    """A group in parts; no transaction is cut. One without events is a part too."""
    events: list[Event] = []
    size = 0
    for event in group.events:
        if size >= SLICE_BYTES and (event.batch is None or event.batch != events[-1].batch):
            yield _Group(events, group.route, size)
            events, size = [], 0
        events.append(event)
        size += event_bytes(event)
    yield _Group(events, group.route, size)
