"""Whole nodes on real sockets: they converge, tell how far they are, keep strangers out, and end in good order."""

import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import trio
import trio.testing

from crdts import InvalidValue
from gossip import (
    Address,
    Config,
    ConfigError,
    KeyFormatError,
    MemberAlive,
    Node,
    NotRunning,
    SyncTimeout,
    TransportFaults,
    Version,
    WrongThread,
    new_key,
    open_node,
)
from gossip import node as node_module
from gossip.node import SHUTDOWN_GRACE
from gossip.protocol import Engine

from .live import FAST, PATIENCE, Journal, acquainted, cluster, equal, patience, states, until
from .storage.marking import named

KEY = new_key()


@pytest.fixture
def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody will ever take the last writes in these tests."""
    monkeypatch.setattr(node_module, "SHUTDOWN_GRACE", 0.2)


# ---- converging


@pytest.mark.parametrize("size", [2, 3, 5])
async def test_nodes_converge_on_every_type(size: int) -> None:
    async with cluster(size, key=KEY) as nodes:
        for number, node in enumerate(nodes):
            node.orset("tasks").add(number)
            node.counter("moves").decrement(number)
            node.gcounter("steps").increment(number)
            node.lwwmap("config").set(node.name, number)
            node.mvregister("opinion").set("the same")
            node.register("last").set(number)
        await equal(*nodes)
        for node in nodes:
            assert set(node.orset("tasks")) == set(range(size))
            assert node.counter("moves").value() == -node.gcounter("steps").value() == -sum(range(size))
            assert dict(node.lwwmap("config").value()) == {other.name: n for n, other in enumerate(nodes)}
            assert node.register("last").get() == nodes[0].register("last").get()


@pytest.mark.parametrize("loss", [0.0, 0.3])
@pytest.mark.parametrize("count", [1_000, 100_000])
async def test_a_burst_of_keys_arrives_whole(count: int, loss: float) -> None:
    faults = [TransportFaults(loss=loss, seed=seed) for seed in (1, 2)]
    async with cluster(2, faults=faults, config=replace(FAST, suspicion=50)) as (a, b):
        b.lwwmap("mine").set("was", "here")
        for number in range(count):
            a.lwwmap("keys").set(f"key-{number}", number)
        with patience():
            assert await a.synced(timeout=60) == 1
        await equal(a, b)
        for node in (a, b):
            assert len(node.lwwmap("keys")) == count
            assert node.lwwmap("keys").get(f"key-{count - 1}") == count - 1
            assert node.lwwmap("mine").get("was") == "here"


async def test_a_newcomer_pulls_everything() -> None:
    async with open_node("old", config=FAST) as old:
        for number in range(10_000):
            old.orset("entries").add(f"entry-{number}")
        async with open_node("new", join=[old.address], config=FAST) as new:
            with patience():
                await new.wait_for(old.version())
            assert len(new.orset("entries")) == 10_000
            assert new.statistics().streams_opened > 0


async def test_values_of_a_mebibyte_travel_and_larger_ones_are_refused_where_they_are_written() -> None:
    async with cluster(2) as (a, b):
        largest = os.urandom((1 << 20) - 5)  # five bytes are its CBOR head
        a.register("blob").set(largest)
        await equal(a, b)
        assert b.register("blob").get() == largest
        before = a.version()
        with pytest.raises(InvalidValue, match="1048576 bytes"):
            a.register("blob").set(largest + b"!")
        assert a.version() == before


async def test_a_removal_travels_and_leaves_nothing() -> None:
    async with cluster(3) as nodes:
        for number in range(500):
            nodes[0].orset("tasks").add(number)
        await equal(*nodes)
        for element in nodes[1].orset("tasks").get_elements():
            nodes[1].orset("tasks").remove(element)
        await equal(*nodes)
        assert [len(node.orset("tasks")) for node in nodes] == [0, 0, 0]
        assert nodes[2].replica.objects() == []


# ---- finding each other


async def test_nodes_that_join_one_learn_of_all_others() -> None:
    async with cluster(4) as nodes:
        for node in nodes:
            assert states(node) == {other.name: "alive" for other in nodes if other is not node}
            by_name = {member.name: member for member in node.members()}
            for other in nodes:
                if other is not node:
                    assert by_name[other.name].address == other.address
                    assert by_name[other.name].id == other.id


async def test_a_seed_may_come_up_later() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = Address(*free.getsockname())
    async with open_node("early", join=[str(place)], config=FAST) as early:
        early.orset("x").add(1)
        await until(early, lambda: early.statistics().datagrams_sent >= 2)  # it has tried in vain
        async with open_node("late", bind=str(place), config=FAST) as late:
            await acquainted(early, late)
            await equal(early, late)


async def test_seeds_may_be_names() -> None:
    async with open_node("a", config=FAST) as a, open_node("b", join=[f"localhost:{a.address.port}"], config=FAST) as b:
        await acquainted(a, b)


async def test_a_seed_that_does_not_resolve_is_told_once_and_stops_nobody() -> None:
    journal = Journal()
    unknown = ["no-such-host.invalid:4747", f"{'x' * 70}.invalid:4747", "[::1]:4747"]
    async with open_node("a", config=FAST) as a:
        join = [*unknown, str(a.address)]
        async with open_node("b", join=join, config=FAST, log=journal.logger) as b:
            await acquainted(a, b)
            with patience():
                while len(journal.named("seed.unresolved")) < 3:
                    await trio.sleep(0.01)
            told = journal.named("seed.unresolved")
            assert [line["seed"] for line in told] == unknown
            assert {line["wanted"] for line in told} == {"IPv4 address"}
            assert {line["cluster"] for line in told} == {"default"}
            assert all("name service" in line["check"] and "bound to [::]" in line["check"] for line in told)


async def test_a_node_that_joins_itself_stays_alone_and_works() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = Address(*free.getsockname())
    async with open_node("a", bind=str(place), join=[place, f"localhost:{place.port}"], config=FAST) as a:
        await until(a, lambda: a.statistics().datagrams_received >= 2)
        assert a.members() == []
        a.counter("c").increment()
        async with open_node("b", join=[place], config=FAST) as b:
            await acquainted(a, b)
            await equal(a, b)


async def test_ipv6_works_like_ipv4() -> None:
    async with cluster(2, bind="[::1]:0") as (a, b):
        assert str(a.address).startswith("[::1]:")
        for number in range(2_000):
            a.orset("x").add(f"element {number}")
        await equal(a, b)


async def test_the_name_localhost_binds_to_ipv4_so_that_both_ways_to_write_it_meet() -> None:
    async with open_node("a", bind="localhost:0", config=FAST) as a:
        assert a.address.host == "127.0.0.1"


# ---- keys


async def test_a_node_with_another_key_neither_joins_nor_learns_anything(no_grace: None) -> None:
    async with cluster(2, key=KEY) as (a, b):
        a.orset("secrets").add("the plan")
        await equal(a, b)
        async with open_node("spy", join=[a.address, b.address], key=new_key(), config=FAST) as spy:
            spy.orset("secrets").add("a forgery")
            await until(a, lambda: a.statistics().rejected.get("unknown_key", 0) >= 3)
            await until(b, lambda: b.statistics().rejected.get("unknown_key", 0) >= 3)
            assert spy.members() == []
            assert spy.statistics().datagrams_received == 0
            assert set(spy.orset("secrets")) == {"a forgery"}
            with pytest.raises(SyncTimeout):
                await spy.synced(timeout=0.05)
        for node in (a, b):
            assert set(node.orset("secrets")) == {"the plan"}
            assert len(node.members()) == 1


@pytest.mark.parametrize("keyed_first", [True, False])
async def test_keyed_and_keyless_nodes_ignore_each_other(keyed_first: bool) -> None:
    keys = (KEY, None) if keyed_first else (None, KEY)
    async with (
        open_node("first", key=keys[0], config=FAST) as first,
        open_node("second", key=keys[1], join=[first.address], config=FAST) as second,
    ):
        await until(first, lambda: sum(first.statistics().rejected.values()) >= 3)
        assert first.members() == second.members() == []
        assert second.statistics().datagrams_received == 0


async def test_nothing_that_is_shared_travels_in_the_clear(no_grace: None) -> None:
    secret = b"attack at dawn, and again at noon"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as tap:
        tap.bind(("127.0.0.1", 0))
        tap.setblocking(False)
        heard = []
        async with open_node("node called eve", join=[Address(*tap.getsockname())], key=KEY, config=FAST) as node:
            node.register("orders").set(secret)
            with patience():
                for _ in range(3):
                    await trio.lowlevel.wait_readable(tap)
                    heard.append(tap.recv(65_535))
        assert all(secret not in data and b"eve" not in data for data in heard)


@pytest.mark.parametrize("bind", ["0.0.0.0:0", "[::]:0", "192.0.2.1:4747"])
async def test_without_a_key_only_loopback_is_bound(bind: str) -> None:
    with pytest.raises(ConfigError, match=r"without a cluster key .* loopback only.* `gossip keygen`"):
        async with open_node("a", bind=bind):
            pass


async def test_with_a_key_every_address_is_bound() -> None:
    async with open_node("a", bind="0.0.0.0:0", key=KEY) as a:
        assert a.address.host == "0.0.0.0"
        assert a.sealed


@pytest.mark.parametrize("key", ["", "short", "ü" * 44, b"31 bytes are one too few, alas.", "A" * 44])
async def test_a_key_that_is_none_says_how_to_make_one(key: str | bytes) -> None:
    with pytest.raises(KeyFormatError, match="gossip keygen"):
        async with open_node("a", key=key):
            pass


# ---- settings that cannot be


@pytest.mark.parametrize(
    "options",
    [
        {"bind": "127.0.0.1"},
        {"bind": "nowhere.invalid:0"},
        {"bind": f"{'x' * 70}.invalid:0"},
        {"bind": "192.0.2.1:0", "key": KEY},
        {"join": ["127.0.0.1"]},
        {"join": ["127.0.0.1:0"]},
        {"join": ["127.0.0.1:" + "9" * 5000]},
    ],
    ids=lambda options: " ".join(f"{name}={str(value)[:20]}" for name, value in options.items() if name != "key"),
)
async def test_an_address_that_cannot_be_is_refused_by_name(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"127\.0\.0\.1|nowhere|xxx|192\.0\.2\.1"):
        async with open_node("a", **options):
            pass


@pytest.mark.parametrize("name", ["", "x" * 65, "bell\a", "two\nlines", "lone \udcff"])
async def test_a_name_that_would_upset_a_terminal_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="printable"):
        async with open_node(name):
            pass


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
async def test_a_port_in_use_is_refused_and_named(kind: socket.SocketKind) -> None:
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            taken.listen()
        place = Address(*taken.getsockname())
        with pytest.raises(ConfigError, match=f"{place}.*in use.*another"):
            async with open_node("a", bind=str(place)):
                pass


# ---- how far the others are


async def test_synced_counts_the_members_that_have_all_writes() -> None:
    async with cluster(4) as nodes:
        nodes[0].orset("x").add("y")
        assert await nodes[0].synced(timeout=10) == 3
        assert await nodes[0].synced(to=2, timeout=10) >= 2
        assert all("y" in node.orset("x") for node in nodes)


async def test_synced_without_writes_is_true_of_every_member_at_once() -> None:
    async with cluster(2) as (a, _):
        assert await a.synced(timeout=10) == 1


async def test_synced_is_true_of_those_who_were_there_when_all_had_the_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        open_node("a", config=FAST) as a,
        open_node("b", config=FAST, join=[a.address]),
        trio.open_nursery() as nursery,
    ):
        while not a.members():
            await trio.sleep(0.01)
        await a.synced(timeout=PATIENCE)
        newcomers: list[str] = []
        monkeypatch.setattr(Engine, "acked_by", lambda *_: (["b"], newcomers))

        async def join() -> None:
            newcomers.append("c")

        for _ in range(20):  # who runs first is chance
            newcomers.clear()
            nursery.start_soon(join)
            assert await a.synced(timeout=PATIENCE) == 1


async def test_synced_names_who_is_missing() -> None:
    faults = [TransportFaults() for _ in range(3)]
    async with cluster(3, faults=faults, config=replace(FAST, suspicion=1000)) as (a, b, c):
        faults[0].cut(c.address)
        a.orset("x").add(1)
        with pytest.raises(SyncTimeout, match=r"1 of 2 members have all writes of n0 after 0\.3 s; waiting for n2"):
            await a.synced(timeout=0.3)
        assert await a.synced(to=1, timeout=10) == 1
        assert 1 in b.orset("x")
        with pytest.raises(SyncTimeout, match="1 of 7 members"):
            await a.synced(to=7, timeout=0.05)
        faults[0].heal()
        assert await a.synced(timeout=10) == 2


async def test_synced_alone_says_that_nobody_is_there() -> None:
    async with open_node("a") as a:
        a.orset("x").add(1)
        with pytest.raises(SyncTimeout, match=r"nobody else has the writes of a .*: no other member is there"):
            await a.synced(timeout=0.05)
        assert await a.synced(to=0) == 0


@pytest.mark.parametrize("to", [-1, 1.5, "every", True, None])
async def test_synced_refuses_what_is_no_number_of_members(to: Any) -> None:
    async with open_node("a") as a:
        with pytest.raises(ConfigError, match="a number of members"):
            await a.synced(to=to)


async def test_several_may_wait_to_be_synced_at_once() -> None:
    async with cluster(2) as (a, b):
        async with trio.open_nursery() as nursery:
            for number in range(20):
                a.orset("x").add(number)
                nursery.start_soon(a.synced)
        assert len(b.orset("x")) == 20


async def test_a_version_is_a_causal_token_that_survives_text() -> None:
    async with cluster(3) as (a, b, c):
        a.orset("x").add("cause")
        token = str(a.version())
        assert token.isascii()
        assert not set(token) & set(" \n\"'\\")
        with patience():
            await b.wait_for(token)
        assert "cause" in b.orset("x")
        b.orset("x").remove("cause")
        with patience():
            await c.wait_for(Version.parse(str(b.version())))
        assert "cause" not in c.orset("x")


async def test_a_version_that_has_been_seen_is_waited_for_no_time() -> None:
    async with open_node("a") as a:
        a.orset("x").add(1)
        with trio.fail_after(1):
            await a.wait_for(a.version())
            await a.flush()


async def test_waiting_for_a_version_can_be_cancelled() -> None:
    async with open_node("a") as a, open_node("b") as b:
        b.orset("x").add(1)
        with trio.move_on_after(0.05) as scope:
            await a.wait_for(b.version())
        assert scope.cancelled_caught


# ---- parting and healing


async def test_a_cut_parts_two_nodes_and_healing_brings_both_sides_together() -> None:
    faults = [TransportFaults() for _ in range(4)]
    async with cluster(4, faults=faults, config=replace(FAST, probe_interval=0.05)) as nodes:
        sides = (0, 1), (2, 3)
        for side, other in (sides, sides[::-1]):
            for number in side:
                faults[number].cut(*[nodes[far].address for far in other])
        for number in (0, 2):
            nodes[number].orset("x").add(f"written by {number}")
        await equal(nodes[0], nodes[1])
        await equal(nodes[2], nodes[3])
        await until(nodes[0], lambda: states(nodes[0]) == {"n1": "alive", "n2": "failed", "n3": "failed"})
        assert set(nodes[1].orset("x")) == {"written by 0"}
        assert set(nodes[3].orset("x")) == {"written by 2"}
        for fault in faults:
            fault.heal()
        await acquainted(*nodes)
        await equal(*nodes)
        assert set(nodes[3].orset("x")) == {"written by 0", "written by 2"}


async def test_a_node_that_leaves_is_listed_as_left_and_may_come_back(tmp_path: Any) -> None:
    async with open_node("a", config=FAST) as a:
        async with open_node("b", join=[a.address], data_dir=tmp_path, config=FAST) as b:
            b.orset("x").add("before")
            first = b.id
            await acquainted(a, b)
        await until(a, lambda: states(a) == {"b": "left"})
        async with open_node("b", join=[a.address], data_dir=tmp_path, config=FAST) as b:
            assert b.id == first
            await acquainted(a, b)
            [member] = a.members()
            assert member.id == first
            assert member.epoch > 1
            b.orset("x").add("after")
            await equal(a, b)
            assert set(b.orset("x")) == {"before", "after"}


# ---- the end


async def test_the_last_writes_of_a_block_are_held_by_somebody_when_it_ends() -> None:
    async with open_node("keeper", config=FAST) as keeper:
        for generation in range(5):
            async with open_node(f"brief {generation}", join=[keeper.address], config=FAST) as brief:
                await acquainted(brief, keeper)
                for number in range(200):
                    brief.orset("x").add(f"{generation}: {number}")
            assert len(keeper.orset("x")) == 200 * (generation + 1)


async def test_writes_made_before_anybody_was_met_are_handed_over_too() -> None:
    async with open_node("keeper", config=FAST) as keeper:
        faults = TransportFaults()
        faults.cut(keeper.address)
        async with open_node("hasty", join=[keeper.address], config=FAST, faults=faults) as hasty:
            hasty.orset("x").add("at once")
            assert hasty.members() == []
            faults.heal()
        assert "at once" in keeper.orset("x")


async def test_a_node_that_ends_waits_for_a_member_that_is_just_suspect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_module, "SHUTDOWN_GRACE", PATIENCE)
    faults = TransportFaults()
    journal = Journal()
    config = replace(FAST, suspicion=PATIENCE)
    async with (
        open_node("keeper", config=config) as keeper,
        open_node("a", join=[keeper.address], faults=faults, config=config, log=journal.logger) as a,
    ):
        await acquainted(a, keeper)
        faults.cut(keeper.address)
        await until(a, lambda: states(a)["keeper"] == "suspect")
        a.orset("x").add("last")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(a.leave)
            await trio.testing.wait_all_tasks_blocked(0.01)
            faults.heal()
        assert "last" in keeper.orset("x")
    assert journal.named("writes.unshared") == []


async def test_writes_that_a_suspect_member_lacks_are_warned_of(no_grace: None) -> None:
    faults = TransportFaults()
    journal = Journal()
    config = replace(FAST, suspicion=PATIENCE)
    async with open_node("keeper", config=config) as keeper:
        async with open_node("a", join=[keeper.address], faults=faults, config=config, log=journal.logger) as a:
            await acquainted(a, keeper)
            faults.cut(keeper.address)
            await until(a, lambda: states(a)["keeper"] == "suspect")
            a.orset("x").add("last")
        [line] = journal.named("writes.unshared")
        assert (line["level"], line["members"]) == ("warning", ["keeper"])


async def test_nodes_that_end_together_do_not_wait_for_each_other() -> None:
    with trio.fail_after(SHUTDOWN_GRACE):
        async with cluster(2) as (a, b):
            a.orset("x").add(1)
            b.orset("x").add(2)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(a.leave)
                nursery.start_soon(b.leave)


async def test_writes_that_nobody_else_has_are_told_of(no_grace: None) -> None:
    faults = TransportFaults()
    journal = Journal()
    async with open_node("deaf", config=FAST) as deaf:
        async with open_node("a", join=[deaf.address], faults=faults, config=FAST, log=journal.logger) as a:
            await acquainted(a, deaf)
            faults.loss = 1.0
            a.orset("x").add(1)
        assert [line["members"] for line in journal.named("writes.unshared")] == [["deaf"]]


async def test_a_leave_that_was_cut_short_is_made_up_for_at_the_end_of_the_block() -> None:
    faults = TransportFaults()
    async with open_node("keeper", config=FAST) as keeper:
        async with open_node("a", join=[keeper.address], faults=faults, config=FAST) as a:
            await acquainted(a, keeper)
            faults.loss = 1.0
            a.orset("x").add("kept")
            with trio.move_on_after(0.05) as scope:
                await a.leave()
            assert scope.cancelled_caught
            faults.loss = 0.0
        assert "kept" in keeper.orset("x")
        await until(keeper, lambda: states(keeper) == {"a": "left"})


async def test_who_leaves_in_vain_may_try_again_and_the_end_of_the_block_tells_nothing_twice(no_grace: None) -> None:
    faults, journal = TransportFaults(), Journal()
    async with open_node("keeper", config=FAST) as keeper:
        async with open_node("a", join=[keeper.address], faults=faults, config=FAST, log=journal.logger) as a:
            await acquainted(a, keeper)
            faults.loss = 1.0
            a.orset("x").add("kept")
            assert await a.leave() == 0
            assert await a.leave() == 0
        assert journal.events().count("writes.unshared") == 2


async def test_what_is_written_after_leaving_is_refused_and_what_others_write_can_be_read(tmp_path: Any) -> None:
    for directory in (None, tmp_path):
        async with open_node("keeper", config=FAST) as keeper:
            async with open_node("a", join=[keeper.address], config=FAST, data_dir=directory) as a:
                await acquainted(a, keeper)
                a.orset("x").add(1)
                assert await a.leave() == 1
                with pytest.raises(NotRunning, match="told to leave"):
                    a.orset("x").add(2)
                with pytest.raises(NotRunning, match="told to leave"), a.transaction():
                    a.counter("c").increment()
                keeper.orset("x").add(3)
                await until(a, lambda: 3 in a.orset("x"))
            assert set(keeper.orset("x")) == {1, 3}


async def test_what_is_written_while_a_node_leaves_is_refused_and_accepted_if_it_stays_after_all() -> None:
    faults = TransportFaults()
    async with open_node("keeper", config=FAST) as keeper:
        async with open_node("a", join=[keeper.address], faults=faults, config=FAST) as a:
            await acquainted(a, keeper)
            faults.loss = 1.0
            a.orset("x").add("before")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(a.leave)
                await trio.testing.wait_all_tasks_blocked(0.01)
                with pytest.raises(NotRunning, match="told to leave"):
                    a.orset("x").add("meanwhile")
                nursery.cancel_scope.cancel()
            a.orset("x").add("after all")
            faults.loss = 0.0
        assert set(keeper.orset("x")) == {"before", "after all"}


class Unusual(BaseException):
    """Neither an Exception nor one that Trio knows."""


@pytest.mark.parametrize(
    "error",
    [
        KeyError("k"),
        KeyboardInterrupt(),
        SystemExit(3),
        Unusual(),
        StopAsyncIteration(),
        ExceptionGroup("two", [KeyError(1), ValueError(2)]),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_what_the_block_raises_leaves_it_as_it_is(error: BaseException) -> None:
    async def run(keeper: Node) -> None:
        async with open_node("a", join=[keeper.address], config=FAST) as a:
            await acquainted(a, keeper)
            a.orset("x").add("kept")
            raise error

    async with open_node("keeper", config=FAST) as keeper:
        with pytest.raises(type(error)) as raised:
            await run(keeper)
        assert raised.value is error
        assert "kept" in keeper.orset("x")


async def test_an_error_is_not_lost_when_the_block_is_cancelled_as_well() -> None:
    async def run(scope: trio.CancelScope) -> None:
        async with open_node("a"):
            scope.cancel()
            raise KeyError("k")

    with trio.CancelScope() as scope, pytest.raises(KeyError):
        await run(scope)


async def test_a_cancelled_block_hands_its_writes_over_and_ends() -> None:
    async with open_node("keeper", config=FAST) as keeper:
        with trio.CancelScope() as scope:
            async with open_node("a", join=[keeper.address], config=FAST) as a:
                await acquainted(a, keeper)
                a.orset("x").add("kept")
                scope.cancel()
                await trio.sleep_forever()
        assert scope.cancelled_caught
        assert "kept" in keeper.orset("x")
        with pytest.raises(NotRunning):
            await a.flush()


async def test_a_node_opened_in_a_cancelled_scope_ends_at_once() -> None:
    with patience(), trio.CancelScope() as scope:
        scope.cancel()
        async with open_node("a"):
            await trio.sleep_forever()
    assert scope.cancelled_caught


@pytest.mark.parametrize("presses", [1, 2])
async def test_ctrl_c_ends_the_block_and_a_second_one_the_wait_for_others(presses: int) -> None:
    """In a process of its own: pytest has signal handlers of its own."""
    program = """
import os, signal, time, trio
from gossip import Config, TransportFaults, open_node

async def main():
    faults = TransportFaults()
    async with open_node("keeper", config=Config.local()) as keeper:
        async with open_node("a", join=[keeper.address], faults=faults, config=Config.local()) as a:
            while not a.members():
                await trio.sleep(0.01)
            if PRESSES > 1:
                faults.loss = 1.0  # nobody hears it: it would wait
            a.orset("x").add(1)
            trio.lowlevel.spawn_system_task(press)
            await trio.sleep_forever()

async def press():
    for _ in range(PRESSES):
        signal.raise_signal(signal.SIGINT)
        await trio.sleep(0.2)

began = time.monotonic()
try:
    trio.run(main)
except BaseException as error:
    print(type(error).__name__, time.monotonic() - began < 2.5)
"""
    with patience():
        done = await trio.run_process(
            [sys.executable, "-c", program.replace("PRESSES", str(presses))], capture_stdout=True, capture_stderr=True
        )
    assert done.stdout.decode().split() == ["KeyboardInterrupt", "True"]


async def test_ctrl_c_that_comes_while_the_node_is_at_work_is_for_the_block() -> None:
    """The signal is raised inside a task of the node, in the middle of taking up what it received."""
    program = """
import signal, trio
from gossip import Config, open_node

async def main():
    async with open_node("keeper", config=Config.local()) as keeper:
        async with open_node("a", join=[keeper.address], config=Config.local()) as a:
            keeper.replica.on_change(lambda _: signal.raise_signal(signal.SIGINT))
            a.orset("x").add(1)
            try:
                await trio.sleep_forever()
            except BaseException as error:
                print("the block:", type(error).__name__)
                raise

try:
    trio.run(main)
except BaseException as error:
    print("the program:", type(error).__name__)
"""
    with patience():
        done = await trio.run_process([sys.executable, "-c", program], capture_stdout=True, capture_stderr=True)
    assert done.stdout.decode().splitlines() == ["the block: KeyboardInterrupt", "the program: KeyboardInterrupt"]


async def test_a_closed_node_can_be_read_and_neither_written_nor_waited_for() -> None:
    async with open_node("a") as a:
        a.orset("x").add(1)
    assert set(a.orset("x")) == {1}
    with pytest.raises(NotRunning, match="nothing was written"):
        a.orset("x").add(2)
    for wait in (a.flush, a.synced, a.leave, lambda: a.wait_for(a.version())):
        with pytest.raises(NotRunning, match="node a is closed"):
            await wait()
    with pytest.raises(NotRunning):
        a.watch()


@pytest.mark.parametrize("wait", [lambda a, b: a.wait_for(b.version()), lambda a, b: a.synced(to=9, timeout=60)])
async def test_whoever_still_waits_when_a_node_closes_is_told(wait: Callable[[Node, Node], Any]) -> None:
    raised = trio.Event()

    async def waiting(a: Node, b: Node) -> None:
        with pytest.raises(NotRunning):
            await wait(a, b)
        raised.set()

    async with open_node("b") as b, trio.open_nursery() as nursery:
        b.orset("x").add(1)
        async with open_node("a") as a:
            nursery.start_soon(waiting, a, b)
            await trio.testing.wait_all_tasks_blocked()
        with patience():
            await raised.wait()


async def test_an_ended_node_leaves_no_task_no_port_and_no_descriptor(tmp_path: Any) -> None:
    runner = trio.lowlevel.current_statistics
    before = runner().tasks_living, len(os.listdir("/proc/self/fd"))
    async with cluster(3) as nodes:
        for number in range(3_000):
            nodes[0].orset("x").add(f"element {number}")
        await equal(*nodes)
        async with open_node("d", data_dir=tmp_path, join=[nodes[0].address], config=FAST) as d:
            await acquainted(d, nodes[0])
        places = [node.address for node in nodes]
    assert (runner().tasks_living, len(os.listdir("/proc/self/fd"))) == before
    assert named(tmp_path) == ["lock", "mark", "state.db"]
    for place in places:
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            with socket.socket(socket.AF_INET, kind) as again:
                again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                again.bind(place)


# ---- listeners


async def test_a_listener_that_raises_is_told_of_and_harms_nobody() -> None:
    journal = Journal()
    heard = []

    def faulty(_: object) -> None:
        raise RuntimeError("mine, not yours")

    async with open_node("a", config=FAST) as a, open_node("b", join=[a.address], config=FAST, log=journal.logger) as b:
        b.replica.on_change(faulty)
        b.replica.on_change(heard.extend)
        await acquainted(a, b)
        a.orset("x").add("received")
        await equal(a, b)
        b.orset("x").add("written")
        assert await b.synced(timeout=10) == 1
        assert set(a.orset("x")) == {"received", "written"}
        assert [change.key for change in heard] == ["received", "written"]
    failures = journal.named("listener.failed")
    assert [str(line["exc_info"]) for line in failures] == ["mine, not yours"] * 2


# ---- logs


async def test_an_application_that_configured_nothing_sees_warnings_only(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        async with open_node("a"):
            pass
    shown = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(shown) == 1
    assert "node.unsealed" in shown[0].getMessage()


async def test_events_carry_the_name_of_their_node_and_what_happened() -> None:
    journal = Journal()
    async with (
        open_node("a", config=FAST) as a,
        open_node("b", join=[a.address], key=None, config=FAST, log=journal.logger) as b,
    ):
        await acquainted(a, b)
    assert journal.events()[:2] == ["node.started", "node.unsealed"]
    assert journal.events()[-1] == "node.stopped"
    assert journal.named("node.stopped")[0]["reason"] == "its block has ended"
    joined = journal.named("member.joined")
    assert [(line["member"], line["address"]) for line in joined] == [("a", str(a.address))]


def test_the_default_settings_are_those_of_a_lan() -> None:
    assert Config() == Config.lan()


def test_signals_have_their_usual_handlers_after_a_run() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

    async def main() -> None:
        async with open_node("a"):
            pass

    trio.run(main)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


async def test_a_write_from_another_thread_is_refused_before_it_changes_anything() -> None:
    async with open_node("a", key=new_key()) as node:
        with pytest.raises(WrongThread, match="nothing was written"):
            await trio.to_thread.run_sync(lambda: node.counter("n").increment(5))
        assert node.counter("n").value() == 0
        node.counter("n").increment(1)
        assert node.counter("n").value() == 1


async def test_a_write_after_the_block_is_refused_before_it_changes_anything() -> None:
    async with open_node("a", key=new_key()) as node:
        node.orset("s").add(1)
    with pytest.raises(NotRunning, match="nothing was written"):
        node.orset("s").add(2)
    assert node.orset("s").get_elements() == {1}


async def test_the_writer_of_a_change_has_a_name() -> None:
    async with cluster(2) as (a, b):
        with b.watch("s") as changes:
            a.orset("s").add(1)
            with patience():
                change = await anext(changes)
        assert b.name_of(change.writer) == a.name
        assert a.name_of(change.writer) == a.name
        assert a.name_of("nobody.1") == "nobody.1"
        assert repr(a) == f"<Node {a.name!r} {a.address}>"


async def test_a_node_without_a_key_is_not_told_to_join_another_machine() -> None:
    with pytest.raises(ConfigError, match="only nodes on this machine"):
        async with open_node("a", join=["192.0.2.1:4747"]):
            pass


async def test_one_string_is_no_list_of_addresses() -> None:
    with pytest.raises(ConfigError, match=r"join=\['127.0.0.1:4747'\]"):
        async with open_node("a", join="127.0.0.1:4747"):
            pass


@pytest.mark.parametrize("options", [{"key": 5}, {"bind": 4747}, {"join": [4747]}])
async def test_an_argument_of_the_wrong_type_is_refused_by_name(options: dict[str, Any]) -> None:
    with pytest.raises((ConfigError, KeyFormatError), match="not int"):
        async with open_node("a", **options):
            pass


@pytest.mark.parametrize("tags", ["foo", None, 5, ["role"], {"role": 1}])
async def test_tags_that_are_no_dict_of_text_are_refused_with_what_is_wanted(tags: Any) -> None:
    async with open_node("a", config=FAST, tags={"role": "worker"}) as a:
        with pytest.raises(ConfigError, match=r"tags are .*such as"):
            a.set_tags(tags)
        assert a.tags == {"role": "worker"}
    if tags is not None:
        with pytest.raises(ConfigError, match=r"tags are .*such as"):
            async with open_node("a", tags=tags):
                pass


async def test_a_member_is_retired_as_what_the_list_of_members_holds() -> None:
    async with open_node("a", config=FAST) as a:
        async with open_node("b", join=[a.address], config=FAST) as b:
            await acquainted(a, b)
            (member,) = a.members()
            with pytest.raises(MemberAlive, match=r"^b is alive: stop it first"):
                a.retire(member)
        await until(a, lambda: [each.state for each in a.members()] == ["left"])
        assert a.retire(a.members()[0]) == b.id
        assert a.members() == []


@pytest.mark.parametrize("what", [None, 5, b"b", ("b",)])
async def test_what_names_no_member_is_refused_with_what_does(what: Any) -> None:
    async with open_node("a", config=FAST) as a:
        with pytest.raises(ConfigError, match=r"under its name or id, or as one of node.members\(\)"):
            a.retire(what)


async def test_the_log_tells_why_a_node_has_stopped() -> None:
    journal = Journal()
    with pytest.raises(ValueError, match="mine"):
        async with open_node("a", config=FAST, log=journal.logger):
            raise ValueError("mine")
    with trio.CancelScope() as scope:
        async with open_node("a", config=FAST, log=journal.logger):
            scope.cancel()
            await trio.sleep_forever()
    async with open_node("a", config=FAST, log=journal.logger) as a:
        a.stop_reason = "the work is done"
    assert [line["reason"] for line in journal.named("node.stopped")] == [
        "ValueError was raised",
        "its block was cancelled",
        "the work is done",
    ]


async def test_a_node_that_others_could_reach_is_warned_of_a_loopback_address_that_it_advertises() -> None:
    journal = Journal()
    async with open_node("a", key=KEY, bind="0.0.0.0:0", advertise="127.0.0.1:4747", log=journal.logger) as a:
        (told,) = journal.named("loopback.advertised")
        assert (told["advertised"], told["bound_to"]) == ("127.0.0.1:4747", str(a.address))
        assert "only this machine reaches it there" in told["check"]
    async with open_node("b", bind="127.0.0.1:0", advertise="127.0.0.1:4747", log=journal.logger):
        assert len(journal.named("loopback.advertised")) == 1


async def test_a_seed_that_never_answers_is_told_of_once() -> None:
    journal = Journal()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
        deaf.bind(("127.0.0.1", 0))
        seed = Address(*deaf.getsockname())
        async with open_node("a", join=[seed], key=new_key(), cluster="tea", config=FAST, log=journal.logger):
            with patience():
                while not any(line["event"] == "seed.silent" for line in journal.lines):
                    await trio.sleep(0.05)
            await trio.sleep(0.5)
    silent = [line for line in journal.lines if line["event"] == "seed.silent"]
    assert [line["seed"] for line in silent] == [str(seed)]
    assert silent[0]["cluster"] == "tea"
    assert "that a node of the cluster 'tea' listens there, that it has the same key" in silent[0]["check"]


@pytest.mark.parametrize(
    ("bind", "join_at"), [("0.0.0.0", "0.0.0.0"), ("0.0.0.0", "127.0.1.1"), ("[::]", "127.0.0.1"), ("[::]", "[::]")]
)
async def test_a_node_that_listens_everywhere_is_found_at_any_of_its_addresses(bind: str, join_at: str) -> None:
    async with open_node("a", key=KEY, bind=f"{bind}:0", config=FAST) as a:
        seed = f"{join_at}:{a.address.port}"
        async with open_node("b", key=KEY, bind=f"{bind}:0", join=[seed], config=FAST) as b:
            await acquainted(a, b)


# ---- names


async def test_nodes_meet_and_share_objects_under_names_that_are_composed_differently() -> None:
    key, composed, decomposed = new_key(), "caf\u00e9", "cafe\u0301"
    async with (
        open_node("a", key=key, cluster=composed, config=FAST) as a,
        open_node(decomposed, key=key, cluster=decomposed, join=[a.address], tags={decomposed: "1"}, config=FAST) as b,
    ):
        await until(a, lambda: [(m.name, m.state) for m in a.members()] == [(composed, "alive")])
        assert (b.name, b.cluster, dict(b.tags)) == (composed, composed, {composed: "1"})
        with b.watch(decomposed) as changes:
            a.lwwmap(composed).set(decomposed, 1)
            await equal(a, b)
            with patience():
                assert (await anext(changes)).key == decomposed
        assert b.lwwmap(decomposed).value() == {decomposed: 1}
        assert a.replica_id_of(decomposed) == b.replica.replica_id
