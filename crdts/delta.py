"""What travels between replicas: events, and the deltas and states made of them. Plain immutable data."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from .context import Context, Dot, DotRange, ReplicaId

REPLACED: Final = b"\0"
"""Stands in `Event.obj` for an entry that is not sent, because it has been replaced already."""

Batch: TypeAlias = tuple[int, int]
"""The events of one transaction of a replica: the half-open range of their seqs."""


class Event(NamedTuple):
    """What one local mutation makes: a dot, an entry or none, and the dots it replaces.

    A NamedTuple and not a dataclass because replicas hold one for every live entry and build one for every write:
    it is three times cheaper to make, and sorts by dot.
    """

    replica: ReplicaId
    seq: int
    obj: bytes
    """The object the entry belongs to: its type tag and name. Empty when there never was one, as in a removal;
    `REPLACED` when there was one and another event, which the sender knows, has replaced it."""
    key: bytes
    """The place inside the object: an element, a map key, a writer. Empty when there is no entry."""
    payload: bytes | None
    """What is stored there; None when there is no entry, as in a removal."""
    kills: tuple[Dot, ...]
    """Dots that the writer observed at that place and replaced; sorted."""
    batch: Batch | None = None
    """The transaction it was made in: its events are processed all or none. None: on its own."""

    @property
    def dot(self) -> Dot:
        return self.replica, self.seq


@dataclass(frozen=True, slots=True)
class Delta:
    """A change to merge. Two forms:

    * *events* (``context`` is None): it claims the dots of ``events`` and of ``runs``, and nothing else, so any part
      of it is a valid delta too. Dots that are told of as replaced count where the event that replaced them is known,
      and those of a transaction where all of it is.
    * *state* (``context`` is given): ``events`` are all live entries of a replica whose processed dots are
      ``context``; ``prekilled`` are dots killed before they arrived. It is merged whole or not at all.

    Make one with `events_delta` or `state_delta`, which put the parts in order; deltas compare by content.
    """

    events: tuple[Event, ...] = ()
    """Sorted by dot, each dot once."""
    runs: tuple[DotRange, ...] = ()
    """Dots that are dead and killed nothing; sorted, disjoint, not touching."""
    context: Context | None = None
    prekilled: tuple[Dot, ...] = ()
    """Sorted; empty in the events form."""

    @property
    def is_state(self) -> bool:
        return self.context is not None

    def __bool__(self) -> bool:
        """True if merging the delta can change anything."""
        return bool(self.events or self.runs or self.context)

    def __len__(self) -> int:
        """The number of events and runs it carries."""
        return len(self.events) + len(self.runs)


NOTHING: Final = Delta()
"""The delta of an operation that changed nothing, or that is part of a transaction under way."""


def events_delta(events: Iterable[Event], runs: Iterable[DotRange] = ()) -> Delta:
    """A delta in the events form, its parts put in order. Dots must not repeat."""
    return Delta(tuple(sorted(events)), tuple(_maximal(sorted(runs))))


def joined(deltas: Iterable[Delta]) -> Delta:
    """Deltas of events as one."""
    some = [delta for delta in deltas if delta]
    if not some:
        return NOTHING
    return some[0] if len(some) == 1 else events_delta(event for delta in some for event in delta.events)


def state_delta(events: Iterable[Event], context: Context, prekilled: Iterable[Dot]) -> Delta:
    """A delta in the state form. ``events`` must all have entries and no kills; ``context`` is kept, not copied."""
    return Delta(tuple(sorted(events)), (), context, tuple(sorted(prekilled)))


def _maximal(runs: list[DotRange]) -> Iterator[DotRange]:
    pending: DotRange | None = None
    for run in runs:
        if pending and pending[0] == run[0] and run[1] <= pending[2]:
            pending = (run[0], pending[1], max(pending[2], run[2]))
        else:
            if pending:
                yield pending
            pending = run
    if pending:
        yield pending
