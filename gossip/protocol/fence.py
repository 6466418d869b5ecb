"""What the shared state says of retired nodes: they are fenced, in every life that they ever had or will have.

Retiring a node forbids its fence, a replica id that no life of the node has (see `identity.py`). Like every closed
writer, the fence takes no room in any context, travels with events and states, and stays for good.
"""

from crdts.embedding import RETIRED, Kernel

from .identity import NodeId, fence_of, fences_in


def is_fenced(kernel: Kernel, node_id: NodeId) -> bool:
    """True if the node was retired, as far as this replica has heard."""
    return bool(kernel.limits) and fence_of(node_id) in kernel.limits


def fenced_nodes(kernel: Kernel) -> list[NodeId]:
    """The ids of all nodes that were retired, in order."""
    return fences_in(kernel.limits)


def count_closures(kernel: Kernel) -> int:
    """The live entries that say of writers that they are fenced or over: none of them is anybody's data."""
    return sum(map(len, kernel.places(RETIRED).values()))
