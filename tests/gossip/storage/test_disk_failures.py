"""A disk that is full, broken or read-only: writes are refused and say why, all else goes on, and so does the node."""

import random
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

import gossip.storage.saver
from crdts import Replica, Value
from gossip import Node, open_node
from gossip.storage import backlog
from gossip.storage.checkpointer import Ledger
from gossip.storage.database import Database
from gossip.storage.errors import DiskFailed
from gossip.storage.files import DATABASE_FILE
from gossip.storage.recovery import open_data
from gossip.storage.rows import read_into
from gossip.storage.writer import DatabaseDisk

from ..cli.process import environment
from ..live import FAST, Journal, acquainted, equal, patience, states, until
from .faults import ERRORS, Connection, Faults, may_mount
from .life import picture

WHAT_IT_SAYS = {
    "SQLITE_FULL": "the disk is full; make room",
    "SQLITE_IOERR_WRITE": "the disk reports an error; look at the system's log",
    "SQLITE_IOERR_FSYNC": "the disk reports an error; look at the system's log",
    "SQLITE_READONLY": "read-only; make it writable",
}


@pytest.fixture(autouse=True)
def _soon_and_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is tried again soon, and sweeps are frequent and of many parts."""
    monkeypatch.setattr(backlog, "RETRY_FIRST", 0.01)
    monkeypatch.setattr(backlog, "RETRY_MOST", 0.05)
    defaults = Ledger.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "log_min_bytes", 3000)
    monkeypatch.setitem(defaults, "part_events", 5)


def disk_of(node: Node) -> DatabaseDisk:
    saver = node._driver._saver
    assert saver is not None
    assert isinstance(saver._disk, DatabaseDisk)
    return saver._disk


@asynccontextmanager
async def pair(path: Path, journal: Journal) -> AsyncIterator[tuple[Node, Node, Faults]]:
    """A node whose disk fails when it is told to, and one without a disk."""
    async with (
        open_node("a", data_dir=path, config=FAST, log=journal.logger) as a,
        open_node("b", join=[a.address], config=FAST) as b,
    ):
        faults = Faults()
        faults.into(disk_of(a)._database)
        await acquainted(a, b)
        yield a, b, faults
        faults.end()


def has(node: Node, value: Value) -> bool:
    return value in node.orset("set")


async def written_until_it_fails(node: Node, name: str) -> tuple[str, DiskFailed]:
    """Write and flush until that is refused; returns what was written last."""
    number = 0
    with patience():
        while True:
            number += 1
            value = f"{name} {number}"
            try:
                node.orset("set").add(value)
                await node.flush()
            except DiskFailed as error:
                return value, error


async def recovered(node: Node) -> None:
    with patience():
        while True:
            try:
                await node.flush()
                return
            except DiskFailed:
                await trio.sleep(0.01)


async def check_disk_equals_memory(node: Node) -> None:
    disk = disk_of(node)
    await until(node, lambda: not disk.has_more and node._engine.durable)
    reader = Replica("reader")
    read_into(reader, disk._database.contents())
    assert picture(reader) == picture(node.replica)


@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.parametrize("but_done", [False, True], ids=["not done", "done nevertheless"])
async def test_a_failure_at_any_statement_refuses_writes_and_is_recovered_from(
    name: str, but_done: bool, tmp_path: Path
) -> None:
    journal = Journal()
    async with pair(tmp_path, journal) as (a, b, faults):
        for after in range(16):
            faults.begin(after=after, name=name, but_done=but_done)
            last, error = await written_until_it_fails(a, f"{after}")
            assert WHAT_IT_SAYS[name] in str(error)
            assert "(database or disk is full)" not in str(error), "once is enough"
            before = a.replica.fingerprint
            with pytest.raises(DiskFailed, match="nothing was written"):
                a.orset("set").add("refused")
            with pytest.raises(DiskFailed, match="nothing was written"), a.transaction():
                a.counter("count").increment(1)
            assert a.replica.fingerprint == before
            b.orset("set").add(f"b {after}")
            await until(a, partial(has, a, f"b {after}"))
            assert states(a) == {"b": "alive"}
            assert states(b) == {"a": "alive"}
            assert last not in b.orset("set"), "told of before it was saved"
            faults.end()
            await recovered(a)
            a.orset("set").add(f"again {after}")
            await a.flush()
            await equal(a, b)
            await check_disk_equals_memory(a)
    assert faults.raised >= 16
    assert journal.events().count("disk.failed") == journal.events().count("disk.recovered") == 16
    async with open_node("a", data_dir=tmp_path, config=FAST) as a:
        assert {f"again {after}" for after in range(16)} <= {*a.orset("set")}
        assert a.replica.fingerprint == b.replica.fingerprint


async def test_what_comes_while_the_disk_has_failed_for_long_is_saved_once_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than is kept for it: then the whole replica is written anew, and a failure meanwhile changes nothing."""
    monkeypatch.setattr(gossip.storage.saver, "UNSAVED_BATCHES", 4)
    async with pair(tmp_path, Journal()) as (a, b, faults):
        faults.begin()
        await written_until_it_fails(a, "a")
        for number in range(20):
            b.orset("set").add(number)
            await until(a, partial(has, a, number))
        assert disk_of(a).is_replacing
        for after in range(0, 40, 3):
            faults.begin(after=after)
            await trio.sleep(0.03)
            faults.end()
        await recovered(a)
        await equal(a, b)
        assert not disk_of(a).is_replacing
        await check_disk_equals_memory(a)


async def test_a_node_that_stops_while_its_disk_fails_starts_again_with_what_was_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gossip.node.DISK_GRACE", 0.1)
    monkeypatch.setattr("gossip.node.SHUTDOWN_GRACE", 0.1)
    journal = Journal()
    async with open_node("a", data_dir=tmp_path, config=FAST, log=journal.logger) as a:
        faults = Faults()
        faults.into(disk_of(a)._database)
        a.orset("set").add("saved")
        await a.flush()
        name = a.id
        monkeypatch.setattr(Database, "end", _refused)  # what it says at its end fails as well
        faults.begin()
        await written_until_it_fails(a, "unsaved")
    assert "writes.unsaved" in journal.events()
    monkeypatch.undo()
    async with open_node("a", data_dir=tmp_path, config=FAST, log=journal.logger) as a:
        assert {*a.orset("set")} == {"saved"}
        assert a.id == name
    assert not {"data.damaged", "identity.forked"} & {*journal.events()}


def _refused(self: Database, closed: object, mark: object) -> None:
    raise DiskFailed("the disk is full")


async def test_a_disk_that_is_back_just_when_the_node_ends_leaves_nothing_that_is_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gossip.node.DISK_GRACE", 0.1)
    journal = Journal()
    async with open_node("a", data_dir=tmp_path, config=FAST, log=journal.logger) as a:
        faults = Faults()
        disk = disk_of(a)
        faults.into(disk._database)
        a.orset("set").add("saved")
        await a.flush()
        close = disk.close

        async def close_on_a_sound_disk(fingerprint: int | None) -> None:
            faults.end()
            await close(fingerprint)

        monkeypatch.setattr(disk, "close", close_on_a_sound_disk)
        faults.begin()
        await written_until_it_fails(a, "unsaved")
    async with open_node("a", data_dir=tmp_path, config=FAST, log=journal.logger) as a:
        assert {*a.orset("set")} == {"saved"}
    assert not {"data.damaged", "identity.forked"} & {*journal.events()}


# ---- at the start


@contextmanager
def failing_from(statement: int, name: str) -> Iterator[Faults]:
    """Every database that is opened in this block fails from that statement on."""
    faults = Faults()
    faults.begin(after=statement, name=name)
    connect = sqlite3.connect

    def connected(*args: Any, **options: Any) -> Any:
        connection = connect(*args, **options)
        return Connection(connection, faults) if args[0] != ":memory:" else connection

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gossip.storage.database.sqlite3.connect", connected)
        yield faults


@pytest.mark.parametrize("name", ERRORS)
async def test_a_start_that_fails_at_any_statement_changes_nothing(name: str, tmp_path: Path) -> None:
    async with open_node("a", data_dir=tmp_path, config=FAST) as a:
        a.orset("set").add("x")
        expected = a.id
    rng = random.Random(1)
    started = 0
    refusals: list[str] = []
    for statement in range(40):
        with failing_from(statement, name) as faults:
            try:
                opened = open_data(tmp_path, "a", rng)
            except DiskFailed as error:
                refusals.append(str(error))
            else:
                started += 1
                assert not faults.raised
                opened.disk._database.close()
        assert [file.name for file in tmp_path.glob(f"{DATABASE_FILE}.*")] == []
    assert 0 < started < 40
    assert all(WHAT_IT_SAYS[name] in refusal for refusal in refusals)
    opened = open_data(tmp_path, "a", rng)
    assert not opened.forked
    assert opened.identity.node_id.hex() == expected
    assert {*opened.replica.orset("set")} == {"x"}
    await opened.disk.close(opened.replica.fingerprint)


# ---- a file system that is full indeed

FULL_DISK = """
import os, sys, trio
from pathlib import Path
from gossip import Config, open_node
from gossip.storage.errors import DiskFailed
from gossip.storage.checkpointer import Ledger

async def main(place):
    filler = Path(place, "filler")
    values = 0
    async with open_node("a", data_dir=Path(place, "data"), config=Config.local()) as node:
        filler.write_bytes(bytes(5 << 20))
        try:
            while values < 1000:
                node.lwwmap("map").set(str(values), bytes(20_000))
                values += 1
                await node.flush()
        except DiskFailed as error:
            print("refused:", error)
        assert len(node.lwwmap("map")) == values
        filler.unlink()
        with trio.fail_after(30):
            while True:
                try:
                    await node.flush()
                    break
                except DiskFailed:
                    await trio.sleep(0.05)
        node.lwwmap("map").set("after", 1)
        await node.flush()
        before = node.replica.fingerprint
    async with open_node("a", data_dir=Path(place, "data"), config=Config.local()) as node:
        assert node.replica.fingerprint == before
        assert len(node.lwwmap("map")) == values + 1
    print("recovered with", values)

trio.run(main, sys.argv[1])
"""


@pytest.mark.skipif(not may_mount(), reason="needs the right to mount")
def test_a_file_system_that_is_full_is_recovered_from_without_a_restart(tmp_path: Path) -> None:
    script = 'mount -t tmpfs -o size=8m none "$1" && exec "$2" -c "$3" "$1"'
    command = ["unshare", "-m", "sh", "-c", script, "sh", str(tmp_path), sys.executable, FULL_DISK]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment())
    assert done.returncode == 0, done.stderr
    assert "the disk is full; make room" in done.stdout
    assert "recovered with" in done.stdout
