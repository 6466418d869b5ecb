"""Files that are there after a crash, whole."""

import os
from pathlib import Path
from typing import Final

DATABASE_FILE: Final = "state.db"
"""The one file of a data directory that a node's data is in."""


def write_durably(file: Path, content: bytes) -> None:
    """Replace ``file`` so that after a crash it holds the old content or the new; raises OSError."""
    fresh = file.with_suffix(".new")
    with open(fresh, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    fresh.replace(file)
    sync(file.parent)


def wal_of(database: Path) -> Path:
    """What SQLite keeps beside a file: what is not yet where it belongs."""
    return database.with_name(f"{database.name}-wal")


def sync(path: Path) -> None:
    """Make durable what was written to a file, or created, renamed or removed in a directory; raises OSError."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
