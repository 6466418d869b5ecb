"""Who watches a cluster: the judge, the recorder, and whatever a test wants to know."""

from typing import TYPE_CHECKING

from crdts import Context, Delta, Event
from gossip.protocol import Notify

if TYPE_CHECKING:
    from .node import Node


class Observer:
    """Is told what happens to the nodes of a cluster, at once. Override what is of interest."""

    def started(self, node: "Node") -> None:
        """A node begins a life, with what its disk held already in its replica."""

    def stopped(self, node: "Node") -> None:
        """A node's life is over; its disk is as the next life will find it."""

    def lost(self, node: "Node") -> None:
        """A node that had stopped will not come back, nor will its disk."""

    def wrote(self, node: "Node", events: tuple[Event, ...]) -> None:
        """A local mutation."""

    def merged(self, node: "Node", delta: Delta, new: list[Event]) -> None:
        """Something received was merged; ``new`` are the events that were (a state names none)."""

    def saved(self, node: "Node", context: Context) -> None:
        """The node's disk has all of these dots for good. Not to be changed."""

    def noticed(self, node: "Node", notice: Notify) -> None:
        """The node tells people of something."""

    def paused(self, node: "Node") -> None:
        """The node does nothing from now on."""

    def held_off(self, node: "Node") -> None:
        """The node's disk is so far behind that it takes in nothing more from others for now."""

    def took_in(self, node: "Node") -> None:
        """It has taken in all that has come meanwhile."""

    def resumed(self, node: "Node") -> None:
        """It goes on, and has not taken in yet what came meanwhile."""
