"""Text for a file that may take nothing any more: what fits is written, what does not raises and blocks nobody."""

import os
import time
from collections.abc import Iterator

import pytest

from gossip.cli.stream import PATIENCE, UnheldStream


@pytest.fixture
def pipe() -> Iterator[tuple[int, UnheldStream]]:
    read, write = os.pipe()
    with os.fdopen(read, "rb"), os.fdopen(write, "w", encoding="utf-8") as stream:
        yield read, UnheldStream(stream)


def test_lines_arrive_as_they_are(pipe: tuple[int, UnheldStream]) -> None:
    read, stream = pipe
    stream.write("one\n")
    stream.write("é" * 10_000 + "\n")
    assert os.read(read, 1 << 16) == b"one\n" + "é".encode() * 10_000 + b"\n"


def test_only_the_first_line_without_room_waits_and_it_waits_a_moment(pipe: tuple[int, UnheldStream]) -> None:
    _, stream = pipe
    began = time.monotonic()
    lost = 0
    for _ in range(1_000):
        try:
            stream.write("x" * 999 + "\n")
        except BlockingIOError:
            lost += 1
    assert lost > 900
    assert PATIENCE <= time.monotonic() - began < 20 * PATIENCE


def test_a_line_that_was_cut_does_not_run_into_the_next_one(pipe: tuple[int, UnheldStream]) -> None:
    read, stream = pipe
    with pytest.raises(BlockingIOError):
        stream.write("x" * 1_000_000 + "\n")
    os.read(read, 1 << 20)
    stream.write("whole\n")
    assert os.read(read, 1 << 20) == b"\nwhole\n"
    stream.write("the next\n")
    assert os.read(read, 1 << 20) == b"the next\n"


def test_what_becomes_of_a_file_is_told_to_who_writes(pipe: tuple[int, UnheldStream]) -> None:
    with open("/dev/full", "w") as full, pytest.raises(OSError, match="No space left on device"):
        UnheldStream(full).write("x\n")
    read, stream = pipe
    nobody = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nobody, read)  # which closes the end that is read
    os.close(nobody)
    with pytest.raises(BrokenPipeError):
        stream.write("x\n")


def test_letters_that_the_encoding_lacks_are_escaped() -> None:
    read, write = os.pipe()
    with os.fdopen(read, "rb"), os.fdopen(write, "w", encoding="ascii") as ascii_only:
        UnheldStream(ascii_only).write("é\ud800\n")
        assert os.read(read, 100) == b"\\xe9\\ud800\n"
