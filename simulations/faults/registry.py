"""Every kind of fault by the name it has in scenario files."""

from typing import Final

from .base import Fault
from .network import LAYOUTS, Deaf, Flap, Forge, Isolate, OldNews, OneWay, Partition, Replay, Weather
from .node import (
    Churn,
    ClockJump,
    Clone,
    Crash,
    DiskError,
    DiskFull,
    Join,
    Leave,
    MassCrash,
    Pause,
    RestartAll,
    Retire,
    SlowDisk,
)
from .workers import Workers

__all__ = [
    "FAULTS",
    "LAYOUTS",
    "Churn",
    "ClockJump",
    "Clone",
    "Crash",
    "Deaf",
    "DiskError",
    "DiskFull",
    "Fault",
    "Flap",
    "Forge",
    "Isolate",
    "Join",
    "Leave",
    "MassCrash",
    "OldNews",
    "OneWay",
    "Partition",
    "Pause",
    "Replay",
    "RestartAll",
    "Retire",
    "SlowDisk",
    "Weather",
    "Workers",
]

FAULTS: Final[dict[str, type[Fault]]] = {
    each.kind: each
    for each in (
        *(
            Partition,
            OneWay,
            Deaf,
            Isolate,
            Flap,
            Weather,
            Crash,
            MassCrash,
            RestartAll,
            Pause,
            ClockJump,
            DiskFull,
            DiskError,
            SlowDisk,
        ),
        *(Join, Leave, Retire, Churn, Workers, Clone, Forge, OldNews, Replay),
    )
}
"""In the order in which they are documented."""
