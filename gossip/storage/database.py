"""The one file that a node's data is in: SQLite in WAL mode (https://sqlite.org/wal.html).

Everything here blocks, and belongs to one thread at a time; only a copy may be made beside. The file is held
exclusively, so that no other program makes it wait or reads what is not its own.
"""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from functools import cache, partial
from hashlib import blake2b
from pathlib import Path
from threading import Lock
from typing import Any, Final

import cbor2

from ..protocol.errors import NotRunning
from .errors import DamagedData, DiskFailed, UnknownFormat
from .files import wal_of
from .records import SUM_BYTES, Checkpoint, Contents, Part, Rows, Transaction, identity_row

FULL: Final = "full"
NORMAL: Final = "normal"
NONE: Final = "none"
DURABILITIES: Final = (FULL, NORMAL, NONE)

WAL_BYTES: Final = 4 << 20
"""What is kept of the WAL when its content has gone to where it belongs; one transaction may make it longer."""
FREE_SHARE: Final = 8
"""When more than one in so many pages of the file is free behind a checkpoint, they are given back."""

COPY_PAGES: Final = 1024
"""Pages, of 4 KiB, that a copy takes in one step: some milliseconds, in which nothing is saved."""
COPY_PAUSE: Final = 0.001
"""Seconds between two steps, in which whoever waits to save has its turn."""

_SCHEMA: Final = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE log (number INTEGER PRIMARY KEY, sum BLOB NOT NULL, data BLOB NOT NULL);
CREATE TABLE parts (
    number INTEGER PRIMARY KEY, generation INTEGER NOT NULL, last_replica TEXT NOT NULL, last_seq INTEGER NOT NULL,
    sum BLOB NOT NULL, data BLOB NOT NULL
);
CREATE INDEX parts_by_end ON parts (last_replica, last_seq, generation, sum);
"""
MIGRATIONS: Final[tuple[str, ...]] = (_SCHEMA,)
"""What turns a file of each format into one of the next: format 0 is an empty file. Never changed, only added to."""
FORMAT: Final = len(MIGRATIONS)

_VERSIONS_AT: Final = 18
_VERSIONS: Final = (1, 2)
"""Where the header says who may write and read the file, and what it may say (https://sqlite.org/fileformat.html)."""
_NO_GAP: Final = (1 << 63) - 1

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
OF_THE_DATA: Final = ("checkpoint", "gap", "swept")
"""What is under these names belongs to the data, and everything else to the node."""


def _sum(*columns: object) -> bytes:
    return blake2b(cbor2.dumps(columns), digest_size=SUM_BYTES).digest()


def _text(content: bytes) -> str:
    """Text as it is stored; what is none is found by its checksum."""
    return content.decode("utf-8", "replace")


@cache
def _schema() -> list[tuple[str, str, str, str | None]]:
    """What an undamaged file says of its tables."""
    with closing(sqlite3.connect(":memory:")) as sample:
        for migration in MIGRATIONS:
            sample.executescript(migration)
        return sorted(sample.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema"))


class Database:
    """An open file. Close it, or it counts as not closed."""

    def __init__(self, path: str | os.PathLike[str], *, durability: str = FULL) -> None:
        """Open or create the file, and look through all of it.

        Raises `DamagedData`, `UnknownFormat`, or `DiskFailed`.
        """
        self.path = Path(path)
        self.is_full = durability == FULL
        self._turn = Lock()
        self._copying = Lock()
        self._closing = False
        with self._failures("opened"):
            self._make_or_look()
            self._connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=1.0)
            self._connection.text_factory = _text
            self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._inodes: dict[Path, int] = {}
        try:
            with self._failures("opened"):
                version = check_version(self.path, self._connection)  # first: one of a later format is left as it is
                self._set_up(durability)
                self._migrate(version)
                self._check()
                self._forget_behind_gap()
            self.is_in_place()  # from now on
        except BaseException:
            self._connection.close()
            raise

    def _make_or_look(self) -> None:
        """Make the file, for nobody else from the start. SQLite would call one read-only that says it is of a later
        version than there is."""
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            versions = os.pread(handle, 2, _VERSIONS_AT)
        finally:
            os.close(handle)
        if any(version not in _VERSIONS for version in versions):
            raise DamagedData(f"{self.path}: its header is of no version of SQLite")

    def _set_up(self, durability: str) -> None:
        execute = self._connection.execute
        execute("PRAGMA auto_vacuum = INCREMENTAL")  # of use before the first table only
        (mode,) = execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise DiskFailed(f"{self.path} cannot be opened: its file system does not allow a write-ahead log")
        execute(f"PRAGMA synchronous = {'FULL' if durability == FULL else 'NORMAL'}")
        execute("PRAGMA fullfsync = 1")  # where a usual sync stops in the disk's own cache
        execute("PRAGMA checkpoint_fullfsync = 1")
        execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")

    def _migrate(self, version: int) -> None:
        for number in range(version, FORMAT):
            self._connection.executescript(f"BEGIN; {MIGRATIONS[number]} PRAGMA user_version = {number + 1}; COMMIT")

    def _check(self) -> None:
        """Look through the structure of the file; what is in the rows has checksums."""
        execute = self._connection.execute
        found = [text for (text,) in execute("PRAGMA integrity_check(1)") if text != "ok"]
        if found:
            raise DamagedData(f"{self.path}: {found[0]}")
        if sorted(execute("SELECT type, name, tbl_name, sql FROM sqlite_schema")) != _schema():
            raise DamagedData(f"{self.path}: its tables are not those of format {FORMAT}")

    def _forget_behind_gap(self) -> None:
        """Remove what was written behind what was given up, when that was not made good: it counts for nothing."""
        gap = self.get("gap")
        if gap is not None:
            with self._together() as execute:
                execute("DELETE FROM log WHERE number > ?", (gap[0],))
                execute("DELETE FROM parts WHERE generation >= ?", (gap[1],))
                execute("DELETE FROM meta WHERE key = 'gap'")
                self._put("swept", [gap[0], self._digest()])

    # ---- small things under a name

    def get(self, key: str) -> Any:
        """What was put there last; None if nothing was. Raises `DamagedData`."""
        with self._failures("read"):
            found = self._connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        try:
            if found is None:
                return None
            checksum, body = self._sum_in(found[0]), found[0][SUM_BYTES:]
            self._check_sum(checksum, key, body)
            return cbor2.loads(body)
        except (cbor2.CBORDecodeError, TypeError) as error:
            raise DamagedData(f"{self.path}: {key}: {error}") from None

    def _sum_in(self, data: object) -> bytes:
        """The checksum that stored bytes begin with."""
        if type(data) is not bytes:
            raise DamagedData(f"{self.path}: a row is of another type than it was written with")
        return data[:SUM_BYTES]

    def _check_sum(self, found: object, *columns: object) -> None:
        if found != _sum(*columns):
            raise DamagedData(f"{self.path}: a row has another checksum than it was written with")

    def put(self, key: str, value: Any) -> None:
        """Durable when this returns, whatever is promised of everything else; raises `DiskFailed`."""
        with self._turn, self._failures("written"):
            (usual,) = self._connection.execute("PRAGMA synchronous").fetchone()
            self._connection.execute("PRAGMA synchronous = FULL")
            self._put(key, value)
            self._connection.execute(f"PRAGMA synchronous = {usual}")

    def _put(self, key: str, value: Any) -> None:
        body = cbor2.dumps(value)
        self._connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, _sum(key, body) + body))

    # ---- the replica

    def contents(self) -> Contents:
        """Everything; raises `DamagedData`. What is behind a gap is not part of it."""
        generation, log_from, head = self.get("checkpoint") or (0, 0, b"")
        log_to, _ = self.get("gap") or (_NO_GAP, 0)
        execute = self._connection.execute
        with self._failures("read"):
            rows = execute("SELECT number, sum, data FROM log WHERE number <= ? ORDER BY number", (log_to,)).fetchall()
            parts = execute("SELECT generation, last_replica, last_seq, sum, data FROM parts").fetchall()
        if [number for number, _, _ in rows] != [*range(log_from + 1, log_from + 1 + len(rows))]:
            raise DamagedData(f"{self.path}: rows of the log are missing")
        last_row = rows[-1][0] if rows else log_from
        swept_to, digest = self.get("swept") or (0, 0)
        if self._digest() != digest or last_row < min(swept_to, log_to):
            raise DamagedData(f"{self.path}: its parts are not of the same moment")
        for number, found, data in rows:
            self._check_sum(found, number, self._sum_in(data))
        for *place, found, data in parts:
            self._check_sum(found, *place, self._sum_in(data))
        return Contents(
            Checkpoint(generation, log_from, head),
            [data for *_, data in parts],
            [data for *_, data in rows],
            last_row,
            max([each for each, *_ in parts], default=generation),
        )

    def write(self, transaction: Transaction, rows: Rows, number: int) -> None:
        """Write all of it or nothing, the row of the log under that number. Raises `DiskFailed`."""
        with self._turn:
            self._write(transaction, rows, number)

    def _write(self, transaction: Transaction, rows: Rows, number: int) -> None:
        self._check_in_place()
        if transaction.is_plain:
            with self._failures("written"):
                self._end_failed()
                self._append(number, rows.log)
            return
        with self._failures("written"), self._together() as execute:
            if rows.log:
                self._append(number, rows.log)
            if part := transaction.part:
                self._write_part(part, rows.part, number)
            if transaction.identity:
                self._put("identity", identity_row(transaction.identity, is_full=self.is_full))
            if finish := transaction.finish:
                execute("DELETE FROM parts WHERE generation < ?", (finish.generation,))
                execute("DELETE FROM log WHERE number <= ?", (finish.log_from,))
                execute("DELETE FROM meta WHERE key = 'gap'")
                self._put("checkpoint", [finish.generation, finish.log_from, rows.head])
            if transaction.part or transaction.finish:
                self._put("swept", [number if rows.log else number - 1, self._digest()])
        if transaction.finish:
            with suppress(sqlite3.Error):  # all of it is written, and the next time will do
                self._give_back()

    def _append(self, number: int, data: bytes) -> None:
        """Add to the log, in place of a row that was written although we were told that it was not."""
        row = number, _sum(number, data[:SUM_BYTES]), data
        self._connection.execute("INSERT OR REPLACE INTO log VALUES (?, ?, ?)", row)

    def is_in_place(self) -> bool:
        """Whether the file and its WAL are still where they were: else nobody will find what is written to them."""
        for part in (self.path, wal_of(self.path)):
            try:
                inode = part.stat().st_ino
            except OSError:
                inode = 0
            if (self._inodes.setdefault(part, inode) if inode else self._inodes.get(part, 0)) != inode:
                return False
        return True

    def _check_in_place(self) -> None:
        if not self.is_in_place():
            raise DiskFailed(f"{self.path} or its WAL was removed or replaced while in use; put it back, or restart")

    def _write_part(self, part: Part, data: bytes, number: int) -> None:
        execute = self._connection.execute
        place = part.generation, *part.last
        row = *place, _sum(*place, data[:SUM_BYTES]), data
        execute("INSERT INTO parts (generation, last_replica, last_seq, sum, data) VALUES (?, ?, ?, ?, ?)", row)
        if part.in_place:
            replaced = "DELETE FROM parts WHERE (last_replica, last_seq) <= (?, ?) AND generation < ?"
            execute(replaced, (*part.last, part.generation))
            return
        # The log goes on behind what was given up: until the sweep has ended, a crash must leave what was before.
        gap = self.get("gap")
        if gap is None:
            self._put("gap", [number - 1, part.generation])
        else:
            execute("DELETE FROM parts WHERE generation >= ? AND generation < ?", (gap[1], part.generation))

    def _digest(self) -> int:
        """Of all parts. Written with them: a damaged WAL can leave older pages of one table beside newer ones of
        another, each of them sound."""
        with self._failures("read"):
            # In one row: for each row that it fetches, a thread waits for its turn beside the event loop.
            (sums,) = self._connection.execute("SELECT group_concat(hex(sum), ' ') FROM parts").fetchone()
        return sum([int(each, 16) for each in (sums or "").split()]) % (1 << 64)

    @contextmanager
    def _together(self) -> Iterator[Callable[..., object]]:
        self._end_failed()
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection.execute
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # some errors have ended it already
                self._connection.execute("ROLLBACK")
            raise

    def _end_failed(self) -> None:
        if self._connection.in_transaction:  # the end of one that has failed has failed too
            self._connection.execute("ROLLBACK")

    def _give_back(self) -> None:
        (free,) = self._connection.execute("PRAGMA freelist_count").fetchone()
        (pages,) = self._connection.execute("PRAGMA page_count").fetchone()
        if free * FREE_SHARE > pages:
            self._connection.executescript("PRAGMA incremental_vacuum")  # `execute` would give back one page

    @property
    def bytes_on_disk(self) -> int:
        """What the file takes, with its WAL."""
        return sum(part.stat().st_size for part in (self.path, wal_of(self.path)) if part.exists())

    def copy_to(self, path: Path, pause: Callable[[], None]) -> None:
        """Copy everything into an empty file, as it is at the end; to be called in a thread of its own.

        It is done in steps, and what is written between them goes into the copy too. ``pause`` is called there; what it
        raises ends the copy. The copy is not synced. Raises `DiskFailed`, or `NotRunning` if closed meanwhile.
        """
        with self._copying, failures(f"{self.path} cannot be copied to {path}"), closing(connect(path)) as copy:
            copy.execute("PRAGMA journal_mode = OFF")
            copy.execute("PRAGMA synchronous = OFF")
            with self._turn:
                self._connection.backup(copy, pages=COPY_PAGES, progress=partial(self._between_steps, pause))

    def _between_steps(self, pause: Callable[[], None], *_: int) -> None:
        self._turn.release()
        try:
            pause()
            time.sleep(COPY_PAUSE)  # a lock is not fair: who waits for it must find it free for a while
        finally:
            self._turn.acquire()
        if self._closing:
            raise NotRunning("the node was closed before the copy was complete; there is no copy")

    def close(self) -> None:
        """Write everything to where it belongs, and let go of the file."""
        self._closing = True
        with self._copying, self._turn, self._failures("closed"):
            self._connection.close()

    def _failures(self, what: str) -> AbstractContextManager[None]:
        return failures(f"{self.path} cannot be {what}")


def connect(path: Path) -> sqlite3.Connection:
    """For what is no node's own file, and this process's alone."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    return connection


def check_version(path: Path, connection: sqlite3.Connection) -> int:
    """The format of a file; raises `UnknownFormat` for a later one than this release knows."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > FORMAT:
        raise UnknownFormat(
            f"{path} is of format {version}, and this release knows up to {FORMAT}; use the later release"
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
        raise kind(f"{what}: {advice} ({error})") from None
    except OSError as error:
        raise DiskFailed(f"{what}: {error.strerror}") from None
