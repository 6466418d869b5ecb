"""What every fault is: a plain record of what is done to a cluster, when, for how long, and to whom.

``apply`` begins a fault and returns what ends it, or None if it ends by itself. Nodes are named by index; a fault that
no longer fits (its node has left, say) does nothing, so that a schedule stays valid when parts of it are taken away.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from ..errors import ScenarioError

if TYPE_CHECKING:
    from ..world.cluster import Cluster

End: TypeAlias = Callable[[], object] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Base of all faults."""

    kind: ClassVar[str]
    at: float = 0.0
    """Virtual seconds since the start."""
    seconds: float = 0.0
    """How long it lasts; 0: until the end of the scenario, when all faults are lifted."""

    def __post_init__(self) -> None:
        for each in fields(self):  # the same run whether it says 5 or 5.0, as files do
            if each.type is float:
                object.__setattr__(self, each.name, float(getattr(self, each.name)))
        for name in ("at", "seconds"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ScenarioError(f"{self.kind}: {name} is in seconds, at least 0, not {getattr(self, name)}")

    def apply(self, cluster: "Cluster") -> End:
        raise NotImplementedError

    def nodes(self) -> tuple[int, ...]:
        """Whom it is done to, as far as it says."""
        return ()


def held(cluster: "Cluster", key: tuple[str, int], release: Callable[[], object]) -> Callable[[], None]:
    """One more fault holds what ``key`` names; returns what ends it. With the last of them, ``release`` is called."""
    cluster.holds[key] += 1
    ended = False

    def end() -> None:
        nonlocal ended
        if not ended:
            ended = True
            cluster.holds[key] -= 1
            if not cluster.holds[key]:
                release()

    return end


def is_up(cluster: "Cluster", index: int) -> bool:
    """True if the node exists and runs."""
    return index < len(cluster.nodes) and cluster[index].up
