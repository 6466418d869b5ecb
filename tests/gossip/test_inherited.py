"""A child made by `os.fork` has a copy of the node's objects: it can neither read nor write through them."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from crdts import Context
from gossip import Node, NotRunning, open_node

from .live import equal

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="there is no fork"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]


async def in_child(act: Callable[[], dict[str, str]]) -> dict[str, str]:
    """What a forked child answers."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, json.dumps(act()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        answer: dict[str, str] = json.loads(await trio.to_thread.run_sync(pipe.read))
    await trio.to_thread.run_sync(os.waitpid, child, 0)
    return answer


def outcome(act: Callable[[], object]) -> str:
    try:
        return f"returned {act()!r:.60}"
    except NotRunning as error:
        return "refused" if "forked from" in str(error) else str(error)
    except BaseException as error:
        return repr(error)


def outcomes(node: Node) -> dict[str, str]:
    """What becomes of everything that can be done with a node, through old objects and new ones."""

    def transaction(act: Callable[[], object] = lambda: None) -> None:
        with node.transaction():
            act()

    def steps(wait: Any) -> None:
        wait.send(None)

    acts: dict[str, Callable[[], object]] = {
        "set.add": lambda: node.orset("s").add(2),
        "set": lambda: set(node.orset("s")),
        "counter.increment": lambda: node.counter("c").increment(),
        "counter": lambda: node.counter("c").value(),
        "budget.decrement": lambda: node.bounded_counter("b").decrement(1),
        "budget.rights": lambda: node.bounded_counter("b").rights("p"),
        "register.set": lambda: node.register("r").set(1),
        "map": lambda: node.lwwmap("m").value(),
        "ormap": lambda: node.ormap("o").keys(),
        "transaction": transaction,
        "write in a transaction": lambda: transaction(lambda: node.orset("s").add(3)),
        "replica.objects": lambda: node.replica.objects(),
        "replica.context": lambda: node.replica.context,
        "replica.delta_since": lambda: node.replica.delta_since(Context()),
        "replica.transaction": lambda: node.replica.transaction().__enter__(),
        "members": node.members,
        "tags": lambda: node.tags,
        "set_tags": lambda: node.set_tags({"a": "b"}),
        "statistics": node.statistics,
        "retire": lambda: node.retire("other"),
        "retired": lambda: node.retired,
        "watch": node.watch,
        "version": node.version,
        "name_of": lambda: node.name_of("x"),
        "replica_id_of": lambda: node.replica_id_of("other"),
        "storage": node.storage,
        "has_written": lambda: node.has_written,
        "flush": lambda: steps(node.flush()),
        "synced": lambda: steps(node.synced()),
        "leave": lambda: steps(node.leave()),
        "backup": lambda: steps(node.backup("nowhere")),
    }
    return {name: outcome(act) for name, act in acts.items()}


@pytest.mark.parametrize("kept", [False, True], ids=["in memory", "with a data directory"])
async def test_a_forked_child_can_neither_read_nor_write_and_the_node_goes_on(kept: bool, tmp_path: Path) -> None:
    async with (
        open_node("other") as other,
        open_node("p", join=[other.address], data_dir=tmp_path if kept else None) as node,
    ):
        node.bounded_counter("b").increment(5)
        held = node.orset("s")
        held.add("first")
        await equal(node, other)
        answers = await in_child(
            lambda: {
                **outcomes(node),
                "an old object, written": outcome(lambda: held.add("child")),
                "an old object, read": outcome(lambda: "first" in held),
                "what is told without the node": f"{node.name} {node.id} {node!r}",
            }
        )
        assert answers.pop("what is told without the node") == f"{node.name} {node.id} {node!r}"
        assert set(answers.values()) == {"refused"}, answers
        held.add("program")
        node.bounded_counter("b").decrement(5)
        await equal(node, other)
        assert set(other.orset("s")) == {"first", "program"}


async def test_a_block_that_is_open_when_the_program_forks_is_refused_in_the_child_alone() -> None:
    async with open_node("p") as node:
        reader, writer = os.pipe()
        with node.transaction():
            node.orset("s").add("before")
            child = os.fork()
            if child == 0:
                os.write(writer, outcome(lambda: node.orset("s").add("child")).encode())
                os._exit(0)
            node.orset("s").add("behind")
        os.close(writer)
        with open(reader, "rb") as pipe:
            assert await trio.to_thread.run_sync(pipe.read) == b"refused"
        await trio.to_thread.run_sync(os.waitpid, child, 0)
        assert set(node.orset("s")) == {"before", "behind"}


async def test_a_node_that_was_closed_before_can_be_read_in_the_child() -> None:
    async with open_node("p") as node:
        node.orset("s").add(1)
    answers = await in_child(lambda: {"read": outcome(lambda: sorted(node.orset("s")))})
    assert answers == {"read": "returned [1]"}
