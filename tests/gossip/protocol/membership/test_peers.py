"""The table of members answers as if it were searched each time, whatever happened to it before."""

import ast
import dataclasses
import random
from collections import Counter
from pathlib import Path

import pytest

import gossip.protocol
from gossip.protocol import Address
from gossip.protocol.membership.peers import ALIVE, FAILED, KNOWN, LEFT, SUSPECT, Peer, Peers, mark_of
from gossip.protocol.membership.sampling import sample_targets
from simulations import Cluster, Link

STATES = (ALIVE, SUSPECT, FAILED, LEFT, KNOWN)


def someone(number: int) -> Peer:
    return Peer(number.to_bytes(8, "big"), f"p{number}", 1, Address("10.0.0.1", number + 1), 0.0)


def spots(rng: random.Random) -> tuple[Address, tuple[Address, ...]]:
    """An address, and up to two others."""
    first, *others = (Address("10.0.0.2", port) for port in rng.sample(range(1, 30), rng.randrange(1, 4)))
    return first, tuple(others)


OF_THE_NODE = {
    *("node_id", "name", "address", "since", "state", "version", "tags", "advertised", "others", "rtt", "jitter"),
    *("met", "is_proven"),
}
"""Fields of `Peer` that stay when the member begins another life,"""
ADVANCED = {"epoch", "counter", "mark", "life"}
"""those that its incarnation gives,"""
PACED = {"answered", "answers_paid"}
"""and those by which others, or we, are protected from the member: a restart is no way around that."""


def test_nothing_else_of_a_member_outlives_its_life() -> None:
    fields = {field.name for field in dataclasses.fields(Peer)} - OF_THE_NODE - ADVANCED - PACED
    peer, fresh = someone(1), someone(1)
    for name in fields:
        setattr(peer, name, 7)
    peers = Peers()
    peers.add(peer)
    peers.advance(peer, 1, 3)
    assert {name for name in fields if getattr(peer, name) == 7} == fields, "this is the same life"
    peers.advance(peer, 2, 0)
    assert {name for name in fields if getattr(peer, name) != getattr(fresh, name)} == set()


def check(peers: Peers) -> None:
    """Compare what is kept with what a search finds."""
    everyone = list(peers.all())
    for state in STATES:
        found = list(peers.in_state(state))
        assert sorted(found, key=id) == sorted((peer for peer in everyone if peer.state == state), key=id)
    present = [peer for peer in everyone if peer.state in (ALIVE, SUSPECT)]
    assert sorted(peers.present(), key=id) == sorted(present, key=id)
    roll = 0
    for peer in present:
        assert peer.mark == mark_of(peer.node_id, peer.epoch, peer.counter)
        roll ^= peer.mark
    assert peers.roll == roll
    for address in [address for peer in everyone for address in (peer.address, *peer.others)]:
        assert peers.is_present_at(address) == any(peer.is_at(address) for peer in present)
        assert sorted(peers.present_at(address), key=id) == sorted((p for p in present if p.is_at(address)), key=id)
    for host in {peer.address.host: None for peer in everyone}:
        assert peers.present_on(host) == sum(peer.address.host == host for peer in present)
    assert all(peers.find(peer.node_id) is peer for peer in everyone)


@pytest.mark.parametrize("seed", range(10))
def test_whatever_happens_to_the_table_what_it_keeps_is_what_a_search_finds(seed: int) -> None:
    rng, peers = random.Random(seed), Peers()
    for number in range(400):
        known = list(peers.all())
        match rng.randrange(6) if known else 0:
            case 0:
                peers.add(someone(number))
            case 1:
                peers.remove(rng.choice(known))
            case 2:
                peers.move(rng.choice(known), *spots(rng))
            case 3:
                changed = rng.choice(known)
                peers.advance(changed, changed.epoch + rng.randrange(2), rng.randrange(9))
                assert next(peers.latest()) is changed
            case _:
                changed = rng.choice(known)
                peers.turn(changed, rng.choice(STATES), number)
                assert next(peers.latest()) is changed
                assert changed.since == number
        if rng.random() < 0.5:
            check(peers)


def test_in_a_cluster_that_lives_through_everything_the_tables_stay_right() -> None:
    cluster = Cluster(8, seed=4, link=Link(loss=0.2, duplication=0.1))
    for step in range(60):
        match step % 20:
            case 5:
                cluster.cut([0, 1, 2], [3, 4, 5, 6, 7])
            case 10:
                cluster.heal()
            case 12:
                cluster[7].leave()
            case 14:
                cluster.restart(7)
        cluster.run(1.0)
        for node in cluster.running():
            check(node.engine._members._roster.peers)


def test_nothing_but_the_table_changes_what_it_keeps_track_of() -> None:
    for path in Path(gossip.protocol.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and path.name != "peers.py":
                place = f"{path.name} assigns {ast.unparse(node)}"
                kept = {"state", "since", "mark", "counter", "epoch", "address", "others"}
                assert node.attr not in kept or ast.unparse(node).startswith("self."), place


def test_a_mark_tells_every_incarnation_of_every_member_from_every_other() -> None:
    marks = {mark_of(bytes([i] * 8), epoch, counter) for i in range(9) for epoch in range(1, 9) for counter in range(9)}
    assert len(marks) == 9 * 8 * 9
    assert all(0 <= mark < 1 << 64 for mark in marks)


# ---- samples


@pytest.mark.parametrize("present", [True, False])
def test_every_member_but_the_one_left_out_is_as_likely_to_be_drawn(present: bool) -> None:
    rng, peers = random.Random(1), [someone(i) for i in range(10)]
    but = peers[3].node_id if present else b"nobody\0\0"
    counts = Counter(peer.name for _ in range(9000) for peer in sample_targets(peers, 4, rng, but=but))
    assert len(counts) == (9 if present else 10)
    expected = 9000 * 4 / len(counts)
    assert all(abs(count - expected) < expected / 20 for count in counts.values())


@pytest.mark.parametrize("size", range(8))
def test_a_sample_holds_as_many_as_there_are_and_nobody_twice(size: int) -> None:
    rng, peers = random.Random(size), [someone(i) for i in range(size)]
    for but in (None, *(peer.node_id for peer in peers)):
        others = [peer for peer in peers if peer.node_id != but]
        drawn = sample_targets(peers, 4, rng, but=but)
        assert len(drawn) == min(4, len(others))
        assert sorted(peer.name for peer in drawn) == sorted({peer.name for peer in drawn} & {p.name for p in others})
