"""A running node, for use inside a Trio program."""

import os
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from functools import partial
from typing import Any, Final, Literal, TypeAlias
from weakref import WeakSet

import trio

from crdts import GCounter, LWWMap, LWWRegister, MVRegister, ORSet, PNCounter, Replica

from .addresses import is_loopback, resolve, split_address
from .control import open_control, serve_control
from .datadir import DataDir
from .driver import Driver, Sockets
from .faults import TransportFaults
from .log import (
    LISTENER_FAILED,
    NODE_STARTED,
    NODE_STOPPED,
    NODE_UNSEALED,
    SEED_UNRESOLVED,
    WRITES_UNSHARED,
    logger_for,
)
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
        has_seeds: bool,
    ) -> None:
        self._replica = replica
        self._engine = engine
        self._driver = driver
        self._log = log
        self._address = sockets.address
        self._has_seeds = has_seeds
        self.sealed = sealed
        """Whether everything it sends is encrypted under a cluster key."""
        self.stop_requested = trio.Event()
        """Set when `gossip leave` told this node to leave and stop: end the block then."""
        self._left = False
        self._awaited: list[int] = []
        self._watches: WeakSet[Watch] = WeakSet()

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
        """The changes of objects called ``name``, or of all, local and received; iterate it with ``async for``.

        The iteration ends when the node does.
        """
        self._check_running()
        watch = Watch(self._replica, name)
        self._watches.add(watch)
        return watch

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
            await self._changed()
        await trio.lowlevel.checkpoint()

    async def synced(self, to: int | Literal["all"] = "all", timeout: float = 5.0) -> int:
        """Wait until all writes made here so far have reached ``to`` live members, or all of them.

        Returns how many members have them. "All" are at least one: while a node is alone, its writes are nowhere else,
        and saying otherwise would be no help. Raises `SyncTimeout`, which names who lags, after ``timeout`` seconds.
        """
        self._check_running()
        if to != "all" and (type(to) is not int or to < 0):
            raise ConfigError(f'synced(to=...) is "all" or a number of members, not {to!r}')
        seq = self._last_seq()
        with trio.move_on_after(timeout), self._asking_for(seq):
            while not self._has_reached(seq, to):
                await self._changed()
        await trio.lowlevel.checkpoint()
        have, late = self._engine.acked_by(seq)
        if self._has_reached(seq, to):
            return len(have)
        wanted = max(1, len(have) + len(late)) if to == "all" else to
        lagging = f"waiting for {', '.join(sorted(late))}" if late else "no other live member is known yet"
        raise SyncTimeout(
            f"{len(have)} of {wanted} members have all writes of {self.name} after {timeout:g} s; {lagging}"
        )

    def _last_seq(self) -> int:
        return self._replica.store.kernel.context.last(self._replica.replica_id)

    @contextmanager
    def _asking_for(self, seq: int) -> Iterator[None]:
        """Have members asked how far they are, until all have our writes up to ``seq`` or the block ends."""
        self._awaited.append(seq)
        self._driver.do(self._engine.await_acks(trio.current_time(), max(self._awaited)))
        try:
            yield
        finally:
            self._awaited.remove(seq)
            self._driver.do(self._engine.await_acks(trio.current_time(), max(self._awaited, default=0)))

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
            await self._changed()
        await trio.lowlevel.checkpoint()

    async def _changed(self) -> None:
        await self._driver.changed()
        self._check_running()

    def _check_running(self) -> None:
        if not self._driver.running:
            raise NotRunning(f"node {self.name} is closed; use it inside its `async with` block")

    # ---- the end

    async def leave(self) -> int:
        """See to it that somebody else has our writes, then say goodbye; returns how many members have them all.

        Waits `SHUTDOWN_GRACE` seconds at most. The end of the block does this too; afterwards the node can still be
        read, but other members no longer count on it.
        """
        self._check_running()
        await self._hand_over()
        if not self._left:
            self._left = True
            self._driver.do(self._engine.leave())
        return len(self._engine.acked_by(self._last_seq())[0])

    async def _hand_over(self) -> None:
        """Wait until somebody has our writes, those made while we wait included, as long as there is anybody."""
        with trio.move_on_after(SHUTDOWN_GRACE):
            await self.flush()
            while self._is_sole_holder() and self._may_be_heard("alive"):
                with self._asking_for(self._last_seq()):
                    await self._changed()
        if self._is_sole_holder() and self._may_be_heard("alive", "failed"):
            self._log.warning(WRITES_UNSHARED, members=self._engine.acked_by(self._last_seq())[1])

    def _is_sole_holder(self) -> bool:
        seq = self._last_seq()
        return seq > 0 and not self._engine.acked_by(seq)[0]

    def _may_be_heard(self, *states: str) -> bool:
        members = self.members()
        return any(member.state in states for member in members) or (self._has_seeds and not members)

    async def _finish(self) -> None:
        """The end of the block."""
        if self._driver.running:
            await self.leave()

    def _close_watches(self) -> None:
        for watch in list(self._watches):
            watch.close()


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
    seeds = [_seed(seed) for seed in join]
    secret = parse_key(key) if key is not None else None
    host = await _resolve_bind(host, port)
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
        sockets = stack.enter_context(_bind(host, port))
        control = stack.enter_context(open_control(directory.path)) if directory else None
        replica = Replica(identity.replica_id)
        replica.store.on_listener_error = lambda error: log.error(LISTENER_FAILED, exc_info=error)
        engine = Engine(identity, config, rng, replica, seal_for(secret), trio.current_time())
        driver = Driver(engine, sockets, faults or TransportFaults(), log)
        replica.on_write(driver.wrote)
        node = Node(replica, engine, driver, sockets, log, sealed=secret is not None, has_seeds=bool(seeds))
        services: list[_Service] = [driver.run]
        if seeds:
            services.append(_SeedFinder(driver, engine, seeds, sockets.family, config, log).run)
        answering = trio.CancelScope()
        if control is not None:
            services.append(partial(serve_control, node, control, answering))
        async with _running(node, services, answering):
            log.info(NODE_STARTED, address=str(node.address), id=node.id, sealed=secret is not None)
            if secret is None:
                log.warning(NODE_UNSEALED, bound_to=str(node.address))
            yield node
        log.info(NODE_STOPPED)


_Service: TypeAlias = Callable[..., Awaitable[None]]


@asynccontextmanager
@trio.lowlevel.enable_ki_protection  # Ctrl-C is for the block's own code, which then ends in good order
async def _running(node: Node, services: Sequence[_Service], answering: trio.CancelScope) -> AsyncIterator[None]:
    """Run ``services`` during the block, and then until the node has handed over its last writes.

    Neither a cancellation from outside nor an exception in the block takes them away earlier. What the block raises
    leaves as it is, not in a group.
    """
    serving = trio.CancelScope(shield=True)

    async def serve(*, task_status: trio.TaskStatus[None]) -> None:
        with serving:
            async with trio.open_nursery() as nursery:
                for service in services:
                    await nursery.start(service)
                task_status.started()

    failure: BaseException | None = None
    with trio.CancelScope(shield=True) as shelter:  # or a cancelled block would be waited for, and then forgotten
        async with trio.open_nursery() as nursery:
            try:
                await nursery.start(serve)
                shelter.shield = False
                try:
                    yield
                finally:
                    shelter.shield = True
                    answering.cancel()  # first, so that nothing is acknowledged any more that is not handed over
                    await node._finish()
            except BaseException as error:
                if nursery.cancel_scope.cancel_called:  # because a service has failed: a bug, not the block's doing
                    raise
                failure = error
            finally:
                serving.cancel()
                node._close_watches()
    if failure is not None:
        raise failure


def _seed(seed: str | Address) -> Address:
    address = seed if isinstance(seed, Address) else Address(*split_address(seed))
    if not address.port:
        raise ConfigError(f"cannot join {address}: port 0 is nobody's; name the port that the node listens on")
    return address


async def _resolve_bind(host: str, port: int) -> str:
    """The IP address to bind to, IPv4 if ``host`` is a name that has both."""
    found = await resolve(host, port)
    if not found:
        raise ConfigError(
            f"cannot listen on {Address(host, port)}: the host is unknown; bind to an address of this one"
        )
    return min(found, key=lambda address: ":" in address.host).host


@contextmanager
def _bind(host: str, port: int) -> Iterator[Sockets]:
    try:
        sockets = Sockets.bind(host, port)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {Address(host, port)}: {error.strerror or error}; bind to another address or port"
        ) from None
    try:
        yield sockets
    finally:
        sockets.close()


class _SeedFinder:
    """Resolves the seeds now and then: a name may get other addresses, or some at last."""

    def __init__(
        self,
        driver: Driver,
        engine: Engine,
        seeds: Sequence[Address],
        family: socket.AddressFamily,
        config: Config,
        log: Any,
    ) -> None:
        self._driver = driver
        self._engine = engine
        self._seeds = seeds
        self._family = family
        self._config = config
        self._log = log
        self._found: dict[Address, list[Address]] = {}

    @trio.lowlevel.enable_ki_protection
    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        delay = self._config.seed_retry
        warned: set[Address] = set()
        while True:
            for seed in self._seeds:
                await self._look_up(seed)
                if seed not in self._found and seed not in warned:
                    warned.add(seed)
                    family = "IPv6" if self._family == socket.AF_INET6 else "IPv4"
                    self._log.warning(SEED_UNRESOLVED, seed=str(seed), wanted=f"{family} address")
            all_found = len(self._found) == len(set(self._seeds))
            await trio.sleep(self._config.seed_retry_max if all_found else delay)
            delay = min(2 * delay, self._config.seed_retry_max)

    async def _look_up(self, seed: Address) -> None:
        found = await resolve(seed.host, seed.port, self._family)
        if found and found != self._found.get(seed):  # what was found once is kept while names cannot be resolved
            self._found[seed] = found
            addresses = dict.fromkeys(address for several in self._found.values() for address in several)
            self._driver.do(self._engine.set_seeds(trio.current_time(), list(addresses)))
