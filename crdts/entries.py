"""The live entries of a replica, by dot and by place, and what is kept about them: hashes, bitmaps, who changed what.

Knows nothing of causality; that is the kernel's, which is built on it.
"""

from collections.abc import KeysView
from hashlib import blake2b
from itertools import groupby
from operator import attrgetter
from typing import Final, TypeAlias

from .context import Dot, ReplicaId
from .delta import Event
from .livemap import LiveMap
from .nesting import ObjectTree
from .schema import RETIRED, SEPARATOR

Place: TypeAlias = Event | tuple[Event, ...]
"""What is at a place: nearly always one entry, and then without a tuple around it, which would take 64 bytes more."""

BULK_EVENTS: Final = 32
"""From so many entries on, they are looked at in bulk first."""
_MASK: Final = (1 << 64) - 1


class Entries:
    """Live entries, and the ways to find them."""

    def __init__(self) -> None:
        self.live: dict[ReplicaId, dict[int, Event]] = {}
        """Live entries by dot. Their events are held without kills and transactions: those are in the log."""
        self.objects: dict[bytes, dict[bytes, Place]] = {}
        """The same entries by place; no place is ever empty."""
        self.tree = ObjectTree()
        """Those of the objects that are inside maps."""
        self.touched: dict[tuple[bytes, bytes], tuple[tuple[Event, ...], Dot]] | None = None
        """Places changed since somebody set this to a dict: what was there before, and the dot that changed it last."""
        self._live_map: LiveMap | None = None
        self._fingerprint: int | None = None

    # ---- reading

    def at(self, obj: bytes, key: bytes) -> tuple[Event, ...]:
        """The live entries at one place, in no particular order."""
        keys = self.objects.get(obj)
        if keys is None:
            return ()
        place = keys.get(key)
        return () if place is None else (place,) if isinstance(place, Event) else place

    def keys(self, obj: bytes) -> KeysView[bytes]:
        """The keys of all places of an object that hold a live entry. A view: not across writes."""
        return (self.objects.get(obj) or {}).keys()

    def places(self, obj: bytes) -> dict[bytes, tuple[Event, ...]]:
        """Those places, with the live entries at each."""
        found = (self.objects.get(obj) or {}).items()
        return {key: (place,) if isinstance(place, Event) else place for key, place in found}

    @property
    def fingerprint(self) -> int:
        """Sum of the hashes of all live entries, modulo 2**64: equal contents have equal fingerprints.

        Kept up to date from the first time that it is asked for: who never asks does not pay for the hashes.
        """
        if self._fingerprint is None:
            entries = (event for seqs in self.live.values() for event in seqs.values())
            self._fingerprint = sum(map(entry_hash, entries)) & _MASK
        return self._fingerprint

    @property
    def live_map(self) -> LiveMap:
        """The live dots as bitmaps; kept up to date from the first time that it is asked for."""
        if self._live_map is None:
            self._live_map = LiveMap(self.live)  # type: ignore[arg-type]  # it reads the keys only
        return self._live_map

    # ---- changing

    def _insert(self, event: Event) -> None:
        replica, seq, obj, key, payload, kills, batch = event
        if kills or batch:
            event = Event(replica, seq, obj, key, payload, ())
        entries = self.live.get(replica)
        if entries is None:
            entries = self.live[replica] = {}
        entries[seq] = event
        keys = self.objects.get(obj)
        if keys is None:
            keys = self.objects[obj] = {}
            if SEPARATOR in obj:
                self.tree.add(obj)
        held = keys.get(key)
        keys[key] = event if held is None else (held, event) if isinstance(held, Event) else (*held, event)
        if self._fingerprint is not None:
            self._fingerprint = (self._fingerprint + entry_hash(event)) & _MASK
        if self._live_map is not None:
            self._live_map.flip(replica, seq)
        if self.touched is not None:
            self._touch(obj, key, held, (replica, seq))
        if obj == RETIRED:
            self._limit(key)

    def _touch(self, obj: bytes, key: bytes, place: Place | None, by: Dot) -> None:
        """Note that the dot ``by`` changes a place that held ``place``."""
        touched = self.touched or {}
        known = touched.get((obj, key))
        held = () if place is None else (place,) if isinstance(place, Event) else place
        touched[obj, key] = (held if known is None else known[0], by)
        self.touched = touched

    def _drop(self, dot: Dot, by: Dot) -> bool:
        entries = self.live.get(dot[0])
        event = entries.pop(dot[1], None) if entries is not None else None
        if event is None:
            return False
        if not entries:
            del self.live[dot[0]]
        obj, key = event.obj, event.key
        keys = self.objects[obj]
        held = keys[key]
        if not isinstance(held, Event):
            others = tuple([e for e in held if e is not event])
            keys[key] = others if len(others) > 1 else others[0]
        else:
            del keys[key]
            if not keys:
                del self.objects[obj]
                if SEPARATOR in obj:
                    self.tree.remove(obj)
        if self._fingerprint is not None:
            self._fingerprint = (self._fingerprint - entry_hash(event)) & _MASK
        if self._live_map is not None:
            self._live_map.flip(*dot)
        if self.touched is not None:
            self._touch(obj, key, held, by)
        if obj == RETIRED:
            self._limit(key)
        return True

    def _insert_all(self, replica: ReplicaId, entries: list[Event]) -> None:
        """`_insert` for many entries of one replica, without kills: in bulk where their places are empty."""
        watched = self.touched is not None or self._fingerprint is not None or self._live_map is not None
        if watched or len(entries) < BULK_EVENTS:
            for event in entries:
                self._insert(event)
            return
        for obj, group in groupby(entries, attrgetter("obj")):
            some = list(group)
            places: dict[bytes, Place] = dict(zip([e.key for e in some], some, strict=True))
            keys = self.objects.get(obj)
            if len(places) < len(some) or obj == RETIRED or (keys and not keys.keys().isdisjoint(places)):
                for event in some:
                    self._insert(event)
                continue
            if keys is None:
                self.objects[obj] = places
                if SEPARATOR in obj:
                    self.tree.add(obj)
            else:
                keys.update(places)
            self.live.setdefault(replica, {}).update(zip([e.seq for e in some], some, strict=True))

    def count_hashes(self, hashes: int) -> None:
        """Set the fingerprint to ``hashes``, the sum of all entries' hashes, and keep it up to date from now on."""
        self._fingerprint = hashes & _MASK

    def adopt(self, others: "Entries") -> None:
        """Take over all entries of ``others``, with its dicts, which ``others`` must not use any more.

        None of the entries may be here already, or tell of a retirement, and `count_hashes` must have been called on
        ``others``. Whole objects move at once; only objects that hold something here, or
        are watched, take time for each place.
        """
        for obj, places in others.objects.items():
            self._adopt_places(obj, places)
        if self._live_map is not None:
            self._live_map.add(LiveMap(others.live))  # type: ignore[arg-type]
        if self._fingerprint is not None:
            self._fingerprint = (self._fingerprint + others.fingerprint) & _MASK
        for replica, seqs in others.live.items():
            if replica in self.live:
                self.live[replica].update(seqs)
            else:
                self.live[replica] = seqs

    def _adopt_places(self, obj: bytes, places: dict[bytes, Place]) -> None:
        keys = self.objects.get(obj)
        if self.touched is not None:
            for key, place in places.items():
                by = _held(place)[-1]
                self._touch(obj, key, (keys or {}).get(key), (by.replica, by.seq))
        if keys is None:
            self.objects[obj] = places
            if SEPARATOR in obj:
                self.tree.add(obj)
            return
        for key in [key for key in places if key in keys]:
            places[key] = (*_held(keys[key]), *_held(places[key]))
        keys.update(places)

    def _limit(self, key: bytes) -> None:
        """What is said of a writer's retirement has changed."""


def _held(place: Place) -> tuple[Event, ...]:
    return (place,) if isinstance(place, Event) else place


def entry_hash(event: Event) -> int:
    """64 bits that stand for the dot, place and payload of an entry."""
    replica, seq, obj, key, payload, _, _ = event
    text = b"%d %d %d %b %d " % (len(obj), len(key), len(replica), replica.encode(), seq)
    return int.from_bytes(blake2b(b"".join((text, obj, key, payload or b"")), digest_size=8).digest(), "big")
