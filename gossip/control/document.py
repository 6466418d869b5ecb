"""The document that people read: all objects as JSON, by type and name, in a form that can be read back.

    {"gossip": 1, "objects": {"orset": {"tasks": ["write", "test"]}, "counter": {"hits": 3},
                              "ormap": {"projects": {"register": {"x": null}}}}}

A map of objects holds types and names again, as deep as it goes. What each type's content looks like is the business of
`porting`. Between a node and the command line a document travels as items: one object each, or a part of a large one.
"""

import base64
import binascii
import json
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple, NoReturn

from crdts.embedding import MAX_NESTING, TYPES

from ..protocol.errors import LocalError

VERSION: Final = 1
MAP: Final = "ormap"
UNORDERED: Final = ("gset", "orset", "rwset", "mvregister")
"""Types whose lists have no order of their own."""
BYTES: Final = "base64"
FLOAT: Final = "float"
DICT: Final = "dict"
_RESERVED: Final = (BYTES, FLOAT, DICT)
MAX_JSON_NESTING: Final = 64
"""Levels of lists and dicts in one value of a document: more than any shared value has."""
_BACKUP_MAGIC: Final = b"SQLite format 3\0"
"""The first bytes of what `gossip backup` writes, which is easily taken for a document."""
_ODD_FLOATS: Final = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class DocumentError(LocalError, ValueError):
    """It is no document that `gossip export` could have made."""


class Item(NamedTuple):
    """An object, or a part of one: then the whole is all of its items together."""

    path: tuple[str, ...]
    """The maps that lead to it, outermost first."""
    kind: str
    name: str
    content: Any

    @property
    def where(self) -> str:
        """What it is called in messages."""
        return f"{self.kind} {'/'.join((*self.path, self.name))!r}"


# ---- values


def to_json(value: Any) -> Any:
    """A shared value as JSON can hold it, so that `from_json` gives it back.

    Bytes are {"base64": text}, odd floats {"float": "nan"}; and a dict that looks like one of these {"dict": it}.
    """
    if isinstance(value, bytes):
        return {BYTES: base64.b64encode(value).decode()}
    if isinstance(value, float) and not math.isfinite(value):
        return {FLOAT: str(value)}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if isinstance(value, dict):
        written = {key: to_json(item) for key, item in value.items()}
        return {DICT: written} if _looks_reserved(written) else written
    return value


def from_json(value: Any, depth: int = MAX_JSON_NESTING) -> Any:
    """The value that was meant, of so many levels at most; raises `DocumentError`."""
    if not depth:
        raise DocumentError(f"a value is nested deeper than {MAX_JSON_NESTING} levels")
    if isinstance(value, list):
        return [from_json(item, depth - 1) for item in value]
    if not isinstance(value, dict):
        return value
    if not _looks_reserved(value):
        return _dict_from_json(value, depth)
    ((form, inner),) = value.items()
    if form == DICT and isinstance(inner, dict):
        return _dict_from_json(inner, depth)
    try:
        return _READ[form](inner)
    except (KeyError, ValueError, TypeError, AttributeError, binascii.Error):
        raise DocumentError(f"no value: {_brief(value)}") from None


def _looks_reserved(value: dict[str, Any]) -> bool:
    return len(value) == 1 and next(iter(value)) in _RESERVED


def _read_bytes(text: str) -> bytes:
    return base64.b64decode(text.encode(), validate=True)


def _dict_from_json(inner: dict[str, Any], depth: int) -> dict[str, Any]:
    return {key: from_json(item, depth - 1) for key, item in inner.items()}


_READ: Final[dict[str, Callable[[Any], Any]]] = {
    BYTES: _read_bytes,
    FLOAT: _ODD_FLOATS.__getitem__,
}


def _brief(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:59] + "…"


# ---- documents


def document_of(items: Iterable[Item]) -> dict[str, Any]:
    """One document of all items, in an order that is always the same."""
    objects: dict[str, Any] = {}
    for item in items:
        home = objects
        for name in item.path:
            home = home.setdefault(MAP, {}).setdefault(name, {})
        named = home.setdefault(item.kind, {})
        held = named.get(item.name)
        if isinstance(held, list):
            held.extend(item.content)
        elif isinstance(held, dict):
            held.update(item.content)
        else:
            named[item.name] = item.content
    return {"gossip": VERSION, "objects": _in_order(objects)}


def _in_order(home: dict[str, Any]) -> dict[str, Any]:
    return {
        kind: {name: _content_in_order(kind, home[kind][name]) for name in sorted(home[kind])}
        for kind in TYPES
        if kind in home
    }


def _content_in_order(kind: str, content: Any) -> Any:
    if kind == MAP:
        return _in_order(content)
    if kind == "lwwmap":
        return {key: content[key] for key in sorted(content)}
    return sorted(content, key=_rank) if kind in UNORDERED else content


def _rank(value: Any) -> tuple[str, float, str]:
    """Numbers by size, everything else by its text; unequal values never have the same rank."""
    number = value if isinstance(value, int | float) and abs(value) < 1e300 else 0
    return type(value).__name__, number, json.dumps(value, ensure_ascii=False)


def items_in(document: Any) -> Iterator[Item]:
    """The objects of a document; raises `DocumentError` for what is none. What is in them is not looked at."""
    if not isinstance(document, dict) or "gossip" not in document:
        raise DocumentError("it is no export: `gossip export` shows what one looks like")
    if document["gossip"] != VERSION:
        raise DocumentError(f"it is an export of version {document['gossip']!r}, and this release knows {VERSION}")
    if unknown := document.keys() - {"gossip", "objects"}:
        raise DocumentError(f"an export has no {sorted(unknown)[0]!r}")
    return _items_within((), document.get("objects"))


def _items_within(path: tuple[str, ...], home: Any) -> Iterator[Item]:
    where = "/".join(path) or "objects"
    if len(path) > MAX_NESTING:
        raise DocumentError(f"maps nest {MAX_NESTING} levels deep at most, {where!r} is deeper")
    for kind, named in _pairs(home, where):
        if kind not in TYPES:
            raise DocumentError(f"{kind!r} in {where!r} is no type; there are {', '.join(TYPES)}")
        for name, content in _pairs(named, f"{where}: {kind}"):
            if kind == MAP:
                yield from _items_within((*path, name), content)
            else:
                yield Item(path, kind, name, content)


def _pairs(value: Any, where: str) -> Iterable[tuple[str, Any]]:
    if not isinstance(value, dict):
        raise DocumentError(f"{where}: an object with names is expected, not {_brief(value)}")
    return value.items()


def read_document(text: str | bytes) -> Any:
    """The JSON of a document; raises `DocumentError`, also for a name that is there twice."""
    if isinstance(text, bytes) and text.startswith(_BACKUP_MAGIC):
        raise DocumentError("it is a backup, not a document; `gossip restore` makes a new data directory of it")
    try:
        return json.loads(text, object_pairs_hook=_once, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise DocumentError(f"it is not JSON: {error}") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise DocumentError(f"{twice!r} is there twice")
    return found


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refuse(text)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f'{constant} is no number in JSON; {{"{FLOAT}": "inf"}} is meant, or "-inf" or "nan"')
