"""A node's data directory: it belongs to one process at a time. What is in it is the business of `storage`."""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from .protocol.errors import ConfigError, DataDirInUse
from .storage.files import sync

LOCK_FILE: Final = "lock"


class DataDir:
    """An open data directory. Close it, or use it as a context manager."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Create the directory if needed (mode 0700) and lock it; raises `DataDirInUse` or `ConfigError`."""
        self.path = Path(path).absolute()
        try:
            missing = [place for place in (self.path, *self.path.parents) if not place.exists()]
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            for place in missing:
                sync(place.parent)  # what is durable in it would be lost with it
            self._lock = os.open(self.path / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(f"cannot use {self.path} as data directory: {error.strerror}; choose another") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(self._lock, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(self._lock)
            raise DataDirInUse(
                f"{self.path} is in use by process {owner}; stop it, or give this node another data directory"
            ) from None
        except OSError as error:
            os.close(self._lock)
            raise ConfigError(
                f"cannot lock {self.path}: {error.strerror}; choose a directory on a local disk"
            ) from None
        try:
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, str(os.getpid()).encode(), 0)
        except OSError as error:
            os.close(self._lock)
            raise ConfigError(
                f"cannot write to {self.path}: {error.strerror}; make room, or make it writable"
            ) from None

    def close(self) -> None:
        os.close(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
