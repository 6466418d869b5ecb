"""Faults at random: what a seed makes of the kinds that are asked for."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from ..errors import ScenarioError
from ..world.disk import TAILS
from ..world.link import Link
from ..world.topology import KINDS, Topology
from .registry import (
    Churn,
    ClockJump,
    Clone,
    Crash,
    Deaf,
    DiskError,
    DiskFull,
    Fault,
    Flap,
    Forge,
    Isolate,
    Join,
    Leave,
    OldNews,
    OneWay,
    Partition,
    Pause,
    RestartAll,
    Retire,
    SlowDisk,
    Weather,
)

_Draw: TypeAlias = Callable[[random.Random, int, float, float], Fault]


def _partition(rng: random.Random, nodes: int, at: float, seconds: float) -> Fault:
    order = rng.sample(range(nodes), nodes)
    size = rng.randint(1, max(1, nodes - 1))
    groups = tuple(sorted(order[:size])), tuple(sorted(order[size:]))
    return Partition(at=at, seconds=seconds, groups=groups)


def _some(rng: random.Random, nodes: int) -> tuple[int, ...]:
    return tuple(sorted(rng.sample(range(nodes), rng.randint(1, max(1, nodes // 3)))))


def _weather(rng: random.Random, _nodes: int, at: float, seconds: float) -> Fault:
    link = {
        "loss": rng.choice([0.0, 0.1, 0.3, 0.5]),
        "duplication": rng.choice([0.0, 0.0, 0.2]),
        "reordering": rng.choice([0.0, 0.2]),
        "corruption": rng.choice([0.0, 0.0, 0.05]),
        "stream_breaks": rng.choice([0.0, 0.05, 0.3]),
        "bandwidth": rng.choice([0.0, 0.0, 50_000.0]),
        "burst_every": rng.choice([0.0, 0.0, 1.0]),
        "echoes": rng.choice([0.0, 0.2]),
    }
    return Weather(at=at, seconds=seconds, link=tuple(link.items()))


def _retire(rng: random.Random, nodes: int, at: float, seconds: float) -> Fault:
    node, by = rng.sample(range(nodes), 2)
    return Retire(at=at, seconds=rng.choice([0.0, seconds, seconds]), node=node, by=by)


DRAWS: Final[dict[str, _Draw]] = {
    "partition": _partition,
    "one-way": lambda rng, nodes, at, seconds: OneWay(at=at, seconds=seconds, of=_some(rng, nodes)),
    "deaf": lambda rng, nodes, at, seconds: Deaf(at=at, seconds=seconds, of=_some(rng, nodes)),
    "isolate": lambda rng, nodes, at, seconds: Isolate(at=at, seconds=seconds, node=rng.randrange(nodes)),
    "flap": lambda rng, nodes, at, seconds: Flap(
        at=at, seconds=seconds, of=_some(rng, nodes), down=rng.uniform(0.05, 3.0), up=rng.uniform(0.05, 3.0)
    ),
    "weather": _weather,
    "crash": lambda rng, nodes, at, seconds: Crash(
        at=at, seconds=seconds, node=rng.randrange(nodes), tail=rng.choice(TAILS)
    ),
    "wipe": lambda rng, nodes, at, seconds: Crash(at=at, seconds=seconds, node=rng.randrange(nodes), wipe=True),
    "restart-all": lambda rng, _nodes, at, _seconds: RestartAll(
        at=at, every=rng.choice([0.0, 0.3]), down=rng.uniform(0.1, 3.0), tail=rng.choice(TAILS)
    ),
    "pause": lambda rng, nodes, at, seconds: Pause(at=at, seconds=seconds, node=rng.randrange(nodes)),
    "clock-jump": lambda rng, nodes, at, _seconds: ClockJump(
        at=at, node=rng.randrange(nodes), by=rng.choice([-3600.0, -30.0, 30.0, 3600.0])
    ),
    "disk-full": lambda rng, nodes, at, seconds: DiskFull(at=at, seconds=seconds, node=rng.randrange(nodes)),
    "disk-error": lambda rng, nodes, at, _seconds: DiskError(
        at=at, node=rng.randrange(nodes), write=rng.randint(1, 30), full=rng.choice([False, True])
    ),
    "slow-disk": lambda rng, nodes, at, seconds: SlowDisk(
        at=at, seconds=seconds, node=rng.randrange(nodes), delay=rng.choice([0.01, 0.1, 0.5])
    ),
    "join": lambda _rng, _nodes, at, _seconds: Join(at=at),
    "leave": lambda rng, nodes, at, seconds: Leave(
        at=at, seconds=rng.choice([0.0, seconds, seconds]), node=rng.randrange(nodes)
    ),
    "power-loss": lambda rng, nodes, at, seconds: Crash(
        at=at, seconds=seconds, node=rng.randrange(nodes), tail=rng.choice(TAILS), power=True
    ),
    "blackout": lambda rng, _nodes, at, _seconds: RestartAll(
        at=at, down=rng.uniform(0.1, 3.0), tail=rng.choice(TAILS), power=True
    ),
    "clone": lambda rng, nodes, at, seconds: Clone(at=at, seconds=seconds, node=rng.randrange(nodes)),
    "retire": _retire,
    "churn": lambda rng, _nodes, at, seconds: Churn(at=at, seconds=min(seconds, 5.0), every=rng.uniform(1.0, 5.0)),
    "forge": lambda _rng, _nodes, at, seconds: Forge(at=at, seconds=seconds),
    "old-news": lambda rng, nodes, at, seconds: OldNews(at=at, seconds=seconds, node=rng.randrange(nodes)),
}
"""How each kind is drawn: from the rng, the number of nodes, and when it begins and for how long."""
ON_REQUEST: Final = ("power-loss", "blackout", "clone")
"""Kinds that are drawn only where they are asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chaos:
    """So many random faults of these kinds, at any time, of any length, one on top of another."""

    count: int = 8
    kinds: tuple[str, ...] = tuple(kind for kind in DRAWS if kind not in ON_REQUEST)
    longest: float = 30.0
    """Seconds that a fault lasts at most."""
    settings: bool = True
    """Draw the nodes' settings as well: how much fits a datagram, how soon a stream is needed, how long a log is."""
    log_limits: tuple[int, ...] = (4, 20, 65_536)
    """The scenario's `log_limit` is one of these, in kills, where settings are drawn."""

    def __post_init__(self) -> None:
        unknown = [kind for kind in self.kinds if kind not in DRAWS]
        if unknown or not self.kinds:
            raise ScenarioError(f"chaos: kinds are some of {', '.join(DRAWS)}, not {', '.join(unknown) or 'none'}")
        if self.count < 0 or self.longest <= 0:
            raise ScenarioError("chaos: count is not negative, and longest is in seconds, above 0")
        if not self.log_limits or min(self.log_limits) < 0:
            raise ScenarioError("chaos: log_limits are numbers of kills, none of them negative, at least one")

    def setting(self, rng: random.Random) -> dict[str, Any]:
        """Fields of `Scenario` that differ in one run."""
        if not self.settings:
            return {}
        config = {
            "fanout": rng.choice([1, 2, 4]),
            "probe_interval": rng.choice([0.3, 1.0]),
            "datagram_bytes": rng.choice([600, 1200]),
            "stream_chunk_bytes": rng.choice([500, 65_536]),
            "push_buffer_bytes": rng.choice([1_000, 262_144]),
            "catchup_datagrams": rng.choice([1, 2, 32]),
            "max_context_pages": rng.choice([1, 16]),
            "max_streams": rng.choice([1, 8]),
        }
        return {
            "config": tuple(config.items()),
            "log_limit": rng.choice(self.log_limits),
            "disk_delay": rng.choice([0.0, 0.005, 0.5]),
            "start": rng.choice(["boot", "warm"]),
            "disk": rng.choice([True, True, True, False]),
            "topology": Topology(
                kind=rng.choice(["lan", "lan", *KINDS]),
                near=Link(loss=rng.choice([0.0, 0.0, 0.1]), echoes=rng.choice([0.0, 0.1])),
            ),
        }

    def faults(self, rng: random.Random, nodes: int, duration: float) -> list[Fault]:
        """The faults of one run."""
        found = []
        for _ in range(self.count):
            at = rng.uniform(0.0, duration)
            seconds = min(rng.uniform(0.1, self.longest), duration - at)
            found.append(DRAWS[rng.choice(self.kinds)](rng, nodes, at, seconds))
        return found
