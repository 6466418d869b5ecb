"""Heads of states in parts: none too large for anybody, all of it at the other end, and bounded there."""

import random

import pytest

from crdts import Context, DecodeError, Dot, encode
from crdts.delta import state_delta
from crdts.limits import MAX_REPLICA_ID_BYTES, MAX_SEQ
from gossip.protocol import Config
from gossip.protocol.config import MAX_CHUNK_BYTES
from gossip.protocol.errors import Oversized
from gossip.protocol.sync import heads as heads_module
from gossip.protocol.sync.heads import Head, head_frames, head_parts
from gossip.protocol.wire.codec import decode_frame, encode_frame
from gossip.protocol.wire.messages import Frame, HeadPart, StateEnd


def rebuilt(frames: list[Frame]) -> tuple[Context, list[Dot]]:
    head = Head()
    for frame in frames[:-1]:
        assert isinstance(frame, HeadPart)
        head.keep(frame.delta)
    end = frames[-1]
    assert isinstance(end, StateEnd)
    return head.completed(end.delta.context or Context(), end.delta.prekilled)


@pytest.mark.parametrize("max_bytes", [1, 300, 4_000, MAX_CHUNK_BYTES])
@pytest.mark.parametrize("seed", range(5))
def test_a_head_in_parts_is_the_same_at_the_other_end(seed: int, max_bytes: int) -> None:
    rng = random.Random(seed)
    context = Context()
    for _ in range(rng.choice([0, 1, 300])):
        replica = "w" * rng.randrange(1, 40) + str(rng.randrange(50))
        start = rng.randrange(1, 1 << rng.randrange(1, 61))
        context.add_range(replica, start, start + rng.randrange(1, 1000))
    count = rng.choice([0, 1, 300])
    found = {(f"early {rng.randrange(20)}", rng.randrange(1, 1 << rng.randrange(1, 61))) for _ in range(count)}
    dots = sorted(found)
    frames = list(head_frames(context, dots, max_bytes, StateEnd))
    read = [decode_frame(encode_frame(frame)) for frame in frames]
    assert rebuilt([frame for frame in read if frame is not None]) == (context, dots)
    if max_bytes > 100:
        assert max(len(encode(part)) for part in head_parts(context, dots, max_bytes)) <= max_bytes


def test_no_part_is_larger_than_it_may_be_with_the_longest_ids_and_the_highest_numbers() -> None:
    context, dots = Context(), []
    for i in range(3_000):
        name = f"{i:06}".ljust(MAX_REPLICA_ID_BYTES, "n")
        context.add_range(name, MAX_SEQ - 9, MAX_SEQ - 1)
        context.add_range(name, MAX_SEQ // 2, MAX_SEQ // 2 + 1)
        dots.append((f"{i:06}".ljust(MAX_REPLICA_ID_BYTES, "p"), MAX_SEQ))
    for size in (2_000, 64 * 1024, MAX_CHUNK_BYTES):
        parts = list(head_parts(context, dots, size))
        assert max(len(encode(part)) for part in parts) <= size
        assert len(parts) > 1


def test_one_writer_in_very_many_pieces_is_cut_too() -> None:
    context = Context.of(("w", seq, seq + 1) for seq in range(1 << 40, (1 << 40) + 20_000, 2))
    parts = list(head_parts(context, (), 8_000))
    assert max(len(encode(part)) for part in parts) <= 8_000
    assert rebuilt(list(head_frames(context, (), 8_000, StateEnd))) == (context, [])


def test_what_fits_one_frame_is_one_frame() -> None:
    (only,) = head_frames(Context({"a": 3}), [("b", 1)], Config().stream_chunk_bytes, StateEnd)
    assert only == StateEnd(state_delta((), Context({"a": 3}), [("b", 1)]))


def test_parts_without_end_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads_module, "MAX_HEAD_BYTES", 9_000)
    head = Head()
    part = state_delta((), Context({"w": 1}), [("v", seq) for seq in range(1, 300)])
    head.keep(part)
    head.keep(part)
    with pytest.raises(Oversized):
        head.keep(part)


def test_a_dot_that_comes_twice_is_refused() -> None:
    head = Head()
    head.keep(state_delta((), Context(), [("v", 1)]))
    with pytest.raises(DecodeError):
        head.completed(Context(), (("v", 1),))
