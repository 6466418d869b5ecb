"""Opening a node's data: who it is this time, and all that it had."""

import random
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from crdts import Replica, ReplicaId
from crdts.embedding import Kernel, receivers

from ..protocol import Identity
from .checkpointer import Ledger
from .database import FULL, Database
from .errors import DamagedData
from .files import DATABASE_FILE, check_is_no_link
from .former import Former, read_former
from .origin import make_mark, marks_in, remove_marks, remove_other_marks
from .quarantine import finish_setting_aside, has_kept_wal, keep_wal, number_kept_wal, set_aside
from .rows import Past, identity_row, read_into
from .sqlite import failures, lacks_wal
from .writer import DatabaseDisk

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
    past: Past
    """Who it was before."""
    forked: str = ""
    """Why it goes on as a new node although there was one; empty if it does not."""
    set_aside: Path | None = None
    """Where a damaged file was put, and"""
    damage: str = ""
    """what was wrong with it."""
    cut: str = ""
    """Why something may be missing at the end of what was written, although it had been saved."""
    kept_wal: Path | None = None
    """Where a copy of the damaged WAL is that this was in."""
    hints: object = None
    """The members that the node knew before, for `decode_hints`; None if none were kept."""
    former_id: bytes = b""
    """Who wrote the file before, if anybody did: another node if it is forked."""


def open_data(directory: Path, name: str, rng: random.Random, *, durability: str = FULL) -> Opened:
    """Read everything, and begin a new life, durably. Takes some microseconds for each entry; call it in a thread.

    A damaged file is set aside, never removed, and the node begins anew. Raises `StorageError`, or `ConfigError` for a
    link in place of the file.
    """
    path = directory / DATABASE_FILE
    check_is_no_link(path)
    finish_setting_aside(path)
    try:
        return _open(path, name, rng, durability)
    except DamagedData as error:
        damage, aside = str(error), set_aside(path)
    opened = _open(path, name, rng, durability)
    opened.set_aside, opened.damage = aside, damage
    return opened


def _open(path: Path, name: str, rng: random.Random, durability: str) -> Opened:
    is_gone, hints = _look_for_the_file(path), None
    copied = _missing_wal(path)
    database = Database(path, durability=durability, before_writing=_keep_damaged_wal)
    try:
        former = read_former(database.get, path)
        cut = _cut(former, database)
        if former is not None:
            copied = copied or former.doubt(path)
        identity = Identity.fresh(name, rng)
        past = Past()
        if former is not None and not copied:
            identity = _next_life(former, name, rng)
            past = Past(former.lives, former.sure(), former.over(path))
            past = replace(past, full=(), ended=former.ended) if cut else past
        replica = Replica(identity.replica_id)
        with suppress(DamagedData):  # a node can start without hints
            hints = database.get("hints")
        contents = database.contents()
        read_into(replica, contents)
        _check_fingerprint(database, contents.last_row, replica)
        kernel = replica.store.kernel
        past = _worth_keeping(kernel, past)
        kernel.former = past.full
        _begin(database, identity_row(identity, past, is_full=database.is_full))  # before it says a word
        kept_wal = number_kept_wal(path)
    except BaseException:
        database.close()
        raise
    opened = Opened(identity, replica, DatabaseDisk(database, Ledger(kernel, contents)), past)
    opened.damage = f"{path} is gone" if is_gone else ""
    opened.kept_wal, opened.cut, opened.hints = kept_wal, cut, hints
    if former is not None:
        opened.forked, opened.former_id = copied, former.node_id
    return opened


def _keep_damaged_wal(database: Database) -> None:
    """Keep the WAL if something may be missing that is only there."""
    former = read_former(database.get, database.path)
    if former is not None and former.cut(database.dropped):
        keep_wal(database.path)


def _cut(former: Former | None, database: Database) -> str:
    """Why something that had been saved may be missing at the end; empty if nothing says so."""
    if former is None:
        return ""
    if cut := former.cut(database.dropped):
        return cut
    return "the write-ahead log was damaged, as a start found that came no further" * has_kept_wal(database.path)


def _look_for_the_file(path: Path) -> bool:
    """True if the database is gone. Raises `DamagedData` for one that was emptied, which SQLite would fill."""
    with failures(f"{path.parent} cannot be read"):
        was_there = bool(marks_in(path.parent))
        if was_there and path.exists() and not path.stat().st_size:
            raise DamagedData(f"{path} is empty")
        return was_there and not path.exists()


def _missing_wal(path: Path) -> str:
    """Why a file whose WAL is not there goes as a copy."""
    if not path.exists() or not lacks_wal(path):
        return ""
    with failures(f"the marks beside {path} cannot be removed"):
        remove_marks(path.parent)  # first: whoever opens the file makes a WAL, even if the start then fails
    return "its write-ahead log is missing: the latest writes are not in it"


def _next_life(former: Former, name: str, rng: random.Random) -> Identity:
    epoch = former.epoch + rng.randint(1, EPOCH_STEP)
    return Identity(former.node_id, name, epoch, Identity.draw_nonce(rng))


def _worth_keeping(kernel: Kernel, past: Past) -> Past:
    """Without the lives of which there is nothing."""
    wrote, lives = kernel.context.last, past.lives
    lives = (*filter(wrote, lives[:-LATEST_LIVES]), *lives[-LATEST_LIVES:])[-FORMER_LIVES:]
    ended = [life for life in past.ended if life in lives]
    return Past(lives, _holding(kernel, past.full), tuple(ended))


def _holding(kernel: Kernel, lives: tuple[ReplicaId, ...]) -> tuple[ReplicaId, ...]:
    """Those of them that may hold rights: they wrote, or were given some, or others may have done that just now."""
    earlier, latest = lives[:-LATEST_LIVES], lives[-LATEST_LIVES:]
    silent = [life for life in earlier if not kernel.context.last(life)]
    given = receivers(kernel) if silent else {}
    return (*(life for life in earlier if kernel.context.last(life) or life in given), *latest)


def _begin(database: Database, identity: dict[str, object]) -> None:
    with failures(f"the mark beside {database.path} cannot be written"):
        mark = make_mark(database.path)
    database.begin(identity, asdict(mark))
    remove_other_marks(database.path, mark)


def _check_fingerprint(database: Database, last_row: int, replica: Replica) -> None:
    """What was closed in good order holds what it held then; raises `DamagedData`."""
    closed = database.get("closed")
    if closed is not None and closed[0] == last_row and closed[1] != replica.fingerprint:
        raise DamagedData(f"{database.path} does not hold what the node had when it stopped")
