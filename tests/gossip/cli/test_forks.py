"""A node's data in two places, or of two times: nobody writes under another's id, and no write of either is lost."""

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import trio

from gossip import Node, TransportFaults, open_node

from ..live import FAST, PATIENCE, patience, until
from ..storage.marking import fit_mark
from .process import Running, gossip, running


async def status(data: Path) -> Any:
    return json.loads((await gossip("status", "--data", str(data), "--json")).stdout)


async def add(data: Path, *elements: str) -> None:
    for element in elements:
        assert (await gossip("orset", "add", "x", element, "--data", str(data))).returncode == 0


async def contents(data: Path) -> set[str]:
    return set((await gossip("get", "x", "--data", str(data))).stdout.decode().split())


async def all_have(elements: set[str], witness: Node, *places: Path) -> None:
    await until(witness, lambda: set(witness.orset("x")) == elements)
    for place in places:
        with patience():
            while await contents(place) != elements:
                pass


async def logged(node: Running, event: bytes) -> None:
    with patience():
        while event not in node.log:
            await trio.sleep(0.01)


async def lived(data: Path, element: str, *join: str) -> None:
    """A life of a node, which wrote this and stopped in good order."""
    async with running("a", data, *join) as node:
        await add(data, element)
        await node.stop()


async def killed(node: Running) -> None:
    node.process.send_signal(signal.SIGKILL)
    await node.ended()


async def test_a_copied_directory_goes_on_as_a_new_node_with_all_of_its_data(tmp_path: Path) -> None:
    async with open_node("witness", config=FAST) as witness:
        join = ("--join", str(witness.address))
        await lived(tmp_path / "a", "one", *join)
        shutil.copytree(tmp_path / "a", tmp_path / "copy")
        async with running("a", tmp_path / "a", *join) as a, running("b", tmp_path / "copy", *join) as b:
            await logged(b, b"identity.forked")
            assert b"identity.forked" not in a.log
            first, second = await status(a.data), await status(b.data)
            assert first["id"] != second["id"]
            await add(a.data, "two")
            await add(b.data, "three")
            await all_have({"one", "two", "three"}, witness, a.data, b.data)
            assert (await status(a.data))["id"] == first["id"]
            assert (await status(b.data))["id"] == second["id"]


async def test_a_copy_that_nothing_on_the_disk_gives_away_is_found_out_and_is_a_new_node(
    tmp_path: Path,
) -> None:
    """Or the original does: who was started in the lower epoch, or both, if both had written by then."""
    async with open_node("witness", config=FAST) as witness:
        join = ("--join", str(witness.address))
        await lived(tmp_path / "a", "one", *join)
        shutil.copytree(tmp_path / "a", tmp_path / "copy")
        fit_mark(tmp_path / "copy")
        async with running("a", tmp_path / "a", *join) as a, running("b", tmp_path / "copy", *join) as b:
            await add(a.data, "two")
            await add(b.data, "three")
            with trio.fail_after(2 * PATIENCE):  # two at one identity are heard by turns
                while (await status(a.data))["id"] == (await status(b.data))["id"]:
                    await trio.sleep(0.1)
                while b"identity.forked" not in a.log + b.log:
                    await trio.sleep(0.1)
            await add(a.data, "four")
            await add(b.data, "five")
            await all_have({"one", "two", "three", "four", "five"}, witness, a.data, b.data)
        async with running("a", tmp_path / "a", *join) as a, running("b", tmp_path / "copy", *join) as b:
            assert (await status(a.data))["id"] != (await status(b.data))["id"]
            assert await contents(a.data) == await contents(b.data) == {"one", "two", "three", "four", "five"}


async def test_a_directory_rolled_back_loses_nothing_that_others_have_and_reuses_nothing(tmp_path: Path) -> None:
    silence = TransportFaults()
    async with open_node("witness", config=FAST, faults=silence) as witness:
        join = ("--join", str(witness.address))
        await lived(tmp_path / "a", "one", *join)
        shutil.copytree(tmp_path / "a", tmp_path / "backup")
        async with running("a", tmp_path / "a", *join) as a:
            await add(a.data, "hours", "work")
            await until(witness, lambda: len(set(witness.orset("x"))) == 3)
            await killed(a)
        shutil.rmtree(tmp_path / "a")
        (tmp_path / "backup").rename(tmp_path / "a")
        fit_mark(tmp_path / "a")
        silence.loss = 1.0
        async with running("a", tmp_path / "a", "--bind", "127.0.0.1:0") as a:  # it finds nobody, and writes
            assert await contents(a.data) == {"one"}
            await add(a.data, "alone")
            before = (await status(a.data))["id"]
            silence.loss = 0.0
            async with open_node("link", config=FAST, join=[a.address, str(witness.address)]) as link:
                await all_have({"one", "hours", "work", "alone"}, link, a.data)
                await until(witness, lambda: "alone" in witness.orset("x"))
                with patience():
                    while (await status(a.data))["id"] == before:
                        pass
            await logged(a, b"identity.forked")


async def test_an_old_state_written_over_the_file_of_a_node_that_had_stopped_is_seen(tmp_path: Path) -> None:
    data = tmp_path / "a"
    async with running("a", data) as a:
        await add(data, "one")
        await a.stop()
    shutil.copytree(data, tmp_path / "backup")
    async with running("a", data) as a:
        await add(data, "two")
        before = (await status(data))["id"]
        await a.stop()
    for name in os.listdir(tmp_path / "backup"):
        (data / name).write_bytes((tmp_path / "backup" / name).read_bytes())
    async with running("a", data) as a:
        await logged(a, b"identity.forked")
        assert (await status(data))["id"] != before
        assert await contents(data) == {"one"}


@pytest.mark.parametrize("backup_of", ["an earlier life", "the life that was killed"])
async def test_a_directory_that_is_put_back_in_place_after_a_kill_is_seen(backup_of: str, tmp_path: Path) -> None:
    """As `cp -a` does it, which writes over the files that are there."""
    data, backup = tmp_path / "a", tmp_path / "backup"
    await lived(data, "one")
    if backup_of == "an earlier life":
        shutil.copytree(data, backup, ignore=shutil.ignore_patterns("control.sock"))
    async with running("a", data) as a:
        if backup_of == "the life that was killed":
            shutil.copytree(data, backup, ignore=shutil.ignore_patterns("control.sock"))
        await add(data, "two")
        before = (await status(data))["id"]
        await killed(a)
    for file in backup.iterdir():
        (data / file.name).write_bytes(file.read_bytes())
        shutil.copystat(file, data / file.name)
    if not (backup / "state.db-wal").exists():
        (data / "state.db-wal").unlink()
    async with running("a", data) as a:
        await logged(a, b"identity.forked")
        assert (await status(data))["id"] != before
        assert await contents(data) == {"one"}


async def test_a_node_that_was_killed_is_the_same_and_without_its_wal_another(tmp_path: Path) -> None:
    ids = []
    for number in range(3):
        async with running("a", tmp_path / "a") as a:
            ids.append((await status(a.data))["id"])
            if number == 2:
                await logged(a, b"its write-ahead log is missing")
            await add(a.data, str(number))
            await killed(a)
        if number == 1:
            (tmp_path / "a" / "state.db-wal").unlink()
    assert ids[0] == ids[1] != ids[2]


async def test_of_two_processes_on_one_directory_the_second_is_refused_and_told_of_the_first(tmp_path: Path) -> None:
    async with running("a", tmp_path / "a") as a:
        await add(a.data, "one")
        refused = await gossip("run", "--name", "b", "--data", str(a.data), "--bind", "127.0.0.1:0", "--no-discovery")
        assert refused.returncode == 1
        assert f"in use by process {a.process.pid};".encode() in refused.stderr
        assert await contents(a.data) == {"one"}
