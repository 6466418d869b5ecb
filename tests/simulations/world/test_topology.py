"""Which link lies between whom."""

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulations import Link, Topology
from simulations.errors import ScenarioError
from simulations.world.latency import Constant, Uniform
from simulations.world.topology import FAR, KINDS

from ..hosts import World

A, B = Link(latency=0.001), Link(latency=0.1)


def far_pairs(topology: Topology, nodes: int = 6) -> set[tuple[int, int]]:
    pairs = product(range(nodes), repeat=2)
    return {(one, other) for one, other in pairs if one != other and topology.link(one, other) is topology.far}


def test_in_a_lan_everybody_is_near() -> None:
    assert far_pairs(Topology(near=A, far=B)) == set()


def test_of_two_data_centres_the_even_nodes_are_far_from_the_odd_ones() -> None:
    wanted = {(one, other) for one, other in product(range(6), repeat=2) if one % 2 != other % 2}
    assert far_pairs(Topology(kind="two-datacentres", near=A, far=B)) == wanted


def test_on_a_slow_edge_the_last_of_every_few_is_far_from_everybody() -> None:
    topology = Topology(kind="slow-edge", near=A, far=B, edge_every=3)
    pairs = {(one, other) for one, other in product(range(6), repeat=2) if one != other}
    assert far_pairs(topology) == {(one, other) for one, other in pairs if {one, other} & {2, 5}}


def test_in_a_star_two_rays_are_twice_as_far_from_each_other_as_from_the_middle() -> None:
    topology = Topology(kind="star", near=Link(latency=0.01, loss=0.5))
    assert topology.link(0, 3) == topology.link(3, 0) == topology.near
    between = topology.link(1, 2)
    assert between.loss == 0.75
    assert between.delay.sample(None) == pytest.approx(0.02)  # type: ignore[arg-type]  # constant
    assert replace(between, loss=0.5, latency=0.01) == topology.near


@given(st.sampled_from(KINDS), st.integers(0, 40), st.integers(0, 40))
def test_every_layout_is_the_same_there_and_back(kind: str, one: int, other: int) -> None:
    topology = Topology(kind=kind, near=A, far=B)
    assert topology.link(one, other) == topology.link(other, one)


def test_a_change_of_all_links_leaves_the_layout_and_what_else_they_do() -> None:
    topology = Topology(kind="two-datacentres").with_links(loss=0.2)
    assert topology.link(0, 1) == replace(FAR, loss=0.2)
    assert topology.link(0, 2) == Link(loss=0.2)


@pytest.mark.parametrize(
    ("kind", "seconds"),
    [
        ("lan", {(0, 1): 1, (1, 0): 1, (1, 3): 1}),
        ("two-datacentres", {(0, 1): 100, (1, 0): 100, (0, 2): 1, (1, 3): 1}),
        ("slow-edge", {(0, 3): 100, (3, 0): 100, (0, 1): 1, (1, 2): 1}),
        ("star", {(0, 1): 1, (1, 0): 1, (1, 2): 2, (2, 3): 2}),
    ],
)
def test_a_datagram_takes_as_long_as_the_layout_says(kind: str, seconds: dict[tuple[int, int], float]) -> None:
    for (source, target), wanted in seconds.items():
        world = World(4, topology=Topology(kind=kind, near=Link(latency=1.0), far=Link(latency=100.0)))
        world.send(source, target, b"x")
        world.queue.run_until(1000.0)
        assert [at for at, _, _ in world.sinks[target].heard] == [wanted]


def test_a_stranger_is_where_node_0_is() -> None:
    world = World(3, topology=Topology(kind="slow-edge", near=A, far=B, edge_every=3))
    nobody = world.sinks[0].address._replace(host="192.0.2.1")
    assert world.network.link(nobody, world.sinks[1].address) == A
    assert world.network.link(nobody, world.sinks[2].address) == B


def test_a_latency_may_be_given_as_a_number_or_as_two() -> None:
    assert Link(latency=2).delay == Constant(2.0)
    assert Link(latency=(0.1, 0.2)).delay == Uniform(0.1, 0.2)


@pytest.mark.parametrize(
    "nonsense",
    [
        lambda: Topology(kind="ring"),
        lambda: Topology(kind="slow-edge", edge_every=0),
        *(
            lambda name=name, share=share: Link(**{name: share})  # type: ignore[misc]
            for name in ("loss", "burst_loss", "duplication", "echoes", "reordering", "corruption", "stream_breaks")
            for share in (-0.1, 1.1, float("nan"))
        ),
        *(
            lambda name=name, amount=amount: Link(**{name: amount})  # type: ignore[misc]
            for name in (
                "burst_every",
                "burst_length",
                "reorder_delay",
                "echo_delay",
                "bandwidth",
                "queue_bytes",
                "mtu",
            )
            for amount in (-1, float("inf"), float("nan"))
        ),
        lambda: Link(latency=-1.0),
        lambda: Link(latency=(0.2, 0.1)),
    ],
)
def test_a_layout_or_link_that_makes_no_sense_is_refused(nonsense: Callable[[], object]) -> None:
    with pytest.raises(ScenarioError, match="not"):
        nonsense()
