"""What the demo measures, computed from what the workers noted. No I/O."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from crdts import Dot, ReplicaId
from gossip.protocol import Statistics

Sighting = tuple[ReplicaId, int, int, int]
"""(replica id, start, stop, instant): the writes start, start + 1, ..., stop - 1 of it became visible together."""


@dataclass(frozen=True, slots=True)
class ReplayFigures:
    """What the replay took. Traffic is that of all nodes together, digests and acknowledgements included."""

    steps: int
    changes: int
    deletes: int
    authors: int
    files: int
    seconds: float
    datagrams: int
    bytes: int
    visible_p50_ms: float
    """From a write to the moment at which the last of the other nodes could read it."""
    visible_p99_ms: float

    @property
    def bytes_per_change(self) -> float:
        return self.bytes / self.changes


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of ``values`` that at least ``share`` of them (0 to 1) do not exceed: the nearest rank."""
    if not values or not 0 <= share <= 1:
        raise ValueError(f"no percentile {share} of {len(values)} values")
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def visible_after(written: Mapping[Dot, int], sightings: Iterable[Sequence[Sighting]]) -> list[int]:
    """For every write, how long until the last node saw it; in the unit of the instants.

    ``sightings`` has one sequence for each node; a node is not expected to report its own writes. Raises LookupError
    for a write that some node never saw.
    """
    last: dict[Dot, int] = {}
    seen_by: dict[Dot, int] = dict.fromkeys(written, 0)
    nodes = 0
    for of_node in sightings:
        nodes += 1
        for replica, start, stop, instant in of_node:
            for dot in ((replica, seq) for seq in range(start, stop)):
                if dot in written:
                    seen_by[dot] += 1
                    last[dot] = max(last.get(dot, instant), instant)
    unseen = [dot for dot, count in seen_by.items() if count != nodes - 1]
    if unseen:
        raise LookupError(f"{len(unseen)} writes were not seen exactly once on every other node, first {unseen[0]}")
    return [last[dot] - instant for dot, instant in written.items()]


def traffic(before: Iterable[Statistics], after: Iterable[Statistics]) -> tuple[int, int]:
    """Datagrams and bytes that all nodes together sent in between, streams included in the bytes."""
    datagrams = octets = 0
    for sign, statistics in ((-1, before), (1, after)):
        for node in statistics:
            datagrams += sign * node.datagrams_sent
            octets += sign * (node.datagram_bytes_sent + node.stream_bytes_sent)
    return datagrams, octets
