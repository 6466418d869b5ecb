"""How a piece of news is shared out: the ring of node ids is cut into spans, one for each relay.

Pure functions. A writer hands each relay a span of the ring; the relay cuts it at itself and hands on the pieces in
the same way, until they are empty. No span handed on holds anybody who has the news already, so where all list the
same members each of them is reached exactly once.
"""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final, NamedTuple

from ..identity import NODE_ID_BYTES, NodeId
from ..wire.messages import Span

_IDS: Final = 1 << 8 * NODE_ID_BYTES


class Share(NamedTuple):
    """What one relay is given: a span, and the members in it, in the order of the ring; there is at least one."""

    span: Span
    ids: Sequence[NodeId]


def everybody_but(node_id: NodeId) -> Span:
    """All of the ring, as the writer sees it."""
    return Span(_behind(node_id), node_id)


def within(ring: Sequence[NodeId], span: Span) -> Sequence[NodeId]:
    """The members of a span, in the order of the ring; ``ring`` is all of them, sorted."""
    first, stop = bisect_left(ring, span.first), bisect_left(ring, span.stop)
    return ring[first:stop] if span.first <= span.stop else [*ring[first:], *ring[:stop]]


def divide(ring: Sequence[NodeId], span: Span, without: NodeId, parts: int) -> list[Share]:
    """Cut a span into at most ``parts`` shares of nearly equal size, or one more if that is 1.

    No share holds the id ``without``: it has the news, or is not to be relied on. Nobody else of the span is left out.
    """
    halves = [Span(span.first, without), Span(_behind(without), span.stop)] if span.holds(without) else [span]
    pieces = [(half, within(ring, half)) for half in halves]
    pieces = [(piece, ids) for piece, ids in pieces if ids]
    total = sum(len(ids) for _, ids in pieces)
    if len(pieces) == 2:
        most = max(parts, 2) - 1
        left = min(max(round(parts * len(pieces[0][1]) / total), 1), most)
        counts = [left, max(parts - left, 1)]
    else:
        counts = [parts for _ in pieces]
    return [share for (piece, ids), count in zip(pieces, counts, strict=True) for share in _chunks(piece, ids, count)]


def _behind(node_id: NodeId) -> bytes:
    return ((int.from_bytes(node_id) + 1) % _IDS).to_bytes(NODE_ID_BYTES)


def _chunks(span: Span, ids: Sequence[NodeId], count: int) -> list[Share]:
    """``ids`` in ``count`` runs at most, whose spans cover all of ``span``."""
    count = min(count, len(ids))
    starts = [len(ids) * i // count for i in range(count)]
    bounds = [span.first, *(ids[start] for start in starts[1:]), span.stop]
    stops = [*starts[1:], len(ids)]
    return [Share(Span(bounds[i], bounds[i + 1]), ids[starts[i] : stops[i]]) for i in range(count)]
