"""JSON objects, one a line, both ways: how the orchestrator and its workers talk."""

import json
from typing import Any, Final

import trio

READ_BYTES: Final = 64 * 1024


class JsonLines:
    """A conversation over two byte streams."""

    def __init__(self, source: trio.abc.ReceiveStream, sink: trio.abc.SendStream) -> None:
        self._source = source
        self._sink = sink
        self._received = bytearray()

    async def send(self, message: dict[str, Any]) -> None:
        """Send one object; raises `trio.BrokenResourceError` if nobody is there to read it."""
        await self._sink.send_all(json.dumps(message).encode() + b"\n")

    async def receive(self) -> dict[str, Any] | None:
        """The next object; None when the other side has ended."""
        searched = 0
        while (end := self._received.find(b"\n", searched)) < 0:
            searched = len(self._received)
            data = await self._source.receive_some(READ_BYTES)
            if not data:
                return None
            self._received += data
        line = self._received[:end]
        del self._received[: end + 1]
        message: dict[str, Any] = json.loads(line)
        return message

    async def end(self) -> None:
        """Tell the other side that nothing more will come."""
        await self._sink.aclose()
