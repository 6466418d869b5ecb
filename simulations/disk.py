"""A simulated disk: an append-only log of what a node has saved, and what is left of it after a crash.

A record is one `Persist` batch. It is safe once the disk has had its time; a crash before may leave all of it, none of
it, or the first bytes of it, which its checksum gives away.
"""

import random
from collections import deque
from collections.abc import Callable
from hashlib import blake2b
from typing import Final

import cbor2

from crdts import Replica, decode, encode
from gossip.protocol import Persist
from gossip.storage.records import deltas_of

from .queue import EventQueue

SUM_BYTES: Final = 8
LENGTH_BYTES: Final = 4
LOST: Final = "lost"
TORN: Final = "torn"
KEPT: Final = "kept"
TAILS: Final = (LOST, TORN, KEPT)
"""What a crash leaves of records that are not safe yet: nothing, the bytes up to some point, or all of them."""


class Disk:
    """What one data directory holds. Survives the node that wrote it."""

    def __init__(self, queue: EventQueue, *, delay: float = 0.0, survives: bool = True) -> None:
        """``delay`` is in seconds a save. One that does not survive forgets everything when its node stops."""
        self._queue = queue
        self.delay = self._usual_delay = delay
        self.survives = survives
        self._slower: list[list[float]] = []
        self.epoch = 0
        """Of the last start; made safe before the node says a word."""
        self.full = False
        self.records: list[Persist] = []
        """Those that are safe, in order."""
        self._waiting: deque[tuple[Persist, Callable[[Persist], None]]] = deque()
        self._saving = 0
        """Of those that wait, how many the disk is busy with."""
        self._life = 0

    @property
    def waiting(self) -> int:
        """Records that are not safe yet."""
        return len(self._waiting)

    def save(self, batch: Persist, then: Callable[[Persist], None]) -> None:
        """Make a batch safe and call ``then``, after those before it; at once if the disk takes no time.

        What comes while the disk is busy is saved together once it is not, as the node's own disk does it.
        """
        self._waiting.append((batch, then))
        self._start()

    def make_room(self) -> None:
        """The disk is not full any more: what waited goes on."""
        self.full = False
        self._start()

    def slow_down(self, delay: float) -> Callable[[], None]:
        """Take at least so many seconds a save for a while; returns a function that ends just this."""
        slower = [delay]
        self._slower.append(slower)
        self.delay = self._slowest()

        def end() -> None:
            self._slower = [each for each in self._slower if each is not slower]
            self.delay = self._slowest()

        return end

    def _slowest(self) -> float:
        return max(self._usual_delay, *(each[0] for each in self._slower), 0.0)

    def _start(self) -> None:
        if self._saving or self.full or not self._waiting:
            return
        self._saving = len(self._waiting)
        if self.delay:
            self._queue.at(self._queue.now + self.delay, self._finish, self._life)
        else:
            self._finish(self._life)

    def _finish(self, life: int) -> None:
        if life != self._life:
            return
        for _ in range(self._saving):
            batch, then = self._waiting.popleft()
            if self.survives:
                self.records.append(batch)
            then(batch)
        self._saving = 0
        self._start()

    # ---- crashes

    def crash(self, tail: str, rng: random.Random) -> None:
        """The node is gone: of what was not safe yet, ``tail`` says what is left."""
        unsafe = [batch for batch, _ in self._waiting]
        self._waiting.clear()
        self._saving = 0
        self._life += 1
        if self.survives and not self.full and tail != LOST:
            log = b"".join(map(encode_record, unsafe))
            if tail == TORN:
                log = log[: rng.randrange(len(log) + 1)]
            self.records += decode_log(log)

    def wipe(self) -> None:
        """Everything is gone but the identity, which was kept elsewhere."""
        self.records.clear()

    def copy(self) -> "Disk":
        """Another data directory with the same content, as a careless administrator makes it."""
        other = Disk(self._queue, delay=self._usual_delay, survives=self.survives)
        other.epoch, other.records = self.epoch, list(self.records)
        return other

    def read_into(self, replica: Replica) -> None:
        """Read everything into an empty replica."""
        for batch in self.records:
            for delta in deltas_of(batch):
                replica.store.merge(delta)


def encode_record(batch: Persist) -> bytes:
    """Length, checksum, content."""
    body = cbor2.dumps([batch.token, *map(encode, deltas_of(batch))])
    return len(body).to_bytes(LENGTH_BYTES, "big") + blake2b(body, digest_size=SUM_BYTES).digest() + body


def decode_log(log: bytes) -> list[Persist]:
    """The whole records at the beginning of a log; whatever follows the first that is not whole is no record."""
    found = []
    at = 0
    while (start := at + LENGTH_BYTES + SUM_BYTES) <= len(log):
        end = start + int.from_bytes(log[at : at + LENGTH_BYTES], "big")
        body = log[start:end]
        if end > len(log) or blake2b(body, digest_size=SUM_BYTES).digest() != log[start - SUM_BYTES : start]:
            break
        token, *deltas = cbor2.loads(body)
        decoded = [decode(delta) for delta in deltas]
        changes = [delta for delta in decoded if not delta.is_state]
        states = tuple(delta for delta in decoded if delta.is_state)
        events = tuple(event for delta in changes for event in delta.events)
        runs = changes[0].runs if changes else ()
        found.append(Persist(token, events, runs, states))
        at = end
    return found
