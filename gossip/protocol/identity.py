"""Who a node is: an id of its own, and one replica id for each of its lives. Addresses are only hints.

A node writes under the replica id ``<node id>.<epoch>-<nonce>``, another one in each of its lives; a life without a
nonce has no dash. A node that keeps nothing may write under the id of one that has left; see `succession.lending`. No
life has the id ``<node id>.*``, the fence of the node: retiring a node forbids its fence. Only this module makes and
parses these ids.
"""

import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple, NewType

from crdts import Context, ReplicaId

from .errors import ConfigError

NODE_ID_BYTES: Final = 8
MAX_NAME_BYTES: Final = 64
MAX_EPOCH: Final = 1 << 32
"""A hundred million starts, at some dozens each; above it is absurd."""
EPOCH_DIGITS: Final = len(str(MAX_EPOCH))
"""Digits of an epoch at most: a longer text is no epoch, and Python refuses to read a very long one as a number."""
NONCE_CHARS: Final = 6
_NONCE_ALPHABET: Final = "abcdefghijkmnpqrstuvwxyz23456789"
_ANY_LIFE: Final = "*"

NodeId = NewType("NodeId", bytes)
"""The id of a node: `NODE_ID_BYTES` bytes, drawn once; it stays through all its lives."""
NOBODY: Final = NodeId(b"")
"""Stands for a node that has not said its id."""


class Address(NamedTuple):
    """Where a node can be reached; prints as host:port, with brackets around an IPv6 host."""

    host: str
    """An IP address as text."""
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Identity:
    """A node's id, its name for people, and its epoch, which grows by at least one at every start."""

    node_id: NodeId
    name: str
    epoch: int
    nonce: str = ""
    """Drawn for each life but the first of a node whose id is stored: two that go on from one copied store write under
    two ids. Of a node that has borrowed the id it writes under, that whole id."""

    def __post_init__(self) -> None:
        if len(self.node_id) != NODE_ID_BYTES:
            raise ConfigError(f"a node id is {NODE_ID_BYTES} bytes, not {len(self.node_id)}")
        check_name(self.name)
        if not 0 < self.epoch <= MAX_EPOCH:
            raise ConfigError(f"an epoch is a number from 1 to {MAX_EPOCH}, not {self.epoch}")
        if not is_nonce(self.nonce) and (type(self.nonce) is not str or life_of(self.nonce) is None):
            raise ConfigError(f"a nonce is up to {NONCE_CHARS} letters and digits, or a replica id, not {self.nonce!r}")

    @classmethod
    def fresh(cls, name: str, rng: random.Random) -> "Identity":
        """A node that has never been before."""
        return cls(NodeId(rng.randbytes(NODE_ID_BYTES)), name, 1)

    @classmethod
    def draw_nonce(cls, rng: random.Random) -> str:
        """Thirty bits, in letters and digits that people do not mix up."""
        return "".join(rng.choices(_NONCE_ALPHABET, k=NONCE_CHARS))

    @property
    def replica_id(self) -> ReplicaId:
        """The writer's id in every dot this process makes: never used by another process, nor by a later one."""
        return replica_id_of(self.node_id, self.epoch, self.nonce)


def is_nonce(value: object) -> bool:
    """True if ``value`` may end a replica id. It is empty for a life without a nonce."""
    return type(value) is str and len(value) <= NONCE_CHARS and (not value or (value.isascii() and value.isalnum()))


class Life(NamedTuple):
    """One life of a node, as its replica id names it."""

    node_id: NodeId
    epoch: int
    nonce: str
    """Empty if the life has none."""


def replica_id_of(node_id: NodeId, epoch: int, nonce: str) -> ReplicaId:
    """The replica id under which a node writes in one of its lives.

    ``nonce`` is the end of the id, or the id itself if it was borrowed.
    """
    if "." in nonce:
        return ReplicaId(nonce)
    return ReplicaId(f"{node_id.hex()}.{epoch}-{nonce}" if nonce else f"{node_id.hex()}.{epoch}")


def life_of(text: str) -> Life | None:
    """The life that writes under the replica id ``text``; None if it is not the id of a node's life."""
    parted = _parted(text)
    if parted is None:
        return None
    epoch, dash, nonce = parted[1].partition("-")
    if (
        len(epoch) > EPOCH_DIGITS
        or not (epoch.isascii() and epoch.isdigit())
        or (dash and not (nonce.isascii() and nonce.isalnum()))
    ):
        return None
    return Life(parted[0], int(epoch), nonce)


def fence_of(node_id: NodeId) -> ReplicaId:
    """The replica id that is forbidden when the node is retired."""
    return ReplicaId(f"{node_id.hex()}.{_ANY_LIFE}")


def is_fence(writer: ReplicaId) -> bool:
    """True if ``writer`` is the fence of a node."""
    return fenced_by(writer) is not None


def fenced_by(writer: ReplicaId) -> NodeId | None:
    """The id of the node whose fence ``writer`` is; None if it is no fence."""
    parted = _parted(writer) if writer.endswith(_ANY_LIFE) else None
    return parted[0] if parted is not None and parted[1] == _ANY_LIFE else None


def fences_in(writers: Iterable[ReplicaId]) -> list[NodeId]:
    """The ids of the nodes whose fences are among ``writers``, sorted."""
    some = [writer for writer in writers if writer.endswith(_ANY_LIFE)]  # of very many ids few are fences
    return [node_id for node_id in map(fenced_by, sorted(some)) if node_id is not None]


def node_of(writer: ReplicaId) -> NodeId | None:
    """The id of the node that a replica id belongs to, as a life or as the fence; None if it has another form."""
    parted = _parted(writer)
    return None if parted is None else parted[0]


def writers_of(context: Context, node_id: NodeId) -> list[ReplicaId]:
    """The replica ids of the node that have written something in ``context``, sorted."""
    return context.within(f"{node_id.hex()}.", f"{node_id.hex()}/").replicas()


def node_id_of(text: str) -> NodeId:
    """The node id that ``text`` spells in hexadecimal digits, as `Member.id` does; raises ValueError if it is none."""
    node_id = bytes.fromhex(text)
    if len(node_id) != NODE_ID_BYTES or node_id.hex() != text:
        raise ValueError(f"a node id is {2 * NODE_ID_BYTES} hexadecimal digits")
    return NodeId(node_id)


def _parted(text: str) -> tuple[NodeId, str] | None:
    node, dot, life = text.partition(".")
    if not dot or len(node) != 2 * NODE_ID_BYTES:
        return None
    try:
        node_id = bytes.fromhex(node)
    except ValueError:
        return None
    return (NodeId(node_id), life) if node_id.hex() == node else None


def check_name(name: str) -> None:
    """Raises `ConfigError` if a node cannot have that name."""
    if not isinstance(name, str) or not name_is_valid(name):
        raise ConfigError(f"a node name is 1 to {MAX_NAME_BYTES} bytes of printable text, not {name!r}")


@dataclass(frozen=True, slots=True)
class Hint:
    """A member to look for at the next start; see `hints.py`."""

    node_id: NodeId
    name: str
    epoch: int
    address: Address
    missed: int = 0
    """Lives of this node in a row in which the member was looked for in vain."""


def name_is_valid(name: str) -> bool:
    """True if ``name`` can name a node: short, printable, nothing that upsets a terminal."""
    return 0 < len(name.encode("utf-8", "replace")) <= MAX_NAME_BYTES and name.isprintable()
