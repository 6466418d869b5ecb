"""Transactions on a node: whole or not at all at every member, and never told of before they have ended."""

from contextlib import suppress
from threading import Thread

import pytest
import trio
import trio.testing

from crdts import Change, InTransaction
from gossip import NotRunning, TransportFaults, WrongThread, open_node

from .live import acquainted, cluster, equal, patience, until


async def test_members_take_in_a_transaction_as_one_change() -> None:
    async with cluster(3) as nodes:
        told: list[list[Change]] = []
        nodes[2].replica.on_change(told.append)
        for i in range(50):
            with nodes[0].transaction():
                nodes[0].orset("open").add(i)
                nodes[0].counter("posted").increment()
                nodes[0].ormap("by number").register(str(i)).set("open")
        await equal(*nodes)
        assert {len(changes) for changes in told} <= {2 * n + 1 for n in range(1, 51)}  # one counter, n tasks twice
        assert nodes[2].counter("posted").value() == len(nodes[2].orset("open")) == 50


async def test_a_transaction_too_large_for_datagrams_arrives_whole_at_thirty_percent_loss() -> None:
    faults = [TransportFaults(loss=0.3) for _ in range(3)]
    async with cluster(3, faults=faults) as nodes:
        sizes: set[int] = set()
        nodes[1].replica.on_change(lambda _: sizes.add(len(nodes[1].lwwmap("m"))))
        for turn in range(3):
            with nodes[0].transaction():
                for i in range(2_000):
                    nodes[0].lwwmap("m").set(f"{turn}/{i}", "x" * 20)
        await equal(*nodes)
        assert sizes <= {2_000, 4_000, 6_000}


async def test_an_exception_leaves_nothing_behind_and_nothing_is_sent() -> None:
    async with cluster(2) as (a, b):
        before = a.replica.context
        with suppress(ZeroDivisionError), a.transaction():
            a.orset("x").add(1)
            raise ZeroDivisionError
        assert a.replica.context == before
        a.orset("y").add(1)
        await equal(a, b)
        assert [held.name for held in b.replica.objects()] == ["y"]


async def test_a_block_that_waits_is_undone_and_told_so_and_the_node_goes_on() -> None:
    async with cluster(2) as (a, b):

        async def wait_inside() -> None:
            with a.transaction():
                a.orset("x").add("undone")
                b.orset("x").add("from elsewhere")
                await until(b, lambda: a.replica.context.last(b.replica.replica_id))

        with pytest.raises(InTransaction, match="must not wait"):
            await wait_inside()
        await acquainted(a, b)
        a.orset("x").add("later")
        await equal(a, b)
        assert b.orset("x").get_elements() == {"from elsewhere", "later"}


async def test_writes_behind_the_wait_are_refused() -> None:
    async with cluster(2) as (a, _):

        async def write_after_waiting() -> None:
            with a.transaction():
                with patience():
                    while a.replica.store.in_transaction:
                        await trio.sleep(0.01)
                a.orset("x").add(1)

        with pytest.raises(InTransaction, match="undone"):
            await write_after_waiting()
        assert len(a.orset("x")) == 0


async def test_what_was_flushed_is_not_undone_with_the_block_in_which_another_task_waits() -> None:
    async with open_node("a") as a:
        heard, written = list[str](), trio.Event()

        async def waits() -> None:
            try:
                with a.transaction():
                    a.orset("s").add("in the block")
                    await written.wait()
                    a.orset("s").add("behind the wait")
            except InTransaction:
                heard.append("undone")

        async def writes() -> None:
            await trio.testing.wait_all_tasks_blocked()
            a.orset("s").add("plain")
            await a.flush()
            assert a.orset("s").get_elements() == {"plain"}
            written.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(waits)
            nursery.start_soon(writes)
        assert heard == ["undone"]
        assert a.orset("s").get_elements() == {"plain"}


async def test_of_blocks_that_overlap_each_is_kept_or_told() -> None:
    async with cluster(2) as (a, b):
        kept, told = 0, 0

        async def increments() -> None:
            nonlocal kept, told
            try:
                with a.transaction():
                    value = a.register("n").get(0)
                    await trio.sleep(0)
                    a.register("n").set(value + 1)
                    a.counter("c").increment()
                kept += 1
            except InTransaction:
                told += 1

        for _ in range(10):
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(increments)
        assert kept + told == 30
        assert told >= 20
        a.counter("plain").increment()
        await equal(a, b)
        assert b.register("n").get(0) == b.counter("c").value() == kept


async def test_a_wrong_thread_is_refused_a_block_and_takes_no_plain_writes_with_it() -> None:
    async with open_node("a") as a:

        def begins() -> None:
            with pytest.raises(WrongThread), a.transaction():
                pass

        await trio.to_thread.run_sync(begins)
        a.orset("s").add("plain")
        with a.transaction():
            a.orset("s").add("in the block")
            thread = Thread(target=begins)
            thread.start()
            thread.join()
        assert a.orset("s").get_elements() == {"plain", "in the block"}


async def test_inside_a_block_nothing_is_promised_of_what_may_be_undone() -> None:
    async with open_node("a") as a:
        with a.transaction():
            a.orset("s").add(1)
            for promise in (a.flush, a.synced, a.leave):
                with pytest.raises(InTransaction, match="end it first"):
                    await promise()
            with pytest.raises(InTransaction, match="end it first"):
                a.version()
        assert len(a.orset("s")) == 1


async def test_a_closed_node_refuses_what_is_in_the_block() -> None:
    async with open_node("a") as a:
        pass
    with pytest.raises(NotRunning), a.transaction():
        a.orset("x").add(1)
    assert len(a.orset("x")) == 0


async def test_every_type_travels() -> None:
    async with cluster(2) as (a, b):
        a.gset("gset").add(1)
        a.orset("orset").add(1)
        a.rwset("rwset").add(1)
        a.ewflag("ewflag").enable()
        a.dwflag("dwflag").disable()
        a.gcounter("gcounter").increment()
        a.counter("counter").decrement()
        a.bounded_counter("bounded_counter").increment(5)
        a.register("register").set(1)
        a.mvregister("mvregister").set(1)
        a.lwwmap("lwwmap").set("k", 1)
        a.ormap("ormap").ormap("inside").counter("k").increment()
        await equal(a, b)
        assert {held.kind: held.value() for held in b.replica.objects()} == {
            "gset": {1},
            "orset": {1},
            "rwset": {1},
            "ewflag": True,
            "dwflag": False,
            "gcounter": 1,
            "counter": -1,
            "bounded_counter": 5,
            "register": 1,
            "mvregister": [1],
            "lwwmap": {"k": 1},
            "ormap": {"inside": {"k": 1}},
        }
