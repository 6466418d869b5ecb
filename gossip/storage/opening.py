"""Opening a node's data: who it is this time, and all that it had."""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from crdts import Replica

from ..protocol import Identity
from ..protocol.identity import NODE_ID_BYTES
from .database import FULL, Database
from .errors import DamagedData, DiskFailed
from .files import DATABASE_FILE, sync, wal_of
from .ledger import Ledger
from .marks import MARK_FILE, Mark, read_mark, set_mark
from .records import identity_row, read_into
from .writer import DatabaseDisk

DAMAGED: Final = "damaged"
FORMER_LIVES: Final = 1024
"""Earlier lives of a node that are remembered, to be closed and told from others': those that wrote, and"""
LATEST_LIVES: Final = 16
"""the last of them all, of which others may know more."""
EPOCH_STEP: Final = 64
"""By how much an epoch grows at most: by a random number, so that two that go on from one copied file are hardly ever
of the same epoch, and are told apart before either has written anything."""


@dataclass(slots=True)
class Opened:
    """A node's data, ready to go on."""

    identity: Identity
    replica: Replica
    disk: DatabaseDisk
    lives: tuple[str, ...]
    """The replica ids of earlier lives, the latest last."""
    forked: str = ""
    """Why it goes on as a new node although there was one; empty if it does not."""
    set_aside: Path | None = None
    """Where a damaged file was put, and"""
    damage: str = ""
    """what was wrong with it."""


@dataclass(frozen=True, slots=True)
class _Former:
    """Who wrote the database last."""

    node_id: bytes
    epoch: int
    lives: tuple[str, ...]
    full: tuple[str, ...]
    """Those of them that had `FULL` durability."""


def open_data(directory: Path, name: str, rng: random.Random, *, durability: str = FULL) -> Opened:
    """Read everything, and begin a new life, durably. Takes some microseconds for each entry; call it in a thread.

    A damaged file is set aside, never removed, and the node begins anew. Raises `StorageError`.
    """
    path = directory / DATABASE_FILE
    _finish_setting_aside(path)
    try:
        return _open(path, name, rng, durability)
    except DamagedData as error:
        damage, set_aside = str(error), _set_aside(path)
    opened = _open(path, name, rng, durability)
    opened.set_aside, opened.damage = set_aside, damage
    return opened


def _open(path: Path, name: str, rng: random.Random, durability: str) -> Opened:
    is_new = not path.exists()
    lost = is_new and (path.parent / MARK_FILE).exists()
    mark = Mark() if is_new else read_mark(path)
    copied = mark.doubt
    if not is_new and not copied:
        if not path.stat().st_size:
            raise DamagedData(f"{path} is empty")  # before anything is made of it
        _mark_as_used(path, mark.epoch)  # first, as whatever opens the file may change it, even if the start then fails
    database = Database(path, durability=durability)
    try:
        former = _read_former(database)
        if former is None and not is_new and not copied:
            raise DamagedData(f"{path} has lost all that was in it")
        if former is not None and former.epoch < mark.epoch:
            copied = copied or "it is older than its mark"
        identity, lives, full = _next_life(former, name, rng, is_copy=bool(copied))
        if mark.closed:  # whatever was promised of the last one: all of it is here
            full = tuple(dict.fromkeys([*full, *lives[-1:]]))
        elif lives and lives[-1] not in full:
            full = ()  # it may have spent what those before it held, and this file does not know
        replica = Replica(identity.replica_id)
        contents = database.contents()
        read_into(replica, contents)
        _check_fingerprint(database, contents.last_row, replica)
        kernel = replica.store.kernel
        wrote = kernel.context.last
        lives = (*filter(wrote, lives[:-LATEST_LIVES]), *lives[-LATEST_LIVES:])[-FORMER_LIVES:]
        kernel.former = full = tuple(filter(wrote, full))
        database.put("identity", identity_row(identity, lives, full, is_full=database.is_full))  # before it says a word
        _mark_as_used(path, identity.epoch)
    except BaseException:
        database.close()
        raise
    disk = DatabaseDisk(database, Ledger(replica.store.kernel, contents), identity.epoch)
    forked = copied if former else ""
    return Opened(identity, replica, disk, lives, forked, damage=f"{path} is gone" if lost else "")


def _read_former(database: Database) -> _Former | None:
    row = database.get("identity")
    if row is None:
        return None
    try:
        node_id, epoch, lives, full = row["node_id"], row["epoch"], row["lives"], row["full"]
        if type(node_id) is not bytes or len(node_id) != NODE_ID_BYTES or type(epoch) is not int or epoch < 1:
            raise ValueError
        return _Former(node_id, epoch, tuple(map(str, lives)), tuple(map(str, full)))
    except (ValueError, KeyError, TypeError):
        raise DamagedData(f"{database.path}: the identity in it is none") from None


def _next_life(
    former: _Former | None, name: str, rng: random.Random, *, is_copy: bool
) -> tuple[Identity, tuple[str, ...], tuple[str, ...]]:
    """Who it is now, who it was, and as whom nothing left the machine before it was safe."""
    if former is None or is_copy:
        return Identity.fresh(name, rng), (), ()
    epoch = former.epoch + rng.randint(1, EPOCH_STEP)
    identity = Identity(former.node_id, name, epoch, Identity.draw_nonce(rng))
    return identity, former.lives, former.full


def _mark_as_used(path: Path, epoch: int) -> None:
    try:
        set_mark(path, epoch, closed=False)
    except OSError as error:
        raise DiskFailed(f"the mark beside {path} cannot be written: {error.strerror}") from None


def _check_fingerprint(database: Database, last_row: int, replica: Replica) -> None:
    """What was closed in good order holds what it held then; raises `DamagedData`."""
    closed = database.get("closed")
    if closed is not None and closed[0] == last_row and closed[1] != replica.fingerprint:
        raise DamagedData(f"{database.path} does not hold what the node had when it stopped")


def _set_aside(path: Path) -> Path:
    """Rename a damaged file, and then its WAL: without that it must never be opened. Raises `DiskFailed`."""
    aside = _asides(path)[-1]
    try:
        path.rename(aside)
        sync(path.parent)
    except OSError as error:
        raise DiskFailed(f"{path} is damaged and cannot be renamed: {error.strerror}") from None
    _finish_setting_aside(path)
    return aside


def _finish_setting_aside(path: Path) -> None:
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
        raise DiskFailed(f"{wal} belongs to a file that is gone and cannot be renamed: {error.strerror}") from None


def _asides(path: Path) -> list[Path]:
    """The names that damaged files were given so far, and the next one."""
    names: list[Path] = []
    while not names or names[-1].exists() or wal_of(names[-1]).exists():
        names.append(path.with_name(f"{path.name}.{DAMAGED}-{len(names) + 1}"))
    return names
