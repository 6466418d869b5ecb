"""A node's data directory: it belongs to one process at a time. What is in it is the business of `storage`."""

import fcntl
import os
import stat
import time
from contextlib import suppress
from pathlib import Path
from shlex import quote
from types import TracebackType
from typing import Final, Self

from ..protocol.errors import ConfigError, DataDirInUse
from .files import sync

LOCK_FILE: Final = "lock"
LOOKS: Final = 2
LOOK_SECONDS: Final = 0.01
"""How often to try again to lock a directory, and seconds in between."""
KERNEL_LOCKS: Final = Path("/proc/locks")
"""Where Linux tells which process holds which lock, by device and inode."""

_held: set[tuple[int, int]] = set()
"""The device and inode of every directory that is open in this process, or was in the one that it was forked from."""
_open_here: "dict[int, DataDir]" = {}
"""Those that are open in this process, by `id`."""


class DataDir:
    """An open data directory. Close it, or use it as a context manager."""

    def __init__(self, path: str | os.PathLike[str], *, to_read: bool = False, insecure: bool = False) -> None:
        """Create the directory if needed (mode 0700) and lock it; raises `DataDirInUse` or `ConfigError`.

        A directory that other users may write to is refused, as they could replace its files; ``insecure`` or
        ``to_read`` accepts it.

        The directory itself is locked, as somebody may delete the lock file. The lock file is locked too, as not every
        file system can lock a directory. ``to_read`` means that the caller only reads; the directory may be read-only.
        """
        self.path = Path(path).absolute()
        self._handles: list[int] = []
        self._kept = False
        try:
            self._make()
            self._place = _place_of(self._open(self.path, os.O_RDONLY | os.O_DIRECTORY))
            if not (to_read or insecure):
                self._check_mode()
            self._lock(self._handles[0], fcntl.LOCK_SH if to_read else fcntl.LOCK_EX, is_optional=True)
            try:
                lock = self._open(self.path / LOCK_FILE, os.O_RDWR | os.O_CREAT)
            except ConfigError:
                if not to_read:
                    raise
                self._lock_file_to_read()
            else:
                self._lock(self._handles[0], fcntl.LOCK_EX, is_optional=True)
                self._lock(lock, fcntl.LOCK_EX)
                self._sign(lock)
        except BaseException:
            self._let_go()
            raise
        _held.add(self._place)
        _open_here[id(self)] = self

    def _lock_file_to_read(self) -> None:
        if (self.path / LOCK_FILE).exists():
            self._lock(self._open(self.path / LOCK_FILE, os.O_RDONLY), fcntl.LOCK_SH)

    def _make(self) -> None:
        try:
            missing = [place for place in (self.path, *self.path.parents) if not place.exists()]
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            for place in missing:
                sync(place.parent)  # what is durable in it would be lost with it
        except OSError as error:
            raise unusable(self.path, error) from None

    def _check_mode(self) -> None:
        mode = stat.S_IMODE(os.fstat(self._handles[0]).st_mode)
        if mode & 0o022:
            raise ConfigError(
                f"other users may write to {self.path} (its mode is {mode:04o}), and so replace this node's data; mend "
                f"it with `chmod go-w {quote(str(self.path))}`, or take it as it is with --insecure (`insecure=True`)"
            )

    def _open(self, place: Path, flags: int) -> int:
        try:
            handle = os.open(place, flags | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise unusable(self.path, error) from None
        self._handles.append(handle)
        return handle

    def _lock(self, handle: int, kind: int, *, is_optional: bool = False) -> None:
        try:
            for _ in range(LOOKS):  # somebody may just be looking who uses it
                with suppress(BlockingIOError):
                    return fcntl.flock(handle, kind | fcntl.LOCK_NB)
                time.sleep(LOOK_SECONDS)
            fcntl.flock(handle, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            raise self._in_use() from None
        except OSError as error:
            if not is_optional:
                raise ConfigError(
                    f"cannot lock {self.path}: {error.strerror}; choose a directory on a local disk"
                ) from None

    def _in_use(self) -> DataDirInUse:
        if self._place in _held:
            return DataDirInUse(
                f"{self.path} is in use: this process has it open already, or the one that it was forked from. "
                "Use the node that runs there or close it first, or give this one another data directory"
            )
        user = _user(self.path, self._place)
        return DataDirInUse(f"{self.path} is in use by {user}; stop it, or give this node another data directory")

    def _sign(self, handle: int) -> None:
        """Leave our number for who finds the directory locked."""
        try:
            os.ftruncate(handle, 0)
            os.pwrite(handle, str(os.getpid()).encode(), 0)
        except OSError as error:
            raise ConfigError(
                f"cannot write to {self.path}: {error.strerror}; make room, or make it writable"
            ) from None

    @property
    def is_kept(self) -> bool:
        """True if the directory stays locked, and is not to be touched any more."""
        return self._kept

    def keep(self) -> None:
        """A thread of this process is still at work there and cannot be stopped: nobody else may come in until the
        process ends."""
        self._kept = True

    def remove(self, name: str) -> None:
        """Remove a file of it, if it is there; what may have come in its place at the same path is left alone."""
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._handles[0])

    def close(self) -> None:
        """Unlock it, unless it is kept."""
        if not self._kept and self._handles:
            _held.discard(self._place)
            _open_here.pop(id(self), None)
            self._let_go()

    def _let_go(self) -> None:
        while self._handles:
            os.close(self._handles.pop())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def unusable(path: Path, error: OSError) -> ConfigError:
    """Why a directory is none for data."""
    is_file = isinstance(error, FileExistsError | NotADirectoryError)
    file = next((place for place in (path, *path.parents) if place.is_file()), None) if is_file else None
    what = error.strerror if file is None else "it is a file" if file == path else f"{file} is a file"
    return ConfigError(f"cannot use {path} as data directory: {what}; choose another")


def user_of(path: Path) -> str:
    """Who uses a data directory, for people; empty if nobody does. Nothing is changed there."""
    try:
        handle = os.open(path / LOCK_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _user(path, _place_of(handle))
    except OSError:
        pass  # that file system has no locks: nobody uses a directory there
    finally:
        os.close(handle)
    return ""


def _user(path: Path, place: tuple[int, int]) -> str:
    owner = _holder(place) or _signed(path / LOCK_FILE)
    return f"process {owner}" if owner else "another process"


def _place_of(handle: int) -> tuple[int, int]:
    status = os.fstat(handle)
    return status.st_dev, status.st_ino


def _signed(file: Path) -> str:
    """The number that the holder has left in its lock file; empty if there is none."""
    with suppress(OSError, ValueError):
        text = file.read_bytes()[:32].decode("ascii").strip()
        return text if text.isdigit() else ""
    return ""


def _holder(place: tuple[int, int]) -> str:
    """The process that the kernel says holds a lock there; empty if it does not say."""
    device, inode = place
    wanted = f"{os.major(device):02x}:{os.minor(device):02x}:{inode}"
    with suppress(OSError, ValueError):
        for line in KERNEL_LOCKS.read_text().splitlines():
            fields = line.split()  # number, FLOCK, ADVISORY, WRITE, process, device and inode, first and last byte
            if len(fields) > 5 and fields[1] == "FLOCK" and fields[5] == wanted and int(fields[4]) > 0:
                return fields[4]
    return ""


def _let_go_in_child() -> None:
    """A process that was forked has the locks as well, and would hold them when this one has ended. Its copies are
    closed, which unlocks nothing here; the directory is not its own."""
    for directory in _open_here.values():
        directory._let_go()
    _open_here.clear()


os.register_at_fork(after_in_child=_let_go_in_child)
