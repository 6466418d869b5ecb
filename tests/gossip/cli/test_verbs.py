"""Every verb against a node: what people read, what programs read, and what is said when it goes wrong."""

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import trio

from crdts import Event as Written
from crdts import ORSet, Replica
from crdts.schema import object_id
from crdts.values import encode_value
from gossip import DiskFailed, Node, open_node
from gossip.release import RELEASE
from gossip.storage.database import Database

from ..live import FAST, acquainted, states, until
from .conftest import Gossip

STRANGE = [
    "plain",
    "",
    " ",
    "[red]not red[/red]",
    "[/]",
    ":smile:",
    "'single' and \"double\"",
    "back\\slash",
    "ünïcödé 漢字 🎉",
    "a" * 20_000,
    "word " * 5_000,
    "%s {0} ${HOME}",
    "<b>&amp;</b>",
    "0",
    "null",
]
TERMINAL_CODES = ["\x1b[31mred", "bell\a", "two\nlines", "tab\t", "c1 \x9b31m", "over\u202eride", "\x7f", "\u2028"]


# ---- data


async def test_a_set_is_changed_and_shown(node: Node, gossip: Gossip) -> None:
    assert (await gossip("orset", "add", "tasks", "write")).out == "tasks has 1 element\n"
    assert (await gossip("orset", "add", "tasks", "test")).out == "tasks has 2 elements\n"
    assert (await gossip("orset", "add", "tasks", "test")).out == "tasks has 2 elements\n"
    assert (await gossip("get", "tasks")).lines == ["test", "write"]
    assert (await gossip("orset", "remove", "tasks", "test")).out == "tasks has 1 element\n"
    assert (await gossip("orset", "remove", "tasks", "test")).out == "it was not there\n"
    answer = await gossip("orset", "remove", "tasks", "write", "--json")
    assert json.loads(answer.out) == {"changed": True, "size": 0}
    assert node.replica.objects() == []


async def test_a_counter_is_changed_and_shown(node: Node, gossip: Gossip) -> None:
    assert (await gossip("counter", "inc", "hits")).out == "1\n"
    assert (await gossip("counter", "inc", "hits", "9")).out == "10\n"
    assert (await gossip("counter", "dec", "hits", "12")).out == "-2\n"
    assert json.loads((await gossip("counter", "dec", "hits", "--json")).out) == {"value": -3}
    assert (await gossip("get", "hits")).out == "-3\n"
    assert node.counter("hits").value() == -3


async def test_a_register_is_changed_and_shown(node: Node, gossip: Gossip) -> None:
    assert (await gossip("register", "set", "leader", "bob")).out == "bob\n"
    assert json.loads((await gossip("register", "set", "leader", "eve", "--json")).out) == {"value": "eve"}
    assert (await gossip("get", "leader")).out == "eve\n"
    assert node.register("leader").get() == "eve"


async def test_a_map_is_changed_and_shown(node: Node, gossip: Gossip) -> None:
    assert (await gossip("map", "set", "config", "colour", "blue")).out == "config has 1 key\n"
    assert (await gossip("map", "set", "config", "a", "first")).out == "config has 2 keys\n"
    assert (await gossip("get", "config")).lines == ["KEY     VALUE", "a       first", "colour  blue"]
    assert json.loads((await gossip("map", "delete", "config", "a", "--json")).out) == {"changed": True, "size": 1}
    assert (await gossip("map", "delete", "config", "a")).out == "it was not there\n"
    assert (await gossip("map", "delete", "config", "colour")).out == "config has 0 keys\n"
    assert node.replica.objects() == []


async def test_what_embedded_code_shared_is_shown_by_type(node: Node, gossip: Gossip) -> None:
    node.gcounter("x").increment(7)
    node.mvregister("x").set([3, 1, 2])
    node.register("x").set({"b": None, "a": b"\0"})
    node.orset("x").add((1, "two"))
    answer = await gossip("get", "x")
    assert answer.lines == [
        *("gcounter x:", "7"),
        *("register x:", '{"a": {"base64": "AA=="}, "b": null}'),
        *("orset x:", '[1, "two"]'),
        *("mvregister x:", "[3, 1, 2]"),
    ]
    assert [held["type"] for held in json.loads((await gossip("get", "x", "--json")).out)] == [
        *("gcounter", "register", "orset", "mvregister"),
    ]
    assert (await gossip("get", "x", "--type", "gcounter")).out == "7\n"
    assert json.loads((await gossip("get", "x", "--type", "orset", "--json")).out) == [
        {"type": "orset", "name": "x", "value": [[1, "two"]]}
    ]


async def test_a_list_in_a_register_keeps_its_order(node: Node, gossip: Gossip) -> None:
    assert (await gossip("register", "set", "r", '[3, "x", 1]', "--parse")).out == '[3, "x", 1]\n'
    assert (await gossip("get", "r")).out == '[3, "x", 1]\n'


async def test_the_list_of_objects_is_aligned_and_brief(node: Node, gossip: Gossip) -> None:
    assert (await gossip("ls")).out == "nothing shared yet\n"
    assert json.loads((await gossip("ls", "--json")).out) == []
    node.orset("tasks").add("x")
    node.lwwmap("配置").set("a", 1)
    node.lwwmap("配置").set("b", 1)
    node.register("long").set("word " * 1_000)
    answer = await gossip("ls")
    assert answer.lines[0] == "TYPE      NAME   CONTENT"
    assert "lwwmap    配置   2 entries" in answer.lines
    assert "orset     tasks  1 entry" in answer.lines
    assert max(map(len, answer.lines)) < 90
    found = {held["name"]: held for held in json.loads((await gossip("ls", "--json")).out)}
    assert found["long"] == {"type": "register", "name": "long", "size": None, "value": "word " * 1_000}
    assert found["tasks"] == {"type": "orset", "name": "tasks", "size": 1, "value": None}


# ---- strange input


@pytest.mark.parametrize("text", STRANGE, ids=lambda text: text[:20] or "empty")
async def test_text_is_stored_and_shown_as_it_is(node: Node, gossip: Gossip, text: str) -> None:
    assert (await gossip("register", "set", "r", "--", text)).out == text + "\n"
    assert node.register("r").get() == text
    assert (await gossip("get", "r")).out == text + "\n"
    assert json.loads((await gossip("get", "r", "--json")).out)[0]["value"] == text


async def test_strange_text_stays_in_its_column(node: Node, gossip: Gossip) -> None:
    for text in STRANGE:
        node.lwwmap("m").set(text[:900], text)
    answer = await gossip("get", "m")
    assert len(answer.lines) == len(STRANGE) + 1
    shown = dict(line.split("  ", 1) for line in answer.lines if line.startswith(("plain ", "null ", ":smile: ")))
    assert {key: value.strip() for key, value in shown.items()} == {k: k for k in ("plain", "null", ":smile:")}


@pytest.mark.parametrize("text", TERMINAL_CODES, ids=ascii)
async def test_characters_that_would_upset_a_terminal_are_escaped(node: Node, gossip: Gossip, text: str) -> None:
    node.lwwmap(f"map {text}").set(text, text)
    node.orset("s").add(text)
    node.register("r").set([text])
    outputs = [await gossip(*verb) for verb in (("ls",), ("get", f"map {text}"), ("get", "s"), ("get", "r"))]
    for answer in outputs:
        assert answer.code == 0
        assert answer.out.replace("\n", "").isprintable()
    assert len(outputs[2].lines) == 1
    missing = await gossip("get", f"no {text}")
    assert missing.code == 1
    assert missing.err.rstrip("\n").isprintable()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7", 7),
        ("-7", -7),
        ("1.5", 1.5),
        ("true", True),
        ("null", None),
        ('"text"', "text"),
        ("[1, [2]]", [1, [2]]),
        ('{"a": {"b": []}}', {"a": {"b": []}}),
    ],
)
async def test_values_may_be_json(node: Node, gossip: Gossip, text: str, value: object) -> None:
    assert (await gossip("register", "set", "r", "--parse", "--", text)).code == 0
    assert node.register("r").get() == value
    assert type(node.register("r").get()) is type(value)


async def test_without_parse_everything_is_text(node: Node, gossip: Gossip) -> None:
    await gossip("orset", "add", "s", "7")
    await gossip("orset", "add", "s", "7", "--parse")
    assert sorted(map(repr, node.orset("s"))) == ["'7'", "7"]


@pytest.mark.parametrize(
    "text", ["", "{", "nope", "NaN", "-Infinity", "1e400", "[" * 100_000, "'x'", "1 2", "9" * 5_000]
)
async def test_what_is_no_json_is_refused_as_usage(node: Node, gossip: Gossip, text: str) -> None:
    answer = await gossip("register", "set", "r", "--parse", "--", text)
    assert (answer.code, answer.out) == (2, "")
    assert one_line(answer.err).startswith("gossip: VALUE is not JSON:")
    assert "leave out --parse" in answer.err
    assert len(answer.err) < 250


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("register", "set", "r", "--parse", str(1 << 64)), "2**64"),
        (("register", "set", "r", "--parse", "[" * 17 + "]" * 17), "16 deep"),
        (("register", "set", "n" * 256, "x"), "255"),
        (("orset", "add", "s", "x" * 5_000), "4096 bytes"),
        (("orset", "add", "", "x"), "at least one character"),
        (("get", "nothing"), "there is no object 'nothing'; `gossip ls`"),
        (("get", "nothing", "--type", "orset"), "there is no orset 'nothing'"),
    ],
)
async def test_what_the_node_refuses_is_a_failure_in_one_line(
    node: Node, gossip: Gossip, args: tuple[str, ...], says: str
) -> None:
    answer = await gossip(*args)
    assert (answer.code, answer.out) == (1, "")
    assert one_line(answer.err).startswith("gossip: ")
    assert says in answer.err
    assert node.replica.objects() == []


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("dance",), "No such command 'dance'"),
        (("get",), "Missing argument 'NAME'"),
        (("get", "x", "--type", "blob"), "'blob' is not one of"),
        (("ls", "extra"), "unexpected extra argument"),
        (("ls", "--jsn"), "Did you mean"),
        (("counter", "inc", "c", "-3"), "Put -- before values that begin with a dash"),
        (("counter", "inc", "c", "--", "-3"), "-3 is not in the range"),
        (("counter", "inc", "c", str(1 << 65)), "is not in the range"),
        (("counter", "inc", "c", "many"), "'many' is not a valid integer"),
        (("map", "set", "m", "k"), "Missing argument 'VALUE'"),
        (("orset", "add", "s", "\udcff"), "not valid UTF-8"),
        (("get", "\udcff"), "not valid UTF-8"),
        (("keygen", "--oops"), "No such option"),
    ],
)
async def test_wrong_usage_is_told_in_one_line_with_where_to_read_more(
    node: Node, gossip: Gossip, args: tuple[str, ...], says: str
) -> None:
    answer = await gossip(*args, at=None)
    assert (answer.code, answer.out) == (2, "")
    assert one_line(answer.err).startswith("gossip: ")
    assert says in answer.err


def one_line(text: str) -> str:
    assert text.count("\n") == 1
    assert text.endswith("\n")
    return text


# ---- the cluster


async def test_members_are_listed_in_columns(node: Node, gossip: Gossip) -> None:
    alone = await gossip("members")
    assert alone.out.startswith(
        "no other members yet; start another node on this network, or with --join and this node's address"
    )
    assert json.loads((await gossip("members", "--json")).out) == []
    tags = {"role": "worker", "zone": "[x] 漢"}
    async with open_node("bob [x] 漢", join=[node.address], config=FAST, tags=tags) as bob:
        await acquainted(node, bob)
        await until(node, lambda: node.members()[0].tags and node.members()[0].rtt is not None)
        head, line = (await gossip("members")).lines
        assert head.split() == ["NAME", "STATE", "ADDRESS", "FOR", "RTT", "VERSION", "TAGS", "ID"]
        assert line.startswith("bob [x] 漢  alive  ")
        assert head.index("STATE") == line.index("alive") + 1, "漢 is two columns wide"
        shown = rf"alive +{bob.address} +\d+s +\d+\.\dms +{RELEASE} +role=worker,zone=\[x\] 漢 +{bob.id}"
        assert re.search(f" {shown}$", line)
        (found,) = json.loads((await gossip("members", "--json")).out)
        assert found.items() >= {"name": bob.name, "id": bob.id, "address": str(bob.address), "state": "alive"}.items()
        assert (found["tags"], found["version"]) == (tags, RELEASE)
        assert found["rtt"] > 0.0


async def test_what_is_not_known_of_a_member_is_shown_as_a_dash(
    data: Path, gossip: Gossip, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {"name": "bob", "state": "alive", "address": "127.0.0.1:1", "seconds": 5.0, "id": "00"}
    unknown = {"rtt": None, "version": "", "tags": {}}
    monkeypatch.setattr("gossip.cli.talk.ask", lambda *_: [known | unknown])
    _, line = (await gossip("members")).lines
    assert line.split() == ["bob", "alive", "127.0.0.1:1", "5s", "-", "-", "-", "00"]


async def test_tags_are_shown_changed_and_removed_and_the_others_see_it(node: Node, gossip: Gossip) -> None:
    async with open_node("bob", join=[node.address], config=FAST) as bob:
        await acquainted(node, bob)
        assert (await gossip("tag")).out == "no tags\n"
        assert json.loads((await gossip("tag", "--json")).out) == {}
        assert (await gossip("tag", "zone=b", "role=worker")).out == "role=worker,zone=b\n"
        await until(bob, lambda: bob.members()[0].tags == {"role": "worker", "zone": "b"})
        assert (await gossip("tag")).out == "role=worker,zone=b\n"
        answer = await gossip("tag", "role=a=b", "--remove", "zone", "--remove", "never there", "--json")
        assert json.loads(answer.out) == {"role": "a=b"}
        await until(bob, lambda: bob.members()[0].tags == {"role": "a=b"})
        assert (await gossip("tag", "--remove", "role")).out == "no tags\n"
        await until(bob, lambda: not bob.members()[0].tags)
        assert states(bob) == {"alice": "alive"}


@pytest.mark.parametrize("text", ["role", "=worker", "", "="])
async def test_a_tag_without_key_and_value_is_wrong_usage(node: Node, gossip: Gossip, text: str) -> None:
    answer = await gossip("tag", "--", text)
    assert (answer.code, answer.out) == (2, "")
    assert one_line(answer.err).startswith(f"gossip: a tag is KEY=VALUE, such as role=worker; not {text!r}")
    assert node.tags == {}


@pytest.mark.parametrize(
    ("tags", "says"),
    [
        (("bell=\a",), r"tags are printable text, such as role=worker; not '\x07'"),
        (("long=" + "x" * 2_000,), "put more into an object"),
        (tuple(f"k{number}=v" for number in range(100)), "put more into an object"),
    ],
    ids=["control", "long", "many"],
)
async def test_tags_that_no_member_would_take_are_refused_and_change_nothing(
    node: Node, gossip: Gossip, tags: tuple[str, ...], says: str
) -> None:
    await gossip("tag", "role=worker")
    answer = await gossip("tag", *tags)
    assert (answer.code, answer.out) == (2, "")
    assert says in one_line(answer.err)
    assert node.tags == {"role": "worker"}


async def test_tags_that_are_too_much_together_with_those_there_are_a_failure(node: Node, gossip: Gossip) -> None:
    assert (await gossip("tag", *(f"k{number}=v" for number in range(12)))).code == 0
    before = dict(node.tags)
    answer = await gossip("tag", *(f"more{number}=v" for number in range(12)))
    assert (answer.code, answer.out) == (1, "")
    assert "put more into an object" in one_line(answer.err)
    assert node.tags == before


async def test_tags_with_commas_and_quotes_are_told_apart_from_several_tags(node: Node, gossip: Gossip) -> None:
    async with open_node("bob", join=[node.address], config=FAST, tags={"a=b": "c", "say": 'a "word"'}) as bob:
        await until(node, lambda: node.members() and node.members()[0].tags)
        assert (await gossip("tag", "zones=a,b=c", "role=worker", "x=1=2")).out == 'role=worker,x=1=2,zones="a,b=c"\n'
        assert node.tags == {"role": "worker", "x": "1=2", "zones": "a,b=c"}
        assert f'"a=b"=c,say="a \\"word\\""  {bob.id}' in (await gossip("members")).out


async def test_the_help_says_that_tags_do_not_outlive_the_node(gossip: Gossip) -> None:
    assert "lasts until the node stops" in " ".join((await gossip("tag", "--help", at=None)).out.split())
    assert "give them at every start" in " ".join((await gossip("run", "--help", at=None)).out.split())


async def test_members_are_listed_by_name_and_then_by_id(node: Node, gossip: Gossip) -> None:
    async with (
        open_node("eve", join=[node.address], config=FAST) as eve,
        open_node("bob", join=[node.address], config=FAST) as one,
        open_node("bob", join=[node.address], config=FAST) as two,
    ):
        await until(node, lambda: len(node.members()) == 3)
        expected = [*sorted([one.id, two.id]), eve.id]
        assert [member.id for member in node.members()] == expected
        assert [line.split()[-1] for line in (await gossip("members")).lines[1:]] == expected
        await one.leave()
        await until(node, lambda: "left" in [member.state for member in node.members()])
        assert [member.id for member in node.members()] == expected, "who has changed keeps its place"


async def test_the_status_tells_what_a_node_is_and_does(node: Node, gossip: Gossip) -> None:
    node.orset("x").add(1)
    answer = await gossip("status")
    told = dict(line.split("  ", 1) for line in answer.lines)
    assert told["name"].strip() == "alice"
    assert told["address"].strip() == str(node.address)
    assert told["pid"].strip() == str(os.getpid())
    assert told["members"].strip() == "alive: 0"
    assert told["sealed"].strip() == "no: no cluster key, loopback only"
    assert told["entries"].strip() == "1"
    assert told["tags"].strip() == "-"
    assert told["partial"].strip() == "no"
    assert re.fullmatch(r"\d+\.\d KiB", told["bytes on disk"].strip())
    await gossip("tag", "role=worker")
    assert "role=worker" in (await gossip("status")).out
    found = json.loads((await gossip("status", "--json")).out)
    assert (found["release"], found["causal_token"]) == (RELEASE, str(node.version()))
    assert "version" not in found, "that would be either"
    assert found["tags"] == {"role": "worker"}
    assert found["statistics"]["events_written"] == 1
    assert found["storage"]["bytes_on_disk"] == node.storage().bytes_on_disk


async def test_the_causal_token_in_the_status_can_be_waited_for_elsewhere(node: Node, gossip: Gossip) -> None:
    async with open_node("bob", join=[node.address], config=FAST) as bob:
        await gossip("orset", "add", "x", "seen")
        await bob.wait_for(json.loads((await gossip("status", "--json")).out)["causal_token"])
        assert "seen" in bob.orset("x")


async def test_leaving_tells_how_many_have_all_writes_and_asks_the_node_to_stop(node: Node, gossip: Gossip) -> None:
    async with open_node("bob", join=[node.address], config=FAST) as bob:
        await acquainted(node, bob)
        await gossip("orset", "add", "x", "last")
        assert not node.stop_requested.is_set()
        assert (await gossip("leave")).out == "left; its writes are held by 1 other member\n"
        assert "last" in bob.orset("x")
        await node.stop_requested.wait()
        assert json.loads((await gossip("leave", "--json")).out) == {
            "left": True,
            "wrote": True,
            "holders": 1,
            "kept_in": node.storage().directory,
            "disk_failure": None,
            "others": 1,
        }


async def test_leaving_says_where_writes_are_kept_that_nobody_else_has(node: Node, gossip: Gossip) -> None:
    await gossip("orset", "add", "x", "only here")
    said = (await gossip("leave")).out
    kept_in = node.storage().directory
    assert said == f"left; its writes are saved in {kept_in}; no other member is there\n"


async def test_leaving_says_so_where_the_program_goes_on_with_the_directory(
    node: Node, gossip: Gossip, data: Path
) -> None:
    left = await gossip("leave")
    assert (left.code, left.err) == (
        0,
        f"gossip: process {os.getpid()} goes on with {data}: copy it only once that has ended\n",
    )


async def test_what_writes_nothing_is_answered_while_the_disk_fails(
    node: Node, gossip: Gossip, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise DiskFailed("the disk is full; make room")

    await gossip("orset", "add", "x", "saved")
    monkeypatch.setattr(Database, "write", fails)
    refused = await gossip("orset", "add", "x", "not saved")
    assert refused.code == 1
    assert "the disk is full; make room" in refused.err
    for verb in ("status", "ls", "members", "tag", "export"):
        assert (await gossip(verb)).code == 0
    assert "saved" in (await gossip("get", "x")).out
    assert json.loads((await gossip("status", "--json")).out)["storage"]["failure"] == "the disk is full; make room"
    left = await gossip("leave")
    assert left.code == 1
    assert "left; what was written last is not saved: the disk is full" in left.out


async def test_a_verb_says_that_what_it_wrote_is_not_saved_while_the_disk_does_not_answer(
    node: Node, gossip: Gossip, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, answers = Database.write, Event()

    def hang(*args: Any) -> None:
        answers.wait()
        original(*args)

    monkeypatch.setattr("gossip.storage.patience.DISK_SLOW", 0.05)
    monkeypatch.setattr(Database, "write", hang)
    try:
        unsaved = await gossip("orset", "add", "x", "in memory")
        refused = await gossip("orset", "add", "x", "refused")
        told = await gossip("status")
    finally:
        answers.set()
    assert (unsaved.code, refused.code, told.code) == (1, 1, 0)
    assert "not saved yet, and kept in memory until it can be: the disk does not answer" in unsaved.err
    assert "nothing was written: the disk does not answer since" in refused.err
    assert "the disk does not answer since" in told.out


async def test_a_member_that_has_gone_is_retired_by_name_or_id(node: Node, gossip: Gossip) -> None:
    async with open_node("bob", join=[node.address], config=FAST) as bob:
        await acquainted(node, bob)
        bob.orset("x").add("stays")
        answer = await gossip("retire", "bob", "--yes")
        assert (answer.code, answer.out) == (1, "")
        assert one_line(answer.err).startswith("gossip: bob is alive: stop it first (`gossip leave` there")
    await until(node, lambda: states(node) == {"bob": "left"})
    assert (await gossip("retire", "bob", "--yes")).out == f"retired bob ({bob.id}); no member will admit it again\n"
    assert node.members() == []
    assert set(node.orset("x")) == {"stays"}
    again = json.loads((await gossip("retire", bob.id, "--yes", "--json")).out)
    assert again == {"retired": True, "id": bob.id, "name": None, "kind": "node"}


async def test_what_fences_a_retired_node_does_not_count_as_an_object(node: Node, gossip: Gossip) -> None:
    node.orset("x").add(1)
    async with open_node("bob", join=[node.address], config=FAST) as bob:
        await acquainted(node, bob)
    await until(node, lambda: states(node) == {"bob": "left"})
    assert (await gossip("retire", "bob", "--yes")).code == 0
    found = json.loads((await gossip("status", "--json")).out)
    assert (found["objects"], found["entries"]) == (1, 1)


async def test_a_suspect_is_not_retired_before_it_counts_as_failed(
    node: Node, gossip: Gossip, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_node("bob", join=[node.address], config=FAST) as bob:
        await acquainted(node, bob)
        (member,) = node.members()
        monkeypatch.setattr(node._engine, "members", lambda _: [replace(member, state="suspect")])
        answer = await gossip("retire", "bob", "--yes")
        assert (answer.code, answer.out) == (1, "")
        assert one_line(answer.err).startswith("gossip: bob is suspect: it does not answer at present, and may yet.")
        assert "Wait some seconds until it counts as failed" in answer.err
        assert "--force" in answer.err


async def test_nobody_is_retired_without_being_asked_for_or_by_mistake(node: Node, gossip: Gossip) -> None:
    for name in ("bob", "0123456789abcdef", "w"):
        for yes in ((), ("--yes",)):  # a name is looked up before anybody is asked
            answer = await gossip("retire", name, *yes)
            assert (answer.code, answer.out) == (1, "")
            assert one_line(answer.err).startswith(f"gossip: no member is called {name};")
    for name in (node.name, node.id):
        assert "is this node itself" in (await gossip("retire", name, "--yes")).err
    node.replica.merge(Replica(f"{'0b' * 8}.3").orset("x").add("of one that was forgotten"))
    answer = await gossip("retire", "0b" * 8)  # its input is no terminal: nobody says yes
    assert (answer.code, answer.out) == (2, "")
    assert f"{'0b' * 8}, a node that is not listed, can never come back" in answer.err
    assert "add --yes" in answer.err
    assert "give one NODE, or --unknown" in (await gossip("retire", "--yes")).err
    assert "give one NODE, or --unknown" in (await gossip("retire", "bob", "--unknown", "--yes")).err


async def test_a_writer_that_belongs_to_no_member_is_closed_by_its_id(node: Node, gossip: Gossip) -> None:
    async with open_node("bob", join=[node.address], config=FAST) as bob:
        await acquainted(node, bob)
        bob.replica.merge(Replica("invented").orset("x").add("stays"))
        await until(node, lambda: node.unknown_writers() == ["invented"])
        found = json.loads((await gossip("status", "--json")).out)["writers"]
        assert found == {"known": 0, "unknown": 1, "closing": 0, "closed": 0}
        assert "1 of nobody (`gossip retire --unknown`)" in (await gossip("status")).out
        answer = await gossip("retire", "invented")
        assert (answer.code, answer.out) == (2, "")
        assert "invented belongs to no member" in one_line(answer.err)
        bob.orset("y").add(1)
        await until(node, lambda: bool(node.orset("y")))
        answer = await gossip("retire", bob.replica.replica_id, "--yes")
        assert (answer.code, answer.out) == (1, "")
        assert one_line(answer.err).endswith(f"retire it: `gossip retire {bob.id}`\n")
        told = json.loads((await gossip("retire", "invented", "--yes", "--json")).out)
        assert told == {"retired": True, "id": "invented", "name": None, "kind": "writer"}
        for each in (node, bob):
            await until(each, lambda each=each: "invented" in each.replica.retired)
            assert set(each.orset("x")) == {"stays"}
        found = json.loads((await gossip("status", "--json")).out)["writers"]
        assert (found["unknown"], found["closing"], found["closed"]) == (0, 0, 1)
        assert "closed already" in (await gossip("retire", "invented", "--yes")).err


async def test_all_writers_that_belong_to_no_member_are_closed_at_once(node: Node, gossip: Gossip) -> None:
    async with open_node("bob", join=[node.address], config=FAST) as bob:
        await acquainted(node, bob)
        for number in range(20):
            bob.replica.merge(Replica(f"r{number:02}").orset("x").add(number))
        await until(node, lambda: len(node.orset("x")) == 20)
        answer = await gossip("retire", "--unknown")
        assert (answer.code, answer.out) == (1, "")
        assert "Wait until it has stayed the same" in answer.err
        await trio.sleep(11 * FAST.probe_interval)
        answer = await gossip("retire", "--unknown")
        assert (answer.code, answer.out) == (2, "")
        assert "20 writers belong to no member: r00, r01, r02, r03, r04, ..." in one_line(answer.err)
        told = await gossip("retire", "--unknown", "--yes")
        assert told.out.startswith("closing 20 writers, once all members agree")
        for each in (node, bob):
            await until(each, lambda each=each: len(each.replica.retired) == 20)
            assert len(each.orset("x")) == 20
        told = await gossip("retire", "--unknown")
        assert told.out == "every writer belongs to a member, or is being closed\n"


async def test_members_that_share_a_name_are_told_apart_by_their_ids(node: Node, gossip: Gossip) -> None:
    async with (
        open_node("bob", join=[node.address], config=FAST) as one,
        open_node("bob", join=[node.address], config=FAST) as two,
    ):
        await until(node, lambda: len(node.members()) == 2)
        answer = await gossip("retire", "bob", "--yes", "--force")
        assert one_line(answer.err).startswith("gossip: 2 members are called bob; name one by its id: ")
        assert {one.id, two.id} <= set(answer.err.replace("(", " ").split())
        await gossip("retire", one.id, "--yes", "--force")
        await until(one, lambda: one.retired)
        assert [member.id for member in node.members()] == [two.id]


async def test_a_node_that_was_retired_says_so_and_refuses_writes(node: Node, gossip: Gossip) -> None:
    async with open_node("bob", join=[node.address], config=FAST) as bob:
        await acquainted(node, bob)
        bob.orset("x").add("read on")
        await bob.synced()
        assert json.loads((await gossip("status", "--json")).out)["retired"] is False
        assert "\nretired " not in (await gossip("status")).out
        bob.retire(node.id, force=True)
        await until(node, lambda: node.retired)
        assert "\nretired " in (await gossip("status")).out
        answer = await gossip("orset", "add", "x", "more")
        assert answer.code == 1
        assert one_line(answer.err).startswith("gossip: the cluster has retired node alice: nothing was written.")
        assert (await gossip("get", "x")).out == "read on\n"
        assert (await gossip("members", "--json")).out == "[]\n"
        listed = one_line((await gossip("members")).out)
        assert listed.startswith("the cluster has retired this node:")
        assert "fresh data directory" in listed


# ---- nobody there


@pytest.mark.parametrize(
    "args",
    [
        *(("members",), ("status",), ("ls",), ("get", "x"), ("orset", "add", "x", "y"), ("orset", "remove", "x", "y")),
        *(
            ("counter", "inc", "x"),
            ("counter", "dec", "x"),
            ("register", "set", "x", "y"),
            ("map", "set", "x", "y", "z"),
        ),
        *(("map", "delete", "x", "y"), ("watch",), ("watch", "x"), ("leave",), ("retire", "x", "--yes")),
        *(("tag",), ("tag", "role=worker"), ("tag", "--remove", "role")),
    ],
    ids=" ".join,
)
async def test_a_verb_without_a_node_says_how_to_start_one(gossip: Gossip, data: Path, args: tuple[str, ...]) -> None:
    for extra in ((), ("--json",)):
        answer = await gossip(*args, *extra)
        assert (answer.code, answer.out) == (1, "")
        assert one_line(answer.err).startswith(f"gossip: no node runs on {data}; start one with `gossip run --data ")
    assert not data.exists()


async def test_the_command_to_start_one_can_be_pasted(gossip: Gossip, tmp_path: Path) -> None:
    answer = await gossip("ls", at=tmp_path / "my node's data")
    assert f"""`gossip run --data '{tmp_path}/my node'"'"'s data'`""" in answer.err


async def test_a_data_directory_that_is_a_file_is_wrong_usage(gossip: Gossip, data: Path) -> None:
    data.write_text("")
    answer = await gossip("ls")
    assert answer.code == 2
    assert "is a file" in one_line(answer.err)


async def test_a_directory_with_a_path_longer_than_a_socket_takes_works(gossip: Gossip, tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["x" * 60] * 4)
    assert (await gossip("ls", at=deep)).code == 1
    async with open_node("a", data_dir=deep):
        assert (await gossip("counter", "inc", "c", at=deep)).out == "1\n"


# ---- help


VERBS = [
    *(
        (),
        ("run",),
        ("members",),
        ("status",),
        ("tag",),
        ("leave",),
        ("retire",),
        ("ls",),
        ("get",),
        ("orset",),
        ("orset", "add"),
    ),
    *(("orset", "remove"), ("counter",), ("counter", "inc"), ("counter", "dec"), ("register",), ("register", "set")),
    *(("map",), ("map", "set"), ("map", "delete"), ("watch",), ("keygen",), ("version",), ("demo",)),
    *(("backup",), ("restore",), ("export",), ("import",)),
    *(("sim",), ("sim", "list"), ("sim", "run"), ("sim", "sweep"), ("sim", "replay")),
]


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: " ".join(verb) or "gossip")
async def test_every_verb_explains_itself_within_80_columns(gossip: Gossip, verb: tuple[str, ...]) -> None:
    for flag in ("--help", "-h"):
        answer = await gossip(*verb, flag, at=None)
        assert (answer.code, answer.err) == (0, "")
        assert answer.lines[0].startswith(f"Usage: {' '.join(('gossip', *verb))}")
        assert max(map(len, answer.lines)) <= 80
        assert not re.search(r"(?<!\w\])\.\.\.", answer.out), "a summary is cut off"


async def test_the_help_names_every_verb(gossip: Gossip) -> None:
    text = (await gossip("--help", at=None)).out
    assert {verb[0] for verb in VERBS if verb} == {
        line.split()[0] for line in text.partition("Commands:\n")[2].splitlines()
    }


async def test_without_arguments_the_help_is_shown_and_it_is_wrong_usage(gossip: Gossip) -> None:
    answer = await gossip(at=None)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("Usage: gossip")


DRIVING = "a\x9bb\u202ec\u2066d\x85e\x1bf\u200fg"
"""Controls of eight bits, and marks that turn the text that follows."""


async def test_what_drives_a_terminal_is_escaped_wherever_it_is_shown(
    node: Node, gossip: Gossip, tmp_path: Path
) -> None:
    node.orset(DRIVING).add(DRIVING)
    node.lwwmap("m").set(DRIVING, {DRIVING: DRIVING})
    node.register("r").set(DRIVING)
    shown = [
        await gossip(*args)
        for args in (
            *(("ls",), ("ls", "--json"), ("get", DRIVING), ("get", "m"), ("get", "m", "--json"), ("get", "r")),
            *(("get", DRIVING, "--json"), ("register", "set", "r", DRIVING), ("orset", "add", DRIVING, "x")),
            *(("export",), ("export", "--json"), ("get", DRIVING + DRIVING), ("retire", DRIVING, "--yes")),
        )
    ]
    for answer in shown:
        text = answer.out + answer.err
        assert text
        assert [c for c in text if not c.isprintable() and c != "\n"] == [], ascii(text)
    assert json.loads(shown[4].out)[0]["value"] == {DRIVING: {DRIVING: DRIVING}}
    assert "\\u009b" in shown[1].out
    exported = tmp_path / "x.json"
    await gossip("export", str(exported))
    assert json.loads(exported.read_text())["objects"]["register"]["r"] == DRIVING
    assert exported.read_text().isascii()


async def test_names_that_look_the_same_are_shown_by_their_code_points(node: Node, gossip: Gossip) -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    older = Written("older", 1, object_id(ORSet.tag, decomposed), encode_value("old"), b"", ())
    node.replica.store.kernel.apply(older)
    assert (await gossip("orset", "add", decomposed, "new")).out == f"{decomposed} has 1 element\n"
    listed = (await gossip("ls")).out
    assert listed.count(composed) == 1
    assert listed.count("cafe\\u0301") == 1
    for name in (composed, decomposed):
        assert (await gossip("get", name)).lines == ["orset cafe\\u0301:", "old", f"orset {composed}:", "new"]
    assert (await gossip("tag", f"{decomposed}=1")).out == f"{composed}=1\n"
    assert (await gossip("tag", "--remove", decomposed)).out == "no tags\n"


async def test_a_device_is_no_document(node: Node, gossip: Gossip) -> None:
    answer = await gossip("import", "/dev/zero")
    assert answer.code == 1
    assert answer.err == "gossip: /dev/zero is a device; name a file, or - for standard input\n"


async def test_what_is_no_regular_file_is_no_backup(gossip: Gossip, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for file, what in (("/dev/zero", "a device"), (tmp_path / "pipe", "a pipe"), (tmp_path, "a directory")):
        answer = await gossip("restore", str(file), at=tmp_path / "new")
        assert answer.code in (1, 2)
        assert f"{file} is {what}" in answer.err or "is a directory" in answer.err
    assert not (tmp_path / "new").exists()
