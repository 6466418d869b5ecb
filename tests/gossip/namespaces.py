"""Hosts of one network on this machine, made of Linux network namespaces: losses and cuts come from the kernel itself.

Every interface lives in a namespace that is made here, the bridge between the hosts too, so nothing of the machine's
own network is touched.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, Final

from gossip.cli.client import ask
from gossip.protocol.errors import LocalError

from .cli.process import GOSSIP, ROOT, environment
from .live import PATIENCE

PORT: Final = 4747
TOOLS: Final = ("ip", "iptables")
ASK: Final = """
import select, socket, struct, sys, time
me, other = sys.argv[1:]
group = "224.0.0.251"
name = b"".join(bytes([len(part)]) + part for part in (b"_gossip-crdts", b"_udp", b"local")) + bytes(1)
asking = []
for port in (5353, 0):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("", port))
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(group) + socket.inet_aton(me))
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(me))
    asking.append(sock)
    for unicast in (0, 0x8000):
        for to in (group, other):
            sock.sendto(struct.pack("!6H", 0, 0, 1, 0, 0, 0) + name + struct.pack("!HH", 12, 1 | unicast), (to, 5353))
answered, end = set(), time.monotonic() + 2
while (left := end - time.monotonic()) > 0:
    for sock in select.select(asking, [], [], left)[0]:
        answered.add(sock.recvfrom(9000)[1][0])
print(*sorted(answered - {me}))
"""
"""Asks for the service by multicast and unicast, from the port of multicast DNS and from another."""
STEP: Final = 0.02
"""Seconds between two looks at something that is waited for."""


def run(*command: str) -> str:
    """Run a command of the system; raises OSError with what it said."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Wait until ``condition`` holds; a node that does not answer yet does not fulfil it."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with suppress(LocalError):
            if condition():
                return
        time.sleep(STEP)
    raise AssertionError(f"still not so after {PATIENCE:.0f} s: {what}")


@cache
def missing() -> str | None:
    """What keeps this machine from having namespaces, or None; found out by making one with a lossy host."""
    for tool in TOOLS:
        if shutil.which(tool) is None:
            return f"no `{tool}` here"
    if os.geteuid():
        return "only root may make network namespaces"
    try:
        with network(1) as (host,):
            host.lose(0.5)
    except OSError as error:
        return f"network namespaces with rules are not permitted here: {error}"
    return None


class Host:
    """A namespace with an address on the bridge, and the node that runs in it, if any."""

    def __init__(self, number: int, wire: str, namespace: str) -> None:
        self.name = f"n{number}"
        self.ip = f"10.77.0.{number}"
        self.namespace = namespace
        self._wire = wire
        self._port = f"port{number}"
        self._process: subprocess.Popen[bytes] | None = None
        self.data = Path()

    def plug_in(self) -> None:
        run("ip", "netns", "add", self.namespace)
        veth = ("type", "veth", "peer", "name", "eth0", "netns", self.namespace)
        run("ip", "-n", self._wire, "link", "add", self._port, *veth)
        run("ip", "-n", self._wire, "link", "set", self._port, "master", "bridge", "up")
        run("ip", "-n", self.namespace, "address", "add", f"{self.ip}/24", "dev", "eth0")
        run("ip", "-n", self.namespace, "link", "set", "lo", "up")
        self.link("up")

    # ---- trouble

    def lose(self, share: float) -> None:
        """Lose that share of all packets that come in."""
        self._rule("-m", "statistic", "--mode", "random", "--probability", str(share))

    def cut_from(self, *others: "Host") -> None:
        """Hear nothing from the others any more; they still hear this one."""
        for other in others:
            self._rule("-s", other.ip)

    def heal(self) -> None:
        """Take back all losses and cuts."""
        self._iptables("-F", "INPUT")

    def forward(self, port: int) -> None:
        """Be reached by newcomers at another port only, as behind a router; answers to what it sends still come in."""
        for protocol in ("udp", "tcp"):
            to_port = ("-p", protocol, "--dport", str(port), "-j", "REDIRECT", "--to-ports", str(PORT))
            self._iptables("-t", "nat", "-A", "PREROUTING", *to_port)
            self._rule("-p", protocol, "-m", "conntrack", "--ctstate", "NEW", "--ctorigdstport", str(PORT))

    def link(self, state: str) -> None:
        """Pull the cable ("down") or put it back ("up")."""
        run("ip", "-n", self.namespace, "link", "set", "eth0", state)

    def move_to(self, ip: str) -> None:
        """Have another address from now on, as with a new lease."""
        run("ip", "-n", self.namespace, "address", "del", f"{self.ip}/24", "dev", "eth0")
        self.ip = ip
        run("ip", "-n", self.namespace, "address", "add", f"{self.ip}/24", "dev", "eth0")

    def drop_address(self) -> None:
        """Have no IPv4 address any more; the link-local IPv6 address is left, once it can be used."""
        run("ip", "-n", self.namespace, "address", "del", f"{self.ip}/24", "dev", "eth0")

    def asks_around(self, other: "Host") -> list[str]:
        """Ask everybody, and ``other`` in person, in every way that multicast DNS knows; returns who answers."""
        question = [sys.executable, "-c", ASK, self.ip, other.ip]
        return run("ip", "netns", "exec", self.namespace, *question).split()

    def _rule(self, *match: str) -> None:
        self._iptables("-A", "INPUT", "-i", "eth0", *match, "-j", "DROP")

    def _iptables(self, *args: str) -> None:
        run("ip", "netns", "exec", self.namespace, "iptables", "-w", *args)

    # ---- a node

    @property
    def address(self) -> str:
        return f"{self.ip}:{PORT}"

    def start(self, folder: Path, key_file: Path, *seeds: "Host", profile: str = "local") -> None:
        """Start `gossip run`; the second time on what the first left behind."""
        join = [word for seed in seeds for word in ("--join", seed.address)]
        fixed = ("--key-file", str(key_file), "--bind", self.address, "--no-discovery", "--profile", profile)
        self.launch(folder, *fixed, *join)

    def launch(self, folder: Path, *options: str) -> None:
        """Start `gossip run` with what a user would write."""
        self.data = folder / self.name
        command = [*GOSSIP, "run", "--name", self.name, "--data", str(self.data), "--profile", "local", *options]
        with open(folder / f"{self.name}.log", "ab") as log:
            self._process = subprocess.Popen(
                ["ip", "netns", "exec", self.namespace, *command], stdout=log, stderr=log, env=environment(), cwd=ROOT
            )

    def log(self) -> str:
        """What its nodes have written so far."""
        return (self.data.parent / f"{self.name}.log").read_text()

    def kill(self) -> None:
        """End the node by SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> int:
        """End the node in good order; returns its exit code."""
        assert self._process is not None
        self._process.terminate()
        try:
            return self._process.wait(PATIENCE)
        finally:
            self.kill()

    def failures(self) -> set[str]:
        """Whom its nodes have ever called failed."""
        failed = [line for line in self.log().splitlines() if "member.failed" in line]
        return {word.removeprefix("member=") for line in failed for word in line.split() if word.startswith("member=")}

    def ask(self, verb: str, **args: Any) -> Any:
        """What `gossip` asks for the verb of that name: its socket is in the file system, which all hosts share."""
        return ask(self.data, verb, **args)

    def add(self, *elements: str) -> None:
        for element in elements:
            self.ask("orset", op="add", name="x", value=element)

    def elements(self) -> set[str]:
        (held,) = self.ask("get", name="x", type="orset")
        return set(held["value"])

    def states(self) -> dict[str, str]:
        return {member["name"]: member["state"] for member in self.ask("members")}

    def content(self) -> tuple[str, str]:
        status = self.ask("status")
        return status["fingerprint"], status["causal_token"]


@contextmanager
def network(size: int) -> Iterator[list[Host]]:
    """So many hosts on one bridge; at the end they are gone, with whatever runs on them."""
    prefix = f"gossip-test-{os.getpid()}"
    wire = f"{prefix}-wire"
    hosts = [Host(number, wire, f"{prefix}-{number}") for number in range(1, size + 1)]
    try:
        run("ip", "netns", "add", wire)
        run("ip", "-n", wire, "link", "add", "bridge", "type", "bridge")
        run("ip", "-n", wire, "link", "set", "bridge", "up")
        for host in hosts:
            host.plug_in()
        yield hosts
    finally:
        for host in hosts:
            host.kill()
        for namespace in (*(host.namespace for host in hosts), wire):
            with suppress(OSError):  # it was never made
                run("ip", "netns", "del", namespace)


def wait_acquainted(hosts: list[Host]) -> None:
    """Wait until every node lists every other as alive."""
    for host in hosts:
        others = {other.name: "alive" for other in hosts if other is not host}
        wait_until(lambda host=host, others=others: host.states() == others, f"{host.name} sees all others")


def wait_equal(hosts: list[Host]) -> None:
    """Wait until all nodes have the same."""
    wait_until(lambda: len({host.content() for host in hosts}) == 1, "all have the same")
