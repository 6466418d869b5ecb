"""What somebody without the key has recorded and sends again keeps nobody alive and brings nobody back."""

from gossip.protocol.wire.messages import Ack, Hello, Nack, Ping, PingRequest, Proof, Welcome

from .support import Puppet, Rig, acquainted, notices, of_type, only, pass_time_with


def test_answers_to_a_former_life_of_the_pinger_do_not_keep_a_dead_member_alive() -> None:
    target = Puppet()
    recorded: list[bytes] = []
    former = Rig(seed=1)
    target.meets(former)
    while former.now < 120.0:
        for ping in of_type(Ping, target.hears(former.tick())):
            recorded.append(target.says(Ack(ping.number)))
            former.receive(target.address, recorded[-1])
    assert len(recorded) > 100
    present = Rig(seed=2, epoch=2)
    target.meets(present)
    while present.now < 10.0:
        present.tick()
        for datagram in recorded:
            present.receive(target.address, datagram)
    assert present.states() == {"puppet": "failed"}


def test_an_answer_counts_once() -> None:
    rig, (puppet, _) = acquainted(2)
    recorded: list[bytes] = []
    while not recorded:
        recorded = [puppet.says(Ack(ping.number)) for ping in of_type(Ping, puppet.hears(rig.tick()))]
    rig.receive(puppet.address, recorded[0])
    while rig.now < 10.0:
        rig.tick()
        rig.receive(puppet.address, recorded[0])
    assert rig.states()["p0"] == "failed"


def test_the_word_of_a_helper_counts_once() -> None:
    rig, puppets = acquainted(5)
    _silent, *others = puppets
    saved: list[tuple[Puppet, bytes]] = []
    while not saved:
        effects = pass_time_with(rig, 0.01, *others)
        asked = [(helper, request) for helper in others for request in of_type(PingRequest, helper.hears(effects))]
        saved = [(helper, helper.says(Ack(request.number))) for helper, request in asked]
    helper, datagram = saved[0]
    rig.receive(helper.address, datagram)
    effects = []
    while "member.suspected" not in notices(effects):
        effects = pass_time_with(rig, 0.01, *others)
        assert rig.now < 30.0
    assert rig.states()["p0"] == "suspect"
    rig.receive(helper.address, datagram)
    assert rig.states()["p0"] == "suspect"


def test_a_recorded_welcome_does_not_bring_back_who_has_failed() -> None:
    rig, puppet = Rig(), Puppet()
    rig.seed(puppet.address)
    hello = only(Hello, puppet.hears(rig.tick()))
    welcome = puppet.says(Welcome("puppet", 1, 0, hello.cookie, bytes(8)))
    rig.receive(puppet.address, welcome)
    assert rig.states() == {"puppet": "alive"}
    rig.pass_time(10.0)
    assert rig.states() == {"puppet": "failed"}
    for _ in range(30):  # it is greeted anew meanwhile, as it is a seed
        rig.receive(puppet.address, welcome)
        rig.pass_time(1.0)
        assert rig.states() == {"puppet": "failed"}


def test_a_recorded_greeting_does_not_bring_back_who_has_failed_where_it_was_before() -> None:
    rig, puppet = Rig(), Puppet()
    recorded = puppet.hello()
    welcome = only(Welcome, puppet.hears(rig.receive(puppet.address, recorded)))
    proof = puppet.says(Proof(welcome.cookie))
    rig.receive(puppet.address, proof)
    assert rig.states() == {"puppet": "alive"}
    moved = Puppet("puppet", host="10.2.0.2")
    for host in range(2, 9):  # so often that the first address is not remembered as one of its own any more
        moved = Puppet("puppet", host=f"10.2.0.{host}")
        rig.pass_time(10.0)
        assert rig.states() == {"puppet": "failed"}
        moved.meets(rig)
        moved.acks(rig, moved.hears(rig.pass_time(1.0)))
    rig.pass_time(10.0)
    assert rig.states() == {"puppet": "failed"}
    rig.receive(puppet.address, recorded)
    rig.receive(puppet.address, proof)
    assert rig.states() == {"puppet": "failed"}


def test_ping_numbers_do_not_follow_from_those_before() -> None:
    rig, puppets = acquainted(3)
    numbers = [ping.number for _ in range(40) for p in puppets for ping in of_type(Ping, p.hears(rig.tick()))]
    assert len(set(numbers)) == len(numbers) > 30
    assert min(numbers) < 1 << 62 < 3 << 62 < max(numbers)


def test_the_answer_to_one_member_means_nothing_to_another() -> None:
    """Both have asked the same member in their first lives, as many times."""
    target = Puppet()
    one, other = Rig(seed=1), Rig(seed=2, name="other")
    for rig in (one, other):
        target.meets(rig)
    recorded: list[bytes] = []
    while one.now < 5.0:
        recorded += [target.says(Ack(p.number), Nack(p.number)) for p in of_type(Ping, target.hears(one.tick()))]
    while other.now < 10.0:
        other.tick()
        for datagram in recorded:
            other.receive(target.address, datagram)
    assert other.states() == {"puppet": "failed"}
