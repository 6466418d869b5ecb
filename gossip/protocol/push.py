"""Push: new events go out at once to a few members, who pass on what is new to them.

Only an accelerator: nothing here is remembered once it is sent. Digests find whatever a push missed.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from crdts import Event
from crdts.codec import event_bytes
from crdts.packing import pack

from .members import Members
from .messages import Push
from .output import Output
from .peers import Peer
from .sampling import sample_targets
from .seal import OVERHEAD_BYTES
from .wire import ENVELOPE_BYTES


@dataclass(frozen=True, slots=True)
class _Group:
    """Events that travel alike."""

    events: Sequence[Event]
    hops: int
    source: bytes | None
    """The member we heard of them from; None if they are our own."""


class Pusher:
    """Collects new events for `push_interval`, hands them to the disk together, and pushes them once they are there."""

    def __init__(self, output: Output, members: Members) -> None:
        self._out = output
        self._members = members
        self._fresh: list[_Group] = []
        self._fresh_since = 0.0
        self._last_flush = float("-inf")
        self._saving: deque[tuple[int, list[_Group]]] = deque()
        self.overflowed = False
        """Something was too large to push since this was last reset: members should be told by digest."""

    def wrote(self, now: float, events: tuple[Event, ...]) -> None:
        """Local mutations."""
        self._out.counts["events_written"] += len(events)
        self._add(now, _Group(events, self._out.config.hops, None))

    def received(self, now: float, events: list[Event], push: Push, source: Peer | None, sender: bytes) -> None:
        """Events of a push that were new here: pass them on, unless the writer reached everyone itself."""
        complete = push.reach and len(self._members.alive()) + 1 <= push.reach
        hops = 0 if complete else max(0, push.hops - 1)
        self._add(now, _Group(events, hops, source.node_id if source else sender))

    def absorbed(self, now: float, events: list[Event]) -> None:
        """Events from a stream or an answer to our context: to be saved, not to be passed on."""
        self._add(now, _Group(events, 0, None))

    def _add(self, now: float, group: _Group) -> None:
        if group.events:
            if not self._fresh:
                self._fresh_since = now
            self._fresh.append(group)
            self._out.unsaved(group.events)

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
        if any(group.hops for group in self._fresh):  # what only goes to the disk must not delay an answer to it
            self._last_flush = now
        self._saving.append((self._out.save(), self._fresh))
        self._fresh = []
        self.persisted()

    def persisted(self) -> None:
        """Push what the disk has by now."""
        while self._saving and self._out.is_durable(self._saving[0][0]):
            self._push(self._saving.popleft()[1])

    def _push(self, groups: list[_Group]) -> None:
        budget = self._out.config.push_buffer_bytes
        mine = [event for group in groups if group.source is None and group.hops for event in group.events]
        others = [group for group in groups if group.source is not None and group.hops]
        for group in ([_Group(mine, self._out.config.hops, None)] if mine else []) + others:
            size = sum(event_bytes(event) for event in group.events)
            if size > budget:
                self.overflowed = True
                continue
            budget -= size
            self._push_group(group)

    def _push_group(self, group: _Group) -> None:
        alive = self._members.alive()
        targets = sample_targets(alive, self._out.config.fanout, self._out.rng, but=group.source)
        if not targets:
            return
        everyone = group.source is None and len(targets) == len(alive)
        reach = len(alive) + 1 if everyone else 0
        addresses = [peer.address for peer in targets]
        for delta in pack(group.events, payload_budget(self._out)):
            datagram = self._out.sealed([Push(delta, group.hops, reach)])
            if len(datagram) > self._out.config.datagram_bytes:
                self.overflowed = True  # one event larger than a datagram
            else:
                self._out.send_sealed(addresses, datagram)


def payload_budget(output: Output) -> int:
    """Bytes an encoded delta or context may take inside one datagram."""
    return output.config.datagram_bytes - OVERHEAD_BYTES - ENVELOPE_BYTES - 16
