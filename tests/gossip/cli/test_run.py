"""`gossip run` in processes of its own: starting, refusing to start, and ending without a loss or a trace."""

import fcntl
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest
import trio

from gossip import LocalError, new_key, open_node
from gossip.cli.client import NodeUnreachable, ask
from gossip.cli.run import DEFAULT_PORT
from gossip.protocol import parse_key
from gossip.storage.datadir import user_of

from ..live import FAST, patience, until
from ..storage.marking import named
from .process import GOSSIP, environment, gossip, running

KEY = new_key()


async def members(data: Path) -> dict[str, str]:
    done = await gossip("members", "--data", str(data), "--json")
    return {member["name"]: member["state"] for member in json.loads(done.stdout)}


async def status(data: Path) -> Any:
    return json.loads((await gossip("status", "--data", str(data), "--json")).stdout)


# ---- together


async def test_two_processes_share_what_either_is_told(tmp_path: Path) -> None:
    async with (
        running("a", tmp_path / "a", GOSSIP_KEY=KEY) as a,
        running("b", tmp_path / "b", "--join", a.address, GOSSIP_KEY=KEY) as b,
    ):
        assert (await gossip("orset", "add", "tasks", "from a", "--data", str(a.data))).returncode == 0
        with patience():
            while (await gossip("get", "tasks", "--data", str(b.data))).stdout != b"from a\n":
                pass
        assert await members(a.data) == {"b": "alive"}
        assert await a.stop() == 0
        with patience():
            while await members(b.data) != {"a": "left"}:
                pass
        assert (await gossip("get", "tasks", "--data", str(b.data))).stdout == b"from a\n"


async def test_the_others_see_the_tags_that_a_node_is_given(tmp_path: Path) -> None:
    tags = ("--tag", "role=worker", "--tag", "zone=a=b")
    async with (
        open_node("other", config=FAST) as other,
        running("a", tmp_path, "--join", str(other.address), *tags) as a,
    ):
        await until(other, lambda: [member.tags for member in other.members()] == [{"role": "worker", "zone": "a=b"}])
        assert (await gossip("tag", "--data", str(tmp_path))).stdout == b"role=worker,zone=a=b\n"
        assert await a.stop() == 0


async def test_nodes_of_clusters_with_different_names_do_not_mix(tmp_path: Path) -> None:
    async with running("tea", tmp_path / "tea", "--cluster", "tea", GOSSIP_KEY=KEY) as tea:
        join = ("--join", tea.address)
        async with (
            running("coffee", tmp_path / "coffee", "--cluster", "coffee", *join, GOSSIP_KEY=KEY) as coffee,
            running("mint", tmp_path / "mint", "--cluster", "tea", *join, GOSSIP_KEY=KEY),
        ):
            with patience():
                while not (await status(tea.data))["statistics"]["rejected"]:
                    pass
                while await members(tea.data) != {"mint": "alive"}:
                    pass
            assert await members(coffee.data) == {}
            assert [(await status(node.data))["cluster"] for node in (tea, coffee)] == ["tea", "coffee"]


async def test_seeds_may_be_names_and_may_come_up_later(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with (
        running("early", tmp_path, "--join", f"localhost:{port}"),
        open_node("late", bind=f"127.0.0.1:{port}", config=FAST) as late,
    ):
        await until(late, lambda: [member.name for member in late.members()] == ["early"])


# ---- the end


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_write_acknowledged_just_before_a_signal_is_held_by_another_node(
    tmp_path: Path, sign: signal.Signals
) -> None:
    async with open_node("keeper", config=FAST) as keeper:
        async with running("a", tmp_path, "--join", str(keeper.address)) as a:
            for number in range(3):
                done = await gossip("orset", "add", "x", f"write {number}", "--data", str(tmp_path))
                assert done.returncode == 0
            assert await a.stop(sign) == 0
        assert set(keeper.orset("x")) == {f"write {number}" for number in range(3)}
        assert [member.state for member in keeper.members()] == ["left"]
        assert b"Traceback" not in a.log
        assert named(tmp_path) == ["lock", "mark", "state.db"]
    host, port = a.address.split(":")
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind((host, int(port)))


async def test_a_signal_right_after_the_start_ends_it_as_well(tmp_path: Path) -> None:
    async with running("a", tmp_path, "--join", "127.0.0.1:9") as a:
        assert await a.stop(signal.SIGINT) == 0
    assert b"Traceback" not in a.log


async def test_a_node_that_was_started_by_nohup_outlives_its_terminal(tmp_path: Path) -> None:
    async with running(
        "a", tmp_path, "--json-logs", program=("bash", "-c", 'trap "" HUP; exec "$@"', "-", *GOSSIP)
    ) as a:
        a.process.send_signal(signal.SIGHUP)
        with trio.move_on_after(0.5):
            await a.ended()
        assert await a.stop(signal.SIGTERM) == 0
    assert json.loads(a.log.splitlines()[-1])["reason"] == "SIGTERM"


async def test_several_signals_end_it_once(tmp_path: Path) -> None:
    async with running("a", tmp_path) as a:
        for _ in range(5):
            a.process.send_signal(signal.SIGTERM)
            a.process.send_signal(signal.SIGINT)
        assert await a.ended() == 0
    assert b"Traceback" not in a.log
    assert a.log.count(b"node.stopped") == 1


def on_broken_disk(how: str, broken: Path, *, grace: float) -> tuple[str, ...]:
    """`gossip` on a disk that breaks once there is a file ``broken``: it "hangs" or "fails"."""
    return sys.executable, str(Path(__file__).with_name("broken_disk.py")), how, str(broken), str(grace)


async def add_in_vain(data: Path) -> None:
    """Have a node write something that it cannot save."""
    with trio.move_on_after(2.0):
        await gossip("orset", "add", "s", "lost", "--data", str(data))


@pytest.mark.parametrize("how", ["hangs", "fails"])
@pytest.mark.parametrize("end", ["signal", "leave"])
async def test_the_exit_code_and_the_last_words_tell_that_a_disk_did_not_save_everything(
    tmp_path: Path, how: str, end: str
) -> None:
    data, broken = tmp_path / "a", tmp_path / "broken"
    async with running("a", data, program=on_broken_disk(how, broken, grace=1.0)) as a:
        assert (await gossip("orset", "add", "s", "saved", "--data", str(data))).returncode == 0
        broken.touch()
        await add_in_vain(data)
        if end == "signal":
            assert await a.stop() == 1
        else:
            left = await gossip("leave", "--data", str(data))
            assert left.returncode == 1
            assert b"left; what was written last is not saved: the disk" in left.stdout
            assert await a.ended() == 1
    lost = b"1 batch of changes could not be saved, and what was written here is lost: the disk "
    assert a.log.splitlines()[-1].startswith(b"gossip: " + lost)
    assert b"Traceback" not in a.log
    async with running("a", data) as a:
        found = await gossip("get", "s", "--data", str(data))
        assert found.stdout == b"saved\n"


async def test_a_second_signal_ends_at_once_what_waits_for_a_disk(tmp_path: Path) -> None:
    data, broken = tmp_path / "a", tmp_path / "broken"
    async with running("a", data, program=on_broken_disk("hangs", broken, grace=3600.0)) as a:
        broken.touch()
        await add_in_vain(data)
        with patience():
            while a.process.poll() is None:
                a.process.send_signal(signal.SIGTERM)
                await trio.sleep(0.1)
    assert a.process.returncode == -signal.SIGTERM
    assert b"node.stopped" not in a.log


async def test_who_finds_no_lock_file_takes_nothing_away_from_the_node_that_runs_there(tmp_path: Path) -> None:
    async with running("a", tmp_path) as a:
        (tmp_path / "lock").unlink()
        second = await gossip("run", "--data", str(tmp_path), "--bind", "127.0.0.1:0", "--no-discovery")
        assert second.returncode == 1
        assert b"is in use by" in second.stderr
        assert (await status(tmp_path))["pid"] == a.process.pid
        assert await a.stop() == 0


async def test_leaving_ends_the_process_and_returns_once_the_directory_is_free(tmp_path: Path) -> None:
    async with running("a", tmp_path) as a:
        done = await gossip("leave", "--data", str(tmp_path))
        assert user_of(tmp_path) == ""
        assert not [*tmp_path.glob("*-wal"), *tmp_path.glob("*.sock")]
        assert (done.returncode, done.stdout) == (0, b"left; it had written nothing since it started\n")
        assert await a.ended() == 0


async def test_a_killed_node_starts_again_as_itself(tmp_path: Path) -> None:
    lives = []
    for sign in (signal.SIGKILL, signal.SIGTERM):
        async with running("a", tmp_path) as a:
            lives.append(json.loads((await gossip("status", "--data", str(tmp_path), "--json")).stdout))
            assert await a.stop(sign) == (0 if sign == signal.SIGTERM else -9)
    assert lives[0]["id"] == lives[1]["id"]
    first, second = [int(re.sub("-.*", "", life["replica_id"].rpartition(".")[2])) for life in lives]
    assert 1 == first < second


async def test_a_retired_node_that_is_started_again_is_told_so_and_a_fresh_one_is_welcome(tmp_path: Path) -> None:
    old, fresh = tmp_path / "old", tmp_path / "fresh"
    async with open_node("keeper", config=FAST) as keeper:
        join = ("--join", str(keeper.address))
        async with running("a", old, *join) as a:
            assert (await gossip("orset", "add", "x", "stays", "--data", str(old))).returncode == 0
            await until(keeper, lambda: "stays" in keeper.orset("x"))
            assert await a.stop(signal.SIGKILL) == -9
        await until(keeper, lambda: [member.state for member in keeper.members()] == ["failed"])
        keeper.retire("a")
        async with running("a", old, *join) as a:
            await until(keeper, lambda: b"identity.retired" in a.log)
            refused = await gossip("orset", "add", "x", "too late", "--data", str(old))
            assert (refused.returncode, refused.stdout) == (1, b"")
            assert b"has retired node a: nothing was written" in refused.stderr
            assert keeper.members() == []
            assert await a.stop() == 0
        assert b"Traceback" not in a.log
        async with running("a", fresh, *join):
            await until(keeper, lambda: [member.state for member in keeper.members()] == ["alive"])
        assert set(keeper.orset("x")) == {"stays"}


async def test_a_node_whose_output_nobody_reads_any_more_goes_on(tmp_path: Path) -> None:
    async with open_node("other", config=FAST) as other:
        command = [*GOSSIP, "run", "--name", "a", "--data", str(tmp_path), "--bind", "127.0.0.1:0", "--no-discovery"]
        command += ["--join", str(other.address), "--verbose"]
        process = await trio.lowlevel.open_process(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
        )
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            async with process.stdout, process.stderr:
                with patience():
                    await process.stdout.receive_some()
            await until(other, lambda: [member.name for member in other.members()] == ["a"])
            for _ in range(3):  # members that come and go are log lines
                async with open_node("brief", join=[other.address], config=FAST) as brief:
                    await until(brief, lambda brief=brief: len(brief.members()) == 2)
            assert (await gossip("counter", "inc", "c", "--data", str(tmp_path))).stdout == b"1\n"
            process.terminate()
            with patience():
                assert await process.wait() == 0
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()


@asynccontextmanager
async def run_by_shell(data: Path, ways: dict[str, str]) -> AsyncIterator[dict[str, Path]]:
    """`gossip run` in a shell for each way to redirect its output; gives where each has its data. All have ended at the
    end of the block, in which they are told to.
    """
    run = " ".join([*GOSSIP, "run --bind 127.0.0.1:0 --no-discovery"])
    places = {way: data / str(number) for number, way in enumerate(ways)}
    shells = [
        subprocess.Popen(
            ["bash", "-c", ways[way].format(run=f"{run} --data {place}")], stdout=subprocess.DEVNULL, env=environment()
        )
        for way, place in places.items()
    ]
    try:
        yield places
        with patience():
            while any(shell.poll() is None for shell in shells):
                await trio.sleep(0.05)
    finally:
        for place in places.values():
            with suppress(OSError, ValueError):
                os.kill(int((place / "lock").read_text()), signal.SIGKILL)
        for shell in shells:
            shell.kill()
            shell.wait()


async def answer_of(data: Path, verb: str) -> Any:
    """Of the node that runs there, or will in a moment."""
    with patience():
        while True:
            try:
                return await trio.to_thread.run_sync(ask, data, verb)
            except NodeUnreachable:
                await trio.sleep(0.05)


async def test_a_node_runs_on_whatever_becomes_of_its_output_and_status_tells_what_is_lost(tmp_path: Path) -> None:
    ways = {
        "the reader takes one line": "{run} 2>&1 | head -1",
        "nobody reads the first line": "{run} 2> /dev/null | true",
        "the disk is full": "{run} > /dev/full 2> /dev/full",
        "just the first line is closed": "{run} >&- 2> /dev/null",
        "all is closed": "{run} <&- >&- 2>&-",
    }
    lost = {}
    async with run_by_shell(tmp_path, ways) as places:
        for place in places.values():
            await answer_of(place, "status")
        for way, place in places.items():
            with pytest.raises(LocalError):
                await trio.to_thread.run_sync(partial(ask, place, "tag", set=7, remove=[]))  # makes a line of the log
            lost[way] = (await answer_of(place, "status"))["log"]
        text = (await gossip("status", "--data", str(places["the disk is full"]))).stdout
        for place in places.values():
            assert await answer_of(place, "leave")
    assert lost["the reader takes one line"]["why"] == "Broken pipe"
    assert lost["the disk is full"]["lines"] >= 3
    assert lost["the disk is full"]["why"] == "No space left on device"
    assert re.search(rb"log lost +\d+ lines: No space left on device\n", text)
    assert lost["just the first line is closed"] == lost["all is closed"] == {"lines": 0, "why": None}


async def test_a_log_that_nobody_reads_does_not_hold_the_node_up(tmp_path: Path) -> None:
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    command = [*GOSSIP, "run", "--data", str(tmp_path), "--bind", "127.0.0.1:0", "--no-discovery"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=write, env=environment())
    os.close(write)

    async def fail() -> None:
        with pytest.raises(LocalError, match="its log says more"):
            await trio.to_thread.run_sync(partial(ask, tmp_path, "tag", set=7, remove=[]))

    try:
        await answer_of(tmp_path, "status")
        for _ in range(20):
            await fail()
        loss = (await answer_of(tmp_path, "status"))["log"]
        assert loss["lines"] >= 15
        assert loss["why"] == "nobody reads it"
        os.read(read, 1 << 16)
        await fail()
        assert (await answer_of(tmp_path, "status"))["log"] == loss, "lines are lost though there is room again"
        assert b"\n" in os.read(read, 1 << 16)
        process.terminate()
        with patience():
            while process.poll() is None:
                await trio.sleep(0.02)
        assert process.returncode == 0
    finally:
        os.close(read)
        process.kill()
        process.wait()


# ---- what it says


async def test_the_first_line_tells_where_it_listens_and_how_to_join(tmp_path: Path) -> None:
    done = subprocess.Popen(
        [*GOSSIP, "run", "--name", "a", "--data", str(tmp_path), "--bind", "localhost:0", "--no-discovery"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment(),
        text=True,
    )
    with done:
        assert done.stdout is not None
        line = done.stdout.readline()
        done.terminate()
    assert re.fullmatch(r"a listens on (127\.0\.0\.1:\d+); join it with --join \1\n", line)


async def test_a_node_on_all_addresses_does_not_pretend_to_know_its_own(tmp_path: Path) -> None:
    async with running("a", tmp_path, "--bind", "0.0.0.0:0", GOSSIP_KEY=KEY) as a:
        assert a.address.startswith("0.0.0.0:")
        assert await a.stop() == 0


async def test_logs_are_lines_of_json_on_request(tmp_path: Path) -> None:
    async with running("a", tmp_path, "--json-logs") as a:
        assert await a.stop() == 0
    lines = [json.loads(line) for line in a.log.splitlines()]
    assert [line["event"] for line in lines] == ["node.started", "node.unsealed", "node.stopped"]
    assert {line["node"] for line in lines} == {"a"}
    assert lines[0].keys() >= {"address", "id", "sealed", "level", "timestamp"}


@pytest.mark.parametrize(
    "sign", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGALRM]
)
async def test_the_last_line_of_the_log_names_the_signal_that_ended_it(tmp_path: Path, sign: signal.Signals) -> None:
    async with running("a", tmp_path, "--json-logs") as a:
        assert await a.stop(sign) == 0
    last = json.loads(a.log.splitlines()[-1])
    assert (last["event"], last["reason"]) == ("node.stopped", sign.name)


async def test_the_last_line_of_the_log_tells_of_gossip_leave(tmp_path: Path) -> None:
    async with running("a", tmp_path, "--json-logs") as a:
        assert (await gossip("leave", "--data", str(tmp_path))).returncode == 0
        assert await a.ended() == 0
    last = json.loads(a.log.splitlines()[-1])
    assert (last["event"], last["reason"]) == ("node.stopped", "gossip leave")


async def test_tags_that_were_changed_at_run_time_are_gone_at_the_next_start(tmp_path: Path) -> None:
    async with running("a", tmp_path, "--tag", "role=worker") as a:
        assert (await gossip("tag", "zone=b", "--data", str(tmp_path))).stdout == b"role=worker,zone=b\n"
        assert await a.stop() == 0
    async with running("a", tmp_path, "--tag", "role=worker") as a:
        assert (await gossip("tag", "--data", str(tmp_path))).stdout == b"role=worker\n"
        assert await a.stop() == 0


async def test_logs_are_plain_text_where_no_terminal_reads_them(tmp_path: Path) -> None:
    async with running("a", tmp_path) as a:
        assert await a.stop() == 0
    assert b"\x1b" not in a.log
    assert [line.split()[3] for line in a.log.splitlines()] == [b"node.started", b"node.unsealed", b"node.stopped"]


async def test_the_key_is_never_written_anywhere(tmp_path: Path) -> None:
    async with running("a", tmp_path, "--verbose", GOSSIP_KEY=KEY) as a:
        await gossip("status", "--data", str(tmp_path))
        assert await a.stop() == 0
    assert KEY.encode() not in a.log
    assert all(KEY.encode() not in file.read_bytes() for file in tmp_path.iterdir())
    assert all(parse_key(KEY) not in file.read_bytes() for file in tmp_path.iterdir())


# ---- refusing to start


async def refused(*args: str | bytes, **env: str) -> tuple[int, str]:
    """The exit code and the one line of a `gossip run` that does not start."""
    done = await gossip("run", *args, **env)
    assert done.stdout == b""
    lines = done.stderr.decode().splitlines()
    assert len(lines) == 1, lines
    return done.returncode, lines[0]


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (("--bind", "0.0.0.0:0"), 1, "loopback only, not to 0.0.0.0; make a key with `gossip keygen`"),
        (("--bind", "nonsense"), 2, "'nonsense' is not an address; write HOST:PORT"),
        (("--bind", "nowhere.invalid:1"), 1, "cannot listen on nowhere.invalid:1"),
        (("--join", "nonsense"), 2, "'nonsense' is not an address"),
        (("--join", "127.0.0.1:0"), 2, "'127.0.0.1:0' has port 0, which is nobody's; name the port"),
        (("--name", ""), 2, "a node name is 1 to 64 bytes of printable text"),
        (("--name", "bell\a"), 2, r"not 'bell\x07'"),
        (("--name", b"\xff"), 2, "printable text"),
        (("--key-file", "/nowhere/key"), 1, "cannot read the key file /nowhere/key: No such file or directory"),
        (("--key-file", "/"), 1, "/ is a directory; name a regular file"),
        (("--profile", "moon"), 2, "'moon' is not one of 'lan', 'wan', 'local'"),
        (("--cluster", ""), 2, "'--cluster': a cluster's name is 1 to 64 bytes of printable text"),
        (("--advertise", "here"), 2, "'here' is not an address"),
        (
            ("--advertise", "192.0.2.1:4747"),
            2,
            "'--advertise': without a cluster key nobody reaches a node at 192.",
        ),
        (("--advertise", "127.0.0.1:0"), 2, "'127.0.0.1:0' has port 0"),
        (("--advertise", "127.0.0.1:65536"), 2, "[IPV6]:PORT, with a port of 65535 at most"),
        (("--advertise", "0.0.0.0:4747"), 2, "'--advertise': cannot advertise 0.0.0.0:4747: others find nobody there"),
        (
            ("--advertise", "nowhere.invalid:4747"),
            2,
            "'--advertise': cannot advertise nowhere.invalid:4747: this machine cannot resolve the name; check its",
        ),
        (("--tag", "role"), 2, "a tag is KEY=VALUE, such as role=worker; not 'role'"),
        (("--tag", "=worker"), 2, "a tag is KEY=VALUE"),
        (("--tag", "bell=\a"), 2, r"tags are printable text, such as role=worker; not '\x07'"),
        (("--tag", "long=" + "x" * 2_000), 2, "put more into an object"),
        (("--bogus",), 2, "No such option"),
        (("extra",), 2, "unexpected extra argument"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else "",
)
async def test_what_cannot_be_is_refused_in_one_line(
    tmp_path: Path, args: tuple[str | bytes, ...], code: int, says: str
) -> None:
    got, line = await refused("--data", str(tmp_path / "data"), *args)
    assert got == code
    assert line.startswith("gossip: ")
    assert says in line


async def test_a_port_and_a_directory_in_use_are_refused(tmp_path: Path) -> None:
    async with running("a", tmp_path / "a") as a:
        code, line = await refused("--data", str(tmp_path / "a"), "--bind", "127.0.0.1:0")
        assert code == 1
        assert line.startswith(f"gossip: {a.data} is in use by process {a.process.pid}; stop it, or give this node ")
        code, line = await refused("--data", str(tmp_path / "b"), "--bind", a.address)
        assert (code, line) == (
            1,
            f"gossip: cannot listen on {a.address}: Address already in use; bind to another address or port",
        )
        assert (await gossip("status", "--data", str(tmp_path / "a"))).returncode == 0


async def test_the_usual_port_is_insisted_on_where_nobody_could_discover_another(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):  # then somebody else has it, which is as good
            taken.bind(("127.0.0.1", DEFAULT_PORT))
            taken.listen()
        code, line = await refused("--data", str(tmp_path), "--no-discovery")
        assert (code, line) == (
            1,
            "gossip: cannot listen on 127.0.0.1:4747: Address already in use; bind to another address or port",
        )


async def test_another_port_is_taken_where_others_discover_it(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):
            taken.bind(("127.0.0.1", DEFAULT_PORT))
            taken.listen()
        command = [*GOSSIP, "run", "--name", "a", "--data", str(tmp_path), "--cluster", f"test-{token_hex(8)}"]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), text=True
        )
        with process:
            assert process.stdout is not None
            assert process.stderr is not None
            line = process.stdout.readline()
            process.terminate()
            log = process.stderr.read()
    match = re.fullmatch(r"a listens on 127\.0\.0\.1:(\d+); .*\n", line)
    assert match, (line, log)
    assert int(match[1]) != DEFAULT_PORT
    assert "port.taken" in log
    assert process.returncode == 0


@pytest.mark.parametrize("key", ["short", "A" * 44, "not/url-safe?" * 4])
async def test_a_key_that_is_none_is_refused_and_not_repeated(tmp_path: Path, key: str) -> None:
    code, line = await refused("--data", str(tmp_path), "--bind", "127.0.0.1:0", GOSSIP_KEY=key)
    assert code == 1
    assert "make one with `gossip keygen`" in line
    assert key not in line


async def test_a_damaged_file_is_set_aside_and_the_node_begins_anew(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"no database" * 1000)
    async with running("a", tmp_path) as a:
        with patience():
            while b"state.db.damaged-1" not in a.log:
                await trio.sleep(0.01)
        assert b"data.damaged" in a.log
        assert await a.stop() == 0
    assert (tmp_path / "state.db.damaged-1").read_bytes() == b"no database" * 1000


async def test_data_of_a_later_release_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "state.db")) as database:
        database.execute("PRAGMA user_version = 99")
    code, line = await refused("--data", str(tmp_path), "--bind", "127.0.0.1:0")
    assert code == 1
    assert "is of format 99" in line
    assert "use the later release" in line


async def test_a_key_file_that_others_can_read_is_refused_unless_that_is_meant(tmp_path: Path) -> None:
    file, data = tmp_path / "key", tmp_path / "data"
    file.write_text(KEY + "\n")
    for mode in (0o644, 0o640):
        file.chmod(mode)
        code, line = await refused("--key-file", str(file), "--data", str(data))
        assert code == 1
        assert f"others can read the key file {file} (its mode is {mode:04o}); mend it with `chmod 600 {file}`" in line
        assert not data.exists()
    for mode, insecure in ((0o644, ["--insecure"]), (0o600, []), (0o400, [])):
        file.chmod(mode)
        async with running("a", data, "--key-file", str(file), *insecure) as a:
            assert await a.stop() == 0
        assert b"sealed=True" in a.log


async def test_what_never_ends_is_no_key_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "large").write_bytes(b"x" * 5_000)
    (tmp_path / "large").chmod(0o600)
    for file, says in (("/dev/zero", "is a device"), ("pipe", "is a pipe"), ("large", "is too large for a key file")):
        code, line = await refused("--key-file", str(tmp_path / file))
        assert code == 1
        assert says in line


async def test_a_directory_that_others_can_write_to_is_refused_unless_that_is_meant(tmp_path: Path) -> None:
    data = tmp_path / "my data"
    data.mkdir()
    data.chmod(0o777)
    code, line = await refused("--data", str(data), "--bind", "127.0.0.1:0")
    assert code == 1
    assert f"other users may write to {data} (its mode is 0777)" in line
    assert f"`chmod go-w '{data}'`" in line
    assert list(data.iterdir()) == []
    async with running("a", data, "--insecure") as a:
        assert await a.stop() == 0
    data.chmod(0o755)
    async with running("a", data) as a:
        assert await a.stop() == 0


def test_python_m_gossip_is_the_same_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gossip", "--help"], capture_output=True, text=True, env=environment(), check=True
    )
    assert done.stdout.startswith("Usage: gossip [OPTIONS]")
