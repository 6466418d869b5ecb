"""Retiring writers that will never return, so that their ids stop burdening every exchange.

A writer o is closed in two steps, both of them events in the shared state. The first names the last of its events that
is known; whoever has processed that takes no later ones from o. When everybody else has reported a context that holds
that first event, all of o's up to the last, and none beyond, then nobody has or will ever accept more, and the second
event closes o: it leaves the contexts that are exchanged, its entries stay, and what still comes of it is refused. If
a report does go beyond, the first step is repeated with a later last event.

Several replicas may retire o at once. Each replaces only what it has said itself, or what was said by writers that are
closed, and the lowest limit holds: so who has reported to one of them keeps within its limit, whatever another says.

Who counts as everybody: all writers in the context that are not themselves being retired, and whoever else has
reported. No clock is involved: what cannot report is either waited for or retired too.
"""

import cbor2

from .context import Context, Dot, ReplicaId
from .delta import NOTHING, Delta, Event
from .errors import InvalidValue
from .schema import RETIRED, writer_limit
from .store import Store


class Retirement:
    """What a replica knows of others' progress, and the retirements it has begun."""

    __slots__ = ("_reports", "_store")

    def __init__(self, store: Store) -> None:
        self._store = store
        self._reports: dict[ReplicaId, Context] = {}

    def retire(self, writer: ReplicaId) -> Delta:
        """Begin, or begin again, to retire ``writer``; an empty delta if nothing is left to do for it here."""
        self._store.check_settled("retiring")
        kernel = self._store.kernel
        limit = kernel.limits.get(writer)
        if writer == kernel.replica_id:
            if limit is not None:
                return NOTHING
            return self._write(writer, kernel.context.last(writer) + 1, closed=False)
        if limit is None and not kernel.context.last(writer):
            if self._reports.pop(writer, None) is None:
                raise InvalidValue(f"nothing was ever heard of a writer {writer!r}")
            return self.close_what_is_safe()  # it has only read: it is no longer waited for
        if limit is not None and limit.closed:
            return NOTHING
        begun = NOTHING
        if not self._ours(writer):
            begun = self._write(writer, self._last_known(writer), closed=False)
        return self.close_what_is_safe() or begun

    def forbid(self, writer: ReplicaId) -> Delta:
        """Close an id under which nothing was ever written, at once; an empty delta if it is closed already."""
        self._store.check_settled("retiring")
        kernel = self._store.kernel
        limit = kernel.limits.get(writer)
        if limit is not None and limit.closed:
            return NOTHING
        if kernel.context.last(writer) or writer == kernel.replica_id:
            raise InvalidValue(f"{writer!r} is a writer; retire it")
        return self._write(writer, 0, closed=True)

    def report(self, peer: ReplicaId, context: Context) -> Delta:
        """Note what ``peer`` has processed, as it said itself; close what is now safe to close."""
        self._reports[peer] = context.copy()
        if self._store.in_transaction:
            return NOTHING
        return self.close_what_is_safe()

    def close_what_is_safe(self) -> Delta:
        """Take the next step of every retirement that was begun here; returns the last one taken."""
        kernel = self._store.kernel
        done = NOTHING
        if kernel.replica_id in kernel.limits:
            return done
        for writer in sorted(kernel.retiring):
            ours = self._ours(writer)
            if not ours or kernel.limits[writer].closed:
                continue
            last = self._last_known(writer)
            # Below our limit too: somebody might still accept what nobody has any more.
            if writer_limit(ours) != (last, False) or len(self._replaceable(writer)) > len(ours):
                done = self._write(writer, last, closed=False)
            elif kernel.context.prefix(writer) == last and self._have_settled(writer, last):
                done = self._write(writer, last, closed=True)
                self._reports.pop(writer, None)
        return done

    def _members(self) -> list[ReplicaId]:
        kernel = self._store.kernel
        known = {*kernel.exported_context().replicas(), *self._reports}
        return sorted([who for who in known if who not in kernel.limits and who != kernel.replica_id])

    def _have_settled(self, writer: ReplicaId, last: int) -> bool:
        return all(self._has_settled(peer, writer, last) for peer in self._members())

    def _has_settled(self, peer: ReplicaId, writer: ReplicaId, last: int) -> bool:
        report = self._reports.get(peer)
        if report is None or report.prefix(writer) != last or report.last(writer) != last:
            return False
        said = self._ours(writer)
        if all(event.dot in report for event in said):
            return True
        known = self._store.kernel.with_closed(report)
        return all(event.dot in known for event in said)

    def _last_known(self, writer: ReplicaId) -> int:
        kernel = self._store.kernel
        reports = [(peer, report) for peer, report in self._reports.items() if peer != writer]
        known = [report.last(writer) for peer, report in reports if not kernel.is_closed(peer)]
        return max([kernel.context.last(writer), *known])

    def said_of(self, writer: ReplicaId) -> list[Dot]:
        """The dots of what we have said of a writer's retirement: who has them knows."""
        return [event.dot for event in self._ours(writer)]

    def _ours(self, writer: ReplicaId) -> tuple[Event, ...]:
        """What we have said of a writer's retirement."""
        kernel = self._store.kernel
        return tuple(e for e in kernel.at(RETIRED, writer.encode()) if e.replica == kernel.replica_id)

    def _replaceable(self, writer: ReplicaId) -> tuple[Event, ...]:
        """That, and what has been said by those who will not speak again. Others rely on the limits that they set."""
        kernel = self._store.kernel
        held = kernel.at(RETIRED, writer.encode())
        return tuple(e for e in held if e.replica == kernel.replica_id or kernel.is_closed(e.replica))

    def _write(self, writer: ReplicaId, last: int, *, closed: bool) -> Delta:
        key = writer.encode()
        held = self._store.kernel.at(RETIRED, key) if closed else self._replaceable(writer)
        return self._store.write(RETIRED, key, cbor2.dumps([last, closed]), held)
