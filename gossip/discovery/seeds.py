"""Seeds: where to look for the cluster, by names that are looked up again and again."""

import socket
from collections.abc import Iterable, Sequence
from typing import Any, Final

import trio

from ..log import SEED_UNRESOLVED
from ..protocol import Address, Config, Engine, Notify, notices
from ..protocol.errors import ConfigError
from ..protocol.wire.seal import DEFAULT_CLUSTER
from ..runtime.addresses import families_from, is_ip, is_loopback, reachable, resolve, split_address
from ..runtime.driver import Driver

_WANTED: Final = {
    socket.AddressFamily.AF_INET: "IPv4 address",
    socket.AddressFamily.AF_INET6: "IPv6 address",
    socket.AddressFamily.AF_UNSPEC: "address",
}


def parse_seeds(join: Sequence[str | Address]) -> list[Address]:
    """Seeds as people write them, their hosts possibly names; raises `ConfigError`."""
    if isinstance(join, str):
        raise ConfigError(f"join is a list of addresses, not one string; write join=[{join!r}]")
    if not isinstance(join, Iterable) or isinstance(join, Address):
        raise ConfigError(f"join is a list of addresses, such as ['10.0.0.1:4747'], not {join!r:.60}")
    seeds = [seed if isinstance(seed, Address) else Address(*split_address(seed)) for seed in join]
    for seed in seeds:
        if not seed.port:
            raise ConfigError(f"cannot join {seed}: port 0 is nobody's; name the port that the node listens on")
    return seeds


def refuse_strangers(seeds: Sequence[Address]) -> None:
    """Raise `ConfigError` for a seed that a node without a key, on loopback, can never reach."""
    for seed in seeds:
        if is_ip(seed.host) and not is_loopback(seed.host):
            raise ConfigError(
                f"without a cluster key only nodes on this machine can be joined, not {seed}; "
                "make a key with `gossip keygen`"
            )


_MEND: Final = {
    socket.AddressFamily.AF_INET: "; this node is bound to IPv4, and to reach IPv6 as well it is bound to [::]",
    socket.AddressFamily.AF_INET6: "; this node is bound to IPv6, and to reach IPv4 as well it is bound to [::]",
    socket.AddressFamily.AF_UNSPEC: "",
}


class SeedBook:
    """All addresses to look for the cluster at, whoever found them: hands the engine their union."""

    def __init__(self, driver: Driver, engine: Engine, cluster: str = DEFAULT_CLUSTER) -> None:
        self._driver = driver
        self._engine = engine
        self.cluster = cluster
        """The name of the cluster that is looked for."""
        self._by_finder: dict[object, list[Address]] = {}
        self._hinting: set[object] = set()
        self._union: list[Address] = []

    def put(self, finder: object, addresses: Iterable[Address], *, hints: bool = False) -> None:
        """Everything that ``finder`` knows now, in place of what it knew before.

        ``hints``: nobody has named these; the network tells of them, rightly or not.
        """
        if hints:
            self._hinting.add(finder)
        self._by_finder[finder] = list(addresses)
        union = list(dict.fromkeys(address for found in self._by_finder.values() for address in found))
        if union != self._union:
            self._union = union
            self._driver.do(self._engine.set_seeds(trio.current_time(), union))

    def reword(self, notice: Notify) -> Notify | None:
        """What a person should read of what the engine reports; None of a hint that came to nothing."""
        if notice.event != notices.SEED_SILENT:
            return notice
        named = (found for finder, found in self._by_finder.items() if finder not in self._hinting)
        if not any(notice.fields["seed"] == str(address) for found in named for address in found):
            return None
        check = (
            f"that a node of the cluster {self.cluster!r} listens there, that it has the same key, and that firewalls "
            "let UDP through both ways"
        )
        return Notify(notice.event, {"seed": notice.fields["seed"], "cluster": self.cluster, "check": check})


class SeedFinder:
    """Resolves the seeds now and then: a name may get other addresses, or some at last. Every address is used."""

    def __init__(self, book: SeedBook, seeds: Sequence[Address], bound: str, config: Config, log: Any) -> None:
        """``bound`` is the IP address that the node listens on."""
        self._book = book
        self._seeds = seeds
        self._family = families_from(bound)
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
                    self._log.warning(
                        SEED_UNRESOLVED,
                        seed=str(seed),
                        cluster=self._book.cluster,
                        wanted=_WANTED[self._family],
                        check=f"the spelling, and this machine's name service{_MEND[self._family]}",
                    )
            all_found = len(self._found) == len(set(self._seeds))
            await trio.sleep(self._config.seed_retry_max if all_found else delay)
            delay = min(2 * delay, self._config.seed_retry_max)

    async def _look_up(self, seed: Address) -> None:
        found = await resolve(reachable(seed.host), seed.port, self._family)
        if found and found != self._found.get(seed):  # what was found once is kept while names cannot be resolved
            self._found[seed] = found
            self._book.put(self, (address for several in self._found.values() for address in several))
