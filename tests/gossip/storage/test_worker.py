"""Writes beside the event loop: quick ones stop it for a moment, slow ones do not, none is waited for without end."""

import time
from collections.abc import Iterator
from functools import partial
from threading import Event, get_ident

import pytest
import trio
import trio.testing

from gossip.protocol.errors import LocalError
from gossip.storage import worker as module
from gossip.storage.errors import DiskFailed
from gossip.storage.worker import Beside

from ..live import patience


@pytest.fixture
def go_on() -> Iterator[Event]:
    """Work that waits for it blocks its thread."""
    event = Event()
    yield event
    event.set()


async def test_work_is_done_in_another_thread_and_its_errors_arrive() -> None:
    beside, threads = Beside(), list[int]()
    await beside.run(lambda: threads.append(get_ident()))
    assert threads
    assert threads != [get_ident()]
    with pytest.raises(ZeroDivisionError):
        await beside.run(lambda: 1 / 0)
    assert not beside.is_busy


async def test_others_have_their_turn_between_two_quick_pieces_of_work() -> None:
    beside, turns = Beside(), 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(others)
        for _ in range(50):
            await beside.run(lambda: None)
        nursery.cancel_scope.cancel()
    assert turns >= 49, "the first has its turn at once"


async def test_others_go_on_while_slow_work_is_done(go_on: Event) -> None:
    beside, done = Beside(), list[bool]()

    async def slow() -> None:
        await beside.run(partial(go_on.wait, 30))
        done.append(True)

    with patience():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(slow)
            await trio.testing.wait_all_tasks_blocked()
            assert beside.is_busy
            assert not done
            go_on.set()
    assert done
    assert not beside.is_busy


async def test_work_in_python_comes_to_its_end_beside_a_loop_that_never_rests() -> None:
    beside, done = Beside(), list[bool]()

    def work() -> None:
        for _ in range(20):
            time.sleep(0.001)  # gives Python's lock away, and must get it back

    async def slow() -> None:
        await beside.run(work)
        done.append(True)

    with patience():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(slow)
            while not done:
                sum(range(10_000))
                await trio.lowlevel.checkpoint()


async def test_who_is_cancelled_waits_and_the_work_counts_as_done(go_on: Event) -> None:
    beside, done = Beside(), list[bool]()

    async def slow() -> None:
        await beside.run(partial(go_on.wait, 30))
        done.append(True)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(slow)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await trio.testing.wait_all_tasks_blocked()
            go_on.set()
    assert done


async def test_work_without_end_is_left_alone_and_nothing_else_is_begun(
    go_on: Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DISK_GRACE", 0.05)
    beside = Beside()
    with patience(), trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(beside.run, partial(go_on.wait, 30))
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
    assert scope.cancelled_caught
    with pytest.raises(DiskFailed, match="does not answer") as caught:
        await beside.run(lambda: None)
    assert isinstance(caught.value, LocalError)
    go_on.set()
    with patience():
        while beside.is_busy:
            await trio.sleep(0.01)
    await beside.run(lambda: None)


async def test_work_is_known_to_be_done_before_the_event_loop_has_heard_of_it(go_on: Event) -> None:
    beside = Beside()
    with patience():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(beside.run, partial(go_on.wait, 30))
            await trio.testing.wait_all_tasks_blocked()
            assert beside.busy_since is not None
            assert not beside.is_done_within(0.01)
            go_on.set()
            assert beside.is_done_within(30.0)
            assert beside.busy_since is None
    assert beside.is_done_within(0.0)
