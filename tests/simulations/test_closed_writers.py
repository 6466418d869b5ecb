"""A writer that somebody else retires goes on under another id, and nothing that it wrote is lost."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any
from unittest.mock import patch

import cbor2
import pytest

from crdts import Delta, WriterRetired
from crdts.delta import Event
from crdts.kernel import Kernel
from crdts.schema import RETIRED
from gossip.protocol import notices
from gossip.protocol.retirement.clones import Lineage
from simulations import Cluster, Node
from simulations.judging.oracles import Judge, read

LIAR = "liar"


class Case:
    """Three judged nodes, of which the second has written all sorts of things that all have."""

    def __init__(self) -> None:
        self.judge = Judge()
        self.cluster = Cluster(3, seed=1, disk=True, warm=True, observers=[self.judge])
        self.judge.watch(self.cluster)
        self.write(self.cluster[1])
        self.cluster.run_until_converged()
        self.cluster.run(1.0)
        self.before = read(self.cluster[0].replica)

    @staticmethod
    def write(node: Node) -> None:
        replica = node.replica
        for number in range(20):
            replica.lwwmap("map").set(f"key {number % 7}", number)
            replica.counter("counter").increment(5)
            replica.gcounter("grows").increment()
            replica.orset("set").add(number)
        replica.orset("set").remove(3)
        replica.bounded_counter("budget").increment(10)
        replica.bounded_counter("budget").decrement(3)
        with replica.transaction():
            replica.orset("set").add("in a transaction")
            replica.orset("set").remove(4)

    def retire(self, writer: str, last: int, *, closed: bool, at: tuple[int, ...] = (0, 1, 2)) -> None:
        """Let the nodes hear that a writer that lives has ended at ``last``."""
        event = Event(LIAR, 1, RETIRED, writer.encode(), cbor2.dumps([last, closed]), ())
        self.judge.made[event.dot] = event
        for index in at:
            self.cluster[index].replica.merge(Delta((event,)))

    def verdict(self, *, judged: bool = True) -> str:
        """What is wrong in the end; empty if nothing is."""
        self.cluster.run(5.0)
        try:
            self.cluster.run_until_converged(30.0)
        except TimeoutError:
            return "not equal"
        if any(read(node.replica) != self.before for node in self.cluster.nodes):
            return "lost"
        try:
            self.cluster[1].replica.orset("later").add("x")
        except WriterRetired:
            return "mute"
        self.cluster.run_until_converged(30.0)
        self.judge.check()
        return "; ".join(failure.what for failure in self.judge.failures if judged)


@pytest.mark.parametrize("last", [0, 30, 60])
@pytest.mark.parametrize("closed", [True, False], ids=["closed", "limited"])
def test_a_writer_that_is_retired_while_it_lives_goes_on_under_another_id(last: int, closed: bool) -> None:
    case = Case()
    node = case.cluster[1]
    former = node.replica.replica_id
    case.retire(former, last, closed=closed)
    assert case.verdict() == ""
    assert node.replica.replica_id != former
    told = [notice.event for notice in node.notices]
    assert notices.IDENTITY_FORKED in told
    assert notices.WRITES_REPEATED in told


def test_a_writer_that_is_closed_while_it_is_stopped_writes_again_what_is_beyond_its_end() -> None:
    case = Case()
    former = case.cluster[1].replica.replica_id
    shared = case.cluster[0].replica.context.last(former)
    case.cluster.cut([1])
    case.write(case.cluster[1])
    case.cluster.run(1.0)
    case.before = read(case.cluster[1].replica)
    case.cluster[1].stop()
    case.cluster.heal()
    case.retire(former, shared, closed=True, at=(0, 2))
    case.cluster.run(1.0)
    node = case.cluster.restart(1)
    assert case.verdict(judged=False) == "", "what was replaced beyond the end is dead where its end is known"
    told = [notice.event for notice in node.notices]
    assert notices.IDENTITY_FORKED not in told, "the new life writes under an id of its own"
    assert notices.WRITES_REPEATED in told


def test_what_is_written_again_is_on_the_disk_and_is_written_once() -> None:
    case = Case()
    case.retire(case.cluster[1].replica.replica_id, 30, closed=True)
    assert case.verdict() == ""
    case.cluster[1].replica.orset("set").clear()
    case.cluster.run(1.0)
    case.cluster[1].stop()
    case.cluster.restart(1)
    case.cluster.run(5.0)
    assert list(case.cluster[1].replica.orset("set")) == []
    assert case.cluster.converged()


def test_a_node_that_is_retired_on_purpose_stays_retired() -> None:
    case = Case()
    node = case.cluster[1]
    former = node.engine.identity
    case.cluster[0].retire(1)
    case.retire(former.replica_id, 30, closed=False)
    case.cluster.run(30.0)
    assert node.engine.retired
    assert node.engine.identity == former


def planted() -> Iterator[tuple[str, AbstractContextManager[Any], str]]:
    yield "nothing", nullcontext(), ""
    yield "retired writer not noticed", patch.object(Lineage, "_is_limited", lambda *_: False), "mute"
    yield "what is beyond the end forgotten", patch.object(Kernel, "_give_up_beyond", lambda *_: None), "lost"


@pytest.mark.parametrize(("plant", "found"), [each[1:] for each in planted()], ids=[each[0] for each in planted()])
def test_planted_bugs_are_found(plant: AbstractContextManager[Any], found: str) -> None:
    with plant:
        case = Case()
        case.retire(case.cluster[1].replica.replica_id, 60, closed=True)
        verdict = case.verdict()
    assert verdict == found or (found == "mute" and verdict in ("mute", "lost"))
