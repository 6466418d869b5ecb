"""Opening a node: its transport, its identity, the tasks that serve it, and their end."""

import errno
import logging
import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from functools import partial
from typing import Any, Final, TypeAlias

import trio

from crdts import Replica
from crdts.embedding import END_OF_TIME, composed, date_of

from .control.server import open_control, serve_control
from .discovery.advertised import resolve_advertised, warn_of_loopback
from .discovery.announcement import Card
from .discovery.neighbours import Discovery
from .discovery.seeds import SeedBook, SeedFinder, parse_seeds, refuse_strangers
from .keeping import Keeper
from .log import (
    CLOCK_WRONG,
    LISTENER_FAILED,
    NODE_STARTED,
    NODE_STOPPED,
    NODE_UNSEALED,
    SafeLog,
    logger_for,
    safe_log,
)
from .node import Node
from .protocol import Address, Config, Engine, Identity, parse_key, seal_for
from .protocol.errors import AddressInUse, ConfigError
from .protocol.identity import check_name
from .protocol.membership.peers import FAILED, LEFT
from .protocol.profile import Profile, check_tags
from .protocol.wire.seal import DEFAULT_CLUSTER
from .release import RELEASE
from .runtime.addresses import can_reach, is_loopback, resolve, split_address
from .runtime.driver import Driver
from .runtime.faults import TransportFaults
from .runtime.transport import Sockets, Transport
from .storage.database import DURABILITIES, FULL, NONE
from .storage.datadir import DataDir
from .storage.hints import decode_hints
from .storage.lifecycle import close_stored, open_stored
from .storage.rows import Past
from .storage.saver import Disk

PLAUSIBLE: Final = (1_735_689_600.0, 3_313_526_400.0)
"""The times that a right clock may show, in seconds since 1970: from 2025 (this program is younger) to 2075."""

Service: TypeAlias = Callable[..., Awaitable[None]]
"""A task that runs beside the block, and says when it has started."""


@asynccontextmanager
async def open_node(
    name: str,
    *,
    bind: str = "127.0.0.1:0",
    join: Sequence[str | Address] = (),
    key: str | bytes | None = None,
    cluster: str = DEFAULT_CLUSTER,
    discover: bool = False,
    advertise: str | Address | None = None,
    tags: Mapping[str, str] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    durability: str | None = None,
    insecure: bool = False,
    config: Config | None = None,
    faults: TransportFaults | None = None,
    log: Any = None,
) -> AsyncIterator[Node]:
    """Run a node for the length of a block.

    ``bind`` is HOST:PORT, port 0 for any free one. ``join`` names nodes of the cluster: they are tried until they
    answer, for ever, and names are resolved again on each round. ``key`` is the cluster key (`new_key`); without one
    nothing is sealed and only loopback addresses are accepted. ``cluster`` names the cluster: nodes of different names
    never mix, even under one key. ``log`` is a structlog logger to use instead of the library's own.

    ``data_dir`` is where everything is kept, by one process at a time; without one it is in memory only, and gone with
    the process. ``durability`` is what is promised of it: ``"full"``, if nothing is said, that what `Node.flush` has
    waited for, and what any other member may have seen, survives a power loss; ``"normal"`` that it survives a crash of
    the process, while a power loss may take the last moments of it; ``"none"`` nothing: the directory only holds the
    control socket. Without a directory only ``"none"`` can be said. A directory that other users may write to is
    refused; ``insecure`` accepts it.

    ``discover`` finds the other nodes of the cluster on the local network by multicast DNS, and lets them find this
    one; a node on loopback finds those on this machine. It is off unless asked for, because it tells everybody on that
    network the node's name and id, the cluster's name and the key's id, and because it takes a thread and some 4 MiB.

    ``advertise`` is HOST:PORT where others reach this node, if that is not where it listens: behind a router that
    forwards a port. A name is looked up once, at the start.

    ``tags`` are a few words about this node that all members see, such as ``{"role": "worker"}``; `Node.set_tags`
    changes them for as long as the node runs. They are not kept in ``data_dir``: give them again at the next start.

    At the end of the block the node waits a moment until some member has its last writes, and leaves in good order.
    A disk that fails then raises nothing: `Node.loss` tells what could not be saved. One that does not answer is waited
    for some seconds and given up; the directory stays locked until the process ends.
    Raises `ConfigError` (also if it cannot bind or use the directory), `KeyFormatError`, `DataDirInUse`, `DiskFailed`
    or `UnknownFormat`. A damaged file is set aside, and a copied one goes on as a new node; the log says so.
    """
    durability = _check_kept(data_dir, durability)
    _check_options(config, faults, log, discover)
    host, port = split_address(bind)
    seeds = parse_seeds(join)
    secret = parse_key(key) if key is not None else None
    outside = None if advertise is None else await resolve_advertised(advertise, sealed=secret is not None)
    profile = Profile(RELEASE, check_tags({} if tags is None else tags), outside)
    seal_for(secret, cluster)  # refuses a name that is none, before anything is opened
    check_name(name)
    host = await _resolve_bind(host, port)
    if secret is None and not is_loopback(host):
        raise ConfigError(
            f"without a cluster key a node binds to loopback only, not to {host}; make a key with `gossip keygen`"
        )
    if secret is None:
        refuse_strangers(seeds)
    with ExitStack() as stack:
        directory = stack.enter_context(DataDir(data_dir, insecure=insecure)) if data_dir is not None else None
        sockets = stack.enter_context(_bind(host, port))
        async with run_node(
            name,
            sockets,
            seeds=seeds,
            secret=secret,
            cluster=cluster,
            discover=discover,
            profile=profile,
            directory=directory,
            durability=durability,
            config=config,
            faults=faults,
            log=log,
        ) as node:
            yield node


def _check_kept(data_dir: str | os.PathLike[str] | None, durability: str | None) -> str:
    """What is promised; raises `ConfigError` if that cannot be, or the directory is none."""
    if durability is not None and durability not in DURABILITIES:
        raise ConfigError(f"durability is one of {', '.join(DURABILITIES)}, not {durability!r}")
    if data_dir is not None and not isinstance(data_dir, str | os.PathLike):
        raise ConfigError(f"data_dir is the path of a directory, as text or a Path, not {data_dir!r:.60}")
    if data_dir is not None and not _is_path(os.fspath(data_dir)):
        raise ConfigError(f"data_dir is a path that a file system can hold, not {data_dir!r:.60}")
    if data_dir is not None and not os.fspath(data_dir):
        raise ConfigError("data_dir is empty; name a directory, or leave it out to keep everything in memory")
    if data_dir is None and durability not in (None, NONE):
        raise ConfigError(f"durability {durability!r} needs a directory to keep the data in; give it as data_dir")
    return durability or FULL


def _is_path(path: str | bytes) -> bool:
    try:
        return b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        return False


def _check_options(config: object, faults: object, log: object, discover: object) -> None:
    """Raise `ConfigError` for an argument that would fail only when the node uses it."""
    if config is not None and not isinstance(config, Config):
        raise ConfigError(f"config is a gossip.Config, such as Config.lan(), not {config!r:.60}")
    if faults is not None and not isinstance(faults, TransportFaults):
        raise ConfigError(f"faults are a gossip.TransportFaults, not {faults!r:.60}")
    if not isinstance(discover, bool):
        raise ConfigError(f"discover is True or False, not {discover!r:.60}")
    if isinstance(log, logging.Logger | logging.LoggerAdapter):
        raise ConfigError("log is a structlog logger: give structlog.stdlib.get_logger() once structlog is configured")
    if log is not None and not all(callable(getattr(log, level, None)) for level in SafeLog.LEVELS):
        raise ConfigError(f"log is a structlog logger, with {', '.join(SafeLog.LEVELS)}; not {log!r:.60}")


@asynccontextmanager
async def run_node(
    name: str,
    transport: Transport,
    *,
    seeds: Sequence[Address] = (),
    secret: bytes | None = None,
    cluster: str = DEFAULT_CLUSTER,
    discover: bool = False,
    profile: Profile | None = None,
    directory: DataDir | None = None,
    durability: str = FULL,
    disk: Disk | None = None,
    config: Config | None = None,
    faults: TransportFaults | None = None,
    log: Any = None,
) -> AsyncIterator[Node]:
    """What `open_node` does once everything is looked up and bound: a node on any transport, and on any disk."""
    config = config or Config.lan()
    name, cluster = composed(name), composed(cluster)
    profile = profile or Profile(RELEASE)
    rng = random.SystemRandom()
    log = safe_log(log if log is not None else logger_for(name))
    with ExitStack() as stack:
        opened = await open_stored(directory, name, rng, durability, log)
        if opened is not None:
            identity, replica, disk = opened.identity, opened.replica, opened.disk
        else:
            identity = Identity.fresh(name, rng)
            replica = Replica(identity.replica_id)
        replica.store.on_listener_error = lambda error: log.error(LISTENER_FAILED, exc_info=error)
        seal = seal_for(secret, cluster)
        past = opened.past if opened is not None else Past()
        found = decode_hints(opened.hints, seal.key_id) if opened is not None else ()
        hints = [hint for hint in found if can_reach(transport.address.host, hint.address.host)]
        now = trio.current_time()
        engine = Engine(
            identity,
            config,
            rng,
            replica,
            seal,
            now,
            profile,
            lives=past.lives,
            ended=past.ended,
            hints=hints,
            borrows=bool(seeds) and disk is None,
        )
        driver = Driver(engine, transport, faults or TransportFaults(), log, disk=disk)
        replica.store.guard_writes(driver.check_writable)
        replica.store.guard_blocks(driver.check_thread)
        replica.on_write(driver.wrote)
        keeper = Keeper(driver, opened.disk if opened else None, directory.path if directory else None, durability)
        node = Node(
            replica,
            engine,
            driver,
            transport.address,
            log,
            keeper=keeper,
            cluster=cluster,
            sealed=secret is not None,
            has_seeds=bool(seeds),
        )
        services: list[Service] = [driver.run]
        book = SeedBook(driver, engine, cluster)
        driver.reword = book.reword
        if seeds:
            services.append(SeedFinder(book, seeds, node.address.host, config, log).run)
        if discover:
            card = Card(node.id, name, cluster, seal.key_id.hex())
            services.append(Discovery(card, node.address, profile.advertise, book, partial(_present, node), log).run)
        answering = trio.CancelScope()
        try:
            if directory is not None:  # behind the database, as it takes the socket from whoever had it
                control = stack.enter_context(open_control(directory))
                services.append(partial(serve_control, node, control, answering, log))
            log.info(
                NODE_STARTED,
                address=str(node.address),
                id=node.id,
                cluster=cluster,
                sealed=secret is not None,
                data="in memory" if opened is None else durability,
                entries=sum(map(len, replica.store.kernel.live.values())),
            )
            if secret is None:
                log.warning(NODE_UNSEALED, bound_to=str(node.address))
            warn_of_loopback(log, profile.advertise, node.address)
            _warn_of_clock(log)
            stack.push(partial(_tell_end, node, log))
            async with _running(node, services, answering):
                await node.choose_writer()
                yield node
        finally:
            if opened is not None and directory is not None and not driver.inherited:
                unsaved, failure = driver.unsaved_batches, driver.disk_failure
                ending = partial(close_stored, opened, directory, log, unsaved=unsaved, failure=failure)
                with trio.CancelScope(shield=True):
                    node.loss = await ending(is_saved=engine.durable)


def _warn_of_clock(log: Any) -> None:
    """Log a warning if the system's clock is certainly wrong: its battery is empty, or it was not set yet."""
    now = time.time()
    if PLAUSIBLE[0] <= now < PLAUSIBLE[1]:
        return
    stamped = 0 <= now < END_OF_TIME
    log.warning(
        CLOCK_WRONG,
        shows=date_of(now),
        advice="set the system's clock; until then what is written here to last-writer-wins values "
        + ("wins or loses against what others write by that date" if stamped else "is refused"),
    )


def _tell_end(node: Node, log: Any, _: type[BaseException] | None, error: BaseException | None, __: object) -> None:
    """Log that the node has stopped, and why; ``error`` is what its block raised."""
    reason = node.stop_reason or ("gossip leave" if node.stop_requested.is_set() else "its block has ended")
    if isinstance(error, trio.Cancelled):
        reason = node.stop_reason or "its block was cancelled"
    elif error is not None:
        reason = f"{type(error).__name__} was raised"
    log.info(NODE_STOPPED, reason=reason)


@asynccontextmanager
@trio.lowlevel.enable_ki_protection  # Ctrl-C is for the block's own code, which then ends in good order
async def _running(node: Node, services: Sequence[Service], answering: trio.CancelScope) -> AsyncIterator[None]:
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
                    await node.finish()
            except BaseException as error:
                if nursery.cancel_scope.cancel_called:  # because a service has failed: a bug, not the block's doing
                    raise
                failure = error
            finally:
                node.close()
                serving.cancel()
    if failure is not None:
        raise failure


def _present(node: Node) -> set[str]:
    """The ids of the members that need not be looked for."""
    return {member.id for member in node.members() if member.state not in (FAILED, LEFT)}


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
        kind = AddressInUse if error.errno == errno.EADDRINUSE else ConfigError
        raise kind(
            f"cannot listen on {Address(host, port)}: {error.strerror or error}; bind to another address or port"
        ) from None
    try:
        yield sockets
    finally:
        sockets.close()
