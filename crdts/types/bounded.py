"""Bounded counter by escrow: a budget that is never overspent, even by replicas that are cut off from each other.

Who adds to the counter holds the right to spend as much, and can transfer rights; nobody spends more than it knows
itself to hold. All that a holder says is its own and only grows (granted, spent, transferred to each other holder), so
what it does not know of yet can only be rights transferred to it (O'Neil, The escrow transactional method, 1986;
Balegas et al., Extending eventually consistent cloud databases for enforcing numeric invariants, 2015). An entry that
another writer has made in a holder's share does not count for the holder, and the holder's next entry replaces it.

A reset makes void the rights it sees, holder by holder, and never what was spent: so a spending that it had not seen
can leave a holder below zero, which its next rights make up for; but nothing is ever spent twice.
"""

import cbor2

from ..clock import HybridClock
from ..context import ReplicaId
from ..delta import NOTHING, Delta, Event
from ..errors import InsufficientRights, InvalidValue, UnsupportedType
from ..folds import Shares, read_share
from ..kernel import Kernel
from ..limits import MAX_INT
from ..schema import BOUNDED, check_replica_id, type_tag
from ..store import Store
from ..values import encode_value
from .base import Crdt, check_amount, check_total


class BoundedCounter(Crdt):
    """A counter that never goes below ``lower``: it begins there, and a decrement needs rights to what it takes."""

    __slots__ = ("_lower",)
    tag = BOUNDED

    def __init__(self, replica_id: str, lower: int = 0, *, clock: HybridClock | None = None) -> None:
        """The counter begins at ``lower``, which must be the same at all replicas.

        Should two have written with different ones before they met, the higher stands.
        """
        super().__init__(replica_id, clock=clock)
        self._lower = _check_lower(lower)

    @classmethod
    def _bounded(cls, store: Store, obj: bytes, lower: int | None) -> "BoundedCounter":
        self = cls._within(store, obj)
        if lower is not None:
            self._lower = _check_lower(lower)
        return self

    def _shares(self) -> Shares:
        return Shares(self._store.kernel.places(self._object), getattr(self, "_lower", 0))

    def _agreed_lower(self) -> int:
        """The bound for a new entry; raises `InvalidValue` if others have given another one."""
        agreed = self._shares().lower
        if getattr(self, "_lower", agreed) != agreed:
            raise InvalidValue(f"this counter's lower bound is {agreed}, not {self._lower}; give the same everywhere")
        return agreed

    def value(self) -> int:
        return self._shares().value()

    @property
    def lower(self) -> int:
        """The bound in force."""
        return self._shares().lower

    def _own_shares(self) -> Shares:
        """All shares, less the entries that other writers have made in the share of this replica."""
        places = self._store.kernel.places(self._object)
        me = self.replica_id
        own = places.get(me.encode(), ())
        if any(_is_foreign(event, me) for event in own):
            places = {**places, me.encode(): tuple(event for event in own if not _is_foreign(event, me))}
        return Shares(places, getattr(self, "_lower", 0))

    def rights(self, holder: str | None = None) -> int:
        """How much ``holder``, by default this replica, may take away without asking anyone.

        What it held under ids that it has given up (`Kernel.former`) is its own. At a node of `gossip`, ``holder`` may
        be the name or id of a member or any replica id of it, and all that it held under others counts as its own;
        what is nobody's raises its `UnknownMember`.
        """
        if holder is not None and not isinstance(holder, str):
            raise UnsupportedType(f"rights are asked for by the id of a replica, not {holder!r:.60}")
        shares = self._own_shares()
        if holder is not None and self._store.lives_of is not None:
            return sum(map(shares.of, self._store.lives_of(holder, shares.spendable)))
        if holder is not None:
            return shares.of(ReplicaId(holder))
        return sum(map(shares.of, (self.replica_id, *self._store.kernel.former)))

    def holders(self) -> dict[ReplicaId, int]:
        """Who holds rights, by replica id, and how many.

        At a node of `gossip`, each start of a member has its own replica id; `Node.name_of` tells whose it is, and
        `rights` adds up what one member holds.
        """
        shares = self._shares().spendable
        return {holder: shares[holder] for holder in sorted(shares) if shares[holder] > 0}

    def increment(self, amount: int = 1) -> Delta:
        """Add ``amount``, at least 0, and hold the right to take it away again."""
        return self._move(granted=amount) if check_amount(amount) else NOTHING

    def decrement(self, amount: int = 1) -> Delta:
        """Take ``amount`` away; raises `InsufficientRights` if this replica does not hold as much."""
        self._check_rights(check_amount(amount), f"take away {amount}")
        return self._use(amount, spent=amount) if amount else NOTHING

    def transfer(self, to: str, amount: int) -> Delta:
        """Give rights to another replica, by its id; raises `InsufficientRights` if there are not as many here.

        Rights that are given to an id that nobody writes under are lost until a reset. At a node of `gossip`, ``to``
        may be the name or id of a member too, and what is nobody's raises its `UnknownMember`.
        """
        receiver_of = self._store.receiver_of
        to = check_replica_id(to) if receiver_of is None or type(to) is not str else receiver_of(to)
        self._check_rights(check_amount(amount), f"transfer {amount} to {to!r}")
        return self._use(amount, to=to, moved=amount) if amount and to != self.replica_id else NOTHING

    def reset(self) -> Delta:
        """Make void all rights seen here: back to the lower bound. A concurrent increment survives. One change."""
        return self._reset()

    def _check_rights(self, amount: int, purpose: str) -> None:
        if self._store.begun:
            self._store.settle()
        rights = self.rights()
        if amount > rights:
            me = self._store.name_of(self.replica_id)
            raise InsufficientRights(f"{me!r} holds rights to {rights}, not enough to {purpose}; {self._hint()}")

    def _hint(self) -> str:
        """Whom to ask."""
        store, others = self._store, dict[str, int]()
        for holder, rights in self.holders().items():
            if holder not in (self.replica_id, *store.kernel.former):
                name = store.name_of(holder)
                others[name] = others.get(name, 0) + rights
        return f"ask for a transfer: {others}" if others else "nobody else holds any that we know of"

    def _use(self, amount: int, *, spent: int = 0, to: str = "", moved: int = 0) -> Delta:
        """`_move`, behind what it takes to hold the rights under the present id."""
        shares, me = self._own_shares(), self.replica_id
        short = amount - shares.of(me)
        if short <= 0:
            return self._move(spent=spent, to=to, moved=moved)
        with self._store.transaction() as done:
            for former in self._store.kernel.former:
                # No more than it takes: should another copy of that life do the same, both count, and all of it.
                if taken := min(short, shares.of(former)):
                    self._move(to=me, moved=taken, of=former)
                    short -= taken
            self._move(spent=spent, to=to, moved=moved)
        return done.delta

    def _move(self, granted: int = 0, spent: int = 0, to: str = "", moved: int = 0, of: str = "") -> Delta:
        if self._store.begun:
            self._store.settle()
        kernel = self._store.kernel
        key = (of or kernel.replica_id).encode()
        held = kernel.at(self._object, key)
        mine = held if of else tuple(event for event in held if not _is_foreign(event, kernel.replica_id))
        kernel.contested_shares += len(mine) < len(held)
        share, *_ = read_share(mine)
        lower = self._agreed_lower()
        _, had, used, transferred = share or [lower, 0, 0, {}]
        if moved:
            transferred = {**transferred, to: check_total(transferred.get(to, 0) + moved)}
        row = [lower, check_total(had + granted), check_total(used + spent), transferred]
        replaced = tuple(e for e in held if len(_row(e.payload)) == 4)
        return self._store.write(self._object, key, encode_value(row), replaced)

    def _reset(self) -> Delta:
        store = self._store
        if store.begun:
            store.settle()
        places = store.kernel.places(self._object)
        shares = Shares(places)
        with store.transaction() as done:
            for holder in sorted(shares.spendable):
                key = holder.encode()
                rights, seq = shares.of(holder), shares.seqs.get(holder, 0)
                if not rights and seq <= shares.covered.get(holder, 0):
                    continue
                replaced = tuple(e for e in places.get(key, ()) if len(_row(e.payload)) == 2)
                row = [max(seq, shares.covered.get(holder, 0)), check_total(shares.voided.get(holder, 0) + rights)]
                store.write(self._object, key, cbor2.dumps(row), replaced)
        return done.delta


def receivers(kernel: Kernel) -> dict[ReplicaId, None]:
    """The ids that rights to any bounded counter were ever transferred to; looks at every object."""
    found: dict[ReplicaId, None] = {}
    for obj in kernel.objects:
        if type_tag(obj) == BOUNDED:
            for held in kernel.places(obj).values():
                share, *_ = read_share(held)
                found |= dict.fromkeys(share[3] if share else ())
    return found


def _is_foreign(event: Event, holder: ReplicaId) -> bool:
    """True if a writer other than ``holder`` made this entry of rights. (A reset's entries are never foreign.)"""
    return event.replica != holder and len(_row(event.payload)) == 4


def _row(payload: bytes | None) -> list[object]:
    row: list[object] = cbor2.loads(payload or b"")
    return row


def _check_lower(lower: int) -> int:
    if type(lower) is not int:
        raise UnsupportedType(f"a lower bound is an int, not {type(lower).__name__}")
    if not -MAX_INT <= lower <= MAX_INT:
        raise InvalidValue("a lower bound lies between -2**64 and 2**64")
    return lower
