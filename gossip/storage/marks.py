"""Whether a data directory is still where it was written: else it is a copy, or an old state that was put back.

A mark beside the database names the machine and the file (its inode), and, once the node has stopped in good order,
when the file was last changed (its ctime, which no tool that copies can set). A copy has another inode; an old state
that was written over the file has another ctime. What a machine that is rolled back with its disk shows, only other
nodes can tell.
"""

import json
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

from .files import write_durably

MARK_FILE: Final = "mark.json"
_MACHINE_ID: Final = Path("/etc/machine-id")


def check_mark(database: Path) -> str:
    """Why the file is not the one that the mark was made for, for people; empty if it is."""
    try:
        mark = json.loads((database.parent / MARK_FILE).read_text())
        machine, inode, changed = mark["machine"], mark["inode"], mark["changed"]
    except FileNotFoundError:
        return "its mark is missing"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "its mark cannot be read"
    if machine != _machine():
        return "it was written on another machine"
    status = database.stat()
    if inode != status.st_ino:
        return "it is a copy of the file that was written"
    if changed is not None and changed != status.st_ctime_ns:
        return "it was changed after the node had stopped"
    return ""


def set_mark(database: Path, *, closed: bool) -> None:
    """Mark the file as being in use, or as closed; raises OSError."""
    status = database.stat()
    mark: dict[str, Any] = {"machine": _machine(), "inode": status.st_ino, "changed": None}
    if closed:
        mark["changed"] = status.st_ctime_ns
    write_durably(database.parent / MARK_FILE, json.dumps(mark).encode())


def _machine() -> str:
    """Names this machine, and tells nobody its id. Empty where it has none, as in some containers."""
    try:
        return blake2b(_MACHINE_ID.read_bytes(), digest_size=8, person=b"gossip mark").hexdigest()
    except OSError:
        return ""
