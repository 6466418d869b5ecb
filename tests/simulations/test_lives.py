"""Short-lived nodes that keep nothing come and go all the time: what they leave behind burdens no member."""

from unittest.mock import patch

import pytest

from crdts.schema import RETIRED
from gossip.protocol.membership.roster import ENDED_KEPT
from simulations import Cluster

STABLE = 4
"""Nodes that stay."""
EACH = 1.0
"""Seconds from one life to the next: nobody is ever quiet for as long as closing would wait otherwise."""


def lived(count: int, *, is_cut: bool = False, departs: bool = False, forgets: bool = False) -> Cluster:
    """A cluster after so many lives, each of which joins, writes and leaves.

    ``is_cut``: one member hears the goodbye of none of them. ``departs``: they hand their writer ids on. ``forgets``:
    each removes what the one before has added, so that nothing of a life is left that could grow.
    """
    cluster = Cluster(STABLE, seed=1, warm=True, disk=False)
    for node in cluster.nodes:
        node.replica.counter("jobs").increment()
    for number in range(count):
        node = cluster.add()
        cluster.run(EACH / 2)
        node.replica.counter("jobs").increment()
        if forgets:
            node.replica.orset("done").clear()
        node.replica.orset("done").add(number)
        cluster.run(EACH / 2)
        pair = {cluster.addresses[0], node.address} if is_cut else set()
        with patch.object(cluster.network, "passes", lambda one, other, pair=pair: {one, other} != pair):
            if departs:
                node.depart()
            else:
                node.leave()
            cluster.run(0.2)
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


@pytest.mark.parametrize("count", [60, pytest.param(3000, marks=pytest.mark.soak)])
def test_lives_that_hand_their_writer_on_leave_nothing_that_grows(count: int) -> None:
    cluster = lived(count, departs=True, forgets=True)
    for node in cluster.nodes[:STABLE]:
        kernel = node.replica.store.kernel
        assert kernel.context.writers == STABLE + 1
        assert not kernel.places(RETIRED)
        assert not kernel.limits
        assert node.replica.stats().encoded_bytes < 350
        assert node.replica.counter("jobs").value() == STABLE + count
        assert len(node.replica.orset("done")) == 1
