"""The split tree: a writer shares all members out among a few relays, and each relay does the same with its share.

There is no tree to keep: each batch of news makes its own, with relays drawn at random. Each edge is confirmed by the
member at its end, and repeated until it is. The share of a relay that is not heard of is taken over by who gave it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from crdts import Delta, Dot, Event
from crdts.embedding import pack

from ..identity import NodeId
from ..membership.membership import Members
from ..membership.peers import Peer
from ..output import Output
from ..wire.codec import RELAY_BYTES
from ..wire.messages import WINDOW, Message, Push, Receipt, Relay, Span
from .flood import Flood
from .links import SILENT_OUTSTANDING, TRIES, Arrivals, Link, RoundTrip, Sent
from .recent import Newcomers
from .ring import divide, everybody_but
from .strategy import Dissemination, payload_budget

TAKE_OVER_AFTER: Final = 2
"""Timeouts without a word of a relay until its share is taken over."""
FLOOD_FANOUT: Final = 4
"""Members that news is flooded to at most: more of them only hear it more often."""
RELAY_DRAWS: Final = 4
"""Draws for a relay that answers, before all are looked at."""
REPEATS_SAVED: Final = 256
"""Datagrams that may be sent again without anything new being sent. Each new one allows `REPEATS_EACH` more, so that
a node that is overloaded does not make it worse."""
REPEATS_EACH: Final = 2
REPAIRED_DOTS: Final = 4096
"""Events that came by repair, or from a writer itself, and not yet by a relay that are remembered: they are still to be
passed on."""
LOSSY: Final = 12
"""From here on receipts are sent twice: too much comes twice, as receipts are lost. See `_note_loss`."""
LOSSY_MAX: Final = 32
LOSSY_STEP: Final = 8
"""What comes twice counts so much, and is made up for by as many that come once: one in nine is tolerated."""


@dataclass(frozen=True, slots=True)
class _Route:
    """What is to be done with news that a relay message brought, once the disk has it."""

    span: Span | None
    sender: Peer | None
    saved: int
    """All of the sender's writes up to this seq are saved then."""


class SplitTree(Dissemination):
    """Reaches each member once over acknowledged edges; floods where the list of members is a partial view."""

    def __init__(self, output: Output, members: Members) -> None:
        super().__init__(output, members)
        self._flood = Flood(output, members, min(output.config.fanout, FLOOD_FANOUT))
        self._links: dict[NodeId, Link] = {}
        self._typical = RoundTrip()
        self._number = 0
        self._due = float("inf")
        self._repeats = REPEATS_SAVED
        self._arrivals: dict[NodeId, Arrivals] = {}
        self._receipts: dict[NodeId, int] = {}
        self._receipts_due = float("inf")
        self._lossy = 0
        self._repaired: dict[Dot, None] = {}
        self._newcomers = Newcomers()
        self._listed: Sequence[Peer] = ()
        self._ring: list[NodeId] = []

    # ---- news

    def spread_time(self) -> float:
        """For as many hops as relays need in a cluster of this size, and that of a context that tells what arrived."""
        if self._members.is_partial:
            return 0.0
        hops, reach, growth = 2, self._out.config.fanout, max(2, self._out.config.fanout)
        while reach < len(self._members.alive()):
            hops, reach = hops + 1, reach * growth
        return hops * (self._typical.mean / 2 + self._out.config.push_interval) if self._typical.mean else 0.0

    def bring(self, now: float, peer: Peer, events: Sequence[Event]) -> None:
        self._newcomers.note(now, peer)
        for delta in pack(events, payload_budget(self._out) - RELAY_BYTES):
            self._bring(now, [peer], delta)

    def _bring(self, now: float, peers: list[Peer], delta: Delta) -> None:
        # Relays may bring it too, with a share that is still to be passed on: the empty span says so.
        me = self._out.identity.node_id
        self._send(now, peers, delta, Span(me, me))

    def originate(self, now: float, events: Sequence[Event]) -> None:
        if self._members.is_partial:
            self._flood.originate(now, events)
            self._take_from_flood()
        else:
            self._share_out_own(now, events)

    def _share_out_own(self, now: float, events: Sequence[Event]) -> None:
        """Send our writes to all. Relays may not know members that we have just met: so those get them from us."""
        newcomers = [peer for peer in self._newcomers.present(now) if self._members.find(peer.node_id) is peer]
        me = self._out.identity.node_id
        for delta in pack(events, payload_budget(self._out) - RELAY_BYTES):
            reached = self._share_out(now, delta, everybody_but(me), me)
            missed = [peer for peer in newcomers if peer not in reached]
            if missed:
                self._bring(now, missed, delta)

    def take(
        self, now: float, message: Message, new: list[Event], peer: Peer | None, sender: NodeId
    ) -> tuple[Sequence[Event], Any]:
        if isinstance(message, Push):
            if message.is_answer or not self._members.is_partial:
                self._remember_repaired(new)
            return self._flood.take(now, message, new, peer, sender)
        if not isinstance(message, Relay):
            return (), None
        is_brought = message.span is not None and message.span.first == message.span.stop
        # What came twice because it was brought is no sign that receipts are lost.
        is_sound = bool(new) or is_brought or any(event.dot in self._repaired for event in message.delta.events)
        saved = self._arrived(now, peer, message, is_sound) if peer is not None else 0
        if is_brought and not self._members.is_partial:
            self._remember_repaired(new)
            events: Sequence[Event] = ()
        else:
            events = self._not_passed_on(message.delta, new) if message.span is not None else ()
        return events, _Route(message.span, peer, saved) if events or saved else None

    def _remember_repaired(self, events: Iterable[Event]) -> None:
        for event in events:
            self._repaired[event.dot] = None
        while len(self._repaired) > REPAIRED_DOTS:
            del self._repaired[next(iter(self._repaired))]

    def _not_passed_on(self, delta: Delta, new: list[Event]) -> Sequence[Event]:
        """What was new, and what a repair brought before: its subtree still waits for that."""
        repaired = self._repaired
        if not repaired:
            return new
        late = [event for event in delta.events if event.dot in repaired]
        for event in late:
            del repaired[event.dot]
        return [*new, *late]

    def pass_on(self, now: float, events: Sequence[Event], route: Any) -> None:
        if not isinstance(route, _Route):
            self._flood.pass_on(now, events, route)
            self._take_from_flood()
            return
        if route.span is not None and events:
            self._cover(now, events, route)
        if route.saved and route.sender is not None:
            self._confirm_saved(now, route.sender, route.saved)

    def _cover(self, now: float, events: Sequence[Event], route: _Route) -> None:
        """Pass on to a span: to all of it, as far as we list them. Else by chance: others list those whom we do not."""
        if self._members.is_partial:
            self._flood.begin(events, route.sender.node_id if route.sender else None)
            self._take_from_flood()
        elif route.span is not None:
            self._share_out_events(now, events, route.span)

    def _take_from_flood(self) -> None:
        self.overflowed, self._flood.overflowed = self.overflowed or self._flood.overflowed, False

    # ---- sharing out

    def _share_out_events(self, now: float, events: Sequence[Event], span: Span) -> None:
        for delta in pack(events, payload_budget(self._out) - RELAY_BYTES):
            self._share_out(now, delta, span, self._out.identity.node_id)

    def _share_out(self, now: float, delta: Delta, span: Span, without: NodeId) -> list[Peer]:
        """Send to all of a span: to some directly, who are returned, to the others by relays among them."""
        leaves: list[Peer] = []
        relays: list[Peer] = []
        for share in divide(self._all_ids(), span, without, self._out.config.fanout):
            peer = self._relay_among(share.ids)
            if peer is not None and len(share.ids) > 1:
                self._send(now, [peer], delta, share.span)
                relays.append(peer)
            elif peer is not None:
                leaves.append(peer)
        if leaves:
            self._send(now, leaves, delta, None)
        return leaves + relays

    def _all_ids(self) -> list[NodeId]:
        alive = self._members.alive()
        if alive is not self._listed or len(alive) != len(self._ring):
            self._listed, self._ring = alive, sorted(peer.node_id for peer in alive)
        return self._ring

    def _relay_among(self, ids: Sequence[NodeId]) -> Peer | None:
        """One of them, at random, and if possible one that answers."""
        rng = self._out.rng
        for _ in range(RELAY_DRAWS):
            node_id = ids[rng.randrange(len(ids))]
            if self._is_usable(node_id):
                return self._members.find(node_id)
        usable = [each for each in ids if self._is_usable(each)]
        return self._members.find(rng.choice(usable or ids))

    def _is_usable(self, node_id: NodeId) -> bool:
        link = self._links.get(node_id)
        return link is None or not (link.is_silent or link.is_full)

    def _send(self, now: float, peers: list[Peer], delta: Delta, span: Span | None) -> None:
        self._number += 1
        datagram = self._out.sealed([Relay(delta, self._number, span)])
        if len(datagram) > self._out.config.datagram_bytes:
            self.overflowed = True  # one event larger than a datagram
            return
        reached = []
        for peer in peers:
            link = self._link(peer)
            if link.is_silent or not link.is_full:
                reached.append(peer.address)
            else:
                self.overflowed = True  # it does not keep up
            if not link.is_full:
                link.put(Sent(delta, span, self._number, now, now))
                self._due = min(self._due, now + link.timeout)
        self._repeats = min(REPEATS_SAVED, self._repeats + REPEATS_EACH * len(reached))
        self._out.send_sealed(reached, datagram)

    def _link(self, peer: Peer) -> Link:
        link = self._links.get(peer.node_id)
        if link is None:
            self._tidy()
            link = self._links[peer.node_id] = Link(self._expected(peer))
        return link

    def _expected(self, peer: Peer) -> RoundTrip:
        """How long a first receipt takes: as with others, or longer if its answers to pings or its greeting did."""
        if peer.rtt is None:
            return self._typical
        measured = RoundTrip(peer.rtt + self._out.config.push_interval, peer.jitter or peer.rtt / 4)
        return measured if measured.timeout > self._typical.timeout else self._typical

    def _tidy(self) -> None:
        """Forget those that are no members any more, when there are more links than members."""
        kept: dict[NodeId, Any]
        for kept in (self._links, self._arrivals):
            if len(kept) > len(self._members.alive()):
                for node_id in [each for each in kept if self._members.find(each) is None]:
                    del kept[node_id]

    # ---- what is not confirmed

    def heard(self, now: float, peer: Peer) -> None:  # noqa: ARG002
        link = self._links.get(peer.node_id)
        if link is not None and link.heard():
            self.to_compare.append(peer)

    def handle(self, now: float, peer: Peer, message: Message) -> bool:
        if not isinstance(message, Receipt):
            return False
        if message.epoch != self._out.identity.epoch:
            return True  # of a former life of ours
        link = self._links.get(peer.node_id)
        if link is not None:
            seconds = link.confirm(now, message.highest, message.mask)
            if seconds is not None:
                self._typical.sample(seconds)
        if message.saved <= self._out.kernel.context.last(self._out.kernel.replica_id):
            self.confirmed.append((peer, message.saved))
        return True

    def deadline(self) -> float:
        return min(self._due, self._receipts_due)

    def tick(self, now: float) -> None:
        if now >= self._receipts_due:
            self._send_receipts(now)
        if now >= self._due:
            for node_id in [each for each, link in self._links.items() if len(link) and link.due <= now]:
                self._expire(now, node_id, self._links[node_id])
            self._due = min((link.due for link in self._links.values() if len(link)), default=float("inf"))

    def _expire(self, now: float, node_id: NodeId, link: Link) -> None:
        peer = self._members.find(node_id)
        late = link.expire(now)
        is_gone = peer is None or not peer.is_present
        dropped = link.drop_beyond(0 if is_gone else SILENT_OUTSTANDING) if is_gone or link.is_silent else []
        for sent in dropped:
            self._take_over(now, node_id, sent)
        if peer is not None and not is_gone:
            self._try_again(now, peer, link, [sent for sent in late if sent not in dropped])

    def _try_again(self, now: float, peer: Peer, link: Link, late: list[Sent]) -> None:
        for sent in late:
            if link.unheard >= TAKE_OVER_AFTER:
                self._take_over(now, peer.node_id, sent)
            if sent.tries >= TRIES:
                link.drop(sent)
                self._leave_to_digests(peer)
            elif self._repeats > 0:
                self._repeat(now, peer, link, sent)
            else:
                sent.waits_from = now

    def _leave_to_digests(self, peer: Peer) -> None:
        if peer not in self.to_compare:
            self.to_compare.append(peer)

    def _take_over(self, now: float, node_id: NodeId, sent: Sent) -> None:
        """Share out anew what a relay was given, without the relay."""
        if sent.span is not None:
            span, sent.span = sent.span, None
            self._out.counts["shares_taken_over"] += 1
            self._share_out(now, sent.delta, span, node_id)

    def _repeat(self, now: float, peer: Peer, link: Link, sent: Sent) -> None:
        self._repeats -= 1
        self._number += 1
        self._out.counts["pushes_repeated"] += 1
        link.repeat(sent, self._number, now)
        self._out.send_data(peer.address, [Relay(sent.delta, sent.number, sent.span)])

    # ---- receipts

    def _arrived(self, now: float, peer: Peer, relay: Relay, is_sound: bool) -> int:
        """Note it for the next receipt. Returns up to which seq the sender's writes are saved when all here is."""
        arrivals = self._arrivals.get(peer.node_id)
        if arrivals is None or arrivals.epoch != peer.epoch:
            self._tidy()
            arrivals = self._arrivals[peer.node_id] = Arrivals(peer.epoch)
        arrivals.add(relay.number)
        self._note_loss(is_sound)
        self._owe_receipt(now, peer.node_id, 2 if self._lossy >= LOSSY else 1)
        if arrivals.unconfirmed >= WINDOW // 4:
            self._receipts_due = now
        writer = peer.replica_id
        seq = self._out.kernel.context.prefix(writer) if writer is not None else 0
        return seq if seq > arrivals.saved else 0

    def _note_loss(self, is_sound: bool) -> None:
        """Count what comes twice against what comes once, or twice for a good reason."""
        self._lossy = max(0, self._lossy - 1) if is_sound else min(LOSSY_MAX, self._lossy + LOSSY_STEP)

    def _owe_receipt(self, now: float, node_id: NodeId, copies: int) -> None:
        self._receipts[node_id] = max(copies, self._receipts.get(node_id, 0))
        self._receipts_due = min(self._receipts_due, now + self._out.config.push_interval)

    def _confirm_saved(self, now: float, peer: Peer, seq: int) -> None:
        arrivals = self._arrivals.get(peer.node_id)
        if arrivals is not None and arrivals.epoch == peer.epoch and seq > arrivals.saved:
            arrivals.saved = seq
            self._owe_receipt(now, peer.node_id, 1)

    def _send_receipts(self, now: float) -> None:
        owed, self._receipts, self._receipts_due = self._receipts, {}, float("inf")
        for node_id, copies in owed.items():
            peer, arrivals = self._members.find(node_id), self._arrivals.get(node_id)
            if peer is None or arrivals is None or arrivals.epoch != peer.epoch:
                continue
            arrivals.unconfirmed = 0
            self._out.counts["receipts_sent"] += 1
            receipt = Receipt(arrivals.epoch, arrivals.highest, arrivals.mask_bytes(), arrivals.saved)
            self._out.send(peer.address, [receipt])
            if copies > 1:
                self._owe_receipt(now, node_id, copies - 1)
