"""The thin Trio layer around the engine: what a transport and time bring goes in, effects come out.

It knows nothing of the protocol.
"""

from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from threading import get_ident
from typing import Any, Final

import trio
from trio.abc import HalfCloseableStream
from trio.lowlevel import enable_ki_protection

from crdts import Event

from ..inherited import refuse
from ..log import DATAGRAM_REFUSED, log_notice
from ..protocol import Address, Close, Effect, Engine, Notify, OpenStream, Persist, Remember, Rename, Send, Write
from ..protocol.errors import NotRunning, WrongThread
from ..storage.hints import encode_hints
from ..storage.patience import NO_ANSWER
from ..storage.saver import Disk, Saver
from .faults import TransportFaults
from .transport import Transport

DRAIN_DATAGRAMS: Final = 64
"""Datagrams taken in one go at most, before other tasks get their turn."""
DRAIN_SECONDS: Final = 0.002
"""Seconds after which no further datagram is taken in the same go."""
UNSENT_DATAGRAMS: Final = 4096
"""Datagrams that wait for a full socket buffer at most; the oldest are dropped, and found missing by digests."""
READ_BYTES: Final = 4 * 1024
"""Read from a stream at a time: the frames in them are processed before other tasks get their turn."""
CONNECT_TIMEOUT: Final = 5.0
"""Seconds to connect a stream."""
LINGER_TIMEOUT: Final = 5.0
"""Seconds for the other side to close a stream that we have finished."""
LINGERING_STREAMS: Final = 32
"""Streams that we have finished with and that wait for the other side at most; the oldest make way."""


class _Link:
    """What is to be written to one stream."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.pending: deque[bytes] = deque()  # the engine waits for `stream_writable`: one piece, and a close
        self.closing = False
        self.wake = trio.Event()
        self.scope = trio.CancelScope()


class Driver:
    """Runs one engine on a transport, a disk if there is one, and Trio's time.

    Its tasks are protected from Ctrl-C, which is for the program's own code: it must not stop an engine halfway.
    """

    def __init__(
        self, engine: Engine, transport: Transport, faults: TransportFaults, log: Any, *, disk: Disk | None = None
    ) -> None:
        """Without a ``disk`` there is only memory: what is applied is as durable as it gets."""
        self._engine = engine
        self._transport = transport
        self._saver = Saver(disk, self._settle, self._saved, log) if disk is not None else None
        self._faults = faults
        self._log = log
        self._links: dict[int, _Link] = {}
        self._nursery: trio.Nursery | None = None
        self._stopping = self._disk_is_silent = False
        self.inherited = False
        """True in a forked child: the node runs in the parent process."""
        self._no_writes: str | None = None
        """Why mutations are refused although the node runs; None if they are not."""
        self._thread = 0
        self._unsent: deque[tuple[bytes, Address]] = deque(maxlen=UNSENT_DATAGRAMS)
        self._unsent_wake = trio.Event()
        self._sleep = trio.CancelScope()
        self._changed = trio.Event()
        self.reword: Callable[[Notify], Notify | None] = lambda notice: notice
        """What is written down of a notice: others than the engine may know better what to say, or that it is none."""
        self._handlers: dict[type[Effect], Callable[[Any], None]] = {
            Send: self._do_send,
            Write: self._do_write,
            OpenStream: self._do_open,
            Close: self._do_close,
            Persist: self._do_persist,
            Rename: self._do_rename,
            Remember: self._do_remember,
            Notify: self._do_notify,
        }

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                self._thread = get_ident()
                nursery.start_soon(self._receive_loop)
                nursery.start_soon(self._send_loop)
                nursery.start_soon(self._tick_loop)
                nursery.start_soon(self._transport.serve_streams, self._accept)
                if self._saver is not None:
                    nursery.start_soon(self._saver.run)
                    nursery.start_soon(self._saver.watch)
                task_status.started()
        finally:
            self._nursery = None
            self._signal()  # whoever waits for a change finds out that there will be none

    @property
    def running(self) -> bool:
        """True while the driver runs and has not been told to stop: what is written now will be saved and sent."""
        return self._nursery is not None and not self._stopping

    @property
    def keeps_nothing(self) -> bool:
        """True if all data is in memory only, and gone when the node ends."""
        return self._saver is None

    def end_writing(self, why: str) -> None:
        """Refuse mutations from now on, with ``why`` as the reason; all else goes on."""
        self._no_writes = why

    def resume_writing(self) -> None:
        """Accept mutations again."""
        self._no_writes = None

    def stop(self) -> None:
        """From now on it counts as closed; to be called before `run` is cancelled, which takes a moment to end."""
        self._stopping = True

    def disown(self) -> None:
        """Count as closed, in the copy of a node that a forked child has."""
        self.inherited = self._stopping = True

    # ---- what the node asks for

    def check_writable(self) -> None:
        """Refuse a mutation that could not be handed on.

        Raises `NotRunning`, `WrongThread`, `NodeRetired` or `DiskFailed`.
        """
        if not self.running or self._no_writes is not None:
            if self.inherited:
                refuse(self._engine.identity)
            raise NotRunning(f"node {self._engine.identity.name} {self._no_writes or 'is closed'}; nothing was written")
        if get_ident() != self._thread:
            self.check_thread()
        self._engine.check_writable()
        if self._saver is not None:
            self._saver.check()

    def check_thread(self) -> None:
        """Raise `WrongThread` in another thread than the node's, and `NotRunning` in a forked child."""
        if self.inherited:
            refuse(self._engine.identity)
        if self.running and get_ident() != self._thread:
            raise WrongThread(
                f"node {self._engine.identity.name} runs in another thread; nothing was written. "
                "Write from there, by trio.from_thread.run_sync"
            )

    async def flush(self, *, patiently: bool = False) -> None:
        """Wait until all that was written is as durable as it gets; raises `DiskFailed` if that cannot be now.

        ``patiently``: not because the disk does not answer; that is waited for.
        """
        if self._saver is None or self._engine.durable:
            self._settle()
            await trio.lowlevel.checkpoint()
        else:
            await self._saver.flush(patiently=patiently)

    @property
    def unsaved_batches(self) -> int:
        """Batches that the disk has not made durable yet."""
        return 0 if self._saver is None else self._saver.unsaved

    @property
    def disk_failure(self) -> str | None:
        """Why nothing can be saved at present; None while all is well."""
        if self._saver is not None and self._saver.failure is not None:
            return str(self._saver.failure)
        return NO_ANSWER if self._disk_is_silent else None

    def note_silence(self) -> None:
        """The disk was waited for in vain: that counts as a failure until it has saved something."""
        self._disk_is_silent = True

    def wrote(self, events: tuple[Event, ...]) -> None:
        """The replica made local mutations."""
        if self._engine.wrote(trio.current_time(), events):
            self._set_alarm()

    def do(self, effects: Iterable[Effect]) -> None:
        """Carry out effects, in order. Never blocks."""
        for effect in effects:
            self._handlers[type(effect)](effect)
        self._set_alarm()

    def _do_write(self, effect: Write) -> None:
        if link := self._links.get(effect.conn):
            link.pending.append(effect.data)
            link.wake.set()

    def _do_open(self, effect: OpenStream) -> None:
        if self._nursery is not None:
            self._nursery.start_soon(self._connect, effect.conn, effect.address)

    def _do_close(self, effect: Close) -> None:
        if link := self._links.get(effect.conn):
            link.closing = True
            link.scope.deadline = trio.current_time() + LINGER_TIMEOUT
            link.wake.set()
            lingering = [link for link in self._links.values() if link.closing and not link.scope.cancel_called]
            if len(lingering) > LINGERING_STREAMS:
                lingering[0].scope.cancel()

    def _do_persist(self, effect: Persist) -> None:
        if self._saver is None:
            self._saved(effect.token)
        else:
            self._saver.put(effect)

    def _settle(self) -> None:
        """Hand everything to the disk that the replica holds by now."""
        self.do(self._engine.flush(trio.current_time()))

    def _do_rename(self, effect: Rename) -> None:
        if self._saver is not None:
            self._saver.rename(effect.identity)

    def _do_remember(self, effect: Remember) -> None:
        if self._saver is not None:
            self._saver.remember(encode_hints(effect.hints, effect.key_id))

    def _saved(self, token: int) -> None:
        self._disk_is_silent = False
        self.do(self._engine.persisted(trio.current_time(), token))
        self._signal()

    def _do_notify(self, effect: Notify) -> None:
        told = self.reword(effect)
        if told is not None:
            log_notice(self._log, told)
        self._signal()

    async def changed(self) -> None:
        """Wait until the engine reports something: data, progress of a member, a member come or gone."""
        await self._changed.wait()

    def _signal(self) -> None:
        if self._changed.statistics().tasks_waiting:
            self._changed.set()
            self._changed = trio.Event()

    # ---- time

    @enable_ki_protection
    async def _tick_loop(self) -> None:
        while True:
            with trio.CancelScope(deadline=self._engine.deadline()) as self._sleep:
                await trio.sleep_forever()
            now = trio.current_time()
            if now >= self._engine.deadline():
                self.do(self._engine.tick(now))

    def _set_alarm(self) -> None:
        """Let the engine be called when it wants to be by now: an idle node must not wake up for nothing."""
        deadline = self._engine.deadline()
        if deadline != self._sleep.deadline:
            self._sleep.deadline = deadline

    # ---- datagrams

    @enable_ki_protection
    async def _receive_loop(self) -> None:
        while True:
            await self._transport.receivable()
            await self._room_to_take_in()
            until = trio.current_time() + DRAIN_SECONDS
            for _ in range(DRAIN_DATAGRAMS):
                try:
                    data, address = self._transport.receive()
                except BlockingIOError:
                    break
                except OSError:  # an ICMP error of an earlier send, on systems that report it here
                    continue
                now = trio.current_time()
                if not self._faults.separates(address):
                    self.do(self._engine.receive(now, address, data))
                if trio.current_time() > until:
                    break

    async def _room_to_take_in(self) -> None:
        """Wait while the disk is far behind: the system buffers little for us, and what it drops is sent again."""
        if self._saver is not None:
            await self._saver.room()

    def _do_send(self, effect: Send) -> None:
        address, data = effect.address, effect.data
        if self._faults.drops(address):
            return
        if self._unsent:
            self._unsent.append((data, address))
            return
        try:
            self._transport.send(data, address)
        except BlockingIOError:
            self._unsent.append((data, address))
            self._unsent_wake.set()
        except OSError as error:
            self._on_refused(address, error)

    @enable_ki_protection
    async def _send_loop(self) -> None:
        """Sends what did not fit the socket's buffer."""
        while True:
            await self._unsent_wake.wait()
            self._unsent_wake = trio.Event()
            while self._unsent:
                await self._transport.sendable()
                while self._unsent:
                    data, address = self._unsent[0]
                    try:
                        self._transport.send(data, address)
                    except BlockingIOError:
                        break
                    except OSError as error:
                        self._on_refused(address, error)
                    self._unsent.popleft()

    def _on_refused(self, address: Address, error: OSError) -> None:
        """No route, a full queue, a firewall: as good as lost on the way. Digests find what is missing."""
        self._log.warning(DATAGRAM_REFUSED, address=str(address), error=str(error))

    # ---- streams

    @enable_ki_protection
    async def _accept(self, stream: HalfCloseableStream, address: Address) -> None:
        await self._serve_stream(self._engine.next_conn(), stream, address)

    @enable_ki_protection
    async def _connect(self, conn: int, address: Address) -> None:
        stream: HalfCloseableStream | None = None
        if not self._faults.separates(address):
            with trio.move_on_after(CONNECT_TIMEOUT):
                with suppress(OSError):
                    stream = await self._transport.connect(address)
        if stream is None:
            self.do(self._engine.stream_closed(trio.current_time(), conn))
        else:
            await self._serve_stream(conn, stream, address)

    async def _serve_stream(self, conn: int, stream: HalfCloseableStream, address: Address) -> None:
        link = self._links[conn] = _Link(address)
        try:
            async with stream, trio.open_nursery() as nursery:
                nursery.start_soon(self._write_loop, conn, link, stream)
                self.do(self._engine.stream_opened(trio.current_time(), conn, address))
                await self._read_loop(conn, link, stream)
                nursery.cancel_scope.cancel()
        finally:
            del self._links[conn]
            self.do(self._engine.stream_closed(trio.current_time(), conn))

    async def _read_loop(self, conn: int, link: _Link, stream: HalfCloseableStream) -> None:
        with link.scope:
            while True:
                await self._room_to_take_in()
                try:
                    data = await stream.receive_some(READ_BYTES)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    return
                if not data or self._faults.separates(link.address):
                    return
                if not link.closing:
                    self.do(self._engine.stream_received(trio.current_time(), conn, bytes(data)))

    @enable_ki_protection
    async def _write_loop(self, conn: int, link: _Link, stream: HalfCloseableStream) -> None:
        try:
            while True:
                while link.pending:
                    if self._faults.separates(link.address):
                        link.scope.cancel()
                        return
                    await stream.send_all(link.pending.popleft())
                    if not link.closing:
                        self.do(self._engine.stream_writable(trio.current_time(), conn))
                if link.closing:
                    await stream.send_eof()
                    return
                await link.wake.wait()
                link.wake = trio.Event()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            link.scope.cancel()
