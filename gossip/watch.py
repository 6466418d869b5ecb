"""Changes as an asynchronous iterator, for one task that wants to follow objects."""

from types import TracebackType
from typing import Self

import trio

from crdts import Change, Replica
from crdts.values import encode_value


class Watch:
    """An asynchronous iterator of `Change`.

    A slow reader loses nothing and needs no unbounded queue: a place that changes again before it was read is reported
    once, with its latest writer. Stops listening when it is closed, or when a ``with`` block around it ends.
    """

    def __init__(self, replica: Replica, name: str | None) -> None:
        self._name = name
        self._pending: dict[tuple[str, str, bytes], Change] = {}
        self._wake = trio.Event()
        self._cancel = replica.on_change(self._on_change)

    def _on_change(self, changes: list[Change]) -> None:
        for change in changes:
            if self._name is None or change.name == self._name:
                self._pending[change.kind, change.name, encode_value(change.key)] = change
        if self._pending:
            self._wake.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Change:
        while not self._pending:
            self._wake = trio.Event()
            await self._wake.wait()
        await trio.lowlevel.checkpoint()
        return self._pending.pop(next(iter(self._pending)))

    def close(self) -> None:
        """Stop listening."""
        self._cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
