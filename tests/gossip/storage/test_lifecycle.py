"""A node that is started again on its data: what it had, who it is, and what it may spend."""

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import trio
import trio.testing

from crdts import InsufficientRights
from gossip import DataDirInUse, DiskFailed, Node, new_key, open_node
from gossip.log import (
    DATA_CUT,
    DATA_DAMAGED,
    DATA_UNREAD,
    DISK_FAILED,
    DISK_RECOVERED,
    DISK_SLOW,
    NODE_STARTED,
    WRITES_UNSAVED,
    WRITES_UNSHARED,
)
from gossip.protocol import notices, parse_key, seal_for
from gossip.storage import recovery as opening
from gossip.storage.backup import back_up_closed
from gossip.storage.database import Database
from gossip.storage.errors import DamagedData
from gossip.storage.files import DATABASE_FILE
from gossip.storage.hints import decode_hints

from ..cli.process import environment
from ..live import FAST, PATIENCE, Journal, acquainted, patience, until
from .marking import not_closed


@pytest.mark.parametrize("durability", ["full", "normal"])
async def test_what_a_node_wrote_is_there_at_the_next_start(tmp_path: Path, durability: str) -> None:
    journal = Journal()
    async with open_node("a", data_dir=tmp_path, durability=durability) as node:
        node.orset("tasks").add("mow the lawn")
        node.lwwmap("config").set("level", 3)
        before = node.id, node.replica.fingerprint
    async with open_node("a", data_dir=tmp_path, durability=durability, log=journal.logger) as node:
        assert (node.id, node.replica.fingerprint) == before
        assert set(node.orset("tasks")) == {"mow the lawn"}
        node.orset("tasks").add("paint the fence")
    [started] = journal.named(NODE_STARTED)
    assert (started["data"], started["entries"]) == (durability, 2)


async def test_without_durability_nothing_is_there_and_somebody_new_is(tmp_path: Path) -> None:
    async with open_node("a", data_dir=tmp_path, durability="none") as node:
        node.orset("tasks").add("mow the lawn")
        before = node.id
    async with open_node("a", data_dir=tmp_path, durability="none") as node:
        assert not node.replica.objects()
        assert node.id != before


async def test_a_node_spends_the_rights_that_its_earlier_lives_held(tmp_path: Path) -> None:
    for turn in range(3):
        async with open_node("a", data_dir=tmp_path) as node:
            budget = node.bounded_counter("budget")
            budget.increment(10)
            assert budget.rights() == 10 * (turn + 1) - 4 * turn
            budget.decrement(4)
    async with open_node("a", data_dir=tmp_path) as node:
        budget = node.bounded_counter("budget")
        budget.decrement(18)
        assert budget.value() == budget.rights() == 0
        with pytest.raises(InsufficientRights):
            budget.decrement(1)


async def test_rights_of_a_life_that_may_have_spent_more_than_its_file_knows_are_nobody_s(tmp_path: Path) -> None:
    """As after a power loss; who has stopped in good order has saved everything, whatever was promised."""
    for number, (closed, rights) in enumerate([(True, 10), (False, 0)]):
        path = tmp_path / str(number)
        async with open_node("a", data_dir=path, durability="normal") as node:
            node.bounded_counter("budget").increment(10)
        if not closed:
            not_closed(path, power_failed=True)
        async with open_node("a", data_dir=path) as node:
            assert node.bounded_counter("budget").value() == 10
            assert node.bounded_counter("budget").rights() == rights


async def test_an_old_file_put_back_beside_its_mark_is_seen_after_a_crash_too(tmp_path: Path) -> None:
    async with open_node("a", data_dir=tmp_path) as node:
        node.orset("tasks").add("one")
    before = (tmp_path / DATABASE_FILE).read_bytes()
    for _ in range(2):
        async with open_node("a", data_dir=tmp_path) as node:
            node.orset("tasks").add("two")
            node_id = node.id
    (tmp_path / DATABASE_FILE).write_bytes(before)
    not_closed(tmp_path, power_failed=False)
    journal = Journal()
    async with open_node("a", data_dir=tmp_path, log=journal.logger) as node:
        assert node.id != node_id
        assert set(node.orset("tasks")) == {"one"}
    assert journal.named(notices.IDENTITY_FORKED)[0]["why"] == "it is older than its mark"


async def test_rights_of_a_life_whose_process_was_killed_are_the_next_one_s(tmp_path: Path) -> None:
    async with open_node("a", data_dir=tmp_path, durability="normal") as node:
        node.bounded_counter("budget").increment(10)
    not_closed(tmp_path, power_failed=False)
    async with open_node("a", data_dir=tmp_path) as node:
        assert node.bounded_counter("budget").rights() == 10


KILLED = """
import os, signal, sys, trio
from gossip import open_node

async def main(path):
    async with open_node("a", data_dir=path) as node:
        for _ in range(4):
            node.bounded_counter("budget").increment(10)
            await node.flush()
        os.kill(os.getpid(), signal.SIGKILL)

trio.run(main, sys.argv[1])
"""


async def test_a_damaged_write_ahead_log_is_told_of_and_costs_the_rights(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path], timeout=60, check=False, env=environment())
    assert done.returncode == -signal.SIGKILL
    wal = tmp_path / "state.db-wal"
    content = bytearray(wal.read_bytes())
    content[32 + 24 + 500] ^= 1  # in its first page
    wal.write_bytes(content)
    journal = Journal()
    async with open_node("a", data_dir=tmp_path, log=journal.logger) as node:
        assert node.bounded_counter("budget").rights() == 0
    [line] = journal.named(DATA_CUT)
    assert "transactions" in line["why"]
    assert line["set_aside"] == f"{wal}.damaged-1"
    assert (tmp_path / "state.db-wal.damaged-1").read_bytes() == content
    assert "only in a backup" in line["advice"]


async def test_no_backup_is_made_where_the_write_ahead_log_is_damaged_until_a_node_was_there(tmp_path: Path) -> None:
    data, copy = tmp_path / "data", tmp_path / "copy.db"
    done = subprocess.run([sys.executable, "-c", KILLED, data], timeout=60, check=False, env=environment())
    assert done.returncode == -signal.SIGKILL
    wal = data / "state.db-wal"
    content = bytearray(wal.read_bytes())
    content[32 + 24 + 500] ^= 1
    wal.write_bytes(content)
    with pytest.raises(DamagedData, match=r"state\.db-wal is damaged, and a backup would lack the last writes; start"):
        back_up_closed(data, copy, replace=False)
    assert [file.name for file in tmp_path.iterdir()] == ["data"]
    assert wal.read_bytes() == content, "nothing is changed there"
    async with open_node("a", data_dir=data):
        pass
    assert back_up_closed(data, copy, replace=False) == copy.stat().st_size


async def test_a_directory_whose_data_is_not_read_is_told_of(tmp_path: Path) -> None:
    async with open_node("a", data_dir=tmp_path) as node:
        node.orset("tasks").add("one")
    journal = Journal()
    async with open_node("a", data_dir=tmp_path, durability="none", log=journal.logger) as node:
        assert not node.replica.objects()
    [line] = journal.named(DATA_UNREAD)
    assert "durability full or normal" in line["advice"]
    async with open_node("a", data_dir=tmp_path) as node:
        assert set(node.orset("tasks")) == {"one"}


async def test_rights_that_an_unsafe_life_may_have_spent_are_nobody_s_either(tmp_path: Path) -> None:
    async with open_node("a", data_dir=tmp_path) as node:
        node.bounded_counter("budget").increment(10)
    async with open_node("a", data_dir=tmp_path, durability="normal") as node:
        assert node.bounded_counter("budget").rights() == 10
    not_closed(tmp_path, power_failed=True)
    async with open_node("a", data_dir=tmp_path) as node:
        assert node.bounded_counter("budget").value() == 10
        assert node.bounded_counter("budget").rights() == 0


async def test_rights_outlive_very_many_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "FORMER_LIVES", 8)
    monkeypatch.setattr(opening, "LATEST_LIVES", 2)
    async with open_node("a", data_dir=tmp_path) as node:
        node.bounded_counter("budget").increment(10)
    for _ in range(12):
        async with open_node("a", data_dir=tmp_path) as node:
            assert node.bounded_counter("budget").rights() == 10


@pytest.mark.parametrize("removed", [("state.db",), ("state.db-wal",), ("state.db", "state.db-wal")])
async def test_files_that_are_taken_away_from_a_running_node_are_missed_at_the_next_write(
    tmp_path: Path, removed: tuple[str, ...]
) -> None:
    async with open_node("a", data_dir=tmp_path) as node:
        node.orset("tasks").add("one")
        await node.flush()
        for name in removed:
            (tmp_path / name).unlink()
        node.orset("tasks").add("two")
        with pytest.raises(DiskFailed, match="removed or replaced while in use"):
            await node.flush()
        with pytest.raises(DiskFailed):
            node.orset("tasks").add("three")
    journal = Journal()
    async with open_node("a", data_dir=tmp_path, log=journal.logger):
        pass
    assert "state.db" not in removed or journal.named(DATA_DAMAGED)[0]["why"] == f"{tmp_path / 'state.db'} is gone"


async def test_a_copy_has_no_rights_of_the_node_it_is_a_copy_of(tmp_path: Path) -> None:
    async with open_node("a", data_dir=tmp_path / "a") as node:
        node.bounded_counter("budget").increment(10)
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    async with open_node("b", data_dir=tmp_path / "copy") as copy, open_node("a", data_dir=tmp_path / "a") as node:
        assert copy.bounded_counter("budget").value() == 10
        assert copy.bounded_counter("budget").rights() == 0
        assert node.bounded_counter("budget").rights() == 10


# ---- the end, on a disk that fails or does not answer

SILENCE = "gossip.storage.patience"


class Hanging:
    """Has a method of every database hang from some moment on, until this test has ended."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self._go_on = Event()
        self._came: list[Event] = []

    def begin(self, method: str) -> None:
        original: Callable[..., Any] = getattr(Database, method)

        def hang(*args: Any) -> Any:
            gone = Event()
            self._came.append(gone)
            self._go_on.wait()
            try:
                return original(*args)
            finally:
                gone.set()

        self._monkeypatch.setattr(Database, method, hang)

    def end(self) -> None:
        self._go_on.set()
        for gone in self._came:
            gone.wait(30)


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hanging]:
    for module in ("gossip.node", "gossip.storage.worker", "gossip.storage.patience", "gossip.storage.writer"):
        monkeypatch.setattr(f"{module}.DISK_GRACE", 0.1)
    hanging = Hanging(monkeypatch)
    yield hanging
    hanging.end()


async def test_a_disk_that_does_not_answer_is_given_up_at_the_end_and_what_is_lost_is_told(
    tmp_path: Path, hanging: Hanging
) -> None:
    journal = Journal()
    with patience():
        async with open_node("a", data_dir=tmp_path, log=journal.logger) as node:
            node.orset("tasks").add("saved")
            await node.flush()
            hanging.begin("write")
            node.orset("tasks").add("lost")
    lost = "1 batch of changes could not be saved, and what was written here is lost: the disk does not answer"
    assert node.loss is not None
    assert node.loss.startswith(lost)
    assert node.storage().failure.startswith("the disk does not answer")
    assert node.storage().unsaved_batches == 1
    assert [line["batches"] for line in journal.named(WRITES_UNSAVED)] == [1]
    assert [line["problem"] for line in journal.named(DISK_FAILED)] == [node.loss]


async def test_a_disk_that_does_not_answer_counts_as_failing_until_it_does(
    tmp_path: Path, hanging: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal()
    with patience():
        async with open_node("a", data_dir=tmp_path, log=journal.logger) as node:
            monkeypatch.setattr(f"{SILENCE}.DISK_SLOW", 0.05)
            hanging.begin("write")
            node.orset("tasks").add("late")
            for _ in range(2):
                with pytest.raises(DiskFailed, match=r"not saved yet, and kept in memory .*: the disk does not answer"):
                    await node.flush()
            with pytest.raises(DiskFailed, match=r"nothing was written: the disk does not answer since \d+ s"):
                node.orset("tasks").add("refused")
            assert str(node.storage().failure).startswith("the disk does not answer since ")
            [line] = journal.named(DISK_SLOW)
            assert line["unsaved"] == 1
            monkeypatch.setattr(f"{SILENCE}.DISK_SLOW", PATIENCE)
            hanging.end()
            await until(node, lambda: node.storage().failure is None)
            node.orset("tasks").add("again")
            await node.flush()
            assert journal.events().count(DISK_SLOW) == journal.events().count(DISK_RECOVERED) == 1
        assert node.loss is None
        async with open_node("a", data_dir=tmp_path) as node:
            assert set(node.orset("tasks")) == {"late", "again"}


async def test_a_loop_that_stands_still_is_not_taken_for_a_disk_that_does_not_answer(
    tmp_path: Path, hanging: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk answers while the loop stands still, so the answer is heard late."""
    journal = Journal()
    async with open_node("a", data_dir=tmp_path, log=journal.logger) as node:
        monkeypatch.setattr(f"{SILENCE}.DISK_SLOW", 0.3)
        hanging.begin("write")
        node.orset("tasks").add("late")
        await trio.sleep(0.05)
        hanging.end()
        time.sleep(0.8)
        await trio.sleep(0)
        node.orset("tasks").add("not refused")
        await node.flush()
    assert not journal.named(DISK_SLOW)


async def test_a_stop_waits_for_a_disk_that_has_not_answered_for_long(
    tmp_path: Path, hanging: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("gossip.node", "gossip.storage.patience", "gossip.storage.writer", "gossip.storage.worker"):
        monkeypatch.setattr(f"{module}.DISK_GRACE", PATIENCE)
    journal = Journal()
    with patience():
        async with open_node("a", data_dir=tmp_path, log=journal.logger) as node, trio.open_nursery() as nursery:
            monkeypatch.setattr(f"{SILENCE}.DISK_SLOW", 0.05)
            hanging.begin("write")
            node.orset("tasks").add("first")
            await until(node, lambda: journal.named(DISK_SLOW))
            monkeypatch.setattr(f"{SILENCE}.DISK_SLOW", PATIENCE)
            nursery.start_soon(node.leave)
            await trio.testing.wait_all_tasks_blocked()
            hanging.end()
    assert node.loss is None
    assert WRITES_UNSAVED not in journal.events()


async def test_a_silent_disk_does_not_keep_a_node_from_taking_in_what_others_send(
    tmp_path: Path, hanging: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gossip.storage.backlog.Backlog.is_long", property(lambda backlog: backlog.failure is None))
    journal = Journal()
    with patience():
        async with open_node("a", data_dir=tmp_path, log=journal.logger) as node:
            monkeypatch.setattr(f"{SILENCE}.DISK_SLOW", 0.05)
            hanging.begin("write")
            node.orset("tasks").add("first")
            saver = node._driver._saver
            assert saver is not None
            await saver.room()
            assert journal.named(DISK_SLOW)
            monkeypatch.setattr(f"{SILENCE}.DISK_SLOW", PATIENCE)
            hanging.end()


async def test_a_directory_whose_disk_was_given_up_stays_locked_as_a_thread_may_still_write_there(
    tmp_path: Path, hanging: Hanging
) -> None:
    with patience():
        async with open_node("a", data_dir=tmp_path) as node:
            hanging.begin("write")
            node.orset("tasks").add("lost")
    with pytest.raises(DataDirInUse, match="this process has it open already"):
        async with open_node("a", data_dir=tmp_path):
            pass


async def test_a_file_that_cannot_be_closed_is_given_up_too_and_nothing_is_lost(
    tmp_path: Path, hanging: Hanging
) -> None:
    with patience():
        async with open_node("a", data_dir=tmp_path / "a") as node:
            node.orset("tasks").add("saved")
            hanging.begin("close")
    assert node.loss is not None
    assert node.loss.startswith(
        f"everything is saved, but {tmp_path / 'a' / DATABASE_FILE} cannot be closed: the disk does"
    )
    shutil.copytree(tmp_path / "a", tmp_path / "copy", ignore=shutil.ignore_patterns("control.sock"))
    async with open_node("b", data_dir=tmp_path / "copy") as copy:
        assert set(copy.orset("tasks")) == {"saved"}


async def test_a_start_on_a_disk_that_does_not_answer_can_be_called_off(tmp_path: Path, hanging: Hanging) -> None:
    hanging.begin("contents")
    with patience(), trio.move_on_after(0.1) as scope:
        async with open_node("a", data_dir=tmp_path):
            pass
    assert scope.cancelled_caught


async def test_a_backup_to_a_disk_that_does_not_answer_does_not_keep_the_node(tmp_path: Path, hanging: Hanging) -> None:
    with patience():
        async with open_node("a", data_dir=tmp_path / "a") as node:
            node.orset("tasks").add("saved")
            hanging.begin("copy_to")
            with trio.move_on_after(0.1) as scope:
                await node.backup(tmp_path / "copy.db")
        assert scope.cancelled_caught


async def test_a_node_that_ends_on_a_failing_disk_tells_how_much_is_lost_and_raises_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise DiskFailed("the disk is full; make room")

    async with open_node("a", data_dir=tmp_path) as node:
        assert node.loss is None
        node.orset("tasks").add("saved")
        await node.flush()
        monkeypatch.setattr(Database, "write", fails)
        node.orset("tasks").add("lost")
    assert node.loss == (
        "1 batch of changes could not be saved, and what was written here is lost: the disk is full; make room"
    )
    monkeypatch.undo()
    async with open_node("a", data_dir=tmp_path) as node:
        assert set(node.orset("tasks")) == {"saved"}
    assert node.loss is None


async def test_what_is_neither_saved_nor_shared_is_told_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though it is looked at twice: when the node is told to leave, and at the end of its block."""

    def fails(*_: object) -> None:
        raise DiskFailed("the disk is full; make room")

    monkeypatch.setattr("gossip.node.SHUTDOWN_GRACE", 0.1)
    journal = Journal()
    async with (
        open_node("other", config=FAST) as other,
        open_node("a", data_dir=tmp_path, join=[other.address], config=FAST, log=journal.logger) as node,
    ):
        await acquainted(node, other)
        monkeypatch.setattr(Database, "write", fails)
        node.orset("tasks").add("lost")
        await node.leave()
    assert journal.events().count(WRITES_UNSAVED) == journal.events().count(WRITES_UNSHARED) == 1


@pytest.mark.parametrize("durability", ["full", "normal"])
async def test_nodes_that_are_started_again_find_each_other_though_their_seed_stays_away(
    tmp_path: Path, durability: str
) -> None:
    options: dict[str, Any] = {"config": FAST, "key": new_key(), "durability": durability}
    async with (
        open_node("a", **options, data_dir=tmp_path / "a") as a,
        open_node("b", **options, data_dir=tmp_path / "b", join=[a.address]) as b,
        open_node("c", **options, data_dir=tmp_path / "c", join=[a.address]) as c,
    ):
        await acquainted(a, b, c)
        seed, places = str(a.address), {node.name: str(node.address) for node in (b, c)}
        for node in (b, c):
            await until(node, lambda node=node: len(decode_hints(kept_by(node), seal_id(options["key"]))) == 2)
    async with (
        open_node("b", **options, data_dir=tmp_path / "b", join=[seed], bind=places["b"]) as b,
        open_node("c", **options, data_dir=tmp_path / "c", join=[seed], bind=places["c"]) as c,
    ):
        await acquainted(b, c)
        for node in (b, c):
            await until(node, lambda node=node: {m.name: m.state for m in node.members()}.get("a") == "failed")


def seal_id(key: str) -> bytes:
    return seal_for(parse_key(key)).key_id


def kept_by(node: Node) -> object:
    """The row that the node's file has by now."""
    disk = node._keeper._disk
    assert disk is not None
    return disk._database.get("hints")
