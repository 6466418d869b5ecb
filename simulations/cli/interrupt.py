"""Ctrl-C: the first asks to stop, the second stops."""

import signal
from types import FrameType
from typing import Final, Self

INTERRUPTED: Final = 130
"""The exit code after Ctrl-C."""


class Interrupt:
    """While it is entered, the first Ctrl-C only sets ``asked``; each further one raises KeyboardInterrupt."""

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGINT, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
