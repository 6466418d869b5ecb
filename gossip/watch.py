"""Changes as an asynchronous iterator."""

import weakref
from dataclasses import replace
from types import TracebackType
from typing import Self

import trio

from crdts import Change, Replica
from crdts.embedding import composed, encode_value, same


class Watch:
    """An asynchronous iterator of `Change`.

    A slow reader loses nothing and needs no unbounded queue: a place that changes again before it was read is reported
    once, from what it was at first to what it is now, with its latest writer, or not at all if that is the same.
    Several tasks may share one: each change goes to one of them. Stops listening when it is closed, when a ``with``
    block around it ends, or when nobody holds it any more; the iteration then ends.
    """

    def __init__(self, replica: Replica, name: str | None) -> None:
        self._name = None if name is None else composed(name)
        self._pending: dict[tuple[str, bytes], Change] = {}
        self._wake = trio.Event()
        self._closed = False
        method = weakref.WeakMethod(self._on_change, lambda _: cancel())

        def listen(changes: list[Change]) -> None:
            if on_change := method():
                on_change(changes)

        self._cancel = cancel = replica.on_change(listen)

    def _on_change(self, changes: list[Change]) -> None:
        for change in changes:
            if self._name is None or composed(change.name) == self._name:
                place = change.kind, encode_value(change.path)
                earlier = self._pending.get(place)
                if earlier is not None:
                    change = replace(change, before=earlier.before)
                if same(change.before, change.after):
                    self._pending.pop(place, None)
                else:
                    self._pending[place] = change
        if self._pending:
            self._wake.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Change:
        await trio.lowlevel.checkpoint()
        while not self._pending:
            if self._closed:
                raise StopAsyncIteration
            self._wake = trio.Event() if self._wake.is_set() else self._wake
            await self._wake.wait()
        return self._pending.pop(next(iter(self._pending)))

    def close(self) -> None:
        """Stop listening. Changes that were noted before can still be read."""
        self._cancel()
        self._closed = True
        self._wake.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
