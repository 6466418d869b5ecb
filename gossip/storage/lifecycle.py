"""A node's stored data, around its life: read in a thread before it, closed in order behind it."""

import random
from functools import partial
from pathlib import Path
from typing import Any

import trio

from ..log import DATA_CUT, DATA_DAMAGED, DATA_UNREAD, DISK_FAILED
from ..protocol import notices
from .backlog import UNSAVED_BATCHES
from .database import NONE
from .datadir import DataDir
from .errors import StorageError
from .files import DATABASE_FILE
from .patience import run_patiently
from .recovery import Opened, open_data


async def open_stored(
    directory: DataDir | None, name: str, rng: random.Random, durability: str, log: Any
) -> Opened | None:
    """What the directory holds, or nothing if nothing is promised; raises `StorageError` or `ConfigError`."""
    if directory is None:
        return None
    if durability == NONE:
        if (directory.path / DATABASE_FILE).exists():
            log.warning(
                DATA_UNREAD,
                directory=str(directory.path),
                durability=NONE,
                advice="the data that is kept there is left as it is and not read; to have it, start with "
                "durability full or normal",
            )
        return None
    read = partial(open_data, directory.path, name, rng, durability=durability)
    limiter = trio.CapacityLimiter(1)
    try:
        opened = await run_patiently(read, limiter)
    finally:
        if limiter.borrowed_tokens:  # it was given up
            directory.keep()
    if opened.damage:
        log.error(
            DATA_DAMAGED,
            why=opened.damage,
            set_aside=_names(opened.set_aside, opened.kept_wal),
            id=opened.identity.node_id.hex(),
            advice="what others have comes back from them; what nobody else had is only in that file, or in a backup",
        )
    if opened.cut:
        log.error(
            DATA_CUT,
            why=opened.cut,
            set_aside=_names(opened.kept_wal),
            advice="the last writes before the crash may be missing here; the damaged log is kept under that name, and "
            "what others have comes back from them; what nobody else had is only in a backup, if at all; check the "
            "disk",
        )
    if opened.forked:
        former_id = opened.former_id.hex()
        log.warning(notices.IDENTITY_FORKED, why=opened.forked, id=opened.identity.node_id.hex(), former_id=former_id)
    return opened


def _names(*files: Path | None) -> str:
    return " and ".join(str(file) for file in files if file is not None) or "nothing"


async def close_stored(
    opened: Opened, directory: DataDir, log: Any, *, unsaved: int, failure: str | None, is_saved: bool
) -> str | None:
    """Let go of the file. Returns what has become of the data if that is not well, for people.

    ``unsaved`` batches are not on the disk, because of that ``failure``, if there is one. If the disk does not answer,
    the directory stays locked.
    """
    try:
        await opened.disk.close(opened.replica.fingerprint if is_saved else None)
    except StorageError as error:
        failure = failure or str(error)
    if opened.disk.is_busy:
        directory.keep()
    if failure is None:  # what came from others in the last moments, if anything, comes from them again
        return None
    loss = f"everything is saved, but {failure}" if is_saved else _loss(opened, unsaved, failure)
    log.error(DISK_FAILED, problem=loss)
    return loss


def _loss(opened: Opened, unsaved: int, failure: str) -> str:
    number = f"{unsaved} {'batch' if unsaved == 1 else 'batches'} of changes"
    if opened.disk.is_replacing:
        number = f"more than {max(unsaved, UNSAVED_BATCHES)} batches of changes"
    return f"{number} could not be saved, and what was written here is lost: {failure}"
