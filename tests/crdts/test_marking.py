"""The hash of a context is that of its encoding, however it came about and however often it was asked for."""

import random
from hashlib import blake2b

import pytest

from crdts import Context, encode_context, marking
from crdts.marking import ContextMark


def plain(context: Context) -> bytes:
    return blake2b(encode_context(context), digest_size=8).digest()


@pytest.mark.parametrize("seed", range(4))
def test_the_mark_is_the_hash_of_the_encoding_at_any_moment(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marking, "FEW_WRITERS", 300)
    monkeypatch.setattr(marking, "PART_WRITERS", 7)
    rng = random.Random(seed)
    context, mark = Context(), ContextMark(8)
    for step in range(1500):
        replica = f"r{rng.randrange(step // 2 + 1)}"
        match rng.randrange(12):
            case 0 if context.last(replica):
                context.discard_last(replica)
            case 1:
                context.discard_beyond(replica, rng.randrange(9))
            case 2 | 3:
                context.add(replica, rng.randrange(1, 60))
            case _:
                context.take_next(replica)
        if step % 5 == 0:
            assert mark.of(context) == plain(context)
    assert context.writers > 300


@pytest.mark.parametrize("count", [1024, 1025, 65_535, 65_536])
def test_the_mark_is_right_with_any_number_of_writers(count: int) -> None:
    context, mark = Context({f"{i}": i + 1 for i in range(count)}), ContextMark(8)
    assert mark.of(context) == plain(context)
    context.add("7", 30)
    assert mark.of(context) == plain(context)
