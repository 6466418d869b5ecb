"""A node for the benchmarks to talk to, in a process of its own; ends when its standard input does."""

import os
import sys

import trio

import gossip


async def _until_stdin_ends(scope: trio.CancelScope) -> None:
    await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
    scope.cancel()


async def _echo(node: gossip.Node) -> None:
    print(node.address, flush=True)
    with node.watch("ping") as pings:
        async for _ in pings:
            node.register("pong").set(node.register("ping").get())


async def _hold(node: gossip.Node, entries: int) -> None:
    tasks = node.lwwmap("tasks")
    for i in range(entries):
        tasks.set(f"task-{i:06d}", {"status": "open", "owner": f"agent-{i % 10}"})
    print(node.address, node.version(), flush=True)
    await trio.sleep_forever()


async def main(verb: str, *args: str) -> None:
    async with gossip.open_node("other", key=os.environ["GOSSIP_KEY"]) as node, trio.open_nursery() as nursery:
        nursery.start_soon(_until_stdin_ends, nursery.cancel_scope)
        if verb == "echo":
            await _echo(node)
        else:
            await _hold(node, int(args[0]))


trio.run(main, *sys.argv[1:])
