"""A node's data directory: it belongs to one process at a time. What is in it is the business of `storage`."""

import errno
import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from .protocol.errors import ConfigError, DataDirInUse
from .storage.files import sync

LOCK_FILE: Final = "lock"
_NOT_WRITABLE: Final = (errno.EROFS, errno.EACCES, errno.EPERM)


class DataDir:
    """An open data directory. Close it, or use it as a context manager."""

    def __init__(self, path: str | os.PathLike[str], *, to_read: bool = False) -> None:
        """Create the directory if needed (mode 0700) and lock it; raises `DataDirInUse` or `ConfigError`.

        ``to_read``: nothing will be written there, so that it may be one where nothing can be.
        """
        self.path = Path(path).absolute()
        may_write = True
        try:
            self._make()
            self._lock = os.open(self.path / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            may_write = not (to_read and error.errno in _NOT_WRITABLE)
            if may_write:
                raise self._unusable(error) from None
            self._lock = self._open_as_it_is()
        self._take(fcntl.LOCK_EX if may_write else fcntl.LOCK_SH)
        if may_write:
            self._say_whose_it_is()

    def _make(self) -> None:
        missing = [place for place in (self.path, *self.path.parents) if not place.exists()]
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        for place in missing:
            sync(place.parent)  # what is durable in it would be lost with it

    def _open_as_it_is(self) -> int:
        """The lock, or the directory where nobody has ever made one."""
        try:
            lock = self.path / LOCK_FILE
            return os.open(lock if lock.exists() else self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise self._unusable(error) from None

    def _unusable(self, error: OSError) -> ConfigError:
        return ConfigError(f"cannot use {self.path} as data directory: {error.strerror}; choose another")

    def _take(self, kind: int) -> None:
        try:
            fcntl.flock(self._lock, kind | fcntl.LOCK_NB)
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

    def _say_whose_it_is(self) -> None:
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
