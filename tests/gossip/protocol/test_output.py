"""No dot leaves before the disk has it: what leaves is opened and compared with what the disk has by then."""

import random
from collections import Counter, deque
from hashlib import blake2b

import pytest

from crdts import Context, Delta, Event, Replica, encode_context
from gossip.protocol import Close, Config, Effect, Notify, OpenStream, Persist, Send, Write
from gossip.protocol.output import RARELY
from gossip.protocol.wire.codec import HASH_BYTES
from gossip.protocol.wire.messages import (
    Ack,
    Ask,
    Busy,
    Challenge,
    Chunk,
    ContextPage,
    Digest,
    Done,
    Frame,
    HeadPart,
    Hello,
    Introduce,
    ListMembers,
    Message,
    Nack,
    Offer,
    Ping,
    PingRequest,
    Proof,
    Push,
    Receipt,
    Relay,
    Report,
    Roll,
    Same,
    Shuffle,
    StateEnd,
    StatePart,
    Updates,
    Welcome,
    WholeContext,
)

from .support import HandStream, Puppet, Rig, notices, of_type


class Disk:
    """What is durable, and what is on its way: a replica that only hears of what was persisted."""

    def __init__(self) -> None:
        self.content = Replica("disk")
        self.pending: deque[Persist] = deque()
        self.marks = [self._mark()]

    def take(self, effect: Persist) -> None:
        assert not self.pending or effect.token > self.pending[-1].token
        self.pending.append(effect)

    def write_one(self) -> int:
        effect = self.pending.popleft()
        kernel = self.content.store.kernel
        for event in effect.events:
            kernel.apply(event)
        for state in effect.states:
            kernel.join(state)
        self.marks.append(self._mark())
        return effect.token

    def _mark(self) -> tuple[bytes, int]:
        context = encode_context(self.content.context)
        return blake2b(context, digest_size=HASH_BYTES).digest(), self.content.fingerprint


class Watch:
    """Judges everything that leaves an engine by what the disk has at that moment."""

    def __init__(self, rig: Rig, puppet: Puppet) -> None:
        self.rig, self.puppet, self.disk = rig, puppet, Disk()
        self.streams: dict[int, HandStream] = {}
        self.state: list[Event] = []
        self.judged: Counter[str] = Counter()
        self.opened: list[int] = []
        self.room: list[int] = []

    def see(self, effects: list[Effect]) -> list[Message]:
        told: list[Message] = []
        for effect in effects:
            match effect:
                case Persist():
                    self.disk.take(effect)
                case Send():
                    for message in self.puppet.opens(effect.data):
                        self._judge_message(message)
                        told.append(message)
                case Write():
                    for frame in self.streams[effect.conn].take(effect.data):
                        self._judge_frame(frame)
                    self.room.append(effect.conn)
                case OpenStream():
                    self.opened.append(effect.conn)
                    self.streams[effect.conn] = HandStream(self.puppet, opens=False)
                case Close():
                    self.streams.pop(effect.conn, None)
                case Notify():
                    pass
        return told

    def _count(self, what: object) -> None:
        self.judged[type(what).__name__] += 1

    def _judge_message(self, message: Message) -> None:
        self._count(message)
        match message:
            case Push(delta) | Relay(delta):
                self._judge_events(delta)
            case Receipt():
                assert message.saved <= self.disk.content.context.prefix(f"{self.puppet.node_id.hex()}.1")
            case Digest(context_hash, fingerprint):
                assert (context_hash, fingerprint) in self.disk.marks
            case Same(context_hash):
                assert context_hash in [mark for mark, _ in self.disk.marks]
            case ContextPage() | Report():
                assert self.disk.content.context.covers(message.context)
            case Offer() | Busy() | Hello() | Welcome() | Challenge() | Proof() | Ask():
                pass
            case Updates() | Roll() | ListMembers() | Ping() | PingRequest() | Ack() | Nack() | Shuffle():
                pass  # they tell of members, and of nothing that was written
            case _:
                raise AssertionError(f"not judged: {message}")

    def _judge_frame(self, frame: Frame) -> None:
        self._count(frame)
        match frame:
            case Chunk(delta):
                self._judge_events(delta)
            case WholeContext(context):
                assert self.disk.content.context.covers(context)
            case StatePart(delta):
                self.state += delta.events
            case StateEnd(delta):
                assert delta.context is not None
                assert self.disk.content.context.covers(delta.context)
                told = {event.dot for event in self.state}
                assert not [dot for dot in self._live() if dot in delta.context and dot not in told]
                self.state = []
            case HeadPart(delta):
                assert self.disk.content.context.covers(delta.context or Context())
            case Introduce() | Done():
                pass

    def _judge_events(self, delta: Delta) -> None:
        context, live = self.disk.content.context, self._live()
        dots = [(event.replica, event.seq, event.seq + 1) for event in delta.events]
        assert context.covers(Context.of([*delta.runs, *dots]))
        for event in delta.events:
            assert event.payload is not None or event.dot not in live
        assert not [dot for dot in live if dot in Context.of(delta.runs)], "a filler tells that an entry is gone"

    def _live(self) -> set[tuple[str, int]]:
        return {(replica, seq) for replica, seqs in self.disk.content.store.kernel.live.items() for seq in seqs}


class Life:
    """Random things that happen to one engine with a slow disk, in the company of one puppet."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        config = Config(stream_chunk_bytes=300, push_buffer_bytes=2_000, catchup_datagrams=2, stream_timeout=1.0)
        log_limit = self.rng.choice([10, 65_536])
        self.rig = Rig(seed=seed, config=config, slow_disk=True, log_limit=log_limit)
        self.puppet = Puppet()
        self.theirs = Replica(f"{self.puppet.node_id.hex()}.1")
        self.number = 0
        self.watch = Watch(self.rig, self.puppet)
        self.tell(self.puppet.hello())
        self.tell(self.puppet.says(Proof(self.cookie)))

    def tell(self, datagram: bytes) -> None:
        told = self.watch.see(self.rig.receive(self.puppet.address, datagram))
        for welcome in of_type(Welcome, told):
            self.cookie = welcome.cookie

    def write(self) -> None:
        rng, replica = self.rng, self.rig.replica
        for _ in range(rng.choice([1, 1, 5, 40])):
            element = rng.randrange(60)
            if rng.random() < 0.6:
                replica.orset("s").add(element)
            elif rng.random() < 0.5:
                replica.orset("s").remove(element)
            else:
                replica.lwwmap("m").set(str(element % 5), "x" * rng.choice([1, 1500]))

    def speak(self) -> None:
        rng = self.rng
        me, last = self.rig.replica.replica_id, self.rig.replica.context.last(self.rig.replica.replica_id)
        known, nearly_all = Context({me: rng.randrange(1, 200)}), Context({me: max(1, last - 2)})
        kinds: list[Message] = [
            Digest(rng.choice(self.watch.disk.marks)[0], 0),
            Digest(self.watch.disk.marks[-1][0], 0),
            Digest(bytes(8), 0),
            ContextPage("", "", rng.choice([known, nearly_all, self.rig.replica.context]), True),
            Push(self.theirs.orset("s").add(rng.randrange(60)), 2, 0),
            self._relay(),
            Offer(),
        ]
        self.tell(self.puppet.says(rng.choice(kinds)))

    def _relay(self) -> Relay:
        self.number += 1
        return Relay(self.theirs.orset("s").add(self.rng.randrange(60)), self.number, None)

    def stream(self) -> None:
        rig, watch, rng = self.rig, self.watch, self.rng
        if watch.opened and rng.random() < 0.7:
            conn = watch.opened.pop()
        else:
            conn = rig.engine.next_conn()
            watch.streams[conn] = HandStream(self.puppet)
        watch.see(rig.done(rig.engine.stream_opened(rig.now, conn, self.puppet.address)))
        hand = watch.streams.get(conn)
        if hand is None:
            return
        watch.see(rig.done(rig.engine.stream_received(rig.now, conn, hand.greeting())))
        for _ in range(30):
            self.settle()
        if hand.frames is None or conn not in watch.streams:
            return
        frames: list[Frame] = [
            Introduce(self.puppet.node_id, self.puppet.name, 1, rng.random() < 0.3),
            WholeContext(Context({rig.replica.replica_id: rng.choice([0, 0, 30])})),
            Chunk(self.theirs.orset("s").add(rng.randrange(60))),
        ]
        watch.see(rig.done(rig.engine.stream_received(rig.now, conn, hand.writes(*frames))))

    def settle(self) -> None:
        rig, watch, rng = self.rig, self.watch, self.rng
        if watch.room and rng.random() < 0.8:
            watch.see(rig.done(rig.engine.stream_writable(rig.now, watch.room.pop(0))))
        if watch.disk.pending and rng.random() < 0.5:
            watch.see(rig.engine.persisted(rig.now, watch.disk.write_one()))
        if rng.random() < 0.3:
            self.answer(watch.see(rig.tick()))

    def answer(self, told: list[Message]) -> None:
        for ping in of_type(Ping, told):
            self.tell(self.puppet.says(Ack(ping.number)))

    def wait(self) -> None:
        """So that streams that do not move are given up."""
        for _ in range(self.rng.choice([1, 10])):
            self.answer(self.watch.see(self.rig.pass_time(0.3)))


def test_nothing_that_tells_of_a_dot_leaves_before_the_disk_has_it() -> None:
    judged: Counter[str] = Counter()
    for seed in range(40):
        life = Life(seed)
        for _ in range(250):
            life.rng.choice([life.write, life.write, life.speak, life.speak, life.stream, life.settle, life.wait])()
            for _ in range(3):
                life.settle()
        judged += life.watch.judged
    kinds = (Relay, Receipt, Digest, Same, ContextPage, Offer, Chunk, WholeContext, StatePart, StateEnd)
    assert min(judged[kind.__name__] for kind in kinds) > 10, judged
    assert judged["Push"], judged


def test_the_watch_of_the_test_above_does_bark() -> None:
    rig, puppet = Rig(slow_disk=True), Puppet()
    watch = Watch(rig, puppet)
    (welcome,) = of_type(Welcome, watch.see(rig.receive(puppet.address, puppet.hello())))
    watch.see(rig.receive(puppet.address, puppet.says(Proof(welcome.cookie))))
    rig.replica.orset("s").add(1)
    with pytest.raises(AssertionError):
        watch._judge_events(rig.replica.delta_since(Context()))
    with pytest.raises(AssertionError):
        watch._judge_frame(WholeContext(rig.replica.context))
    with pytest.raises(AssertionError):
        watch._judge_message(Same(b"unknown."))


@pytest.mark.parametrize("what", ["a write", "a push received"])
def test_before_the_disk_has_it_nothing_is_said_and_afterwards_everything(what: str) -> None:
    rig, puppet, other = Rig(slow_disk=True), Puppet(), Puppet("other", host="10.2.0.2")
    puppet.meets(rig)
    other.meets(rig)
    rig.pass_time(0.5)
    if what == "a write":
        rig.replica.orset("s").add(1)
        effects: list[Effect] = []
    else:
        effects = rig.receive(puppet.address, puppet.says(Push(Replica("w").orset("s").add(1), 3, 0)))
    effects += rig.pass_time(2.0)
    effects += rig.receive(puppet.address, puppet.says(Digest(bytes(8), 0)))
    said = [message for each in (puppet, other) for message in each.hears(effects)]
    assert not [message for message in said if isinstance(message, Push | Digest | Same | ContextPage)]
    token = of_type(Persist, effects)[-1].token
    released = rig.engine.persisted(rig.now, token)
    told = other.hears(released)
    assert of_type(Relay, told) or of_type(Push, told)
    assert of_type(Digest, [*puppet.hears(released), *other.hears(released)])


def test_what_is_known_already_is_not_handed_to_a_slow_disk_again() -> None:
    rig, puppet, writer = Rig(slow_disk=True), Puppet(), Replica("w")
    puppet.meets(rig)
    for n in range(3):
        writer.register("r").set(n)
    (dead,) = writer.deltas_since(Context(), 10_000)
    assert dead.runs
    push = puppet.says(Push(dead, 0, 0))
    effects = rig.receive(puppet.address, push) + rig.pass_time(0.1)
    assert [batch.runs for batch in of_type(Persist, effects)] == [dead.runs]
    assert of_type(Persist, rig.receive(puppet.address, push) + rig.pass_time(0.1)) == []


def test_handshakes_do_not_wait_for_the_disk() -> None:
    rig, puppet = Rig(slow_disk=True), Puppet()
    rig.replica.orset("s").add(1)
    rig.tick()
    assert of_type(Welcome, puppet.hears(rig.receive(puppet.address, puppet.hello())))


def test_what_waits_for_the_disk_is_bounded_and_what_is_dropped_is_counted() -> None:
    rig, puppet = Rig(slow_disk=True, config=Config(max_held=10)), Puppet()
    puppet.meets(rig)
    rig.replica.orset("s").add(1)
    effects = rig.tick()
    for _ in range(100):
        effects += rig.receive(puppet.address, puppet.says(Digest(bytes(8), 0)))
    token = of_type(Persist, effects)[-1].token
    released = rig.engine.persisted(rig.now, token)
    assert len(of_type(Send, released)) <= 10 + 1
    assert rig.engine.statistics().held_dropped >= 90


def test_tokens_grow_and_a_batch_holds_what_was_applied_in_order() -> None:
    rig, puppet = Rig(slow_disk=True), Puppet()
    for i in range(5):
        rig.replica.orset("s").add(i)
    (first,) = of_type(Persist, rig.tick())
    assert [event.seq for event in first.events] == [1, 2, 3, 4, 5]
    rig.receive(puppet.address, puppet.says(Push(Replica("w").orset("s").add(1), 3, 0)))
    rig.replica.orset("s").add(6)
    (second,) = of_type(Persist, rig.tick())
    assert [event.replica for event in second.events] == ["w", rig.replica.replica_id]
    assert second.token > first.token
    assert not rig.engine.durable
    rig.engine.persisted(rig.now, first.token)
    assert not rig.engine.durable
    rig.engine.persisted(rig.now, second.token)
    assert rig.engine.durable


def test_a_flush_hands_everything_to_the_disk_at_once() -> None:
    rig = Rig(slow_disk=True)
    rig.replica.orset("s").add(1)
    assert not rig.engine.durable
    (persist,) = of_type(Persist, rig.engine.flush(rig.now))
    assert [event.seq for event in persist.events] == [1]
    assert rig.engine.deadline() > rig.now or rig.engine.tick(rig.now) == []


def test_refusals_are_counted_each_and_told_once_a_minute_for_each_reason() -> None:
    rig, puppet = Rig(), Puppet()
    told = []
    for _ in range(121):
        told += notices(rig.receive(puppet.address, b"rubbish" * 9))
        told += notices(rig.receive(puppet.address, puppet.seals(b"rubbish")))
        rig.now += 1.0
    assert told == ["input.rejected"] * 2 * (1 + int(120 // RARELY))
    assert rig.engine.statistics().rejected == {"unknown_version": 121, "malformed": 121}


def test_statistics_are_a_snapshot() -> None:
    rig, puppet = Rig(), Puppet()
    before = rig.engine.statistics()
    rig.receive(puppet.address, puppet.hello())
    assert before.datagrams_received == 0
    after = rig.engine.statistics()
    assert (after.datagrams_received, after.datagrams_sent) == (1, 1)
    assert after.datagram_bytes_received == len(puppet.hello())


def test_what_waits_for_a_disk_that_fails_goes_with_the_stream_that_it_was_for() -> None:
    rig, puppet = Rig(slow_disk=True), Puppet()
    puppet.meets(rig)
    rig.replica.orset("s").add("not saved yet")
    for _ in range(20):
        rig.pass_time(13.0)
        rig.receive(puppet.address, puppet.says(Offer()))
        conn = rig.engine.next_conn()
        hand = HandStream(puppet)
        rig.engine.stream_opened(rig.now, conn, puppet.address)
        rig.engine.stream_received(rig.now, conn, hand.greeting())
        rig.engine.stream_closed(rig.now, conn)
    held = [effect for _, effect in rig.engine._out._held]
    assert rig.engine.statistics().streams_failed >= 20
    assert not of_type(Write, held)
    assert len(of_type(OpenStream, held)) <= 1
    assert not of_type(Close, held)
