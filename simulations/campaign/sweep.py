"""Runs a scenario with many seeds on a pool, and survives the death of its workers."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Future, wait
from itertools import chain, islice
from typing import Final

from ..scenario.scenario import Scenario
from .outcome import Outcome
from .pools import Pool

CHUNK_SECONDS: Final = 0.5
"""Seconds that what is handed out at once should take: long against the handing out, short for whoever waits."""
LARGEST_CHUNK: Final = 20
"""Seeds handed out at once at most."""
AHEAD: Final = 2
"""Chunks handed out for each worker, so that none is ever idle."""
LOOK_EACH: Final = 0.2
"""Seconds between two looks at whether to stop."""


class Sweep:
    """One scenario, many seeds."""

    def __init__(self, scenario: Scenario, seeds: Iterable[int], pool: Pool, clock: Callable[[], float]) -> None:
        """``clock`` tells seconds; it decides nothing but how many seeds are handed out at once."""
        self._scenario = scenario
        self._left = iter(seeds)
        self._pool = pool
        self._clock = clock
        self._flying: dict[Future[list[Outcome]], list[int]] = {}
        self._suspects: deque[int] = deque()
        """Seeds of which one may have killed its worker; each is run with no other beside it."""
        self._started = clock()
        self._done = 0

    @property
    def name(self) -> str:
        """Of the scenario."""
        return self._scenario.name

    def outcomes(self, stopping: Callable[[], bool] = lambda: False) -> Iterator[Outcome]:
        """The outcomes as they come, in no particular order.

        Once ``stopping`` says so, no more seeds are handed out, and those under way are waited for.
        """
        while True:
            if stopping():
                self._take_back()
            else:
                self._hand_out()
            if not self._flying:
                return
            finished, _ = wait(self._flying, LOOK_EACH, FIRST_COMPLETED)
            for future in finished:
                for outcome in self._finish(future):
                    self._done += 1
                    yield outcome

    # ---- handing out

    def _hand_out(self) -> None:
        if self._suspects:
            if not self._flying:
                self._submit([self._suspects.popleft()])
            return
        while len(self._flying) < AHEAD * self._pool.jobs:
            chunk = list(islice(self._left, self._chunk()))
            if not chunk or not self._submit(chunk):
                return

    def _chunk(self) -> int:
        """How many seeds take `CHUNK_SECONDS`, as far as one knows."""
        if not self._done:
            return 1
        each = (self._clock() - self._started) * self._pool.jobs / self._done
        return max(1, min(LARGEST_CHUNK, int(CHUNK_SECONDS / max(each, 1e-6))))

    def _submit(self, seeds: list[int]) -> bool:
        try:
            self._flying[self._pool.submit(self._scenario, seeds)] = seeds
        except BrokenExecutor:
            self._left = chain(seeds, self._left)
            if not self._flying:
                self._pool.renew()
                return self._submit(list(islice(self._left, len(seeds))))
            return False
        return True

    def _take_back(self) -> None:
        """Whatever nobody has begun."""
        self._flying = {future: seeds for future, seeds in self._flying.items() if not future.cancel()}

    # ---- taking in

    def _finish(self, future: Future[list[Outcome]]) -> Iterator[Outcome]:
        if future not in self._flying:
            return
        seeds = self._flying.pop(future)
        try:
            yield from future.result()
        except CancelledError:
            return
        except BrokenExecutor as error:
            yield from self._broken(seeds, error)
        except Exception as error:
            yield from self._suspect(seeds, error)

    def _broken(self, seeds: list[int], error: Exception) -> Iterator[Outcome]:
        """A process is dead, and with it the pool: nobody knows on which of the seeds under way it died."""
        flying, self._flying = self._flying, {}
        lost = [*seeds]
        for future, others in flying.items():
            if future.done() and not future.cancelled() and future.exception() is None:
                yield from future.result()
            else:
                lost += others
        self._pool.renew()
        yield from self._suspect(sorted(lost), error)

    def _suspect(self, seeds: list[int], error: Exception) -> Iterator[Outcome]:
        """A seed that was alone did it; several are run once more, one by one."""
        if len(seeds) == 1:
            what = " ".join(str(error).split()) or "no more is known"
            yield Outcome(seeds[0], died=f"its worker died ({type(error).__name__}: {what})")
        else:
            self._suspects += seeds
