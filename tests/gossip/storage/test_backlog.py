"""Batches wait in order, come back when their disk fails, and are given up when that lasts too long."""

import pytest

from gossip.protocol import Persist
from gossip.storage.backlog import RETRY_FIRST, RETRY_MOST, Backlog
from gossip.storage.errors import DiskFailed


class Replacer:
    """Notes that it was asked to write the replica anew."""

    def __init__(self) -> None:
        self.is_replacing = False

    def replace(self) -> None:
        self.is_replacing = True


def batches(*tokens: int) -> list[Persist]:
    return [Persist(token, ()) for token in tokens]


def backlog_of(*tokens: int, disk: Replacer | None = None) -> Backlog:
    backlog = Backlog(disk or Replacer(), most=3)
    for batch in batches(*tokens):
        backlog.put(batch)
    return backlog


def test_all_that_wait_are_taken_in_order_with_the_token_of_the_last() -> None:
    backlog = backlog_of(1, 2)
    assert backlog.take() == (batches(1, 2), 2)
    assert backlog.take() == ([], 2)


def test_what_could_not_be_saved_comes_before_what_came_meanwhile() -> None:
    backlog = backlog_of(1, 2)
    taken, _ = backlog.take()
    backlog.put(Persist(3, ()))
    assert (len(backlog), backlog.unsaved) == (1, 3)
    backlog.failed(taken, DiskFailed("full"))
    assert (len(backlog), backlog.unsaved) == (3, 3)
    assert backlog.take() == (batches(1, 2, 3), 3)
    backlog.saved()
    assert backlog.unsaved == 0


def test_writes_are_refused_from_a_failure_until_something_was_saved() -> None:
    backlog = backlog_of(1)
    backlog.check()
    backlog.failed([], DiskFailed("full"))
    with pytest.raises(DiskFailed, match="nothing was written: full"):
        backlog.check()
    assert backlog.saved()
    assert not backlog.saved()
    backlog.check()


def test_batches_are_given_up_behind_a_disk_that_fails_and_wait_behind_one_that_is_slow() -> None:
    disk = Replacer()
    backlog = backlog_of(1, 2, 3, 4, disk=disk)
    assert backlog.is_long
    assert not disk.is_replacing
    taken, _ = backlog.take()
    backlog.failed(taken, DiskFailed("full"))
    assert not backlog.is_long, "a node whose disk fails must still answer"
    backlog.put(Persist(5, ()))
    assert disk.is_replacing
    assert len(backlog) == 0
    assert backlog.take() == ([], 5)


def test_what_fails_while_the_replica_is_written_anew_is_in_it_and_does_not_wait() -> None:
    disk = Replacer()
    backlog = backlog_of(1, disk=disk)
    taken, _ = backlog.take()
    disk.replace()
    backlog.failed(taken, DiskFailed("full"))
    assert len(backlog) == 0


def test_a_disk_is_tried_again_ever_more_rarely_until_it_works() -> None:
    backlog = backlog_of(1)
    pauses = [backlog.pause() for _ in range(8)]
    assert pauses[:3] == [RETRY_FIRST, 2 * RETRY_FIRST, 4 * RETRY_FIRST]
    assert pauses[-1] == RETRY_MOST
    backlog.saved()
    assert backlog.pause() == RETRY_FIRST
