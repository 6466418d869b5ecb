"""Damaged files are set aside: renamed, or copied where they are still needed, but never removed."""

import filecmp
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from .errors import DiskFailed
from .files import sync, wal_of
from .sqlite import failures

DAMAGED: Final = "damaged"


def set_aside(path: Path) -> Path:
    """Rename a damaged file, and then its WAL: without that it must never be opened. Raises `DiskFailed`."""
    aside = _asides(path)[-1]
    try:
        path.rename(aside)
        sync(path.parent)
    except OSError as error:
        raise DiskFailed(
            f"{path} is damaged and cannot be renamed: {error.strerror}; make its directory writable, or move it away"
        ) from None
    finish_setting_aside(path)
    return aside


def finish_setting_aside(path: Path) -> None:
    """Rename a WAL that was left behind when its file was set aside, or taken away; raises `DiskFailed`."""
    wal = wal_of(path)
    if path.exists() or not wal.exists():
        return
    asides = _asides(path)
    owner = asides[-2] if len(asides) > 1 and not wal_of(asides[-2]).exists() else asides[-1]
    try:
        wal.rename(wal_of(owner))
        sync(path.parent)
    except OSError as error:
        raise DiskFailed(
            f"{wal} belongs to a file that is gone and cannot be renamed: {error.strerror}; move it away"
        ) from None


def _asides(path: Path) -> list[Path]:
    """The names that damaged files were given so far, and the next one."""
    names: list[Path] = []
    while not names or names[-1].exists() or wal_of(names[-1]).exists():
        names.append(path.with_name(f"{path.name}.{DAMAGED}-{len(names) + 1}"))
    return names


# ---- a WAL of which the end is not taken


def keep_wal(path: Path) -> None:
    """Copy the WAL of a file, durably, before anything is written that would go over it; raises `DiskFailed`.

    Until the copy is given its number, by `number_kept_wal`, whoever opens the file knows that something is missing,
    whatever has become of the WAL by then.
    """
    wal, kept = wal_of(path), _kept(path)
    fresh = kept.with_name(f"{kept.name}.new")
    with failures(f"{wal} is damaged and cannot be copied beside it, which must be before it is used"):
        if kept.exists() and filecmp.cmp(wal, kept, shallow=False):  # by an earlier start, which came no further
            return
        number_kept_wal(path)
        try:
            os.close(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600))
            shutil.copyfile(wal, fresh)
            sync(fresh)
            fresh.rename(kept)
            sync(kept.parent)
        finally:
            fresh.unlink(missing_ok=True)


def has_kept_wal(path: Path) -> bool:
    """True if there is a copy that was not given its number: nobody has begun a life since it was made."""
    return _kept(path).exists()


def number_kept_wal(path: Path) -> Path | None:
    """Give a copy its number, durably, if there is one that has none; returns its name. Raises `DiskFailed`."""
    kept = _kept(path)
    if not kept.exists():
        return None
    number = 1
    while (numbered := kept.with_name(f"{kept.name}-{number}")).exists():
        number += 1
    with failures(f"{kept} cannot be renamed"):
        kept.rename(numbered)
        sync(kept.parent)
    return numbered


def _kept(path: Path) -> Path:
    return path.with_name(f"{wal_of(path).name}.{DAMAGED}")


@contextmanager
def wal_out_of_reach(path: Path) -> Iterator[None]:
    """Let SQLite, which removes a WAL when it lets go of its file, find none. A crash meanwhile leaves it as a copy
    that `keep_wal` has made."""
    wal, kept = wal_of(path), _kept(path)
    away = kept if not kept.exists() else kept.with_name(f"{kept.name}.new")
    try:
        with suppress(OSError):  # there is none, or no name can be changed here, and then none is removed either
            wal.rename(away)
        yield
    finally:
        with suppress(OSError):
            away.rename(wal)
