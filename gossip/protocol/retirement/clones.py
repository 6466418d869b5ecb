"""Clone detection: notices another node with our identity, from a copy of our data or of our running process.

Every life of a node writes under an id of its own, drawn at its start, so what copies write never collides, unless the
process itself was copied. Still two may go on as one member, one of whom nobody listens to. It shows in what everybody
shares: events of a life of ours that we never had, or of our present one that we did not write; and in what members say
of us. And others may retire the id that we write under, as if we were gone: then no node accepts what we write under it
any more. In all these cases this node goes on as a new one, and so does the other when it sees ours.
"""

from collections.abc import Sequence
from typing import Final

from crdts import ReplicaId

from ..fence import is_fenced
from ..identity import life_of, writers_of
from ..output import Output

INTERVAL: Final = 60.0
"""Seconds between two times that we go on as a new node, at least, doubled each time: a member that lies could have us
do it for ever."""


class Lineage:
    """Compares what is heard of us with the lives that we have had."""

    def __init__(self, output: Output, lives: Sequence[ReplicaId] | None) -> None:
        """``lives``: the replica ids of our earlier lives that wrote; None if they are not known: any may be ours."""
        self._out = output
        self._lives = None if lives is None else dict.fromkeys(lives)
        self._impostors = output.kernel.impostors
        self._writers = 0
        self._unwritten = output.kernel.context.last(output.kernel.replica_id)
        self._limited_since: float | None = None
        self._not_before = float("-inf")
        self._interval = INTERVAL

    def begin(self, now: float) -> None:
        """We are a new node, without earlier lives."""
        self._not_before, self._interval = now + self._interval, 2 * self._interval
        self._impostors = self._out.kernel.impostors
        self._lives = None if self._lives is None else {}
        self._writers = self._unwritten = 0
        self._limited_since = None
        self._out.contested = ""

    def write_on(self) -> None:
        """This node writes on under an id that others wrote under before: none of that tells of a copy of this node."""
        kernel = self._out.kernel
        self._impostors, self._unwritten = kernel.impostors, kernel.context.last(kernel.replica_id)

    def doubt(self, now: float) -> str:
        """Why there must be another, for people; empty if nothing says so."""
        if now < self._not_before:
            return ""
        kernel = self._out.kernel
        unasked = not kernel.wrote and kernel.context.last(kernel.replica_id) > self._unwritten
        if kernel.impostors > self._impostors or unasked:
            return "somebody else writes under the replica id of this process"
        if life := self._foreign_life():
            return f"somebody else was this node, and wrote as {life}"
        if self._is_limited(now):
            return "somebody else has retired the replica id of this process"
        return self._out.contested

    def _is_limited(self, now: float) -> bool:
        """True if others have limited or closed our replica id, and a probe interval ago already.

        That is no doubt if the node itself was retired, whose fence may come some time after the limit, or if this node
        has limited its own id because it leaves.
        """
        kernel = self._out.kernel
        me = kernel.replica_id
        if me not in kernel.limits or is_fenced(kernel, self._out.identity.node_id) or self._out.replica.said_of(me):
            self._limited_since = None
            return False
        if self._limited_since is None:
            self._limited_since = now
        return now - self._limited_since >= self._out.config.probe_interval

    def _foreign_life(self) -> ReplicaId | None:
        """A life of this node that is none of ours; looked for when there are other writers than before."""
        kernel, identity = self._out.kernel, self._out.identity
        writers = kernel.context.writers
        if self._lives is None or writers == self._writers:
            return None
        self._writers = writers
        first = min([life.epoch for life in map(life_of, self._lives) if life is not None], default=0)
        for writer in writers_of(kernel.context, identity.node_id):
            life = life_of(writer)
            # Of lives before all that we remember we do not know whose they were.
            if life is not None and life.epoch >= first and writer != identity.replica_id and writer not in self._lives:
                return writer
        return None
