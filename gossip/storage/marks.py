"""Whether a data directory is still where it was written: else it is a copy, or an old state that was put back.

A mark beside the database names the machine, the file (its inode) and the epoch of the last start, and, once the node
has stopped in good order, when the file was last changed (its ctime, which no tool that copies can set). A copy has
another inode; an old state that was written over the file has another ctime, or an earlier epoch. When mark and file
are put back together after a crash, or a machine with its disk, only other nodes can tell.
"""

import json
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

from .files import write_durably

MARK_FILE: Final = "mark.json"
_MACHINE_ID: Final = Path("/etc/machine-id")


@dataclass(frozen=True, slots=True)
class Mark:
    """What the mark says of the file that is there."""

    doubt: str = ""
    """Why it is not the one that the mark was made for, for people; empty if nothing says so."""
    epoch: int = 0
    """Of the start that made the mark: the file has that of the same start, or of one that was cut short behind it."""
    closed: bool = False
    """Whether the node had stopped in good order, so that everything is in the file."""


def read_mark(database: Path) -> Mark:
    """Compare the mark with the file; it cannot be read yet."""
    try:
        mark = json.loads((database.parent / MARK_FILE).read_text())
        machine, inode, changed, epoch = mark["machine"], mark["inode"], mark["changed"], int(mark["epoch"])
    except FileNotFoundError:
        return Mark("its mark is missing")
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return Mark("its mark cannot be read")
    status = database.stat()
    doubt = ""
    if machine != _machine():
        doubt = "it was written on another machine"
    elif inode != status.st_ino:
        doubt = "it is a copy of the file that was written"
    elif changed is not None and changed != status.st_ctime_ns:
        doubt = "it was changed after the node had stopped"
    return Mark(doubt, epoch, changed is not None)


def set_mark(database: Path, epoch: int, *, closed: bool) -> None:
    """Mark the file as being in use, or as closed; raises OSError."""
    status = database.stat()
    mark: dict[str, Any] = {"machine": _machine(), "inode": status.st_ino, "changed": None, "epoch": epoch}
    if closed:
        mark["changed"] = status.st_ctime_ns
    write_durably(database.parent / MARK_FILE, json.dumps(mark).encode())


def _machine() -> str:
    """Names this machine, and tells nobody its id. Empty where it has none, as in some containers."""
    try:
        return blake2b(_MACHINE_ID.read_bytes(), digest_size=8, person=b"gossip mark").hexdigest()
    except OSError:
        return ""
