"""`gossip run`: one node in the foreground."""

import os
import signal
import socket
import stat
import sys
from collections.abc import AsyncIterator, MutableMapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from ipaddress import ip_address
from pathlib import Path
from shlex import quote
from typing import Any, Final, TextIO, cast

import click
import structlog
import trio

from gossip.discovery.advertised import resolve_advertised
from gossip.log import PORT_TAKEN, SafeLog, safe_log
from gossip.node import Node
from gossip.open import open_node
from gossip.protocol import Address, Config, seal_for
from gossip.protocol.errors import AddressInUse, ConfigError
from gossip.protocol.identity import check_name
from gossip.protocol.wire.seal import DEFAULT_CLUSTER
from gossip.runtime.collector import short_collections
from gossip.storage.database import DURABILITIES, FULL
from gossip.storage.errors import DiskFailed
from gossip.storage.files import open_regular

from .options import AddressType, PathType, checked, data_option, parse_tags, wrong_usage
from .show import escaped
from .stream import UnheldStream

DEFAULT_PORT: Final = 4747
KEY_VARIABLE: Final = "GOSSIP_KEY"
STOP_SIGNALS: Final = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGXCPU", "SIGPWR")
    if hasattr(signal, name)
)
"""Signals that end a process that does not handle them: the terminal closes, the power fails, somebody calls `kill`."""
NEVER_IGNORED: Final = (signal.SIGINT, signal.SIGTERM)
"""Signals that end the node even if it was started with them ignored, as scripts start background jobs."""
MAX_KEY_FILE_BYTES: Final = 4096
"""The largest key file that is read; a key takes 44 bytes."""
SECOND_SIGNAL_AFTER: Final = 1.0
"""Seconds after the first signal from which on a further one ends the process at once: those that come sooner are often
the same, sent to a group of processes and handed on by one of them."""
PROFILES: Final = {"lan": Config.lan, "wan": Config.wan, "local": Config.local}


@click.command()
@click.option(
    "--name",
    default=socket.gethostname,
    callback=checked(check_name),
    help="The node's name for people.  [default: the host's name]",
)
@data_option
@click.option(
    "--durability",
    type=click.Choice(DURABILITIES),
    default=FULL,
    show_default=True,
    help="What outlives what: full, a power loss takes nothing that was acknowledged; normal, a crash takes nothing, "
    "and a power loss the last moments; none, everything is in memory only.",
)
@click.option(
    "--bind",
    type=AddressType(to_bind=True),
    metavar="HOST:PORT",
    help=f"Where to listen; [::]:{DEFAULT_PORT} takes IPv4 and IPv6.  [default: port {DEFAULT_PORT}, or if that is "
    "taken and others can discover it any other; of all IPv4 addresses, or of 127.0.0.1 without a key]",
)
@click.option(
    "--join",
    type=AddressType(),
    multiple=True,
    metavar="HOST:PORT",
    help="A node of the cluster; may be given several times. All addresses of a name are tried, and it is looked up "
    "again and again.",
)
@click.option(
    "--cluster",
    default=DEFAULT_CLUSTER,
    show_default=True,
    metavar="NAME",
    callback=checked(lambda name: seal_for(None, name)),
    help="The cluster's name; nodes of different names never mix.",
)
@click.option(
    "--discovery/--no-discovery",
    "discover",
    default=True,
    help="Find the cluster's nodes on the local network by multicast DNS, and tell them of this one: its name, id and "
    "addresses and the cluster's name are there for all to see. Without a key, on this machine only.  [default: on]",
)
@click.option(
    "--advertise",
    type=AddressType(),
    metavar="HOST:PORT",
    help="Where others reach this node, if not where it listens: behind a router that forwards a port.",
)
@click.option(
    "--tag",
    "tags",
    multiple=True,
    metavar="KEY=VALUE",
    help="A word about this node that all members see, such as role=worker; may be given several times. Tags are not "
    "kept: give them at every start.",
)
@click.option("--key-file", type=PathType("a file"), help=f"File with the cluster key; or set {KEY_VARIABLE}.")
@click.option(
    "--insecure",
    is_flag=True,
    help="Take a data directory that other users may write to, and a key file that they may read.",
)
@click.option(
    "--profile",
    type=click.Choice(list(PROFILES)),
    default="lan",
    show_default=True,
    help="Timing: wan has more patience, local (one machine) notices sooner.",
)
@click.option("--json-logs", is_flag=True, help="Log lines as JSON.")
@click.option("--verbose", "-v", is_flag=True, help="Log more.")
def run(
    name: str,
    data_dir: Path,
    durability: str,
    bind: str | None,
    join: tuple[str, ...],
    cluster: str,
    discover: bool,
    advertise: str | None,
    tags: tuple[str, ...],
    key_file: Path | None,
    insecure: bool,
    profile: str,
    json_logs: bool,
    verbose: bool,
) -> None:
    """Run a node until Ctrl-C, SIGTERM, SIGHUP or `gossip leave`.

    Nodes on a local network that have the same key and cluster name find each other by themselves; --join names nodes
    elsewhere.

    At its end it saves its last writes and hands them over to another member, for which it waits up to 10 s for the
    disk and 3 s for the others; a second signal ends it at once. The exit code is 1 if something could not be saved.
    Under nohup it outlives its terminal. If its output can no longer be written, it goes on without output.
    """
    key = read_key(key_file, insecure=insecure)
    options = {
        "join": join,
        "key": key,
        "cluster": cluster,
        "discover": discover,
        "advertise": advertise,
        "tags": parse_tags(tags),
        "data_dir": data_dir,
        "durability": durability,
        "insecure": insecure,
        "config": PROFILES[profile](),
    }
    configure_logs(as_json=json_logs, verbose=verbose)
    loss = trio.run(_run, name, bind, options)
    for sign in STOP_SIGNALS:
        signal.signal(sign, signal.SIG_IGN)  # the node has ended: nothing may spoil the exit code any more
    if loss is not None:
        raise DiskFailed(loss)


def read_key(key_file: Path | None, *, insecure: bool) -> str | None:
    """The cluster key's text, from the file or the environment; None if neither is given. Raises `ConfigError`.

    A file that its group or all users may read or write is refused unless ``insecure``.
    """
    if key_file is None:
        return os.environ.get(KEY_VARIABLE) or None
    try:
        with open(open_regular(key_file), "rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            data = file.read(MAX_KEY_FILE_BYTES + 1)
        if len(data) > MAX_KEY_FILE_BYTES:
            raise ConfigError(f"{key_file} is too large for a key file; `gossip keygen --out` makes one")
        if mode & 0o077 and not insecure:
            raise ConfigError(
                f"others can read the key file {key_file} (its mode is {mode:04o}); mend it with "
                f"`chmod 600 {quote(str(key_file))}`, or take it as it is with --insecure"
            )
        return data.decode().strip()
    except ConfigError:
        raise
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigError(f"cannot read the key file {key_file}: {why}; `gossip keygen --out` makes one") from None


def configure_logs(*, as_json: bool, verbose: bool) -> None:
    """Log lines to standard error, coloured on a terminal only; a line that cannot be written raises `OSError`."""
    stream = UnheldStream(sys.stderr)
    renderer: Any
    if as_json:
        renderer = structlog.processors.JSONRenderer()
    else:
        # Plain tracebacks: rich ones show local variables, and one of them may be the key.
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty() and not os.environ.get("NO_COLOR"),
            pad_event_to=20,
            exception_formatter=structlog.dev.plain_traceback,
        )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            _escape_fields,
            structlog.processors.TimeStamper(fmt="iso" if as_json else "%H:%M:%S", utc=as_json),
            *([structlog.processors.format_exc_info] if as_json else []),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger("debug" if verbose else "info"),
        logger_factory=lambda *_: structlog.WriteLogger(cast(TextIO, stream)),
    )


def _escape_fields(_: Any, __: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Escape what could drive the terminal that shows the log: peers, networks and disks may say anything."""
    for key, value in fields.items():
        if isinstance(value, str):
            fields[key] = escaped(value)
    return fields


async def _run(name: str, bind: str | None, options: dict[str, Any]) -> str | None:
    """Returns what could not be saved, if anything."""
    options["log"] = log = safe_log(structlog.get_logger().bind(node=name))
    caught: list[signal.Signals] = []
    node: Node | None = None
    with trio.CancelScope() as scope:
        _cancel_on_signals(scope, caught)  # before the node is there, so that no signal finds the system's own handler
        await _look_up_advertised(options)
        async with _node(name, bind, options) as node:
            _say_where(node, log)
            try:
                with short_collections():
                    await node.stop_requested.wait()
            finally:
                if caught:
                    node.stop_reason = caught[0].name
    return None if node is None else node.loss


async def _look_up_advertised(options: dict[str, Any]) -> None:
    """Put the IP address in place of the name; raises `click.UsageError` where others could not reach it."""
    if options["advertise"] is None:
        return
    try:
        options["advertise"] = await resolve_advertised(options["advertise"], sealed=options["key"] is not None)
    except ConfigError as error:
        raise wrong_usage("--advertise", error) from None


@asynccontextmanager
async def _node(name: str, bind: str | None, options: dict[str, Any]) -> AsyncIterator[Node]:
    """The node, where it was told to listen, or else on the default port, or on any that is free.

    Where it is not discovered, others were told the port: then another is no help.
    """
    host = "0.0.0.0" if options["key"] else "127.0.0.1"  # noqa: S104
    async with AsyncExitStack() as stack:
        try:
            opened = open_node(name, bind=bind or f"{host}:{DEFAULT_PORT}", **options)
            node = await stack.enter_async_context(opened)
        except AddressInUse:
            if bind is not None or not options["discover"]:
                raise
            node = await stack.enter_async_context(open_node(name, bind=f"{host}:0", **options))
            options["log"].info(PORT_TAKEN, port=DEFAULT_PORT, instead=node.address.port)
        yield node


def _cancel_on_signals(scope: trio.CancelScope, caught: list[signal.Signals]) -> None:
    """The first signal ends the node in good order, and one that comes `SECOND_SIGNAL_AFTER` ends the process.

    Notes in ``caught`` which was the first.
    """
    token = trio.lowlevel.current_trio_token()
    heard = [s for s in STOP_SIGNALS if s in NEVER_IGNORED or signal.getsignal(s) is not signal.SIG_IGN]

    def begin_to_end() -> None:
        scope.cancel()
        trio.lowlevel.spawn_system_task(lose_patience)

    async def lose_patience() -> None:
        await trio.sleep(SECOND_SIGNAL_AFTER)
        for sign in heard:
            signal.signal(sign, signal.SIG_DFL)  # which needs nothing of this process: it may wait for a dead disk

    def on_signal(number: int, _: object) -> None:
        if not caught:
            caught.append(signal.Signals(number))
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(begin_to_end)

    for sign in heard:
        signal.signal(sign, on_signal)


def _say_where(node: Node, log: SafeLog) -> None:
    """Print the one line on standard output. If it cannot be written, it counts as a lost line of the log."""
    where = _as_seen_from_elsewhere(node.address)
    try:
        UnheldStream(sys.stdout).write(f"{node.name} listens on {node.address}; join it with --join {where}\n")
    except OSError as error:
        log.lose(error)


def _as_seen_from_elsewhere(address: Address) -> str:
    return f"HOST:{address.port}" if ip_address(address.host).is_unspecified else str(address)
