"""Writers that belong to no member are closed when an operator says so, by all members."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any
from unittest.mock import patch

import pytest

from crdts import Delta, Replica, ReplicaId
from crdts.retirement import Retirement
from gossip.protocol.errors import MemberAlive, UnknownMember
from gossip.protocol.identity import NodeId, replica_id_of
from simulations import Cluster, Node

FORGOTTEN = replica_id_of(NodeId(bytes(range(8))), 3, "abcdef")
"""A life of a node that no member lists."""


def cluster_of(size: int = 3, *, disk: bool = True) -> Cluster:
    """Nodes that all know each other, and have all written."""
    cluster = Cluster(size, seed=1, disk=disk)
    cluster.run(3.0)
    for node in cluster.nodes:
        node.replica.orset("s").add(node.name)
    cluster.run_until_converged()
    cluster.run(20.0)
    return cluster


def invent(cluster: Cluster, count: int) -> list[ReplicaId]:
    """Let one node hear of a write of each of so many writers that nobody knows."""
    writers = [Replica(f"r{number:07x}") for number in range(count)]
    events = tuple(event for each in writers for event in each.orset("s").add(each.replica_id).events)
    cluster[0].replica.merge(Delta(events))
    cluster.run_until_converged(60.0)
    return [each.replica_id for each in writers]


def retire(node: Node, writer: ReplicaId) -> None:
    node._do(node.engine.retire_writer(node.now, writer))


def retire_unknown(node: Node) -> int:
    found = node.engine.retire_unknown(node.now)
    node._do([])
    return len(found)


def left(cluster: Cluster, writers: list[ReplicaId]) -> list[tuple[str, ReplicaId]]:
    """The writers that stand in the context of a running node."""
    contexts = [(node.name, node.replica.context) for node in cluster.running()]
    return [(name, writer) for name, context in contexts for writer in writers if context.last(writer)]


def elements(node: Node) -> set[object]:
    return set(node.replica.orset("s"))


@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize("writer", [FORGOTTEN, ReplicaId("invented")], ids=["forgotten", "invented"])
def test_a_writer_that_belongs_to_no_member_is_closed_by_all_when_one_says_so(writer: ReplicaId, at: int) -> None:
    cluster = cluster_of()
    cluster[0].replica.merge(Replica(writer).orset("s").add("stays"))
    cluster.run_until_converged()
    cluster.run(60.0)
    assert len(left(cluster, [writer])) == 3, "nobody closes it by itself"
    assert cluster[at].engine.unknown_writers == [writer]
    retire(cluster[at], writer)
    cluster.run(30.0)
    assert left(cluster, [writer]) == []
    for node in cluster.nodes:
        assert node.engine.unknown_writers == []
        assert elements(node) == {"n0", "n1", "n2", "stays"}
        assert not node.replica.store.kernel.marked
    assert cluster.converged()


def test_nothing_that_the_writer_wrote_is_refused_until_all_agree() -> None:
    cluster = cluster_of()
    writer = Replica(FORGOTTEN)
    cluster[0].replica.merge(writer.orset("s").add("first"))
    cluster.run_until_converged()
    cluster.cut([2])
    cluster[2].replica.merge(writer.orset("s").add("second"))
    retire(cluster[0], FORGOTTEN)
    cluster.run(60.0)
    assert len(left(cluster, [FORGOTTEN])) == 3, "a member is missing, and has more"
    cluster.heal()
    cluster.run_until_converged()
    cluster.run(60.0)
    assert left(cluster, [FORGOTTEN]) == [], "the member that was cut off closes it too"
    for node in cluster.nodes:
        assert elements(node) == {"n0", "n1", "n2", "first", "second"}


def test_a_mark_is_known_to_all_and_outlives_a_restart_of_all() -> None:
    cluster = cluster_of()
    cluster[0].replica.merge(Replica(FORGOTTEN).orset("s").add("stays"))
    cluster.run_until_converged()
    cluster[2].stop()
    retire(cluster[1], FORGOTTEN)
    cluster.run(20.0)
    cluster[0].stop()
    cluster[1].stop()
    for index in range(2):
        assert FORGOTTEN in cluster.restart(index).replica.store.kernel.marked
    cluster.restart(2)
    cluster.run(60.0)
    assert left(cluster, [FORGOTTEN]) == []


def test_another_member_sees_to_it_when_the_one_that_was_asked_is_gone() -> None:
    cluster = cluster_of(4)
    cluster[0].replica.merge(Replica(FORGOTTEN).orset("s").add("stays"))
    cluster.run_until_converged()
    retire(cluster[1], FORGOTTEN)
    cluster.run(1.0)
    cluster[1].vanish()
    cluster.run(10.0)
    cluster[2].retire(1)
    cluster.run(60.0)
    assert left(cluster, [FORGOTTEN]) == []


def test_a_node_that_was_that_writer_goes_on_under_a_new_id_and_writes_again() -> None:
    cluster = cluster_of()
    writer = cluster[2].replica.replica_id
    cluster[2].stop()
    for node in (cluster[0], cluster[1]):
        node.engine._members.forget(cluster[2].engine.identity.node_id)  # as if it had been away for very long
        node.engine._members._hints.forget(cluster[2].engine.identity.node_id)
    assert cluster[0].engine.unknown_writers == [writer]
    retire(cluster[0], writer)
    cluster.run(30.0)
    assert left(cluster, [writer]) == []
    node = cluster.restart(2)
    cluster.run(10.0)
    node.replica.orset("s").add("again")
    cluster.run_until_converged()
    assert all(elements(each) == {"n0", "n1", "n2", "again"} for each in cluster.nodes)


def test_a_living_writer_that_is_marked_goes_on_under_a_new_id() -> None:
    cluster = cluster_of()
    node = cluster[2]
    former = node.replica.replica_id
    cluster[0].replica.mark(former)
    cluster.run(10.0)
    assert node.replica.replica_id != former
    node.replica.orset("s").add("later")
    cluster.run_until_converged()
    cluster.run(60.0)
    assert all(elements(each) == {"n0", "n1", "n2", "later"} for each in cluster.nodes)


@pytest.mark.parametrize("state", ["present", "earlier life", "failed", "own"])
def test_a_writer_of_a_member_is_not_closed_by_its_id(state: str) -> None:
    cluster = cluster_of()
    writer = cluster[1].replica.replica_id
    if state == "own":
        writer = cluster[0].replica.replica_id
    elif state == "earlier life":
        cluster[1].stop()
        cluster.restart(1)
        cluster.run(3.0)
    elif state == "failed":
        cluster[1].vanish()
        cluster.run(30.0)
    with pytest.raises(MemberAlive, match="this node's own" if state == "own" else "retire it: `gossip retire "):
        retire(cluster[0], writer)
    cluster.run(20.0)
    assert cluster[0].engine.unknown_writers == []
    assert retire_unknown(cluster[0]) == 0


def test_a_writer_that_nobody_has_heard_of_is_not_closed() -> None:
    with pytest.raises(UnknownMember, match="nothing was ever heard of a writer"):
        retire(cluster_of(2)[0], FORGOTTEN)


def test_nobody_is_taken_for_unknown_while_the_list_of_members_is_fresh() -> None:
    cluster = cluster_of()
    for index in range(3):
        cluster[index].stop()
    node = cluster.restart(0)
    cluster.run(1.0)
    with pytest.raises(UnknownMember, match="Wait until it has stayed the same for"):
        retire_unknown(node)
    cluster.run(60.0)
    assert node.engine.unknown_writers == [], "who does not come back is listed as failed"


def test_very_many_invented_writers_are_closed_in_steps_and_the_loop_goes_on() -> None:
    cluster = cluster_of()
    writers = invent(cluster, 1000)
    assert cluster[1].engine.unknown_writers == writers
    assert retire_unknown(cluster[1]) == 1000
    assert cluster[1].engine.retire_unknown(cluster[1].now, dry=True) == writers, "nothing is marked yet"
    cluster.run(0.02)
    assert 0 < len(cluster[1].replica.store.kernel.marked) <= 256, "some in a step"
    cluster.run(60.0)
    assert left(cluster, writers) == []
    assert cluster.converged()
    for node in cluster.nodes:
        assert len(elements(node)) == 1003
        assert len(node.replica.retired) == 1000


def test_a_member_that_was_cut_off_closes_them_after_the_heal() -> None:
    cluster = cluster_of()
    cluster.cut([2])
    writers = [Replica(f"r{number:07x}").orset("s").add(number) for number in range(200)]
    cluster[0].replica.merge(Delta(tuple(event for delta in writers for event in delta.events)))
    ids = [delta.events[0].replica for delta in writers]
    cluster.run(30.0)
    assert retire_unknown(cluster[0]) == 200
    cluster.run(30.0)
    assert len(left(cluster, ids)) == 400
    cluster.heal()
    cluster.run(60.0)
    assert left(cluster, ids) == []
    assert cluster.converged()


def test_what_a_step_costs_does_not_grow_with_how_many_there_are() -> None:
    """No report looks at all writers that wait."""
    cluster = cluster_of(2, disk=False)
    invent(cluster, 4000)
    assert retire_unknown(cluster[0]) == 4000
    cluster.run(3.0)
    kernel = cluster[0].replica.store.kernel
    assert len(kernel.marked) > 3000
    assert len(kernel.retiring) <= 64


def planted() -> Iterator[tuple[str, AbstractContextManager[Any], bool]]:
    yield "nothing", nullcontext(), False

    def limited(self: Retirement, writer: ReplicaId) -> Delta:
        return self._write(writer, self._store.kernel.context.last(writer), closed=False)

    yield "a limit in place of a mark", patch.object(Retirement, "mark", limited), True


@pytest.mark.parametrize(("plant", "lost"), [each[1:] for each in planted()], ids=[each[0] for each in planted()])
def test_planted_bugs_are_found(plant: AbstractContextManager[Any], lost: bool) -> None:
    """The one that was asked dies for good before anybody has heard that somebody has more."""
    cluster = cluster_of(4)
    writer = Replica(FORGOTTEN)
    cluster[0].replica.merge(writer.orset("s").add("first"))
    cluster.run_until_converged()
    cluster.cut([3])
    cluster[3].replica.merge(writer.orset("s").add("second"))
    with plant:
        retire(cluster[1], FORGOTTEN)
    cluster.run(1.0)
    cluster[1].vanish()
    cluster.heal()
    cluster.run(20.0)
    assert ("second" not in elements(cluster[0])) is lost


def test_the_writer_of_a_retired_node_is_closed_however_many_open_ones_are_looked_at_first() -> None:
    with patch("gossip.protocol.retirement.writers.OPEN_AT_ONCE", 1):
        cluster = cluster_of(6)
        last = max(range(6), key=lambda index: cluster[index].replica.replica_id)
        writer = cluster[last].replica.replica_id
        cluster[last].stop()
        cluster[last - 1].retire(last)
        cluster.run(60.0)
    assert left(cluster, [writer]) == []
