"""Output that cannot hold a node up, and whose end does not end the node.

A node runs for its members and its data, not for the reader of its log. A line that cannot be written now raises an
`OSError` to its writer, which counts it as lost: the reader has gone, the disk is full, or nobody empties the pipe. The
file itself is left in the mode in which it was found, as other processes may write to it as well.
"""

import errno
import io
import os
import select
from typing import Final, TextIO

PIECE_BYTES: Final = select.PIPE_BUF
"""What a pipe that says it has room takes without blocking."""
PATIENCE: Final = 0.05
"""Seconds for which the first line that finds no room waits. The next ones do not wait until there was room again."""


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
        """Write all of it; raises `OSError`, and then the rest of the line is lost."""
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
