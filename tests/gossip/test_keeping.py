"""What a node tells of its disk, and the copies that it makes of it, as an embedding program sees them."""

from pathlib import Path

import pytest

from gossip import ConfigError, DiskFailed, NotRunning, Storage, StorageError, open_node
from gossip.control.document import document_of
from gossip.control.porting import items_of
from gossip.storage.backup import restore_into
from gossip.storage.database import Database

from .live import FAST, until


async def test_a_backup_has_what_was_written_a_moment_ago(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with open_node("a", data_dir="a", config=FAST) as node:
        for number in range(100):
            node.orset("s").add(number)
        assert await node.backup("copy.db") == (tmp_path / "copy.db").stat().st_size
        node.orset("s").add("late")
        with pytest.raises(ConfigError, match="exists"):
            await node.backup(tmp_path / "copy.db")
        await node.backup(tmp_path / "second.db")
        await node.backup("copy.db", replace=True)
        for path, says in (("", "is empty; name a file"), ("nowhere/x", "nowhere/x cannot be written: No such file")):
            with pytest.raises(ConfigError, match=says):
                await node.backup(path)
    restore_into(tmp_path / "second.db", tmp_path / "b")
    async with open_node("b", data_dir="b", config=FAST) as node:
        assert set(node.orset("s")) == {*range(100), "late"}
        assert not node.has_written
    with pytest.raises(NotRunning):
        await node.backup("third.db")


@pytest.mark.parametrize("options", [{}, {"data_dir": "a", "durability": "none"}], ids=["no directory", "none"])
async def test_a_node_in_memory_has_nothing_to_copy_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, str]
) -> None:
    monkeypatch.chdir(tmp_path)
    async with open_node("a", config=FAST, **options) as node:
        node.orset("s").add(1)
        directory = str(tmp_path / "a") if options else None
        assert node.storage() == Storage("none", directory, 0, 0, None)
        with pytest.raises(ConfigError, match="in memory only"):
            await node.backup("copy.db")
    assert not (tmp_path / "copy.db").exists()


async def test_a_disk_that_fails_is_told_of_until_it_works_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No copy is made meanwhile, as it would lack what is not saved; but all of it can be exported."""

    def refuse(*_: object) -> None:
        raise DiskFailed("the disk is full; make room")

    async with open_node("a", data_dir=tmp_path / "a", durability="normal", config=FAST) as node:
        node.orset("s").add("saved")
        await node.flush()
        with monkeypatch.context() as broken:
            broken.setattr(Database, "write", refuse)
            node.orset("s").add("not saved")
            await until(node, lambda: node.storage().failure)
            assert node.storage().failure == "the disk is full; make room"
            assert node.storage().unsaved_batches == 1
            assert node.storage().durability == "normal"
            refusal = "^no backup was made, .* is not saved yet: the disk is full; make room. .* `gossip export`"
            with pytest.raises(StorageError, match=refusal):
                await node.backup(tmp_path / "copy.db")
            assert document_of(items_of(node.replica))["objects"] == {"orset": {"s": ["not saved", "saved"]}}
        await until(node, lambda: node.storage().failure is None)
        await node.flush()
        assert node.storage().unsaved_batches == 0
        await node.backup(tmp_path / "copy.db")
