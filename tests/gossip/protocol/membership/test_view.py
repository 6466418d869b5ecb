"""Partial views: never too many, nobody twice, nothing lost in a swap, and much like a random graph."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip.protocol import Config
from gossip.protocol.membership.view import View
from simulations import Cluster
from simulations.graph import among, largest_component, measure, neighbours, random_views

IDS = st.integers(0, 30).map(lambda i: bytes([i] * 8))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("admit"), IDS, st.integers(1, 100)),
        st.tuples(st.just("discard"), IDS, st.just(0)),
        st.tuples(st.just("begin"), IDS, st.integers(1, 8)),
        st.tuples(st.just("take"), st.lists(IDS, max_size=8), st.integers(0, 50)),
        st.tuples(st.just("expire"), IDS, st.integers(0, 5)),
    ),
    max_size=80,
)


def everybody(_: bytes) -> bool:
    return True


@given(st.integers(1, 10), STEPS, st.integers(0, 1000))
def test_a_view_is_never_too_large_and_holds_nobody_twice(size: int, steps: list[tuple], seed: int) -> None:  # type: ignore[type-arg]
    view = View(size, random.Random(seed))
    for what, who, number in steps:
        if what == "admit":
            view.admit(who, number)
        elif what == "discard":
            view.discard(who)
            assert who not in view
        elif what == "begin":
            partner = view.begin()
            assert partner not in view
            offered = view.offer(number, everybody)
            assert len(offered) == min(number, len(view))
            assert all(node_id in view for node_id, _ in offered)
        elif what == "take":
            view.take([(node_id, number) for node_id in who])
        else:
            view.discard_where(lambda node_id, age, number=number: age > number)
        assert len(view) == len(set(view.ids)) <= size
        assert all(node_id in view for node_id in view.ids)
        assert view.is_full() == (len(view) == size)


@given(st.integers(2, 12), st.integers(1, 8), st.integers(0, 10_000))
def test_a_swap_loses_nobody(size: int, length: int, seed: int) -> None:
    """After a shuffle of two views every entry is in one of them, and the partner's is replaced by ours."""
    rng = random.Random(seed)
    one, other = View(size, rng), View(size, rng)
    me, partner = b"me......", b"partner."
    for i in range(size - 1):
        one.admit(bytes([i] * 8), 1)
        other.admit(bytes([100 + i] * 8), 1)
    one.discard_where(lambda node_id, age: False)
    one.take([(partner, 99)])  # the oldest
    other.admit(bytes([200] * 8), 1)
    before = {*one.ids, *other.ids}
    assert one.begin() == partner
    sent = [(me, 0), *one.offer(length - 1, everybody)]
    answer = other.offer(length, everybody)
    other.take(sent)
    one.take(answer)
    after = {*one.ids, *other.ids}
    assert after - {me} == before - {partner}
    assert me in other


def test_the_partner_is_the_oldest() -> None:
    view = View(4, random.Random(1))
    for i in range(4):
        view.take([(bytes([i] * 8), 10 - i)])
    assert [view.begin() for _ in range(5)] == [bytes([i] * 8) for i in range(4)] + [None]


def test_who_comes_first_is_no_likelier_to_stay_than_who_comes_last() -> None:
    stayed = [0] * 40
    for seed in range(400):
        view = View(8, random.Random(seed))
        for i in range(40):
            view.admit(bytes([i] * 8), i)
        for node_id in view.ids:
            stayed[node_id[0]] += 1
    assert sum(stayed) == 400 * 8
    assert all(40 < count < 130 for count in stayed), "80 is what chance would give"


# ---- of a whole cluster

SMALL = Config(full_membership_max=24, view_size=24, shuffle_interval=1.0, probe_interval=1.0)


def views(cluster: Cluster) -> list[list[int]]:
    index = {node.engine.identity.node_id: place for place, node in enumerate(cluster.running())}
    return [[index[n] for n in node.engine.view() if n in index] for node in cluster.running()]


@pytest.fixture(scope="module")
def mixed() -> Cluster:
    """300 nodes after a dozen shuffles each."""
    cluster = Cluster(300, seed=1, warm=True, view=24, config=SMALL)
    cluster.network.tracing = False
    cluster.run(12.0)
    return cluster


def test_views_are_much_like_a_uniformly_random_graph(mixed: Cluster) -> None:
    rng = random.Random(1)
    found, chance = measure(views(mixed), rng), measure(random_views(views(mixed), rng), rng)
    assert found.largest == 300
    assert found.degrees.mean > 20
    assert found.degrees.deviation < 1.5 * chance.degrees.deviation
    assert found.clustering < 1.5 * chance.clustering
    assert found.path_length < 1.05 * chance.path_length


def test_after_most_crash_the_others_stay_connected_and_forget_the_dead(mixed: Cluster) -> None:
    rng = random.Random(2)
    ids = [node.engine.identity.node_id for node in mixed.nodes]
    before = views(mixed)
    kept = sorted(rng.sample(range(300), 90))
    assert largest_component(neighbours(among(before, kept))) == 90
    for place in range(300):
        if place not in kept:
            mixed[place].stop()
    dead = {ids[place] for place in range(300) if place not in kept}
    mixed.run(25.0)
    links = [node_id for node in mixed.running() for node_id in node.engine.view()]
    assert sum(node_id in dead for node_id in links) < 0.06 * len(links), "of 70 in 100"
    assert largest_component(neighbours(views(mixed))) == 90
