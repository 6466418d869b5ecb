"""Bytes as deltas and contexts: the strict way back from `codec.py`, for bytes that nobody vouches for.

Size first, then structure, then meaning; and then what was read is encoded again, so that there is one encoding of
everything and whoever signs or compares bytes can rely on it.
"""

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import groupby, islice, pairwise, repeat
from operator import attrgetter
from typing import Any

import cbor2

from .bulk import PAUSE_FROM, collection_paused
from .codec import (
    COLUMNS,
    CONTEXT,
    FIRST_OBJECT,
    ROW,
    columns_of,
    encode_context,
    encode_row,
    has_stamps,
    is_single,
)
from .columns import MIN_STRINGS, PLAIN, pack_stamps, pack_strings, unpack_stamps, unpack_strings
from .context import Context, Dot, DotRange, ReplicaId
from .delta import REPLACED, Batch, Delta, Event
from .errors import DecodeError, InvalidValue, UnsupportedType
from .limits import MAX_BATCH_EVENTS, MAX_DELTA_BYTES, MAX_KILLS_PER_EVENT, MAX_SEQ
from .schema import RETIRED, check_entries, check_entry, check_replica_id, closed_writers, with_closed_writers
from .values import strict_loads

_event_of = partial(tuple.__new__, Event)
"""An event from the tuple of its fields; in bulk, half of what the constructor takes."""


def decode(data: bytes, *, max_bytes: int = MAX_DELTA_BYTES) -> Delta:
    """The delta whose canonical bytes are ``data``.

    Raises `DecodeError`, and nothing else, for anything that `encode` would not have made.
    """
    try:
        _check_size(data, max_bytes)
        if len(data) < 4 * PAUSE_FROM:
            delta, canonical = _parse(strict_loads(data, max_depth=7), len(data))
        else:
            with collection_paused():
                delta, canonical = _parse(strict_loads(data, max_depth=7), len(data))
    except (ValueError, UnsupportedType, InvalidValue) as error:
        raise DecodeError(f"not a delta: {error}") from None
    if canonical != data:
        raise DecodeError("not a delta in canonical form")
    return delta


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


def _parse(row: Any, size: int) -> tuple[Delta, bytes]:
    """The delta, and its canonical bytes."""
    if type(row) is not list or not row or type(row[0]) is not int:
        raise ValueError("unknown shape")
    if row[0] == ROW:
        event = _parse_row(row)
        return Delta((event,)), encode_row(event)
    if row[0] != COLUMNS:
        raise ValueError(f"format {row[0]}, this version reads {ROW} and {COLUMNS}")
    if len(row) != 11:
        raise ValueError("unknown shape")
    delta = _parse_columns(row, size)
    if is_single(delta):
        raise ValueError("a single event is a row")
    return delta, cbor2.dumps(columns_of(delta, row[5]))


def _parse_row(row: list[Any]) -> Event:
    if len(row) < 6 or len(row) % 2 or len(row) > 6 + 2 * MAX_KILLS_PER_EVENT:
        raise ValueError("unknown shape")
    _, replica, seq, obj, key, payload = row[:6]
    if type(replica) is not str or type(seq) is not int or type(obj) is not bytes or type(key) is not bytes:
        raise ValueError("a part of an event has another type")
    replica = check_replica_id(replica)
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


def _parse_kill(writer: ReplicaId, replica: Any, seq: Any) -> Dot:
    if type(replica) is int and replica == 0:
        replica = writer
    elif type(replica) is not str:
        raise ValueError("a kill names a replica")
    else:
        replica = check_replica_id(replica)
    if type(seq) is not int or not 0 < seq <= MAX_SEQ:
        raise ValueError("a dot is out of range")
    return replica, seq


def _parse_columns(row: list[Any], size: int) -> Delta:
    _, names, objects, spans, places, contents, kills, batches, runs, bounds, prekilled = row
    replicas = _names(names)
    ranges = list(_parse_spans(spans, replicas))
    total = sum(stop - start for _, start, stop in ranges)
    if total > size + MAX_BATCH_EVENTS:  # they all take a byte, but for what is the same many times over
        raise ValueError("more events than these bytes can tell of")
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


def _names(column: Any) -> list[ReplicaId]:
    return [check_replica_id(name) for name in _column(column, str)]


def _rows(column: Any, width: int) -> Iterable[tuple[int, ...]]:
    numbers = iter(_column(column, int))
    rows = list(zip(*[numbers] * width, strict=False))
    if len(rows) * width != len(column):
        raise ValueError("a column ends within a row")
    return rows


def _parse_dot(replica: int, seq: int, replicas: list[ReplicaId]) -> Dot:
    if not 0 <= replica < len(replicas) or not 0 < seq <= MAX_SEQ:
        raise ValueError("a dot is out of range")
    return replicas[replica], seq


def _parse_range(row: tuple[int, ...], replicas: list[ReplicaId]) -> DotRange:
    replica, start, count = row
    name, first = _parse_dot(replica, start, replicas)
    if not 0 < count <= MAX_SEQ + 1 - first:
        raise ValueError("a range is out of range")
    return name, first, first + count


def _parse_spans(spans: Any, replicas: list[ReplicaId]) -> Iterable[DotRange]:
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
        if not 0 <= place < len(objects) + FIRST_OBJECT or count < 1:
            raise ValueError("an entry of no object")
        groups.append((place, count, (b"", REPLACED, *objects)[place] if place < 2 else objects[place - 2]))
    if sum(count for _, count, _ in groups) != total:
        raise ValueError("as many dots as events expected")  # before a huge range is walked
    return groups


def _parse_kills(column: Any, replicas: list[ReplicaId], count: int) -> dict[int, tuple[Dot, ...]]:
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
        if place >= FIRST_OBJECT:
            counts[obj] = counts.get(obj, 0) + count
    if type(contents) is not list or len(contents) != len(counts):
        raise ValueError("as many contents as objects expected")
    entries: dict[bytes, tuple[Iterator[bytes], Iterator[bytes]]] = {}
    room = MAX_DELTA_BYTES
    for obj, content in zip(sorted(counts), contents, strict=True):
        keys, payloads = _parse_content(obj, content, counts[obj], room)
        room -= sum(map(len, keys)) + sum(map(len, payloads))
        entries[obj] = iter(keys), iter(payloads)
    replicas: list[ReplicaId] = []
    seqs: list[int] = []
    for replica, start, stop in ranges:
        replicas += [replica] * (stop - start)
        seqs += range(start, stop)
    objs: list[bytes] = []
    all_keys: list[bytes] = []
    all_payloads: list[bytes | None] = []
    for place, count, obj in groups:
        objs += [obj] * count
        if place >= FIRST_OBJECT:
            all_keys += islice(entries[obj][0], count)
            all_payloads += islice(entries[obj][1], count)
        else:
            all_keys += repeat(b"", count)
            all_payloads += repeat(None, count)
    killed: Iterable[tuple[Dot, ...]] = repeat(())
    if kills or b"" in objs or REPLACED in objs:
        killed = [kills.get(i, ()) for i in range(len(objs))]
        if any(not dead and payload is None for dead, payload in zip(killed, all_payloads, strict=True)):
            raise ValueError("an event neither stores nor replaces anything")
    return tuple(map(_event_of, zip(replicas, seqs, objs, all_keys, all_payloads, killed, repeat(None))))


def _parse_content(obj: bytes, content: Any, count: int, room: int) -> tuple[list[bytes], list[bytes]]:
    """The keys and the payloads of one object; raises ValueError unless the columns are canonical.

    ``room`` bounds their bytes, which may be many more than those of the columns.
    """
    if type(content) is not list or not 2 <= len(content) <= 3:
        raise ValueError("contents are keys and payloads")
    keys = unpack_strings(content[0], count, room)
    payloads = unpack_strings(content[-1], count, room)
    if count < MIN_STRINGS and len(content) == 2 and content[0][0] == content[1][0] == PLAIN:
        check_entries(obj, keys, payloads)
        return keys, payloads
    canonical = [pack_strings(keys), pack_strings(payloads)]
    if len(content) == 3:
        stamps = unpack_stamps(content[1], count)
        canonical.insert(1, pack_stamps(b"".join(stamps)))
        payloads = [stamp + rest for stamp, rest in zip(stamps, payloads, strict=True)]
    if cbor2.dumps(canonical) != cbor2.dumps(content) or has_stamps(obj, payloads) != (len(content) == 3):
        raise ValueError("a column is not in canonical form")
    check_entries(obj, keys, payloads)
    return keys, payloads


def _in_batches(events: tuple[Event, ...], batches: list[DotRange]) -> tuple[Event, ...]:
    """``events`` with the transactions they belong to."""
    by_replica: dict[ReplicaId, list[Batch]] = {}
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
            if inside and event.obj == RETIRED:
                raise ValueError("a retirement within a transaction")
            tagged.append(event._replace(batch=batch) if inside else event)
    return tuple(tagged)


def _parse_context(columns: Any, replicas: list[ReplicaId]) -> Context:
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
        context = with_closed_writers(context, state.events)
    for replica, group in groupby(state.events, attrgetter("replica")):
        seqs = [event.seq for event in group]
        if context.prefix(replica) < seqs[-1] and not all(context.contains(replica, seq) for seq in seqs):
            raise ValueError("a state carries an entry outside its context")
    if any(context.contains(*dot) for dot in state.prekilled):
        raise ValueError("a pre-killed dot is processed")
