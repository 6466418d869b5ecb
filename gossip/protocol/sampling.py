"""Which members a piece of news goes to.

Uniformly at random from all members for the time being; partial views (Cyclon) take this place when clusters outgrow
full membership.
"""

import random

from .members import Peer


def sample_targets(alive: list[Peer], fanout: int, rng: random.Random, *, but: bytes | None = None) -> list[Peer]:
    """At most ``fanout`` of the members, without the one whose id is ``but``."""
    choice = [peer for peer in alive if peer.node_id != but]
    return choice if len(choice) <= fanout else rng.sample(choice, fanout)
