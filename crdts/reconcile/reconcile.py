"""Reconciliation: two replicas find out what differs and exchange just that, however far apart their kill logs are.

Both sides tell what they have processed. Of the dots that only one side has processed, it sends the live entries. Of
those that both have, they compare which ones live, as hashes over ranges of bitmaps that are split where they differ
(range-based set reconciliation: Meyer, 2022): a dot alive on one side alone is one whose killer the other has
processed. So a hundred differences among a hundred thousand entries cost a few kilobytes.

Nothing is applied before all of it is known: each side then joins the other's state, as it was when it was compared, at
once. An exchange that is interrupted has therefore changed nothing, or all on one side; it can be resumed by sending
the last message again, or begun anew.

Messages take turns. A message that asks nothing and leaves nothing to come is *quiet*; who has received one knows all.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator
from hashlib import blake2b
from itertools import pairwise
from typing import Any, Final, TypeAlias

import cbor2

from ..codec import encode, encode_context, event_bytes
from ..context import Context, Dot, seqs_within
from ..decoding import decode_context
from ..delta import Delta, Event
from ..errors import DecodeError, InvalidValue, LocalError, OutOfStep
from ..limits import MAX_DELTA_BYTES
from ..livemap import CHUNK_BITS, CHUNK_DOTS, ChunkKey, Chunks, dots_in, masked
from ..packing import packed
from ..schema import closed_writers
from ..store import Store
from .messages import (
    CHUNK_BYTES,
    DOT_BYTES,
    HASH_BYTES,
    HEAD_BYTES,
    LOWEST,
    VERSION,
    Body,
    Bound,
    Names,
    Range,
    flat_dots,
    parse,
    range_bytes,
)

JoinDifference: TypeAlias = Callable[[Context, list[Dot], list[Event], list[Dot], Context], bool]
"""What `Store.join_difference` does."""

FANOUT: Final = 8
"""Ranges that one range is split into: more means fewer rounds and more hashes of what is equal."""
LEAF_CHUNKS: Final = 2
"""Chunks that are sent as they are, rather than split further."""
MIN_MESSAGE_BYTES: Final = 512
MESSAGE_ENTRIES: Final = 1024
"""The most entries in one message: a few milliseconds of work for either side."""
ASKED_LEAST: Final = 256
"""The other side may always name this many ranges and chunks in all. Naming more is no comparison, but an attack."""
ASKED_EACH: Final = 4
"""The other side may name this many more for each chunk of dots that this side has processed."""


class Reconciliation:
    """One side of an exchange; make one with `Replica.reconcile` on each.

    One side sends `start`, then each gives what it receives to `receive` and sends what that returns, until it returns
    None. The replicas may go on changing meanwhile.
    """

    def __init__(
        self,
        store: Store,
        *,
        max_bytes: int = 65_536,
        max_held_bytes: int = MAX_DELTA_BYTES,
        join: JoinDifference | None = None,
    ) -> None:
        """``max_bytes`` bounds a message; one entry, or one context, that is larger travels alone.

        ``max_held_bytes`` bounds the entries that are held until all of the difference is known. ``join`` is called
        with the difference in place of `Store.join_difference`.
        """
        if max_bytes < MIN_MESSAGE_BYTES:
            raise InvalidValue(f"messages of {max_bytes} bytes are too small; {MIN_MESSAGE_BYTES} at least")
        self._store = store
        self._max_bytes = max_bytes
        self._max_held_bytes = max_held_bytes
        self._joins = join or store.join_difference
        self._step = -1
        self._salt = b""
        self._sent: bytes | None = None
        self._mine: Context | None = None
        self._theirs: Context | None = None
        self._raw: Chunks = {}
        self._chunks: Chunks = {}
        self._keys: list[ChunkKey] = []
        self._questions: deque[Range] = deque()
        self._gone_there: deque[tuple[ChunkKey, int]] = deque()
        self._outgoing: Iterator[Delta] = iter(())
        self._next_out: bytes | None = None
        self._gone: Chunks = {}
        self._entries: list[Event] = []
        self._asks_left = 0
        self._prekilled: list[Dot] = []
        self._known_prekilled: list[Dot] = []
        self._heard = False
        """Our last message was quiet."""
        self.held_bytes = 0
        """Bytes of the entries that are held until all of the difference is known."""
        self.differs = False
        """True if this side has seen that the two sides hold different entries, or have processed different dots."""
        self.over = False
        """True if both sides have said all."""
        self.finished = False
        """True if this replica has joined all that the other had. It stays False, at the end too, if the other has more
        of a writer than that one's retirement, closed or under way, lets this replica accept. Then nothing has changed
        here; the other may have joined all the same. Begin anew when more is known of the retirement."""

    def start(self) -> bytes:
        """The first message."""
        if self._step >= 0:
            raise LocalError("this exchange has begun; make another Reconciliation, or resume it")
        self._step = 0
        hint = encode_context(self._store.kernel.context)
        self._sent = cbor2.dumps([VERSION, 0, hint])
        self._salt = _salt_of(self._sent)
        return self._sent

    def resume(self) -> bytes:
        """The last message again, for a peer that may not have received it."""
        if self._sent is None:
            raise LocalError("there is nothing to send again: nothing was sent yet, or all has been said")
        return self._sent

    def receive(self, message: bytes) -> bytes | None:
        """Take a message; return the answer, or None when there is none to give.

        Raises `DecodeError` for what is no message, and `OutOfStep` for one that is neither the next nor the last one
        again. Neither changes anything.
        """
        self._store.check_settled("reconciling")
        row = parse(message)
        step = row[1]
        if step == self._step - 1:
            return self._sent
        if step != self._step + 1:
            raise OutOfStep(f"message {step} of a reconciliation, {self._step + 1} was awaited")
        if step == 0:
            self._salt = _salt_of(message)
            self._prepare_answer(decode_context(row[2]))
            return self._reply(step)
        body = Body(row, first=step <= 2)
        self._check(body, step)
        if step == 1:
            self._take_snapshot()
        if body.context is not None:
            self._compare_with(body.context, body.prekilled, ask=step == 1)
        self._take(body)
        if body.quiet and not self._questions:  # ours have all been answered, and the other has none
            if self._heard and not (self._gone_there or self._has_outgoing()):
                self._step, self._sent = step + 1, None
            else:
                self._reply(step)
            self.over = self._heard
            self._join()  # last: should a subscriber raise, `resume` still has the answer
            return self._sent
        return self._reply(step)

    def _check(self, body: "Body", step: int) -> None:
        """Raise `DecodeError` for what cannot be of the state that it is said to be of; before anything is kept."""
        if step > 2 and not (body.quiet or body.ranges or body.gone or body.entries):
            raise DecodeError("a message that says nothing, and that there is more")
        if body.asks > self._asks_left:
            raise DecodeError("more ranges and chunks than there can be")
        size = sum(map(event_bytes, body.entries))
        if self.held_bytes + size > self._max_held_bytes:
            raise DecodeError(f"entries of more than {self._max_held_bytes} bytes")
        theirs = (body.context if body.context is not None else self._theirs) or Context()
        last = self._entries[-1].dot if self._entries else ("", 0)
        for event in body.entries:
            if event.dot <= last or event.dot not in theirs:
                raise DecodeError("an entry out of order, or outside of the context that it came with")
            last = event.dot
        if any(dot in theirs for dot in body.prekilled):
            raise DecodeError("a pre-killed dot is processed")
        if any(theirs.prefix(writer) < seq for writer, seq in closed_writers(body.entries).items()):
            raise DecodeError("a writer is closed of which not all is known")
        self.held_bytes += size
        self._asks_left -= body.asks

    # ---- what both sides know

    def _take_snapshot(self) -> None:
        kernel = self._store.kernel
        self._mine = kernel.context.copy()
        self._raw = dict(kernel.live_map.chunks)
        self._known_prekilled = [(r, seq) for r in sorted(kernel.prekilled) for seq in sorted(kernel.prekilled[r])]
        chunks = sum((stop - start >> CHUNK_BITS) + 2 for _, start, stop in self._mine.ranges())
        self._asks_left = ASKED_LEAST + ASKED_EACH * chunks

    def _prepare_answer(self, hint: Context) -> None:
        """What the other certainly lacks can be made ready at once; the comparison waits for its snapshot."""
        self._take_snapshot()
        self._send_entries_beyond(hint)

    def _compare_with(self, theirs: Context, prekilled: list[Dot], *, ask: bool) -> None:
        self._theirs = theirs
        self._prekilled = prekilled
        mine = self._mine or Context()
        self._chunks = masked(self._raw, mine.missing_from(theirs))
        self._raw = {}
        self._keys = sorted(self._chunks)
        self.differs = mine != theirs
        if ask:
            self._send_entries_beyond(theirs)
            self._questions.extend(self._split(LOWEST, None))

    def _send_entries_beyond(self, theirs: Context) -> None:
        live = self._store.kernel.live
        missing = (self._mine or Context()).missing_from(theirs)
        entries = [
            live[replica][seq]
            for replica, start, stop in missing
            for seq in seqs_within(live.get(replica, {}), start, stop)
        ]
        self._outgoing = packed(entries, self._max_bytes - MIN_MESSAGE_BYTES // 2, MESSAGE_ENTRIES)
        self._next_out = None

    def _has_outgoing(self) -> bool:
        """True if there are entries to send. Encodes those of the next message."""
        if self._next_out is None:
            delta = next(self._outgoing, None)
            self._next_out = encode(delta) if delta is not None else None
        return self._next_out is not None

    # ---- comparing

    def _within(self, first: ChunkKey, stop: Bound) -> list[ChunkKey]:
        end = len(self._keys) if stop is None else bisect_left(self._keys, stop)
        return self._keys[bisect_left(self._keys, first) : end]

    def _split(self, first: ChunkKey, stop: Bound) -> list[Range]:
        """Ranges that together are this one, each with its hash, or whole if there is little in it."""
        keys = self._within(first, stop)
        if len(keys) <= LEAF_CHUNKS:
            return [Range(first, stop, chunks={key: self._chunks[key] for key in keys})]
        share = max(LEAF_CHUNKS, -(-len(keys) // FANOUT))
        bounds: list[Bound] = [first, *keys[share::share], stop]
        return [Range(a, b, self._digest(a, b)) for a, b in pairwise(bounds) if a is not None]

    def _digest(self, first: ChunkKey, stop: Bound) -> bytes:
        digest = blake2b(digest_size=HASH_BYTES, salt=self._salt)
        for replica, number in self._within(first, stop):
            digest.update(b"%b %d " % (replica.encode(), number))
            digest.update(self._chunks[replica, number].to_bytes(CHUNK_DOTS >> 3, "little"))
        return digest.digest()

    def _take(self, body: "Body") -> None:
        for asked in body.ranges:
            if asked.chunks is None:
                if self._digest(asked.first, asked.stop) != asked.digest:
                    self.differs = True
                    self._questions.extend(self._split(asked.first, asked.stop))
            else:
                self._compare_chunks(asked.first, asked.stop, asked.chunks)
        for key, bits in body.gone:
            self._forget(key, bits & self._chunks.get(key, 0))
        self._entries.extend(body.entries)

    def _forget(self, key: ChunkKey, bits: int) -> None:
        """Note that the dots ``bits`` of a chunk live here and not on the other side."""
        if bits:
            self.differs = True
            self._gone[key] = self._gone.get(key, 0) | bits

    def _compare_chunks(self, first: ChunkKey, stop: Bound, theirs: Chunks) -> None:
        for key in sorted({*self._within(first, stop), *theirs}):
            here, there = self._chunks.get(key, 0), theirs.get(key, 0)
            self._forget(key, here & ~there)
            if there & ~here:
                self.differs = True
                self._gone_there.append((key, there & ~here))

    # ---- answering

    def _reply(self, step: int) -> bytes:
        table = Names()
        context, prekilled = b"", []
        size = HEAD_BYTES
        if step <= 1:
            context = encode_context(self._mine or Context())
            prekilled = flat_dots(table, self._known_prekilled)
            size += len(context) + DOT_BYTES * len(self._known_prekilled) + table.size
        ranges: list[Any] = []
        gone: list[Any] = []
        entries = b""
        # The first item of a message is sent whatever its size: an item larger than a message travels alone.
        while self._questions and (
            size + range_bytes(table, self._questions[0]) <= self._max_bytes or not (context or ranges)
        ):
            asked = self._questions.popleft()
            size += range_bytes(table, asked)
            ranges.append(table.range(asked))
        while self._gone_there and (
            size + CHUNK_BYTES + table.needs([self._gone_there[0][0]]) <= self._max_bytes
            or not (context or ranges or gone)
        ):
            key, bits = self._gone_there.popleft()
            size += CHUNK_BYTES + table.needs([key])
            gone += table.chunks([(key, bits)])
        if (
            (size < self._max_bytes or not (context or ranges or gone or prekilled))
            and self._has_outgoing()
            and self._next_out is not None
            and (size + len(self._next_out) <= self._max_bytes or not (context or ranges or gone or prekilled))
        ):
            entries, self._next_out = self._next_out, None
        more = bool(self._questions or self._gone_there or self._has_outgoing())
        # Before the other side's snapshot is known, nothing has been asked: that is no sign that nothing will be.
        more = more or self._theirs is None
        self._heard = not (ranges or more)
        self._step = step + 1
        row = [VERSION, self._step, context, prekilled, ranges, gone, entries, more, table.names]
        self._sent = cbor2.dumps(row)
        return self._sent

    def _join(self) -> None:
        if not self.finished and self._theirs is not None and self._mine is not None:
            gone = [dot for key in sorted(self._gone) for dot in dots_in(key, self._gone[key])]
            self.finished = self._joins(self._theirs, gone, self._entries, self._prekilled, self._mine)


def _salt_of(first: bytes) -> bytes:
    """What the hashes of an exchange are salted with: should two ranges ever seem equal and not be, they will differ in
    the next exchange that begins with another context."""
    return blake2b(first, digest_size=blake2b.SALT_SIZE).digest()
