"""How each type is read: folds over live entries, and nothing else. One page, so that all semantics are in view.

Most types are read place by place: ``held`` are the live entries at one place. Counters are read whole: ``places``
are all places of the object, each a writer. Every fold gives the same for the same entries in any order.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias

from . import schema
from .context import ReplicaId
from .delta import Event
from .schema import ADDED, STAMP_BYTES, writer_in
from .values import decode_value

Held: TypeAlias = tuple[Event, ...]
Places: TypeAlias = Mapping[bytes, Held]


# ---- sets and flags


def any_live(held: Held) -> bool:
    """Grow-only and add-wins sets, and enable-wins flags."""
    return bool(held)


def none_live(held: Held) -> bool:
    """Disable-wins flags: on unless somebody has disabled them."""
    return not held


def all_added(held: Held) -> bool:
    """Remove-wins sets."""
    return bool(held) and all(event.payload == ADDED for event in held)


# ---- registers


def stamp_of(event: Event) -> bytes:
    """The stamp of a last-writer-wins entry; bytes order as the stamps do."""
    return (event.payload or b"")[:STAMP_BYTES]


def winner(held: Held) -> Event:
    """The entry that last-writer-wins reads: the highest (stamp, replica id, seq). ``held`` is not empty."""
    return held[0] if len(held) == 1 else max(held, key=_rank)


def _rank(event: Event) -> tuple[bytes, str, int]:
    return stamp_of(event), event.replica, event.seq


def stamped_value(event: Event) -> Any:
    return decode_value((event.payload or b"")[STAMP_BYTES:])


def last_written(held: Held) -> Any:
    """The value of a register or map key: the one written last; None if there is none."""
    return stamped_value(winner(held)) if held else None


def losers(held: Held) -> list[Any]:
    """The values of a last-writer-wins place that lost, the latest first."""
    ranked = sorted(held, key=_rank, reverse=True)
    return [stamped_value(event) for event in ranked[1:]]


def all_values(held: Held) -> list[Any]:
    """Multi-value registers: each concurrent value once, ordered by its encoding."""
    return [decode_value(payload) for payload in sorted({e.payload for e in held if e.payload is not None})]


# ---- counters


def counts_of(held: Held) -> tuple[dict[int, list[int]], dict[int, list[int]]]:
    """One writer's counts and how much of them is void, both by generation."""
    counts: dict[int, list[int]] = {}
    voids: dict[int, list[int]] = {}
    for event in held:
        generation, *numbers = decode_value(event.payload or b"")
        of_kind = counts if generation > 0 else voids
        known = of_kind.get(abs(generation))
        of_kind[abs(generation)] = numbers if known is None else list(map(max, known, numbers))
    return counts, voids


def counted(places: Places) -> int:
    """Counters: what every writer has counted and nobody has reset."""
    total = 0
    for held in places.values():
        counts, voids = counts_of(held)
        for generation, numbers in counts.items():
            for sign, number, void in zip((1, -1), numbers, voids.get(generation, (0, 0)), strict=False):
                total += sign * max(0, number - void)
    return total


class Shares:
    """Who holds how much of a bounded counter (escrow: O'Neil, 1986; Balegas et al., Bounded Counter, 2015)."""

    __slots__ = ("covered", "lower", "seqs", "spendable", "voided")

    def __init__(self, places: Places, lower: int = 0) -> None:
        """``lower`` stands as long as nobody has written one."""
        self.spendable: dict[ReplicaId, int] = {}
        """By holder; below 0 where rights were reset that had been spent already."""
        self.voided: dict[ReplicaId, int] = {}
        self.covered: dict[ReplicaId, int] = {}
        """The seq of each holder's share up to which it was reset."""
        self.seqs: dict[ReplicaId, int] = {}
        """The seq of each holder's share."""
        bounds: list[int] = []
        for key in sorted(places):
            holder = writer_in(key)
            share, seq, void, covered = read_share(places[key])
            self.voided[holder], self.covered[holder] = void, covered
            self._add(holder, -void)
            if share is not None:
                self.seqs[holder] = seq
                bound, granted, spent, transferred = share
                bounds.append(bound)
                self._add(holder, granted - spent)
                for other, amount in transferred.items():
                    self._add(holder, -amount)
                    self._add(other, amount)
        self.lower = max(bounds, default=lower)

    def _add(self, holder: ReplicaId, amount: int) -> None:
        self.spendable[holder] = self.spendable.get(holder, 0) + amount

    def of(self, holder: ReplicaId) -> int:
        return max(0, self.spendable.get(holder, 0))

    def value(self) -> int:
        return self.lower + sum(max(0, rights) for rights in self.spendable.values())


def read_share(held: Held) -> tuple[list[Any] | None, int, int, int]:
    """One holder's share and seq, how much is void, and up to which seq of its shares that was reset.

    All that a share says only grows. There may be several that do not know of each other where two lives of a holder
    were gone on from that did not: then the most that any of them says counts, so nothing that was spent is forgotten.
    """
    share: list[Any] | None = None
    seq = void = covered = 0
    for event in sorted(held):
        row = decode_value(event.payload or b"")
        if len(row) == 2:
            covered, void = max(covered, row[0]), max(void, row[1])
        else:
            share, seq = row if share is None else _most(share, row), event.seq
    return share, seq, void, covered


def _most(one: list[Any], other: list[Any]) -> list[Any]:
    """What two shares of one holder say together."""
    transferred = {to: max(one[3].get(to, 0), other[3].get(to, 0)) for to in (*one[3], *other[3])}
    return [*map(max, one[:3], other[:3]), transferred]


def bounded_value(places: Places) -> int:
    return Shares(places).value()


# ---- by type

BY_PLACE: Final[dict[bytes, Callable[[Held], Any]]] = {
    schema.GSET: any_live,
    schema.ORSET: any_live,
    schema.RWSET: all_added,
    schema.EWFLAG: any_live,
    schema.DWFLAG: none_live,
    schema.REGISTER: last_written,
    schema.MVREGISTER: all_values,
    schema.LWWMAP: last_written,
}
WHOLE: Final[dict[bytes, Callable[[Places], int]]] = {
    schema.GCOUNTER: counted,
    schema.COUNTER: counted,
    schema.BOUNDED: bounded_value,
}


def is_there(tag: bytes, places: Places) -> bool:
    """True if an object inside a map counts as being there: what is only remembered, so as not to return, does not."""
    if tag == schema.RWSET:
        return any(map(all_added, places.values()))
    if tag == schema.BOUNDED:
        shares = Shares(places)
        return any(seq > shares.covered.get(holder, 0) for holder, seq in shares.seqs.items())
    if tag in WHOLE:
        return any(counts_of(held)[0] for held in places.values())
    return bool(places)


def entries_of(places: Places) -> Iterable[Event]:
    """All live entries of an object."""
    return (event for held in places.values() for event in held)
