"""Watching: no place is lost, a slow reader costs no more than the places that changed, and it ends."""

import gc

import pytest
import trio

from gossip import Watch, open_node

from .live import FAST, acquainted, cluster, equal, patience


async def read(watch: Watch, count: int) -> list[tuple[str, str, object]]:
    with patience():
        return [(change.kind, change.name, change.key) for change in [await anext(watch) for _ in range(count)]]


async def test_local_and_received_changes_are_reported_with_their_writer() -> None:
    async with cluster(2) as (a, b):
        with a.watch() as changes:
            a.orset("x").add("mine")
            await equal(a, b)
            b.lwwmap("m").set("key", "theirs")
            b.counter("c").increment()
            with patience():
                seen = [await anext(changes) for _ in range(3)]
        assert [(c.kind, c.name, c.key) for c in seen[:1]] == [("orset", "x", "mine")]
        assert {(c.kind, c.name) for c in seen[1:]} == {("lwwmap", "m"), ("counter", "c")}
        assert [c.writer for c in seen] == [node.replica.replica_id for node in (a, b, b)]


async def test_a_slow_reader_finds_every_place_once_with_its_latest_writer() -> None:
    async with open_node("a") as a:
        with a.watch("m") as changes:
            for turn in range(1_000):
                a.lwwmap("m").set(f"key {turn % 10}", turn)
            assert len(changes._pending) == 10
            with patience():
                seen = [await anext(changes) for _ in range(10)]
            assert {change.key for change in seen} == {f"key {n}" for n in range(10)}
            assert sorted(change.seq for change in seen) == list(range(991, 1001))
            with trio.move_on_after(0.01) as scope:
                await anext(changes)
            assert scope.cancelled_caught


async def test_elements_that_python_thinks_equal_are_different_places() -> None:
    async with open_node("a") as a:
        with a.watch() as changes:
            for element in (1, 1.0, True, "1", b"1"):
                a.orset("x").add(element)
            assert [type(key) for _, _, key in await read(changes, 5)] == [int, float, bool, str, bytes]


async def test_only_objects_of_the_name_that_was_asked_for_are_reported_whatever_their_type() -> None:
    async with open_node("a") as a:
        with a.watch("x") as changes:
            a.orset("y").add(1)
            a.orset("x").add(1)
            a.register("x").set(2)
            assert await read(changes, 2) == [("orset", "x", 1), ("register", "x", None)]


async def test_a_newcomer_sees_the_whole_state_arrive() -> None:
    async with open_node("old", config=FAST) as old:
        for number in range(5_000):
            old.orset("x").add(number)
        async with open_node("new", join=[old.address], config=FAST) as new:
            with new.watch() as changes:
                here = set(new.orset("x"))  # what came while it was opened
                seen = {key for _, _, key in await read(changes, 5_000 - len(here))}
                assert here | seen == set(range(5_000))
                assert not here & seen


async def test_no_change_is_lost_when_a_reader_is_cancelled() -> None:
    async with open_node("a") as a:
        with a.watch() as changes:
            a.orset("x").add(1)
            with trio.CancelScope() as scope:
                scope.cancel()
                await anext(changes)
            assert scope.cancelled_caught
            assert await read(changes, 1) == [("orset", "x", 1)]


async def test_two_readers_share_the_changes_between_them() -> None:
    async with open_node("a") as a, trio.open_nursery() as nursery:
        changes = a.watch()
        seen = []

        async def reader() -> None:
            seen.extend([change.key async for change in changes])

        nursery.start_soon(reader)
        nursery.start_soon(reader)
        await trio.testing.wait_all_tasks_blocked()
        for number in range(100):
            a.orset("x").add(number)
        await trio.testing.wait_all_tasks_blocked()
        changes.close()
    assert sorted(seen) == list(range(100))


async def test_closing_ends_the_iteration_after_what_was_noted() -> None:
    async with open_node("a") as a:
        changes = a.watch()
        a.orset("x").add(1)
        changes.close()
        a.orset("x").add(2)
        assert [change.key async for change in changes] == [1]
        changes.close()


async def test_the_end_of_the_node_ends_the_iteration_of_a_reader_that_waits() -> None:
    seen = []

    async def reader(changes: Watch) -> None:
        seen.extend([change.key async for change in changes])

    with patience():
        async with trio.open_nursery() as nursery, open_node("a") as a:
            nursery.start_soon(reader, a.watch())
            await trio.testing.wait_all_tasks_blocked()
            a.orset("x").add(1)
    assert seen == [1]


async def test_a_watch_that_nobody_holds_any_more_listens_no_more() -> None:
    async with open_node("a") as a:
        a.watch()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.lowlevel.checkpoint)
        gc.collect()
        assert not a.replica.store._on_change
        assert a.replica.store.kernel.touched is None


async def test_leaving_a_loop_early_leaves_nothing_behind() -> None:
    async with open_node("a") as a:
        a.orset("x").add(0)

        async def first() -> object:
            async for change in a.watch():
                return change.key
            return None

        async with trio.open_nursery() as nursery:
            nursery.start_soon(first)
            await trio.testing.wait_all_tasks_blocked()
            a.orset("x").add(1)
        gc.collect()
        assert not a.replica.store._on_change


async def test_many_watches_of_one_node_do_not_disturb_each_other() -> None:
    async with cluster(2) as (a, b):
        watches = [a.watch() for _ in range(20)]
        for watch in watches[::2]:
            watch.close()
        b.orset("x").add(1)
        await equal(a, b)
        for watch in watches[1::2]:
            assert await read(watch, 1) == [("orset", "x", 1)]
        for watch in watches[::2]:
            with pytest.raises(StopAsyncIteration):
                await anext(watch)
        await acquainted(a, b)


async def test_what_is_as_it_was_when_it_is_read_is_not_reported() -> None:
    async with open_node("a") as a:
        with a.watch() as changes:
            a.counter("c").increment()
            a.counter("c").decrement()
            a.orset("x").add(1)
            a.orset("x").remove(1)
            a.orset("x").add(2)
            assert await read(changes, 1) == [("orset", "x", 2)]
            assert not changes._pending
