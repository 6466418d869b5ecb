"""What a disk has said to be safe it keeps, of the rest a crash leaves all or nothing, and a write may fail."""

import random

import pytest

from crdts import Replica
from simulations import EventQueue
from simulations.world.disk import ERROR, FULL, KEPT, LOST, REORDERED, SECTOR_BYTES, SYNC_BYTES, TAILS, TORN, Disk
from simulations.world.tables import IdentityRow, LogRow, Owner

RNG = random.Random(1)


class Desk:
    """A disk and what it has said of each transaction, with the instants."""

    def __init__(self, *, delay: float = 0.0, survives: bool = True, size: int = 3 * SECTOR_BYTES) -> None:
        self.queue = EventQueue()
        self.disk = Disk(self.queue, delay=delay, survives=survives)
        self.size = size
        self.told: list[tuple[float, int, str]] = []

    def save(self, *numbers: int) -> None:
        """These rows in one transaction."""
        rows = [LogRow(number, bytes(self.size)) for number in numbers]
        self.disk.write(rows, lambda error: self.told.append((self.queue.now, numbers[-1], str(error or ""))))

    def wait(self, seconds: float) -> None:
        self.queue.run_until(self.queue.now + seconds)

    def rows(self) -> list[int]:
        return list(self.disk.tables.log)

    def left_by(self, tail: str, seed: int = 0) -> list[int]:
        self.disk.crash(tail, random.Random(seed))
        return self.rows()


# ---- in good times


def test_a_disk_that_takes_no_time_has_everything_at_once() -> None:
    desk = Desk()
    desk.save(1)
    desk.save(2, 3)
    assert desk.told == [(0.0, 1, ""), (0.0, 3, "")]
    assert desk.rows() == [1, 2, 3]


def test_a_slow_disk_tells_when_it_is_done() -> None:
    desk = Desk(delay=0.5)
    desk.save(1)
    desk.wait(0.4)
    assert (desk.told, desk.rows()) == ([], [])
    desk.wait(0.2)
    assert (desk.told, desk.rows()) == ([(0.5, 1, "")], [1])


def test_a_disk_that_becomes_quick_again_takes_its_time_for_what_it_has_begun() -> None:
    desk = Desk()
    be_quick_again = desk.disk.slow_down(1.0)
    desk.save(1)
    be_quick_again()
    assert desk.told == []
    desk.wait(2.0)
    desk.save(2)
    assert desk.told == [(1.0, 1, ""), (2.0, 2, "")]


def test_of_several_reasons_to_be_slow_the_slowest_counts() -> None:
    desk = Desk(delay=0.1)
    ends = [desk.disk.slow_down(0.5), desk.disk.slow_down(0.2)]
    assert desk.disk.delay == 0.5
    ends.pop(0)()
    assert desk.disk.delay == 0.2
    ends.pop()()
    assert desk.disk.delay == 0.1


def test_a_disk_in_a_hurry_is_done_at_once_and_once() -> None:
    desk = Desk(delay=1.0)
    desk.disk.hurry()
    desk.save(1)
    desk.disk.hurry()
    desk.wait(2.0)
    assert desk.told == [(0.0, 1, "")]


# ---- crashes


@pytest.mark.parametrize("tail", TAILS)
def test_what_is_safe_survives_any_crash(tail: str) -> None:
    desk = Desk(delay=0.1)
    desk.save(1, 2)
    desk.wait(0.2)
    desk.save(3)
    assert desk.left_by(tail)[:2] == [1, 2]
    desk.wait(1.0)
    assert desk.told == [(0.1, 2, "")], "nobody hears of what was not safe"


@pytest.mark.parametrize(
    ("tail", "wanted"), [(LOST, {()}), (KEPT, {(1, 2)}), (TORN, {(), (1, 2)}), (REORDERED, {(), (1, 2)})]
)
def test_a_crash_leaves_all_of_a_transaction_or_nothing(tail: str, wanted: set[tuple[int, ...]]) -> None:
    left = set()
    for seed in range(300):
        desk = Desk(delay=1.0, size=1)
        desk.save(1, 2)
        left.add(tuple(desk.left_by(tail, seed)))
    assert left == wanted


def test_after_a_crash_the_next_life_writes_at_once() -> None:
    desk = Desk(delay=1.0)
    desk.save(1)
    desk.left_by(LOST)
    desk.wait(0.5)
    desk.save(1)
    desk.wait(10.0)
    assert desk.told == [(1.5, 1, "")]


def test_memory_only_forgets_everything() -> None:
    desk = Desk(survives=False, delay=1.0)
    desk.save(1)
    assert desk.left_by(KEPT) == []


# ---- failures


def test_a_full_disk_fails_until_there_is_room() -> None:
    desk = Desk()
    desk.disk.full = True
    desk.save(1)
    desk.disk.make_room()
    desk.save(2)
    assert desk.told == [(0.0, 1, FULL), (0.0, 2, "")]
    assert desk.rows() == [2]


def test_a_disk_that_becomes_full_ends_what_it_has_begun() -> None:
    desk = Desk(delay=1.0)
    desk.save(1)
    desk.disk.full = True
    desk.wait(2.0)
    assert desk.told == [(1.0, 1, "")]


@pytest.mark.parametrize("problem", [FULL, ERROR])
@pytest.mark.parametrize("number", range(1, 9))
def test_a_transaction_fails_with_any_one_of_its_writes_and_the_next_does_not(number: int, problem: str) -> None:
    desk = Desk()
    desk.disk.fail_write(number, problem)
    desk.save(1, 2)  # two rows, a commit and the sync: four writes
    desk.save(1, 2)
    failed = [problem if number <= 4 else "", problem if number > 4 else ""]
    assert [told for _, _, told in desk.told] == failed
    assert desk.rows() == [1, 2]
    assert desk.disk.writes == 8 - (4 - number if number <= 4 else 8 - number)


def test_a_failed_write_takes_as_long_as_another() -> None:
    desk = Desk(delay=0.5)
    desk.disk.fail_write(1)
    desk.save(1)
    desk.wait(1.0)
    assert desk.told == [(0.5, 1, ERROR)]


def test_nothing_to_write_never_fails() -> None:
    desk = Desk(delay=1.0)
    desk.disk.full = True
    told: list[object] = []
    desk.disk.write([], told.append)
    assert told == [None]


def test_a_crash_may_bring_back_a_transaction_whose_sync_has_failed() -> None:
    desk = Desk()
    desk.disk.fail_write(3)
    desk.save(1)
    assert desk.told == [(0.0, 1, ERROR)]
    assert desk.rows() == []
    assert desk.left_by(KEPT) == [1]


@pytest.mark.parametrize("number", [1, 2])
def test_a_crash_does_not_bring_back_a_transaction_without_its_end(number: int) -> None:
    desk = Desk()
    desk.disk.fail_write(number)
    desk.save(1)
    assert desk.left_by(KEPT) == []


def test_what_is_written_over_a_failed_transaction_is_not_mixed_with_it() -> None:
    desk = Desk()
    desk.disk.fail_write(4)
    desk.save(1, 2)  # all of it is there but for the sync
    desk.disk.fail_write(2)
    desk.save(3)  # the first row of it lies over what was there
    assert desk.left_by(KEPT) == []


# ---- directories


def test_a_wiped_disk_reads_as_nothing() -> None:
    desk = Desk()
    desk.save(1)
    desk.disk.wipe()
    replica = Replica("r")
    desk.disk.read_into(replica)
    assert not replica.context
    assert desk.disk.wiped


def test_a_copy_has_the_same_content_and_goes_its_own_way() -> None:
    desk = Desk(delay=0.5)
    desk.disk.owner.epoch = 3
    desk.save(1)
    desk.wait(1.0)
    desk.save(2)
    copy = desk.disk.copy()
    assert (copy.owner.epoch, list(copy.tables.log), copy.delay, copy.survives) == (3, [1], 0.5, True)
    desk.wait(1.0)
    copy.wipe()
    assert desk.rows() == [1, 2]


def test_a_disk_that_fills_up_at_a_write_is_full_until_there_is_room() -> None:
    desk = Desk()
    desk.disk.fill_up(4)
    desk.save(1)
    desk.save(2)
    desk.save(2)
    desk.disk.make_room()
    desk.save(2)
    assert [told for _, _, told in desk.told] == ["", FULL, FULL, ""]


# ---- lazy ones


def lazy(*, size: int = 1) -> Desk:
    """One that has saved three transactions, and is busy with a fourth."""
    desk = Desk(delay=1.0, size=size)
    desk.disk = Disk(desk.queue, delay=1.0, is_lazy=True)
    for number in (1, 2, 3):
        desk.save(number)
        desk.wait(1.5)
    desk.save(4)
    return desk


@pytest.mark.parametrize("tail", TAILS)
def test_of_a_lazy_disk_the_end_of_a_process_leaves_what_was_saved(tail: str) -> None:
    desk = lazy()
    assert desk.left_by(tail)[:3] == [1, 2, 3]
    assert desk.disk.is_synced


@pytest.mark.parametrize(("tail", "wanted"), [(LOST, {0}), (KEPT, {4}), (TORN, {0, 1, 2, 3}), (REORDERED, {0, 1, 2})])
def test_of_a_lazy_disk_a_power_loss_leaves_some_of_the_first_transactions(tail: str, wanted: set[int]) -> None:
    left = set()
    for seed in range(300):
        desk = lazy()
        desk.disk.crash(tail, random.Random(seed), power=True)
        assert desk.rows() == [*range(1, len(desk.rows()) + 1)]
        left.add(len(desk.rows()))
    assert wanted <= left


def test_a_lazy_disk_syncs_when_much_was_written_and_when_it_is_told_to() -> None:
    desk = lazy(size=SYNC_BYTES)
    assert desk.disk.is_synced
    desk = lazy()
    assert not desk.disk.is_synced
    desk.disk.sync()
    desk.disk.crash(LOST, RNG, power=True)
    assert desk.rows() == [1, 2, 3]


def test_who_begins_a_life_on_a_lazy_disk_is_known_after_any_crash() -> None:
    desk = lazy()
    desk.disk.begin_life(7, "n7", 3, "life")
    desk.disk.crash(LOST, RNG, power=True)
    assert desk.disk.owner == Owner(7, "n7", 3, ["life"])
    assert desk.rows() == [1, 2, 3]


# ---- who writes there


@pytest.mark.parametrize(("tail", "name"), [(LOST, "old"), (KEPT, "new")])
def test_a_new_name_is_saved_with_what_is_written_under_it_or_not_at_all(tail: str, name: str) -> None:
    desk = Desk(delay=1.0)
    desk.disk.begin_life(1, "old", 5, "old life")
    desk.disk.write([LogRow(1, b"x"), IdentityRow(-1, "new", 1, "new life")], lambda _: None)
    desk.left_by(tail)
    assert desk.disk.owner.name == name
    assert desk.disk.owner.lives == [f"{name} life"]
    assert desk.rows() == ([1] if name == "new" else [])
