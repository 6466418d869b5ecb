"""The pings under way, by random numbers: an answer belongs to one ping, and no recorded answer fits a later one."""

from dataclasses import dataclass, replace
from typing import Final

from ..config import Config
from ..identity import Address, NodeId
from ..output import Output
from ..wire.codec import PING_BYTES

MAX_PINGS: Final = 1024
"""Pings whose answers are waited for at most."""
ANSWERS_COUNT: Final = 10
"""Probe intervals after a ping for which its answer counts (longer if helpers may take longer). An answer that the
network has kept for longer does not show that the member is there."""
REQUEST_TIMEOUTS: Final = 3.0
"""A helper keeps a request for at most this many `Config.probe_timeout_max`, whatever it is asked for."""


@dataclass(frozen=True, slots=True)
class SentPing:
    """A ping under way."""

    target: NodeId
    address: Address
    sent: float
    requester: tuple[NodeId, int] | None = None
    """The member that asked for this ping, and the number of its request; None for a ping of our own."""
    helpers: tuple[NodeId, ...] = ()
    """The helpers that have not answered yet. Only they may answer for the target, once each."""


class Pings:
    """The pings whose answers count, by their numbers; the oldest makes way where there are too many."""

    def __init__(self, output: Output) -> None:
        self._out = output
        self._pings: dict[int, SentPing] = {}

    def __len__(self) -> int:
        return len(self._pings)

    def number(self, ping: SentPing) -> int:
        """The number under which a ping is to be sent."""
        number = self._out.rng.getrandbits(8 * PING_BYTES)
        self._pings[number] = ping
        if len(self._pings) > MAX_PINGS:
            del self._pings[next(iter(self._pings))]
        return number

    def find(self, number: int) -> SentPing | None:
        """The ping of that number; None if it was answered, or newer pings took its place."""
        return self._pings.get(number)

    def asked(self, now: float, number: int) -> SentPing | None:
        """The ping that an answer is about, unless that comes so late that it says nothing of the present any more."""
        ping = self._pings.get(number)
        late = ping is not None and now - ping.sent > longest_answer(self._out.config)
        return None if late else ping

    def has_answered(self, number: int, helper: NodeId) -> None:
        """A helper has answered for the target: its word counts once."""
        ping = self._pings[number]
        self._pings[number] = replace(ping, helpers=tuple(each for each in ping.helpers if each != helper))

    def forget(self, number: int) -> None:
        """The target itself has answered."""
        del self._pings[number]


def longest_answer(config: Config) -> float:
    """Seconds after a question for which an answer shows that the node that answers is there."""
    return max(ANSWERS_COUNT * config.probe_interval, REQUEST_TIMEOUTS * config.probe_timeout_max)
