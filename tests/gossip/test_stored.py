"""A node that is started again on its data: what it had, who it is, and what it may spend."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from crdts import InsufficientRights
from gossip import DiskFailed, open_node
from gossip.log import DATA_CUT, DATA_DAMAGED, DATA_UNREAD, NODE_STARTED
from gossip.protocol import notices
from gossip.storage import opening
from gossip.storage.files import DATABASE_FILE

from .cli.process import environment
from .live import Journal
from .storage.marking import not_closed


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
    assert line["advice"]


async def test_a_directory_whose_data_is_not_read_is_told_of(tmp_path: Path) -> None:
    async with open_node("a", data_dir=tmp_path) as node:
        node.orset("tasks").add("one")
    journal = Journal()
    async with open_node("a", data_dir=tmp_path, durability="none", log=journal.logger) as node:
        assert not node.replica.objects()
    assert DATA_UNREAD in journal.events()
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
