"""The driver under attack and in trouble: whatever comes to a node's port, it goes on serving its members."""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from crdts import Context
from gossip import Address, Node, new_key, open_node
from gossip.protocol import Identity, seal_for
from gossip.protocol.sync.session import LENGTH_BYTES
from gossip.protocol.wire.codec import encode_frame
from gossip.protocol.wire.messages import Introduce, WholeContext
from gossip.protocol.wire.seal import GREETING_BYTES
from gossip.runtime import driver
from gossip.runtime.driver import LINGER_TIMEOUT, LINGERING_STREAMS
from gossip.runtime.transport import Sockets

from ..live import FAST, Journal, acquainted, cluster, equal, patience, until

KEY = new_key()
HEADER = 5
"""Bytes of version and key id that everything under one key begins with; anybody on the network can see them."""


@contextmanager
def datagram_socket() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock


async def still_serves(*nodes: Node) -> None:
    """Writes on each of these nodes reach all the others, by datagram and by stream."""
    for node in nodes:
        node.orset("proof of life").add(f"{node.name} {random.random()}")
        node.register(f"large, of {node.name}").set(random.randbytes(200_000))
    await equal(*nodes)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


# ---- hostile datagrams


@pytest.mark.parametrize("key", [KEY, None], ids=["sealed", "plain"])
async def test_random_and_mutated_datagrams_change_nothing(key: str | None) -> None:
    rng = random.Random(7)
    with datagram_socket() as tap, datagram_socket() as attacker:
        tap.setblocking(False)
        async with cluster(2, key=key) as (a, b):
            await still_serves(a, b)
            async with open_node("bait", join=[Address(*tap.getsockname())], key=key, config=FAST):
                with patience():
                    await trio.lowlevel.wait_readable(tap)
                genuine = tap.recv(65_535)
            before = a.replica.fingerprint, a.version(), a.members()[0].id
            refused = sum(a.statistics().rejected.values())
            for batch in range(1, 41):
                for _ in range(50):  # no more at a time than a socket's buffer holds
                    data = bytearray(genuine)
                    match rng.randrange(5):
                        case 0:
                            data = bytearray(rng.randbytes(rng.randrange(1500)))
                        case 1:
                            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
                        case 2:
                            del data[rng.randrange(len(data)) :]
                        case 3:
                            data[HEADER:] = rng.randbytes(rng.randrange(1200))
                        case 4:
                            data += rng.randbytes(1 + rng.randrange(60_000))
                    attacker.sendto(data, a.address)
                await until(a, lambda most=refused + 45 * batch: sum(a.statistics().rejected.values()) >= most)
            assert (a.replica.fingerprint, a.version(), a.members()[0].id) == before
            await still_serves(a, b)


async def test_what_a_member_said_may_be_said_again_by_anybody_to_no_effect() -> None:
    """Replayed datagrams are authentic. They come from an address that has not proven itself."""
    with datagram_socket() as tap, datagram_socket() as attacker:
        tap.setblocking(False)
        place = Address(*tap.getsockname())
        async with (
            cluster(2, key=KEY) as (a, b),
            open_node("c", join=[place, a.address], key=KEY, config=FAST) as c,
        ):
            with patience():
                await trio.lowlevel.wait_readable(tap)
            overheard = tap.recv(65_535)
            await acquainted(a, b, c)
            where = {member.name: member.address for member in a.members()}
            for _ in range(200):
                attacker.sendto(overheard, a.address)
            await still_serves(a, b, c)
            assert {member.name: member.address for member in a.members()} == where


@asynccontextmanager
async def attacked(node: Node, program: str) -> AsyncIterator[None]:
    """Another process runs ``program`` against a node, as fast as it can."""
    command = [sys.executable, "-c", ATTACKER + program, node.address.host, str(node.address.port)]
    process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        async with process.stdout:
            with patience():
                await process.stdout.receive_some()
            yield
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


ATTACKER = """
import socket, sys
place = sys.argv[1], int(sys.argv[2])
print("here I come", flush=True)
"""
DATAGRAMS = """
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
while True:
    sock.sendto(b"x" * 1200, place)
"""
CONNECTIONS = """
crowd = []
while True:
    crowd.append(socket.create_connection(place))
    if len(crowd) > 100:
        crowd.pop(0).close()
"""


async def test_a_flood_of_datagrams_stops_nobody() -> None:
    async with cluster(2, key=KEY, config=replace(FAST, suspicion=100)) as (a, b), attacked(a, DATAGRAMS):
        await until(a, lambda: a.statistics().rejected.get("unknown_version", 0) > 1000)
        await still_serves(a, b)


# ---- hostile streams


async def connected(node: Node) -> trio.SocketStream:
    return await trio.open_tcp_stream(*node.address)


async def sends_garbage(node: Node) -> None:
    async with await connected(node) as stream:
        await stream.send_all(random.randbytes(5_000))
        assert await drained(stream)


async def says_nothing(node: Node) -> None:
    async with await connected(node) as stream:
        assert await drained(stream)


async def hangs_up_at_once(node: Node) -> None:
    for _ in range(50):
        async with await connected(node):
            pass


async def resets(node: Node) -> None:
    for _ in range(50):
        with socket.create_connection(node.address) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            sock.send(b"x")


async def announces_a_huge_frame(node: Node) -> None:
    async with await connected(node) as stream:
        greeting = await received(stream, GREETING_BYTES)
        await stream.send_all(greeting[:HEADER] + os.urandom(GREETING_BYTES - HEADER) + b"\xff\xff\xff\xff" + b"x" * 99)
        assert await drained(stream)


async def echoes(node: Node) -> None:
    async with await connected(node) as stream:
        await stream.send_all(await received(stream, GREETING_BYTES))
        async for data in stream:
            await stream.send_all(data)


async def half_closes(node: Node) -> None:
    async with await connected(node) as stream:
        await stream.send_eof()
        assert await drained(stream)


async def trickles(node: Node) -> None:
    """A byte now and then, for as long as it is suffered."""
    async with await connected(node) as stream:
        try:
            for byte in random.randbytes(GREETING_BYTES - 1):
                await stream.send_all(bytes([byte]))
                await trio.sleep(0.1)
        except trio.BrokenResourceError:
            return
        assert await drained(stream)


async def received(stream: trio.SocketStream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += await stream.receive_some(size - len(data))
    return data


async def drained(stream: trio.SocketStream) -> bool:
    """Read until the node closes the stream, in order or not."""
    try:
        async for _ in stream:
            pass
    except trio.BrokenResourceError:
        pass
    return True


ATTACKS = (
    *(sends_garbage, says_nothing, hangs_up_at_once, resets, announces_a_huge_frame, echoes, half_closes, trickles),
)


@pytest.mark.parametrize("key", [KEY, None], ids=["sealed", "plain"])
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
async def test_no_connection_lasts_or_ends_anything(attack: Callable[[Node], Awaitable[None]], key: str | None) -> None:
    config = replace(FAST, stream_timeout=0.5)
    async with cluster(2, key=key, config=config) as (a, b):
        before = descriptors()
        tasks = trio.lowlevel.current_statistics().tasks_living
        with patience():
            await attack(a)
        await still_serves(a, b)
        assert b.replica.fingerprint == a.replica.fingerprint
        await until(a, lambda: descriptors() <= before)
        await until(a, lambda: trio.lowlevel.current_statistics().tasks_living <= tasks)


async def test_more_connections_than_are_served_take_a_bounded_number_of_descriptors() -> None:
    async with cluster(2, key=KEY) as (a, b), trio.open_nursery() as nursery:
        before = descriptors()
        crowd = [await connected(a) for _ in range(200)]
        with trio.fail_after(LINGER_TIMEOUT / 2):  # not because each has been waited for
            await until(a, lambda: descriptors() <= before + len(crowd) + FAST.max_streams + LINGERING_STREAMS)
        await still_serves(a, b)
        for stream in crowd:
            nursery.start_soon(stream.aclose)


async def test_a_flood_of_connections_does_not_keep_a_newcomer_out() -> None:
    async with open_node("old", key=KEY, config=FAST) as old:
        for number in range(5_000):
            old.orset("entries").add(f"entry {number}")
        async with attacked(old, CONNECTIONS):
            await until(old, lambda: old.statistics().streams_failed > 200)
            async with open_node("new", join=[old.address], key=KEY, config=FAST) as new:
                with patience():
                    await new.wait_for(old.version())
                assert len(new.orset("entries")) == 5_000


async def test_a_reader_that_takes_no_more_bytes_is_dropped_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds our key, greets, asks for everything, and then reads nothing."""
    monkeypatch.setattr(driver, "LINGER_TIMEOUT", 0.5)
    config = replace(FAST, stream_timeout=0.5)
    async with open_node("a", config=config) as a:
        for number in range(40):
            a.register(f"r{number}").set(os.urandom(1_000_000))
        seal, salt = seal_for(None), bytes(16)
        before = descriptors()
        async with await connected(a) as stream:
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            await stream.send_all(seal.greeting(salt))
            frames = seal.frames(await received(stream, GREETING_BYTES), salt, opened_by_us=True)
            me = Identity.fresh("greedy", random.Random(1))
            for frame in (Introduce(me.node_id, me.name, 1, False), WholeContext(Context())):
                sealed = frames.seal(encode_frame(frame))
                await stream.send_all(len(sealed).to_bytes(LENGTH_BYTES, "big") + sealed)
            await until(a, lambda: a.statistics().stream_bytes_sent > 200_000)
            with trio.fail_after(config.stream_timeout + 0.5 + 5):
                await until(a, lambda: descriptors() <= before + 1)  # ours is still open, theirs is not
        with patience():
            await until(a, lambda: a.statistics().streams_failed == 1)


# ---- trouble below us


async def test_targets_that_cannot_be_reached_are_told_of_once() -> None:
    journal = Journal()
    # To a loopback socket the rest of the world has no route, and 255.255.255.255 is forbidden without a flag.
    join = [Address("255.255.255.255", 9), Address("192.0.2.1", 9)]
    async with open_node("a", join=join, key=KEY, config=FAST, log=journal.logger) as a:
        await until(a, lambda: a.statistics().datagrams_sent >= 4)
        async with open_node("b", join=[a.address], key=KEY, config=FAST) as b:
            await still_serves(a, b)
    assert len(journal.named("datagram.refused")) == 1


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace, to make system calls fail")
@pytest.mark.parametrize("error", ["ENOBUFS", "EPERM", "EAGAIN", "ECONNREFUSED"])
def test_sends_that_fail_now_and_then_lose_nothing(error: str) -> None:
    # It ends inside of Trio, whose own waking of itself at the end of a run is a sendto as well.
    program = """
import os, trio
from gossip import Config, open_node

async def main():
    async with open_node("a", config=Config.local()) as a:
        async with open_node("b", join=[a.address], config=Config.local()) as b:
            with trio.fail_after(20):
                while not a.members():
                    await trio.sleep(0.01)
                for burst in range(20):
                    for number in range(20):
                        a.orset("x").add(f"{burst} {number}")
                    await trio.sleep(0.01)
                await a.synced(timeout=20)
                assert len(b.orset("x")) == 400
    print("fine", flush=True)
    os._exit(0)

trio.run(main)
"""
    inject = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=sendto", "-e"]
    command = [*inject, f"inject=sendto:error={error}:when=20+3", sys.executable, "-c", program]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
        start_new_session=True,
    ) as process:
        try:
            out, err = process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # what strace runs would outlive it
            raise
    if "ptrace" in err.lower():
        pytest.skip("this system lets nobody trace")
    assert out == "fine\n", err


# ---- sockets


async def test_both_sockets_share_a_port() -> None:
    with ExitStack() as stack:
        several = [Sockets.bind("127.0.0.1", 0) for _ in range(20)]
        for sockets in several:
            stack.callback(sockets.close)
        for sockets in several:
            assert sockets.udp.getsockname() == sockets.listener.socket.getsockname() == sockets.address
        assert len({sockets.address for sockets in several}) == 20


def test_a_port_that_cannot_be_had_leaves_no_socket_open() -> None:
    before = descriptors()
    with datagram_socket() as taken, pytest.raises(OSError, match="in use"):
        Sockets.bind(*taken.getsockname())
    assert descriptors() == before


async def test_strangers_that_connect_and_hang_up_write_one_line_and_are_counted() -> None:
    journal = Journal()
    async with open_node("a", key=KEY, config=FAST, log=journal.logger) as a:
        for _ in range(20):
            stream = await trio.open_tcp_stream(a.address.host, a.address.port)
            await stream.aclose()
        await until(a, lambda: a.statistics().streams_failed >= 20)
        assert [line["reason"] for line in journal.named("stream.failed")] == ["stranger"]
