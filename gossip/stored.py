"""A node's stored data, around its life: read in a thread before it, closed in order behind it."""

import random
from functools import partial
from typing import Any

import trio

from .datadir import DataDir
from .log import DATA_CUT, DATA_DAMAGED, DATA_UNREAD, DISK_FAILED
from .protocol import notices
from .storage.database import NONE
from .storage.errors import StorageError
from .storage.files import DATABASE_FILE
from .storage.opening import Opened, open_data


async def open_stored(
    directory: DataDir | None, name: str, rng: random.Random, durability: str, log: Any
) -> Opened | None:
    """What the directory holds, or nothing if nothing is promised; raises `StorageError` or `ConfigError`."""
    if directory is None:
        return None
    if durability == NONE:
        if (directory.path / DATABASE_FILE).exists():
            log.warning(DATA_UNREAD, directory=str(directory.path), durability=NONE)
        return None
    read = partial(open_data, directory.path, name, rng, durability=durability)
    opened = await trio.to_thread.run_sync(read)
    if opened.damage:
        log.error(
            DATA_DAMAGED,
            why=opened.damage,
            set_aside=str(opened.set_aside or "nothing"),
            id=opened.identity.node_id.hex(),
            advice="what others have comes back from them; what nobody else had is only in that file, or in a backup",
        )
    if opened.cut:
        log.error(
            DATA_CUT,
            why=opened.cut,
            advice="what the file itself lacks of them comes back from others, if they have it; look at the disk",
        )
    if opened.forked:
        log.warning(notices.IDENTITY_FORKED, why=opened.forked, id=opened.identity.node_id.hex())
    return opened


async def close_stored(opened: Opened, log: Any, *, is_saved: bool) -> None:
    """Let go of the file; that something could not be saved was told before."""
    try:
        await opened.disk.close(opened.replica.fingerprint if is_saved else None)
    except StorageError as error:
        log.error(DISK_FAILED, problem=str(error))
