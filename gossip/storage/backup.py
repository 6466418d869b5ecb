"""Backups: a whole copy of a node's data in one file, without the node's identity, and the way back.

A copy is made beside the file that it is to be, checked, synced and renamed, so that a crash leaves no half of one.
"""

import errno
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from crdts import Replica

from ..protocol.errors import ConfigError
from .database import FORMAT, OF_THE_DATA, Database
from .datadir import LOCK_FILE, DataDir, unusable
from .errors import DamagedData, DiskFailed
from .files import DATABASE_FILE, check_is_no_link, open_regular, sync, wal_of, why
from .former import read_former
from .meta import get_meta
from .quarantine import has_kept_wal
from .rows import check_row, read_into
from .sqlite import check_version, connect, failures, in_brief
from .wal import look_behind

_MAGIC: Final = b"SQLite format 3\0"
_HEADER_BYTES: Final = 100
_TABLES: Final = {"meta", "log", "parts"}


_START_THERE: Final = (
    "there is no backup of it. Start a node there: it keeps the damaged file under another name and gets back what "
    "others have; or restore an earlier backup"
)
_AND_THEN: Final = (
    "start a node there: it keeps the damaged file under another name, goes on with what can be read, and gets back "
    "what others have; make the backup then"
)
_START_AGAIN: Final = (
    "there is no backup of it. `gossip export` writes down what the node has in memory; started again, it keeps the "
    "damaged file under another name and gets back what others have"
)
_ANOTHER: Final = "use another backup"


@dataclass(frozen=True, slots=True)
class Restored:
    """What was put back."""

    objects: int
    entries: int


def back_up(database: Database, target: Path, *, replace: bool, pause: Callable[[], None]) -> int:
    """Copy an open database to ``target``, while others write to it; returns its bytes. See `Database.copy_to`.

    Raises `ConfigError` if there is a file and it is not to be replaced, `StorageError`, or what ``pause`` does.
    """
    with written_beside(target, database.path.parent, replace=replace) as fresh, _advised(_START_AGAIN):
        database.copy_to(fresh, pause)
        _finish(fresh, database.path)
    return target.stat().st_size


def back_up_closed(directory: Path, target: Path, *, replace: bool) -> int:
    """The same for a data directory that nobody runs on, of which nothing is changed; raises `DataDirInUse` too.

    It need not be writable. Where the WAL is damaged there is no copy, as it would lack what had been saved.
    """
    source = directory / DATABASE_FILE
    check_is_no_link(source)
    with DataDir(directory, to_read=True), written_beside(target, directory, replace=replace) as fresh:
        with failures(f"{source} cannot be copied to {target}"):
            shutil.copyfile(source, fresh)
            if wal_of(source).exists():  # the node was killed
                shutil.copyfile(wal_of(source), wal_of(fresh))
        with _advised(_START_THERE):
            if not fresh.stat().st_size and not wal_of(fresh).exists():
                raise DamagedData(f"{source} is empty")
            is_cut = _lacks_the_end(fresh, source)
        if is_cut:
            raise DamagedData(f"{wal_of(source)} is damaged, and a backup would lack the last writes; {_AND_THEN}")
        with _advised(_START_THERE):
            _finish(fresh, source)
    return target.stat().st_size


@contextmanager
def written_beside(target: Path, directory: Path, *, replace: bool) -> Iterator[Path]:
    """An empty file for this user only, that becomes ``target`` at the end of the block; removed if that fails."""
    try:
        _check_target(target, directory, replace=replace)
    except ConfigError:
        raise
    except (OSError, ValueError) as error:
        raise _unwritable(target, error) from None
    fresh = target.with_name(f".{target.name}.{os.getpid()}.new")
    try:
        try:
            fresh.unlink(missing_ok=True)
            os.close(os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except OSError as error:  # not the node's disk
            raise _unwritable(target, error) from None
        yield fresh
        with failures(f"{target} cannot be written"):
            sync(fresh)
            _rename(fresh, target, replace=replace)
            sync(target.parent)
    finally:
        _remove(fresh)


def _unwritable(target: Path, error: OSError | ValueError) -> ConfigError:
    """The error for a file that the system does not let us make; a NUL in its name is a `ValueError`."""
    reason = error.strerror if isinstance(error, OSError) else error
    return ConfigError(
        f"{target} cannot be written: {reason}; name a file in a directory that is there and that you may write to"
    )


def _check_target(target: Path, directory: Path, *, replace: bool) -> None:
    if _same(target.parent, directory):
        raise ConfigError(f"{directory} holds the node's own files; put the copy elsewhere")
    if own := next((file for file in _files_in(directory) if _same(target, file)), None):
        raise ConfigError(f"{target} is {own}, the node's own file, under another name; put the copy elsewhere")
    if target.exists() and not target.is_file():
        raise ConfigError(f"{target} is not a file; name a new one")
    if target.exists() and not replace:
        raise _exists(target)


def _same(one: Path, other: Path) -> bool:
    """True if both paths lead to one file or directory, whatever links and mounts are on the way."""
    try:
        return one.samefile(other)
    except OSError:  # one of them is not there
        return False


def _files_in(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except OSError:
        return []


def _exists(target: Path) -> ConfigError:
    return ConfigError(f"{target} exists; name a new file, or replace it with replace=True")


def _rename(fresh: Path, target: Path, *, replace: bool) -> None:
    """Give a file its name; unless told to, not in place of what has come there meanwhile."""
    if not replace:
        try:
            os.link(fresh, target)
            return
        except FileExistsError:
            raise _exists(target) from None
        except OSError as error:  # no hard links there
            if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK):
                raise
        if target.exists():
            raise _exists(target)
    fresh.replace(target)


def _remove(file: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        with suppress(OSError):
            file.with_name(file.name + suffix).unlink(missing_ok=True)


# ---- what a copy must be


@contextmanager
def _advised(advice: str) -> Iterator[None]:
    """Tell what to do about what is damaged."""
    try:
        yield
    except DamagedData as error:
        raise DamagedData(f"{error}; {advice}") from None


def _lacks_the_end(copy: Path, source: Path) -> bool:
    """True if something that was saved cannot be read; ``copy`` is fresh, with its WAL beside it. Raises
    `DamagedData`."""
    if has_kept_wal(source):
        return True
    if not wal_of(copy).exists():
        return False
    with failures(f"the copy of {source} cannot be read"), closing(connect(copy)) as connection:
        dropped = look_behind(connection, wal_of(copy))
        former = read_former(partial(get_meta, connection, source), source) if dropped.is_suspicious else None
        return former is not None and bool(former.cut(dropped))


def _finish(copy: Path, source: Path) -> None:
    """Take out who wrote it, and make it one whole file; raises `DamagedData` or `UnknownFormat` if it is not sound."""
    with failures(f"the copy of {source} cannot be finished"), closing(connect(copy)) as connection:
        connection.execute("PRAGMA secure_delete = ON")
        _check_format(source, connection)
        _check_sound(source, connection)
        connection.execute("DELETE FROM meta WHERE key NOT IN (?, ?, ?)", OF_THE_DATA)
        connection.execute("PRAGMA journal_mode = DELETE")


def _check_format(source: Path, connection: sqlite3.Connection) -> None:
    version = check_version(source, connection, FORMAT)
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if version < 1 or not tables >= _TABLES:
        raise DamagedData(f"{source} is a database that holds no node's data")


def _check_sound(source: Path, connection: sqlite3.Connection) -> None:
    """Every page and the checksum of every row; what the rows say is not looked at, which takes much longer."""
    if found := [text for (text,) in connection.execute("PRAGMA quick_check(1)") if text != "ok"]:
        raise DamagedData(f"{source} is damaged: {in_brief(found[0])}")
    try:
        for rows in ("SELECT data FROM log", "SELECT data FROM parts"):
            for (row,) in connection.execute(rows):
                check_row(row)
    except DamagedData as error:
        raise DamagedData(f"{source} is damaged: {error}") from None


# ---- the way back


def restore_into(backup: Path, directory: Path) -> Restored:
    """Make a data directory of a backup, all of which is read and checked first. Who starts there is a new node.

    Raises `ConfigError` if the directory is not empty or the file no backup, `DataDirInUse`, or `StorageError`.
    """
    _check_backup(backup)
    is_new = not directory.exists()
    if not is_new and {path.name for path in _listed(directory)} - {LOCK_FILE}:
        raise ConfigError(f"{directory} is not empty; restore into a new directory, or one that you have emptied")
    fresh = directory / f"{DATABASE_FILE}.new"
    try:
        with DataDir(directory, insecure=True):  # the check is made when a node is started there
            try:
                return _restore(backup, fresh)
            finally:
                _remove(fresh)
    except BaseException:
        if is_new:
            with suppress(OSError):
                (directory / LOCK_FILE).unlink()
                directory.rmdir()
        raise


def _restore(backup: Path, fresh: Path) -> Restored:
    with failures(f"{backup} cannot be copied to {fresh.parent}"):
        os.close(os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600))
        shutil.copyfile(backup, fresh)
    with _advised(_ANOTHER):
        _finish(fresh, backup)
        try:
            restored = _read(fresh)
        except DamagedData as error:
            raise DamagedData(f"{backup} is damaged: {error}") from None
    with failures(f"{fresh.parent} cannot be written"):
        sync(fresh)
        fresh.replace(fresh.with_name(DATABASE_FILE))
        sync(fresh.parent)
    return restored


def _read(file: Path) -> Restored:
    """Read all of it, as a node would that starts there."""
    database = Database(file)
    try:
        replica = Replica("restored")
        read_into(replica, database.contents())
    finally:
        database.close()
    return Restored(len(replica.objects()), sum(map(len, replica.store.kernel.live.values())))


def _check_backup(backup: Path) -> None:
    """Raise `ConfigError` unless the file begins like one that `back_up` makes; `DiskFailed` if it cannot be read."""
    try:
        with open(open_regular(backup), "rb") as file:
            header = file.read(_HEADER_BYTES)
    except FileNotFoundError as error:
        raise ConfigError(f"{backup}: {why(error, mend='name a file that `gossip backup` has made')}") from None
    except OSError as error:
        raise DiskFailed(f"{backup}: {why(error)}") from None
    if not header.startswith(_MAGIC) or len(header) < _HEADER_BYTES:
        raise ConfigError(f"{backup}: it is no backup; `gossip backup` makes one (and `gossip import` reads an export)")
    if header[18] != 1:  # in WAL mode: what is in the file beside it would be missing
        raise ConfigError(
            f"{backup}: it is a node's own file and no backup; start a node on a copy of its directory, which goes on "
            "as a new node with all data"
        )


def _listed(directory: Path) -> list[Path]:
    try:
        return list(directory.iterdir())
    except OSError as error:
        raise unusable(directory, error) from None
