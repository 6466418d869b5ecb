"""The kernel: which events were processed, which of their entries live, and how two such states are joined.

Everything in this package is a reading of one kernel's live entries. For the set X of events received,

    live(X) = { d in X with an entry : no event of X kills d }

so applying events is commutative, associative and idempotent by construction. The rules that keep it so:

* every mutation takes a dot, removals too;
* a killed dot whose event has not arrived is *pre-killed*, not processed;
* a delta claims only the dots it carries, and of the dead ones only those whose killer is known;
* the events of a transaction are processed all or none;
* when the kill log no longer reaches back, a peer gets the whole state, joined at once, never in part.

What a peer lacks, and in which order to send it, is in `catchup.py`.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import attrgetter
from typing import Final, NamedTuple

from .bulk import PAUSE_FROM, collection_paused
from .catchup import pieces_of, prefers_state, takes_more_than, whole_delta
from .closures import Closures
from .collisions import Doubled, doubled_in
from .context import Context, Dot, DotRange, ReplicaId, count_within, runs_in, seqs_within
from .delta import REPLACED, Batch, Delta, Event, state_delta
from .dependents import Held
from .entries import BULK_EVENTS, Entries
from .errors import InvalidValue
from .joining import Joining
from .killlog import DEFAULT_LOG_LIMIT, KillLog, Kills
from .limits import MAX_KILLS_PER_EVENT, MAX_SEQ
from .room import Room
from .schema import RETIRED, Limit, closed_writers, with_closed_writers, writer_in, writer_limit

SPARED_LEAST: Final = 16
"""A reconciliation takes fewer bytes than a state if the peer has this many of our live entries already."""
SPARED_SHARE: Final = 4
"""A reconciliation is worth its turns if the peer has one in this many of our live entries already."""
_UNBOUNDED: Final = 1 << 62
_DEPENDENT: Final = (REPLACED, RETIRED)
"""What may stand in `Event.obj` of events that count only behind others."""
_NO_LIMIT: Final = Limit(_UNBOUNDED, closed=False)


class Snapshot(NamedTuple):
    """What a replica held at one moment."""

    context: Context
    prekilled: list[Dot]
    entries: dict[ReplicaId, dict[int, Event]]
    """By replica and seq, in any order."""

    def events(self) -> Iterator[Event]:
        """The live entries in the order of their dots, sorted one replica at a time."""
        for replica in sorted(self.entries):
            seqs = self.entries[replica]
            for seq in sorted(seqs):
                yield seqs[seq]


class Kernel(Entries):
    """The replicated state of one replica: events in, live entries out. Knows nothing of types or of the network."""

    def __init__(self, replica_id: ReplicaId, *, log_limit: int = DEFAULT_LOG_LIMIT) -> None:
        super().__init__()
        self.replica_id = replica_id
        self.former: tuple[ReplicaId, ...] = ()
        """Ids that this replica wrote under before, and that nobody will write under again: what they held is its own.
        Two that both say so of one id could spend its rights twice."""
        self.context = Context()
        """Dots processed (E)."""
        self.processed = 0
        """How often something new was processed: compare to see whether a merge brought anything."""
        self.prekilled: dict[ReplicaId, dict[int, None]] = {}
        """Dots killed before their own event arrived (P); empty when nothing is in flight."""
        self.room = Room(self.context, self.prekilled)
        self.log = KillLog(log_limit)
        self.limits: dict[ReplicaId, Limit] = {}
        """Writers that are being retired, or are, and the last of their events that may be accepted."""
        self.closures = Closures()
        """The writers in `limits` that are closed, and the entries that close them."""
        self.retiring: dict[ReplicaId, None] = {}
        """The writers in `limits` that have one, and are not closed yet."""
        self.marked: dict[ReplicaId, None] = {}
        """The writers in `limits` that are only said to be over."""
        self.limited = 0
        """How many writers were ever added to `limits`; the last ones stand at its end."""
        self._open: tuple[tuple[int, int], list[ReplicaId]] | None = None
        self.wrote = False
        self.impostors = 0
        """Events under our own id that we did not write, and that came when we had written: somebody else uses it."""
        self.contested_shares = 0
        """How often a write replaced what another writer had made in this replica's share of a counter."""
        self.doubled = Doubled()
        """Dots that two processes have used."""
        self.refused = 0
        """Events that came from beyond the limit of their writer."""
        self.undo: list[tuple[Event, list[Event]]] | None = None
        """Own events since somebody set this to a list, with the entries they replaced; see `rollback`."""

    def go_on_as(self, replica_id: ReplicaId) -> None:
        """Write under another id from now on, as somebody else may use the present one, and without its rights."""
        limit = self.limits.get(self.replica_id)
        if limit is not None and not limit.closed:
            self._give_up_beyond(self.replica_id, limit)
        self.doubled.disown(self.replica_id)
        self.doubled.lives[replica_id] = None
        self.replica_id, self.wrote, self.former = replica_id, False, ()

    # ---- writing

    def write(self, obj: bytes, key: bytes, payload: bytes | None, replaced: tuple[Event, ...]) -> tuple[Event, ...]:
        """Make and apply the event that stores ``payload`` (None: nothing) and replaces the entries ``replaced``.

        Returns it, behind further entry-less events if it replaces more than one event may.
        """
        if payload is None:
            if not replaced:
                raise ValueError("an event stores something or replaces something")
            obj = key = b""
        if not replaced:
            return (self._make(obj, key, payload, ()),)
        kills: Kills = tuple(sorted([(e.replica, e.seq) for e in replaced]))
        events: list[Event] = []
        while len(kills) > MAX_KILLS_PER_EVENT:
            events.append(self._make(b"", b"", None, kills[:MAX_KILLS_PER_EVENT]))
            kills = kills[MAX_KILLS_PER_EVENT:]
        return (*events, self._make(obj, key, payload, kills))

    def _make(self, obj: bytes, key: bytes, payload: bytes | None, kills: Kills) -> Event:
        me = self.replica_id
        self.wrote = True
        seq = self.context.take_next(me)
        if seq > MAX_SEQ:
            self.context.discard_last(me)
            raise InvalidValue(f"{me!r} has no seq left (somebody has used the last one); go on under a new replica id")
        event = Event(me, seq, obj, key, payload, kills)
        if self.undo is not None:
            victims = [self.live[replica][seq] for replica, seq in kills if seq in self.live.get(replica, ())]
            self.undo.append((event, victims))
        self.processed += 1
        killed_before = self._take_prekilled(me, seq) if self.prekilled else False
        if payload is not None and not killed_before:
            self._insert(event)
        if kills:
            self._replace(event)
        return event

    def _replace(self, event: Event) -> None:
        by = event.replica, event.seq
        for dot in event.kills:
            self._kill(dot, by)
        self.log.remember(event)

    def together(self, events: list[Event]) -> list[Event]:
        """Make one transaction of these events, the last ones of our own, and return them as such."""
        if len(events) < 2:
            return events
        batch = events[0].seq, events[-1].seq + 1
        self.log.remember_batch(self.replica_id, batch)
        return [event._replace(batch=batch) for event in events]

    def rollback(self, mark: int) -> None:
        """Undo the latest own events that `undo` holds, down to ``mark`` of them, as if they had never been made."""
        undo = self.undo or []
        undone = _places_of(undo[mark:])
        while len(undo) > mark:
            event, victims = undo.pop()
            if event.payload is not None:
                self._drop(event.dot, event.dot)
            if event.kills:
                self.log.forget(event.replica, event.seq)
            self.context.discard_last(event.replica)
            for victim in victims:
                self._insert(victim)
            self.processed -= 1
        if self.touched:
            self._untouch(undone, _places_of(undo))

    def _untouch(self, undone: Iterable[tuple[bytes, bytes]], by: dict[tuple[bytes, bytes], Dot]) -> None:
        """Forget that these places were changed, unless they were before, and then by whom."""
        touched = self.touched or {}
        for place in [place for place in undone if place in touched]:
            before, _ = touched[place]
            if place in by:
                touched[place] = before, by[place]
            elif sorted(before) == sorted(self.at(*place)):
                del touched[place]

    # ---- reading

    def exported_context(self) -> Context:
        """The dots processed, less those of writers that are retired for good: what is told to peers.

        The result changes with the kernel's own context: copy it to keep it.
        """
        return self.closures.hidden_in(self.context)

    # ---- applying

    def apply(self, event: Event) -> bool:
        """Process one event; return whether it was new.

        One whose entry is told of as replaced counts only if we know what replaced it; see `apply_run`. One of a
        writer who is being retired counts only up to its limit.
        """
        replica, seq, obj, _, payload, kills, _ = event
        if self.limits and self._is_refused(replica, seq):
            return False
        if obj == RETIRED and not self._may_close(event):
            return False
        killed_before = self._take_prekilled(replica, seq) if self.prekilled else False
        if obj == REPLACED and not killed_before:
            return False
        if not self.context.add(replica, seq):
            return False
        self.processed += 1
        self.impostors += self.wrote and replica == self.replica_id
        if event.batch is not None:
            self.log.remember_batch(replica, event.batch)
        if payload is not None and not killed_before:
            self._insert(event)
        if kills:
            self._replace(event)
        return True

    def apply_run(self, run: DotRange) -> bool:
        """Process those dots of a run of dead ones that we know to be dead; return whether there were any.

        Dead means replaced, and a dot is known to be replaced when the event that did it has been processed: then it
        is pre-killed. Taking the sender's word for the others would let us lose what they were replaced by, should
        that event never arrive; they are told of again when it has.
        """
        replica, start, stop = run
        known = seqs_within(self.prekilled.get(replica, {}), start, stop)
        for seq in known:
            self.context.add(replica, seq)
            self._take_prekilled(replica, seq)
        self.processed += len(known)
        return bool(known)

    def _take_prekilled(self, replica: ReplicaId, seq: int) -> bool:
        early = self.prekilled.get(replica)
        if early is None or seq not in early:
            return False
        del early[seq]
        self.room.taken -= 1
        if not early:
            del self.prekilled[replica]
        return True

    def _kill(self, dot: Dot, by: Dot) -> None:
        if not self._drop(dot, by) and not self.context.contains(*dot) and not self._never_comes(*dot):
            early = self.prekilled.setdefault(dot[0], {})
            self.room.taken += dot[1] not in early
            early[dot[1]] = None

    # ---- retired writers

    def _limit(self, key: bytes) -> None:
        """Read anew what the live entries say of one writer's retirement."""
        writer = writer_in(key)
        held = self.at(RETIRED, key)
        limit = writer_limit(held)
        self.closures.update(writer, held)
        self.retiring.pop(writer, None)
        self.marked.pop(writer, None)
        if limit is None or writer not in self.limits:
            self._open = None
            self.limited += limit is not None
        if limit is None:
            del self.limits[writer]
            return
        self.limits[writer] = limit
        if not limit.closed:
            (self.marked if limit.is_mark else self.retiring)[writer] = None
        if limit.closed:
            if writer == self.replica_id or writer in self.doubled.lives:
                self._give_up_beyond(writer, limit)
            self.log.raise_floor(writer, max(limit.last, self.context.last(writer)))
            self._forget_beyond(writer, limit.last)

    def _give_up_beyond(self, writer: ReplicaId, limit: Limit) -> None:
        """Keep what this process wrote as ``writer`` beyond its limit, to be written again under another id.

        No other replica accepts it. The second writing kills what the first one killed; while the writer is not closed,
        it kills the first one's entry too.
        """
        live, kills = self.live.get(writer, {}), self.log.kills.get(writer, {})
        seqs = sorted({seq: None for held in (live, kills) for seq in held if seq > limit.last})
        units: list[list[Event]] = []
        batch: Batch | None = None
        for seq in seqs:
            event = live.get(seq)
            if event is not None and event.obj == RETIRED:
                continue  # other members go on with that retirement
            same = batch is not None and batch[0] <= seq < batch[1]
            batch = self.log.batch_of(writer, seq)
            again = Event(writer, seq, b"", b"", None, ()) if event is None else event
            first = ((writer, seq),) if event is not None and not limit.closed else ()
            again = again._replace(kills=(*kills.get(seq, ()), *first))
            if same:
                units[-1].append(again)
            else:
                units.append([again])
        self.doubled.lose_beyond(units)

    def _forget_beyond(self, writer: ReplicaId, last: int) -> None:
        """Drop what we have of a closed writer that nobody else has or will; what that had replaced stays so."""
        for seq in seqs_within(self.live.get(writer, {}), last + 1, _UNBOUNDED):
            self.refused += 1
            self._drop((writer, seq), (writer, seq))
        for seq in seqs_within(self.prekilled.get(writer, {}), last + 1, _UNBOUNDED):
            self._take_prekilled(writer, seq)
        self.context.discard_beyond(writer, last)

    def open_writers(self) -> list[ReplicaId]:
        """The writers without a limit, sorted. The list is kept, as there may be very many: do not change it."""
        shape = self.context.comings_and_goings
        if self._open is None or self._open[0] != shape:
            limits = self.limits
            self._open = shape, [writer for writer in self.context.replicas() if writer not in limits]
        return self._open[1]

    def is_closed(self, writer: ReplicaId) -> bool:
        """True if everybody has all of the writer's events, and the writer has left the contexts."""
        return self.limits.get(writer, _NO_LIMIT).closed

    def _never_comes(self, replica: ReplicaId, seq: int) -> bool:
        """True if an event lies beyond the last one of a closed writer."""
        limit = self.limits.get(replica, _NO_LIMIT)
        return limit.closed and seq > limit.last

    def _is_refused(self, replica: ReplicaId, seq: int) -> bool:
        """True if an event lies beyond the limit of a writer that is being retired."""
        late = seq > self.limits.get(replica, _NO_LIMIT).last and not self.context.contains(replica, seq)
        self.refused += late
        return late

    def _may_close(self, event: Event) -> bool:
        """True if this event of a retirement may be processed: one that closes it, only behind all of its writer's.

        Else we would say that we have all of them, as closed writers are left out of contexts.
        """
        limit = writer_limit((event,))
        return limit is None or not limit.closed or self.context.prefix(writer_in(event.key)) >= limit.last

    # ---- what a peer lacks

    def missing_for(self, known: Context) -> list[DotRange]:
        """The dots processed here and not by a peer that has told us the context ``known``."""
        unknown = self.closures.unknown_to(known)
        ours = self.exported_context()
        if unknown:
            ours = ours.copy()
            ours.update(self.context.only(unknown))
        return ours.missing_from(known)

    def with_closed(self, known: Context) -> Context:
        """A peer's context with all dots of the writers that it knows to be closed, and so has left out."""
        if not self.closures:
            return known
        unknown = dict.fromkeys(self.closures.unknown_to(known))
        known = known.copy()
        for writer in self.closures.writers():
            if writer not in unknown:
                known.add_range(writer, 1, self.limits[writer].last + 1)
        return known

    def log_reaches(self, known: Context) -> bool:
        """True if everything missing from ``known`` can still be sent as events."""
        return self.log.reaches(self.missing_for(known))

    def trim_log(self, limit: int) -> None:
        """Forget the oldest kills until at most ``limit`` remain; see `KillLog.trim`."""
        self.log.trim(limit)

    def prefers_state(self, known: Context) -> bool:
        """True if a state costs less than events, or events are not possible; see `catchup.prefers_state`."""
        return prefers_state(Held(self.live, self.log), self.missing_for(known))

    def takes_more_than(self, known: Context, max_bytes: int) -> bool:
        """True if what ``known`` lacks takes more than ``max_bytes`` as events; see `catchup.takes_more_than`."""
        return takes_more_than(Held(self.live, self.log), self.missing_for(known), max_bytes)

    def spares_by_reconciling(self, known: Context) -> bool:
        """True if a peer that has processed ``known`` has so many entries that a state would mostly be in vain."""
        entries = sum(map(len, self.live.values()))
        missing = self.missing_for(known)
        news = sum(count_within(self.live.get(replica, {}), start, stop) for replica, start, stop in missing)
        return entries - news >= SPARED_LEAST and (entries - news) * SPARED_SHARE >= entries

    def deltas_since(self, known: Context, max_bytes: int) -> Iterator[Delta]:
        """What ``known`` lacks as events, in pieces of at most ``max_bytes``; see `catchup.pieces_of`."""
        return pieces_of(Held(self.live, self.log), self.missing_for(known), max_bytes)

    def delta_since(self, known: Context) -> Delta:
        """What a replica that has processed ``known`` lacks: events or state, whichever is smaller and possible."""
        held, missing = Held(self.live, self.log), self.missing_for(known)
        return self.state() if prefers_state(held, missing) else whole_delta(held, missing)

    # ---- states

    def snapshot(self) -> Snapshot:
        """All that the replica holds now, as a shallow copy."""
        entries = {replica: seqs.copy() for replica, seqs in self.live.items()}
        prekilled = [(replica, seq) for replica in self.prekilled for seq in self.prekilled[replica]]
        return Snapshot(self.exported_context().copy(), prekilled, entries)

    def state(self) -> Delta:
        """Everything, as one snapshot: live entries, the whole context, and the pre-killed dots. No dead dot."""
        snapshot = self.snapshot()
        return state_delta(snapshot.events(), snapshot.context, snapshot.prekilled)

    def join(self, state: Delta) -> None:
        """Join a whole state atomically (the optimized OR-set join of Bieniusa et al., 2012, with pre-kills)."""
        self._join(state, None)

    def join_prepared(self, state: Delta, prepared: Joining) -> None:
        """Join a state whose entries ``prepared`` has collected; those of ``state`` itself are not looked at."""
        self._join(state, prepared)

    def _join(self, state: Delta, prepared: Joining | None) -> None:
        theirs = state.context
        if theirs is None:
            raise TypeError("join takes a state; use apply for events")
        if not self.room.has_for_state(theirs, state.prekilled):
            return
        telling = state.events if prepared is None else tuple(prepared.retired)
        theirs = with_closed_writers(theirs, telling)
        if self._goes_too_far(theirs, telling):
            return
        self._drop_absent(theirs, _dots_of(state.events) if prepared is None else prepared.alive)
        for held, told in doubled_in(self.live, state.events) if prepared is None else prepared.doubled():
            self._choose(held, told)
        for dot in state.prekilled:
            self._kill(dot, dot)
        if prepared is not None:
            self.adopt(prepared.settle())
        self._insert_new(telling)
        self._absorb(theirs)

    def _choose(self, held: Event, told: Event) -> None:
        """Of a dot with two contents keep the greater one, as everybody does."""
        self.doubled.count += 1
        self.impostors += self.wrote and held.replica == self.replica_id
        if told > held:
            self._drop(held.dot, held.dot)
            self._insert(told)
            self.doubled.lose(held, self.replica_id)

    def join_difference(
        self, theirs: Context, gone: list[Dot], events: list[Event], prekilled: list[Dot], seen: Context
    ) -> bool:
        """Join a state of which only the difference is known, at once; return False if it is refused, as in `join`.

        ``theirs`` is the state's whole context. Of the dots in both ``theirs`` and ``seen``, ``gone`` are those that
        live here and not there; of those in ``theirs`` and not in ``seen``, ``events`` are all that live there.
        """
        before = self.processed
        self.join(self.difference(theirs, gone, events, prekilled, seen))
        return self.processed > before

    def difference(
        self, theirs: Context, gone: Iterable[Dot], events: Iterable[Event], prekilled: Iterable[Dot], seen: Context
    ) -> Delta:
        """What `join_difference` joins, as a state that can also be saved. It is valid until this replica changes.

        The state is a part of the other replica's state. Its context holds the dots that are not processed here, and
        those that live here and not there; so the state is as large as the difference. Of a writer that the state
        closes, it has all live entries and no context, as states do.
        """
        told = sorted(event for event in events if event.dot not in self.context)
        alive = {event.dot: None for event in events}
        context = Context.of(theirs.missing_from(self.context))
        for replica, seq in gone:
            if seq in self.live.get(replica, ()):
                context.add(replica, seq)
        for replica, start, stop in theirs.missing_from(seen):
            for seq in seqs_within(self.live.get(replica, {}), start, stop):  # came in meanwhile, by another way
                if (replica, seq) not in alive:
                    context.add(replica, seq)
        closed: dict[ReplicaId, None] = {}
        while news := [writer for writer in closed_writers(told) if writer not in closed]:  # one may tell of another
            for writer in news:
                closed[writer] = None
                told += [event for event in self.live.get(writer, {}).values() if event.dot not in context]
                context = context.without([writer])
        return state_delta(told, context, prekilled)

    def _goes_too_far(self, theirs: Context, events: Iterable[Event]) -> bool:
        """True if a state holds events of a writer beyond its limit, and does not raise the limit. Counts the refusal.

        It is refused as a whole: its dead may have been killed by events that nobody else will ever process. And
        whoever has reported to have no more than the limit must not get more in any way.
        """
        late = [
            writer
            for writer, limit in self.limits.items()
            if theirs.last(writer) > limit.last and self._lacks_beyond(theirs, writer, limit.last)
        ]
        if not late:
            return False
        told = [event for event in events if event.obj == RETIRED]
        for writer in late:
            key = writer.encode()
            kept = [e for e in self.at(RETIRED, key) if e.dot not in theirs]
            limit = writer_limit([*kept, *(e for e in told if e.key == key)])
            if limit is not None and theirs.last(writer) > limit.last:
                self.refused += 1
                return True
        return False

    def _lacks_beyond(self, theirs: Context, writer: ReplicaId, last: int) -> bool:
        """True if another replica has events of a writer from beyond ``last`` that are not here already."""
        missing = theirs.within(writer, writer + "\0").missing_from(self.context)
        return any(stop - 1 > last for _, _, stop in missing)

    def _absorb(self, theirs: Context) -> None:
        """Count as processed what another replica has, without a log of it."""
        self.processed += 1
        for replica, start, stop in theirs.missing_from(self.context):
            self.log.raise_floor(replica, stop - 1)
            self.context.add_range(replica, start, stop)
            self.impostors += self.wrote and replica == self.replica_id
            for seq in seqs_within(self.prekilled.get(replica, {}), start, stop):
                self._take_prekilled(replica, seq)
        for writer, limit in tuple(self.limits.items()):  # what is forgotten may have been a limit
            if limit.closed and self.context.last(writer) > limit.last:
                self._forget_beyond(writer, limit.last)

    def _drop_absent(self, theirs: Context, alive: dict[ReplicaId, dict[int, None]]) -> None:
        """Drop what the other side has processed and no longer has."""
        for replica in [each for each in theirs.replicas() if each in self.live]:
            kept = alive.get(replica, {})
            here = self.live.get(replica, {})  # empty by now if its writer's end has fallen with another's entry
            for seq in [seq for seq in theirs.seqs_of(replica, here) if seq not in kept]:
                self._drop((replica, seq), (replica, seq))

    def _insert_new(self, events: tuple[Event, ...]) -> None:
        """Insert the entries of a state, sorted by dot, that have not been processed or killed here."""
        for replica, group in groupby(events, attrgetter("replica")):
            entries = list(group)
            early = self.prekilled.get(replica, {})
            if early or self.context.last(replica) >= entries[0].seq:
                contains = self.context.contains
                entries = [e for e in entries if not contains(replica, e.seq) and e.seq not in early]
            self._insert_all(replica, entries)

    def shed_prekilled(self) -> int:
        """Forget pre-killed dots beyond the bounds, which an earlier release may have saved; return how many.

        If the event of a forgotten dot comes after all, its entry lives here and not elsewhere. Then the fingerprints
        differ, and an exchange of states removes the entry.
        """
        shed = [(replica, seq) for replica, seqs in self.prekilled.items() for seq in seqs][: self.room.beyond]
        for replica, seq in shed:
            self._take_prekilled(replica, seq)
        return len(shed)

    # ---- merging

    def merge(self, delta: Delta) -> list[Event]:
        """Apply a delta of either form; return the events that were new (none for a state: it carries none)."""
        if len(delta.events) < PAUSE_FROM:
            return self._merge(delta)
        with collection_paused():
            return self._merge(delta)

    def _merge(self, delta: Delta) -> list[Event]:
        if delta.is_state:
            self.join(delta)
            return []
        delta = self.room.admitted(delta)
        self.room.begin(delta)
        try:
            return self._merge_events(delta)
        finally:
            self.room.end()

    def _merge_events(self, delta: Delta) -> list[Event]:
        new: list[Event] = []
        waiting: list[list[Event]] = []
        events: Iterable[Event] = delta.events
        if len(delta.events) >= BULK_EVENTS:
            events = self._apply_in_bulk(delta.events, new)
        for event in events:
            if event.batch is not None:
                self._add_to_batch(waiting, event)
            elif event.obj in _DEPENDENT:
                waiting.append([event])
            elif event.kills and self.room.taken + len(event.kills) > self.room.easy and not self.room.has_for([event]):
                continue
            elif self.apply(event):
                new.append(event)
        if waiting:
            new += self._apply_waiting(waiting, Context.of(delta.runs))
        for run in delta.runs:
            self.apply_run(run)
        return new

    def _apply_in_bulk(self, events: tuple[Event, ...], new: list[Event]) -> list[Event]:
        """Apply what depends on nothing and is all new, replica by replica, adding it to ``new``; return the rest."""
        rest: list[Event] = []
        for replica, group in groupby(events, attrgetter("replica")):
            some = list(group)
            if replica in self.limits or replica in self.prekilled or self.context.last(replica) >= some[0].seq:
                rest += some
                continue
            plain = [e for e in some if not e.kills and e.payload is not None and e.batch is None and e.obj != RETIRED]
            seqs = [event.seq for event in plain]
            if len(plain) < len(some):
                done = set(seqs)
                rest += [event for event in some if event.seq not in done]
            for start, stop in runs_in(seqs):
                self.context.add_range(replica, start, stop)
            self.processed += len(plain)
            self.impostors += len(plain) * (self.wrote and replica == self.replica_id)
            self._insert_all(replica, plain)
            new += plain
        return rest

    @staticmethod
    def _add_to_batch(waiting: list[list[Event]], event: Event) -> None:
        last = waiting[-1][-1] if waiting else None
        if last is not None and last.replica == event.replica and last.batch == event.batch:
            waiting[-1].append(event)
        else:
            waiting.append([event])

    def _apply_waiting(self, waiting: list[list[Event]], runs: Context) -> list[Event]:
        """Apply what depends on other events: replaced ones and transactions. One of them may be what another needs.

        ``runs`` are the dots that came with them, told of as dead ones that killed nothing.
        """
        new: list[Event] = []
        if self.limits:
            waiting = [unit for unit in waiting if not self._is_refused(unit[-1].replica, unit[-1].seq)]
        waiting = [unit for unit in waiting if any(event.dot not in self.context for event in unit)]
        # What closes a writer comes behind all of its events, so it is tried last: the list is taken from its end, as
        # killers mostly have higher dots than their victims.
        ready = sorted(waiting, key=lambda unit: unit[0].obj != RETIRED)
        batches: dict[ReplicaId, list[tuple[Batch, list[Event]]]] = {}
        for unit in waiting:
            if unit[0].batch is not None:
                batches.setdefault(unit[0].replica, []).append((unit[0].batch, unit))
        owner = {event.dot: unit for unit in waiting for event in unit}
        while ready:  # each unit is tried once, and again whenever a dot of it has been killed
            unit = ready.pop()
            applied = self._apply_unit(unit, runs)
            new += applied
            for event in applied:
                for dot in event.kills:
                    victim = owner.get(dot) or _transaction_at(dot, batches)
                    if victim is not None and victim is not unit:
                        ready.append(victim)
        return new

    def _apply_unit(self, unit: list[Event], runs: Context) -> list[Event]:
        """Apply one event, or all of a transaction if all of it is here or known to be dead."""
        batch = unit[0].batch
        if batch is None:
            return unit if self.room.has_for(unit) and self.apply(unit[0]) else []
        replica = unit[0].replica
        if not self._is_complete(replica, batch, unit, runs) or not self.room.has_for(unit):
            return []
        entries = [event for event in unit if event.obj != REPLACED and self.apply(event)]
        replaced = [event for event in reversed(unit) if event.obj == REPLACED and self.apply(event)]
        self.apply_run((replica, *batch))
        return entries + replaced

    def _is_complete(self, replica: ReplicaId, batch: Batch, unit: list[Event], runs: Context) -> bool:
        """True if every dot of a transaction is here, processed before, or told of as dead and known to be.

        Known to be dead is not enough: what it killed would be lost, if it killed something.
        """
        here = {event.seq for event in unit if event.obj != REPLACED}
        replaced = {event.seq for event in unit if event.obj == REPLACED}
        early = self.prekilled.get(replica, {})
        killed = {seq for event in unit for victim, seq in event.kills if victim == replica}
        return all(
            seq in here
            or self.context.contains(replica, seq)
            or ((seq in early or seq in killed) and (seq in replaced or runs.contains(replica, seq)))
            for seq in range(*batch)
        )


def _dots_of(events: Iterable[Event]) -> dict[ReplicaId, dict[int, None]]:
    dots: dict[ReplicaId, dict[int, None]] = {}
    for event in events:
        dots.setdefault(event.replica, {})[event.seq] = None
    return dots


def _transaction_at(dot: Dot, batches: dict[ReplicaId, list[tuple[Batch, list[Event]]]]) -> list[Event] | None:
    """Of transactions that are sorted by replica, the one that a dot is a part of."""
    of_replica = batches.get(dot[0], [])
    at = bisect_right(of_replica, dot[1], key=lambda each: each[0][0]) - 1
    return of_replica[at][1] if at >= 0 and dot[1] < of_replica[at][0][1] else None


def _places_of(undo: list[tuple[Event, list[Event]]]) -> dict[tuple[bytes, bytes], Dot]:
    """The places that these events changed, with the last of them for each."""
    return {(e.obj, e.key): event.dot for event, victims in undo for e in (event, *victims)}
