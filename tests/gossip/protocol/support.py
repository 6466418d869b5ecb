"""Engines under test: `Rig` drives one by hand, `Puppet` is a key holder that says whatever a test wants."""

import random
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, TypeVar

from crdts import Event, Replica
from crdts.kernel import Kernel
from gossip.protocol import Address, Config, Effect, Engine, Identity, Notify, Persist, Send, Write, seal_for
from gossip.protocol.dissemination.split_tree import SplitTree
from gossip.protocol.dissemination.strategy import MakeDissemination
from gossip.protocol.profile import Profile
from gossip.protocol.sync.session import LENGTH_BYTES
from gossip.protocol.wire.codec import decode_datagram, decode_frame, encode_datagram, encode_frame
from gossip.protocol.wire.messages import Ack, Challenge, Frame, Hello, Message, Ping, Proof, Update, Updates, Welcome
from gossip.protocol.wire.seal import GREETING_BYTES, SALT_BYTES, FrameSeal
from simulations import Node

M = TypeVar("M")

KEY = b"the cluster key of these tests.."
OTHER_KEY = b"the key of some other cluster..."
ME = Address("10.1.0.1", 4747)


class Rig:
    """One engine, its replica and a clock that moves when told to. The disk is instant unless it is slow."""

    def __init__(
        self,
        *,
        seed: int = 1,
        name: str = "me",
        epoch: int = 1,
        config: Config | None = None,
        key: bytes | None = KEY,
        log_limit: int = 65_536,
        slow_disk: bool = False,
        profile: Profile | None = None,
        lives: tuple[str, ...] | None = None,
        borrows: bool = False,
        dissemination: MakeDissemination = SplitTree,
    ) -> None:
        """``lives``: the epochs of its earlier lives, as text, if it knows them."""
        rng = random.Random(seed)
        self.now = 0.0
        self.identity = Identity(random.Random(f"{seed} {name}").randbytes(8), name, epoch)
        self.replica = Replica(self.identity.replica_id, log_limit=log_limit)
        self.engine = Engine(
            self.identity,
            config or Config.lan(),
            rng,
            self.replica,
            seal_for(key),
            self.now,
            profile,
            lives=None if lives is None else [f"{self.identity.node_id.hex()}.{life}" for life in lives],
            borrows=borrows,
            dissemination=dissemination,
        )
        self.replica.on_write(self._wrote)
        self.slow_disk = slow_disk

    def _wrote(self, events: tuple[Event, ...]) -> None:
        self.engine.wrote(self.now, events)

    @property
    def kernel(self) -> Kernel:
        return self.replica.store.kernel

    def done(self, effects: Iterable[Effect]) -> list[Effect]:
        """The effects, and those that follow from an instant disk."""
        found: list[Effect] = []
        for effect in effects:
            found.append(effect)
            if isinstance(effect, Persist) and not self.slow_disk:
                found += self.done(self.engine.persisted(self.now, effect.token))
        return found

    def receive(self, source: Address, datagram: bytes) -> list[Effect]:
        return self.done(self.engine.receive(self.now, source, datagram))

    def tick(self) -> list[Effect]:
        """Let time pass until the engine wants to be called, and call it."""
        self.now = max(self.now, self.engine.deadline())
        return self.done(self.engine.tick(self.now))

    def pass_time(self, seconds: float) -> list[Effect]:
        """Let time pass, with every tick the engine wants."""
        end = self.now + seconds
        effects: list[Effect] = []
        while self.engine.deadline() <= end:
            effects += self.tick()
        self.now = end
        return effects

    def seed(self, *addresses: Address) -> list[Effect]:
        return self.done(self.engine.set_seeds(self.now, list(addresses)))

    @property
    def rejected(self) -> dict[str, int]:
        """Refused input by reason."""
        return dict(self.engine.statistics().rejected)

    def states(self) -> dict[str, str]:
        """Member states by name."""
        return {member.name: member.state for member in self.engine.members(self.now)}


class Puppet:
    """A node without an engine."""

    def __init__(
        self, name: str = "puppet", *, host: str = "10.2.0.1", epoch: int = 1, key: bytes | None = KEY, node: str = ""
    ) -> None:
        self.node_id = random.Random(f"puppet {node or name}").randbytes(8)
        self.name, self.epoch = name, epoch
        self.address = Address(host, 4747)
        self.rng = random.Random(f"puppet {name} {host} {epoch}")
        self.seal = seal_for(key)
        self.cookie = self.rng.randbytes(8)

    def says(self, *messages: Message) -> bytes:
        """One datagram."""
        return self.seals(encode_datagram(self.node_id, self.epoch, list(messages)))

    def seals(self, content: bytes) -> bytes:
        return self.seal.seal(content, self.rng)

    def hello(self, size: int = 256) -> bytes:
        short = len(self.says(Hello(self.name, self.epoch, 0, self.cookie)))
        return self.says(Hello(self.name, self.epoch, 0, self.cookie, bytes(max(0, size - short - 1))))

    def opens(self, datagram: bytes) -> list[Message]:
        return decode_datagram(self.seal.open(datagram))[2]

    def hears(self, effects: Iterable[Effect]) -> list[Message]:
        """Everything in the datagrams among ``effects`` that go to its address."""
        return [m for e in effects if isinstance(e, Send) and e.address == self.address for m in self.opens(e.data)]

    def meets(self, rig: Rig) -> list[Message]:
        """Become a member in good order; return what it was told on that occasion."""
        told = self.hears(rig.receive(self.address, self.hello()))
        welcome = only(Welcome, told)
        assert welcome.echo == self.cookie
        return self.hears(rig.receive(self.address, self.says(Proof(welcome.cookie))))

    def row(
        self,
        state: str = "alive",
        counter: int = 0,
        *,
        epoch: int = 0,
        address: Address | None = None,
        version: str = "",
        tags: tuple[tuple[str, str], ...] = (),
    ) -> Update:
        """What others would say of it."""
        return Update(self.node_id, state, epoch or self.epoch, counter, address or self.address, version, tags)

    def tells(self, rig: Rig, *rows: Update) -> list[Effect]:
        """Say these updates."""
        return rig.receive(self.address, self.says(Updates(rows)))

    def own_row(self, state: str = "alive", counter: int = 0, **fields: Any) -> Update:
        """What it says of itself."""
        return replace(self.row(state, counter), address=None, **fields)

    def leaves(self, rig: Rig, counter: int = 0) -> list[Effect]:
        return self.tells(rig, self.own_row("left", counter))

    def acks(self, rig: Rig, messages: Iterable[Message]) -> list[Effect]:
        """Answer every ping among ``messages``."""
        numbers = [message.number for message in messages if isinstance(message, Ping)]
        return [e for number in numbers for e in rig.receive(self.address, self.says(Ack(number)))]

    def answers(self, rig: Rig, messages: Iterable[Message]) -> list[Effect]:
        """Prove its address to every challenge among ``messages``."""
        found: list[Effect] = []
        for message in messages:
            if isinstance(message, Challenge):
                found += rig.receive(self.address, self.says(Proof(message.cookie)))
        return found


def met(rig: Rig, name: str = "puppet") -> Puppet:
    """A new member, at a host of its own. It has not said which replica id it writes under."""
    puppet = Puppet(name, host=f"10.2.1.{1 + len(rig.states())}")
    puppet.meets(rig)
    return puppet


def told(rig: Rig, puppet: Puppet, *messages: Message) -> list[Message]:
    """What a member is told at once when it says these messages in one datagram."""
    return puppet.hears(rig.receive(puppet.address, puppet.says(*messages)))


def pass_time_with(rig: Rig, seconds: float, *living: Puppet) -> list[Effect]:
    """Let time pass while these puppets answer every ping at once."""
    end = rig.now + seconds
    effects: list[Effect] = []
    while rig.engine.deadline() <= end:
        found = rig.tick()
        while found:
            effects += found
            found = [effect for puppet in living for effect in puppet.acks(rig, puppet.hears(found))]
    rig.now = end
    return effects


class HandStream:
    """One end of a stream, by hand; the other end is an engine."""

    def __init__(self, puppet: Puppet, *, opens: bool = True) -> None:
        self._seal = puppet.seal
        self._salt = puppet.rng.randbytes(SALT_BYTES)
        self._opens = opens
        self._buffer = b""
        self.frames: FrameSeal | None = None
        self.heard: list[Frame] = []

    def greeting(self) -> bytes:
        return self._seal.greeting(self._salt)

    def take(self, data: bytes) -> list[Frame]:
        """What ``data`` completes."""
        self._buffer += data
        if self.frames is None:
            assert len(self._buffer) >= GREETING_BYTES
            greeting, self._buffer = self._buffer[:GREETING_BYTES], self._buffer[GREETING_BYTES:]
            self.frames = self._seal.frames(greeting, self._salt, opened_by_us=self._opens)
        found = []
        while len(self._buffer) >= LENGTH_BYTES:
            end = LENGTH_BYTES + int.from_bytes(self._buffer[:LENGTH_BYTES], "big")
            if len(self._buffer) < end:
                break
            sealed, self._buffer = self._buffer[LENGTH_BYTES:end], self._buffer[end:]
            frame = decode_frame(self.frames.open(sealed))
            assert frame is not None
            found.append(frame)
        self.heard += found
        return found

    def writes(self, *frames: Frame) -> bytes:
        return b"".join(self.seals(encode_frame(frame)) for frame in frames)

    def seals(self, content: bytes) -> bytes:
        assert self.frames is not None
        sealed = self.frames.seal(content)
        return len(sealed).to_bytes(LENGTH_BYTES, "big") + sealed


def connect(rig: Rig, puppet: Puppet) -> tuple[int, HandStream]:
    """A stream from the puppet, accepted and greeted."""
    conn = rig.engine.next_conn()
    stream = HandStream(puppet)
    pump(rig, conn, stream, rig.done(rig.engine.stream_opened(rig.now, conn, puppet.address)))
    pump(rig, conn, stream, rig.done(rig.engine.stream_received(rig.now, conn, stream.greeting())))
    return conn, stream


def say(rig: Rig, conn: int, stream: HandStream, *frames: Frame) -> list[Effect]:
    """Send frames to the engine; return all that follows, with everything it wants to write taken."""
    return pump(rig, conn, stream, rig.done(rig.engine.stream_received(rig.now, conn, stream.writes(*frames))))


def pump(rig: Rig, conn: int, stream: HandStream, effects: list[Effect]) -> list[Effect]:
    """Take what the engine writes, and tell it that there is room for more, until it has no more."""
    found, pending = list(effects), list(effects)
    while pending:
        effect = pending.pop(0)
        if isinstance(effect, Write) and effect.conn == conn:
            stream.take(effect.data)
            more = rig.done(rig.engine.stream_writable(rig.now, conn))
            found += more
            pending += more
    return found


def only(kind: type[M], messages: Iterable[object]) -> M:
    """The one message of that type."""
    found = [message for message in messages if isinstance(message, kind)]
    assert len(found) == 1, f"one {kind.__name__} expected, not {len(found)}"
    return found[0]


def notices(effects: Iterable[Effect]) -> list[str]:
    return [effect.event for effect in effects if isinstance(effect, Notify)]


def of_type(kind: type[M], items: Iterable[object]) -> list[M]:
    return [item for item in items if isinstance(item, kind)]


def sends(effects: Iterable[Effect]) -> list[Send]:
    return of_type(Send, effects)


def names(node: Node, state: str = "alive") -> set[str]:
    """The members that ``node`` believes to be in ``state``."""
    return {m.name for m in node.engine.members(0) if m.state == state}


def acquainted(count: int, *, config: Config | None = None) -> tuple[Rig, list[Puppet]]:
    rig = Rig(config=config)
    puppets = [Puppet(f"p{i}", host=f"10.2.0.{i + 1}") for i in range(count)]
    rig.engine.acquaint(rig.now, [(Identity(p.node_id, p.name, p.epoch), p.address) for p in puppets])
    return rig, puppets
