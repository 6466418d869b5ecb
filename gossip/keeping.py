"""What becomes of a node's data beyond its process: where it is kept, how that is going, and copies of it."""

import os
from dataclasses import dataclass
from pathlib import Path

from .protocol.errors import ConfigError
from .runtime.driver import Driver
from .storage.database import NONE
from .storage.writer import DatabaseDisk


@dataclass(frozen=True, slots=True)
class Storage:
    """Where a node's data is, and how that is going."""

    durability: str
    """What is promised: ``"full"``, ``"normal"`` or ``"none"``."""
    directory: str | None
    """The data directory; None if there is none."""
    bytes_on_disk: int
    """What the data takes there since it was written to last; 0 if it is in memory only."""
    unsaved_batches: int
    """Batches of events that are not safe yet; more than a few only if the disk is slow, or takes nothing."""
    failure: str | None
    """Why nothing can be saved at present; None while all is well."""


class Keeper:
    """Answers for what a node keeps."""

    def __init__(self, driver: Driver, disk: DatabaseDisk | None, directory: Path | None, durability: str) -> None:
        self._driver = driver
        self._disk = disk
        self._directory = directory
        self._durability = NONE if disk is None else durability

    def storage(self) -> Storage:
        """How it is now."""
        return Storage(
            self._durability,
            None if self._directory is None else str(self._directory),
            0 if self._disk is None else self._disk.bytes_on_disk,
            self._driver.unsaved_batches,
            self._driver.disk_failure,
        )

    async def back_up(self, path: str | os.PathLike[str], *, replace: bool) -> int:
        """See `Node.backup`."""
        if self._disk is None:
            raise ConfigError(
                "this node keeps its data in memory only, there is no file to copy; `gossip export` writes it down"
            )
        if not isinstance(path, str | os.PathLike):
            raise ConfigError(f"the path of a backup is text or a Path, not {path!r:.60}")
        if not os.fspath(path):
            raise ConfigError("the path of the backup is empty; name a file")
        return await self._disk.back_up(Path(path).absolute(), replace=replace)
