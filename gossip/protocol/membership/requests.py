"""What a helper does for others: it pings whom they do not reach, twice, and tells them what came of it."""

from dataclasses import dataclass
from typing import Final

from ..identity import NodeId
from ..output import Output
from ..wire.messages import Ack, Nack, Ping, PingRequest
from .membership import Members
from .peers import Peer
from .pings import REQUEST_TIMEOUTS, Pings, SentPing

MAX_REQUESTS: Final = 256
"""Members pinged for others at a time, at most."""


@dataclass(slots=True)
class _Request:
    """A ping that another member asked us for."""

    again: float
    """When the target is pinged once more."""
    due: float
    """When we tell the member that the target does not answer us either."""


class Requests:
    """The pings that others asked us for and that were not answered yet, by the numbers of these pings."""

    def __init__(self, output: Output, members: Members, pings: Pings) -> None:
        self._out = output
        self._members = members
        self._pings = pings
        self._requests: dict[int, _Request] = {}

    def __len__(self) -> int:
        return len(self._requests)

    def deadline(self) -> float:
        return min((min(request.again, request.due) for request in self._requests.values()), default=float("inf"))

    def take(self, now: float, peer: Peer, request: PingRequest) -> None:
        """A member asks us to ping another."""
        target = self._members.find(request.node_id)
        if target is None or len(self._requests) >= MAX_REQUESTS:
            self._out.send(peer.address, [Nack(request.number)])
            return
        number = self._pings.number(SentPing(target.node_id, target.address, now, (peer.node_id, request.number)))
        config = self._out.config
        longest = REQUEST_TIMEOUTS * max(config.probe_timeout, config.probe_timeout_max)
        patience = min(request.patience / 1000, longest)
        self._requests[number] = _Request(now + patience / 2, now + patience)
        self._out.send(target.address, [Ping(number)])

    def tick(self, now: float) -> None:
        for number, request in list(self._requests.items()):
            self._go_on(now, number, request)

    def _go_on(self, now: float, number: int, request: _Request) -> None:
        """Ping again, or give up, for a member whose request has not been answered yet."""
        ping = self._pings.find(number)
        if ping is None or ping.requester is None:  # newer pings took its place
            del self._requests[number]
        elif now >= request.due:
            del self._requests[number]
            self._report(ping.requester, Nack)
        elif now >= request.again:
            request.again = float("inf")
            self._out.send(ping.address, [Ping(number)])

    def answered(self, number: int, ping: SentPing) -> None:
        """The target of a ping has answered: whoever asked for the ping is told."""
        self._requests.pop(number, None)
        if ping.requester is not None:
            self._report(ping.requester, Ack)

    def _report(self, requester: tuple[NodeId, int], kind: type[Ack] | type[Nack]) -> None:
        """Tell the member that asked for our help what came of it."""
        node_id, number = requester
        peer = self._members.find(node_id)
        if peer is not None:
            self._out.send(peer.address, [kind(number)])
