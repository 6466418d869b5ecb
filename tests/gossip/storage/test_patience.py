"""Work in a thread that may never come back: it is waited for when its caller is cancelled, but not for ever."""

from collections.abc import Iterator
from threading import Event

import pytest
import trio
import trio.testing

from gossip.storage import patience as module
from gossip.storage.patience import run_patiently

from ..live import patience


class Work:
    """Blocks its thread until it is told to go on."""

    def __init__(self) -> None:
        self.begun = Event()
        self.go_on = Event()

    def __call__(self) -> str:
        self.begun.set()
        self.go_on.wait(30)
        return "done"

    async def has_begun(self) -> None:
        with patience():
            while not self.begun.is_set():
                await trio.sleep(0.01)


@pytest.fixture
def work() -> Iterator[Work]:
    work = Work()
    yield work
    work.go_on.set()


@pytest.fixture
def limiter() -> trio.CapacityLimiter:
    return trio.CapacityLimiter(1)


async def test_a_result_and_an_error_arrive_as_from_any_call(limiter: trio.CapacityLimiter) -> None:
    assert await run_patiently(lambda: 3, limiter) == 3
    with pytest.raises(ZeroDivisionError):
        await run_patiently(lambda: 1 / 0, limiter)
    assert limiter.borrowed_tokens == 0


async def test_who_is_cancelled_waits_and_has_the_result_nevertheless(
    work: Work, limiter: trio.CapacityLimiter
) -> None:
    results = []
    async with trio.open_nursery() as nursery:

        async def call() -> None:
            results.append(await run_patiently(work, limiter))

        nursery.start_soon(call)
        await work.has_begun()
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await trio.testing.wait_all_tasks_blocked()
            work.go_on.set()
    assert results == ["done"]


async def test_what_takes_longer_is_left_alone_and_keeps_its_place(
    work: Work, limiter: trio.CapacityLimiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DISK_GRACE", 0.05)
    with patience(), trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: run_patiently(work, limiter))
            await work.has_begun()
            scope.cancel()
    assert scope.cancelled_caught
    assert limiter.borrowed_tokens == 1, "nobody else may use what the thread uses"
    work.go_on.set()
    with patience():
        async with limiter:
            pass


async def test_who_was_cancelled_before_begins_nothing(work: Work, limiter: trio.CapacityLimiter) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await run_patiently(work, limiter)
    assert scope.cancelled_caught
    assert not work.begun.is_set()
    assert limiter.borrowed_tokens == 0
