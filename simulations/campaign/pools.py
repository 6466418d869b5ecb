"""Where the seeds of a sweep run: in processes of this machine, or on a Dask cluster that there is already."""

import importlib
import multiprocessing
import signal
from collections.abc import Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import suppress
from multiprocessing import resource_tracker
from typing import Any, Final, Protocol

from ..errors import SimulationError
from ..scenario.scenario import Scenario
from .outcome import Outcome, run_seeds

DASK_TIMEOUT: Final = 10.0
"""Seconds to wait for the scheduler of a Dask cluster."""


class PoolError(SimulationError):
    """There is nowhere to run."""


class Pool(Protocol):
    """Runs seeds, several at once."""

    jobs: int
    """How many."""

    def submit(self, scenario: Scenario, seeds: Sequence[int]) -> Future[list[Outcome]]:
        """Run these one after the other, some time."""

    def renew(self) -> None:
        """Go on after a worker has died, if that takes anything."""

    def close(self, *, at_once: bool = False) -> None:
        """End; ``at_once`` whatever is under way."""


class LocalPool:
    """Processes of this machine. They do not hear Ctrl-C, which is meant for whoever hands out the seeds."""

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self._executor = self._start()

    def _start(self) -> Executor:
        return ProcessPoolExecutor(
            self.jobs, mp_context=multiprocessing.get_context("spawn"), initializer=_ignore_interrupts
        )

    def submit(self, scenario: Scenario, seeds: Sequence[int]) -> Future[list[Outcome]]:
        # A process is started by this very call. It inherits the mask, as it could be interrupted before it can say
        # that it does not want to be; the tracker must run already, as starting it resets the mask.
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return self._executor.submit(run_seeds, scenario, seeds)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})

    def renew(self) -> None:
        """A pool of which one process has died is of no use any more."""
        self._executor.shutdown(wait=True, cancel_futures=True)
        self._executor = self._start()

    def close(self, *, at_once: bool = False) -> None:
        if at_once:
            for process in multiprocessing.active_children():
                process.terminate()
        self._executor.shutdown(wait=True, cancel_futures=True)


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class DaskPool:
    """The workers of a Dask cluster; they must have the same version of this package.

    What is taken back there is dropped even if a worker has begun it: its result is not waited for.
    """

    def __init__(self, address: str) -> None:
        """Raises `PoolError` if nobody answers at ``address``."""
        try:
            distributed: Any = importlib.import_module("distributed")
        except ImportError:
            raise PoolError("a Dask cluster needs distributed: pip install 'gossip-crdts[dask]'") from None
        # A client that could make nothing of the address would be told of once more when Python ends.
        scheme, port = address.rpartition("://")[0] or "tcp", address.rpartition(":")[2]
        if scheme not in distributed.comm.backends or not port.isdecimal():
            raise PoolError(f"a Dask scheduler's address is HOST:PORT or tcp://HOST:PORT, not {address!r}")
        try:
            self._client = distributed.Client(address, timeout=DASK_TIMEOUT, set_as_default=False)
        except (OSError, ValueError) as error:
            raise PoolError(f"no Dask scheduler answers at {address}: {error}") from None
        self.jobs = max(1, sum(self._client.ncores().values()))
        self._executor: Executor = self._client.get_executor(pure=False, retries=0)

    def submit(self, scenario: Scenario, seeds: Sequence[int]) -> Future[list[Outcome]]:
        return self._executor.submit(run_seeds, scenario, list(seeds))

    def renew(self) -> None:
        """Dask replaces workers by itself."""

    def close(self, *, at_once: bool = False) -> None:
        with suppress(TimeoutError, OSError):
            self._executor.shutdown(wait=not at_once)
            self._client.close()
