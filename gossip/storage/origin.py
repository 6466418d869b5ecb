"""Tells a data directory that is where it was written from a copy, and from an old state that was put back.

A mark is a small file beside the database that is made once and never changed. A new one is made for every life of a
node, for its end in good order, and for another identity. The database records, in the transaction that says so, which
one belongs to it: its name, its inode, and when it was last changed (its ctime, which no tool that copies can set).
Then older marks are removed. So a copy has a mark of another inode, what was put back in place has one of another
ctime, and an old database names a mark that is gone. A crash in between leaves a mark too many, which the next start
removes. When a machine was copied or put back with its disk, only other nodes can tell.
"""

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from secrets import token_hex
from typing import Final

from .files import sync

_NAME: Final = re.compile(r"mark-[0-9a-f]{16}")
_TEXT: Final = b"It tells this directory from its copies: leave it as it is, and do not put it back.\n"
_MACHINE_ID: Final = Path("/etc/machine-id")
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Mark:
    """What a database records of its mark."""

    name: str
    inode: int
    changed: int
    """In nanoseconds."""
    file: int
    """The inode of the database itself."""
    machine: str
    boot: str
    """Names the time from one start of the machine to the next; empty where the system does not say."""
    device: int
    """The file system, for as long as it stays mounted."""

    def doubt(self, database: Path) -> str:
        """Why the file that says so is not the one that was written here, for people; empty if nothing says so."""
        directory = database.parent
        try:
            status = (directory / self.name).lstat()
        except OSError:
            status = None
        if self.machine != _digest(_MACHINE_ID):
            return "it was written on another machine"
        if status is None:
            return "it is older than its mark" if marks_in(directory) else "its mark is missing"
        if status.st_ino != self.inode:
            return "it is a copy of the directory that was written"
        if status.st_ctime_ns != self.changed:
            return "it was put back in place, or its mark was changed"
        if database.stat().st_ino != self.file:
            return "its file was replaced by another one"
        return ""

    @property
    def is_of_this_boot(self) -> bool:
        """True if the machine has run without a break since then: what a process wrote is there, synced or not."""
        return self.boot != "" and self.boot == _digest(_BOOT_ID)

    def is_where_it_was(self, database: Path) -> bool:
        """True if the database is beyond doubt where it was written: a copied file system has another place."""
        return self.is_of_this_boot and database.stat().st_dev == self.device


def make_mark(database: Path) -> Mark:
    """Make a mark, durably, that is not in force before the database records it; raises OSError."""
    mark = database.with_name(f"mark-{token_hex(8)}")
    handle = os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        try:
            os.write(handle, _TEXT)
            os.fsync(handle)
        finally:
            os.close(handle)
        sync(mark.parent)
        status = mark.stat()
        machine, boot = _digest(_MACHINE_ID), _digest(_BOOT_ID)
        return Mark(mark.name, status.st_ino, status.st_ctime_ns, database.stat().st_ino, machine, boot, status.st_dev)
    except OSError:
        with suppress(OSError):  # or there would be one for each time that a full disk is tried again
            mark.unlink()
        raise


def marks_in(directory: Path) -> list[Path]:
    """All that are there; raises OSError."""
    return [file for file in directory.iterdir() if _NAME.fullmatch(file.name)]


def remove_marks(directory: Path, *, but: Mark | None = None) -> None:
    """Remove all others, durably; raises OSError. One that stays does no harm: nothing names it."""
    for mark in marks_in(directory):
        if but is None or mark.name != but.name:
            mark.unlink(missing_ok=True)
    sync(directory)


def remove_other_marks(database: Path, mark: Mark) -> None:
    """Leave just the one in force. One more does no harm, unless what names it is put back: the next start tries
    again."""
    with suppress(OSError):
        remove_marks(database.parent, but=mark)


def _digest(file: Path) -> str:
    """Stands for what is in a file, and tells nobody. Empty where there is none, as in some containers."""
    try:
        return blake2b(file.read_bytes(), digest_size=8, person=b"gossip mark").hexdigest()
    except OSError:
        return ""
