"""Every setting of a node, with its trade-off, and presets for usual networks."""

from dataclasses import dataclass, fields
from typing import Final

from crdts.embedding import MAX_VALUE_BYTES

from .errors import ConfigError
from .wire.codec import MAX_HOPS

MAX_CHUNK_BYTES: Final = 256 * 1024
MAX_EVENT_BYTES: Final = MAX_VALUE_BYTES + 512 * 1024
"""A value, its key, and as many kills as there may be, each of another replica with the longest of ids."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Immutable settings. Start from `lan` (the default), `wan` or `local` and `dataclasses.replace` what differs.

    All nodes of a cluster interoperate whatever their settings.
    """

    fanout: int = 6
    """Members that a new event is pushed to, by its writer and by each relay. More means fewer hops (with 6, two to 30
    members and four or five to 1,000) and no more traffic in all, but more of it for the writer of a burst. A cluster
    of at most so many other members is sent to directly. Where members see only a part of the cluster, at most 4."""
    hops: int = 6
    """Times an event is passed on at most, counted from its writer, where members see only a part of the cluster. More
    reaches a larger cluster by push alone, and costs little: a member that knows an event does not pass it on."""
    push_interval: float = 0.002
    """Seconds between two batches of pushes, and for which receipts are collected. Longer means fewer, fuller datagrams
    and later news; a write after a quiet moment is always sent at once."""
    push_buffer_bytes: int = 256 * 1024
    """Bytes of events pushed in one batch. A burst beyond it is fetched by peers over a stream instead."""
    datagram_bytes: int = 1200
    """Largest datagram sent, in bytes of UDP payload. 1200 passes every network; more saves headers on a LAN."""
    catchup_datagrams: int = 32
    """Datagrams sent to bring a peer up to date; if it lacks more, a stream is opened."""
    max_context_pages: int = 16
    """Datagrams one context may be paged over; a larger one is exchanged over a stream."""
    stream_chunk_bytes: int = 64 * 1024
    """Bytes of one frame when catching up over a stream. Larger is a little faster and stalls the loop longer."""
    max_frame_bytes: int = 2 << 20
    """Largest stream frame accepted. Must hold the largest event: a value of 1 MiB, its key and all it replaces."""
    max_state_bytes: int = 1 << 30
    """Largest state accepted, summed over the frames it arrives in; it is held in memory until it is whole."""
    max_streams: int = 8
    """Streams open at once, either way. More bootstraps more newcomers at once, and shares the bandwidth finer."""
    stream_timeout: float = 10.0
    """Seconds without progress after which a stream is given up; the next digest starts another."""
    full_membership_max: int = 1024
    """Members up to which everybody lists everybody. In a larger cluster a node knows only those in its view, and says
    so, until shuffles have named no more than half as many for a long time."""
    max_gone: int = 1024
    """Members that failed or left which are listed at most, besides those that are present. Those that left in good
    order make way first; of those that failed, members of as many different hosts as possible stay. Failed members are
    tried now and then for ever, so that partitions heal. More remembers more of them, and tries each more rarely."""
    view_size: int = 32
    """Members that gossip is drawn from, in a cluster that is larger. More spreads the load more evenly; in a cluster
    too large to list they are all that a node watches."""
    shuffle_interval: float = 5.0
    """Seconds between two shuffles of the view, where not everybody is in it. Shorter forgets the dead sooner."""
    shuffle_length: int = 6
    """Entries exchanged in a shuffle, each of about 20 bytes."""
    max_candidates: int = 256
    """Addresses heard of and not yet proven that are remembered at most."""
    probe_interval: float = 0.55
    """Seconds between two probes, each of one member in turn, with a digest of our data. Shorter notices the dead and
    repairs lost pushes sooner; a probe and its answer take about 155 bytes in a cluster of 30, 170 in a larger one."""
    probe_timeout: float = 0.2
    """Seconds until a member that does not answer is pinged through others, on top of the measured round trips to it.
    Shorter notices the dead sooner. Longer than a program usually keeps its node from running avoids false alarms."""
    probe_timeout_max: float = 2.0
    """Seconds that one ping is waited for at most, however long the round trips were (up to nine times as long while
    this node itself is slow). More suits longer ways. Less notices a member sooner that answers ever later."""
    indirect_probes: int = 3
    """Members asked to ping one that does not answer. More tolerates more loss."""
    suspicion: float = 1.2
    """Seconds that a member is suspect at least before it counts as failed, for every factor of ten in the size of the
    cluster. More tolerates more loss and longer stalls, and notices the dead later."""
    update_interval: float = 0.1
    """Seconds between two batches of membership updates, while there are any."""
    update_fanout: int = 3
    """Members that such a batch goes to."""
    seed_retry: float = 0.25
    """Seconds until a silent seed is tried again; doubles up to `seed_retry_max`."""
    seed_retry_max: float = 10.0
    """Seconds between tries of a seed that stays silent; they never end."""
    ack_interval: float = 0.05
    """Seconds between asking members again how far they are, while somebody waits in `synced`."""
    max_held: int = 4096
    """Messages that wait for the disk at most; further datagrams are dropped and repaired by digests."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            kinds = (int,) if field.type is int else (int, float)
            if type(value) not in kinds or not 0 < value < float("inf"):
                kind = "whole number" if field.type is int else "number"
                raise ConfigError(f"{field.name} must be a {kind} above 0, not {value!r}")
        if self.hops > MAX_HOPS:
            raise ConfigError(f"hops must be {MAX_HOPS} at most, not {self.hops}")
        if not 600 <= self.datagram_bytes <= 65_000:
            raise ConfigError(f"datagram_bytes must be between 600 and 65,000, not {self.datagram_bytes}")
        if self.stream_chunk_bytes > MAX_CHUNK_BYTES:
            raise ConfigError(f"stream_chunk_bytes must be {MAX_CHUNK_BYTES:,} at most, or peers may refuse them")
        if self.max_frame_bytes < MAX_EVENT_BYTES:
            raise ConfigError(f"max_frame_bytes must be {MAX_EVENT_BYTES:,} at least, to hold the largest event")

    @classmethod
    def lan(cls) -> "Config":
        """One building, round trips under a millisecond, hardly any loss: the default."""
        return cls()

    @classmethod
    def wan(cls) -> "Config":
        """Several sites: batches a little longer, digests rarer, more patience."""
        return cls(
            push_interval=0.02,
            probe_interval=2.0,
            probe_timeout=1.0,
            probe_timeout_max=5.0,
            suspicion=4.0,
            update_interval=0.5,
            stream_timeout=30.0,
            ack_interval=0.25,
            seed_retry=1.0,
        )

    @classmethod
    def local(cls) -> "Config":
        """Processes on one machine: quick to notice, as traffic costs next to nothing."""
        return cls(
            probe_interval=0.2,
            probe_timeout=0.1,
            suspicion=0.5,
            update_interval=0.05,
            seed_retry=0.1,
            seed_retry_max=2.0,
            ack_interval=0.02,
        )
