"""The part of a stream that reconciles: the two sides find out what differs, and exchange just that.

It takes the place of a whole state where the receiver has much of it already. Who opened the stream begins; the other
side may ask for it. Both take turns from then on, and each joins what it lacks at once when it knows all of it: in one
piece, as a state. Should the stream break before, the next one goes on where this one was. A peer that does not know
how, or is sending a state already, or has forgotten, declines, and gets a state.
"""

from dataclasses import dataclass
from typing import Final

from crdts import Context, DecodeError, Delta, Dot, Event, OutOfStep, Reconciliation
from crdts.reconcile import MIN_MESSAGE_BYTES
from crdts.store import Store

from .config import Config
from .errors import MalformedMessage
from .exchanges import Exchange, Exchanges
from .heads import head_bytes
from .messages import AskReconcile, Declined, Frame, Introduce, Reconcile

MESSAGE_MOST: Final = 1 << 20
"""Bytes of one message at most: a context that is larger goes with a state. Every peer accepts frames of that size."""
FEW: Final = 1024
"""Writers and pre-killed dots that take less than that for certain."""


@dataclass(frozen=True, slots=True)
class Difference:
    """All that a peer had and we had not, to be joined as a state is, and saved as one."""

    delta: Delta


class Reconciling:
    """What one stream says of it."""

    def __init__(self, store: Store, config: Config, exchanges: Exchanges, name: bytes, *, opened_by_us: bool) -> None:
        """``name``: what to call one that is begun here."""
        self._store = store
        self._config = config
        self._exchanges = exchanges
        self._name = name
        self._opened_by_us = opened_by_us
        self._begun_anew = False
        self.peer_can = False
        """Whether the other side knows how."""
        self.exchange: Exchange | None = None

    @property
    def over(self) -> bool:
        """Whether both sides have said all."""
        return self.exchange is not None and self.exchange.talk.over

    @property
    def found_nothing(self) -> bool:
        """Whether it is over and the same dots live on both sides: then only contents can differ."""
        return self.exchange is not None and self.over and not self.exchange.talk.differs

    def is_worth_it(self, peer: Introduce, known: Context) -> bool:
        """Whether to reconcile, rather than to send a state to a peer that knows so much already."""
        able = self.peer_can and not self._exchanges.is_spoiled(peer) and not self.is_too_large
        return able and self._store.kernel.spares_by_reconciling(known)

    @property
    def is_too_large(self) -> bool:
        """True if what each side must say first, of its context and pre-killed dots, may not fit one message."""
        kernel = self._store.kernel
        if kernel.context.writers + kernel.room.taken < FEW:
            return False
        early = [(replica, seq) for replica, seqs in kernel.prekilled.items() for seq in seqs]
        return head_bytes(kernel.context, early) > MESSAGE_MOST

    def first(self, peer: Introduce) -> Frame:
        """What to begin with, or to go on with where an earlier stream broke."""
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
        """The other side will not, or has forgotten what was to be carried on; return what to begin with instead."""
        if self.exchange is None:
            return None  # it was asked to begin
        if name != self.exchange.name or self.exchange.talk.finished:
            raise MalformedMessage("a reconciliation is declined that is none, or is over")
        was_resumed, self.exchange = self.exchange.resumed and not self._begun_anew, None
        return self._anew() if was_resumed else None

    def receive(self, peer: Introduce, frame: Reconcile) -> Frame | None:
        """Take a message, and return the answer, if there is one; what is to be joined is in `take_difference`.

        Raises `MalformedMessage` for what breaks the rules: with this peer there will be no other one.
        """
        try:
            exchange = self._exchange_of(peer, frame.name)
            answer = exchange.talk.receive(frame.message)
        except OutOfStep as error:
            if self.exchange is None:  # an earlier stream's, of which we know nothing
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
        """What is to be joined now, once."""
        if self.exchange is None or self.exchange.difference is None:
            return None
        delta, self.exchange.difference = self.exchange.difference, None
        return Difference(delta)

    def keep(self, now: float, peer: Introduce | None) -> None:
        """The stream broke: leave what has arrived to the next one."""
        exchange, self.exchange = self.exchange, None
        if exchange is not None and peer is not None and not exchange.talk.over:
            self._exchanges.keep(now, peer, exchange)
