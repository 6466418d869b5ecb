"""The ring of members is cut so that each is reached, and by one way only."""

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from gossip.protocol.dissemination.ring import divide, everybody_but, within
from gossip.protocol.wire.messages import Span

TOP = (1 << 64) - 1
NUMBERS = st.one_of(st.integers(0, 20), st.integers(TOP - 20, TOP), st.integers(0, TOP))
RINGS = st.lists(NUMBERS, min_size=1, max_size=60, unique=True).map(lambda some: sorted(map(node, some)))
SEEDS = st.integers(0, 1 << 32)


def node(number: int) -> bytes:
    return number.to_bytes(8)


def reached(ring: list[bytes], writer: bytes, fanout: int, rng: random.Random) -> tuple[Counter[bytes], int]:
    """How often each hears of news if relays are drawn at random and nothing is lost, and the number of hops."""
    heard: Counter[bytes] = Counter()
    sent = [(writer, everybody_but(writer), 0)]
    most = 0
    while sent:
        relay, span, hops = sent.pop()
        most = max(most, hops)
        others = [each for each in ring if each != relay]
        for share in divide(others, span, relay, fanout):
            to = rng.choice(share.ids)
            heard[to] += 1
            sent.append((to, share.span, hops + 1))
    return heard, most


@given(RINGS, st.integers(1, 12), SEEDS)
def test_without_loss_everybody_else_is_reached_exactly_once(ring: list[bytes], fanout: int, seed: int) -> None:
    rng = random.Random(seed)
    writer = rng.choice(ring)
    heard, _ = reached(ring, writer, fanout, rng)
    assert heard == Counter(each for each in ring if each != writer)


def test_a_thousand_are_reached_within_a_few_hops() -> None:
    rng = random.Random(3)
    for members, fanout, bound in ((30, 4, 3), (30, 6, 2), (300, 6, 4), (1000, 6, 5), (1000, 4, 7)):
        ring = sorted(rng.randbytes(8) for _ in range(members))
        assert max(reached(ring, rng.choice(ring), fanout, rng)[1] for _ in range(20)) <= bound


@given(RINGS, st.integers(1, 12), NUMBERS, NUMBERS, NUMBERS)
def test_shares_are_all_of_the_span_but_the_one_left_out_each_in_its_own_span(
    ring: list[bytes], parts: int, first: int, stop: int, without: int
) -> None:
    span, hole = Span(node(first), node(stop)), node(without)
    shares = divide(ring, span, hole, parts)
    assert [each for share in shares for each in share.ids] == [each for each in within(ring, span) if each != hole]
    assert all(share.span.holds(each) for share in shares for each in share.ids)
    assert not any(share.span.holds(hole) for share in shares)
    assert len(shares) <= max(parts, 2)
    assert all(share.ids for share in shares)


@given(RINGS, st.integers(2, 12), NUMBERS)
def test_whoever_only_the_relay_knows_is_in_a_share_too(ring: list[bytes], parts: int, stranger: int) -> None:
    writer, others = ring[0], ring[1:]
    shares = divide(others, everybody_but(writer), writer, parts)
    if others and node(stranger) != writer:
        assert sum(share.span.holds(node(stranger)) for share in shares) == 1


@given(RINGS, st.integers(1, 12))
def test_shares_are_nearly_equal(ring: list[bytes], parts: int) -> None:
    sizes = [len(share.ids) for share in divide(ring[1:], everybody_but(ring[0]), ring[0], parts)]
    assert not sizes or max(sizes) - min(sizes) <= 1


@given(RINGS, NUMBERS, NUMBERS)
def test_a_span_goes_around_the_ring_and_is_empty_if_its_bounds_are_equal(
    ring: list[bytes], first: int, stop: int
) -> None:
    span = Span(node(first), node(stop))
    found = within(ring, span)
    assert sorted(found) == [each for each in ring if span.holds(each)]
    if first == stop:
        assert not found
    elif first < stop:
        assert all(first <= int.from_bytes(each) < stop for each in found)
    else:
        assert not any(stop <= int.from_bytes(each) < first for each in found)


@given(RINGS, st.integers(2, 12), SEEDS)
def test_whoever_takes_over_the_share_of_a_relay_reaches_the_rest_of_it(
    ring: list[bytes], fanout: int, seed: int
) -> None:
    rng = random.Random(seed)
    writer = rng.choice(ring)
    others = [each for each in ring if each != writer]
    for share in divide(others, everybody_but(writer), writer, fanout):
        dead = rng.choice(share.ids)
        heard: Counter[bytes] = Counter()
        sent = [(to, part) for part in divide(others, share.span, dead, fanout) for to in [rng.choice(part.ids)]]
        while sent:
            relay, part = sent.pop()
            heard[relay] += 1
            known = [each for each in ring if each != relay]
            sent += [(rng.choice(each.ids), each) for each in divide(known, part.span, relay, fanout)]
        assert heard == Counter(each for each in share.ids if each != dead)
