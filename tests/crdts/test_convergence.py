"""Replicas under random schedules equal the model live(X), and a kernel that breaks a rule is caught at it."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from crdts import Context, Delta, Dot, Event
from crdts.context import DotRange
from crdts.delta import REPLACED
from crdts.kernel import Kernel

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

    def _dead_killers(self, missing: list[DotRange]) -> list[Event]:
        return []

    def _dead_runs(self, missing: list[DotRange]) -> list[DotRange]:
        killers = [(event.replica, event.seq, event.seq + 1) for event in super()._dead_killers(missing)]
        return sorted([*super()._dead_runs(missing), *killers])


class EntryWithoutItsKills(Kernel):
    """A live entry passed on without what it replaced."""

    def _live_event(self, replica: str, seq: int) -> Event | None:
        event = super()._live_event(replica, seq)
        return event and event._replace(kills=())


class StateInInstalments(Kernel):
    """Breaks: a state is folded in at the end, atomically. The context goes first, and entries stop halfway."""

    def join(self, state: Delta) -> None:
        super().join(replace(state, events=state.events[: (len(state.events) + 1) // 2]))


class StateWithoutPreKills(Kernel):
    """A state that leaves its pre-killed dots behind."""

    def state(self) -> Delta:
        return replace(super().state(), prekilled=())


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


class FloorStaysAfterATrim(Kernel):
    """Breaks: if the log no longer reaches back, fall back. Here nobody can tell that it does not."""

    def trim_log(self, limit: int) -> None:
        floor = dict(self.floor)
        super().trim_log(limit)
        self.floor = floor


class FloorStaysAfterAJoin(Kernel):
    """The floor must rise over what was absorbed without its log."""

    def join(self, state: Delta) -> None:
        floor = dict(self.floor)
        super().join(state)
        self.floor = floor


class FloorFallsAgain(Kernel):
    """A late event below the floor is logged, and lowers the floor when it is trimmed."""

    def _remember(self, event: Event) -> None:
        self.log.setdefault(event.replica, {})[event.seq] = event.kills
        self.log_size += len(event.kills)
        if self.log_size > self.log_limit:
            self.trim_log(self.log_limit // 2)


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

BY_THE_ORACLE = "live entries differ|never arrives|pre-killed dots differ|context differs|log is not complete"


@pytest.mark.parametrize("broken", BROKEN)
def test_a_kernel_that_breaks_a_rule_is_caught(broken: type[Kernel]) -> None:
    @settings(max_examples=3000, phases=[Phase.generate], report_multiple_bugs=False)
    @given(**WORLDS)
    def converges(size: int, log_limit: int, schedule: list[Step]) -> None:
        World(broken, size, log_limit=log_limit).run(schedule)

    with pytest.raises(AssertionError, match=BY_THE_ORACLE):
        converges()
