"""Real nodes and their real driver on virtual time, a network in memory and a disk of any speed.

What takes hours takes milliseconds here, and a node can be cancelled at every single step that it makes.
"""

import random
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from crdts import Context, Replica, encode
from crdts.catchup import MAX_PIECE
from gossip import Address, Config, Node, NotRunning
from gossip.log import WRITES_UNSAVED, WRITES_UNSHARED
from gossip.node import DISK_GRACE, SHUTDOWN_GRACE
from gossip.open import run_node
from gossip.protocol import Effect, Engine, Identity, Persist
from gossip.runtime import driver
from gossip.storage import saver as disk
from gossip.storage.errors import DiskFailed

from .live import FAST, Journal, acquainted, equal, states, until
from .memory_transport import MemoryNetwork, MemoryTransport

CALM = replace(Config.lan(), probe_interval=10.0)
"""For hours of virtual time: a probe costs a few tenths of a millisecond of real time."""
LARGE = 200_000
"""Bytes of a value that travels by stream."""


def node_on(transport: MemoryTransport, *seeds: Address, **options: Any) -> AbstractAsyncContextManager[Node]:
    """A node called after its host's last number."""
    name = f"n{transport.address.host.rpartition('.')[2]}"
    return run_node(name, transport, **{"seeds": seeds, "config": FAST, "log": Journal().logger} | options)


@asynccontextmanager
async def cluster(network: MemoryNetwork, size: int, **options: Any) -> AsyncIterator[list[Node]]:
    """Nodes n1, n2, ... that know each other."""
    async with AsyncExitStack() as stack:
        nodes: list[Node] = []
        for _ in range(size):
            seeds = [node.address for node in nodes[:1]]
            nodes.append(await stack.enter_async_context(node_on(network.host(), *seeds, **options)))
        await acquainted(*nodes)
        yield nodes


def tasks() -> int:
    return trio.lowlevel.current_statistics().tasks_living


class MemoryDisk:
    """Takes its time to save, hangs or fails while it is told to, and forgets what it did not finish."""

    has_more = is_replacing = False

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.saved: list[Persist] = []
        self.saves = 0
        self.asked_since: float | None = None
        self.busy = False
        self.hangs = False
        self.fails = False

    async def save(self, batches: Sequence[Persist]) -> None:
        assert not self.busy, "one call at a time"
        self.busy, self.asked_since = True, trio.current_time()
        try:
            await (trio.sleep_forever() if self.hangs else trio.sleep(self.seconds))
        finally:
            self.busy, self.asked_since = False, None
        if self.fails:
            raise OSError("no space left")
        self.saved += batches
        self.saves += 1

    def answers_within(self, seconds: float) -> bool:  # no thread works while the loop stands still
        return not self.busy

    def replace(self) -> None:
        raise AssertionError("no batch was given up")

    def remember(self, hints: bytes) -> None: ...

    def rename(self, identity: Identity) -> None:
        raise AssertionError("the node stays who it is")

    async def close(self, fingerprint: int | None) -> None:
        raise AssertionError("who has opened it closes it")

    def content(self) -> bytes:
        return b"".join(event.key + (event.payload or b"") for batch in self.saved for event in batch.events)


# ---- converging


async def test_nodes_converge_over_a_network_that_loses_delays_and_reorders(autojump_clock: MockClock) -> None:
    network = MemoryNetwork(latency=0.02, jitter=0.2, loss=0.25, seed=1)
    async with cluster(network, 5, config=replace(FAST, suspicion=50)) as nodes:
        for number, node in enumerate(nodes):
            for count in range(50):
                node.orset("tasks").add(f"{number} {count}")
            node.counter("moves").increment(number)
            node.register(f"large {number}").set(random.Random(number).randbytes(LARGE))
        await equal(*nodes)
        assert [len(node.orset("tasks")) for node in nodes] == [250] * 5
        assert {node.counter("moves").value() for node in nodes} == {10}
    assert network.streams_opened > 0


async def test_a_partition_of_an_hour_heals_by_itself(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    async with cluster(network, 4, config=CALM) as nodes:
        sides = nodes[:2], nodes[2:]
        network.part(*[[node.address for node in side] for side in sides])
        for minute in range(60):
            for side in sides:
                side[minute % 2].orset("x").add(f"{side[0].name} {minute}")
            await trio.sleep(60)
        for side, other in (sides, sides[::-1]):
            assert len(side[0].orset("x")) == 60
            assert {states(side[0])[node.name] for node in other} == {"failed"}
        network.heal()
        with trio.fail_after(120):
            await acquainted(*nodes)
            await equal(*nodes)
        assert len(nodes[0].orset("x")) == 120


async def test_a_seed_that_comes_up_after_an_hour_is_found(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    early, late = network.host(), network.host()
    async with node_on(early, late.address, config=CALM) as a:
        a.orset("x").add(1)
        await trio.sleep(3_600)
        async with node_on(late, config=CALM) as b:
            await acquainted(a, b)
            await equal(a, b)


async def test_streams_that_break_at_random_only_delay(autojump_clock: MockClock) -> None:
    network = MemoryNetwork(seed=3)
    async with cluster(network, 3) as nodes:
        network.breaking = 0.05
        for node in nodes:
            for number in range(3):
                node.register(f"{node.name} {number}").set(random.Random(number).randbytes(LARGE))
        with trio.fail_after(600):
            for node in nodes:
                for other in nodes:
                    await node.wait_for(other.version())
        network.breaking = 0.0
        await equal(*nodes)
        assert network.streams_broken > 5
        assert sum(node.statistics().streams_failed for node in nodes) > 5


async def test_a_buffer_that_is_full_for_a_while_delays_and_holds_a_bounded_number(
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(driver, "UNSENT_DATAGRAMS", 50)
    network = MemoryNetwork()
    async with cluster(network, 2, config=replace(FAST, suspicion=1000)) as (a, b):
        sent: list[Address] = []
        network.on_sent = lambda source, data: sent.append(source)
        network.hosts[a.address].refuse(True)
        for number in range(500):
            a.orset("x").add(number)
            b.orset("y").add(number)
            await trio.sleep(0.01)
        assert a.address not in sent
        assert len(a.orset("y")) == 500
        assert len(b.orset("x")) == 0
        network.hosts[a.address].refuse(False)
        await trio.sleep(0.002)
        assert 0 < sent.count(a.address) <= 60
        await equal(a, b)


async def test_a_connection_that_nobody_answers_is_given_up_and_tried_again(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    async with cluster(network, 2) as (a, b):
        network.stalled = True
        a.register("large").set(random.Random(1).randbytes(LARGE))
        await until(b, lambda: a.statistics().streams_failed + b.statistics().streams_failed >= 3)
        network.heal()
        await equal(a, b)


# ---- ending


class CancelAtStep(trio.abc.Instrument):
    """Cancels a scope when the tasks of the program have made so many steps."""

    def __init__(self, step: int, scope: trio.CancelScope) -> None:
        self.steps = 0
        self._step = step
        self._scope = scope

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.steps += 1
        if self.steps == self._step:
            self._scope.cancel()


async def live(transport: MemoryTransport, keeper: Node, node_disk: MemoryDisk | None, lived: list[Node]) -> None:
    """Meets, writes, sends and receives by stream, and goes: everything that a node does."""
    async with node_on(transport, keeper.address, disk=node_disk) as node:
        lived.append(node)
        node.orset("x").add("before anybody was met")
        await acquainted(node, keeper)
        node.register("large").set(random.Random(1).randbytes(LARGE // 8))
        keeper.register("large, too").set(random.Random(2).randbytes(LARGE // 8))
        await equal(node, keeper)
        node.orset("x").add("last")


async def life_cancelled_at(step: int, node_disk: MemoryDisk | None) -> int:
    """A node's life among two others, cancelled at a step of all their tasks; returns how many steps there were."""
    network = MemoryNetwork()
    async with cluster(network, 2) as (keeper, witness):
        before = tasks()
        lived: list[Node] = []
        with trio.CancelScope() as scope:
            cancel = CancelAtStep(step, scope)
            trio.lowlevel.add_instrument(cancel)
            try:
                await live(network.host(), keeper, node_disk, lived)
            finally:
                trio.lowlevel.remove_instrument(cancel)
        await still_serve(keeper, witness, *lived)
        await until(keeper, lambda: tasks() == before)
        return cancel.steps


async def still_serve(keeper: Node, witness: Node, *ended: Node) -> None:
    """They know all that the ended nodes wrote, and go on."""
    keeper.orset("proof of life").add(1)
    witness.orset("proof of life").add(2)
    await equal(keeper, witness)
    for node in ended:
        with trio.fail_after(0.001):  # what it held is held by the others, now
            await keeper.wait_for(node.version())


INSTANTS = 100


@pytest.mark.parametrize("seconds", [None, 0.01], ids=["in memory", "on a disk"])
async def test_a_node_cancelled_at_any_step_ends_hands_over_and_leaves_the_others_at_work(
    autojump_clock: MockClock,
    seconds: float | None,
) -> None:
    def fresh_disk() -> MemoryDisk | None:
        return None if seconds is None else MemoryDisk(seconds)

    whole = await life_cancelled_at(-1, fresh_disk())
    for instant in range(INSTANTS):
        step = 1 + whole * instant // INSTANTS
        try:
            with trio.fail_after(20):
                await life_cancelled_at(step, fresh_disk())
        except BaseException as error:
            error.add_note(f"cancelled at step {step} of {whole}")
            raise


async def test_a_block_that_raises_hands_its_writes_over_through_a_cut_that_heals_in_time(
    autojump_clock: MockClock,
) -> None:
    network = MemoryNetwork()

    async def healed_later() -> None:
        await trio.sleep(0.5)  # before the others count as failed, which would end the waiting
        network.heal()

    async def fail_in_the_dark(keeper: Node, witness: Node, nursery: trio.Nursery) -> None:
        async with node_on(network.host(), keeper.address) as node:
            await acquainted(node, keeper, witness)
            network.part([node.address], [keeper.address, witness.address])
            node.orset("x").add("written in the dark")
            nursery.start_soon(healed_later)
            raise KeyError

    async with cluster(network, 2) as (keeper, witness), trio.open_nursery() as nursery:
        with pytest.raises(KeyError):
            await fail_in_the_dark(keeper, witness, nursery)
        await equal(keeper, witness)
        assert "written in the dark" in witness.orset("x")


async def test_a_node_that_nobody_hears_ends_within_the_grace_and_says_so(autojump_clock: MockClock) -> None:
    network, journal = MemoryNetwork(), Journal()
    async with cluster(network, 2) as (keeper, witness):
        async with node_on(network.host(), keeper.address, log=journal.logger) as node:
            await acquainted(node, keeper, witness)
            network.part([node.address], [keeper.address, witness.address])
            node.orset("x").add("lost")
            began = trio.current_time()
        assert trio.current_time() - began <= SHUTDOWN_GRACE
        assert journal.named(WRITES_UNSHARED)
        network.heal()
        await still_serve(keeper, witness)


async def test_a_node_cancelled_while_its_streams_are_stuck_ends_within_the_grace(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    async with cluster(network, 2) as (keeper, witness):
        before = tasks()
        for stuck in ("connecting", "serving"):
            network.stalled = stuck == "connecting"
            with trio.CancelScope() as scope:
                async with node_on(network.host(), keeper.address) as node:
                    await acquainted(node, keeper, witness)
                    opened = network.streams_opened
                    node.register("large").set(random.Random(1).randbytes(2 * LARGE))
                    await until(node, lambda opened=opened: network.stalled or network.streams_opened > opened)
                    network.stalled = True
                    began = trio.current_time()
                    await trio.sleep(0.5)
                    scope.cancel()
            assert trio.current_time() - began <= 0.5 + SHUTDOWN_GRACE + 0.1
            network.heal()
            await still_serve(keeper, witness)
        await until(keeper, lambda: tasks() == before)


async def test_nodes_that_are_cancelled_together_all_end(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    before = tasks()
    with trio.CancelScope() as scope:
        async with cluster(network, 5) as nodes:
            for node in nodes:
                node.orset("x").add(node.name)
            began = trio.current_time()
            scope.cancel()
    assert trio.current_time() - began < 5 * SHUTDOWN_GRACE
    assert tasks() == before
    assert [len(node.orset("x")) for node in nodes[:4]] == [5] * 4


async def test_a_write_that_comes_after_the_goodbye_is_refused_and_not_lost(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    goodbye = trio.Event()

    async def write_late(node: Node) -> None:
        await goodbye.wait()
        with pytest.raises(NotRunning, match="nothing was written"):
            node.orset("x").add("too late")

    async with cluster(network, 1) as (keeper,), trio.open_nursery() as nursery:
        async with node_on(network.host(), keeper.address) as node:
            await acquainted(node, keeper)
            network.on_sent = lambda source, data: goodbye.set() if node._left else None
            nursery.start_soon(write_late, node)
        assert goodbye.is_set()


# ---- a disk


WRITE = re.compile(rb"write \d+;")


def tells_only_what_is_saved(network: MemoryNetwork, address: Address, node_disk: MemoryDisk) -> list[bytes]:
    """From now on no byte of a write may leave the host before the disk has it; returns what has left, as it leaves."""
    told: list[bytes] = []

    def check(source: Address, data: bytes) -> None:
        if source == address:
            found = WRITE.findall(data)
            saved = node_disk.content() if found else b""
            assert all(write in saved for write in found)
            told.extend(found)

    network.on_sent = check
    return told


async def test_nothing_is_told_of_a_write_before_a_slow_disk_has_it(autojump_clock: MockClock) -> None:
    network, node_disk = MemoryNetwork(), MemoryDisk(2.0)
    async with cluster(network, 2) as (keeper, witness), node_on(network.host(), keeper.address, disk=node_disk) as a:
        await acquainted(a, keeper, witness)
        told = tells_only_what_is_saved(network, a.address, node_disk)
        for number in range(20):
            a.orset("x").add(f"write {number};")
            assert f"write {number};" in a.orset("x")
            a.register(f"large {number}").set(f"write {1000 + number};" + "x" * 20_000)
            keeper.orset("y").add(number)
            await trio.sleep(0.3)
        assert len(keeper.orset("x")) < 20
        with trio.fail_after(60):
            await a.synced(timeout=60)
        await equal(a, keeper, witness)
        assert len(set(told)) == 40
        assert len(a.orset("y")) == 20


async def test_what_comes_while_a_disk_saves_is_saved_together_next(autojump_clock: MockClock) -> None:
    node_disk = MemoryDisk(2.0)
    async with node_on(MemoryNetwork().host(), disk=node_disk) as a:
        for number in range(100):
            a.orset("x").add(number)
            await trio.sleep(0.01)
        await a.flush()
        assert node_disk.saves == 2
        assert [batch.token for batch in node_disk.saved] == list(range(1, len(node_disk.saved) + 1))
        assert [event.seq for batch in node_disk.saved for event in batch.events] == list(range(1, 101))


async def test_flush_waits_for_the_disk_and_not_for_those_who_go_on_writing(autojump_clock: MockClock) -> None:
    node_disk = MemoryDisk(2.0)

    async def writes(node: Node) -> None:
        while True:
            node.counter("c").increment()
            await trio.sleep(0.01)

    async with node_on(MemoryNetwork().host(), disk=node_disk) as a, trio.open_nursery() as nursery:
        nursery.start_soon(writes, a)
        await trio.sleep(0.5)
        a.orset("x").add("write 1;")
        began = trio.current_time()
        with trio.fail_after(10):
            await a.flush()
        assert b"write 1;" in node_disk.content()
        assert 2.0 < trio.current_time() - began <= 4.1
        nursery.cancel_scope.cancel()


async def test_nobody_waits_for_a_disk_that_nothing_is_handed_to_any_more(autojump_clock: MockClock) -> None:
    node_disk = MemoryDisk()
    node_disk.is_replacing = True
    saver = disk.Saver(node_disk, lambda: None, lambda _: None, Journal().logger)
    with trio.move_on_after(1.0):
        await saver.run()
    with trio.fail_after(1.0):
        await saver.flush()


class BrokenAfterOne(MemoryDisk):
    """Saves once, and then fails so fast that nobody has heard of the first save yet."""

    has_more = True

    async def save(self, batches: Sequence[Persist]) -> None:
        if self.saves:
            raise DiskFailed("no space left")
        await super().save(batches)


async def test_what_is_saved_is_acknowledged_even_if_the_disk_fails_right_behind_it(autojump_clock: MockClock) -> None:
    saver = disk.Saver(BrokenAfterOne(1.0), lambda: None, lambda _: None, Journal().logger)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(saver.run)
        await saver.flush()
        assert saver.failure is not None
        with pytest.raises(DiskFailed, match="no space left"):
            await saver.flush()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("alone", [True, False])
async def test_a_slow_disk_loses_nothing_at_the_end(autojump_clock: MockClock, alone: bool) -> None:
    network, node_disk = MemoryNetwork(), MemoryDisk(2.0)
    async with cluster(network, 1) as (keeper,):
        with trio.CancelScope() as scope:
            async with node_on(network.host(), *([] if alone else [keeper.address]), disk=node_disk) as a:
                a.orset("x").add("write 1;")
                await trio.sleep(0.1)
                a.orset("x").add("write 2;")
                scope.cancel()
        assert set(WRITE.findall(node_disk.content())) == {b"write 1;", b"write 2;"}
        assert alone or set(keeper.orset("x")) == {"write 1;", "write 2;"}


async def test_a_disk_that_hangs_keeps_a_node_for_a_bounded_time_and_nothing_is_told(autojump_clock: MockClock) -> None:
    network, node_disk, journal = MemoryNetwork(), MemoryDisk(), Journal()
    async with cluster(network, 2) as (keeper, witness):
        before = tasks()
        with trio.CancelScope() as scope:
            async with node_on(network.host(), keeper.address, disk=node_disk, log=journal.logger) as a:
                await acquainted(a, keeper, witness)
                node_disk.hangs = True
                a.orset("x").add("never saved")
                began = trio.current_time()
                scope.cancel()
        assert trio.current_time() - began <= DISK_GRACE + SHUTDOWN_GRACE + 0.1
        assert journal.named(WRITES_UNSAVED)
        assert journal.named(WRITES_UNSHARED)
        assert not keeper.orset("x")
        await still_serve(keeper, witness)
        await until(keeper, lambda: tasks() == before)


async def test_a_disk_that_fails_ends_its_node_and_nobody_hears_of_what_it_has_not_saved(
    autojump_clock: MockClock,
) -> None:
    network, node_disk = MemoryNetwork(), MemoryDisk()

    async def write_in_vain(keeper: Node, witness: Node) -> None:
        async with node_on(network.host(), keeper.address, disk=node_disk) as a:
            await acquainted(a, keeper, witness)
            node_disk.fails = True
            a.orset("x").add("never saved")
            await trio.sleep_forever()

    async with cluster(network, 2) as (keeper, witness):
        with pytest.RaisesGroup(pytest.RaisesExc(OSError, match="no space"), flatten_subgroups=True):
            await write_in_vain(keeper, witness)
        assert not keeper.orset("x")
        await still_serve(keeper, witness)


@pytest.mark.parametrize("block_fails", [False, True])
async def test_a_disk_that_fails_while_its_node_ends_is_not_passed_over(
    autojump_clock: MockClock, block_fails: bool
) -> None:
    network, node_disk = MemoryNetwork(), MemoryDisk(0.5)

    async def write_and_end(keeper: Node) -> None:
        async with node_on(network.host(), keeper.address, disk=node_disk) as a:
            await acquainted(a, keeper)
            node_disk.fails = True
            a.orset("x").add("never saved")
            if block_fails:
                raise KeyError

    async with cluster(network, 1) as (keeper,):
        with pytest.RaisesGroup(pytest.RaisesExc(OSError, match="no space"), flatten_subgroups=True):
            await write_and_end(keeper)
        assert not keeper.orset("x")


async def test_a_node_whose_disk_is_far_behind_takes_in_a_bounded_number_and_catches_up(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "UNSAVED_BATCHES", 10)
    monkeypatch.setattr("gossip.storage.patience.DISK_SLOW", 100.0)  # it is slow, and does answer
    network, node_disk = MemoryNetwork(), MemoryDisk()
    config = replace(FAST, suspicion=10_000)
    async with (
        cluster(network, 2, config=config) as (keeper, witness),
        node_on(network.host(), keeper.address, disk=node_disk, config=config) as a,
    ):
        await acquainted(a, keeper, witness)
        node_disk.seconds = 60.0
        for number in range(500):
            witness.orset("x").add(number)
            await trio.sleep(0.01)
        assert len(a.orset("x")) <= 10 + driver.DRAIN_DATAGRAMS
        for number in range(5):
            witness.register(f"large {number}").set(random.Random(number).randbytes(LARGE))
        await trio.sleep(10)
        assert a.register("large 4").get() is None
        node_disk.seconds = 0.01
        await trio.sleep(60)
        await equal(a, keeper, witness)
        assert len(a.orset("x")) == 500


# ---- turns


async def test_datagrams_that_each_take_long_are_taken_in_one_a_turn(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = [0]
    receive = Engine.receive

    class Turns(trio.abc.Instrument):
        def before_task_step(self, task: trio.lowlevel.Task) -> None:
            turns.append(0)

    def slowly(self: Engine, now: float, source: Address, data: bytes) -> list[Effect]:
        turns[-1] += data == b"slow"
        autojump_clock.jump(0.01 * (data == b"slow"))
        return receive(self, now, source, data)

    monkeypatch.setattr(Engine, "receive", slowly)
    network = MemoryNetwork()
    stranger = network.host()
    async with node_on(network.host()) as node:
        trio.lowlevel.add_instrument(counting := Turns())
        for _ in range(10):
            stranger.send(b"slow", node.address)
        await trio.sleep(1.0)
        trio.lowlevel.remove_instrument(counting)
    assert sum(turns) == 10
    assert max(turns) == 1


def test_few_frames_of_a_catch_up_come_in_one_read() -> None:
    """All of them are taken in before others have their turn."""
    replica = Replica("a")
    for i in range(MAX_PIECE):
        replica.orset("tasks").add(f"task {i:06d}")
    (frame,) = replica.deltas_since(Context(), Config().stream_chunk_bytes)
    assert 3 * len(encode(frame)) > driver.READ_BYTES
