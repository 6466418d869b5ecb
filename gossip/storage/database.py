"""The one file that a node's data is in: SQLite in WAL mode (https://sqlite.org/wal.html).

Everything here blocks, and belongs to one thread at a time; only a copy may be made beside. The file is held
exclusively, so that no other program makes it wait or reads what is not its own.
"""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from functools import cache, partial
from pathlib import Path
from threading import Lock
from typing import Any, Final

from ..protocol.errors import NotRunning
from .errors import DamagedData, DiskFailed
from .files import wal_of
from .meta import check_sum, get_meta, put_meta, sum_in, sum_of
from .quarantine import wal_out_of_reach
from .rows import SUM_BYTES, Checkpoint, Contents, Part, Rows, Transaction, identity_row
from .sqlite import check_version, connect, failures, in_brief
from .wal import look_behind

FULL: Final = "full"
NORMAL: Final = "normal"
NONE: Final = "none"
DURABILITIES: Final = (FULL, NORMAL, NONE)

WAL_BYTES: Final = 4 << 20
"""What is kept of the WAL when its content has gone to where it belongs; one transaction may make it longer."""
WAL_SHARE: Final = 8
"""It is no longer than one in so many bytes of the whole disk, either."""
FREE_SHARE: Final = 8
"""When more than one in so many pages of the file is free behind a checkpoint, they are given back."""

PAGE_BYTES: Final = 4096
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

OF_THE_DATA: Final = ("checkpoint", "gap", "swept")
"""What is under these names belongs to the data, and everything else to the node."""


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

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        durability: str = FULL,
        before_writing: Callable[["Database"], None] | None = None,
    ) -> None:
        """Open or create the file, and look through all of it.

        ``before_writing`` is called where more of the WAL was `dropped` than one crash can leave, which the first write
        would go over. Raises `DamagedData`, `UnknownFormat`, or `DiskFailed`, or what ``before_writing`` does.
        """
        self.path = Path(path)
        self._needs_wal = wal_of(self.path).exists()
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
        may_write = False
        try:
            with self._failures("opened"):
                version = check_version(
                    self.path, self._connection, FORMAT
                )  # first: one of a later format is left as it is
                self.dropped = look_behind(self._connection, wal_of(self.path))  # a write would go over it
                if before_writing is not None and self.dropped.is_suspicious:
                    before_writing(self)
                may_write = True
                self._set_up()
                self._migrate(version)
                self._check()
                self._forget_behind_gap()
                self._connection.execute(f"PRAGMA synchronous = {'FULL' if self.is_full else 'NORMAL'}")
            self.is_in_place()  # from now on
        except BaseException:
            with nullcontext() if may_write else wal_out_of_reach(self.path):
                self._connection.close()
            self._let_go()
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

    def _set_up(self) -> None:
        execute = self._connection.execute
        execute("PRAGMA auto_vacuum = INCREMENTAL")  # of use before the first table only
        (mode,) = execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise DiskFailed(f"{self.path} cannot be opened: its file system does not allow a write-ahead log")
        execute("PRAGMA synchronous = FULL")
        execute("PRAGMA fullfsync = 1")  # where a usual sync stops in the disk's own cache
        execute("PRAGMA checkpoint_fullfsync = 1")
        system = os.statvfs(self.path)
        most = min(WAL_BYTES, system.f_blocks * system.f_frsize // WAL_SHARE)
        execute(f"PRAGMA journal_size_limit = {most}")
        execute(f"PRAGMA wal_autocheckpoint = {max(1, most // PAGE_BYTES)}")

    def _migrate(self, version: int) -> None:
        for number in range(version, FORMAT):
            self._connection.executescript(f"BEGIN; {MIGRATIONS[number]} PRAGMA user_version = {number + 1}; COMMIT")

    def _check(self) -> None:
        """Look through the structure of the file; what is in the rows has checksums."""
        execute = self._connection.execute
        found = [text for (text,) in execute("PRAGMA integrity_check(1)") if text != "ok"]
        if found:
            raise DamagedData(f"{self.path} is damaged: {in_brief(found[0])}")
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
            return get_meta(self._connection, self.path, key)

    def begin(self, identity: Any, mark: Any) -> None:
        """Somebody writes from now on, and the file is in use. Durable when this returns; raises `DiskFailed`.

        The file proper knows of it too: whoever finds it without its WAL knows that something is missing.
        """
        self._needs_wal = True
        self._put_durably({"identity": identity, "mark": mark, "closed": None})
        with self._turn, self._failures("written"):
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def end(self, closed: Any, mark: Any) -> None:
        """Nobody writes any more, and everything is here. Durable when this returns; raises `DiskFailed`."""
        self._put_durably({"closed": closed, "mark": mark})
        self._needs_wal = False

    def _put_durably(self, values: Mapping[str, Any]) -> None:
        """All of it or nothing, whatever is promised of everything else; what is None is removed."""
        with self._turn, self._failures("written"):
            (usual,) = self._connection.execute("PRAGMA synchronous").fetchone()
            self._connection.execute("PRAGMA synchronous = FULL")
            with self._together() as execute:
                for key, value in values.items():
                    if value is None:
                        execute("DELETE FROM meta WHERE key = ?", (key,))
                    else:
                        self._put(key, value)
            self._connection.execute(f"PRAGMA synchronous = {usual}")

    def _put(self, key: str, value: Any) -> None:
        put_meta(self._connection, key, value)

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
            check_sum(self.path, found, number, sum_in(self.path, data))
        for *place, found, data in parts:
            check_sum(self.path, found, *place, sum_in(self.path, data))
        return Contents(
            Checkpoint(generation, log_from, head),
            [data for *_, data in parts],
            [data for *_, data in rows],
            last_row,
            max([each for each, *_ in parts], default=generation),
        )

    def write(self, transaction: Transaction, rows: Rows, number: int, mark: Any = None) -> None:
        """Write all of it or nothing, the row of the log under that number. Raises `DiskFailed`.

        ``mark`` belongs to the identity of the transaction.
        """
        with self._turn:
            self._write(transaction, rows, number, mark)

    def _write(self, transaction: Transaction, rows: Rows, number: int, mark: Any) -> None:
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
                self._put("mark", mark)
            if transaction.hints is not None:
                self._put("hints", transaction.hints)
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
        row = number, sum_of(number, data[:SUM_BYTES]), data
        self._connection.execute("INSERT OR REPLACE INTO log VALUES (?, ?, ?)", row)

    def is_in_place(self) -> bool:
        """True if the file and its WAL are still where they were: else nobody will find what is written to them."""
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
        row = *place, sum_of(*place, data[:SUM_BYTES]), data
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
            self._let_go()

    def _let_go(self) -> None:
        """SQLite removes the WAL then, if it could empty it. But where a file is in use, one that is missing was taken
        away: so there is an empty one."""
        in_place = self.is_in_place()
        self._connection.close()
        if in_place and self._needs_wal:
            with suppress(OSError):  # without it the next start takes the file for a copy: it is safe
                os.close(os.open(wal_of(self.path), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))

    def _failures(self, what: str) -> AbstractContextManager[None]:
        return failures(f"{self.path} cannot be {what}")
