"""Running nodes in a child made by `os.fork`: the child has copies of the objects, and no node.

A node's sockets, disk and tasks belong to the process that started the node. A write through the copy would reach no
other node, would take a dot that the node itself uses too, and could spend a budget twice. A read would show the past.
So the copies refuse both.
"""

import os
from typing import Final, NoReturn, Protocol
from weakref import WeakSet

from .protocol.errors import NotRunning
from .protocol.identity import Identity


class Disowning(Protocol):
    """A running node, as far as this module uses it."""

    def disown(self) -> None:
        """Have this object, a copy in a forked child, refuse everything."""


_NODES: Final[WeakSet[Disowning]] = WeakSet()


class Inherited:
    """Stands for a part of a node that runs in the parent process: it has the identity, and refuses all else."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):  # Python asks, not the program: copying, inspecting
            raise AttributeError(name)
        refuse(self.identity)


def refuse(identity: Identity) -> NoReturn:
    """Raise `NotRunning` in a child that has inherited a node."""
    raise NotRunning(
        f"node {identity.name} runs in the process that this one was forked from: it can be neither read nor written "
        "here. Ask that process, or open a node here"
    )


def disown_in_children(node: Disowning) -> None:
    """Have the copies of a node refuse everything in forked children of this process."""
    _NODES.add(node)


def _in_child() -> None:
    for node in list(_NODES):
        node.disown()


os.register_at_fork(after_in_child=_in_child)
