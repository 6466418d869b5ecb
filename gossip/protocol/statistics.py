"""What a node has done so far, in numbers."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Statistics:
    """Counts since the start; a snapshot."""

    datagrams_sent: int = 0
    datagrams_received: int = 0
    datagram_bytes_sent: int = 0
    """UDP payload; the network adds 28 bytes (IPv4) or 48 (IPv6) to each datagram."""
    datagram_bytes_received: int = 0
    datagrams_repeated: int = 0
    """Datagrams with questions that came a second time, and were not answered again: the network doubled them, or an
    attacker sent a recording."""
    events_written: int = 0
    """Local mutations."""
    events_new: int = 0
    """Received and not known before."""
    events_repaired: int = 0
    """Of `events_new`, those that no push brought: an answer to a context, or a stream."""
    events_known: int = 0
    """Received again: the redundancy of dissemination."""
    pushes_repeated: int = 0
    """Datagrams of news sent again, as no receipt came."""
    shares_taken_over: int = 0
    """Times a relay was not heard of, and what it should have passed on was sent past it."""
    receipts_sent: int = 0
    """Each confirms some datagrams of news to one member."""
    digests_sent: int = 0
    streams_opened: int = 0
    """By us or by a peer."""
    streams_failed: int = 0
    stream_bytes_sent: int = 0
    stream_bytes_received: int = 0
    states_joined: int = 0
    differences_joined: int = 0
    """Differences that a reconciliation found and this node joined, in place of a whole state."""
    lags: int = 0
    """Times the node was not let run in time, so that it could not answer or hear others."""
    held_dropped: int = 0
    """Datagrams dropped because too many waited for the disk."""
    events_refused: int = 0
    """Events, transactions and states for which there was no room: too many writers, or dots killed before they came.
    They are taken later. If the count keeps growing, a holder of the key makes them up."""
    stamps_refused: int = 0
    """Last-writer-wins stamps too far ahead for our clock to follow."""
    fingerprint_mismatches: int = 0
    """Times a member had the same events and yet another content: a bug, a cloned identity or corruption."""
    shares_contested: int = 0
    """How often this node replaced what another writer had made in this node's share of a counter."""
    candidates: int = 0
    """Addresses heard of that have not proven themselves yet, at present; of those who stay silent they are forgotten
    after a while."""
    rejected: Mapping[str, int] = field(default_factory=dict)
    """Refused input, by reason."""
