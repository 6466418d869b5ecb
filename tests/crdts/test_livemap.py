"""Bitmaps of what lives: they follow the kernel, and are masked dot by dot whatever the ranges."""

from random import Random

from hypothesis import example, given, settings
from hypothesis import strategies as st

from crdts import Context, Dot, Replica
from crdts.context import DotRange
from crdts.livemap import CHUNK_DOTS, Chunks, LiveMap, dots_in, masked

from .oracle import Oracle, random_history, replica

SEQS = st.one_of(
    st.integers(1, 3 * CHUNK_DOTS),
    st.sampled_from([1, CHUNK_DOTS - 1, CHUNK_DOTS, CHUNK_DOTS + 1, 2 * CHUNK_DOTS, 2**61, 2**62 - 1]),
    st.integers(1, 200 * CHUNK_DOTS),
)
DOTS = st.sets(st.tuples(st.sampled_from("ab"), SEQS), max_size=60)
RANGES = st.lists(
    st.tuples(st.sampled_from("abc"), SEQS, st.sampled_from([1, 2, 255, 256, 257, 5000, 70 * CHUNK_DOTS, 2**61])).map(
        lambda r: (r[0], r[1], r[1] + r[2])
    ),
    max_size=8,
)


def map_of(dots: set[Dot]) -> LiveMap:
    live: dict[str, dict[int, object]] = {}
    for name, seq in dots:
        live.setdefault(name, {})[seq] = None
    return LiveMap(live)


def dots_of(chunks: Chunks) -> set[Dot]:
    found = [dot for key, bits in chunks.items() for dot in dots_in(key, bits)]
    assert len(set(found)) == len(found)
    return set(found)


@given(DOTS)
def test_a_map_holds_the_dots_that_it_was_made_of(dots: set[Dot]) -> None:
    chunks = map_of(dots).chunks
    assert dots_of(chunks) == dots
    assert all(0 < bits < 1 << CHUNK_DOTS for bits in chunks.values())
    assert all(
        number == seq // CHUNK_DOTS for (_, number), bits in chunks.items() for _, seq in dots_in(("", number), bits)
    )


@given(DOTS, st.lists(st.tuples(st.sampled_from("ab"), SEQS), max_size=60))
def test_a_dot_that_is_flipped_comes_to_life_or_dies_and_nothing_empty_is_kept(
    dots: set[Dot], flips: list[Dot]
) -> None:
    live = map_of(dots)
    expected = set(dots)
    for dot in flips:
        live.flip(*dot)
        expected ^= {dot}
    assert live.chunks == map_of(expected).chunks


def test_dots_come_in_order() -> None:
    assert list(dots_in(("a", 2), 0b1011)) == [("a", 512), ("a", 513), ("a", 515)]
    assert list(dots_in(("a", 2), 0)) == []


@settings(max_examples=300)
@given(DOTS, RANGES)
@example({("a", 1)}, [("a", 1, 2**62)])
@example({("a", CHUNK_DOTS - 1), ("a", CHUNK_DOTS)}, [("a", CHUNK_DOTS, CHUNK_DOTS + 1)])
@example({("a", seq) for seq in range(250, 262)}, [("a", 252, 258), ("a", 252, 258)])
@example({("a", 1), ("b", 1)}, [("c", 1, 9)])
@example({("a", seq * CHUNK_DOTS) for seq in range(1, 100)}, [("a", 3 * CHUNK_DOTS, 90 * CHUNK_DOTS)])
def test_masked_is_without_the_dots_in_the_ranges_and_leaves_the_map_as_it_was(
    dots: set[Dot], ranges: list[DotRange]
) -> None:
    chunks = map_of(dots).chunks
    before = dict(chunks)
    outside = Context.of(ranges)
    kept = masked(chunks, ranges)
    assert kept == map_of({dot for dot in dots if dot not in outside}).chunks
    assert chunks == before


@given(st.integers(0, 1 << 32).map(Random))
def test_the_map_of_a_kernel_follows_whatever_happens(rng: Random) -> None:
    oracle = Oracle()
    replicas = [oracle.watch(replica(name)) for name in ("a", "b", "c")]
    random_history(rng, oracle, replicas, rng.randrange(20))
    maps = [one.store.kernel.live_map for one in replicas]
    random_history(rng, oracle, replicas, 30)
    for one, live in zip(replicas, maps, strict=True):
        assert one.store.kernel.live_map is live
        assert live.chunks == LiveMap(one.store.kernel.live).chunks  # type: ignore[arg-type]


def test_a_map_is_made_when_it_is_asked_for_and_not_before() -> None:
    a = Replica("a")
    a.orset("s").add(1)
    assert a.store.kernel._live_map is None
    assert a.store.kernel.live_map.chunks == {("a", 0): 2}
