"""A state that comes in parts: what can be done beforehand is done as each part comes, and the join itself is short.

Nothing of a state may count before all of it does, or an interruption would leave a replica that nobody can repair:
an event without what it killed. So its entries are put in order aside, in entries of their own, with their hashes. The
join then takes out what has become known meanwhile, and moves the rest over in bulk: whole dicts, not entries. Before
it, nothing of the state is seen by anybody; after it, all is.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from .context import Context, Dot, DotRange
from .delta import Delta, Event
from .doubled import doubled_in
from .entries import Entries, entry_hash
from .errors import DecodeError
from .schema import RETIRED, closed_writers, with_closed_writers

if TYPE_CHECKING:
    from .kernel import Kernel

PART_EVENTS: Final = 1024
"""Entries of one part at most where somebody else is to have a turn in between: some milliseconds of work."""
_BEFORE: Final[Dot] = ("", 0)


class Joining:
    """The entries of one state, for one kernel, which may go on changing until they are joined."""

    def __init__(self, kernel: "Kernel") -> None:
        self._kernel = kernel
        self._began = kernel.context.copy()
        self._last = _BEFORE
        self._parts: list[tuple[Event, ...]] = []
        self._hashes = 0
        self._doubled: list[Event] = []
        self.fresh = Entries()
        """Those that were not processed here when they came."""
        self.retired: list[Event] = []
        """Those that tell of writers' retirements, which are few."""
        self.alive: dict[str, dict[int, None]] = {}
        """The dots of all."""

    def take(self, events: Sequence[Event]) -> None:
        """One more part. Raises `DecodeError` unless its entries follow those of the parts before, in order."""
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
        """What is to be moved over now: `fresh`, less what has become known since it came."""
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
        """The entries that live here with another content, and that other one."""
        return doubled_in(self._kernel.live, self._doubled)

    def pieces(self, context: Context, prekilled: Sequence[Dot]) -> list[Delta]:
        """The state as several that are no larger than the parts, for whoever writes it down.

        To join all of them, one after the other and with nothing in between, is to join the state: each has the
        entries and the context of a range of dots, and a join decides about a dot by these alone. Not so where writers
        are being retired, as what is said of them counts for the entries of others; then there is one piece.
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
