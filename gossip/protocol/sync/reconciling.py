"""The part of a stream that reconciles: the two sides find out what differs, and exchange just that.

A reconciliation takes the place of a whole state where the receiver has much of the state already. The side that opened
the stream begins; the other side may ask it to. From then on both take turns. Each side joins what it lacks in one
piece, as a state, when it knows all of it. If the stream breaks before, the next stream goes on where this one was. A
peer declines, and gets a state, if it does not know how to reconcile, is sending a state already, or has forgotten the
reconciliation.
"""

from dataclasses import dataclass
from typing import Final

from crdts import Context, DecodeError, Delta, Dot, Event, OutOfStep, Reconciliation
from crdts.embedding import MIN_MESSAGE_BYTES, Store

from ..config import Config
from ..errors import MalformedMessage
from ..wire.messages import AskReconcile, Declined, Frame, Introduce, Reconcile
from .exchanges import Exchange, Exchanges
from .heads import head_bytes

MESSAGE_MOST: Final = 1 << 20
"""The most bytes of one message; every peer accepts such a frame. A larger context goes with a state."""
FEW: Final = 1024
"""So many writers and pre-killed dots together take less than `MESSAGE_MOST` for certain."""


@dataclass(frozen=True, slots=True)
class Difference:
    """All that the peer had and we had not, to be joined and saved as a state."""

    delta: Delta


class Reconciling:
    """The reconciliation on one stream, if there is one."""

    def __init__(self, store: Store, config: Config, exchanges: Exchanges, name: bytes, *, opened_by_us: bool) -> None:
        """``name`` is given to a reconciliation that this stream begins."""
        self._store = store
        self._config = config
        self._exchanges = exchanges
        self._name = name
        self._opened_by_us = opened_by_us
        self._begun_anew = False
        self.peer_can = False
        """True if the other side knows how to reconcile."""
        self.exchange: Exchange | None = None

    @property
    def over(self) -> bool:
        """True if a reconciliation is over: both sides have said all."""
        return self.exchange is not None and self.exchange.talk.over

    @property
    def found_nothing(self) -> bool:
        """True if a reconciliation is over and the same dots live on both sides: then only contents can differ."""
        return self.exchange is not None and self.over and not self.exchange.talk.differs

    def is_worth_it(self, peer: Introduce, known: Context) -> bool:
        """True if a reconciliation with a peer that has processed ``known`` is possible and cheaper than a state."""
        able = self.peer_can and not self._exchanges.is_spoiled(peer) and not self.is_too_large
        return able and self._store.kernel.spares_by_reconciling(known)

    @property
    def is_too_large(self) -> bool:
        """True if our context and pre-killed dots, which our first message carries, may not fit one message."""
        kernel = self._store.kernel
        if kernel.context.writers + kernel.room.taken < FEW:
            return False
        early = [(replica, seq) for replica, seqs in kernel.prekilled.items() for seq in seqs]
        return head_bytes(kernel.context, early) > MESSAGE_MOST

    def first(self, peer: Introduce) -> Frame:
        """The frame that begins a reconciliation, asks the peer to, or carries on that of an earlier stream."""
        if not self._opened_by_us:
            return AskReconcile()
        kept = self._exchanges.take(peer)
        if kept is not None and not kept.talk.over:
            self.exchange = kept
            return Reconcile(kept.name, kept.talk.resume())
        return self._anew()

    def _anew(self) -> Frame:
        self._begun_anew = True
        self.exchange = self._made(self._name)
        return Reconcile(self._name, self.exchange.talk.start())

    def _made(self, name: bytes) -> Exchange:
        size = max(MIN_MESSAGE_BYTES, self._config.stream_chunk_bytes)

        def join(theirs: Context, gone: list[Dot], events: list[Event], early: list[Dot], seen: Context) -> bool:
            exchange.difference = self._store.kernel.difference(theirs, gone, events, early, seen)
            return True

        talk = Reconciliation(self._store, max_bytes=size, max_held_bytes=self._config.max_state_bytes, join=join)
        exchange = Exchange(name, talk)
        return exchange

    def declined(self, name: bytes) -> Frame | None:
        """The peer declines. Returns the frame that begins anew if the peer only forgot an earlier reconciliation."""
        if self.exchange is None:
            return None  # it was asked to begin
        if name != self.exchange.name or self.exchange.talk.finished:
            raise MalformedMessage("a reconciliation is declined that is none, or is over")
        was_resumed, self.exchange = self.exchange.resumed and not self._begun_anew, None
        return self._anew() if was_resumed else None

    def receive(self, peer: Introduce, frame: Reconcile) -> Frame | None:
        """Take a message and return the answer, if there is one; `take_difference` then has what is to be joined.

        Raises `MalformedMessage` for what breaks the rules: then this life of the peer gets whole states only.
        """
        try:
            exchange = self._exchange_of(peer, frame.name)
            answer = exchange.talk.receive(frame.message)
        except OutOfStep as error:
            if self.exchange is None:  # a reconciliation of an earlier stream, which is not held here
                return Declined(frame.name)
            self._spoil(peer)
            raise MalformedMessage(str(error)) from None
        except DecodeError as error:
            self._spoil(peer)
            raise MalformedMessage(str(error)) from None
        self.exchange = exchange
        if answer is None:
            return None
        if len(answer) > MESSAGE_MOST:
            self.exchange = None
            return Declined(frame.name)
        return Reconcile(frame.name, answer)

    def _exchange_of(self, peer: Introduce, name: bytes) -> Exchange:
        if self.exchange is not None:
            if name != self.exchange.name:
                raise DecodeError("a message of another reconciliation")
            return self.exchange
        kept = self._exchanges.take(peer)
        if kept is not None and kept.name == name:
            self.exchange = kept
            return kept
        return self._made(name)

    def _spoil(self, peer: Introduce) -> None:
        self.exchange = None
        self._exchanges.spoil(peer)

    def take_difference(self) -> Difference | None:
        """What is to be joined now; None if there is nothing, or it was taken already."""
        if self.exchange is None or self.exchange.difference is None:
            return None
        delta, self.exchange.difference = self.exchange.difference, None
        return Difference(delta)

    def keep(self, now: float, peer: Introduce | None) -> None:
        """The stream broke: leave a reconciliation that is not over to the next stream."""
        exchange, self.exchange = self.exchange, None
        if exchange is not None and peer is not None and not exchange.talk.over:
            self._exchanges.keep(now, peer, exchange)
