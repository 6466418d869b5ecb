"""Figures of graphs, against those that are known and against a second, slow and obvious way to get them."""

import random
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulations import graph

RNG = random.Random(1)


def ring(nodes: int, reach: int = 1) -> list[list[int]]:
    """Each lists the next ``reach`` ones."""
    return [[(index + step) % nodes for step in range(1, reach + 1)] for index in range(nodes)]


def everybody(nodes: int) -> list[list[int]]:
    return [[other for other in range(nodes) if other != index] for index in range(nodes)]


@st.composite
def views(draw: st.DrawFn) -> list[list[int]]:
    nodes = draw(st.integers(1, 9))
    return [
        draw(st.lists(st.sampled_from([other for other in range(nodes) if other != index] or [0]), unique=True))
        if nodes > 1
        else []
        for index in range(nodes)
    ]


# ---- a second way


def linked(graph_: list[list[int]], one: int, other: int) -> bool:
    return other in graph_[one] or one in graph_[other]


def slow_distances(graph_: list[list[int]]) -> list[list[float]]:
    """Floyd and Warshall."""
    nodes = range(len(graph_))
    far = float("inf")
    hops = [[0 if i == j else 1 if linked(graph_, i, j) else far for j in nodes] for i in nodes]
    for k in nodes:
        for i in nodes:
            for j in nodes:
                hops[i][j] = min(hops[i][j], hops[i][k] + hops[k][j])
    return hops


def slow_clustering(graph_: list[list[int]]) -> float:
    total = 0.0
    for node in range(len(graph_)):
        around = [other for other in range(len(graph_)) if other != node and linked(graph_, node, other)]
        pairs = list(combinations(around, 2))
        total += sum(linked(graph_, *pair) for pair in pairs) / len(pairs) if pairs else 0.0
    return total / len(graph_)


@given(views())
def test_every_figure_is_what_brute_force_finds(drawn: list[list[int]]) -> None:
    figures = graph.measure(drawn, RNG)
    nodes = range(len(drawn))
    listed = [sum(index in view for view in drawn) for index in nodes]
    assert [degree for degree, count in figures.degrees.counts for _ in range(count)] == sorted(listed)
    assert (figures.degrees.least, figures.degrees.most) == (min(listed), max(listed))
    assert figures.degrees.mean == pytest.approx(sum(listed) / len(listed))
    assert figures.degrees.deviation**2 == pytest.approx(
        sum(degree**2 for degree in listed) / len(listed) - figures.degrees.mean**2, abs=1e-9
    )
    assert figures.clustering == pytest.approx(slow_clustering(drawn))
    hops = slow_distances(drawn)
    finite = [hops[i][j] for i in nodes for j in nodes if i != j and hops[i][j] < float("inf")]
    assert figures.path_length == pytest.approx(sum(finite) / len(finite) if finite else 0.0)
    assert figures.largest == max(sum(hops[i][j] < float("inf") for j in nodes) for i in nodes)
    assert figures.edges == sum(map(len, drawn))
    assert figures.complete == (len(drawn) > 1 and sorted(map(sorted, drawn)) == sorted(everybody(len(drawn))))


def test_a_ring_has_long_ways_and_no_triangles() -> None:
    figures = graph.measure(ring(10), RNG)
    assert (figures.clustering, figures.largest, figures.complete) == (0.0, 10, False)
    assert figures.path_length == pytest.approx((1 + 2 + 3 + 4) * 2 / 9 + 5 / 9)
    assert figures.degrees == graph.Degrees(((1, 10),), 1.0, 0.0, 1, 1)


def test_a_ring_of_near_neighbours_has_the_clustering_of_watts_and_strogatz() -> None:
    # 3 (k - 2) / (4 (k - 1)) for k neighbours: their formula for the lattice.
    assert graph.measure(ring(60, 3), RNG).clustering == pytest.approx(3 * (6 - 2) / (4 * (6 - 1)))


def test_full_membership_is_a_complete_graph() -> None:
    figures = graph.measure(everybody(12), RNG)
    assert figures.complete
    assert (figures.clustering, figures.path_length, figures.largest) == (1.0, 1.0, 12)


def test_parts_that_do_not_know_each_other() -> None:
    figures = graph.measure([[1], [0], [3], [4], [2], []], RNG)
    assert figures.largest == 3
    assert figures.path_length == 1.0


def test_no_nodes_and_one_node() -> None:
    assert graph.measure([], RNG).largest == 0
    alone = graph.measure([[]], RNG)
    assert (alone.largest, alone.clustering, alone.path_length, alone.complete) == (1, 0.0, 0.0, False)


def test_a_sample_of_pairs_comes_close(monkeypatch: pytest.MonkeyPatch) -> None:
    around = graph.neighbours(graph.random_views(ring(300, 12), random.Random(4)))
    exact = graph.clustering(around, RNG)
    monkeypatch.setattr(graph, "EXACT_CLUSTERING", 0)
    assert graph.clustering(around, random.Random(5)) == pytest.approx(exact, abs=0.01)
    assert graph.clustering(around, random.Random(5)) == graph.clustering(around, random.Random(5))


@given(views(), st.integers(0, 99))
def test_a_random_graph_of_its_kind_has_the_same_out_degrees(drawn: list[list[int]], seed: int) -> None:
    other = graph.random_views(drawn, random.Random(seed))
    assert [len(set(view)) for view in other] == [len(view) for view in drawn]
    assert all(index not in view and all(0 <= each < len(drawn) for each in view) for index, view in enumerate(other))


def test_a_random_graph_draws_every_other_node_alike() -> None:
    listed = graph.degrees(graph.random_views(ring(2000, 10), random.Random(6)))
    assert listed.mean == 10
    assert listed.deviation == pytest.approx(10**0.5, rel=0.1)  # binomial


def test_only_some_nodes() -> None:
    assert graph.among([[1, 2], [2], [], [0, 2]], [0, 3, 2]) == [[2], [0, 2], []]
