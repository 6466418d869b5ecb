"""What the data types cost, in one process, without a network."""

from collections.abc import Iterator

from crdts import Context, Delta, LWWMap, ORSet, Replica, decode, encode

from .measure import Figure, cpu_per_operation

ENTRIES = 20_000
VALUE = {"status": "open", "owner": "agent-7"}


def figures(unit_time: float) -> Iterator[Figure]:
    def timed(name: str, seconds: float) -> Figure:
        return Figure(name, seconds * 1e6, "us CPU", seconds / unit_time)

    yield timed("map: set a new key, with a delta", cpu_per_operation(_fill_map))
    yield timed("map: set a key again, with a delta", cpu_per_operation(_overwrite_map))
    yield timed("set: add, with a delta", cpu_per_operation(_fill_set))
    yield timed("set: add and remove, with deltas", cpu_per_operation(_churn_set))
    yield timed("map: one change made, encoded, decoded and merged", cpu_per_operation(_one_change))
    state = _filled().delta_since(Context())
    data = encode(state)
    yield timed("whole map: encode, an entry", cpu_per_operation(lambda: len(state) if encode(state) else 0))
    yield timed("whole map: decode strictly, an entry", cpu_per_operation(lambda: len(decode(data))))
    yield timed("whole map: merge, an entry", cpu_per_operation(lambda: _merged(state)))
    yield Figure("whole map: encoded, an entry", len(data) / ENTRIES, "bytes")


def _fill_map() -> int:
    held = LWWMap(replica_id="a")
    for i in range(ENTRIES):
        held.set(f"task-{i:06d}", VALUE)
    return ENTRIES


def _overwrite_map() -> int:
    held = LWWMap(replica_id="a")
    for i in range(ENTRIES):
        held.set(f"task-{i % 100:06d}", VALUE)
    return ENTRIES


def _fill_set() -> int:
    held = ORSet(replica_id="a")
    for i in range(ENTRIES):
        held.add(f"task-{i:06d}")
    return ENTRIES


def _churn_set() -> int:
    held = ORSet(replica_id="a")
    for i in range(ENTRIES):
        held.add(f"task-{i % 100:06d}")
        held.remove(f"task-{i % 100:06d}")
    return ENTRIES


def _one_change() -> int:
    here, there = LWWMap(replica_id="a"), LWWMap(replica_id="b")
    for i in range(2_000):
        there.merge(decode(encode(here.set(f"task-{i % 100:06d}", VALUE))))
    return 2_000


def _filled() -> Replica:
    replica = Replica("a")
    held = replica.lwwmap("tasks")
    for i in range(ENTRIES):
        held.set(f"task-{i:06d}", VALUE)
    return replica


def _merged(state: Delta) -> int:
    Replica("b").merge(state)
    return ENTRIES
