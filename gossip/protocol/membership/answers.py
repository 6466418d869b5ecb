"""Bounds of what is sent in answer to members, so that replayed datagrams cause little traffic.

An attacker can record datagrams and send them again from a forged address. So a question that was taken in before is
not answered again. A node remembers the latest questions only; so the answers to each member are bounded as well.
"""

from typing import Final

from ..config import Config
from ..wire.messages import (
    Ask,
    Bequest,
    Borrow,
    ContextPage,
    Digest,
    ListMembers,
    Message,
    Offer,
    Ping,
    PingRequest,
    Roll,
    Shuffle,
)
from .peers import Peer

QUESTIONS_KEPT: Final = 8192
"""The latest datagrams with questions that are remembered, of all members together: about 1 MB of memory."""
ANSWER_BYTES: Final = 64 * 1024
"""The most bytes of datagrams in one probe interval that answer one member about our data and lists. One round of
digest, context pages and events takes less; what does not fit goes over a stream."""

_QUESTIONS: Final = frozenset(
    {Ask, Bequest, Borrow, ContextPage, Digest, ListMembers, Offer, Ping, PingRequest, Roll, Shuffle}
)


class Questions:
    """Remembers the latest datagrams with questions."""

    def __init__(self) -> None:
        self._marks: dict[bytes, None] = {}

    def is_repeated(self, mark: bytes, messages: list[Message]) -> bool:
        """True if this datagram asks something and has come before; remembers it if it has not.

        ``mark`` is `Seal.mark` of the datagram. With an empty mark nothing is remembered.
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
    """True if ``size`` bytes may be sent to answer a member now; they are counted as sent then."""
    paid = max(peer.answers_paid, now - config.probe_interval) + config.probe_interval * size / ANSWER_BYTES
    if paid > now:
        return False
    peer.answers_paid = paid
    return True
