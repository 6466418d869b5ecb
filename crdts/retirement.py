"""Retiring writers that will never return, so that their ids stop burdening every exchange.

A writer o is closed in two steps, both of them events in the shared state. The first names the last of its events that
is known; whoever has processed that takes no later ones from o. When everybody else has reported a context that holds
that first event, all of o's up to the last, and none beyond, then nobody has or will ever accept more, and the second
event closes o: it leaves the contexts that are exchanged, its entries stay, and what still comes of it is refused. If
a report does go beyond, the first step is repeated with a later last event.

Who counts as everybody: all writers in the context that are not themselves being retired, and whoever else has
reported. No clock is involved: what cannot report is either waited for or retired too.
"""

import cbor2

from .context import Context
from .delta import NOTHING, Delta
from .errors import InvalidValue
from .schema import RETIRED, check_replica_id
from .store import Store


class Retirement:
    """What a replica knows of others' progress, and the retirements it has begun."""

    __slots__ = ("_reports", "_store")

    def __init__(self, store: Store) -> None:
        self._store = store
        self._reports: dict[str, Context] = {}

    def retire(self, writer: str) -> Delta:
        """Begin, or begin again, to retire ``writer``; an empty delta if nothing is left to do for it here."""
        check_replica_id(writer)
        self._store.check_settled("retiring")
        kernel = self._store.kernel
        limit = kernel.limits.get(writer)
        if writer == kernel.replica_id:
            if limit is not None:
                return NOTHING
            return self._write(writer, kernel.context.last(writer) + 1, closed=False)
        if not kernel.context.last(writer):
            raise InvalidValue(f"nothing was ever heard of a writer {writer!r}")
        if limit is not None and limit.closed:
            return NOTHING
        last = self._last_known(writer)
        if limit is not None and last <= limit.last and self._is_ours(writer):
            return self.close_what_is_safe()
        begun = self._write(writer, last, closed=False)
        closed = self.close_what_is_safe()
        return closed if closed else begun

    def report(self, peer: str, context: Context) -> Delta:
        """Note what ``peer`` has processed, as it said itself; close what is now safe to close."""
        self._reports[check_replica_id(peer)] = context.copy()
        if self._store.in_transaction:
            return NOTHING
        return self.close_what_is_safe()

    def close_what_is_safe(self) -> Delta:
        """Take the next step of every retirement that was begun here; returns the last one taken."""
        kernel = self._store.kernel
        done = NOTHING
        if kernel.replica_id in kernel.limits:
            return done
        for writer in sorted(kernel.limits):
            limit = kernel.limits[writer]
            if limit.closed or not self._is_ours(writer):
                continue
            last = self._last_known(writer)
            if last > limit.last:
                done = self._write(writer, last, closed=False)
            elif kernel.context.prefix(writer) == last and self._have_settled(writer, last):
                done = self._write(writer, last, closed=True)
                self._reports.pop(writer, None)
        return done

    def _members(self) -> list[str]:
        kernel = self._store.kernel
        known = {*kernel.context.replicas(), *self._reports} - {*kernel.limits, kernel.replica_id}
        return sorted(known)

    def _have_settled(self, writer: str, last: int) -> bool:
        return all(self._has_settled(peer, writer, last) for peer in self._members())

    def _has_settled(self, peer: str, writer: str, last: int) -> bool:
        report = self._reports.get(peer)
        if report is None or report.prefix(writer) != last or report.last(writer) != last:
            return False
        return any(event.dot in report for event in self._store.kernel.at(RETIRED, writer.encode()))

    def _last_known(self, writer: str) -> int:
        members = [report for peer, report in self._reports.items() if peer != writer]
        return max([self._store.kernel.context.last(writer), *(report.last(writer) for report in members)])

    def _is_ours(self, writer: str) -> bool:
        kernel = self._store.kernel
        return any(event.replica == kernel.replica_id for event in kernel.at(RETIRED, writer.encode()))

    def _write(self, writer: str, last: int, *, closed: bool) -> Delta:
        key = writer.encode()
        return self._store.write(RETIRED, key, cbor2.dumps([last, closed]), self._store.kernel.at(RETIRED, key))
