"""The messages that members exchange: in datagrams (`Message`) and in the frames of streams (`Frame`).

How they look as bytes, and what is refused, is in `codec`.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from crdts import Context, Delta, ReplicaId

from ..identity import NODE_ID_BYTES, Address, NodeId

ACCUSED: Final = "accused"
"""Suspect, by the evidence of the very member that says so."""
WINDOW: Final = 256
"""The most numbers of datagrams in one `Receipt`, counted back from the highest."""
MAX_VACANT: Final = 16
"""The most vacant writers that a member holds, and that a message names."""
STATES: Final = ("alive", "suspect", "failed", "left", ACCUSED)

_IDS: Final = 1 << 8 * NODE_ID_BYTES


class Span(NamedTuple):
    """The ids from ``first`` on, up to but not including ``stop``, around the ring; none if the two are equal."""

    first: bytes
    stop: bytes

    def holds(self, node_id: NodeId) -> bool:
        first = int.from_bytes(self.first)
        return (int.from_bytes(node_id) - first) % _IDS < (int.from_bytes(self.stop) - first) % _IDS


@dataclass(frozen=True, slots=True)
class Hello:
    """I am here under this name; prove your address to me by echoing the cookie in a `Welcome`."""

    name: str
    epoch: int
    known: int
    """Members that I know of: who knows no more of them need name none."""
    cookie: bytes
    padding: bytes = b""


@dataclass(frozen=True, slots=True)
class Welcome:
    """The answer to a `Hello`: who I am, your cookie, and mine for you to echo in a `Proof`."""

    name: str
    epoch: int
    known: int
    echo: bytes
    cookie: bytes


@dataclass(frozen=True, slots=True)
class Challenge:
    """I do not know that you are at this address: echo the cookie in a `Proof`."""

    cookie: bytes


@dataclass(frozen=True, slots=True)
class Proof:
    """The cookie you sent to this address."""

    echo: bytes


@dataclass(frozen=True, slots=True)
class Update:
    """What somebody believes of a member."""

    node_id: NodeId
    state: str
    """One of `STATES`."""
    epoch: int
    counter: int
    address: Address | None = None
    """Where it may be found: a hint only, to be asked for proof before anything is sent to it. None in a member's word
    of itself: where you see me."""
    version: str = ""
    tags: tuple[tuple[str, str], ...] = ()
    nonce: str | None = None
    """The end of the replica id that it writes under in that epoch, or that whole id if it has borrowed it; None if it
    is not known."""


@dataclass(frozen=True, slots=True)
class Updates:
    """Some updates: new ones, or whatever may be news to who is told."""

    rows: tuple[Update, ...]


@dataclass(frozen=True, slots=True)
class Roll:
    """Whom I believe to be present, myself included, and in which incarnation, as one number, and how many they are.

    If you believe otherwise, tell me of some of yours.
    """

    mark: int
    count: int


@dataclass(frozen=True, slots=True)
class ListMembers:
    """Tell me of members in the order of their ids, from behind this one; empty for the first."""

    after: NodeId


@dataclass(frozen=True, slots=True)
class Ping:
    """Are you there? Answered at once by an `Ack`."""

    number: int
    """Random, so that no recorded answer fits, and no answer to another ping."""


@dataclass(frozen=True, slots=True)
class PingRequest:
    """Ping that member for me; tell me of its answer by an `Ack`, or of its silence by a `Nack`."""

    number: int
    node_id: NodeId
    patience: int
    """Milliseconds to wait for the answer of that node."""


@dataclass(frozen=True, slots=True)
class Ack:
    """The member you pinged, or had pinged, under that number is there."""

    number: int


@dataclass(frozen=True, slots=True)
class Nack:
    """I am there, but the member that you had me ping under that number does not answer me either."""

    number: int


@dataclass(frozen=True, slots=True)
class Shuffle:
    """Some of my view, myself first: (node id, address, age in rounds). Hints, like every address."""

    entries: tuple[tuple[NodeId, Address | None, int], ...]
    answer: bool
    """True if I want some of yours in exchange."""


@dataclass(frozen=True, slots=True)
class Push:
    """Events, new to the sender when it sent them."""

    delta: Delta
    hops: int
    """How often it may still be passed on."""
    reach: int
    """The writer sent it to everyone it knows, itself included this many; 0 if not to everyone."""

    @property
    def is_answer(self) -> bool:
        """True if it answers a context: those are never passed on, and pushes may always be passed on once more."""
        return self.hops == 0 and self.reach == 0


@dataclass(frozen=True, slots=True)
class Relay:
    """Events, new to the sender when it sent them, for the receiver and those members that it is to pass them on to."""

    delta: Delta
    number: int
    """Of this datagram among those of the sender's present life, to be named in a `Receipt`."""
    span: Span | None
    """Where on the ring of ids those members are; None if there are none."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """Your `Relay` datagrams of that epoch have arrived here."""

    epoch: int
    highest: int
    """The highest number that has."""
    mask: bytes
    """Which of the numbers below have, the lowest bit of the first byte for the next lower number, and so on."""
    saved: int
    """My disk has all of your writes up to this seq."""


@dataclass(frozen=True, slots=True)
class Digest:
    """What I have, in short. Always answered, by `Same` or by a `ContextPage`."""

    context_hash: bytes
    fingerprint: int


@dataclass(frozen=True, slots=True)
class Same:
    """I have processed exactly the events behind this hash."""

    context_hash: bytes


@dataclass(frozen=True, slots=True)
class ContextPage:
    """Which events I have processed of the replicas whose ids are at least ``first`` and below ``stop``."""

    first: str
    stop: str
    """Empty for no end."""
    context: Context
    answer: bool
    """True if I want to hear yours if you lack any of these."""


@dataclass(frozen=True, slots=True)
class Offer:
    """You lack more than fits into a few datagrams: open a stream to me when it suits you."""


@dataclass(frozen=True, slots=True)
class Busy:
    """I am taking up another member's offer; I know of yours."""


@dataclass(frozen=True, slots=True)
class Gone:
    """Beside a goodbye: I keep nothing, so nobody needs to wait for what I could report."""


@dataclass(frozen=True, slots=True)
class Ask:
    """How much do you have of these writers, who are to be closed? I am one of them: of me, to see what you know."""

    writers: tuple[ReplicaId, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """The answer to an `Ask`."""

    context: Context
    """What I have of the writers in question."""
    mark: int
    """Whom I believe to be alive, myself included, as one number."""
    clear: bool
    """Nobody that I know of is missing who might have more of them."""


@dataclass(frozen=True, slots=True)
class Retired:
    """The node of this id was retired: nobody takes its word any more."""

    node_id: NodeId
    echo: bytes
    """The cookie of the `Hello` that this answers; empty if it was none."""


@dataclass(frozen=True, slots=True)
class Borrow:
    """I keep nothing, and have written nothing yet: lend me a writer id that is vacant."""


@dataclass(frozen=True, slots=True)
class Lend:
    """The answer to a `Borrow`: write under this id, once you have all of its events."""

    writer: ReplicaId | None
    """None if I have none to lend."""
    last: int
    """The seq of its last event."""
    holder: NodeId
    """A member that has some to lend, if I have none; empty if I know of none."""


@dataclass(frozen=True, slots=True)
class Bequest:
    """Offers vacant writers to a member, each with the seq of its last event: the sender leaves, and keeps nothing.

    The offer names one life of the member. If it comes late, another node at that address, or a later life of the
    member, must not take it.
    """

    heir: NodeId
    epoch: int
    writers: tuple[tuple[ReplicaId, int], ...]


@dataclass(frozen=True, slots=True)
class Taken:
    """The answer to a `Bequest`: I hold these of the writers. You must not write under their ids any more."""

    writers: tuple[ReplicaId, ...]


@dataclass(frozen=True, slots=True)
class Vacant:
    """I hold these writers: nobody writes under their ids at present, and none of them is over."""

    writers: tuple[ReplicaId, ...]


@dataclass(frozen=True, slots=True)
class Introduce:
    """First frame of a stream: who is speaking."""

    node_id: NodeId
    name: str
    epoch: int
    whole: bool
    """Exchange whole states: the same events left us with different contents."""


@dataclass(frozen=True, slots=True)
class HeadPart:
    """A part of a context, and of the pre-killed dots of a state, for which one frame is too small.

    The `WholeContext` or `StateEnd` that follows completes them.
    """

    delta: Delta
    """A state without entries."""


@dataclass(frozen=True, slots=True)
class WholeContext:
    """Everything I have processed, with the parts that came before; send me what I lack."""

    context: Context


@dataclass(frozen=True, slots=True)
class Chunk:
    """A delta to apply as it comes."""

    delta: Delta


@dataclass(frozen=True, slots=True)
class StatePart:
    """Some live entries of a state, to be kept aside until it is whole."""

    delta: Delta


@dataclass(frozen=True, slots=True)
class StateEnd:
    """The rest of a state: its context and pre-killed dots, with the parts that came before. Now join all of it."""

    delta: Delta


@dataclass(frozen=True, slots=True)
class CanReconcile:
    """I know how to reconcile, by messages of this version (`crdts.Reconciliation`)."""

    version: int


@dataclass(frozen=True, slots=True)
class Reconcile:
    """One message of a reconciliation. The side that opened the stream begins; then both take turns."""

    name: bytes
    """The name of the reconciliation, which an earlier stream may have begun."""
    message: bytes


@dataclass(frozen=True, slots=True)
class AskReconcile:
    """Please begin a reconciliation, as you opened the stream."""


@dataclass(frozen=True, slots=True)
class Declined:
    """I do not reconcile now, or do not know the reconciliation of this name.

    The name is empty in answer to an `AskReconcile`.
    """

    name: bytes


@dataclass(frozen=True, slots=True)
class Done:
    """You now have everything I had when I received your context."""


Membership: TypeAlias = Hello | Welcome | Challenge | Proof | Updates | Roll | ListMembers | Shuffle
Detection: TypeAlias = Ping | PingRequest | Ack | Nack
Data: TypeAlias = Push | Relay | Receipt | Digest | Same | ContextPage | Offer | Busy
Retiring: TypeAlias = Gone | Ask | Report | Retired
Succession: TypeAlias = Borrow | Lend | Bequest | Taken | Vacant
Message: TypeAlias = Membership | Detection | Data | Retiring | Succession
Reconciliation: TypeAlias = CanReconcile | Reconcile | AskReconcile | Declined
Frame: TypeAlias = Introduce | HeadPart | WholeContext | Chunk | StatePart | StateEnd | Done | Reconciliation
