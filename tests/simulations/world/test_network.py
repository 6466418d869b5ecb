"""Every field of a link does what it says to datagrams, and cuts hold what they should."""

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip.protocol import Address
from simulations import Link
from simulations.world.network import HEADER_BYTES, Cut

from ..hosts import World

MANY = 4000


def arrived(link: Link, count: int = MANY, *, every: float = 0.0, size: int = 4) -> World:
    world = World(link=link)
    world.send_many(count, every=every, size=size)
    return world


# ---- links


def test_a_quiet_link_delivers_everything_once_as_it_was_sent() -> None:
    world = arrived(Link(latency=0.5))
    assert world.numbers() == list(range(MANY))
    assert {at for at, _, _ in world.sinks[1].heard} == {0.5}


def test_the_network_loses_doubles_and_reorders_as_often_as_it_is_told() -> None:
    world = arrived(Link(loss=0.25, duplication=0.5, latency=(0.0, 1.0)))
    assert len(world.numbers()) == pytest.approx(1.5 * 0.75 * MANY, rel=0.05)
    assert len(set(world.numbers())) < MANY
    assert world.numbers() != sorted(world.numbers())


@pytest.mark.parametrize("loss", [0.05, 0.5, 0.9])
def test_losses_are_independent_and_as_many_as_is_said(loss: float) -> None:
    got = set(arrived(Link(loss=loss)).numbers())
    lost = [number not in got for number in range(MANY)]
    assert sum(lost) / MANY == pytest.approx(loss, abs=0.03)
    both = sum(one and other for one, other in pairwise(lost)) / MANY
    assert both == pytest.approx(loss * loss, abs=0.03)


def test_a_link_that_loses_all_delivers_nothing() -> None:
    assert arrived(Link(loss=1.0)).numbers() == []


def test_bursts_lose_their_share_and_their_losses_come_together() -> None:
    link = Link(burst_every=1.8, burst_length=0.2, burst_loss=0.8)
    world = arrived(link, 40_000, every=0.01)
    got = set(world.numbers())
    lost = [number not in got for number in range(40_000)]
    share = sum(lost) / len(lost)
    assert share == pytest.approx(0.1 * 0.8, abs=0.02)
    after_loss = [later for earlier, later in pairwise(lost) if earlier]
    assert sum(after_loss) / len(after_loss) > 0.6
    after_luck = [later for earlier, later in pairwise(lost) if not earlier]
    assert sum(after_luck) / len(after_luck) < 0.05


def test_bursts_go_their_own_way_in_each_direction() -> None:
    world = World(link=Link(burst_every=1.0, burst_length=1.0, burst_loss=1.0))
    for number in range(400):
        for source in (0, 1):
            world.queue.at(number * 0.1, world.send, source, 1 - source, number.to_bytes(4, "big"))
    world.queue.run_until(100.0)
    one, other = ([data for _, _, data in sink.heard] for sink in world.sinks)
    assert 50 < len(set(one) & set(other)) < 150
    assert len(one) > 120 < len(other)


def test_bursts_that_last_no_time_lose_nothing() -> None:
    assert len(arrived(Link(burst_every=1.0, burst_length=0.0), 100, every=0.1).numbers()) == 100


def test_after_a_long_silence_a_burst_is_as_likely_as_ever() -> None:
    lost = 0
    for seed in range(300):
        world = World(link=Link(burst_every=1.0, burst_length=1.0, burst_loss=1.0), seed=seed)
        world.send(0, 1, b"first")
        world.queue.run_until(10_000.0)
        world.send(0, 1, b"second")
        world.queue.run_until(10_001.0)
        lost += b"second" not in world.sinks[1].got
    assert lost / 300 == pytest.approx(0.5, abs=0.1)


def test_duplicates_come_twice_and_at_times_of_their_own() -> None:
    world = arrived(Link(duplication=0.3, latency=(0.0, 1.0)))
    counts = Counter(Counter(world.numbers()).values())
    assert set(counts) == {1, 2}
    assert counts[2] / MANY == pytest.approx(0.3, abs=0.03)


def test_echoes_arrive_a_second_time_late() -> None:
    world = arrived(Link(echoes=0.2, echo_delay=30.0, latency=0.001))
    late = [at for at, _, _ in world.sinks[1].heard if at > 0.001]
    assert len(late) / MANY == pytest.approx(0.2, abs=0.03)
    assert sum(late) / len(late) == pytest.approx(15.0, abs=1.0)
    assert max(late) <= 30.001
    assert Counter(world.numbers()).most_common(1)[0][1] == 2


def test_an_echo_reaches_the_next_life_of_a_host() -> None:
    world = World(link=Link(echoes=1.0, echo_delay=10.0))
    world.send(0, 1, b"about an earlier life")
    world.queue.run_until(0.01)
    old = world.sinks[1]
    world.network.detach(old)
    again = type(old)(world.network, old.address.host, 1)
    world.queue.run_until(20.0)
    assert old.got == again.got == [b"about an earlier life"]


def test_reordering_holds_its_share_back_by_no_more_than_is_said() -> None:
    world = arrived(Link(reordering=0.1, reorder_delay=0.05, latency=0.01))
    late = [at - 0.01 for at, _, _ in world.sinks[1].heard if at > 0.01]
    assert len(late) / MANY == pytest.approx(0.1, abs=0.02)
    assert 0.04 < max(late) <= 0.05 + 1e-9
    assert world.numbers() != sorted(world.numbers())
    assert sorted(world.numbers()) == list(range(MANY))


def test_corruption_flips_exactly_one_bit_of_its_share() -> None:
    world = World(link=Link(corruption=0.25, latency=0.0))
    data = bytes(range(50))
    for _ in range(MANY):
        world.send(0, 1, data)
    world.queue.run_until(1.0)
    sent = int.from_bytes(data, "big")
    flipped = [(int.from_bytes(got, "big") ^ sent).bit_count() for _, _, got in world.sinks[1].heard]
    assert len(flipped) == MANY
    assert set(flipped) == {0, 1}
    assert sum(flipped) / MANY == pytest.approx(0.25, abs=0.03)
    where = {int.from_bytes(got, "big") ^ sent for _, _, got in world.sinks[1].heard} - {0}
    assert len(where) > 300  # any of the 400


@given(st.binary(min_size=1, max_size=40), st.integers(0, 1000))
def test_corruption_keeps_the_length_and_leaves_the_senders_bytes_alone(data: bytes, seed: int) -> None:
    world = World(link=Link(corruption=1.0, duplication=1.0), seed=seed)
    world.send(0, 1, data)
    world.queue.run_until(1.0)
    assert [len(got) for _, _, got in world.sinks[1].heard] == [len(data)] * 2
    for _, _, got in world.sinks[1].heard:
        assert (int.from_bytes(got, "big") ^ int.from_bytes(data, "big")).bit_count() == 1


def test_bandwidth_makes_datagrams_wait_for_each_other() -> None:
    size = 1000 - HEADER_BYTES
    world = arrived(Link(bandwidth=10_000.0, queue_bytes=5000, latency=1.0), 3, size=size)
    assert [at for at, _, _ in world.sinks[1].heard] == pytest.approx([1.1, 1.2, 1.3])


def test_what_does_not_fit_the_queue_is_lost_and_later_there_is_room_again() -> None:
    size = 1000 - HEADER_BYTES
    world = arrived(Link(bandwidth=10_000.0, queue_bytes=5000, latency=0.0), 8, size=size)
    assert world.numbers() == [0, 1, 2, 3, 4]
    world.send(0, 1, (99).to_bytes(4, "big"))
    world.queue.run_until(world.queue.now + 1.0)
    assert world.numbers()[-1] == 99


def test_nothing_gets_through_faster_than_the_bandwidth() -> None:
    world = arrived(Link(bandwidth=10_000.0, queue_bytes=5000, latency=0.0), 1000, every=0.01, size=472)
    last = world.sinks[1].heard[-1][0]
    assert len(world.numbers()) * 500 / last == pytest.approx(10_000.0, rel=0.02)
    assert len(world.numbers()) < 300


def test_each_direction_has_a_bandwidth_of_its_own() -> None:
    world = World(link=Link(bandwidth=1000.0, latency=0.0))
    world.send(0, 1, bytes(972))
    world.send(1, 0, bytes(972))
    world.queue.run_until(1.0)
    assert [sink.heard[0][0] for sink in world.sinks] == [1.0, 1.0]


def test_a_datagram_above_the_mtu_never_arrives_and_one_of_just_that_size_does() -> None:
    world = World(link=Link(mtu=1280))
    world.send(0, 1, bytes(1280 - HEADER_BYTES))
    world.send(0, 1, bytes(1281 - HEADER_BYTES))
    world.queue.run_until(1.0)
    assert [len(data) for _, _, data in world.sinks[1].heard] == [1280 - HEADER_BYTES]


# ---- hosts, taps and the trace


def test_what_is_under_way_to_a_host_that_goes_is_lost() -> None:
    world = World(link=Link(latency=1.0))
    world.send(0, 1, b"late")
    world.network.detach(world.sinks[1])
    world.queue.run_until(2.0)
    assert world.sinks[1].got == []


def test_an_earlier_life_that_goes_late_does_not_take_its_successor_with_it() -> None:
    world = World()
    old = world.sinks[1]
    again = type(old)(world.network, old.address.host, 1)
    world.network.detach(old)
    world.send(0, 1, b"x")
    world.queue.run_until(1.0)
    assert again.got == [b"x"]
    assert old.got == []


def test_taps_hear_what_is_sent_even_if_it_is_lost_and_sums_are_kept() -> None:
    world = World(link=Link(loss=1.0))
    heard: list[tuple[Address, Address, bytes]] = []
    world.network.taps.append(lambda *what: heard.append(what))
    world.send(0, 1, b"one")
    world.send(1, 0, b"three")
    one, other = (sink.address for sink in world.sinks)
    assert heard == [(one, other, b"one"), (other, one, b"three")]
    assert (world.network.datagrams, world.network.datagram_bytes, world.network.largest_datagram) == (2, 8, 5)


def test_a_datagram_from_an_address_that_is_no_host_is_told_of_when_it_arrives() -> None:
    world = World()
    strangers: list[Address] = []
    world.network.on_stranger.append(lambda source, target, data: strangers.append(source))
    nobody = Address("192.0.2.1", 1)
    world.network.send(nobody, world.sinks[1].address, b"forged")
    world.send(0, 1, b"honest")
    world.network.send(nobody, Address("192.0.2.2", 1), b"to nobody")
    assert strangers == []
    world.queue.run_until(1.0)
    assert strangers == [nobody]
    assert {source for _, source, _ in world.sinks[1].heard} == {nobody, world.sinks[0].address}


def test_the_trace_tells_content_time_and_ends_apart() -> None:
    def trace(*sent: tuple[float, int, bytes]) -> str:
        world = World()
        for at, source, data in sent:
            world.queue.run_until(at)
            world.send(source, 1 - source, data)
        return world.network.trace()

    assert trace((1.0, 0, b"a"), (2.0, 1, b"b")) == trace((1.0, 0, b"a"), (2.0, 1, b"b"))
    others = [((1.0, 0, b"a"),), ((1.5, 0, b"a"),), ((1.0, 1, b"a"),), ((1.0, 0, b"b"),), ((1.0, 0, b"a"),) * 2]
    assert len({trace(*each) for each in others}) == 5


# ---- cuts


def heard_by_whom(world: World) -> set[tuple[int, int]]:
    """Who hears whom now, as (source, target)."""
    for sink in world.sinks:
        sink.heard.clear()
    count = len(world.sinks)
    for source in range(count):
        for target in range(count):
            if source != target:
                world.send(source, target, bytes([source]))
    world.queue.run_until(world.queue.now + 1.0)
    return {(data[0], target) for target in range(count) for _, _, data in world.sinks[target].heard}


def side(world: World, *groups: list[int]) -> dict[Address, int]:
    return {world.sinks[index].address: number for number, group in enumerate(groups) for index in group}


ALL_PAIRS = {(source, target) for source in range(4) for target in range(4) if source != target}


def test_a_cut_lets_only_those_of_one_group_hear_each_other() -> None:
    world = World(4)
    world.network.add_cut(Cut(side(world, [0, 1], [2], [3])))
    assert heard_by_whom(world) == {(0, 1), (1, 0)}


def test_who_is_in_no_group_of_a_cut_is_with_the_first() -> None:
    world = World(4)
    world.network.add_cut(Cut(side(world, [0], [2])))
    assert heard_by_whom(world) == ALL_PAIRS - {pair for pair in ALL_PAIRS if 2 in pair}


def test_what_a_one_way_cut_holds_is_only_what_the_first_group_says_to_others() -> None:
    world = World(4)
    world.network.add_cut(Cut(side(world, [0, 1], [2]), one_way=True))  # 3 is in none
    assert heard_by_whom(world) == ALL_PAIRS - {(0, 2), (0, 3), (1, 2), (1, 3)}


def test_a_cut_holds_what_is_under_way_when_it_begins_and_not_what_arrives_after_its_end() -> None:
    world = World(link=Link(latency=1.0))
    world.send(0, 1, b"held")
    world.queue.run_until(0.5)
    lift = world.network.add_cut(Cut(side(world, [0], [1])))
    world.queue.run_until(1.5)
    world.send(0, 1, b"passes")
    world.queue.run_until(2.0)
    lift()
    world.queue.run_until(3.0)
    assert world.sinks[1].got == [b"passes"]


@given(
    st.lists(st.tuples(st.lists(st.integers(0, 2), min_size=4, max_size=4), st.booleans()), min_size=1, max_size=4),
    st.data(),
)
def test_overlapping_cuts_hold_what_any_of_them_holds_and_are_lifted_one_by_one(
    cuts: list[tuple[list[int], bool]], data: st.DataObject
) -> None:
    world = World(4)
    lifts = []
    for sides, one_way in cuts:
        where = {sink.address: number for sink, number in zip(world.sinks, sides, strict=True)}
        lifts.append((world.network.add_cut(Cut(where, one_way)), sides, one_way))
    while lifts:
        held = {
            (a, b)
            for a, b in ALL_PAIRS
            for _, sides, one_way in lifts
            if (sides[a] < sides[b] if one_way else sides[a] != sides[b])
        }
        assert heard_by_whom(world) == ALL_PAIRS - held
        lift, _, _ = lifts.pop(data.draw(st.integers(0, len(lifts) - 1)))
        lift()
        lift()  # does no harm
    assert heard_by_whom(world) == ALL_PAIRS


def test_equal_cuts_are_two_and_healing_lifts_all() -> None:
    world = World(4)
    first, second = (world.network.add_cut(Cut(side(world, [0], [1, 2, 3]))) for _ in range(2))
    first()
    assert heard_by_whom(world) == ALL_PAIRS - {pair for pair in ALL_PAIRS if 0 in pair}
    world.network.heal()
    second()
    assert heard_by_whom(world) == ALL_PAIRS
