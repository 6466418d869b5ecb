"""Members with hardly any room for dots that were killed before they came: their cluster converges all the same."""

import random

import pytest

from crdts import limits
from simulations import Cluster, Link


@pytest.mark.parametrize("log_limit", [20, 65_536])
@pytest.mark.parametrize("seed", range(2))
def test_a_cluster_with_hardly_any_room_for_pre_killed_dots_converges(
    seed: int, log_limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_PREKILLED_OF_WRITER", 3)
    monkeypatch.setattr(limits, "MAX_PREKILLED", 4)
    rng = random.Random(seed)
    link = Link(latency=(0.001, 0.03), loss=0.1)
    cluster = Cluster(4, seed=seed, link=link, log_limit=log_limit)
    cluster.run(1.0)
    for turn in range(6):
        if turn % 2:
            cluster.cut([0, 1], [2, 3])
        for _ in range(60):
            replica = rng.choice(cluster.nodes).replica
            replica.lwwmap("m").set(f"{rng.randrange(5)}", rng.random())
            if rng.random() < 0.2:
                replica.orset("s").remove(rng.randrange(5))
            replica.orset("s").add(rng.randrange(5))
            cluster.run(0.01)
        cluster.heal()
    cluster.run_until_converged(timeout=90)
    kernels = [node.replica.store.kernel for node in cluster.nodes]
    assert not any(kernel.prekilled for kernel in kernels)
    assert sum(kernel.room.refused for kernel in kernels) > 0
