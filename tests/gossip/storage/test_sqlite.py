"""What SQLite's errors become for people."""

import sqlite3
from pathlib import Path

import pytest

from gossip.storage.database import Database
from gossip.storage.errors import DamagedData, DiskFailed
from gossip.storage.sqlite import failures, in_brief


def failed(name: str, words: str) -> sqlite3.Error:
    error = sqlite3.OperationalError(words)
    error.sqlite_errorname = name
    return error


def test_what_sqlite_says_in_several_lines_is_told_in_one() -> None:
    assert in_brief("*** in database main ***\nFailed to read ptrmap key=5") == "Failed to read ptrmap key=5"
    assert len(in_brief("word " * 1000)) == 100


@pytest.mark.parametrize(
    ("name", "words", "kind", "told"),
    [
        ("SQLITE_FULL", "database or disk is full", DiskFailed, "it failed: the disk is full; make room"),
        ("SQLITE_CORRUPT", "database disk image is malformed", DamagedData, "it failed: the file is damaged"),
        (
            "SQLITE_IOERR_READ",
            "disk I/O error",
            DiskFailed,
            "it failed: the disk reports an error; look at the system's log (disk I/O error)",
        ),
    ],
)
def test_nothing_is_said_twice(name: str, words: str, kind: type[Exception], told: str) -> None:
    with pytest.raises(kind) as raised, failures("it failed"):
        raise failed(name, words)
    assert str(raised.value) == told


def test_a_damaged_page_is_told_of_on_one_line(tmp_path: Path) -> None:
    file = tmp_path / "state.db"
    Database(file).close()
    content = bytearray(file.read_bytes())
    content[4096:8192] = b"\xff" * 4096  # the pages' places
    file.write_bytes(content)
    with pytest.raises(DamagedData) as raised:
        Database(file)
    assert "\n" not in str(raised.value)
    assert "***" not in str(raised.value)
    assert str(raised.value).startswith(f"{file} is damaged: ")
