"""What the shared state says of nodes that were retired: they are fenced, in every life they ever had or will have.

A node writes under one id for each of its lives, ``<node id>.<epoch>-<nonce>``; one that keeps nothing has no nonce.
Beside these stands one that no life has, ``<node id>.*``: retiring a node forbids that one. Like every closed writer it
takes no room in any context, travels with events and with states alike, and stays for good.
"""

from typing import Final

from crdts.kernel import Kernel
from crdts.schema import RETIRED

from .identity import NODE_ID_BYTES

_ANY: Final = "*"


def fence_of(node_id: bytes) -> str:
    """The id that is forbidden when the node is retired."""
    return f"{node_id.hex()}.{_ANY}"


def is_fenced(kernel: Kernel, node_id: bytes) -> bool:
    """Whether the node was retired, as far as this replica has heard."""
    return bool(kernel.limits) and fence_of(node_id) in kernel.limits


def fenced_nodes(kernel: Kernel) -> list[bytes]:
    """The ids of all nodes that were retired, in order."""
    found = [_parted(writer) for writer in sorted(kernel.limits)]
    return [each[0] for each in found if each is not None and each[1] == _ANY]


def count_closures(kernel: Kernel) -> int:
    """The live entries that say of writers that they are fenced or over: none of them is anybody's data."""
    return sum(map(len, kernel.places(RETIRED).values()))


def life_of(writer: str) -> tuple[bytes, int] | None:
    """The node and the epoch that write under this id; None if it is no node's."""
    parted = _parted(writer)
    if parted is None:
        return None
    epoch, dash, nonce = parted[1].partition("-")
    if not (epoch.isascii() and epoch.isdigit()) or (dash and not (nonce.isascii() and nonce.isalnum())):
        return None
    return parted[0], int(epoch)


def _parted(writer: str) -> tuple[bytes, str] | None:
    text, dot, life = writer.partition(".")
    if not dot or len(text) != 2 * NODE_ID_BYTES:
        return None
    try:
        node_id = bytes.fromhex(text)
    except ValueError:
        return None
    return (node_id, life) if node_id.hex() == text else None
