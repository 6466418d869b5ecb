"""A state that comes in parts: most of the work is done as each part comes, so the join itself is short.

No part of a state may count before all of it does. Otherwise an interruption would leave a replica that no exchange
can repair, because the replica has an event and not what the event killed. So a `Joining` collects the entries of the
state aside, in an `Entries` of their own, and sums their hashes. The join then takes out the entries that the replica
has learnt of meanwhile, and moves the others over in bulk: whole dicts, not single entries. Readers see nothing of the
state before the join, and all of it after.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby, pairwise
from operator import attrgetter
from typing import Final, Protocol

from .collisions import doubled_in
from .context import Context, Dot, DotRange, ReplicaId
from .delta import Delta, Event
from .entries import Entries, entry_hash
from .errors import DecodeError
from .schema import RETIRED, Limit, closed_writers, with_closed_writers

PART_EVENTS: Final = 1024
"""The most entries in one part where other work is to have a turn in between: some milliseconds of work."""
_BEFORE: Final[Dot] = (ReplicaId(""), 0)


class Receiver(Protocol):
    """What a `Joining` reads of the kernel that will join the state. `Kernel` says what each part means."""

    @property
    def live(self) -> Mapping[ReplicaId, dict[int, Event]]: ...
    @property
    def context(self) -> Context: ...
    @property
    def prekilled(self) -> Mapping[ReplicaId, dict[int, None]]: ...
    @property
    def limits(self) -> Mapping[ReplicaId, Limit]: ...


class Joining:
    """The entries of one state, collected for one kernel. The kernel may go on changing until the join."""

    def __init__(self, kernel: Receiver) -> None:
        self._kernel = kernel
        self._began = kernel.context.copy()
        self._last = _BEFORE
        self._parts: list[tuple[Event, ...]] = []
        self._hashes = 0
        self._doubled: list[Event] = []
        self.fresh = Entries()
        """The entries whose dots the kernel had not processed when they came, but for those of `retired`."""
        self.retired: list[Event] = []
        """The entries that tell of retired writers. There are few."""
        self.alive: dict[ReplicaId, dict[int, None]] = {}
        """The dots of all entries, by replica."""

    def take(self, events: Sequence[Event]) -> None:
        """Collect one more part. Raises `DecodeError` unless its dots are in order, behind those of earlier parts."""
        for one, other in pairwise([self._last, *map(_dot_of, events)]):
            if one >= other:
                raise DecodeError("an entry of a state is out of order, or came twice")
        if not events:
            return
        self._last = events[-1].dot
        self._parts.append(tuple(events))
        contains = self._kernel.context.contains
        for replica, group in groupby(events, attrgetter("replica")):
            some = list(group)
            self.alive.setdefault(replica, {}).update(dict.fromkeys([event.seq for event in some]))
            self.retired += [event for event in some if event.obj == RETIRED]
            if self._began.last(replica) >= some[0].seq or self._kernel.context.last(replica) >= some[0].seq:
                self._doubled += [told for _, told in doubled_in(self._kernel.live, some)]
                some = [event for event in some if not contains(replica, event.seq)]
            some = [event for event in some if event.obj != RETIRED]
            self._hashes += sum(map(entry_hash, some))
            self.fresh._insert_all(replica, some)

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def events(self) -> Iterator[Event]:
        """All entries, in order."""
        for part in self._parts:
            yield from part

    def check(self, context: Context, prekilled: Sequence[Dot]) -> None:
        """Raise `DecodeError` unless the entries are of a state with that context; see `decoding.check_state`."""
        closed = closed_writers(self.retired)
        if any(writer in closed for writer in context.replicas()):
            raise DecodeError("a retired writer in a context")
        context = with_closed_writers(context, self.retired)
        for replica, seqs in self.alive.items():
            if context.prefix(replica) < max(seqs) and len(context.seqs_of(replica, seqs)) < len(seqs):
                raise DecodeError("a state carries an entry outside its context")
        if any(context.contains(*dot) for dot in prekilled):
            raise DecodeError("a pre-killed dot is processed")

    def settle(self) -> Entries:
        """Take out of `fresh` what the kernel has processed or pre-killed meanwhile; return `fresh`."""
        fresh, kernel = self.fresh, self._kernel
        fresh.count_hashes(self._hashes)
        for replica, start, stop in kernel.context.missing_from(self._began):
            here = fresh.live.get(replica, {})
            for seq in Context.of([(replica, start, stop)]).seqs_of(replica, here):
                fresh._drop((replica, seq), (replica, seq))
        for replica, early in kernel.prekilled.items():
            for seq in [seq for seq in early if seq in fresh.live.get(replica, ())]:
                fresh._drop((replica, seq), (replica, seq))
        return fresh

    def doubled(self) -> Iterator[tuple[Event, Event]]:
        """Each live entry of the kernel whose dot has another content in this state, and the entry of the state."""
        return doubled_in(self._kernel.live, self._doubled)

    def pieces(self, context: Context, prekilled: Sequence[Dot]) -> list[Delta]:
        """The state as several smaller states, one for each part, for the caller that saves it.

        Joining all of them, one after the other with nothing in between, gives the same as joining the state: each has
        the entries and the context of a range of dots, and a join decides about a dot by these alone. The state is one
        piece while a writer is being retired or is retired, because entries of one writer then decide about others.
        """
        if self.retired or self._kernel.limits or len(self._parts) < 2:
            return [Delta(tuple(self.events()), (), context, tuple(prekilled))]
        bounds = [part[-1].dot for part in self._parts[:-1]]
        contexts = _cut(context, bounds)
        pieces = [Delta(part, (), piece, ()) for part, piece in zip(self._parts, contexts, strict=True)]
        return [*pieces, Delta((), (), Context(), tuple(prekilled))] if prekilled else pieces


def _dot_of(event: Event) -> Dot:
    return event.replica, event.seq


def _cut(context: Context, bounds: Sequence[Dot]) -> list[Context]:
    """``context`` in parts, cut behind each of these dots, which are in order."""
    parts: list[list[DotRange]] = [[] for _ in range(len(bounds) + 1)]
    at = 0
    for replica, start, stop in context.ranges():
        while at < len(bounds) and bounds[at] < (replica, stop - 1):
            if bounds[at] >= (replica, start):
                parts[at].append((replica, start, bounds[at][1] + 1))
                start = bounds[at][1] + 1
            at += 1
        parts[at].append((replica, start, stop))
    return [Context.of(part) for part in parts]
