"""Checks that one of several transactions over the same last-writer-wins places wins at all of them."""

from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter

from crdts import Dot, Event
from crdts.embedding import STAMPED, type_tag, winner


def contradiction(made: Mapping[Dot, Event], held: Iterable[Event]) -> list[Dot]:
    """A circle of transactions: each has beaten the next one at some place, and the last one has beaten the first.

    Returns an empty list if there is no circle; then of any two transactions one has won at all places of both.
    ``made`` are all events written, by dot; ``held`` are the live entries of a replica. The first dot names a
    transaction.
    """
    places: dict[tuple[bytes, bytes], list[Event]] = {}
    for event in held:
        if event.dot in made and type_tag(event.obj) in STAMPED:
            places.setdefault((event.obj, event.key), []).append(event)
    beaten: dict[Dot, dict[Dot, None]] = {}
    for entries in places.values():
        if len(entries) > 1:
            shown = winner(tuple(entries))
            others = {_transaction_of(made[each.dot]): None for each in entries if each is not shown}
            beaten.setdefault(_transaction_of(made[shown.dot]), {}).update(others)
    try:
        TopologicalSorter(beaten).prepare()
    except CycleError as error:
        found: list[Dot] = error.args[1]
        return found[:-1]
    return []


def _transaction_of(event: Event) -> Dot:
    return event.replica, event.seq if event.batch is None else event.batch[0]
