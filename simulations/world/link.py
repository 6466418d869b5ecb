"""What one direction between two nodes does to what is sent over it."""

import math
from dataclasses import dataclass
from typing import Final

from ..errors import ScenarioError
from .latency import Constant, Latency, Uniform

_SHARES: Final = ("loss", "burst_loss", "duplication", "echoes", "reordering", "corruption", "stream_breaks")
_AMOUNTS: Final = ("burst_every", "burst_length", "reorder_delay", "echo_delay", "bandwidth", "queue_bytes", "mtu")


QUIET: Final = Uniform(0.0002, 0.0010)
"""The latency of a LAN."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """The manners of one direction between two nodes. The default is a quiet LAN."""

    latency: Latency | tuple[float, float] | float = QUIET
    """One-way delay in seconds: a distribution, or (least, most), or always the same."""
    loss: float = 0.0
    """Share of datagrams lost, each on its own."""
    burst_every: float = 0.0
    """Seconds between two bursts of loss on average (Gilbert and Elliott's two states); 0 for none."""
    burst_length: float = 0.2
    """Seconds that a burst lasts on average."""
    burst_loss: float = 0.8
    """Share of datagrams lost during a burst."""
    duplication: float = 0.0
    """Share of datagrams delivered twice."""
    echoes: float = 0.0
    """Share of datagrams that arrive a second time up to `echo_delay` later, when they may be about an earlier life."""
    echo_delay: float = 30.0
    """Seconds."""
    reordering: float = 0.0
    """Share of datagrams held back by up to `reorder_delay`. Unequal latencies reorder a little by themselves."""
    reorder_delay: float = 0.05
    """Seconds."""
    corruption: float = 0.0
    """Share of datagrams of which a bit arrives flipped."""
    bandwidth: float = 0.0
    """Bytes a second; 0 for no limit. Streams and datagrams share it."""
    queue_bytes: int = 64 * 1024
    """Bytes that may wait for the bandwidth; datagrams beyond that are lost."""
    mtu: int = 0
    """Bytes of the largest packet, IP and UDP headers of 28 bytes included; larger datagrams are lost. 0 for none."""
    stream_breaks: float = 0.0
    """Share of what is written to a stream that breaks it instead of arriving."""

    def __post_init__(self) -> None:
        if isinstance(self.latency, tuple):
            object.__setattr__(self, "latency", Uniform(*self.latency))
        elif isinstance(self.latency, int | float):
            object.__setattr__(self, "latency", Constant(float(self.latency)))
        for name in _SHARES:
            if not 0 <= getattr(self, name) <= 1:
                raise ScenarioError(f"{name} is a share from 0 to 1, not {getattr(self, name)}")
        for name in _AMOUNTS:
            if not 0 <= getattr(self, name) < math.inf:
                raise ScenarioError(f"{name} is at least 0 and finite, not {getattr(self, name)}")

    @property
    def is_rough(self) -> bool:
        """True if datagrams may be lost, spoiled or held back for long."""
        return any((self.loss, self.burst_every, self.corruption, self.bandwidth, self.mtu, self.reordering))

    @property
    def delay(self) -> Latency:
        """The latency as the distribution that it is kept as."""
        assert not isinstance(self.latency, tuple | float | int)
        return self.latency
