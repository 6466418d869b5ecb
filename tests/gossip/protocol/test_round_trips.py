"""How long answers are waited for follows from how long they have taken: members far away are not suspected."""

import pytest

from gossip.protocol import Config, Effect
from gossip.protocol.wire.messages import Ack, Hello, Nack, Ping, PingRequest, Proof, Welcome
from simulations import Cluster, Link

from .support import Puppet, Rig, acquainted, notices, of_type, only, pass_time_with

FAR = 0.3
"""Seconds of a round trip."""


def greeted_after(rig: Rig, puppet: Puppet, seconds: float) -> None:
    """Let the engine greet the puppet and be answered late."""
    rig.seed(puppet.address)
    hello = only(Hello, puppet.hears(rig.tick()))
    rig.now += seconds
    rig.receive(puppet.address, puppet.says(Welcome(puppet.name, 1, 0, hello.cookie, bytes(8))))


def met_after(rig: Rig, puppet: Puppet, seconds: float) -> None:
    """Let the puppet greet the engine and prove its address late."""
    welcome = only(Welcome, puppet.hears(rig.receive(puppet.address, puppet.hello())))
    rig.now += seconds
    rig.receive(puppet.address, puppet.says(Proof(welcome.cookie)))


def time_to_suspect(rig: Rig, puppet: Puppet) -> float:
    """Seconds from the first unanswered ping on."""
    effects = rig.tick()
    while not of_type(Ping, puppet.hears(effects)):
        effects = rig.tick()
    begun = rig.now
    while "member.suspected" not in notices(effects):
        effects = rig.tick()
        assert rig.now < begun + 60.0
    return rig.now - begun


@pytest.mark.parametrize("meet", [greeted_after, met_after])
def test_before_the_first_answer_the_greeting_tells_how_far_away_a_member_is(meet: object) -> None:
    rig, puppet = Rig(), Puppet()
    meet(rig, puppet, FAR)  # type: ignore[operator]
    assert rig.engine.members(rig.now)[0].rtt == pytest.approx(FAR)
    assert time_to_suspect(rig, puppet) > 2 * FAR


def test_a_greeting_is_timed_however_often_it_had_to_be_repeated() -> None:
    rig, puppet = Rig(), Puppet()
    rig.seed(puppet.address)
    hellos: list[Hello] = []
    while len(hellos) < 4:
        hellos += of_type(Hello, puppet.hears(rig.tick()))
    last = rig.now
    rig.now += 0.05
    rig.receive(puppet.address, puppet.says(Welcome(puppet.name, 1, 0, hellos[-1].cookie, bytes(8))))
    assert rig.engine.members(rig.now)[0].rtt == pytest.approx(rig.now - last)


def test_a_near_member_is_missed_as_soon_as_ever() -> None:
    rig, puppet = Rig(), Puppet()
    met_after(rig, puppet, 0.001)
    assert time_to_suspect(rig, puppet) < 2 * Config.lan().probe_timeout + 0.05


def test_an_answer_that_is_put_off_for_ever_longer_is_waited_for_up_to_a_limit() -> None:
    rig, puppet = Rig(config=Config(suspicion=20.0)), Puppet()
    puppet.meets(rig)
    for _ in range(30):
        while not (pings := of_type(Ping, puppet.hears(rig.tick()))):
            pass
        rig.pass_time(5.0)
        rig.receive(puppet.address, puppet.says(Ack(pings[0].number)))
    while rig.states()["puppet"] != "alive":
        puppet.acks(rig, puppet.hears(rig.tick()))
    longest = 9 * 6 * Config.lan().probe_timeout_max  # at the poorest of health
    assert time_to_suspect(rig, puppet) < longest


def test_the_jitter_of_answers_is_allowed_for() -> None:
    waits = []
    for delays in ((0.1, 0.1), (0.02, 0.18)):
        rig, puppet = Rig(), Puppet()
        met_after(rig, puppet, 0.1)
        for i in range(40):
            while not (pings := of_type(Ping, puppet.hears(rig.tick()))):
                pass
            rig.now += delays[i % 2]
            rig.receive(puppet.address, puppet.says(Ack(pings[-1].number)))
        waits.append(time_to_suspect(rig, puppet))
    assert waits[1] > waits[0] + 0.2


def test_a_helper_waits_as_long_as_it_is_asked_to_and_pings_twice() -> None:
    rig, (asker, target) = acquainted(2)
    effects = rig.receive(asker.address, asker.says(PingRequest(9, target.node_id, 2000)))
    assert of_type(Ping, target.hears(effects))
    told = pass_time_with(rig, 1.9, asker)
    assert not of_type(Nack, asker.hears(told))
    assert only(Ping, target.hears(effects)) in target.hears(told)
    assert Nack(9) in asker.hears(pass_time_with(rig, 0.2, asker))


def test_a_helper_does_not_wait_for_longer_than_its_own_settings_allow() -> None:
    rig, (asker, target) = acquainted(2)
    rig.receive(asker.address, asker.says(PingRequest(9, target.node_id, 60_000)))
    assert Nack(9) in asker.hears(pass_time_with(rig, 3 * Config.lan().probe_timeout_max + 0.1, asker))


class Distant:
    """Puppets that answer every ping, after a long round trip."""

    def __init__(self, rig: Rig, *puppets: Puppet) -> None:
        self._rig, self._puppets = rig, puppets
        self._under_way: list[tuple[float, Puppet, int]] = []

    def tick(self) -> list[Effect]:
        """Let time pass until the engine wants to be called, or an answer comes."""
        rig, due = self._rig, min((when for when, _, _ in self._under_way), default=float("inf"))
        if due <= rig.engine.deadline():
            _, puppet, number = self._under_way.pop(0)
            rig.now = due
            return rig.receive(puppet.address, puppet.says(Ack(number)))
        effects = rig.tick()
        for puppet in self._puppets:
            for ping in of_type(Ping, puppet.hears(effects)):
                self._under_way.append((rig.now + FAR, puppet, ping.number))
        return effects


def test_whoever_asks_for_help_waits_for_longer_than_the_helpers_do() -> None:
    rig, puppets = Rig(), [Puppet(f"p{i}", host=f"10.2.0.{i + 1}") for i in range(5)]
    for puppet in puppets:
        met_after(rig, puppet, FAR)
    silent, *helpers = puppets
    distant = Distant(rig, *helpers)
    requests: list[PingRequest] = []
    effects: list[Effect] = []
    while not requests:
        effects = distant.tick()
        requests = [request for helper in helpers for request in of_type(PingRequest, helper.hears(effects))]
    assert {request.node_id for request in requests} == {silent.node_id}
    begun = rig.now
    while "member.suspected" not in notices(effects):
        effects = distant.tick()
        assert rig.now < begun + 60.0
    patience = requests[0].patience / 1000
    assert patience > 2 * FAR, "to the target and back, which may be as far from the helper"
    assert rig.now - begun > patience + FAR, "and its word takes a while"


@pytest.mark.parametrize("profile", ["lan", "wan", "local"])
def test_at_five_percent_of_loss_nobody_far_away_is_suspected(profile: str) -> None:
    config = {"lan": Config.lan(), "wan": Config.wan(), "local": Config.local()}[profile]
    cluster = Cluster(25, seed=3, config=config, link=Link(latency=FAR / 2, loss=0.05), key=None)
    cluster.network.tracing = False
    cluster.run(12.0)
    suspected = [notice for node in cluster.nodes for notice in node.notices if notice.event == "member.suspected"]
    assert suspected == []
    assert all(len(node.engine.members(node.now)) == 24 for node in cluster.nodes)
