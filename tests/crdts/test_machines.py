"""Every type against its specification, whatever its replicas do: written to, cut off, late, trimmed, retired.

The faults below prove that the specifications would notice.
"""

from typing import Any, Final

import cbor2
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

import crdts.types.registers
import crdts.types.sets
from crdts import (
    BoundedCounter,
    DWFlag,
    Event,
    EWFlag,
    GCounter,
    GSet,
    HybridClock,
    InsufficientRights,
    LWWMap,
    MVRegister,
    ORMap,
    ORSet,
    PNCounter,
    RWSet,
)
from crdts.clock import stamp_at
from crdts.delta import NOTHING, Delta
from crdts.folds import BY_PLACE, all_values, counts_of, entries_of, last_written, stamp_of, winner
from crdts.kernel import Kernel
from crdts.retirement import Retirement
from crdts.schema import ADDED, REGISTER, RWSET, STAMP_BYTES
from crdts.store import Store
from crdts.types.base import Crdt
from crdts.values import encode_key, encode_value

from .machine import ALONE, COUNTERS_IN_MAPS, IN_MAPS, machine_of, operations

MIXED: Final = [*(path for paths in ALONE.values() for path in paths), *IN_MAPS[:4], *IN_MAPS[-2:]]
MACHINES: Final = {
    **{kind: machine_of(paths, operations(paths)) for kind, paths in ALONE.items()},
    "bounded_counter_without_resets": machine_of(
        ALONE["bounded_counter"], operations(ALONE["bounded_counter"], resets=False)
    ),
    "ormap": machine_of(IN_MAPS, operations(IN_MAPS)),
    "ormap_of_counters": machine_of(COUNTERS_IN_MAPS, operations(COUNTERS_IN_MAPS)),
    "mixed": machine_of(MIXED, operations(MIXED)),
}


def run(name: str, examples: int, steps: int, *phases: Phase, derandomize: bool = True) -> None:
    how = settings(
        max_examples=examples,
        stateful_step_count=steps,
        phases=phases or tuple(Phase),
        derandomize=derandomize,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(MACHINES[name], settings=how)


@pytest.mark.parametrize("name", MACHINES)
def test_a_replica_reads_as_specified_whatever_happens(name: str) -> None:
    run(name, 80, 40)


@pytest.mark.soak
@pytest.mark.parametrize("name", MACHINES)
def test_a_replica_reads_as_specified_in_long_runs(name: str) -> None:
    run(name, 1000, 60, derandomize=False)


# ---- faults that must be found


def of_mine(held: Crdt, key: bytes = b"") -> tuple[Event, ...]:
    """What this replica wrote itself at a place."""
    return tuple(e for e in held._store.kernel.at(held._object, key) if e.replica == held.replica_id)


def write_if_any(held: Crdt, key: bytes, payload: bytes | None, replaced: tuple[Event, ...]) -> Delta:
    if payload is None and not replaced:
        return NOTHING
    return held._store.write(held._object, key, payload, replaced)


def add_in_place_of_all(self: GSet, element: Any) -> Delta:
    others = tuple(entries_of(self._store.kernel.places(self._object)))
    return NOTHING if self.contains(element) else self._store.write(self._object, encode_key(element), b"", others)


def remove_own_adds_only(self: ORSet, element: Any) -> Delta:
    return write_if_any(self, encode_key(element), None, of_mine(self, encode_key(element)))


def any_added(held: tuple[Event, ...]) -> bool:
    return any(event.payload == ADDED for event in held)


def write_over_what_it_beats(store: Store, obj: bytes, key: bytes, value: Any, timestamp: float | None) -> Delta:
    stamp = (store.clock.tick() if timestamp is None else stamp_at(timestamp)).to_bytes(STAMP_BYTES, "big")
    beaten = tuple(e for e in store.kernel.at(obj, key) if (stamp_of(e), e.replica) <= (stamp, store.kernel.replica_id))
    return store.write(obj, key, stamp + encode_value(value), beaten)


def delete_the_winner(self: LWWMap, key: str) -> Delta:
    held = self._store.kernel.at(self._object, key.encode())
    return write_if_any(self, key.encode(), None, (winner(held),) if held else ())


def forget_what_was_counted(self: GCounter, key: bytes, held: tuple[Event, ...]) -> None:
    self._store.write(self._object, key, None, held)


def count_in_one_generation(self: PNCounter, *by: int) -> Delta:
    key = self.replica_id.encode()
    held = self._store.kernel.at(self._object, key)
    counts, _ = counts_of(held)
    row = [1, *(b + n for b, n in zip(counts.get(1, [0, 0]), by, strict=True))]
    return self._store.write(self._object, key, cbor2.dumps(row), tuple(e for e in held if e.payload[1] < 0x20))  # type: ignore[index]


def check_the_value_only(self: BoundedCounter, amount: int, purpose: str) -> None:
    if amount > self.value() - self.lower:
        raise InsufficientRights(purpose)


def transfer_for_nothing(self: BoundedCounter, to: str, amount: int) -> Delta:
    self._check_rights(amount, "transfer")
    with self.transaction() as done:
        if amount and to != self.replica_id:
            self._move(to=to, moved=amount)
            self._move(granted=amount)
    return done.delta


def delete_by_removing_all_entries(self: ORMap, children: list[bytes]) -> Delta:
    kernel = self._store.kernel
    entries = [e for child in children for obj in kernel.tree.within(child) for e in entries_of(kernel.places(obj))]
    return write_if_any(self, b"", None, tuple(entries))


def delete_what_is_right_below(self: ORMap, children: list[bytes]) -> Delta:
    entries = [e for child in children for e in entries_of(self._store.kernel.places(child))]
    return write_if_any(self, b"", None, tuple(entries))


def rollback_without_the_replaced(self: Kernel, mark: int) -> None:
    self.undo = [(event, []) for event, _ in self.undo or []]
    ROLLBACK(self, mark)


def join_without_the_gone(self: Kernel, theirs: Any, gone: Any, events: Any, prekilled: Any, seen: Any) -> None:
    JOIN_DIFFERENCE(self, theirs, [], events, prekilled, seen)


def touch_the_last_only(self: Kernel, obj: bytes, key: bytes, place: Any, by: Any) -> None:
    held = () if place is None else (place,) if isinstance(place, Event) else place
    (self.touched or {})[obj, key] = (held, by)


ROLLBACK: Final = Kernel.rollback
JOIN_DIFFERENCE: Final = Kernel.join_difference

FAULTS: Final[dict[str, tuple[str, list[tuple[Any, str, Any]]]]] = {
    "an add takes the place of all other elements": ("gset", [(GSet, "add", add_in_place_of_all)]),
    "a remove takes only its own replica's adds": ("orset", [(ORSet, "remove", remove_own_adds_only)]),
    "a clear takes only one element": (
        "orset",
        [(ORSet, "clear", lambda self: self.remove(next(iter(self))) if len(self) else NOTHING)],
    ),
    "an add wins over a remove": (
        "rwset",
        [(crdts.types.sets, "all_added", any_added), (BY_PLACE, RWSET, any_added)],
    ),
    "a purge forgets what is in": ("rwset", [(RWSet, "purge", lambda self: self._remove_everything())]),
    "a disable takes only its own replica's enables": (
        "ewflag",
        [(EWFlag, "disable", lambda self: write_if_any(self, b"", None, of_mine(self)))],
    ),
    "an enable takes only its own replica's disables": (
        "dwflag",
        [(DWFlag, "enable", lambda self: write_if_any(self, b"", None, of_mine(self)))],
    ),
    "a count comes back after a reset": ("gcounter", [(GCounter, "_void", forget_what_was_counted)]),
    "a reset swallows what is counted later": ("counter", [(PNCounter, "_move", count_in_one_generation)]),
    "whoever sees enough may spend it": (
        "bounded_counter_without_resets",
        [(BoundedCounter, "_check_rights", check_the_value_only)],
    ),
    "a transfer is kept as well": (
        "bounded_counter_without_resets",
        [(BoundedCounter, "transfer", transfer_for_nothing)],
    ),
    "a reset forgets what was spent": ("bounded_counter", [(BoundedCounter, "_reset", Crdt._remove_everything)]),
    "a write hides only what it beats": (
        "register",
        [(crdts.types.registers, "write_stamped", write_over_what_it_beats)],
    ),
    "the first written wins": ("register", [(BY_PLACE, REGISTER, lambda held: last_written(held[-1:]))]),
    "a loser is dropped": ("register", [(crdts.types.registers, "losers", lambda held: [])]),
    "the clock does not follow": ("register", [(HybridClock, "follows", lambda self, stamp: True)]),
    "only one of concurrent values is kept": (
        "mvregister",
        [(crdts.types.registers, "all_values", lambda held: all_values(held)[:1])],
    ),
    "a write takes only its own replica's values": (
        "mvregister",
        [(MVRegister, "set", lambda self, value: write_if_any(self, b"", encode_value(value), of_mine(self)))],
    ),
    "a delete brings the loser back": ("lwwmap", [(LWWMap, "delete", delete_the_winner)]),
    "a deleted counter comes back": ("ormap_of_counters", [(ORMap, "_delete", delete_by_removing_all_entries)]),
    "a delete leaves what is further down": ("ormap", [(ORMap, "_delete", delete_what_is_right_below)]),
    "a transaction arrives in parts": ("orset", [(Kernel, "together", lambda self, events: events)]),
    "an undone transaction loses what it had replaced": (
        "mvregister",
        [(Kernel, "rollback", rollback_without_the_replaced)],
    ),
    "a reconciliation keeps what is gone": ("orset", [(Kernel, "join_difference", join_without_the_gone)]),
    "a writer is closed before all have its events": ("lwwmap", [(Retirement, "_have_settled", lambda *_: True)]),
    "a listener hears of half a change": ("lwwmap", [(Kernel, "_touch", touch_the_last_only)]),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, patches = FAULTS[fault]
    for target, attribute, replacement in patches:
        if isinstance(target, dict):
            monkeypatch.setitem(target, attribute, replacement)
        else:
            monkeypatch.setattr(target, attribute, replacement)
    with pytest.raises(AssertionError):
        run(name, 400, 40, Phase.generate)
