"""One stream as bytes: any pieces, one order, and nothing that is out of it."""

import gc
import random
import weakref
from itertools import pairwise

import pytest

from crdts import Context, Event, Replica
from crdts.delta import events_delta, state_delta
from gossip.protocol import Config, Identity, seal_for
from gossip.protocol.errors import MalformedMessage, Oversized, RemoteError, Unauthentic
from gossip.protocol.sync.session import FIRST_FRAME_BYTES, LENGTH_BYTES, Session, WholeState
from gossip.protocol.wire.messages import (
    CanReconcile,
    Chunk,
    Done,
    Frame,
    HeadPart,
    Introduce,
    StateEnd,
    StatePart,
    WholeContext,
)

from ..support import KEY, HandStream, Puppet

ADDED = Replica("w").orset("s").add("x")
STATE = Replica("w2").merge(ADDED).store.kernel.state()
PART = StatePart(events_delta(STATE.events))
DEFAULT = Config()
END = StateEnd(state_delta((), Context({"w": 1}), ()))


def session(
    replica: Replica | None = None,
    *,
    name: str = "me",
    opens: bool = False,
    whole: bool = False,
    config: Config = DEFAULT,
) -> Session:
    rng = random.Random(name)
    identity = Identity(rng.randbytes(8), name, 1)
    store = (replica or Replica(name)).store
    return Session(identity, config, store, seal_for(KEY), rng.randbytes(16), opened_by_us=opens, whole=whole)


def introduced(mine: Session) -> HandStream:
    """A stream to ``mine`` that has got as far as the introductions."""
    stream = HandStream(Puppet())
    stream.take(mine.next_bytes() or b"")
    mine.receive(stream.greeting())
    mine.receive(stream.writes(INTRODUCTION))
    return stream


INTRODUCTION = Introduce(b"puppet..", "puppet", 1, False)


def run(one: Session, two: Session, *, piece: int) -> tuple[list[Frame], list[Frame]]:
    """Let two sessions talk over wires that carry ``piece`` bytes at a time; return what each was told."""
    told: tuple[list[Frame], list[Frame]] = ([], [])
    wires = [bytearray(), bytearray()]
    quiet = False
    while not quiet:
        quiet = True
        for i, (mine, wire) in enumerate(zip((one, two), wires, strict=True)):
            data = mine.next_bytes()
            if data is not None:
                quiet = False
                wire += data
            if wire:
                quiet = False
                told[1 - i].extend((two, one)[i].receive(bytes(wire[:piece])))
                del wire[:piece]
    return told


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 64, 1 << 20])
def test_bytes_may_arrive_in_any_pieces(piece: int) -> None:
    left, right = Replica("left"), Replica("right")
    left.orset("s").add("from the left")
    right.orset("s").add("from the right")
    one, two = session(left, name="one", opens=True), session(right, name="two")
    told = run(one, two, piece=piece)
    assert one.finished
    assert two.finished
    for frames in told:
        assert [type(frame) for frame in frames] == [Introduce, WholeContext, Chunk, Done]
    left.merge(told[0][2].delta)  # type: ignore[union-attr]
    right.merge(told[1][2].delta)  # type: ignore[union-attr]
    assert left.context == right.context


@pytest.mark.parametrize("asked_by", [0, 1])
def test_a_whole_state_is_exchanged_both_ways_whoever_asks_for_it(asked_by: int) -> None:
    left, right = Replica("left"), Replica("right")
    for i in range(200):
        left.orset("s").add(i)
    one = session(left, name="one", opens=True, whole=asked_by == 0, config=Config(stream_chunk_bytes=500))
    two = session(right, name="two", whole=asked_by == 1)
    for frames, count in zip(run(one, two, piece=100), (0, 200), strict=True):
        assert [type(frame) for frame in frames] == [Introduce, WholeContext, WholeState, Done]
        assert len(frames[2].delta.events) == count  # type: ignore[union-attr]


def test_a_state_is_a_snapshot_and_what_is_written_meanwhile_is_not_in_it() -> None:
    replica = Replica("w")
    for i in range(200):
        replica.orset("s").add(i)
    mine = session(replica, whole=True, config=Config(stream_chunk_bytes=300))
    stream = introduced(mine)
    mine.receive(stream.writes(WholeContext(Context())))
    count = 0
    context = replica.context
    while (data := mine.next_bytes()) is not None:
        stream.take(data)
        if any(isinstance(frame, StatePart) for frame in stream.heard):  # from now on
            replica.orset("s").add(f"later {count}")
            replica.orset("s").remove(count)
            count += 1
    end = next(frame for frame in stream.heard if isinstance(frame, StateEnd))
    parts = [event for frame in stream.heard if isinstance(frame, StatePart) for event in frame.delta.events]
    assert count > 5
    assert end.delta.context == context
    assert {event.dot for event in parts} == {("w", seq) for seq in range(1, 201)}


def test_nothing_but_the_greeting_leaves_before_the_other_side_has_greeted() -> None:
    mine = session(Replica("w").merge(ADDED))
    assert mine.next_bytes() == seal_for(KEY).greeting(random.Random("me").randbytes(24)[8:])
    assert mine.next_bytes() is None


def test_nothing_of_the_content_leaves_before_the_other_side_has_shown_its_key() -> None:
    """A recorded greeting is no proof: whoever plays it gets an introduction and a context it cannot read."""
    mine = session(Replica("w").merge(ADDED))
    stream = HandStream(Puppet())
    stream.take(mine.next_bytes() or b"")
    mine.receive(stream.greeting())
    while (data := mine.next_bytes()) is not None:
        stream.take(data)
    assert [type(frame) for frame in stream.heard] == [Introduce, CanReconcile, WholeContext]


@pytest.mark.parametrize(
    "first", [WholeContext(Context()), Chunk(ADDED), PART, END, Done()], ids=lambda f: type(f).__name__
)
def test_a_stream_begins_with_an_introduction(first: Frame) -> None:
    mine = session()
    stream = HandStream(Puppet())
    stream.take(mine.next_bytes() or b"")
    mine.receive(stream.greeting())
    with pytest.raises(MalformedMessage, match="introduction"):
        mine.receive(stream.writes(first))


@pytest.mark.parametrize(
    "frames",
    [
        [INTRODUCTION],
        [WholeContext(Context()), WholeContext(Context())],
        [END, StateEnd(ADDED)],
        [PART, PART, END],
        [PART, StateEnd(state_delta((), Context({"other": 1}), ()))],
    ],
    ids=[
        "a second introduction",
        "a second context",
        "a state without a context",
        "an entry twice",
        "an entry too many",
    ],
)
def test_what_is_out_of_place_ends_the_stream(frames: list[Frame]) -> None:
    mine = session()
    stream = introduced(mine)
    with pytest.raises(MalformedMessage):
        mine.receive(stream.writes(*frames))


def test_a_state_comes_out_whole_and_only_once_it_is() -> None:
    mine = session()
    stream = introduced(mine)
    assert mine.receive(stream.writes(PART)) == []
    (state,) = mine.receive(stream.writes(END))
    assert isinstance(state, WholeState)
    assert state.delta.events == STATE.events
    (empty,) = mine.receive(stream.writes(END))
    assert isinstance(empty, WholeState)
    assert empty.delta.events == ()


def test_a_frame_longer_than_allowed_is_refused_by_its_length_alone() -> None:
    mine = session()
    stream = HandStream(Puppet())
    stream.take(mine.next_bytes() or b"")
    mine.receive(stream.greeting())
    with pytest.raises(Oversized):
        mine.receive((FIRST_FRAME_BYTES + 1).to_bytes(LENGTH_BYTES, "big"))
    mine = session()
    introduced(mine)
    assert mine.receive(Config().max_frame_bytes.to_bytes(LENGTH_BYTES, "big")) == []
    mine = session()
    introduced(mine)
    with pytest.raises(Oversized):
        mine.receive((Config().max_frame_bytes + 1).to_bytes(LENGTH_BYTES, "big"))


def test_a_state_larger_than_allowed_is_refused_before_it_is_whole() -> None:
    mine = session(config=Config(max_state_bytes=2_000))
    stream = introduced(mine)
    writer = Replica("w")
    parts = [StatePart(events_delta(writer.orset("s").add(i).events)) for i in range(100)]
    with pytest.raises(Oversized):
        mine.receive(stream.writes(*parts))


@pytest.mark.parametrize("place", [0, 1, 2, 3, 4, 12, -1])
def test_an_altered_byte_ends_the_stream(place: int) -> None:
    mine = session()
    stream = introduced(mine)
    data = bytearray(stream.writes(Chunk(ADDED)))
    data[place] ^= 1
    with pytest.raises(RemoteError):
        mine.receive(bytes(data) + bytes(1 << 17))


def test_frames_swapped_repeated_or_left_out_end_the_stream() -> None:
    for order in ([1, 0], [0, 0], [1]):
        mine = session()
        stream = introduced(mine)
        frames = [stream.writes(Chunk(ADDED)), stream.writes(Done())]
        with pytest.raises(Unauthentic):
            mine.receive(b"".join(frames[i] for i in order))


def test_frames_of_a_type_to_come_are_passed_over() -> None:
    mine = session()
    stream = introduced(mine)
    assert mine.receive(stream.seals(b"\x81\x18\x63") + stream.writes(Done())) == [Done()]


def test_chunks_are_cut_where_the_configuration_says() -> None:
    replica = Replica("w")
    for i in range(1000):
        replica.orset("s").add(f"element {i}")
    mine = session(replica, config=Config(stream_chunk_bytes=2_000))
    stream = introduced(mine)
    mine.receive(stream.writes(WholeContext(Context())))
    sizes = []
    while (data := mine.next_bytes()) is not None:
        stream.take(data)
        sizes.append(len(data))
    assert max(sizes) <= 2_000 + 64
    seqs = [e.seq for frame in stream.heard if isinstance(frame, Chunk) for e in frame.delta.events]
    assert seqs == list(range(1, 1001))
    assert all(a < b for a, b in pairwise(seqs))


def test_when_the_log_is_trimmed_midway_the_state_follows() -> None:
    replica = Replica("w")
    for i in range(300):
        replica.orset("s").add(i)
        if i % 3 == 0:
            replica.orset("s").add(i)
    mine = session(replica, config=Config(stream_chunk_bytes=1_000))
    stream = introduced(mine)
    mine.receive(stream.writes(WholeContext(Context())))
    for _ in range(4):
        stream.take(mine.next_bytes() or b"")
    assert any(isinstance(frame, Chunk) for frame in stream.heard)
    replica.store.kernel.trim_log(0)
    while (data := mine.next_bytes()) is not None:
        stream.take(data)
    kinds = [type(frame) for frame in stream.heard]
    assert kinds[-2:] == [StateEnd, Done]
    other = Replica("other")
    events: list[Event] = []
    for frame in stream.heard:
        if isinstance(frame, Chunk):
            other.merge(frame.delta)
        elif isinstance(frame, StatePart):
            events += frame.delta.events
        elif isinstance(frame, StateEnd):
            assert frame.delta.context is not None
            other.merge(state_delta(events, frame.delta.context, frame.delta.prekilled))
    assert other.fingerprint == replica.fingerprint


def test_contexts_and_pre_killed_dots_of_any_size_travel_in_frames_that_everybody_accepts() -> None:
    left, right = Replica("left"), Replica("right")
    for i in range(2_000):
        left.merge(events_delta([Event(f"writer {i:05}".ljust(64, "w"), 1, b"ss", b"\x00", b"", ())]))
    for i in range(500):
        left.merge(events_delta([Event("killer", i + 1, b"", b"", None, ((f"{i:05}".ljust(64, "v"), 1 << 60),))]))
    config = Config(stream_chunk_bytes=2_000)
    one = session(left, name="one", opens=True, whole=True, config=config)
    two = session(right, name="two", config=config)
    told = run(one, two, piece=1 << 20)
    assert (one.finished, two.finished) == (True, True)
    (end,) = [frame for frame in told[1] if isinstance(frame, WholeState)]
    right.merge(end.delta)
    assert right.fingerprint == left.fingerprint
    assert right.context == left.context
    assert right.store.kernel.prekilled == left.store.kernel.prekilled
    assert not [frame for frames in told for frame in frames if isinstance(frame, HeadPart)], "for the session alone"


def test_a_session_that_is_closed_holds_nothing_and_says_nothing() -> None:
    replica = Replica("w")
    for i in range(5_000):
        replica.orset("s").add(i)
    mine = session(replica, whole=True, config=Config(stream_chunk_bytes=500))
    stream = introduced(mine)
    mine.receive(stream.writes(WholeContext(Context())))
    for _ in range(5):
        mine.next_bytes()
    gone = weakref.ref(mine)
    gc.disable()
    try:
        mine.close()
        assert mine.next_bytes() is None
        del mine
        assert gone() is None, "nothing but a search for circles would have freed it"
    finally:
        gc.enable()
