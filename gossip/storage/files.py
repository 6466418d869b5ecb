"""The files of a data directory, and how they come to be there after a crash."""

import errno
import os
import stat
from pathlib import Path
from typing import Final

from ..protocol.errors import ConfigError

DATABASE_FILE: Final = "state.db"
"""The one file of a data directory that a node's data is in."""


def wal_of(database: Path) -> Path:
    """What SQLite keeps beside a file: what is not yet where it belongs."""
    return database.with_name(f"{database.name}-wal")


def check_is_no_link(database: Path) -> None:
    """Raise `ConfigError` for a symbolic link: its WAL would be with what it points to, where nobody looks for it."""
    if database.is_symlink():
        raise ConfigError(
            f"{database} is a symbolic link; move the file here, and make the directory a link, or name another one"
        )


def why(error: OSError, *, mend: str = "") -> str:
    """What the system says and how to mend it, for people; ``mend`` it so, if the file is not there."""
    advice = {
        errno.ENOENT: mend or "name one that is there",
        errno.ENOTDIR: "name one that lies in a directory",
        errno.EISDIR: "name a file",
        errno.EACCES: "look at its permissions",
        errno.EPERM: "look at its permissions",
        errno.EROFS: "name one on another disk",
        errno.ENOSPC: "make room",
    }.get(error.errno or 0, "")
    return "; ".join(filter(None, [error.strerror or str(error), advice]))


def open_regular(path: Path) -> int:
    """Open a regular file to read it, and return its handle.

    Raises OSError, and `ConfigError` for anything else: a device may have no end, and a pipe may never be written to.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # else opening a pipe waits for its writer
    mode = os.fstat(handle).st_mode
    if stat.S_ISREG(mode):
        return handle
    os.close(handle)
    raise ConfigError(f"{path} is {_SORTS.get(stat.S_IFMT(mode), 'no regular file')}; name a regular file")


_SORTS: Final = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def sync(path: Path) -> None:
    """Make durable what was written to a file, or created, renamed or removed in a directory; raises OSError."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
