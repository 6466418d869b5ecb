"""What SQLite passes over in silence: whole transactions in a WAL, behind a place that is damaged.

The checksum of a frame covers all frames before it, so that SQLite takes a WAL up to the first that does not fit, and
no further (https://sqlite.org/fileformat2.html#the_write_ahead_log). That is how a write that was cut short looks. But
where each transaction is synced before the next one, no more than one can be cut short: more of them prove damage.
"""

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Literal

_HEADER_BYTES: Final = 32
_FRAME_HEADER_BYTES: Final = 24
_PAGE_SIZE: Final = slice(8, 12)
_SALTS: Final = slice(16, 24)
"""In the header of the WAL: numbers that all its frames repeat, and older ones, that it is written over, do not."""
_SUM: Final = slice(24, 32)
"""In the header of the WAL: the checksum of all before."""
_FRAME_SALTS: Final = slice(8, 16)
_SIZE_AFTER_COMMIT: Final = slice(4, 8)
"""In the header of a frame: the size of the file if a transaction ends there, else 0."""
_IN_FLIGHT: Final = 1
"""Transactions that a crash can cut short, if each is on the disk before the next one is begun."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """What of a WAL was not taken."""

    transactions: int = 0
    """How many end there."""
    has_header: bool = True
    """True if the WAL has a sound header. A power loss can tear the header where the WAL begins anew, and then what is
    behind it is in the database already."""

    @property
    def is_suspicious(self) -> bool:
        """True if more is lost than a crash can cut short."""
        return self.transactions > _IN_FLIGHT

    def is_damage(self, *, power_stayed: bool, was_synced: bool) -> bool:
        """True if a crash cannot have left this. ``power_stayed``: just the process has died since the WAL was written;
        ``was_synced``: each transaction was on the disk before the next one was begun."""
        return self.is_suspicious and (power_stayed or (was_synced and self.has_header))


def look_behind(connection: sqlite3.Connection, wal: Path) -> Dropped:
    """What SQLite has not taken of the WAL of a file that was just opened, and not written to.

    Up to where it did take it, only a checkpoint tells, which leaves the WAL as it is. Raises OSError, or what SQLite
    does.
    """
    (_, frames, _) = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    return dropped_behind(wal, frames) if frames >= 0 else Dropped()


def dropped_behind(wal: Path, frames: int) -> Dropped:
    """What a WAL has behind so many frames; raises OSError."""
    try:
        with open(wal, "rb") as file:
            return _look(file, frames)
    except FileNotFoundError:
        return Dropped()


def _look(file: BinaryIO, frames: int) -> Dropped:
    header = file.read(_HEADER_BYTES)
    has_header = len(header) == _HEADER_BYTES and header[_SUM] == _header_sum(header)
    rest = int.from_bytes(header[_PAGE_SIZE], "big")
    file.seek(frames * (_FRAME_HEADER_BYTES + rest), 1)
    salts = header[_SALTS] if has_header else b""
    found = 0
    while len(frame := file.read(_FRAME_HEADER_BYTES)) == _FRAME_HEADER_BYTES:
        salts = salts or frame[_FRAME_SALTS]
        found += frame[_FRAME_SALTS] == salts and any(frame[_SIZE_AFTER_COMMIT])
        file.seek(rest, 1)
    return Dropped(found, has_header)


def _header_sum(header: bytes) -> bytes:
    """The lowest bit of the first word tells in which order of bytes it is made."""
    order: Literal["big", "little"] = "big" if header[3] & 1 else "little"
    first = second = 0
    for at in range(0, _SUM.start, 8):
        first = first + int.from_bytes(header[at : at + 4], order) + second & 0xFFFFFFFF
        second = second + int.from_bytes(header[at + 4 : at + 8], order) + first & 0xFFFFFFFF
    return first.to_bytes(4, "big") + second.to_bytes(4, "big")
