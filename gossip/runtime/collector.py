"""Keeps Python's search for cycles short, however much a program holds.

The search goes through all objects that are not frozen, and stops everything else meanwhile: some 150 ms for a million
entries, each time that a quarter has come. Entries are in no cycles, so there is nothing to be found among them. Here
what a search has left over is frozen behind it, and there is a search whenever as much has come anew as can be
searched in a few milliseconds.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import trio

PROMOTIONS: Final = 4
"""Collections of the middle generation between two searches; each adds up to 8,000 objects that have lived a while."""
WHOLE_EVERY: Final = 3600.0
"""Seconds after which a search goes through everything once more."""
_NEVER: Final = 1 << 30


@contextmanager
def short_collections() -> Iterator[None]:
    """Inside the block, in which Trio runs, searches take some milliseconds: all but the first, and one each hour.

    It is one setting for the whole process, and has its price: a cycle that was in use when it was frozen, and is
    garbage later, stays in memory until that hourly search. Use it in a process that holds very many entries.
    """
    threshold = gc.get_threshold()
    searches = _Searches()
    gc.set_threshold(*threshold[:2], _NEVER)
    gc.callbacks.append(searches.noticed)
    try:
        yield
    finally:
        gc.callbacks.remove(searches.noticed)
        gc.set_threshold(*threshold)
        gc.unfreeze()


class _Searches:
    """Begins with one through everything."""

    def __init__(self) -> None:
        self._loop = trio.lowlevel.current_trio_token()
        self._promoted = 0
        self._whole_due = float("-inf")
        self._search()

    def noticed(self, phase: str, info: dict[str, Any]) -> None:
        """The collector has begun or ended, in whatever thread."""
        self._promoted += phase == "stop" and info["generation"] == 1
        if self._promoted >= PROMOTIONS:
            self._promoted = 0
            with suppress(trio.RunFinishedError):
                self._loop.run_sync_soon(self._search)  # not here: a search cannot begin another

    def _search(self) -> None:
        now = trio.current_time()
        if now >= self._whole_due:
            self._whole_due = now + WHOLE_EVERY
            gc.unfreeze()
        gc.collect()
        gc.freeze()
