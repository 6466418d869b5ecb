"""Lives of one node: pauses, deaths, and what is left of it afterwards."""

from gossip.protocol import Address
from simulations import Cluster, Link
from simulations.world.cluster import EPOCH_STEP
from simulations.world.disk import KEPT, LOST
from simulations.world.node import SOCKET_DATAGRAMS
from simulations.world.observer import Observer


def pair(**options: object) -> Cluster:
    """Two nodes that know each other."""
    return Cluster(2, warm=True, **{"seed": 1, "disk": True, **options})  # type: ignore[arg-type]


# ---- pauses


def test_a_paused_node_neither_says_nor_hears_anything() -> None:
    cluster = pair()
    cluster.run(1.0)
    paused = cluster[1]
    paused.pause()
    sent: list[Address] = []
    cluster.network.taps.append(lambda source, target, data: sent.append(source))
    cluster[0].replica.orset("s").add("meanwhile")
    before = paused.engine.statistics()
    cluster.run(3.0)
    assert paused.up
    assert paused.paused
    assert paused.address not in sent
    assert cluster[0].address in sent
    assert paused.engine.statistics() == before
    assert not paused.replica.context


def test_a_node_that_goes_on_takes_in_all_that_came_meanwhile_at_once() -> None:
    cluster = pair()
    cluster.run(1.0)
    cluster[1].pause()
    for number in range(5):
        cluster[0].replica.orset("s").add(number)
        cluster.run(0.1)
    cluster[1].resume()
    assert set(cluster[1].replica.orset("s")) == set(range(5))


def test_what_came_during_a_pause_is_taken_in_in_its_order() -> None:
    cluster = pair(link=Link(latency=0.001))
    node = cluster[1]
    heard: list[bytes] = []
    receive = node.engine.receive

    def listen(now: float, source: Address, data: bytes) -> object:
        heard.append(data)
        return receive(now, source, data)

    node.engine.receive = listen  # type: ignore[method-assign, assignment]
    node.pause()
    stranger = Address("192.0.2.1", 1)
    sent = [bytes([number]) * 3 for number in range(50)]
    for data in sent:
        node.on_datagram(stranger, data)
    assert heard == []
    node.resume()
    assert heard == sent
    node.on_datagram(stranger, b"later")
    assert heard[-1] == b"later"


def test_a_pause_keeps_as_many_datagrams_as_a_socket_holds_and_loses_the_rest() -> None:
    cluster = pair()
    node = cluster[1]
    node.pause()
    for _ in range(SOCKET_DATAGRAMS + 100):
        node.on_datagram(Address("192.0.2.1", 1), b"noise")
    before = node.engine.statistics().datagrams_received
    node.resume()
    assert node.engine.statistics().datagrams_received - before == SOCKET_DATAGRAMS
    node.on_datagram(Address("192.0.2.1", 1), b"there is room again")
    assert node.engine.statistics().datagrams_received - before == SOCKET_DATAGRAMS + 1


def test_timers_that_came_due_in_a_long_pause_run_once_it_is_over_and_then_as_ever() -> None:
    cluster = pair()
    cluster.run(1.0)
    cluster[1].pause()
    cluster.run(100.0)
    told = cluster[1].engine.statistics().datagrams_sent
    cluster[1].resume()
    after = cluster[1].engine.statistics().datagrams_sent
    heard = cluster[1].engine.statistics().datagrams_received
    assert told < after < told + heard + 10, "it answers, but no timer makes up for what it has missed"
    assert cluster[1].engine.deadline() > cluster.queue.now
    cluster.run(10.0)
    assert cluster[1].engine.statistics().datagrams_sent - after >= 9
    cluster[0].replica.orset("s").add("back")
    assert cluster.run_until_converged() < 2.0


def test_a_node_that_is_stopped_while_paused_does_nothing_more() -> None:
    cluster = pair()
    cluster.run(1.0)
    node = cluster[1]
    node.pause()
    cluster[0].replica.orset("s").add("unheard")
    cluster.run(1.0)
    node.stop()
    node.resume()
    cluster.run(1.0)
    assert not node.up
    assert not node.replica.context
    again = cluster.restart(1)
    assert not again.paused
    cluster.run_until_converged()
    assert "unheard" in again.replica.orset("s")


def test_to_go_on_without_a_pause_does_nothing() -> None:
    cluster = pair()
    before = cluster.trace()
    cluster[1].resume()
    assert cluster.trace() == before


def test_streams_wait_for_a_paused_node_as_well() -> None:
    cluster = pair()
    node = cluster[1]
    heard: list[str] = []
    for name in ("stream_opened", "stream_received", "stream_writable", "stream_closed"):
        setattr(node.engine, name, lambda now, *_, name=name: heard.append(name) or [])
    node.pause()
    cluster.streams.open(cluster[0], 7, node.address)
    cluster.run(0.1)
    cluster.streams.write(cluster[0].address, 7, b"x")
    cluster.streams.close(cluster[0].address, 7)
    cluster.run(0.1)
    assert heard == []
    node.resume()
    assert list(dict.fromkeys(heard)) == ["stream_opened", "stream_received", "stream_closed"]


# ---- lives


def test_a_restarted_node_has_what_its_disk_had_and_writes_under_the_next_epoch() -> None:
    cluster = pair()
    cluster[1].replica.orset("s").add("kept")
    cluster.run_until_converged()
    cluster[1].stop()
    cluster.cut([0], [1])
    again = cluster.restart(1)
    assert set(again.replica.orset("s")) == {"kept"}
    assert again.engine.identity.epoch == 2
    assert ".2-" in again.replica.replica_id
    assert (again.name, again.address, again.who) == ("n1", cluster.addresses[1], 1)
    again.replica.orset("s").add("new")
    assert again.replica.context.replicas() == [f"{cluster.node_id(1).hex()}.1", again.replica.replica_id]


def test_what_was_not_safe_is_lost_or_kept_as_the_disk_says() -> None:
    for tail, wanted in ((LOST, set()), (KEPT, {"just written"})):
        cluster = pair(disk_delay=0.5)
        cluster[1].replica.orset("s").add("just written")
        cluster.run(0.1)
        cluster[1].stop(tail)
        assert set(cluster.restart(1).replica.orset("s")) == wanted


def test_of_a_wiped_node_nothing_is_left_but_who_it_is() -> None:
    cluster = pair()
    cluster[1].replica.orset("s").add("gone")
    cluster.run_until_converged()
    old = cluster[1].replica.replica_id
    cluster[1].stop()
    cluster.cut([0], [1])
    again = cluster.restart(1, wipe=True)
    assert not again.replica.context
    assert not again.engine.members(cluster.queue.now)
    assert again.engine.identity.node_id == cluster.node_id(1)
    assert again.replica.replica_id != old
    cluster.heal()
    cluster.run_until_converged()
    assert set(again.replica.orset("s")) == {"gone"}, "the other has it"


def test_a_node_without_a_disk_loses_everything_but_its_epochs() -> None:
    cluster = pair(disk=False)
    cluster[1].replica.orset("s").add("in memory")
    cluster.run(0.001)
    cluster.cut([0], [1])
    cluster[1].stop()
    again = cluster.restart(1)
    assert not again.replica.context
    assert again.engine.identity.epoch == 2


def test_a_stopped_node_is_deaf_and_dumb_and_stops_but_once() -> None:
    class Ends(Observer):
        count = 0

        def stopped(self, node: object) -> None:
            self.count += 1

    ends = Ends()
    cluster = pair(observers=[ends])
    node = cluster[1]
    node.stop()
    node.stop()
    assert ends.count == 1
    sent: list[Address] = []
    cluster.network.taps.append(lambda source, target, data: sent.append(source))
    cluster[0].replica.orset("s").add("x")
    cluster.run(5.0)
    assert node.address not in sent
    assert not node.replica.context
    assert cluster.running() == [cluster[0]]


def test_to_stop_is_not_to_go_for_good_but_to_leave_or_vanish_is() -> None:
    cluster = Cluster(5, seed=1, warm=True)
    cluster[1].stop()
    cluster[2].leave()
    cluster[3].vanish()
    cluster[4].leave(for_good=False)
    assert [node.gone for node in cluster.nodes] == [False, False, True, True, False]
    assert [node.up for node in cluster.nodes] == [True, False, False, False, False]


def test_who_leaves_while_paused_cannot_say_so() -> None:
    cluster = Cluster(3, seed=1, warm=True)
    cluster[1].pause()
    before = cluster.network.datagrams
    cluster[1].leave()
    assert cluster.network.datagrams == before
    assert not cluster[1].up


def test_who_leaves_is_listed_as_gone_at_once_and_who_vanishes_only_later() -> None:
    cluster = Cluster(3, seed=1, warm=True)
    cluster.run(2.0)
    cluster[1].leave()
    cluster[2].vanish()
    cluster.run(0.1)
    states = {member.name: member.state for member in cluster[0].engine.members(cluster.queue.now)}
    assert states == {"n1": "left", "n2": "alive"}
    cluster.run(30.0)
    states = {member.name: member.state for member in cluster[0].engine.members(cluster.queue.now)}
    assert states == {"n1": "left", "n2": "failed"}


def test_a_clone_is_the_same_node_one_life_later_at_another_address() -> None:
    cluster = pair()
    cluster[1].replica.orset("s").add("copied")
    cluster.run_until_converged()
    cluster.cut([0, 1])
    clone = cluster.clone(1)
    assert (clone.name, clone.who, clone.index) == ("n1", 1, 2)
    assert clone.address not in (cluster[0].address, cluster[1].address)
    assert clone.engine.identity.node_id == cluster[1].engine.identity.node_id
    assert 2 <= clone.engine.identity.epoch <= 1 + EPOCH_STEP
    assert set(clone.replica.orset("s")) == {"copied"}
    assert clone.disk is not cluster[1].disk


def test_observers_hear_of_every_life_write_merge_and_save() -> None:
    heard: list[tuple[str, int]] = []

    class Ear(Observer):
        def __getattribute__(self, name: str) -> object:
            return lambda node, *_: heard.append((name, node.index))

    cluster = pair(observers=[Ear()])
    cluster[0].replica.orset("s").add("x")
    cluster.run_until_converged()
    cluster.run(0.1)
    cluster[1].stop()
    cluster.restart(1)
    assert [each for each in heard if each[0] != "noticed"] == [
        ("started", 0),
        ("started", 1),
        ("wrote", 0),
        ("saved", 0),
        ("merged", 1),
        ("saved", 1),
        ("stopped", 1),
        ("started", 1),
    ]
