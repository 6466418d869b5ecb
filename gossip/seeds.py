"""Seeds: where to look for the cluster, by names that are looked up again and again."""

import socket
from collections.abc import Sequence
from typing import Any

import trio

from .addresses import is_ip, is_loopback, reachable, resolve, split_address
from .driver import Driver
from .log import SEED_UNRESOLVED
from .protocol import Address, Config, Engine
from .protocol.errors import ConfigError


def parse_seeds(join: Sequence[str | Address]) -> list[Address]:
    """Seeds as people write them, their hosts possibly names; raises `ConfigError`."""
    if isinstance(join, str):
        raise ConfigError(f"join is a list of addresses, not one string; write join=[{join!r}]")
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


class SeedFinder:
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
        found = await resolve(reachable(seed.host), seed.port, self._family)
        if found and found != self._found.get(seed):  # what was found once is kept while names cannot be resolved
            self._found[seed] = found
            addresses = dict.fromkeys(address for several in self._found.values() for address in several)
            self._driver.do(self._engine.set_seeds(trio.current_time(), list(addresses)))
