"""Draws a few members uniformly at random: to flood news to, or to help with a probe.

The caller gives all members that are present, or those of the node's view in a large cluster.
"""

import random
from collections.abc import Sequence

from ..identity import NodeId
from .peers import Peer


def sample_targets(alive: Sequence[Peer], fanout: int, rng: random.Random, *, but: NodeId | None = None) -> list[Peer]:
    """At most ``fanout`` of the members, without the one whose id is ``but``. Costs the same however many they are."""
    # One more than wanted is drawn, to take the place of the one that is left out, should it be among them.
    drawn = alive if len(alive) <= fanout else rng.sample(alive, fanout + 1)
    return [peer for peer in drawn if peer.node_id != but][:fanout]
