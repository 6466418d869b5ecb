"""A machine that is copied while it runs, with its memory: two processes go on from one state, under one replica id.

Not a fault of scenarios, as it breaks what the judge asks of every run: both write the same dots.
"""

from copy import deepcopy

from .node import Node
from .world import World


def resume_twice(world: World, nodes: list[Node], index: int) -> Node:
    """Let a copy of a running node go on at another address, with the same disk and memory, and its streams broken.

    ``nodes`` are all of the world; the copy is added to them. Even what chance is made of is the same. The disk is done
    with what it was busy with. Raises ValueError if the node has stopped.
    """
    original = nodes[index]
    if not original.up:
        raise ValueError(f"{original.name} has stopped; there is no memory to copy")
    while original.disk.is_busy:
        original.disk.hurry()
    shared = (world, world.queue, world.network, world.streams, world.config, world.seal, *world.observers)
    twin = deepcopy(original, {id(each): each for each in shared})
    twin.index = world.add_address()
    twin.address = world.addresses[twin.index]
    nodes.append(twin)
    world.network.attach(twin)
    world.tell("started", twin)
    for conn in world.streams.open_at(original.address):
        twin.on_stream_closed(conn)
    twin.wake_anew()
    return twin
