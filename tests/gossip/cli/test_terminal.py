"""What reads the output: terminals get colours, pipes get lines that are whole, and either may go away."""

import json
import os
import pty
import re
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from gossip import Node, open_node

from ..live import FAST, acquainted, patience, until
from .process import GOSSIP, environment, gossip


async def on_terminal(*args: str, columns: int = 60, **env: str) -> str:
    """What a process writes to a terminal of that width."""
    ours, theirs = pty.openpty()
    try:
        process = await trio.lowlevel.open_process(
            [*GOSSIP, *args], stdin=theirs, stdout=theirs, stderr=theirs, env=environment(COLUMNS=str(columns), **env)
        )
    finally:
        os.close(theirs)
    text = b""
    os.set_blocking(ours, False)
    try:
        with patience(), suppress(OSError):  # EIO, Linux's way to say that the other side has closed
            while True:
                await trio.lowlevel.wait_readable(ours)
                text += os.read(ours, 65_536)
        with patience():
            await process.wait()
    finally:
        os.close(ours)
    return text.decode().replace("\r\n", "\n")


def without_styles(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


async def test_a_terminal_gets_colours_unless_it_does_not_want_them(node: Node, data: Path) -> None:
    async with open_node("bob", join=[node.address], config=FAST) as bob:
        await acquainted(node, bob)
        shown = await on_terminal("members", "--data", str(data), columns=100)
        assert "\x1b[32malive\x1b[0m" in shown
        plain = await on_terminal("members", "--data", str(data), columns=100, NO_COLOR="1")
        assert "\x1b[32m" not in plain
        assert "\x1b[3" not in plain
        piped = await gossip("members", "--data", str(data))
        assert b"\x1b" not in piped.stdout


async def test_only_states_are_coloured_as_states(node: Node, data: Path) -> None:
    node.register("r").set("failed")
    node.lwwmap("m").set("alive", "left")
    for verb in (("ls",), ("get", "m"), ("get", "r")):
        shown = await on_terminal(*verb, "--data", str(data))
        assert "\x1b[31m" not in shown
        assert "\x1b[32m" not in shown


async def test_a_terminal_shows_markup_and_pictures_in_words_as_they_are(node: Node, data: Path) -> None:
    node.lwwmap("m").set("[red]x[/red]", ":smile: http://x.y 127.0.0.1")
    shown = await on_terminal("get", "m", "--data", str(data), NO_COLOR="1")
    assert "[red]x[/red]" in shown
    assert ":smile: http://x.y 127.0.0.1" in shown


async def test_a_terminal_folds_a_long_cell_and_loses_none_of_it(node: Node, data: Path) -> None:
    digits = "".join(str(n % 10) for n in range(200))
    node.lwwmap("m").set("k", digits)
    shown = without_styles(await on_terminal("get", "m", "--data", str(data)))
    assert max(map(len, shown.splitlines())) <= 60
    cells = [line.split()[-1] for line in shown.splitlines()[1:]]
    assert "".join(cells) == digits


@pytest.mark.parametrize("verb", [("ls",), ("--help",), ("status", "--json")], ids=" ".join)
async def test_a_reader_that_is_gone_costs_no_words(node: Node, data: Path, verb: tuple[str, ...]) -> None:
    for number in range(5_000):
        node.register(f"register number {number}").set("x" * 50)
    read, write = os.pipe()
    os.close(read)
    where = () if verb == ("--help",) else ("--data", str(data))
    try:
        with patience():
            done = await trio.run_process(
                [*GOSSIP, *verb, *where], stdout=write, capture_stderr=True, check=False, env=environment()
            )
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (1, b"")


async def test_watch_prints_each_change_at_once_and_ends_when_nobody_reads(node: Node, data: Path) -> None:
    node.lwwmap("m").set("k", [1])
    process = await trio.lowlevel.open_process(
        [*GOSSIP, "watch", "--data", str(data)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        await until(node, lambda: node.replica.store._on_change)
        node.orset("tasks").add("one\x1b[31m")
        node.lwwmap("m").delete("k")
        node.counter("c").increment(2)
        text = b""
        with patience():
            while text.count(b"\n") < 3:
                text += await process.stdout.receive_some()
        assert [line[9:] for line in text.decode().splitlines()] == [
            r"orset tasks one\x1b[31m = present  (by alice)",
            "lwwmap m k = deleted  (by alice)",
            "counter c = 2  (by alice)",
        ]
        await process.stdout.aclose()
        node.orset("tasks").add("two")
        with patience():
            assert await process.wait() == 1
            assert await process.stderr.receive_some() == b""
        await until(node, lambda: not node.replica.store._on_change)
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            await process.stdout.aclose()
            await process.stderr.aclose()


async def test_watch_tells_when_the_node_stops(data: Path) -> None:
    async with open_node("alice", data_dir=data, config=FAST) as node:
        process = await trio.lowlevel.open_process(
            [*GOSSIP, "watch", "x", "--data", str(data), "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
        )
        assert process.stdout is not None
        assert process.stderr is not None
        await until(node, lambda: node.replica.store._on_change)
        node.register("y").set(1)
        node.register("x").set(1)
        with patience():
            (line,) = (await process.stdout.receive_some()).splitlines()
        assert json.loads(line)["name"] == "x"
    async with process.stdout, process.stderr:
        with patience():
            assert await process.wait() == 1
            assert await process.stderr.receive_some() == f"gossip: the node on {data} has stopped\n".encode()


async def test_ctrl_c_ends_a_watch_with_an_empty_line(node: Node, data: Path) -> None:
    process = await trio.lowlevel.open_process(
        [*GOSSIP, "watch", "--data", str(data)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    )
    assert process.stdout is not None
    assert process.stderr is not None
    async with process.stdout, process.stderr:
        await until(node, lambda: node.replica.store._on_change)
        process.send_signal(2)
        with patience():
            assert await process.wait() == 130
            assert await process.stderr.receive_some() == b"\n"  # so that the prompt is not behind the ^C


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8"])
async def test_text_beyond_the_encoding_of_the_output_is_escaped(node: Node, data: Path, encoding: str) -> None:
    node.register("r").set("漢字 é")
    done = await gossip("get", "r", "--data", str(data), PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == "漢字 é\n".encode(encoding, "backslashreplace")


async def test_a_closed_output_is_no_error(node: Node, data: Path) -> None:
    command = ["sh", "-c", 'exec "$@" >&-', "sh", *GOSSIP, "counter", "inc", "c", "--data", str(data)]
    with patience():
        done = await trio.run_process(command, capture_stderr=True, check=False, env=environment())
    assert (done.returncode, done.stderr) == (0, b"")
    assert node.counter("c").value() == 1


async def test_arguments_that_are_no_text_are_refused(node: Node, data: Path) -> None:
    done = await gossip("orset", "add", "x", b"\xff\xfe", "--data", str(data))
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"gossip: an argument is not valid UTF-8")
