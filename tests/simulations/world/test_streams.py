"""Streams keep their order until they break, and break when they should."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulations import Link
from simulations.world.network import HEADER_BYTES, Cut
from simulations.world.topology import NEAR

from ..hosts import Sink, World


def connected(link: Link = NEAR, seed: int = 1) -> tuple[World, Sink, Sink]:
    """Two hosts, the first of which has opened its stream 7 to the second's stream 1."""
    world = World(link=link, seed=seed)
    a, b = world.sinks
    world.streams.open(a, 7, b.address)
    world.queue.run_until(10.0)
    return world, a, b


def test_both_ends_hear_of_a_connection_and_write_to_each_other() -> None:
    world, a, b = connected()
    world.streams.write(a.address, 7, b"ping")
    world.streams.write(b.address, 1, b"pong")
    world.queue.run_until(20.0)
    assert sorted(map(str, a.got)) == sorted(map(str, [("open", 7), b"pong", ("writable", 7)]))
    assert sorted(map(str, b.got)) == sorted(map(str, [("open", 1), b"ping", ("writable", 1)]))
    assert world.streams.written == 8


def test_a_cut_holds_datagrams_breaks_streams_and_refuses_new_ones() -> None:
    world, a, b = connected()
    world.streams.write(a.address, 7, b"before")
    world.queue.run_until(11.0)
    world.streams.write(a.address, 7, b"lost")
    world.send(0, 1, b"lost")
    lift = world.network.add_cut(Cut({a.address: 0, b.address: 1}))
    world.queue.run_until(12.0)
    world.streams.open(a, 8, b.address)
    world.queue.run_until(13.0)
    assert a.got == [("open", 7), ("writable", 7), ("closed", 7), ("closed", 8)]
    assert b.got == [("open", 1), b"before", ("closed", 1)]
    lift()
    world.send(0, 1, b"after")
    world.queue.run_until(14.0)
    assert b.got[-1] == b"after"


@pytest.mark.parametrize("muted", [0, 1])
def test_a_one_way_cut_breaks_streams_whoever_is_muted_and_refuses_new_ones(muted: int) -> None:
    world, a, b = connected()
    world.network.add_cut(Cut({world.sinks[muted].address: 0, world.sinks[1 - muted].address: 1}, one_way=True))
    world.streams.open(a, 8, b.address)
    world.queue.run_until(20.0)
    assert a.got == [("open", 7), ("closed", 7), ("closed", 8)]
    assert b.got == [("open", 1), ("closed", 1)]


def test_a_cut_among_others_leaves_a_stream_alone() -> None:
    world = World(3)
    a, b, c = world.sinks
    world.streams.open(a, 7, b.address)
    world.queue.run_until(1.0)
    world.network.add_cut(Cut({c.address: 1}))
    world.streams.write(a.address, 7, b"x")
    world.queue.run_until(2.0)
    assert b.got == [("open", 1), b"x"]


def test_a_stream_keeps_its_order_and_its_end_comes_last() -> None:
    world, a, b = connected(Link(latency=(0.0, 1.0), loss=0.9))
    for i in range(20):
        world.streams.write(a.address, 7, bytes([i]))
    world.streams.close(a.address, 7)
    world.queue.run_until(20.0)
    assert b.got == [("open", 1), *[bytes([i]) for i in range(20)], ("closed", 1)]
    assert a.got == [("open", 7)]


@given(st.lists(st.tuples(st.floats(0.0, 2.0), st.binary(min_size=1, max_size=9)), max_size=20), st.integers(0, 99))
def test_what_arrives_is_what_was_written_in_order_whatever_the_link(
    writes: list[tuple[float, bytes]], seed: int
) -> None:
    rough = Link(
        latency=(0.0, 3.0), loss=0.5, duplication=0.5, reordering=0.5, corruption=0.5, echoes=0.5, bandwidth=5.0
    )
    world, a, b = connected(rough, seed)
    for wait, data in writes:
        world.queue.run_until(world.queue.now + wait)
        world.streams.write(a.address, 7, data)
    world.queue.run_until(world.queue.now + 200.0)
    assert b.got == [("open", 1), *(data for _, data in writes)]
    assert a.got == [("open", 7), *[("writable", 7)] * len(writes)]


def test_a_stream_that_breaks_by_itself_loses_what_breaks_it_and_both_ends_hear_of_it() -> None:
    world, a, b = connected(Link(stream_breaks=1.0))
    world.streams.write(a.address, 7, b"never arrives")
    world.queue.run_until(20.0)
    assert a.got == [("open", 7), ("closed", 7)]
    assert b.got == [("open", 1), ("closed", 1)]
    assert world.streams.broken == 1


def test_a_stream_breaks_once_however_much_is_written_at_that_instant() -> None:
    world, a, b = connected(Link(stream_breaks=1.0))
    for _ in range(5):
        world.streams.write(a.address, 7, b"x")
    world.queue.run_until(20.0)
    assert b.got == [("open", 1), ("closed", 1)]
    assert world.streams.broken == 1


def test_links_break_their_share_of_what_is_written() -> None:
    broken = 0
    for seed in range(400):
        world, a, _ = connected(Link(stream_breaks=0.25), seed)
        world.streams.write(a.address, 7, b"x")
        world.queue.run_until(11.0)
        broken += world.streams.broken
    assert broken / 400 == pytest.approx(0.25, abs=0.06)


def test_streams_share_the_bandwidth_with_datagrams_and_are_not_dropped() -> None:
    world, a, b = connected(Link(bandwidth=1000.0, queue_bytes=2000, latency=0.0))
    start = world.queue.now
    world.send(0, 1, bytes(1000 - HEADER_BYTES))
    for i in range(4):
        world.streams.write(a.address, 7, bytes([i]) * 1000)
    world.send(0, 1, b"no room")
    world.queue.run_until(start + 60.0)
    assert b.got[1:] == [bytes(1000 - HEADER_BYTES), *[bytes([i]) * 1000 for i in range(4)]]
    assert [at - start for at in b.times[1:]] == pytest.approx([1.0, 2.0, 3.0, 4.0, 5.0])


def test_a_connection_that_is_given_up_or_whose_opener_is_gone_never_comes_about() -> None:
    world = World()
    a, b = world.sinks
    world.streams.open(a, 7, b.address)
    world.streams.close(a.address, 7)
    world.queue.run_until(1.0)
    world.streams.open(a, 8, b.address)
    world.network.detach(a)
    world.streams.detach(a)
    again = Sink(world.network, "10.0.0.1", 0)
    world.queue.run_until(2.0)
    assert b.got == again.got == []


def test_a_connection_to_nobody_is_closed() -> None:
    world = World()
    a, b = world.sinks
    world.network.detach(b)
    world.streams.open(a, 7, b.address)
    world.queue.run_until(1.0)
    assert a.got == [("closed", 7)]


def test_a_host_that_goes_breaks_its_streams_and_what_was_under_way_is_lost() -> None:
    world, a, b = connected(Link(latency=1.0))
    world.streams.write(a.address, 7, b"lost")
    world.streams.write(b.address, 1, b"lost as well")
    world.network.detach(a)
    world.streams.detach(a)
    world.queue.run_until(20.0)
    assert b.got == [("open", 1), ("closed", 1)]
    assert a.got == [("open", 7), ("closed", 7)]


def test_writing_to_a_stream_that_is_not_open_does_nothing() -> None:
    world, a, b = connected()
    world.streams.close(a.address, 7)
    world.streams.write(a.address, 7, b"closed")
    world.streams.write(a.address, 99, b"never was")
    world.streams.close(a.address, 99)
    world.streams.open(a, 8, b.address)
    world.streams.write(a.address, 8, b"not yet")
    world.queue.run_until(20.0)
    assert b.got == [("open", 1), ("closed", 1), ("open", 1)]
    assert world.streams.written == 0
