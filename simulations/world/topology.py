"""Which link lies between any two nodes: a LAN, two data centres, a slow edge, a star."""

from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final

from ..errors import ScenarioError
from .latency import LogNormal, Sum
from .link import Link

ONE_PLACE: Final = "lan"
TWO_DATACENTRES: Final = "two-datacentres"
SLOW_EDGE: Final = "slow-edge"
STAR: Final = "star"
NEAR: Final = Link()
FAR: Final = Link(latency=LogNormal(0.04, 0.25))
"""Some hundred miles: 80 ms there and back."""
KINDS: Final = (ONE_PLACE, TWO_DATACENTRES, SLOW_EDGE, STAR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """A layout. ``near`` connects nodes of one place, ``far`` everything else."""

    kind: str = ONE_PLACE
    """``lan``: all near. ``two-datacentres``: the even nodes in one, the odd in the other. ``slow-edge``: of every
    ``edge_every`` nodes the last is far from everybody. ``star``: everybody is near to node 0 and, through it, twice
    as far from the others. It is a shape of latencies: only loss and latency are doubled, and cutting off node 0 does
    not cut the others from each other."""
    near: Link = NEAR
    far: Link = FAR
    edge_every: int = 4

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ScenarioError(f"a topology is one of {', '.join(KINDS)}, not {self.kind!r}")
        if self.edge_every < 1:
            raise ScenarioError(f"edge_every is at least 1, not {self.edge_every}")

    @property
    def is_rough(self) -> bool:
        """True if any link may lose datagrams, spoil them or hold them back for long."""
        return self.near.is_rough or self.far.is_rough

    def with_links(self, **changes: Any) -> "Topology":
        """The same layout with something changed on every link, such as ``loss=0.2``."""
        return replace(self, near=replace(self.near, **changes), far=replace(self.far, **changes))

    def link(self, source: int, target: int) -> Link:
        """The link from one node to another."""
        match self.kind:
            case "two-datacentres":
                return self.near if source % 2 == target % 2 else self.far
            case "slow-edge":
                on_edge = self.edge_every - 1
                return self.far if on_edge in (source % self.edge_every, target % self.edge_every) else self.near
            case "star":
                return self.near if 0 in (source, target) else _doubled(self.near)
            case _:
                return self.near


@cache
def _doubled(link: Link) -> Link:
    """Two such links in a row."""
    return replace(link, loss=1 - (1 - link.loss) ** 2, latency=Sum((link.delay, link.delay)))


LAN: Final = Topology()
