"""The control socket: how the command line talks to a running node.

A Unix socket in the node's data directory (mode 0600, in a directory of mode 0700). A request is one line of JSON,
``{"verb": ..., "args": {...}}``; the answer is one line, ``{"result": ...}`` or ``{"error": text}``; `watch` answers
with a line for every change until the caller hangs up.
"""

import base64
import json
import math
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import trio

from crdts import Change, CrdtError, LWWMap
from crdts.embedding import Accessors, Crdt, composed

from ..log import REQUEST_FAILED
from ..node import Node
from ..protocol.errors import ConfigError, GossipError
from ..protocol.fence import count_closures, fenced_nodes
from ..protocol.membership.peers import ALIVE, SUSPECT
from ..release import RELEASE
from ..storage.database import NONE
from ..storage.datadir import DataDir
from .document import Item
from .porting import items_of, parts_of, write_items

SOCKET_FILE: Final = "control.sock"
SOCKET_PATH_BYTES: Final = 100
"""Longest path of a Unix socket that every system takes."""
MAX_REQUEST_BYTES: Final = 4 << 20
READ_BYTES: Final = 64 * 1024
_HUNG_UP: Final = (trio.BrokenResourceError, trio.ClosedResourceError)
WRITERS_NAMED: Final = 5
"""Writers that an answer names, of all that it speaks of."""
BACKLOG: Final = 1024
"""Callers that may wait to be accepted: beyond it a Unix socket refuses them as if nobody were there."""


@contextmanager
def socket_path(directory: Path) -> Iterator[str]:
    """A path of the control socket in ``directory`` that is short enough to bind or connect to.

    Raises `ConfigError` if it is too long and the system has no shorter way to say it.
    """
    path = str(directory.absolute() / SOCKET_FILE)
    if len(os.fsencode(path)) <= SOCKET_PATH_BYTES:
        yield path
        return
    if not Path("/proc/self/fd").is_dir():
        raise ConfigError(f"{path} is too long for a Unix socket; choose a data directory nearer the root")
    handle = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{handle}/{SOCKET_FILE}"
    finally:
        os.close(handle)


def plain(value: Any) -> Any:
    """``value`` as JSON can hold it: bytes as {"base64": text}, sets as lists, odd floats as text."""
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        return value
    return [plain(item) for item in value]


@contextmanager
def open_control(directory: DataDir) -> Iterator[trio.SocketListener]:
    """Listen in ``directory`` for the length of the block. Raises `ConfigError`."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        try:
            with socket_path(directory.path) as path:
                Path(path).unlink(missing_ok=True)  # left behind by a process that was killed
                listener.bind(path)
                Path(path).chmod(0o600)  # before anybody can connect
                listener.listen(BACKLOG)
        except OSError as error:
            raise ConfigError(
                f"cannot make a socket in {directory.path}: {error.strerror or error}; choose another data directory"
            ) from None
        yield trio.SocketListener(trio.socket.from_stdlib_socket(listener))
    finally:
        listener.close()
        if not directory.is_kept:  # else its disk does not answer, and would hold us up here
            directory.remove(SOCKET_FILE)


async def serve_control(
    node: Node,
    listener: trio.SocketListener,
    answering: trio.CancelScope,
    log: Any,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer requests until ``answering`` is cancelled.

    An exception that a request raises goes to its caller; an unforeseen one is written to ``log`` too.
    """

    @trio.lowlevel.enable_ki_protection
    async def answer(stream: trio.SocketStream) -> None:
        try:
            async with stream:
                await _answer(node, stream, log)
        except* _HUNG_UP:
            pass

    with answering:
        task_status.started()
        await trio.serve_listeners(answer, [listener])


async def _answer(node: Node, stream: trio.SocketStream, log: Any) -> None:
    line = await _read_request(stream)
    if line is None:
        return
    verb = None
    try:
        verb, args = _parse(line)
        await _carry_out(node, stream, verb, args)
    except* Exception as group:  # a cancellation is no `Exception`, and goes on
        error = _cause(group)
        if not isinstance(error, _HUNG_UP):
            await _send(stream, {"error": _told(error, verb, log)})


def _parse(line: bytes) -> tuple[str, dict[str, Any]]:
    """The verb and the arguments of a request; raises `ConfigError`."""
    try:
        request = json.loads(line)
        verb, args = request["verb"], request["args"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigError(f"not a request: {error!r:.200}") from None
    if not isinstance(verb, str) or not isinstance(args, dict):
        raise ConfigError("not a request: it has a verb, which is text, and args, which is an object")
    if verb not in _TALKS and verb not in _VERBS:
        raise ConfigError(f"this node knows no {verb!r:.60}; is the command line of another version?")
    return verb, args


async def _carry_out(node: Node, stream: trio.SocketStream, verb: str, args: dict[str, Any]) -> None:
    if verb in _TALKS:
        await _TALKS[verb](node, stream, args)
        return
    result = _VERBS[verb](node, args)
    if verb in _WRITING:
        await node.flush()
    await _send(stream, {"result": plain(result)})


def _cause(error: Exception) -> Exception:
    """The exception to report: ``error``, or of a group the first that says more than that the caller hung up."""
    if not isinstance(error, ExceptionGroup):
        return error
    causes = [_cause(each) for each in error.exceptions]
    return next((each for each in causes if not isinstance(each, _HUNG_UP)), causes[0])


def _told(error: Exception, verb: str | None, log: Any) -> str:
    """The message to the caller about a failure. An unforeseen failure is logged with its traceback."""
    if isinstance(error, GossipError | CrdtError):
        return str(error)
    log.error(REQUEST_FAILED, verb=verb, exc_info=error)
    return f"the node could not do that ({error!r:.200}); its log says more"


async def _read_request(stream: trio.SocketStream) -> bytes | None:
    """The one line that a caller sends; None if it hung up or sent too much."""
    line = bytearray()
    while not line.endswith(b"\n"):
        data = await stream.receive_some(READ_BYTES)
        line += data
        if not data:
            return None
        if len(line) > MAX_REQUEST_BYTES:
            await _send(stream, {"error": f"a request may take {MAX_REQUEST_BYTES >> 20} MiB, this one is larger"})
            return None
    return bytes(line)


async def _send(stream: trio.SocketStream, answer: dict[str, Any]) -> None:
    await stream.send_all(json.dumps(answer).encode() + b"\n")


@asynccontextmanager
async def _while_calling(stream: trio.SocketStream) -> AsyncIterator[None]:
    """Cancel the block when the caller hangs up."""
    async with trio.open_nursery() as nursery:

        async def until_hang_up() -> None:
            while await stream.receive_some(READ_BYTES):
                pass
            nursery.cancel_scope.cancel()

        nursery.start_soon(until_hang_up)
        yield
        nursery.cancel_scope.cancel()


async def _watch(node: Node, stream: trio.SocketStream, args: dict[str, Any]) -> None:
    with node.watch(args["name"]) as changes:
        async with _while_calling(stream):
            async for change in changes:
                await _send(stream, {"result": plain(_describe(node, change))})


async def _backup(node: Node, stream: trio.SocketStream, args: dict[str, Any]) -> None:
    path, replace = Path(args["path"]), bool(args["force"])
    if not path.is_absolute():
        raise ConfigError(f"{path} is not absolute, and this node's working directory is not yours")
    async with _while_calling(stream):
        size = await node.backup(path, replace=replace)
        await _send(stream, {"result": {"path": str(path), "bytes": size}})


async def _export(node: Node, stream: trio.SocketStream, _: dict[str, Any]) -> None:
    """A line for each part, and a last one, so that the caller knows that it has all of them."""
    for part in parts_of(items_of(node.replica)):
        await _send(stream, {"result": {"items": part}})
    await _send(stream, {"result": {"end": True}})


async def _leave(node: Node, stream: trio.SocketStream, _: dict[str, Any]) -> None:
    holders = await node.leave()
    storage = node.storage()
    result = {
        "wrote": node.has_written,
        "holders": holders,
        "others": sum(member.state in (ALIVE, SUSPECT) for member in node.members()),
        "kept_in": None if storage.durability == NONE else storage.directory,
        "disk_failure": storage.failure,
    }
    await _send(stream, {"result": result})
    node.stop_requested.set()


_TALKS: Final[dict[str, Callable[[Node, trio.SocketStream, dict[str, Any]], Awaitable[None]]]] = {
    "watch": _watch,
    "backup": _backup,
    "export": _export,
    "leave": _leave,
}
"""Verbs that answer by themselves, with several lines or after a while."""


def _describe(node: Node, change: Change) -> dict[str, Any]:
    """A change and what is there now."""
    described = {
        "kind": change.kind,
        "name": change.name,
        "path": change.path,
        "key": change.key,
        "writer": node.name_of(change.writer),
        "seq": change.seq,
        "before": change.before,
    }
    if change.kind in ("gset", "orset", "rwset"):
        return described | {"now": "present" if change.after else "absent"}
    if change.kind == "lwwmap":
        described["deleted"] = change.after is None and change.key not in _map_of(node, change)
    return described | {"now": change.after}


def _map_of(node: Node, change: Change) -> LWWMap:
    *maps, name = change.path[:-1]
    home: Accessors = node
    for outer in maps:
        home = home.ormap(outer)
    return home.lwwmap(name)


# ---- the verbs: what is asked of the node, and the answer as plain data


def _members(node: Node, _: dict[str, Any]) -> list[dict[str, Any]]:
    return [asdict(member) | {"address": str(member.address)} for member in node.members()]


def _tag(node: Node, args: dict[str, Any]) -> dict[str, str]:
    removed = [composed(key) for key in args["remove"]]
    kept = {key: value for key, value in node.tags.items() if key not in removed}
    changed = kept | {composed(key): value for key, value in args["set"].items()}
    if changed != node.tags:
        node.set_tags(changed)
    return dict(node.tags)


def _status(node: Node, _: dict[str, Any]) -> dict[str, Any]:
    states = [member.state for member in node.members()]
    kernel = node.replica.store.kernel
    return {
        "name": node.name,
        "id": node.id,
        "replica_id": node.replica.replica_id,
        "address": str(node.address),
        "cluster": node.cluster,
        "release": RELEASE,
        "pid": os.getpid(),
        "sealed": node.sealed,
        "tags": dict(node.tags),
        "partial": node.is_partial,
        "writers": _count_writers(node),
        "retired": node.retired,
        "members": {state: states.count(state) for state in dict.fromkeys(states)},
        "objects": len(node.replica.objects()),
        "entries": sum(len(entries) for entries in kernel.live.values()) - count_closures(kernel),
        "storage": asdict(node.storage()),
        "log": asdict(node.log_loss),
        "fingerprint": f"{node.replica.fingerprint:016x}",
        "causal_token": str(node.version()),
        "statistics": asdict(node.statistics()),
    }


def _count_writers(node: Node) -> dict[str, int | None]:
    """How many writers there are: of this node and the members, of nobody (None: not known), being closed, closed."""
    kernel = node.replica.store.kernel
    unknown = node.unknown_writers()
    closing = len(kernel.retiring) + len(kernel.marked)
    closed = len(kernel.limits) - closing - len(fenced_nodes(kernel))
    nobody = None if unknown is None else len(unknown)
    known = len(kernel.open_writers()) - (nobody or 0)
    return {"known": known, "unknown": nobody, "closing": closing, "closed": closed}


def _look_up(node: Node, args: dict[str, Any]) -> dict[str, Any]:
    """What `_retire` would retire."""
    found, writer = node.look_up_to_retire(args["member"], force=args["force"])
    names = {each.id: each.name for each in node.members()}
    return {"id": found, "name": names.get(found), "kind": "node" if writer is None else "writer"}


def _retire(node: Node, args: dict[str, Any]) -> dict[str, Any]:
    answer = _look_up(node, args)
    node.retire(args["member"], force=args["force"])
    return answer


def _retire_unknown(node: Node, args: dict[str, Any]) -> dict[str, Any]:
    found = node.retire_unknown(dry=args["dry"] is not False)
    return {"count": len(found), "some": found[:WRITERS_NAMED]}


def _ls(node: Node, _: dict[str, Any]) -> list[dict[str, Any]]:
    return [_summary(held) for held in node.replica.objects()]


def _summary(held: Crdt) -> dict[str, Any]:
    sized = hasattr(held, "__len__")
    return {
        "type": held.kind,
        "name": held.name,
        "size": len(held) if sized else None,  # type: ignore[arg-type]  # sized says so
        "value": None if sized else held.value(),
    }


def _get(node: Node, args: dict[str, Any]) -> list[dict[str, Any]]:
    name, kind = args["name"], args.get("type")
    spelled = composed(name)
    found = [held for held in node.replica.objects() if composed(held.name) == spelled and kind in (None, held.kind)]
    if not found:
        what = "object" if kind is None else kind
        raise ConfigError(f"there is no {what} {name!r}; `gossip ls` lists what there is")
    return [{"type": held.kind, "name": held.name, "value": held.value()} for held in found]


def _change_set(node: Node, args: dict[str, Any]) -> dict[str, Any]:
    held = node.orset(args["name"])
    changed = (held.add if args["op"] == "add" else held.remove)(args["value"])
    return {"changed": bool(changed), "size": len(held)}


def _change_counter(node: Node, args: dict[str, Any]) -> dict[str, Any]:
    held = node.counter(args["name"])
    (held.increment if args["op"] == "inc" else held.decrement)(args["by"])
    return {"value": held.value()}


def _set_register(node: Node, args: dict[str, Any]) -> dict[str, Any]:
    held = node.register(args["name"])
    held.set(args["value"])
    return {"value": held.get()}


def _change_map(node: Node, args: dict[str, Any]) -> dict[str, Any]:
    held = node.lwwmap(args["name"])
    delta = held.set(args["key"], args["value"]) if args["op"] == "set" else held.delete(args["key"])
    return {"changed": bool(delta), "size": len(held)}


def _import(node: Node, args: dict[str, Any]) -> dict[str, Any]:
    items = [Item(tuple(path), kind, name, content) for path, kind, name, content in args["items"]]
    return asdict(write_items(node, items, add=bool(args["add"])))


_VERBS: Final[dict[str, Callable[[Node, dict[str, Any]], Any]]] = {
    "members": _members,
    "status": _status,
    "tag": _tag,
    "ls": _ls,
    "get": _get,
    "orset": _change_set,
    "counter": _change_counter,
    "register": _set_register,
    "map": _change_map,
    "import": _import,
    "retire": _retire,
    "retire_look_up": _look_up,
    "retire_unknown": _retire_unknown,
}
_WRITING: Final = ("orset", "counter", "register", "map", "import", "retire", "retire_unknown")
"""Verbs that are answered once the disk has what they wrote. All others are answered while it fails, too."""
