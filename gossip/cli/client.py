"""The caller's end of the control socket."""

import json
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from shlex import quote
from typing import Any, Final

import click

from gossip.control.server import socket_path
from gossip.protocol.errors import LocalError
from gossip.storage.datadir import user_of

TIMEOUT: Final = 30.0
"""Seconds to wait for an answer."""


class NodeUnreachable(LocalError):
    """No node answers on a data directory."""


def ask(data_dir: Path, verb: str, **args: Any) -> Any:
    """The answer of the node that runs on ``data_dir``; raises `LocalError` with the node's own words."""
    for result in _exchange(data_dir, verb, args, timeout=TIMEOUT):
        return result
    raise NodeUnreachable(f"the node on {data_dir} stopped before it answered; its log says why")


def follow(data_dir: Path, verb: str, **args: Any) -> Iterator[Any]:
    """Every answer of the node, for as long as it runs; raises `NodeUnreachable` when it ends."""
    yield from _exchange(data_dir, verb, args, timeout=None)
    raise NodeUnreachable(f"the node on {data_dir} has stopped")


def _exchange(data_dir: Path, verb: str, args: dict[str, Any], timeout: float | None) -> Iterator[Any]:
    try:
        request = json.dumps({"verb": verb, "args": args}, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise click.UsageError("an argument is not valid UTF-8; only text can be given here") from None
    with closing(_connect(data_dir, timeout)) as connection:
        for line in _lines(connection, data_dir, request):
            answer = json.loads(line)
            if "error" in answer:
                raise LocalError(answer["error"])
            yield answer["result"]


def _lines(connection: socket.socket, data_dir: Path, request: bytes) -> Iterator[bytes]:
    """Send a request and receive whole lines until the node hangs up."""
    try:
        with connection.makefile("rwb") as file:
            file.write(request + b"\n")
            file.flush()
            yield from file
    except TimeoutError:
        raise NodeUnreachable(
            f"the node on {data_dir} did not answer within {TIMEOUT:.0f} s; it may be busy or paused"
        ) from None
    except (BrokenPipeError, ConnectionResetError):
        return


def _connect(data_dir: Path, timeout: float | None) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with socket_path(data_dir) as path:
            connection.connect(path)  # with a timeout set it would not wait its turn
        connection.settimeout(timeout)
    except PermissionError:
        connection.close()
        raise NodeUnreachable(f"the node on {data_dir} belongs to another user; run this as that user") from None
    except OSError:
        connection.close()
        if user := user_of(data_dir):
            raise NodeUnreachable(
                f"no node answers on {data_dir}: {user} is starting or stopping there; wait a moment, its log says more"
            ) from None
        raise NodeUnreachable(
            f"no node runs on {data_dir}; start one with `gossip run --data {quote(str(data_dir))}`, "
            "or name another with --data"
        ) from None
    return connection
