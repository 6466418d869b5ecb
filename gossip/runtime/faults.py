"""Faults on demand in a real node's transport: for demos and tests, where pulling a cable is not at hand."""

import random

from ..protocol import Address
from ..protocol.errors import ConfigError


class TransportFaults:
    """A switch between a node and its sockets. Give the same object to `open_node` and change it at any time.

    Cutting is one-sided: to part two nodes, cut each from the other.
    """

    def __init__(self, *, loss: float = 0.0, seed: int = 0) -> None:
        """``loss`` is the share of outgoing datagrams dropped, decided from ``seed``; raises `ConfigError`."""
        if isinstance(loss, bool) or not isinstance(loss, int | float) or not 0 <= loss <= 1:
            raise ConfigError(f"loss is a share from 0 to 1, not {loss!r:.60}")
        self.loss = loss
        self._rng = random.Random(seed)
        self._cut: dict[Address, None] = {}

    def cut(self, *addresses: Address) -> None:
        """Let nothing pass to or from these addresses, each a `Node.address`; raises `ConfigError`."""
        for address in addresses:
            if not isinstance(address, Address):
                raise ConfigError(f"an address to cut is a gossip.Address, such as node.address; not {address!r:.60}")
        self._cut.update(dict.fromkeys(addresses))

    def heal(self) -> None:
        """Let everything pass again."""
        self._cut.clear()

    def separates(self, address: Address) -> bool:
        """True if nothing may pass to or from ``address``."""
        return address in self._cut

    def drops(self, address: Address) -> bool:
        """True if one datagram to ``address`` is to be dropped."""
        return address in self._cut or (self.loss > 0 and self._rng.random() < self.loss)
