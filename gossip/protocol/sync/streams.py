"""The streams that are open: a bounded number, one for each member, closed when they make no progress."""

from dataclasses import dataclass
from typing import Final

from crdts import Delta
from crdts.embedding import Joining

from .. import notices
from ..dissemination.push import Pusher
from ..effects import Close, OpenStream
from ..errors import Fenced, MalformedMessage, RemoteError
from ..fence import is_fenced
from ..identity import NOBODY, Address, NodeId
from ..membership.membership import Members
from ..membership.peers import Peer
from ..output import Output
from ..wire.messages import Chunk, Introduce
from ..wire.seal import SALT_BYTES
from .exchanges import Exchanges
from .reconciling import Difference
from .session import Session, Taken, WholeState

FAILURE_PAUSE: Final = 0.1
"""Seconds after a failed stream until another one is opened to the member."""
FAILURE_DOUBLINGS: Final = 7
"""How often that pause doubles at most: once for each further stream in a row that failed and brought nothing."""
WHOLE_PAUSE: Final = 1.0
"""Seconds between the first two exchanges of whole states because events found no room. The pause doubles then."""
WHOLE_PAUSE_MAX: Final = 60.0
"""Seconds of the longest such pause."""
GOODBYE_WAIT: Final = 2.0
"""Seconds after a stream broke until that is reported as a failure: the member's goodbye may arrive meanwhile."""


@dataclass(slots=True)
class _Stream:
    session: Session
    address: Address
    progress: float
    """When bytes last went either way."""
    member: NodeId | None
    """The member we opened it to, or the one that introduced itself."""
    opened_by_us: bool
    member_epoch: int = 0
    """The epoch of the member on the other side; 0 if it is not known yet."""
    writing: bool = False
    """Something written is not yet with the system: the next piece waits for it."""
    news: bool = False
    """It brought something new."""

    def moved(self, now: float) -> None:
        """Bytes went either way; a stranger gets no more time for them until it has introduced itself."""
        if self.member is not None:
            self.progress = now


class Streams:
    """Opens, feeds and closes sessions."""

    def __init__(self, output: Output, members: Members, pusher: Pusher) -> None:
        self._out = output
        self._members = members
        self._pusher = pusher
        self._streams: dict[int, _Stream] = {}
        self._exchanges = Exchanges()
        self._opened = self._accepted = 0
        self._refused = 0
        self._next_whole = 0.0
        self._whole_pause = WHOLE_PAUSE
        self._broken: dict[NodeId, float] = {}
        """Members whose stream has just broken, and when that is reported as a failure if they are still present."""
        self.has_news = False
        """A stream brought something new since this was last reset: other members should be told."""
        self.finished_with: list[Peer] = []
        """Members whose streams finished since this was last emptied: compare with them again."""

    def is_open(self, peer: Peer) -> bool:
        return any(stream.member == peer.node_id for stream in self._streams.values())

    def next_conn(self) -> int:
        """A number for a stream that was accepted: odd, as those that we open are even."""
        self._accepted += 1
        return 2 * self._accepted - 1

    def succeed(self, former: "Streams") -> None:
        """Number streams behind those of another, which has none open any more."""
        self._opened, self._accepted = former._opened, former._accepted

    def open(self, now: float, peer: Peer, *, whole: bool = False) -> None:
        """Start a catch-up with a member, unless one is under way or too many streams are open."""
        if self.is_open(peer) or not self._is_due(now, peer) or not self._has_room(now):
            return
        self._opened += 1
        conn = 2 * self._opened
        stream = self._streams[conn] = self._new(now, peer.address, peer.node_id, whole=whole)
        stream.member_epoch = peer.epoch
        self._out.emit(OpenStream(conn, peer.address))

    @staticmethod
    def _is_due(now: float, peer: Peer) -> bool:
        """True if no stream to this member has failed lately, or the pause after that is over."""
        if not peer.streams_failed:
            return True
        doublings: int = min(peer.streams_failed - 1, FAILURE_DOUBLINGS)
        return now >= peer.stream_failed_at + FAILURE_PAUSE * (1 << doublings)

    def _has_room(self, now: float) -> bool:
        """True if one more stream may be open. Strangers that have not introduced themselves make way for it."""
        if len(self._streams) < self._out.config.max_streams:
            return True
        for conn, stream in self._streams.items():
            if stream.member is None:
                self._fail(now, conn, stream)
                return True
        return False

    def pull(self, now: float, peer: Peer) -> bool:
        """Take up a member's offer; False if another is being taken up: everybody offers much the same.

        In the pause after a stream to the member has failed, no stream is opened: the member may open one itself.
        """
        if any(stream.opened_by_us for stream in self._streams.values()):
            return False
        self.open(now, peer)
        return True

    def _new(self, now: float, address: Address, member: NodeId | None, *, whole: bool = False) -> _Stream:
        out = self._out
        ours = member is not None
        whole = whole or self._lacks_room(now)
        salt = out.rng.randbytes(SALT_BYTES)
        session = Session(
            out.identity,
            out.config,
            out.replica.store,
            out.seal,
            salt,
            opened_by_us=ours,
            whole=whole,
            exchanges=self._exchanges,
        )
        return _Stream(session, address, now, member, ours)

    def _lacks_room(self, now: float) -> bool:
        """True if events were refused for want of room since the last call: a whole state needs less room.

        If states do not help, because an attacker makes up what is refused, this is True ever more rarely.
        """
        refused = self._out.kernel.room.refused
        if refused == self._refused:
            return False
        if now < self._next_whole:
            return False
        is_first = now >= self._next_whole + WHOLE_PAUSE_MAX
        self._whole_pause = WHOLE_PAUSE if is_first else min(2 * self._whole_pause, WHOLE_PAUSE_MAX)
        self._refused, self._next_whole = refused, now + self._whole_pause
        return True

    def opened(self, now: float, conn: int, address: Address) -> None:
        """The driver connected a stream we asked for, or accepted one."""
        stream = self._streams.get(conn)
        if stream is None:
            given_up = conn % 2 == 0  # ours, and it took too long to connect
            if given_up or not self._has_room(now):
                self._out.emit(Close(conn))
                return
            stream = self._streams[conn] = self._new(now, address, None)
        stream.moved(now)
        self._out.counts["streams_opened"] += 1
        self._produce(conn, stream)

    def writable(self, now: float, conn: int) -> None:
        """Everything written so far is with the system: produce the next piece."""
        stream = self._streams.get(conn)
        if stream is not None:
            stream.moved(now)
            stream.writing = False
            self._produce(conn, stream)

    def _produce(self, conn: int, stream: _Stream) -> None:
        if stream.writing:
            return
        data = stream.session.next_bytes()
        if data is not None:
            stream.writing = True
            self._out.counts["stream_bytes_sent"] += len(data)
            self._out.write_data(conn, data)
        self._close_if_finished(conn, stream)

    def received(self, now: float, conn: int, data: bytes) -> None:
        stream = self._streams.get(conn)
        if stream is None:
            return
        stream.moved(now)
        self._out.counts["stream_bytes_received"] += len(data)
        try:
            for frame in stream.session.receive(data):
                self._on_frame(now, conn, stream, frame)
                if conn not in self._streams:
                    return
        except RemoteError as error:
            self._out.reject(now, error, stream.address)
            self._fail(now, conn, stream, is_sound=False)
            return
        self._produce(conn, stream)

    def _on_frame(self, now: float, conn: int, stream: _Stream, frame: Taken) -> None:
        match frame:
            case Introduce():
                self._on_introduction(conn, stream, frame)
            case Chunk(delta):
                before = self._out.kernel.processed
                self._pusher.absorbed(now, self._out.merge(now, delta, stream.member or NOBODY))
                if self._out.kernel.processed > before:
                    stream.news = True
                    self._out.notify(notices.DATA_RECEIVED)
            case WholeState(delta, prepared):
                self._on_state(now, stream, delta, prepared)
            case Difference(delta):
                self._on_state(now, stream, delta)
            case _:
                pass

    def _on_state(self, now: float, stream: _Stream, state: Delta, prepared: Joining | None = None) -> None:
        """Join a whole state, or the difference to one if nothing was ``prepared``."""
        if not (state or state.prekilled) or not self._out.join(now, state, stream.member or NOBODY, prepared):
            return
        stream.news = True
        if prepared is None:
            self._out.counts["differences_joined"] += 1
            self._out.notify(notices.DIFFERENCE_JOINED, entries=len(state.events))
        else:
            self._out.counts["states_joined"] += 1
            self._out.notify(notices.STATE_JOINED, entries=len(state.events))
        self._out.notify(notices.DATA_RECEIVED)

    def _on_introduction(self, conn: int, stream: _Stream, frame: Introduce) -> None:
        if frame.node_id == self._out.identity.node_id:
            raise MalformedMessage("a stream to ourselves")
        if is_fenced(self._out.kernel, frame.node_id):
            raise Fenced("a stream of a node that was retired")
        stream.member_epoch = max(stream.member_epoch, frame.epoch)
        if stream.opened_by_us:
            return
        for other_conn, other in list(self._streams.items()):
            if other is not stream and other.member == frame.node_id:
                # Both sides opened one at the same time, or the other's was lost: the lower id's own stays.
                loser = conn if other.opened_by_us and self._out.identity.node_id < frame.node_id else other_conn
                self._abandon(loser)
        stream.member = frame.node_id

    def _close_if_finished(self, conn: int, stream: _Stream) -> None:
        if stream.session.finished and conn in self._streams:
            del self._streams[conn]
            stream.session.close()
            self._out.emit(Close(conn))
            peer = self._members.find(stream.member or NOBODY)
            if peer is not None:
                peer.streams_failed = peer.offers = 0
                peer.next_offer = 0.0
                self.finished_with.append(peer)
            self.has_news = self.has_news or stream.news
            self._out.notify(notices.STREAM_FINISHED, member=peer.name if peer else None)

    def closed(self, now: float, conn: int) -> None:
        """The other side closed the stream, it broke, or it could not be connected.

        That is reported as a failure some time later, unless the member has left by then.
        """
        stream = self._streams.get(conn)
        if stream is not None:
            peer = self._give_up(now, conn, stream, is_open=False)
            if peer is None:
                self._tell_failure(stream, None)
            else:
                self._broken.setdefault(peer.node_id, now + GOODBYE_WAIT)

    def _fail(self, now: float, conn: int, stream: _Stream, *, is_sound: bool = True) -> None:
        self._tell_failure(stream, self._give_up(now, conn, stream, is_sound=is_sound))

    def _give_up(
        self, now: float, conn: int, stream: _Stream, *, is_open: bool = True, is_sound: bool = True
    ) -> Peer | None:
        """Count a stream that failed; returns the member on its other side, None if that is not known."""
        if is_sound:
            stream.session.keep_exchange(now)
        self._abandon(conn, is_open=is_open)
        self._out.counts["streams_failed"] += 1
        self.has_news = self.has_news or stream.news
        peer = self._members.find(stream.member or NOBODY)
        if peer is not None:
            # A stream that brought something counts as a first failure: the pause grows for those that bring nothing.
            peer.streams_failed = 1 if stream.news else peer.streams_failed + 1
            peer.stream_failed_at = now
        return peer

    def _tell_failure(self, stream: _Stream | None, peer: Peer | None) -> None:
        if self._members.has_left:
            return  # streams end as this node does
        reason = "stranger" if stream is not None and stream.member is None else "member"
        self._out.notify(notices.STREAM_FAILED, reason=reason, member=peer.name if peer else None)

    def _abandon(self, conn: int, *, is_open: bool = True) -> None:
        """Let go at once of all that a stream holds."""
        self._streams.pop(conn).session.close()
        self._out.abandon(conn, is_open=is_open)

    def drop(self, member: NodeId | None = None) -> None:
        """Close every stream, or those with one member, who is no member any more."""
        for conn, stream in list(self._streams.items()):
            if member is None or stream.member == member:
                self._fail(stream.progress, conn, stream)

    def drop_former(self, peer: Peer) -> None:
        """Let go of streams to an earlier life of a member. They do not count as failures of its present life."""
        for conn, stream in list(self._streams.items()):
            if stream.member == peer.node_id and stream.member_epoch < peer.epoch:
                self._out.counts["streams_failed"] += 1
                self.has_news = self.has_news or stream.news
                self._abandon(conn)

    def deadline(self) -> float:
        told = min(self._broken.values(), default=float("inf"))
        if not self._streams:
            return min(told, self._exchanges.deadline())
        oldest = min(stream.progress for stream in self._streams.values())
        return min(told, oldest + self._out.config.stream_timeout, self._exchanges.deadline())

    def tick(self, now: float) -> None:
        """Give up streams that have not moved for `stream_timeout`, and reconciliations that were held too long.

        Report the streams that broke `GOODBYE_WAIT` ago.
        """
        self._exchanges.tick(now)
        for member in [member for member, due in self._broken.items() if now >= due]:
            del self._broken[member]
            peer = self._members.find(member)
            if peer is not None and peer.is_present:
                self._tell_failure(None, peer)
        for conn, stream in list(self._streams.items()):
            if now >= stream.progress + self._out.config.stream_timeout:
                self._fail(now, conn, stream)
