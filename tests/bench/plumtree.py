"""Plumtree, to compare with: an eager tree, and lazy announcements on all other edges.

As in Leitao, Pereira, Rodrigues: Epidemic Broadcast Trees, 2007, without its optimisation, which with many writers
broke the tree again and again, and made everything worse. Neighbours are stable and symmetric, as those of HyParView:
who stand side by side on one of a few rings, each in an order of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final

from crdts import Delta, Event, encode
from crdts.packing import pack
from gossip.protocol.dissemination.strategy import Dissemination, payload_budget
from gossip.protocol.membership.membership import Members
from gossip.protocol.membership.peers import Peer
from gossip.protocol.output import Output
from gossip.protocol.wire import codec as wire
from gossip.protocol.wire.messages import Message, Push

RINGS: Final = 3
"""Each gives a node two neighbours: up to six, one more than HyParView has by default."""
LAZY_INTERVAL: Final = 0.002
"""Seconds for which announcements to one neighbour are collected."""
MISSING_TIMEOUT: Final = 0.2
"""Seconds that an announced message may take to come over the tree."""
GRAFT_TIMEOUT: Final = 0.05
"""Seconds until the next neighbour that announced it is asked."""
KEPT: Final = 4096
"""Messages kept to answer grafts."""
ID_BYTES: Final = 8


@dataclass(frozen=True)
class Gossip(Push):
    """Events over an edge of the tree; ``hops`` counts the edges so far."""

    mid: bytes = b""


@dataclass(frozen=True)
class IHave:
    """I have these messages: (id, hops)."""

    rows: tuple[tuple[bytes, int], ...]


@dataclass(frozen=True)
class Graft:
    """Be a neighbour in the tree, and send me that message, if one is named."""

    mid: bytes


@dataclass(frozen=True)
class Prune:
    """I had that already: announce to me from now on."""


@dataclass
class _Message:
    delta: Delta
    hops: int


@dataclass
class _Missing:
    due: float
    offers: list[tuple[bytes, int]] = field(default_factory=list)
    """(neighbour, hops)."""


class Plumtree(Dissemination):
    """Sends whole messages on the edges of one tree shared by all writers, and ids on the others."""

    def __init__(self, output: Output, members: Members) -> None:
        super().__init__(output, members)
        self._listed: Sequence[Peer] = ()
        self._count = -1
        self._eager: dict[bytes, None] = {}
        self._lazy: dict[bytes, None] = {}
        self._kept: dict[bytes, _Message] = {}
        self._missing: dict[bytes, _Missing] = {}
        self._announce: dict[bytes, list[tuple[bytes, int]]] = {}
        self._announce_due = float("inf")

    # ---- neighbours

    def _neighbours(self) -> None:
        """Keep to the rings when somebody comes or goes; who is new is eager."""
        alive = self._members.alive()
        if alive is self._listed and len(alive) == self._count:
            return
        self._listed, self._count = alive, len(alive)
        me = self._out.identity.node_id
        ids = [me, *(peer.node_id for peer in alive)]
        wanted: dict[bytes, None] = {}
        for ring in range(RINGS):
            order = sorted(ids, key=lambda node_id: blake2b(bytes([ring]) + node_id, digest_size=8).digest())
            at = order.index(me)
            wanted[order[at - 1]] = wanted[order[(at + 1) % len(order)]] = None
        wanted.pop(me, None)
        self._lazy = {node_id: None for node_id in self._lazy if node_id in wanted}
        self._eager = {node_id: None for node_id in wanted if node_id not in self._lazy}

    # ---- news

    def originate(self, now: float, events: Sequence[Event]) -> None:
        for delta in pack(events, payload_budget(self._out) - 16):
            mid = self._out.rng.randbytes(ID_BYTES)
            self._keep(mid, _Message(delta, 0))
            self._push(now, mid, b"")

    def take(
        self, now: float, message: Message, new: list[Event], peer: Peer | None, sender: bytes
    ) -> tuple[Sequence[Event], Any]:
        if not isinstance(message, Gossip):
            return (), None
        self._neighbours()
        if message.mid in self._kept:
            if sender in self._eager:
                self._make_lazy(sender)
                self._tell(sender, Prune())
            return (), None
        self._missing.pop(message.mid, None)
        self._keep(message.mid, _Message(message.delta, message.hops))
        self._make_eager(sender)
        return message.delta.events, (message.mid, sender)

    def pass_on(self, now: float, events: Sequence[Event], route: Any) -> None:
        self._push(now, *route)

    def _keep(self, mid: bytes, message: _Message) -> None:
        self._kept[mid] = message
        if len(self._kept) > KEPT:
            del self._kept[next(iter(self._kept))]

    def _push(self, now: float, mid: bytes, source: bytes) -> None:
        self._neighbours()
        message = self._kept.get(mid)
        if message is None:
            return
        datagram = self._out.sealed([Gossip(message.delta, message.hops + 1, 1, mid)])
        if len(datagram) > self._out.config.datagram_bytes:
            self.overflowed = True
            return
        peers = [self._members.find(node_id) for node_id in self._eager if node_id != source]
        self._out.send_sealed([peer.address for peer in peers if peer is not None], datagram)
        for node_id in self._lazy:
            if node_id != source:
                self._announce.setdefault(node_id, []).append((mid, message.hops + 1))
                self._announce_due = min(self._announce_due, now + LAZY_INTERVAL)

    # ---- the tree

    def _make_eager(self, node_id: bytes) -> None:
        if node_id in self._lazy:
            del self._lazy[node_id]
            self._eager[node_id] = None

    def _make_lazy(self, node_id: bytes) -> None:
        if node_id in self._eager:
            del self._eager[node_id]
            self._lazy[node_id] = None

    def _tell(self, node_id: bytes, message: Any) -> None:
        peer = self._members.find(node_id)
        if peer is not None:
            self._out.send(peer.address, [message])

    def handle(self, now: float, peer: Peer, message: Any) -> bool:
        self._neighbours()
        match message:
            case IHave():
                self._on_announcement(now, peer, message)
            case Prune():
                self._make_lazy(peer.node_id)
            case Graft():
                self._make_eager(peer.node_id)
                kept = self._kept.get(message.mid)
                if kept is not None:
                    self._out.send_data(peer.address, [Gossip(kept.delta, kept.hops + 1, 1, message.mid)])
            case _:
                return False
        return True

    def _on_announcement(self, now: float, peer: Peer, message: IHave) -> None:
        for mid, hops in message.rows:
            if mid not in self._kept:
                missing = self._missing.setdefault(mid, _Missing(now + MISSING_TIMEOUT))
                missing.offers.append((peer.node_id, hops))

    # ---- time

    def deadline(self) -> float:
        return min(self._announce_due, min((each.due for each in self._missing.values()), default=float("inf")))

    def tick(self, now: float) -> None:
        if now >= self._announce_due:
            announced, self._announce, self._announce_due = self._announce, {}, float("inf")
            for node_id, rows in announced.items():
                for at in range(0, len(rows), 64):
                    self._tell(node_id, IHave(tuple(rows[at : at + 64])))
        for mid in [mid for mid, each in self._missing.items() if each.due <= now]:
            self._ask(now, mid, self._missing[mid])

    def _ask(self, now: float, mid: bytes, missing: _Missing) -> None:
        if not missing.offers:
            del self._missing[mid]
            return
        node_id, _ = missing.offers.pop(0)
        missing.due = now + GRAFT_TIMEOUT
        self._make_eager(node_id)
        self._tell(node_id, Graft(mid))


# ---- as bytes

_row = wire._row


def _row_too(message: Any) -> list[Any]:
    match message:
        case Gossip():
            return [60, encode(message.delta), message.hops, message.mid]
        case IHave():
            return [61, [list(row) for row in message.rows]]
        case Graft():
            return [62, message.mid]
        case Prune():
            return [63]
        case _:
            return _row(message)


def install() -> None:
    """Let the messages of Plumtree be written and read in this process."""
    wire._row = _row_too
    wire._MESSAGES.update(
        {
            60: (3, lambda delta, hops, mid: Gossip(wire._events(delta), hops, 1, mid)),
            61: (1, lambda rows: IHave(tuple((mid, hops) for mid, hops in rows))),
            62: (1, Graft),
            63: (0, Prune),
        }
    )
