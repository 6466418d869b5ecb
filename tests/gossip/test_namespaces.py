"""Real processes on hosts of their own, with the kernel losing packets, cutting hosts off and pulling cables.

Where this is not permitted they are skipped; continuous integration runs them.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from gossip import new_key

from .namespaces import Host, missing, network, wait_acquainted, wait_equal, wait_until

Cluster = Callable[[int], list[Host]]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Makes that many hosts, each with a node that knows the others."""
    if why := missing():
        pytest.skip(f"real processes on a network of their own are not tested: {why}")
    key_file = tmp_path / "cluster.key"
    key_file.touch(mode=0o600)
    key_file.write_text(new_key())
    with ExitStack() as stack:

        def make(size: int) -> list[Host]:
            hosts = stack.enter_context(network(size))
            for host in hosts:
                host.start(tmp_path, key_file, *[other for other in hosts if other is not host][:2])
            wait_acquainted(hosts)
            return hosts

        yield make


def restart(host: Host, *seeds: Host) -> None:
    folder = host.data.parent
    host.start(folder, folder / "cluster.key", *seeds)


def test_nodes_converge_when_a_quarter_of_all_packets_is_lost(cluster: Cluster) -> None:
    hosts = cluster(5)
    for host in hosts:
        host.lose(0.25)
    for host in hosts:
        host.add(*[f"{host.name} {number}" for number in range(20)])
        host.ask("register", name=f"large {host.name}", value=host.name * 5_000)
    wait_until(lambda: all(len(host.elements()) == 100 for host in hosts), "all have all elements")
    wait_equal(hosts)


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


def test_what_two_write_of_whom_one_does_not_hear_the_other_reaches_everybody_through_the_third(
    cluster: Cluster,
) -> None:
    deaf, other, third = cluster(3)
    deaf.cut_from(other)
    for turn in range(30):
        for host in (deaf, other, third):
            host.add(f"{host.name} {turn}")
    wait_until(lambda: deaf.states()["n2"] == "failed", "the deaf one takes the other for failed")
    deaf.add("afterwards, too")
    other.add("and here")
    wait_until(lambda: all(len(host.elements()) == 92 for host in (deaf, other, third)), "all have all elements")
    assert deaf.states()["n2"] == "failed"
    deaf.heal()
    wait_acquainted([deaf, other, third])


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
        assert (after["id"], after["epoch"]) == (before["id"], before["epoch"] + 1)
