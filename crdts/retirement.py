"""Retiring writers that will never return, so that their ids stop burdening every exchange.

A writer o is closed in two steps, both of them events in the shared state. The first names the last of its events that
is known; whoever has processed that takes no later ones from o. When everybody else has reported a context that holds
that first event, all of o's up to the last, and none beyond, then nobody has or will ever accept more, and the second
event closes o: it leaves the contexts that are exchanged, its entries stay, and what still comes of it is refused. If
a report does go beyond, the first step is repeated with a later last event.

Several replicas may retire o at once. Each replaces only what it has said itself, or what was said by writers that are
closed, and the lowest limit holds: so who has reported to one of them keeps within its limit, whatever another says.
A replica may speak for writers that it was itself before: else nobody could raise the limit that one of them has set.

Before the first step a writer may be marked: it is then known to be over, by everybody who reads the mark, and all of
its events are still accepted. A mark is a limit at the highest seq there is. Whoever takes the first step replaces it.

Who counts as everybody: all writers in the context that are not themselves being retired, and whoever else has
reported. No clock is involved: what cannot report is either waited for or retired too.
"""

from collections.abc import Iterable, Iterator

import cbor2

from .context import Context, Dot, ReplicaId
from .delta import NOTHING, Delta, Event
from .errors import InvalidValue
from .limits import MAX_SEQ
from .schema import RETIRED, writer_limit
from .store import Store


class Retirement:
    """What a replica knows of others' progress, and the retirements it has begun."""

    __slots__ = ("_former", "_reports", "_store")

    def __init__(self, store: Store) -> None:
        self._store = store
        self._reports: dict[ReplicaId, Context] = {}
        self._former: dict[ReplicaId, None] = {}
        """Writers that this replica speaks for."""

    def succeed(self, writers: Iterable[ReplicaId]) -> None:
        """Speak for these writers, which write no more: what they said of retirements counts as said here."""
        self._former |= dict.fromkeys(writers)

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

    def mark(self, writer: ReplicaId) -> Delta:
        """Say that ``writer`` is over; an empty delta if something was said of its retirement already."""
        self._store.check_settled("retiring")
        kernel = self._store.kernel
        if writer in kernel.limits:
            return NOTHING
        if writer == kernel.replica_id:
            raise InvalidValue(f"{writer!r} is this replica: it can retire itself")
        if not kernel.context.last(writer):
            raise InvalidValue(f"nothing was ever heard of a writer {writer!r}")
        return self._write(writer, MAX_SEQ, closed=False)

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

    def _members(self) -> Iterator[ReplicaId]:
        """Everybody whose report is waited for; some twice."""
        kernel = self._store.kernel
        yield from [who for who in self._reports if who not in kernel.limits and who != kernel.replica_id]
        yield from (who for who in kernel.open_writers() if who != kernel.replica_id)

    def _have_settled(self, writer: ReplicaId, last: int) -> bool:
        return all(self._has_settled(peer, writer, last) for peer in self._members())

    def _has_settled(self, peer: ReplicaId, writer: ReplicaId, last: int) -> bool:
        report = self._reports.get(peer)
        if report is None or report.prefix(writer) != last or report.last(writer) != last:
            return False
        return all(event.dot in report for event in self._ours(writer))

    def _last_known(self, writer: ReplicaId) -> int:
        kernel = self._store.kernel
        reports = [(peer, report) for peer, report in self._reports.items() if peer != writer]
        known = [report.last(writer) for peer, report in reports if not kernel.is_closed(peer)]
        return max([kernel.context.last(writer), *known])

    def said_of(self, writer: ReplicaId) -> list[Dot]:
        """The dots of what we have said of a writer's retirement: who has them knows."""
        return [event.dot for event in self._ours(writer)]

    def _ours(self, writer: ReplicaId) -> tuple[Event, ...]:
        """The limits that we have set for a writer."""
        kernel = self._store.kernel
        held = kernel.at(RETIRED, writer.encode())
        return tuple(e for e in held if self._speaks_for(e.replica) and not _is_mark(e))

    def _replaceable(self, writer: ReplicaId) -> tuple[Event, ...]:
        """Those, marks, and limits of those who will not speak again. Others rely on the limits that they set."""
        kernel = self._store.kernel
        held = kernel.at(RETIRED, writer.encode())
        return tuple(e for e in held if self._speaks_for(e.replica) or kernel.is_closed(e.replica) or _is_mark(e))

    def _speaks_for(self, author: ReplicaId) -> bool:
        return author == self._store.kernel.replica_id or author in self._former

    def _write(self, writer: ReplicaId, last: int, *, closed: bool) -> Delta:
        key = writer.encode()
        held = self._store.kernel.at(RETIRED, key) if closed else self._replaceable(writer)
        return self._store.write(RETIRED, key, cbor2.dumps([last, closed]), held)


def _is_mark(event: Event) -> bool:
    limit = writer_limit((event,))
    return limit is not None and limit.is_mark
