"""What a simulated file holds: the tables of a node's database, and a write-ahead log that a crash may cut anywhere.

A transaction is some operations and the word that it is whole. In the write-ahead log each of them is a frame behind a
checksum over all frames before it, so that what an earlier attempt has left there is never taken for a later one's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final, TypeAlias

import cbor2

from crdts import ReplicaId
from gossip.storage.rows import Checkpoint, Contents, Rows, Transaction

from ..errors import SimulationError

SUM_BYTES: Final = 8
LENGTH_BYTES: Final = 4


@dataclass(frozen=True, slots=True)
class LogRow:
    """A row of the log is added."""

    number: int
    data: bytes


@dataclass(frozen=True, slots=True)
class PartRow:
    """A row of parts is added, and takes the place of earlier ones if it says so."""

    generation: int
    replica: ReplicaId
    seq: int
    in_place: bool
    data: bytes
    after: int
    """The last row of the log before this transaction: the end of what counts, if what came behind was given up."""


@dataclass(frozen=True, slots=True)
class CheckpointRow:
    """A sweep is over: what it has replaced goes."""

    generation: int
    log_from: int
    head: bytes


@dataclass(frozen=True, slots=True)
class IdentityRow:
    """The node goes on as this one, in its first life."""

    who: int
    """Of which node id, as `Cluster.node_id` has it."""
    name: str
    epoch: int
    life: ReplicaId


@dataclass(frozen=True, slots=True)
class HintsRow:
    """The members to look for at the next start."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Commit:
    """The transaction is whole."""


Operation: TypeAlias = LogRow | PartRow | CheckpointRow | IdentityRow | HintsRow | Commit
_KINDS: Final[dict[str, type[Operation]]] = {
    each.__name__: each for each in (LogRow, PartRow, CheckpointRow, IdentityRow, HintsRow, Commit)
}


def operations_of(
    transaction: Transaction, rows: Rows, number: int, renamed: IdentityRow | None = None
) -> list[Operation]:
    """What `gossip.storage.database` would do; ``number`` is that of the row of the log, ``renamed`` who the node is
    from now on."""
    found: list[Operation] = []
    if rows.log:
        found.append(LogRow(number, rows.log))
    if part := transaction.part:
        found.append(PartRow(part.generation, *part.last, part.in_place, rows.part, number - 1))
    if renamed:
        found.append(renamed)
    if transaction.hints is not None:
        found.append(HintsRow(transaction.hints))
    if finish := transaction.finish:
        found.append(CheckpointRow(finish.generation, finish.log_from, rows.head))
    return found


@dataclass(slots=True)
class Owner:
    """Who writes there, as the next start finds it."""

    who: int = 0
    """Of which node id."""
    name: str = ""
    epoch: int = 0
    """Of the last start."""
    lives: list[ReplicaId] = field(default_factory=list)
    """Replica ids of all lives, the latest last."""
    ended: list[ReplicaId] = field(default_factory=list)
    """Those of them that are over for certain, with all that they wrote saved here."""

    def copy(self) -> "Owner":
        return Owner(self.who, self.name, self.epoch, list(self.lives), list(self.ended))


@dataclass(slots=True)
class Tables:
    """What is safe."""

    log: dict[int, bytes] = field(default_factory=dict)
    """By number."""
    parts: list[PartRow] = field(default_factory=list)
    checkpoint: Checkpoint = field(default_factory=Checkpoint)
    gap: tuple[int, int] | None = None
    """Behind which row of the log, and from which generation on, nothing counts until the replica is written anew."""
    owner: Owner = field(default_factory=Owner)
    hints: bytes = b""
    """The members that the owner knew, for `gossip.storage.hints`."""

    def copy(self) -> "Tables":
        owner = self.owner.copy()
        return Tables(dict(self.log), list(self.parts), self.checkpoint, self.gap, owner, self.hints)

    def apply(self, operations: Sequence[Operation]) -> None:
        """Do all of a transaction."""
        for operation in operations:
            match operation:
                case LogRow(number, data):
                    self.log[number] = data
                case PartRow() as part:
                    self._add_part(part)
                case IdentityRow(who, name, epoch, life):
                    self.owner = Owner(who, name, epoch, [life])
                case HintsRow(data):
                    self.hints = data
                case CheckpointRow(generation, log_from, head):
                    self.parts = [part for part in self.parts if part.generation >= generation]
                    self.log = {number: row for number, row in self.log.items() if number > log_from}
                    self.checkpoint = Checkpoint(generation, log_from, head)
                    self.gap = None

    def _add_part(self, new: PartRow) -> None:
        if new.in_place:
            end = new.replica, new.seq
            self.parts = [p for p in self.parts if (p.replica, p.seq) > end or p.generation >= new.generation]
        else:
            self.gap = self.gap or (new.after, new.generation)
            self.parts = [p for p in self.parts if not self.gap[1] <= p.generation < new.generation]
        self.parts.append(new)

    def forget_behind_gap(self) -> None:
        """Remove what was written behind what was given up, when that was not made good, as each start does."""
        if self.gap is not None:
            log_to, generation = self.gap
            self.log = {number: row for number, row in self.log.items() if number <= log_to}
            self.parts = [part for part in self.parts if part.generation < generation]
            self.gap = None

    def contents(self) -> Contents:
        """All that counts, as a ledger and a replica begin with it. Raises `SimulationError` if rows are missing."""
        found = self.copy()
        found.forget_behind_gap()
        numbers, first = sorted(found.log), self.checkpoint.log_from + 1
        if numbers != [*range(first, first + len(numbers))]:
            raise SimulationError(f"rows of the log behind {first - 1} are missing: there are {numbers}")
        return Contents(
            found.checkpoint,
            [part.data for part in found.parts],
            [found.log[number] for number in numbers],
            numbers[-1] if numbers else first - 1,
            max([part.generation for part in found.parts], default=found.checkpoint.generation),
        )


# ---- the write-ahead log


def encode_frames(operations: Sequence[Operation]) -> bytes:
    """Each with its length and the checksum of the log up to its end."""
    frames, before = [], b""
    for operation in operations:
        fields = [getattr(operation, name) for name in operation.__dataclass_fields__]
        body = cbor2.dumps([type(operation).__name__, *fields])
        before = _sum(before, body)
        frames.append(len(body).to_bytes(LENGTH_BYTES, "big") + before + body)
    return b"".join(frames)


def recover(log: bytes) -> list[Operation]:
    """The whole transactions at the beginning of what a crash has left; whatever follows the first frame that is not
    whole is none."""
    found: list[Operation] = []
    whole = at = 0
    before = b""
    while (start := at + LENGTH_BYTES + SUM_BYTES) <= len(log):
        end = start + int.from_bytes(log[at : at + LENGTH_BYTES], "big")
        body = log[start:end]
        before = _sum(before, body)
        if end > len(log) or before != log[start - SUM_BYTES : start]:
            break
        kind, *fields = cbor2.loads(body)
        found.append(_KINDS[kind](*fields))
        if isinstance(found[-1], Commit):
            whole = len(found)
        at = end
    return found[:whole]


def _sum(before: bytes, body: bytes) -> bytes:
    return blake2b(before + body, digest_size=SUM_BYTES).digest()
