"""A disk that fails: errors as SQLite raises them, at any statement."""

import shutil
import sqlite3
import subprocess
from functools import cache
from typing import Any, Final

from gossip.storage.database import Database

ERRORS: Final = {
    "SQLITE_FULL": "database or disk is full",
    "SQLITE_IOERR_WRITE": "disk I/O error",
    "SQLITE_IOERR_FSYNC": "disk I/O error",
    "SQLITE_READONLY": "attempt to write a readonly database",
}


class Faults:
    """Whether the disk fails, and how."""

    def __init__(self) -> None:
        self.count = 0
        """Statements so far."""
        self.raised = 0
        self._from: int | None = None
        self._name = "SQLITE_FULL"
        self._but_done = False

    def into(self, database: Database) -> Database:
        """Let these faults happen to it."""
        database._connection = Connection(database._connection, self)  # type: ignore[assignment]
        return database

    def begin(self, *, after: int = 0, name: str = "SQLITE_FULL", but_done: bool = False) -> None:
        """Fail from the next statement on, or from one that is so many later.

        ``but_done``: the first that fails has been carried out nevertheless.
        """
        self._from = self.count + after
        self._name, self._but_done = name, but_done

    def end(self) -> None:
        self._from = None

    def run(self, statement: Any, sql: str, *rest: Any) -> Any:
        number = self.count
        self.count += 1
        if self._from is None or number < self._from or sql == "ROLLBACK":  # which needs no disk
            return statement(sql, *rest)
        if self._but_done and number == self._from:
            statement(sql, *rest)
        self.raised += 1
        error = sqlite3.OperationalError(ERRORS[self._name])
        error.sqlite_errorname = self._name
        raise error


class Connection:
    """A connection to which these faults happen."""

    def __init__(self, connection: sqlite3.Connection, faults: Faults) -> None:
        self._connection = connection
        self._faults = faults

    def execute(self, sql: str, *rest: Any) -> Any:
        return self._faults.run(self._connection.execute, sql, *rest)

    def executescript(self, sql: str) -> Any:
        return self._faults.run(self._connection.executescript, sql)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


@cache
def may_mount() -> bool:
    """Whether this user may mount a file system that nobody else sees."""
    if shutil.which("unshare") is None or shutil.which("mount") is None:
        return False
    return subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode == 0
