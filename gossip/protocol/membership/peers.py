"""The table of members: what is kept of each, and who of them is alive, suspect, failed or gone.

With a thousand members nothing may walk the table for each datagram. What is asked often is kept, and made anew only
after a state has changed, which is rare. So states, incarnations and addresses change through `Peers` alone.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

from crdts import ReplicaId

from ..identity import Address, NodeId, replica_id_of

ALIVE: Final = "alive"
SUSPECT: Final = "suspect"
FAILED: Final = "failed"
LEFT: Final = "left"
KNOWN: Final = "known"
"""Not listed: it was in a partial view, and may have us in its own."""

EPOCH_JUMP: Final = 1 << 16
"""Further ahead than this, an epoch is absurd unless the member itself has proven it: a start takes some dozens."""
STRANGE_ROUNDS: Final = 3
"""Rounds of equal events and unequal content until the states are exchanged."""


@dataclass(frozen=True, slots=True)
class Member:
    """A member as seen from here; a snapshot."""

    id: str
    name: str
    address: Address
    state: str
    """``"alive"``, ``"suspect"`` (it does not answer, and may yet), ``"failed"`` or ``"left"``."""
    seconds: float
    """How long it has been in that state."""
    epoch: int
    """Which of its lives this is."""
    version: str
    """Of the software it runs; empty if it does not say."""
    rtt: float | None
    """Seconds from a probe to its answer, smoothed; None before the first."""
    tags: Mapping[str, str]
    replica_id: ReplicaId | None
    """What it writes under in this life; None until it has said so."""


@dataclass(slots=True, eq=False)
class Peer:
    """What we keep of one member."""

    node_id: NodeId
    name: str
    epoch: int
    address: Address
    since: float
    state: str = ALIVE
    is_proven: bool = True
    """False if the member is known from a former life only, and has not answered yet: it is sent greetings only."""
    counter: int = 0
    """With the epoch, its incarnation: raised by itself alone, when it has to contradict what is said of it."""
    vouched: int = 0
    """The counter that it was last heard to name itself: others do not know much better."""
    version: str = ""
    tags: tuple[tuple[str, str], ...] = ()
    nonce: str | None = None
    """The end of the replica id that it writes under in this epoch; None until it has said so."""
    advertised: Address | None = None
    """Where it says that others reach it."""
    others: tuple[Address, ...] = ()
    """Further addresses that it has proven, the latest first: where its datagrams come from, or come from now."""
    rtt: float | None = None
    """Smoothed seconds from a ping to its answer; before the first answer, the seconds that the greeting took."""
    jitter: float = 0.0
    """Smoothed deviation of `rtt`, in seconds; 0 before the first answer."""
    answered: float = float("-inf")
    """When it last answered a probe of ours."""
    warned: float = float("-inf")
    """When we last told it what is said of it."""
    has_said_goodbye: bool = False
    """True if the member left by its own word. A member that left according to others only is still tried."""
    keeps_nothing: bool = False
    """True if the member keeps its data in memory only and has ended: its present life cannot come back."""
    has_obituary: bool = False
    """Others say that it has failed, and it is only suspect here: we ping it ourselves."""
    answers_paid: float = float("-inf")
    """The time until which the allowed rate of answers to the member is used up; see `answers.affords`."""
    acked: int = 0
    """It has all of our writes up to this seq."""
    streams_failed: int = 0
    """Streams to it that failed, since one last succeeded."""
    stream_failed_at: float = 0.0
    """When the last of these streams failed."""
    offers: int = 0
    """Streams offered to it in a row that it did not open."""
    next_offer: float = 0.0
    """When we may offer it a stream again."""
    strange_rounds: int = 0
    """Digests in a row that named our events and another content."""
    strange_limit: int = STRANGE_ROUNDS
    """How many of them are too many."""
    met: float = field(init=False, default=0.0)
    """When the member was first listed."""
    mark: int = field(init=False, default=0)
    """Its id and incarnation in 64 bits: what it contributes to the roll."""
    life: int = field(init=False, default=0)
    """The same for its present life alone, whatever it has contradicted."""

    def __post_init__(self) -> None:
        self.met = self.since
        self.mark = mark_of(self.node_id, self.epoch, self.counter)
        self.life = mark_of(self.node_id, self.epoch, 0)

    def is_at(self, address: Address) -> bool:
        """True if the member has proven that address."""
        return self.is_proven and (address == self.address or address in self.others)

    def can_be_in(self, epoch: int) -> bool:
        """True if the member may be in that epoch by now, as far as others can be believed."""
        return epoch <= self.epoch + EPOCH_JUMP

    @property
    def replica_id(self) -> ReplicaId | None:
        """The replica id of the member's present life; None until the member has told it."""
        return None if self.nonce is None else replica_id_of(self.node_id, self.epoch, self.nonce)

    def forget_life(self) -> None:
        """Reset everything that belongs to one life of the member: what it had, said and failed to do."""
        self.nonce, self.keeps_nothing, self.has_said_goodbye = None, False, False
        self.acked = self.vouched = 0
        self.streams_failed = self.offers = 0
        self.stream_failed_at = self.next_offer = 0.0
        self.strange_rounds, self.strange_limit = 0, STRANGE_ROUNDS
        self.has_obituary = False
        self.warned = float("-inf")

    @property
    def is_present(self) -> bool:
        """True if the member is alive or suspect: a suspect may well be there."""
        return self.state in (ALIVE, SUSPECT)


def mark_of(node_id: NodeId, epoch: int, counter: int) -> int:
    """A member's part of the roll."""
    text = node_id + epoch.to_bytes(8) + counter.to_bytes(8)
    return int.from_bytes(blake2b(text, digest_size=8).digest())


class Peers:
    """Members by id, those of whom something changed last at the end.

    What is to be changed of a member that was struck off meanwhile, by an earlier part of the same datagram, changes
    nothing.
    """

    def __init__(self) -> None:
        self._peers: dict[NodeId, Peer] = {}
        self._in_state: dict[str, list[Peer]] = {}
        self._present: list[Peer] | None = None
        self._present_at: dict[Address, list[Peer]] = {}
        self._present_on: Counter[str] = Counter()
        self._roll = 0
        self._lives = 0
        self.changes = 0
        """How often the list has changed."""

    # ---- reading

    def all(self) -> Collection[Peer]:
        return self._peers.values()

    def latest(self) -> Iterator[Peer]:
        """Those of whom something changed last, first."""
        return reversed(self._peers.values())

    def lists(self, peer: Peer) -> bool:
        """True if this very `Peer` is listed."""
        return self._peers.get(peer.node_id) is peer

    def find(self, node_id: NodeId) -> Peer | None:
        return self._peers.get(node_id)

    def in_state(self, state: str) -> Sequence[Peer]:
        """Those in that state. To be read at once: it is no copy."""
        found = self._in_state.get(state)
        if found is None:
            found = self._in_state[state] = [peer for peer in self._peers.values() if peer.state == state]
        return found

    def present(self) -> Sequence[Peer]:
        """Those who are alive or suspect. To be read at once: it is no copy."""
        if self._present is None:
            self._present = [peer for peer in self._peers.values() if peer.is_present]
        return self._present

    @property
    def roll(self) -> int:
        """The marks of all who are present, in any order, as one number of 64 bits."""
        return self._roll

    @property
    def lives(self) -> int:
        """The same of their lives: it does not change when one has to contradict, as happens at loss."""
        return self._lives

    def is_present_at(self, address: Address) -> bool:
        """True if a present member has that address."""
        return address in self._present_at

    def present_at(self, address: Address) -> Sequence[Peer]:
        """Those who are present and have proven that address. To be read at once: it is no copy."""
        return self._present_at.get(address, ())

    def present_on(self, host: str) -> int:
        """How many of those who are present are to be reached at that host."""
        return self._present_on[host]

    # ---- changing

    def add(self, peer: Peer) -> None:
        """List one more. Keeps what is kept: when a cluster forms, this is what happens all the time."""
        self._peers[peer.node_id] = peer
        self.changes += 1
        self._enter(peer)
        if peer.state in self._in_state:
            self._in_state[peer.state].append(peer)
        if self._present is not None and peer.is_present:
            self._present.append(peer)

    def remove(self, peer: Peer) -> None:
        if not self.lists(peer):
            return
        self._exit(peer)
        del self._peers[peer.node_id]
        self.changes += 1
        self._forget_lists()

    def move(self, peer: Peer, address: Address, others: tuple[Address, ...]) -> None:
        """Let a member be reached at ``address`` from now on, and speak from ``others`` too."""
        if not self.lists(peer):
            return
        self._exit(peer)
        peer.address, peer.others = address, others
        self._enter(peer)
        self._touch(peer)

    def turn(self, peer: Peer, state: str, now: float) -> None:
        """Let a member be in another state from now on."""
        if not self.lists(peer):
            return
        self._exit(peer)
        peer.state, peer.since = state, now
        self._enter(peer)
        self._touch(peer)
        self._forget_lists()

    def advance(self, peer: Peer, epoch: int, counter: int) -> None:
        """Let a member be in another incarnation from now on."""
        if not self.lists(peer):
            return
        self._exit(peer)
        if epoch != peer.epoch:
            peer.forget_life()
        peer.epoch, peer.counter = epoch, counter
        peer.mark, peer.life = mark_of(peer.node_id, epoch, counter), mark_of(peer.node_id, epoch, 0)
        self._enter(peer)
        self._touch(peer)

    def _touch(self, peer: Peer) -> None:
        self._peers[peer.node_id] = self._peers.pop(peer.node_id)
        self.changes += 1

    def _forget_lists(self) -> None:
        self._in_state = {}
        self._present = None

    def _enter(self, peer: Peer) -> None:
        if peer.is_present:
            self._roll ^= peer.mark
            self._lives ^= peer.life
            self._present_on[peer.address.host] += 1
            for address in (peer.address, *peer.others):
                self._present_at.setdefault(address, []).append(peer)

    def _exit(self, peer: Peer) -> None:
        if peer.is_present:
            self._roll ^= peer.mark
            self._lives ^= peer.life
            self._present_on[peer.address.host] -= 1
            if not self._present_on[peer.address.host]:
                del self._present_on[peer.address.host]
            for address in (peer.address, *peer.others):
                self._present_at[address].remove(peer)
                if not self._present_at[address]:
                    del self._present_at[address]
