"""What is given to the API and is none of what it takes is refused by name: with an error of ours, before anything."""

import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from gossip import (
    Address,
    Config,
    ConfigError,
    GossipError,
    KeyFormatError,
    Node,
    SyncTimeout,
    TransportFaults,
    Version,
    open_node,
)

from .live import FAST, acquainted, patience

ODD: list[Any] = [
    *(5, -1, 1.5, math.nan, math.inf, 10**400, True, b"x", [], {}, [5], object(), "", "\ud800", "a\0b", ("a", 1)),
]


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("name", 5, "a node name is 1 to 64 bytes of printable text, not 5"),
        ("bind", 5, "an address is text such as '127.0.0.1:4747', not int"),
        ("join", 5, r"join is a list of addresses, such as \['10.0.0.1:4747'\], not 5"),
        ("join", Address("127.0.0.1", 1), "join is a list of addresses"),
        ("key", 5, "a cluster key is text or 32 bytes, not int"),
        ("cluster", 5, "a cluster's name is 1 to 64 bytes of printable text, not 5"),
        ("tags", 5, "tags are a dict of text to text"),
        ("data_dir", 5, "data_dir is the path of a directory, as text or a Path, not 5"),
        ("data_dir", "a\0b", "data_dir is a path that a file system can hold"),
        ("data_dir", "\ud800", "data_dir is a path that a file system can hold"),
        ("durability", 5, "durability is one of full, normal, none, not 5"),
        ("config", 5, r"config is a gossip.Config, such as Config.lan\(\), not 5"),
        ("faults", 5, "faults are a gossip.TransportFaults, not 5"),
        ("discover", "yes", "discover is True or False, not 'yes'"),
        ("log", logging.getLogger("x"), "log is a structlog logger: give structlog.stdlib.get_logger"),
        ("log", 5, "log is a structlog logger, with debug, info, warning, error; not 5"),
    ],
)
async def test_an_option_of_open_node_that_is_none_is_refused_by_name(option: str, value: Any, says: str) -> None:
    options: dict[str, Any] = {"name": "a"} | {option: value}
    with pytest.raises((ConfigError, KeyFormatError), match=says):
        async with open_node(**options):
            pytest.fail("the node was opened")


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda node: node.watch(5), "watch takes the name of an object, or nothing for all of them, not 5"),
        (lambda node: node.name_of(5), "a replica id is text, such as `Change.writer`, not 5"),
        (lambda node: node.replica_id_of(5), "a member is named by its name or id, .*; not 5"),
        (lambda node: node.retire(5), "a member is retired under its name or id, .*; not 5"),
        (lambda node: node.set_tags(5), "tags are a dict of text to text"),
        (lambda _: Version.parse(5), r"a version is text, as str\(node.version\(\)\) gives; not 5"),  # type: ignore[arg-type]
        (lambda _: TransportFaults(loss="x"), "loss is a share from 0 to 1, not 'x'"),  # type: ignore[arg-type]
        (lambda _: TransportFaults().cut("x"), "an address to cut is a gossip.Address"),  # type: ignore[arg-type]
    ],
)
async def test_an_argument_that_is_none_is_refused_by_name(call: Callable[[Any], object], says: str) -> None:
    async with open_node("a", config=FAST) as node:
        with pytest.raises(ConfigError, match=says):
            call(node)


@pytest.mark.parametrize("timeout", [-1, -0.5, math.nan, "5", True, [5]])
async def test_a_time_to_wait_that_is_none_is_refused_by_name(timeout: Any) -> None:
    async with open_node("a", config=FAST) as node:
        with pytest.raises(ConfigError, match="timeout is a number of seconds from 0 on, or None to wait without end"):
            await node.synced(timeout=timeout)


@pytest.mark.parametrize("timeout", [None, math.inf, 10**400])
async def test_waiting_without_end_waits_until_somebody_has_the_writes(timeout: float | None) -> None:
    async with open_node("a", config=FAST) as a:
        a.orset("s").add(1)
        with trio.move_on_after(0.05) as waited:
            await a.synced(timeout=timeout)
        assert waited.cancelled_caught
        with pytest.raises(SyncTimeout):
            await a.synced(timeout=0)
        async with open_node("b", join=[a.address], config=FAST) as b:
            await acquainted(a, b)
            with patience():
                assert await a.synced(timeout=timeout) == 1


async def test_nothing_odd_gets_anything_but_an_answer_or_an_error_of_ours(tmp_path: Path) -> None:
    async with open_node("a", config=FAST, data_dir=tmp_path / "a") as node:
        for value in ODD:
            for call in (
                *(node.watch, node.retire, node.name_of, node.replica_id_of, node.set_tags, node.wait_for, node.backup),
                *(node.synced, Version.parse, lambda value: TransportFaults().cut(value)),
            ):
                await _allowed(call, value)
        for value in ODD:
            for option in ("config", "faults", "log", "tags", "join", "key", "cluster", "durability", "bind"):
                await _allowed(lambda value, option=option: _open(**{option: value}), value)
        assert (await _alive(node)) == 1


async def _allowed(call: Callable[[Any], Any], value: Any) -> None:
    try:
        with trio.move_on_after(0.01):
            answer = call(value)
            if hasattr(answer, "__await__"):
                await answer
    except GossipError:
        pass


async def _open(**options: Any) -> None:
    async with open_node("b", **{"config": FAST} | options):
        pass


async def _alive(node: Node) -> int:
    node.counter("c").increment()
    await node.flush()
    return node.counter("c").value()


def test_the_presets_are_configurations() -> None:
    assert all(isinstance(preset(), Config) for preset in (Config.lan, Config.wan, Config.local))
