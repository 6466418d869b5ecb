"""Anti-entropy: digests find what any two members do not share, and what is missing is sent, both ways.

A digest is a hash of the causal context and a fingerprint of the live entries. Equal: nothing more to say. Unequal:
the contexts are exchanged, in pages by replica id where they are large, and each side sends what the other lacks, in
a few datagrams or over a stream.
"""

from collections.abc import Callable, Iterator
from typing import Final

from crdts import Context, Event, LogTrimmed
from crdts.embedding import ContextMark, DotRange

from .. import notices
from ..dissemination.strategy import payload_budget
from ..membership.answers import affords
from ..membership.membership import Members
from ..membership.peers import STRANGE_ROUNDS, Peer
from ..membership.sampling import sample_targets
from ..output import Output
from ..wire.codec import HASH_BYTES
from ..wire.messages import Busy, ContextPage, Digest, Message, Offer, Push, Same
from .streams import Streams

STRANGE_ROUNDS_MAX: Final = 1024
"""The rounds double with every exchange that did not help, up to this."""
OFFERS: Final = 3
"""Streams offered to a member in a row before we open one ourselves."""
OFFER_INTERVAL: Final = 0.1
"""Seconds between two offers to a member at least: the pages of one context are one reason."""
OFFER_DOUBLINGS: Final = 7
"""The interval doubles with every stream to the member that failed, so often at most."""
HASHES_KEPT: Final = 64
RANGE_BYTES: Final = 24
"""Upper bound of one range of a context, encoded, its replica id apart."""
RANGE_LEAST: Final = 2
"""Lower bound of the same."""
WRITER_BYTES: Final = 8
"""Lower bound of an event's size in a delta that has no other event of its writer."""
URGENT_INTERVAL: Final = 0.01
"""Seconds between two rounds of urgent digests at least."""


class AntiEntropy:
    """Sends digests and answers them, and sees that whatever is missing travels."""

    def __init__(
        self,
        output: Output,
        members: Members,
        streams: Streams,
        on_its_way: Callable[[float, Peer], Iterator[Event]] = lambda *_: iter(()),
    ) -> None:
        """``on_its_way``: what a member will most likely be pushed yet, so that it need not be sent again."""
        self._out = output
        self._members = members
        self._streams = streams
        self._on_its_way = on_its_way
        self._urgent: float | None = None
        self._last_urgent = float("-inf")
        self._awaited = 0
        self._next_ask = float("inf")
        self._sent: dict[bytes, int] = {}
        self._hashed: tuple[int, bytes] | None = None
        self._mark = ContextMark(HASH_BYTES)
        self._told: tuple[int, Context] | None = None

    # ---- asking

    def deadline(self) -> float:
        urgent = self._urgent if self._urgent is not None else float("inf")
        return min(urgent, self._next_ask)

    def tick(self, now: float) -> None:
        if self._urgent is not None and now >= self._urgent:
            self._urgent, self._last_urgent = None, now
            for peer in sample_targets(self._members.targets(), self._out.config.fanout, self._out.rng):
                self._send_digest(peer)
        if now >= self._next_ask:
            self._ask_the_late(now)

    def hurry(self, now: float) -> None:
        """Send digests to a few members at once: there is news that a push could not carry."""
        if self._urgent is None:
            self._urgent = max(now, self._last_urgent + URGENT_INTERVAL)

    def await_acks(self, now: float, seq: int) -> None:
        """Somebody waits until members have our writes up to ``seq``; 0: nobody waits any more."""
        self._awaited = seq
        self._next_ask = now if seq else float("inf")

    def _ask_the_late(self, now: float) -> None:
        self._next_ask = now + self._out.config.ack_interval
        for peer in self._members.alive():
            if peer.acked < self._awaited:
                self._send_digest(peer)

    def compare_with(self, peer: Peer) -> None:
        """Send a digest. Every probe does, and whoever was just met gets one out of turn."""
        self._send_digest(peer)

    def _send_digest(self, peer: Peer) -> None:
        self._out.counts["digests_sent"] += 1
        mark = self._hash()
        self._sent[mark] = self._own_seq()
        if len(self._sent) > HASHES_KEPT:
            del self._sent[next(iter(self._sent))]
        self._out.send_data(peer.address, [Digest(mark, self._out.kernel.fingerprint)])

    def _hash(self) -> bytes:
        """The hash of our context. It is kept until the context changes, as it may cover thousands of writers."""
        processed = self._out.kernel.processed
        if self._hashed is None or self._hashed[0] != processed:
            self._hashed = processed, self._mark.of(self._context())
        return self._hashed[1]

    def _context(self) -> Context:
        """The context that we tell members. It is kept until more is processed: callers read it at once, or copy it."""
        kernel = self._out.kernel
        if self._told is None or self._told[0] != kernel.processed:
            self._told = kernel.processed, kernel.exported_context()
        return self._told[1]

    def _own_seq(self) -> int:
        return self._out.kernel.context.last(self._out.kernel.replica_id)

    # ---- answering

    def handle(self, now: float, peer: Peer, message: Message) -> bool:
        """Take a digest, or an answer to one, of a member at its proven address; return False if it is neither."""
        match message:
            case Digest():
                self._on_digest(now, peer, message)
            case Same():
                self.acked(peer, self._sent.get(message.context_hash, 0))
            case ContextPage():
                self._on_page(now, peer, message)
            case Offer():
                if not self._streams.pull(now, peer):
                    self._out.send(peer.address, [Busy()])
            case Busy():
                peer.offers = 0
            case _:
                return False
        return True

    def _on_digest(self, now: float, peer: Peer, digest: Digest) -> None:
        mark = self._hash()
        if digest.context_hash != mark:
            self._send_context(now, peer, self._context())
            return
        peer.offers = 0
        self.acked(peer, self._own_seq())
        self._out.send_data(peer.address, [Same(mark)])
        if digest.fingerprint == self._out.kernel.fingerprint:
            peer.strange_rounds, peer.strange_limit = 0, STRANGE_ROUNDS
        else:
            self._on_strange_content(now, peer)

    def _on_strange_content(self, now: float, peer: Peer) -> None:
        peer.strange_rounds += 1
        if peer.strange_rounds >= peer.strange_limit:
            peer.strange_rounds = 0
            peer.strange_limit = min(2 * peer.strange_limit, STRANGE_ROUNDS_MAX)
            self._out.counts["fingerprint_mismatches"] += 1
            self._out.notify(notices.FINGERPRINT_MISMATCHED, member=peer.name)
            self._streams.open(now, peer, whole=True)

    def acked(self, peer: Peer, seq: int) -> None:
        """A member has all of our writes up to ``seq``, and on its disk."""
        if seq > peer.acked:
            peer.acked = seq
            self._out.notify(notices.MEMBER_PROGRESSED, member=peer.name, seq=seq)

    def _send_context(
        self, now: float, peer: Peer, context: Context, first: str = "", stop: str = "", *, answer: bool = True
    ) -> None:
        """Send what we have of the replicas from ``first`` to ``stop``, or offer a stream if that is too much."""
        most = self._out.config.max_context_pages
        pages = context_pages(context, payload_budget(self._out), first, stop, answer=answer, most=most)
        if pages is None:
            self._offer(now, peer)
            return
        datagrams = [self._out.sealed([page]) for page in pages]
        if max(map(len, datagrams)) > self._out.config.datagram_bytes:  # one replica's dots in very many pieces
            self._offer(now, peer)
            return
        if not affords(now, peer, sum(map(len, datagrams)), self._out.config):
            self._offer(now, peer)
            return
        for datagram in datagrams:
            self._out.send_sealed([peer.address], datagram)

    def _offer(self, now: float, peer: Peer) -> None:
        """Offer a stream. The other opens it, one at a time: if we did, a newcomer would get all from everybody."""
        if now < peer.next_offer:
            return
        peer.next_offer = now + OFFER_INTERVAL * 2 ** min(peer.streams_failed, OFFER_DOUBLINGS)
        peer.offers += 1
        if peer.offers <= OFFERS:
            self._out.send_data(peer.address, [Offer()])
        else:  # it may not be able to reach us
            self._streams.open(now, peer)

    def _on_page(self, now: float, peer: Peer, page: ContextPage) -> None:
        mine = self._context()
        me = self._out.kernel.replica_id
        if page.first <= me and (not page.stop or me < page.stop):
            if page.context.last(me) > mine.last(me) and me not in self._out.kernel.limits:
                self._out.contested = f"{peer.name} has more of what this process wrote than it wrote"
            self.acked(peer, page.context.prefix(me))
        if self._is_far_behind(mine, page) and not self._is_cut_off(peer):
            self._offer(now, peer)
            return
        part = mine.within(page.first, page.stop)
        if page.answer and not part.covers(page.context):
            self._send_context(now, peer, part, page.first, page.stop, answer=False)
        if not page.context.covers(part):
            known = mine.outside(page.first, page.stop)  # the page says nothing of these: leave them out
            known.update(page.context)
            self._count_on_push(now, peer, known)
            if not known.covers(part):
                self._bring_up_to_date(now, peer, known)

    def _count_on_push(self, now: float, peer: Peer, known: Context) -> None:
        """Leave out what is on its way, by itself: what replaces others, or is of a transaction, may be waited for."""
        for event in self._on_its_way(now, peer):
            if not event.kills and event.batch is None:
                known.add(*event.dot)

    def _is_far_behind(self, mine: Context, page: ContextPage) -> bool:
        """True if a member lacks so many writers that a few datagrams cannot hold their events.

        Only the numbers of writers are compared: else an empty page would make us walk our whole context.
        """
        lacking = mine.writers_within(page.first, page.stop) - page.context.writers
        return lacking * WRITER_BYTES > self._out.config.catchup_datagrams * payload_budget(self._out)

    @staticmethod
    def _is_cut_off(peer: Peer) -> bool:
        """True if streams do not reach a member."""
        return peer.offers > OFFERS and peer.streams_failed > 0

    def _bring_up_to_date(self, now: float, peer: Peer, known: Context) -> None:
        """Send what ``known`` lacks if it fits a few datagrams; else offer a stream."""
        if self._streams.is_open(peer):
            return
        events = not self._out.kernel.prefers_state(known)
        fits = events and not self._takes_too_much(known)
        datagrams, complete = self._afforded(now, peer, known) if fits else ([], False)
        if not complete:
            self._offer(now, peer)
            if not self._is_cut_off(peer):
                return
            # Any prefix is valid, so a member that streams do not reach still gets ahead, a few datagrams a round.
            if events and not fits:
                datagrams, _ = self._afforded(now, peer, known)
        for datagram in datagrams:
            self._out.send_sealed([peer.address], datagram)

    def _takes_too_much(self, known: Context) -> bool:
        """True if what ``known`` lacks cannot fit into a few datagrams. None is made to find that out."""
        budget = self._out.config.catchup_datagrams * payload_budget(self._out)
        return self._out.kernel.takes_more_than(known, budget)

    def _afforded(self, now: float, peer: Peer, known: Context) -> tuple[list[bytes], bool]:
        """The first datagrams of what ``known`` lacks, if the member may be sent so much now.

        Returns whether they are all of it, too.
        """
        datagrams, complete = self._catch_up_datagrams(known)
        if not affords(now, peer, sum(map(len, datagrams)), self._out.config):
            return [], False
        return datagrams, complete

    def _catch_up_datagrams(self, known: Context) -> tuple[list[bytes], bool]:
        """The first datagrams of what ``known`` lacks, and whether they are all of it."""
        datagrams: list[bytes] = []
        try:
            for delta in self._out.kernel.deltas_since(known, payload_budget(self._out)):
                datagram = self._out.sealed([Push(delta, 0, 0)])
                if len(datagrams) == self._out.config.catchup_datagrams:
                    return datagrams, False
                if len(datagram) > self._out.config.datagram_bytes:
                    return datagrams, False
                datagrams.append(datagram)
        except LogTrimmed:
            return datagrams, False
        return datagrams, True


def context_pages(
    context: Context, max_bytes: int, first: str = "", stop: str = "", *, answer: bool = True, most: int
) -> list[ContextPage] | None:
    """``context`` cut by replica id into pages of one datagram that cover every id there can be in the bounds.

    Returns None if that takes more than ``most`` pages, or the dots of one writer certainly do not fit one page. With
    very many writers or ranges, that is known before a page is made of them.
    """
    if context.writers > most * max(1, max_bytes // (RANGE_BYTES + 1)):
        return None
    pages: list[ContextPage] = []
    ranges: list[DotRange] = []
    size = 0
    current = ""
    for replica, start, end in context.ranges():
        cost = RANGE_BYTES + (len(replica.encode()) if replica != current else 0)
        if size + cost > max_bytes and replica != current and size:
            if len(pages) + 1 == most:
                return None
            pages.append(ContextPage(first, replica, Context.of(ranges), answer))
            first, ranges, size = replica, [], 0
        current = replica
        ranges.append((replica, start, end))
        size += cost
        if RANGE_LEAST * len(ranges) > max_bytes:
            return None
    return [*pages, ContextPage(first, stop, Context.of(ranges), answer)]
