"""Which writers are closed, and whether a peer knows; an exchange looks at authors, not at every closed writer.

Contexts that are exchanged leave out closed writers. A peer knows that a writer is closed if it has processed one of
the events that close the writer. The author of such an event may be closed too. Then the author is missing in the
peer's context as well; but a peer that knows that the author is closed has processed all events of the author. So the
events are kept by author, and one look for each author tells what the peer knows.
"""

from collections.abc import Iterable, KeysView

from .context import Context, Dot, ReplicaId, View
from .delta import Event
from .schema import writer_limit


class Closures:
    """The closed writers of one kernel, and the live entries that close them."""

    __slots__ = ("_by", "_dots", "_view", "_writers")

    def __init__(self) -> None:
        self._dots: dict[ReplicaId, tuple[Dot, ...]] = {}
        """The dots of the entries that close each closed writer, by writer."""
        self._writers: dict[Dot, ReplicaId] = {}
        """The closed writer of which each of these entries speaks, by the dot of the entry."""
        self._by: dict[ReplicaId, Context] = {}
        """The dots of the same entries, by author."""
        self._view: View | None = None

    def __bool__(self) -> bool:
        return bool(self._dots)

    def writers(self) -> KeysView[ReplicaId]:
        """The closed writers, as a view: read it before anything changes."""
        return self._dots.keys()

    def update(self, writer: ReplicaId, held: Iterable[Event]) -> None:
        """Note the live entries that now speak of a writer's retirement."""
        closing = tuple([event.dot for event in held if _closes(event)])
        before = self._dots.get(writer, ())
        if closing == before:
            return
        self._dots.pop(writer, None)
        if closing:
            self._dots[writer] = closing
        if bool(closing) is not bool(before):
            self._view = None
        for dot in before:
            self._forget(dot)
        for dot in closing:
            self._writers[dot] = writer
            self._by.setdefault(dot[0], Context()).add(*dot)

    def _forget(self, dot: Dot) -> None:
        author, seq = dot
        del self._writers[dot]
        left = Context()
        for _, start, stop in self._by.pop(author).ranges():
            left.add_range(author, start, min(stop, seq))
            left.add_range(author, max(start, seq + 1), stop)
        if left:
            self._by[author] = left

    def hidden_in(self, context: Context) -> Context:
        """``context`` without the closed writers, as a view of it; ``context`` itself if there are none."""
        if not self._dots:
            return context
        if self._view is None or not self._view.shows(context):
            self._view = context.view_without(self._dots)
        return self._view.part

    def unknown_to(self, known: Context) -> list[ReplicaId]:
        """The closed writers that a peer with the context ``known`` does not know to be closed."""
        told = self._authors_told(known)
        unknown: dict[ReplicaId, None] = {}
        for author, said in self._by.items():
            if author not in told:
                for _, start, stop in said.missing_from(known):
                    unknown |= dict.fromkeys([self._writers[author, seq] for seq in range(start, stop)])
        return [writer for writer in unknown if not self._is_told(writer, known, told)]

    def _authors_told(self, known: Context) -> dict[ReplicaId, None]:
        """The authors of closing entries that are closed themselves, and that the peer knows to be closed."""
        told: dict[ReplicaId, None] = {}
        waiting = [author for author in self._by if author in self._dots]
        while news := [author for author in waiting if self._is_told(author, known, told)]:
            told |= dict.fromkeys(news)
            waiting = [author for author in waiting if author not in told]
        return told

    def _is_told(self, writer: ReplicaId, known: Context, told: dict[ReplicaId, None]) -> bool:
        """True if the peer has processed an entry that closes the writer, or all that an author in ``told`` wrote."""
        return any(dot in known or dot[0] in told for dot in self._dots[writer])


def _closes(event: Event) -> bool:
    limit = writer_limit((event,))
    return limit is not None and limit.closed
