"""What a peer lacks, as events: in an order in which every prefix is of use, cut anywhere by a byte budget.

Live entries go first, as nothing depends on them. What was replaced counts at the receiver where the event that
replaced it is known, and a transaction where all of it is: so killers go before their victims, and runs of dead dots
that killed nothing go last. Causality never runs in a circle, so there is such an order.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Final, NamedTuple

from .context import Dot, DotRange, ReplicaId, seqs_within
from .delta import NOTHING, REPLACED, Batch, Delta, Event, events_delta
from .killlog import KillLog
from .packing import Packer, Unit


class Held(NamedTuple):
    """What a replica has to tell of, as it is at any moment."""

    live: dict[ReplicaId, dict[int, Event]]
    """Live entries by dot."""
    log: KillLog


MAX_PIECE: Final = 1024
"""The most live entries in one piece: some milliseconds of work for its receiver."""
STATE_PREFERENCE: Final = 1.25
"""A state is sent in place of events if those would be this many times its entries."""


def prefers_state(held: Held, missing: list[DotRange]) -> bool:
    """True if the log no longer reaches back to all that is ``missing``, or events would be far more than what lives.

    Not as soon as they are more: events can be applied as they come and resumed, a state is all or nothing.
    """
    if not held.log.reaches(missing):
        return True
    entries = sum(len(seqs) for seqs in held.live.values())
    if sum(stop - start for _, start, stop in missing) <= entries:
        return False
    pieces = 0
    for replica, start, stop in missing:
        log = held.log.kills.get(replica, {})
        live = held.live.get(replica, {})
        pieces += len({*seqs_within(live, start, stop), *seqs_within(log, start, stop)})
    return pieces > entries * STATE_PREFERENCE + len(missing)


def pieces_of(held: Held, missing: list[DotRange], max_bytes: int, max_entries: int = MAX_PIECE) -> Iterator[Delta]:
    """What is ``missing`` as events, in pieces of at most ``max_bytes`` encoded; live entries first.

    A piece has ``max_entries`` live entries at most. A single event or transaction larger than ``max_bytes`` travels
    alone. The replica may change between two pieces; every piece is valid when it is made. Raises `LogTrimmed`
    when the log no longer reaches back, at the start or midway; what was yielded until then stays valid.
    """
    packer = Packer(max_bytes)
    yield from _pack_live(held, missing, packer, max_entries)
    for unit in dependent_units(held, missing):
        full = packer.add_unit(unit)
        if full is not None:
            yield full
    for run in dead_runs(held, missing):
        full = packer.add(run)
        if full is not None:
            yield full
    rest = packer.flush()
    if rest is not None:
        yield rest


def whole_delta(held: Held, missing: list[DotRange]) -> Delta:
    """All that is ``missing`` as one delta of events; raises `LogTrimmed` as `pieces_of` does."""
    if not missing:
        return NOTHING
    events: list[Event] = []
    with_dead: list[DotRange] = []
    for replica, start, stop in missing:
        held.log.check(replica, start)
        live = held.live.get(replica, {})
        log, batches = held.log.kills.get(replica), held.log.batches.get(replica)
        seqs = seqs_within(live, start, stop)
        if batches or len(seqs) < stop - start:
            with_dead.append((replica, start, stop))
        if batches:
            seqs = [seq for seq in seqs if not held.log.batch_of(replica, seq)]
        some = [live[seq] for seq in seqs]
        events += [e._replace(kills=log[e.seq]) if e.seq in log else e for e in some] if log else some
    if not with_dead:
        return events_delta(events)
    runs: list[DotRange] = dead_runs(held, with_dead)
    for unit_events, unit_runs in dependent_units(held, with_dead):
        events += unit_events
        runs += unit_runs
    return events_delta(events, runs)


def _pack_live(held: Held, missing: list[DotRange], packer: Packer, max_entries: int) -> Iterator[Delta]:
    """The live entries that belong to no transaction."""
    count = 0
    for replica, start, stop in missing:
        batches = held.log.batches.get(replica)
        for seq in seqs_within(held.live.get(replica, {}), start, stop):
            event = live_event(held, replica, seq)
            if event is None or (batches and held.log.batch_of(replica, seq)):
                continue
            full = packer.make_room(([event], [])) if count < max_entries else packer.flush()
            count += 1
            if full is not None:
                count = 1
                yield full
                # Nothing waits while the caller has its turn, or one piece might call a dot alive and dead.
                event = live_event(held, replica, seq)
            if event is not None:
                packer.add(event)


def live_event(held: Held, replica: ReplicaId, seq: int) -> Event | None:
    """The event of a live entry, with its kills; None if it has died."""
    held.log.check(replica, seq)
    event = held.live.get(replica, {}).get(seq)
    kills = held.log.kills.get(replica, {}).get(seq)
    return event._replace(kills=kills) if event is not None and kills else event


def dead_killer(held: Held, replica: ReplicaId, seq: int) -> Event:
    """An event that is not live and killed something."""
    obj = b"" if seq in held.log.removals.get(replica, ()) else REPLACED
    return Event(replica, seq, obj, b"", None, held.log.kills[replica][seq])


def dependent_units(held: Held, missing: list[DotRange]) -> list[Unit]:
    """What counts only behind other events: dead ones that killed something, and transactions, killers first."""
    units: list[Unit] = []
    batches: dict[tuple[ReplicaId, Batch], None] = {}
    for replica, start, stop in missing:
        held.log.check(replica, start)
        live, log = held.live.get(replica, {}), held.log.kills.get(replica, {})
        dead = [seq for seq in reversed(seqs_within(log, start, stop)) if seq not in live]
        batch_of = held.log.batch_of
        units += [([dead_killer(held, replica, seq)], []) for seq in dead if not batch_of(replica, seq)]
        for batch in reversed(held.log.batches.get(replica, [])):
            if batch[0] < stop and start < batch[1]:
                batches[replica, batch] = None
    units += [batch_unit(held, replica, batch) for replica, batch in batches]
    return killers_first(units)


def batch_unit(held: Held, replica: ReplicaId, batch: Batch) -> Unit:
    """All of a transaction: its live entries, its dead killers, and the rest of its dots."""
    events: list[Event] = []
    log = held.log.kills.get(replica, {})
    for seq in range(*batch):
        event = live_event(held, replica, seq)
        if event is None and seq in log:
            event = dead_killer(held, replica, seq)
        if event is not None:
            events.append(event._replace(batch=batch))
    return events, runs_between(replica, *batch, [event.seq for event in events])


def killers_first(units: list[Unit]) -> list[Unit]:
    """``units`` in an order in which each comes before those it killed something of (Kahn's topological sort)."""
    if all(len(events) == 1 and not runs for events, runs in units):
        owner = {events[0].dot: i for i, (events, _) in enumerate(units)}
    else:
        owner = {dot: i for i, unit in enumerate(units) for dot in dots_of(unit)}
    victims = [
        [owner[dot] for event in events for dot in event.kills if dot in owner and owner[dot] != i]
        for i, (events, _) in enumerate(units)
    ]
    killers = Counter(victim for one in victims for victim in one)
    ready = [i for i in range(len(units)) if not killers[i]]
    for i in ready:  # grows while it is walked
        for victim in victims[i]:
            killers[victim] -= 1
            if not killers[victim]:
                ready.append(victim)
    return [units[i] for i in ready]


def dots_of(unit: Unit) -> Iterator[Dot]:
    events, runs = unit
    for event in events:
        yield event.dot
    for replica, start, stop in runs:
        for seq in range(start, stop):
            yield replica, seq


def dead_runs(held: Held, missing: list[DotRange]) -> list[DotRange]:
    """The dots of these ranges that are not live and killed nothing, but for those of transactions."""
    runs: list[DotRange] = []
    for replica, start, stop in missing:
        held.log.check(replica, start)
        live, log = held.live.get(replica, {}), held.log.kills.get(replica, {})
        others = {*seqs_within(live, start, stop), *seqs_within(log, start, stop)}
        for batch in held.log.batches.get(replica, []):
            others.update(range(max(start, batch[0]), min(stop, batch[1])))  # none if they do not overlap
        runs += runs_between(replica, start, stop, sorted(others))
    return runs


def runs_between(replica: ReplicaId, start: int, stop: int, seqs: list[int]) -> list[DotRange]:
    """The ranges that ``seqs``, sorted, leave of [start, stop)."""
    runs = []
    following = start
    for seq in seqs:
        if following < seq:
            runs.append((replica, following, seq))
        following = seq + 1
    if following < stop:
        runs.append((replica, following, stop))
    return runs
