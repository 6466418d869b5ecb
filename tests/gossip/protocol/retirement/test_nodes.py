"""Who is retired is forgotten by all and stays out; who is over leaves the contexts, and nothing is lost by it."""

from dataclasses import replace

import pytest

from crdts import Context, Replica, encode_context
from gossip.protocol import Config, Identity, Notify, Send
from gossip.protocol.errors import NodeRetired
from gossip.protocol.fence import fenced_nodes, is_fenced
from gossip.protocol.identity import fence_of, life_of, replica_id_of
from gossip.protocol.membership.peers import mark_of
from gossip.protocol.retirement.nodes import TOLD_INTERVAL
from gossip.protocol.retirement.writers import QUIET
from gossip.protocol.wire.messages import (
    Ask,
    Digest,
    Gone,
    Hello,
    Introduce,
    Message,
    Ping,
    Push,
    Report,
    Retired,
    Updates,
    Welcome,
)
from gossip.protocol.wire.seal import OVERHEAD_BYTES
from simulations import Cluster, Link, Node

from ..support import Puppet, Rig, connect, notices, of_type, only, pass_time_with, say

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


def lives(cluster: Cluster, node: Node) -> list[str]:
    """The writers in its context, by the name of their node and the epoch."""
    names = {other.engine.identity.node_id.hex(): other.name for other in cluster.nodes}
    found = [writer.partition(".") for writer in node.replica.context.replicas()]
    return sorted(f"{names[who]}.{life.partition('-')[0]}" for who, _, life in found)


def elements(node: Node) -> set[str]:
    return set(node.replica.orset("s"))


# ---- what fences


def test_a_fence_stands_under_the_node_s_id_and_is_no_life_of_it() -> None:
    node_id = bytes(range(8))
    assert fence_of(node_id) == "0001020304050607.*"
    assert life_of(fence_of(node_id)) is None
    assert life_of("0001020304050607.12") == (node_id, 12, "")


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
        assert lives(cluster, node) == ["n0.1", "n1.1", "n2.1"]


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
        assert lives(cluster, node) == ["n0.1", "n1.1", "n2.1"]
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
    another = Puppet("another", host="10.4.4.4").row()
    messages: list[Message] = [Push(delta, 6, 0), Updates((puppet.own_row("left"),)), Updates((another,)), Gone()]
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
    effects = [*other.tells(rig, puppet.row(epoch=2)), *rig.pass_time(3.0)]
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


@pytest.mark.parametrize("which", [0, 2])
def test_the_earlier_lives_of_a_node_that_was_started_again_are_closed_by_itself(which: int) -> None:
    cluster = cluster_of()
    for turn in range(3):
        cluster[which].stop()
        cluster.restart(which).replica.orset("s").add(f"again {turn}")
        cluster.run_until_converged()
    cluster.run(60.0)
    present = cluster[which].replica.replica_id
    for node in cluster.nodes:
        own = [writer for writer in node.replica.context.replicas() if writer.startswith(present.partition(".")[0])]
        assert own == [present]
        assert len(node.replica.context.replicas()) == 4
        assert elements(node) == {"n0", "n1", "n2", "n3", "again 0", "again 1", "again 2"}


def test_a_node_whose_disk_was_put_back_closes_no_earlier_life_while_it_is_alone() -> None:
    """Others have what that life wrote since: it was taken from all, with what it had replaced."""
    cluster = Cluster(2, seed=1, disk=True)
    first = cluster[0].replica.replica_id
    cluster[0].replica.counter("c").increment(5)
    cluster.run(3.0)
    before = cluster[0].disk.copy()
    cluster[0].replica.orset("s").add("after")
    cluster[0].replica.counter("c").increment()
    cluster.run_until_converged()
    cluster[0].stop()
    cluster[0].disk = before
    cluster.cut([0], [1])
    cluster.restart(0)
    cluster.run(60.0)
    cluster.heal()
    cluster.run_until_converged()
    cluster.run(60.0)
    for node in cluster.nodes:
        assert (elements(node), node.replica.counter("c").value()) == ({"after"}, 6)
        assert first not in node.replica.context.replicas(), "that life is closed in the end"


def test_a_limit_that_an_earlier_life_has_set_is_raised_where_others_have_gone_beyond_it() -> None:
    """While a member is missing, too: else those that heard of the limit first would refuse the rest for ever."""
    cluster = cluster_of()
    writer = cluster[3].replica.replica_id
    cluster.cut([1], [0, 2, 3])
    cluster[3].replica.orset("s").add("beyond")
    cluster.run(1.0)
    cluster[3].stop()
    cluster[1].replica.retire(writer)
    cluster.run(1.0)
    cluster[1].stop()
    cluster.restart(1)
    cluster.heal()
    cluster.run_until_converged()
    assert all("beyond" in elements(node) for node in cluster.running())
    assert {node.replica.store.kernel.limits[writer].last for node in cluster.running()} == {2}


def test_nobody_else_closes_the_earlier_lives_of_a_node_that_is_away() -> None:
    cluster = cluster_of()
    cluster[2].stop()
    cluster.restart(2).replica.orset("s").add("n2 again")
    cluster.run_until_converged()
    cluster[2].stop()
    cluster.run(60.0)
    for node in cluster.running():
        assert not node.replica.store.kernel.limits
        assert elements(node) == {"n0", "n1", "n2", "n2 again", "n3"}


def test_all_lives_of_a_node_leave_the_contexts_when_it_is_retired() -> None:
    cluster = cluster_of()
    for turn in range(3):
        cluster[3].stop()
        cluster.restart(3).replica.orset("s").add(f"n3 again {turn}")
        cluster.run_until_converged()
    assert lives(cluster, cluster[0]) == ["n0.1", "n1.1", "n2.1", "n3.1", "n3.2", "n3.3", "n3.4"]
    cluster[3].vanish()
    cluster[0].retire(3)
    cluster.run(40.0)
    for node in cluster.running():
        assert lives(cluster, node) == ["n0.1", "n1.1", "n2.1"]
        assert elements(node) == {"n0", "n1", "n2", "n3", "n3 again 0", "n3 again 1", "n3 again 2"}


def test_a_writer_that_keeps_nothing_and_leaves_is_closed_by_the_others() -> None:
    cluster = cluster_of(disk=False)
    cluster[3].leave()
    cluster.run(20.0)
    for node in cluster.running():
        assert "n3.1" not in lives(cluster, node)
        assert listed(node)["n3"] == "left"
        assert "n3" in elements(node)


@pytest.mark.parametrize("how", ["failed", "left with a disk"])
def test_nobody_is_closed_while_somebody_is_missing_who_may_have_more(how: str) -> None:
    cluster = cluster_of()
    if how == "failed":
        cluster[3].stop()
    else:
        cluster[3].leave(for_good=False)
    cluster[2].vanish()
    cluster[0].retire(2)
    cluster.run(60.0)
    for node in cluster.running():
        assert "n2.1" in lives(cluster, node)
        assert list(node.replica.store.kernel.limits) == [fence_of(cluster[2].engine.identity.node_id)]
    cluster.restart(3)
    cluster.run(30.0)
    assert all("n2.1" not in lives(cluster, node) for node in cluster.running())


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
        assert lives(cluster, node) == ["n0.1"] or "n3.1" not in lives(cluster, node)


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
        assert "n5.1" not in lives(cluster, node)
        assert f"{first.name}.1" not in lives(cluster, node)


def test_at_heavy_loss_all_writers_that_are_over_are_closed_nevertheless() -> None:
    cluster = cluster_of(12, link=Link(loss=0.4))
    for index in range(3, 9):
        cluster[index].vanish()
        cluster[0].retire(index)
    cluster.run(120.0)
    for node in cluster.running():
        assert lives(cluster, node) == ["n0.1", "n1.1", "n10.1", "n11.1", "n2.1", "n9.1"]


def test_nothing_is_asked_while_somebody_is_missing() -> None:
    cluster = cluster_of()
    cluster[3].stop()
    cluster.run(30.0)
    sent: list[int] = []
    cluster.network.taps.append(lambda source, target, data: sent.append(len(data)))
    cluster.run(60.0)
    quiet, sent[:] = sum(sent), []
    cluster[2].vanish()
    cluster[0].retire(2)
    cluster.run(30.0)
    sent.clear()
    cluster.run(60.0)
    assert "n2.1" in lives(cluster, cluster[0])
    assert sum(sent) < 1.1 * quiet


def test_a_member_is_not_clear_until_it_has_known_for_a_while_who_is_there() -> None:
    rig, puppet = Rig(), Puppet()
    puppet.meets(rig)
    for seconds, clear in ((1.0, False), (quiet(rig), True)):
        alive(rig, puppet, seconds)
        asked = puppet.hears(rig.receive(puppet.address, puppet.says(Ask(("w",)))))
        assert only(Report, asked).clear == clear
    puppet.tells(rig, puppet.own_row(counter=1))  # contradicts something, which is no change
    asked = puppet.hears(rig.receive(puppet.address, puppet.says(Ask(("w",)))))
    assert only(Report, asked) == Report(Context(), agreed_mark(rig, puppet), True)
    Puppet("newcomer", host="10.3.0.1").meets(rig)
    asked = puppet.hears(rig.receive(puppet.address, puppet.says(Ask(("w",)))))
    assert not only(Report, asked).clear


def test_nobody_is_clear_who_cannot_list_everybody() -> None:
    rig, puppet = Rig(config=replace(Config.lan(), shuffle_interval=1e6)), Puppet()
    rig.engine.acquaint(0.0, [(Identity(puppet.node_id, puppet.name, 1), puppet.address)], partial=True)
    alive(rig, puppet, quiet(rig))
    asked = puppet.hears(rig.receive(puppet.address, puppet.says(Ask(("w",)))))
    assert not only(Report, asked).clear


def test_a_member_that_is_retired_while_it_is_probed_disturbs_nothing() -> None:
    rig, puppet = Rig(), Puppet()
    puppet.meets(rig)
    while not of_type(Ping, puppet.hears(rig.tick())):
        pass
    rig.done(rig.engine.retire(rig.now, puppet.node_id))
    assert not of_type(Ping, puppet.hears(rig.pass_time(5.0)))
    assert rig.states() == {}


# ---- messages by hand


def quiet(rig: Rig) -> float:
    """Seconds after which a member is clear for sure, if nothing changes."""
    return (QUIET + 3) * rig.engine._out.config.probe_interval


def alive(rig: Rig, puppet: Puppet, seconds: float) -> list[Message]:
    """Let time pass while the puppet answers pings; return what it hears."""
    return puppet.hears(pass_time_with(rig, seconds, puppet))


def agreed_mark(rig: Rig, puppet: Puppet) -> int:
    """The mark of a cluster of those two."""
    return mark_of(rig.identity.node_id, rig.identity.epoch, 0) ^ mark_of(puppet.node_id, puppet.epoch, 0)


def led() -> tuple[Rig, Puppet]:
    """A rig that leads, as its id is below that of its only member, and that member."""
    puppet = Puppet()
    seed = next(s for s in range(1, 99) if Rig(seed=s).identity.node_id < puppet.node_id)
    rig = Rig(seed=seed)
    puppet.meets(rig)
    puppet.tells(rig, puppet.own_row(nonce=""))  # whoever has not said what it writes under is asked again
    return rig, puppet


def goner(rig: Rig, puppet: Puppet, *, gap: bool = False) -> str:
    """Let the rig hear of a write of one that has left and keeps nothing, and know for a while who is there.

    ``gap``: and not of the write before that.
    """
    gone = Puppet("gone", host="10.2.0.9")
    gone.meets(rig)
    writer = Replica(f"{gone.node_id.hex()}.{gone.epoch}")
    if gap:
        writer.orset("s").add("lost")
    rig.receive(gone.address, gone.says(Push(writer.orset("s").add("x"), 0, 0)))
    rig.receive(gone.address, gone.says(Updates((gone.own_row("left"),)), Gone()))
    alive(rig, puppet, quiet(rig))
    return writer.replica_id


def step(rig: Rig, puppet: Puppet) -> list[Ask]:
    """One tick, with every ping answered; returns what the puppet is asked."""
    heard = puppet.hears(rig.tick())
    puppet.acks(rig, heard)
    return of_type(Ask, heard)


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
    assert report.mark == agreed_mark(rig, puppet)


def test_only_members_are_asked_and_answered() -> None:
    rig, puppet = Rig(), Puppet()
    assert not of_type(Report, puppet.hears(rig.receive(puppet.address, puppet.says(Ask(("w",))))))


@pytest.mark.parametrize("wrong", ["mark", "clear", "less", "more"])
def test_it_is_not_begun_before_all_agree(wrong: str) -> None:
    rig, puppet = led()
    writer = goner(rig, puppet)
    mark = agreed_mark(rig, puppet)
    context = Context({writer: {"less": 0, "more": 2}.get(wrong, 1)})
    asked = 0
    for _ in range(100):
        for ask in step(rig, puppet):
            asked += 1
            assert writer in ask.writers
            report = Report(context, mark ^ (wrong == "mark"), wrong != "clear")
            rig.receive(puppet.address, puppet.says(report))
    assert asked
    assert not rig.kernel.limits
    rig.receive(puppet.address, puppet.says(Report(Context({writer: 1}), mark, True)))
    assert rig.kernel.limits[writer] == (1, False)


def test_it_is_closed_once_all_have_reported_behind_the_limit() -> None:
    rig, puppet = led()
    writer = goner(rig, puppet)
    context = Context({writer: 1})
    end = rig.now + 40.0
    while writer not in rig.replica.retired:
        assert rig.now < end
        for _ in step(rig, puppet):
            assert writer not in rig.replica.retired
            rig.receive(puppet.address, puppet.says(Report(context.copy(), agreed_mark(rig, puppet), True)))
            if rig.kernel.limits:
                context.add(*rig.replica.said_of(writer)[0])
    assert writer not in rig.replica.context.replicas()
    assert not of_type(Ask, alive(rig, puppet, 30.0))


def test_a_member_is_asked_again_when_a_life_of_it_is_heard_of_after_its_report() -> None:
    """From then on that life is waited for: nobody but the member can report for it."""
    rig, puppet = led()
    writer = goner(rig, puppet)
    nodes = [Puppet(str(i), host="10.2.0.2", epoch=2) for i in range(99)]
    other = next(each for each in nodes if each.node_id > rig.identity.node_id)
    other.meets(rig)
    other.tells(rig, other.own_row(nonce=""))
    both = puppet, other
    mark = agreed_mark(rig, puppet) ^ mark_of(other.node_id, other.epoch, 0)
    context = Context({writer: 1})
    pass_time_with(rig, quiet(rig), *both)
    for each in both:
        rig.receive(each.address, each.says(Report(context.copy(), mark, True)))
    context.add(*rig.replica.said_of(writer)[0])
    rig.receive(other.address, other.says(Report(context.copy(), mark, True)))
    life = Replica(replica_id_of(other.node_id, 1, ""))
    rig.receive(puppet.address, puppet.says(Push(life.orset("s").add("y"), 0, 0)))
    rig.receive(puppet.address, puppet.says(Report(context.copy(), mark, True)))
    assert writer not in rig.replica.retired
    assert of_type(Ask, other.hears(pass_time_with(rig, 5.0, *both)))
    rig.receive(other.address, other.says(Report(context.copy(), mark, True)))
    pass_time_with(rig, 5.0, *both)
    assert writer in rig.replica.retired


def test_questions_that_do_not_help_grow_rare() -> None:
    rig, puppet = led()
    goner(rig, puppet)
    early = len(of_type(Ask, alive(rig, puppet, 60.0)))
    late = len(of_type(Ask, alive(rig, puppet, 60.0)))
    assert 0 < late < early


def test_a_report_for_somebody_else_s_life_counts_for_nobody() -> None:
    rig, puppet = led()
    goner(rig, puppet)
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
    writer = goner(rig, puppet, gap=True)
    context = Context.of([(writer, 2, 3)])
    for _ in range(100):
        for _ in step(rig, puppet):
            rig.receive(puppet.address, puppet.says(Report(context.copy(), agreed_mark(rig, puppet), True)))
            if rig.kernel.limits:
                context.add(*rig.replica.said_of(writer)[0])
    assert rig.kernel.limits == {writer: (2, False)}
    alive(rig, puppet, 5.0)
    assert not of_type(Ask, alive(rig, puppet, 60.0))
