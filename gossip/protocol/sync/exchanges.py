"""Reconciliations that broke off with their streams. The next stream to the same member carries them on.

What has arrived must not be joined before all has. So it is held, within bounds of time, number and bytes.
"""

from dataclasses import dataclass
from typing import Final

from crdts import Delta, Reconciliation

from ..wire.messages import Introduce

KEPT_SECONDS: Final = 60.0
"""Seconds that a reconciliation is held for another stream to carry it on."""
KEPT_EXCHANGES: Final = 4
"""Reconciliations that are held at most; the oldest makes way."""
KEPT_BYTES: Final = 32 << 20
"""Bytes of entries in all reconciliations that are held; the oldest ones make way."""
SPOILED_MOST: Final = 64
"""Lives of members that are remembered at most because they broke the rules of a reconciliation."""


@dataclass(slots=True, eq=False)
class Exchange:
    """A reconciliation with one life of one member, over one or several streams."""

    name: bytes
    """The name that both sides give to the reconciliation."""
    talk: Reconciliation
    resumed: bool = False
    """True if an earlier stream began the reconciliation."""
    difference: Delta | None = None
    """What is to be joined; None before all of it is known, and after it was handed over."""


@dataclass(slots=True)
class _Kept:
    exchange: Exchange
    since: float


class Exchanges:
    """The reconciliations to be carried on: one at most for each life of a member."""

    def __init__(self) -> None:
        self._kept: dict[tuple[bytes, int], _Kept] = {}
        self._spoiled: dict[tuple[bytes, int], None] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, now: float, peer: Introduce, exchange: Exchange) -> None:
        """Hold a reconciliation whose stream broke."""
        self._kept.pop((peer.node_id, peer.epoch), None)
        self._kept[peer.node_id, peer.epoch] = _Kept(exchange, now)
        while len(self._kept) > KEPT_EXCHANGES or self._bytes > KEPT_BYTES:
            del self._kept[next(iter(self._kept))]

    @property
    def _bytes(self) -> int:
        return sum(kept.exchange.talk.held_bytes for kept in self._kept.values())

    def take(self, peer: Introduce) -> Exchange | None:
        """The reconciliation that is held for this life of a member, held no more; None if there is none."""
        kept = self._kept.pop((peer.node_id, peer.epoch), None)
        if kept is None:
            return None
        kept.exchange.resumed = True
        return kept.exchange

    def spoil(self, peer: Introduce) -> None:
        """Note that this life of a member broke the rules of a reconciliation: from now on it gets whole states."""
        self._spoiled[peer.node_id, peer.epoch] = None
        if len(self._spoiled) > SPOILED_MOST:
            del self._spoiled[next(iter(self._spoiled))]

    def is_spoiled(self, peer: Introduce) -> bool:
        """True if this life of a member broke the rules of a reconciliation."""
        return (peer.node_id, peer.epoch) in self._spoiled

    def deadline(self) -> float:
        """When the oldest reconciliation is given up; infinity if none is held."""
        return min((kept.since for kept in self._kept.values()), default=float("inf")) + KEPT_SECONDS

    def tick(self, now: float) -> None:
        for key in [key for key, kept in self._kept.items() if now >= kept.since + KEPT_SECONDS]:
            del self._kept[key]
