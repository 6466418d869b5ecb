"""Workloads write as much, as often and where they say."""

import math
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crdts import Replica
from gossip.storage.errors import DiskFailed
from simulations.errors import ScenarioError
from simulations.scenario.operations import OPERATIONS, Write, history, perform
from simulations.scenario.workload import PATTERNS, Workload

KINDS = sorted(PATTERNS)


def writes(workload: Workload, seed: int = 1, nodes: int = 5, duration: float = 1000.0) -> list[Write]:
    return workload.writes(random.Random(seed), nodes, duration)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rate", [0.5, 3.0])
def test_every_kind_writes_at_the_rate_that_is_asked(kind: str, rate: float) -> None:
    got = writes(Workload(kind=kind, rate=rate))
    assert len(got) == pytest.approx(1000.0 * rate, rel=0.06)
    early = sum(write.at < 500.0 for write in got)
    assert early / len(got) == pytest.approx(0.5, abs=0.2 if kind == "bursts" else 0.06)


@given(
    kind=st.sampled_from(KINDS),
    rate=st.floats(0.1, 20.0),
    start=st.floats(0.0, 50.0),
    until=st.one_of(st.just(0.0), st.floats(0.0, 60.0)),
    nodes=st.integers(1, 8),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60)
def test_writes_are_in_order_within_their_time_at_nodes_that_there_are_and_the_same_for_a_seed(
    kind: str, rate: float, start: float, until: float, nodes: int, seed: int
) -> None:
    workload = Workload(kind=kind, rate=rate, start=start, until=until)
    got = writes(workload, seed, nodes, 40.0)
    assert [write.at for write in got] == sorted(write.at for write in got)
    assert all(start <= write.at <= (until or 40.0) for write in got)
    assert all(0 <= write.node < nodes and write.operation in OPERATIONS and write.number >= 0 for write in got)
    assert got == writes(workload, seed, nodes, 40.0)


def test_another_seed_writes_something_else() -> None:
    assert writes(Workload(), 1) != writes(Workload(), 2)


def test_all_nodes_and_all_keys_get_their_share() -> None:
    got = writes(Workload(rate=10.0, keys=8))
    for count in Counter(write.node for write in got).values():
        assert count == pytest.approx(2000, rel=0.1)
    keys = Counter(write.number for write in got)
    assert sorted(keys) == list(range(8))
    assert max(keys.values()) < 1.2 * min(keys.values())


@pytest.mark.parametrize("exponent", [0.5, 1.1, 2.0])
def test_zipf_writes_to_each_key_in_proportion_to_its_rank(exponent: float) -> None:
    keys = Counter(write.number for write in writes(Workload(kind="zipf", rate=40.0, keys=10, exponent=exponent)))
    whole = sum(rank**-exponent for rank in range(1, 11))
    for rank in range(1, 11):
        share = rank**-exponent / whole
        assert keys[rank - 1] / 40_000 == pytest.approx(share, abs=4 * math.sqrt(share / 40_000))


def test_with_an_exponent_of_0_all_keys_are_alike() -> None:
    keys = Counter(write.number for write in writes(Workload(kind="zipf", rate=10.0, keys=4, exponent=0.0)))
    assert all(count == pytest.approx(2500, rel=0.1) for count in keys.values())


def test_a_burst_comes_at_once_from_one_node() -> None:
    got = writes(Workload(kind="bursts", rate=2.0, burst=25))
    bursts = Counter((write.at, write.node) for write in got)
    assert set(bursts.values()) == {25}
    assert len(bursts) == 80
    assert len({node for _, node in bursts}) == 5


def test_a_history_is_its_steps_in_order_each_at_its_authors_node() -> None:
    got = writes(Workload(kind="history", rate=1.0), nodes=3)
    steps = history()
    assert [write.number for write in got] == list(range(len(got)))
    assert all(write.node == steps[write.number % len(steps)].author % 3 for write in got)
    assert {write.operation for write in got} == {"history.step"}


def test_a_history_replayed_by_one_writer_leaves_the_files_of_its_end() -> None:
    replica, tree = Replica("r"), {}
    for write in writes(Workload(kind="history", rate=1.0), duration=200.0):
        assert perform(replica, write)
        for edit in history()[write.number].edits:
            tree.update({edit.path: edit.blob}) if edit.blob is not None else tree.pop(edit.path, None)
    assert dict(replica.lwwmap("files").items()) == tree


def test_a_log_never_writes_the_same_twice() -> None:
    got = writes(Workload(kind="log", rate=5.0))
    assert len({write.number for write in got}) == len(got)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_uses_all_its_operations_and_no_others(kind: str) -> None:
    wanted = set(PATTERNS[kind]) or {"history.step"}
    assert {write.operation for write in writes(Workload(kind=kind, rate=2.0))} == wanted


def test_every_operation_is_written_by_some_kind() -> None:
    assert {*(name for names in PATTERNS.values() for name in names), "history.step"} == set(OPERATIONS)


def test_there_are_no_writes_where_there_is_no_time() -> None:
    assert writes(Workload(start=50.0), duration=50.0) == []
    assert writes(Workload(start=5.0, until=3.0)) == []


@given(kind=st.sampled_from(KINDS), seed=st.integers(0, 10_000))
@settings(max_examples=60)
def test_no_kind_raises_on_any_replica_whatever_it_has_heard(kind: str, seed: int) -> None:
    rng = random.Random(seed)
    replicas = [Replica(name) for name in "abc"]
    done = 0
    for write in writes(Workload(kind=kind, rate=1.0, keys=4), seed, nodes=3, duration=80.0):
        done += perform(replicas[write.node], write)
        if rng.random() < 0.3:
            one, other = rng.sample(replicas, 2)
            one.merge(other)
    assert done > 20


@pytest.mark.parametrize("kind", ["tasks", "budget"])
def test_tasks_are_done_and_budgets_spent_when_all_hear_each_other(kind: str) -> None:
    replicas = [Replica(name) for name in "abc"]
    for write in writes(Workload(kind=kind, rate=1.0, keys=6), nodes=3, duration=300.0):
        perform(replicas[write.node], write)
        for other in replicas:
            other.merge(replicas[write.node])
    if kind == "tasks":
        assert replicas[0].counter("done").value() > 20
    else:
        assert replicas[0].bounded_counter("budget").value() >= 0
        assert len(replicas[0].store.kernel.keys(b"bbudget")) == 3, "every one has moved some of it"


def test_a_refusal_of_a_replica_or_its_disk_is_a_write_not_done() -> None:
    replica = Replica("r")
    assert not perform(replica, Write(0.0, 0, "budget.spend", 3))
    assert perform(replica, Write(0.0, 0, "budget.grant", 9))
    assert perform(replica, Write(0.0, 0, "budget.spend", 3))

    def full() -> None:
        raise DiskFailed("no space")

    replica.store.guard_writes(full)
    assert not perform(replica, Write(0.0, 0, "set.add", 1))


@pytest.mark.parametrize(
    "nonsense",
    [
        {"kind": "random"},
        *({name: value} for name in ("rate", "keys", "burst") for value in (0, -1, float("inf"), float("nan"))),
        {"exponent": -1.0},
        {"start": -1.0},
        {"until": -1.0},
    ],
    ids=str,
)
def test_a_workload_that_makes_no_sense_is_refused(nonsense: dict[str, object]) -> None:
    with pytest.raises(ScenarioError, match="not"):
        Workload(**nonsense)  # type: ignore[arg-type]
