"""A cluster of serf agents, to compare with.

What an agent prints at its usual log level tells all: members that joined or failed, and events delivered. So no
process is started for a write or for what it sets off; writes are remote procedure calls over a connection kept open.
"""

import base64
import re
import secrets
import shutil
import socket
import subprocess
import time
from types import TracebackType
from typing import ClassVar, Final

from .cluster_base import HOST, Cluster, ClusterError, free_ports
from .cluster_journal import Report

CONTROL: Final = "127.0.0.2"
"""Address of agents' control connections: loopback too, but no loss is put on it."""
RETRY: Final = "250ms"
"""How soon an agent tries its seed again, which at a start of all at once may not listen yet; gossip takes the same."""
PAYLOAD: Final = "a small value of 32 characters.."
TIMEOUT: Final = 5.0

_LINES: Final = (
    (re.compile(r"^==> Serf agent running!()"), "up"),
    (re.compile(r"\[INFO\] serf: EventMemberJoin: (\S+)"), "alive"),
    (re.compile(r"\[INFO\] serf: EventMemberFailed: (\S+)"), "failed"),
    (re.compile(r"\[INFO\] agent: Received event: user-event: (\S+)"), "seen"),
)


def installed() -> str | None:
    """The version of serf on this machine, or None."""
    if shutil.which("serf") is None:
        return None
    return subprocess.run(["serf", "version"], capture_output=True, text=True, check=True).stdout.split()[0]


class SerfCluster(Cluster):
    """Agents with ``-profile=lan`` and encryption, everything else as it comes."""

    system: ClassVar[str] = "serf"
    version: ClassVar[str] = installed() or ""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._key = base64.b64encode(secrets.token_bytes(32)).decode()
        self._seed = ""
        self._ports: dict[str, int] = {}
        self._controls: dict[str, socket.socket] = {}

    @staticmethod
    def parse(line: str, at: float) -> Report | None:
        for pattern, kind in _LINES:
            if found := pattern.search(line):
                return kind, found[1] or "-", at
        return None

    def launch(self, names: list[str]) -> None:
        # An agent does not end with its parent by itself.
        tied = ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []
        for name, port in zip(names, free_ports(len(names)), strict=True):
            address = f"{HOST}:{port}"
            join = [f"-retry-join={self._seed}", f"-retry-interval={RETRY}"] if self._seed else []
            self._seed = self._seed or address
            self._ports[name] = port
            where = [f"-node={name}", f"-bind={address}", f"-rpc-addr={CONTROL}:{port}"]
            self.spawn(name, [*tied, "serf", "agent", *where, "-profile=lan", f"-encrypt={self._key}", *join])

    def write(self, node: str, write: str) -> None:
        control = self._controls.get(node) or self._connect(node)
        start = time.monotonic()
        body: dict[str, str | int] = {
            "Name": write,
            "Payload": PAYLOAD,
            "Coalesce": False,
        }  # or it is delivered seconds later
        self._call(control, "event", body)
        self.journal.first["wrote", write][node] = start

    def look_every(self, seconds: float) -> None:
        """Agents report what changes at once."""

    def payload_bytes_sent(self) -> int | None:
        return None

    def lose(self, share: float) -> bool:
        return False

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for control in self._controls.values():
            control.close()
        super().__exit__(kind, error, at)

    def _connect(self, node: str) -> socket.socket:
        control = socket.create_connection((CONTROL, self._ports[node]), TIMEOUT)
        control.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._controls[node] = control
        self._call(control, "handshake", {"Version": 1})
        return control

    @staticmethod
    def _call(control: socket.socket, command: str, body: dict[str, str | int]) -> None:
        control.sendall(_pack({"Command": command, "Seq": 1}) + _pack(body))
        answer = control.recv(4096)
        if b"Error\xa0" not in answer:  # followed by an empty text
            raise ClusterError(f"serf: {command}: {answer!r}")


def _pack(value: dict[str, str | int] | str | int) -> bytes:
    """The little of MessagePack that is needed: small maps, short texts, small numbers, booleans."""
    if isinstance(value, dict):
        return bytes([0x80 | len(value)]) + b"".join(_pack(key) + _pack(item) for key, item in value.items())
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return bytes([value])
    text = value.encode()
    head = bytes([0xA0 | len(text)]) if len(text) < 32 else b"\xda" + len(text).to_bytes(2, "big")
    return head + text
