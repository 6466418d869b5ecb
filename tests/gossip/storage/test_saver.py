"""A disk counts as silent by the time that it takes itself, not by that of the event loop. Virtual time."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from math import inf

import pytest
import trio
from trio.testing import MockClock

from gossip.log import DISK_SLOW
from gossip.protocol import Identity, Persist
from gossip.storage.errors import DiskFailed
from gossip.storage.saver import Saver

from ..live import Journal


class SlowDisk:
    """Takes ``encoding`` seconds in the event loop, and then ``writing`` seconds beside it."""

    has_more = is_replacing = False

    def __init__(self, *, encoding: float = 0.0, writing: float = 0.0, lacks_turns: bool = False) -> None:
        """``lacks_turns``: it only waits for the event loop to stand still."""
        self._encoding = encoding
        self._writing = writing
        self._lacks_turns = lacks_turns
        self._answer = trio.Event()
        self.asked_since: float | None = None

    def answers_within(self, seconds: float) -> bool:
        if self._lacks_turns:
            self.asked_since = None
            self._answer.set()
        return self._lacks_turns

    async def save(self, batches: Sequence[Persist]) -> None:
        await trio.sleep(self._encoding)
        self.asked_since = trio.current_time()
        with trio.move_on_after(self._writing):
            await self._answer.wait()
        self.asked_since = None

    def replace(self) -> None: ...
    def rename(self, identity: Identity) -> None: ...
    def remember(self, hints: bytes) -> None: ...
    async def close(self, fingerprint: int | None) -> None: ...


@asynccontextmanager
async def saving(disk: SlowDisk, journal: Journal) -> AsyncIterator[Saver]:
    """A saver that has been given a batch."""
    saver = Saver(disk, lambda: None, lambda _: None, journal.logger)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(saver.run)
        nursery.start_soon(saver.watch)
        saver.put(Persist(1, ()))
        yield saver
        nursery.cancel_scope.cancel()


async def test_time_that_goes_by_before_the_disk_is_asked_does_not_count_against_it(autojump_clock: MockClock) -> None:
    journal = Journal()
    async with saving(SlowDisk(encoding=60.0, writing=1.0), journal) as saver:
        for _ in range(60):
            await trio.sleep(1.0)
            saver.check()
        await saver.flush()
    assert not journal.named(DISK_SLOW)


@pytest.mark.parametrize("encoding", [0.0, 60.0])
async def test_a_disk_that_does_not_answer_counts_as_silent_some_seconds_after_it_was_asked(
    autojump_clock: MockClock, encoding: float
) -> None:
    journal = Journal()
    async with saving(SlowDisk(encoding=encoding, writing=inf), journal) as saver:
        await trio.sleep(encoding + 4.5)
        saver.check()
        await trio.sleep(2.0)
        with pytest.raises(DiskFailed, match=r"nothing was written: the disk does not answer since [56] s"):
            saver.check()
    assert [line["seconds"] for line in journal.named(DISK_SLOW)] == [pytest.approx(5.0, abs=1.0)]


async def test_a_thread_that_only_lacks_its_turn_is_not_taken_for_a_disk_that_does_not_answer(
    autojump_clock: MockClock,
) -> None:
    journal = Journal()
    async with saving(SlowDisk(writing=inf, lacks_turns=True), journal) as saver:
        await trio.sleep(20.0)
        saver.check()
        await saver.flush()
    assert not journal.named(DISK_SLOW)
