"""Seeds: where to look for the cluster, by names that are looked up again and again."""

import socket
from collections.abc import Sequence
from typing import Any

import trio

from .addresses import resolve, split_address
from .driver import Driver
from .log import SEED_UNRESOLVED
from .protocol import Address, Config, Engine
from .protocol.errors import ConfigError


def parse_seed(seed: str | Address) -> Address:
    """The address of a seed as people write it, its host possibly a name; raises `ConfigError`."""
    address = seed if isinstance(seed, Address) else Address(*split_address(seed))
    if not address.port:
        raise ConfigError(f"cannot join {address}: port 0 is nobody's; name the port that the node listens on")
    return address


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
        found = await resolve(seed.host, seed.port, self._family)
        if found and found != self._found.get(seed):  # what was found once is kept while names cannot be resolved
            self._found[seed] = found
            addresses = dict.fromkeys(address for several in self._found.values() for address in several)
            self._driver.do(self._engine.set_seeds(trio.current_time(), list(addresses)))
