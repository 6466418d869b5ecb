"""A running node, for use inside a Trio program."""

import os
import random
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import Any, Final, Literal

import trio

from crdts import GCounter, LWWMap, LWWRegister, MVRegister, ORSet, PNCounter, Replica

from .addresses import is_loopback, resolve, split_address
from .control import serve_control
from .datadir import DataDir
from .driver import Driver, Sockets
from .faults import TransportFaults
from .log import NODE_STARTED, NODE_STOPPED, NODE_UNSEALED, WRITES_UNSHARED, logger_for
from .protocol import Address, Config, Engine, Identity, Member, Statistics, parse_key, seal_for
from .protocol.errors import ConfigError, NotRunning, SyncTimeout
from .version import Version
from .watch import Watch

SHUTDOWN_GRACE: Final = 3.0
"""Seconds that a node waits at its end until some member has its last writes."""


class Node:
    """A member of a cluster. Made by `open_node`.

    Reads and writes through the accessors are local, immediate and synchronous; what is written travels on its own.
    """

    def __init__(
        self,
        replica: Replica,
        engine: Engine,
        driver: Driver,
        sockets: Sockets,
        log: Any,
        *,
        sealed: bool,
    ) -> None:
        self._replica = replica
        self._engine = engine
        self._driver = driver
        self._log = log
        self._address = sockets.address
        self.sealed = sealed
        """Whether everything it sends is encrypted under a cluster key."""
        self.stop_requested = trio.Event()
        """Set when `gossip leave` told this node to leave and stop: end the block then."""
        self._left = False
        self._awaited: list[int] = []

    # ---- data

    @property
    def replica(self) -> Replica:
        """All objects at once: iterate them, compare fingerprints."""
        return self._replica

    def orset(self, name: str) -> ORSet:
        """The add-wins set of that name."""
        return self._replica.orset(name)

    def gcounter(self, name: str) -> GCounter:
        """The grow-only counter of that name."""
        return self._replica.gcounter(name)

    def counter(self, name: str) -> PNCounter:
        """The up-and-down counter of that name."""
        return self._replica.counter(name)

    def register(self, name: str) -> LWWRegister:
        """The last-writer-wins register of that name."""
        return self._replica.register(name)

    def mvregister(self, name: str) -> MVRegister:
        """The multi-value register of that name."""
        return self._replica.mvregister(name)

    def lwwmap(self, name: str) -> LWWMap:
        """The last-writer-wins map of that name."""
        return self._replica.lwwmap(name)

    def watch(self, name: str | None = None) -> Watch:
        """The changes of objects called ``name``, or of all, local and received; iterate it with ``async for``."""
        return Watch(self._replica, name)

    # ---- the cluster

    @property
    def name(self) -> str:
        return self._engine.identity.name

    @property
    def id(self) -> str:
        """The node's id, as text; it stays when the address changes."""
        return self._engine.identity.node_id.hex()

    @property
    def address(self) -> Address:
        """Where it listens; prints as host:port."""
        return self._address

    def members(self) -> list[Member]:
        """Every other member ever met, in the order they were met."""
        return self._engine.members(trio.current_time())

    def statistics(self) -> Statistics:
        """What this node has done so far, in numbers."""
        return self._engine.statistics()

    # ---- waiting

    async def flush(self) -> None:
        """Wait until every write so far is as durable as this node promises (in memory only: at once)."""
        self._check_running()
        self._driver.do(self._engine.flush(trio.current_time()))
        while not self._engine.durable:
            await self._driver.changed()
        await trio.lowlevel.checkpoint()

    async def synced(self, to: int | Literal["all"] = "all", timeout: float = 5.0) -> int:
        """Wait until all writes made here so far have reached ``to`` live members, or all of them.

        Returns how many members have them. "All" are at least one: while a node is alone, its writes are nowhere else,
        and saying otherwise would be no help. Raises `SyncTimeout`, which names who lags, after ``timeout`` seconds.
        """
        self._check_running()
        seq = self._replica.store.kernel.context.last(self._replica.replica_id)
        with self._asking(seq):
            with trio.move_on_after(timeout):
                await self._until_acked(seq, to)
            await trio.lowlevel.checkpoint_if_cancelled()
        if self._has_reached(seq, to):
            return len(self._engine.acked_by(seq)[0])
        have, late = self._engine.acked_by(seq)
        lagging = f"waiting for {', '.join(sorted(late))}" if late else "no other live member is known yet"
        raise SyncTimeout(f"{len(have)} of {to} members have all writes of {self.name} after {timeout} s; {lagging}")

    @contextmanager
    def _asking(self, seq: int) -> Iterator[None]:
        """Ask members again and again whether they have our writes up to ``seq``, for the length of a block."""
        self._awaited.append(seq)
        self._driver.do(self._engine.await_acks(trio.current_time(), max(self._awaited)))
        try:
            yield
        finally:
            self._awaited.remove(seq)
            self._driver.do(self._engine.await_acks(trio.current_time(), max(self._awaited, default=0)))

    async def _until_acked(self, seq: int, to: int | Literal["all"]) -> None:
        while not self._has_reached(seq, to):
            await self._driver.changed()

    async def _until_shared(self, seq: int) -> None:
        """Wait until a live member has our writes, or there is none left: the others may be leaving as well."""
        while True:
            have, late = self._engine.acked_by(seq)
            if have or not late:
                return
            await self._driver.changed()

    def _has_reached(self, seq: int, to: int | Literal["all"]) -> bool:
        have, late = self._engine.acked_by(seq)
        return len(have) >= (max(1, len(have) + len(late)) if to == "all" else to)

    def version(self) -> Version:
        """A causal token: everything this node has seen so far, its own writes included."""
        return Version(self._replica.context)

    async def wait_for(self, version: Version | str) -> None:
        """Wait until this node has seen all that ``version``, of any node, stands for."""
        wanted = Version.parse(version) if isinstance(version, str) else version
        self._check_running()
        while not self._replica.store.kernel.context.covers(wanted.context):
            await self._driver.changed()
        await trio.lowlevel.checkpoint()

    def _check_running(self) -> None:
        if not self._driver.running:
            raise NotRunning(f"node {self.name} is closed; use it inside its `async with` block")

    # ---- the end

    async def leave(self) -> int:
        """See to it that somebody else has our writes, then say goodbye; returns how many members have them all.

        Waits `SHUTDOWN_GRACE` seconds at most. The end of the block does this too; afterwards the node can still be
        read, but other members no longer count on it.
        """
        if self._left:
            return 0
        self._left = True
        self._driver.do(self._engine.flush(trio.current_time()))
        seq = self._replica.store.kernel.context.last(self._replica.replica_id)
        if seq:
            with self._asking(seq), trio.move_on_after(SHUTDOWN_GRACE):
                await self._until_shared(seq)
        have, late = self._engine.acked_by(seq)
        if late and not have:
            self._log.warning(WRITES_UNSHARED, members=late)
        self._driver.do(self._engine.leave())
        return len(have)


@asynccontextmanager
async def open_node(
    name: str,
    *,
    bind: str = "127.0.0.1:0",
    join: Sequence[str | Address] = (),
    key: str | bytes | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    config: Config | None = None,
    faults: TransportFaults | None = None,
    log: Any = None,
) -> AsyncIterator[Node]:
    """Run a node for the length of a block.

    ``bind`` is HOST:PORT, port 0 for any free one. ``join`` names nodes of the cluster: they are tried until they
    answer, for ever, and names are resolved again on each round. ``key`` is the cluster key (`new_key`); without one
    nothing is sealed and only loopback addresses are accepted. ``data_dir`` keeps the node's identity; the data
    itself lives in memory. ``log`` is a structlog logger to use instead of the library's own.

    At the end of the block the node waits a moment until some member has its last writes, and leaves in good order.
    Raises `ConfigError` (also if it cannot bind), `KeyFormatError` or `DataDirInUse`.
    """
    host, port = split_address(bind)
    seeds = [seed if isinstance(seed, Address) else Address(*split_address(seed)) for seed in join]
    secret = parse_key(key) if key is not None else None
    if secret is None and not is_loopback(host):
        raise ConfigError(
            f"without a cluster key a node binds to loopback only, not to {host}; make a key with `gossip keygen`"
        )
    config = config or Config.lan()
    rng = random.SystemRandom()
    log = log if log is not None else logger_for(name)
    with ExitStack() as stack:
        directory = stack.enter_context(DataDir(data_dir)) if data_dir is not None else None
        identity = directory.next_identity(name, rng) if directory else Identity.fresh(name, rng)
        sockets = await _bind(host, port)
        replica = Replica(identity.replica_id)
        engine = Engine(identity, config, rng, replica, seal_for(secret), trio.current_time())
        driver = Driver(engine, sockets, faults or TransportFaults(), log)
        replica.on_write(driver.wrote)
        node = Node(replica, engine, driver, sockets, log, sealed=secret is not None)
        # Shielded: when the block is cancelled (Ctrl-C), the node must still be there to hand on its last writes.
        serving = trio.CancelScope(shield=True)

        async def serve(*, task_status: trio.TaskStatus[None]) -> None:
            with serving:
                async with trio.open_nursery() as services:
                    await services.start(driver.run)
                    if seeds:
                        services.start_soon(_find_seeds, driver, engine, seeds, sockets.family, config)
                    if directory is not None:
                        await services.start(serve_control, node, directory.path)
                    task_status.started()

        failure: BaseException | None = None
        async with trio.open_nursery() as nursery:
            await nursery.start(serve)
            log.info(NODE_STARTED, address=str(node.address), id=node.id, sealed=secret is not None)
            if secret is None:
                log.warning(NODE_UNSEALED, bound_to=str(node.address))
            try:
                yield node
            except (Exception, KeyboardInterrupt) as error:
                failure = error  # raised again outside the nursery, which would wrap it in a group
            finally:
                with trio.CancelScope(shield=True):
                    if driver.running:
                        await node.leave()
                serving.cancel()
                log.info(NODE_STOPPED)
        if failure is not None:
            raise failure


async def _bind(host: str, port: int) -> Sockets:
    try:
        found = await trio.socket.getaddrinfo(host, port)
        return Sockets.bind(str(found[0][4][0]), port)
    except OSError as error:
        place = Address(host, port)
        raise ConfigError(f"cannot listen on {place}: {error.strerror or error}; choose another with bind") from None


async def _find_seeds(
    driver: Driver, engine: Engine, seeds: list[Address], family: socket.AddressFamily, config: Config
) -> None:
    """Resolve the seeds now and then: a name may get other addresses, or some at last."""
    while True:
        found: list[Address] = []
        for host, port in seeds:
            found.extend(await resolve(host, port, family))
        driver.do(engine.set_seeds(trio.current_time(), list(dict.fromkeys(found))))
        await trio.sleep(config.seed_retry_max if found else config.seed_retry)
