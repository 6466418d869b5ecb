"""Causal context: which dots have been processed.

Per replica the seqs are one sorted flat list of half-open bounds ``[start, stop, start, stop, ...]``. The version
vector is its first range when that starts at 1, the dot cloud is all further ranges; holding both in one list means
no code ever has to move a dot from one to the other, and a run of a million dots costs as much as one.
(Almeida, Shoker, Baquero: Delta State Replicated Data Types, 2018; the ranges are as in QUIC's ACK frames.)
"""

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import pairwise
from typing import NamedTuple, NewType, TypeAlias

ReplicaId = NewType("ReplicaId", str)
"""The id of a writer, checked (`check_replica_id`): one name for all the events that one process makes."""

Dot: TypeAlias = tuple[ReplicaId, int]
"""(replica id, seq): names one event. Seqs count 1, 2, 3, ... without gaps."""

DotRange: TypeAlias = tuple[ReplicaId, int, int]
"""(replica id, start, stop): the dots start, start + 1, ..., stop - 1 of one replica."""


class Context:
    """A set of dots, compact when they are nearly contiguous.

    Equality, `covers` and `missing_from` are by content. Mutating methods return nothing or say whether anything was
    new; take a `copy()` before handing a context to somebody who keeps it.
    """

    __slots__ = ("_bounds", "_fresh", "_gone", "_names")

    def __init__(self, prefixes: Mapping[ReplicaId, int] | None = None) -> None:
        """Start empty, or with the dots 1 to n of each replica in ``prefixes``."""
        self._bounds: dict[ReplicaId, list[int]] = {}
        self._names: list[ReplicaId] | None = None
        """The replica ids, sorted, without those in `_fresh`; None until a caller needs them sorted."""
        self._fresh: list[ReplicaId] = []
        """The replica ids added since `_names` was sorted."""
        self._gone = 0
        """How many replica ids were ever taken out."""
        for replica, last in (prefixes or {}).items():
            if last > 0:
                self._bounds[replica] = [1, last + 1]

    @classmethod
    def of(cls, ranges: Iterable[DotRange]) -> "Context":
        """Build a context from dot ranges in any order, overlapping or not."""
        context = cls()
        for replica, start, stop in ranges:
            context.add_range(replica, start, stop)
        return context

    def __contains__(self, dot: Dot) -> bool:
        return self.contains(*dot)

    def contains(self, replica: ReplicaId, seq: int) -> bool:
        bounds = self._bounds.get(replica)
        return bounds is not None and bool(bisect_right(bounds, seq) & 1)

    def add(self, replica: ReplicaId, seq: int) -> bool:
        """Add one dot; return False if it was there."""
        bounds = self._bounds.get(replica)
        if bounds is None:
            self._bounds[replica] = [seq, seq + 1]
            self._fresh.append(replica)
            return True
        if bounds[-1] == seq:  # the next one in order: by far the usual case
            bounds[-1] = seq + 1
            return True
        if bisect_right(bounds, seq) & 1:
            return False
        self._splice(bounds, seq, seq + 1)
        return True

    def take_next(self, replica: ReplicaId) -> int:
        """Add the dot behind the highest of ``replica``, and return its seq."""
        bounds = self._bounds.get(replica)
        if bounds is None:
            self._bounds[replica] = [1, 2]
            self._fresh.append(replica)
            return 1
        seq = bounds[-1]
        bounds[-1] = seq + 1
        return seq

    def add_range(self, replica: ReplicaId, start: int, stop: int) -> None:
        """Add the dots ``start`` up to but not including ``stop``."""
        if start < stop:
            bounds = self._bounds.get(replica)
            if bounds is None:
                self._bounds[replica] = [start, stop]
                self._fresh.append(replica)
            else:
                self._splice(bounds, start, stop)

    @staticmethod
    def _splice(bounds: list[int], start: int, stop: int) -> None:
        # A position with an even index lies outside every range, so its bound stays; an odd one lies inside, or
        # touches, and melts into the neighbour.
        left = bisect_left(bounds, start)
        right = bisect_right(bounds, stop)
        bounds[left:right] = ([] if left & 1 else [start]) + ([] if right & 1 else [stop])

    def update(self, other: "Context") -> None:
        """Add every dot of ``other``."""
        for replica, start, stop in other.ranges():
            self.add_range(replica, start, stop)

    def prefix(self, replica: ReplicaId) -> int:
        """The highest n such that all of 1 to n are in; 0 if 1 is missing. This is the version vector's entry."""
        bounds = self._bounds.get(replica)
        return bounds[1] - 1 if bounds is not None and bounds[0] == 1 else 0

    def last(self, replica: ReplicaId) -> int:
        """The highest seq of ``replica`` that is in; 0 if none is."""
        bounds = self._bounds.get(replica)
        return bounds[-1] - 1 if bounds is not None else 0

    def replicas(self) -> list[ReplicaId]:
        """The replica ids with at least one dot, sorted."""
        return self._ordered()[:]

    def _ordered(self) -> list[ReplicaId]:
        """The list that `replicas` copies. It is kept, because sorting very many writers takes longer than all else."""
        names = self._names
        if names is None:
            names = self._names = sorted(self._bounds)
        elif self._fresh:
            names += self._fresh
            names.sort()  # two sorted parts, more or less: quick
        self._fresh.clear()
        return names

    def _forget(self, replica: ReplicaId) -> None:
        """Take out a replica of which nothing is left."""
        del self._bounds[replica]
        self._gone += 1
        self._names = None
        self._fresh.clear()

    @classmethod
    def _part(cls, bounds: dict[ReplicaId, list[int]]) -> "Context":
        part = cls()
        part._bounds = bounds
        return part

    def _between(self, first: str, stop: str) -> tuple[int, int]:
        """Where in `_ordered` the ids from ``first`` to below ``stop`` begin and end; an empty ``stop`` is no end."""
        names = self._ordered()
        return bisect_left(names, first), bisect_left(names, stop) if stop else len(names)

    def writers_within(self, first: str, stop: str) -> int:
        """How many writers `within` would keep."""
        begin, end = self._between(first, stop)
        return max(0, end - begin)

    def bounds_of(self, replicas: Iterable[ReplicaId]) -> list[list[int]]:
        """The ranges of each of these replicas, as start, stop, start, stop, ...

        The lists are those of this context: read them before it changes, and do not change them. Raises `KeyError` for
        a replica without a dot.
        """
        return list(map(self._bounds.__getitem__, replicas))

    @property
    def writers(self) -> int:
        """How many replica ids have at least one dot."""
        return len(self._bounds)

    @property
    def comings_and_goings(self) -> tuple[int, int]:
        """Another value after a replica id was added or taken out."""
        return len(self._bounds), self._gone

    def ranges(self) -> Iterator[DotRange]:
        """Every maximal range, by replica id and then by seq. Do not mutate while iterating."""
        for replica in self._ordered():
            bounds = self._bounds[replica]
            for i in range(0, len(bounds), 2):
                yield replica, bounds[i], bounds[i + 1]

    def seqs_of(self, replica: ReplicaId, seqs: Mapping[int, object]) -> list[int]:
        """The keys of ``seqs`` whose dots of ``replica`` are in this context, in no particular order.

        Walks the context or ``seqs``, whichever is shorter.
        """
        bounds = self._bounds.get(replica, [])
        if sum(bounds[1::2]) - sum(bounds[0::2]) < len(seqs):
            return [seq for i in range(0, len(bounds), 2) for seq in range(bounds[i], bounds[i + 1]) if seq in seqs]
        if len(bounds) == 2:
            first, stop = bounds
            return [seq for seq in seqs if first <= seq < stop]
        return [seq for seq in seqs if bisect_right(bounds, seq) & 1]

    def steps(self, replica: ReplicaId) -> list[int]:
        """The ranges of one replica as gap, length, gap, length, ... from seq 1 on; empty if it has none."""
        bounds = self._bounds.get(replica)
        if bounds and len(bounds) == 2:  # the usual case, and there may be very many replicas
            return [bounds[0] - 1, bounds[1] - bounds[0]]
        return [bound - before for before, bound in pairwise((1, *bounds))] if bounds else []

    def missing_from(self, other: "Context") -> list[DotRange]:
        """The dots that are in self and not in ``other``, as maximal ranges, by replica id and then by seq."""
        missing: list[DotRange] = []
        for replica in self._ordered():
            mine = self._bounds[replica]
            theirs = other._bounds.get(replica)
            if theirs is None:
                missing.extend((replica, mine[i], mine[i + 1]) for i in range(0, len(mine), 2))
            elif mine != theirs:
                missing.extend((replica, start, stop) for start, stop in _subtract(mine, theirs))
        return missing

    def covers(self, other: "Context") -> bool:
        """True if every dot of ``other`` is in self. Looks no further than the first that is not."""
        for replica, theirs in other._bounds.items():
            mine = self._bounds.get(replica)
            if mine is None or (mine != theirs and next(_subtract(theirs, mine), None) is not None):
                return False
        return True

    def within(self, first: str, stop: str) -> "Context":
        """The part whose replica ids are at least ``first`` and below ``stop``; an empty ``stop`` means no end."""
        begin, end = self._between(first, stop)
        return self._part({replica: self._bounds[replica][:] for replica in self._ordered()[begin:end]})

    def outside(self, first: str, stop: str) -> "Context":
        """The other part: what `within` leaves out."""
        begin, end = self._between(first, stop)
        names = self._ordered()
        others = (*names[:begin], *names[max(begin, end) :])
        return self._part({replica: self._bounds[replica][:] for replica in others})

    def discard_last(self, replica: ReplicaId) -> None:
        """Take the highest seq of ``replica`` out again: for a mutation that is undone."""
        bounds = self._bounds[replica]
        bounds[-1] -= 1
        if bounds[-1] == bounds[-2]:
            del bounds[-2:]
            if not bounds:
                self._forget(replica)

    def discard_beyond(self, replica: ReplicaId, last: int) -> None:
        """Take out what ``replica`` has above the seq ``last``."""
        bounds = self._bounds.get(replica)
        if bounds is not None:
            end = bisect_left(bounds, last + 1)
            bounds[end:] = [last + 1] if end & 1 else []
            if not bounds:
                self._forget(replica)

    def without(self, replicas: Iterable[ReplicaId]) -> "Context":
        """A copy that lacks these replicas."""
        part = self.copy()
        for replica in replicas:
            if replica in part._bounds:
                part._forget(replica)
        return part

    def view_without(self, replicas: Collection[ReplicaId]) -> "View":
        """The part that lacks these replicas. It shares their ranges with self, so it must not be changed."""
        part = self._part({replica: bounds for replica, bounds in self._bounds.items() if replica not in replicas})
        return View(part, self, len(self._bounds), self._gone)

    def only(self, replicas: Iterable[ReplicaId]) -> "Context":
        """The part of these replicas."""
        return self._part({replica: self._bounds[replica][:] for replica in replicas if replica in self._bounds})

    def cloud_size(self) -> int:
        """How many ranges do not belong to a prefix: 0 when every replica's dots are contiguous from 1."""
        return sum(len(b) // 2 - (b[0] == 1) for b in self._bounds.values())

    def copy(self) -> "Context":
        return self._part({replica: bounds[:] for replica, bounds in self._bounds.items()})

    def __len__(self) -> int:
        """The number of dots."""
        return sum(sum(b[1::2]) - sum(b[0::2]) for b in self._bounds.values())

    def __bool__(self) -> bool:
        return bool(self._bounds)

    def __eq__(self, other: object) -> bool:
        return self._bounds == other._bounds if isinstance(other, Context) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        parts = ", ".join(f"{r}:{start}-{stop - 1}" for r, start, stop in self.ranges())
        return f"Context({parts})"


class View(NamedTuple):
    """A part of a context that shares its ranges: right for as long as the context gains and loses no replica."""

    part: Context
    of: Context
    writers: int
    gone: int

    def shows(self, context: Context) -> bool:
        """True if this is a view of ``context``, and still right."""
        return self.of is context and (self.writers, self.gone) == context.comings_and_goings


def seqs_within(seqs: Mapping[int, object], start: int, stop: int) -> list[int]:
    """The keys of ``seqs`` in [start, stop), sorted, by whichever of the two is shorter to walk."""
    if stop - start < len(seqs):
        return [seq for seq in range(start, stop) if seq in seqs]
    return sorted([seq for seq in seqs if start <= seq < stop])


def count_within(seqs: Mapping[int, object], start: int, stop: int) -> int:
    """How many keys of ``seqs`` are in [start, stop)."""
    if stop - start < len(seqs):
        return sum(seq in seqs for seq in range(start, stop))
    return sum(start <= seq < stop for seq in seqs)


def runs_in(seqs: list[int]) -> Iterator[tuple[int, int]]:
    """``seqs``, sorted and each once, as maximal half-open ranges."""
    if seqs and seqs[-1] - seqs[0] == len(seqs) - 1:  # the usual case, in no time
        yield seqs[0], seqs[-1] + 1
        return
    start = stop = 0
    for seq in seqs:
        if seq != stop:
            if start < stop:
                yield start, stop
            start = seq
        stop = seq + 1
    if start < stop:
        yield start, stop


def _subtract(mine: list[int], theirs: list[int]) -> Iterator[tuple[int, int]]:
    """Ranges of ``mine`` less those of ``theirs``; both flat and sorted. O(len(mine) + len(theirs))."""
    j = 0
    for i in range(0, len(mine), 2):
        start, stop = mine[i], mine[i + 1]
        while j < len(theirs) and theirs[j + 1] <= start:
            j += 2
        k = j
        while k < len(theirs) and theirs[k] < stop:
            if start < theirs[k]:
                yield start, theirs[k]
            start = max(start, theirs[k + 1])
            k += 2
        if start < stop:
            yield start, stop
