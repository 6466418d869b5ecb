"""Objects out of a replica as items of a document, and items back in, as new writes.

| type | content in a document | what an import does |
|---|---|---|
| gset, orset, rwset | list of elements | adds those that are not in |
| lwwmap | keys and values | sets those that differ, and deletes none |
| register, mvregister | value; list of values | writes it if it differs |
| ewflag, dwflag | true or false | switches it if it differs |
| gcounter, counter | number | adds it where the counter is at 0; elsewhere only if told to add |
| bounded_counter | value and lower bound | like a counter; the rights are the importing node's |

What reads like something that was never touched is left out: counters at 0, empty sets, flags in their first state.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from crdts import (
    BoundedCounter,
    CrdtError,
    DWFlag,
    EWFlag,
    GCounter,
    GSet,
    LWWMap,
    LWWRegister,
    MVRegister,
    ORSet,
    PNCounter,
    Replica,
    RWSet,
)
from crdts.embedding import TYPE_OF_TAG, Accessors, Crdt, encode_value, names_of, type_tag, view

from .document import DocumentError, Item, from_json, to_json

PART_ENTRIES: Final = 250
"""Elements, keys and other objects in one part, and"""
PART_BYTES: Final = 256 << 10
"""bytes of their JSON, but for one entry that is larger: some milliseconds of work."""


# ---- out


def items_of(replica: Replica) -> Iterator[Item]:
    """All that is there, in pieces of `PART_ENTRIES` entries at most.

    The replica may change between two items: each is of the moment when it is drawn.
    """
    for obj in list(replica.store.kernel.objects):
        if type_tag(obj) not in TYPE_OF_TAG:  # of a newer version
            continue
        held = view(replica.store, obj)
        *path, name = names_of(obj)
        for content in _contents(held):
            yield Item(tuple(path), held.kind, name, content)


def _contents(held: Crdt) -> Iterator[Any]:
    """What is in an object, in pieces; nothing if it reads like one that was never touched."""
    if isinstance(held, GSet | ORSet | RWSet):
        yield from _pieces(map(to_json, held.get_elements()), list)
    elif isinstance(held, LWWMap):
        yield from _pieces(_map_items(held), dict)
    elif isinstance(held, LWWRegister | MVRegister):
        yield to_json(held.get())
    elif isinstance(held, BoundedCounter):
        if held.value() or held.lower:
            yield {"value": held.value(), "lower": held.lower}
    elif held.value() != _UNTOUCHED[held.kind]:
        yield held.value()


_UNTOUCHED: Final[dict[str, object]] = {"gcounter": 0, "counter": 0, "ewflag": False, "dwflag": True}


def _map_items(held: LWWMap) -> Iterator[tuple[str, Any]]:
    for key in held:  # the list is of now; what is drawn later may have gone
        if key in held:
            yield key, to_json(held[key])


def _pieces(entries: Iterator[Any], collect: Callable[[Iterable[Any]], Any]) -> Iterator[Any]:
    """Entries together as long as they are few and small."""
    piece: list[Any] = []
    size = 0
    for entry in entries:
        piece.append(entry)
        size += size_of(entry)
        if len(piece) == PART_ENTRIES or size >= PART_BYTES:
            yield collect(piece)
            piece, size = [], 0
    if piece:
        yield collect(piece)


def size_of(value: Any) -> int:
    """Its bytes in JSON."""
    return len(json.dumps(value, ensure_ascii=False).encode())


def parts_of(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Items together as long as they are few and small."""
    part: list[Item] = []
    entries = size = 0
    for item in items:
        held = len(item.content) if isinstance(item.content, list | dict) else 1
        length = size_of(item)
        if part and (entries + held > PART_ENTRIES or size + length > PART_BYTES):
            yield part
            part, entries, size = [], 0, 0
        part.append(item)
        entries, size = entries + held, size + length
    if part:
        yield part


def cut(items: Iterable[Item]) -> Iterator[Item]:
    """The same items, with large sets and maps in pieces."""
    for item in items:
        if item.kind in _SETS and isinstance(item.content, list):
            yield from (item._replace(content=piece) for piece in _pieces(iter(item.content), list))
        elif item.kind == "lwwmap" and isinstance(item.content, dict):
            yield from (item._replace(content=piece) for piece in _pieces(iter(item.content.items()), dict))
        else:
            yield item


_SETS: Final = ("gset", "orset", "rwset")


# ---- in


@dataclass(slots=True)
class Outcome:
    """What an import did."""

    changed: int = 0
    """Elements added, keys set, registers written, flags switched, counters moved."""
    unchanged: int = 0
    """What was there already."""
    left: list[str] = field(default_factory=list)
    """Counters that were left alone, because they count something else already."""

    def count(self, changed: bool) -> None:
        if changed:
            self.changed += 1
        else:
            self.unchanged += 1

    def leave(self, item: Item, *, same: bool) -> None:
        if same:
            self.unchanged += 1
        else:
            self.left.append(item.where)


def write_items(home: Accessors, items: Iterable[Item], *, add: bool) -> Outcome:
    """Write items as new writes. ``add``: to counters too that are not at 0.

    Raises `DocumentError`, or what the writes raise; what was written before stays written.
    """
    outcome = Outcome()
    for item in items:
        try:
            _write(home, item, outcome, add=add)
        except (DocumentError, CrdtError) as error:
            raise DocumentError(f"{item.where}: {error}") from None
    return outcome


def _write(home: Accessors, item: Item, outcome: Outcome, *, add: bool) -> None:
    for name in item.path:
        home = home.ormap(name)
    if item.kind == "bounded_counter":
        _write_bounded(home, item, outcome, add=add)
    elif item.kind in ("gcounter", "counter"):
        _write_counter(getattr(home, item.kind)(item.name), item, outcome, add=add)
    elif item.kind in _WRITERS:
        held = getattr(home, item.kind)(item.name)
        for changed in _WRITERS[item.kind](held, item.content):
            outcome.count(changed)
    else:
        raise DocumentError("that is no type with a content of its own")


def _write_set(held: GSet | ORSet | RWSet, content: Any) -> Iterator[bool]:
    for element in map(from_json, _expect(content, list)):
        yield not held.contains(element) and bool(held.add(element))


def _write_map(held: LWWMap, content: Any) -> Iterator[bool]:
    for key, written in _expect(content, dict).items():
        value = from_json(written)
        differs = key not in held or encode_value(held[key]) != encode_value(value)
        yield differs and bool(held.set(key, value))


def _write_register(held: LWWRegister, content: Any) -> Iterator[bool]:
    value = from_json(content)
    differs = held.timestamp is None or encode_value(held.get()) != encode_value(value)
    yield differs and bool(held.set(value))


def _write_mvregister(held: MVRegister, content: Any) -> Iterator[bool]:
    values = [from_json(value) for value in _expect(content, list)]
    differs = {*map(encode_value, held.get())} != {*map(encode_value, values)}
    yield differs and bool(held.set_all(values))


def _write_flag(held: EWFlag | DWFlag, content: Any) -> Iterator[bool]:
    differs = held.value() is not _expect(content, bool)
    yield differs and bool(held.enable() if content else held.disable())


_WRITERS: Final[dict[str, Callable[[Any, Any], Iterator[bool]]]] = {
    "gset": _write_set,
    "orset": _write_set,
    "rwset": _write_set,
    "lwwmap": _write_map,
    "register": _write_register,
    "mvregister": _write_mvregister,
    "ewflag": _write_flag,
    "dwflag": _write_flag,
}


def _write_counter(held: GCounter | PNCounter, item: Item, outcome: Outcome, *, add: bool) -> None:
    amount = _expect(item.content, int)
    if held.value() and not add:
        outcome.leave(item, same=held.value() == amount)
    elif amount < 0 and isinstance(held, PNCounter):
        outcome.count(bool(held.decrement(-amount)))
    else:
        outcome.count(bool(held.increment(amount)))


def _write_bounded(home: Accessors, item: Item, outcome: Outcome, *, add: bool) -> None:
    content = _expect(item.content, dict)
    if content.keys() != {"value", "lower"}:
        raise DocumentError('{"value": ..., "lower": ...} is expected')
    value, lower = (_expect(content[key], int) for key in ("value", "lower"))
    if value < lower:
        raise DocumentError("its value is below its lower bound")
    known = home.bounded_counter(item.name)
    if known.value() != known.lower and not add:
        outcome.leave(item, same=(known.value(), known.lower) == (value, lower))
        return
    held = home.bounded_counter(item.name, lower)
    if value == lower and known.lower != lower:  # or nobody would know the bound
        held.increment(1)
        outcome.count(bool(held.decrement(1)))
    else:
        outcome.count(bool(held.increment(value - lower)))


def _expect(content: Any, kind: type) -> Any:
    if type(content) is not kind:
        raise DocumentError(f"{_JSON_NAMES[kind]} is expected, not {_JSON_NAMES.get(type(content), 'null')}")
    return content


_JSON_NAMES: Final[dict[type, str]] = {
    list: "a list",
    dict: "an object",
    bool: "true or false",
    int: "an integer",
    float: "a fraction",
    str: "text",
}
