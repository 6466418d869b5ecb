"""Output that cannot hold a node up, and whose end does not end the node.

A node runs for its members and its data, not for the reader of its log. `UnheldStream.write` raises an `OSError` for a
line that cannot be written now: the reader has gone, the disk is full, or nobody empties the pipe. The caller counts
such a line as lost. The file keeps its mode (it is not made non-blocking), as other processes may write to it too.
"""

import errno
import io
import os
import select
from typing import Final, TextIO

PIECE_BYTES: Final = select.PIPE_BUF
"""How much a pipe that is ready for writing takes without blocking."""
PATIENCE: Final = 0.05
"""Seconds that a line waits for room. Lines after one that waited in vain do not wait, until there is room again."""


class UnheldStream:
    """Writes text to the file below ``stream``, without its buffer."""

    def __init__(self, stream: TextIO) -> None:
        self._encoding = stream.encoding or "utf-8"
        try:
            self._handle = stream.fileno()
        except io.UnsupportedOperation:  # a file in memory: there is always room
            self._handle, self._stream = -1, stream
        self._poll = select.poll()
        if self._handle >= 0:
            self._poll.register(self._handle, select.POLLOUT)
        self._has_room = self._is_at_start = True

    def write(self, text: str) -> None:
        """Write all of ``text``. Raises `OSError` if that is not possible now: the rest of the text is lost."""
        if self._handle < 0:
            self._stream.write(text)
            return
        data = text.encode(self._encoding, "backslashreplace")
        if not self._is_at_start:
            data = b"\n" + data  # behind a line that was cut
        while data:
            self._await_room()
            written = os.write(self._handle, data[:PIECE_BYTES])
            self._is_at_start = data[written - 1 : written] == b"\n"
            data = data[written:]

    def _await_room(self) -> None:
        patience = PATIENCE if self._has_room else 0.0
        self._has_room = bool(self._poll.poll(patience * 1000))  # an error counts as room: the write tells which
        if not self._has_room:
            raise BlockingIOError(errno.EAGAIN, "nobody reads it")

    def flush(self) -> None:
        """There is nothing to flush."""
