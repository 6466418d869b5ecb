"""What becomes of running nodes in a child made by `os.fork`: the child has copies of the objects, and no node.

A node's sockets, disk and tasks belong to the process that started the node. A write through the copy would be told to
nobody, under a dot that the node uses again, and would spend a budget twice; a read would show the past. So the copies
refuse both.
"""

import os
from typing import TYPE_CHECKING, Final, NoReturn
from weakref import WeakSet

from .protocol.errors import NotRunning
from .protocol.identity import Identity

if TYPE_CHECKING:
    from .node import Node

_NODES: Final["WeakSet[Node]"] = WeakSet()


class Inherited:
    """Stands for a part of a node that runs in another process: it tells whose it is, and refuses all else."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):  # not asked for by the program: copying, inspecting
            raise AttributeError(name)
        refuse(self.identity)


def refuse(identity: Identity) -> NoReturn:
    """Raise `NotRunning` in a child that has inherited a node."""
    raise NotRunning(
        f"node {identity.name} runs in the process that this one was forked from: it can be neither read nor written "
        "here. Ask that process, or open a node here"
    )


def disown_in_children(node: "Node") -> None:
    """See to it that the copies of a node in children of this process are refused."""
    _NODES.add(node)


def _in_child() -> None:
    for node in list(_NODES):
        node.disown()


os.register_at_fork(after_in_child=_in_child)
