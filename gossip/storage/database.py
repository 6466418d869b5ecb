"""The one file that a node's data is in: SQLite in WAL mode (https://sqlite.org/wal.html).

Everything here blocks, and belongs to one thread at a time. The file is held exclusively, so that no other program
makes it wait or reads what is not its own.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import cbor2

from .errors import DamagedData, DiskFailed, UnknownFormat
from .records import SUM_BYTES, Checkpoint, Contents, Part, Rows, Transaction, identity_row

FULL: Final = "full"
NORMAL: Final = "normal"
NONE: Final = "none"
DURABILITIES: Final = (FULL, NORMAL, NONE)

WAL_BYTES: Final = 4 << 20
"""What is kept of the WAL when its content has gone to where it belongs; one transaction may make it longer."""
FREE_SHARE: Final = 4
"""When more than one in so many pages of the file is free behind a checkpoint, they are given back."""

_SCHEMA: Final = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE log (number INTEGER PRIMARY KEY, sum BLOB NOT NULL, data BLOB NOT NULL);
CREATE TABLE parts (
    number INTEGER PRIMARY KEY, generation INTEGER NOT NULL, last_replica TEXT NOT NULL, last_seq INTEGER NOT NULL,
    sum BLOB NOT NULL, data BLOB NOT NULL
);
CREATE INDEX parts_by_end ON parts (last_replica, last_seq);
"""
MIGRATIONS: Final[tuple[str, ...]] = (_SCHEMA,)
"""What turns a file of each format into one of the next: format 0 is an empty file. Never changed, only added to."""
FORMAT: Final = len(MIGRATIONS)

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


def _sum(*columns: object) -> bytes:
    return blake2b(cbor2.dumps(columns), digest_size=SUM_BYTES).digest()


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
        with self._failures("opened"):
            os.close(
                os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            )  # for nobody else, from the start
            self._connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=1.0)
        try:
            with self._failures("opened"):
                self._set_up(durability)
                self._migrate()
                self._check()
                self._forget_behind_gap()
        except BaseException:
            self._connection.close()
            raise

    def _set_up(self, durability: str) -> None:
        execute = self._connection.execute
        execute("PRAGMA locking_mode = EXCLUSIVE")
        execute("PRAGMA auto_vacuum = INCREMENTAL")  # of use before the first table only
        execute("PRAGMA journal_mode = WAL")
        execute(f"PRAGMA synchronous = {'FULL' if durability == FULL else 'NORMAL'}")
        execute("PRAGMA fullfsync = 1")  # where a usual sync stops in the disk's own cache
        execute("PRAGMA checkpoint_fullfsync = 1")
        execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")

    def _migrate(self) -> None:
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version > FORMAT:
            raise UnknownFormat(
                f"{self.path} is of format {version}, and this release knows up to {FORMAT}; use the later release"
            )
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

    # ---- small things under a name

    def get(self, key: str) -> Any:
        """What was put there last; None if nothing was. Raises `DamagedData`."""
        with self._failures("read"):
            found = self._connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        try:
            if found is None:
                return None
            checksum, body = found[0][:SUM_BYTES], found[0][SUM_BYTES:]
            self._check_sum(checksum, key, body)
            return cbor2.loads(body)
        except (cbor2.CBORDecodeError, TypeError) as error:
            raise DamagedData(f"{self.path}: {key}: {error}") from None

    def _check_sum(self, found: object, *columns: object) -> None:
        if found != _sum(*columns):
            raise DamagedData(f"{self.path}: a row has another checksum than it was written with")

    def put(self, key: str, value: Any) -> None:
        """Durable when this returns, whatever is promised of everything else; raises `DiskFailed`."""
        with self._failures("written"):
            (usual,) = self._connection.execute("PRAGMA synchronous").fetchone()
            self._connection.execute("PRAGMA synchronous = FULL")
            self._put(key, value)
            self._connection.execute(f"PRAGMA synchronous = {usual}")

    def _put(self, key: str, value: Any, *, unless_there: bool = False) -> None:
        otherwise = "IGNORE" if unless_there else "REPLACE"
        body = cbor2.dumps(value)
        self._connection.execute(f"INSERT OR {otherwise} INTO meta VALUES (?, ?)", (key, _sum(key, body) + body))

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
        for number, found, data in rows:
            self._check_sum(found, number, data[:SUM_BYTES])
        for *place, found, data in parts:
            self._check_sum(found, *place, data[:SUM_BYTES])
        return Contents(
            Checkpoint(generation, log_from, head),
            [data for *_, data in parts],
            [data for *_, data in rows],
            rows[-1][0] if rows else log_from,
            max([each for each, *_ in parts], default=generation),
        )

    def write(self, transaction: Transaction, rows: Rows, number: int) -> None:
        """Write all of it or nothing, the row of the log under that number. Raises `DiskFailed`."""
        with self._failures("written"), self._together() as execute:
            if rows.log:  # in place of a row that was written although we were told that it was not
                row = number, _sum(number, rows.log[:SUM_BYTES]), rows.log
                execute("INSERT OR REPLACE INTO log VALUES (?, ?, ?)", row)
            if part := transaction.part:
                self._write_part(part, rows.part, number)
            if transaction.identity:
                self._put("identity", identity_row(transaction.identity))
            if finish := transaction.finish:
                execute("DELETE FROM parts WHERE generation < ?", (finish.generation,))
                execute("DELETE FROM log WHERE number <= ?", (finish.log_from,))
                execute("DELETE FROM meta WHERE key = 'gap'")
                self._put("checkpoint", [finish.generation, finish.log_from, rows.head])
        if transaction.finish:
            with suppress(sqlite3.Error):  # all of it is written, and the next time will do
                self._give_back()

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
        self._put("gap", [number - 1, part.generation], unless_there=True)
        execute("DELETE FROM parts WHERE generation >= ? AND generation < ?", (self.get("gap")[1], part.generation))

    @contextmanager
    def _together(self) -> Iterator[Callable[..., object]]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection.execute
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # some errors have ended it already
                self._connection.execute("ROLLBACK")
            raise

    def _give_back(self) -> None:
        (free,) = self._connection.execute("PRAGMA freelist_count").fetchone()
        (pages,) = self._connection.execute("PRAGMA page_count").fetchone()
        if free * FREE_SHARE > pages:
            self._connection.execute("PRAGMA incremental_vacuum").fetchall()

    def copy_to(self, path: Path) -> None:
        """A consistent copy of the whole file, with nothing of who we are. Raises `DiskFailed`."""
        with self._failures("copied"), closing(sqlite3.connect(path, isolation_level=None)) as copy:
            self._connection.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")
            copy.execute("DELETE FROM meta WHERE key NOT IN ('checkpoint', 'gap')")

    def close(self) -> None:
        """Write everything to where it belongs, and let go of the file."""
        with self._failures("closed"):
            self._connection.close()

    @contextmanager
    def _failures(self, what: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            name = getattr(error, "sqlite_errorname", "").removeprefix("SQLITE_").partition("_")[0]
            kind, advice = _ADVICE.get(name, (DiskFailed, "see what it says"))
            raise kind(f"{self.path} cannot be {what}: {advice} ({error})") from None
        except OSError as error:
            raise DiskFailed(f"{self.path} cannot be {what}: {error.strerror}") from None
