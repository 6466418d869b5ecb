"""Infect and forward: news goes to a few random members, who pass on what is new to them, a bounded number of times.

Needs to know nothing but some members, so this is how news travels where members see only a part of the cluster.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from crdts import Event
from crdts.embedding import pack

from ..identity import NodeId
from ..membership.membership import Members
from ..membership.peers import Peer
from ..membership.sampling import sample_targets
from ..output import Output
from ..wire.messages import Message, Push
from .strategy import Dissemination, payload_budget


@dataclass(frozen=True, slots=True)
class FloodRoute:
    """How events are passed on."""

    hops: int
    source: NodeId
    """The member we heard of them from."""


class Flood(Dissemination):
    """Sends to a few random members; the same events are passed on `hops` times at most."""

    def __init__(self, output: Output, members: Members, fanout: int | None = None) -> None:
        """``fanout`` in place of that of the settings."""
        super().__init__(output, members)
        self._fanout = fanout or output.config.fanout

    def originate(self, now: float, events: Sequence[Event]) -> None:  # noqa: ARG002
        self._send(events, self._out.config.hops, None)

    def take(
        self,
        now: float,  # noqa: ARG002
        message: Message,
        new: list[Event],
        peer: Peer | None,
        sender: NodeId,
    ) -> tuple[Sequence[Event], Any]:
        """Pass it on, unless the writer reached everyone itself."""
        if not isinstance(message, Push) or message.hops <= 1 or not new:
            return (), None
        if message.reach and len(self._members.targets()) + 1 <= message.reach:
            return (), None
        return new, FloodRoute(message.hops - 1, peer.node_id if peer else sender)

    def pass_on(self, now: float, events: Sequence[Event], route: Any) -> None:  # noqa: ARG002
        if isinstance(route, FloodRoute):
            self._send(events, route.hops, route.source)

    def begin(self, events: Sequence[Event], source: NodeId | None) -> None:
        """Flood what came from ``source`` by another way."""
        self._send(events, self._out.config.hops, source)

    def _send(self, events: Sequence[Event], hops: int, source: NodeId | None) -> None:
        alive = self._members.targets()
        targets = sample_targets(alive, self._fanout, self._out.rng, but=source)
        if not targets:
            return
        everyone = source is None and len(targets) == len(alive)
        reach = len(alive) + 1 if everyone else 0
        addresses = [peer.address for peer in targets]
        for delta in pack(events, payload_budget(self._out)):
            datagram = self._out.sealed([Push(delta, hops, reach)])
            if len(datagram) > self._out.config.datagram_bytes:
                self.overflowed = True  # one event larger than a datagram
            else:
                self._out.send_sealed(addresses, datagram)
