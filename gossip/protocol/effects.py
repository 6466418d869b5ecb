"""What the engine asks its driver to do. The engine never does anything itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from crdts import Delta, Event
from crdts.embedding import DotRange

from .identity import Address, Hint, Identity


@dataclass(frozen=True, slots=True)
class Send:
    """Send one datagram."""

    address: Address
    data: bytes


@dataclass(frozen=True, slots=True)
class OpenStream:
    """Connect a stream; answer with `Engine.stream_opened` or `Engine.stream_closed`."""

    conn: int
    address: Address


@dataclass(frozen=True, slots=True)
class Write:
    """Send bytes on a stream, after those of earlier writes; then call `Engine.stream_writable`."""

    conn: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Close:
    """Close a stream once what was written to it is sent. No answer is expected."""

    conn: int


@dataclass(frozen=True, slots=True)
class Persist:
    """Make these durable, in order, then call `Engine.persisted` with the token. Tokens grow."""

    token: int
    events: tuple[Event, ...]
    """Events, local and received, in the order they were applied."""
    runs: tuple[DotRange, ...] = ()
    """Runs of dead dots, to be applied behind the events: `crdts.kernel.Kernel.apply_run`."""
    states: tuple[Delta, ...] = ()
    """States that were joined behind those; after one, the whole replica is best written anew."""


@dataclass(frozen=True, slots=True)
class Rename:
    """From now on the node is this one. To be durable before, or with, the next `Persist`."""

    identity: Identity


@dataclass(frozen=True, slots=True)
class Remember:
    """Save these hints for the next start, in place of the former ones. There is no hurry."""

    hints: tuple[Hint, ...]
    key_id: bytes
    """The key id of the seal: hints are of use only with the same key and cluster name."""


@dataclass(frozen=True, slots=True)
class Notify:
    """Something happened that a person or a waiting task may care about."""

    event: str
    """A ``noun.verb`` constant of `gossip.protocol.notices`."""
    fields: Mapping[str, object] = field(default_factory=dict)


Effect: TypeAlias = Send | OpenStream | Write | Close | Persist | Rename | Remember | Notify
"""In the order they must be carried out."""
