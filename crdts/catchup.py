"""What a peer lacks, as events: in an order in which every prefix is of use, cut anywhere by a byte budget.

Live entries go first, as nothing depends on them. What was replaced counts at the receiver where the event that
replaced it is known, and a transaction where all of it is: so killers go before their victims, and runs of dead dots
that killed nothing go last. Causality never runs in a circle, so there is such an order.
"""

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Final

from .codec import event_bytes
from .context import DotRange, count_within, runs_in, seqs_within
from .delta import NOTHING, Delta, Event, events_delta
from .dependents import Held, dead_killer, dependent_units, live_event, runs_between
from .packing import Packer

MAX_PIECE: Final = 512
"""The most events in one piece, if they are of no transaction: some milliseconds of work for either side."""
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
    most = entries * STATE_PREFERENCE + len(missing)
    at_most = 0
    for replica, start, stop in missing:
        at_most += min(stop - start, len(held.live.get(replica, ())) + len(held.log.kills.get(replica, ())))
    return at_most > most and _pieces(held, missing) > most


def _pieces(held: Held, missing: list[DotRange]) -> int:
    """How many events and dead killers ``missing`` holds."""
    pieces = 0
    for replica, start, stop in missing:
        live = held.live.get(replica, {})
        pieces += count_within(live, start, stop)
        pieces += sum(seq not in live for seq in some_within(held.log.kills.get(replica, {}), start, stop))
    return pieces


def takes_more_than(held: Held, missing: list[DotRange], max_bytes: int) -> bool:
    """True if what is ``missing`` takes more than ``max_bytes`` as events for certain, in whatever pieces.

    It looks only at so many of the events as it takes to know that, in no particular order.
    """
    size = 0
    last: Event | None = None
    for replica, start, stop in missing:
        live = held.live.get(replica, {})
        alive = (live[seq] for seq in some_within(live, start, stop))
        killers = some_within(held.log.kills.get(replica, {}), start, stop)
        for event in chain(alive, (dead_killer(held, replica, seq) for seq in killers if seq not in live)):
            size += event_bytes(event, after=last)
            last = event
            if size > max_bytes:
                return True
    return False


def some_within(seqs: Mapping[int, object], start: int, stop: int) -> Iterator[int]:
    """The keys of ``seqs`` in [start, stop), one at a time, by whichever of the two is shorter to walk."""
    if stop - start < len(seqs):
        return (seq for seq in range(start, stop) if seq in seqs)
    return (seq for seq in seqs if start <= seq < stop)


def pieces_of(held: Held, missing: list[DotRange], max_bytes: int, max_events: int = MAX_PIECE) -> Iterator[Delta]:
    """What is ``missing`` as events, in pieces of at most ``max_bytes`` encoded; live entries first.

    A piece has ``max_events`` events at most. A single event or transaction larger than either bound travels
    alone. The replica may change between two pieces; every piece is valid when it is made. Raises `LogTrimmed`
    when the log no longer reaches back, at the start or midway; what was yielded until then stays valid.
    """
    packer = Packer(max_bytes, max_events)
    yield from _pack_live(held, missing, packer)
    for unit in dependent_units(held, missing):
        full = packer.add_unit(unit)
        if full is not None:
            yield full
    for each in missing:
        for run in dead_runs(held, [each]):
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


def _pack_live(held: Held, missing: list[DotRange], packer: Packer) -> Iterator[Delta]:
    """The live entries that belong to no transaction."""
    for replica, start, stop in missing:
        batches = held.log.batches.get(replica)
        for seq in seqs_within(held.live.get(replica, {}), start, stop):
            event = live_event(held, replica, seq)
            if event is None or (batches and held.log.batch_of(replica, seq)):
                continue
            full = packer.make_room(([event], []))
            if full is not None:
                yield full
                # Nothing waits while the caller has its turn, or one piece might call a dot alive and dead.
                event = live_event(held, replica, seq)
            if event is not None:
                packer.add(event)


def dead_runs(held: Held, missing: list[DotRange]) -> list[DotRange]:
    """The dots of these ranges that are not live and killed nothing, but for those of transactions."""
    runs: list[DotRange] = []
    for replica, start, stop in missing:
        held.log.check(replica, start)
        live, log = held.live.get(replica, {}), held.log.kills.get(replica, {})
        batches = [batch for batch in held.log.batches.get(replica, ()) if batch[0] < stop and start < batch[1]]
        if not batches and stop - start <= len(live) + len(log):
            dead = [seq for seq in range(start, stop) if seq not in live and seq not in log]
            runs += [(replica, first, end) for first, end in runs_in(dead)]
            continue
        others = {*seqs_within(live, start, stop), *seqs_within(log, start, stop)}
        for batch in batches:
            others.update(range(max(start, batch[0]), min(stop, batch[1])))
        runs += runs_between(replica, start, stop, sorted(others))
    return runs
