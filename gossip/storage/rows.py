"""What a disk is told to do, as rows with checksums: how they are written, and how they are checked when read.

A row of the log is the deltas of some batches, in order. A row of parts is a delta of live entries. The head of a
checkpoint is a state without entries. Each is encoded canonically (`crdts.encode`) behind a checksum, because a file
that lies about one bit would be spread to everybody as a change.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

import cbor2

from crdts import CrdtError, Delta, Dot, Event, Replica, ReplicaId, decode, encode
from crdts.embedding import RETIRED, Batch, DotRange, events_delta, restored

from ..protocol import Identity, Persist
from .errors import DamagedData

SUM_BYTES: Final = 8
_DELTA_EVENTS: Final = 512
"""Events of one delta of the log, as encoding more at once would keep the event loop from its turn for too long."""
_STEP_EVENTS: Final = 512
"""Events that are encoded in one step at least: about a millisecond. A turn of a busy event loop takes much longer, so
a transaction must not take a turn for each of its deltas, of which there may be as many as events."""
_DELTA_COST: Final = 4
"""Events that take as long to encode as a delta without any."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What the parts on disk are to be read under."""

    generation: int = 0
    """The sweep that it is the result of; 0 while there has been none."""
    log_from: int = 0
    """Rows of the log above this number belong behind it."""
    head: bytes = b""
    """The head of its sweep, as a row; empty while there has been none."""


@dataclass(frozen=True, slots=True)
class Part:
    """Some live entries to be written by a sweep."""

    generation: int
    last: Dot
    """The sweep has passed every dot up to this one."""
    events: tuple[Event, ...]
    in_place: bool
    """Remove what earlier generations have up to there."""


@dataclass(frozen=True, slots=True)
class Finish:
    """The end of a sweep: what earlier generations have left goes, and the log up to ``log_from``."""

    generation: int
    log_from: int
    head: Delta


@dataclass(frozen=True, slots=True)
class Transaction:
    """All of it is written, or nothing."""

    batches: tuple[Persist, ...] = ()
    """For one row of the log; none if there are none."""
    part: Part | None = None
    finish: Finish | None = None
    identity: Identity | None = None
    """Who the node is from now on, if that has changed."""
    hints: bytes | None = None
    """The members to look for at the next start, encoded; None if they have not changed."""

    @property
    def is_plain(self) -> bool:
        """True if the transaction is a row of the log and nothing else."""
        extras = (self.part, self.finish, self.identity, self.hints)
        return bool(self.batches) and all(extra is None for extra in extras)


@dataclass(frozen=True, slots=True)
class Rows:
    """A transaction, encoded."""

    log: bytes = b""
    part: bytes = b""
    head: bytes = b""


@dataclass(slots=True)
class Contents:
    """All that a disk holds of a replica."""

    checkpoint: Checkpoint = field(default_factory=Checkpoint)
    parts: list[bytes] = field(default_factory=list)
    log: list[bytes] = field(default_factory=list)
    """The rows behind the checkpoint, in order."""
    last_row: int = 0
    """The number of the last row that the log ever had."""
    last_generation: int = 0
    """The highest of all parts: that of a sweep that was not finished, if it is above the checkpoint's."""


# ---- there


def rows_of(transaction: Transaction) -> Rows:
    """What to write. Takes some microseconds for each event."""
    encoding = Encoding(transaction)
    for _ in encoding.steps():
        pass
    return encoding.rows


class Encoding:
    """Makes what to write in steps of about a millisecond."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction
        self.rows = Rows()
        """All of it, once the steps are done."""

    def steps(self) -> Iterator[None]:
        """Does the work. Others can have their turn between two steps; most transactions are made in one."""
        log: list[bytes] = []
        cost = 0
        for delta in deltas_of(self._transaction.batches):
            if cost >= _STEP_EVENTS:
                yield
                cost = 0
            log.append(encode(delta))
            cost += _DELTA_COST + len(delta.events)
        part, finish = self._transaction.part, self._transaction.finish
        if part and log:
            yield
        self.rows = Rows(
            _sealed(cbor2.dumps(log)) if log else b"",
            _sealed(encode(events_delta(part.events))) if part else b"",
            _sealed(encode(finish.head)) if finish else b"",
        )


def deltas_of(batches: Iterable[Persist]) -> Iterator[Delta]:
    """What batches hold, as deltas to be merged in order. Events of several go into one, which takes less room."""
    events: list[Event] = []
    for batch in batches:
        if batch.runs:  # some of its own events may count only with them
            yield from _deltas(events, (), _DELTA_EVENTS)
            yield from _deltas(batch.events, batch.runs, len(batch.events))
            events = []
        else:
            events += batch.events
        if batch.states:
            yield from _deltas(events, (), _DELTA_EVENTS)
            yield from batch.states
            events = []
    yield from _deltas(events, (), _DELTA_EVENTS)


def _deltas(events: Iterable[Event], runs: Sequence[DotRange], most: int) -> Iterator[Delta]:
    for part in _unordered(events, most):
        delta = events_delta(part, runs)
        if delta:
            yield delta


def _unordered(events: Iterable[Event], most: int) -> Iterator[Iterable[Event]]:
    """Parts in which order does not matter, of ``most`` events but for transactions, which are never torn apart.

    It does matter where a writer is being retired: what was accepted under one limit may be refused under the limit
    before.
    """
    part: dict[Dot, Event] = {}
    last: tuple[str, Batch | None] | None = None
    for event in events:
        if len(part) >= most and (event.batch is None or (event.replica, event.batch) != last):
            yield part.values()
            part = {}
        part[event.dot] = event
        last = event.replica, event.batch
        if event.obj == RETIRED:
            yield part.values()
            part = {}
    yield part.values()


@dataclass(frozen=True, slots=True)
class Past:
    """The replica ids that a node wrote under before, the latest last."""

    lives: tuple[ReplicaId, ...] = ()
    full: tuple[ReplicaId, ...] = ()
    """Those of them as whom nothing left the machine before it was safe."""
    ended: tuple[ReplicaId, ...] = ()
    """Those of them that are over, with all that they ever wrote in the file."""


def identity_row(identity: Identity, past: Past = Past(), *, is_full: bool) -> dict[str, object]:
    """Who writes, and who it was before. ``is_full``: whether nothing leaves the machine before it is safe."""
    me = identity.replica_id
    return {
        "node_id": identity.node_id,
        "epoch": identity.epoch,
        "name": identity.name,
        "lives": [*past.lives, me],
        "full": [*past.full, *([me] if is_full else [])],
        "ended": [*past.ended],
    }


def _sealed(body: bytes) -> bytes:
    return _sum(body) + body


def _sum(body: bytes) -> bytes:
    return blake2b(body, digest_size=SUM_BYTES).digest()


# ---- and back


def read_into(replica: Replica, contents: Contents) -> None:
    """Merge everything into an empty replica; raises `DamagedData`.

    Nothing is refused for want of room while reading. Pre-killed dots beyond the bounds, which an earlier release may
    have saved, are forgotten at the end.
    """
    kernel = replica.store.kernel
    kernel.room.is_bounded = False
    if contents.checkpoint.head:
        replica.store.merge(restored(read_delta(contents.checkpoint.head), map(read_delta, contents.parts)))
    for row in contents.log:
        for delta in read_log_row(row):
            replica.store.merge(delta)
    kernel.room.is_bounded = True
    kernel.shed_prekilled()


def read_log_row(row: bytes) -> Sequence[Delta]:
    """The deltas of a row of the log; raises `DamagedData`."""
    try:
        found: Iterable[bytes] = cbor2.loads(_opened(row))
        return [decode(delta) for delta in found]
    except (CrdtError, cbor2.CBORDecodeError, TypeError) as error:
        raise DamagedData(f"a row of the log: {error}") from None


def read_delta(row: bytes) -> Delta:
    """A part, or a head; raises `DamagedData`."""
    try:
        return decode(_opened(row))
    except CrdtError as error:
        raise DamagedData(f"a part of the checkpoint: {error}") from None


def check_row(row: bytes) -> None:
    """Raise `DamagedData` unless the row has the checksum that it was written with. Its content is not read."""
    _opened(row)


def _opened(row: bytes) -> bytes:
    body = row[SUM_BYTES:]
    if _sum(body) != row[:SUM_BYTES]:
        raise DamagedData("a row has another checksum than it was written with")
    return body
