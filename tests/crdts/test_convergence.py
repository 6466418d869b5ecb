"""Replicas under random schedules equal the model live(X), and a kernel that breaks a rule is caught at it."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from crdts import Context, Delta, Dot, Event
from crdts.context import DotRange
from crdts.delta import REPLACED, events_delta
from crdts.kernel import Kernel, Snapshot
from crdts.killlog import KillLog

from .world import Step, World, schedules

WORLDS = {"size": st.integers(3, 5), "log_limit": st.sampled_from([0, 4, 1000]), "schedule": schedules()}


@settings(max_examples=400)
@given(**WORLDS)
def test_every_replica_is_the_model_of_what_it_received(size: int, log_limit: int, schedule: list[Step]) -> None:
    World(Kernel, size, log_limit=log_limit).run(schedule)


@pytest.mark.soak
@settings(max_examples=20_000, derandomize=False)
@given(**WORLDS)
def test_every_replica_is_the_model_in_the_long_run(size: int, log_limit: int, schedule: list[Step]) -> None:
    World(Kernel, size, log_limit=log_limit).run(schedule)


# ---- kernels that break a rule, each in the way somebody once did


class RemovalWithoutADot(Kernel):
    """Breaks: every mutation takes a dot, removals too."""

    def write(self, obj: bytes, key: bytes, payload: bytes | None, replaced: tuple[Event, ...]) -> tuple[Event, ...]:
        if payload is not None:
            return super().write(obj, key, payload, replaced)
        for event in replaced:
            self._drop(event.dot, event.dot)
        return ()


class KilledIsProcessed(Kernel):
    """Breaks: a killed dot is not a processed event."""

    def _kill(self, dot: Dot, by: Dot) -> None:
        super()._kill(dot, by)
        self.context.add(*dot)


class KillIsForgotten(Kernel):
    """Breaks the same rule from the other side: a dot killed before it arrives is not remembered at all."""

    def _kill(self, dot: Dot, by: Dot) -> None:
        self._drop(dot, by)


class PreKillOutlivesItsEvent(Kernel):
    """P must be empty once everything has arrived."""

    def _take_prekilled(self, replica: str, seq: int) -> bool:
        return seq in self.prekilled.get(replica, {})


class ContextWiderThanTheDelta(Kernel):
    """Breaks: a message claims only the dots it carries. The first piece claims all that the peer lacks."""

    def deltas_since(self, known: Context, max_bytes: int) -> Iterator[Delta]:
        everything = tuple(self.context.missing_from(known))
        for delta in super().deltas_since(known, max_bytes):
            yield replace(delta, runs=everything)


class TruncatedState(Kernel):
    """The same with the other form: a part of the entries under the whole context."""

    def state(self) -> Delta:
        whole = super().state()
        return replace(whole, events=whole.events[: max(3, len(whole.events) // 2)])


class RunsTakenOnTrust(Kernel):
    """Breaks: of the dead dots a delta claims only those whose killer is known."""

    def apply_run(self, run: DotRange) -> bool:
        replica, start, stop = run
        fresh = Context.of([run]).missing_from(self.context)
        super().apply_run(run)
        self.context.add_range(replica, start, stop)
        return bool(fresh)


class ReplacedTakenOnTrust(Kernel):
    """The same for events whose entry was replaced: the event that replaced it may never arrive."""

    def apply(self, event: Event) -> bool:
        return super().apply(event._replace(obj=b"") if event.obj == REPLACED else event)


class FillerWithoutItsKills(Kernel):
    """Breaks: a filler never leaves out its kills."""

    def deltas_since(self, known: Context, max_bytes: int) -> Iterator[Delta]:
        for delta in super().deltas_since(known, max_bytes):
            killers = [(e.replica, e.seq, e.seq + 1) for e in delta.events if e.payload is None and not e.batch]
            alive = [event for event in delta.events if event.payload is not None or event.batch]
            yield events_delta(alive, [*delta.runs, *killers])


class EntryWithoutItsKills(Kernel):
    """A live entry passed on without what it replaced."""

    def deltas_since(self, known: Context, max_bytes: int) -> Iterator[Delta]:
        for delta in super().deltas_since(known, max_bytes):
            events = [event._replace(kills=()) if event.payload is not None else event for event in delta.events]
            yield replace(delta, events=tuple(events))


class TransactionTakenApart(Kernel):
    """Breaks: the events of a transaction are processed all or none. Here as they come."""

    def merge(self, delta: Delta) -> list[Event]:
        return super().merge(replace(delta, events=tuple(event._replace(batch=None) for event in delta.events)))


class TransactionSentInParts(Kernel):
    """The same with the sender: pieces that end within a transaction, and do not say so."""

    def deltas_since(self, known: Context, max_bytes: int) -> Iterator[Delta]:
        for delta in super().deltas_since(known, max_bytes):
            for event in delta.events:
                yield Delta((event._replace(batch=None),))
            yield replace(delta, events=())


class TransactionForgotten(Kernel):
    """Whoever has received a transaction passes it on as events of their own."""

    def _apply_unit(self, unit: list[Event], runs: Context) -> list[Event]:
        applied = super()._apply_unit(unit, runs)
        self.log.size -= sum(map(len, self.log.batches.values()))
        self.log.batches.clear()
        return applied


class StateInInstalments(Kernel):
    """Breaks: a state is folded in at the end, atomically. The context goes first, and entries stop halfway."""

    def join(self, state: Delta) -> None:
        super().join(replace(state, events=state.events[: (len(state.events) + 1) // 2]))


class StateWithoutPreKills(Kernel):
    """A state that leaves its pre-killed dots behind."""

    def snapshot(self) -> Snapshot:
        return super().snapshot()._replace(prekilled=[])


class JoinKeepsWhatTheOtherLost(Kernel):
    """A state join that only ever adds."""

    def _drop_absent(self, theirs: Context, alive: dict[str, dict[int, None]]) -> None:
        pass


class JoinBringsBackTheDead(Kernel):
    """A state join that takes what it has processed before, from a state older than the removal."""

    def join(self, state: Delta) -> None:
        super().join(state)
        for event in state.events:
            if event not in self.at(event.obj, event.key):
                self._insert(event)


class _LogThatKeepsItsFloor(KillLog):
    def trim(self, limit: int) -> None:
        floor = dict(self.floor)
        super().trim(limit)
        self.floor = floor


class FloorStaysAfterATrim(Kernel):
    """Breaks: if the log no longer reaches back, fall back. Here nobody can tell that it does not."""

    def __init__(self, replica_id: str, *, log_limit: int) -> None:
        super().__init__(replica_id, log_limit=log_limit)
        self.log = _LogThatKeepsItsFloor(log_limit)


class FloorStaysAfterAJoin(Kernel):
    """The floor must rise over what was absorbed without its log."""

    def join(self, state: Delta) -> None:
        floor = dict(self.log.floor)
        super().join(state)
        self.log.floor = floor


class _LogBelowItsFloor(KillLog):
    def remember(self, event: Event) -> None:
        floor, self.floor = self.floor, {}
        super().remember(event)
        self.floor = floor | self.floor


class FloorFallsAgain(Kernel):
    """A late event below the floor is logged, and lowers the floor when it is trimmed."""

    def __init__(self, replica_id: str, *, log_limit: int) -> None:
        super().__init__(replica_id, log_limit=log_limit)
        self.log = _LogBelowItsFloor(log_limit)


class LosersAreDropped(Kernel):
    """Breaks: whatever shrinks state is an event, never a local drop. Keeps only the latest entry of each place."""

    def apply(self, event: Event) -> bool:
        new = super().apply(event)
        for loser in sorted(self.at(event.obj, event.key))[:-1]:
            self._drop(loser.dot, event.dot)
        return new


class DuplicatesApplyAgain(Kernel):
    """An event that was processed before is inserted again, dead or not."""

    def apply(self, event: Event) -> bool:
        new = super().apply(event)
        if not new and event.payload is not None and event.seq not in self.live.get(event.replica, {}):
            self._insert(event)
        return new


BROKEN = [
    RemovalWithoutADot,
    KilledIsProcessed,
    KillIsForgotten,
    PreKillOutlivesItsEvent,
    ContextWiderThanTheDelta,
    TruncatedState,
    RunsTakenOnTrust,
    ReplacedTakenOnTrust,
    FillerWithoutItsKills,
    EntryWithoutItsKills,
    TransactionTakenApart,
    TransactionSentInParts,
    TransactionForgotten,
    StateInInstalments,
    StateWithoutPreKills,
    JoinKeepsWhatTheOtherLost,
    JoinBringsBackTheDead,
    FloorStaysAfterATrim,
    FloorStaysAfterAJoin,
    FloorFallsAgain,
    LosersAreDropped,
    DuplicatesApplyAgain,
]

BY_THE_ORACLE = (
    "live entries differ|calls a dot alive and dead|a transaction is forgotten|never arrives|pre-killed dots differ|"
    "context differs|log is not complete"
)


@pytest.mark.parametrize("broken", BROKEN)
def test_a_kernel_that_breaks_a_rule_is_caught(broken: type[Kernel]) -> None:
    @settings(max_examples=3000, phases=[Phase.generate], report_multiple_bugs=False)
    @given(**WORLDS)
    def converges(size: int, log_limit: int, schedule: list[Step]) -> None:
        World(broken, size, log_limit=log_limit).run(schedule)

    with pytest.raises(AssertionError, match=BY_THE_ORACLE):
        converges()
