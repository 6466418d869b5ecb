"""The machinery of the benchmark of a cluster; what it measures is not judged here."""

import math

import pytest

from .bench_cluster import measure
from .cluster_gossip import GossipCluster
from .cluster_journal import Report
from .cluster_parts import Plan
from .cluster_serf import SerfCluster


def test_a_small_cluster_is_measured_from_its_start_to_the_last_write_seen_and_leaves_no_process() -> None:
    clusters: list[GossipCluster] = []

    class Kept(GossipCluster):
        def __init__(self, size: int) -> None:
            super().__init__(size)
            clusters.append(self)

    plan = Plan(nodes=3, starts=1, writes=5, settle=0.0)
    rows = {row.name: row.values["ours"] for row in measure(plan, ["join", "spread"], [Kept])}
    assert rows["join, clusters started"] == 2
    assert rows["spread, (write, node) pairs never seen"] == 0
    assert 0 < rows["spread, p50"] <= rows["spread, p99"] <= rows["spread, slowest"] < math.inf
    assert len(clusters) == 2
    assert all(process.returncode is not None for cluster in clusters for process in cluster.started)


@pytest.mark.parametrize(
    ("line", "report"),
    [
        ("==> Serf agent running!", ("up", "-", 7.0)),
        ("    2026/01/01 12:50:17 [INFO] serf: EventMemberJoin: n3 127.0.0.1", ("alive", "n3", 7.0)),
        ("    2026/01/01 12:50:17 [INFO] serf: EventMemberFailed: n3 127.0.0.1", ("failed", "n3", 7.0)),
        ("    2026/01/01 12:50:21 [INFO] agent: Received event: user-event: w12", ("seen", "w12", 7.0)),
        ("    2026/01/01 12:50:18 [INFO] agent: Received event: member-join", None),
    ],
)
def test_what_an_agent_prints_is_understood(line: str, report: Report | None) -> None:
    assert SerfCluster.parse(line, 7.0) == report
