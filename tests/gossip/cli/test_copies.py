"""`gossip backup`, `restore`, `export` and `import`, against nodes here and in processes of their own."""

import itertools
import json
import stat
from pathlib import Path
from typing import Any

import pytest
import trio

from gossip import Node, open_node

from ..live import FAST, patience
from .conftest import Gossip
from .process import GOSSIP, environment, running
from .process import gossip as run_gossip


def fill(node: Node) -> None:
    node.orset("tasks").add("write")
    node.counter("hits").increment(3)
    node.lwwmap("config").set("model", b"\0")
    node.ormap("outer").ormap("inner").register("r").set({"base64": "no"})
    node.mvregister("v").set(float("inf"))


async def exported(node: Node, gossip: Gossip, **options: Any) -> str:
    answer = await gossip("export", **options)
    assert (answer.code, answer.err) == (0, "")
    return answer.out


# ---- backups


async def test_a_backup_of_a_running_node_is_restored_as_a_new_node_with_all_data(
    node: Node, gossip: Gossip, tmp_path: Path
) -> None:
    fill(node)
    answer = await gossip("backup", str(tmp_path / "b.db"))
    assert answer.out.startswith(f"{tmp_path / 'b.db'} has all data, ")
    assert stat.S_IMODE((tmp_path / "b.db").stat().st_mode) == 0o600
    node.counter("hits").increment(100)
    restored = await gossip("restore", str(tmp_path / "b.db"), at=tmp_path / "new")
    assert restored.code == 0
    assert restored.out.startswith(f"{tmp_path / 'new'} has 5 objects, 5 entries")
    async with open_node("carol", data_dir=tmp_path / "new", config=FAST, join=[node.address]) as carol:
        assert carol.id != node.id
        assert carol.counter("hits").value() == 3
        with patience():
            await carol.wait_for(node.version())
            await node.wait_for(carol.version())
        assert carol.replica.fingerprint == node.replica.fingerprint
        assert carol.counter("hits").value() == 103


async def test_a_backup_is_made_of_a_directory_where_nobody_runs_and_its_node_stays_who_it_was(
    gossip: Gossip, data: Path, tmp_path: Path
) -> None:
    async with open_node("alice", data_dir=data, config=FAST) as node:
        fill(node)
        first = node.id
    assert (await gossip("backup", str(tmp_path / "b.db"))).code == 0
    async with open_node("alice", data_dir=data, config=FAST) as node:
        assert node.id == first
    answer = await gossip("restore", str(tmp_path / "b.db"), "--json", at=tmp_path / "new")
    assert json.loads(answer.out) == {"objects": 5, "entries": 5, "data": str(tmp_path / "new")}


async def test_a_backup_replaces_a_file_only_by_force(node: Node, gossip: Gossip, tmp_path: Path) -> None:
    target = tmp_path / "b.db"
    target.write_text("precious")
    answer = await gossip("backup", str(target))
    assert (answer.code, answer.out) == (1, "")
    assert answer.err == f"gossip: {target} exists; name a new file, or use --force to replace it\n"
    assert target.read_text() == "precious"
    answer = await gossip("backup", str(target), "--force", "--json")
    assert json.loads(answer.out) == {"path": str(target), "bytes": target.stat().st_size}


async def test_a_path_is_meant_from_where_the_caller_is(
    node: Node, gossip: Gossip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not from where the node was started, which runs in another process than the caller usually."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    async with running("b", tmp_path / "b") as other:
        command = [*GOSSIP, "backup", "copy.db", "--data", str(other.data)]
        with patience():
            await trio.run_process(
                command, cwd=tmp_path / "elsewhere", env=environment(), capture_stdout=True, capture_stderr=True
            )
        assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["copy.db"]


async def test_what_cannot_be_copied_is_told_in_one_line(gossip: Gossip, data: Path, tmp_path: Path) -> None:
    nothing = await gossip("backup", str(tmp_path / "b.db"))
    assert (nothing.code, nothing.err.count("\n")) == (1, 1)
    assert f"there is no node's data in {data}" in nothing.err
    assert not data.exists()
    async with open_node("memory", data_dir=data, durability="none"):
        in_memory = await gossip("backup", str(tmp_path / "b.db"))
        assert "keeps its data in memory only" in in_memory.err
    missing = ": No such file or directory; name a file that `gossip "
    full = await gossip("restore", str(tmp_path / "b.db"), at=tmp_path)
    assert (full.code, full.err) == (1, f"gossip: {tmp_path / 'b.db'}{missing}backup` has made\n")
    assert (await gossip("restore", "x", at=None)).code == 2


async def test_a_backup_under_load_has_every_write_that_was_acknowledged_before(tmp_path: Path) -> None:
    async with running("a", tmp_path / "a") as node, trio.open_nursery() as nursery:
        done = 0

        async def write() -> None:
            nonlocal done
            for number in itertools.count():
                await run_gossip("orset", "add", "s", f"{number}", "--data", str(node.data))
                done = number + 1

        nursery.start_soon(write)
        with patience():
            while done < 3:
                await trio.sleep(0.01)
        before = done
        made = await run_gossip("backup", str(tmp_path / "b.db"), "--data", str(node.data))
        nursery.cancel_scope.cancel()
    assert made.returncode == 0
    await run_gossip("restore", str(tmp_path / "b.db"), "--data", str(tmp_path / "new"))
    async with running("new", tmp_path / "new") as new:
        found = await run_gossip("get", "s", "--json", "--data", str(new.data))
    (held,) = json.loads(found.stdout)
    assert {f"{number}" for number in range(before)} <= set(held["value"])


async def test_an_empty_path_is_not_the_working_directory(
    gossip: Gossip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for command in (["run"], ["status"], ["backup", "x"], ["export"], ["import", "x"], ["restore", "x"], ["ls"]):
        answer = await gossip(*command, "--data", "", at=None)
        assert (answer.code, answer.out) == (2, ""), command
        assert "'--data': it is empty; name a directory" in answer.err
    for command in (["backup", ""], ["restore", ""], ["import", ""], ["export", ""]):
        answer = await gossip(*command, at=tmp_path / "data")
        assert (answer.code, answer.out) == (2, ""), command
        assert "it is empty; name a file" in answer.err
    assert [*tmp_path.iterdir()] == []


# ---- documents


async def test_an_export_is_read_back_by_another_cluster_which_exports_the_same(
    node: Node, gossip: Gossip, tmp_path: Path
) -> None:
    fill(node)
    for number in range(2_000):
        node.lwwmap("large").set(f"{number}", "x" * 300)  # takes several parts
    text = await exported(node, gossip)
    file = tmp_path / "all.json"
    assert (await gossip("export", str(file))).out == ""
    assert file.read_text() == text
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    async with open_node("other", data_dir=tmp_path / "other", config=FAST) as other:
        answer = await gossip("import", str(file), at=tmp_path / "other")
        assert answer.out == "2005 changes; 0 entries as before\n"
        assert await exported(other, gossip, at=tmp_path / "other") == text
        again = await gossip("import", str(file), "--json", at=tmp_path / "other")
        assert json.loads(again.out) == {"changed": 0, "unchanged": 2005, "left": []}


async def test_an_export_is_readable(node: Node, gossip: Gossip) -> None:
    fill(node)
    expected = {
        "orset": {"tasks": ["write"]},
        "counter": {"hits": 3},
        "mvregister": {"v": [{"float": "inf"}]},
        "lwwmap": {"config": {"model": {"base64": "AA=="}}},
        "ormap": {"outer": {"ormap": {"inner": {"register": {"r": {"dict": {"base64": "no"}}}}}}},
    }
    answer = await gossip("export", "--json")
    assert json.loads(answer.out) == {"gossip": 1, "objects": expected}
    assert len(answer.lines) == 1
    assert '\n    "orset": {\n' in (await gossip("export", "-")).out


async def test_an_export_replaces_a_file_only_by_force(node: Node, gossip: Gossip, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("precious")
    answer = await gossip("export", str(tmp_path / "x.json"))
    assert (answer.code, answer.err.count("exists")) == (1, 1)
    assert (tmp_path / "x.json").read_text() == "precious"
    assert (await gossip("export", str(tmp_path / "x.json"), "--force")).code == 0
    assert json.loads((tmp_path / "x.json").read_text()) == {"gossip": 1, "objects": {}}


async def test_an_import_reads_standard_input_and_says_which_counters_it_left_alone(tmp_path: Path) -> None:
    document = json.dumps({"gossip": 1, "objects": {"counter": {"hits": 5}, "orset": {"s": [1]}}}).encode()
    async with running("a", tmp_path / "a") as node:
        left = b"left alone, because it counts something else: counter 'hits' (--add adds to it)\n"
        for add, expected in (
            ([], b"2 changes; 0 entries as before\n"),
            ([], b"0 changes; 2 entries as before\n"),
            (["--add"], b"1 change; 1 entry as before\n"),
            ([], b"0 changes; 1 entry as before\n" + left),
        ):
            command = [*GOSSIP, "import", "-", *add, "--data", str(node.data)]
            with patience():
                done = await trio.run_process(command, stdin=document, env=environment(), capture_stdout=True)
            assert done.stdout == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "it is not JSON"),
        ("[]", "it is no export"),
        ('{"gossip": 1, "objects": {"orset": {"a": [1], "b": 7}}}', "orset 'b': a list is expected"),
        ('{"gossip": 1, "objects": {"orset": {"a": [1]}, "register": {"r": 99999999999999999999}}}', "register 'r'"),
        (
            json.dumps({"gossip": 1, "objects": {"orset": {"a": [1]}, "register": {"r": "\0" * 900_000}}}),
            "in one piece",
        ),
    ],
    ids=lambda text: text[:40],
)
async def test_of_a_document_with_an_error_nothing_is_written(
    node: Node, gossip: Gossip, tmp_path: Path, text: str, says: str
) -> None:
    (tmp_path / "x.json").write_text(text)
    answer = await gossip("import", str(tmp_path / "x.json"))
    assert (answer.code, answer.out, answer.err.count("\n")) == (1, "", 1)
    assert says in answer.err
    assert answer.err.startswith(f"gossip: {tmp_path / 'x.json'}: ")
    assert node.replica.objects() == []


async def test_a_missing_file_and_a_missing_node_are_told_of(node: Node, gossip: Gossip, tmp_path: Path) -> None:
    what = "No such file or directory; name a document that `gossip export` has made"
    missing = await gossip("import", str(tmp_path / "missing.json"))
    assert (missing.code, missing.err) == (1, f"gossip: {tmp_path / 'missing.json'}: {what}\n")
    for verb in (["export"], ["import", "-"]):
        (tmp_path / "x.json").write_text('{"gossip": 1, "objects": {"orset": {"a": [1]}}}')
        command = ["import", str(tmp_path / "x.json")] if verb[0] == "import" else verb
        answer = await gossip(*command, at=tmp_path / "nobody")
        assert (answer.code, "no node runs on" in answer.err) == (1, True)


# ---- status


async def test_the_status_tells_where_data_is_kept(node: Node, gossip: Gossip, data: Path, tmp_path: Path) -> None:
    fill(node)
    await node.flush()
    storage = json.loads((await gossip("status", "--json")).out)["storage"]
    assert storage == {
        "durability": "full",
        "directory": str(data),
        "bytes_on_disk": storage["bytes_on_disk"],
        "unsaved_batches": 0,
        "failure": None,
    }
    assert storage["bytes_on_disk"] > 4096
    rows = dict(line.split("  ", 1) for line in (await gossip("status")).lines if "  " in line)
    assert rows["durability"].strip() == "full"
    assert "disk failure" not in rows
    async with open_node("memory", data_dir=tmp_path / "m", durability="none"):
        storage = json.loads((await gossip("status", "--json", at=tmp_path / "m")).out)["storage"]
        assert (storage["durability"], storage["bytes_on_disk"]) == ("none", 0)
