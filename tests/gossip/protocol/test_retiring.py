"""Who is retired is forgotten by all and stays out; who is over leaves the contexts, and nothing is lost by it."""

import pytest

from crdts import Context, Replica, encode_context
from gossip.protocol import Address, Notify, Send
from gossip.protocol.closing import QUIET
from gossip.protocol.errors import NodeRetired
from gossip.protocol.fence import fence_of, fenced_nodes, is_fenced, life_of
from gossip.protocol.messages import (
    Ask,
    Digest,
    Gone,
    Hello,
    Introduce,
    Known,
    Leave,
    Message,
    Push,
    Report,
    Retired,
    Welcome,
)
from gossip.protocol.retiring import TOLD_INTERVAL
from gossip.protocol.seal import OVERHEAD_BYTES
from simulations import Cluster, Link, Node

from .support import Puppet, Rig, connect, notices, of_type, only, say

ZEROS = bytes(8)


def cluster_of(size: int = 4, *, seed: int = 1, disk: bool = True, link: Link | None = None) -> Cluster:
    """A cluster whose every node has written its name, and in which all have everything."""
    cluster = Cluster(size, seed=seed, disk=disk, link=link)
    cluster.run(3.0)
    for node in cluster.nodes:
        node.replica.orset("s").add(node.name)
    cluster.run_until_converged()
    return cluster


def listed(node: Node) -> dict[str, str]:
    return {member.name: member.state for member in node.engine.members(node.now)}


def lives(node: Node) -> list[str]:
    """The writers in its context, by the name of their node and the epoch."""
    names = {other.engine.identity.node_id.hex(): other.name for other in node._cluster.nodes}
    found = [writer.partition(".") for writer in node.replica.context.replicas()]
    return sorted(f"{names[who]}.{epoch}" for who, _, epoch in found)


def elements(node: Node) -> set[str]:
    return set(node.replica.orset("s"))


# ---- what fences


def test_a_fence_stands_under_the_node_s_id_and_is_no_life_of_it() -> None:
    node_id = bytes(range(8))
    assert fence_of(node_id) == "0001020304050607.*"
    assert life_of(fence_of(node_id)) is None
    assert life_of("0001020304050607.12") == (node_id, 12)


@pytest.mark.parametrize(
    "writer", ["", "w", "0001020304050607", "0001020304050607.", "0001.1", "000102030405060G.1", "0001020304050607.-1"]
)
def test_other_writers_are_nobody_s_life(writer: str) -> None:
    assert life_of(writer) is None


def test_a_fence_is_in_the_shared_state_and_in_no_context() -> None:
    rig, puppet = Rig(), Puppet()
    puppet.meets(rig)
    rig.done(rig.engine.retire(rig.now, puppet.node_id))
    assert is_fenced(rig.kernel, puppet.node_id)
    assert fenced_nodes(rig.kernel) == [puppet.node_id]
    assert rig.replica.context.replicas() == [rig.replica.replica_id]
    other = Rig(name="other")
    other.kernel.join(rig.kernel.state())
    assert is_fenced(other.kernel, puppet.node_id)


# ---- members


def test_a_retired_member_is_forgotten_by_all_and_what_it_wrote_stays() -> None:
    cluster = cluster_of()
    cluster[3].vanish()
    cluster[0].retire(3)
    cluster.run(30.0)
    for node in cluster.running():
        assert listed(node).keys() == {"n0", "n1", "n2"} - {node.name}
        assert elements(node) == {"n0", "n1", "n2", "n3"}
        assert lives(node) == ["n0.1", "n1.1", "n2.1"]


def test_a_retired_node_that_comes_back_is_told_so_and_changes_nothing() -> None:
    cluster = cluster_of()
    cluster[3].stop()
    cluster[0].retire(3)
    cluster.run(30.0)
    before = [node.replica.fingerprint for node in cluster.running()]
    back = cluster.restart(3)
    back.replica.orset("s").add("too late")
    cluster.run(10.0)
    assert back.engine.retired
    assert back.engine.members(back.now) == []
    told = only(Notify, [notice for notice in back.notices if notice.event == "identity.retired"])
    assert (told.fields["unshared_writes"], told.fields["objects"]) == (1, "s")
    assert [node.replica.fingerprint for node in cluster.running()] == before
    assert all("n3" not in listed(node) for node in cluster.running())


def test_a_node_that_comes_back_to_somebody_who_has_not_heard_is_closed_once_that_one_has() -> None:
    cluster = cluster_of()
    cluster[3].stop()
    cluster.cut([0, 1], [2, 3])
    cluster[0].retire(3)
    cluster.run(5.0)
    cluster.restart(3).replica.orset("s").add("taken by n2")
    cluster.run(5.0)
    assert "taken by n2" in elements(cluster[2])
    cluster.heal()
    cluster.run(40.0)
    assert cluster[3].engine.retired
    for node in cluster.running():
        assert "taken by n2" in elements(node)
        assert lives(node) == ["n0.1", "n1.1", "n2.1"]
        assert "n3" not in listed(node)


def test_a_node_that_is_retired_while_it_runs_stops_and_writes_no_more() -> None:
    rig, puppet = Rig(), Puppet()
    puppet.meets(rig)
    assert not rig.engine.retired
    rig.replica.orset("s").add("only here")
    effects = rig.receive(puppet.address, puppet.says(Retired(rig.identity.node_id, b"")))
    assert "identity.retired" in notices(effects)
    with pytest.raises(NodeRetired, match="fresh data directory"):
        rig.engine.check_writable()
    with pytest.raises(NodeRetired):
        rig.engine.retire(rig.now, puppet.node_id)
    assert not of_type(Send, rig.pass_time(60.0))
    assert not of_type(Send, rig.receive(puppet.address, puppet.hello()))
    rig.seed(puppet.address)
    assert not of_type(Send, rig.pass_time(60.0))


def test_a_node_that_finds_its_fence_in_what_it_receives_stops_too() -> None:
    rig, puppet = Rig(), Puppet()
    puppet.meets(rig)
    other = Rig(name="other")
    other.engine.retire(0.0, rig.identity.node_id)
    delta = other.kernel.delta_since(Context())
    assert "identity.retired" in notices(rig.receive(puppet.address, puppet.says(Push(delta, 0, 0))))
    assert rig.engine.retired


@pytest.mark.parametrize("whose", ["another node's", "an unproven one's"])
def test_nobody_is_talked_into_being_retired(whose: str) -> None:
    rig, puppet = Rig(), Puppet()
    if whose == "another node's":  # replayed
        puppet.meets(rig)
        rig.receive(puppet.address, puppet.says(Retired(b"somebody", b"")))
    else:
        rig.receive(puppet.address, puppet.says(Retired(rig.identity.node_id, b"")))
        rig.receive(puppet.address, puppet.says(Retired(rig.identity.node_id, b"a guess.")))
    assert not rig.engine.retired
    rig.engine.check_writable()


def test_the_answer_to_a_greeting_is_believed_as_it_holds_its_cookie() -> None:
    rig, puppet = Rig(), Puppet()
    hello = only(Hello, puppet.hears([*rig.seed(puppet.address), *rig.tick()]))
    rig.receive(puppet.address, puppet.says(Retired(rig.identity.node_id, hello.cookie)))
    assert rig.engine.retired


def fence_puppet() -> tuple[Rig, Puppet]:
    rig, puppet = Rig(), Puppet()
    puppet.meets(rig)
    effects = rig.done(rig.engine.retire(rig.now, puppet.node_id))
    assert "member.retired" in notices(effects)
    assert rig.states() == {}
    return rig, puppet


def test_a_fenced_node_is_not_admitted_again_under_any_epoch_nor_from_any_address() -> None:
    rig, puppet = fence_puppet()
    for again in (puppet, Puppet(epoch=7), Puppet(name="renamed", node="puppet", host="10.9.9.9", epoch=8)):
        rig.pass_time(TOLD_INTERVAL)
        told = again.hears(rig.receive(again.address, again.hello()))
        assert told == [Retired(puppet.node_id, again.cookie)]
        assert rig.states() == {}
    assert rig.engine.statistics().rejected == {"retired": 3}


def test_nothing_of_a_fenced_node_is_taken() -> None:
    rig, puppet = fence_puppet()
    before = rig.replica.context
    delta = Rig(name="writer").replica.orset("s").add("x")
    messages: list[Message] = [Push(delta, 6, 0), Leave(1), Known(((b"another.", Address("10.4.4.4", 4747)),)), Gone()]
    for message in messages:
        effects = rig.receive(puppet.address, puppet.says(message))
        assert not [m for m in puppet.hears(effects) if not isinstance(m, Retired)]
    assert rig.replica.context == before
    assert not of_type(Hello, Puppet(host="10.4.4.4").hears(rig.pass_time(5.0)))


def test_a_fenced_node_is_told_once_a_second_in_no_more_bytes_than_it_sent() -> None:
    rig, puppet = fence_puppet()
    sizes = []
    for _ in range(50):
        datagram = puppet.says(Digest(ZEROS, (1 << 64) - 1))
        answers = of_type(Send, rig.receive(puppet.address, datagram))
        sizes += [(len(answer.data), len(datagram)) for answer in answers]
        rig.pass_time(TOLD_INTERVAL / 10)
    assert 4 <= len(sizes) <= 6
    assert all(answered <= sent for answered, sent in sizes)
    rig.pass_time(TOLD_INTERVAL)
    short = puppet.says(Gone())
    assert len(short) < len(puppet.says(Retired(puppet.node_id, b"")))
    assert not of_type(Send, rig.receive(puppet.address, short))


def test_a_fenced_node_gets_no_stream() -> None:
    rig, puppet = fence_puppet()
    conn, stream = connect(rig, puppet)
    effects = say(rig, conn, stream, Introduce(puppet.node_id, "puppet", 9, False))
    assert "stream.failed" in notices(effects)
    assert rig.engine.statistics().rejected == {"retired": 1}


def test_a_fenced_node_that_others_name_is_not_greeted() -> None:
    rig, puppet = fence_puppet()
    other = Puppet("other", host="10.3.0.1")
    other.meets(rig)
    named = other.says(Known(((puppet.node_id, puppet.address),)))
    effects = [*rig.receive(other.address, named), *rig.pass_time(3.0)]
    assert not of_type(Hello, puppet.hears(effects))


def test_another_node_at_the_address_of_a_retired_one_is_welcome() -> None:
    rig, puppet = fence_puppet()
    successor = Puppet("successor")
    assert successor.address == puppet.address
    successor.meets(rig)
    assert rig.states() == {"successor": "alive"}


def test_retiring_again_changes_nothing() -> None:
    rig, puppet = fence_puppet()
    before = rig.replica.context
    assert not of_type(Send, rig.done(rig.engine.retire(rig.now, puppet.node_id)))
    assert rig.replica.context == before


# ---- writers


def test_the_lives_of_restarted_nodes_leave_the_contexts_by_themselves() -> None:
    cluster = cluster_of(disk=True)
    for _ in range(3):
        for node in list(cluster.nodes):
            node.stop()
            cluster.restart(node.index)
            cluster.run(0.5)
            cluster[node.index].replica.orset("s").add(f"{node.name} again")
        cluster.run(20.0)
    for node in cluster.nodes:
        assert lives(node) == ["n0.4", "n1.4", "n2.4", "n3.4"]
        assert {"n0", "n3", "n0 again", "n3 again"} <= elements(node)


def test_without_disks_they_do_too() -> None:
    cluster = cluster_of(disk=False)
    for node in list(cluster.nodes[1:]):
        node.stop()
        cluster.restart(node.index)
        cluster.run(5.0)
    cluster.run(20.0)
    assert all(lives(node) == ["n0.1"] or lives(node)[0] == "n0.1" for node in cluster.nodes)
    assert all(not {"n1.1", "n2.1", "n3.1"} & set(lives(node)) for node in cluster.nodes)
    assert all(elements(node) == {"n0", "n1", "n2", "n3"} for node in cluster.nodes)


def test_a_writer_that_keeps_nothing_and_leaves_is_closed_by_the_others() -> None:
    cluster = cluster_of(disk=False)
    cluster[3].leave()
    cluster.run(20.0)
    for node in cluster.running():
        assert "n3.1" not in lives(node)
        assert listed(node)["n3"] == "left"
        assert "n3" in elements(node)


@pytest.mark.parametrize("how", ["failed", "left with a disk"])
def test_nobody_is_closed_while_somebody_is_missing_who_may_have_more(how: str) -> None:
    cluster = cluster_of()
    cluster[2].stop()
    cluster.restart(2)
    if how == "failed":
        cluster[3].stop()
    else:
        cluster[3].leave(for_good=False)
    cluster.run(60.0)
    assert all("n2.1" in lives(node) for node in cluster.running())
    assert all(not node.replica.store.kernel.limits for node in cluster.running())
    cluster.restart(3)
    cluster.run(30.0)
    assert all("n2.1" not in lives(node) for node in cluster.running())


def test_what_only_a_cut_off_reader_has_of_a_retired_writer_is_not_lost() -> None:
    cluster = Cluster(4, seed=3, disk=True)
    cluster.run(3.0)
    cluster[0].replica.orset("s").add("n0")
    cluster.run_until_converged()
    cluster.cut([0, 1], [2, 3])
    cluster[3].replica.orset("s").add("for n2 only")
    cluster.run(1.0)
    cluster[3].stop()
    cluster[0].retire(3)
    cluster.run(60.0)
    assert "for n2 only" not in elements(cluster[0])
    cluster.heal()
    cluster.run(40.0)
    for node in cluster.running():
        assert "for n2 only" in elements(node)
        assert lives(node) == ["n0.1"] or "n3.1" not in lives(node)


def test_another_goes_on_when_the_one_who_closes_dies() -> None:
    cluster = cluster_of(6, link=Link(loss=0.3))
    cluster[5].vanish()
    cluster[4].retire(5)
    first = min(cluster.running(), key=lambda node: node.engine.identity.node_id)
    while not first.replica.said_of(cluster[5].replica.replica_id):
        cluster.run(0.1)
    first.stop()
    cluster.run(30.0)
    by = next(node for node in cluster.running())
    by.retire(first.index)
    cluster.run(60.0)
    for node in cluster.running():
        assert "n5.1" not in lives(node)
        assert f"{first.name}.1" not in lives(node)


def test_at_heavy_loss_all_writers_that_are_over_are_closed_nevertheless() -> None:
    cluster = cluster_of(12, link=Link(loss=0.4))
    for index in range(3, 9):
        cluster[index].stop()
        cluster.restart(index)
    cluster.run(120.0)
    for node in cluster.running():
        assert not [life for life in lives(node) if not life.endswith((".2", "0.1", "1.1", "2.1", "9.1"))]


def test_nothing_is_asked_while_there_is_nothing_to_close() -> None:
    cluster = cluster_of()
    cluster[3].vanish()
    cluster.run(30.0)
    asked = []
    cluster.network.taps.append(lambda source, target, data: asked.append(len(data)))
    cluster.run(60.0)
    quiet, asked[:] = sum(asked), []
    cluster[2].stop()
    cluster.restart(2)
    cluster.run(30.0)  # n2.1 is over, and n3 is missing
    asked.clear()
    cluster.run(60.0)
    assert abs(sum(asked) - quiet) < 0.1 * quiet


def test_a_member_is_not_clear_until_it_has_known_for_a_while_who_is_there() -> None:
    rig, puppet = Rig(), Puppet()
    puppet.meets(rig)
    for seconds, clear in ((1.0, False), (QUIET + 3.0, True)):
        alive(rig, puppet, seconds)
        asked = puppet.hears(rig.receive(puppet.address, puppet.says(Ask(("w",)))))
        assert only(Report, asked).clear == clear
    Puppet("newcomer", host="10.3.0.1").meets(rig)
    asked = puppet.hears(rig.receive(puppet.address, puppet.says(Ask(("w",)))))
    assert not only(Report, asked).clear


# ---- messages by hand


def led() -> tuple[Rig, Puppet]:
    """A rig that leads, as its id is below that of its only member, and that member."""
    puppet = Puppet()
    seed = next(s for s in range(1, 99) if Rig(seed=s).identity.node_id < puppet.node_id)
    rig = Rig(seed=seed, epoch=2)
    puppet.meets(rig)
    alive(rig, puppet, QUIET + 3.0)
    return rig, puppet


def test_a_question_is_answered_with_what_is_there_of_these_writers() -> None:
    rig, puppet = Rig(), Puppet()
    puppet.meets(rig)
    writer = Rig(name="writer", seed=5)
    delta = writer.replica.orset("s").add("x")
    rig.receive(puppet.address, puppet.says(Push(delta, 0, 0)))
    answer = puppet.hears(rig.receive(puppet.address, puppet.says(Ask((writer.replica.replica_id, "nobody")))))
    report = only(Report, answer)
    assert report.context == Context({writer.replica.replica_id: 1})
    assert not report.clear  # it has never met the writer
    assert report.mark == int.from_bytes(rig.identity.node_id) ^ int.from_bytes(puppet.node_id)


def test_only_members_are_asked_and_answered() -> None:
    rig, puppet = Rig(), Puppet()
    assert not of_type(Report, puppet.hears(rig.receive(puppet.address, puppet.says(Ask(("w",))))))


def earlier_life(rig: Rig, puppet: Puppet) -> str:
    """Let the rig hear of a write of its own earlier life."""
    earlier = Rig(seed=1, name="earlier").replica
    life = f"{rig.identity.node_id.hex()}.1"
    earlier = type(earlier)(life)
    rig.receive(puppet.address, puppet.says(Push(earlier.orset("s").add("x"), 0, 0)))
    return life


@pytest.mark.parametrize("wrong", ["mark", "clear", "less", "more"])
def test_it_is_not_begun_before_all_agree(wrong: str) -> None:
    rig, puppet = led()
    life = earlier_life(rig, puppet)
    mark = int.from_bytes(rig.identity.node_id) ^ int.from_bytes(puppet.node_id)
    context = Context({life: {"less": 0, "more": 2}.get(wrong, 1)})
    for _ in range(20):
        asked = of_type(Ask, puppet.hears(rig.tick()))
        for ask in asked:
            assert ask.writers[0] == life
            report = Report(context, mark ^ (wrong == "mark"), wrong != "clear")
            rig.receive(puppet.address, puppet.says(report))
    assert not rig.kernel.limits
    rig.receive(puppet.address, puppet.says(Report(Context({life: 1}), mark, True)))
    assert rig.kernel.limits[life] == (1, False)


def test_it_is_closed_once_all_have_reported_behind_the_limit() -> None:
    rig, puppet = led()
    life = earlier_life(rig, puppet)
    mark = int.from_bytes(rig.identity.node_id) ^ int.from_bytes(puppet.node_id)
    context = Context({life: 1})
    while life not in rig.replica.retired:
        assert rig.now < 40.0
        for _ in of_type(Ask, puppet.hears(rig.tick())):
            assert life not in rig.replica.retired
            rig.receive(puppet.address, puppet.says(Report(context.copy(), mark, True)))
            if rig.kernel.limits:
                context.add(*rig.replica.said_of(life)[0])
    assert life not in rig.replica.context.replicas()
    assert not of_type(Ask, puppet.hears(rig.pass_time(30.0)))


def test_questions_that_do_not_help_grow_rare() -> None:
    rig, puppet = led()
    earlier_life(rig, puppet)
    early = len(of_type(Ask, alive(rig, puppet, 10.0)))
    alive(rig, puppet, 120.0)
    assert len(of_type(Ask, alive(rig, puppet, 60.0))) < early


def alive(rig: Rig, puppet: Puppet, seconds: float) -> list[Message]:
    """Let time pass, with a word of the puppet now and then."""
    heard: list[Message] = []
    end = rig.now + seconds
    while rig.now < end:
        heard += puppet.hears(rig.tick())
        rig.receive(puppet.address, puppet.says(Digest(ZEROS, 0)))
    return heard


def test_a_report_for_somebody_else_s_life_counts_for_nobody() -> None:
    rig, puppet = led()
    before = rig.replica.context
    rig.receive(puppet.address, puppet.says(Report(Context({"w": 5}), 0, True)))
    assert rig.replica.context == before
    assert not rig.kernel.limits


def test_a_report_takes_one_datagram_and_is_as_short_as_what_is_asked() -> None:
    writers = tuple(f"{bytes([i] * 8).hex()}.{1 << 40}" for i in range(9))
    context = Context(dict.fromkeys(writers, 1 << 40))
    size = len(Puppet().says(Report(context, (1 << 64) - 1, True)))
    assert size < 600 - OVERHEAD_BYTES
    assert len(encode_context(context)) < size
    assert len(Puppet().says(Ask(writers))) < 600 - OVERHEAD_BYTES


def test_a_node_that_is_welcomed_by_one_and_refused_by_another_is_retired() -> None:
    rig, first, second = Rig(), Puppet("first", host="10.2.0.1"), Puppet("second", host="10.2.0.2")
    rig.seed(first.address, second.address)
    effects = rig.tick()
    hello = only(Hello, first.hears(effects))
    rig.receive(first.address, first.says(Welcome("first", 1, 0, hello.cookie, first.cookie)))
    assert rig.states() == {"first": "alive"}
    hello = only(Hello, second.hears(effects))
    rig.receive(second.address, second.says(Retired(rig.identity.node_id, hello.cookie)))
    assert rig.engine.retired


def test_a_writer_with_a_gap_that_nobody_can_fill_is_limited_and_not_waited_for() -> None:
    rig, puppet = led()
    writer = Replica(f"{rig.identity.node_id.hex()}.1")
    writer.orset("s").add("lost")
    rig.receive(puppet.address, puppet.says(Push(writer.orset("s").add("kept"), 0, 0)))
    mark = int.from_bytes(rig.identity.node_id) ^ int.from_bytes(puppet.node_id)
    context = Context.of([(writer.replica_id, 2, 3)])
    for _ in range(9):
        for _ in of_type(Ask, puppet.hears(rig.tick())):
            rig.receive(puppet.address, puppet.says(Report(context.copy(), mark, True)))
            if rig.kernel.limits:
                context.add(*rig.replica.said_of(writer.replica_id)[0])
    assert rig.kernel.limits == {writer.replica_id: (2, False)}
    alive(rig, puppet, 5.0)
    assert not of_type(Ask, alive(rig, puppet, 60.0))
