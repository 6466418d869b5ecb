"""Many named objects under one causal context: what one process shares."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Final, Self

from .changes import OnChange
from .clock import HybridClock
from .context import Context, Dot, ReplicaId
from .delta import Delta
from .errors import InvalidValue, UnsupportedType
from .kernel import Kernel
from .killlog import DEFAULT_LOG_LIMIT
from .reconcile.reconcile import Reconciliation
from .retirement import Retirement
from .schema import KIND_OF_TAG, SEPARATOR, check_replica_id, type_tag
from .stats import Stats, stats_of
from .store import OnMerge, OnWrite, Store, Transaction
from .types.base import Crdt, check_context, check_home, not_mergeable
from .types.ormap import TYPE_OF_TAG, Accessors, view

TYPES: Final[dict[str, type[Crdt]]] = {KIND_OF_TAG[tag]: kind for tag, kind in TYPE_OF_TAG.items()}
"""Every type by the name of its accessor."""


class Replica(Accessors):
    """A set of named objects. A name is scoped by its type: an orset "x" and a counter "x" are two objects.

    An object exists as soon as it is named and takes room once it is written to.
    """

    __slots__ = ("_retirement", "store")

    def __init__(
        self, replica_id: str, *, clock: HybridClock | None = None, log_limit: int = DEFAULT_LOG_LIMIT
    ) -> None:
        """``replica_id`` names this writer and must never be used again by another, nor after its state was lost.

        ``log_limit`` bounds what is remembered for replicas that lag behind, in replaced dots: more costs memory,
        less makes them fetch a whole state, or reconcile, sooner.
        """
        if log_limit < 0:
            raise InvalidValue(f"log_limit is a number of dots, at least 0, not {log_limit}")
        self.store = Store(replica_id, clock=clock, kernel=Kernel(check_replica_id(replica_id), log_limit=log_limit))
        self._retirement = Retirement(self.store)

    @property
    def replica_id(self) -> ReplicaId:
        return self.store.kernel.replica_id

    def _home(self) -> tuple[Store, bytes]:
        return self.store, b""

    def objects(self) -> list[Crdt]:
        """Every object that holds something and is not inside a map, by type and name."""
        outermost = {obj.partition(SEPARATOR)[0] for obj in self.store.kernel.objects}
        return [view(self.store, obj) for obj in sorted(outermost) if type_tag(obj) in TYPE_OF_TAG]

    # ---- transactions

    def transaction(self) -> AbstractContextManager[Transaction]:
        """``with replica.transaction() as done:`` makes all that is written in the block one batch.

        Receivers apply all of it or nothing, subscribers hear of it once, and an exception undoes it. Inside, mutators
        return empty deltas; ``done.delta`` is the whole of it afterwards. Merging inside raises `InTransaction`.
        Raises `InvalidValue` at the operation that makes it too large.
        """
        return self.store.transaction()

    # ---- exchange

    @property
    def context(self) -> Context:
        """The dots processed so far, as a copy that later changes leave alone; without writers retired for good."""
        return self.store.kernel.exported_context().copy()

    @property
    def fingerprint(self) -> int:
        """64 bits over all live entries; replicas with equal content have equal fingerprints."""
        return self.store.kernel.fingerprint

    def delta_since(self, context: Context) -> Delta:
        """What a replica with this context lacks, in the smaller of the two forms of `Delta`."""
        self.store.check_settled("handing out a delta")
        return self.store.kernel.delta_since(check_context(context))

    def deltas_since(self, context: Context, max_bytes: int) -> Iterator[Delta]:
        """The same as events, in pieces of at most ``max_bytes`` encoded: send as many as you like, each helps.

        A piece has 512 events at most. A single event or transaction larger than either travels alone. Raises
        `LogTrimmed`, at the start or midway, when the kill log does not reach back so far: then `delta_since` gives a
        state, and `reconcile` just the difference.
        """
        self.store.check_settled("handing out a delta")
        if type(max_bytes) is not int:
            raise UnsupportedType(f"max_bytes is an int, not {type(max_bytes).__name__}")
        return self._settled_pieces(check_context(context), max_bytes)

    def _settled_pieces(self, context: Context, max_bytes: int) -> Iterator[Delta]:
        pieces = self.store.kernel.deltas_since(context, max_bytes)
        while True:
            self.store.check_settled("handing out a delta")  # at each piece: a transaction may have begun since
            piece = next(pieces, None)
            if piece is None:
                return
            yield piece

    def reconcile(self, *, max_bytes: int = 65_536) -> Reconciliation:
        """One side of a reconciliation: finds and exchanges just what differs, whatever the kill logs remember."""
        return Reconciliation(self.store, max_bytes=max_bytes)

    def trim_log(self, limit: int = 0) -> None:
        """Forget all but ``limit`` of the kills remembered for replicas that lag behind."""
        if type(limit) is not int or limit < 0:
            raise InvalidValue(f"a log is trimmed to a number of kills from 0 on, not {limit!r:.60}")
        self.store.kernel.trim_log(limit)

    def merge(self, other: "Delta | Replica") -> Self:
        """Join a delta, or everything another replica has, in place; returns self and leaves ``other`` as it was."""
        if isinstance(other, Replica):
            if other is self:
                return self
            self.store.merge(other.delta_since(self.store.kernel.exported_context()))
            self.report(other.replica_id, other.context)
        elif isinstance(other, Delta):
            check_home(other, b"")
            self.store.merge(other)
        else:
            raise not_mergeable("a Replica merges a Delta or a Replica", other)
        return self

    # ---- writers that have gone

    def retire(self, other_id: str) -> Delta:
        """Say that the writer ``other_id`` will never write again: its entries stay, its id leaves the contexts.

        It is closed once all others have been heard to know all of its events; see `report`, and the README for what
        can go wrong. Raises `InvalidValue` for a writer that nothing was ever heard of.
        """
        return self._retirement.retire(check_replica_id(other_id))

    def mark(self, writer_id: str) -> Delta:
        """Say that a writer is over, for others to retire it: all that it wrote is accepted until somebody does.

        An empty delta if something was said of its retirement already. Raises `InvalidValue` for a writer that nothing
        was ever heard of, and for this replica itself.
        """
        return self._retirement.mark(check_replica_id(writer_id))

    def forbid(self, writer_id: str) -> Delta:
        """Say that nothing will ever be written under an id under which nothing was: it counts as closed at once.

        Takes no room in any context, and is heard of by everybody in the end: a mark that lasts. Raises `InvalidValue`
        for a writer of whom something was heard.
        """
        return self._retirement.forbid(check_replica_id(writer_id))

    def report(self, peer_id: str, context: Context) -> Delta:
        """Note the `context` that a peer has sent; returns the event that closes a retired writer, if one may be.

        Only needed to finish retirements, at the replica that began them; `merge` of a `Replica` does it by itself.
        """
        return self._retirement.report(check_replica_id(peer_id), check_context(context))

    def said_of(self, other_id: str) -> list[Dot]:
        """The dots of what this replica has said of a writer's retirement: whose context has them knows of it."""
        return self._retirement.said_of(check_replica_id(other_id))

    def succeed(self, *writer_ids: str) -> None:
        """Speak for these writers, under whose ids this replica wrote before: it may change what they said of others.

        It must have all that they wrote, and nobody may write under their ids any more. Nothing is written by this.
        """
        self._retirement.succeed([check_replica_id(writer_id) for writer_id in writer_ids])

    @property
    def retired(self) -> dict[ReplicaId, int]:
        """Writers that are closed, with the seq of their last event: 0 for ids that were forbidden."""
        limits = self.store.kernel.limits
        return {writer: limits[writer].last for writer in sorted(limits) if limits[writer].closed}

    # ---- watching

    def on_change(self, told: OnChange) -> Callable[[], None]:
        """Call ``told`` once with the list of `Change` of every write, transaction and merge that changed something.

        Returns a function that ends it.
        """
        return self.store.subscribe(told)

    def on_write(self, told: OnWrite) -> None:
        """Call ``told`` with the events of every local mutation, at once; for whoever carries them to peers."""
        self.store.on_write(told)

    def on_merge(self, told: OnMerge) -> None:
        """Call ``told`` with every delta that is merged and those of its events that were new, at once.

        For whoever measures how news spreads. A whole state is told of with no new events, a `reconcile` not at all.
        """
        self.store.on_merge(told)

    def stats(self) -> Stats:
        """What it holds and what that takes. Encodes everything: not for every second."""
        return stats_of(self.store)

    def __repr__(self) -> str:
        return f"<Replica {self.replica_id!r}: {len(self.store.kernel.objects)} objects>"
