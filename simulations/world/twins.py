"""A machine that is copied while it runs, with its memory: two processes go on from one state, under one replica id.

Not a fault of scenarios, as it breaks what the judge asks of every run: both write the same dots.
"""

from copy import deepcopy
from typing import TYPE_CHECKING

from .node import Node, address_of

if TYPE_CHECKING:
    from .cluster import Cluster


def resume_twice(cluster: "Cluster", index: int) -> Node:
    """Let a copy of a running node go on at another address, with the same disk and memory, and its streams broken.

    Even what chance is made of is the same. The disk is done with what it was busy with. Raises ValueError if the node
    has stopped.
    """
    original = cluster[index]
    if not original.up:
        raise ValueError(f"{original.name} has stopped; there is no memory to copy")
    while original.disk.is_busy:
        original.disk.hurry()
    shared = (
        cluster,
        cluster.queue,
        cluster.network,
        cluster.streams,
        cluster.config,
        cluster.seal,
        *cluster.observers,
    )
    twin = deepcopy(original, {id(each): each for each in shared})
    twin.index = len(cluster.nodes)
    twin.address = address_of(twin.index)
    cluster.addresses.append(twin.address)
    cluster.nodes.append(twin)
    cluster.network.attach(twin)
    cluster.tell("started", twin)
    for conn in cluster.streams.open_at(original.address):
        twin.on_stream_closed(conn)
    twin.wake_anew()
    return twin
