"""Real processes on hosts of their own, with the kernel losing packets, cutting hosts off and pulling cables.

Where this is not permitted they are skipped; continuous integration runs them.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from gossip import new_key
from gossip.storage.recovery import EPOCH_STEP

from .namespaces import Host, missing, network, wait_acquainted, wait_equal, wait_until

Bare = Callable[[int], list[Host]]
Cluster = Callable[..., list[Host]]


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Bare]:
    """Makes that many hosts on which nothing runs yet."""
    if why := missing():
        pytest.skip(f"real processes on a network of their own are not tested: {why}")
    make_key(tmp_path / "cluster.key")
    with ExitStack() as stack:
        yield lambda size: stack.enter_context(network(size))


@pytest.fixture
def cluster(bare: Bare, tmp_path: Path) -> Cluster:
    """Makes that many hosts, each with a node that knows the others."""

    def make(size: int, profile: str = "local") -> list[Host]:
        hosts = bare(size)
        for host in hosts:
            seeds = [other for other in hosts if other is not host][:2]
            host.start(tmp_path, tmp_path / "cluster.key", *seeds, profile=profile)
        wait_acquainted(hosts)
        return hosts

    return make


def make_key(file: Path) -> Path:
    file.touch(mode=0o600)
    file.write_text(new_key())
    return file


def restart(host: Host, *seeds: Host) -> None:
    folder = host.data.parent
    host.start(folder, folder / "cluster.key", *seeds)


def test_nodes_converge_when_a_quarter_of_all_packets_is_lost(cluster: Cluster) -> None:
    hosts = cluster(5, "lan")
    for host in hosts:
        host.lose(0.25)
    for host in hosts:
        host.add(*[f"{host.name} {number}" for number in range(20)])
        host.ask("register", name=f"large {host.name}", value=host.name * 5_000)
    wait_until(lambda: all(len(host.elements()) == 100 for host in hosts), "all have all elements")
    wait_equal(hosts)
    *others, victim = hosts
    victim.kill()
    for host in others:
        wait_until(lambda host=host: host.states()[victim.name] == "failed", "who is gone is missed all the same")
    assert {host.name: host.failures() - {victim.name} for host in others} == {host.name: set() for host in others}


def test_two_halves_go_on_alone_and_become_one_when_the_cut_is_lifted(cluster: Cluster) -> None:
    hosts = cluster(4)
    halves = hosts[:2], hosts[2:]
    for half, other in (halves, halves[::-1]):
        for host in half:
            host.cut_from(*other)
    for host in hosts:
        host.add(f"{host.name} in the dark")
    for half, other in (halves, halves[::-1]):
        for host in half:
            wanted = {far.name: "failed" for far in other}
            wait_until(lambda host=host, wanted=wanted: wanted.items() <= host.states().items(), f"failed: {wanted}")
            wait_until(lambda host=host: len(host.elements()) == 2, "each half has its own writes")
    for host in hosts:
        host.heal()
    wait_acquainted(hosts)
    wait_equal(hosts)
    assert hosts[0].elements() == {f"{host.name} in the dark" for host in hosts}


def test_two_of_whom_one_does_not_hear_the_other_stay_members_and_share_everything_through_the_others(
    cluster: Cluster,
) -> None:
    deaf, other, third, victim = cluster(4, "lan")
    deaf.cut_from(other)
    for turn in range(30):
        for host in (deaf, other, third):
            host.add(f"{host.name} {turn}")
    victim.kill()  # by the time that this has been noticed, the cut would have been taken for a failure as well
    for host in (deaf, other, third):
        wait_until(lambda host=host: host.states()[victim.name] == "failed", "who is gone is missed")
    wait_until(lambda: all(len(host.elements()) == 90 for host in (deaf, other, third)), "all have all elements")
    assert {host.name: host.failures() for host in (deaf, other, third)} == {
        host.name: {victim.name} for host in (deaf, other, third)
    }


def test_a_host_that_hears_nobody_is_missed_though_all_hear_it_and_its_writes_arrive(cluster: Cluster) -> None:
    deaf, *others = cluster(3)
    deaf.cut_from(*others)
    for host in others:
        wait_until(lambda host=host: host.states()[deaf.name] == "failed", "it answers nobody")
    wait_until(lambda: set(deaf.states().values()) == {"failed"}, "it is alone, as far as it knows")
    deaf.add("into the silence")
    others[0].add("unheard")
    deaf.heal()
    wait_acquainted([deaf, *others])
    wait_equal([deaf, *others])
    assert deaf.elements() == {"into the silence", "unheard"}


def test_a_host_whose_cable_was_pulled_catches_up_when_it_is_back(cluster: Cluster) -> None:
    hosts = cluster(3)
    lost, *others = hosts
    lost.link("down")
    lost.add("written without a network")
    others[0].add("written elsewhere")
    others[0].ask("register", name="large", value="x" * 200_000)
    wait_until(lambda: set(lost.states().values()) == {"failed"}, "it is alone")
    wait_until(lambda: others[0].states()["n1"] == "failed", "the others miss it")
    lost.link("up")
    wait_acquainted(hosts)
    wait_equal(hosts)
    assert lost.elements() == {"written without a network", "written elsewhere"}


def test_a_node_that_was_killed_comes_back_as_the_same_member_in_a_new_life(cluster: Cluster) -> None:
    hosts = cluster(3)
    victim, *others = hosts
    victim.add("first life")
    wait_equal(hosts)
    victim.kill()
    others[0].add("meanwhile")
    before = {member["name"]: member for member in others[0].ask("members")}["n1"]
    restart(victim, others[1])
    wait_acquainted(hosts)
    wait_until(lambda: victim.elements() == {"first life", "meanwhile"}, "it has everything again")
    victim.add("second life")
    wait_until(lambda: all(len(host.elements()) == 3 for host in hosts), "all have what it writes now")
    for other in others:
        after = {member["name"]: member for member in other.ask("members")}["n1"]
        assert after["id"] == before["id"]
        assert before["epoch"] < after["epoch"] <= before["epoch"] + EPOCH_STEP


def lives(host: Host) -> dict[str, tuple[str, int]]:
    """The id and the life of every member it lists."""
    return {member["name"]: (member["id"], member["epoch"]) for member in host.ask("members")}


def are_next_lives(after: dict[str, tuple[str, int]], before: dict[str, tuple[str, int]]) -> bool:
    """Whether these are the same members, each started once more."""
    return after.keys() == before.keys() and all(
        after[name][0] == node_id and epoch < after[name][1] <= epoch + EPOCH_STEP
        for name, (node_id, epoch) in before.items()
    )


def test_all_nodes_are_restarted_one_after_the_other_and_nothing_is_lost(cluster: Cluster) -> None:
    hosts = cluster(3)
    before = [lives(host) for host in hosts]
    for host in hosts:
        host.add(f"{host.name} before")
    for host in hosts:
        assert host.stop() == 0
        restart(host, *[other for other in hosts if other is not host])
        wait_acquainted(hosts)
        host.add(f"{host.name} after")
    wait_equal(hosts)
    assert hosts[0].elements() == {f"{host.name} {when}" for host in hosts for when in ("before", "after")}
    assert all(are_next_lives(lives(host), each) for host, each in zip(hosts, before, strict=True))


def test_all_nodes_are_killed_and_started_at_once_and_are_the_same_members(cluster: Cluster) -> None:
    hosts = cluster(4)
    before = [lives(host) for host in hosts]
    for host in hosts:
        host.add(f"{host.name} before")
        host.kill()
    for host in hosts:
        restart(host, hosts[0], hosts[1])
    wait_acquainted(hosts)
    assert all(are_next_lives(lives(host), each) for host, each in zip(hosts, before, strict=True))
    for host in hosts:
        host.add(f"{host.name} after")
    after = {f"{host.name} after" for host in hosts}
    wait_until(lambda: all(after <= host.elements() for host in hosts), "all have what is written now")
    wait_equal(hosts)


def test_a_node_behind_a_forwarded_port_is_reached_at_what_it_advertises(cluster: Cluster, tmp_path: Path) -> None:
    first, second, hidden = cluster(3)
    assert hidden.stop() == 0
    hidden.forward(5000)
    outside = f"{hidden.ip}:5000"
    key = ("--key-file", str(tmp_path / "cluster.key"), "--no-discovery", "--bind", hidden.address)
    hidden.launch(tmp_path, *key, "--advertise", outside, "--join", first.address)
    wait_acquainted([first, second, hidden])
    for host in (first, second):
        wait_until(lambda host=host: places(host)[hidden.name] == outside, "it is known by what it advertises")
        host.ask("register", name=f"large {host.name}", value="x" * 200_000)
    first.kill()
    second.kill()
    restart(second, first)  # these two know nobody any more; the hidden one still knows them
    restart(first, second)
    wait_acquainted([first, second, hidden])
    wait_equal([first, second, hidden])


def places(host: Host) -> dict[str, str]:
    """The address of every member it lists."""
    return {member["name"]: member["address"] for member in host.ask("members")}


# ---- finding each other


def find_others(host: Host, folder: Path, *options: str) -> None:
    """Start a node that is told nobody's address, nor its own."""
    host.launch(folder, "--key-file", str(folder / "cluster.key"), *options)


def test_nodes_that_are_told_no_address_find_each_other(bare: Bare, tmp_path: Path) -> None:
    hosts = bare(4)
    for host in hosts:
        find_others(host, tmp_path)
    wait_acquainted(hosts)
    for host in hosts:
        host.add(host.name)
    wait_equal(hosts)
    addresses = {member["name"]: member["address"] for member in hosts[0].ask("members")}
    assert addresses == {host.name: host.address for host in hosts[1:]}


def test_nodes_find_each_other_over_ipv6_alone(bare: Bare, tmp_path: Path) -> None:
    hosts = bare(2)
    for host in hosts:
        host.drop_address()
        find_others(host, tmp_path, "--bind", "[::]:4747")
    wait_acquainted(hosts)
    hosts[0].add("small")
    hosts[0].ask("register", name="large", value="x" * 200_000)
    wait_equal(hosts)
    (member,) = hosts[0].ask("members")
    assert member["address"].startswith("[fe80::")
    assert member["address"].endswith("%eth0]:4747")


def test_clusters_of_different_names_do_not_mix_on_one_network(bare: Bare, tmp_path: Path) -> None:
    hosts = bare(4)
    for host, name in zip(hosts, ("tea", "coffee", "tea", "coffee"), strict=True):
        find_others(host, tmp_path, "--cluster", name)
    for pair in (hosts[::2], hosts[1::2]):
        wait_acquainted(pair)
    for host, others in ((hosts[0], hosts[1::2]), (hosts[1], hosts[::2])):
        wait_until(
            lambda host=host, others=others: sum(unreadable(host, other) for other in others) == 1,
            "it says that there are others whom it cannot read, not whom each",
        )
        assert "it belongs to cluster" in host.log()
    for pair in (hosts[::2], hosts[1::2]):
        wait_acquainted(pair)  # and still nobody else


def unreadable(host: Host, other: Host) -> int:
    """How often it said that it cannot read that one."""
    return sum("neighbour.unreadable" in line and f"name={other.name} " in line for line in host.log().splitlines())


def test_a_node_whose_address_changes_stays_the_same_member_and_newcomers_find_it(bare: Bare, tmp_path: Path) -> None:
    mover, other, newcomer = bare(3)
    for host in (mover, other):
        find_others(host, tmp_path)
    wait_acquainted([mover, other])
    before = other.ask("members")[0]
    mover.move_to("10.77.0.99")
    wait_until(lambda: other.ask("members")[0]["address"] == mover.address, "the other knows where it is now")
    after = other.ask("members")
    assert [(member["id"], member["epoch"]) for member in after] == [(before["id"], before["epoch"])]
    other.kill()  # so that only the mover's own announcement can tell
    wait_until(lambda: f"announces={mover.address}" in mover.log(), "it is announced where it is now")
    find_others(newcomer, tmp_path)
    wait_until(lambda: newcomer.states().get(mover.name) == "alive", "the newcomer finds it")


def test_halves_that_were_never_connected_find_each_other_when_they_are(bare: Bare, tmp_path: Path) -> None:
    hosts = bare(4)
    halves = hosts[:2], hosts[2:]
    for half, other in (halves, halves[::-1]):
        for host in half:
            host.cut_from(*other)
    for host in hosts:
        find_others(host, tmp_path)
    for half in halves:
        wait_acquainted(half)
    for host in hosts:
        host.heal()
    wait_acquainted(hosts)


def test_nodes_on_one_host_share_it_though_only_one_gets_the_usual_port(bare: Bare, tmp_path: Path) -> None:
    (host,) = bare(1)
    second = Host(2, "", host.namespace)
    find_others(host, tmp_path)
    wait_until(lambda: host.ask("status")["address"] == "0.0.0.0:4747", "the first has the usual port")
    try:
        find_others(second, tmp_path)
        wait_acquainted([host, second])
        assert second.ask("status")["address"] != "0.0.0.0:4747"
        assert "port.taken" in second.log()
    finally:
        second.kill()


def test_a_node_without_a_key_is_never_heard_of_outside_its_host(bare: Bare, tmp_path: Path) -> None:
    host, curious = bare(2)
    second = Host(3, "", host.namespace)
    try:
        for node in (host, second):
            node.launch(tmp_path)
        wait_acquainted([host, second])
        assert curious.asks_around(host) == []
    finally:
        second.kill()
    host.kill()
    find_others(host, tmp_path)  # and one with a key is, so the question was understood
    wait_until(lambda: curious.asks_around(host), "a node with a key answers")
