"""Moves and new names change nothing that travels or is on disk: golden traces and bytes, kept until that is over."""

from typing import get_args

import pytest

from gossip.protocol.wire.messages import Frame, Message

from .golden import PARTS, pinned


@pytest.mark.parametrize("part", PARTS)
def test_what_travels_and_what_is_on_disk_stays_byte_for_byte(part: str) -> None:
    assert PARTS[part]() == pinned(part)


def test_every_message_and_every_frame_has_golden_bytes() -> None:
    told = {name.partition(" ")[2] for name in pinned("messages")}
    assert told == {kind.__name__ for kind in (*get_args(Message), *get_args(Frame))}
