"""A network of this benchmark's own: no traffic but its own to count, and a kernel that loses what it is told to."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import Final

from .cluster_serf import CONTROL

INSIDE: Final = "GOSSIP_BENCH_NAMESPACE"
"""Environment variable that is set in the namespace."""
PROTOCOLS: Final = {"udp": "17", "tcp": "6"}


@dataclass(frozen=True, slots=True)
class Sent:
    """What was sent over loopback so far, by all, with IP headers."""

    udp_packets: int = 0
    udp_bytes: int = 0
    tcp_bytes: int = 0

    def since(self, earlier: "Sent") -> "Sent":
        return Sent(
            self.udp_packets - earlier.udp_packets,
            self.udp_bytes - earlier.udp_bytes,
            self.tcp_bytes - earlier.tcp_bytes,
        )

    @property
    def udp_payload(self) -> int:
        """Bytes without the headers of IPv4 and UDP."""
        return self.udp_bytes - 28 * self.udp_packets


def enter(module: str) -> bool:
    """Run this program again in a network namespace that vanishes with its last process; False if not permitted."""
    if os.environ.get(INSIDE):
        _run("ip", "link", "set", "lo", "up")
        for protocol in PROTOCOLS:
            _run("iptables", "-A", "OUTPUT", "-p", protocol)  # counts, and lets pass
        return True
    unshare = ["unshare", "--net", *(["--map-root-user"] if os.geteuid() else [])]
    if not all(map(shutil.which, ("unshare", "ip", "iptables"))) or not _permitted(unshare):
        return False
    command = [*unshare, sys.executable, "-m", module, *sys.argv[1:]]
    return os.execvpe("unshare", command, os.environ | {INSIDE: "1"})


def lose(share: float) -> None:
    """Lose that share of all packets, UDP and TCP, except on control connections; 0 to lose none."""
    _run("iptables", "-F", "INPUT")
    if share:
        for side in ("-s", "-d"):
            _run("iptables", "-A", "INPUT", side, CONTROL, "-j", "ACCEPT")
        chance = ("-m", "statistic", "--mode", "random", "--probability", str(share))
        _run("iptables", "-A", "INPUT", *chance, "-j", "DROP")


def sent() -> Sent:
    """What has been sent in this namespace so far."""
    counts: dict[str, tuple[int, int]] = {}
    for line in _run("iptables", "-nvxL", "OUTPUT").splitlines():
        words = line.split()
        if len(words) > 3 and words[0].isdigit():
            counts[words[2]] = int(words[0]), int(words[1])
    # Some versions print the number of a protocol, others its name.
    udp, tcp = (counts.get(number) or counts[name] for name, number in PROTOCOLS.items())
    return Sent(udp[0], udp[1], tcp[1])


def _permitted(unshare: list[str]) -> bool:
    probe = "ip link set lo up && iptables -A INPUT -m statistic --mode random --probability 0.5 -j DROP"
    return not subprocess.run([*unshare, "sh", "-c", probe], capture_output=True, check=False).returncode


def _run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
