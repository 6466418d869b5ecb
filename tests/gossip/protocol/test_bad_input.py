"""Bad input: each refused, counted under its reason, told of at most once a minute, and nothing else changes."""

import pytest

from gossip.protocol import Address, Config, Effect, Notify
from gossip.protocol.identity import MAX_EPOCH
from gossip.protocol.membership.peers import EPOCH_JUMP
from gossip.protocol.membership.updates import COUNTER_JUMP
from gossip.protocol.output import RARELY
from gossip.protocol.wire.codec import MAX_AGE, MAX_COUNTER
from gossip.protocol.wire.messages import Ack, Challenge, Message, Nack, Ping, PingRequest, Shuffle, Update, Updates

from .support import Puppet, Rig, acquainted, of_type, only, pass_time_with, sends


def refusals(effects: list[Effect]) -> list[str]:
    """The reasons that a person is told of."""
    found = [effect for effect in of_type(Notify, effects) if effect.event == "input.rejected"]
    return [str(effect.fields["reason"]) for effect in found]


def state_of(rig: Rig) -> tuple[object, ...]:
    return rig.engine.members(rig.now), rig.replica.fingerprint, rig.engine.tags, tuple(rig.engine.view())


def refused(
    rig: Rig, puppet: Puppet, datagram: bytes, reason: str, *, times: int = 3, asked: Puppet | None = None
) -> None:
    """That datagram is refused for this reason each time it comes, told of once, and nothing else changes.

    Nothing is sent, but perhaps to the one who is ``asked``.
    """
    before, counted = state_of(rig), rig.rejected
    told: list[str] = []
    for _ in range(times):
        effects = rig.receive(puppet.address, datagram)
        assert {send.address for send in sends(effects)} <= {asked.address if asked else None}
        told += refusals(effects)
    assert rig.rejected == counted | {reason: counted.get(reason, 0) + times}
    assert told == [reason]
    assert state_of(rig) == before
    rig.now += RARELY


@pytest.mark.parametrize("version", [0, 1, 3, 77, 255])
def test_other_versions_of_the_protocol_are_refused(version: int) -> None:
    rig, (puppet,) = acquainted(1)
    good = puppet.says(Ping(1))
    assert good[0] != version
    refused(rig, puppet, bytes([version]) + good[1:], "unknown_version")


@pytest.mark.parametrize(
    ("epoch", "counter"),
    [(EPOCH_JUMP + 2, 0), (MAX_EPOCH, 0), (1, COUNTER_JUMP + 1), (1, MAX_COUNTER), (MAX_EPOCH, MAX_COUNTER)],
)
@pytest.mark.parametrize("state", ["alive", "failed", "left"])
def test_an_absurd_incarnation_of_ourselves_is_refused(epoch: int, counter: int, state: str) -> None:
    rig, (puppet,) = acquainted(1)
    row = Update(rig.identity.node_id, state, epoch, counter, Address("10.1.0.1", 4747))
    refused(rig, puppet, puppet.says(Updates((row,))), "absurd_incarnation")


@pytest.mark.parametrize("state", ["alive", "suspect", "accused", "failed", "left"])
def test_an_absurd_incarnation_of_another_is_refused(state: str) -> None:
    rig, (puppet, other) = acquainted(2)
    refused(rig, puppet, puppet.says(Updates((other.row(state, COUNTER_JUMP + 1),))), "absurd_incarnation", asked=other)
    refused(rig, puppet, puppet.says(Updates((other.row(state, MAX_COUNTER),))), "absurd_incarnation", asked=other)


def test_hearsay_of_an_epoch_that_a_listed_member_can_hardly_have_come_to_is_refused() -> None:
    rig, (puppet, other) = acquainted(2)
    for state in ("alive", "failed"):
        for epoch in (EPOCH_JUMP + 2, MAX_EPOCH):
            refused(rig, puppet, puppet.says(Updates((other.row(state, epoch=epoch),))), "absurd_incarnation")


def test_an_epoch_out_of_bounds_is_malformed_wherever_it_stands() -> None:
    rig, (puppet,) = acquainted(1)
    puppet.epoch = MAX_EPOCH + 1
    for datagram in (puppet.hello(), puppet.says(Ping(1))):
        refused(rig, puppet, datagram, "malformed")


def test_a_later_life_of_another_is_hearsay_until_it_proves_its_address() -> None:
    rig, (puppet, other) = acquainted(2)
    before = state_of(rig)
    for state in ("alive", "suspect", "failed", "left"):
        puppet.tells(rig, other.row(state, epoch=EPOCH_JUMP))
    assert state_of(rig) == before


def test_nobody_can_drive_our_own_counter_beyond_what_others_accept() -> None:
    rig, (puppet,) = acquainted(1)
    rig.engine._members._hearsay._counter = MAX_COUNTER - 5
    row = Update(rig.identity.node_id, "failed", 1, MAX_COUNTER, None)
    refused(rig, puppet, puppet.says(Updates((row,))), "absurd_incarnation")
    rig.done(
        rig.engine.receive(rig.now, puppet.address, puppet.says(Updates((replace_counter(row, MAX_COUNTER - 2),))))
    )
    told = [row for each in of_type(Updates, puppet.hears(rig.pass_time(1.0))) for row in each.rows]
    assert max(row.counter for row in told if row.node_id == rig.identity.node_id) == MAX_COUNTER - 1


def replace_counter(row: Update, counter: int) -> Update:
    return Update(row.node_id, row.state, row.epoch, counter, row.address)


@pytest.mark.parametrize(
    "row",
    [
        Update(b"nodeid..", "alive", 1, MAX_COUNTER + 1),
        Update(b"nodeid..", "alive", 0, 0),
        Update(b"nodeid..", "alive", MAX_EPOCH + 1, 0),
        Update(b"nodeid..", "alive", 1, 0, None, "1\n2"),
        Update(b"nodeid..", "alive", 1, 0, nonce="abcdefg"),
        Update(b"nodeid..", "alive", 1, 0, nonce="a.b"),
        Update(b"nodeid..", "alive", 1, 0, None, "v" * 25),
        Update(b"nodeid..", "alive", 1, 0, None, "", (("role\x00", "x"),)),
        Update(b"nodeid..", "alive", 1, 0, None, "", (("role", "\x1b[31mred"),)),
        Update(b"nodeid..", "alive", 1, 0, None, "", (("role", "x" * 300),)),
        Update(b"nodeid..", "alive", 1, 0, None, "", tuple((f"{i:02}", "") for i in range(17))),
    ],
)
def test_words_with_control_characters_or_out_of_bounds_are_malformed(row: Update) -> None:
    rig, (puppet,) = acquainted(1)
    refused(rig, puppet, puppet.says(Ping(1), Updates((row,))), "malformed")


@pytest.mark.parametrize("name", ["", "two\nlines", "\x1b]0;title\x07", "n" * 65, "\u202egnp"])
def test_a_name_with_control_characters_is_malformed(name: str) -> None:
    rig, puppet = Rig(), Puppet()
    puppet.name = name
    refused(rig, puppet, puppet.hello(), "malformed")


def test_ten_thousand_invented_members_are_never_listed_and_take_bounded_room() -> None:
    rig, (puppet,) = acquainted(1)
    effects: list[Effect] = []
    for start in range(0, 10_000, 20):
        rows = [
            Puppet.row(puppet, "alive", address=Address(f"10.9.{i // 250}.{i % 250 + 1}", 4747))
            for i in range(start, start + 20)
        ]
        invented = [Update((start + i).to_bytes(8, "big"), row.state, 1, 0, row.address) for i, row in enumerate(rows)]
        effects += puppet.tells(rig, *invented)
    assert rig.states() == {"p0": "alive"}
    assert rig.rejected == {"too_many_names": 10_000 - Config().max_candidates}
    assert refusals(effects) == ["too_many_names"]
    assert len(rig.engine._members._greeter._candidates) == Config().max_candidates
    effects = pass_time_with(rig, 50.0, puppet)
    assert rig.states() == {"p0": "alive"}
    assert rig.rejected["unproven_address"] == Config().max_candidates
    assert refusals(effects) == ["unproven_address"]
    honest = Puppet("honest", host="10.3.0.1")
    puppet.tells(rig, honest.row())
    assert honest.hears(rig.pass_time(1.0)), "there is room again"


def test_a_view_full_of_dead_addresses_recovers() -> None:
    rig = Rig(config=Config(full_membership_max=8, view_size=8, shuffle_interval=1.0))
    puppets = [Puppet(f"p{i}", host=f"10.2.0.{i + 1}") for i in range(12)]
    for puppet in puppets:
        puppet.meets(rig)
    assert rig.engine.is_partial
    liar, *living = puppets
    for age in (0, 1, MAX_AGE):
        entries = [(bytes([age % 250, i] * 4), Address(f"10.8.{age % 250}.{i + 1}", 4747), age) for i in range(64)]
        for _ in range(4):
            rig.receive(liar.address, liar.says(Shuffle(tuple(entries), False)))
    ids = {puppet.node_id for puppet in puppets}
    assert len(rig.engine.view()) <= 8
    assert {bytes.fromhex(member.id) for member in rig.engine.members(0)} <= ids, "none of them is listed"
    for _ in range(30):
        pass_time_with(rig, 1.0, *puppets)
        honest = tuple((puppet.node_id, puppet.address, 0) for puppet in living[:6])
        rig.receive(living[0].address, living[0].says(Shuffle(honest, False)))
    assert set(rig.engine.view()) <= ids
    assert len(rig.engine.view()) >= 4
    assert rig.rejected["unproven_address"] > 0


def test_a_shuffle_never_takes_more_than_its_length() -> None:
    rig = Rig(config=Config(full_membership_max=8, view_size=8))
    puppets = [Puppet(f"p{i}", host=f"10.2.0.{i + 1}") for i in range(10)]
    for puppet in puppets:
        puppet.meets(rig)
    entries = [(bytes([i] * 8), Address(f"10.8.0.{i + 1}", 4747), 0) for i in range(64)]
    effects = puppets[0].hears(rig.receive(puppets[0].address, puppets[0].says(Shuffle(tuple(entries), True))))
    assert len(only(Shuffle, effects).entries) <= Config().shuffle_length
    assert len(rig.engine._members._greeter._candidates) <= Config().shuffle_length


# ---- floods


def test_a_flood_of_pings_gets_one_small_answer_each_and_nothing_at_an_unproven_address() -> None:
    rig, (puppet,) = acquainted(1)
    for _ in range(200):
        flood = puppet.says(*[Ping(i) for i in range(60)])
        effects = rig.receive(puppet.address, flood)
        assert sum(len(send.data) for send in sends(effects)) <= len(flood) + 60
        assert of_type(Ack, puppet.hears(effects)) == [Ack(i) for i in range(60)]
    stranger = Puppet("stranger", host="10.66.0.1")
    effects = rig.receive(stranger.address, stranger.says(*[Ping(i) for i in range(60)]))
    assert [type(message) for message in stranger.hears(effects)] == [Challenge]


def test_a_flood_of_requests_makes_a_bounded_number_of_pings_and_blames_nobody() -> None:
    rig, (flooder, victim, other) = acquainted(3)
    pinged = nacks = 0
    for i in range(40):
        requests: list[Message] = [PingRequest(i * 60 + j, victim.node_id, 160) for j in range(60)]
        effects = rig.receive(flooder.address, flooder.says(*requests))
        pinged += len(of_type(Ping, victim.hears(effects)))
        nacks += len(of_type(Nack, flooder.hears(effects)))
    assert pinged == 256
    assert nacks == 40 * 60 - 256
    assert len(rig.engine._detector._pings) <= 1024
    pass_time_with(rig, 5.0, flooder, victim, other)
    assert set(rig.states().values()) == {"alive"}
    assert len(rig.engine._detector._requests) == 0


def test_answers_under_numbers_that_nobody_gave_out_change_nothing() -> None:
    rig, (puppet, other) = acquainted(2)
    pass_time_with(rig, 10.0, other)
    assert rig.states() == {"p0": "failed", "p1": "alive"}
    before = state_of(rig)
    for number in (0, 500, 70_000, 1 << 32):
        assert sends(rig.receive(puppet.address, puppet.says(Ack(number), Nack(number)))) == []
    assert state_of(rig) == before


def test_an_answer_of_somebody_else_does_not_count() -> None:
    rig, (puppet, liar) = acquainted(2)
    for _ in range(2000):
        effects = rig.tick()
        liar.acks(rig, [*liar.hears(effects), *puppet.hears(effects)])  # it can guess the numbers
        if rig.states()["p0"] == "failed":
            return
    raise AssertionError("the liar kept it alive")
