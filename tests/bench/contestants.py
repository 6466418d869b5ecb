"""The libraries that are compared, each behind the same few methods: one replica of a map, a set and named counters.

Each does every job in the cheapest way that its public API offers. All bytes are what would go over the wire.
"""

import importlib.util
import itertools
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Final, Self

import cbor2

from crdts import Replica, decode, decode_context, encode, encode_context

from .textbook import TextbookCounter, TextbookMap, TextbookSet

HAVE_PYCRDT: Final = importlib.util.find_spec("pycrdt") is not None
HAVE_LORO: Final = importlib.util.find_spec("loro") is not None
if HAVE_PYCRDT:
    import pycrdt
if HAVE_LORO:
    import loro


class Contestant:
    """One replica. ``writer`` is its number; no two that ever meet share one."""

    name: ClassVar[str]
    ships_whole_state: ClassVar[bool] = False
    """Whether even the smallest change travels as everything there is, so that few of them must do for a sample."""

    def __init__(self, writer: int) -> None:
        raise NotImplementedError

    def put(self, key: str, value: Any) -> None:
        """Set a key of the map, without making bytes of the change."""
        raise NotImplementedError

    def get(self, key: str) -> Any:
        raise NotImplementedError

    def add(self, element: str) -> None:
        raise NotImplementedError

    def remove(self, element: str) -> None:
        raise NotImplementedError

    def increment(self, counter: str) -> None:
        raise NotImplementedError

    def fill(self, entries: Iterable[tuple[str, Any]]) -> None:
        """Set many keys, as one transaction where there are transactions."""
        for key, value in entries:
            self.put(key, value)

    @contextmanager
    def shipping(self) -> Iterator[None]:
        """The time in which `ship_put` and its like may be called."""
        yield

    def ship_put(self, key: str, value: Any) -> bytes:
        """Set a key, and return the change as bytes for `apply`."""
        raise NotImplementedError

    def put_and_tell(self, key: str, value: Any) -> bytes:
        """Set a key, and return what a replica lacks that had everything before: who does not watch itself."""
        before = self.version()
        self.put(key, value)
        return self.since(before)

    def ship_add(self, element: str) -> bytes:
        raise NotImplementedError

    def ship_remove(self, element: str) -> bytes:
        raise NotImplementedError

    def ship_increment(self, counter: str) -> bytes:
        raise NotImplementedError

    def dump(self) -> bytes:
        """Everything, for a replica that has nothing."""
        raise NotImplementedError

    def dump_without_history(self) -> bytes:
        """The same with as little of the past as the library can leave out."""
        return self.dump()

    def version(self) -> bytes:
        """What has been seen here, as bytes for another replica's `since`."""
        raise NotImplementedError

    def since(self, version: bytes) -> bytes:
        """What a replica of that version lacks."""
        raise NotImplementedError

    def apply(self, data: bytes) -> None:
        """Take in the bytes of another replica, whichever method made them."""
        raise NotImplementedError

    def exchange_with(self, other: Self) -> int:
        """Become equal, each telling what it has seen and getting what it lacks; returns the bytes sent both ways."""
        asked_there, asked_here = self.version(), other.version()
        to_there, to_here = self.since(asked_here), other.since(asked_there)
        self.apply(to_here)
        other.apply(to_there)
        return len(asked_there) + len(asked_here) + len(to_there) + len(to_here)

    def reconcile_with(self, other: Self) -> int:
        """The same when as much as possible of the past has been forgotten; as before where nothing can be."""
        return self.exchange_with(other)

    def entries(self) -> dict[str, Any]:
        """The whole map."""
        raise NotImplementedError

    def elements(self) -> set[str]:
        """The whole set."""
        raise NotImplementedError

    def count(self, counter: str) -> int:
        raise NotImplementedError


class Ours(Contestant):
    """This project's `crdts`."""

    name = "ours"

    def __init__(self, writer: int) -> None:
        self.replica = Replica(f"writer-{writer}")
        self._map = self.replica.lwwmap("tasks")
        self._set = self.replica.orset("members")

    def put(self, key: str, value: Any) -> None:
        self._map.set(key, value)

    def get(self, key: str) -> Any:
        return self._map.get(key)

    def add(self, element: str) -> None:
        self._set.add(element)

    def remove(self, element: str) -> None:
        self._set.remove(element)

    def increment(self, counter: str) -> None:
        self.replica.counter(counter).increment()

    def ship_put(self, key: str, value: Any) -> bytes:
        return encode(self._map.set(key, value))

    def ship_add(self, element: str) -> bytes:
        return encode(self._set.add(element))

    def ship_remove(self, element: str) -> bytes:
        return encode(self._set.remove(element))

    def ship_increment(self, counter: str) -> bytes:
        return encode(self.replica.counter(counter).increment())

    def dump(self) -> bytes:
        return self.since(_NOTHING_SEEN)

    def version(self) -> bytes:
        return encode_context(self.replica.context)

    def since(self, version: bytes) -> bytes:
        return encode(self.replica.delta_since(decode_context(version)))

    def apply(self, data: bytes) -> None:
        self.replica.merge(decode(data))

    def reconcile_with(self, other: Self) -> int:
        self.replica.trim_log()
        other.replica.trim_log()
        sender, receiver = self.replica.reconcile(), other.replica.reconcile()
        message: bytes | None = sender.start()
        sent = 0
        while message is not None:
            sent += len(message)
            message = receiver.receive(message)
            sender, receiver = receiver, sender
        return sent

    def entries(self) -> dict[str, Any]:
        return self._map.value()

    def elements(self) -> set[str]:
        return set(self._set)

    def count(self, counter: str) -> int:
        return self.replica.counter(counter).value()


_NOTHING_SEEN: Final = encode_context(Replica("nobody").context)


class Pycrdt(Contestant):
    """pycrdt, which is Yrs, which is Yjs in Rust.

    Values are plain dicts, which is cheaper than nested maps. The bytes of a change come from observing the document:
    asking for the update since a state vector takes up to three times as long. Sets and counters it has none; set
    members are keys of a map, and a counter is a map with one key for each writer.
    """

    name = "pycrdt"

    def __init__(self, writer: int) -> None:
        self._doc = pycrdt.Doc()
        self._map = self._doc.get("tasks", type=pycrdt.Map)
        self._set = self._doc.get("members", type=pycrdt.Map)
        self._counters = self._doc.get("counters", type=pycrdt.Map)
        self._mine: dict[str, int] = {}
        self._writer = writer
        self._shipped: list[bytes] = []

    def put(self, key: str, value: Any) -> None:
        self._map[key] = value

    def get(self, key: str) -> Any:
        return self._map[key]

    def add(self, element: str) -> None:
        self._set[element] = True

    def remove(self, element: str) -> None:
        del self._set[element]

    def increment(self, counter: str) -> None:
        self._mine[counter] = count = self._mine.get(counter, 0) + 1
        self._counters[f"{counter}/{self._writer}"] = count

    def fill(self, entries: Iterable[tuple[str, Any]]) -> None:
        with self._doc.transaction():
            super().fill(entries)

    @contextmanager
    def shipping(self) -> Iterator[None]:
        shipped = self._shipped
        subscription = self._doc.observe(lambda event: shipped.append(event.update))
        try:
            yield
        finally:
            self._doc.unobserve(subscription)  # or the document is never freed

    def ship_put(self, key: str, value: Any) -> bytes:
        self._map[key] = value
        return self._shipped.pop()

    def ship_add(self, element: str) -> bytes:
        self._set[element] = True
        return self._shipped.pop()

    def ship_remove(self, element: str) -> bytes:
        del self._set[element]
        return self._shipped.pop()

    def ship_increment(self, counter: str) -> bytes:
        self.increment(counter)
        return self._shipped.pop()

    def dump(self) -> bytes:
        return self._doc.get_update()

    def version(self) -> bytes:
        return self._doc.get_state()

    def since(self, version: bytes) -> bytes:
        return self._doc.get_update(version)

    def apply(self, data: bytes) -> None:
        self._doc.apply_update(data)

    def entries(self) -> dict[str, Any]:
        return self._map.to_py()

    def elements(self) -> set[str]:
        return set(self._set.keys())

    def count(self, counter: str) -> int:
        return int(sum(count for key, count in self._counters.items() if key.startswith(f"{counter}/")))


class Loro(Contestant):
    """loro, in Rust. It keeps the whole history, and leaves out a write of the value that is there already.

    The bytes of a change come from a subscription to local updates, a little cheaper than exporting since a version.
    Set members are keys of a map.
    """

    name = "loro"

    def __init__(self, writer: int) -> None:
        self._doc = loro.LoroDoc()
        self._map = self._doc.get_map("tasks")
        self._set = self._doc.get_map("members")
        self._shipped: list[bytes] = []

    def put(self, key: str, value: Any) -> None:
        self._map.insert(key, value)
        self._doc.commit()

    def get(self, key: str) -> Any:
        held = self._map.get(key)
        return None if held is None else held.value

    def add(self, element: str) -> None:
        self._set.insert(element, True)
        self._doc.commit()

    def remove(self, element: str) -> None:
        self._set.delete(element)
        self._doc.commit()

    def increment(self, counter: str) -> None:
        self._doc.get_counter(counter).increment(1)
        self._doc.commit()

    def fill(self, entries: Iterable[tuple[str, Any]]) -> None:
        for key, value in entries:
            self._map.insert(key, value)
        self._doc.commit()

    @contextmanager
    def shipping(self) -> Iterator[None]:
        shipped = self._shipped

        def keep(update: bytes) -> bool:
            shipped.append(update)
            return True

        subscription = self._doc.subscribe_local_update(keep)
        try:
            yield
        finally:
            subscription.unsubscribe()

    def ship_put(self, key: str, value: Any) -> bytes:
        self._map.insert(key, value)
        self._doc.commit()
        return self._shipped.pop()

    def ship_add(self, element: str) -> bytes:
        self.add(element)
        return self._shipped.pop()

    def ship_remove(self, element: str) -> bytes:
        self.remove(element)
        return self._shipped.pop()

    def ship_increment(self, counter: str) -> bytes:
        self.increment(counter)
        return self._shipped.pop()

    def dump(self) -> bytes:
        return self._doc.export(loro.ExportMode.Snapshot())

    def dump_without_history(self) -> bytes:
        return self._doc.export(loro.ExportMode.ShallowSnapshot(self._doc.oplog_frontiers))

    def version(self) -> bytes:
        return self._doc.oplog_vv.encode()

    def since(self, version: bytes) -> bytes:
        return self._doc.export(loro.ExportMode.Updates(loro.VersionVector.decode(version)))

    def apply(self, data: bytes) -> None:
        self._doc.import_(data)

    def entries(self) -> dict[str, Any]:
        return self._map.get_deep_value()

    def elements(self) -> set[str]:
        return set(self._set.keys())

    def count(self, counter: str) -> int:
        return int(self._doc.get_counter(counter))


class Textbook(Contestant):
    """The state-based types of `textbook`, as CBOR. Whatever changes, the whole state travels."""

    name = "textbook"
    ships_whole_state = True

    def __init__(self, writer: int) -> None:
        self._writer = f"writer-{writer}"
        self._map = TextbookMap()
        self._set = TextbookSet()
        self._counters: dict[str, TextbookCounter] = {}
        self._tags = itertools.count(1)

    def put(self, key: str, value: Any) -> None:
        self._map.set(key, value, time.time_ns(), self._writer)

    def get(self, key: str) -> Any:
        return self._map.held[key][2]

    def add(self, element: str) -> None:
        self._set.add(element, (self._writer, next(self._tags)))

    def remove(self, element: str) -> None:
        self._set.remove(element)

    def increment(self, counter: str) -> None:
        self._counters.setdefault(counter, TextbookCounter()).increment(self._writer)

    def ship_put(self, key: str, value: Any) -> bytes:
        self.put(key, value)
        return self.dump()

    def ship_add(self, element: str) -> bytes:
        self.add(element)
        return self.dump()

    def ship_remove(self, element: str) -> bytes:
        self.remove(element)
        return self.dump()

    def ship_increment(self, counter: str) -> bytes:
        self.increment(counter)
        return self.dump()

    def dump(self) -> bytes:
        counters = {name: counter.to_plain() for name, counter in self._counters.items()}
        return cbor2.dumps([self._map.to_plain(), self._set.to_plain(), counters])

    def version(self) -> bytes:
        return b""

    def since(self, version: bytes) -> bytes:
        return self.dump()

    def apply(self, data: bytes) -> None:
        entries, members, counters = cbor2.loads(data)
        self._map.merge(TextbookMap.from_plain(entries))
        self._set.merge(TextbookSet.from_plain(members))
        for name, counts in counters.items():
            self._counters.setdefault(name, TextbookCounter()).merge(TextbookCounter.from_plain(counts))

    def entries(self) -> dict[str, Any]:
        return self._map.value()

    def elements(self) -> set[str]:
        return self._set.elements()

    def count(self, counter: str) -> int:
        return self._counters[counter].value()


ALL: Final[list[type[Contestant]]] = [Ours, Pycrdt, Loro, Textbook]


def available() -> list[type[Contestant]]:
    """Those whose library is installed, ours first."""
    return [kind for kind in ALL if kind.name not in missing()]


def missing() -> list[str]:
    """The libraries to compare with that are not installed."""
    return [name for name, have in (("pycrdt", HAVE_PYCRDT), ("loro", HAVE_LORO)) if not have]
