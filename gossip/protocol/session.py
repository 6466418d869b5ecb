"""One stream between two nodes: greeting, introduction, and a catch-up in both directions.

After the greetings (which make the keys) everything is sealed frames. Each side introduces itself and sends its
context; each answers with what the other lacks, as chunks that are applied as they come, or as a state that is joined
when it is whole; and says when it is done. Frames are produced one at a time, when the transport has room.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from crdts import Context, DecodeError, Delta, Event, LogTrimmed
from crdts.codec import event_bytes
from crdts.decoding import check_state
from crdts.delta import state_delta
from crdts.kernel import Kernel
from crdts.packing import pack

from .config import Config
from .errors import MalformedMessage, Oversized
from .heads import Head, head_frames
from .identity import Identity
from .messages import Chunk, Done, Frame, HeadPart, Introduce, StateEnd, StatePart, WholeContext
from .seal import GREETING_BYTES, FrameSeal, Seal
from .wire import decode_frame, encode_frame

LENGTH_BYTES: Final = 4
FIRST_FRAME_BYTES: Final = 1024
"""Largest frame accepted before the other side has shown that it holds our key."""


class Session:
    """The protocol of one stream, bytes in and bytes out."""

    def __init__(
        self,
        identity: Identity,
        config: Config,
        kernel: Kernel,
        seal: Seal,
        salt: bytes,
        *,
        opened_by_us: bool,
        whole: bool,
    ) -> None:
        self._identity = identity
        self._config = config
        self._kernel = kernel
        self._seal = seal
        self._salt = salt
        self._opened_by_us = opened_by_us
        self._frames: FrameSeal | None = None
        self._buffer = bytearray()
        self._outgoing: Iterator[Frame] | None = None
        self._greeted = False
        self._asked = False
        self._state: list[Event] = []
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
        """Let go of all that is held for the stream, at once: the frames to come and the session hold each other, and
        Python's search for such circles may be an hour away."""
        self._is_closed = True
        self._outgoing = None
        self._buffer.clear()
        self._state, self._head = [], Head()

    # ---- outgoing

    def next_bytes(self) -> bytes | None:
        """The next thing to write, or None while there is nothing."""
        if not self._greeted:
            self._greeted = True
            return self._seal.greeting(self._salt)
        if self._frames is None or self._is_closed:
            return None
        if self._outgoing is None:
            self._outgoing = self._opening()
        frame = next(self._outgoing, None)
        if frame is None:
            return None
        if isinstance(frame, Done):
            self.sent_done = True
        sealed = self._frames.seal(encode_frame(frame))
        return len(sealed).to_bytes(LENGTH_BYTES, "big") + sealed

    def _opening(self) -> Iterator[Frame]:
        me = self._identity
        yield Introduce(me.node_id, me.name, me.epoch, self.whole)
        context = self._kernel.exported_context().copy()
        yield from head_frames(context, (), self._config.stream_chunk_bytes, lambda part: WholeContext(_context(part)))

    def _catch_up(self, opening: Iterator[Frame], known: Context) -> Iterator[Frame]:
        yield from opening
        if self.whole or self._kernel.prefers_state(known):
            yield from self._whole_state()
        else:
            try:
                for delta in self._kernel.deltas_since(known, self._config.stream_chunk_bytes):
                    yield Chunk(delta)
            except LogTrimmed:  # while we were sending
                yield from self._whole_state()
        yield Done()

    def _whole_state(self) -> Iterator[Frame]:
        state = self._kernel.state()
        for part in pack(state.events, self._config.stream_chunk_bytes):
            yield StatePart(part)
        yield from head_frames(_context(state), state.prekilled, self._config.stream_chunk_bytes, StateEnd)

    # ---- incoming

    def receive(self, data: bytes) -> list[Frame]:
        """Take bytes; return the frames now complete, a state only as the `StateEnd` that completes it.

        Raises a `RemoteError` for anything out of place: the stream is then of no more use.
        """
        self._buffer += data
        if self._frames is None:
            if len(self._buffer) < GREETING_BYTES:
                return []
            greeting = bytes(self._buffer[:GREETING_BYTES])
            del self._buffer[:GREETING_BYTES]
            self._frames = self._seal.frames(greeting, self._salt, opened_by_us=self._opened_by_us)
        frames = []
        while (sealed := self._next_sealed()) is not None:
            frame = decode_frame(self._frames.open(sealed))
            if frame is not None:
                frame = self._take(frame)
            if frame is not None:
                frames.append(frame)
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

    def _take(self, frame: Frame) -> Frame | None:
        """Keep what concerns this stream only; return what the engine must act on."""
        if (self.peer is None) != isinstance(frame, Introduce):
            raise MalformedMessage("a stream begins with one introduction")
        match frame:
            case Introduce():
                self.peer = frame
                self.whole = self.whole or frame.whole
            case WholeContext():
                if self._asked:
                    raise MalformedMessage("a stream carries one context each way")
                self._asked = True
                known, _ = self._head.completed(frame.context)
                self._outgoing = self._catch_up(self._outgoing or self._opening(), known)
            case HeadPart():
                self._head.keep(frame.delta)
                return None
            case StatePart():
                self._keep(frame.delta)
                return None
            case StateEnd():
                return StateEnd(self._assemble(frame.delta))
            case Done():
                self.received_done = True
            case Chunk():
                pass
        return frame

    def _keep(self, part: Delta) -> None:
        self._state_bytes += sum(map(event_bytes, part.events))
        if self._state_bytes > self._config.max_state_bytes:
            raise Oversized(f"a state of more than {self._config.max_state_bytes} bytes")
        self._state.extend(part.events)

    def _assemble(self, end: Delta) -> Delta:
        events, self._state, self._state_bytes = self._state, [], 0
        try:
            context, prekilled = self._head.completed(_context(end), end.prekilled)
            return checked_state(events, state_delta((), context, prekilled))
        except DecodeError as error:
            raise MalformedMessage(str(error)) from None


def _context(head: Delta) -> Context:
    return head.context or Context()


def checked_state(events: list[Event], end: Delta) -> Delta:
    """The whole of a state that came in parts; raises `DecodeError` if the parts do not make one."""
    context = end.context
    if context is None:
        raise DecodeError("a state without a context")
    state = state_delta(events, context, end.prekilled)
    try:
        check_state(state)
    except ValueError as error:
        raise DecodeError(str(error)) from None
    if any(one.dot == other.dot for one, other in pairwise(state.events)):
        raise DecodeError("an entry of a state came twice")
    return state
