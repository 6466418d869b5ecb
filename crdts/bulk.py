"""Making very many objects at once."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

PAUSE_FROM: Final = 4096
"""Objects from which on it is worth it."""


@contextmanager
def collection_paused() -> Iterator[None]:
    """A block that makes very many objects, none of them in cycles, without looking for cycles meanwhile.

    Each of the many searches would walk all that was made so far: two fifths of the time it takes to load a state.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
