"""One simulated node: an engine, its replica, and a driver that carries out effects on virtual hardware."""

import random
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from crdts import Delta, Event, HybridClock, Replica
from gossip.protocol import (
    Address,
    Close,
    Effect,
    Engine,
    Identity,
    Notify,
    OpenStream,
    Persist,
    Remember,
    Rename,
    Send,
    Write,
)
from gossip.protocol.errors import LocalError
from gossip.storage.hints import decode_hints, encode_hints

from ..errors import SimulationError
from .clock import SkewedClock
from .disk import KEPT, TAILS, Disk
from .saver import Moment, Saver
from .tables import IdentityRow
from .world import World

SOCKET_DATAGRAMS: Final = 4096
"""Datagrams that wait for a paused node at most; what comes beyond that is lost, as in a socket's buffer."""
NOTICES: Final = 10_000
"""Notices of a node that are kept at most; the oldest go first."""
BEQUEST_WAIT: Final = 0.1
"""Seconds from the offer of a writer id until the node leaves."""


class Node:
    """One life of one node."""

    def __init__(self, world: World, index: int, disk: Disk, *, who: int, clock: SkewedClock, step: int = 1) -> None:
        """``index`` gives it its address; ``who`` its identity, which a cloned disk shares with another node; ``step``
        is by how much its epoch grows.
        """
        self._world = world
        self._queue = world.queue
        self.index = index
        self.who = who
        self.address = world.addresses[index]
        self.disk = disk
        self.clock = clock
        epoch = disk.owner.epoch + step
        renamed = f" as {who}" if who < 0 else ""  # its epochs begin anew, and must not draw what others have drawn
        rng = random.Random(f"{world.seed} node {index} epoch {epoch}{renamed}")
        identity = Identity(world.node_id(who), disk.owner.name or f"n{who}", epoch, self._nonce(epoch))
        self.lives = [identity.replica_id]
        """Ids that this process has written under, the present one last."""
        self.replica = Replica(identity.replica_id, log_limit=world.log_limit, clock=HybridClock(clock))
        disk.read_into(self.replica)
        self.saver = Saver(self, disk, self.replica.store.kernel, world.queue) if disk.survives else None
        """Without one there is only memory: what is applied is as durable as it gets."""
        lives, ended = tuple(disk.owner.lives), tuple(disk.owner.ended)
        self.engine = Engine(
            identity,
            world.config,
            rng,
            self.replica,
            world.seal,
            self._queue.now,
            lives=lives,
            ended=ended,
            hints=decode_hints(disk.tables.hints, world.seal.key_id),
            borrows=not disk.survives,
        )
        disk.begin_life(who, identity.name, epoch, identity.replica_id)
        self.replica.on_write(self._wrote)
        self.replica.store.guard_writes(self._check_disk)
        self.replica.on_merge(self._merged)
        self.notices: deque[Notify] = deque(maxlen=NOTICES)
        self.hearing: Address | None = None
        """Whose datagram is being taken in, as far as the datagram says."""
        self._inbox: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._unread: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        """What others have sent while the disk was too far behind to take in more."""
        self._wake_at = float("inf")
        self.gone = False
        """True if the node was stopped for good."""
        self.lost_power = False
        """True if the node stopped because the power failed."""
        self._up = True
        self._paused = False
        world.network.attach(self)
        world.tell("started", self)
        self._schedule()

    def __repr__(self) -> str:
        state = "stopped" if not self._up else "paused" if self._paused else "running"
        return f"<Node {self.name} at {self.address}, epoch {self.engine.identity.epoch}, {state}>"

    def _nonce(self, epoch: int) -> str:
        """Of this life, but for the first: two that go on from one copied disk write under two ids."""
        return Identity.draw_nonce(self._world.nonces) if epoch > 1 else ""

    @property
    def name(self) -> str:
        return self.engine.identity.name

    @property
    def up(self) -> bool:
        """True if the node has not stopped."""
        return self._up

    @property
    def paused(self) -> bool:
        return self._paused

    @property
    def now(self) -> float:
        """Virtual seconds since the start."""
        return self._queue.now

    @property
    def unsaved(self) -> int:
        """Batches that wait for the disk."""
        return len(self.saver.backlog) if self.saver is not None else 0

    @property
    def holds_off(self) -> bool:
        """True if the node leaves unread what others send, as too much waits for its disk."""
        return bool(self._unread)

    @property
    def unread(self) -> int:
        """Datagrams and pieces of streams that it has left unread for that reason."""
        return len(self._unread)

    def index_heard(self) -> int:
        """The node whose datagram is being taken in; -1 if it is none, or nobody's."""
        host = self._world.network.hosts.get(self.hearing) if self.hearing else None
        return host.index if host is not None else -1

    # ---- what happens to it

    def join(self, seeds: list[Address]) -> None:
        """Look for the cluster at these addresses, for ever."""
        self._do(self.engine.set_seeds(self._queue.now, seeds))

    def leave(self, *, for_good: bool = True) -> None:
        """Take leave of the others, and stop; a paused one cannot speak, and goes without a word."""
        if not self._paused:
            keeps_nothing = not self.disk.survives
            has_written = self.replica.store.kernel.context.last(self.replica.replica_id)
            if keeps_nothing and has_written and not self.engine.has_heir:
                with suppress(LocalError):
                    self.replica.retire(self.replica.replica_id)
            self.settle()
            if self.saver is not None:
                self.saver.finish()
            self.disk.sync()
            self._do(self.engine.leave(keeps_nothing=keeps_nothing))
        self.gone = for_good
        self.stop()

    def depart(self, *, for_good: bool = True) -> None:
        """End in good order, as a process does: a node that keeps nothing hands its writer id on, and leaves then."""
        if not self.up or self._paused or self.disk.survives:
            self.leave(for_good=for_good)
            return
        self._do(self.engine.bequeath(self._queue.now))
        self._queue.at(self._queue.now + BEQUEST_WAIT, self._leave_as_told, for_good)

    def _leave_as_told(self, for_good: bool) -> None:
        if self.up:
            self.leave(for_good=for_good)

    def retire(self, who: int) -> None:
        """Say that a node is gone for good; raises as a mutation does."""
        self._do(self.engine.retire(self._queue.now, self._world.node_id(who)))

    def vanish(self) -> None:
        """Stop for good, without a word."""
        was_away, self.gone = not (self._up or self.gone), True
        self.stop()
        if was_away:
            self._world.tell("lost", self)

    def stop(self, tail: str = KEPT, *, power: bool = False) -> None:
        """Stop without a word; ``tail`` is what is left on the disk of what it was not done with: ``lost``, ``torn``,
        ``kept`` or ``reordered``. Raises ValueError for another. ``power``: the machine stops, and not just the
        process, which counts where durability is normal.
        """
        if tail not in TAILS:
            raise ValueError(f"tail is one of {', '.join(TAILS)}, not {tail!r}")
        if not self._up:
            return
        self._up, self.lost_power = False, power
        self._world.network.detach(self)
        self._world.streams.detach(self)
        self.disk.crash(tail, self._world.rng, power=power)
        self._world.tell("stopped", self)

    def pause(self) -> None:
        """Do nothing at all, as an agent process that computes: its sockets fill up."""
        self._paused = True
        self._world.tell("paused", self)

    def resume(self) -> None:
        """Go on: first with what has come in meanwhile."""
        if not self._paused:
            return
        self._paused = False
        self._world.tell("resumed", self)
        while self._inbox and not self._paused:
            call, args = self._inbox.popleft()
            call(*args)
        if self._wake_at <= self._queue.now:
            self._wake(self._wake_at)

    # ---- the driver

    def _check_disk(self) -> None:
        """Refuse a mutation that could not be saved: memory and disk must not disagree."""
        if not self._up:
            raise SimulationError(f"{self.name} has stopped; nothing was written")
        self.engine.check_writable()
        if self.saver is not None:
            self.saver.backlog.check()

    def _wrote(self, events: tuple[Event, ...]) -> None:
        self._world.tell("wrote", self, events)
        self.engine.wrote(self._queue.now, events)
        self._schedule()

    def _merged(self, delta: Delta, new: list[Event]) -> None:
        self._world.tell("merged", self, delta, new)

    def _do(self, effects: list[Effect]) -> None:
        world = self._world
        for effect in effects:
            match effect:
                case Send():
                    world.network.send(self.address, effect.address, effect.data)
                case Persist():
                    self._save(effect)
                case Rename():
                    self._rename(effect.identity)
                case Remember():
                    if self.saver is not None:
                        self.saver.remember(encode_hints(effect.hints, effect.key_id))
                case Notify():
                    self.notices.append(effect)
                    world.tell("noticed", self, effect)
                case _:
                    self._do_with_stream(effect)
        if self.engine.retired:
            self.vanish()  # as whoever runs it would stop it
        if self.saver is not None:
            self.saver.start()
        self._schedule()

    def _do_with_stream(self, effect: Effect) -> None:
        streams = self._world.streams
        match effect:
            case OpenStream():
                streams.open(self, effect.conn, effect.address)
            case Write():
                streams.write(self.address, effect.conn, effect.data)
            case Close():
                streams.close(self.address, effect.conn)

    def _save(self, batch: Persist) -> None:
        if self.saver is None:
            self.saved(batch.token, Moment.of(self.replica.store.kernel))
        else:
            self.saver.put(batch)

    def _rename(self, identity: Identity) -> None:
        """It goes on as another; the disk has that before anything that it writes as such."""
        if identity.node_id != self._world.node_id(self.who):
            self.who = self._world.rename(identity.node_id)
        self.lives.append(identity.replica_id)
        row = IdentityRow(self.who, identity.name, identity.epoch, identity.replica_id)
        if self.saver is None:
            self.disk.tables.apply([row])
        else:
            self.saver.rename(row)

    def settle(self) -> None:
        """Hand everything to the disk that the replica holds by now."""
        self._do(self.engine.flush(self._queue.now))

    def saved(self, token: int, moment: Moment) -> None:
        """Everything up to that token is durable."""
        self._world.tell("saved", self, moment.context)
        self._do(self.engine.persisted(self._queue.now, token))

    def _schedule(self) -> None:
        due = self.engine.deadline()
        if due < self._wake_at:
            self._wake_at = due
            self._queue.at(due, self._wake, due)

    def wake_anew(self) -> None:
        """Have its timer set, as whoever had it set was another."""
        self._wake_at = float("inf")
        self._schedule()

    def _wake(self, due: float) -> None:
        if self._up and not self._paused and due == self._wake_at:
            self._wake_at = float("inf")
            self._do(self.engine.tick(self._queue.now))

    def later(self, call: Callable[..., None], *args: Any) -> bool:
        """True if the node cannot take this in: it is gone, or paused, and then it takes it in when it goes on."""
        if self._up and self._paused:
            self._inbox.append((call, args))
        return not self._up or self._paused

    def _hear(self, call: Callable[..., None], *args: Any) -> None:
        """Take in what others have sent, or leave it where it is while the disk is far behind: in order."""
        if self.later(self._hear, call, *args):
            return
        if not self._unread and not self._is_far_behind():
            call(*args)
            return
        if not self._unread:
            self._world.tell("held_off", self)
        self._unread.append((call, args))

    def _is_far_behind(self) -> bool:
        return self.saver is not None and self.saver.backlog.is_long

    def room(self) -> None:
        """Read on, at once but not within what is under way."""
        if self._unread:
            self._queue.at(self._queue.now, self._read_on)

    def _read_on(self) -> None:
        if not self._unread or self.later(self._read_on):
            return
        while self._unread and self._up and not self._is_far_behind():
            call, args = self._unread[0]
            call(*args)
            self._unread.popleft()
        if not self._unread and self._up:
            self._world.tell("took_in", self)

    def on_datagram(self, source: Address, data: bytes) -> None:
        if max(len(self._inbox), len(self._unread)) < SOCKET_DATAGRAMS or not (self._paused or self._unread):
            self._hear(self._take_datagram, source, data)

    def _take_datagram(self, source: Address, data: bytes) -> None:
        self.hearing = source
        self._do(self.engine.receive(self._queue.now, source, data))
        self.hearing = None

    def accept(self) -> int:
        return self.engine.next_conn()

    def on_stream_open(self, conn: int, source: Address) -> None:
        if not self.later(self.on_stream_open, conn, source):
            self._do(self.engine.stream_opened(self._queue.now, conn, source))

    def on_stream_data(self, conn: int, data: bytes) -> None:
        self._hear(self._take_stream_data, conn, data)

    def _take_stream_data(self, conn: int, data: bytes) -> None:
        self._do(self.engine.stream_received(self._queue.now, conn, data))

    def on_stream_writable(self, conn: int) -> None:
        if not self.later(self.on_stream_writable, conn):
            self._do(self.engine.stream_writable(self._queue.now, conn))

    def on_stream_closed(self, conn: int) -> None:
        self._hear(self._take_end_of_stream, conn)

    def _take_end_of_stream(self, conn: int) -> None:
        self._do(self.engine.stream_closed(self._queue.now, conn))
