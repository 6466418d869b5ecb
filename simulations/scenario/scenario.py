"""A scenario: everything that a run depends on, besides its seed. Plain data; `file.py` reads it from TOML."""

import random
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from gossip.protocol import Config

from ..errors import ScenarioError
from ..faults.chaos import Chaos
from ..faults.registry import Fault
from ..world.cluster import DURABILITIES, FULL, Cluster
from ..world.topology import LAN, Topology
from .operations import OPERATIONS, Write
from .workload import UNIFORM, Workload

KEY = b"the key of a simulated cluster.."

MAX_NODES: Final = 100_000
"""Nodes at the start."""
MAX_SKEW: Final = 1e8
"""Seconds that a clock is wrong by at most: stamps end in the year 2112."""
MAX_WRITES: Final = 1_000_000
"""Writes of all workloads in one run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A cluster, what is done to it, what it does meanwhile, and by when it must have come together again."""

    name: str
    title: str = ""
    """One line for people."""
    about: str = ""
    """What it shows, and why it ends as it does."""
    nodes: int = 10
    duration: float = 60.0
    """Virtual seconds. Then all faults are lifted, every node that died comes back, and writing ends."""
    settle: float = 60.0
    """Virtual seconds after that by which all nodes must be equal, and know who is there."""
    start: str = "boot"
    """``boot``: all nodes start at once and join through the first. ``warm``: they know each other already."""
    view: int = 0
    """Members that each node knows at a warm start, an even number; 0 for all. Who knows whom is not judged then."""
    profile: str = "lan"
    """Which of the presets of `gossip.Config` the nodes use."""
    config: tuple[tuple[str, Any], ...] = ()
    """Fields of `gossip.Config` that differ from it."""
    sealed: bool = False
    """Encrypt everything, as nodes do. It changes nothing but the speed."""
    disk: bool = True
    """What a node has saved outlives it."""
    disk_delay: float = 0.0
    """Seconds that a disk takes to save what waits for it."""
    durability: str = FULL
    """``full``: what is saved survives a power loss. ``normal``: the end of the process."""
    log_limit: int = 65_536
    """Kills that a node remembers for those that lag behind; fewer make it send states."""
    clock_skew: float = 0.0
    """Seconds that a node's clock is wrong by at most, either way."""
    clock_drift: float = 0.0
    """Seconds a second that it gains or loses at most."""
    topology: Topology = LAN
    workload: tuple[Workload, ...] = (UNIFORM,)
    faults: tuple[Fault, ...] = ()
    chaos: Chaos | None = None
    """Further faults, drawn at random."""
    writes: tuple[Write, ...] = ()
    """Further writes, each on its own."""
    membership: bool = True
    """True if every node must list exactly the running ones as alive in the end."""
    rest: float = 5.0
    """Virtual seconds for which nodes are watched when nothing is left to do; 0: not at all."""
    dead_links: float = 1.0
    """Share of the entries of all views that may name a node which does not run, in the end; 1: not asked."""

    def __post_init__(self) -> None:
        for each in fields(self):  # the same run whether it says 5 or 5.0, as files do
            if each.type is float:
                object.__setattr__(self, each.name, float(getattr(self, each.name)))
        if any(type(write.at) is not float for write in self.writes):
            object.__setattr__(self, "writes", tuple(replace(each, at=float(each.at)) for each in self.writes))
        self._check_numbers()
        self._check_limits()
        if self.start not in ("boot", "warm"):
            raise ScenarioError(f"start is boot or warm, not {self.start!r}")
        if self.view and self.start != "warm":
            raise ScenarioError("view is for a warm start: without, nodes look for all others")
        if self.profile not in ("lan", "wan", "local"):
            raise ScenarioError(f"profile is lan, wan or local, not {self.profile!r}")
        if self.durability not in DURABILITIES:
            raise ScenarioError(f"durability is {' or '.join(DURABILITIES)}, not {self.durability!r}")
        for write in self.writes:
            if write.operation not in OPERATIONS:
                raise ScenarioError(f"there is no operation {write.operation!r}; there are {', '.join(OPERATIONS)}")
        self.node_config()

    def _check_numbers(self) -> None:
        if self.nodes < 1:
            raise ScenarioError(f"nodes is at least 1, not {self.nodes}")
        for name in ("duration", "settle"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ScenarioError(f"{name} is in seconds, above 0, not {getattr(self, name)}")
        if self.view % 2:
            raise ScenarioError(f"view is an even number, not {self.view}")
        for name in ("view", "rest", "disk_delay", "log_limit", "clock_skew"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ScenarioError(f"{name} is not negative, and finite, not {getattr(self, name)}")
        if not 0 <= self.dead_links <= 1:
            raise ScenarioError(f"dead_links is a share from 0 to 1, not {self.dead_links}")
        if not 0 <= self.clock_drift < 1:
            raise ScenarioError(f"clock_drift is in seconds a second, at least 0 and below 1, not {self.clock_drift}")

    def _check_limits(self) -> None:
        """Beyond, a run would never end or overflow."""
        if self.nodes > MAX_NODES:
            raise ScenarioError(f"nodes is at most {MAX_NODES:,}, not {self.nodes:,}")
        if self.clock_skew > MAX_SKEW:
            raise ScenarioError(f"clock_skew is in seconds, at most {MAX_SKEW:g}, not {self.clock_skew}")
        writes = sum(each.rate * max(0.0, (each.until or self.duration) - each.start) for each in self.workload)
        if writes > MAX_WRITES:
            raise ScenarioError(f"workload: rate makes {writes:,.0f} writes in all, and at most {MAX_WRITES:,} may be")

    def node_config(self) -> Config:
        """The nodes' settings; raises `gossip.ConfigError`."""
        preset: Config = getattr(Config, self.profile)()
        try:
            return replace(preset, **dict(self.config))
        except TypeError as error:
            raise ScenarioError(f"config: {error}") from None

    def concrete(self, seed: int) -> "Scenario":
        """The same with everything that is left to chance drawn from ``seed``: faults and writes one by one."""
        rng = random.Random(f"{seed} scenario")
        faults = list(self.faults)
        setting: dict[str, Any] = {}
        if self.chaos is not None:
            setting = self.chaos.setting(rng)
            if "config" in setting:
                setting["config"] = tuple({**dict(setting["config"]), **dict(self.config)}.items())
            faults += self.chaos.faults(rng, self.nodes, self.duration)
        writes = list(self.writes)
        for workload in self.workload:
            writes += workload.writes(rng, self.nodes, self.duration)
        return replace(
            self,
            faults=tuple(sorted(faults, key=lambda fault: fault.at)),
            writes=tuple(sorted(writes, key=lambda write: write.at)),
            workload=(),
            chaos=None,
            **setting,
        )

    def cluster(self, seed: int, **options: Any) -> Cluster:
        """The nodes, booted or warm."""
        return Cluster(
            self.nodes,
            seed=seed,
            topology=self.topology,
            config=self.node_config(),
            key=KEY if self.sealed else None,
            disk=self.disk,
            disk_delay=self.disk_delay,
            durability=self.durability,
            log_limit=self.log_limit,
            clock_skew=self.clock_skew,
            clock_drift=self.clock_drift,
            warm=self.start == "warm",
            view=self.view,
            **options,
        )
