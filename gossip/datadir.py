"""A node's data directory: one process at a time, an identity, and the control socket.

The identity file holds the node's id and the epoch of its last start. The epoch is raised and made durable before the
node says a word, so that no replica id is ever used by two processes.
"""

import fcntl
import json
import os
import random
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from .protocol import Identity
from .protocol.errors import ConfigError, DataDirInUse
from .protocol.identity import MAX_EPOCH, NODE_ID_BYTES

IDENTITY_FILE: Final = "identity.json"
LOCK_FILE: Final = "lock"


class DataDir:
    """An open data directory. Close it, or use it as a context manager."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Create the directory if needed (mode 0700) and lock it; raises `DataDirInUse` or `ConfigError`."""
        self.path = Path(path).absolute()
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(self.path / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(f"cannot use {self.path} as data directory: {error.strerror}; choose another") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(self._lock, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(self._lock)
            raise DataDirInUse(
                f"{self.path} is in use by process {owner}; stop it, or give this node another data directory"
            ) from None
        except OSError as error:
            os.close(self._lock)
            raise ConfigError(
                f"cannot lock {self.path}: {error.strerror}; choose a directory on a local disk"
            ) from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, str(os.getpid()).encode(), 0)

    def next_identity(self, name: str, rng: random.Random) -> Identity:
        """Who this process is: the stored node under its next epoch, or a new one. Durable when this returns."""
        file = self.path / IDENTITY_FILE
        try:
            stored = json.loads(file.read_text())
            node_id, epoch = bytes.fromhex(stored["node_id"]), stored["epoch"]
            if len(node_id) != NODE_ID_BYTES or type(epoch) is not int or not 0 < epoch < MAX_EPOCH:
                raise ValueError
        except FileNotFoundError:
            node_id, epoch = rng.randbytes(NODE_ID_BYTES), 0
        except OSError as error:
            raise ConfigError(f"cannot read {file}: {error.strerror}; let this user read it") from None
        except (ValueError, KeyError, TypeError, RecursionError):
            raise ConfigError(f"{file} is damaged; remove it to start as a new node") from None
        identity = Identity(node_id, name, epoch + 1)
        try:
            _write_durably(file, {"node_id": node_id.hex(), "epoch": identity.epoch, "name": name})
        except OSError as error:
            raise ConfigError(f"cannot write {file}: {error.strerror}; make room or choose another directory") from None
        return identity

    def close(self) -> None:
        os.close(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def _write_durably(file: Path, content: dict[str, Any]) -> None:
    """Replace ``file`` so that after a crash it holds the old content or the new, whole."""
    fresh = file.with_suffix(".new")
    with open(fresh, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as out:
        json.dump(content, out)
        out.flush()
        os.fsync(out.fileno())
    fresh.replace(file)
    directory = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
