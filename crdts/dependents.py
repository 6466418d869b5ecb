"""What counts at a receiver only behind other events, one piece after the other: each comes behind its killers.

A dead event that had an entry counts where the event that replaced the entry is known. A transaction counts where all
of it is. To put all of them in order at once would take half a second for some ten thousand; so the order is found
while they are sent, from three facts:

* A removal never had an entry, so no event can replace it. Removals go first, in any order.
* A writer has killed only what it had written or received before. So of one writer, the later events go first.
* Between writers, an event waits until all dead events that killed it have gone. Those kills are counted beforehand.

Causality never runs in a circle, so there always is an event that need not wait. If a liar has made a circle, what is
in it goes out in any order.
"""

from collections import Counter, deque
from collections.abc import Iterator
from typing import Final, NamedTuple

from .context import Dot, DotRange, ReplicaId, seqs_within
from .delta import REPLACED, Batch, Event
from .killlog import KillLog
from .packing import Unit

_NOTHING: Final[dict[int, None]] = {}


class Held(NamedTuple):
    """What a replica has to tell of, as it is at any moment."""

    live: dict[ReplicaId, dict[int, Event]]
    """Live entries by dot."""
    log: KillLog


class _Line:
    """The events of one writer that are still to be sent: the next one, which has the highest seq, is the last here."""

    __slots__ = ("batches", "checked", "replica", "seqs")

    def __init__(self, replica: ReplicaId, seqs: list[int], batches: dict[int, Batch]) -> None:
        self.replica = replica
        self.seqs = sorted([*seqs, *batches])
        self.batches = batches
        """The transactions among them, by their first seq, which stands for all of one in `seqs`."""
        self.checked = 0
        """Up to here, the dots of the next unit are not waited for by anybody."""

    def next_dots(self) -> range:
        first = self.seqs[-1]
        return range(*self.batches.get(first, (first, first + 1)))

    def all_dots(self) -> Iterator[int]:
        for first in self.seqs:
            yield from range(*self.batches.get(first, (first, first + 1)))

    def blocking(self, owed: Counter[Dot]) -> Dot | None:
        """A dot of the next unit that was killed by an event which has not gone yet; None if there is none."""
        dots = self.next_dots()
        for seq in range(max(dots.start, self.checked), dots.stop):
            if (self.replica, seq) in owed:
                self.checked = seq
                return self.replica, seq
        return None

    def take(self, held: Held) -> Unit:
        """The next unit, which is then no longer here."""
        first = self.seqs.pop()
        self.checked = 0
        batch = self.batches.get(first)
        if batch is None:
            return [dead_killer(held, self.replica, first)], []
        return batch_unit(held, self.replica, batch)


def dependent_units(held: Held, missing: list[DotRange]) -> Iterator[Unit]:
    """The dead events of ``missing`` that killed something, and the transactions, killers first.

    The replica may change between two of them: each is told of as it is when its turn comes. Raises `LogTrimmed` when
    the log no longer reaches back.
    """
    yield from _removals(held, missing)
    lines = _lines(held, missing)
    owed = _owed(held, lines)
    ready = deque(lines)
    waiting: dict[Dot, ReplicaId] = {}
    while ready:
        line = lines[ready.popleft()]
        while line.seqs:
            dot = line.blocking(owed)
            if dot is not None:
                waiting[dot] = line.replica
                break
            unit = line.take(held)
            yield unit
            ready += _released(unit, owed, waiting)
        if not ready and waiting:  # a circle
            owed.clear()
            ready += waiting.values()
            waiting.clear()


def _removals(held: Held, missing: list[DotRange]) -> Iterator[Unit]:
    """The removals that belong to no transaction."""
    for replica, start, stop in missing:
        held.log.check(replica, start)
        for seq in seqs_within(held.log.removals.get(replica, _NOTHING), start, stop):
            if held.log.batch_of(replica, seq) is None:
                yield [dead_killer(held, replica, seq)], []


def _lines(held: Held, missing: list[DotRange]) -> dict[ReplicaId, _Line]:
    """All else that is to be sent, by writer; of transactions, all that ``missing`` touches."""
    seqs: dict[ReplicaId, list[int]] = {}
    batches: dict[ReplicaId, dict[int, Batch]] = {}
    for replica, start, stop in missing:
        held.log.check(replica, start)
        live, log = held.live.get(replica, {}), held.log.kills.get(replica, {})
        removals = held.log.removals.get(replica, _NOTHING)
        dead = [seq for seq in seqs_within(log, start, stop) if seq not in live and seq not in removals]
        together = held.log.batches.get(replica)
        if together:
            dead = [seq for seq in dead if held.log.batch_of(replica, seq) is None]
            touched = {batch[0]: batch for batch in together if batch[0] < stop and start < batch[1]}
            batches.setdefault(replica, {}).update(touched)
        seqs.setdefault(replica, []).extend(dead)
    lines = {replica: _Line(replica, some, batches.get(replica, {})) for replica, some in seqs.items()}
    return {replica: line for replica, line in lines.items() if line.seqs}


def _owed(held: Held, lines: dict[ReplicaId, _Line]) -> Counter[Dot]:
    """By how many events of other writers in ``lines`` each dot was killed."""
    owed: Counter[Dot] = Counter()
    if len(lines) < 2:
        return owed
    for replica, line in lines.items():
        log = held.log.kills.get(replica, {})
        seqs = [seq for seq in line.all_dots() if seq in log] if line.batches else line.seqs
        others = lines.keys() - {replica}
        owed.update([dot for seq in seqs for dot in log[seq] if dot[0] in others])
    return owed


def _released(unit: Unit, owed: Counter[Dot], waiting: dict[Dot, ReplicaId]) -> Iterator[ReplicaId]:
    """The writers whose next unit had to wait for this one to be sent. They may have to wait for another still."""
    for event in unit[0]:
        for dot in event.kills:
            if dot in owed:
                owed[dot] -= 1
                if not owed[dot]:
                    del owed[dot]
                    if dot in waiting:
                        yield waiting.pop(dot)


def live_event(held: Held, replica: ReplicaId, seq: int) -> Event | None:
    """The event of a live entry, with its kills; None if it has died."""
    held.log.check(replica, seq)
    event = held.live.get(replica, {}).get(seq)
    kills = held.log.kills.get(replica, {}).get(seq)
    return event._replace(kills=kills) if event is not None and kills else event


def dead_killer(held: Held, replica: ReplicaId, seq: int) -> Event:
    """An event that is not live and killed something."""
    held.log.check(replica, seq)
    obj = b"" if seq in held.log.removals.get(replica, ()) else REPLACED
    return Event(replica, seq, obj, b"", None, held.log.kills[replica][seq])


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
