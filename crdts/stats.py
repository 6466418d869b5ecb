"""What a replica holds and what that takes, so that a user sees what grows and why."""

from dataclasses import dataclass, field

from .codec import encode, encode_context
from .delta import state_delta
from .folds import entries_of
from .schema import KIND_OF_TAG, RETIRED, names_of, type_tag
from .store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """One look at a replica. All but `encoded_bytes` and `bytes_by_object` is counted, not estimated."""

    entries: int
    """Live entries: what there is to read."""
    dots: int
    """Events processed, ever."""
    replica_ids: int
    """Writers in the causal context that is exchanged: what every exchange costs, however little has changed."""
    retired_ids: int
    """Writers that have left it."""
    log_kills: int
    """Replaced dots that are remembered for peers that lag behind, and transactions."""
    cloud: int
    """Ranges of dots processed ahead of others of the same writer; 0 when nothing is under way."""
    prekilled: int
    """Dots replaced before they arrived; 0 when nothing is under way."""
    refused: int
    """Events of retired writers that came too late."""
    no_room: int
    """Events, transactions and states that were not processed: there are too many writers or pre-killed dots."""
    impostors: int
    """Events under this replica's own id that it has not written: not 0 means that somebody else uses the id."""
    doubled: int
    """How often a dot came with another content than it has here: two processes have used one replica id."""
    stamps_refused: int
    """Stamps too far ahead of the clock to follow; their values were taken all the same."""
    encoded_bytes: int
    """The whole state, encoded."""
    bytes_by_object: dict[str, int] = field(default_factory=dict)
    """The entries of each object, encoded on their own, as ``"orset tasks"``."""


def stats_of(store: Store) -> Stats:
    """The figures of this moment. Takes time in proportion to the whole state, as it encodes it."""
    kernel = store.kernel
    context = kernel.exported_context()
    by_object: dict[str, int] = {}
    empty = len(encode_context(context))
    for obj in sorted(kernel.objects):
        tag = type_tag(obj)
        if obj == RETIRED:
            name = "retired writers"
        else:
            name = f"{KIND_OF_TAG[tag]} {'/'.join(names_of(obj))}".rstrip() if tag in KIND_OF_TAG else obj.hex()
        entries = state_delta(entries_of(kernel.places(obj)), context, ())
        by_object[name] = max(0, len(encode(entries)) - empty)
    return Stats(
        entries=sum(map(len, kernel.live.values())),
        dots=len(kernel.context),
        replica_ids=len(context.replicas()),
        retired_ids=sum(limit.closed for limit in kernel.limits.values()),
        log_kills=kernel.log.size,
        cloud=context.cloud_size(),
        prekilled=sum(map(len, kernel.prekilled.values())),
        refused=kernel.refused,
        no_room=kernel.room.refused,
        impostors=kernel.impostors,
        doubled=kernel.doubled.count,
        stamps_refused=store.clock.refused,
        encoded_bytes=len(encode(kernel.state())),
        bytes_by_object=by_object,
    )
