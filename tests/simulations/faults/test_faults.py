"""Every kind of fault does what it says while it lasts, and nothing any more once it has ended."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossip.protocol import Address
from gossip.storage.backlog import RETRY_FIRST, RETRY_MOST
from gossip.storage.errors import DiskFailed
from simulations import Cluster, Link
from simulations.errors import ScenarioError
from simulations.faults.base import End
from simulations.faults.network import FORGED_EACH, VICTIM
from simulations.faults.registry import (
    FAULTS,
    Churn,
    ClockJump,
    Clone,
    Crash,
    Deaf,
    DiskError,
    DiskFull,
    Fault,
    Flap,
    Forge,
    Isolate,
    Join,
    Leave,
    MassCrash,
    OldNews,
    OneWay,
    Partition,
    Pause,
    Replay,
    RestartAll,
    Retire,
    SlowDisk,
    Weather,
    Workers,
)
from simulations.world.tables import Tables
from simulations.world.topology import NEAR


def cluster_of(nodes: int = 4, seed: int = 1) -> Cluster:
    return Cluster(nodes, seed=seed, disk=True, warm=True)


def end(ending: End) -> None:
    assert ending is not None
    ending()


def passing(cluster: Cluster) -> set[tuple[int, int]]:
    """Who reaches whom."""
    network = cluster.network
    return {
        (one.index, other.index)
        for one in cluster.nodes
        for other in cluster.nodes
        if one is not other and network.passes(one.address, other.address)
    }


def pairs(*groups: set[int]) -> set[tuple[int, int]]:
    return {(one, other) for group in groups for one in group for other in group if one != other}


ALL = pairs({0, 1, 2, 3, 4, 5})


# ---- the network


@pytest.mark.parametrize(
    ("groups", "wanted"),
    [
        ("halves", pairs({0, 1, 2}, {3, 4, 5})),
        ("odd-even", pairs({0, 2, 4}, {1, 3, 5})),
        ("minority", pairs({0, 1}, {2, 3, 4, 5})),
        (((0, 1), (2,), (5,)), pairs({0, 1, 3, 4}, {2}, {5})),
        (((0,), (3, 17)), pairs({0, 1, 2, 4, 5})),
    ],
)
def test_a_partition_parts_its_groups_until_it_ends(
    groups: str | tuple[tuple[int, ...], ...], wanted: set[tuple[int, int]]
) -> None:
    cluster = cluster_of(6)
    fault = Partition(groups=groups)
    ending = fault.apply(cluster)
    assert passing(cluster) == wanted
    assert all((fault.side(a, 6) == fault.side(b, 6)) == ((a, b) in wanted) for a, b in ALL)
    end(ending)
    assert passing(cluster) == ALL


def test_one_way_silences_its_nodes_and_lets_them_hear() -> None:
    cluster = cluster_of(6)
    ending = OneWay(of=(1, 2)).apply(cluster)
    assert passing(cluster) == ALL - {(one, other) for one in (1, 2) for other in (0, 3, 4, 5)}
    newcomer = cluster.add()
    assert (newcomer.index, 0) in passing(cluster)
    assert (1, newcomer.index) not in passing(cluster)
    end(ending)
    assert (1, newcomer.index) in passing(cluster)


def test_isolate_cuts_one_off_from_all_newcomers_too() -> None:
    cluster = cluster_of(4)
    ending = Isolate(node=2).apply(cluster)
    cluster.add()
    assert passing(cluster) == pairs({0, 1, 3, 4})
    end(ending)
    assert passing(cluster) == pairs({0, 1, 2, 3, 4})


def test_a_flapping_link_is_down_and_up_by_turns_until_it_ends() -> None:
    cluster = cluster_of(4)
    ending = Flap(of=(1, 3), down=1.0, up=2.0).apply(cluster)
    down = []
    for _ in range(18):
        cluster.run(0.25)
        down.append(passing(cluster) == pairs({0, 2}, {1, 3}))
        cluster.run(0.25)
    assert down == ([True] * 2 + [False] * 4) * 3
    cluster.run(0.25)
    end(ending)
    assert passing(cluster) == pairs({0, 1, 2, 3})
    cluster.run(10.0)
    assert passing(cluster) == pairs({0, 1, 2, 3})


WEATHERS = st.lists(
    st.dictionaries(
        st.sampled_from(["loss", "duplication", "corruption"]), st.sampled_from([0.0, 0.1, 0.5]), min_size=1
    ),
    min_size=2,
    max_size=4,
)


@given(WEATHERS, st.data())
@settings(max_examples=30)
def test_weathers_lie_over_each_other_and_end_independently_in_any_order(
    links: list[dict[str, float]], data: st.DataObject
) -> None:
    cluster = cluster_of(2)
    under_way = [(link, Weather(link=tuple(link.items())).apply(cluster)) for link in links]
    while under_way:
        wanted: dict[str, float] = {}
        for link, _ in under_way:
            wanted |= link
        assert cluster.network.link(cluster.addresses[0], cluster.addresses[1]) == Link(**wanted)  # type: ignore[arg-type]
        _, ending = under_way.pop(data.draw(st.integers(0, len(under_way) - 1)))
        end(ending)
        end(ending)
    assert cluster.network.topology.near == NEAR


def test_equal_weathers_end_one_by_one() -> None:
    cluster = cluster_of(2)
    first, second = (Weather(link=(("loss", 0.5),)).apply(cluster) for _ in range(2))
    end(first)
    assert cluster.network.topology.near.loss == 0.5
    end(second)
    assert cluster.network.topology.near.loss == 0.0


def test_a_stranger_forges_what_it_has_heard_under_its_victims_address_until_it_ends() -> None:
    cluster = cluster_of(3)
    honest: set[bytes] = set()
    forged: list[tuple[float, Address, bytes]] = []

    def tap(source: Address, target: Address, data: bytes) -> None:
        if source == VICTIM:
            forged.append((cluster.queue.now, target, data))
        elif target != VICTIM:
            honest.add(data)

    cluster.network.taps.append(tap)
    ending = Forge().apply(cluster)
    cluster[0].replica.orset("s").add("x")
    cluster.run(5.0)
    assert len(forged) == pytest.approx(5.0 / FORGED_EACH, rel=0.1)
    assert {data for _, _, data in forged} <= honest
    assert {target for _, target, _ in forged} <= set(cluster.addresses)
    end(ending)
    before = len(forged)
    cluster.run(5.0)
    assert len(forged) == before
    assert len(cluster.network.taps) == 1


# ---- nodes


def test_a_crash_ends_a_life_and_its_end_begins_the_next() -> None:
    cluster = cluster_of()
    cluster[1].replica.orset("s").add("kept")
    cluster.run(0.5)
    dead = cluster[1]
    ending = Crash(node=1).apply(cluster)
    assert not dead.up
    end(ending)
    assert cluster[1].up
    assert set(cluster[1].replica.orset("s")) == {"kept"}
    end(ending)
    assert cluster[1].engine.identity.epoch == 2, "ended twice, it begins one life"


@pytest.mark.parametrize(("tail", "left"), [("lost", set()), ("kept", {"not safe yet"})])
def test_a_crash_leaves_of_the_disk_what_its_tail_says(tail: str, left: set[str]) -> None:
    cluster = Cluster(2, seed=1, disk=True, disk_delay=1.0, warm=True)
    cluster[1].replica.orset("s").add("not safe yet")
    cluster.run(0.1)
    ending = Crash(node=1, tail=tail).apply(cluster)
    end(ending)
    assert set(cluster[1].replica.orset("s")) == left


def test_a_crash_that_wipes_leaves_nothing() -> None:
    cluster = cluster_of()
    cluster[1].replica.orset("s").add("alone")
    cluster.run(0.001)
    ending = Crash(node=1, wipe=True).apply(cluster)
    end(ending)
    assert cluster[1].disk.tables == Tables(owner=cluster[1].disk.owner)
    assert not cluster[1].replica.context


def test_whoever_was_started_anew_in_the_meantime_is_left_alone_by_the_end_of_a_crash() -> None:
    cluster = cluster_of()
    ending = Crash(node=1).apply(cluster)
    again = cluster.restart(1)
    end(ending)
    assert cluster[1] is again
    again.stop()
    end(ending)
    assert not cluster[1].up


def lives(cluster: Cluster, seconds: float, step: float = 0.25) -> list[str]:
    """Who runs, looked at every so often."""
    seen = []
    for _ in range(int(seconds / step)):
        cluster.run(step / 2)
        seen.append("".join("x" if node.up else "." for node in cluster.nodes))
        cluster.run(step / 2)
    return seen


def test_a_restart_of_all_at_once_takes_everybody_down_together() -> None:
    cluster = cluster_of(3)
    RestartAll(down=1.0).apply(cluster)
    assert lives(cluster, 2.0, 0.5) == ["...", "...", "xxx", "xxx"]
    assert [node.engine.identity.epoch for node in cluster.nodes] == [2, 2, 2]


def test_a_rolling_restart_takes_them_down_one_after_the_other() -> None:
    cluster = cluster_of(3)
    RestartAll(every=1.0, down=0.5).apply(cluster)
    assert lives(cluster, 3.5, 0.5) == [".xx", "xxx", "x.x", "xxx", "xx.", "xxx", "xxx"]


def test_a_rolling_restart_that_ends_spares_those_whose_turn_has_not_come() -> None:
    cluster = cluster_of(3)
    ending = RestartAll(every=1.0, down=0.5).apply(cluster)
    cluster.run(1.25)
    end(ending)
    end(ending)
    cluster.run(10.0)
    assert [node.engine.identity.epoch for node in cluster.nodes] == [2, 2, 1]
    assert len(cluster.running()) == 3


def test_a_pause_lasts_until_it_ends() -> None:
    cluster = cluster_of()
    ending = Pause(node=2).apply(cluster)
    assert [node.paused for node in cluster.nodes] == [False, False, True, False]
    end(ending)
    end(ending)
    assert not cluster[2].paused


def test_the_end_of_a_pause_does_not_touch_the_next_life() -> None:
    cluster = cluster_of()
    ending = Pause(node=2).apply(cluster)
    cluster[2].stop()
    again = cluster.restart(2)
    again.pause()
    end(ending)
    assert again.paused


def test_a_clock_jump_is_for_good_and_needs_no_running_node() -> None:
    cluster = cluster_of()
    shown = cluster[1].clock()
    cluster[1].stop()
    assert ClockJump(node=1, by=-60.0).apply(cluster) is None
    assert cluster.restart(1).clock() == shown - 60.0


def test_a_full_disk_refuses_until_it_ends_even_over_a_restart() -> None:
    cluster = cluster_of()
    ending = DiskFull(node=1).apply(cluster)
    cluster[1].stop()
    again = cluster.restart(1)
    cluster[0].replica.orset("s").add(2)
    cluster.run(1.0)
    with pytest.raises(DiskFailed, match="full"):
        again.replica.orset("s").add(1)
    end(ending)
    end(ending)
    cluster.run(RETRY_MOST)
    again.replica.orset("s").add(1)


def test_one_write_of_a_disk_fails_and_the_next_one_does_not() -> None:
    cluster = cluster_of()
    assert DiskError(node=1, write=2, full=True).apply(cluster) is None
    cluster[1].replica.orset("s").add(1)
    cluster.run(RETRY_FIRST / 2)
    with pytest.raises(DiskFailed, match="the disk is full"):
        cluster[1].replica.orset("s").add(2)
    cluster.run(2 * RETRY_FIRST)
    cluster[1].replica.orset("s").add(2)
    assert set(cluster[1].replica.orset("s")) == {1, 2}


def test_a_slow_disk_takes_so_long_for_each_batch_until_it_ends() -> None:
    cluster = cluster_of()
    ending = SlowDisk(node=1, delay=2.0).apply(cluster)
    cluster[1].replica.orset("s").add(1)
    cluster.run(1.9)
    assert not cluster[1].engine.durable
    cluster.run(0.2)
    assert cluster[1].engine.durable
    end(ending)
    end(ending)
    assert cluster[1].disk.delay == 0.0


def test_a_newcomer_joins_and_hears_everything() -> None:
    cluster = cluster_of()
    cluster[0].replica.orset("s").add("before")
    assert Join().apply(cluster) is None
    cluster.run_until_converged()
    assert set(cluster[4].replica.orset("s")) == {"before"}


def test_who_leaves_without_a_time_is_gone_for_good() -> None:
    cluster = cluster_of()
    assert Leave(node=1).apply(cluster) is None
    assert not cluster[1].up
    assert cluster[1].gone


def test_who_leaves_for_a_time_comes_back_under_the_next_epoch_with_its_data() -> None:
    cluster = cluster_of()
    cluster[1].replica.orset("s").add("mine")
    cluster.run_until_converged()
    ending = Leave(node=1, seconds=5.0).apply(cluster)
    assert not cluster[1].up
    assert not cluster[1].gone
    cluster.run(1.0)
    assert {m.name: m.state for m in cluster[0].engine.members(cluster.queue.now)}["n1"] == "left"
    end(ending)
    end(ending)
    assert cluster[1].engine.identity.epoch == 2
    assert set(cluster[1].replica.orset("s")) == {"mine"}
    cluster.run(5.0)
    assert {m.name: m.state for m in cluster[0].engine.members(cluster.queue.now)}["n1"] == "alive"


def test_of_two_running_nodes_none_leaves() -> None:
    cluster = cluster_of(2)
    assert Leave(node=1).apply(cluster) is None
    assert cluster[1].up


def test_a_retired_writer_leaves_every_context_in_the_end_and_its_entries_stay() -> None:
    cluster = cluster_of()
    for node in cluster.nodes:
        node.replica.orset("s").add(node.name)
    cluster.run_until_converged()
    writer = cluster[2].replica.replica_id
    Retire(node=2, by=0).apply(cluster)
    cluster.run(30.0)
    assert cluster[2].gone
    for node in cluster.running():
        assert writer in node.replica.retired
        assert writer not in node.replica.context.replicas()
        assert set(node.replica.orset("s")) == {"n0", "n1", "n2", "n3"}


def test_nobody_retires_itself_or_through_somebody_who_is_down() -> None:
    cluster = cluster_of()
    cluster[1].stop()
    for fault in (Retire(node=2, by=2), Retire(node=2, by=1), Retire(node=1, by=2)):
        assert fault.apply(cluster) is None
    assert [node.gone for node in cluster.nodes] == [False] * 4


@pytest.mark.parametrize("killed", [False, True])
def test_workers_come_to_a_node_on_its_side_of_a_cut_and_go_for_good_a_little_later(killed: bool) -> None:
    cluster = Cluster(2, seed=1, warm=True)
    cluster.cut([0], [1])
    ending = Workers(of=(1,), every=1.0, stay=0.6, killed=killed).apply(cluster)
    cluster.run(0.5)
    assert [member.name for member in cluster[2].engine.members(0)] == ["n1"]
    cluster.run(5.0)
    assert ending is not None
    ending()
    cluster.run(20.0)
    assert (len(cluster.nodes), len(cluster.running())) == (2 + 6, 2)
    assert {member.name for member in cluster[0].engine.members(0)} == {"n1"}
    assert {member.state for member in cluster[1].engine.members(0)} == ({"failed"} if killed else {"failed", "left"})


def test_churn_replaces_the_oldest_but_the_first_two_every_so_often_every_other_one_unasked() -> None:
    cluster = cluster_of(4)
    ending = Churn(every=2.0).apply(cluster)
    cluster.run(5.0)
    assert [node.up for node in cluster.nodes] == [True, True, False, False, False, True, True]
    states = {m.name: m.state for m in cluster[0].engine.members(cluster.queue.now)}
    assert (states["n2"], states["n4"]) == ("left", "left")
    assert states["n3"] != "left"
    end(ending)
    end(ending)
    cluster.run(20.0)
    assert len(cluster.nodes) == 7
    assert all(node.gone for node in cluster.nodes if not node.up)


def test_a_clone_runs_beside_its_original_until_the_original_is_stopped() -> None:
    cluster = cluster_of(3)
    cluster[1].replica.orset("s").add("copied")
    cluster.run_until_converged()
    original = cluster[1]
    ending = Clone(node=1).apply(cluster)
    assert original.up
    assert cluster[3].engine.identity.node_id == original.engine.identity.node_id
    assert set(cluster[3].replica.orset("s")) == {"copied"}
    end(ending)
    end(ending)
    assert (original.up, original.gone) == (False, True)
    cluster[3].replica.orset("s").add("from the copy")
    cluster.run_until_converged()
    assert set(cluster[0].replica.orset("s")) == {"copied", "from the copy"}


def test_an_original_that_was_started_anew_is_stopped_at_the_end_of_a_clone_as_well() -> None:
    cluster = cluster_of(3)
    ending = Clone(node=1).apply(cluster)
    cluster[1].stop()
    cluster.restart(1)
    end(ending)
    assert (cluster[1].up, cluster[1].gone) == (False, True)


# ---- all of them

ALL_KINDS: list[Fault] = [
    Partition(),
    OneWay(of=(1,)),
    Deaf(of=(1,)),
    Isolate(node=1),
    Flap(of=(1,)),
    Weather(link=(("loss", 0.5),)),
    Crash(node=1),
    MassCrash(share=0.25),
    RestartAll(),
    Pause(node=1),
    ClockJump(node=1, by=1.0),
    DiskFull(node=1),
    DiskError(node=1),
    SlowDisk(node=1, delay=1.0),
    Join(),
    Leave(node=1, seconds=1.0),
    Retire(node=1, by=0),
    Churn(),
    Workers(of=(1,)),
    Clone(node=1),
    Forge(),
    OldNews(node=1),
    Replay(node=1),
]
NOT_THERE: list[Fault] = [
    Workers(of=(99,)),
    Partition(groups=((99,), (98,))),
    OneWay(of=(99,)),
    Deaf(of=(99,)),
    OldNews(node=99),
    Replay(node=99),
    Isolate(node=99),
    Flap(of=(99,)),
    Crash(node=99),
    Crash(node=99, wipe=True),
    Pause(node=99),
    ClockJump(node=99, by=1.0),
    DiskFull(node=99),
    DiskError(node=99),
    SlowDisk(node=99, delay=1.0),
    Leave(node=99),
    Retire(node=99, by=0),
    Retire(node=0, by=99),
    Clone(node=99),
]


def test_all_kinds_are_tried_here() -> None:
    assert {fault.kind for fault in ALL_KINDS} == set(FAULTS)


@pytest.mark.parametrize("fault", ALL_KINDS, ids=lambda fault: fault.kind)
def test_a_fault_that_is_ended_twice_does_no_harm(fault: Fault) -> None:
    cluster = cluster_of()
    ending = fault.apply(cluster)
    cluster.run(0.5)
    for _ in range(2):
        if ending is not None:
            ending()
    cluster.run(5.0)
    assert len(cluster.running()) >= 3
    assert cluster.network.passes(cluster.addresses[1], cluster.addresses[0])
    assert cluster.network.topology.near == NEAR


@pytest.mark.parametrize("fault", NOT_THERE, ids=str)
def test_a_fault_on_a_node_that_is_not_there_does_nothing(fault: Fault) -> None:
    cluster = cluster_of()
    ending = fault.apply(cluster)
    cluster.run(0.5)
    assert passing(cluster) == pairs({0, 1, 2, 3})
    assert len(cluster.running()) == len(cluster.nodes) == 4
    if ending is not None:
        ending()


@pytest.mark.parametrize(
    "fault", [Crash(node=1), Pause(node=1), Leave(node=1), Retire(node=1, by=0), Clone(node=1)], ids=lambda f: f.kind
)
def test_what_needs_a_running_node_does_nothing_to_a_stopped_one(fault: Fault) -> None:
    cluster = cluster_of()
    cluster[1].stop()
    assert fault.apply(cluster) is None
    assert len(cluster.running()) == 3
    assert len(cluster.nodes) == 4


@pytest.mark.parametrize(
    "nonsense",
    [
        lambda: Join(at=-1.0),
        lambda: Join(seconds=-1.0),
        lambda: Join(at=float("inf")),
        lambda: Partition(groups="thirds"),
        lambda: Flap(of=(1,), down=0.0),
        lambda: Flap(of=(1,), up=-1.0),
        lambda: Weather(link=(("rain", 1),)),
        lambda: Weather(link=(("loss", 2.0),)),
        lambda: Crash(node=1, tail="wet"),
        lambda: RestartAll(every=-1.0),
        lambda: RestartAll(down=-1.0),
        lambda: RestartAll(tail="wet"),
        lambda: SlowDisk(node=1, delay=-1.0),
        lambda: DiskError(node=1, write=0),
        lambda: Churn(every=0.0),
        lambda: Workers(of=()),
        lambda: Workers(of=(0,), every=0.0),
        lambda: Workers(of=(0,), stay=0.0),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(nonsense: Callable[[], object]) -> None:
    with pytest.raises(ScenarioError):
        nonsense()


def test_the_deaf_are_heard_and_hear_nobody() -> None:
    cluster = cluster_of()
    cluster.run(1.0)
    end = Deaf(of=(1,)).apply(cluster)
    assert cluster.network.passes(cluster.addresses[1], cluster.addresses[0])
    assert not cluster.network.passes(cluster.addresses[0], cluster.addresses[1])
    assert end is not None
    end()
    assert cluster.network.passes(cluster.addresses[0], cluster.addresses[1])


def test_of_many_that_die_at_once_as_many_are_gone_as_were_asked_for_and_never_the_last() -> None:
    cluster = Cluster(10, seed=1)
    MassCrash(share=0.5).apply(cluster)
    assert len(cluster.running()) == 5
    MassCrash(share=1.0).apply(cluster)
    assert len(cluster.running()) == 1


def test_what_a_node_sent_is_replayed_only_while_it_is_down_and_to_former_lives_first() -> None:
    cluster = cluster_of()
    sent: list[tuple[Address, bytes]] = []

    def tap(source: Address, target: Address, data: bytes) -> None:
        if source == cluster.addresses[1]:
            sent.append((target, data))

    cluster.network.taps.append(tap)
    Replay(node=1).apply(cluster)
    cluster.run(10.0)
    assert len(sent) == len(set(sent)), "nothing comes twice while it runs"
    cluster[0].stop()
    cluster.restart(0)
    cluster[1].stop()
    recorded = set(sent)
    sent.clear()
    cluster.run(5.0)
    assert len(sent) > len(set(sent)) > 1
    assert set(sent) <= recorded
    assert {target for target, _ in sent} == {cluster.addresses[0]}


def test_old_news_is_what_was_sent_before_the_next_life_and_comes_only_then() -> None:
    cluster = cluster_of()
    sent: list[bytes] = []
    cluster.network.taps.append(lambda _source, _target, data: sent.append(data))
    OldNews(node=1).apply(cluster)
    cluster.run(2.0)
    assert len(sent) == len(set(sent))
    cluster[1].stop()
    before = set(sent)
    cluster.restart(1)
    sent.clear()
    cluster.run(2.0)
    assert len([data for data in sent if data in before]) > 20
