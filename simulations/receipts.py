"""An oracle of receipts: what a member has pushed and another has saved is confirmed by receipts, in every life.

Digests confirm it as well, only later: without this rule nobody notices that receipts confirm nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gossip.protocol import Address
from gossip.protocol.messages import Receipt
from gossip.protocol.wire import decode_datagram, encode_message

from .cluster import Cluster
from .node import Node

_MARK: Final = encode_message(Receipt(1, 1, b"", 0))[:3]
"""How a receipt begins, wherever in a datagram that nobody has encrypted."""


@dataclass(slots=True)
class _Confirmed:
    """What one life of a member has had confirmed by another."""

    highest: int
    """The datagram up to which it knows that its pushes arrived."""
    saved: int
    """Up to which seq the other had saved its writes when it said so."""
    behind: bool = False
    """True if the last receipt told of less."""


class Receipts:
    """Reads the receipts of a cluster that does not encrypt.

    A receipt of a later push that comes from a member whose disk has everything tells of all that this disk had when
    the receipt before it was sent. Two in a row that do not are a failure: the sender may not have known at first what
    the other writes under.
    """

    def __init__(self, fail: Callable[[str, str, Node | None], None]) -> None:
        self._fail = fail
        self._cluster: Cluster | None = None
        self._confirmed: dict[tuple[str, str], _Confirmed] = {}
        """By the replica ids of the sender and of the writer whose pushes it confirms."""

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
                if isinstance(message, Receipt):
                    self._weigh(pair[0], pair[1], message)

    def _weigh(self, sender: Node, writer: Node, receipt: Receipt) -> None:
        key = sender.replica.replica_id, writer.replica.replica_id
        saved = sender.replica.store.kernel.context.prefix(key[1])
        before = self._confirmed.get(key)
        if before is None or receipt.highest < before.highest:
            self._confirmed[key] = _Confirmed(receipt.highest, saved)
            return
        if receipt.highest == before.highest:
            return
        behind = receipt.saved < before.saved and self._knows(sender, writer)
        if behind and before.behind:
            what = f"{key[1]}:{before.saved} is saved, and what is confirmed of it ends at {receipt.saved}"
            self._fail("receipts confirm what was pushed and saved", what, sender)
        self._confirmed[key] = _Confirmed(receipt.highest, saved, behind)

    def _knows(self, sender: Node, writer: Node) -> bool:
        """True if the sender can mean only this life of this writer: it has heard the writer's replica id, and knows
        nobody else at the writer's address."""
        nodes = self._cluster.nodes if self._cluster is not None else []
        if sum(node.who == writer.who for node in nodes) > 1:
            return False  # copies of one node: either may have been meant
        there = [member for member in sender.engine.members(sender.now) if member.address == writer.address]
        return [member.replica_id for member in there] == [writer.replica.replica_id]


def _at(cluster: Cluster, address: Address) -> Node | None:
    """The running node at an address."""
    host = cluster.network.hosts.get(address)
    return host if isinstance(host, Node) else None
