"""One stream between two nodes: greeting, introduction, and a catch-up in both directions.

After the greetings (which make the keys) everything is sealed frames. Each side introduces itself and sends its
context; each answers with what the other lacks, as chunks that are applied as they come, or as a state that is joined
when it is whole; and says when it is done. Where the log does not reach back and the other side has much of the state
already, the two reconcile instead (`reconciling.py`). Frames are produced one at a time, when the transport has room.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Final, TypeAlias

from crdts import Context, DecodeError, Delta, LogTrimmed
from crdts.embedding import PART_EVENTS, RECONCILIATION_VERSION, Joining, Store, event_bytes, packed

from ..config import Config
from ..errors import MalformedMessage, Oversized
from ..identity import Identity
from ..wire.codec import EXCHANGE_BYTES, decode_frame, encode_frame
from ..wire.messages import (
    AskReconcile,
    CanReconcile,
    Chunk,
    Declined,
    Done,
    Frame,
    HeadPart,
    Introduce,
    Reconcile,
    Reconciliation,
    StateEnd,
    StatePart,
    WholeContext,
)
from ..wire.seal import GREETING_BYTES, FrameSeal, Seal
from .exchanges import Exchanges
from .heads import Head, head_frames
from .reconciling import Difference, Reconciling

LENGTH_BYTES: Final = 4
FIRST_FRAME_BYTES: Final = 1024
"""Largest frame accepted before the other side has shown that it holds our key."""


@dataclass(frozen=True, slots=True)
class WholeState:
    """A state whose parts have all come."""

    delta: Delta
    prepared: Joining
    """The entries of the state, prepared for the join as they came."""


Taken: TypeAlias = Frame | WholeState | Difference


class Session:
    """The protocol of one stream, bytes in and bytes out."""

    def __init__(
        self,
        identity: Identity,
        config: Config,
        store: Store,
        seal: Seal,
        salt: bytes,
        *,
        opened_by_us: bool,
        whole: bool,
        exchanges: Exchanges | None = None,
    ) -> None:
        """``exchanges``: reconciliations that broke off with earlier streams."""
        self._identity = identity
        self._config = config
        self._store = store
        self._kernel = store.kernel
        self._seal = seal
        self._salt = salt
        self._opened_by_us = opened_by_us
        self._frames: FrameSeal | None = None
        self._buffer = bytearray()
        self._first = self._opening()
        self._outgoing: Iterator[Frame] | None = self._first
        self._greeted = False
        self._known: Context | None = None
        self._sends_state = False
        name = salt[:EXCHANGE_BYTES]
        self._exchanges = exchanges if exchanges is not None else Exchanges()
        self._reconciling = Reconciling(store, config, self._exchanges, name, opened_by_us=opened_by_us)
        self._state: Joining | None = None
        self._state_bytes = 0
        self._head = Head()
        self._is_closed = False
        self.whole = whole
        """Exchange whole states."""
        self.peer: Introduce | None = None
        self.sent_done = False
        self.received_done = False

    @property
    def finished(self) -> bool:
        return self.sent_done and self.received_done

    def close(self) -> None:
        """Let go at once of all that the stream holds.

        The frames to come and the session refer to each other, and Python may look for such cycles an hour later only.
        """
        self._is_closed = True
        self._outgoing = None
        self._first = iter(())
        self._reconciling.exchange = None
        self._buffer.clear()
        self._state, self._head = None, Head()

    # ---- outgoing

    def next_bytes(self) -> bytes | None:
        """The next thing to write, or None while there is nothing."""
        if not self._greeted:
            self._greeted = True
            return self._seal.greeting(self._salt)
        if self._frames is None or self._is_closed:
            return None
        frame = next(self._outgoing or iter(()), None)
        if frame is None:
            return None
        if isinstance(frame, Done):
            self.sent_done = True
        sealed = self._frames.seal(encode_frame(frame))
        return len(sealed).to_bytes(LENGTH_BYTES, "big") + sealed

    def _opening(self) -> Iterator[Frame]:
        me = self._identity
        yield Introduce(me.node_id, me.name, me.epoch, self.whole)
        yield CanReconcile(RECONCILIATION_VERSION)
        context = self._kernel.exported_context().copy()
        yield from head_frames(context, (), self._config.stream_chunk_bytes, lambda part: WholeContext(_context(part)))

    def _catch_up(self, peer: Introduce, known: Context, *, plainly: bool = False) -> Iterator[Frame]:
        """All that the other side lacks. ``plainly`` means without reconciling, as one side has declined that."""
        yield from self._first
        if not (self.whole or self._kernel.prefers_state(known)):
            try:
                for delta in self._kernel.deltas_since(known, self._config.stream_chunk_bytes):
                    yield Chunk(delta)
                yield Done()
                return
            except LogTrimmed:  # while we were sending
                pass
        if not plainly and self._reconciling.is_worth_it(peer, known):
            yield self._reconciling.first(peer)
        else:
            yield from self._whole_state()

    def _whole_state(self) -> Iterator[Frame]:
        self._sends_state = True
        size = self._config.stream_chunk_bytes
        snapshot = self._kernel.snapshot()
        for part in packed(snapshot.events(), size, PART_EVENTS):
            yield StatePart(part)
        yield from head_frames(snapshot.context, snapshot.prekilled, size, StateEnd)
        yield Done()

    # ---- incoming

    def receive(self, data: bytes) -> list[Taken]:
        """Take bytes; return what is complete now: frames, a `WholeState` in place of its parts, and a `Difference` in
        place of the messages of a reconciliation.

        Raises a `RemoteError` for anything out of place: the stream is then of no more use.
        """
        self._buffer += data
        if self._frames is None:
            if len(self._buffer) < GREETING_BYTES:
                return []
            greeting = bytes(self._buffer[:GREETING_BYTES])
            del self._buffer[:GREETING_BYTES]
            self._frames = self._seal.frames(greeting, self._salt, opened_by_us=self._opened_by_us)
        frames: list[Taken] = []
        while (sealed := self._next_sealed()) is not None:
            frame = decode_frame(self._frames.open(sealed))
            taken = self._take(frame) if frame is not None else None
            if taken is not None:
                frames.append(taken)
        return frames

    def _next_sealed(self) -> bytes | None:
        if len(self._buffer) < LENGTH_BYTES:
            return None
        size = int.from_bytes(self._buffer[:LENGTH_BYTES], "big")
        limit = FIRST_FRAME_BYTES if self.peer is None else self._config.max_frame_bytes
        if size > limit:
            raise Oversized(f"a frame of {size} bytes, {limit} allowed")
        end = LENGTH_BYTES + size
        if len(self._buffer) < end:
            return None
        sealed = bytes(self._buffer[LENGTH_BYTES:end])
        del self._buffer[:end]
        return sealed

    def _take(self, frame: Frame) -> Taken | None:
        """Keep what concerns this stream only; return what the engine must act on."""
        if (self.peer is None) != isinstance(frame, Introduce):
            raise MalformedMessage("a stream begins with one introduction")
        if isinstance(frame, Reconciliation):
            return self._take_reconciling(frame)
        match frame:
            case Introduce():
                self.peer = frame
                self.whole = self.whole or frame.whole
            case WholeContext():
                self._on_context(frame)
            case Done():
                self.received_done = True
            case HeadPart() | StatePart() | StateEnd():
                return self._take_part(frame)
        return frame

    def _on_context(self, frame: WholeContext) -> None:
        if self._known is not None:
            raise MalformedMessage("a stream carries one context each way")
        self._known, _ = self._head.completed(frame.context)
        if self.peer is not None:
            self._outgoing = self._catch_up(self.peer, self._known)

    def _take_part(self, frame: HeadPart | StatePart | StateEnd) -> WholeState | None:
        match frame:
            case HeadPart():
                self._head.keep(frame.delta)
            case StatePart():
                self._keep(frame.delta)
            case StateEnd():
                return self._assemble(frame.delta)
        return None

    # ---- reconciling

    def _take_reconciling(self, frame: Reconciliation) -> Difference | None:
        if isinstance(frame, CanReconcile):
            self._reconciling.peer_can = frame.version == RECONCILIATION_VERSION
            return None
        if self.peer is None or self._known is None:
            raise MalformedMessage("a reconciliation before the contexts are known")
        match frame:
            case AskReconcile():
                self._on_asked(self.peer)
            case Declined():
                instead = self._reconciling.declined(frame.name)
                self._say([instead] if instead else self._catch_up(self.peer, self._known, plainly=True))
            case Reconcile() if self._sends_state:
                self._say([Declined(frame.name)], then_go_on=True)
            case Reconcile():
                self._on_reconcile(self.peer, self._known, frame)
        return self._reconciling.take_difference()

    def _on_asked(self, peer: Introduce) -> None:
        if not self._opened_by_us:
            raise MalformedMessage("the side that opened the stream begins a reconciliation")
        if self._sends_state or self._reconciling.is_too_large:
            self._say([Declined(b"")], then_go_on=True)
        elif self._reconciling.exchange is None:
            self._say([self._reconciling.first(peer)])

    def _on_reconcile(self, peer: Introduce, known: Context, frame: Reconcile) -> None:
        began = self._reconciling.exchange is not None
        answer = self._reconciling.receive(peer, frame)
        if isinstance(answer, Declined):
            if began:
                self._say(chain([answer], self._catch_up(peer, known, plainly=True)))
            else:
                self._say([answer], then_go_on=True)
            return
        answers = [answer] if answer is not None else []
        if not self._reconciling.over:
            self._say(answers)
        elif self.whole and self._reconciling.found_nothing:
            self._say(chain(answers, self._whole_state()))
        else:
            self._say([*answers, *([] if self.sent_done else [Done()])])

    def _say(self, frames: Iterable[Frame], *, then_go_on: bool = False) -> None:
        """Send these frames next, behind the opening; drop the frames that were to come unless ``then_go_on``."""
        rest = self._outgoing if then_go_on and self._outgoing is not None else ()
        self._outgoing = chain(self._first, frames, rest)

    def keep_exchange(self, now: float) -> None:
        """The stream broke: leave a reconciliation that is not over to the next stream."""
        self._reconciling.keep(now, self.peer)

    def _keep(self, part: Delta) -> None:
        self._state_bytes += sum(map(event_bytes, part.events))
        if self._state_bytes > self._config.max_state_bytes:
            raise Oversized(f"a state of more than {self._config.max_state_bytes} bytes")
        if self._state is None:
            self._state = Joining(self._kernel)
        try:
            self._state.take(part.events)
        except DecodeError as error:
            raise MalformedMessage(str(error)) from None
        self._store.observe(part.events)

    def _assemble(self, end: Delta) -> WholeState:
        state, self._state, self._state_bytes = self._state or Joining(self._kernel), None, 0
        try:
            context, prekilled = self._head.completed(_context(end), end.prekilled)
            state.check(context, prekilled)
        except DecodeError as error:
            raise MalformedMessage(str(error)) from None
        return WholeState(Delta(tuple(state.events()), (), context, tuple(prekilled)), state)


def _context(head: Delta) -> Context:
    return head.context or Context()
