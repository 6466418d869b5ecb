"""The oracle of receipts: they confirm what a member has pushed and another one has saved, in every life of both.

Digests confirm the same, only later. So without this oracle no test would notice receipts that confirm nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from gossip.protocol import Address
from gossip.protocol.wire.codec import decode_datagram, encode_message
from gossip.protocol.wire.messages import Receipt

from ..world.cluster import Cluster
from ..world.node import Node

_MARK: Final = encode_message(Receipt(1, 1, b"", 0))[:3]
"""The first bytes of every receipt, to be found anywhere in a datagram that is not encrypted."""


_Writing: TypeAlias = tuple[Address, str]
"""Where a node is, and its replica id: a node elsewhere may have written under that id before."""


@dataclass(slots=True)
class _Confirmed:
    """What the receipts of one member have confirmed so far to one life of another, the writer."""

    highest: int
    """The number of the writer's last push that the last receipt knows of."""
    saved: int
    """The writer's seq up to which the member had saved when it sent that receipt."""
    behind: bool = False
    """True if that receipt told of less than was saved at the one before."""


class Receipts:
    """Reads the receipts of a cluster that does not encrypt.

    A receipt for a later push, from a member whose disk has everything, tells at least what the disk had at the receipt
    before. Two receipts in a row that tell less are a failure. One is none, as the member may not have known yet under
    which replica id the writer writes.
    """

    def __init__(self, fail: Callable[[str, str, Node | None], None]) -> None:
        self._fail = fail
        self._cluster: Cluster | None = None
        self._confirmed: dict[tuple[_Writing, _Writing], _Confirmed] = {}
        """By the node that sends receipts, and the node whose pushes they confirm."""

    def watch(self, cluster: Cluster) -> None:
        """Read the receipts of this cluster from now on."""
        self._cluster = cluster
        cluster.network.taps.append(self._sent)

    def _sent(self, source: Address, target: Address, data: bytes) -> None:
        cluster = self._cluster
        if cluster is None or _MARK not in data:
            return
        pair = [node for node in (_at(cluster, source), _at(cluster, target)) if node is not None]
        if len(pair) == 2 and pair[0].engine.durable:  # else the receipt may tell of what the disk had a moment ago
            for message in decode_datagram(cluster.seal.open(data))[2]:
                if isinstance(message, Receipt) and message.epoch == pair[1].engine.identity.epoch:
                    self._weigh(pair[0], pair[1], message)

    def _weigh(self, sender: Node, writer: Node, receipt: Receipt) -> None:
        key = _writing(sender), _writing(writer)
        saved = sender.replica.store.kernel.context.prefix(writer.replica.replica_id)
        before = self._confirmed.get(key)
        if before is None:
            self._confirmed[key] = _Confirmed(receipt.highest, saved)
            return
        if receipt.highest <= before.highest:  # the same again, or an old receipt that the network brings once more
            return
        behind = receipt.saved < before.saved and self._knows(sender, writer)
        if behind and before.behind:
            told = f"is saved, and what is confirmed of it ends at {receipt.saved}"
            what = f"{writer.replica.replica_id}:{before.saved} {told}"
            self._fail("receipts confirm what was pushed and saved", what, sender)
        self._confirmed[key] = _Confirmed(receipt.highest, saved, behind)

    def _knows(self, sender: Node, writer: Node) -> bool:
        """True if the sender can only mean this life of this writer: it knows the writer's replica id, and lists no
        other member at the writer's address."""
        nodes = self._cluster.nodes if self._cluster is not None else []
        if sum(node.who == writer.who for node in nodes) > 1:
            return False  # copies of one node: either may have been meant
        there = [member for member in sender.engine.members(sender.now) if member.address == writer.address]
        return [member.replica_id for member in there] == [writer.replica.replica_id]


def _writing(node: Node) -> _Writing:
    return node.address, node.replica.replica_id


def _at(cluster: Cluster, address: Address) -> Node | None:
    """The running node at an address."""
    host = cluster.network.hosts.get(address)
    return host if isinstance(host, Node) else None
