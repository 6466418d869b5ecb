"""Real nodes on loopback, for tests: how to open several, and how to wait for what they do."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

import structlog
import trio

from gossip import Config, Node, TransportFaults, open_node

PATIENCE = 30.0
"""Seconds that anything may take on a busy machine; only a test that fails takes as long."""
FAST = Config.local()


@contextmanager
def patience() -> Iterator[None]:
    """Nothing in this block may take for ever."""
    with trio.fail_after(PATIENCE):
        yield


async def until(node: Node, condition: Callable[[], object]) -> None:
    """Wait until ``condition`` holds: looked at whenever ``node`` reports something, and besides, as it may be a count
    that nothing is reported of.
    """
    with patience():
        while not condition():
            with trio.move_on_after(0.02):
                await node._driver.changed()


def states(node: Node) -> dict[str, str]:
    return {member.name: member.state for member in node.members()}


async def acquainted(*nodes: Node) -> None:
    """Wait until every node lists every other as alive."""
    for node in nodes:
        others = {other.name: "alive" for other in nodes if other is not node}
        await until(node, lambda node=node, others=others: others.items() <= states(node).items())


async def equal(*nodes: Node) -> None:
    """Wait until every node has what any of them has, what they write by themselves meanwhile included."""
    with patience():
        while True:
            for node in nodes:
                for other in nodes:
                    await node.wait_for(other.version())
            if len({node.replica.fingerprint for node in nodes}) == 1:
                return


@asynccontextmanager
async def cluster(
    size: int, *, faults: list[TransportFaults] | None = None, config: Config = FAST, **options: Any
) -> AsyncIterator[list[Node]]:
    """Nodes n0, n1, ... that know each other."""
    async with AsyncExitStack() as stack:
        nodes: list[Node] = []
        for number in range(size):
            node = open_node(
                f"n{number}",
                join=[nodes[0].address] if nodes else [],
                faults=faults[number] if faults else None,
                config=config,
                **options,
            )
            nodes.append(await stack.enter_async_context(node))
        await acquainted(*nodes)
        yield nodes


class Journal:
    """A log that a test can read: pass `logger` as ``log`` to `open_node`."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []
        self.logger = structlog.wrap_logger(None, processors=[structlog.processors.add_log_level, self._keep])

    def _keep(self, logger: Any, method: str, line: Any) -> Any:
        self.lines.append(dict(line))
        raise structlog.DropEvent

    def events(self) -> list[str]:
        return [line["event"] for line in self.lines]

    def named(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["event"] == event]
