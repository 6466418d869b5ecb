"""The kernel: which events were processed, which of their entries live, and how two such states are joined.

Everything in this package is a reading of one kernel's live entries. For the set X of events received,

    live(X) = { d in X with an entry : no event of X kills d }

so applying events is commutative, associative and idempotent by construction. The rules that keep it so:

* every mutation takes a dot, removals too;
* a killed dot whose event has not arrived is *pre-killed*, not processed;
* a delta claims only the dots it carries, and of the dead ones only those whose killer is known;
* when the kill log no longer reaches back, a peer gets the whole state, joined at once, never in part.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Final, TypeAlias

from .context import Context, Dot, DotRange
from .delta import NOTHING, REPLACED, Delta, Event, events_delta, state_delta
from .errors import LogTrimmed
from .limits import MAX_KILLS_PER_EVENT
from .packing import Packer

Kills: TypeAlias = tuple[Dot, ...]

DEFAULT_LOG_LIMIT: Final = 65_536
"""Kills remembered for peers that lag behind, in dots; about 200 bytes each."""

STATE_PREFERENCE: Final = 1.25
"""A state is sent in place of events if those would be this many times its entries."""

_MASK: Final = (1 << 64) - 1
_UNBOUNDED: Final = 1 << 62


class Kernel:
    """The replicated state of one replica: events in, live entries out. Knows nothing of types or of the network."""

    def __init__(self, replica_id: str, *, log_limit: int = DEFAULT_LOG_LIMIT) -> None:
        self.replica_id = replica_id
        self.context = Context()
        """Dots processed (E)."""
        self.processed = 0
        """How often something new was processed: compare to see whether a merge brought anything."""
        self.live: dict[str, dict[int, Event]] = {}
        """Live entries by dot. Their events are held without kills: those are in the log."""
        self.objects: dict[bytes, dict[bytes, tuple[Event, ...]]] = {}
        """The same entries by place; no place is ever empty."""
        self.prekilled: dict[str, dict[int, None]] = {}
        """Dots killed before their own event arrived (P); empty when nothing is in flight."""
        self.log: dict[str, dict[int, Kills]] = {}
        """Kills by the dot of the killing event, complete above `floor`."""
        self.removals: dict[str, dict[int, None]] = {}
        """Those of the logged events that never had an entry."""
        self.log_size = 0
        self.log_limit = log_limit
        self.floor: dict[str, int] = {}
        self.fingerprint = 0
        """Sum of the hashes of all live entries, modulo 2**64: equal contents have equal fingerprints."""
        self.touched: dict[tuple[bytes, bytes], Dot] | None = None
        """Places changed since somebody set this to a dict, with the dot that changed them last."""

    # ---- writing

    def write(self, obj: bytes, key: bytes, payload: bytes | None, replaced: tuple[Event, ...]) -> tuple[Event, ...]:
        """Make and apply the event that stores ``payload`` (None: nothing) and replaces the entries ``replaced``.

        Returns it, behind further entry-less events if it replaces more than one event may.
        """
        kills = tuple(sorted([(e.replica, e.seq) for e in replaced]))
        if payload is None and not kills:
            raise ValueError("an event stores something or replaces something")
        events: tuple[Event, ...] = ()
        while len(kills) > MAX_KILLS_PER_EVENT:
            events += (self._make(b"", b"", None, kills[:MAX_KILLS_PER_EVENT]),)
            kills = kills[MAX_KILLS_PER_EVENT:]
        if payload is None:
            return (*events, self._make(b"", b"", None, kills))
        return (*events, self._make(obj, key, payload, kills))

    def _make(self, obj: bytes, key: bytes, payload: bytes | None, kills: Kills) -> Event:
        event = Event(self.replica_id, self.context.last(self.replica_id) + 1, obj, key, payload, kills)
        self.apply(event)
        return event

    # ---- reading

    def at(self, obj: bytes, key: bytes) -> tuple[Event, ...]:
        """The live entries at one place, in no particular order."""
        keys = self.objects.get(obj)
        return keys.get(key, ()) if keys is not None else ()

    def keys(self, obj: bytes) -> dict[bytes, tuple[Event, ...]]:
        """All places of an object that hold a live entry. The kernel's own dict: read only, and not across writes."""
        return self.objects.get(obj) or {}

    # ---- applying

    def apply(self, event: Event) -> bool:
        """Process one event; return whether it was new.

        One whose entry is told of as replaced counts only if we know what replaced it; see `apply_run`.
        """
        replica, seq, obj, _, payload, kills = event
        killed_before = self._take_prekilled(replica, seq) if self.prekilled else False
        if obj == REPLACED and not killed_before:
            return False
        if not self.context.add(replica, seq):
            return False
        self.processed += 1
        if payload is not None and not killed_before:
            self._insert(event)
        if kills:
            for dot in kills:
                self._kill(dot, (replica, seq))
            self._remember(event)
        return True

    def apply_run(self, run: DotRange) -> bool:
        """Process those dots of a run of dead ones that we know to be dead; return whether there were any.

        Dead means replaced, and a dot is known to be replaced when the event that did it has been processed: then it
        is pre-killed. Taking the sender's word for the others would let us lose what they were replaced by, should
        that event never arrive; they are told of again when it has.
        """
        replica, start, stop = run
        known = _seqs_within(self.prekilled.get(replica, {}), start, stop)
        for seq in known:
            self.context.add(replica, seq)
            self._take_prekilled(replica, seq)
        self.processed += len(known)
        return bool(known)

    def _take_prekilled(self, replica: str, seq: int) -> bool:
        early = self.prekilled.get(replica)
        if early is None or seq not in early:
            return False
        del early[seq]
        if not early:
            del self.prekilled[replica]
        return True

    def _kill(self, dot: Dot, by: Dot) -> None:
        if not self._drop(dot, by) and not self.context.contains(*dot):
            self.prekilled.setdefault(dot[0], {})[dot[1]] = None

    def _insert(self, event: Event) -> None:
        replica, seq, obj, key, payload, kills = event
        if kills:
            event = Event(replica, seq, obj, key, payload, ())
        entries = self.live.get(replica)
        if entries is None:
            entries = self.live[replica] = {}
        entries[seq] = event
        keys = self.objects.get(obj)
        if keys is None:
            keys = self.objects[obj] = {}
        held = keys.get(key)
        keys[key] = (event,) if held is None else (*held, event)
        self.fingerprint = (self.fingerprint + entry_hash(event)) & _MASK
        if self.touched is not None:
            self.touched[obj, key] = (replica, seq)

    def _drop(self, dot: Dot, by: Dot) -> bool:
        entries = self.live.get(dot[0])
        event = entries.pop(dot[1], None) if entries is not None else None
        if event is None:
            return False
        if not entries:
            del self.live[dot[0]]
        keys = self.objects[event.obj]
        held = keys[event.key]
        if len(held) > 1:
            keys[event.key] = tuple([e for e in held if e is not event])
        else:
            del keys[event.key]
            if not keys:
                del self.objects[event.obj]
        self.fingerprint = (self.fingerprint - entry_hash(event)) & _MASK
        if self.touched is not None:
            self.touched[event.obj, event.key] = by
        return True

    # ---- the kill log, a bounded cache

    def _remember(self, event: Event) -> None:
        replica, seq, obj, _, _, kills = event
        if seq <= self.floor.get(replica, 0):
            return
        self.log.setdefault(replica, {})[seq] = kills
        if not obj:
            self.removals.setdefault(replica, {})[seq] = None
        self.log_size += len(kills)
        if self.log_size > self.log_limit:
            self.trim_log(self.log_limit // 2)

    def _forget(self, replica: str, seq: int) -> None:
        kept, removals = self.log[replica], self.removals.get(replica, {})
        self.log_size -= len(kept.pop(seq))
        removals.pop(seq, None)
        if not kept:
            del self.log[replica]
            self.removals.pop(replica, None)

    def trim_log(self, limit: int) -> None:
        """Forget the oldest kills, of the replica with the longest log first, until at most ``limit`` dots remain.

        Costs bandwidth later (a peer that lags behind `floor` gets a state), never correctness.
        """
        while self.log_size > limit:
            replica = max(sorted(self.log), key=lambda r: len(self.log[r]))
            kept = self.log[replica]
            for seq in sorted(kept)[: max(1, len(kept) // 2)]:
                self._forget(replica, seq)
                self.floor[replica] = seq

    # ---- what a peer lacks

    def log_reaches(self, known: Context) -> bool:
        """Whether everything missing from ``known`` can still be sent as events."""
        return self._reaches(self.context.missing_from(known))

    def _reaches(self, missing: list[DotRange]) -> bool:
        return all(start > self.floor.get(replica, 0) for replica, start, _ in missing)

    def delta_since(self, known: Context) -> Delta:
        """What a replica that has processed ``known`` lacks: events or state, whichever is smaller and possible."""
        if self.prefers_state(known):
            return self.state()
        events: list[Event] = []
        runs: list[DotRange] = []
        for delta in self.deltas_since(known, _UNBOUNDED):
            events.extend(delta.events)
            runs.extend(delta.runs)
        return events_delta(events, runs) if events or runs else NOTHING

    def prefers_state(self, known: Context) -> bool:
        """Whether the log no longer reaches back to ``known``, or events would be a good deal more than what is alive.

        Not as soon as they are more: events can be applied as they come and resumed, a state is all or nothing.
        """
        missing = self.context.missing_from(known)
        if not self._reaches(missing):
            return True
        entries = sum(len(seqs) for seqs in self.live.values())
        if sum(stop - start for _, start, stop in missing) <= entries:
            return False
        pieces = 0
        for replica, start, stop in missing:
            log = self.log.get(replica, {})
            live = self.live.get(replica, {})
            pieces += len({*_seqs_within(live, start, stop), *_seqs_within(log, start, stop)})
        return pieces > entries * STATE_PREFERENCE + len(missing)

    def deltas_since(self, known: Context, max_bytes: int) -> Iterator[Delta]:
        """What ``known`` lacks as events, in pieces of at most ``max_bytes`` encoded, live entries first.

        The kernel may change between two pieces; every piece is valid when it is made. Raises `LogTrimmed` when the
        log no longer reaches back, at the start or midway; what was yielded until then stays valid.
        """
        missing = self.context.missing_from(known)
        packer = Packer(max_bytes)
        # Nothing waits in the packer while the caller has its turn, or one piece might call a dot alive and dead.
        for replica, start, stop in missing:
            for seq in _seqs_within(self.live.get(replica, {}), start, stop):
                event = self._live_event(replica, seq)
                full = packer.make_room(event) if event is not None else None
                if full is not None:
                    yield full
                    event = self._live_event(replica, seq)
                if event is not None:
                    packer.add(event)
        # What was replaced counts where its killer is known: so killers before their victims, and runs last.
        for dead_pieces in (self._dead_killers, self._dead_runs):
            for piece in dead_pieces(missing):
                full = packer.make_room(piece)
                if full is not None:
                    yield full
                packer.add(piece)
        rest = packer.flush()
        if rest is not None:
            yield rest

    def _live_event(self, replica: str, seq: int) -> Event | None:
        self._check_floor(replica, seq)
        event = self.live.get(replica, {}).get(seq)
        kills = self.log.get(replica, {}).get(seq)
        return event._replace(kills=kills) if event is not None and kills else event

    def _dead_killers(self, missing: list[DotRange]) -> list[Event]:
        """The events of these ranges that are not live and killed something, killers before their victims."""
        found: dict[Dot, Event] = {}
        for replica, start, stop in missing:
            self._check_floor(replica, start)
            live, log = self.live.get(replica, {}), self.log.get(replica, {})
            removals = self.removals.get(replica, {})
            for seq in reversed(_seqs_within(log, start, stop)):
                if seq not in live:
                    obj = b"" if seq in removals else REPLACED
                    found[replica, seq] = Event(replica, seq, obj, b"", None, log[seq])
        return _killers_first(found)

    def _dead_runs(self, missing: list[DotRange]) -> list[DotRange]:
        """The other dots of these ranges that are not live."""
        runs = []
        for replica, start, stop in missing:
            self._check_floor(replica, start)
            live, log = self.live.get(replica, {}), self.log.get(replica, {})
            following = start
            for seq in sorted({*_seqs_within(live, start, stop), *_seqs_within(log, start, stop)}):
                if following < seq:
                    runs.append((replica, following, seq))
                following = seq + 1
            if following < stop:
                runs.append((replica, following, stop))
        return runs

    def _check_floor(self, replica: str, seq: int) -> None:
        if seq <= self.floor.get(replica, 0):
            raise LogTrimmed(f"the kill log of {replica} starts above {self.floor[replica]}, {seq} was asked for")

    # ---- states

    def state(self) -> Delta:
        """Everything, as one snapshot: live entries, the whole context, and the pre-killed dots. No dead dot."""
        events = [self.live[replica][seq] for replica in sorted(self.live) for seq in sorted(self.live[replica])]
        prekilled = [(replica, seq) for replica in self.prekilled for seq in self.prekilled[replica]]
        return state_delta(events, self.context.copy(), prekilled)

    def join(self, state: Delta) -> None:
        """Join a whole state atomically (the optimized OR-set join of Bieniusa et al., 2012, with pre-kills)."""
        theirs = state.context
        if theirs is None:
            raise TypeError("join takes a state; use apply for events")
        alive: dict[str, dict[int, None]] = {}
        for event in state.events:
            alive.setdefault(event.replica, {})[event.seq] = None
        self._drop_absent(theirs, alive)
        for dot in state.prekilled:
            self._kill(dot, dot)
        for event in state.events:
            replica, seq = event.replica, event.seq
            if not self.context.contains(replica, seq) and seq not in self.prekilled.get(replica, ()):
                self._insert(event)
        self.processed += 1
        for replica, start, stop in theirs.missing_from(self.context):
            self.floor[replica] = max(self.floor.get(replica, 0), stop - 1)
            self.context.add_range(replica, start, stop)
            for seq in _seqs_within(self.prekilled.get(replica, {}), start, stop):
                self._take_prekilled(replica, seq)
        self._forget_below_floor()

    def _drop_absent(self, theirs: Context, alive: dict[str, dict[int, None]]) -> None:
        """Drop what the other side has processed and no longer has."""
        for replica in sorted(self.live):
            kept = alive.get(replica, {})
            for seq in [s for s in self.live[replica] if s not in kept and theirs.contains(replica, s)]:
                self._drop((replica, seq), (replica, seq))

    def _forget_below_floor(self) -> None:
        """Log records at or below the floor can never be sent; an incomplete log is not a log."""
        for replica in sorted(self.log):
            for seq in _seqs_within(self.log[replica], 0, self.floor.get(replica, 0) + 1):
                self._forget(replica, seq)

    # ---- merging

    def merge(self, delta: Delta) -> list[Event]:
        """Apply a delta of either form; return the events that were new (none for a state: it carries none)."""
        if delta.is_state:
            self.join(delta)
            return []
        new = [event for event in delta.events if event.obj != REPLACED and self.apply(event)]
        waiting = [event for event in reversed(delta.events) if event.obj == REPLACED]
        progress = True
        while waiting and progress:  # one of them may be the killer of another
            applied = [event for event in waiting if self.apply(event)]
            progress = bool(applied)
            new += applied
            waiting = [event for event in waiting if not self.context.contains(event.replica, event.seq)]
        for run in delta.runs:
            self.apply_run(run)
        return new


def entry_hash(event: Event) -> int:
    """64 bits that stand for the dot, place and payload of an entry."""
    replica, seq, obj, key, payload, _ = event
    text = b"%d %d %d %b %d " % (len(obj), len(key), len(replica), replica.encode(), seq)
    return int.from_bytes(blake2b(b"".join((text, obj, key, payload or b"")), digest_size=8).digest(), "big")


def _killers_first(events: dict[Dot, Event]) -> list[Event]:
    """``events`` in an order in which each comes before those it killed (Kahn's topological sort)."""
    killers = Counter(dot for event in events.values() for dot in event.kills if dot in events)
    ready = [event for dot, event in events.items() if not killers[dot]]
    for event in ready:  # grows while it is walked
        for dot in event.kills:
            if dot in events:
                killers[dot] -= 1
                if not killers[dot]:
                    ready.append(events[dot])
    return ready


def _seqs_within(seqs: Mapping[int, object], start: int, stop: int) -> list[int]:
    """The keys of ``seqs`` in [start, stop), sorted, by whichever of the two is shorter to walk."""
    if stop - start < len(seqs):
        return [seq for seq in range(start, stop) if seq in seqs]
    return sorted([seq for seq in seqs if start <= seq < stop])
