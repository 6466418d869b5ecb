"""Deltas and contexts as bytes: canonical (one encoding each), versioned, in columns, and strict on the way in.

A delta of one event is a CBOR array of its parts, 0 standing for the writer itself among the kills:

    [2, replica, seq, object, key, payload, replica or 0, seq, ...]

Any other is an array of flat columns, so that ids, names, seqs and whatever repeats are written once however many
events there are:

    [3, replicas, objects, spans, places, contents, kills, batches, runs, context, prekilled]

    replicas   sorted replica ids; everything below names them by position
    objects    sorted object ids
    spans      replica, gap, count, ...         the dots of the events; gaps from the span before of the same replica
    places     place, count, ...                0 for no entry, 1 for one that has been replaced, else 2 + object
    contents   per object: keys, payloads       columns, see `columns.py`; or keys, stamps, the rest of the payloads
    kills      gap, replica, seq, ...           gaps between the positions of the events
    batches    replica, start, count, ...       the transactions that the events belong to
    runs       replica, start, count, ...       dead dots that killed nothing
    context    null, or per replica a list of alternating gaps and lengths (state form)
    prekilled  replica, seq, ...                (state form)
"""

from collections.abc import Iterable
from functools import partial
from itertools import groupby, islice, pairwise, repeat
from operator import attrgetter
from typing import Any, Final

import cbor2

from .bulk import PAUSE_FROM, collection_paused
from .columns import MIN_STRINGS, PLAIN, pack_stamps, pack_strings, unpack_stamps, unpack_strings
from .context import Context, Dot, DotRange
from .delta import REPLACED, Batch, Delta, Event
from .errors import DecodeError, InvalidValue, UnsupportedType
from .limits import MAX_BATCH_EVENTS, MAX_DELTA_BYTES, MAX_KILLS_PER_EVENT, MAX_SEQ
from .schema import STAMP_BYTES, STAMPED, check_entries, check_entry, check_replica_id, closed_writers, type_tag
from .values import strict_loads

ROW: Final = 2
COLUMNS: Final = 3
CONTEXT: Final = 1
"""The versions of the three formats, each the first item of its array."""

DELTA_BYTES: Final = 64
"""Upper bound of what a delta takes beside its pieces: the headers of its columns."""
RUN_BYTES: Final = 21
"""Upper bound of one run, its replica id apart: a position and two integers."""
BATCH_BYTES: Final = 15
"""Upper bound of one transaction, its events apart."""
_POSITION_BYTES: Final = 3
"""A position in a table; enough for deltas of up to 65,536 events, and so for any of less than 256 KiB."""
_SPAN_BYTES: Final = _POSITION_BYTES + 9 + 3
_PLACE_BYTES: Final = 2 * _POSITION_BYTES
_CONTENT_BYTES: Final = 13
"""The headers of one object's columns."""
_NO_ENTRY, _REPLACED, _FIRST_OBJECT = 0, 1, 2

_event_of = partial(tuple.__new__, Event)
"""An event from the tuple of its fields; in bulk, half of what the constructor takes."""


def event_bytes(event: Event, *, after: Event | None = None) -> int:
    """Upper bound of what ``event`` adds to an encoded delta, its replica and object ids apart.

    ``after`` is another event of the delta: if this one's dot is the next, and its object the same, it starts neither
    a span nor a run of places.
    """
    size = _SPAN_BYTES + _PLACE_BYTES
    if after is not None and after.seq + 1 == event.seq and after.replica == event.replica:
        size = 0 if after.obj == event.obj else _PLACE_BYTES
    if event.payload is not None:
        size += _string_bytes(event.key) + _string_bytes(event.payload)
    return size + sum(2 * _POSITION_BYTES + _head_bytes(seq) for _, seq in event.kills)


def name_bytes(name: str | bytes) -> int:
    """Upper bound of what a replica or object id adds to the delta that uses it first."""
    if isinstance(name, bytes):
        return _string_bytes(name) + _CONTENT_BYTES
    return _string_bytes(name.encode())


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


# ---- encoding


def encode(delta: Delta) -> bytes:
    """The canonical bytes of ``delta``."""
    return _encode_row(delta.events[0]) if is_single(delta) else cbor2.dumps(_columns(delta))


def is_single(delta: Delta) -> bool:
    """Whether it is one event and nothing else, to be encoded as a row."""
    events = delta.events
    return len(events) == 1 and not delta.runs and delta.context is None and events[0].batch is None


def _encode_row(event: Event) -> bytes:
    replica, seq, obj, key, payload, kills, _ = event
    row = [ROW, replica, seq, obj, key, payload]
    for killed, killed_seq in kills:
        row += (0 if killed == replica else killed, killed_seq)
    return cbor2.dumps(row)


def _columns(delta: Delta, known_contents: list[Any] | None = None) -> list[Any]:
    """The columns of ``delta``; ``known_contents`` are those of its objects, if they are known."""
    events = delta.events
    killers = [(i, event) for i, event in enumerate(events) if event.kills]
    names = {event.replica for event in events}
    names.update(replica for _, event in killers for replica, _ in event.kills)
    names.update(run[0] for run in delta.runs)
    names.update(dot[0] for dot in delta.prekilled)
    if delta.context is not None:
        names.update(delta.context.replicas())
    replicas = sorted(names)
    at = {replica: i for i, replica in enumerate(replicas)}
    contents, places = _group(events)
    objects = sorted(contents)
    place = {obj: i + _FIRST_OBJECT for i, obj in enumerate(objects)} | {b"": _NO_ENTRY, REPLACED: _REPLACED}
    return [
        COLUMNS,
        replicas,
        objects,
        _spans(events, at),
        [n for obj, count in places for n in (place[obj], count)],
        known_contents if known_contents is not None else [_content(obj, contents[obj]) for obj in objects],
        _kills(killers, at),
        _batches(events, at),
        [n for replica, start, stop in delta.runs for n in (at[replica], start, stop - start)],
        _context_columns(delta.context, at) if delta.context is not None else None,
        [n for replica, seq in delta.prekilled for n in (at[replica], seq)],
    ]


def _group(events: tuple[Event, ...]) -> tuple[dict[bytes, list[Event]], list[tuple[bytes, int]]]:
    """The events that have entries, by object; and how many in a row belong to each object."""
    contents: dict[bytes, list[Event]] = {}
    places: list[tuple[bytes, int]] = []
    for obj, group in groupby(events, attrgetter("obj")):
        some = list(group)
        places.append((obj, len(some)))
        if some[0].payload is not None:
            contents.setdefault(obj, []).extend(some)
    return contents, places


def _spans(events: tuple[Event, ...], at: dict[str, int]) -> list[int]:
    spans: list[int] = []
    for replica, group in groupby(events, attrgetter("replica")):
        seqs = [event.seq for event in group]
        if seqs[-1] - seqs[0] == len(seqs) - 1:
            spans += (at[replica], seqs[0] - 1, len(seqs))
            continue
        following = 1
        for seq in seqs:
            if seq == following and following > 1:
                spans[-1] += 1
            else:
                spans += (at[replica], seq - following, 1)
            following = seq + 1
    return spans


def _content(obj: bytes, events: list[Event]) -> list[Any]:
    keys = pack_strings([event.key for event in events])
    payloads = [event.payload or b"" for event in events]
    if not _has_stamps(obj, payloads):
        return [keys, pack_strings(payloads)]
    stamps = b"".join([payload[:STAMP_BYTES] for payload in payloads])
    return [keys, pack_stamps(stamps), pack_strings([payload[STAMP_BYTES:] for payload in payloads])]


def _has_stamps(obj: bytes, payloads: list[bytes]) -> bool:
    """Whether the stamps of these payloads make a column."""
    return len(payloads) >= MIN_STRINGS and type_tag(obj) in STAMPED and min(map(len, payloads)) >= STAMP_BYTES


def _kills(killers: list[tuple[int, Event]], at: dict[str, int]) -> list[int]:
    kills: list[int] = []
    last = 0
    for i, event in killers:
        for replica, seq in event.kills:
            kills += (i - last, at[replica], seq)
            last = i
    return kills


def _batches(events: tuple[Event, ...], at: dict[str, int]) -> list[int]:
    batches: dict[tuple[str, Batch], None] = {}
    for event in events:
        if event.batch is not None:
            batches[event.replica, event.batch] = None
    return [n for replica, (start, stop) in batches for n in (at[replica], start, stop - start)]


def _context_columns(context: Context, at: dict[str, int]) -> list[list[int]]:
    """Per replica of the table: gap, length, gap, length, ... from seq 1; empty for one without a dot."""
    columns: list[list[int]] = [[] for _ in at]
    ends = [1] * len(at)
    for replica, start, stop in context.ranges():
        i = at[replica]
        columns[i] += (start - ends[i], stop - start)
        ends[i] = stop
    return columns


# ---- decoding


def decode(data: bytes, *, max_bytes: int = MAX_DELTA_BYTES) -> Delta:
    """The delta whose canonical bytes are ``data``.

    Raises `DecodeError`, and nothing else, for anything that `encode` would not have made.
    """
    try:
        _check_size(data, max_bytes)
        if len(data) < 4 * PAUSE_FROM:
            delta, canonical = _parse(strict_loads(data, max_depth=7))
        else:
            with collection_paused():
                delta, canonical = _parse(strict_loads(data, max_depth=7))
    except (ValueError, UnsupportedType, InvalidValue) as error:
        raise DecodeError(f"not a delta: {error}") from None
    if canonical != data:
        raise DecodeError("not a delta in canonical form")
    return delta


def encode_context(context: Context) -> bytes:
    """The canonical bytes of a context: a delta in the state form without entries would say more than is known."""
    replicas = context.replicas()
    at = {replica: i for i, replica in enumerate(replicas)}
    return cbor2.dumps([CONTEXT, replicas, _context_columns(context, at)])


def decode_context(data: bytes, *, max_bytes: int = MAX_DELTA_BYTES) -> Context:
    """The inverse of `encode_context`; raises `DecodeError`, and nothing else."""
    try:
        _check_size(data, max_bytes)
        row = strict_loads(data, max_depth=4)
        if type(row) is not list or len(row) != 3 or type(row[0]) is not int or row[0] != CONTEXT:
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


def _parse(row: Any) -> tuple[Delta, bytes]:
    """The delta, and its canonical bytes."""
    if type(row) is not list or not row or type(row[0]) is not int:
        raise ValueError("unknown shape")
    if row[0] == ROW:
        event = _parse_row(row)
        return Delta((event,)), _encode_row(event)
    if row[0] != COLUMNS:
        raise ValueError(f"format {row[0]}, this version reads {ROW} and {COLUMNS}")
    if len(row) != 11:
        raise ValueError("unknown shape")
    delta = _parse_columns(row)
    if is_single(delta):
        raise ValueError("a single event is a row")
    return delta, cbor2.dumps(_columns(delta, row[5]))


def _parse_row(row: list[Any]) -> Event:
    if len(row) < 6 or len(row) % 2 or len(row) > 6 + 2 * MAX_KILLS_PER_EVENT:
        raise ValueError("unknown shape")
    _, replica, seq, obj, key, payload = row[:6]
    if type(replica) is not str or type(seq) is not int or type(obj) is not bytes or type(key) is not bytes:
        raise ValueError("a part of an event has another type")
    check_replica_id(replica)
    if not 0 < seq <= MAX_SEQ:
        raise ValueError("a dot is out of range")
    kills: tuple[Dot, ...] = ()
    if len(row) > 6:
        kills = tuple([_parse_kill(replica, row[i], row[i + 1]) for i in range(6, len(row), 2)])
        if any(a >= b for a, b in pairwise(kills)):
            raise ValueError("unsorted kills")
    if type(payload) is bytes:
        check_entry(obj, key, payload)
    elif payload is not None or obj not in (b"", REPLACED) or key or not kills:
        raise ValueError("an event neither stores nor replaces anything")
    return Event(replica, seq, obj, key, payload, kills)


def _parse_kill(writer: str, replica: Any, seq: Any) -> Dot:
    if type(replica) is int and replica == 0:
        replica = writer
    elif type(replica) is not str:
        raise ValueError("a kill names a replica")
    else:
        check_replica_id(replica)
    if type(seq) is not int or not 0 < seq <= MAX_SEQ:
        raise ValueError("a dot is out of range")
    return replica, seq


def _parse_columns(row: list[Any]) -> Delta:
    _, names, objects, spans, places, contents, kills, batches, runs, bounds, prekilled = row
    replicas = _names(names)
    ranges = list(_parse_spans(spans, replicas))
    total = sum(stop - start for _, start, stop in ranges)
    groups = _parse_places(places, _column(objects, bytes), total)
    events = _parse_events(ranges, groups, contents, _parse_kills(kills, replicas, total))
    dead = tuple(_parse_range(r, replicas) for r in _rows(runs, 3))
    if batches:
        events = _in_batches(events, [_parse_range(r, replicas) for r in _rows(batches, 3)])
    context = None if bounds is None else _parse_context(bounds, replicas)
    delta = Delta(events, dead, context, tuple(_parse_dot(r, seq, replicas) for r, seq in _rows(prekilled, 2)))
    _check_order(delta)
    if context is not None:
        check_state(delta)
    elif delta.prekilled:
        raise ValueError("pre-killed dots outside a state")
    return delta


def _column(column: Any, kind: type) -> Any:
    if type(column) is not list:
        raise ValueError("a column is not a list")
    if not set(map(type, column)) <= {kind}:
        raise ValueError(f"something else in a column of {kind.__name__}")
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


def _parse_spans(spans: Any, replicas: list[str]) -> Iterable[DotRange]:
    current, following = -1, 1
    for replica, gap, count in _rows(spans, 3):
        if replica != current:
            current, following = replica, 1
        if gap < 0:
            raise ValueError("spans are not in order")
        yield _parse_range((replica, following + gap, count), replicas)
        following += gap + count


def _parse_places(places: Any, objects: list[bytes], total: int) -> list[tuple[int, int, bytes]]:
    """Place, number of events and object, of each group of events in a row."""
    groups = []
    for place, count in _rows(places, 2):
        if not 0 <= place < len(objects) + _FIRST_OBJECT or count < 1:
            raise ValueError("an entry of no object")
        groups.append((place, count, (b"", REPLACED, *objects)[place] if place < 2 else objects[place - 2]))
    if sum(count for _, count, _ in groups) != total:
        raise ValueError("as many dots as events expected")  # before a huge range is walked
    return groups


def _parse_kills(column: Any, replicas: list[str], count: int) -> dict[int, tuple[Dot, ...]]:
    kills: dict[int, list[Dot]] = {}
    event = 0
    for gap, replica, seq in _rows(column, 3):
        event += gap
        if gap < 0 or event >= count:
            raise ValueError("kills of no event")
        dots = kills.setdefault(event, [])
        dots.append(_parse_dot(replica, seq, replicas))
        if len(dots) > MAX_KILLS_PER_EVENT or (len(dots) > 1 and dots[-2] >= dots[-1]):
            raise ValueError("too many or unsorted kills")
    return {event: tuple(dots) for event, dots in kills.items()}


def _parse_events(
    ranges: list[DotRange], groups: list[tuple[int, int, bytes]], contents: Any, kills: dict[int, tuple[Dot, ...]]
) -> tuple[Event, ...]:
    counts: dict[bytes, int] = {}
    for place, count, obj in groups:
        if place >= _FIRST_OBJECT:
            counts[obj] = counts.get(obj, 0) + count
    if type(contents) is not list or len(contents) != len(counts):
        raise ValueError("as many contents as objects expected")
    entries = {
        obj: tuple(map(iter, _parse_content(obj, content, counts[obj])))
        for obj, content in zip(sorted(counts), contents, strict=True)
    }
    replicas: list[str] = []
    seqs: list[int] = []
    for replica, start, stop in ranges:
        replicas += [replica] * (stop - start)
        seqs += range(start, stop)
    objs: list[bytes] = []
    keys: list[bytes] = []
    payloads: list[bytes | None] = []
    for place, count, obj in groups:
        objs += [obj] * count
        if place >= _FIRST_OBJECT:
            keys += islice(entries[obj][0], count)
            payloads += islice(entries[obj][1], count)
        else:
            keys += repeat(b"", count)
            payloads += repeat(None, count)
    killed: Iterable[tuple[Dot, ...]] = repeat(())
    if kills or b"" in objs or REPLACED in objs:
        killed = [kills.get(i, ()) for i in range(len(objs))]
        if any(not dead and payload is None for dead, payload in zip(killed, payloads, strict=True)):
            raise ValueError("an event neither stores nor replaces anything")
    return tuple(map(_event_of, zip(replicas, seqs, objs, keys, payloads, killed, repeat(None))))


def _parse_content(obj: bytes, content: Any, count: int) -> tuple[list[bytes], list[bytes]]:
    """The keys and the payloads of one object; raises ValueError unless the columns are canonical."""
    if type(content) is not list or not 2 <= len(content) <= 3:
        raise ValueError("contents are keys and payloads")
    keys = unpack_strings(content[0], count)
    payloads = unpack_strings(content[-1], count)
    if count < MIN_STRINGS and len(content) == 2 and content[0][0] == content[1][0] == PLAIN:
        check_entries(obj, keys, payloads)
        return keys, payloads
    canonical = [pack_strings(keys), pack_strings(payloads)]
    if len(content) == 3:
        stamps = unpack_stamps(content[1], count)
        canonical.insert(1, pack_stamps(b"".join(stamps)))
        payloads = [stamp + rest for stamp, rest in zip(stamps, payloads, strict=True)]
    if cbor2.dumps(canonical) != cbor2.dumps(content) or _has_stamps(obj, payloads) != (len(content) == 3):
        raise ValueError("a column is not in canonical form")
    check_entries(obj, keys, payloads)
    return keys, payloads


def _in_batches(events: tuple[Event, ...], batches: list[DotRange]) -> tuple[Event, ...]:
    """``events`` with the transactions they belong to."""
    by_replica: dict[str, list[Batch]] = {}
    for replica, start, stop in batches:
        of_replica = by_replica.setdefault(replica, [])
        if not 1 < stop - start <= MAX_BATCH_EVENTS or (of_replica and of_replica[-1][1] > start):
            raise ValueError("a transaction of too few or many events, or out of order")
        of_replica.append((start, stop))
    tagged = []
    for replica, group in groupby(events, attrgetter("replica")):
        waiting = iter(by_replica.get(replica, ()))
        batch = next(waiting, None)
        for event in group:
            while batch is not None and batch[1] <= event.seq:
                batch = next(waiting, None)
            inside = batch is not None and batch[0] <= event.seq
            tagged.append(event._replace(batch=batch) if inside else event)
    return tuple(tagged)


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
    # Dots are in order within a replica, as gaps are not negative; what is left are the replicas.
    writers = [replica for replica, _ in groupby(delta.events, attrgetter("replica"))]
    if any(a >= b for a, b in pairwise(writers)):
        raise ValueError("events are not in order")
    for run, following in pairwise(delta.runs):
        if run >= following or (run[0] == following[0] and run[2] >= following[1]):
            raise ValueError("runs are not in order")
    if any(a >= b for a, b in pairwise(delta.prekilled)):
        raise ValueError("pre-killed dots are not in order")


def check_state(state: Delta) -> None:
    """Raise ValueError unless this delta in the state form, its parts in order, can be a state."""
    context = state.context
    if context is None:
        raise ValueError("a state has a context")
    if state.runs or any(event.kills or event.payload is None or event.batch for event in state.events):
        raise ValueError("a state carries live entries only")
    closed = closed_writers(state.events)
    if closed:
        if any(writer in closed for writer in context.replicas()):
            raise ValueError("a retired writer in a context")
        context = context.copy()
        for writer, last in closed.items():
            context.add_range(writer, 1, last + 1)
    for replica, group in groupby(state.events, attrgetter("replica")):
        seqs = [event.seq for event in group]
        if context.prefix(replica) < seqs[-1] and not all(context.contains(replica, seq) for seq in seqs):
            raise ValueError("a state carries an entry outside its context")
    if any(context.contains(*dot) for dot in state.prekilled):
        raise ValueError("a pre-killed dot is processed")
