"""SQLite as everybody here uses it: how a file is opened, what its errors mean, and what is seen without a change."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from .errors import DamagedData, DiskFailed, UnknownFormat
from .files import wal_of

_ADVICE: Final[dict[str, tuple[type[Exception], str]]] = {
    "FULL": (DiskFailed, "the disk is full; make room"),
    "READONLY": (DiskFailed, "the disk or the file is read-only; make it writable"),
    "CANTOPEN": (DiskFailed, "the file cannot be opened; look at the permissions of its directory"),
    "PERM": (DiskFailed, "this user may not write there; look at the permissions"),
    "BUSY": (DiskFailed, "another program holds the file; close it there"),
    "IOERR": (DiskFailed, "the disk reports an error; look at the system's log"),
    "CORRUPT": (DamagedData, "the file is damaged"),
    "NOTADB": (DamagedData, "the file is damaged"),
    "ERROR": (DamagedData, "the file is damaged: it lacks what was in it"),
}


_SAYS_IT_ALL: Final = ("FULL", "READONLY", "CORRUPT", "NOTADB")
"""Where SQLite's own words add nothing."""
_BRIEF: Final = 100
"""Letters of SQLite's words that are repeated to people."""
_WHERE: Final = "*** in database main ***"


def in_brief(text: str) -> str:
    """What SQLite says, on one line."""
    line = " ".join(text.replace(_WHERE, " ").split())
    return line if len(line) <= _BRIEF else f"{line[: _BRIEF - 1]}…"


def connect(path: Path) -> sqlite3.Connection:
    """For what is no node's own file, and this process's alone."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    return connection


def lacks_wal(path: Path) -> bool:
    """True if a file is in use, and its WAL is not there. Changes nothing; raises `DiskFailed`."""
    if wal_of(path).exists():
        return False
    place = f"{path.absolute().as_uri()}?mode=ro&immutable=1"  # without a look for the WAL, or making one
    try:
        with failures(f"{path} cannot be read"), closing(sqlite3.connect(place, uri=True)) as connection:
            found = connection.execute("SELECT key FROM meta WHERE key IN ('identity', 'closed')").fetchall()
    except DamagedData:
        return False  # as whoever opens it will find out
    return found == [("identity",)]


def check_version(path: Path, connection: sqlite3.Connection, known: int) -> int:
    """The format of a file; raises `UnknownFormat` for one that is later than the one that is known."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > known:
        raise UnknownFormat(
            f"{path} is of format {version}, and this release knows up to {known}; use the later release"
        )
    return int(version)


@contextmanager
def failures(what: str) -> Iterator[None]:
    """Turn what SQLite and the system report into `DiskFailed` or `DamagedData`, which begins with ``what`` failed."""
    try:
        yield
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "").removeprefix("SQLITE_").partition("_")[0]
        kind, advice = _ADVICE.get(name, (DiskFailed, "see what it says"))
        told = "" if name in _SAYS_IT_ALL else f" ({in_brief(str(error))})"
        raise kind(f"{what}: {advice}{told}") from None
    except OSError as error:
        raise DiskFailed(f"{what}: {error.strerror}") from None
