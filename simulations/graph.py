"""What a graph of who knows whom looks like: degrees, clustering, distances, and how a random one of its kind would.

A view is whom one node would send to, by index; the views of all nodes are a directed graph. Its in-degrees say how
evenly gossip falls on the nodes. Everything else is of the undirected graph under it, as is usual for peer sampling
(Jelasity, Voulgaris, Guerraoui, Kermarrec, van Steen: Gossip-based Peer Sampling, ACM TOCS 25(3), 2007); clustering and
path length are those of Watts and Strogatz (Collective dynamics of "small-world" networks, Nature 393, 1998).
"""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

Views: TypeAlias = Sequence[Sequence[int]]
Neighbours: TypeAlias = Sequence[frozenset[int]]

EXACT_CLUSTERING: Final = 20_000_000
"""Pairs of neighbours, of all nodes together, up to which every one is looked at."""
SAMPLED_PAIRS: Final = 20_000
"""Pairs that are drawn above that: the standard error is then at most 0.0036."""
PATH_SOURCES: Final = 64
"""Nodes from which distances are measured; all of them in a smaller graph."""


@dataclass(frozen=True, slots=True)
class Degrees:
    """How many nodes list one, over all nodes."""

    counts: tuple[tuple[int, int], ...]
    """(in-degree, nodes that have it), in ascending order."""
    mean: float
    deviation: float
    """Standard deviation, of the nodes as a whole."""
    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Figures:
    """A graph in numbers."""

    nodes: int
    edges: int
    """Directed."""
    complete: bool
    """True if every node lists every other."""
    degrees: Degrees
    clustering: float
    """Probability that two neighbours of a node are neighbours too; 0 to 1."""
    path_length: float
    """Hops between two nodes that can reach each other, on average; 0 if there are none."""
    largest: int
    """Nodes in the largest connected part."""


def measure(views: Views, rng: random.Random) -> Figures:
    """All of it; ``rng`` draws the samples that stand for a large graph. Takes O(edges)."""
    around = neighbours(views)
    edges = sum(len(set(view)) for view in views)
    return Figures(
        nodes=len(views),
        edges=edges,
        complete=len(views) > 1 and edges == len(views) * (len(views) - 1),
        degrees=degrees(views),
        clustering=clustering(around, rng),
        path_length=path_length(around, rng),
        largest=largest_component(around),
    )


def among(views: Views, kept: Sequence[int]) -> list[list[int]]:
    """The graph of only these nodes, which are numbered anew in the order given."""
    place = {index: number for number, index in enumerate(kept)}
    return [[place[other] for other in views[index] if other in place] for index in kept]


def random_views(views: Views, rng: random.Random) -> list[list[int]]:
    """A graph for comparison: each node lists as many others as in ``views``, drawn uniformly at random."""
    count = len(views)
    drawn = []
    for index, view in enumerate(views):
        # Of the others there are count - 1; those from the node itself on are one further.
        draw = rng.sample(range(count - 1), min(len(set(view)), count - 1))
        drawn.append(sorted(other + (other >= index) for other in draw))
    return drawn


def degrees(views: Views) -> Degrees:
    """By how many nodes each is listed. A node that lists another twice counts once."""
    listed = [0] * len(views)
    for view in views:
        for other in dict.fromkeys(view):
            listed[other] += 1
    if not listed:
        return Degrees((), 0.0, 0.0, 0, 0)
    mean = sum(listed) / len(listed)
    variance = sum((degree - mean) ** 2 for degree in listed) / len(listed)
    return Degrees(tuple(sorted(Counter(listed).items())), mean, variance**0.5, min(listed), max(listed))


def neighbours(views: Views) -> list[frozenset[int]]:
    """The undirected graph: for each node those that it lists or that list it, never itself."""
    around: list[set[int]] = [set(view) for view in views]
    for index, view in enumerate(views):
        for other in view:
            around[other].add(index)
    return [frozenset(others - {index}) for index, others in enumerate(around)]


def clustering(around: Neighbours, rng: random.Random) -> float:
    """The mean of all nodes' clustering coefficients: the share of pairs of neighbours which are neighbours too.

    A node with fewer than two neighbours counts as 0. Exact for graphs of up to `EXACT_CLUSTERING` pairs, otherwise
    estimated without bias from pairs drawn at random.
    """
    if not around:
        return 0.0
    if sum(len(others) ** 2 for others in around) <= EXACT_CLUSTERING:
        return sum(_coefficient(around, others) for others in around) / len(around)
    ordered = [sorted(others) for others in around]
    closed = 0
    for _ in range(SAMPLED_PAIRS):
        others = ordered[rng.randrange(len(ordered))]
        if len(others) > 1:
            one, other = rng.sample(others, 2)
            closed += other in around[one]
    return closed / SAMPLED_PAIRS


def _coefficient(around: Neighbours, others: frozenset[int]) -> float:
    if len(others) < 2:
        return 0.0
    closed = sum(len(others & around[other]) for other in others)  # each pair is seen from both its ends
    return closed / (len(others) * (len(others) - 1))


def path_length(around: Neighbours, rng: random.Random) -> float:
    """Hops from a node to another on average, over all nodes or `PATH_SOURCES` drawn ones; the unreachable left out."""
    sources: Sequence[int] = range(len(around))
    if len(around) > PATH_SOURCES:
        sources = rng.sample(sources, PATH_SOURCES)
    hops = reached = 0
    for source in sources:
        for distance, count in enumerate(_levels(around, source)):
            hops += distance * count
            reached += count if distance else 0
    return hops / reached if reached else 0.0


def largest_component(around: Neighbours) -> int:
    """Nodes in the largest part that is connected; 0 for no nodes."""
    seen: set[int] = set()
    largest = 0
    for source in range(len(around)):
        if source not in seen:
            before = len(seen)
            _levels(around, source, seen)
            largest = max(largest, len(seen) - before)
    return largest


def _levels(around: Neighbours, source: int, seen: set[int] | None = None) -> list[int]:
    """How many nodes are at distance 0, 1, 2, ... of ``source``; adds them to ``seen``."""
    seen = set() if seen is None else seen
    seen.add(source)
    level, sizes = {source}, []
    while level:
        sizes.append(len(level))
        level = set().union(*(around[index] for index in level)) - seen
        seen |= level
    return sizes
