"""How much an answer may take: who records datagrams and sends them again, their source forged, draws next to nothing.

Only a question costs its sender something once: a datagram that was taken in before is not answered again. Members
remember the latest questions only, so what is sent to answer one member is bounded as well.
"""

from typing import Final

from .config import Config
from .messages import Ask, ContextPage, Digest, ListMembers, Message, Offer, Ping, PingRequest, Roll, Shuffle
from .peers import Peer

QUESTIONS_KEPT: Final = 8192
"""Datagrams with questions that are remembered, of all members together: about 1 MB."""
ANSWER_BYTES: Final = 64 * 1024
"""Bytes of datagrams that answer what one member asks of our data or lists in one probe interval, at most. That is more
than one round of digest, context pages and events takes; what is more goes over a stream."""

_QUESTIONS: Final = frozenset({Ask, ContextPage, Digest, ListMembers, Offer, Ping, PingRequest, Roll, Shuffle})


class Questions:
    """The latest datagrams of members that ask for something."""

    def __init__(self) -> None:
        self._marks: dict[bytes, None] = {}

    def is_repeated(self, mark: bytes, messages: list[Message]) -> bool:
        """True if this datagram asks for something and has been here before.

        ``mark`` tells sealed datagrams apart; an empty one says nothing.
        """
        if not mark or all(type(message) not in _QUESTIONS for message in messages):
            return False
        if mark in self._marks:
            return True
        self._marks[mark] = None
        if len(self._marks) > QUESTIONS_KEPT:
            del self._marks[next(iter(self._marks))]
        return False


def affords(now: float, peer: Peer, size: int, config: Config) -> bool:
    """True if a member may be answered with so many bytes now, which it then has been."""
    paid = max(peer.answers_paid, now - config.probe_interval) + config.probe_interval * size / ANSWER_BYTES
    if paid > now:
        return False
    peer.answers_paid = paid
    return True
