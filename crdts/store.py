"""One kernel, its clock, and who is told about changes: what a standalone object and a `Replica` both stand on."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from . import schema
from .clock import HybridClock
from .delta import Delta, Event, events_delta
from .kernel import Kernel
from .values import decode_element

KIND_OF_TAG: Final[dict[bytes, str]] = {
    schema.ORSET: "orset",
    schema.GCOUNTER: "gcounter",
    schema.COUNTER: "counter",
    schema.REGISTER: "register",
    schema.MVREGISTER: "mvregister",
    schema.LWWMAP: "lwwmap",
}
"""The name of each type, which is also the name of its accessor on `Replica`."""


@dataclass(frozen=True, slots=True)
class Change:
    """One place whose content changed, by a local write or by a merge. Read the object to see what it is now."""

    kind: str
    """The type's accessor name, such as ``"orset"``."""
    name: str
    key: Any
    """The set element, the map key, the counter's writer; None for registers."""
    writer: str
    """The replica id of the event that changed the place last."""
    seq: int
    """The seq of that event."""


OnChange: TypeAlias = Callable[[list[Change]], None]
OnWrite: TypeAlias = Callable[[tuple[Event, ...]], None]


class Store:
    """Writes and merges go through here, so that the clock follows and subscribers hear of both alike."""

    __slots__ = ("_guards", "_on_change", "_on_write", "clock", "kernel", "on_listener_error")

    def __init__(self, replica_id: str, *, clock: HybridClock | None = None, kernel: Kernel | None = None) -> None:
        self.kernel = kernel if kernel is not None else Kernel(schema.check_replica_id(replica_id))
        self.clock = clock if clock is not None else HybridClock(time.time)
        self._on_change: dict[object, OnChange] = {}
        self._on_write: list[OnWrite] = []
        self._guards: list[Callable[[], None]] = []
        self.on_listener_error: Callable[[Exception], None] | None = None
        """What to do with an exception of a subscriber; None lets it reach whoever wrote or merged."""

    def write(self, obj: bytes, key: bytes, payload: bytes | None, replaced: tuple[Event, ...]) -> Delta:
        """Make one mutation, tell the subscribers, and return it as a delta; raises what a guard raises."""
        for guard in self._guards:
            guard()
        events = self.kernel.write(obj, key, payload, replaced)
        for told in self._on_write:
            told(events)
        self._publish()
        return events_delta(events) if len(events) > 1 else Delta(events)

    def merge(self, delta: Delta) -> list[Event]:
        """Join ``delta`` in place; return the events that were new."""
        new = self.kernel.merge(delta)
        for event in delta.events if delta.is_state else new:
            if event.payload is not None and event.obj[:1] in schema.STAMPED:
                self.clock.observe(int.from_bytes(event.payload[: schema.STAMP_BYTES], "big"))
        self._publish()
        return new

    def subscribe(self, told: OnChange) -> Callable[[], None]:
        """Call ``told`` with the changes of every write and merge; returns a function that ends it."""
        subscription = object()
        self._on_change[subscription] = told
        if self.kernel.touched is None:
            self.kernel.touched = {}

        def cancel() -> None:
            self._on_change.pop(subscription, None)
            if not self._on_change:
                self.kernel.touched = None

        return cancel

    def guard_writes(self, guard: Callable[[], None]) -> None:
        """Call ``guard`` before every local mutation: an exception it raises refuses the mutation, wholly."""
        self._guards.append(guard)

    def on_write(self, told: OnWrite) -> None:
        """Call ``told`` with the events of every local mutation, at once."""
        self._on_write.append(told)

    def _publish(self) -> None:
        touched = self.kernel.touched
        if not touched:
            return
        self.kernel.touched = {}
        changes = [_change(obj, key, *dot) for (obj, key), dot in touched.items() if obj[:1] in KIND_OF_TAG]
        for told in tuple(self._on_change.values()):
            try:
                told(changes)
            except Exception as error:
                if self.on_listener_error is None:
                    raise
                self.on_listener_error(error)


def _change(obj: bytes, key: bytes, writer: str, seq: int) -> Change:
    tag = obj[:1]
    place = decode_element(key) if tag == schema.ORSET else None if tag in schema.KEYLESS else key.decode()
    return Change(KIND_OF_TAG[tag], obj[1:].decode(), place, writer, seq)
