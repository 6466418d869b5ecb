"""Reconciliations that broke off with their streams, and that the next stream to the same member carries on.

What has arrived must not be joined before all has, so it is held: for a minute, of a few members, and not too much.
"""

from dataclasses import dataclass
from typing import Final

from crdts import Delta, Reconciliation

from .messages import Introduce

KEPT_SECONDS: Final = 60.0
"""Seconds after which nobody can be expected to carry one on,"""
KEPT_EXCHANGES: Final = 4
"""so many that are held at most, and"""
KEPT_BYTES: Final = 32 << 20
"""bytes of entries in all of them; the oldest go first."""
SPOILED_MOST: Final = 64
"""Lives of members that are remembered for having broken the rules of one."""


@dataclass(slots=True, eq=False)
class Exchange:
    """One reconciliation with one life of one member, over as many streams as it takes."""

    name: bytes
    """What both sides call it."""
    talk: Reconciliation
    resumed: bool = False
    """Whether an earlier stream began it."""
    difference: Delta | None = None
    """What is to be joined, from when all is known until it is handed over."""


@dataclass(slots=True)
class _Kept:
    exchange: Exchange
    since: float


class Exchanges:
    """Those that are to be carried on; one for each life of a member."""

    def __init__(self) -> None:
        self._kept: dict[tuple[bytes, int], _Kept] = {}
        self._spoiled: dict[tuple[bytes, int], None] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, now: float, peer: Introduce, exchange: Exchange) -> None:
        """A stream broke in the middle of one."""
        self._kept.pop((peer.node_id, peer.epoch), None)
        self._kept[peer.node_id, peer.epoch] = _Kept(exchange, now)
        while len(self._kept) > KEPT_EXCHANGES or self._bytes > KEPT_BYTES:
            del self._kept[next(iter(self._kept))]

    @property
    def _bytes(self) -> int:
        return sum(kept.exchange.talk.held_bytes for kept in self._kept.values())

    def take(self, peer: Introduce) -> Exchange | None:
        """What is to be carried on with this life of a member, if there is something; it is not held any more."""
        kept = self._kept.pop((peer.node_id, peer.epoch), None)
        if kept is None:
            return None
        kept.exchange.resumed = True
        return kept.exchange

    def spoil(self, peer: Introduce) -> None:
        """This life of a member has broken the rules of one: from now on it gets whole states."""
        self._spoiled[peer.node_id, peer.epoch] = None
        if len(self._spoiled) > SPOILED_MOST:
            del self._spoiled[next(iter(self._spoiled))]

    def is_spoiled(self, peer: Introduce) -> bool:
        return (peer.node_id, peer.epoch) in self._spoiled

    def deadline(self) -> float:
        """When the oldest is given up."""
        return min((kept.since for kept in self._kept.values()), default=float("inf")) + KEPT_SECONDS

    def tick(self, now: float) -> None:
        for key in [key for key, kept in self._kept.items() if now >= kept.since + KEPT_SECONDS]:
            del self._kept[key]
