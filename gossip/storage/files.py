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
    sync_directory(file.parent)


def sync_directory(directory: Path) -> None:
    """Make durable what was created, renamed or removed in it; raises OSError."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
