"""Short-lived nodes that keep nothing come and go all the time: what they leave behind burdens no member."""

from unittest.mock import patch

import pytest

from gossip.protocol.roster import ENDED_KEPT
from simulations import Cluster

STABLE = 4
"""Nodes that stay."""
EACH = 1.0
"""Seconds from one life to the next: nobody is ever quiet for as long as closing would wait otherwise."""


def lived(count: int, *, is_cut: bool = False) -> Cluster:
    """A cluster after so many lives, each of which joins, writes and leaves.

    ``is_cut``: one member hears the goodbye of none of them.
    """
    cluster = Cluster(STABLE, seed=1, warm=True)
    for node in cluster.nodes:
        node.replica.counter("jobs").increment()
    for number in range(count):
        node = cluster.add()
        cluster.run(EACH / 2)
        node.replica.counter("jobs").increment()
        node.replica.orset("done").add(number)
        cluster.run(EACH / 2)
        pair = {cluster.addresses[0], node.address} if is_cut else set()
        with patch.object(cluster.network, "passes", lambda one, other, pair=pair: {one, other} != pair):
            node.leave()
            cluster.run(0.01)
    return cluster


def writers(cluster: Cluster) -> list[int]:
    """Of each member that stays, the writers in the contexts that it exchanges."""
    return [node.replica.store.kernel.exported_context().writers for node in cluster.nodes[:STABLE]]


@pytest.mark.parametrize("is_cut", [False, True])
def test_writers_that_ended_themselves_are_closed_while_others_come_and_go(is_cut: bool) -> None:
    cluster = lived(40, is_cut=is_cut)
    assert max(writers(cluster)) < STABLE + 10
    cluster.run(20.0)
    assert writers(cluster) == [STABLE] * STABLE
    assert all(len(node.replica.orset("done")) == 40 for node in cluster.nodes[:STABLE])
    assert all(node.replica.counter("jobs").value() == STABLE + 40 for node in cluster.nodes[:STABLE])


def test_of_the_members_that_left_and_keep_nothing_the_latest_are_listed() -> None:
    cluster = lived(2 * ENDED_KEPT)
    for node in cluster.nodes[:STABLE]:
        assert len(node.engine.members(node.now)) <= STABLE + ENDED_KEPT
