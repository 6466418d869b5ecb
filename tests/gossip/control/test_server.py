"""The control socket, spoken to as any local program could: nothing said there, or not said, harms the node."""

import itertools
import json
import os
import random
import socket
import stat
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trio

from gossip import Node, NotRunning, open_node
from gossip.control import server as control
from gossip.control.porting import PART_ENTRIES
from gossip.control.server import MAX_REQUEST_BYTES, SOCKET_FILE, plain, socket_path
from gossip.node import SHUTDOWN_GRACE
from gossip.storage import database

from ..live import FAST, Journal, acquainted, patience, until


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with open_node("a", data_dir=tmp_path / "a", config=FAST) as node:
        yield node


@pytest.fixture
def place(tmp_path: Path) -> str:
    return str(tmp_path / "a" / SOCKET_FILE)


@asynccontextmanager
async def call(place: str, request: bytes) -> AsyncIterator[trio.SocketStream]:
    stream = await trio.open_unix_socket(place)
    async with stream:
        await stream.send_all(request)
        yield stream


def request(verb: str, **args: Any) -> bytes:
    return json.dumps({"verb": verb, "args": args}).encode() + b"\n"


async def answers(stream: trio.SocketStream, count: int = 1) -> list[dict[str, Any]]:
    data = b""
    with patience():
        while data.count(b"\n") < count and (more := await stream.receive_some()):
            data += more
    return [json.loads(line) for line in data.splitlines()]


async def asked(place: str, verb: str, **args: Any) -> Any:
    async with call(place, request(verb, **args)) as stream:
        (answer,) = await answers(stream)
    return answer["result"]


async def test_the_socket_is_for_this_user_only_and_gone_with_the_node(tmp_path: Path) -> None:
    mask = os.umask(0)
    try:
        async with open_node("a", data_dir=tmp_path):
            assert stat.S_IMODE((tmp_path / SOCKET_FILE).stat().st_mode) == 0o600
    finally:
        os.umask(mask)
    assert not (tmp_path / SOCKET_FILE).exists()


async def test_starting_a_node_leaves_the_mask_of_new_files_alone(tmp_path: Path) -> None:
    """It is shared by all threads and tasks of the process."""
    mask = os.umask(0o027)
    try:
        async with trio.open_nursery() as nursery:

            async def make_files() -> None:
                for number in range(50):
                    (tmp_path / str(number)).write_text("")
                    await trio.lowlevel.checkpoint()

            nursery.start_soon(make_files)
            async with open_node("a", data_dir=tmp_path / "a"):
                pass
    finally:
        os.umask(mask)
    assert {stat.S_IMODE((tmp_path / str(number)).stat().st_mode) for number in range(50)} == {0o640}


async def test_a_socket_left_by_a_process_that_was_killed_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "a" / SOCKET_FILE))
    async with open_node("a", data_dir=tmp_path / "a"):
        assert (await asked(str(tmp_path / "a" / SOCKET_FILE), "status"))["name"] == "a"


async def test_a_directory_with_a_path_longer_than_a_socket_takes_works(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["x" * 60] * 4)
    async with open_node("a", data_dir=deep):
        with socket_path(deep) as short:
            assert (await asked(short, "status"))["name"] == "a"
    assert not (deep / SOCKET_FILE).exists()


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"null\n",
        b"[]\n",
        b"7\n",
        b"{}\n",
        b"\xff\xfe\n",
        b"[" * 200_000 + b"\n",
        b'{"verb": "get"}\n',
        b'{"verb": "get", "args": {}}\n',
        b'{"verb": "get", "args": []}\n',
        b'{"verb": "get", "args": "name"}\n',
        b'{"verb": ["get"], "args": {}}\n',
        b'{"verb": "get", "args": {"name": 7}}\n',
        b'{"verb": "watch", "args": {}}\n',
        b'{"verb": "orset", "args": {"op": "add", "name": 7, "value": 1}}\n',
        b'{"verb": "orset", "args": {"op": "add", "name": "", "value": 1}}\n',
        b'{"verb": "orset", "args": {"op": "add", "name": "x", "value": ' + b"[" * 99 + b"]" * 99 + b"}}\n",
        b'{"verb": "counter", "args": {"op": "inc", "name": "x", "by": -1}}\n',
        b'{"verb": "counter", "args": {"op": "inc", "name": "x", "by": 1e9}}\n',
        b'{"verb": "map", "args": {"op": "set", "name": "x", "key": 7, "value": 1}}\n',
        b'{"verb": "register", "args": {"name": "x", "value": 18446744073709551616}}\n',
        b'{"verb": "register", "args": {"name": "x", "value": "\\ud800"}}\n',
        b'{"verb": "dance", "args": {}}\n',
        b'{"verb": "backup", "args": {"path": "relative.db", "force": false}}\n',
        b'{"verb": "backup", "args": {"path": 7, "force": false}}\n',
        b'{"verb": "backup", "args": {"path": "/nowhere/at/all.db", "force": false}}\n',
        b'{"verb": "import", "args": {"items": 7, "add": false}}\n',
        b'{"verb": "import", "args": {"items": [[[], "orset", "x"]], "add": false}}\n',
        b'{"verb": "import", "args": {"items": [[[], "nothing", "x", [1]]], "add": false}}\n',
        b'{"verb": "import", "args": {"items": [[[], [], "x", [1]]], "add": false}}\n',
        b'{"verb": "import", "args": {"items": [[[7], "orset", "x", [1]]], "add": false}}\n',
        b'{"verb": "import", "args": {"items": [[[], "ormap", "x", {}]], "add": false}}\n',
        b"x" * (MAX_REQUEST_BYTES + 1),
    ],
    ids=lambda line: line[:70].decode("latin-1"),
)
async def test_what_is_no_request_gets_one_error_and_changes_nothing(node: Node, place: str, line: bytes) -> None:
    async with call(place, line) as stream:
        (answer,) = await answers(stream)
        assert list(answer) == ["error"]
        with patience(), suppress(trio.BrokenResourceError):  # if it did not read all that we sent
            assert await stream.receive_some() == b""
    assert node.replica.objects() == []
    assert (await asked(place, "status"))["entries"] == 0


ODD: list[Any] = [
    *(None, True, 0, -1, 1.5, 1e308, 10**400, "", "x", "x" * 300, "x" * 5_000, "a\0b", "\ud800", "\u202e", "/", "."),
    *("/tmp/" + "y" * 300, "/tmp/a\0b", "/dev/null/x", "/proc/self/mem", "\x1b]0;x\x07", [], [[]], {}, [1], {"a": 1}),
    *([[[], "lwwmap", "x", {"k": 1}]], [[["x"] * 40, "orset", "x", [1]]], {"role": "x" * 9_000}, {"": ""}, {"a": 7}),
]
ARGUMENTS = {
    "watch": ("name",),
    "backup": ("path", "force"),
    "export": (),
    "members": (),
    "status": (),
    "tag": ("set", "remove"),
    "ls": (),
    "get": ("name", "type"),
    "orset": ("op", "name", "value"),
    "counter": ("op", "name", "by"),
    "register": ("name", "value"),
    "map": ("op", "name", "key", "value"),
    "import": ("items", "add"),
    "retire": ("member", "force"),
    "retire_look_up": ("member", "force"),
    "retire_unknown": ("dry",),
}


def test_every_verb_is_asked_odd_things_below_but_for_the_one_that_ends_the_node() -> None:
    assert {*control._VERBS, *control._TALKS} == {*ARGUMENTS, "leave"}


@pytest.mark.parametrize("seed", range(4))
async def test_no_odd_request_ends_the_node(node: Node, place: str, seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(150):
        verb = rng.choice(list(ARGUMENTS))
        args = {name: rng.choice([*ODD, "add", "inc", "set", "x"]) for name in ARGUMENTS[verb]}
        if args and rng.random() < 0.1:
            args.popitem()
        async with call(place, request(verb, **args)) as stream:
            with trio.move_on_after(0.02 if verb == "watch" else 30) as waited:
                (answer, *_) = await answers(stream)
                assert {"error", "result"} >= answer.keys(), (verb, args)
            assert verb == "watch" or not waited.cancelled_caught, (verb, args)
    assert (await asked(place, "status"))["name"] == "a"
    node.orset("s").add("still there")
    await node.flush()


@pytest.mark.parametrize(
    "failure",
    [
        OSError(36, "File name too long"),
        OverflowError("too large"),
        RecursionError("too deep"),
        UnicodeError("no text"),
        AssertionError(),
        MemoryError(),
        ExceptionGroup("several", [ExceptionGroup("inside", [trio.BrokenResourceError(), OSError("it broke")])]),
    ],
    ids=lambda failure: type(failure).__name__,
)
@pytest.mark.parametrize("is_long", [False, True], ids=["at once", "after a while"])
async def test_a_verb_that_fails_in_a_way_nobody_has_foreseen_is_told_of_and_logged_and_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception, is_long: bool
) -> None:
    def fail(*_: object) -> None:
        raise failure

    async def fail_later(*_: object) -> None:
        await trio.sleep(0.001)
        raise failure

    journal = Journal()
    monkeypatch.setitem(control._TALKS if is_long else control._VERBS, "status", fail_later if is_long else fail)
    async with open_node("a", data_dir=tmp_path, config=FAST, log=journal.logger) as node:
        async with call(str(tmp_path / SOCKET_FILE), request("status")) as stream:
            (answer,) = await answers(stream)
        assert answer["error"].startswith("the node could not do that (")
        assert answer["error"].endswith("; its log says more")
        node.counter("c").increment()
        await node.flush()
        assert await asked(str(tmp_path / SOCKET_FILE), "ls")
    (line,) = journal.named("request.failed")
    cause = failure.exceptions[0].exceptions[1] if isinstance(failure, ExceptionGroup) else failure  # type: ignore[attr-defined]
    assert (line["verb"], line["exc_info"], line["level"]) == ("status", cause, "error")


async def test_a_verb_that_fails_while_the_node_ends_does_not_spoil_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail_at_the_end(*_: object) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            try:
                await trio.sleep_forever()
            finally:
                raise OSError("it broke")

    monkeypatch.setitem(control._TALKS, "status", fail_at_the_end)
    async with open_node("a", data_dir=tmp_path, config=FAST), call(str(tmp_path / SOCKET_FILE), request("status")):
        await trio.sleep(0.05)


@pytest.mark.parametrize(("years", "shows"), [(143, "2113"), (229, "2199"), (-0.5, "1969")])
async def test_a_clock_out_of_all_range_ends_no_node_and_is_told_of_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, years: float, shows: str
) -> None:
    journal = Journal()
    monkeypatch.setattr(time, "time", lambda: years * 365.25 * 86_400)
    async with open_node("a", data_dir=tmp_path, config=FAST, log=journal.logger):
        place = str(tmp_path / SOCKET_FILE)
        for verb, args in (("map", {"op": "set", "key": "k"}), ("register", {})):
            async with call(place, request(verb, name="x", value=1, **args)) as stream:
                (answer,) = await answers(stream)
            assert answer["error"].startswith(f"the clock shows {shows}-")
        await asked(place, "orset", op="add", name="s", value=1)
        await asked(place, "counter", op="inc", name="c", by=1)
        assert [held["type"] for held in await asked(place, "ls")] == ["counter", "orset"]
    (line,) = journal.named("clock.wrong")
    assert line["shows"].startswith(shows)
    assert line["advice"].endswith("is refused")
    assert not journal.named("request.failed")


@pytest.mark.parametrize(("date", "is_told"), [(0, True), (1.5e9, True), (1.8e9, False), (4.1e9, True)])
async def test_a_clock_that_is_certainly_wrong_is_told_of_at_the_start(
    monkeypatch: pytest.MonkeyPatch, date: float, is_told: bool
) -> None:
    journal = Journal()
    monkeypatch.setattr(time, "time", lambda: date)
    async with open_node("a", config=FAST, log=journal.logger) as node:
        node.register("r").set(1)
    assert len(journal.named("clock.wrong")) == is_told


async def test_a_caller_that_hangs_up_at_any_point_harms_nobody(node: Node, place: str) -> None:
    whole = request("register", name="x", value="y" * 1_000)
    others = (request("status"), request("watch", name=None), request("export"))
    for sent in (b"", whole[:1], whole[:-1], whole, *others):
        for _ in range(5):
            async with call(place, sent):
                pass
    assert (await asked(place, "status"))["name"] == "a"


async def test_a_backup_ends_when_its_caller_hangs_up(
    node: Node, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "COPY_PAGES", 1)
    monkeypatch.setattr(database, "COPY_PAUSE", 0.02)
    for number in range(200):
        node.register(f"r{number}").set("x" * 5_000)
    await node.flush()
    assert node.storage().bytes_on_disk > 100 * 4096  # takes two seconds at least
    async with call(place, request("backup", path=str(tmp_path / "b.db"), force=False)):
        with patience():
            while not list(tmp_path.glob(".b.db*")):
                await trio.sleep(0.01)
    with patience():
        while list(tmp_path.glob(".b.db*")):
            await trio.sleep(0.01)
    assert not (tmp_path / "b.db").exists()
    node.register("r").set("still there")
    await node.flush()


async def test_a_node_that_ends_does_not_wait_for_a_backup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "COPY_PAGES", 1)
    monkeypatch.setattr(database, "COPY_PAUSE", 0.05)
    told: list[str] = []

    async def back_up(node: Node) -> None:
        try:
            await node.backup(tmp_path / "b.db")
        except NotRunning as error:
            told.append(str(error))

    async with trio.open_nursery() as nursery:
        with patience():
            async with open_node("a", data_dir=tmp_path / "a", config=FAST) as node:
                for number in range(200):
                    node.register(f"r{number}").set("x" * 5_000)
                nursery.start_soon(back_up, node)
                while not list(tmp_path.glob(".b.db*")):
                    await trio.sleep(0.01)
    assert told == ["the node was closed before the copy was complete; there is no copy"]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    async with open_node("a", data_dir=tmp_path / "a", config=FAST) as node:
        assert len(node.replica.objects()) == 200


async def test_an_export_ends_with_a_word_that_it_is_all(node: Node, place: str) -> None:
    for number in range(1_000):
        node.orset("s").add(number)
    async with call(place, request("export")) as stream:
        *parts, end = [answer["result"] for answer in await answers(stream, 1_000 // PART_ENTRIES + 1)]
    assert end == {"end": True}
    assert sorted(element for part in parts for item in part["items"] for element in item[3]) == [*range(1_000)]


async def test_a_watcher_that_hangs_up_while_changes_pour_in_harms_nobody(node: Node, place: str) -> None:
    for turn in range(20):
        async with call(place, request("watch", name=None)) as stream:
            await until(node, lambda: node.replica.store._on_change)
            for number in range(300):
                node.register(f"r{number}").set(str(turn) * 1_000)
            await stream.receive_some(1)
        await until(node, lambda: not node.replica.store._on_change)
    assert (await asked(place, "status"))["objects"] == 300


async def test_a_watcher_that_reads_nothing_holds_up_neither_writers_nor_the_end(tmp_path: Path) -> None:
    with patience():
        async with trio.open_nursery() as nursery:
            async with open_node("a", data_dir=tmp_path) as node:
                stream = await trio.open_unix_socket(str(tmp_path / SOCKET_FILE))
                await stream.send_all(request("watch", name=None))
                await until(node, lambda: node.replica.store._on_change)
                for number in range(2_000):
                    node.register(f"r{number}").set("x" * 1_000)
                assert (await asked(str(tmp_path / SOCKET_FILE), "status"))["objects"] == 2_000
            nursery.start_soon(stream.aclose)


async def test_a_watcher_is_told_what_is_there_now(node: Node, place: str) -> None:
    node.lwwmap("m").set("k", 1)
    node.orset("t").add(float("inf"))
    async with call(place, request("watch", name=None)) as stream:
        await until(node, lambda: node.replica.store._on_change)
        node.lwwmap("m").set("k", b"\0")
        node.lwwmap("m").delete("k")
        node.orset("s").add(("a", 1))
        node.orset("t").remove(float("inf"))
        node.counter("c").increment(4)
        told = [answer["result"] for answer in await answers(stream, 4)]
    assert [(t["kind"], t["name"], t["key"], t["now"], t["writer"]) for t in told] == [
        ("lwwmap", "m", "k", None, "a"),
        ("orset", "s", ["a", 1], "present", "a"),
        ("orset", "t", "inf", "absent", "a"),
        ("counter", "c", None, 4, "a"),
    ]
    assert told[0]["deleted"] is True


async def test_callers_are_served_side_by_side(node: Node, place: str) -> None:
    async with call(place, b"{"), trio.open_nursery() as nursery:  # one does not finish its sentence
        for number in range(100):
            nursery.start_soon(lambda number=number: asked(place, "counter", op="inc", name="c", by=number))
    assert node.counter("c").value() == sum(range(100))


@pytest.mark.parametrize("leaving_first", [True, False])
async def test_what_was_acknowledged_before_the_end_is_held_by_somebody(tmp_path: Path, leaving_first: bool) -> None:
    """Callers write without pause while the node ends: they do not keep it, and what they were told of is not lost."""
    place = str(tmp_path / SOCKET_FILE)
    acknowledged: list[int] = []

    async def writer(first: int) -> None:
        with suppress(OSError, ValueError, trio.BrokenResourceError):  # when the node has ended
            for number in itertools.count(first, 4):
                async with call(place, request("orset", op="add", name="x", value=number)) as stream:
                    (answer,) = await answers(stream)
                if "error" in answer:
                    assert "nothing was written" in answer["error"]
                    return
                acknowledged.append(number)

    async with open_node("keeper", config=FAST) as keeper, trio.open_nursery() as nursery:
        async with open_node("a", join=[keeper.address], data_dir=tmp_path, config=FAST) as node:
            await acquainted(node, keeper)
            for first in range(4):
                nursery.start_soon(writer, first)
            await until(node, lambda: len(acknowledged) > 50)
            if leaving_first:
                async with call(place, request("leave")) as stream:
                    assert (await answers(stream))[0]["result"]["holders"] == 1
                with patience():
                    await node.stop_requested.wait()
            began = trio.current_time()
        assert trio.current_time() - began < SHUTDOWN_GRACE
        with patience():
            while nursery.child_tasks:
                await trio.lowlevel.checkpoint()
        assert set(acknowledged) <= set(keeper.orset("x"))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"\0\xff", {"base64": "AP8="}),
        ((1, (2, b"")), [1, [2, {"base64": ""}]]),
        ({"a": [float("nan"), float("-inf"), 0.5]}, {"a": ["nan", "-inf", 0.5]}),
        ({1}, [1]),
        ("text", "text"),
        (None, None),
        (True, True),
    ],
    ids=repr,
)
def test_every_value_has_a_form_in_json(value: object, expected: object) -> None:
    assert plain(value) == expected
    assert json.loads(json.dumps(plain(value), allow_nan=False)) == expected
