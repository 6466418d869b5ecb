"""The caller's end of the control socket."""

import json
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from gossip.control import socket_path
from gossip.protocol.errors import LocalError

TIMEOUT: Final = 30.0
"""Seconds to wait for an answer."""


class NodeUnreachable(LocalError):
    """No node answers on a data directory."""


def ask(data_dir: Path, verb: str, **args: Any) -> Any:
    """The answer of the node that runs on ``data_dir``; raises `LocalError` with the node's own words."""
    for result in _exchange(data_dir, verb, args, timeout=TIMEOUT):
        return result
    raise NodeUnreachable(f"the node on {data_dir} hung up without an answer; its log says why")


def follow(data_dir: Path, verb: str, **args: Any) -> Iterator[Any]:
    """Every answer of the node, until it ends."""
    return _exchange(data_dir, verb, args, timeout=None)


def _exchange(data_dir: Path, verb: str, args: dict[str, Any], timeout: float | None) -> Iterator[Any]:
    with closing(_connect(data_dir, timeout)) as connection, connection.makefile("rwb") as file:
        file.write(json.dumps({"verb": verb, "args": args}).encode() + b"\n")
        file.flush()
        for line in file:
            answer = json.loads(line)
            if "error" in answer:
                raise LocalError(answer["error"])
            yield answer["result"]


def _connect(data_dir: Path, timeout: float | None) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout)
    try:
        with socket_path(data_dir) as path:
            connection.connect(path)
    except OSError:
        connection.close()
        raise NodeUnreachable(
            f"no node runs on {data_dir}; start one with `gossip run --data {data_dir}`, or name another with --data"
        ) from None
    return connection
