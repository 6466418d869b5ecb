"""The table of members: what is kept of each, and who of them is alive, failed, gone or silent.

With a thousand members nothing may walk the table for each datagram. What is asked often is kept, and made anew only
after a state has changed, which is rare. So states, addresses and silence change through `Peers` alone.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from .identity import Address

ALIVE: Final = "alive"
FAILED: Final = "failed"
LEFT: Final = "left"

STRANGE_ROUNDS: Final = 3
"""Rounds of equal events and unequal content until the states are exchanged."""


@dataclass(frozen=True, slots=True)
class Member:
    """A member as seen from here; a snapshot."""

    id: str
    name: str
    address: Address
    state: str
    """``"alive"``, ``"failed"`` or ``"left"``."""
    seconds: float
    """How long it has been in that state."""
    epoch: int
    """Which of its lives this is."""


@dataclass(slots=True, eq=False)
class Peer:
    """What we keep of one member."""

    node_id: bytes
    name: str
    epoch: int
    address: Address
    since: float
    state: str = ALIVE
    unanswered: int = 0
    """Digests sent since we last heard of it."""
    acked: int = 0
    """It has all of our writes up to this seq."""
    streams_failed: int = 0
    """Streams to it that failed, since one last succeeded."""
    offers: int = 0
    """Streams offered to it in a row that it did not open."""
    next_offer: float = 0.0
    """When we may offer it a stream again."""
    strange_rounds: int = 0
    """Digests in a row that named our events and another content."""
    strange_limit: int = STRANGE_ROUNDS
    """How many of them are too many."""

    @property
    def is_present(self) -> bool:
        """Whether it counts."""
        return self.state == ALIVE


class Peers:
    """Members by id, in the order they were met."""

    def __init__(self) -> None:
        self._peers: dict[bytes, Peer] = {}
        self._in_state: dict[str, list[Peer]] = {}
        self._alive_at: set[Address] | None = None
        self._alive_mark: int | None = None
        self._silent: dict[bytes, Peer] = {}

    # ---- reading

    def __len__(self) -> int:
        return len(self._peers)

    def all(self) -> Collection[Peer]:
        return self._peers.values()

    def find(self, node_id: bytes) -> Peer | None:
        return self._peers.get(node_id)

    def in_state(self, state: str) -> Sequence[Peer]:
        """Those in that state, in the order they were met. To be read at once: it is no copy."""
        found = self._in_state.get(state)
        if found is None:
            found = self._in_state[state] = [peer for peer in self._peers.values() if peer.state == state]
        return found

    @property
    def alive_mark(self) -> int:
        """The ids of all who are alive, in any order, as one number of 64 bits."""
        if self._alive_mark is None:
            self._alive_mark = 0
            for peer in self.in_state(ALIVE):
                self._alive_mark ^= int.from_bytes(peer.node_id)
        return self._alive_mark

    def is_alive_at(self, address: Address) -> bool:
        """Whether somebody who is alive has that address."""
        if self._alive_at is None:
            self._alive_at = {peer.address for peer in self.in_state(ALIVE)}
        return address in self._alive_at

    def silent(self, limit: int) -> list[Peer]:
        """At most ``limit`` of those who are alive and have left more than one digest unanswered, the longest first."""
        return list(islice(self._silent.values(), limit))

    # ---- changing

    def add(self, peer: Peer) -> None:
        """List one more, who is alive. Keeps what is kept: when a cluster forms, this is what happens all the time."""
        self._peers[peer.node_id] = peer
        if ALIVE in self._in_state:
            self._in_state[ALIVE].append(peer)
        if self._alive_at is not None:
            self._alive_at.add(peer.address)
        if self._alive_mark is not None:
            self._alive_mark ^= int.from_bytes(peer.node_id)

    def remove(self, peer: Peer) -> None:
        del self._peers[peer.node_id]
        self._changed(peer)

    def move(self, peer: Peer, address: Address) -> None:
        peer.address = address
        self._changed(peer)

    def turn(self, peer: Peer, state: str, now: float) -> None:
        """Let a member be in another state from now on."""
        peer.state, peer.since = state, now
        self._changed(peer)

    def _changed(self, peer: Peer) -> None:
        self._in_state = {}
        self._alive_at = self._alive_mark = None
        if peer.state != ALIVE or peer.node_id not in self._peers:
            self._silent.pop(peer.node_id, None)

    def asked(self, peer: Peer) -> None:
        """A digest was sent to it, which it should answer."""
        peer.unanswered += 1
        if peer.unanswered > 1 and peer.state == ALIVE:
            self._silent[peer.node_id] = peer

    def heard(self, peer: Peer) -> None:
        """Any word of it."""
        if peer.unanswered:
            peer.unanswered = 0
            self._silent.pop(peer.node_id, None)
