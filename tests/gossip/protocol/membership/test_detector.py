"""Who is gone is found out soon, and nobody else: probes, helpers, suspicion, health, deafness, loss and cuts."""

from collections.abc import Iterable, Sequence

import pytest

from gossip.protocol import Config, Effect
from gossip.protocol.membership.suspicion import PATIENCE
from gossip.protocol.wire.messages import Ack, Digest, Hello, Nack, Ping, PingRequest, Roll, Welcome
from simulations import Cluster, Link, Node

from ..support import Puppet, Rig, acquainted, names, notices, of_type, only, pass_time_with


def pinged(puppets: Iterable[Puppet], effects: Sequence[Effect]) -> list[str]:
    return [puppet.name for puppet in puppets if of_type(Ping, puppet.hears(effects))]


def told(node: Node, event: str) -> list[str]:
    """Whom the notices of that event are about."""
    return [str(notice.fields["member"]) for notice in node.notices if notice.event == event]


# ---- rounds


def test_rounds_take_everybody_once_before_anybody_twice() -> None:
    rig, puppets = acquainted(9)
    asked: list[str] = []
    while len(asked) < 27:
        effects = rig.tick()
        asked += [puppet.name for puppet in puppets for _ in of_type(Ping, puppet.hears(effects))]
        for puppet in puppets:
            puppet.acks(rig, puppet.hears(effects))
    for start in (0, 9, 18):
        assert sorted(asked[start : start + 9]) == sorted(puppet.name for puppet in puppets)
    assert asked[:9] != asked[9:18], "in another order each time"


def test_a_probe_is_one_datagram_with_a_ping_a_roll_and_a_digest() -> None:
    rig, (puppet,) = acquainted(1)
    effects: list[Effect] = []
    while not effects:
        effects = rig.tick()
    assert {type(message) for message in puppet.hears(effects)} == {Ping, Roll, Digest}
    assert len(effects) == 1


def test_a_ping_is_answered_at_once_and_only_to_a_proven_address() -> None:
    rig, (puppet,) = acquainted(1)
    assert only(Ack, puppet.hears(rig.receive(puppet.address, puppet.says(Ping(77))))) == Ack(77)
    elsewhere = Puppet(host="10.66.0.1", node="p0")
    assert of_type(Ack, elsewhere.hears(rig.receive(elsewhere.address, elsewhere.says(Ping(77))))) == []


@pytest.mark.parametrize(("late", "state"), [(4.0, "alive"), (60.0, "failed")])
def test_an_answer_that_the_network_kept_for_long_brings_nobody_back(late: float, state: str) -> None:
    rig, (puppet,) = acquainted(1)
    pings: list[Ping] = []
    while rig.states()["p0"] != "failed":
        rig.tick()
    while not pings:
        pings = of_type(Ping, puppet.hears(rig.tick()))
    rig.pass_time(late)
    rig.receive(puppet.address, puppet.says(Ack(pings[0].number)))
    assert rig.states()["p0"] == state


@pytest.mark.parametrize(("late", "state"), [(4.0, "alive"), (25.0, "failed")])
def test_an_answer_to_a_greeting_that_the_network_kept_for_long_brings_nobody_back(late: float, state: str) -> None:
    rig, (puppet,) = acquainted(1)
    rig.seed(puppet.address)
    rig.pass_time(120.0)  # greetings are rare by now, so that the cookie of one still counts much later
    hellos: list[Hello] = []
    while not hellos:
        hellos = of_type(Hello, puppet.hears(rig.tick()))
    assert rig.states()["p0"] == "failed"
    rig.pass_time(late)
    rig.receive(puppet.address, puppet.says(Welcome("p0", 1, 0, hellos[-1].cookie, bytes(8))))
    assert rig.states()["p0"] == state


def test_the_round_trip_time_is_measured_and_smoothed() -> None:
    rig, (puppet,) = acquainted(1)
    assert rig.engine.members(0)[0].rtt is None
    for delay, low, high in ((0.010, 0.0099, 0.0101), (0.020, 0.0119, 0.0121)):
        while not (pings := of_type(Ping, puppet.hears(rig.tick()))):
            pass
        rig.now += delay
        rig.receive(puppet.address, puppet.says(Ack(pings[0].number)))
        rtt = rig.engine.members(0)[0].rtt
        assert rtt is not None
        assert low < rtt < high


# ---- helpers


def unanswered(rig: Rig, puppets: list[Puppet], silent: Puppet) -> dict[str, PingRequest]:
    """Let all but one answer until helpers are asked for it; what each of them is asked."""
    others = [puppet for puppet in puppets if puppet is not silent]
    while rig.now < 60:
        effects = pass_time_with(rig, 0.01, *others)
        asked = {puppet.name: of_type(PingRequest, puppet.hears(effects)) for puppet in others}
        if any(asked.values()):
            return {name: only(PingRequest, requests) for name, requests in asked.items() if requests}
    raise AssertionError("nobody was asked for help")


def test_who_does_not_answer_is_pinged_through_a_few_others_and_saved_by_one_of_them() -> None:
    rig, puppets = acquainted(8)
    silent = puppets[3]
    asked = unanswered(rig, puppets, silent)
    assert len(asked) == Config.lan().indirect_probes
    assert {request.node_id for request in asked.values()} == {silent.node_id}
    name, request = next(iter(asked.items()))
    helper = next(puppet for puppet in puppets if puppet.name == name)
    rig.receive(helper.address, helper.says(Ack(request.number)))
    pass_time_with(rig, 0.5, *(puppet for puppet in puppets if puppet is not silent))
    assert rig.states()["p3"] == "alive"


def test_who_was_not_asked_for_help_cannot_answer_for_another() -> None:
    rig, puppets = acquainted(8)
    silent = puppets[3]
    asked = unanswered(rig, puppets, silent)
    number = next(iter(asked.values())).number
    stranger = next(puppet for puppet in puppets if puppet.name not in asked and puppet is not silent)
    for guess in range(number - 50, number + 50):
        rig.receive(stranger.address, stranger.says(Ack(max(0, guess)), Nack(max(0, guess))))
    pass_time_with(rig, 0.5, *(puppet for puppet in puppets if puppet is not silent))
    assert rig.states()["p3"] == "suspect"


def time_to_fail(rig: Rig, puppets: list[Puppet], silent: Puppet, *, nacks: int) -> float:
    asked = unanswered(rig, puppets, silent)
    begun = rig.now
    for name, request in list(asked.items())[:nacks]:
        helper = next(puppet for puppet in puppets if puppet.name == name)
        rig.receive(helper.address, helper.says(Nack(request.number), Nack(request.number)))
    while rig.states()[silent.name] != "failed":
        pass_time_with(rig, 0.05, *(puppet for puppet in puppets if puppet is not silent))
        assert rig.now < begun + 60
    return rig.now - begun


@pytest.mark.parametrize("probed", ["probed", "suspect"])
def test_a_member_that_is_struck_off_while_it_is_probed_is_not_missed(probed: str) -> None:
    rig, puppets = acquainted(4)
    silent, *others = puppets
    unanswered(rig, puppets, silent)
    if probed == "suspect":
        pass_time_with(rig, 0.5, *others)
        assert rig.states()["p0"] == "suspect"
    rig.done(rig.engine.retire(rig.now, silent.node_id))
    pass_time_with(rig, 30.0, *others)
    assert rig.states() == {"p1": "alive", "p2": "alive", "p3": "alive"}


def test_every_helper_that_does_not_reach_it_either_makes_the_verdict_sooner() -> None:
    times = []
    for nacks in range(4):
        rig, puppets = acquainted(8)
        times.append(time_to_fail(rig, puppets, puppets[3], nacks=nacks))
    assert times == sorted(times, reverse=True)
    least = Config.lan().suspicion
    assert times[3] < least + 0.5 < PATIENCE * least < times[0] + 0.1


def test_a_request_for_help_is_answered_by_the_answer_or_by_a_nack_in_time() -> None:
    rig, (asker, target) = acquainted(2)
    effects = rig.receive(asker.address, asker.says(PingRequest(9, target.node_id, 160)))
    ping = only(Ping, target.hears(effects))
    assert of_type(Ack, asker.hears(rig.receive(target.address, target.says(Ack(ping.number))))) == [Ack(9)]
    rig.receive(asker.address, asker.says(PingRequest(10, target.node_id, 160)))
    assert Nack(10) in asker.hears(rig.pass_time(Config.lan().probe_timeout))
    told = asker.hears(rig.receive(asker.address, asker.says(PingRequest(11, b"nobody..", 160))))
    assert told == [Nack(11)]


def test_a_cut_between_two_nodes_fails_neither() -> None:
    cluster = Cluster(8, seed=1, warm=True)
    cluster.run(5.0)
    cluster.network.add_cut(PairCut(cluster[0], cluster[1]))  # type: ignore[arg-type]
    cluster.run(60.0)
    assert all(len(names(node)) == 7 for node in cluster.nodes)
    assert [told(node, "member.failed") for node in cluster.nodes] == [[]] * 8


class PairCut:
    """Nothing passes between two nodes; everything else does."""

    def __init__(self, one: Node, other: Node) -> None:
        self._pair = {one.address, other.address}

    def blocks(self, source: object, target: object) -> bool:
        return {source, target} == self._pair


# ---- failing


@pytest.mark.parametrize("seed", range(3))
def test_a_dead_member_is_known_to_all_of_thirty_within_five_seconds(seed: int) -> None:
    cluster = Cluster(30, seed=seed, warm=True)
    cluster.network.tracing = False
    cluster.run(5.0)
    cluster[7].stop()
    cluster.run(5.0)
    assert all("n7" in names(node, "failed") for node in cluster.running())
    assert [told(node, "member.failed") for node in cluster.running()] == [["n7"]] * 29


@pytest.mark.parametrize("seed", range(2))
def test_a_quarter_of_all_datagrams_lost_for_two_minutes_fails_nobody(seed: int) -> None:
    cluster = Cluster(30, seed=seed, warm=True, link=Link(loss=0.25))
    cluster.network.tracing = False
    cluster.run(120.0)
    assert [told(node, "member.failed") for node in cluster.nodes] == [[]] * 30


@pytest.mark.parametrize("seconds", [30.0, 600.0, 3600.0])
def test_a_partition_of_any_length_is_healed_within_ten_seconds(seconds: float) -> None:
    cluster = Cluster(6, seed=2, warm=True)
    cluster.network.tracing = False
    cluster.run(3.0)
    cluster.cut([0, 1], [2, 3, 4, 5])
    cluster.run(seconds)
    assert names(cluster[0], "failed") == {"n2", "n3", "n4", "n5"}
    cluster[0].replica.orset("s").add("left")
    cluster[5].replica.orset("s").add("right")
    cluster.heal()
    cluster.run(10.0)
    assert cluster.converged()
    assert all(len(names(node)) == 5 for node in cluster.nodes)


# ---- being slow, or deaf


def test_a_node_that_could_not_run_for_a_while_blames_nobody_and_says_that_it_lagged() -> None:
    cluster = Cluster(12, seed=1, warm=True)
    cluster.run(5.0)
    for pause in (0.5, 1.0, 1.5):
        cluster[3].pause()
        cluster.run(pause)
        cluster[3].resume()
        cluster.run(5.0)
    assert [told(node, "member.failed") for node in cluster.nodes] == [[]] * 12
    assert told(cluster[3], "member.suspected") == []
    assert cluster[3].engine.statistics().lags >= 3
    assert all(len(names(node)) == 11 for node in cluster.nodes)


def test_a_node_that_stood_still_for_long_is_failed_and_fails_nobody_when_it_goes_on() -> None:
    cluster = Cluster(12, seed=1, warm=True)
    cluster.run(5.0)
    cluster[3].pause()
    cluster.run(60.0)
    assert all("n3" in names(node, "failed") for node in cluster.nodes if node is not cluster[3])
    cluster[3].resume()
    cluster.run(5.0)
    assert told(cluster[3], "member.failed") == []
    assert all(len(names(node)) == 11 for node in cluster.nodes)


def test_lag_makes_a_node_wait_longer_before_it_suspects() -> None:
    waits = []
    for lag in (0.0, 0.8):
        rig, puppets = acquainted(4)
        pass_time_with(rig, 5.0, *puppets)
        while rig.now < 10.0:
            pass_time_with(rig, 0.1, *puppets)
            rig.now += lag
        effects: list[Effect] = []
        asked: list[float] = []
        while "member.suspected" not in notices(effects):
            effects = rig.tick()
            if any(of_type(Ping, puppet.hears(effects)) for puppet in puppets):
                asked.append(rig.now)
        waits.append(rig.now - asked[0])
        assert bool(rig.engine.statistics().lags) == bool(lag)
    assert waits[1] > waits[0] + 0.2


def test_a_deaf_node_is_failed_alone_stays_so_and_comes_back_when_it_hears_again() -> None:
    cluster = Cluster(12, seed=3, warm=True)
    cluster.network.tracing = False
    cluster.run(5.0)
    others = [node for node in cluster.nodes if node is not cluster[4]]
    lift = cluster.add_cut([[node.index for node in others], [4]], one_way=True)
    cluster.run(10.0)
    assert all(names(node, "failed") == {"n4"} for node in others)
    cluster.run(60.0)
    assert all(names(node, "failed") == {"n4"} for node in others), "its words arrive all the time"
    assert [told(node, "member.failed") for node in others] == [["n4"]] * 11
    assert [told(node, "member.returned") for node in others] == [[]] * 11
    lift()
    cluster.run(10.0)
    assert all(len(names(node)) == 11 for node in cluster.nodes)


def test_the_tags_of_a_deaf_node_do_not_bring_it_back() -> None:
    rig, (deaf, other) = acquainted(2)
    pass_time_with(rig, 10.0, other)
    assert rig.states()["p0"] == "failed"
    deaf.tells(rig, deaf.own_row(version="2", tags=(("role", "worker"),)))
    assert rig.states()["p0"] == "failed"
