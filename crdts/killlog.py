"""The kill log: what each event replaced, and which events belong together, for peers that lag behind.

A bounded cache. It is complete above its floor; below it, peers are brought up to date by states or by reconciliation.
"""

from bisect import bisect_right, insort
from itertools import islice
from typing import Final, TypeAlias

from .context import Dot, DotRange, ReplicaId, seqs_within
from .delta import Batch, Event
from .errors import LogTrimmed

Kills: TypeAlias = tuple[Dot, ...]

DEFAULT_LOG_LIMIT: Final = 65_536
"""Kills remembered for peers that lag behind, in dots; about 200 bytes each."""
TRIM_SHARE: Final = 64
"""When there are too many, one in so many is forgotten at a time: to forget many at once would be felt."""
_BEYOND: Final = 1 << 62
"""More than any seq."""


class KillLog:
    """Kills by the dot of the killing event, and the transactions, of each replica above `floor`."""

    __slots__ = ("batches", "floor", "held", "kills", "limit", "removals", "size")

    def __init__(self, limit: int = DEFAULT_LOG_LIMIT) -> None:
        self.kills: dict[ReplicaId, dict[int, Kills]] = {}
        self.removals: dict[ReplicaId, dict[int, None]] = {}
        """Those of the logged events that never had an entry."""
        self.batches: dict[ReplicaId, list[Batch]] = {}
        """Transactions, sorted and disjoint."""
        self.floor: dict[ReplicaId, int] = {}
        self.size = 0
        """Dots in `kills` and transactions in `batches`."""
        self.limit = limit
        self.held = False
        """True if nothing is trimmed for the time being, as what was logged last may yet be undone."""

    def remember(self, event: Event) -> None:
        """Log an event that killed something, unless it is below the floor: an incomplete log is not a log."""
        replica, seq, obj, _, _, kills, _ = event
        if seq <= self.floor.get(replica, 0):
            return
        held = self.kills.get(replica)
        if held is None:
            held = self.kills[replica] = {}
        held[seq] = kills
        if not obj:
            self.removals.setdefault(replica, {})[seq] = None
        self.size += len(kills)
        self._keep_limit()

    def _keep_limit(self) -> None:
        if self.size > self.limit and not self.held:
            self.trim(self.limit - self.limit // TRIM_SHARE)

    def release(self) -> None:
        """End `held`."""
        self.held = False
        self._keep_limit()

    def remember_batch(self, replica: ReplicaId, batch: Batch) -> None:
        """Log that these events belong together."""
        if batch[0] <= self.floor.get(replica, 0):
            self.raise_floor(replica, batch[1] - 1)  # trimmed in the middle of it, it must not be told of in part
            return
        held = self.batches.setdefault(replica, [])
        # One that overlaps with another can only come from a peer that lies, and could never be told of.
        if self.batch_of(replica, batch[0]) is None and self.batch_of(replica, batch[1] - 1) is None:
            insort(held, batch)
            self.size += 1
            self._keep_limit()

    def batch_of(self, replica: ReplicaId, seq: int) -> Batch | None:
        """The transaction that this dot was made in, as far as it is remembered."""
        held = self.batches.get(replica)
        if not held:
            return None
        at = bisect_right(held, (seq, _BEYOND)) - 1
        return held[at] if at >= 0 and seq < held[at][1] else None

    def forget(self, replica: ReplicaId, seq: int) -> None:
        """Remove the record of one event, if there is one."""
        held = self.kills.get(replica)
        kills = held.pop(seq, None) if held is not None else None
        if kills is None:
            return
        self.size -= len(kills)
        removals = self.removals.get(replica)
        if removals is not None and seq in removals:
            del removals[seq]
            if not removals:
                del self.removals[replica]
        if not held:
            del self.kills[replica]

    def trim(self, limit: int) -> None:
        """Forget the oldest records, of the replica with the most of them first, until `size` is at most ``limit``.

        Each loses no more than half of its records before the next has its turn. Costs bandwidth later (a peer that
        lags behind `floor` needs more than events), never correctness.
        """
        while self.size > limit:
            for replica in sorted(sorted({*self.kills, *self.batches}), key=self._records, reverse=True):
                most = max(1, self._records(replica) // 2)
                self.raise_floor(replica, self._oldest(replica, min(most, self.size - limit)))
                if self.size <= limit:
                    break

    def _records(self, replica: ReplicaId) -> int:
        return len(self.kills.get(replica, ())) + len(self.batches.get(replica, ()))

    def _oldest(self, replica: ReplicaId, count: int) -> int:
        """Up to which seq to forget so many records or a few more: those that came first are mostly the oldest."""
        kills, batches = self.kills.get(replica, {}), self.batches.get(replica, [])
        bounds = [max(islice(kills, count))] if kills else []
        return min([*bounds, *[start for start, _ in batches[:count][-1:]]])

    def raise_floor(self, replica: ReplicaId, seq: int) -> None:
        """Forget all of ``replica`` up to ``seq``, and to the end of the transaction that it is in."""
        if seq <= self.floor.get(replica, 0):
            return
        batch = self.batch_of(replica, seq)
        before = self.floor.get(replica, 0)
        floor = self.floor[replica] = batch[1] - 1 if batch else seq
        for old in seqs_within(self.kills.get(replica, {}), before + 1, floor + 1):
            self.forget(replica, old)
        held = self.batches.get(replica)
        if held:
            forgotten = bisect_right(held, (floor, _BEYOND))
            self.size -= forgotten
            del held[:forgotten]
            if not held:
                del self.batches[replica]

    def reaches(self, missing: list[DotRange]) -> bool:
        """True if these dots can still be told of as events."""
        floor = self.floor
        return not floor or all(start > floor.get(replica, 0) for replica, start, _ in missing)

    def check(self, replica: ReplicaId, seq: int) -> None:
        """Raise `LogTrimmed` unless the log reaches back to this dot."""
        if seq <= self.floor.get(replica, 0):
            floor = self.floor[replica]
            raise LogTrimmed(f"of {replica} kills up to {floor} are forgotten, {seq} was asked for; send delta_since()")
