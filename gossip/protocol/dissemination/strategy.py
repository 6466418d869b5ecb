"""What decides whom news is sent to, by its writer and by those who hear of it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from crdts import Event

from ..identity import NodeId
from ..membership.membership import Members
from ..membership.peers import Peer
from ..output import Output
from ..wire.codec import ENVELOPE_BYTES
from ..wire.messages import Message
from ..wire.seal import OVERHEAD_BYTES


class Dissemination(ABC):
    """Sends news on its way once the disk has it. An accelerator: nothing breaks if it loses some."""

    def __init__(self, output: Output, members: Members) -> None:
        self._out = output
        self._members = members
        self.overflowed = False
        """Something was too large to send since this was last reset: members should be told by digest."""
        self.to_compare: list[Peer] = []
        """Members that some news was not confirmed by, since this was last emptied."""
        self.confirmed: list[tuple[Peer, int]] = []
        """(member, seq): its disk has all of our writes up to that; since this was last emptied."""

    @property
    def is_alone(self) -> bool:
        """True if there is no member to send anything to."""
        return not self._members.alive()

    def spread_time(self) -> float:
        """Seconds that news takes to everybody if nothing is lost, as far as is known; 0 if it is not."""
        return 0.0

    def bring(self, now: float, peer: Peer, events: Sequence[Event]) -> None:  # noqa: B027
        """Send a member that was just met what we wrote before, as far as that is not left to digests."""

    @abstractmethod
    def originate(self, now: float, events: Sequence[Event]) -> None:
        """Send our own writes."""

    @abstractmethod
    def take(
        self, now: float, message: Message, new: list[Event], peer: Peer | None, sender: NodeId
    ) -> tuple[Sequence[Event], Any]:
        """What is to be passed on of a message that brought these new events, and a route for `pass_on`; or None."""

    @abstractmethod
    def pass_on(self, now: float, events: Sequence[Event], route: Any) -> None:
        """Send what `take` returned; now the disk has it."""

    def handle(self, now: float, peer: Peer, message: Message) -> bool:  # noqa: ARG002
        """Take a message of a member about all this; return False if it is about something else."""
        return False

    def heard(self, now: float, peer: Peer) -> None:  # noqa: B027
        """Any word of a member."""

    def deadline(self) -> float:
        """When `tick` wants to be called."""
        return float("inf")

    def tick(self, now: float) -> None:  # noqa: B027
        """Do what is due."""


MakeDissemination: TypeAlias = Callable[[Output, Members], Dissemination]


def payload_budget(output: Output) -> int:
    """Bytes an encoded delta or context may take inside one datagram."""
    return output.config.datagram_bytes - OVERHEAD_BYTES - ENVELOPE_BYTES - 16
