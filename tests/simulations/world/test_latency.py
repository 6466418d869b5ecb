"""Latencies are distributed as they say."""

import math
import random
from collections.abc import Callable
from statistics import fmean, median, quantiles

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulations.errors import ScenarioError
from simulations.world.latency import Constant, Latency, LogNormal, Sum, Table, Uniform

SECONDS = st.floats(0.0, 100.0)
LATENCIES: st.SearchStrategy[Latency] = st.recursive(
    st.one_of(
        st.builds(Constant, SECONDS),
        st.tuples(SECONDS, SECONDS).map(lambda pair: Uniform(min(pair), max(pair))),
        st.builds(LogNormal, SECONDS, st.floats(0.0, 2.0)),
        st.lists(SECONDS, min_size=2, max_size=6).map(lambda row: Table(tuple(sorted(row)))),
    ),
    lambda inner: st.lists(inner, min_size=1, max_size=3).map(lambda parts: Sum(tuple(parts))),
    max_leaves=4,
)


def samples(latency: Latency, count: int = 20_000) -> list[float]:
    rng = random.Random(5)
    return [latency.sample(rng) for _ in range(count)]


def test_a_constant_is_always_the_same() -> None:
    assert set(samples(Constant(0.02), 100)) == {0.02}


def test_uniform_stays_between_its_bounds_and_has_its_mean_in_the_middle() -> None:
    got = samples(Uniform(0.01, 0.03))
    assert 0.01 <= min(got) < 0.0101
    assert 0.0299 < max(got) <= 0.03
    assert fmean(got) == pytest.approx(0.02, rel=0.01)
    assert quantiles(got, n=4) == pytest.approx([0.015, 0.02, 0.025], rel=0.02)


def test_half_of_a_log_normal_is_below_its_median_and_a_sixth_above_a_sigma() -> None:
    got = samples(LogNormal(0.04, 0.5))
    assert min(got) > 0.0
    assert median(got) == pytest.approx(0.04, rel=0.02)
    assert sum(each > 0.04 * math.exp(0.5) for each in got) / len(got) == pytest.approx(0.1587, abs=0.01)
    assert fmean(got) == pytest.approx(0.04 * math.exp(0.125), rel=0.02)


def test_a_table_gives_its_quantiles_back() -> None:
    table = Table((0.001, 0.002, 0.010, 0.100, 0.500))
    got = samples(table, 40_000)
    assert min(got) >= 0.001
    assert max(got) <= 0.500
    assert quantiles(got, n=4) == pytest.approx([0.002, 0.010, 0.100], rel=0.1)


def test_a_sum_is_as_long_as_its_parts_together() -> None:
    got = samples(Sum((Uniform(0.01, 0.03), Constant(0.1), Uniform(0.0, 0.02))))
    assert min(got) >= 0.11
    assert max(got) <= 0.15
    assert fmean(got) == pytest.approx(0.13, rel=0.01)


@given(LATENCIES, st.integers())
def test_no_latency_is_ever_negative_or_endless_and_equal_seeds_give_equal_ones(latency: Latency, seed: int) -> None:
    one, other = random.Random(seed), random.Random(seed)
    got = [latency.sample(one) for _ in range(20)]
    assert all(0.0 <= each < math.inf for each in got)
    assert got == [latency.sample(other) for _ in range(20)]


@given(st.lists(SECONDS, min_size=2, max_size=6), st.integers())
def test_a_table_never_leaves_its_range(row: list[float], seed: int) -> None:
    rng = random.Random(seed)
    table = Table(tuple(sorted(row)))
    for _ in range(50):
        assert min(row) <= table.sample(rng) <= max(row) * (1 + 1e-12)


@pytest.mark.parametrize(
    "nonsense",
    [
        lambda: Constant(-0.1),
        lambda: Constant(math.inf),
        lambda: Constant(math.nan),
        lambda: Uniform(-0.1, 0.1),
        lambda: Uniform(0.2, 0.1),
        lambda: Uniform(0.1, math.inf),
        lambda: Uniform(0.1, math.nan),
        lambda: LogNormal(-1.0),
        lambda: LogNormal(0.1, -0.5),
        lambda: LogNormal(math.inf),
        lambda: Table((0.1,)),
        lambda: Table(()),
        lambda: Table((0.2, 0.1)),
        lambda: Table((-0.1, 0.1)),
        lambda: Table((0.1, math.inf)),
        lambda: Table((0.1, math.nan, 0.2)),
    ],
)
def test_a_latency_that_makes_no_sense_is_refused(nonsense: Callable[[], object]) -> None:
    with pytest.raises(ScenarioError, match="not"):
        nonsense()
