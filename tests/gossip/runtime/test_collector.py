"""Searches for cycles are short and find what they should, and nothing of it is left behind."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import ref

import pytest
import trio

from gossip import short_collections
from gossip.runtime import collector

from ..live import patience


class Knot:
    """In a cycle with itself."""

    def __init__(self) -> None:
        self.self = self


class Searched:
    """Counts searches, and what was there for each to go through."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    @contextmanager
    def counting(self) -> Iterator[None]:
        gc.callbacks.append(self)
        try:
            yield
        finally:
            gc.callbacks.remove(self)

    def __call__(self, phase: str, info: dict[str, Any]) -> None:
        if phase == "start" and info["generation"] == 2:
            self.sizes.append(len(gc.get_objects()))


async def until_searched(searched: Searched, times: int, holding: Callable[[], object]) -> list[object]:
    """Make objects that stay until there have been so many searches."""
    held: list[object] = []
    with patience():
        while len(searched.sizes) < times:
            held += [holding() for _ in range(1_000)]
            await trio.lowlevel.checkpoint()
    return held


async def test_a_search_goes_through_what_is_new_and_no_more() -> None:
    searched = Searched()
    with short_collections(), searched.counting():
        held = await until_searched(searched, 10, lambda: [object()])
    assert len(held) > 100_000
    assert max(searched.sizes) < 70_000, "the first generations, and a bit"


async def test_garbage_is_found_by_the_next_search() -> None:
    searched = Searched()
    with short_collections():
        with searched.counting():
            knot = Knot()
            gone = ref(knot)
            del knot
            await until_searched(searched, 2, lambda: [object()])
        assert gone() is None


@pytest.mark.parametrize("is_whole", [True, False])
async def test_what_has_become_garbage_since_it_was_frozen_is_found_by_a_whole_search(
    is_whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_whole:
        monkeypatch.setattr(collector, "WHOLE_EVERY", 0.0)
    searched = Searched()
    with short_collections():
        with searched.counting():
            knot = Knot()
            gone = ref(knot)
            await until_searched(searched, 2, lambda: [object()])
            del knot
            await until_searched(searched, 5, lambda: [object()])
        assert (gone() is None) == is_whole
    gc.collect()
    assert gone() is None


async def test_behind_the_block_all_is_as_before() -> None:
    before = gc.get_threshold(), list(gc.callbacks)
    with short_collections():
        assert gc.get_freeze_count() > 0
        assert gc.get_threshold() != before[0]
    assert (gc.get_threshold(), list(gc.callbacks)) == before
    assert gc.get_freeze_count() == 0
