"""What no program may do to a data directory: make its mark fit it, and make its end another one than it was."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path

from gossip.storage.database import Database
from gossip.storage.files import DATABASE_FILE, wal_of
from gossip.storage.origin import Mark, make_mark, marks_in, remove_marks


def change(directory: Path, how: Callable[[Database], object]) -> None:
    """Change the database and nothing else, in one transaction."""
    with closing(Database(directory / DATABASE_FILE)) as database, database._together():
        how(database)


def recorded(database: Database) -> Mark:
    return Mark(**database.get("mark"))


def fit_mark(directory: Path) -> None:
    """As where a whole machine was copied, or rolled back, with its disk: nothing on it gives that away."""

    def fit(database: Database) -> None:
        database._put("mark", asdict(make_mark(directory / DATABASE_FILE)))

    def name(database: Database) -> None:
        remove_marks(directory, but=recorded(database))

    change(directory, fit)
    change(directory, name)


def not_closed(directory: Path, *, power_failed: bool) -> None:
    """As if the last process had not stopped, but had been killed, or its machine had been."""

    def forget(database: Database) -> None:
        database._connection.execute("DELETE FROM meta WHERE key = 'closed'")
        if power_failed:
            database._put("mark", asdict(replace(recorded(database), boot="another")))

    change(directory, forget)
    wal_of(directory / DATABASE_FILE).touch()


def mark_of(directory: Path) -> Path:
    (mark,) = marks_in(directory)
    return mark


def named(directory: Path) -> list[str]:
    """What is in a directory, whatever its mark is called."""
    marks = marks_in(directory)
    return sorted("mark" if file in marks else file.name for file in directory.iterdir())
