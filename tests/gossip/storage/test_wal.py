"""What SQLite passes over in a WAL, counted in WALs that SQLite has written."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gossip.storage.files import wal_of
from gossip.storage.wal import Dropped, dropped_behind

HEADER, FRAME = 32, 24 + 4096
"""Bytes."""


@pytest.fixture
def wal(tmp_path: Path) -> Path:
    """One with six transactions of a frame each, behind one that made the table in two; then frames of an older run."""
    file = tmp_path / "some.db"
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE numbers (number)")
        for number in range(20):
            connection.execute("INSERT INTO numbers VALUES (?)", (number,))
        connection.execute("PRAGMA wal_checkpoint(RESTART)")
        connection.execute("CREATE TABLE others (number)")
        for number in range(6):
            connection.execute("INSERT INTO others VALUES (?)", (number,))
        copy = tmp_path / "copy-wal"
        copy.write_bytes(wal_of(file).read_bytes())
    assert copy.stat().st_size == HEADER + 22 * FRAME
    return copy


def changed(wal: Path, at: int) -> Path:
    content = bytearray(wal.read_bytes())
    content[at] ^= 1
    wal.write_bytes(content)
    return wal


def test_each_commit_behind_what_was_taken_counts_and_none_of_an_older_run(wal: Path) -> None:
    assert [dropped_behind(wal, frames).transactions for frames in range(10)] == [7, 7, 6, 5, 4, 3, 2, 1, 0, 0]
    assert dropped_behind(wal, 8).has_header


def test_without_a_wal_or_with_an_empty_one_nothing_was_dropped(tmp_path: Path) -> None:
    assert dropped_behind(tmp_path / "none", 0).transactions == 0
    (tmp_path / "empty").touch()
    assert dropped_behind(tmp_path / "empty", 0).transactions == 0


@pytest.mark.parametrize("size", [1, HEADER - 1, HEADER, HEADER + 1, HEADER + FRAME - 1])
def test_a_wal_of_any_length_can_be_looked_at(wal: Path, size: int) -> None:
    wal.write_bytes(wal.read_bytes()[:size])
    assert dropped_behind(wal, 0).transactions == 0


@pytest.mark.parametrize("at", [0, 3, 12, 16, 20, 24, 31])
def test_a_header_that_was_changed_is_found_and_its_frames_count(wal: Path, at: int) -> None:
    assert dropped_behind(changed(wal, at), 0) == Dropped(7, has_header=False)


def test_only_what_a_crash_cannot_leave_is_damage() -> None:
    for transactions in (0, 1):
        assert not Dropped(transactions, has_header=False).is_damage(power_stayed=True, was_synced=True)
    several = Dropped(2)
    assert several.is_damage(power_stayed=True, was_synced=False)
    assert several.is_damage(power_stayed=False, was_synced=True)
    assert not several.is_damage(power_stayed=False, was_synced=False)
    torn = Dropped(9, has_header=False)
    assert torn.is_damage(power_stayed=True, was_synced=True)
    assert not torn.is_damage(power_stayed=False, was_synced=True), "as it begins anew"
