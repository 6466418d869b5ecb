"""What the processes of a cluster report, line by line, with the time of each report."""

import os
import selectors
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias

ROOT: Final = Path(__file__).resolve().parents[2]
READ_BYTES: Final = 1 << 16
STEP: Final = 0.05
"""Seconds between two looks at whether what is waited for has come; times come from the reports."""

Report: TypeAlias = tuple[str, str, float]
"""Kind, subject, and time of `time.monotonic`."""
Parse: TypeAlias = Callable[[str, float], Report | None]
"""Makes a report of a line that was read at that time, or nothing."""


class Journal:
    """Reads what processes print, on a thread of its own so that a line's time is when it came.

    Kept is when each node first reported each (kind, subject), and how often.
    """

    def __init__(self, parse: Parse) -> None:
        self._parse = parse
        self._selector = selectors.DefaultSelector()
        self._rest: dict[str, bytes] = {}
        self._ended = False
        self.first: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
        self.counts: dict[tuple[str, str], int] = defaultdict(int)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def follow(self, node: str, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        self._rest[node] = b""
        self._selector.register(process.stdout.fileno(), selectors.EVENT_READ, node)

    def close(self) -> None:
        """Stop reading; before the processes' pipes are closed."""
        self._ended = True
        self._thread.join()
        self._selector.close()

    def time_of(self, kind: str, subject: str, node: str) -> float | None:
        """When ``node`` first reported this."""
        return self.first.get((kind, subject), {}).get(node)

    def total(self, kind: str) -> int:
        """How many reports of a kind there were, of any subject and from any node."""
        return sum(count for (reported, _), count in list(self.counts.items()) if reported == kind)

    def _run(self) -> None:
        while not self._ended:
            for key, _ in self._selector.select(STEP):
                chunk = os.read(key.fd, READ_BYTES)
                if chunk:
                    self._take(key.data, chunk, time.monotonic())
                else:
                    self._selector.unregister(key.fd)

    def _take(self, node: str, chunk: bytes, at: float) -> None:
        *lines, self._rest[node] = (self._rest[node] + chunk).split(b"\n")
        for line in lines:
            report = self._parse(line.decode(errors="replace"), at)
            if report is not None:
                kind, subject, when = report
                self.counts[kind, subject] += 1
                self.first[kind, subject].setdefault(node, when)


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait until ``condition`` holds, at most that long; whether it does."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(STEP)
    return True
