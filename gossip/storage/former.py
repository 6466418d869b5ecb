"""Who wrote a node's data before, and what of it is sure: whether all is here that anybody was told of."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crdts import CrdtError, ReplicaId
from crdts.embedding import check_replica_id

from ..protocol.identity import NODE_ID_BYTES, NodeId
from .errors import DamagedData
from .origin import Mark
from .wal import Dropped


@dataclass(frozen=True, slots=True)
class Former:
    """Who wrote the database last."""

    node_id: NodeId
    epoch: int
    lives: tuple[ReplicaId, ...]
    """Replica ids, the last one's at the end."""
    full: tuple[ReplicaId, ...]
    """Those of them as whom nothing left the machine before it was on the disk."""
    ended: tuple[ReplicaId, ...]
    """Those of them that are over, with all that they ever wrote in the file."""
    mark: Mark | None
    is_closed: bool
    """True if the last one stopped in good order, so that everything is in the file."""

    def doubt(self, path: Path) -> str:
        """Why the file is not the one that was written here, for people; empty if nothing says so."""
        return self.mark.doubt(path) if self.mark else "its mark is missing"

    def cut(self, dropped: Dropped) -> str:
        """Why something that had been saved may be missing at the end; empty if nothing says so."""
        if not dropped.is_damage(power_stayed=self._power_stayed, was_synced=self._was_full):
            return ""
        return f"the write-ahead log is damaged: the last {dropped.transactions} transactions in it cannot be read"

    def sure(self) -> tuple[ReplicaId, ...]:
        """The lives that are known to have done nothing that is not here, if nothing is `cut`. None, if the last one
        may have: it may have spent what those before it held."""
        if self.is_closed or self._power_stayed:  # whatever was promised
            return tuple(dict.fromkeys([*self.full, *self.lives[-1:]]))
        return self.full if self._was_full else ()

    def over(self, path: Path) -> tuple[ReplicaId, ...]:
        """The lives that are over for certain, and of which nothing is missing here if nothing is `cut`.

        Not one behind a power loss: by what the file says it may be that of a disk that was copied, or put back, as a
        whole. Somebody may have more of that life, or even live it.
        """
        is_over = self.is_closed or (self.mark is not None and self.mark.is_where_it_was(path))
        return (*self.ended, *self.lives[-1:]) if is_over else self.ended

    @property
    def _was_full(self) -> bool:
        return self.lives[-1:] == self.full[-1:]

    @property
    def _power_stayed(self) -> bool:
        """True if nothing worse has happened since than the end of a process."""
        return self.mark is not None and self.mark.is_of_this_boot


def read_former(get: Callable[[str], Any], path: Path) -> Former | None:
    """From what ``get`` finds in the file at ``path``; None if nobody has written it yet. Raises `DamagedData`."""
    row = get("identity")
    if row is None:
        return None
    try:
        node_id, epoch = row["node_id"], row["epoch"]
        lives, full, ended = [tuple(map(check_replica_id, row[key])) for key in ("lives", "full", "ended")]
        if type(node_id) is not bytes or len(node_id) != NODE_ID_BYTES or type(epoch) is not int or epoch < 1:
            raise ValueError
        mark, is_closed = get("mark"), get("closed") is not None
        return Former(NodeId(node_id), epoch, lives, full, ended, Mark(**mark) if mark else None, is_closed)
    except (ValueError, KeyError, TypeError, CrdtError):
        raise DamagedData(f"{path}: the identity in it is none") from None
