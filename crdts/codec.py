"""Deltas and contexts as bytes: canonical (one encoding each), versioned, in columns. The way back is `decoding.py`.

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

from itertools import groupby
from operator import attrgetter
from typing import Any, Final

import cbor2

from .columns import MIN_STRINGS, pack_stamps, pack_strings
from .context import Context, ReplicaId
from .delta import REPLACED, Batch, Delta, Event
from .errors import UnsupportedType
from .schema import STAMP_BYTES, STAMPED, type_tag

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
NO_ENTRY, REPLACED_PLACE, FIRST_OBJECT = 0, 1, 2


def event_bytes(event: Event, *, after: Event | None = None) -> int:
    """Upper bound of what ``event`` adds to an encoded delta, its replica and object ids apart.

    ``after`` is another event of the delta: if this one's dot is the next, and its object the same, it starts neither
    a span nor a run of places.
    """
    replica, seq, obj, key, payload, kills, _ = event
    size = _SPAN_BYTES + _PLACE_BYTES
    if after is not None and after[1] + 1 == seq and after[0] == replica:
        size = 0 if after[2] == obj else _PLACE_BYTES
    if payload is not None:
        size += _string_bytes(key) + _string_bytes(payload)
    for _, killed in kills:
        size += 2 * _POSITION_BYTES + _head_bytes(killed)
    return size


def name_bytes(name: str | bytes) -> int:
    """Upper bound of what a replica or object id adds to the delta that uses it first."""
    if isinstance(name, bytes):
        return _string_bytes(name) + _CONTENT_BYTES
    return _string_bytes(name.encode())


def _string_bytes(text: bytes) -> int:
    length = len(text)
    return length + (1 if length < 24 else 2 if length < 256 else _head_bytes(length))


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
    """The canonical bytes of ``delta``; raises `UnsupportedType` for anything else."""
    if not isinstance(delta, Delta):
        raise UnsupportedType(f"encode takes a Delta, as mutators and delta_since return, not {type(delta).__name__}")
    return encode_row(delta.events[0]) if is_single(delta) else cbor2.dumps(columns_of(delta))


def is_single(delta: Delta) -> bool:
    """True if the delta is one event and nothing else, to be encoded as a row."""
    events = delta.events
    return len(events) == 1 and not delta.runs and delta.context is None and events[0].batch is None


def encode_row(event: Event) -> bytes:
    replica, seq, obj, key, payload, kills, _ = event
    row = [ROW, replica, seq, obj, key, payload]
    for killed, killed_seq in kills:
        row += (0 if killed == replica else killed, killed_seq)
    return cbor2.dumps(row)


def columns_of(delta: Delta, known_contents: list[Any] | None = None) -> list[Any]:
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
    place = {obj: i + FIRST_OBJECT for i, obj in enumerate(objects)} | {b"": NO_ENTRY, REPLACED: REPLACED_PLACE}
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
        list(map(delta.context.steps, replicas)) if delta.context is not None else None,
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


def _spans(events: tuple[Event, ...], at: dict[ReplicaId, int]) -> list[int]:
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
    if not has_stamps(obj, payloads):
        return [keys, pack_strings(payloads)]
    stamps = b"".join([payload[:STAMP_BYTES] for payload in payloads])
    return [keys, pack_stamps(stamps), pack_strings([payload[STAMP_BYTES:] for payload in payloads])]


def has_stamps(obj: bytes, payloads: list[bytes]) -> bool:
    """True if the stamps of these payloads make a column."""
    return len(payloads) >= MIN_STRINGS and type_tag(obj) in STAMPED and min(map(len, payloads)) >= STAMP_BYTES


def _kills(killers: list[tuple[int, Event]], at: dict[ReplicaId, int]) -> list[int]:
    kills: list[int] = []
    last = 0
    for i, event in killers:
        for replica, seq in event.kills:
            kills += (i - last, at[replica], seq)
            last = i
    return kills


def _batches(events: tuple[Event, ...], at: dict[ReplicaId, int]) -> list[int]:
    batches: dict[tuple[ReplicaId, Batch], None] = {}
    for event in events:
        if event.batch is not None:
            batches[event.replica, event.batch] = None
    return [n for replica, (start, stop) in batches for n in (at[replica], start, stop - start)]


def encode_context(context: Context) -> bytes:
    """The canonical bytes of a context: a delta in the state form without entries would say more than is known."""
    if not isinstance(context, Context):
        raise UnsupportedType(f"encode_context takes a Context, not {type(context).__name__}")
    replicas = context.replicas()
    return cbor2.dumps([CONTEXT, replicas, list(map(context.steps, replicas))])
