"""What one run leaves behind for people and machines: plain data, ready for JSON."""

from dataclasses import asdict, dataclass
from typing import Any

from ..judging.oracles import Failure


@dataclass(frozen=True, slots=True)
class WriteTrace:
    """How one write spread."""

    at: float
    node: int
    """Who wrote it."""
    arrivals: tuple[tuple[float, int, int], ...]
    """(when, node, from whom), in order of time; -1: over a stream, or unknown. Who lost it may get it again."""
    losses: tuple[tuple[float, int], ...] = ()
    """(when, node), in order of time: a node came back without what it had."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A fault, while it lasted."""

    kind: str
    start: float
    end: float
    nodes: tuple[int, ...]
    """Whom it was done to; empty: all."""
    detail: str
    sides: tuple[int, ...] = ()
    """For a partition: the group of each node."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The cluster at one instant, and what it did since the sample before."""

    at: float
    running: int
    states: int
    """Different contents among the running nodes."""
    datagrams: int
    bytes: int


@dataclass(frozen=True, slots=True)
class NodeTotals:
    """What one node sent and received, over all its lives."""

    name: str
    up: bool
    datagrams_sent: int
    bytes_sent: int
    """Datagrams and streams."""
    events_new: int
    events_known: int
    lives: tuple[tuple[float, float], ...] = ()
    """From when to when it ran, in virtual seconds; one that still does, to the end of the run."""


@dataclass(frozen=True, slots=True)
class Spread:
    """A distribution of seconds."""

    count: int
    p50: float
    p99: float
    most: float

    @classmethod
    def of(cls, seconds: list[float]) -> "Spread":
        if not seconds:
            return cls(0, 0.0, 0.0, 0.0)
        ordered = sorted(seconds)
        return cls(len(ordered), quantile(ordered, 0.5), quantile(ordered, 0.99), ordered[-1])


def quantile(ordered: list[float], share: float) -> float:
    """The smallest value that at least ``share`` of the sorted values do not exceed."""
    return ordered[max(0, -int(-len(ordered) * share // 1) - 1)]


@dataclass(frozen=True, slots=True)
class Summary:
    """A run in numbers."""

    nodes: int
    running: int
    seconds: float
    """Virtual seconds in all."""
    writes: int
    refused: int
    """Writes that the node's replica or its disk refused, or whose node was down or paused."""
    delivery: Spread
    """From a write to each node that got it, whatever lay in between."""
    catch_up: Spread
    """From the end of the faults to the moment when each node had every write."""
    converged: float | None
    """From the end of the faults to the moment when all nodes were equal and had saved it; None if they never were."""
    datagrams: int
    datagrams_a_node_second: float
    bytes_a_node_second: float
    """Datagrams without their headers, and streams."""
    redundancy: float
    """Events received for each that was new."""
    missed_by_push: float
    """Share of deliveries that a digest or a stream had to make good."""
    states_joined: int
    differences_joined: int
    """Differences of two states that were found by reconciling."""
    streams: int
    false_failures: int
    """Times that a node came to count one as failed which ran and was not paused."""
    dead_links: float
    """Share of the entries of all views that name a node which does not run, in the end."""
    bytes_at_rest: float | None
    """Bytes a node and second at the end, with nothing left to tell; None if that was not reached."""
    events: int
    """Of the simulator's queue."""


@dataclass(frozen=True, slots=True)
class Recording:
    """One run: what was asked, what came of it, and how it went."""

    scenario: str
    title: str
    about: str
    seed: int
    command: str
    """Runs it again."""
    duration: float
    """Virtual seconds until the faults ended."""
    failures: tuple[Failure, ...]
    summary: Summary
    trace: str
    """A hash of all that was sent, and when."""
    writes: tuple[WriteTrace, ...] = ()
    intervals: tuple[Interval, ...] = ()
    samples: tuple[Sample, ...] = ()
    totals: tuple[NodeTotals, ...] = ()
    views: tuple[tuple[int, ...], ...] = ()
    """For each node, the nodes that it would send to."""

    @property
    def passed(self) -> bool:
        return not self.failures

    def to_json(self) -> dict[str, Any]:
        """Everything, as what `json` can write."""
        return asdict(self)
