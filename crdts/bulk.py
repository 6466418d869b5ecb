"""Making very many objects at once."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

PAUSE_FROM: Final = 4096
"""Objects; fewer are not worth it."""


@contextmanager
def collection_paused(count: int) -> Iterator[None]:
    """A block that makes about ``count`` objects, none of them in cycles, without looking for cycles meanwhile.

    Each of the many searches would walk all that was made so far: two fifths of the time it takes to load a state.
    """
    if count < PAUSE_FROM or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
