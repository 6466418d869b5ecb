"""Deltas and contexts as bytes: canonical (one encoding each), versioned, in columns, and strict on the way in.

A delta is one CBOR array of flat columns, so that ids, names and seqs are written once however many events there are:

    [version, replicas, objects, spans, places, keys, payloads, kills, runs, context, prekilled]

    replicas   sorted replica ids; everything below names them by position
    objects    sorted object ids
    spans      replica, start, count, ...       the dots of the events, in order
    places     per event: 0 for no entry, -1 for one that has been replaced, else 1 + the position of its object
    keys       per entry, in order of the events
    payloads   per entry
    kills      event position, replica, seq, ...
    runs       replica, start, count, ...       dead dots that killed nothing
    context    null, or per replica a list of alternating gaps and lengths (state form)
    prekilled  replica, seq, ...                (state form)
"""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any, Final

import cbor2

from .context import Context, Dot, DotRange
from .delta import REPLACED, Delta, Event
from .errors import DecodeError, InvalidValue, UnsupportedType
from .limits import MAX_DELTA_BYTES, MAX_KILLS_PER_EVENT, MAX_SEQ
from .schema import check_entry, check_replica_id
from .values import strict_loads

VERSION: Final = 1

DELTA_BYTES: Final = 64
"""Upper bound of what a delta takes beside its pieces: the headers of its columns."""
RUN_BYTES: Final = 21
"""Upper bound of one run, its replica id apart: a position and two integers."""
_POSITION_BYTES: Final = 3
"""A position in a table; enough for deltas of up to 65,536 events, and so for any of less than 256 KiB."""
_SPAN_BYTES: Final = _POSITION_BYTES + 9 + 5


def event_bytes(event: Event, *, follows: bool = False) -> int:
    """Upper bound of what ``event`` adds to an encoded delta, its replica and object ids apart.

    ``follows`` says that its dot is the next after that of another event of the delta, so that it starts no span.
    """
    size = _POSITION_BYTES if follows else _POSITION_BYTES + _SPAN_BYTES
    if event.payload is not None:
        size += _string_bytes(event.key) + _string_bytes(event.payload)
    return size + sum(2 * _POSITION_BYTES + _head_bytes(seq) for _, seq in event.kills)


def name_bytes(name: str | bytes) -> int:
    """Upper bound of what a replica or object id adds to the delta that uses it first."""
    return _string_bytes(name if isinstance(name, bytes) else name.encode())


def _string_bytes(text: bytes) -> int:
    return _head_bytes(len(text)) + len(text)


def _head_bytes(number: int) -> int:
    """What CBOR takes for an integer, or for the head of a string of that length."""
    if number < 24:
        return 1
    if number < 1 << 8:
        return 2
    if number < 1 << 16:
        return 3
    return 5 if number < 1 << 32 else 9


def encode(delta: Delta) -> bytes:
    """The canonical bytes of ``delta``."""
    events = delta.events
    names = {event.replica for event in events}
    names.update(replica for event in events for replica, _ in event.kills)
    names.update(run[0] for run in delta.runs)
    names.update(dot[0] for dot in delta.prekilled)
    if delta.context is not None:
        names.update(delta.context.replicas())
    replicas = sorted(names)
    objects = sorted({event.obj for event in events if event.payload is not None})
    at = {replica: i for i, replica in enumerate(replicas)}
    place = {obj: i + 1 for i, obj in enumerate(objects)}
    columns = [
        VERSION,
        replicas,
        objects,
        _spans(events, at),
        [place[e.obj] if e.payload is not None else -1 if e.obj == REPLACED else 0 for e in events],
        [e.key for e in events if e.payload is not None],
        [e.payload for e in events if e.payload is not None],
        [n for i, e in enumerate(events) if e.kills for replica, seq in e.kills for n in (i, at[replica], seq)],
        [n for replica, start, stop in delta.runs for n in (at[replica], start, stop - start)],
        _context_columns(delta.context, at) if delta.context is not None else None,
        [n for replica, seq in delta.prekilled for n in (at[replica], seq)],
    ]
    return cbor2.dumps(columns)


def _spans(events: Iterable[Event], at: dict[str, int]) -> list[int]:
    spans: list[int] = []
    current, following = "", 0
    for event in events:
        if event.seq == following and event.replica == current:
            spans[-1] += 1
        else:
            current = event.replica
            spans += (at[current], event.seq, 1)
        following = event.seq + 1
    return spans


def _context_columns(context: Context, at: dict[str, int]) -> list[list[int]]:
    """Per replica of the table: gap, length, gap, length, ... from seq 1; empty for one without a dot."""
    columns: list[list[int]] = [[] for _ in at]
    ends = [1] * len(at)
    for replica, start, stop in context.ranges():
        i = at[replica]
        columns[i] += (start - ends[i], stop - start)
        ends[i] = stop
    return columns


def decode(data: bytes, *, max_bytes: int = MAX_DELTA_BYTES) -> Delta:
    """The delta whose canonical bytes are ``data``.

    Raises `DecodeError`, and nothing else, for anything that `encode` would not have made.
    """
    try:
        _check_size(data, max_bytes)
        delta = _parse(strict_loads(data, max_depth=4))
        canonical = encode(delta) == data
    except (ValueError, UnsupportedType, InvalidValue) as error:
        raise DecodeError(f"not a delta: {error}") from None
    if not canonical:
        raise DecodeError("not a delta in canonical form")
    return delta


def encode_context(context: Context) -> bytes:
    """The canonical bytes of a context: a delta in the state form without entries would say more than is known."""
    replicas = context.replicas()
    at = {replica: i for i, replica in enumerate(replicas)}
    return cbor2.dumps([VERSION, replicas, _context_columns(context, at)])


def decode_context(data: bytes, *, max_bytes: int = MAX_DELTA_BYTES) -> Context:
    """The inverse of `encode_context`; raises `DecodeError`, and nothing else."""
    try:
        _check_size(data, max_bytes)
        row = strict_loads(data, max_depth=4)
        if type(row) is not list or len(row) != 3 or type(row[0]) is not int or row[0] != VERSION:
            raise ValueError("unknown version or shape")
        context = _parse_context(row[2], _names(row[1]))
        canonical = encode_context(context) == data
    except (ValueError, UnsupportedType) as error:
        raise DecodeError(f"not a context: {error}") from None
    if not canonical:
        raise DecodeError("not a context in canonical form")
    return context


def _check_size(data: bytes, max_bytes: int) -> None:
    if type(data) is not bytes:
        raise ValueError(f"bytes expected, not {type(data).__name__}")
    if len(data) > max_bytes:
        raise ValueError(f"{len(data)} bytes, {max_bytes} allowed")


def _parse(row: Any) -> Delta:
    if type(row) is not list or not row or type(row[0]) is not int:
        raise ValueError("unknown shape")
    if row[0] != VERSION:
        raise ValueError(f"version {row[0]}, this is version {VERSION}")
    if len(row) != 11:
        raise ValueError("unknown shape")
    _, names, objects, spans, places, keys, payloads, kills, runs, bounds, prekilled = row
    replicas = _names(names)
    events = _parse_events(
        _dots(spans, replicas, places),
        places,
        _column(objects, bytes),
        _column(keys, bytes),
        _column(payloads, bytes),
        _parse_kills(kills, replicas, len(places)),
    )
    context = None if bounds is None else _parse_context(bounds, replicas)
    killed = tuple(_parse_dot(r, seq, replicas) for r, seq in _rows(prekilled, 2))
    dead = tuple(_parse_range(r, replicas) for r in _rows(runs, 3))
    delta = Delta(events, dead, context, killed)
    _check_order(delta)
    if context is not None:
        _check_state(delta, context)
    elif killed:
        raise ValueError("pre-killed dots outside a state")
    return delta


def _column(column: Any, kind: type) -> Any:
    if type(column) is not list:
        raise ValueError("a column is not a list")
    for item in column:
        if type(item) is not kind:
            raise ValueError(f"{type(item).__name__} in a column of {kind.__name__}")
    return column


def _names(column: Any) -> list[str]:
    return [check_replica_id(name) for name in _column(column, str)]


def _rows(column: Any, width: int) -> Iterable[tuple[int, ...]]:
    numbers = iter(_column(column, int))
    rows = list(zip(*[numbers] * width, strict=False))
    if len(rows) * width != len(column):
        raise ValueError("a column ends within a row")
    return rows


def _parse_dot(replica: int, seq: int, replicas: list[str]) -> Dot:
    if not 0 <= replica < len(replicas) or not 0 < seq <= MAX_SEQ:
        raise ValueError("a dot is out of range")
    return replicas[replica], seq


def _parse_range(row: tuple[int, ...], replicas: list[str]) -> DotRange:
    replica, start, count = row
    name, first = _parse_dot(replica, start, replicas)
    if not 0 < count <= MAX_SEQ + 1 - first:
        raise ValueError("a range is out of range")
    return name, first, first + count


def _dots(spans: Any, replicas: list[str], places: Any) -> list[Dot]:
    ranges = [_parse_range(row, replicas) for row in _rows(spans, 3)]
    if sum(stop - start for _, start, stop in ranges) != len(_column(places, int)):
        raise ValueError("as many dots as events expected")  # before a huge range is walked
    return [(replica, seq) for replica, start, stop in ranges for seq in range(start, stop)]


def _parse_kills(column: Any, replicas: list[str], count: int) -> dict[int, list[Dot]]:
    kills: dict[int, list[Dot]] = {}
    for event, replica, seq in _rows(column, 3):
        if not 0 <= event < count:
            raise ValueError("kills of no event")
        dots = kills.setdefault(event, [])
        dots.append(_parse_dot(replica, seq, replicas))
        if len(dots) > MAX_KILLS_PER_EVENT or (len(dots) > 1 and dots[-2] >= dots[-1]):
            raise ValueError("too many or unsorted kills")
    return kills


def _parse_events(
    dots: list[Dot],
    places: list[int],
    objects: list[bytes],
    keys: list[bytes],
    payloads: list[bytes],
    kills: dict[int, list[Dot]],
) -> tuple[Event, ...]:
    entries = len(places) - places.count(0) - places.count(-1)
    if len(keys) != entries or len(payloads) != entries:
        raise ValueError("as many keys and payloads as entries expected")
    if places and not -1 <= min(places) <= max(places) <= len(objects):
        raise ValueError("an entry of no object")
    events: list[Event] = []
    entry = 0
    for i, (replica, seq) in enumerate(dots):
        killed = tuple(kills[i]) if i in kills else ()
        if places[i] > 0:
            obj, key, payload = objects[places[i] - 1], keys[entry], payloads[entry]
            check_entry(obj, key, payload)
            events.append(Event(replica, seq, obj, key, payload, killed))
            entry += 1
        elif killed:
            events.append(Event(replica, seq, REPLACED if places[i] else b"", b"", None, killed))
        else:
            raise ValueError("an event neither stores nor replaces anything")
    return tuple(events)


def _parse_context(columns: Any, replicas: list[str]) -> Context:
    if type(columns) is not list or len(columns) != len(replicas):
        raise ValueError("as many context columns as replicas expected")
    context = Context()
    for replica, column in zip(replicas, columns, strict=True):
        end = 1
        for gap, count in _rows(column, 2):
            if gap < 0 or count <= 0 or end + gap + count > MAX_SEQ + 1:
                raise ValueError("a context range is out of range")
            context.add_range(replica, end + gap, end + gap + count)
            end += gap + count
    return context


def _check_order(delta: Delta) -> None:
    dots = [(event.replica, event.seq) for event in delta.events]
    if any(a >= b for a, b in pairwise(dots)):
        raise ValueError("events are not in order")
    for run, following in pairwise(delta.runs):
        if run >= following or (run[0] == following[0] and run[2] >= following[1]):
            raise ValueError("runs are not in order")
    if any(a >= b for a, b in pairwise(delta.prekilled)):
        raise ValueError("pre-killed dots are not in order")


def _check_state(delta: Delta, context: Context) -> None:
    if delta.runs or any(event.kills or event.payload is None for event in delta.events):
        raise ValueError("a state carries live entries only")
    if any(not context.contains(event.replica, event.seq) for event in delta.events):
        raise ValueError("a state carries an entry outside its context")
    if any(context.contains(*dot) for dot in delta.prekilled):
        raise ValueError("a pre-killed dot is processed")
